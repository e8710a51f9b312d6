"""Laws of the figures on shortcuts: what is drawn is what the table holds, and readable."""

import io
from collections.abc import Callable
from itertools import combinations

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

from hsutils.plots import common as figures_common, heart as figures_heart, seeds as figures_seeds, shortcuts as figures_shortcuts, style

NAN = np.nan
SCORES = {
    "teacher": (0.924, 0.704, 0.662),
    "student": (0.919, 0.693, NAN),
    "baseline": (0.882, 0.671, 0.610),
    "band statistics": (0.901, 0.655, 0.548),
    "format only": (0.893, 0.583, 0.49),
    "database letter": (0.842, 0.5, 0.5),
}


def falls(noise: float = 0.12) -> pd.DataFrame:
    """Scores of six models under three protocols; the student was never retrained."""
    rng, rows = np.random.default_rng(0), []
    for model, scores in SCORES.items():
        for protocol, auroc in zip(("all", "within", "left out"), scores, strict=True):
            if np.isnan(auroc):
                continue
            half = {"all": 0.025, "within": 0.05, "left out": 0.07}[protocol]
            rows.append((model, protocol, "", auroc, auroc - half, auroc + half, 400))
            for database in "abcdef" if protocol != "all" and model != "database letter" else "":
                value = np.clip(auroc + noise * rng.normal(), 0.3, 0.99)
                rows.append((model, protocol, database, value, value - 0.1, value + 0.1, 60))
    columns = ["model", "protocol", "database", "auroc", "low", "high", "recordings"]
    return pd.DataFrame(rows, columns=columns)


def facts_apart() -> pd.DataFrame:
    rng, rows = np.random.default_rng(1), []
    facts = ("distinct values", "peak sample", "duration (s)", "zeros at the end", "sample rate")
    for fact, reach in zip(facts, (0.45, 0.3, 0.15, 0.1, 0), strict=True):
        for database in "abcdef":
            value = 0.5 + reach * rng.uniform(-1, 1)
            half = 0.06 if fact != "sample rate" else NAN
            rows.append((database, fact, value, value - half, value + half))
    table = pd.DataFrame(rows, columns=["database", "fact", "auroc", "low", "high"])
    table.loc[table.fact.eq("sample rate") & table.database.eq("c"), "auroc"] = NAN
    return table


def stored(n: int = 200) -> tuple[pd.DataFrame, dict]:
    rng = np.random.default_rng(2)
    label = np.arange(n) % 2
    seconds = rng.uniform(8, 60, n)
    levels = np.where(label, 4000, 90) * (seconds / 30) ** 0.5 * rng.lognormal(0, 0.4, n)
    facts = pd.DataFrame({"label": label, "seconds": seconds, "levels": levels.astype(int)})
    time = np.arange(120) / 2000
    beat = np.sin(2 * np.pi * 40 * time) * np.exp(-(((time - 0.03) / 0.015) ** 2))
    waveforms = {
        "normal": (time + 3, (np.round(beat * 5) * 256).astype(int)),
        "abnormal": (time + 7, (beat * 9000 + rng.normal(0, 400, 120)).astype(int)),
    }
    return facts.assign(database="e"), waveforms


def probes() -> pd.DataFrame:
    rows = [
        ("format facts", 0.985, 0.97, 0.995),
        ("band statistics", 0.91, 0.88, 0.94),
        ("teacher", 0.862, 0.82, 0.9),
        ("student", 0.74, NAN, NAN),
    ]
    columns = ["features", "balanced_accuracy", "low", "high"]
    return pd.DataFrame(rows, columns=columns).assign(chance=1 / 6)


ENDS = ("low", "high")


def blind(table: pd.DataFrame) -> pd.DataFrame:
    """The same without any interval, spread over seeds or p value."""
    uncertain = [c for c in table if c.startswith(("low", "high", "seed_")) or c.endswith(ENDS)]
    gone = [c for c in (*uncertain, "p") if c in table]
    return table.assign(**dict.fromkeys(gone, NAN))


