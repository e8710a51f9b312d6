"""Figures about the recordings and how they are split."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hsutils.evaluation.metrics import CLASSES
from hsutils.data.splits import SPLITS
from hsutils.plots.style import (
    CLASS_COLORS,
    DATABASE_COLORS,
    FAINT,
    INK,
    MODEL_COLORS,
    OTHER_COLOR,
    headline,
    legend_above,
    new_page,
    quiet,
    styled,
)


@styled
def recordings_overview(recordings: pd.DataFrame, clip_seconds: float = 57.0) -> Figure:
    """Who was recorded: counts by label, durations and usable quality of each database.

    Args:
        recordings: columns database, label, seconds, quality.
        clip_seconds: length the front end keeps, drawn as a line.
    """
    figure, (who, length, noise) = new_page(10, 4.2, ncols=3, sharey=True, width_ratios=(5, 4, 2.6))
    counts = pd.crosstab(recordings["database"], recordings["label"]).reindex(
        columns=[0, 1], fill_value=0
    )
    names, rows = list(counts.index), np.arange(len(counts))
    _stack(who, counts.set_axis(CLASSES, axis=1), CLASS_COLORS)
    for row, (total, abnormal) in enumerate(zip(counts.sum(axis=1), counts[1], strict=True)):
        who.text(total, row, f" {total:,}  ({abnormal / total:.0%} abnormal)", va="center", size=9)
    who.set(xlabel="recordings", ylabel="database", yticks=rows, yticklabels=names)
    who.set_xlim(0, counts.sum(axis=1).max() * 1.55)
    legend_above(who)
    _durations(length, [recordings.query("database == @d")["seconds"] for d in names], names)
    length.axvline(clip_seconds, color=INK, ls="--", lw=1)
    length.text(clip_seconds, -0.62, f" clip {clip_seconds:g} s", va="center", size=9)
    length.set(xlabel="duration (s)", ylim=(len(names) - 0.5, -0.9))
    noisy = 1 - recordings.groupby("database")["quality"].mean()
    noise.barh(rows, noisy, color=FAINT, height=0.62)
    for row, share in enumerate(noisy):
        noise.text(share, row, f" {share:.0%}", va="center", size=9)
    noise.set(xlabel="share too noisy", xlim=(0, max(noisy.max() * 1.3, 0.01)))
    noise.xaxis.set_major_formatter("{x:.0%}")
    for axes in (who, length, noise):
        axes.grid(axis="y", visible=False)
    totals, shares = counts.sum(axis=1), counts[1] / counts.sum(axis=1)
    return headline(
        figure,
        f"Database {totals.idxmax()} holds {totals.max() / totals.sum():.0%} of the "
        f"{totals.sum():,} recordings; the abnormal share runs from {shares.min():.0%} "
        f"({shares.idxmin()}) to {shares.max():.0%} ({shares.idxmax()})",
    )


@styled
def split_composition(recordings: pd.DataFrame, splits: pd.DataFrame) -> Figure:
    """Shares of the classes and of the databases in each split.

    Args:
        recordings: columns record, database, label.
        splits: columns record, split.
    """
    table = recordings.merge(splits, on="record", validate="one_to_one")
    present = [split for split in SPLITS if split in set(table["split"])]
    figure, panels = new_page(10, 0.55 * len(present) + 2.1, ncols=2, sharey=True)
    labels = pd.crosstab(table["split"], table["label"]).reindex(
        index=present, columns=[0, 1], fill_value=0
    )
    databases = pd.crosstab(table["split"], table["database"]).reindex(index=present)
    for axes, counts, colors in (
        (panels[0], labels.set_axis(CLASSES, axis=1), CLASS_COLORS),
        (panels[1], databases, DATABASE_COLORS),
    ):
        _stack(axes, counts.div(counts.sum(axis=1), axis=0), colors, counts)
        axes.set(xlim=(0, 1), xlabel="share of the split (numbers: recordings)")
        axes.xaxis.set_major_formatter("{x:.0%}")
        axes.grid(False)
        legend_above(axes, columns=6)
    sizes = [f"{split}\n{n:,}" for split, n in labels.sum(axis=1).items()]
    panels[0].set(yticks=range(len(present)), yticklabels=sizes, ylim=(len(present) - 0.5, -0.5))
    shares = labels[1] / labels.sum(axis=1)
    rest = ", ".join(f"{split} {share:.0%}" for split, share in shares.drop(present[0]).items())
    return headline(
        figure, f"{shares.iloc[0]:.0%} of {present[0]} is abnormal; {rest or 'no other split'}"
    )


@styled
def leaks(audit: pd.DataFrame, most: int = 20) -> Figure:
    """Groups of recordings that straddle splits, one row a group, recordings counted per split.

    Args:
        audit: columns group, record, split, as `hsutils.splits.audit` gives them; groups that
            stay within one split are ignored.
        most: rows drawn at most, largest groups first.
    """
    counts = pd.crosstab(audit["group"], audit["split"])
    counts = counts[[*(s for s in SPLITS if s in counts), *counts.columns.difference(SPLITS)]]
    straddling = counts[(counts > 0).sum(axis=1) > 1]
    order = straddling.sum(axis=1).sort_values(ascending=False, kind="stable").index
    shown = straddling.loc[order[:most]]
    if shown.empty:
        figure, axes = new_page(10, 1.5)
        quiet(axes)
        axes.text(0, 0.5, "Nothing to draw: every group stays within one split.", va="center")
        return headline(figure, "No group of related recordings straddles splits")
    figure, axes = new_page(10, 0.34 * len(shown) + 1.7)
    _dots(axes, shown)
    plural = "s" * (len(straddling) > 1)
    hidden = "" if len(straddling) == len(shown) else f" (largest {len(shown)} drawn)"
    return headline(
        figure,
        f"{straddling.to_numpy().sum():,} recordings have kin in another split, "
        f"in {len(straddling):,} group{plural}{hidden}",
    )


def _dots(axes: Axes, counts: pd.DataFrame) -> None:
    """A numbered dot for each group (row) and split (column) that holds any of it."""
    rows, columns = np.nonzero(counts.to_numpy())
    members = counts.to_numpy()[rows, columns]
    for row in range(len(counts)):
        inside = columns[rows == row]
        axes.plot([inside.min(), inside.max()], [row, row], color=FAINT, lw=2, zorder=1)
    axes.scatter(columns, rows, s=230, color=MODEL_COLORS["student"], zorder=2)
    for row, column, n in zip(rows, columns, members, strict=True):
        place = {"ha": "center", "va": "center_baseline", "color": "white"}
        axes.text(column, row, n, size=9, weight="bold", **place)
    axes.set_xticks(range(counts.shape[1]), counts.columns)
    axes.set_yticks(range(len(counts)), counts.index)
    axes.set(xlim=(-0.6, counts.shape[1] - 0.4), ylim=(len(counts) - 0.4, -0.6))
    axes.set(ylabel="group", xlabel="split (numbers: recordings of the group)")


def _stack(
    axes: Axes, widths: pd.DataFrame, colors: dict[str, str], counts: pd.DataFrame | None = None
) -> None:
    """Horizontal bars stacked by column; counts, where given, are written into wide parts."""
    left = np.zeros(len(widths))
    for column in widths:
        rows = range(len(widths))
        color = colors.get(column, OTHER_COLOR)
        axes.barh(rows, widths[column], left=left, color=color, height=0.62, label=column)
        for row in rows if counts is not None else ():
            if widths[column].iloc[row] > 0.055:
                middle = left[row] + widths[column].iloc[row] / 2
                number = f"{counts[column].iloc[row]:,}"
                axes.text(middle, row, number, ha="center", va="center", color="white", size=9)
        left += widths[column].to_numpy()


def _durations(axes: Axes, seconds: Sequence[pd.Series], names: Sequence[str]) -> None:
    """A box over a strip of jittered points for each database."""
    rng = np.random.default_rng(0)
    for row, (values, name) in enumerate(zip(seconds, names, strict=True)):
        jitter = row + rng.uniform(-0.25, 0.25, len(values))
        color = DATABASE_COLORS.get(name, OTHER_COLOR)
        axes.scatter(values, jitter, s=4, color=color, alpha=0.35, linewidths=0, rasterized=True)
    lines = {"color": INK, "linewidth": 1.1}
    axes.boxplot(
        seconds,
        positions=range(len(names)),
        orientation="horizontal",
        widths=0.5,
        showfliers=False,
        manage_ticks=False,
        boxprops=lines,
        whiskerprops=lines,
        capprops=lines,
        medianprops=lines | {"linewidth": 2},
    )
