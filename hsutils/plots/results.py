"""Figures about predictions: ranking, decisions at logit 0, soft labels, and where models err."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import RocCurveDisplay, confusion_matrix

from hsutils.evaluation.tables import PAPER, auroc_interval
from hsutils.plots import style

MEAN = {"marker": "|", "ms": 20, "mew": 2.5, "ls": "none"}
CLASS_KEY = style.color_key(style.CLASSES, marker="s", ms=9)
HISTOGRAM = {"palette": style.CLASS_COLORS, "hue_order": style.CLASSES, "legend": False}

Predictions = Mapping[str, pd.DataFrame]
"""Model -> columns record, label, logit, and group and seed where there are any."""


@style.styled
def roc_curves(predictions: Predictions, paper: bool = True) -> Figure:
    """ROC curves with the operating points at logit 0, and every AUROC.

    One seed is drawn with its 95% interval over recordings, several with their mean.

    Args:
        predictions: of one split (paper: test); every seed has a curve of its own.
        paper: mark the paper's operating points (table 2) and AUROC (table 3).
    """
    models = style.in_order(predictions)
    title = "How well do the logits rank abnormal above normal?"
    figure, (curves, areas) = style.new_page(title, 5.2, ncols=2)
    curves.plot([0, 1], [0, 1], **style.DASHED)
    for y, model in enumerate(models):
        color, values = style.color_of(model), []
        for p in _seeds(predictions[model]):
            look = {"color": color, "lw": 1.5, "alpha": 0.8}
            shown = RocCurveDisplay.from_predictions(p.label, p.logit, ax=curves, curve_kwargs=look)
            values.append(shown.roc_auc)
            curves.plot(*_point(_confusion(p)), color=color, zorder=3, **style.DOT)
        if len(values) > 1:
            areas.plot(np.mean(values), y, color=color, **MEAN)
        else:
            areas.plot(auroc_interval(p), [y, y], color=color, **style.BAR)
        areas.plot(values, [y] * len(values), color=color, **style.DOT)
        place = {"textcoords": "offset points", "ha": "center", "va": "bottom"}
        areas.annotate(f"{np.mean(values):.3f}", (np.mean(values), y), (0, 12), **place)
        if paper and model in PAPER:
            look = style.PAPER_MARK | {"mec": color, "zorder": 4}
            curves.plot(*_point(PAPER[model].confusion), **look)
            areas.plot(PAPER[model].test_auroc, y + 0.18, **look)
    curves.get_legend().remove()
    curves.set(xlabel="false positive rate", ylabel="true positive rate", aspect="equal")
    areas.set_yticks(range(len(models)), models)
    areas.set(xlabel="AUROC", xmargin=0.1, ylim=(len(models) - 0.5, -0.6))
    areas.grid(axis="y", visible=False)
    marks = style.color_key(models, marker="", ls="-") | {"guessing": style.DASHED}
    marks |= {"one seed: logit 0 (left), AUROC (right)": style.DOT}
    several = any(p.get("seed", pd.Series([0])).nunique() > 1 for p in predictions.values())
    marks |= {"mean of the seeds": MEAN | {"ms": 12}} if several else {"95% interval": style.BAR}
    marks |= {"paper": style.PAPER_MARK} if paper else {}
    return style.with_legend(figure, marks, columns=4)


@style.styled
def confusion_matrices(predictions: Predictions, paper: bool = True) -> Figure:
    """Confusion matrices at logit 0, with the paper's (table 2) beneath.

    Several seeds show their mean, and in brackets the lowest and the highest count.

    Args:
        predictions: of the test split.
        paper: draw the paper's row.
    """
    shape = {"nrows": 1 + paper, "ncols": len(predictions), "squeeze": False}
    title = "How many recordings does each model call right at logit 0?"
    figure, panels = style.new_page(title, 2.9 * (1 + paper) + 0.5, **shape)
    for column, model in enumerate(style.in_order(predictions)):
        counts = np.stack([_confusion(p) for p in _seeds(predictions[model])])
        name = model if len(counts) == 1 else f"{model}, mean of {len(counts)} seeds"
        _matrix(panels[0, column], counts, name, model)
        if paper and model in PAPER:
            theirs = np.array([PAPER[model].confusion])
            _matrix(panels[1, column], theirs, f"{model}, paper", model)
        elif paper:
            panels[1, column].set_axis_off()
    return figure


@style.styled
def logit_histograms(predictions: Predictions) -> Figure:
    """How far each model's logits part the classes; every model has bins and axes of its own.

    Args:
        predictions: of one split and one seed.
    """
    title = "How far apart are the logits of normal and abnormal recordings?"
    figure, (panels,) = style.new_page(title, 4.2, ncols=len(predictions), squeeze=False)
    for axes, model in zip(panels, style.in_order(predictions), strict=True):
        _histogram(axes, predictions[model], "logit", bins=25)
        axes.axvline(0, **style.DASHED)
        axes.set(title=model, xlabel="logit", ylabel="recordings")
    return style.with_legend(figure, CLASS_KEY | {"threshold: logit 0": style.DASHED})


@style.styled
def soft_label_histogram(soft_labels: pd.DataFrame) -> Figure:
    """The teacher's soft labels, by true label (which the student never sees).

    Args:
        soft_labels: columns soft_label in [0, 1], label.
    """
    figure, axes = style.new_page("How sure is the teacher of its soft labels?", 4.2)
    _histogram(axes, soft_labels, "soft_label", bins=np.linspace(0, 1, 41))
    axes.axvline(0.5, **style.DASHED)
    axes.set(xlabel="soft label (the teacher's probability of abnormal)", ylabel="recordings")
    axes.set_xlim(0, 1)
    return style.with_legend(figure, CLASS_KEY | {"even odds": style.DASHED})


@style.styled
def errors_by_model(predictions: Predictions, recordings: pd.DataFrame) -> Figure:
    """How many models err on each recording, and each model's error rate by database.

    Args:
        predictions: of one seed, all on the same records.
        recordings: columns record, database.
    """
    models = style.in_order(predictions)
    every = pd.concat([predictions[m].assign(model=m) for m in models], ignore_index=True)
    every["wrong"] = (every["logit"] > 0) != (every["label"] == 1)
    title, shape = "Do the models err on the same recordings?", {"width_ratios": (1, 1.7)}
    figure, (counts, rates) = style.new_page(title, 4.6, ncols=2, **shape)
    each = every.groupby("record").agg(wrong=("wrong", "sum"), label=("label", "first"))
    each["label"] = style.class_names(each["label"])
    bars = HISTOGRAM | {"discrete": True, "multiple": "stack", "shrink": 0.8, "alpha": 1}
    sns.histplot(each, x="wrong", hue="label", ax=counts, edgecolor="white", **bars)
    for wrong, total in each["wrong"].value_counts().items():
        counts.text(wrong, total, f"{total:,}", ha="center", va="bottom")
    counts.set(xlabel="number of models wrong", ylabel="recordings", ymargin=0.1)
    counts.set_xticks(range(len(models) + 1))
    joined = every.merge(recordings[["record", "database"]], on="record")
    joined["percent"] = 100 * joined["wrong"]
    sizes = joined.groupby("database")["record"].nunique()
    look = {"palette": {m: style.color_of(m) for m in models}, "saturation": 1, "legend": False}
    place = {"x": "database", "y": "percent", "order": sizes.index, "hue": "model"}
    sns.barplot(joined, hue_order=models, errorbar=None, ax=rates, **place, **look)
    rates.set(xlabel="database (recordings)", ylabel="wrong (%)")
    rates.set_xticks(range(len(sizes)), [f"{d}\n({n:,})" for d, n in sizes.items()])
    for axes in (counts, rates):
        axes.grid(axis="x", visible=False)
    return style.with_legend(figure, CLASS_KEY | style.color_key(models, marker="s", ms=9))


def _seeds(p: pd.DataFrame) -> list[pd.DataFrame]:
    return [part for _, part in p.groupby("seed")] if "seed" in p else [p]


def _confusion(p: pd.DataFrame) -> np.ndarray:
    return confusion_matrix(p["label"], p["logit"] > 0, labels=[0, 1])


def _point(matrix: np.ndarray) -> np.ndarray:
    """Operating point of a confusion matrix: false and true positive rate."""
    return np.asarray(matrix)[:, 1] / np.sum(matrix, axis=1)


def _matrix(axes: Axes, counts: np.ndarray, title: str, model: str) -> None:
    """Mean (and range) of (seeds, 2, 2) counts, in pale shades of the share of the actual class."""
    mean = counts.mean(axis=0)
    shares = mean / np.maximum(mean.sum(axis=1, keepdims=True), 1)
    words = np.empty((2, 2), dtype=object)
    for cell in np.ndindex(2, 2):
        low, high = counts[:, *cell].min(), counts[:, *cell].max()
        span = f"\n({low:,}–{high:,})" if len(counts) > 1 else ""
        words[cell] = f"{mean[cell]:,.1f}".removesuffix(".0") + f"{span}\n{shares[cell]:.0%}"
    look = {"cmap": sns.light_palette(style.color_of(model), as_cmap=True), "vmin": 0, "vmax": 2}
    text = {"annot": words, "fmt": "", "annot_kws": {"color": style.INK, "size": 13}}
    names = {"xticklabels": style.CLASSES, "yticklabels": style.CLASSES, "cbar": False}
    sns.heatmap(shares, linewidths=1, ax=axes, **look, **text, **names)
    axes.set(title=title, xlabel="predicted", ylabel="actual")
    axes.tick_params(length=0)


def _histogram(axes: Axes, table: pd.DataFrame, column: str, bins: int | np.ndarray) -> None:
    """One step histogram a class, in bins that both classes share."""
    named = table.assign(label=style.class_names(table["label"]))
    look = HISTOGRAM | {"element": "step", "alpha": 0.45, "bins": bins}
    sns.histplot(named, x=column, hue="label", ax=axes, **look)
