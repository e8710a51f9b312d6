"""Paired tests against a published example, textbook formulas, scipy, statsmodels, simulation."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest, norm
from sklearn.metrics import roc_auc_score
from statsmodels.stats.contingency_tables import mcnemar as oracle_mcnemar

from hsutils.evaluation import metrics
from hsutils.errors import InputError
from hsutils.evaluation.intervals import cluster_bootstrap
from hsutils.evaluation.paired import auroc_variance, delong, mcnemar, paired_cluster_bootstrap

# DeLong et al. 1988, as printed with the example in the SAS/STAT guide to PROC LOGISTIC: albumin,
# total protein, K-G score, and whether surgery helped (1) of 43 patients with all three tests.
PATIENTS = """
3.0 5.8 10 0  3.2 6.3 5 1  3.9 6.8 3 1  2.8 4.8 6 0  3.2 5.8 3 1  0.9 4.0 5 0  2.5 5.7 8 0
1.6 5.6 5 1  3.8 5.7 5 1  3.7 6.7 6 1  3.2 5.4 4 1  3.8 6.6 6 1  4.1 6.6 5 1  3.6 5.7 5 1
4.3 7.0 4 1  3.6 6.7 4 0  2.3 4.4 6 1  4.2 7.6 4 0  4.0 6.6 6 0  3.5 5.8 6 1  3.8 6.8 7 1
3.0 4.7 8 0  4.5 7.4 5 1  3.7 7.4 5 1  3.1 6.6 6 1  4.1 8.2 6 1  4.3 7.0 5 1  4.3 6.5 4 1
3.2 5.1 5 1  2.6 4.7 6 1  3.3 6.8 6 0  1.7 4.0 7 0  3.7 6.1 5 1  3.3 6.3 7 1  4.2 7.7 6 1
3.5 6.2 5 1  2.9 5.7 9 0  2.1 4.8 7 1  2.8 6.2 8 0  4.0 7.0 7 1  3.3 5.7 6 1  3.7 6.9 5 1
3.6 6.6 5 1
"""
ALBUMIN, PROTEIN, KG_SCORE, HELPED = np.array(PATIENTS.split(), dtype=float).reshape(-1, 4).T
# Low albumin, low protein and a high score speak against surgery.
TESTS = {"albumin": -ALBUMIN, "protein": -PROTEIN, "kg": KG_SCORE}


def two_models(seed: int, n: int = 100, gap: float = 0.0, ties: bool = False):
    """Labels and the logits of two models that share half their noise; a is better by the gap."""
    rng = np.random.default_rng(seed)
    labels = np.repeat([0, 1], n // 2)
    common, alone_a, alone_b = rng.normal(size=(3, n)) / np.sqrt(2)
    a = (2 + gap) * (labels - 0.5) + common + alone_a
    b = (2 - gap) * (labels - 0.5) + common + alone_b
    return (labels, a.round(), b.round()) if ties else (labels, a, b)


def two_models_on_groups(seed: int, n_groups: int = 60):
    """Equally good models; a fifth of the groups of 4 recordings holds both classes."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(n_groups), 4)
    labels = (groups % 2 == 0).astype(int)
    mixed = groups % 5 == 0
    labels[mixed] = np.arange(mixed.sum()) % 2
    shared = rng.normal(size=(2, n_groups))[:, groups]
    a, b = 2 * (labels - 0.5) + shared * 0.7 + rng.normal(size=(2, len(groups))) * np.sqrt(0.51)
    return labels, a, b, groups


def textbook_covariance(labels, models, groups) -> np.ndarray:
    """Obuchowski 1997, equations for cluster sums, one comparison of two recordings at a time."""
    names = sorted(set(groups))
    wins, of_class = [], [np.flatnonzero(labels == c) for c in (0, 1)]
    for x in models:
        above = np.array(
            [[(x[i] > x[j]) + (x[i] == x[j]) / 2 for j in of_class[0]] for i in of_class[1]]
        )
        wins.append(above)
    n0, n1 = map(len, of_class)
    total = np.zeros((2, 2))
    for r, s in np.ndindex(2, 2):
        centered = {}
        for k in {r, s}:
            by_recording = wins[k].mean(axis=0), wins[k].mean(axis=1)
            for g in names:
                inside = [groups[of_class[c]] == g for c in (0, 1)]
                centered[k, g] = [
                    (by_recording[c][inside[c]] - wins[k].mean()).sum() for c in (0, 1)
                ]
        holding = [len(set(groups[of_class[c]])) for c in (0, 1)]
        s01, s10 = (
            holding[c]
            / (holding[c] - 1)
            * sum(centered[r, g][c] * centered[s, g][c] for g in names)
            for c in (0, 1)
        )
        s11 = sum(
            centered[r, g][1] * centered[s, g][0] + centered[r, g][0] * centered[s, g][1]
            for g in names
        )
        every = len(names) / (len(names) - 1)
        total[r, s] = s10 / n1**2 + s01 / n0**2 + every * s11 / (n0 * n1)
    return total


