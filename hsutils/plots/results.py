"""Figures about training and predictions: epochs, embeddings, ranking, decisions, soft labels."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from sklearn.decomposition import PCA
from sklearn.metrics import RocCurveDisplay
from sklearn.neighbors import NearestNeighbors

from hsutils.evaluation.metrics import confusion
from hsutils.evaluation.tables import PAPER, auroc_interval
from hsutils.plots import style

MEAN = {"marker": "|", "ms": 20, "mew": 2.5, "ls": "none"}
STAR = style.DOT | {"marker": "*", "ms": 14}
THIN, THICK, DOTTED = {"lw": 1, "alpha": 0.6}, {"lw": 2.5}, {"lw": 1.6, "ls": ":"}

Predictions = Mapping[str, pd.DataFrame]
"""Model -> columns record, label, logit, and group and seed where there are any."""


@style.styled
def loss_by_epoch(
    history: pd.DataFrame,
    ylabel: str = "loss",
    model: str = "teacher",
    reference: Mapping[str, float] | None = None,
) -> Figure:
    """Training loss at the end of each epoch.

    Args:
        history: columns epoch, loss.
        ylabel: what the loss is, with its unit.
        model: whose loss it is; gives the color.
        reference: name -> a loss to compare with, such as that of guessing, drawn as a line.
    """
    figure, axes = style.new_page(f"Does the {model}'s loss fall?", 4.2)
    _curve(axes, history.set_index("epoch")["loss"], model, ylabel, marker="o")
    marks = style.color_key([model], ls="-")
    for name, loss in (reference or {}).items():
        axes.axhline(loss, **style.DASHED)
        marks[f"{name} {loss:.3g}"] = style.DASHED
    return style.with_legend(figure, marks)


@style.styled
def dev_auroc_by_epoch(histories: Mapping[str, pd.DataFrame], paper: bool = True) -> Figure:
    """Dev AUROC after each epoch, every seed and their mean (paper, figure 5, for every model).

    Args:
        histories: name, such as a model -> history with columns epoch, dev_auroc (NaN where not
            measured), and seed where there are several.
        paper: draw the paper's best values (table 1).
    """
    title = "How does dev AUROC grow with training?"
    figure, panels = style.new_pages(title, len(histories), 4, 3.2, sharey=True)
    marks = {"best epoch": STAR}
    for axes, model in zip(panels, style.in_order(histories), strict=True):
        color, history = style.color_of(model), histories[model].dropna(subset="dev_auroc")
        history = history.assign(seed=history.get("seed", 0))
        table = history.pivot(index="epoch", columns="seed", values="dev_auroc")
        best = table.max()
        if len(best) > 1:
            axes.plot(table, color=color, **THIN)
            marks |= {"one seed": THIN, "mean of the seeds": THICK}
        _curve(axes, table.dropna().mean(axis=1), model, "dev AUROC", **THICK)
        axes.plot(table.idxmax(), best, color=color, **STAR)
        name = f"{model}, best {best.mean():.3f}".replace("best nan", "not measured")
        if paper and model in PAPER:
            axes.axhline(PAPER[model].dev_auroc, color=color, **DOTTED)
            name += f"\n(paper {PAPER[model].dev_auroc:.3f})"
            marks["paper's best"] = DOTTED
        axes.set_title(name)
    return style.with_legend(figure, marks)


@style.styled
def embedding_map(
    embeddings: Mapping[str, np.ndarray], labels: np.ndarray, databases: np.ndarray
) -> Figure:
    """Embeddings on their first two principal components, by label and by database.

    Each set is scaled to a mean squared distance of 1 from its center, so that all share their
    axes. Titles say how often a recording's nearest neighbor (Euclidean, all dimensions) has the
    same label or database, and how often two random recordings do.

    Args:
        embeddings: name, such as "before pre-training" -> (n, d), n >= 3, d >= 2.
        labels: (n,) 0 normal, 1 abnormal.
        databases: (n,) names.
    """
    names, databases = style.class_names(pd.Series(labels)).to_numpy(), np.asarray(databases)
    marks = style.database_looks(databases)
    looks = {"palette": {name: look["color"] for name, look in marks.items()}}
    looks |= {"markers": {name: look["marker"] for name, look in marks.items()}}
    looks = {"label": {"palette": style.CLASS_COLORS}, "database": looks | {"style": databases}}
    title = "Do recordings of one label, or of one database, lie together?"
    figure, panels = style.new_pages(title, 2 * len(embeddings), 2, 3.8, sharex=True, sharey=True)
    for row, (name, points) in zip(panels.reshape(-1, 2), embeddings.items(), strict=True):
        centered = points - np.mean(points, axis=0)
        scaled = centered / max(np.sqrt((centered**2).sum(axis=1).mean()), 1e-12)
        nearest = NearestNeighbors(n_neighbors=1).fit(scaled).kneighbors()[1][:, 0]
        x, y = PCA(2, svd_solver="full").fit_transform(scaled).T
        for axes, (kind, look), values in zip(row, looks.items(), (names, databases), strict=True):
            look |= {"s": 34, "alpha": 0.8, "linewidth": 0.3, "legend": False}
            sns.scatterplot(x=x, y=y, hue=values, ax=axes, **look)
            counts = np.unique(values, return_counts=True)[1]
            chance = (counts * (counts - 1)).sum() / (len(values) * (len(values) - 1))
            alike = (values == values[nearest]).mean()
            axes.set_title(f"{name}, by {kind}\nneighbors alike: {alike:.0%} (chance {chance:.0%})")
            axes.set(xlabel="principal component 1", ylabel="principal component 2")
    marks = style.color_key(style.CLASSES) | style.database_looks(databases, "database ")
    return style.with_legend(figure, marks, columns=4)


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
            rates = (p["logit"] > 0).groupby(p["label"]).mean()
            curves.plot(*rates, color=color, zorder=3, **style.DOT)
        if len(values) > 1:
            areas.plot(np.mean(values), y, color=color, **MEAN)
        else:
            areas.plot(auroc_interval(p), [y, y], color=color, **style.BAR)
        areas.plot(values, [y] * len(values), color=color, **style.DOT)
        place = {"textcoords": "offset points", "ha": "center", "va": "bottom"}
        areas.annotate(f"{np.mean(values):.3f}", (np.mean(values), y), (0, 12), **place)
        if paper and model in PAPER:
            look = style.PAPER_MARK | {"mec": color, "zorder": 4}
            theirs = np.array(PAPER[model].confusion)
            curves.plot(*theirs[:, 1] / theirs.sum(axis=1), **look)
            areas.plot(PAPER[model].test_auroc, y + 0.18, **look)
    curves.get_legend().remove()
    curves.set(xlabel="1 − specificity", ylabel="sensitivity", aspect="equal")
    areas.set_yticks(range(len(models)), models)
    areas.set(xlabel="AUROC", xmargin=0.1, ylim=(len(models) - 0.5, -0.6))
    areas.grid(axis="y", visible=False)
    marks = style.color_key(models, marker="", ls="-") | {"guessing": style.DASHED}
    marks |= {"one seed: logit 0 (left), AUROC (right)": style.DOT}
    mean, interval = {"mean of the seeds": MEAN | {"ms": 12}}, {"95% interval": style.BAR}
    marks |= mean if len(values) > 1 else interval
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
    title = "How many does each model classify correctly at logit 0?"
    figure, panels = style.new_page(title, 2.9 * (1 + paper) + 0.5, **shape)
    for column, model in enumerate(style.in_order(predictions)):
        seeds = _seeds(predictions[model])
        counts = [confusion(p["label"], p["logit"]) for p in seeds]
        name = model if len(counts) == 1 else f"{model}, mean of {len(counts)} seeds"
        draw_confusion(panels[0, column], np.array(counts), name, model)
        if paper:
            theirs = np.array([PAPER[model].confusion])
            draw_confusion(panels[1, column], theirs, f"{model}, paper", model)
    return figure


@style.styled
def score_histograms(predictions: Predictions, score: str = "logit") -> Figure:
    """How far each model's scores part the classes; every model has bins and axes of its own.

    Bars are shares of a class: a rare one would not be seen beside the other.

    Args:
        predictions: of one split and one seed.
        score: column drawn: logit, or soft_label (the teacher's probability of abnormal).
    """
    even = {"logit": 0, "soft_label": 0.5}[score]
    title = "How far apart are normal and abnormal recordings?"
    figure, panels = style.new_pages(title, len(predictions), 4, 3)
    for axes, model in zip(panels, style.in_order(predictions), strict=True):
        shares = {"stat": "proportion", "common_norm": False}
        style.class_histogram(axes, predictions[model], score, bins=25, **shares)
        axes.axvline(even, **style.DASHED)
        axes.set(title=model, xlabel=score.replace("_", " "), ylabel="share of the class")
    marks = style.color_key(style.CLASSES, marker="s", ms=9)
    return style.with_legend(figure, marks | {f"even odds: {even}": style.DASHED})


def _seeds(table: pd.DataFrame) -> list[pd.DataFrame]:
    return [part for _, part in table.groupby("seed")] if "seed" in table else [table]


def _curve(axes: Axes, by_epoch: pd.Series, model: str, ylabel: str, **look: object) -> None:
    color = style.color_of(model)
    sns.lineplot(by_epoch, color=color, errorbar=None, ax=axes, **look)
    axes.set(xlabel="epoch", ylabel=ylabel, ymargin=0.1)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def draw_confusion(axes: Axes, counts: np.ndarray, title: str, model: str) -> None:
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
