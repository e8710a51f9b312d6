"""Is one model better than another on the same recordings?

Both models err on the same difficult recordings, so their difference is known better than either
value: compare them recording by recording, never by whether their intervals overlap. Differences
are everywhere model a minus model b.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import ndtr
from scipy.stats import binomtest

from hsutils.errors import InputError
from hsutils.evaluation.intervals import (
    evaluate,
    expanded_level,
    group_codes,
    normal_quantile,
    percentiles,
    resamples,
)
from hsutils.evaluation.metrics import Metric, auroc, confusion


@dataclass(frozen=True)
class DeLong:
    """Two AUROCs on the same recordings, their difference with its interval, and its test."""

    auroc_a: float
    auroc_b: float
    difference: float
    low: float
    high: float
    z: float
    p: float


@dataclass(frozen=True)
class McNemar:
    """Recordings only one model gets right, the exact test, and the difference in accuracy."""

    only_a_right: int
    only_b_right: int
    p: float
    difference: float
    low: float
    high: float


def delong(
    labels: ArrayLike,
    logits_a: ArrayLike,
    logits_b: ArrayLike,
    level: float = 0.95,
    groups: ArrayLike | None = None,
) -> DeLong:
    """Test of equal AUROC on the same recordings (DeLong et al. 1988), in O(n log n).

    The covariance of the two areas comes from mid-ranks (Sun and Xu 2014). With groups, the
    recordings of one group may resemble each other (Obuchowski 1997); without, all must be
    independent, or the test finds differences that are not there. z and p follow the normal law,
    which simulation upholds from 30 groups up.

    Args:
        labels: (n,) 0 normal, 1 abnormal.
        logits_a, logits_b: (n,) finite, on the same recordings.
        level: of the interval of the difference.
        groups: (n,) names, or None when every recording is its own group.

    Returns:
        p is two-sided. Models that differ nowhere have z 0 and p 1.

    Raises:
        InputError: if lengths differ, a value is unusable, or a class has fewer than two
            recordings (groups).
    """
    reach = normal_quantile(level)
    areas, covariance = _areas(labels, [logits_a, logits_b], groups)
    contrast = np.array([1.0, -1.0])
    difference = float(contrast @ areas)
    error = float(np.sqrt(max(contrast @ covariance @ contrast, 0)))
    # Equal rankings leave rounding only, which must not be divided by itself.
    if np.isclose(difference, 0, atol=1e-12):
        z = 0.0
    else:
        z = difference / error if error > 1e-12 else float(np.copysign(np.inf, difference))
    ends = difference - reach * error, difference + reach * error
    return DeLong(*map(float, areas), difference, *ends, z, p=float(2 * ndtr(-abs(z))))


def auroc_variance(labels: ArrayLike, logits: ArrayLike, groups: ArrayLike | None = None) -> float:
    """Sampling variance of one AUROC (DeLong et al. 1988; with groups, Obuchowski 1997).

    It is 0 when the model ranks perfectly, which says nothing about the next recording.

    Raises:
        InputError: as `delong`.
    """
    _, covariance = _areas(labels, [logits], groups)
    return float(covariance[0, 0])


def mcnemar(
    labels: ArrayLike,
    logits_a: ArrayLike,
    logits_b: ArrayLike,
    threshold: float = 0.0,
    level: float = 0.95,
) -> McNemar:
    """Exact test of equal accuracy on the same recordings (McNemar 1947).

    Only recordings on which exactly one model is right count; if the models were equally accurate,
    each would be a fair coin. Recordings must be independent: for grouped ones use
    `paired_cluster_bootstrap`.

    Args:
        labels: (n,) 0 normal, 1 abnormal.
        logits_a, logits_b: (n,) finite, on the same recordings.
        threshold: a recording is called abnormal when its logit lies above it.
        level: of the interval of the difference in accuracy, Wald's after half a recording is
            added to each of the four cells (Agresti and Min 2005).

    Returns:
        p is exact (binomial) and two-sided; 1 when no recording tells the models apart.

    Raises:
        InputError: if lengths differ or a value is unusable.
    """
    reach = normal_quantile(level)
    right = []
    for logits in (logits_a, logits_b):
        confusion(labels, logits, threshold)
        right.append((np.asarray(logits, dtype=float) > threshold) == (np.asarray(labels) == 1))
    a, b = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    n = len(right[0])
    center = (a - b) / (n + 2)
    half = reach * np.sqrt(a + b + 1 - (a - b) ** 2 / (n + 2)) / (n + 2)
    p = float(binomtest(a, a + b).pvalue) if a + b else 1.0
    ends = float(max(center - half, -1)), float(min(center + half, 1))
    return McNemar(a, b, p, (a - b) / n, *ends)


def paired_cluster_bootstrap(
    labels: ArrayLike,
    logits_a: ArrayLike,
    logits_b: ArrayLike,
    groups: ArrayLike,
    metrics: Mapping[str, Metric] | None = None,
    level: float = 0.95,
    n_resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Interval of the difference in any metric; both models see the same resampled groups.

    Args:
        labels: (n,) 0 normal, 1 abnormal; both must occur.
        logits_a, logits_b: (n,) finite, on the same recordings.
        groups: (n,) names; recordings of one name are drawn together.
        metrics, level, n_resamples, seed: as in `intervals.cluster_bootstrap`.

    Returns:
        One row a metric: metric, a, b, difference, low, high, undefined (resamples in which the
        metric does not exist for one of the models; they are left out).

    Raises:
        InputError: as `intervals.cluster_bootstrap`.
    """
    a, b = (evaluate(labels, logits, metrics) for logits in (logits_a, logits_b))
    reached = expanded_level(labels, groups, level)
    drawn_a, drawn_b = (
        resamples(labels, logits, groups, metrics, n_resamples, seed)
        for logits in (logits_a, logits_b)
    )
    differences = {name: drawn_a[name] - drawn_b[name] for name in a}
    rows = [
        (name, a[name], b[name], a[name] - b[name], *percentiles(differences[name], reached))
        for name in a
    ]
    columns = ["metric", "a", "b", "difference", "low", "high", "undefined"]
    return pd.DataFrame(rows, columns=columns)