@pytest.mark.parametrize(
    ("test", "area", "error"),
    [("albumin", 0.7366, 0.0927), ("kg", 0.7258, 0.1028), ("protein", 0.6478, 0.1000)],
)
def test_areas_and_errors_of_the_published_example(test, area, error):
    assert metrics.auroc(1 - HELPED, TESTS[test]) == pytest.approx(area, abs=5e-5)
    assert auroc_variance(1 - HELPED, TESTS[test]) ** 0.5 == pytest.approx(error, abs=5e-5)


@pytest.mark.parametrize(
    ("test", "difference", "low", "high", "chi_square", "p"),
    [
        ("albumin", 0.0108, -0.1761, 0.1976, 0.0127, 0.9102),
        ("protein", -0.0780, -0.2830, 0.1271, 0.5554, 0.4561),
    ],
)
def test_differences_of_the_published_example(test, difference, low, high, chi_square, p):
    result = delong(1 - HELPED, TESTS[test], TESTS["kg"])
    ours = (result.difference, result.low, result.high, result.z**2, result.p)
    assert ours == pytest.approx((difference, low, high, chi_square, p), abs=6e-5)


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("ties", [False, True])
def test_delong_is_the_textbook_covariance(ties, grouped):
    labels, a, b = two_models(0, n=40, gap=0.3, ties=ties)
    order = np.random.default_rng(1).permutation(40)
    groups = order % 13 if grouped else order
    expected = textbook_covariance(labels, (a, b), groups)
    result = delong(labels, a, b, groups=groups if grouped else None)
    assert auroc_variance(labels, a, groups) == pytest.approx(expected[0, 0], rel=1e-10)
    spread = np.array([1, -1]) @ expected @ [1, -1]
    assert result.difference / result.z == pytest.approx(np.sqrt(spread), rel=1e-10)
    assert result.high - result.low == pytest.approx(2 * norm.ppf(0.975) * np.sqrt(spread))


def test_delong_areas_agree_with_scikit_learn_and_swap_with_the_models():
    labels, a, b = two_models(2, gap=0.5)
    one, other = delong(labels, a, b), delong(labels, b, a)
    assert one.auroc_a == other.auroc_b == pytest.approx(roc_auc_score(labels, a))
    assert one.auroc_b == other.auroc_a == pytest.approx(roc_auc_score(labels, b))
    assert (one.difference, one.low, one.z) == pytest.approx(
        (-other.difference, -other.high, -other.z)
    )
    assert one.p == other.p


def test_models_that_rank_alike_do_not_differ():
    labels, a, _ = two_models(3)
    result = delong(labels, a, np.exp(a))
    assert (result.difference, result.z, result.p) == (0, 0, 1)


def test_perfect_against_reversed_has_no_doubt():
    result = delong([0, 0, 1, 1], [0, 1, 2, 3], [3, 2, 1, 0])
    assert (result.difference, result.low, result.high, result.p) == (1, 1, 1, 0)


def test_delong_finds_differences_where_there_are_and_only_five_percent_where_not():
    null = np.array([delong(*two_models(seed)).p for seed in range(1500)])
    planted = np.array([delong(*two_models(seed, n=400, gap=0.3)).p for seed in range(100)])
    assert np.mean(null < 0.05) == pytest.approx(0.05, abs=0.015)
    assert np.mean(planted < 0.05) > 0.95


def test_groups_keep_the_error_rate_that_ignoring_them_loses():
    p = []
    for seed in range(1000):
        labels, a, b, groups = two_models_on_groups(seed)
        p.append([delong(labels, a, b, groups=g).p for g in (groups, None)])
    with_groups, without = np.mean(np.array(p) < 0.05, axis=0)
    assert with_groups == pytest.approx(0.05, abs=0.02)
    assert without > 0.10


