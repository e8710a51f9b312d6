"""What is gathered here, added to what another machine gathered of the same recordings.

Training every recipe takes days on two cores, so that machines may share the work, each gathering
into the same folder in its turn. What the folder holds stays as it is.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from hsutils.studies.beyond import Beyond
from hsutils.errors import InputError
from hsutils.studies.finished import counts_whole
from hsutils.studies.new_databases import logit_columns

KEYS = {
    "inner": ["profile", "model", "seed", "left_out"],
    "recipes": ["profile", "model"],
    "frozen_features": ["profile", "seed", "left_out"],
    "future_work": ["profile", "change", "seed"],
}
"""What tells apart those rows that are gathered together."""

MEASURED = ["milliseconds", "threads", "processor"]
"""Of a network, by the machine that gathers."""


def added(before: Beyond, gathered: Beyond) -> Beyond:
    """Everything of `before`, and of `gathered` what `before` knows nothing of.

    Of a recipe trained here with other seeds than there, size, cost and seconds are those of there;
    so are the milliseconds of a network that was measured there under any name, lest the speed of
    a machine be read as that of a recipe.

    Raises:
        InputError: if they are of different recordings.
    """
    made = {
        name: _rows(getattr(before, name), getattr(gathered, name), KEYS[name]) for name in KEYS
    }
    made["recipes"] = _measured_once(counts_whole(made["recipes"]), len(before.recipes))
    made["published"] = _columns(before.published, gathered.published, "published")
    made["left_out"] = _by_database(before.left_out, gathered.left_out)
    # The rest is of the recordings alone, but the weights of one model.
    for name in ("storage", "trees", "inside", "cycles", "weights"):
        there = getattr(before, name)
        made[name] = there if len(there) else getattr(gathered, name)
    return Beyond(**made)


def _rows(old: pd.DataFrame, new: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    known, asked = (
        pd.MultiIndex.from_frame(table[keys].astype("string").fillna("")) for table in (old, new)
    )
    return _stacked([old, new[~asked.isin(known)]])


def _measured_once(recipes: pd.DataFrame, known: int) -> pd.DataFrame:
    """The first `known` rows as they are; networks like theirs cost what theirs do."""
    made, measured = recipes.copy(), [column for column in MEASURED if column in recipes]
    size = list(zip(recipes.parameters.fillna(0), recipes.multiply_adds.fillna(0), strict=True))
    for row in range(known, len(recipes)):
        # Of models without parameters nothing tells that they are alike.
        if size[row][0] and size[row] in size[:known]:
            same = recipes.iloc[size.index(size[row])]
            made.loc[row, measured] = same[measured].to_numpy()
    return made


def _stacked(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    filled = [part for part in parts if len(part)]
    return pd.concat(filled, ignore_index=True) if filled else parts[0]


def _columns(old: pd.DataFrame, new: pd.DataFrame, where: str) -> pd.DataFrame:
    """Both tables' logits, recording by recording, which are in one order on any machine.

    Raises:
        InputError: if rows are of other recordings.
    """
    if old.empty or new.empty:
        return new if old.empty else old
    about, other = (table.drop(columns=logit_columns(table)) for table in (old, new))
    groups = [pd.factorize(table.group)[0] for table in (about, other)]
    facts = [t.drop(columns="group").fillna(-1).to_numpy().tolist() for t in (about, other)]
    if facts[0] != facts[1] or not np.array_equal(*groups):
        raise InputError(f"{where}: the folder holds other recordings; gather into another one")
    logits = {c: new[c].to_numpy() for c in logit_columns(new)}
    fresh = {c: values for c, values in logits.items() if c not in old}
    # A model may have been asked about some databases there and about the others here.
    filled = {c: old[c].fillna(pd.Series(logits[c], old.index)) for c in logits if c in old}
    return old.assign(**filled, **fresh)


def _by_database(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """Recordings of databases left out, some of which only one machine may know."""
    if old.empty or new.empty:
        return new if old.empty else old
    # Groups of a database known here alone are numbered after those of there.
    new = new.assign(group=new.group + old.group.max() + 1)
    parts = [
        _columns(
            *(table[table.database == database] for table in (old, new)), f"{database} left out"
        )
        for database in sorted({*old.database, *new.database})
    ]
    return _stacked(parts)
