"""Boosted trees on band statistics, and the ensemble of them and a network."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from test_beyond import planted_beyond, study  # noqa: F401
from threadpoolctl import threadpool_info, threadpool_limits

from hsutils.studies import band_scores, beyond_tables
from hsutils.studies.band_scores import BandStatistics, boosted_trees, logits_of
from hsutils.studies.beyond import collect
from hsutils.data.corpus import load_corpus
from hsutils.studies.ensemble import ENSEMBLE, with_ensemble
from hsutils.errors import InputError
from hsutils.studies.finished import Finished
from hsutils.evaluation.shortcuts import PERCENTILES

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:split lists:UserWarning"),
]
NETWORK, TREES = "many-2khz/compact student", "band-statistics/boosted trees/0"
BOTH = "/".join(ENSEMBLE)


def test_trees_learn_on_one_thread_however_many_there_are(monkeypatch):
    rng, seen = np.random.default_rng(0), []
    labels = np.tile([0, 1], 200)
    statistics, asked = (rng.standard_normal((400, 70)) for _ in range(2))
    for table in (statistics, asked):
        table[:, 3] += 1.5 * labels
    fit = HistGradientBoostingClassifier.fit

    def watched(self, *table):
        seen.extend(pool["num_threads"] for pool in threadpool_info())
        return fit(self, *table)

    monkeypatch.setattr(HistGradientBoostingClassifier, "fit", watched)
    with threadpool_limits(2):
        logits = logits_of(boosted_trees(statistics, labels), asked)
    assert set(seen) == {1} and 0.75 < roc_auc_score(labels, logits) < 0.95


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
    monkeypatch.setattr(band_scores, "PARTNER", ("demo", "compact baseline"))
    kept = collect([study])
    saved = BandStatistics(study.look(0)).predictions("test")
    shown = kept.published[kept.published.split == "test"][TREES]
    assert sorted(shown) == sorted(saved.round(4)) and TREES not in kept.left_out
    row = kept.recipes.set_index("profile").loc["band-statistics"]
    assert row.milliseconds > 0 and pd.isna(row.parameters) and pd.isna(row.multiply_adds)
    whole = kept.recipes.set_index("profile").parameters.drop("band-statistics")
    assert whole.dtype == "Int64" and whole.notna().all()


def test_they_stand_beside_the_first_run_of_their_partner_and_no_other(study):  # noqa: F811
    run, second = study.look(0), study.look(0, "without-b")
    others = [Finished("native-all", "student", run), Finished("many-2khz", "teacher", run)]
    assert band_scores.beside(others) == []
    seeds = [Finished("many-2khz", "student", each) for each in (run, second)]
    assert band_scores.beside([*others, *seeds]) == [BandStatistics(seeds[0].run)]


def test_in_a_new_database_they_know_only_the_others(study):  # noqa: F811
    run = study.look(0)
    corpus, made = load_corpus(run), BandStatistics(run).in_new_databases()
    recordings = corpus.recordings.reset_index(drop=True)
    facts = spectrum_facts(corpus, recordings.record)
    for row in made.itertuples():
        part = recordings.index[recordings.database == row.database]
        others = recordings.index[~recordings.group.isin(recordings.group[part])]
        trees = boosted_trees(facts[others], recordings.label[others].to_numpy())
        expected = roc_auc_score(recordings.label[part], trees.decision_function(facts[part]))
        assert row.auroc == pytest.approx(expected, abs=1e-5)
        assert row.recordings == len(part) and row.abnormal == recordings.label[part].sum()
    classes = recordings.groupby("database").label.nunique()
    assert list(made.database) == list(classes.index[classes == 2]) and len(made) > 1
    assert band_scores.in_new_databases([Finished("demo", "baseline", run)]).empty


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
    members = pd.DataFrame(rows).assign(profile=profiles, model=models, labeled="both")
    recipes = pd.concat([planted.recipes, members.assign(told="true labels")], ignore_index=True)
    return dataclasses.replace(planted, published=table.assign(**columns), recipes=recipes)


def test_an_ensemble_is_the_mean_logit_of_its_members(known):
    made = with_ensemble(known).published
    for seed in (0, 1):
        expected = (made[f"{NETWORK}/{seed}"] + made[TREES]) / 2
        assert made[f"{BOTH}/{seed}"].tolist() == expected.tolist()
    test, areas = made[made.split == "test"], {}
    for column in (f"{NETWORK}/0", f"{NETWORK}/1", TREES, f"{BOTH}/0", f"{BOTH}/1"):
        areas[column] = roc_auc_score(test.label, test[column])
    row = beyond_tables.tables(known)["summary"].set_index(["profile", "model"]).loc[ENSEMBLE]
    assert row.test == pytest.approx((areas[f"{BOTH}/0"] + areas[f"{BOTH}/1"]) / 2, abs=1e-5)
    assert areas[f"{BOTH}/0"] > max(areas[f"{NETWORK}/0"], areas[TREES])
    assert row.milliseconds == 6 and row.train_seconds == 400 and row.labeled == "both"
    assert pd.isna(row.parameters) and pd.isna(row.multiply_adds)


def test_there_is_no_ensemble_of_one(known):
    for missing in ([TREES], [f"{NETWORK}/0", f"{NETWORK}/1"]):
        alone = dataclasses.replace(known, published=known.published.drop(columns=missing))
        assert with_ensemble(alone) is alone


def test_a_member_whose_cost_is_not_kept_is_named(known):
    recipes = known.recipes[known.recipes.profile != "band-statistics"]
    with pytest.raises(InputError, match="no row of band-statistics boosted trees; gather"):
        with_ensemble(dataclasses.replace(known, recipes=recipes))


def test_where_a_member_was_not_asked_the_ensemble_is_not_either(known):
    """A change's test is not read."""
    hidden = known.published[TREES].where(known.published.split == "dev")
    planted = known.published.assign(**{TREES: hidden})
    made = with_ensemble(dataclasses.replace(known, published=planted)).published
    assert made[f"{BOTH}/0"].notna().tolist() == made.split.eq("dev").tolist()
