"""What part of a score is ranking inside databases, and what part is telling databases apart?

AUROC is the share of (abnormal, normal) pairs ranked right. Where databases differ in their share
of abnormal recordings, a pair from two databases can be ranked by the stethoscope alone; a pair
from one database cannot.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from hsutils.errors import InputError
from hsutils.intervals import (
    cluster_bootstrap,
    expanded_level,
    group_codes,
    multiplicities,
    percentiles,
    weighted_wins,
)
from hsutils.metrics import checked

POOLS = ("pooled", "between", "all")
"""Pairs of the same database, of two different ones, and both together."""


def within_database(
    cases: pd.DataFrame, models: Sequence[str], n_resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """AUROC inside each database, over all pairs of one database, of two, and over all pairs.

    "all" is the ordinary AUROC: the mean of "pooled" and "between", weighted by their pairs.

    Args:
        cases: columns record, database, group, label, and one column of logits a model.
        models: names of those columns.
        n_resamples, seed: of the bootstrap of whole groups; see `intervals.cluster_bootstrap`.
            Pooled, between and all are evaluated on the same resamples.

    Returns:
        One row a model and database, then one for each of `POOLS`: model, database, recordings,
        abnormal, pairs (of an abnormal and a normal recording), auroc, low, high (95%). The counts
        of "pooled" leave out databases of one class. AUROC is NaN where there is no pair, and the
        interval where all recordings of a class are one group.

    Raises:
        InputError: if a column is missing or a value is unusable.
    """
    if missing := [c for c in ("database", "group", "label", *models) if c not in cases]:
        raise InputError(
            f"cases: lack the columns {', '.join(missing)}; add them or drop the model"
        )
    rows = []
    for model in models:
        for database, part in cases.groupby("database"):
            area = auroc_interval(part.label, part[model], part.group, n_resamples, seed)
            rows.append({"model": model, "database": database} | _counts(part) | area)
        rows += [{"model": model} | row for row in _pools(cases, model, n_resamples, seed)]
    return pd.DataFrame(rows)


def auroc_interval(
    labels: ArrayLike, logits: ArrayLike, groups: ArrayLike, n_resamples: int = 2000, seed: int = 0
) -> dict[str, float]:
    """AUROC and its 95% interval, or NaN where they do not exist.

    Args:
        labels, logits, groups, n_resamples, seed: as in `intervals.cluster_bootstrap`.

    Returns:
        auroc, low and high: all NaN if a class is missing; the interval NaN if all recordings of
        a class are one group.

    Raises:
        InputError: if a value is unusable.
    """
    labels, logits = checked(labels, logits)
    if _has_interval(labels, groups):
        table = cluster_bootstrap(labels, logits, groups, n_resamples=n_resamples, seed=seed)
        row = table.set_index("metric").loc["auroc"]
        return {"auroc": float(row.value), "low": float(row.low), "high": float(row.high)}
    area = _ratio(*weighted_wins(labels, logits, np.ones((1, len(labels)))))
    return {"auroc": float(area[0]), "low": np.nan, "high": np.nan}


def _pools(cases: pd.DataFrame, model: str, n_resamples: int, seed: int) -> list[dict]:
    """The rows of `POOLS` of one model."""
    labels, logits = checked(cases.label, cases[model])
    databases, groups = (group_codes(cases[c], len(cases)) for c in ("database", "group"))
    once = _tallies(labels, logits, databases, np.ones((1, len(labels))))
    draws = multiplicities(labels, groups, n_resamples, seed)
    drawn = [_tallies(labels, logits, databases, weights) for weights in draws]
    of_both = cases[cases.groupby("database").label.transform("nunique") == 2]
    rows = []
    for pool in POOLS:
        part, low, high = of_both if pool == "pooled" else cases, np.nan, np.nan
        if _has_interval(part.label, part.group):
            values = np.concatenate([_ratio(*tally[pool]) for tally in drawn])
            low, high, _ = percentiles(values, expanded_level(part.label, part.group, 0.95))
        counts = _counts(part) | {"pairs": int(once[pool][1][0])}
        area = {"auroc": float(_ratio(*once[pool])[0]), "low": low, "high": high}
        rows.append({"database": pool} | counts | area)
    return rows


def _tallies(
    labels: np.ndarray, logits: np.ndarray, databases: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """For each of `POOLS` the pairs ranked right, and all its pairs: (2, resamples)."""
    every = np.array(weighted_wins(labels, logits, weights))
    inside = np.zeros_like(every)
    for database in np.unique(databases):
        here = databases == database
        inside += weighted_wins(labels[here], logits[here], weights[:, here])
    return {"pooled": inside, "between": every - inside, "all": every}


def _ratio(wins: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Their quotient, NaN where there is no pair."""
    with np.errstate(invalid="ignore"):
        return wins / pairs


def _has_interval(labels: ArrayLike, groups: ArrayLike) -> bool:
    """Whether each class is in two groups."""
    labels, groups = np.asarray(labels), np.asarray(groups)
    return min(len(set(groups[labels == c])) for c in (0, 1)) > 1


def _counts(part: pd.DataFrame) -> dict[str, int]:
    abnormal = int(part.label.sum())
    pairs = abnormal * (len(part) - abnormal)
    return {"recordings": len(part), "abnormal": abnormal, "pairs": pairs}