@pytest.mark.parametrize("seed", range(3))
def test_mcnemar_agrees_with_statsmodels_and_the_binomial_test(seed):
    labels, a, b = two_models(seed, n=200, gap=0.4)
    result = mcnemar(labels, a, b, threshold=0.2)
    right = [(x > 0.2) == (labels == 1) for x in (a, b)]
    theirs = oracle_mcnemar(pd.crosstab(right[0], right[1]), exact=True)
    assert (result.only_a_right, result.only_b_right) == (
        (right[0] & ~right[1]).sum(),
        (right[1] & ~right[0]).sum(),
    )
    only = result.only_a_right, result.only_b_right
    assert result.p == pytest.approx(theirs.pvalue) == binomtest(only[1], sum(only)).pvalue
    accuracies = [metrics.accuracy(labels, x, 0.2) for x in (a, b)]
    assert result.difference == pytest.approx(accuracies[0] - accuracies[1])
    assert result.low < result.difference < result.high


def test_models_that_err_together_are_equal_to_mcnemar():
    result = mcnemar([0, 1, 1], [-1, 1, -1], [-2, 2, -2])
    assert (result.only_a_right, result.only_b_right, result.difference, result.p) == (0, 0, 0, 1)
    assert -1 < result.low == -result.high < 0


def test_mcnemar_errs_rarely_under_the_null_covers_and_finds_a_planted_difference():
    results = [mcnemar(*two_models(seed, n=200)) for seed in range(1000)]
    # The exact test is conservative; the interval is not.
    assert 0.015 < np.mean([r.p < 0.05 for r in results]) < 0.055
    assert np.mean([r.low <= 0 <= r.high for r in results]) == pytest.approx(0.95, abs=0.02)
    planted = [mcnemar(*two_models(seed, n=400, gap=0.5)).p for seed in range(100)]
    assert np.mean(np.array(planted) < 0.05) > 0.9


def test_a_pairs_difference_is_known_better_than_its_values():
    labels, a, _, groups = two_models_on_groups(4)
    close = a + np.random.default_rng(5).normal(size=len(a)) / 10
    pair = paired_cluster_bootstrap(labels, a, close, groups)
    alone = cluster_bootstrap(labels, a, groups)
    assert (pair["high"] - pair["low"] < (alone["high"] - alone["low"]) / 2).all()
    np.testing.assert_array_equal(pair["difference"], pair["a"] - pair["b"])
    np.testing.assert_array_equal(pair["a"], alone["value"])


def test_a_model_does_not_differ_from_itself_in_any_resample():
    labels, a, _, groups = two_models_on_groups(6)
    table = paired_cluster_bootstrap(labels, a, a, groups, n_resamples=50)
    assert (table[["difference", "low", "high"]] == 0).all(axis=None)


def test_paired_bootstrap_agrees_with_clustered_delong():
    labels, a, b, groups = two_models_on_groups(7, n_groups=200)
    exact = delong(labels, a, b, groups=groups)
    row = paired_cluster_bootstrap(labels, a, b, groups, {"auroc": metrics.auroc}, n_resamples=400)
    assert row.loc[0, "high"] - row.loc[0, "low"] == pytest.approx(exact.high - exact.low, rel=0.15)


def test_paired_bootstrap_covers_no_difference_where_there_is_none():
    held = []
    for seed in range(300):
        data = two_models_on_groups(seed)
        table = paired_cluster_bootstrap(*data, n_resamples=200, seed=seed)
        held.append((table["low"] <= 0) & (table["high"] >= 0))
    coverage = np.mean(held, axis=0)
    assert (abs(coverage - 0.95) < 0.035).all(), coverage


def test_unusable_input_is_named():
    with pytest.raises(InputError, match="are normal"):
        delong([0, 0], [1, 2], [1, 2])
    with pytest.raises(InputError, match="one recording or group only"):
        delong([0, 0, 1], [1, 2, 3], [1, 2, 3])
    with pytest.raises(InputError, match="one of each"):
        mcnemar([0, 1], [1, 2], [1, 2, 3])
    with pytest.raises(InputError, match="level"):
        mcnemar([0, 1], [1, 2], [1, 2], level=2)
    with pytest.raises(InputError, match="groups: 1 for 4"):
        paired_cluster_bootstrap([0, 0, 1, 1], [1, 2, 3, 4], [1, 2, 3, 4], ["a"])