def _areas(
    labels: ArrayLike, models: list[ArrayLike], groups: ArrayLike | None
) -> tuple[np.ndarray, np.ndarray]:
    """AUROC of each model (models,) and their covariance (models, models)."""
    areas = np.array([auroc(labels, logits) for logits in models])
    labels = np.asarray(labels)
    placements = np.column_stack([_placements(labels, np.asarray(x, float)) for x in models])
    codes = group_codes(groups, len(labels))
    sums, counts, scales = [], [], []
    for c in (0, 1):
        of_class = labels == c
        total = np.zeros((codes.max() + 1, len(models)))
        np.add.at(total, codes[of_class], placements[of_class] - areas)
        sums.append(total)
        counts.append(of_class.sum())
        holding = len(np.unique(codes[of_class]))
        if holding < 2:
            raise InputError(
                "groups: a class has one recording or group only; its variance needs at least two"
            )
        scales.append(holding / (holding - 1))
    normal, abnormal = (total / count for total, count in zip(sums, counts, strict=True))
    # Zero unless some group holds both classes.
    across = normal.T @ abnormal * len(normal) / (len(normal) - 1)
    within = scales[0] * normal.T @ normal + scales[1] * abnormal.T @ abnormal
    return areas, within + across + across.T


def _placements(labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """(n,) the share of the other class each recording stands on the right side of; ties half."""
    share = np.empty(len(labels))
    for c in (0, 1):
        other = np.sort(logits[labels != c])
        own = logits[labels == c]
        below = (np.searchsorted(other, own, "left") + np.searchsorted(other, own, "right")) / 2
        share[labels == c] = below / len(other) if c else 1 - below / len(other)
    return share
