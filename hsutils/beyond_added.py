"""What is gathered here, added to what another machine gathered of the same recordings.

Training every recipe takes days on two cores, so that machines may share the work, each gathering
into the same folder in its turn.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from hsutils.beyond import DIGITS, Beyond
from hsutils.beyond_tables import logit_columns
from hsutils.errors import InputError
from hsutils.trust import ABOUT

SAME = 3 * 10**-DIGITS
"""Logits of one model that two machines have computed and rounded differ by less."""

KEYS = {
    "inner": ["profile", "model", "seed", "left_out"],
    "recipes": ["profile", "model"],
    "frozen_features": ["profile", "seed", "left_out"],
}
"""What tells apart those rows that are gathered together."""


def added(before: Beyond, gathered: Beyond) -> Beyond:
    """Everything of `gathered`, and of `before` what `gathered` knows nothing of.

    Raises:
        InputError: if they are of different recordings, or know of a database left out no model
            in common, by which recordings without names are told apart.
    """
    made = {name: _with_rows(before, gathered, name) for name in KEYS}
    made["published"] = _with_columns(before.published, gathered.published)
    made["left_out"] = _by_database(before.left_out, gathered.left_out)
    # The rest is of the recordings alone, but the weights of one model, which may not be here.
    for name in ("storage", "inside", "cycles", "weights"):
        here = getattr(gathered, name)
        made[name] = here if len(here) else getattr(before, name)
    return Beyond(**made)


def _with_rows(before: Beyond, gathered: Beyond, name: str) -> pd.DataFrame:
    old, new = (getattr(kept, name) for kept in (before, gathered))
    known, asked = (pd.MultiIndex.from_frame(t[KEYS[name]].fillna("")) for t in (new, old))
    return _stacked([old[~asked.isin(known)], new])


def _stacked(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    filled = [part for part in parts if len(part)]
    return pd.concat(filled, ignore_index=True) if filled else parts[-1]


def _with_columns(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """Both tables' logits, row by row; where both have one it is the new one.

    Raises:
        InputError: if rows are of other recordings.
    """
    if old.empty or new.empty:
        return new if old.empty else old
    about = [c for c in ("split", *ABOUT) if c in old and c != "group"]
    if list(old[about].itertuples(index=False)) != list(new[about].itertuples(index=False)):
        raise InputError("what the folder holds is of other recordings: gather into another one")
    columns = logit_columns(old) + [c for c in logit_columns(new) if c not in old]
    logits = {
        c: new[c].fillna(old[c]) if {c} <= {*old} & {*new} else (old if c in old else new)[c]
        for c in columns
    }
    rest = new.drop(columns=logit_columns(new))
    return rest.join(pd.DataFrame(logits).round(DIGITS))


def _by_database(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """Recordings of databases left out, which are sorted anew: those of one by a common logit."""
    first = new.group.max() + 1 if len(new) else 0
    parts = []
    for database in sorted({*old.database, *new.database}):
        here, there = (table[table.database == database] for table in (new, old))
        if len(here) and len(there):
            here = _with_columns(*_told_apart(there, here, database))
        parts.append(here if len(here) else there.assign(group=there.group + first))
    return _stacked(parts)


def _told_apart(
    old: pd.DataFrame, new: pd.DataFrame, database: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    shared = [c for c in logit_columns(old) if c in new and old[c].notna().all()]
    shared = [c for c in shared if new[c].notna().all()]
    if not shared:
        raise InputError(f"{database} left out: no model of the folder's is here: train one again")
    by = [*(c for c in ABOUT if c != "group" and c in old), shared[0]]
    old, new = (table.sort_values(by, ignore_index=True) for table in (old, new))
    if len(old) == len(new) and not np.allclose(old[shared[0]], new[shared[0]], atol=SAME):
        raise InputError(f"logits of {shared[0]} have changed: gather all runs anew")
    return old, new
