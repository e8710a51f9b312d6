"""Intervals against scikit-learn, textbook formulas and simulation."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest, norm
from sklearn import metrics as oracle

from hsutils.errors import InputError
from hsutils.evaluation import intervals
from hsutils.evaluation.intervals import (
    METRICS,
    auroc_and_interval,
    cluster_bootstrap,
    expansion,
    mcnemar,
    multiplicities,
    paired_cluster_bootstrap,
    percentiles,
    resamples,
)
from hsutils.evaluation.metrics import auroc

SEPARATION = 2.0


def grouped(seed: int, n_groups: int = 50, correlation: float = 0.35):
    """Labels, logits, groups: 2 to 5 recordings of one class a group, sharing a deviation."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(2 * n_groups), rng.integers(2, 6, 2 * n_groups))
    labels = (groups >= n_groups).astype(int)
    shared = rng.normal(size=2 * n_groups)[groups]
    noise = np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * rng.normal(size=len(groups))
    return labels, SEPARATION * (labels - 0.5) + noise, groups


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


# Metrics of resamples


@pytest.mark.parametrize("ties", [False, True])
def test_weighted_metrics_agree_with_scikit_learns_sample_weights(ties):
    labels, logits, _ = grouped(0, n_groups=15)
    logits = logits.round() if ties else logits
    weights = np.random.default_rng(1).integers(0, 4, (6, len(labels)))
    ours = intervals.weighted_metrics(labels, logits, weights)
    theirs = {
        "auroc": lambda w: oracle.roc_auc_score(labels, logits, sample_weight=w),
        "sensitivity": lambda w: oracle.recall_score(labels, logits > 0, sample_weight=w),
        "specificity": lambda w: oracle.recall_score(1 - labels, logits <= 0, sample_weight=w),
        "accuracy": lambda w: oracle.accuracy_score(labels, logits > 0, sample_weight=w),
        "macc": lambda w: oracle.balanced_accuracy_score(labels, logits > 0, sample_weight=w),
        "f1": lambda w: oracle.f1_score(labels, logits > 0, sample_weight=w),
        "ppv": lambda w: oracle.precision_score(labels, logits > 0, sample_weight=w),
        "npv": lambda w: oracle.precision_score(1 - labels, logits <= 0, sample_weight=w),
    }
    assert tuple(ours) == METRICS
    for name, oracle_metric in theirs.items():
        np.testing.assert_allclose(ours[name], [oracle_metric(w) for w in weights], rtol=1e-12)


def test_resamples_are_scores_of_recordings_repeated_with_their_groups():
    labels, logits, groups = grouped(2, n_groups=12)
    (times,) = multiplicities(labels, groups, 40)
    drawn = [np.repeat(np.arange(len(labels)), weights.astype(int)) for weights in times]
    slow = [oracle.roc_auc_score(labels[rows], logits[rows]) for rows in drawn]
    np.testing.assert_allclose(resamples(labels, logits, groups, 40)["auroc"], slow)


def test_groups_are_drawn_whole_and_keep_the_balance_of_the_classes():
    labels = np.repeat([0, 1, 0, 1], [6, 6, 2, 2])
    groups = np.array([*"aaabbbcccddd", *"efef"])
    (times,) = multiplicities(labels, groups, 100)
    for group in set(groups):
        assert (np.ptp(times[:, groups == group], axis=1) == 0).all()
    assert (times @ labels == 8).all() and (times.sum(axis=1) == 16).all()


def test_a_group_stands_in_for_groups_of_the_same_classes_only():
    classes, codes = np.array([0, 0, 1, 1, 2, 2, 2]), np.array([0, 1, 2, 3, 4, 5, 4])
    (times,) = multiplicities(classes, codes, 300)
    assert (times[:, classes < 2] @ np.eye(2)[classes[classes < 2]] == 2).all()
    assert (times[:, 4] == times[:, 6]).all()
    assert (times[:, 4] + times[:, 5] == 2).all()
    assert len(np.unique(times, axis=0)) == 3**3


def test_resamples_are_all_made_when_they_do_not_fit_in_memory_at_once(monkeypatch):
    data = grouped(5, n_groups=20)
    at_once = resamples(*data, n_resamples=501)["auroc"]
    again, other = (resamples(*data, 501, seed)["auroc"] for seed in (0, 1))
    assert (at_once == again).all() and (at_once != other).any()
    monkeypatch.setattr(intervals, "_CELLS", 10_000)
    in_blocks = resamples(*data, n_resamples=501)["auroc"]
    assert len(in_blocks) == 501 == np.isfinite(in_blocks).sum()
    assert len(np.unique(in_blocks)) > 450
    assert in_blocks.std() == pytest.approx(at_once.std(), rel=0.15)


