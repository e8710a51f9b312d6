"""Intervals against statsmodels and scikit-learn; coverage by simulation with known truth."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn import metrics as oracle
from statsmodels.stats.proportion import proportion_confint

from hsutils.evaluation import intervals, metrics
from hsutils.errors import InputError
from hsutils.evaluation.intervals import METRICS, cluster_bootstrap, resamples, wilson

SEPARATION = 2.0


def grouped(seed: int, n_groups: int = 50, correlation: float = 0.35):
    """Labels, logits, groups: 2 to 5 recordings of one class a group, sharing a deviation."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(2 * n_groups), rng.integers(2, 6, 2 * n_groups))
    labels = (groups >= n_groups).astype(int)
    shared = rng.normal(size=2 * n_groups)[groups]
    noise = np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * rng.normal(size=len(groups))
    return labels, SEPARATION * (labels - 0.5) + noise, groups


def by_metric(*args, **kwargs) -> pd.DataFrame:
    return cluster_bootstrap(*args, **kwargs).set_index("metric")


@pytest.mark.parametrize("level", [0.8, 0.95])
@pytest.mark.parametrize(("successes", "n"), [(0, 7), (7, 7), (1, 3), (179, 200), (1, 10_000)])
def test_wilson_agrees_with_statsmodels(successes, n, level):
    theirs = proportion_confint(successes, n, alpha=1 - level, method="wilson")
    assert wilson(successes, n, level) == pytest.approx(theirs, abs=1e-12)


def test_wilson_takes_arrays_and_stays_wide_where_nothing_was_missed():
    low, high = wilson([0, 10], [10, 10])
    z2 = norm.ppf(0.975) ** 2
    np.testing.assert_allclose((low, high), [[0, 10 / (10 + z2)], [z2 / (10 + z2), 1]], atol=1e-12)


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


def test_any_metric_gives_the_interval_that_its_fast_form_gives():
    data = grouped(2, n_groups=12)
    slow = {"auroc": metrics.auroc, "accuracy": metrics.accuracy}
    fast = by_metric(*data, n_resamples=60)
    pd.testing.assert_frame_equal(by_metric(*data, metrics=slow, n_resamples=60), fast.loc[[*slow]])


def test_groups_are_drawn_whole_and_keep_the_balance_of_the_classes():
    labels = np.repeat([0, 1, 0, 1], [6, 6, 2, 2])
    groups = np.array([*"aaabbbcccddd", *"efef"])
    record = np.arange(16.0)

    def whole(_, drawn):
        times = np.bincount(drawn.astype(int), minlength=16)
        return float(all(len(set(times[groups == g])) == 1 for g in "abcdef"))

    laws = {"whole": whole, "share": lambda drawn, _: drawn.mean()}
    drawn = resamples(labels, record, groups, laws, n_resamples=100)
    assert (drawn["whole"] == 1).all()
    assert (drawn["share"] == 0.5).all()


def test_copies_of_a_recording_add_nothing():
    labels, logits, groups = grouped(3, n_groups=20)
    copied = (np.repeat(v, 3) for v in (labels, logits, groups))
    pd.testing.assert_frame_equal(
        cluster_bootstrap(*copied, n_resamples=200),
        cluster_bootstrap(labels, logits, groups, n_resamples=200),
    )


def test_a_metric_undefined_in_some_resamples_is_counted_and_left_out():
    labels = np.repeat([0, 1], 5)
    logits = np.r_[np.full(9, -1.0), 1.0]
    table = by_metric(labels, logits, np.arange(10), n_resamples=2000)
    # The one recording called abnormal is absent from (4/5)^5 of the resamples.
    assert table.loc["ppv", "undefined"] / 2000 == pytest.approx(0.8**5, abs=0.04)
    assert table.loc["ppv", ["low", "high"]].tolist() == [1, 1]
    assert (table["undefined"].drop("ppv") == 0).all()


def test_a_metric_defined_nowhere_has_no_interval():
    table = by_metric([0, 0, 1, 1], [-1.0] * 4, [*"abcd"], n_resamples=50)
    assert table.loc["ppv", ["value", "low", "high"]].isna().all()
    assert table.loc["ppv", "undefined"] == 50
    assert table.loc["sensitivity", "high"] == 0


