"""Boosted trees on band statistics, and their committee with a network."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from test_beyond import planted_beyond, study  # noqa: F401
from threadpoolctl import threadpool_limits

from hsutils import band_scores, beyond_tables
from hsutils.band_scores import BandStatistics, boosted_trees
from hsutils.beyond import collect
from hsutils.committee import TOGETHER, with_committee
from hsutils.corpus import load_corpus
from hsutils.finished import Finished
from hsutils.shortcuts import PERCENTILES

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:split lists:UserWarning"),
]
NETWORK, TREES = "many-2khz/compact student", "band-statistics/boosted trees/0"
BOTH = "/".join(TOGETHER)


def test_trees_are_the_same_on_any_number_of_threads_and_learn():
    rng = np.random.default_rng(0)
    statistics, labels = rng.standard_normal((400, 70)), np.tile([0, 1], 200)
    statistics[:, 3] += 1.5 * labels
    asked = rng.standard_normal((200, 70))
    asked[:, 3] += 1.5 * np.tile([0, 1], 100)
    logits = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            logits.append(boosted_trees(statistics, labels).decision_function(asked))
    assert np.array_equal(*logits)
    assert 0.75 < roc_auc_score(np.tile([0, 1], 100), logits[0]) < 0.95


def spectrum_facts(corpus, records) -> np.ndarray:
    """The band statistics written again, from the image a network sees."""
    rows = []
    for record in records:
        image = corpus.cache.array[corpus.cache.rows([record])[0]].astype(float)
        first, last = corpus.cache.occupied(corpus.cache.rows([record])[0]).frames
        bands = image[:, first:last]
        spread = [np.quantile(bands, q / 100, axis=1) for q in PERCENTILES]
        rows.append(np.concatenate([bands.mean(axis=1), bands.std(axis=1), *spread]))
    return np.array(rows)


def test_they_learn_the_labels_that_the_run_may_know_and_no_others(study):  # noqa: F811
    run = study.look(0)
    corpus, trees = load_corpus(run), BandStatistics(run)
    learn = corpus.recordings.merge(corpus.splits, on="record")
    learn = learn[learn.split.isin(["pretrain", "finetune"])]
    oracle = HistGradientBoostingClassifier(
        learning_rate=0.05, max_iter=300, early_stopping=False, random_state=0
    ).fit(spectrum_facts(corpus, learn.record), learn.label)
    for split in ("dev", "test"):
        found = trees.predictions(split)
        records = corpus.splits.record[corpus.splits.split == split]
        assert set(found.index) == set(records) and found.name == TREES
        expected = oracle.decision_function(spectrum_facts(corpus, found.index))
        assert found.to_numpy() == pytest.approx(expected, abs=1e-6)


def test_they_are_gathered_beside_the_network_whose_front_end_they_share(
    study,  # noqa: F811
    monkeypatch,
):
    assert TREES not in collect([study]).published
    monkeypatch.setattr(band_scores, "BESIDE", ("demo", "compact baseline"))
    kept = collect([study])
    saved = BandStatistics(study.look(0)).predictions("test")
    shown = kept.published[kept.published.split == "test"][TREES]
    assert sorted(shown) == sorted(saved.round(4)) and TREES not in kept.left_out
    row = kept.recipes.set_index("profile").loc["band-statistics"]
    assert row.milliseconds > 0 and pd.isna(row.parameters) and pd.isna(row.multiply_adds)
    whole = kept.recipes.set_index("profile").parameters.drop("band-statistics")
    assert whole.dtype == "Int64" and whole.notna().all()


def test_they_stand_beside_one_run_only(study):  # noqa: F811
    run = study.look(0)
    others = [Finished("native-all", "baseline", run), Finished("many-2khz", "teacher", run)]
    assert band_scores.beside(others) == []


@pytest.fixture
def known():
    """A network of two seeds and trees, each of which knows what the other does not."""
    planted = planted_beyond()
    table, rng = planted.published, np.random.default_rng(1)
    made = {name: rng.standard_normal(len(table)) + table.label for name in ("n", "t")}
    columns = {f"{NETWORK}/0": made["n"], f"{NETWORK}/1": -made["n"], TREES: made["t"]}
    rows = [
        {"parameters": 59_109, "multiply_adds": 10, "milliseconds": 2.5, "train_seconds": 400},
        {"milliseconds": 3.5, "train_seconds": 0},
    ]
    profiles, models = zip(*(column.split("/")[:2] for column in (NETWORK, TREES)), strict=True)
    members = pd.DataFrame(rows).assign(profile=profiles, model=models, labeled="all")
    recipes = pd.concat([planted.recipes, members.assign(told="true labels")], ignore_index=True)
    return dataclasses.replace(planted, published=table.assign(**columns), recipes=recipes)


def test_a_committee_is_the_mean_logit_of_its_members(known):
    made = with_committee(known).published
    expected = (made[f"{NETWORK}/0"] + made[TREES]) / 2
    assert made[f"{BOTH}/0"].tolist() == expected.tolist() and f"{BOTH}/1" not in made
    test = made[made.split == "test"]
    tables = beyond_tables.tables(known)
    row = tables["summary"].set_index(["profile", "model"]).loc[TOGETHER]
    assert row.test == pytest.approx(roc_auc_score(test.label, expected[test.index]), abs=1e-5)
    assert row.test > max(roc_auc_score(test.label, test[c]) for c in (f"{NETWORK}/0", TREES))
    assert row.milliseconds == 6 and row.train_seconds == 400 and row.labeled == "all"
    assert pd.isna(row.parameters) and pd.isna(row.multiply_adds)


def test_there_is_no_committee_of_one(known):
    for missing in ([TREES], [f"{NETWORK}/0", f"{NETWORK}/1"]):
        alone = dataclasses.replace(known, published=known.published.drop(columns=missing))
        assert with_committee(alone) is alone


def test_where_a_member_was_not_asked_the_committee_is_not_either(known):
    """A change's test is not read."""
    hidden = known.published[TREES].where(known.published.split == "dev")
    made = with_committee(
        dataclasses.replace(known, published=known.published.assign(**{TREES: hidden}))
    ).published
    assert made[f"{BOTH}/0"].notna().tolist() == made.split.eq("dev").tolist()
