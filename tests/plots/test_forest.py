"""Laws of the forest plot: every number of a table is drawn where it belongs, and printed."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from hsutils import plots
from hsutils.plots import style


def diamonds(axes) -> np.ndarray:
    """(n, 2) places of the estimates in one panel."""
    return np.concatenate([np.asarray(c.get_offsets()) for c in axes.collections])


def bars(axes) -> np.ndarray:
    """(n, 3) lower end, upper end and height of the intervals in one panel."""
    lines = [line for line in axes.lines if line.get_linewidth() == style.BAR["lw"]]
    return np.array([(*line.get_xdata(), line.get_ydata()[0]) for line in lines])


def marked(axes, marker: str) -> list[float]:
    """Sorted x of the small marks of one kind."""
    return sorted(line.get_xdata()[0] for line in axes.lines if line.get_marker() == marker)


def names(axes) -> dict[str, str]:
    """Text beside the axis, from above, and its weight."""
    return {text.get_text(): text.get_weight() for text in axes.get_yticklabels()}


def legend(figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


CASES = {"intervals": "value", "paired_differences": "difference", "separation": "auroc"}
CASES |= {"changes": "value", "database_probe": "balanced_accuracy"}


@pytest.mark.parametrize("name", CASES)
def test_every_estimate_and_interval_is_drawn_on_one_line(name, draw, given):
    table = given[name][0]
    places, ends = (np.concatenate([f(axes) for axes in draw(name).axes]) for f in (diamonds, bars))
    np.testing.assert_allclose(np.sort(places[:, 0]), np.sort(table[CASES[name]]))
    np.testing.assert_allclose(np.sort(ends[:, 0]), np.sort(table["low"]))
    np.testing.assert_allclose(np.sort(ends[:, 1]), np.sort(table["high"]))
    np.testing.assert_allclose(places[:, 1], ends[:, 2])


@pytest.fixture
def two_lines() -> pd.DataFrame:
    values = {"name": ["first", "second"], "model": ["teacher", "student"], "value": [0.9, -0.0004]}
    return pd.DataFrame(values | {"low": [0.8, np.nan], "high": [0.95, np.nan]})


def plot(table: pd.DataFrame, **options):
    return plots.forest_plot(table, title="Which?", xlabel="AUROC", row="name", **options)


def test_a_line_has_its_models_color_its_name_and_its_number(two_lines):
    (axes,) = (figure := plot(two_lines, hue="model")).axes
    colors = [to_hex(c) for c in axes.collections[0].get_facecolors()]
    assert colors == [style.MODEL_COLORS[m].lower() for m in ("teacher", "student")]
    assert list(names(axes)) == ["first", "second"]
    assert [t.get_text() for t in axes.texts] == ["0.900", "0.000"]
    assert legend(figure) == ["teacher", "student", "95% interval"]


def test_a_line_without_a_value_keeps_its_place_and_has_no_mark(two_lines):
    (axes,) = plot(two_lines.assign(value=[np.nan, 0.5])).axes
    assert len(axes.get_yticks()) == 2 and len(diamonds(axes)) == 1


def test_hues_of_one_row_lie_side_by_side_about_its_name(two_lines):
    (axes,) = plot(two_lines[::-1].assign(name="both"), hue="model").axes
    (first, student), (second, teacher) = sorted(diamonds(axes)[:, ::-1].tolist())
    assert (student, teacher) == (0.9, -0.0004)  # The paper's order, whatever the table's.
    assert axes.get_yticks() == [(first + second) / 2]


def test_groups_are_headed_in_bold(two_lines):
    (axes,) = plot(two_lines, group="model").axes
    weights = {"teacher": "bold", "first": "normal", "student": "bold", "second": "normal"}
    assert names(axes) == weights


def test_small_p_values_are_bounded_and_missing_ones_are_not_invented(draw):
    texts = [t.get_text() for axes in draw("paired_differences").axes for t in axes.texts]
    assert set(texts) == {"p 0.280", "p < 0.001", ""}


def test_lowest_and_highest_seed_lie_beneath_their_estimate(draw, given):
    (table,), (axes,) = given["intervals"], draw("intervals").axes
    ends = np.sort(table[["seed_min", "seed_max"]].to_numpy().ravel())
    np.testing.assert_allclose(marked(axes, "|"), ends)
    one_seed = table.assign(seed_min=np.nan, seed_max=np.nan)
    assert "lowest and highest seed" not in legend(plots.intervals(one_seed))


def test_change_without_related_recordings_has_a_panel_of_its_own(draw, given):
    (table,), (scores, change) = given["leak_effect"], draw("leak_effect").axes
    both = np.sort(table[["auroc", "auroc_kept"]].to_numpy().ravel())
    np.testing.assert_allclose(np.sort(diamonds(scores)[:, 0]), both)
    np.testing.assert_allclose(np.sort(diamonds(change)[:, 0]), np.sort(table["change"]))
    texts = [text.get_text() for text in scores.get_yticklabels()]
    assert texts.count("all 400") == texts.count("without 7 related") == 6


def test_pools_and_single_databases_are_drawn_and_none_without_an_interval(draw):
    every, rest, within, unseen = draw("heart_or_stethoscope").axes
    titles = [axes.get_title(loc="left") for axes in (every, rest, within, unseen)]
    without_e = ["all pairs,\nnot e", "within one database,\nnot e"]
    assert titles == ["all pairs", *without_e, "unseen database"]
    np.testing.assert_allclose(diamonds(rest)[:, 0], 0.65)
    np.testing.assert_allclose(diamonds(within)[:, 0], 0.58)  # The pool without e, named above.
    assert len(diamonds(every)) == len(diamonds(unseen)) == 6
    assert len(marked(unseen, style.DATABASE_MARKERS["b"])) == 6
    assert not marked(within, style.DATABASE_MARKERS["c"])


def test_the_best_comes_first_and_ticks_reach_down_to_marks_far_below_guessing(draw):
    (axes,) = draw("unseen_databases").axes
    ticks = [t for t in axes.get_xticks() if axes.get_xlim()[0] <= t <= axes.get_xlim()[1]]
    assert diamonds(axes)[:, 0].tolist() == [0.8, 0.7, 0.5]
    assert marked(axes, style.DATABASE_MARKERS["e"]) == [0.04] * 3
    assert list(names(axes)) == ["best", "own", "paper: teacher"]
    assert min(ticks) < 0.04 + np.diff(ticks)[0]


def test_every_seed_and_the_last_epoch_are_beside_a_variants_mean(draw):
    mean, difference = draw("ablations").axes
    assert diamonds(mean)[:, 0].tolist() == [0.91, 0.87] * 2
    assert marked(mean, "o") == sorted([0.90, 0.92, 0.86, 0.88] * 2)
    assert marked(mean, "D") == [0.89] * 4
    assert diamonds(difference)[:, 0].tolist() == [-0.04] * 2  # None where nothing is changed.


def test_chance_is_marked_beneath_every_probe(draw, given):
    (axes,) = draw("database_probe").axes
    np.testing.assert_allclose(marked(axes, "|"), np.sort(given["database_probe"][0]["chance"]))


def test_each_disturbance_has_a_panel_with_every_model_and_its_clean_score(draw, given):
    (table,) = given["robustness"]
    clean = table["perturbation"] == "none"
    kinds = table[~clean].groupby("perturbation", sort=False)
    found = [axes for axes in draw("robustness").axes if axes.axison]
    for axes, (kind, part) in zip(found, kinds, strict=True):
        assert axes.get_title(loc="left") == kind
        lines = [line.get_ydata() for line in axes.lines if line.get_marker() == "o"]
        np.testing.assert_allclose(np.sort(np.concatenate(lines)), np.sort(part["auroc"]))
        flat = sorted(line.get_ydata()[0] for line in axes.lines if line.get_linestyle() == "--")
        np.testing.assert_allclose(flat, np.sort(table[clean]["auroc"]))
