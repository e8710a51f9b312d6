"""What part of a score is ranking inside databases, and what part is telling databases apart?

AUROC is the share of (abnormal, normal) pairs ranked right. Where databases differ in their share
of abnormal recordings, a pair from two databases can be ranked by the stethoscope alone; a pair
from one database cannot.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from hsutils.errors import InputError
from hsutils.evaluation.intervals import (
    expanded_level,
    group_codes,
    multiplicities,
    percentiles,
    resamples,
    weighted_wins,
)
from hsutils.evaluation.metrics import checked

POOLS = ("pooled", "between", "all")
"""Pairs of the same database, of two different ones, and both together."""


def within_database(
    cases: pd.DataFrame,
    models: Sequence[str] | Mapping[str, Sequence[str]],
    n_resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """AUROC inside each database, over all pairs of one database, of two, and over all pairs.

    "all" is the ordinary AUROC: the mean of "pooled" and "between", weighted by their pairs. Of a
    model with several seeds it is the mean over them, in every resample as well, so that the
    interval is that of the mean.

    Args:
        cases: columns record, database, group, label, and columns of logits.
        models: names of those columns, or model -> its columns, one a seed. A seed with NaN in a
            database does not count there; pools are left out unless all logits are known.
        n_resamples, seed: of the bootstrap of whole groups; see `intervals.cluster_bootstrap`.
            Pooled, between and all are evaluated on the same resamples.

    Returns:
        One row a model and database, then one for each of `POOLS`: model, database, recordings,
        abnormal, pairs (of an abnormal and a normal recording), seeds, auroc, low, high (95%). The
        counts of "pooled" leave out databases of one class. AUROC is NaN where there is no pair,
        and the interval where all recordings of a class are one group.

    Raises:
        InputError: if a column is missing or a value is unusable.
    """
    lenient = isinstance(models, Mapping)
    models = models if lenient else {model: [model] for model in models}
    needed = ("database", "group", "label", *(c for columns in models.values() for c in columns))
    if missing := [c for c in needed if c not in cases]:
        raise InputError(
            f"cases: lack the columns {', '.join(missing)}; add them or drop the model"
        )
    rows = []
    for model, columns in models.items():
        for database, part in cases.groupby("database"):
            known = [c for c in columns if not lenient or part[c].notna().all()]
            if not known:
                continue
            row = counts_and_auroc(part, part[known].T, n_resamples, seed)
            pairs = row["abnormal"] * (row["recordings"] - row["abnormal"])
            about = {"model": model, "database": database, "pairs": pairs}
            rows.append(about | {"seeds": len(known)} | row)
        if not lenient or cases[columns].notna().all(axis=None):
            pools = _pools(cases, columns, n_resamples, seed)
            rows += [{"model": model} | row | {"seeds": len(columns)} for row in pools]
    columns = ["model", "database", "recordings", "abnormal", "pairs", "seeds"]
    return pd.DataFrame(rows, columns=[*columns, "auroc", "low", "high"])


def auroc_within(labels: ArrayLike, logits: ArrayLike, databases: ArrayLike) -> float:
    """AUROC over all pairs of one database: `within_database`'s "pooled", without an interval.

    Args:
        labels, logits, databases: (n,).

    Returns:
        The share of such pairs ranked right; NaN where there is none.

    Raises:
        InputError: if a value is unusable.
    """
    codes, once = group_codes(databases, len(np.asarray(labels))), np.ones((1, len(labels)))
    return float(_ratio(*_tallies(*checked(labels, logits), codes, once)["pooled"])[0])


def auroc_interval(
    labels: ArrayLike, logits: ArrayLike, groups: ArrayLike, n_resamples: int = 2000, seed: int = 0
) -> dict[str, float]:
    """AUROC and its 95% interval, or NaN where they do not exist.

    Args:
        labels, groups, n_resamples, seed: as in `intervals.cluster_bootstrap`.
        logits: (n,), or (seeds, n) for the mean over seeds and its interval.

    Returns:
        auroc, low and high: all NaN if a class is missing; the interval NaN if all recordings of
        a class are one group.

    Raises:
        InputError: if a value is unusable.
    """
    every = [checked(labels, row) for row in np.atleast_2d(np.asarray(logits, dtype=float))]
    once = np.ones((1, len(every[0][0])))
    area = np.mean([_ratio(*weighted_wins(*each, once))[0] for each in every])
    ends = (np.nan, np.nan)
    if classes_in_groups(labels, groups, 2):
        drawn = [
            resamples(*each, groups, n_resamples=n_resamples, seed=seed)["auroc"] for each in every
        ]
        ends = percentiles(np.mean(drawn, axis=0), expanded_level(labels, groups, 0.95))[:2]
    return {"auroc": float(area), "low": ends[0], "high": ends[1]}


def counts_and_auroc(
    part: pd.DataFrame, logits: ArrayLike, n_resamples: int = 2000, seed: int = 0
) -> dict[str, float]:
    """A row on these recordings: how many there are, and `auroc_interval`.

    Args:
        part: columns label and group; there may be no rows.
        logits, n_resamples, seed: as for `auroc_interval`.

    Returns:
        recordings, abnormal, auroc, low and high.

    Raises:
        InputError: if a value is unusable.
    """
    if part.empty:
        return _counts(part) | dict.fromkeys(("auroc", "low", "high"), np.nan)
    return _counts(part) | auroc_interval(part.label, logits, part.group, n_resamples, seed)


def classes_in_groups(labels: ArrayLike, groups: ArrayLike, least: int) -> bool:
    """Whether each class is in that many groups: as many as folds, or two for an interval.

    Args:
        labels, groups: (n,).
    """
    labels, groups = np.asarray(labels), np.asarray(groups)
    return min(len(set(groups[labels == c])) for c in (0, 1)) >= least


def _pools(cases: pd.DataFrame, columns: Sequence[str], n_resamples: int, seed: int) -> list[dict]:
    """The rows of `POOLS` of one model, its seeds averaged."""
    databases, groups = (group_codes(cases[c], len(cases)) for c in ("database", "group"))
    labels = checked(cases.label, cases[columns[0]])[0]
    draws = list(multiplicities(labels, groups, n_resamples, seed))
    once, drawn = [], []
    for column in columns:
        logits = checked(cases.label, cases[column])[1]
        once.append(_tallies(labels, logits, databases, np.ones((1, len(labels)))))
        drawn.append([_tallies(labels, logits, databases, weights) for weights in draws])
    of_both = cases[cases.groupby("database").label.transform("nunique") == 2]
    rows = []
    for pool in POOLS:
        part, low, high = of_both if pool == "pooled" else cases, np.nan, np.nan
        if classes_in_groups(part.label, part.group, 2):
            values = [np.concatenate([_ratio(*t[pool]) for t in tallies]) for tallies in drawn]
            level = expanded_level(part.label, part.group, 0.95)
            low, high, _ = percentiles(np.mean(values, axis=0), level)
        counts = _counts(part) | {"pairs": int(once[0][pool][1][0])}
        area = float(np.mean([_ratio(*tally[pool])[0] for tally in once]))
        rows.append({"database": pool} | counts | {"auroc": area, "low": low, "high": high})
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


def _counts(part: pd.DataFrame) -> dict[str, int]:
    return {"recordings": len(part), "abnormal": int(part.label.sum())}
