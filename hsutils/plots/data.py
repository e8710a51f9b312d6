"""Figures about the recordings: who was recorded, how they are split, and what a beat holds."""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from hsutils.audio.beats import Rhythm
from hsutils.audio.heart_cycles import PHASES, band_edges
from hsutils.config import RECORDED_RATE
from hsutils.data.splits import SPLITS
from hsutils.errors import InputError
from hsutils.plots import style

SHORT = ("S1", "systole 1", "systole 2", "S2", "diastole 1", "diastole 2", "diastole 3")
BEATS = {"S1": {"color": style.INK, "lw": 1.6}}
BEATS["S2"] = {"color": style.OTHER_COLOR, "lw": 1.6, "ls": "--"}


@style.styled
def recordings_overview(recordings: pd.DataFrame, clip_seconds: float = 57.0) -> Figure:
    """Who was recorded: counts by label, durations and usable quality of each database.

    Args:
        recordings: columns database, label, seconds, quality.
        clip_seconds: length the front end keeps, drawn as a line.
    """
    shape = {"ncols": 3, "sharey": True, "width_ratios": (5, 5, 2.6)}
    figure, (who, length, noise) = style.new_page("Who was recorded, and how?", 4.8, **shape)
    by_database = recordings.groupby("database")
    totals, abnormal = by_database["label"].count(), by_database["label"].sum()
    normal = totals - abnormal
    who.barh(totals.index, normal, 0.7, color=style.CLASS_COLORS["normal"])
    who.barh(totals.index, abnormal, 0.7, normal, color=style.CLASS_COLORS["abnormal"])
    for row, (total, share) in enumerate(zip(totals, abnormal / totals, strict=True)):
        who.text(total, row, f" {total:,} ({share:.0%} abnormal)", va="center")
    who.set(xlabel="recordings", ylabel="database", xlim=(0, totals.max() * 1.8))
    who.invert_yaxis()
    spread = np.random.default_rng(0).uniform(-0.3, 0.3, len(recordings))
    y = recordings["database"].map(list(totals.index).index) + spread
    palette = {name: look["color"] for name, look in style.database_looks(totals.index).items()}
    look = {"s": 16, "alpha": 0.7, "linewidth": 0, "palette": palette}
    sns.scatterplot(recordings, x="seconds", y=y, hue="database", legend=False, ax=length, **look)
    length.axvline(clip_seconds, **style.DASHED)
    length.set(xlabel="duration (s)", xlim=(0, None))
    noisy = 100 * (1 - by_database["quality"].mean())
    noise.bar_label(noise.barh(totals.index, noisy, color=style.FAINT, height=0.7), fmt=" {:.0f}")
    noise.set(xlabel="too noisy (%)", xlim=(0, max(1.3 * noisy.max(), 1)))
    for axes in (who, length, noise):
        axes.grid(axis="y", visible=False)
    marks = style.color_key(style.CLASSES, marker="s", ms=9) | {"one recording": style.DOT}
    return style.with_legend(figure, marks | {f"clip of {clip_seconds:g} s": style.DASHED})


@style.styled
def split_composition(recordings: pd.DataFrame, splits: pd.DataFrame) -> Figure:
    """Shares of the classes and of the databases in each split.

    Args:
        recordings: columns record, database, label.
        splits: columns record, split.
    """
    table = recordings.merge(splits, on="record", validate="one_to_one")
    sizes = table["split"].value_counts().reindex(SPLITS).dropna()
    title, shape = "What does each split hold?", {"ncols": 2, "sharey": True}
    figure, panels = style.new_page(title, 0.6 * len(sizes) + 2, **shape)
    databases = style.database_looks(table["database"])
    for axes, column in zip(panels, ("label", "database"), strict=True):
        counts = pd.crosstab(table["split"], table[column]).loc[sizes.index]
        left = 0.0
        for name, count in counts.rename(columns=dict(enumerate(style.CLASSES))).items():
            color = databases[name]["color"] if column == "database" else style.color_of(name)
            share = count / sizes
            bars = axes.barh(range(len(sizes)), share, 0.7, left, color=color)
            ink = "white" if sns.utils.relative_luminance(color) < 0.18 else style.INK
            words = count.map("{:,}".format).where(share > 0.07, "")
            axes.bar_label(bars, words, label_type="center", weight="bold", color=ink)
            left = left + share
        axes.set(xlim=(0, 1), xlabel="share of the split (numbers: recordings)")
        axes.xaxis.set_major_formatter("{x:.0%}")
        axes.grid(axis="y", visible=False)
    panels[0].invert_yaxis()
    panels[0].set_yticks(range(len(sizes)), [f"{name}\n{n:,.0f}" for name, n in sizes.items()])
    marks = style.color_key(style.CLASSES, marker="s", ms=9)
    square = {"marker": "s", "ms": 9}
    marks |= {f"database {name}": look | square for name, look in databases.items()}
    return style.with_legend(figure, marks, columns=4)


