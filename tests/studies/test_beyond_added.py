"""Evidence of two machines: added together it is what one machine would have gathered."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from test_beyond import planted_beyond

from hsutils.studies.beyond import Beyond
from hsutils.studies.beyond_added import added
from hsutils.studies.beyond_tables import tables
from hsutils.errors import InputError

PAPER, NATIVE = "paper/teacher/0", "native-all/compact baseline/0"
SECOND = "native-all/compact baseline/1"
ROWS = ("inner", "recipes", "frozen_features", "future_work")


@pytest.fixture(scope="module")
def whole() -> Beyond:
    """Recordings with all their facts, two a group; a second seed of the recipes chosen between."""
    kept, rng = planted_beyond(), np.random.default_rng(1)
    facts = {"quality": rng.integers(0, 2, len(kept.left_out)), "seconds": 8.0}
    left_out = kept.left_out.assign(group=kept.left_out.group // 2)
    left_out = left_out[["database", "group", "label"]].assign(**facts).join(left_out.iloc[:, 3:])
    left_out[SECOND] = left_out[SECOND].fillna(0.5)
    second = kept.inner.assign(seed=1, auroc=kept.inner.auroc - 0.1)
    inner = pd.concat([kept.inner, second], ignore_index=True)
    return dataclasses.replace(kept, left_out=left_out, inner=inner)


def only(kept: Beyond, *columns: str, databases: str = "abcdef") -> Beyond:
    """What a machine with these models alone would have gathered, numbering groups by itself."""
    others = {PAPER, NATIVE, SECOND} - set(columns)
    known = {tuple(column.split("/")[::2]) for column in columns}
    known |= {("paper", "1")} if SECOND in columns else set()
    made = {}
    for name in ROWS:
        table = getattr(kept, name)
        profile = table.profile.str.replace("-each-once", "")
        seeds = table.seed.astype(str) if "seed" in table else pd.Series("", table.index)
        mine = [
            any(p == q and (not s or s == t) for q, t in known)
            for p, s in zip(profile, seeds, strict=True)
        ]
        made[name] = table[mine]
    left_out = kept.left_out[kept.left_out.database.isin([*databases])].drop(columns=others)
    made["left_out"] = left_out.assign(group=pd.factorize(left_out.group)[0])
    return dataclasses.replace(kept, published=kept.published.drop(columns=others), **made)


def through_files(kept: Beyond, folder) -> Beyond:
    return Beyond.read(kept.save(folder))


def assert_same_tables(one: Beyond, other: Beyond) -> None:
    ours, theirs = tables(one), tables(other)
    for name, table in ours.items():
        by = [column for column in table if not pd.api.types.is_float_dtype(table[column])]
        both = (made[name].sort_values(by, ignore_index=True) for made in (ours, theirs))
        pd.testing.assert_frame_equal(*both, check_dtype=False)


@pytest.mark.parametrize("halves", [((PAPER, NATIVE), (SECOND,)), ((SECOND,), (NATIVE, PAPER))])
def test_two_halves_make_the_whole(whole, halves, tmp_path):
    there, here = (only(whole, *columns) for columns in halves)
    made = added(through_files(there, tmp_path), here)
    assert_same_tables(made, whole)
    for name in ROWS:
        assert len(getattr(made, name)) == len(getattr(whole, name))
    # Whole numbers are written as such.
    made.save(tmp_path)
    assert ".0," not in (tmp_path / "recipes.csv").read_text().replace("2.0,", "")


def test_a_network_measured_there_is_not_slower_by_another_name_here(whole, tmp_path):
    there, here = only(whole, PAPER, NATIVE), only(whole, NATIVE)
    slow = here.recipes.assign(milliseconds=99.0)
    renamed = slow.assign(profile="native-all-focal")
    larger = slow.assign(profile="native-all-wide", parameters=slow.parameters + 1)
    recipes = pd.concat([renamed, larger], ignore_index=True)
    here = dataclasses.replace(here, recipes=recipes)
    made = added(through_files(there, tmp_path), here).recipes.set_index("profile").milliseconds
    known = there.recipes.set_index("profile").milliseconds
    assert made["native-all-focal"] == known["native-all"] != 99
    assert made["native-all-wide"] == 99 and made["paper"] == known["paper"]


def test_databases_may_be_left_out_on_either_machine(whole, tmp_path):
    there = only(whole, PAPER, NATIVE, databases="abc")
    here = only(whole, NATIVE, SECOND, databases="cdef")
    made = added(through_files(there, tmp_path), here).left_out
    assert made[NATIVE].notna().all() and len(made) == len(whole.left_out)
    assert set(made.database[made[PAPER].notna()]) == set("abc")
    assert set(made.database[made[SECOND].notna()]) == set("cdef")
    # Two recordings a group, as planted: numbers of two machines must not meet.
    assert set(made.group.value_counts()) == {2}


def test_one_model_may_have_been_asked_here_and_there(whole):
    hidden = {
        d: whole.left_out[NATIVE].mask(whole.left_out.database.isin([*d])) for d in ("ab", "c")
    }
    there, here = (
        dataclasses.replace(whole, left_out=whole.left_out.assign(**{NATIVE: hidden[d]}))
        for d in ("ab", "c")
    )
    assert added(there, here).left_out[NATIVE].equals(whole.left_out[NATIVE])


def test_what_the_folder_holds_stays(whole):
    other = {
        "recipes": whole.recipes.assign(milliseconds=9.0),
        "storage": whole.storage.assign(auroc=0.1),
        "inner": whole.inner.assign(auroc=0.1),
        "published": whole.published.assign(**{PAPER: -whole.published[PAPER]}),
    }
    made = added(whole, dataclasses.replace(whole, **other))
    for name in other:
        pd.testing.assert_frame_equal(getattr(made, name), getattr(whole, name), check_dtype=False)


@pytest.mark.parametrize("empty", ["published", "left_out", *ROWS, "weights"])
def test_what_one_machine_lacks_the_other_has(whole, empty):
    nothing = dataclasses.replace(whole, **{empty: getattr(whole, empty).head(0)})
    for pair in ((whole, nothing), (nothing, whole)):
        kept = getattr(added(*pair), empty)
        pd.testing.assert_frame_equal(kept, getattr(whole, empty), check_dtype=False)
    assert getattr(added(nothing, nothing), empty).empty


@pytest.mark.parametrize("column", ["label", "seconds", "group"])
def test_other_recordings_are_refused(whole, column):
    changed = whole.left_out.assign(**{column: 0})
    with pytest.raises(InputError, match="a left out: the folder holds other recordings"):
        added(whole, dataclasses.replace(whole, left_out=changed))
    with pytest.raises(InputError, match="published: the folder holds other recordings"):
        added(whole, dataclasses.replace(whole, published=whole.published.iloc[1:]))
