"""Confidence intervals of one model's metrics when recordings come in groups.

Recordings of one subject (or copies of one recording) resemble each other, so 400 recordings of
120 subjects tell less than 400 of 400. The bootstrap here therefore draws whole groups.

Simulated with 2 to 5 recordings a group, correlated by 0.35, 95% intervals of AUROC, sensitivity
and accuracy hold the truth in 94 to 96% of cases from 30 groups of each class up; with 15 in 93 to
96%, with 8 in 91 to 95%: percentiles of so few groups know too little of the tails. Stronger
correlation or unequal groups cost another point or two. Where a model makes no error at all the
interval has no width, whatever the number of recordings; use `wilson`.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import ndtr, ndtri, stdtrit

from hsutils.errors import InputError
from hsutils.evaluation.metrics import Metric, auroc, checked

METRICS = ("auroc", "sensitivity", "specificity", "accuracy", "macc", "f1", "ppv", "npv")

# Weights held at once: 32 MB, however many resamples are asked for.
_CELLS = 2**22


def wilson(
    successes: ArrayLike, n: ArrayLike, level: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Score interval of a proportion (Wilson 1927), sound at 0 and 1 and for small n.

    It holds for independent recordings; for grouped ones use `cluster_bootstrap`.

    Args:
        successes, n: counts of any one shape, 0 <= successes <= n and n >= 1.
        level: share of such intervals that hold the true proportion, in (0, 1).

    Returns:
        (low, high), each of that shape, in [0, 1].

    Raises:
        InputError: if the counts are impossible or the level lies outside (0, 1).

    Example:
        >>> low, high = wilson(179, 200)
        >>> print(f"{low:.3f} to {high:.3f}")
        0.845 to 0.930
    """
    z = normal_quantile(level)
    successes, n = np.asarray(successes, dtype=float), np.asarray(n, dtype=float)
    if not ((n >= 1) & (successes >= 0) & (successes <= n)).all():
        raise InputError("wilson: give counts with 0 <= successes <= n and n of at least 1")
    share = successes / n
    center = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return np.clip(center - half, 0, 1), np.clip(center + half, 0, 1)