def test_a_metric_that_refuses_a_resample_counts_as_undefined():
    def fussy(labels, logits):
        if logits.max() < 3:
            raise InputError("the largest logit is missing")
        return 1.0

    table = cluster_bootstrap([0, 0, 1, 1], [0.0, 1, 2, 3], [*"abcd"], {"fussy": fussy})
    assert table.loc[0, "undefined"] / 2000 == pytest.approx(1 / 4, abs=0.05)
    assert table.loc[0, "low"] == 1


def test_intervals_are_fixed_by_their_seed_and_widen_with_their_level():
    data = grouped(4, n_groups=20)
    narrow, again, other = (
        by_metric(*data, level=0.5, n_resamples=200, seed=seed) for seed in (0, 0, 1)
    )
    wide = by_metric(*data, level=0.95, n_resamples=200)
    pd.testing.assert_frame_equal(narrow, again)
    assert not narrow.equals(other)
    assert (wide["low"] < narrow["low"]).all() and (wide["high"] > narrow["high"]).all()


def test_resamples_are_all_made_when_they_do_not_fit_in_memory_at_once(monkeypatch):
    data = grouped(5, n_groups=20)
    at_once = resamples(*data, n_resamples=501)["auroc"]
    monkeypatch.setattr(intervals, "_CELLS", 10_000)
    in_blocks = resamples(*data, n_resamples=501)["auroc"]
    assert len(in_blocks) == 501 == np.isfinite(in_blocks).sum()
    assert len(np.unique(in_blocks)) > 450
    assert in_blocks.std() == pytest.approx(at_once.std(), rel=0.15)


def test_the_level_is_expanded_for_few_groups_of_either_class_and_kept_for_many():
    few, many = (intervals.expanded_level([0, 1] * n, np.arange(2 * n), 0.95) for n in (5, 10_000))
    # Student's t with 4 degrees of freedom reaches 2.776, times sqrt(5 / 4).
    assert few == pytest.approx(1 - 2 * norm.sf(2.776 * np.sqrt(1.25)), abs=1e-5)
    assert many == pytest.approx(0.95, abs=1e-4)
    labels, groups = np.repeat([0, 1], [1000, 5]), np.arange(1005)
    assert intervals.expanded_level(labels, groups, 0.95) == few


def test_intervals_of_whole_groups_cover_and_those_of_recordings_do_not():
    right = norm.cdf(SEPARATION / 2)
    truth = np.array([norm.cdf(SEPARATION / np.sqrt(2)), right, right, right, right])
    held = {"groups": [], "recordings": []}
    for seed in range(2000):
        labels, logits, groups = grouped(seed)
        units = {"groups": groups, "recordings": np.arange(len(labels))}
        # A tenth of the sets is enough to see the recordings fail.
        for unit in ("groups", "recordings") if seed % 10 == 0 else ("groups",):
            table = cluster_bootstrap(labels, logits, units[unit], n_resamples=200, seed=seed)
            low, high = table[["low", "high"]].to_numpy()[: len(truth)].T
            held[unit].append((low <= truth) & (truth <= high))
    coverage = {unit: np.mean(sets, axis=0) for unit, sets in held.items()}
    assert METRICS[: len(truth)] == ("auroc", "sensitivity", "specificity", "accuracy", "macc")
    assert (abs(coverage["groups"] - 0.95) < 0.02).all(), coverage["groups"]
    assert (coverage["recordings"] < 0.93).all(), coverage["recordings"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"groups": [*"abc"]}, "groups: 3 for 4 recordings"),
        ({"groups": ["a", "b", None, "d"]}, "groups: 1 are missing"),
        ({"groups": [*"abcc"]}, "belong to one group"),
        ({"labels": [0] * 4}, "all 4 recordings are normal"),
        ({"logits": [0, 1, 2, np.nan]}, "1 are NaN"),
        ({"level": 95}, "level: 95"),
        ({"n_resamples": 0}, "n_resamples: 0"),
    ],
)
def test_unusable_input_is_named(change, message):
    usable = {"labels": [0, 0, 1, 1], "logits": [0, 1, 2, 3], "groups": [*"abcd"]}
    with pytest.raises(InputError, match=message):
        cluster_bootstrap(**usable | change)


@pytest.mark.parametrize(("successes", "n"), [(-1, 3), (4, 3), (0, 0)])
def test_impossible_counts_are_refused(successes, n):
    with pytest.raises(InputError, match="wilson"):
        wilson(successes, n)
