"""Confidence intervals of metrics, and of their differences, when recordings come in groups.

Recordings of one subject (or copies of one recording) resemble each other, so 400 recordings of
120 subjects say less than 400 of 400. The bootstrap here therefore draws whole groups: `groups`
are (n,) names, and without them every recording is its own. Intervals are 95% intervals, and NaN
where all recordings of a class are one group.

In simulations with 2 to 5 recordings a group, correlated by 0.35, intervals of AUROC, sensitivity
and accuracy cover the true value in 94 to 96% of cases from 30 groups of each class up. With 8
groups of each class they do in 91 to 95%.
Where a model makes no error the interval has no width, whatever the number of recordings.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import ndtr, ndtri, stdtrit
from statsmodels.stats import contingency_tables

from hsutils.errors import InputError
from hsutils.evaluation.metrics import checked

METRICS = ("auroc", "sensitivity", "specificity", "accuracy", "macc", "f1", "ppv", "npv")
"""At logit 0. macc is the Challenge's score, the mean of sensitivity and specificity; f1, ppv and
npv take abnormal as the class to be found."""

_Z = float(ndtri(0.975))
_CELLS = 2**22
"""Weights held at once: 32 MB, however many resamples are asked for."""


def cluster_bootstrap(
    labels: ArrayLike, logits: ArrayLike, groups: ArrayLike | None = None
) -> pd.DataFrame:
    """Percentile bootstrap intervals of all `METRICS`: metric, value, low, high.

    Resamples in which a metric does not exist (ppv where nothing is called abnormal) are left out.

    Raises:
        InputError: if a value is unusable, a group is unnamed, or a class is missing.
    """
    values, drawn = evaluate(labels, logits), resamples(labels, logits, groups)
    wider = expansion(labels, groups)
    rows = [(name, value, *percentiles(drawn[name], wider)) for name, value in values.items()]
    return pd.DataFrame(rows, columns=["metric", "value", "low", "high"])


def paired_cluster_bootstrap(
    labels: ArrayLike, logits_a: ArrayLike, logits_b: ArrayLike, groups: ArrayLike | None = None
) -> pd.DataFrame:
    """Intervals of the differences a minus b, both models evaluated on the same resamples.

    Both err on the same difficult recordings, so their difference is known better than either
    value. Columns metric, a, b, difference, low, high; errors as `cluster_bootstrap`.
    """
    a, b = evaluate(labels, logits_a), evaluate(labels, logits_b)
    drawn_a, drawn_b = (resamples(labels, logits, groups) for logits in (logits_a, logits_b))
    wider, rows = expansion(labels, groups), []
    for name in METRICS:
        ends = percentiles(drawn_a[name] - drawn_b[name], wider)
        rows.append((name, a[name], b[name], a[name] - b[name], *ends))
    return pd.DataFrame(rows, columns=["metric", "a", "b", "difference", "low", "high"])


def auroc_and_interval(
    labels: ArrayLike,
    logits: ArrayLike,
    groups: ArrayLike | None = None,
    n_resamples: int = 2000,
    strata: ArrayLike | None = None,
) -> dict[str, float]:
    """auroc, low and high as in `cluster_bootstrap`, but NaN where a class is missing.

    Logits are (n,), or (seeds, n) for the mean over seeds and the interval of that mean. With
    strata, (n,) names, only pairs of one stratum count.
    """
    models = [checked(labels, row) for row in np.atleast_2d(np.asarray(logits, dtype=float))]
    labels, n = models[0][0], len(models[0][0])
    strata = np.zeros(n) if strata is None else np.asarray(strata)
    parts = [strata == stratum for stratum in np.unique(strata)]

    def mean_over_models(weights: np.ndarray) -> np.ndarray:
        areas = [
            ratio(*sum(weighted_wins(labels[p], logits[p], weights[:, p]) for p in parts))
            for _, logits in models
        ]
        return np.mean(areas, axis=0)

    draws = multiplicities(labels, groups, n_resamples)
    drawn = np.concatenate([mean_over_models(weights) for weights in draws])
    low, high = percentiles(drawn, expansion(labels, groups))
    return {"auroc": float(mean_over_models(np.ones((1, n)))[0]), "low": low, "high": high}


def mcnemar(labels: ArrayLike, logits_a: ArrayLike, logits_b: ArrayLike) -> float:
    """The exact two-sided p of equal accuracy at logit 0 (McNemar 1947).

    Recordings must be independent; for grouped ones use `paired_cluster_bootstrap`.

    >>> mcnemar(labels=[1] * 5, logits_a=[2.0] * 5, logits_b=[-2.0] * 5)
    0.0625
    """
    pairs = [checked(labels, logits) for logits in (logits_a, logits_b)]
    a, b = ((logits > 0) == (truth == 1) for truth, logits in pairs)
    table = [[(a & b).sum(), (a & ~b).sum()], [(~a & b).sum(), (~a & ~b).sum()]]
    return float(contingency_tables.mcnemar(table, exact=True).pvalue)


def evaluate(labels: ArrayLike, logits: ArrayLike) -> dict[str, float]:
    """Each of `METRICS` of the recordings as they are; NaN where undefined. Needs both classes."""
    alone = weighted_metrics(*checked(labels, logits, both=True), np.ones((1, len(labels))))
    return {name: float(value[0]) for name, value in alone.items()}


def resamples(
    labels: ArrayLike,
    logits: ArrayLike,
    groups: ArrayLike | None = None,
    n_resamples: int = 2000,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Each of `METRICS` in each resample of whole groups, (n_resamples,); NaN where undefined.

    Groups are drawn with replacement within each class composition (only normal, only abnormal,
    both), so every resample holds both classes. Labels, groups and seed alone decide which, so two
    models are paired resample by resample.
    """
    labels, logits = checked(labels, logits, both=True)
    draws = multiplicities(labels, groups, n_resamples, seed)
    parts = [weighted_metrics(labels, logits, weights) for weights in draws]
    return {name: np.concatenate([part[name] for part in parts]) for name in METRICS}