def words(figure: Figure) -> list[Text]:
    """Every text that is to be seen, those of ticks and legends too."""
    found, legends = [figure._suptitle], list(figure.legends)
    for axes in figure.axes:
        found += [*axes.texts, axes._left_title, axes.xaxis.label, axes.yaxis.label]
        legends += [axes.get_legend()] if axes.get_legend() else []
        for axis in (axes.xaxis, axes.yaxis) if axes.axison else ():
            low, high = sorted(axis.get_view_interval())
            ticks = axis.get_major_ticks()
            found += [t.label1 for t in ticks if low <= t.get_loc() <= high]
            found += [t.label2 for t in ticks if low <= t.get_loc() <= high]
    found += [text for legend in legends for text in legend.get_texts()]
    return [text for text in found if text.get_visible() and text.get_text().strip()]


def assert_readable(figure: Figure) -> None:
    """Words lie on the page, not on one another, and none of them is NaN."""
    figure.draw_without_rendering()
    boxes = {text: text.get_window_extent() for text in words(figure)}
    for text, box in boxes.items():
        assert "nan" not in text.get_text()
        assert box.x0 >= 0 and box.x1 <= figure.bbox.x1, text.get_text()
        assert box.y0 >= 0 and box.y1 <= figure.bbox.y1, text.get_text()
    for (text, box), (other, its_box) in combinations(boxes.items(), 2):
        assert not box.overlaps(its_box), (text, other)


def assert_drawn(figure: Figure, *values: pd.Series | np.ndarray) -> None:
    """Each value is the place of some line or mark."""
    lines = [line for axes in figure.axes for line in axes.lines]
    found = np.concatenate([np.ravel(line.get_data()).astype(float) for line in lines])
    found = np.sort(found[np.isfinite(found)])
    for value in np.concatenate(values):
        assert np.searchsorted(found, value - 1e-9) < np.searchsorted(found, value + 1e-9), value