# Intervals


def test_copies_of_a_recording_add_nothing():
    labels, logits, groups = grouped(3, n_groups=20)
    copied = (np.repeat(v, 3) for v in (labels, logits, groups))
    pd.testing.assert_frame_equal(
        cluster_bootstrap(*copied), cluster_bootstrap(labels, logits, groups)
    )


def test_resamples_in_which_a_metric_is_undefined_are_left_out():
    labels, logits = np.repeat([0, 1], 5), np.r_[np.full(9, -1.0), 1.0]
    ppv = resamples(labels, logits)["ppv"]
    # The one recording called abnormal is absent from (4/5)^5 of the resamples.
    assert np.isnan(ppv).mean() == pytest.approx(0.8**5, abs=0.04)
    table = cluster_bootstrap(labels, logits).set_index("metric")
    assert table.loc["ppv", ["low", "high"]].tolist() == [1, 1]
    nowhere = cluster_bootstrap([0, 0, 1, 1], [-1.0] * 4).set_index("metric")
    assert nowhere.loc["ppv"].isna().all() and nowhere.loc["sensitivity", "high"] == 0


def test_intervals_widen_for_few_groups_of_either_class_and_not_for_many():
    few, many = (expansion([0, 1] * n, np.arange(2 * n)) for n in (5, 10_000))
    # Student's t with 4 degrees of freedom reaches 2.776, times sqrt(5 / 4).
    assert few == pytest.approx(2.776 * np.sqrt(1.25) / 1.96, abs=1e-3)
    assert many == pytest.approx(1, abs=1e-3)
    labels, groups = np.repeat([0, 1], [1000, 5]), np.arange(1005)
    assert expansion(labels, groups) == few


@pytest.mark.parametrize("wider", [1, 1.3])
def test_percentiles_of_a_normal_law_lie_that_many_standard_errors_out(wider):
    values = norm.ppf((np.arange(100_000) + 0.5) / 100_000)
    low, high = percentiles(np.r_[values, np.nan], wider)
    assert (low, high) == pytest.approx((-1.96 * wider, 1.96 * wider), abs=0.01)


def test_a_class_of_one_group_has_values_without_intervals():
    data = [0, 0, 1, 1], [0.0, 1, 2, 3], [*"abcc"]
    assert cluster_bootstrap(*data)[["low", "high"]].isna().all(axis=None)
    found = auroc_and_interval(*data)
    assert found["auroc"] == 1 and np.isnan([found["low"], found["high"]]).all()
    apart = paired_cluster_bootstrap(data[0], data[1], data[1][::-1], data[2]).loc[0]
    assert apart.difference == 1 and np.isnan([apart.low, apart.high]).all()


def test_auroc_alone_has_the_interval_of_all_metrics_and_of_one_class_nothing():
    labels, logits, groups = grouped(6, n_groups=12)
    row = cluster_bootstrap(labels, logits, groups).loc[0]
    found = auroc_and_interval(labels, logits, groups)
    assert [*found.values()] == pytest.approx([row.value, row.low, row.high], rel=1e-12)
    assert np.isnan([*auroc_and_interval([0, 0], [1.0, 2.0]).values()]).all()


def test_auroc_of_several_seeds_is_their_mean_in_every_resample():
    labels, logits, groups = grouped(7, n_groups=12)
    seeds = np.array([logits, np.random.default_rng(0).permutation(logits)])
    drawn = np.mean([resamples(labels, row, groups)["auroc"] for row in seeds], axis=0)
    found = auroc_and_interval(labels, seeds, groups)
    assert found["auroc"] == pytest.approx(np.mean([auroc(labels, row) for row in seeds]))
    ends = percentiles(drawn, expansion(labels, groups))
    assert (found["low"], found["high"]) == pytest.approx(ends)


def test_intervals_of_whole_groups_cover_and_those_of_recordings_do_not():
    right = norm.cdf(SEPARATION / 2)
    truth = np.array([norm.cdf(SEPARATION / np.sqrt(2)), right, right, right, right])
    assert METRICS[: len(truth)] == ("auroc", "sensitivity", "specificity", "accuracy", "macc")
    held = {"groups": [], "recordings": []}
    for seed in range(500):
        labels, logits, groups = grouped(seed)
        units = {"groups": groups, "recordings": np.arange(len(labels))}
        # A fifth of the sets is enough to see the recordings fail.
        for unit in ("groups", "recordings") if seed % 5 == 0 else ("groups",):
            drawn = resamples(labels, logits, units[unit], n_resamples=200, seed=seed)
            wider = expansion(labels, units[unit])
            low, high = np.transpose([percentiles(drawn[m], wider) for m in METRICS[:5]])
            held[unit].append((low <= truth) & (truth <= high))
    coverage = {unit: np.mean(sets, axis=0) for unit, sets in held.items()}
    assert (abs(coverage["groups"] - 0.95) < 0.025).all(), coverage["groups"]
    assert (coverage["recordings"] < 0.93).all(), coverage["recordings"]


