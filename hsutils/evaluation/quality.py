"""Does a model depend on how well, or how long, a recording was made?

Noise and length are no diseases, but they go with the database, and the database goes with the
label: a model may do well on clean recordings only, or read the length off the padding.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from hsutils.errors import InputError
from hsutils.evaluation.intervals import cluster_bootstrap
from hsutils.evaluation.metrics import CLASSES
from hsutils.evaluation.domains import counts_and_auroc


def by_quality(cases: pd.DataFrame, models: Sequence[str]) -> pd.DataFrame:
    """AUROC of each model on all recordings, the usable ones and those too noisy to be sure.

    Args:
        cases: columns label (0 normal, 1 abnormal), quality (1 usable, 0 too noisy), group, and
            one of logits a model; one row a recording.
        models: the columns of logits.

    Returns:
        One row a model and subset: model, subset ("all", "usable", "too noisy"), recordings,
        abnormal, auroc, and its 95 % interval low, high. All three are NaN where a class is
        missing, the interval also where a class has one group only.

    Raises:
        InputError: naming the columns that are missing, or if a value is unusable.
    """
    _require(cases, ["quality"], models)
    subsets = {
        "all": cases,
        "usable": cases[cases.quality == 1],
        "too noisy": cases[cases.quality == 0],
    }
    rows = [
        {"model": model, "subset": subset, **counts_and_auroc(part, part[model])}
        for model in models
        for subset, part in subsets.items()
    ]
    return pd.DataFrame(rows)


def by_length(cases: pd.DataFrame, models: Sequence[str], bins: int = 4) -> pd.DataFrame:
    """AUROC of each model among recordings of like length, in equally filled bins.

    Args:
        cases: as for `by_quality`, with a column seconds.
        models: the columns of logits.
        bins: number of bins, at least 1. Equal lengths share a bin, so ties leave fewer.

    Returns:
        One row a model and bin, the shortest recordings first: model, shortest, longest
        (seconds), recordings, abnormal, auroc, low, high as in `by_quality`.

    Raises:
        InputError: as `by_quality`, or if there is no bin.
    """
    _require(cases, ["seconds"], models)
    if bins < 1:
        raise InputError(f"bins: {bins} is too few; give at least 1")
    edges = np.quantile(cases.seconds, np.linspace(0, 1, bins + 1)[1:-1])
    position = np.searchsorted(edges, cases.seconds)
    rows = [
        {
            "model": model,
            "shortest": part.seconds.min(),
            "longest": part.seconds.max(),
            **counts_and_auroc(part, part[model]),
        }
        for model in models
        for _, part in cases.groupby(position)
    ]
    return pd.DataFrame(rows)


def length_score(cases: pd.DataFrame, models: Sequence[str]) -> pd.DataFrame:
    """Does a model's logit follow the length, where the label does not change with it?

    Spearman's rank correlation of logit and seconds within each class: 0 for a model that hears
    hearts only, unless the sick of one class were recorded longer. Over both classes together it
    would be found in any good model: the Challenge's abnormal recordings are a little longer.

    Databases differ in length, so that a model which knows no more than the database follows the
    length as well. The second correlation is free of that: ranks are taken within each database.

    Args:
        cases: as for `by_quality`, with columns database and seconds.
        models: the columns of logits.

    Returns:
        One row a model and class: model, label (0, 1), recordings, spearman and its 95 %
        interval low, high from resampled groups; within, within_low, within_high, the same with
        ranks within databases. NaN where logits or lengths are all equal.

    Raises:
        InputError: naming the columns that are missing, or as `intervals.cluster_bootstrap`.
    """
    _require(cases, ["seconds", "database"], models)
    pairs = [(model, label) for model in models for label in range(len(CLASSES))]
    databases = pd.factorize(cases.database)[0]
    names = pd.DataFrame(pairs, columns=["model", "label"])
    names["recordings"] = names.label.map(cases.label.value_counts())
    strata = {"spearman": np.zeros_like(databases), "within": databases}
    for name, codes in strata.items():
        metrics = {pair: _spearman_within(cases, *pair, codes) for pair in pairs}
        # A metric is handed labels and logits; row numbers in their place tell it everything.
        table = cluster_bootstrap(cases.label, np.arange(len(cases)), cases.group, metrics)
        ends = ("low", "high") if name == "spearman" else (f"{name}_low", f"{name}_high")
        names[[name, *ends]] = table[["value", "low", "high"]].to_numpy()
    return names


def _spearman_within(
    cases: pd.DataFrame, model: str, label: int, strata: np.ndarray
) -> Callable[[np.ndarray, np.ndarray], float]:
    """Correlation of ranks taken within one class and each stratum, every recording of one weight.

    Args:
        strata: (n,) codes from 0; all 0 for Spearman's own correlation.
    """
    logits, seconds = (np.unique(cases[x], return_inverse=True)[1] for x in (model, "seconds"))

    def metric(labels: np.ndarray, rows: np.ndarray) -> float:
        chosen = rows[labels == label].astype(int)
        parts = [chosen[strata[chosen] == stratum] for stratum in range(strata.max() + 1)]
        x, y = (
            np.concatenate([_centered_ranks(values[p]) / max(1, len(p)) for p in parts])
            for values in (logits, seconds)
        )
        spread = np.sqrt((x @ x) * (y @ y))
        return float(x @ y / spread) if spread else np.nan

    return metric


def _centered_ranks(codes: np.ndarray) -> np.ndarray:
    """Ranks of small integers less their mean, ties in the middle; no sorting, so fast."""
    ties = np.bincount(codes)
    return (np.cumsum(ties) - ties / 2 - len(codes) / 2)[codes]


def _require(cases: pd.DataFrame, columns: Sequence[str], models: Sequence[str]) -> None:
    needed = ["label", "group", *columns, *models]
    if missing := [name for name in needed if name not in cases]:
        raise InputError(f"cases: lacks the columns {', '.join(missing)}; add them")
