"""Figures over training seeds: every seed is drawn, and the mean that the headline states.

The spread between seeds is that of training; it holds no sampling error of the recordings.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from matplotlib.typing import ColorType
from numpy.typing import ArrayLike

from hsutils.evaluation.tables import PAPER, auroc, confusion, in_model_order, roc
from hsutils.plots.results import draw_matrix
from hsutils.plots.style import FAINT, INK, color_of, headline, legend_above, new_page, styled

# Light to dark, so that lightness alone tells them apart; no model, class or database has them.
RATE_COLORS = ("#CFA5EE", "#8F4FC9", "#2E0F5C")
DOT = {"marker": "o", "ms": 7, "mec": "white", "ls": "none", "zorder": 3}
HALO = {"zorder": 4, "path_effects": [withStroke(linewidth=3.5, foreground="white")]}
DIAMOND = DOT | HALO | {"marker": "D", "mew": 1.5, "mfc": "none", "mec": INK}
STAR = DOT | {"marker": "*", "ms": 12}
TICK = {"marker": "|", "ms": 22, "mew": 2.5, "ls": "none"}
THIN, THICK, DOTTED = {"lw": 1, "alpha": 0.6}, {"lw": 3}, {"lw": 1.6, "ls": ":"}
DASHED = {"lw": 1, "ls": "--", "color": FAINT}
SEED_LINES = {"one seed": THIN, "mean of the seeds": THICK, "a seed's best": STAR}
BELOW = {"loc": "outside lower center", "ncols": 4}


@styled
def roc_over_seeds(predictions: pd.DataFrame, paper: bool = True) -> Figure:
    """Mean ROC curve of each model with the band of its seeds, and the AUROC of every seed.

    Args:
        predictions: columns model, seed, label, logit, on the test split.
        paper: mark the paper's operating points (table 2) and AUROC (table 3).
    """
    figure, (curve, areas) = new_page(10, 4.9, ncols=2)
    curve.plot([0, 1], [0, 1], **DASHED)
    means = {}
    for row, (model, by_seed) in enumerate(_by_model(predictions).items()):
        seeds = [(p["label"], p["logit"]) for _, p in by_seed.groupby("seed")]
        _mean_curve(curve, seeds, model)
        means[model] = _auroc_row(areas, row, [auroc(*seed) for seed in seeds], color_of(model))
        if paper and model in PAPER:
            curve.plot(*_point(PAPER[model].confusion), **DIAMOND | {"mec": color_of(model)})
            areas.plot(PAPER[model].test_auroc, row, **DIAMOND)
    curve.set(xlabel="false positive rate", ylabel="true positive rate", aspect="equal")
    curve.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    curve.plot([], [], color=INK, label="logit 0", **DOT)
    curve.legend(loc="lower right")
    marks = {"one seed": DOT, "mean": TICK | {"ms": 12}, "range": {"lw": 10, "alpha": 0.3}}
    legend_above(areas, handles=legend_handles(marks | ({"paper": DIAMOND} if paper else {})))
    areas.set_yticks(range(len(means)), means)
    areas.set(xlabel="test AUROC", xmargin=0.1, ylim=(len(means) - 0.5, -0.6))
    areas.grid(axis="y", visible=False)
    return headline(figure, f"Test AUROC, {_over(predictions, 'model')}: {_listed(means)}")


@styled
def dev_auroc_over_seeds(histories: pd.DataFrame, paper: bool = True) -> Figure:
    """Dev AUROC after each epoch, seed by seed and their mean (paper, figure 5: the student).

    Args:
        histories: columns model, seed, epoch, dev_auroc (NaN where not measured).
        paper: draw the paper's best values (table 1) as dotted lines.
    """
    measured = histories.dropna(subset="dev_auroc")
    models = _by_model(measured)
    figure, panels = new_page(10, 4.3, ncols=max(len(models), 1), sharey=True, squeeze=False)
    panels[0, 0].set_ylabel("dev AUROC")
    means = {}
    for axes, (model, history) in zip(panels[0], models.items(), strict=False):
        best = _seed_lines(axes, history, color_of(model)).max()
        means[model] = best.mean()
        span = f" ({best.min():.3f}–{best.max():.3f})" if len(best) > 1 else ""
        title = f"{model}\nbest {means[model]:.3f}{span}"
        if paper and model in PAPER:
            axes.axhline(PAPER[model].dev_auroc, color=color_of(model), **DOTTED)
            title += f", paper {PAPER[model].dev_auroc:.3f}"
        axes.set_title(title)
    if not means:
        return headline(figure, "No dev AUROC was measured")
    marks = {"paper's best": DOTTED} if paper and set(means) & set(PAPER) else {}
    figure.legend(handles=legend_handles(SEED_LINES | marks), **BELOW)
    return headline(figure, f"Best dev AUROC, {_over(measured, 'model')}: {_listed(means)}")


@styled
def confusion_over_seeds(predictions: pd.DataFrame, paper: bool = True) -> Figure:
    """Mean confusion matrices at logit 0 with each cell's range, the paper's (table 2) beneath.

    Args:
        predictions: columns model, seed, label, logit, on the test split.
        paper: draw the paper's row.
    """
    models, rows = _by_model(predictions), 1 + paper
    figure, panels = new_page(10, 2.9 * rows + 0.4, nrows=rows, ncols=len(models), squeeze=False)
    means = {}
    for column, (model, by_seed) in enumerate(models.items()):
        matrices = [confusion(p["label"], p["logit"]) for _, p in by_seed.groupby("seed")]
        _mean_matrix(panels[0, column], np.stack(matrices), model)
        means[model] = np.mean([np.trace(m) / m.sum() for m in matrices])
        if paper and model in PAPER:
            draw_matrix(panels[1, column], PAPER[model].confusion, f"{model}, paper", model)
        elif paper:
            panels[1, column].set_visible(False)
    for axes in panels[:, 1:].flat:
        axes.set(ylabel="", yticklabels=[])
    shares = _listed(means, ".1%")
    return headline(figure, f"Accuracy at logit 0, {_over(predictions, 'model')}: {shares}")


@styled
def learning_rates(histories: pd.DataFrame) -> Figure:
    """Dev AUROC of the student after each epoch at several learning rates, and how far it jumps.

    A jump is the absolute change from one epoch to the next; a steady climb counts as well.

    Args:
        histories: columns rate (learning rate), seed, epoch, dev_auroc (NaN where not measured).
    """
    measured = histories.dropna(subset="dev_auroc")
    rates = dict(iter(measured.groupby("rate")))
    colors = LinearSegmentedColormap.from_list("rates", RATE_COLORS)(np.linspace(0, 1, len(rates)))
    figure, (curves, jumps) = new_page(10, 4.6, ncols=2, width_ratios=(2.3, 1))
    means = {}
    for row, (rate, history) in enumerate(rates.items()):
        name = np.format_float_scientific(rate, trim="-", exp_digits=1)
        by_epoch = _seed_lines(curves, history, colors[row])
        means[name] = by_epoch.max().mean()
        curves.plot([], [], color=colors[row], label=f"learning rate {name}", **THICK)
        steps = by_epoch.diff().abs().mean().dropna()
        jumps.plot(steps, [row] * len(steps), color=colors[row], **DOT)
        if len(steps):
            jumps.text(steps.mean(), row - 0.13, f"{steps.mean():.3f}", ha="center", size=9)
    legend_above(curves)
    curves.set_ylabel("dev AUROC")
    jumps.set_yticks(range(len(rates)), means)
    jumps.set(title="Step of dev AUROC, each seed", xlabel="mean |change| from epoch to epoch")
    jumps.set(xmargin=0.15, xlim=(0, None), ylim=(len(rates) - 0.5, -0.6))
    jumps.grid(axis="y", visible=False)
    figure.legend(handles=legend_handles(SEED_LINES), **BELOW)
    found = ", ".join(f"{mean:.3f} at {name}" for name, mean in means.items())
    return headline(figure, f"Best dev AUROC by learning rate, {_over(measured, 'rate')}: {found}")


def _by_model(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    return in_model_order(dict(iter(frame.groupby("model"))))


def _mean_curve(axes: Axes, seeds: list[tuple[ArrayLike, ArrayLike]], model: str) -> None:
    """Mean ROC curve, band from the lowest to the highest seed, and each seed at logit 0."""
    curves = [roc(*seed) for seed in seeds]
    # A height just before and just after each step keeps it a step, and so the area.
    steps = np.unique(np.concatenate([false_positive_rates for false_positive_rates, _ in curves]))
    grid = np.add.outer(steps, [-1e-9, 1e-9]).ravel()
    heights, color = np.stack([np.interp(grid, *curve) for curve in curves]), color_of(model)
    axes.fill_between(grid, heights.min(axis=0), heights.max(axis=0), color=color, alpha=0.2, lw=0)
    axes.plot(grid, heights.mean(axis=0), color=color, label=model)
    axes.plot(*np.transpose([_point(confusion(*s)) for s in seeds]), color=color, **DOT)


def _point(matrix: ArrayLike) -> np.ndarray:
    """Operating point of a confusion matrix: false and true positive rate."""
    matrix = np.asarray(matrix)
    return matrix[:, 1] / matrix.sum(axis=1)


def _auroc_row(axes: Axes, row: int, values: list[float], color: str) -> float:
    mean, ends = np.mean(values), [min(values), max(values)]
    axes.plot(ends, [row, row], color=color, lw=12, alpha=0.25, solid_capstyle="round")
    axes.plot(mean, row, color=color, **TICK)
    axes.plot(values, [row] * len(values), color=color, **DOT)
    axes.text(mean, row - 0.17, f"{mean:.3f}", ha="center", color=color)
    return mean


def _seed_lines(axes: Axes, history: pd.DataFrame, color: ColorType) -> pd.DataFrame:
    """A thin line and a star for each seed, and their mean; returns epochs x seeds."""
    by_epoch = history.pivot(index="epoch", columns="seed", values="dev_auroc")
    for _, run in by_epoch.items():
        axes.plot(run.dropna(), color=color, **THIN)
        axes.plot(run.idxmax(), run.max(), color=color, **STAR)
    axes.plot(by_epoch.dropna().mean(axis=1), color=color, **THICK)
    axes.set(xlabel="epoch", xlim=(0.5, by_epoch.index.max() + 0.5), ymargin=0.08)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    return by_epoch


def _mean_matrix(axes: Axes, matrices: np.ndarray, model: str) -> None:
    """Mean of (seeds, 2, 2) counts, and beneath each mean its range."""
    mean, ends = matrices.mean(axis=0), np.stack([matrices.min(axis=0), matrices.max(axis=0)])
    if len(matrices) > 1:
        draw_matrix(axes, mean, f"{model}, mean (range) of {len(matrices)} seeds", model, ends)
    else:
        draw_matrix(axes, mean, f"{model}, one seed", model)


def legend_handles(marks: dict[str, dict]) -> list[Line2D]:
    """Legend entries from name -> line properties."""
    return [Line2D([], [], **{"color": INK, "label": name} | mark) for name, mark in marks.items()]


def _over(frame: pd.DataFrame, kind: str) -> str:
    """How many seeds each kind has: one seed, mean of 3 seeds, mean of 2–3 seeds."""
    counts = frame.groupby(kind)["seed"].nunique()
    span = "–".join(str(n) for n in sorted({counts.min(), counts.max()}))
    return "one seed" if span == "1" else f"mean of {span} seeds"


def _listed(values: dict[str, float], form: str = ".3f") -> str:
    return ", ".join(f"{name} {value:{form}}" for name, value in values.items())