# Two models


def test_a_pairs_difference_is_known_better_than_its_values():
    labels, a, _, groups = two_models_on_groups(4)
    close = a + np.random.default_rng(5).normal(size=len(a)) / 10
    pair = paired_cluster_bootstrap(labels, a, close, groups)
    alone = cluster_bootstrap(labels, a, groups)
    assert (pair["high"] - pair["low"] < (alone["high"] - alone["low"]) / 2).all()
    np.testing.assert_array_equal(pair["difference"], pair["a"] - pair["b"])
    np.testing.assert_array_equal(pair["a"], alone["value"])
    same = paired_cluster_bootstrap(labels, a, a, groups)
    assert (same[["difference", "low", "high"]] == 0).all(axis=None)


def test_paired_intervals_cover_no_difference_where_there_is_none():
    held = []
    for seed in range(300):
        labels, a, b, groups = two_models_on_groups(seed)
        drawn = [resamples(labels, x, groups, n_resamples=200, seed=seed) for x in (a, b)]
        wider = expansion(labels, groups)
        ends = [percentiles(drawn[0][m] - drawn[1][m], wider) for m in METRICS]
        held.append([low <= 0 <= high for low, high in ends])
    coverage = np.mean(held, axis=0)
    assert (abs(coverage - 0.95) < 0.035).all(), coverage


def textbook_variance(labels, models, groups) -> float:
    """Of the difference: Obuchowski 1997, one comparison of two recordings at a time."""
    normal, abnormal = (np.flatnonzero(labels == c) for c in (0, 1))
    wins = sum(
        sign * np.array([[(x[i] > x[j]) + (x[i] == x[j]) / 2 for j in normal] for i in abnormal])
        for sign, x in zip((1, -1), models, strict=True)
    )
    names = sorted(set(groups))
    of_normal, of_abnormal = wins.mean(axis=0) - wins.mean(), wins.mean(axis=1) - wins.mean()
    s01 = np.array([of_normal[groups[normal] == g].sum() for g in names]) / len(normal)
    s10 = np.array([of_abnormal[groups[abnormal] == g].sum() for g in names]) / len(abnormal)
    m01, m10 = (len(set(groups[rows])) for rows in (normal, abnormal))
    variance = m01 / (m01 - 1) * sum(s01**2) + m10 / (m10 - 1) * sum(s10**2)
    return variance + 2 * len(names) / (len(names) - 1) * sum(s01 * s10)


@pytest.mark.parametrize("ties", [False, True])
def test_paired_intervals_have_the_textbook_variance(ties):
    labels, a, b, groups = two_models_on_groups(7, n_groups=100)
    models = [x.round() if ties else x for x in (a, b)]
    error = np.sqrt(textbook_variance(labels, models, groups))
    row = paired_cluster_bootstrap(labels, *models, groups).loc[0]
    assert row.difference == pytest.approx(auroc(labels, models[0]) - auroc(labels, models[1]))
    assert row.high - row.low == pytest.approx(2 * 1.96 * error, rel=0.1)


@pytest.mark.parametrize("seed", range(3))
def test_mcnemar_is_the_binomial_test_of_the_recordings_that_one_model_alone_gets_right(seed):
    labels, a, b, _ = two_models_on_groups(seed)
    right = [(x > 0) == (labels == 1) for x in (a, b)]
    only = (right[0] & ~right[1]).sum(), (right[1] & ~right[0]).sum()
    assert mcnemar(labels, a, b) == pytest.approx(binomtest(only[0], sum(only)).pvalue)
    assert mcnemar(labels, a, 2 * a) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"groups": [*"abc"]}, "groups: 3 for 4 recordings"),
        ({"groups": ["a", "b", None, "d"]}, "groups: 1 are missing"),
        ({"labels": [0] * 4}, "all 4 recordings are normal"),
        ({"logits": [0, 1, 2, np.nan]}, "1 are NaN"),
        ({"labels": [0, 1]}, "one per recording"),
    ],
)
def test_unusable_input_is_named(change, message):
    usable = {"labels": [0, 0, 1, 1], "logits": [0, 1, 2, 3], "groups": [*"abcd"]}
    labels, logits, groups = (usable | change).values()
    for make, models in ((cluster_bootstrap, [logits]), (paired_cluster_bootstrap, [logits] * 2)):
        with pytest.raises(InputError, match=message):
            make(labels, *models, groups)