def svg(figure: Figure) -> bytes:
    """All that is drawn, but neither laid out nor lettered, which would take most of the time."""
    buffer = io.BytesIO()
    figure.set_layout_engine("none")
    with mpl.rc_context(style.STYLE | {"svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


Change = Callable[[pd.DataFrame], pd.DataFrame]
EVERY_FIGURE = {
    "heart_or_stethoscope": lambda change: figures_heart.heart_or_stethoscope(change(falls())),
    "separation": lambda change: figures_shortcuts.separation(change(facts_apart())),
    "stored_levels": lambda change: figures_shortcuts.stored_levels(*stored()),
    "database_probe": lambda change: figures_shortcuts.database_probe(change(probes())),
}


@pytest.mark.parametrize("change", [pd.DataFrame.copy, blind])
@pytest.mark.parametrize("name", EVERY_FIGURE)
def test_words_lie_on_the_page_and_not_on_one_another(name, change):
    assert_readable(EVERY_FIGURE[name](change))


@pytest.mark.parametrize("name", EVERY_FIGURE)
def test_equal_tables_give_equal_bytes(name):
    draw = EVERY_FIGURE[name]
    assert svg(draw(pd.DataFrame.copy)) == svg(draw(pd.DataFrame.copy))


def test_every_score_and_its_interval_is_drawn():
    table = falls()
    figure = figures_heart.heart_or_stethoscope(table)
    pooled = table[table["database"] == ""]
    assert_drawn(figure, table["auroc"], pooled["low"], pooled["high"])


def test_headline_tells_the_fall_of_the_first_model_and_the_best_that_hears_nothing():
    finding = style.finding_of(figures_heart.heart_or_stethoscope(falls()))
    assert finding == (
        "AUROC of the teacher falls from 0.92 on the ordinary test to 0.70 within one database "
        "and 0.66 in a database never heard; format only, which hears no sound, reaches 0.89"
    )


def test_a_table_read_back_from_a_file_is_drawn_the_same():
    table = falls()
    back = pd.read_csv(io.StringIO(table.to_csv(index=False)))
    first, second = (figures_heart.heart_or_stethoscope(t) for t in (table, back))
    assert svg(first) == svg(second)


def test_a_score_that_does_not_fall_is_not_said_to():
    kept = falls().query("model == 'teacher' and database == ''")
    kept = kept.assign(auroc=[0.8, 0.85, 0.7])
    assert " goes from " in style.finding_of(figures_heart.heart_or_stethoscope(kept))


@pytest.mark.parametrize("protocols", [["all"], ["within", "left out"], ["left out"]])
def test_a_protocol_nobody_was_put_to_has_no_panel(protocols):
    figure = figures_heart.heart_or_stethoscope(falls().query("protocol in @protocols"))
    assert_readable(figure)
    titles = [axes.get_title("left") for axes in figure.axes]
    assert titles == [figures_heart.PROTOCOLS[protocol][0] for protocol in protocols]


def test_a_model_that_was_not_retrained_is_owned_up_to():
    panels = figures_heart.heart_or_stethoscope(falls()).axes
    shown = [[text.get_text() for text in axes.texts] for axes in panels]
    assert [texts.count("not measured") for texts in shown] == [0, 0, 1]


def test_models_that_hear_nothing_come_last_and_are_hollow():
    first = figures_heart.heart_or_stethoscope(falls()).axes[0]
    order = [text.get_text() for text in first.get_yticklabels()]
    assert order[:2] == ["hear the sound", "hear no sound"]
    assert order[-2:] == list(figures_common.DEAF)
    full = {line.get_color() for line in first.lines if line.get_marker() == "o"}
    hollow = {line.get_mec() for line in first.lines if line.get_marker() == "s"}
    assert hollow == {figures_common.shade(model) for model in figures_common.DEAF}
    assert full == {figures_common.shade(model) for model in SCORES} - hollow


def test_ordinary_score_is_marked_where_it_is_lost_from():
    panels = figures_heart.heart_or_stethoscope(falls()).axes
    pooled = falls().query("database == ''").groupby("protocol")["model"]
    for axes, protocol in zip(panels[1:], ("within", "left out"), strict=True):
        asked = pooled.get_group(protocol)
        marks = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "|"]
        assert marks == [SCORES[model][0] for model in asked]


@pytest.mark.parametrize("noise", [0, 0.02])
def test_letters_never_touch_and_stay_near_their_values(noise):
    figure = figures_heart.heart_or_stethoscope(falls(noise))
    assert_readable(figure)
    by_protocol = falls(noise).query("database != ''").groupby("protocol")
    for axes, protocol in zip(figure.axes[1:], ("within", "left out"), strict=True):
        letters = [text for text in axes.texts if text.get_text() in tuple("abcdef")]
        rows = by_protocol.get_group(protocol)
        farthest = 3 * figures_common.LETTER_GAP * np.ptp(axes.get_xlim())
        assert sorted(text.get_text() for text in letters) == sorted(rows["database"])
        for (_, own), row in zip(rows.groupby("model"), range(0, len(letters), 6), strict=True):
            places = [text.get_position()[0] for text in letters[row : row + 6]]
            assert np.abs(places - own["auroc"].sort_values()).max() < farthest


def test_every_fact_of_every_database_is_printed_and_bold_where_it_tells_something():
    table = facts_apart()
    cells = figures_shortcuts.separation(table).axes[0].texts
    known = table.dropna(subset="auroc")
    assert [text.get_text()[:4] for text in cells] == [f"{v:.2f}" for v in known["auroc"]]
    telling = (known["low"] > 0.5) | (known["high"] < 0.5)
    assert [text.get_weight() == "bold" for text in cells] == telling.tolist()


def test_headline_names_the_fact_farthest_from_one_half_on_either_side():
    table = facts_apart()
    table.loc[7, ["auroc", *ENDS]] = (0.02, 0.0, 0.05)
    finding = style.finding_of(figures_shortcuts.separation(table))
    telling = ((table["low"] > 0.5) | (table["high"] < 0.5)).sum()
    assert f"“{table.fact[7]}” alone tells normal from abnormal in database b" in finding
    assert f"AUROC 0.02; {telling} of 24 intervals leave out 0.5" in finding


def test_a_fact_that_is_the_same_everywhere_leaves_its_cell_empty():
    table = facts_apart()
    cells = figures_shortcuts.separation(table).axes[0].texts
    assert len(cells) == table["auroc"].count() == len(table) - 1


def test_levels_of_every_recording_and_both_medians_are_drawn():
    facts, waveforms = stored()
    figure = figures_shortcuts.stored_levels(facts, waveforms)
    medians = facts.groupby("label")["levels"].median()
    assert_drawn(figure, facts["levels"], facts["seconds"], medians)
    assert f"of database e holds {medians[0]:,.0f} distinct" in style.finding_of(figure)
    assert f"an abnormal one {medians[1]:,.0f}" in style.finding_of(figure)


def test_a_waveform_is_drawn_as_steps_between_the_values_it_holds():
    facts, waveforms = stored()
    panels = figures_shortcuts.stored_levels(facts, waveforms).axes
    for name, axes in zip(waveforms, panels[:2], strict=True):
        (line,) = axes.lines
        seconds, samples = waveforms[name]
        assert line.get_drawstyle() == "steps-mid"
        assert line.get_ydata().tolist() == samples.tolist()
        assert line.get_xdata() == pytest.approx(1000 * (seconds - seconds[0]))
        levels = len(np.unique(samples))
        assert axes.get_title("left") == f"{name}: {levels} distinct values in 60 ms"


def test_every_probe_is_drawn_and_told_with_chance():
    table = probes()
    figure = figures_shortcuts.database_probe(table)
    known = table.dropna()
    assert_drawn(figure, table["balanced_accuracy"], table["chance"], known["low"], known["high"])
    assert style.finding_of(figure).endswith("teacher 86%, student 74% (chance 17%)")
    uneven = table.assign(chance=[0.15, 0.16, 0.17, 0.18])
    assert "(chance 15% to 18%)" in style.finding_of(figures_shortcuts.database_probe(uneven))


def test_no_rival_has_or_resembles_the_color_of_anything_else():
    known = style.MODEL_COLORS | style.CLASS_COLORS | style.DATABASE_COLORS
    others = [*known.values(), *figures_seeds.RATE_COLORS, style.OTHER_COLOR, style.INK]
    rivals = {to_hex(color) for color in figures_common.RIVAL_COLORS.values()}
    for color in rivals:
        for other in {*others, *rivals} - {color}:
            assert np.linalg.norm(np.subtract(to_rgb(color), to_rgb(other))) > 0.1, (color, other)


def test_drawing_leaves_the_table_alone():
    for draw, table in (
        (figures_heart.heart_or_stethoscope, falls()),
        (figures_shortcuts.separation, facts_apart()),
        (figures_shortcuts.database_probe, probes()),
    ):
        before = table.copy()
        draw(table)
        pd.testing.assert_frame_equal(table, before)


def test_what_is_given_away_is_set_aside_and_named():
    table = falls()
    aside = table.query("protocol == 'within' and database == ''").assign(database="not e")
    aside["auroc"] = 0.6
    figure = figures_heart.heart_or_stethoscope(pd.concat([table, aside]))
    words = [text.get_text() for text in figure.findobj(Text)]
    assert "both recordings from one, not e" in words
    assert "0.60 within one database (not e)" in style.finding_of(figure)
    assert not [word for word in words if word.startswith("0.70 (")]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0123, "+0.012"),
        (-0.0123, "−0.012"),
        (-0.0004, "0.000"),
        (0.0, "0.000"),
        (-10.0, "−10.000"),
    ],
)
def test_a_change_has_a_sign_unless_it_rounds_to_none(value, text):
    assert figures_common.signed(value) == text
