"""The linear model on heart-cycle features: what trains it, and that classes count alike."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from hsutils.audio.heart_cycles import BANDS, FEATURES, PHASES, heart_cycle_features
from hsutils.audio.wav import read_waveform
from hsutils.models.heart_cycles import STRENGTHS, USUAL, features_of, linear_model
from hsutils.studies import heart_cycles
from hsutils.studies.heart_cycles import lodo, trained

# Standardized noise has few values beyond the limit, which the plain models do not know.
pytestmark = pytest.mark.usefixtures("no_limit")
SPLITS = ("pretrain", "finetune", "dev", "test")


def recordings(n: int = 200, share: float = 0.7) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Recordings of two databases in groups of two, and their splits."""
    number = np.arange(n)
    table = pd.DataFrame({"record": [f"r{k:03d}" for k in number], "label": number // 2 % 2})
    table["database"] = np.where(number < share * n, "a", "b")
    table = table.assign(group=(number // 2).astype(str))
    split = np.random.default_rng(3).permutation(np.resize(SPLITS, n))
    return table, pd.DataFrame({"record": table.record, "split": split})


@pytest.fixture
def no_limit(monkeypatch):
    for module in ("hsutils.models.heart_cycles", "hsutils.audio.heart_cycles"):
        monkeypatch.setattr(f"{module}.LIMIT", np.inf)


@pytest.fixture
def planted() -> np.ndarray:
    """Features of which the first follows the label."""
    table, _ = recordings()
    features = np.random.default_rng(0).standard_normal((len(table), len(FEATURES)))
    features[:, 0] += 2 * table.label
    return features


def test_every_database_and_class_counts_alike():
    """As if each had been repeated until all are as many."""
    counts = {("a", 0): 8, ("a", 1): 4, ("b", 0): 2, ("b", 1): 8}
    rows = [key for key, count in counts.items() for _ in range(count)]
    table = pd.DataFrame(rows, columns=["database", "label"])
    features = np.random.default_rng(0).standard_normal((len(table), 5))
    model = linear_model(features, table, strength=0.1)
    times = [8 // counts[key] for key in rows]
    repeated = np.repeat(features, times, axis=0)
    # Repetition makes 32 of 22 recordings: the penalty is to weigh as before.
    plain = LogisticRegression(C=0.1 * len(table) / 32, max_iter=1000).fit(
        StandardScaler().fit_transform(repeated), np.repeat(table.label, times)
    )
    assert model.weights == pytest.approx(plain.coef_[0], abs=1e-3)


def test_recordings_without_a_rhythm_count_as_middling(planted):
    table, _ = recordings()
    planted[3] = np.nan
    model = linear_model(planted, table, USUAL)
    middle = np.nanmedian(planted, axis=0)
    found, expected = (model.logits(x) for x in (planted[[3]], middle[None]))
    assert found == pytest.approx(expected)


def test_it_is_trained_with_the_training_splits_alone(planted):
    table, splits = recordings()
    used = splits.split.isin(["pretrain", "finetune"]).to_numpy()
    model = trained(planted, table, splits)
    other = planted.copy()
    other[~used] = 100.0
    assert trained(other, table, splits).weights == pytest.approx(model.weights)
    known = linear_model(planted[used], table[used], USUAL)
    assert model.weights == pytest.approx(known.weights)


def test_the_strength_is_chosen_by_large_databases_left_out():
    table, splits = recordings(800, share=0.5)
    features = np.random.default_rng(1).standard_normal((800, len(FEATURES)))
    features[:, 0] += 0.7 * table.label
    splits["split"] = "pretrain"
    scores = []
    for mine in ((table.database == here).to_numpy() for here in "ab"):
        models = [linear_model(features[~mine], table[~mine], s) for s in STRENGTHS]
        logits = [model.logits(features[mine]) for model in models]
        scores.append([roc_auc_score(table.label[mine], each) for each in logits])
    best = STRENGTHS[np.argmax(np.mean(scores, axis=0))]
    expected = linear_model(features, table, best).weights
    assert trained(features, table, splits).weights.tolist() == expected.tolist()


def test_the_database_tested_does_not_train(planted):
    table, splits = recordings()
    before = lodo(planted, table, splits, "b")
    assert before.record.tolist() == table.record[table.database == "b"].tolist()
    flipped = table.assign(label=table.label.where(table.database == "a", 1 - table.label))
    assert lodo(planted, flipped, splits, "b").logit.tolist() == before.logit.tolist()


def test_cycles_are_means_over_the_recordings_of_a_class(planted):
    table, _ = recordings()
    planted[5] = np.nan
    made = heart_cycles.mean_cycles(planted, table)
    assert len(made) == 4 * len(PHASES) * BANDS
    row = made.query("database == 'a' and label == 0 and phase == 'S2' and band == 3")
    mine = (table.database == "a") & (table.label == 0) & (table.index != 5)
    column = PHASES.index("S2") * BANDS + 2
    assert row.value.item() == pytest.approx(10 * planted[mine, column].mean(), abs=1e-4)
    assert row.recordings.item() == mine.sum()


def test_weights_are_those_of_the_model(planted):
    table, splits = recordings()
    made = heart_cycles.weights(planted, table, splits)
    assert len(made) == len(FEATURES) and made.weight.abs().idxmax() == 0
    assert made.phase.tolist()[-1] == "rhythm"


def test_features_are_in_the_order_of_the_recordings(noise_recordings):
    few = noise_recordings[:4]
    found = features_of(few)
    for path, row in zip(few.path, found, strict=True):
        np.testing.assert_array_equal(row, heart_cycle_features(read_waveform(path)))
