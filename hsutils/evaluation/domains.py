"""How well a model ranks recordings of one database, and those of an unseen one.

AUROC is the share of (abnormal, normal) pairs ranked right. Where databases differ in their share
of abnormal recordings, the recording device alone can rank a pair from two databases. It cannot
rank a pair from one database.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from hsutils.evaluation import intervals

PROTOCOLS = ALL, WITHIN, UNSEEN = "all pairs", "within one database", "unseen database"
COLUMNS = ["model", "protocol", "database", "recordings", "abnormal", "seeds"]
COLUMNS += ["auroc", "low", "high"]

Models = Mapping[str, Sequence[str]]
"""Model -> its columns of logits, one per seed; the interval is that of their mean."""


def within_database(cases: pd.DataFrame, models: Models) -> pd.DataFrame:
    """AUROC inside each database, over all pairs of one database, and over all pairs.

    Args:
        cases: columns database, group, label, and columns of logits.
        models: see `Models`.

    Returns:
        `COLUMNS`, for each model: protocol `WITHIN` of each database, and of database "" for all
        of both classes; protocol `ALL` of database "".
    """
    both = cases[cases.groupby("database").label.transform("nunique") == 2]
    parts = [(WITHIN, database, part, None) for database, part in cases.groupby("database")]
    parts += [(WITHIN, "", both, both.database), (ALL, "", cases, None)]
    rows = [
        {"model": model, "seeds": len(columns), "protocol": protocol, "database": database}
        | counts_and_auroc(part, part[columns].T, strata=strata)
        for model, columns in models.items()
        for protocol, database, part, strata in parts
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def unseen_databases(cases: pd.DataFrame, models: Models, n_resamples: int = 2000) -> pd.DataFrame:
    """AUROC of models in databases that they were not trained with, and its mean over these.

    Cases are as for `within_database`; logits are NaN where that seed was not tested. Each
    database is resampled on its own.

    Returns:
        `COLUMNS`: one row per model and database, then database "" for the mean of a model that was
        tested in every one.
    """
    parts, rows, tested = dict(iter(cases.groupby("database"))), [], {}
    for model, columns in models.items():
        for database, part in parts.items():
            if known := [column for column in columns if part[column].notna().all()]:
                tested[model, database] = known
                row = {"model": model, "database": database, "seeds": len(known)}
                rows.append(row | counts_and_auroc(part, part[known].T, n_resamples))
    both_classes = pd.DataFrame(rows, columns=COLUMNS).dropna(subset="auroc")
    asked = sorted(set(both_classes.database))
    for model, part in both_classes.groupby("model", sort=False):
        if len(part) == len(asked):
            drawn = [
                drawn_aurocs(parts[database], tested[model, database], n_resamples, seed)
                for seed, database in enumerate(asked)
            ]
            low, high = intervals.percentiles(np.mean(drawn, axis=0))
            row = {"model": model, "database": "", "seeds": part.seeds.min(), "low": low}
            row |= {"high": high, "auroc": part.auroc.mean()}
            rows.append(row | part[["recordings", "abnormal"]].sum().to_dict())
    return pd.DataFrame(rows, columns=COLUMNS).assign(protocol=UNSEEN)


def counts_and_auroc(
    part: pd.DataFrame,
    logits: ArrayLike,
    n_resamples: int = 2000,
    strata: ArrayLike | None = None,
) -> dict[str, float]:
    """recordings, abnormal, and auroc, low, high as in `intervals.auroc_and_interval`.

    `part` has columns label and group, and may have no rows.
    """
    counts = {"recordings": len(part), "abnormal": int(part.label.sum())}
    if part.empty:
        return counts | dict.fromkeys(("auroc", "low", "high"), np.nan)
    found = intervals.auroc_and_interval(part.label, logits, part.group, n_resamples, strata)
    return counts | found


def drawn_aurocs(
    part: pd.DataFrame, columns: Sequence[str], n_resamples: int, seed: int
) -> np.ndarray:
    """(n_resamples,) AUROC, mean over columns of logits; spread wider where groups are few."""
    about = part.group, n_resamples, seed
    every = [intervals.resamples(part.label, part[c], *about)["auroc"] for c in columns]
    drawn = np.mean(every, axis=0)
    return drawn.mean() + intervals.expansion(part.label, part.group) * (drawn - drawn.mean())
