"""Frozen features and few labels: what is learned, from whom, and who is asked."""

import shutil

import numpy as np
import pandas as pd
import pytest
from conftest import TINY_SETTINGS
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from hsutils.studies import label_efficiency
from hsutils import pipeline as stations
from hsutils.data.corpus import load_corpus
from hsutils.experiment import Run, open_run
from hsutils.studies.label_efficiency import COLUMNS, DRAWS, STRENGTH, evaluate
from hsutils.evaluation.domains import within_database

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:split lists:UserWarning"),
]


def recordings(n: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Two databases, and features of which the first tells the class."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"record": [f"r{i:04d}" for i in range(n)], "label": np.arange(n) % 2})
    table["database"] = np.where(rng.random(n) < 0.5, "a", "b")
    features = rng.standard_normal((n, 6))
    features[:, 0] += 1.5 * table.label
    return table, features


def test_with_all_labels_it_is_scikit_learns_classifier():
    learn, known = recordings(200, 0)
    ask, asked = recordings(300, 1)
    rows = pd.DataFrame(evaluate(known, learn, asked, ask))
    scaler = StandardScaler().fit(known)
    plain = LogisticRegression(C=STRENGTH).fit(scaler.transform(known), learn.label)
    scores = plain.decision_function(scaler.transform(asked))
    full = rows[rows.share == 1].set_index("database").auroc
    assert full["all"] == pytest.approx(roc_auc_score(ask.label, scores), abs=1e-6)
    cases = ask.assign(score=scores, group=np.arange(len(ask)))
    pooled = within_database(cases, ["score"], n_resamples=10).set_index("database").auroc["pooled"]
    assert full["within"] == pytest.approx(pooled, abs=1e-6)


def test_more_labels_are_worth_more_and_every_share_is_drawn_as_often_as_said():
    learn, known = recordings(400, 2)
    ask, asked = recordings(400, 3)
    rows = pd.DataFrame(evaluate(known, learn, asked, ask))
    rows = rows[rows.database == "all"]
    assert rows.groupby("share").size().to_dict() == DRAWS
    means = rows.groupby("share")[["auroc", "labels"]].mean()
    assert means.labels.tolist() == pytest.approx([4, 20, 40, 100, 400], abs=2)
    assert means.auroc.is_monotonic_increasing and means.auroc.iloc[-1] > 0.8


def test_without_a_signal_it_guesses():
    learn, known = recordings(200, 4)
    ask, asked = recordings(400, 5)
    rows = pd.DataFrame(evaluate(known[:, 1:], learn, asked[:, 1:], ask))
    assert rows.auroc.mean() == pytest.approx(0.5, abs=0.06)


@pytest.fixture(scope="module")
def opened(tiny_data, tmp_path_factory):
    home = tmp_path_factory.mktemp("efficiency")
    where = {"data.folder": str(tiny_data / "recordings"), "splits.lists": str(tiny_data)}

    def one(name: str, **more) -> Run:
        return open_run("demo", home / name, TINY_SETTINGS | where | more)

    return one


@pytest.fixture(scope="module")
def run(opened) -> Run:
    run = opened("run")
    stations.pretrain_teacher(run)
    return run


def test_dev_is_asked_and_the_test_set_is_not_looked_at(run, monkeypatch):
    seen, original = [], label_efficiency._features

    def noting(run, corpus, split):
        seen.append(split)
        return original(run, corpus, split)

    monkeypatch.setattr(label_efficiency, "_features", noting)
    table = label_efficiency.label_efficiency(run)
    assert sorted(seen) == ["dev", "finetune"] and list(table.columns) == list(COLUMNS)
    assert set(table.features) == {"pre-trained", "random", "bands"}
    assert set(table.database) == {"all", "within"}
    again = label_efficiency.label_efficiency(run)
    assert len(seen) == 2, "it is made once"
    pd.testing.assert_frame_equal(table, again)


def test_another_encoder_is_evaluated_anew(opened, run):
    before = label_efficiency.label_efficiency(run)
    shutil.copytree(run.folder, run.folder.with_name("other"))
    other = opened("other", **{"pretrain.learning_rate": 1e-2})
    stations.pretrain_teacher(other)
    after = label_efficiency.label_efficiency(other)
    changed = before.features == "pre-trained"
    assert not before[changed].equals(after[changed])
    assert before[~changed].equals(after[~changed])


def test_another_label_is_learned_anew(run, monkeypatch):
    before = label_efficiency.label_efficiency(run)

    class Relabelled(type(load_corpus(run))):
        def of(self, split):
            part = super().of(split)
            return part.assign(label=1 - part.label) if split == "finetune" else part

    corpus = load_corpus(run)
    told = Relabelled(corpus.recordings, corpus.splits, corpus.cache, corpus.settings, corpus.seed)
    monkeypatch.setattr(label_efficiency, "load_corpus", lambda run: told)
    assert not label_efficiency.label_efficiency(run).equals(before)


def test_where_a_database_is_left_out_it_alone_is_asked(opened):
    run = opened("without", **{"splits.leave_out": "b"})
    stations.pretrain_teacher(run)
    table = label_efficiency.label_efficiency(run)
    assert set(table.database) == {"b"} and set(table.left_out) == {"b"}


def test_bands_are_mean_and_deviation_of_the_occupied_frames(run):
    corpus = load_corpus(run)
    rows = corpus.rows("dev")
    spans = [np.ptp(corpus.cache.occupied(row).frames) for row in rows]
    place = int(np.argmin(spans))
    first, last = corpus.cache.occupied(rows[place]).frames
    part = corpus.cache.array[rows[place], :, first:last].astype(np.float32)
    assert last - first < corpus.cache.shape[2], "some of it is padding"
    expected = [*part.mean(axis=1), *part.std(axis=1)]
    made = label_efficiency._features(run, corpus, "dev")["bands"]
    assert made.shape == (len(rows), 2 * corpus.cache.shape[1])
    np.testing.assert_allclose(made[place], expected, rtol=1e-5)
