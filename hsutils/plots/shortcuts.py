"""What can be told of a recording without listening: its format, its database."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from hsutils.evaluation.tables import CLASSES
from hsutils.plots.common import BAR, interval, shade
from hsutils.plots.seeds import DOT, legend_handles
from hsutils.plots.style import (
    CLASS_COLORS,
    FAINT,
    INK,
    headline,
    legend_above,
    new_page,
    styled,
)


@styled
def separation(table: pd.DataFrame) -> Figure:
    """How well each fact about a recording's file tells the classes apart, database by database.

    Args:
        table: columns database, fact, auroc, low, high; at 0.5 the fact tells nothing, below it
            larger values mean normal. A missing pair or a NaN leaves its cell empty.
    """
    table = table.assign(fact=table["fact"].str.replace("_", " "))
    values = table.pivot(index="fact", columns="database", values="auroc")
    order = (values - 0.5).abs().mean(axis=1).sort_values(ascending=False, kind="stable").index
    values = values.loc[order]
    figure, axes = new_page(10, 1.9 + 0.42 * len(values))
    shades = LinearSegmentedColormap.from_list(
        "classes", [CLASS_COLORS["normal"], "white", CLASS_COLORS["abnormal"]]
    )
    image = axes.imshow(values, cmap=shades, vmin=0, vmax=1, aspect="auto")
    clear = (table["low"] > 0.5) | (table["high"] < 0.5)
    for row, apart in zip(table.itertuples(), clear, strict=True):
        if np.isfinite(row.auroc):
            _cell(axes, row, apart, values)
    axes.set_xticks(range(values.shape[1]), [name or "all" for name in values.columns])
    axes.set_yticks(range(len(values)), values.index)
    axes.set_xlabel("database (bold: the 95% interval leaves out 0.5)")
    axes.grid(False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, pad=0.015, aspect=15, ticks=[0, 0.5, 1])
    meanings = ("larger means\nnormal", "tells nothing", "larger means\nabnormal")
    bar.ax.set_yticklabels(["0: " + meanings[0], "0.5: " + meanings[1], "1: " + meanings[2]])
    bar.outline.set_visible(False)
    # A handful of recordings may be parted perfectly by luck; they have no interval.
    known = table if table["low"].isna().all() else table.dropna(subset="low")
    most = table.loc[(known["auroc"] - 0.5).abs().idxmax()]
    where = f"in database {most.database}" if most.database else "over all databases"
    finding = f"“{most.fact}” alone tells normal from abnormal {where} with AUROC {most.auroc:.2f}"
    if table["low"].isna().all():
        return headline(figure, finding)
    return headline(
        figure, f"{finding}; {clear.sum()} of {table.low.count()} intervals leave out 0.5"
    )


@styled
def stored_levels(
    facts: pd.DataFrame, waveforms: Mapping[str, tuple[np.ndarray, np.ndarray]]
) -> Figure:
    """Distinct sample values of the recordings of one database, and what few of them look like.

    Args:
        facts: columns label, seconds, levels (distinct values of the samples); database, if given,
            is named in the headline.
        waveforms: class name -> (seconds, integer samples), each (n,), a stretch of up to 100 ms.
    """
    shape = {"nrows": len(waveforms), "ncols": 2, "width_ratios": (1, 1.25), "squeeze": False}
    figure, panels = new_page(10, 4.6, **shape)
    grid = panels[0, 0].get_gridspec()
    for axes in panels[:, 0]:
        axes.remove()
    medians = _cloud(figure.add_subplot(grid[:, 0]), facts)
    for axes, (name, (seconds, samples)) in zip(panels[:, 1], waveforms.items(), strict=True):
        _steps(axes, 1000 * (seconds - seconds[0]), samples, name)
    panels[-1, 1].set_xlabel("time (ms)")
    database = f" of database {facts['database'].iloc[0]}" if "database" in facts else ""
    normal, abnormal = (f"{medians[name]:,.0f}" for name in CLASSES)
    return headline(
        figure,
        f"A normal recording{database} holds {normal} distinct sample values, an abnormal one "
        f"{abnormal} (medians)",
    )


@styled
def database_probe(table: pd.DataFrame) -> Figure:
    """How well the database can be told from features, against chance.

    Args:
        table: columns features, balanced_accuracy, low, high, chance.
    """
    figure, axes = new_page(10, 1.5 + 0.5 * len(table))
    for y, row in enumerate(table.itertuples()):
        color, value = shade(row.features), row.balanced_accuracy
        axes.plot([row.chance, value], [y, y], color=color, lw=1.2)
        interval(axes, y, row.low, row.high, color)
        axes.plot(row.chance, y, "|", ms=22, mew=1.5, color=INK)
        axes.plot(value, y, **DOT | {"ms": 10, "color": color})
        axes.text(value, y - 0.2, f"{value:.0%}", ha="center", va="bottom", color=color)
    axes.set_yticks(range(len(table)), table["features"])
    axes.set(xlim=(0, 1.03), ylim=(len(table) - 0.6, -0.75))
    axes.set_xlabel("databases told right (balanced accuracy)")
    axes.xaxis.set_major_formatter("{x:.0%}")
    axes.grid(axis="y", visible=False)
    marks = {"chance": {"marker": "|", "ms": 12, "mew": 1.5, "ls": "none"}, "95% interval": BAR}
    legend_above(axes, handles=legend_handles(marks))
    if table.empty:
        return headline(figure, "Too few recordings to tell databases apart by features")
    told = ", ".join(f"{r.features} {r.balanced_accuracy:.0%}" for r in table.itertuples())
    ends = (f"{chance:.0%}" for chance in (table["chance"].min(), table["chance"].max()))
    chance = " to ".join(dict.fromkeys(ends))
    return headline(figure, f"The database can be told from {told} (chance {chance})")


def _cell(axes: Axes, row: tuple, apart: bool, values: pd.DataFrame) -> None:
    """AUROC and interval of a fact in a database, in the middle of its cell."""
    text = f"{row.auroc:.2f}"
    if np.isfinite(row.low):
        text += f" ({row.low:.2f}–{row.high:.2f})"
    dark = abs(row.auroc - 0.5) > 0.35 and row.auroc > 0.5
    place = (values.columns.get_loc(row.database), values.index.get_loc(row.fact))
    look = {"weight": "bold"} if apart else {}
    axes.text(
        *place, text, ha="center", va="center", size=9, color="white" if dark else INK, **look
    )


def _cloud(axes: Axes, facts: pd.DataFrame) -> dict[str, float]:
    """Distinct sample values against duration, a dot a recording; returns each class's median."""
    medians = {}
    for label, name in enumerate(CLASSES):
        part, color = facts[facts["label"] == label], CLASS_COLORS[name]
        medians[name] = part["levels"].median()
        axes.loglog(part["seconds"], part["levels"], ".", ms=6, alpha=0.6, mew=0, color=color)
        axes.axhline(medians[name], color=color, lw=1.2, ls="--")
        axes.plot([], [], "o", color=color, label=f"{name} ({len(part):,})")
    axes.plot([], [], color=INK, lw=1.2, ls="--", label="median")
    axes.set(xlabel="duration (s)", ylabel="distinct sample values")
    axes.set_xticks([5, 10, 20, 50, 100], [5, 10, 20, 50, 100])
    axes.set_xlim(0.9 * facts["seconds"].min(), 1.1 * facts["seconds"].max())
    axes.yaxis.set_major_formatter("{x:,g}")
    axes.xaxis.set_minor_formatter("")
    legend_above(axes, handletextpad=0.3)
    return medians


def _steps(axes: Axes, milliseconds: np.ndarray, samples: np.ndarray, name: str) -> None:
    """A waveform as the steps it was stored in, with a faint line at each level where few."""
    levels = np.unique(samples)
    if len(levels) <= 20:
        axes.hlines(levels, 0, milliseconds[-1], color=FAINT, lw=0.6)
    axes.plot(milliseconds, samples, color=CLASS_COLORS[name], lw=1.5, drawstyle="steps-mid")
    long = milliseconds[-1] + milliseconds[1]
    title = f"{name}: {len(levels)} distinct values in {long:.0f} ms"
    axes.set(title=title, ylabel="sample value", xlim=(0, milliseconds[-1]))
    axes.grid(len(levels) > 20, axis="y")
    axes.grid(False, axis="x")
    axes.yaxis.set_major_formatter("{x:,.0f}")
