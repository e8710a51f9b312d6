"""Evidence of two machines: added together it is what one machine would have gathered."""

import dataclasses

import pandas as pd
import pytest
from test_beyond import planted_beyond

from hsutils.beyond import Beyond
from hsutils.beyond_added import added
from hsutils.beyond_tables import tables
from hsutils.errors import InputError

PAPER, NATIVE = "paper/teacher/0", "native-all/compact baseline/0"
SECOND = "native-all/compact baseline/1"


@pytest.fixture(scope="module")
def whole() -> Beyond:
    return planted_beyond()


def only(kept: Beyond, *columns: str) -> Beyond:
    """What a machine with these models alone would have gathered, its recordings in its order."""
    others = {PAPER, NATIVE, SECOND} - set(columns)
    profiles = {column.split("/")[0] for column in columns}
    made = {
        name: table[table.profile.str.replace("-each-once", "").isin(profiles)]
        for name in ("inner", "recipes", "frozen_features")
        for table in [getattr(kept, name)]
    }
    left_out = kept.left_out.drop(columns=others).sort_values(["database", columns[0]])
    made["published"] = kept.published.drop(columns=others)
    return dataclasses.replace(kept, left_out=left_out.reset_index(drop=True), **made)


def same_tables(one: Beyond, other: Beyond) -> None:
    """But for the ends of intervals: which groups are resampled goes by their order."""
    ours, theirs = (
        {name: table.drop(columns=["low", "high"], errors="ignore") for name, table in made.items()}
        for made in (tables(one), tables(other))
    )
    for name, table in ours.items():
        by = [column for column in table if not pd.api.types.is_float_dtype(table[column])]
        both = (made[name].sort_values(by, ignore_index=True) for made in (ours, theirs))
        pd.testing.assert_frame_equal(*both, check_dtype=False)


def test_two_halves_make_the_whole(whole):
    same_tables(added(only(whole, PAPER, NATIVE), only(whole, NATIVE, SECOND)), whole)


def test_databases_may_be_left_out_on_either_machine(whole):
    there, here = only(whole, PAPER, NATIVE), only(whole, NATIVE, SECOND)
    some = there.left_out[there.left_out.database < "d"]
    rest = here.left_out[here.left_out.database >= "c"]
    made = added(
        dataclasses.replace(there, left_out=some), dataclasses.replace(here, left_out=rest)
    )
    assert made.left_out[NATIVE].notna().all() and len(made.left_out) == len(whole.left_out)
    assert set(made.left_out.database[made.left_out[PAPER].notna()]) == set("abc")
    assert made.left_out.group.is_unique


def test_what_is_gathered_here_stands_for_what_was_gathered_before(whole):
    doubled = whole.recipes.assign(milliseconds=2 * whole.recipes.milliseconds)
    logits = whole.published.assign(**{PAPER: -whole.published[PAPER]})
    again = dataclasses.replace(whole, recipes=doubled, published=logits)
    made = added(whole, again)
    assert sorted(made.recipes.milliseconds) == sorted(doubled.milliseconds)
    assert made.published[PAPER].equals(logits[PAPER])


@pytest.mark.parametrize("empty", ["published", "left_out", "inner", "frozen_features", "weights"])
def test_what_is_not_here_is_kept(whole, empty):
    nothing = dataclasses.replace(whole, **{empty: getattr(whole, empty).head(0)})
    kept = getattr(added(whole, nothing), empty)
    pd.testing.assert_frame_equal(kept, getattr(whole, empty), check_dtype=False)
    same_tables(added(nothing, whole), whole)


def test_other_recordings_are_refused(whole):
    other = whole.published.assign(label=1 - whole.published.label)
    with pytest.raises(InputError, match="other recordings"):
        added(whole, dataclasses.replace(whole, published=other))
    with pytest.raises(InputError, match="other recordings"):
        added(whole, dataclasses.replace(whole, left_out=whole.left_out.iloc[1:]))


def test_without_a_model_in_common_recordings_cannot_be_told_apart(whole):
    with pytest.raises(InputError, match="a left out: no model"):
        added(only(whole, PAPER), only(whole, NATIVE))


def test_a_model_that_has_changed_is_told(whole):
    changed = whole.left_out.assign(**{PAPER: whole.left_out[PAPER] + 0.01})
    with pytest.raises(InputError, match="have changed"):
        added(whole, dataclasses.replace(whole, left_out=changed))
