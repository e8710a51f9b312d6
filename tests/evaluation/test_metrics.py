"""Metrics against pairs counted one by one, scikit-learn, and the numbers the paper prints."""

import itertools

import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support

from hsutils.errors import InputError
from hsutils.evaluation.metrics import (
    CLASSES,
    auroc,
    choose_threshold,
    confusion,
    confusion_report,
)
from hsutils.evaluation.tables import PAPER

PAPER_PRINTS = {
    "teacher": [[0.88, 0.77, 0.82], [0.80, 0.90, 0.84]],
    "student": [[0.95, 0.75, 0.84], [0.79, 0.96, 0.87]],
    "baseline": [[0.58, 0.99, 0.73], [0.96, 0.27, 0.42]],
}
PAPER_ACCURACY = {"teacher": 0.8325, "student": 0.855, "baseline": 0.63}


def scored(seed: int, n: int = 60, ties: bool = False) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.r_[0, 1, rng.integers(0, 2, n - 2)]
    logits = labels + rng.normal(size=n)
    return labels, logits.round() if ties else logits


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_auroc_is_the_share_of_pairs_ranked_right_with_ties_halved(seed, ties):
    labels, logits = scored(seed, ties=ties)
    pairs = list(itertools.product(logits[labels == 1], logits[labels == 0]))
    wins = [1.0 if a > b else 0.5 if a == b else 0.0 for a, b in pairs]
    assert auroc(labels, logits) == pytest.approx(np.mean(wins), abs=1e-12)


def test_auroc_depends_on_order_only_and_flips_with_the_sign():
    labels, logits = scored(1)
    area = auroc(labels, logits)
    assert auroc(labels, np.exp(logits)) == area
    assert auroc(labels, -logits) == pytest.approx(1 - area)
    assert auroc([0, 1, 0, 1], [3.0] * 4) == 0.5


@pytest.mark.parametrize("only", [0, 1])
def test_auroc_of_one_class_names_that_class(only):
    with pytest.raises(InputError, match=rf"are {CLASSES[only]}, "):
        auroc([only] * 3, [1.0, 2.0, 3.0])


def test_every_problem_with_predictions_is_reported_at_once():
    with pytest.raises(InputError) as caught:
        confusion([0, 2, 1], [np.nan, 1.0])
    assert len(caught.value.problems) == 3
    with pytest.raises(InputError, match="no recordings"):
        confusion([], [])


def test_confusion_counts_by_actual_and_predicted_and_a_logit_at_the_threshold_is_normal():
    labels, logits = [0, 0, 0, 1, 1, 1], [-1.0, 0.0, 1.0, -1.0, 2.0, 3.0]
    np.testing.assert_array_equal(confusion(labels, logits), [[2, 1], [1, 2]])
    np.testing.assert_array_equal(confusion(labels, logits, threshold=2), [[3, 0], [2, 1]])
    np.testing.assert_array_equal(confusion([0, 0], [-1.0, -2.0]), [[2, 0], [0, 0]])


def test_report_agrees_with_scikit_learn_and_leaves_the_undefined_undefined():
    labels, logits = scored(2)
    theirs = np.array(precision_recall_fscore_support(labels, logits > 0)[:3]).T
    np.testing.assert_allclose(confusion_report(confusion(labels, logits)), theirs)
    never = confusion_report([[5, 0], [5, 0]]).loc["abnormal"]
    assert np.isnan(never.precision) and never.recall == never.f1 == 0


@pytest.mark.parametrize("model", PAPER)
def test_paper_matrices_give_the_numbers_the_paper_prints(model):
    matrix = np.array(PAPER[model].confusion)
    np.testing.assert_allclose(confusion_report(matrix), PAPER_PRINTS[model], atol=0.005 + 1e-9)
    assert np.trace(matrix) / matrix.sum() == PAPER_ACCURACY[model]


def rates(labels, logits, threshold) -> tuple[float, float]:
    """Sensitivity and specificity."""
    (tn, fp), (fn, tp) = confusion(labels, logits, threshold)
    return tp / (tp + fn), tn / (tn + fp)


@pytest.mark.parametrize("share", [0.05, 0.77, 0.95, 0.995, 1])
@pytest.mark.parametrize("seed", range(2))
def test_no_other_threshold_is_better(seed, share):
    labels, logits = scored(seed, n=120)
    called = logits > np.r_[logits.min() - 1, logits][:, None]
    every = np.column_stack([(called == c)[:, labels == c].mean(axis=1) for c in (1, 0)])
    youden = rates(labels, logits, choose_threshold(labels, logits))
    assert sum(youden) == pytest.approx(every.sum(axis=1).max())
    sensitive = rates(labels, logits, choose_threshold(labels, logits, sensitivity=share))
    assert sensitive[0] >= share
    assert sensitive[1] == every[every[:, 0] >= share, 1].max()
    specific = rates(labels, logits, choose_threshold(labels, logits, specificity=share))
    assert specific[1] >= share
    assert specific[0] == every[every[:, 1] >= share, 0].max()


def test_thresholds_lie_halfway_and_prefer_sensitivity_among_equals():
    assert choose_threshold([0, 0, 1, 1], [0.0, 1, 2, 3]) == 1.5
    assert choose_threshold([0, 1, 0, 1], [0.0, 1, 2, 3]) == 0.5
    assert choose_threshold([1, 0, 1, 1], [0.0, 1, 2, 3], sensitivity=0.95) == -0.5
    assert choose_threshold([0, 0, 1, 1], [0.0, 2, 1, 3], specificity=1) == 2.5
    assert choose_threshold([0, 0, 1, 1], [0.0, 2, 1, 3], specificity=0.5) == 0.5
    with pytest.raises(InputError, match="are normal"):
        choose_threshold([0, 0], [0, 1])


@pytest.mark.parametrize("specificity", [0.05, 0.77, 0.995, 1])
def test_a_share_of_many_recordings_is_not_missed_by_its_rounding(specificity):
    labels, logits = np.repeat([0, 1], 200), np.random.default_rng(0).permutation(np.arange(400.0))
    found = choose_threshold(labels, logits, specificity=specificity)
    assert rates(labels, logits, found)[1] == pytest.approx(specificity)