def weighted_metrics(
    labels: np.ndarray, logits: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """`METRICS`, each (resamples,), where recordings count as often as `weights` (resamples, n)."""
    called = logits > 0
    tp, fn = weights @ (called & (labels == 1)), weights @ (~called & (labels == 1))
    fp, tn = weights @ (called & (labels == 0)), weights @ (~called & (labels == 0))
    sensitivity, specificity = ratio(tp, tp + fn), ratio(tn, tn + fp)
    return {
        "auroc": ratio(*weighted_wins(labels, logits, weights)),
        "sensitivity": sensitivity,
        "specificity": specificity,
        "accuracy": ratio(tp + tn, tp + fn + tn + fp),
        "macc": (sensitivity + specificity) / 2,
        "f1": ratio(2 * tp, 2 * tp + fp + fn),
        "ppv": ratio(tp, tp + fp),
        "npv": ratio(tn, tn + fn),
    }


def weighted_wins(labels: np.ndarray, logits: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Pairs of an abnormal and a normal recording, (2, resamples): those ranked right, and all.

    Ties count one half. The ratio of the two is the AUROC.
    """
    order = np.argsort(logits, kind="stable")
    normal, abnormal = order[labels[order] == 0], order[labels[order] == 1]
    # Weight of the normal recordings among the first k; the mean of both sides halves ties.
    heaped = np.zeros((len(weights), len(normal) + 1))
    np.cumsum(weights[:, normal], axis=1, out=heaped[:, 1:])
    below, up_to = (np.searchsorted(logits[normal], logits[abnormal], s) for s in ("left", "right"))
    wins = (weights[:, abnormal] * (heaped[:, below] + heaped[:, up_to])).sum(axis=1) / 2
    return np.array([wins, heaped[:, -1] * weights[:, abnormal].sum(axis=1)])


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Their quotient, NaN where there is nothing."""
    with np.errstate(invalid="ignore"):
        return part / whole


def multiplicities(
    classes: np.ndarray, groups: ArrayLike | None, n_resamples: int = 2000, seed: int = 0
) -> Iterator[np.ndarray]:
    """Blocks of (resamples, n): how often each recording's group was drawn.

    A group is replaced only by one that holds the same classes (n,), integers from 0.
    """
    rng, codes = np.random.default_rng(seed), group_codes(groups, len(classes))
    holds = [np.bincount(codes, classes == c) > 0 for c in range(classes.max() + 1)]
    composition = np.sum([has * 2**c for c, has in enumerate(holds)], axis=0)
    sizes = np.unique(composition, return_counts=True)[1]
    # The column of each recording's group, once groups are sorted by composition.
    column = np.argsort(np.argsort(composition, kind="stable"))[codes]
    block = max(1, _CELLS // len(classes))
    for start in range(0, n_resamples, block):
        rows, counts = min(block, n_resamples - start), []
        for size in sizes:
            drawn = rng.integers(0, size, (rows, size)) + size * np.arange(rows)[:, None]
            counts.append(np.bincount(drawn.ravel(), minlength=rows * size).reshape(rows, size))
        yield np.take(np.concatenate(counts, axis=1, dtype=float), column, axis=1)


def expansion(labels: ArrayLike, groups: ArrayLike | None = None) -> float:
    """How many times wider than its percentiles an interval must be because groups are few.

    A bootstrap of n groups is too narrow by sqrt((n - 1) / n) and ignores that Student's t has
    heavier tails than the normal law (Hesterberg 2015, The American Statistician 69, section 4.4).
    """
    labels, codes = np.asarray(labels), group_codes(groups, len(labels))
    n = min(len(np.unique(codes[labels == c])) for c in (0, 1))
    return float(np.sqrt(n / (n - 1)) * stdtrit(n - 1, 0.975) / _Z) if n > 1 else np.nan


def percentiles(values: np.ndarray, wider: float = 1.0) -> tuple[float, float]:
    """The 95% interval of the finite values, as that of a normal law so many times wider."""
    finite, outside = values[np.isfinite(values)], ndtr(-_Z * wider)
    if not len(finite) or np.isnan(wider):
        return np.nan, np.nan
    # Weibull's rule leaves the wanted share outside on average, however few the resamples.
    low, high = np.quantile(finite, [outside, 1 - outside], method="weibull")
    return float(low), float(high)


def group_codes(groups: ArrayLike | None, n: int) -> np.ndarray:
    """(n,) integers from 0, one for each distinct group; without groups one per recording."""
    if groups is None:
        return np.arange(n)
    codes, _ = pd.factorize(np.asarray(groups, dtype=object))
    if len(codes) != n:
        raise InputError(f"groups: {len(codes)} for {n} recordings; give one each")
    if (codes < 0).any():
        raise InputError(f"groups: {(codes < 0).sum()} are missing; name the group of each")
    return codes
