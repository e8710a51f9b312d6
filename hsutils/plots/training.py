"""Figures about training: loss and dev AUROC by epoch, and embeddings."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from hsutils.evaluation.tables import PAPER
from hsutils.plots import style

STAR = style.DOT | {"marker": "*", "ms": 14}
THIN, THICK, DOTTED = {"lw": 1, "alpha": 0.6}, {"lw": 2.5}, {"lw": 1.6, "ls": ":"}


@style.styled
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
    figure, axes = style.new_page(f"Does the {model}'s loss fall?", 4.2)
    color = style.color_of(model)
    sns.lineplot(history, x="epoch", y="loss", marker="o", color=color, errorbar=None, ax=axes)
    marks = style.color_key([model], ls="-")
    if reference is not None:
        axes.axhline(reference, **style.DASHED)
        marks |= {f"{meaning} {reference:.3g}": style.DASHED}
    ends = history["epoch"].min() - 0.3, history["epoch"].max() + 0.3
    axes.set(xlabel="epoch", ylabel=ylabel, xlim=ends, ymargin=0.12)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
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
    shape = {"ncols": len(histories), "sharey": True, "squeeze": False}
    figure, (panels,) = style.new_page(title, 4.4, **shape)
    marks = {"best epoch": STAR}
    for axes, model in zip(panels, style.in_order(histories), strict=True):
        color, history = style.color_of(model), histories[model].dropna(subset="dev_auroc")
        seeds = history.get("seed", 0)
        table = history.assign(seed=seeds).pivot(index="epoch", columns="seed", values="dev_auroc")
        best, look = table.max(), {"legend": False, "ax": axes, "dashes": False, "errorbar": None}
        if len(best) > 1:
            sns.lineplot(table, palette=[color] * len(best), **look, **THIN)
            marks |= {"one seed": THIN, "mean of the seeds": THICK}
        sns.lineplot(table.dropna().mean(axis=1), color=color, errorbar=None, ax=axes, **THICK)
        axes.plot(table.idxmax(), best, color=color, **STAR)
        axes.set(xlabel="epoch", ylabel="dev AUROC", ymargin=0.08)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
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
        databases: (n,) letters.
    """
    names, databases = style.class_names(pd.Series(labels)).to_numpy(), np.asarray(databases)
    kinds = {"label": (names, {"palette": style.CLASS_COLORS})}
    look = {"palette": style.DATABASE_COLORS, "markers": style.DATABASE_MARKERS}
    kinds["database"] = (databases, look | {"style": databases})
    title = "Do recordings of one label, or of one database, lie together?"
    shape = {"nrows": len(embeddings), "ncols": 2, "sharex": True, "sharey": True, "squeeze": False}
    figure, grid = style.new_page(title, 1.2 + 3.8 * len(embeddings), **shape)
    for row, (name, points) in zip(grid, embeddings.items(), strict=True):
        centered = points - np.mean(points, axis=0)
        scaled = centered / max(np.sqrt((centered**2).sum(axis=1).mean()), 1e-12)
        nearest = NearestNeighbors(n_neighbors=1).fit(scaled).kneighbors()[1][:, 0]
        x, y = PCA(2, svd_solver="full").fit_transform(scaled).T
        for axes, (kind, (values, look)) in zip(row, kinds.items(), strict=True):
            look = look | {"s": 34, "alpha": 0.8, "linewidth": 0.3, "legend": False}
            sns.scatterplot(x=x, y=y, hue=values, ax=axes, **look)
            counts = np.unique(values, return_counts=True)[1]
            chance = (counts * (counts - 1)).sum() / (len(values) * (len(values) - 1))
            alike = (values == values[nearest]).mean()
            axes.set_title(f"{name}, by {kind}\nneighbors alike: {alike:.0%} (chance {chance:.0%})")
            axes.set(xlabel="principal component 1", ylabel="principal component 2")
    marks = style.color_key(style.CLASSES)
    for name in sorted(set(databases)):
        look = {"marker": style.DATABASE_MARKERS[name], "color": style.color_of(name)}
        marks[f"database {name}"] = style.DOT | look
    return style.with_legend(figure, marks, columns=4)
