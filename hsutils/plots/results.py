"""Figures about predictions: ranking, decisions at logit 0, and where the models err."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from pandas.api.typing import DataFrameGroupBy

from hsutils.evaluation.tables import (
    CLASSES,
    PAPER,
    accuracy,
    auroc,
    auroc_interval,
    confusion,
    in_model_order,
    roc,
    side_by_side,
)
from hsutils.plots.style import (
    CLASS_COLORS,
    FAINT,
    INK,
    color_of,
    headline,
    legend_above,
    new_page,
    quiet,
    styled,
)


@styled
def roc_curves(predictions: Mapping[str, pd.DataFrame], paper: bool = True) -> Figure:
    """ROC curves with the operating point at logit 0, and each AUROC with its 95% interval.

    Args:
        predictions: model -> predictions on one split (paper: test).
        paper: mark the paper's AUROC.
    """
    predictions = in_model_order(predictions)
    figure, (curve, areas) = new_page(10, 4.9, ncols=2)
    curve.plot([0, 1], [0, 1], color=FAINT, lw=1, ls="--")
    values = {}
    for row, (model, p) in enumerate(predictions.items()):
        color = color_of(model)
        curve.plot(*roc(p["label"], p["logit"]), color=color, label=model)
        matrix = confusion(p["label"], p["logit"])
        point = matrix[:, 1] / matrix.sum(axis=1)
        curve.plot(*point, "o", ms=9, color=color, mec="white", mew=1.5, zorder=3)
        values[model] = auroc(p["label"], p["logit"])
        areas.plot(auroc_interval(p), [row, row], color=color, lw=5, alpha=0.35)
        areas.plot(values[model], row, "o", ms=9, color=color)
        areas.text(values[model], row - 0.17, f"{values[model]:.3f}", ha="center", color=color)
        if paper and model in PAPER:
            areas.plot(PAPER[model].test_auroc, row, "D", ms=8, mfc="none", mec=INK)
    curve.plot([], [], "o", color=INK, label="logit 0")
    curve.set(xlabel="false positive rate", ylabel="true positive rate", aspect="equal")
    curve.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    curve.legend(loc="lower right")
    areas.plot([], [], color=FAINT, lw=5, label="95% interval")
    if paper:
        areas.plot([], [], "D", ms=8, mfc="none", mec=INK, label="paper")
    areas.set_yticks(range(len(values)), values)
    areas.set(xlabel="AUROC", ylim=(len(values) - 0.5, -0.6), xmargin=0.08)
    areas.grid(axis="y", visible=False)
    legend_above(areas)
    best = max(values, key=values.get)
    others = ", ".join(f"{m} {v:.3f}" for m, v in values.items() if m != best)
    if not others:
        return headline(figure, f"AUROC of the {best}: {values[best]:.3f}")
    return headline(figure, f"The {best} ranks best, AUROC {values[best]:.3f}; {others}")


@styled
def confusion_matrices(predictions: Mapping[str, pd.DataFrame], paper: bool = True) -> Figure:
    """Confusion matrices at logit 0, with the paper's (table 2) beneath.

    Args:
        predictions: model -> predictions on the test split.
        paper: draw the paper's row.
    """
    predictions = in_model_order(predictions)
    rows = 1 + paper
    figure, panels = new_page(
        10, 2.9 * rows + 0.4, nrows=rows, ncols=len(predictions), squeeze=False
    )
    for column, (model, p) in enumerate(predictions.items()):
        title = f"{model}, ours" if paper else model
        draw_matrix(panels[0, column], confusion(p["label"], p["logit"]), title, model)
        if paper and model in PAPER:
            draw_matrix(panels[1, column], PAPER[model].confusion, f"{model}, paper", model)
        elif paper:
            panels[1, column].set_visible(False)
    for axes in panels[:, 1:].flat:
        axes.set(ylabel="", yticklabels=[])
    shares = [f"{m} {accuracy(p['label'], p['logit']):.1%}" for m, p in predictions.items()]
    return headline(figure, "Accuracy at logit 0: " + ", ".join(shares))


@styled
def logit_histograms(predictions: Mapping[str, pd.DataFrame]) -> Figure:
    """How far each model's logits part the classes; the line is the decision threshold.

    Args:
        predictions: model -> predictions on one split.
    """
    predictions = in_model_order(predictions)
    look = {"ncols": len(predictions), "sharex": True, "sharey": True, "squeeze": False}
    figure, panels = new_page(10, 3.7, **look)
    logits = np.concatenate([p["logit"] for p in predictions.values()])
    count = int(np.clip(1.5 * np.sqrt(len(logits) / len(predictions)), 8, 30))
    bins = np.histogram_bin_edges(logits, count)
    for axes, (model, p) in zip(panels[0], predictions.items(), strict=True):
        for label, name in enumerate(CLASSES):
            logits = p.loc[p["label"] == label, "logit"]
            axes.hist(logits, bins, color=CLASS_COLORS[name], alpha=0.65, label=name)
        axes.axvline(0, color=INK, lw=1, ls="--")
        axes.set(xlabel="logit", title=model)
    panels[0, 0].set_ylabel("recordings")
    panels[0, 0].yaxis.set_major_locator(MaxNLocator(integer=True))
    panels[0, -1].legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0.2)
    found = {m: confusion(p["label"], p["logit"])[1] for m, p in predictions.items()}
    shares = ", ".join(f"{m} {row[1] / row.sum():.0%}" for m, row in found.items())
    return headline(figure, f"Abnormal recordings found at logit 0: {shares}")


@styled
def errors_by_model(
    predictions: Mapping[str, pd.DataFrame], recordings: pd.DataFrame | None = None
) -> Figure:
    """How many models miss each recording, and each model's error rate by database.

    Args:
        predictions: model -> predictions, all on the same records.
        recordings: columns record, database; None leaves the second panel out.
    """
    table = side_by_side(predictions)
    models = list(table.columns[2:])
    wrong = (table[models] > 0).ne(table["label"] == 1, axis=0)
    widths = (1, 1.7) if recordings is not None else (1,)
    figure, panels = new_page(10, 4, ncols=len(widths), width_ratios=widths, squeeze=False)
    _misses(panels[0, 0], wrong.sum(axis=1), table["label"], len(models))
    if recordings is not None:
        known = recordings.set_index("record")["database"].reindex(table["record"])
        _error_rates(panels[0, 1], wrong.groupby(known.to_numpy()))
    all_wrong, any_wrong = wrong.all(axis=1).sum(), wrong.any(axis=1).sum()
    return headline(
        figure,
        f"{all_wrong} of {len(table)} recordings fool every model; "
        f"{any_wrong - all_wrong} more fool some",
    )


def draw_matrix(
    axes: Axes, matrix: np.ndarray, title: str, model: str, ends: np.ndarray | None = None
) -> None:
    """A 2 x 2 table of counts, shaded by share of the actual class.

    Args:
        axes: where to draw.
        matrix: (2, 2) counts, or their mean over seeds.
        title: of the panel.
        model: gives the color.
        ends: (2, 2, 2), lowest and highest count over seeds, written beneath each mean.
    """
    matrix, up = np.asarray(matrix), 0.06 * (ends is not None)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    quiet(axes)
    shades = LinearSegmentedColormap.from_list(model, ["#F7F7F7", color_of(model)])
    axes.imshow(shares, cmap=shades, vmin=0, vmax=1, aspect="auto")
    for row, column in np.ndindex(2, 2):
        place = {"ha": "center", "color": _readable_on(shades(shares[row, column]))}
        count = f"{matrix[row, column]:,.1f}".removesuffix(".0")
        axes.text(column, row - up, count, size=17, weight="bold", **place)
        share = f"{shares[row, column]:.0%}"
        if ends is not None:
            share = "({:,}–{:,})\n".format(*ends[:, row, column]) + share
        axes.text(column, row + 0.1 - up, share, va="top", size=9, **place)
    axes.set(xlim=(-0.5, 1.5), ylim=(1.5, -0.5), title=title, xlabel="predicted", ylabel="actual")
    axes.set_xticks((0, 1), CLASSES)
    axes.set_yticks((0, 1), CLASSES, rotation=90, va="center")
    axes.tick_params(length=0)


def _readable_on(background: tuple[float, ...]) -> str:
    """White or ink, whichever stands out more (relative luminance, WCAG 2)."""
    linear = np.array(to_rgb(background)) ** 2.2
    return "white" if linear @ (0.2126, 0.7152, 0.0722) < 0.18 else INK


def _misses(axes: Axes, n_wrong: pd.Series, labels: pd.Series, models: int) -> None:
    """Recordings by the number of models that miss them, stacked by true class."""
    bottom = np.zeros(models + 1)
    for label, name in enumerate(CLASSES):
        counts = np.bincount(n_wrong[labels == label], minlength=models + 1)
        axes.bar(range(models + 1), counts, bottom=bottom, color=CLASS_COLORS[name], label=name)
        bottom += counts
    for x, total in enumerate(bottom):
        axes.text(x, total, f"{total:,.0f}", ha="center", va="bottom", size=9)
    axes.set(xlabel="models wrong", ylabel="recordings", xticks=range(models + 1))
    axes.set_ylim(0, 1.12 * bottom.max())
    axes.grid(axis="x", visible=False)
    legend_above(axes)


def _error_rates(axes: Axes, wrong: DataFrameGroupBy) -> None:
    """Error rate of each model in each database, side by side."""
    rates, sizes = wrong.mean(), wrong.size()
    width = 0.8 / rates.shape[1]
    for k, model in enumerate(rates):
        x = np.arange(len(rates)) + (k - (rates.shape[1] - 1) / 2) * width
        axes.bar(x, rates[model], width * 0.92, color=color_of(model), label=model)
    names = [f"{database}\n{n:,}" for database, n in sizes.items()]
    axes.set_xticks(range(len(rates)), names)
    axes.set(xlabel="database (recordings)", ylabel="share wrong", ylim=(0, None))
    axes.yaxis.set_major_formatter("{x:.0%}")
    axes.grid(axis="x", visible=False)
    legend_above(axes)