@style.styled
def beats_and_cycle(waveform: np.ndarray, rhythm: Rhythm, cycle: np.ndarray, record: str) -> Figure:
    """The beats found in the first 4 s of a recording, and the mean of all its heart cycles.

    Args:
        waveform: at 2,000 Hz, shape (samples,).
        rhythm, cycle: of the same recording, see `hsutils.audio.heart_cycles.mean_cycle`.
        record: its name.
    """
    title = f"{record}: {len(rhythm.onset)} beats"
    title += f", {60 / rhythm.period:.0f} a minute" if len(rhythm.onset) > 1 else ""
    figure, (wave, page) = style.new_page(title, 4, ncols=2, width_ratios=(2, 1))
    shown = waveform[: 4 * RECORDED_RATE]
    end = max(len(shown), 1) / RECORDED_RATE
    wave.plot(np.arange(len(shown)) / RECORDED_RATE, shown, color=style.FAINT, lw=0.6)
    mark_beats(wave, rhythm, end)
    wave.set(xlabel="time (s)", ylabel="amplitude", xlim=(0, end))
    decibels = 10 * np.asarray(cycle).T
    image = _cycle(page, decibels, np.nanmax(np.abs(decibels), initial=1e-6))
    figure.colorbar(image, ax=page, label="dB over the band's mean")
    return style.with_legend(figure, BEATS)


@style.styled
def mean_cycles(cycles: pd.DataFrame, weights: pd.DataFrame) -> Figure:
    """How much louder abnormal recordings are in each phase and band, by database.

    Args:
        cycles: columns database, label, phase, band, value (dB); databases of one class are left
            out.
        weights: columns phase, band, weight (per standard deviation) of a linear model of all
            databases, in the last panel.

    Raises:
        InputError: if no database has heart cycles of both classes.
    """
    phases = list(PHASES)
    mean = cycles.pivot_table("value", ["database", "band", "phase"], "label")
    mean = mean.reindex(columns=[0, 1]).dropna()
    if mean.empty:
        raise InputError("cycles: no database has heart cycles of both classes; use longer clips")
    gains = (mean[1] - mean[0]).unstack("phase")[phases]
    own = weights[weights["phase"].isin(phases)].astype({"band": int})
    own = own.pivot(index="band", columns="phase", values="weight")[phases]
    names = gains.index.unique("database")
    title = "Where are abnormal recordings louder than normal ones?"
    figure, (*panels, last) = style.new_pages(title, len(names) + 1, 4, 3)
    for axes, name in zip(panels, names, strict=True):
        louder = _cycle(axes, gains.loc[name].to_numpy(), gains.abs().to_numpy().max())
        axes.set_title(f"database {name}")
    image = _cycle(last, own.to_numpy(), own.abs().to_numpy().max(), "PuOr_r")
    last.set_title("linear model\n(rhythm not drawn)")
    for axes in (*panels, last):
        axes.label_outer()
        axes.tick_params(labelbottom=True)
    bar = {"ax": [*panels, last], "aspect": 40, "pad": 0.01}
    figure.colorbar(louder, label="abnormal minus normal (dB)", **bar)
    figure.colorbar(image, label="weight of the linear model", **bar)
    return figure


@style.styled
def stored_levels(facts: pd.DataFrame) -> Figure:
    """How many distinct sample values the recordings of each database use.

    Args:
        facts: columns database, label, levels (distinct sample values of a recording).
    """
    names = sorted(facts["database"].unique())
    title = "How many different sample values does a recording use?"
    figure, panels = style.new_pages(title, len(names), 3, 1.9, sharex=True)
    span = np.log10([facts["levels"].min(), facts["levels"].max()])
    look = {"bins": 40, "binrange": span, "log_scale": True}
    for axes, name in zip(panels, names, strict=True):
        style.class_histogram(axes, facts[facts["database"] == name], "levels", **look)
        axes.set(title=f"database {name}", xlabel="distinct sample values")
    return style.with_legend(figure, style.color_key(style.CLASSES, marker="s", ms=9))


def mark_beats(axes: Axes, rhythm: Rhythm, end: float = np.inf, **look: float) -> None:
    """An upright line at each beat before `end` (s)."""
    for name, times in (("S1", rhythm.onset), ("S2", rhythm.onset + rhythm.systole)):
        for time in times[times < end]:
            axes.axvline(time, **BEATS[name] | look)


def _cycle(axes: Axes, values: np.ndarray, reach: float, colors: str = "RdBu_r") -> AxesImage:
    """Phases from left to right, bands from below, colors symmetric about 0."""
    look = {"origin": "lower", "aspect": "auto", "cmap": colors, "vmin": -reach, "vmax": reach}
    image = axes.imshow(values, **look)
    rows = range(0, len(values), 2)
    axes.set_yticks(rows, [f"{band_edges()[row + 1]:.0f} Hz" for row in rows])
    axes.set_xticks(range(len(PHASES)), SHORT, rotation=90)
    axes.set(xlabel="phase", ylabel="center of the band")
    axes.grid(visible=False)
    return image
