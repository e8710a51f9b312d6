"""Recipes held against each other in databases never heard, and the answers given there."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtr
from sklearn.metrics import balanced_accuracy_score, recall_score, roc_auc_score
from test_beyond import planted_beyond

from hsutils.studies import beyond_tables, new_databases
from hsutils.studies.beyond import DATABASES, Beyond
from hsutils.studies.new_databases import CHOSEN, chosen, draw, operating

RECIPE, PAPER = "native-all/compact baseline", "paper/teacher"
WORSE, TAUGHT = "native-all-min-max/compact baseline", "native-all-three-seeds/compact student"
NARROW = "native-all-narrow/compact baseline"
FIRST = "native-all-narrow-three-seeds/compact student"
PHASE = "native-all-narrow-labels-after/compact student"


@pytest.fixture(scope="module")
def kept() -> Beyond:
    """Two seeds of the recipe, and changes that rank by the same noise and another signal."""
    kept, rng = planted_beyond(), np.random.default_rng(7)
    rows = kept.left_out.copy()
    own = rows[f"{RECIPE}/0"]
    rows[f"{RECIPE}/1"] = own + 0.3 * rng.standard_normal(len(rows))
    rows[f"{WORSE}/1"] = rows[f"{RECIPE}/1"] - 0.6 * rows.label
    rows[f"{TAUGHT}/0"] = own + 0.01 * rng.standard_normal(len(rows))
    rows[f"{NARROW}/2"] = own + 0.5 * rows.label
    rows[f"{FIRST}/2"] = own + 0.4 * rows.label + 0.2 * rng.standard_normal(len(rows))
    rows[f"{PHASE}/2"] = own + 0.2 * rng.standard_normal(len(rows))
    return dataclasses.replace(kept, left_out=rows)


@pytest.fixture(scope="module")
def made(kept) -> dict[str, pd.DataFrame]:
    return beyond_tables.tables(kept)


def mean_area(rows: pd.DataFrame, column: str) -> float:
    areas = [roc_auc_score(part.label, part[column]) for _, part in rows.groupby("database")]
    return float(np.mean(areas))


def test_a_change_is_held_against_the_seeds_that_both_have(kept, made):
    table = made["changes"].set_index("profile")
    rows = kept.left_out
    for column, against in ((f"{WORSE}/1", f"{RECIPE}/1"), (f"{TAUGHT}/0", f"{RECIPE}/0")):
        row = table.loc[column.split("/")[0]]
        expected = mean_area(rows, column) - mean_area(rows, against)
        assert row.difference == pytest.approx(expected, abs=1e-5)
        assert (row.seeds, row.against) == (1, "native-all")
    # No seed of the recipe's: the change is left out, not told as nothing.
    assert "native-all-narrow" not in table.index
    for column, against in ((FIRST, NARROW), (PHASE, FIRST)):
        row = table.loc[column.split("/")[0]]
        expected = mean_area(rows, f"{column}/2") - mean_area(rows, f"{against}/2")
        assert row.difference == pytest.approx(expected, abs=1e-5)
        assert row.against == against.split("/")[0]
    assert made["changes"].difference.is_monotonic_decreasing
    assert not table.index.str.startswith("paper").any()


def test_what_two_models_share_does_not_widen_the_interval_of_their_difference(kept, made):
    row = made["changes"].set_index("profile").loc["native-all-min-max"]
    generator, gains = np.random.default_rng(5), []
    parts = [part for _, part in kept.left_out.groupby("database")]
    for _ in range(500):
        drawn = [part.sample(len(part), replace=True, random_state=generator) for part in parts]
        each = [
            roc_auc_score(p.label, p[f"{WORSE}/1"]) - roc_auc_score(p.label, p[f"{RECIPE}/1"])
            for p in drawn
        ]
        gains.append(np.mean(each))
    low, high = np.percentile(gains, [2.5, 97.5])
    # Thirty groups a class: the correction for few of them widens by about a twentieth.
    assert row.high - row.low == pytest.approx(1.05 * (high - low), rel=0.12)
    assert (row.high + row.low) / 2 == pytest.approx((high + low) / 2, abs=0.005)
    alone = made["summary"].set_index("profile").loc["native-all-min-max"]
    assert row.high - row.low < 0.7 * (alone.high - alone.low)
    assert row.high < 0, "a planted loss is clear"
    draws = draw(kept.left_out)
    gains = [draws[f"{WORSE}/1"][d] - draws[f"{RECIPE}/1"][d] for d in DATABASES]
    z = row.difference / np.std(np.mean(gains, axis=0), ddof=1)
    # The smallest of four p is multiplied by four (Holm 1979), and the largest by one.
    assert row.p_holm == pytest.approx(4 * 2 * ndtr(-abs(z)), rel=0.02)
    assert made["changes"].p_holm.min() == row.p_holm and made["changes"].p_holm.max() < 1
    nothing = made["changes"].set_index("profile").loc["native-all-three-seeds"]
    assert nothing.p_holm > 0.2 and nothing.low < 0 < nothing.high


def test_what_the_others_chose_has_the_interval_of_its_mean(kept):
    draws = draw(kept.left_out)
    rows = [
        (d, *column.split("/"), taken, 0.5 + 0.01 * n)
        for n, d in enumerate(DATABASES)
        for column, taken in ((RECIPE, d != "f"), (WORSE, d == "f"))
    ]
    columns = ["test_database", "profile", "model", "chosen", "auroc"]
    table = pd.DataFrame(rows, columns=columns)
    row = chosen(table, draws).iloc[0]
    assert (row.recipes, row.worst, row.worst_database) == (2, 0.5, "a")
    assert row.auroc == pytest.approx(0.525)
    seeds = [f"{RECIPE}/0", f"{RECIPE}/1"]
    asked = {d: [f"{WORSE}/1"] if d == "f" else seeds for d in DATABASES}
    assert (row.low, row.high) == new_databases.interval_of_mean(draws, asked)
    areas = [
        np.mean([roc_auc_score(part.label, part[c]) for c in asked[d]])
        for d, part in kept.left_out.groupby("database")
    ]
    assert row.low < np.mean(areas) < row.high and row.high - row.low < 0.15
    hidden = {d: v for d, v in draws[f"{WORSE}/1"].items() if d != "f"}
    assert chosen(table, draws | {f"{WORSE}/1": hidden}).empty, "the one chosen for f was not asked"
    for few in (table[table.chosen], table[table.test_database != "c"], table.head(0)):
        assert chosen(few, draws).empty and tuple(chosen(few, draws)) == CHOSEN


def test_answers_are_those_at_logit_0_and_at_the_kindest_threshold(kept):
    table = operating(kept.left_out).set_index(["profile", "model", "database"]).sort_index()
    for letter, part in kept.left_out.groupby("database"):
        row = table.loc[(*PAPER.split("/"), letter)]
        called, logits = part[f"{PAPER}/0"] > 0, part[f"{PAPER}/0"]
        assert row.sensitivity == pytest.approx(recall_score(part.label, called))
        assert row.specificity == pytest.approx(recall_score(1 - part.label, ~called))
        assert row.balanced == pytest.approx(balanced_accuracy_score(part.label, called))
        middle = balanced_accuracy_score(part.label, logits > np.median(logits))
        assert row.balanced_median == pytest.approx(middle)
        every = [balanced_accuracy_score(part.label, logits >= t) for t in logits]
        assert row.balanced_own == pytest.approx(max(every)) and row.seeds == 1
    letters = table.loc[PAPER.split("/")[0]].droplevel("model")
    for name in ("sensitivity", "specificity", "balanced", "balanced_median", "balanced_own"):
        assert letters[name]["mean"] == pytest.approx(letters[name].drop("mean").mean())
    assert set(table.loc[tuple(RECIPE.split("/"))].seeds) == {2}


def test_a_database_of_one_group_or_one_class_leaves_no_interval_and_stops_nothing(kept):
    rows = kept.left_out[[*kept.left_out.columns[:3], f"{PAPER}/0"]].copy()
    rows.loc[rows.database == "d", "group"] = 10_000
    draws = draw(rows)[f"{PAPER}/0"]
    assert np.isnan(draws["d"]).all() and np.isfinite(draws["e"]).all()
    ends = new_databases.interval_of_mean({"x": draws}, {d: ["x"] for d in DATABASES})
    assert np.isnan(ends).all()
    rows.loc[rows.database == "d", "label"] = 0
    assert [*operating(rows).database] == [*"abcef"]


def test_a_model_that_was_not_asked_everywhere_has_no_mean(kept):
    rows = kept.left_out[[*kept.left_out.columns[:3], f"{PAPER}/0"]].copy()
    rows.loc[rows.database == "c", f"{PAPER}/0"] = np.nan
    assert [*operating(rows).database] == [*"abdef"]
    assert operating(rows.head(0)).empty


EMPTY = ["published", "left_out", "inner", "frozen_features"]


@pytest.mark.parametrize(
    "columns", [[f"{PAPER}/0"], [f"{NARROW}/2"], [f"{NARROW}/2", f"{PHASE}/2"]]
)
@pytest.mark.parametrize("empty", [[], ["published"], ["left_out"], ["inner"], EMPTY])
@pytest.mark.parametrize("databases", ["abcdef", "ab"])
def test_tables_are_made_of_whatever_there_is(kept, columns, empty, databases):
    rows = kept.left_out[kept.left_out.database.isin([*databases])]
    about = [c for c in rows if "/" not in c]
    published = kept.published
    # The test of a change is not read.
    tested = [c for c in columns if c in published]
    parts = {"left_out": rows[[*about, *columns]]}
    parts["published"] = published[[c for c in published if "/" not in c or c in tested]].assign(
        **{c: np.nan for c in columns if c not in tested}
    )
    dev = parts["published"].split == "dev"
    for column in set(columns) - set(tested):
        parts["published"].loc[dev, column] = np.arange(dev.sum()) % 7.0
    some = dataclasses.replace(kept, **parts)
    some = dataclasses.replace(some, **{name: getattr(some, name).head(0) for name in empty})
    made = beyond_tables.tables(some)
    asked = made["summary"].dropna(subset="new_database")
    whole = databases == "abcdef" and "left_out" not in empty
    assert len(asked) == (len(columns) if whole else 0)
    assert len(made["changes"]) == 0 and made["chosen"].empty
    assert (len(made["operating"]) > 0) == ("left_out" not in empty)
