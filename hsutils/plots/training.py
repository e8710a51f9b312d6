"""Figures about training: loss, dev AUROC, the teacher's soft labels and its embeddings."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hsutils.evaluation.tables import CLASSES, PAPER, in_model_order
from hsutils.plots.style import (
    CLASS_COLORS,
    DATABASE_COLORS,
    FAINT,
    INK,
    MODEL_COLORS,
    OTHER_COLOR,
    color_of,
    headline,
    legend_above,
    new_page,
    styled,
)

DATABASE_MARKERS = dict(zip(DATABASE_COLORS, "os^vDP", strict=True))


@styled
def loss_by_epoch(
    history: pd.DataFrame,
    reference: float | None = None,
    ylabel: str = "loss",
    model: str = "teacher",
    meaning: str = "chance",
) -> Figure:
    """Training loss at the end of each epoch.

    Args:
        history: columns epoch, loss.
        reference: a loss to compare with, drawn as a line.
        ylabel: what the loss is, with its unit.
        model: whose loss it is; gives the color.
        meaning: of the line, such as "chance": the loss of a model that knows nothing.
    """
    figure, axes = new_page(10, 3.8)
    epochs, loss = history["epoch"], history["loss"]
    axes.plot(epochs, loss, marker="o", color=color_of(model))
    if reference is not None:
        axes.axhline(reference, color=INK, ls="--", lw=1)
        note = f"{meaning} {reference:.3g}"
        axes.annotate(
            note, (1, reference), (-2, 3), axes.get_yaxis_transform(), "offset points", ha="right"
        )
    axes.set(xlabel="epoch", ylabel=ylabel, xlim=(epochs.min() - 0.3, epochs.max() + 0.3))
    axes.margins(y=0.12)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    first, last = loss.iloc[0], loss.iloc[-1]
    move = "falls" if last < first else "rises" if last > first else "goes"
    return headline(
        figure,
        f"Loss {move} from {first:.3g} to {last:.3g} in {len(history)} epochs"
        if len(history) > 1
        else f"Loss after one epoch: {last:.3g}",
    )


@styled
def dev_auroc_by_epoch(histories: Mapping[str, pd.DataFrame], paper: bool = True) -> Figure:
    """Dev AUROC after each epoch, best epoch starred (paper, figure 5, for every model).

    Args:
        histories: model -> history with columns epoch, dev_auroc (NaN where not measured).
        paper: draw the paper's best values (table 1) as faint lines.
    """
    figure, axes = new_page(10, 4.6)
    bests = {}
    for model, history in in_model_order(histories).items():
        measured = history.dropna(subset="dev_auroc")
        if measured.empty:
            continue
        best = measured.loc[measured["dev_auroc"].idxmax()]
        bests[model] = best["dev_auroc"]
        color = color_of(model)
        name = f"{model}: {best['dev_auroc']:.3f} at epoch {best['epoch']:.0f}"
        axes.plot(measured["epoch"], measured["dev_auroc"], ".-", color=color, label=name)
        axes.plot(best["epoch"], best["dev_auroc"], "*", ms=15, color=color, mec="white")
        if paper and model in PAPER:
            axes.axhline(PAPER[model].dev_auroc, color=color, lw=1, ls=":", alpha=0.8)
    if paper and set(bests) & set(PAPER):
        axes.plot([], [], color=FAINT, ls=":", label="paper's best")
    axes.set(xlabel="epoch", ylabel="dev AUROC")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    longest = max((len(h) for h in histories.values()), default=1)
    axes.set_xlim(0.5, longest + 0.5)
    axes.margins(y=0.08)
    if not bests:
        return headline(figure, "No dev AUROC was measured")
    legend_above(axes)
    ranked = sorted(bests, key=bests.get, reverse=True)
    finding = f"Best dev AUROC: {ranked[0]} {bests[ranked[0]]:.3f}"
    return headline(figure, ", ".join([finding, *(f"{m} {bests[m]:.3f}" for m in ranked[1:])]))


@styled
def soft_label_histogram(soft_labels: pd.DataFrame) -> Figure:
    """The teacher's soft labels, split by true label when it is known (for the reader only).

    Args:
        soft_labels: columns record, soft_label in [0, 1], and optionally label.
    """
    figure, axes = new_page(10, 3.8)
    bins = np.linspace(0, 1, 41)
    values = soft_labels["soft_label"]
    if "label" in soft_labels:
        parts = [values[soft_labels["label"] == c] for c in (0, 1)]
        names = [f"{name} ({len(v):,})" for name, v in zip(CLASSES, parts, strict=True)]
        axes.hist(parts, bins, stacked=True, color=list(CLASS_COLORS.values()), label=names)
        truth = f"; {soft_labels['label'].mean():.0%} truly are"
    else:
        axes.hist(values, bins, color=MODEL_COLORS["teacher"], label="recordings")
        truth = ""
    axes.axvline(0.5, color=INK, ls="--", lw=1)
    axes.set(xlabel="soft label (teacher's probability of abnormal)", ylabel="recordings")
    axes.set_xlim(0, 1)
    legend_above(axes)
    share = (values > 0.5).mean()
    return headline(
        figure, f"The teacher calls {share:.0%} of {len(values):,} recordings abnormal{truth}"
    )


@styled
def embedding_map(embeddings: np.ndarray, labels: np.ndarray, databases: np.ndarray) -> Figure:
    """Embeddings on their first two principal components, by label and by database.

    The headline compares how often a recording's nearest neighbor (Euclidean, all dimensions)
    shares its database and its label with how often two random recordings do.

    Args:
        embeddings: (n, d), n >= 3, d >= 2.
        labels: (n,) 0 normal, 1 abnormal.
        databases: (n,) letters.
    """
    labels, databases = np.asarray(labels), np.asarray(databases)
    centered = np.asarray(embeddings, dtype=float) - np.mean(embeddings, axis=0)
    u, scale, _ = np.linalg.svd(centered, full_matrices=False)
    points, variance = u[:, :2] * scale[:2], scale**2 / max((scale**2).sum(), 1e-12)
    figure, (by_label, by_database) = new_page(10, 4.8, ncols=2, sharex=True, sharey=True)
    names = np.asarray(CLASSES)[labels]
    _scatter(by_label, points, names, CLASS_COLORS, dict.fromkeys(CLASSES, "o"))
    _scatter(by_database, points, databases, DATABASE_COLORS, DATABASE_MARKERS)
    for axes, what in ((by_label, "by label"), (by_database, "by database")):
        axes.set(xlabel=f"component 1 ({variance[0]:.0%} of variance)", title=what)
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=6, markerscale=1.6,
                    columnspacing=0.8, handletextpad=0.1, borderaxespad=0.2)  # fmt: skip
    by_label.set_ylabel(f"component 2 ({variance[1]:.0%} of variance)")
    neighbor = _nearest(centered)
    by, what = (
        f"{(values == values[neighbor]).mean():.0%} of the time (chance {_luck(values):.0%})"
        for values in (databases, labels)
    )
    return headline(figure, f"Nearest neighbors share their database {by}, their label {what}")


def _scatter(
    axes: Axes, points: np.ndarray, kinds: np.ndarray, colors: dict, markers: dict
) -> None:
    """Points by kind, one kind after the other."""
    for kind in [k for k in colors if k in kinds] + sorted(set(kinds) - set(colors)):
        look = {"color": colors.get(kind, OTHER_COLOR), "marker": markers.get(kind, "*")}
        x, y = points[kinds == kind].T
        axes.scatter(x, y, s=13, alpha=0.6, linewidths=0, label=kind, **look)


def _nearest(points: np.ndarray, block: int = 1024) -> np.ndarray:
    """(n,) index of each point's nearest other point, in blocks so that memory stays flat."""
    squares = (points**2).sum(axis=1)
    nearest = np.empty(len(points), dtype=int)
    for start in range(0, len(points), block):
        rows = np.arange(start, min(start + block, len(points)))
        distances = squares - 2 * points[rows] @ points.T
        distances[np.arange(len(rows)), rows] = np.inf
        nearest[rows] = distances.argmin(axis=1)
    return nearest


def _luck(values: np.ndarray) -> float:
    """The chance that two different recordings, drawn at random, share a value."""
    counts = np.unique(values, return_counts=True)[1]
    return float((counts * (counts - 1)).sum() / (len(values) * (len(values) - 1)))
