"""What sixty numbers of a heart tell, in words read off the tables."""

import numpy as np
import pandas as pd

from hsutils.studies.beyond import RECIPE
from hsutils.studies.beyond_tables import LEFT_OUT, Tables
from hsutils.studies.cycle_scores import MeanCycle

LINEAR = (MeanCycle.profile, MeanCycle.name)


def sixty(made: Tables) -> str:
    """The linear model in new databases, beside the compact CNN and beside one that is told."""
    rows = made["summary"].set_index(["profile", "model"])
    if LINEAR not in rows.index or np.isnan(rows.new_database[LINEAR]):
        return "no linear model was asked in new databases yet."
    own = rows.loc[LINEAR]
    told = (
        f"a linear model of {own.parameters - 1:.0f} numbers, the mean heart cycle and its rhythm, "
        f"has a mean AUROC of {own.new_database:.3f} ({own.low:.3f} to {own.high:.3f}) in a "
        f"database it never heard"
    )
    if RECIPE in rows.index:
        cnn = rows.loc[RECIPE]
        told += (
            f"; the CNN of the native recipe, {cnn.parameters:,.0f} parameters, has "
            f"{cnn.new_database:.3f}"
        )
    return f"{told}.{_inside(made)}"


def _inside(made: Tables) -> str:
    """What a database's own labels are worth."""
    inside = made.get("inside", pd.DataFrame())
    if inside.empty:
        return ""
    results = made["results"]
    mine = (results.profile == LINEAR[0]) & (results.protocol == LEFT_OUT)
    never = results[mine].groupby("database").auroc.mean()
    each = [
        f"{row.database} {row.auroc:.2f} ({row.low:.2f} to {row.high:.2f}; "
        f"{never[row.database]:.2f})"
        for row in inside.itertuples()
        if row.database in never
    ]
    return (
        " Told the database's own labels instead, cross-validated over groups of recordings, the "
        f"same numbers have {', '.join(each)}; in brackets the 95% interval, and what they have "
        f"where it was never heard. The mean is {inside.auroc.mean():.3f}. Most databases name no "
        "patients, so that one may stand on both sides of a fold, and whatever in its making goes "
        "with the class in one database counts as well."
    )