def cluster_bootstrap(
    labels: ArrayLike,
    logits: ArrayLike,
    groups: ArrayLike | None = None,
    metrics: Mapping[str, Metric] | None = None,
    level: float = 0.95,
    n_resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Percentile bootstrap intervals of several metrics, resampling whole groups.

    Groups are drawn with replacement within each class composition (only normal, only abnormal,
    both), so every resample holds both classes and the balance of the split stays, as it would
    if the split were made anew. The percentiles lie a little farther out than `level`, by
    `expanded_level`, because groups are few.

    Args:
        labels: (n,) 0 normal, 1 abnormal; both must occur.
        logits: (n,) finite; called abnormal above 0. For another threshold subtract it first.
        groups: (n,) names; recordings of one name are drawn together. None: each on its own.
        metrics: name -> metric of (labels, logits); without it the eight of `METRICS`. macc is
            the Challenge's score, the mean of sensitivity and specificity; f1, ppv and npv take
            abnormal as the class to be found.
        level: share of the resamples inside the interval, in (0, 1).
        n_resamples: number of resamples.
        seed: of the resampling; the same seed gives the same intervals.

    Returns:
        One row a metric: metric, value, low, high, undefined. The last counts the resamples in
        which the metric does not exist (ppv where nothing is called abnormal); they are left out
        of the interval, which is NaN only if all are.

    Raises:
        InputError: if lengths differ, a value is unusable, a class is missing, or a group unnamed.
    """
    values = evaluate(labels, logits, metrics)
    reached = expanded_level(labels, groups, level)
    drawn = resamples(labels, logits, groups, metrics, n_resamples, seed)
    rows = [(name, values[name], *percentiles(drawn[name], reached)) for name in values]
    return pd.DataFrame(rows, columns=["metric", "value", "low", "high", "undefined"])


def resamples(
    labels: ArrayLike,
    logits: ArrayLike,
    groups: ArrayLike | None = None,
    metrics: Mapping[str, Metric] | None = None,
    n_resamples: int = 2000,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Each metric in each resample of whole groups; see `cluster_bootstrap`.

    Which groups are drawn depends on labels, groups and seed alone, so two models evaluated on the
    same recordings with the same seed are paired resample by resample.

    Returns:
        metric -> (n_resamples,), NaN where a resample leaves the metric undefined.

    Raises:
        InputError: as `cluster_bootstrap`.
    """
    labels, logits = _both_classes(labels, logits)
    parts = []
    for weights in multiplicities(labels, group_codes(groups, len(labels)), n_resamples, seed):
        if metrics is None:
            parts.append(weighted_metrics(labels, logits, weights))
        else:
            parts.append(_repeated(labels, logits, weights, metrics))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def evaluate(
    labels: ArrayLike, logits: ArrayLike, metrics: Mapping[str, Metric] | None = None
) -> dict[str, float]:
    """Each metric of the recordings as they are; by default those of `METRICS`."""
    labels, logits = _both_classes(labels, logits)
    if metrics is not None:
        return {name: float(metric(labels, logits)) for name, metric in metrics.items()}
    alone = weighted_metrics(labels, logits, np.ones((1, len(labels))))
    return {name: float(value[0]) for name, value in alone.items()}


def weighted_metrics(
    labels: np.ndarray, logits: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """The metrics of `METRICS` under many weightings of the same recordings, at logit 0.

    Args:
        labels, logits: (n,)
        weights: (resamples, n), how often each recording counts.

    Returns:
        metric -> (resamples,), NaN where undefined.
    """
    called = logits > 0
    tp, fn = weights @ (called & (labels == 1)), weights @ (~called & (labels == 1))
    fp, tn = weights @ (called & (labels == 0)), weights @ (~called & (labels == 0))
    with np.errstate(invalid="ignore"):
        sensitivity, specificity = tp / (tp + fn), tn / (tn + fp)
        return {
            "auroc": np.divide(*weighted_wins(labels, logits, weights)),
            "sensitivity": sensitivity,
            "specificity": specificity,
            "accuracy": (tp + tn) / (tp + fn + tn + fp),
            "macc": (sensitivity + specificity) / 2,
            "f1": 2 * tp / (2 * tp + fp + fn),
            "ppv": tp / (tp + fp),
            "npv": tn / (tn + fn),
        }


def weighted_wins(
    labels: np.ndarray, logits: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of an abnormal and a normal recording: those ranked right (ties half), and all.

    Args:
        labels, logits, weights: as in `weighted_metrics`.

    Returns:
        Two arrays (resamples,), exact for whole weights; their ratio is the AUROC.
    """
    order = np.argsort(logits, kind="stable")
    normal, abnormal = order[labels[order] == 0], order[labels[order] == 1]
    # Weight of the normal recordings among the first k; the mean of both sides halves ties.
    heaped = np.zeros((len(weights), len(normal) + 1))
    np.cumsum(weights[:, normal], axis=1, out=heaped[:, 1:])
    below, up_to = (np.searchsorted(logits[normal], logits[abnormal], s) for s in ("left", "right"))
    wins = (weights[:, abnormal] * (heaped[:, below] + heaped[:, up_to])).sum(axis=1) / 2
    return wins, heaped[:, -1] * weights[:, abnormal].sum(axis=1)


def multiplicities(
    classes: np.ndarray, codes: np.ndarray, n_resamples: int, seed: int
) -> Iterator[np.ndarray]:
    """Blocks of (resamples, n): how often each recording's group was drawn.

    Args:
        classes: (n,) integers from 0; a group stands in for one that holds the same classes.
        codes: (n,) groups, as numbered by `group_codes`.
        n_resamples: rows of all blocks together, at least 1.
        seed: of the draws.
    """
    if n_resamples < 1:
        raise InputError(f"n_resamples: {n_resamples} is too few; 2000 is usual")
    rng = np.random.default_rng(seed)
    holds = [np.bincount(codes, classes == c) > 0 for c in range(classes.max() + 1)]
    composition = np.sum([has * 2**c for c, has in enumerate(holds)], axis=0)
    strata = [np.flatnonzero(composition == c) for c in np.unique(composition)]
    block = max(1, _CELLS // len(classes))
    for start in range(0, n_resamples, block):
        rows = min(block, n_resamples - start)
        times = np.empty((rows, len(composition)))
        for stratum in strata:
            size = len(stratum)
            drawn = rng.integers(0, size, (rows, size)) + size * np.arange(rows)[:, None]
            counts = np.bincount(drawn.ravel(), minlength=rows * size)
            times[:, stratum] = counts.reshape(rows, size)
        yield times[:, codes]


def expanded_level(labels: ArrayLike, groups: ArrayLike | None, level: float) -> float:
    """The level at which percentiles reach `level` coverage although the groups are few.

    A bootstrap of n groups is too narrow by sqrt((n - 1) / n) and ignores that Student's t has
    heavier tails than the normal; wider percentiles undo both (Hesterberg 2015, The American
    Statistician 69, section 4.4). n is the number of groups that hold the rarer class.

    Raises:
        InputError: if the level lies outside (0, 1) or all recordings of a class are one group.
    """
    normal_quantile(level)
    labels = np.asarray(labels)
    codes = group_codes(groups, len(labels))
    n = min(len(np.unique(codes[labels == c])) for c in (0, 1))
    if n < 2:
        raise InputError(
            "groups: all recordings of a class belong to one group; an interval needs two groups"
        )
    reach = np.sqrt(n / (n - 1)) * stdtrit(n - 1, (1 + level) / 2)
    return float(1 - 2 * ndtr(-reach))


def percentiles(values: np.ndarray, level: float) -> tuple[float, float, int]:
    """(low, high, undefined): the middle `level` of the defined values, the number of others."""
    defined = values[np.isfinite(values)]
    undefined = len(values) - len(defined)
    if not len(defined):
        return np.nan, np.nan, undefined
    # Weibull's rule leaves the wanted share outside on average, however few the resamples.
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2], method="weibull")
    return float(low), float(high), undefined


def group_codes(groups: ArrayLike | None, n: int) -> np.ndarray:
    """(n,) integers from 0, one for each distinct group; without groups one a recording.

    Raises:
        InputError: if there is not one named group a recording.
    """
    if groups is None:
        return np.arange(n)
    codes, _ = pd.factorize(np.asarray(groups, dtype=object))
    if len(codes) != n:
        raise InputError(f"groups: {len(codes)} for {n} recordings; give one each")
    if (codes < 0).any():
        raise InputError(f"groups: {(codes < 0).sum()} are missing; name the group of each")
    return codes


def normal_quantile(level: float) -> float:
    """How many standard errors a two-sided interval of this level reaches to each side.

    Raises:
        InputError: if the level lies outside (0, 1).
    """
    if not 0 < level < 1:
        raise InputError(f"level: {level} is not between 0 and 1; 0.95 is usual")
    return float(ndtri((1 + level) / 2))


def _both_classes(labels: ArrayLike, logits: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    auroc(labels, logits)
    return checked(labels, logits)


def _repeated(
    labels: np.ndarray, logits: np.ndarray, weights: np.ndarray, metrics: Mapping[str, Metric]
) -> dict[str, np.ndarray]:
    values = {name: np.full(len(weights), np.nan) for name in metrics}
    for i, times in enumerate(weights.astype(int)):
        drawn = np.repeat(np.arange(len(labels)), times)
        for name, metric in metrics.items():
            try:
                values[name][i] = metric(labels[drawn], logits[drawn])
            except InputError:
                continue  # Undefined here, as when nothing was drawn that the metric needs.
    return values
