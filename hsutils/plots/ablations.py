"""What carries the result: one figure for every question that was put to the paper's recipe."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hsutils.plots.seeds import BELOW, DASHED, DOT, legend_handles
from hsutils.plots.style import INK, color_of, headline, new_page, quiet, styled

QUESTION_ROWS = 1.35  # Height of a question and the gap above it, in rows.


@styled
def ablations(table: pd.DataFrame, seeds: pd.DataFrame) -> Figure:
    """Dev AUROC of each option of each question: every seed, mean, and 95% t interval.

    The axis spans the seeds; an interval that is much wider ends in an arrow at its edge.

    Args:
        table: columns question, option, model, mean, low, high, last_epoch, difference,
            difference_low, difference_high, p_holm; intervals and p are NaN for one seed, and the
            difference is NaN in the row of the paper's own recipe, the first of its question.
        seeds: columns question, option, seed, dev_auroc.
    """
    groups = table.groupby("question", sort=False)
    dots = dict(iter(seeds.groupby(["question", "option"])["dev_auroc"]))
    height = 1.7 + 0.32 * (len(table) + QUESTION_ROWS * len(groups))
    figure, panels = new_page(10, height, ncols=3, sharey=True, width_ratios=(2.5, 4.2, 2.6))
    names, forest, numbers = panels
    forest.set(xlabel="dev AUROC", yticks=[], xlim=_axis_about(table, seeds["dev_auroc"]))
    forest.spines["left"].set_visible(False)
    quiet(names)
    quiet(numbers)
    names.set_zorder(1)  # Questions run on into the plot.
    for x, name in ((0, "mean"), (0.2, "difference (95% interval)")):
        numbers.text(x, -1, name, size=9, color="#666666", va="center")
    top = 0.0
    for question, group in groups:
        names.text(0, top, question, weight="bold", va="center", in_layout=False)
        forest.plot([group["mean"].iloc[0]] * 2, [top + 0.5, top + len(group) + 0.45], **DASHED)
        for y, row in enumerate(group.itertuples(), start=1):
            names.text(0.02, top + y, row.option, va="center")
            _forest_row(forest, top + y, row, dots[question, row.option])
            numbers.text(0, top + y, f"{row.mean:.3f}", va="center")
            numbers.text(0.2, top + y, difference_text(row), va="center")
        top += len(group) + QUESTION_ROWS
    forest.set_ylim(top - 0.6, -1.3)
    marks = {"one seed": DOT | {"ms": 6}, "mean": DOT | {"marker": "D"}}
    marks |= {"mean, last epoch": DOT | {"marker": "D", "mfc": "white", "mec": INK, "mew": 1.5}}
    marks |= {"95% interval over seeds": {"lw": 5, "alpha": 0.3}, "paper's recipe": DASHED}
    figure.legend(handles=legend_handles(marks), **BELOW | {"ncols": len(marks)})
    return headline(figure, _largest_difference(table))


def _forest_row(axes: Axes, y: float, row: tuple, values: pd.Series) -> None:
    """Mean and interval, with arrows where it leaves the axis, and the seeds beneath."""
    color, limits = color_of(row.model), axes.get_xlim()
    ends = np.clip([row.low, row.high], *limits)
    axes.plot(ends, [y, y], color=color, lw=5, alpha=0.3, solid_capstyle="butt")
    for end, limit, arrow in zip(ends, limits, "<>", strict=True):
        if end == limit:
            axes.plot(end, y, arrow, ms=8, color=color, mew=0, clip_on=False)
    axes.plot(row.last_epoch, y, "D", ms=7, mfc="white", mec=color, mew=1.5, zorder=2)
    axes.plot(row.mean, y, "D", ms=7, color=color, mew=0, zorder=3)
    axes.plot(values, [y + 0.32] * len(values), color=color, **DOT | {"ms": 6, "clip_on": False})


def _axis_about(table: pd.DataFrame, values: pd.Series) -> tuple[float, float]:
    """Ends of the axis: the intervals, but never much farther out than the seeds."""
    room = max(0.4 * np.ptp(values), 0.01)
    values = pd.concat([values, table["last_epoch"]])
    left = np.fmax(np.fmin(table["low"].min(), values.min()), values.min() - room)
    right = np.fmin(np.fmax(table["high"].max(), values.max()), values.max() + room)
    return left - 0.2 * room, min(right + 0.2 * room, 1.0)


def difference_text(row: tuple | pd.Series) -> str:
    """A difference with its interval, if it has one: +0.012 (−0.004 to +0.028)."""
    if np.isnan(row.difference):
        return "paper's recipe"
    ends = f" ({row.difference_low:+.3f} to {row.difference_high:+.3f})"
    text = f"{row.difference:+.3f}" + (ends if np.isfinite(row.difference_low) else "")
    return text.replace("-", "−")


def _largest_difference(table: pd.DataFrame) -> str:
    options = table.dropna(subset="difference")
    if options.empty:
        return "Dev AUROC of the paper's recipe"
    tested = options[options["p_holm"].notna()]
    clear = tested[tested["p_holm"] < 0.05]
    listed = next(part for part in (clear, tested, options) if len(part))
    most = listed.iloc[listed["difference"].abs().argmax()]
    told = f"{difference_text(most)} with {most.option}"
    if len(tested) and clear.empty:
        return (
            f"None of {len(tested)} changes tried with several seeds moves dev AUROC clearly more "
            f"than seeds do; the largest: {told}"
        )
    return f"Dev AUROC differs most for “{most.question}”: {told}"
