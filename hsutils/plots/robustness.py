"""How far a score holds when recordings are worse, noisier or shorter."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hsutils.plots.common import BAR, color_key, in_order, shade, upright
from hsutils.plots.seeds import BELOW, DASHED, DOT, legend_handles
from hsutils.plots.style import headline, new_page, styled

CLEAN = "none"
"""The perturbation that leaves the recordings alone."""


@styled
def robustness(table: pd.DataFrame) -> Figure:
    """AUROC of each model as recordings are disturbed, one panel a disturbance.

    Args:
        table: columns perturbation ("none" for the clean recordings), unit, level (in the order
            to be drawn; equally spaced), model, auroc, low, high.
    """
    models = in_order(table["model"])
    clean = table[table["perturbation"] == CLEAN].set_index("model")["auroc"]
    kinds = dict(iter(table[table["perturbation"] != CLEAN].groupby("perturbation", sort=False)))
    rows = -(-len(kinds) // 4)
    columns = -(-len(kinds) // rows)
    shape = {"nrows": rows, "ncols": columns, "sharey": True, "squeeze": False}
    figure, panels = new_page(10, 1.5 + 2.4 * rows, **shape)
    for axes, (kind, part) in zip(panels.flat, kinds.items(), strict=False):
        for model, value in clean.items():
            axes.axhline(value, **DASHED | {"color": shade(model)})
        if kind == "gain":
            part = _with_clean(part, table)
        names = [level if isinstance(level, str) else f"{level:g}" for level in part["level"]]
        _dodged(axes, part.assign(place=names), models, join=True)
        axes.set(title=kind, xlabel=part["unit"].iloc[0])
    for axes in panels.flat[len(kinds) :]:
        axes.set_axis_off()
    for axes in panels[:, 0]:
        axes.set_ylabel("AUROC")
    marks = color_key(models) | {"95% interval": BAR}
    marks |= {"clean recordings": DASHED} if len(clean) else {}
    if len(kinds) < panels.size:
        panels.flat[-1].legend(handles=legend_handles(marks), loc="center")
    else:
        figure.legend(handles=legend_handles(marks), **BELOW | {"ncols": 6})
    return headline(figure, _worst(table[table["perturbation"] != CLEAN], clean))


@styled
def quality(table: pd.DataFrame, lengths: pd.DataFrame) -> Figure:
    """AUROC of each model on clear and on noisy recordings, and by their length.

    Args:
        table: columns model, subset, recordings, auroc, low, high.
        lengths: columns model, bin (such as "8 to 12 s"; or shortest and longest, in seconds),
            auroc, low, high; recordings, if given, is written beneath.
    """
    if "bin" not in lengths:
        ends = lengths[["shortest", "longest"]].map("{:.0f}".format)
        lengths = lengths.assign(bin=ends["shortest"] + " to " + ends["longest"] + " s")
    models = in_order([*table["model"], *lengths["model"]])
    sizes = [table["subset"].nunique(), lengths["bin"].nunique()]
    figure, panels = new_page(10, 4.3, ncols=2, sharey=True, width_ratios=np.add(sizes, 0.5))
    for axes, part, key in zip(panels, (table, lengths), ("subset", "bin"), strict=True):
        names = part[key].astype(str)
        if "recordings" in part:
            names += "\n" + part["recordings"].map("{:,}".format)
        _dodged(axes, part.assign(place=names), models, join=key == "bin")
    panels[0].set(ylabel="AUROC", xlabel="annotated quality (recordings)")
    panels[1].set_xlabel("length" + " (recordings)" * ("recordings" in lengths))
    marks = color_key(models) | {"95% interval": BAR}
    figure.legend(handles=legend_handles(marks), **BELOW | {"ncols": 6})
    return headline(figure, _by_subset_and_length(table, lengths, models[0]))


def _with_clean(part: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Levels to either side of no change, with the clean recordings between them."""
    clean = table[table["perturbation"] == CLEAN].assign(level=0.0, unit=part["unit"].iloc[0])
    return pd.concat([part, clean]).sort_values("level", kind="stable")


def _dodged(axes: Axes, part: pd.DataFrame, models: list[str], join: bool) -> None:
    """Values and intervals at each place, models side by side, joined by thin lines if asked."""
    places = {name: x for x, name in enumerate(dict.fromkeys(part["place"]))}
    for model, shift in zip(models, np.linspace(-0.2, 0.2, len(models) + 2)[1:-1], strict=True):
        rows, color = part[part["model"] == model], shade(model)
        x = rows["place"].map(places) + shift
        for at, row in zip(x, rows.itertuples(), strict=True):
            upright(axes, at, row.low, row.high, color, lw=5)
        line = {"ls": "-", "lw": 1.2} if join else {}
        axes.plot(x, rows["auroc"], color=color, **DOT | {"ms": 6} | line)
    axes.set_xticks(range(len(places)), places)
    axes.set_xlim(-0.5, len(places) - 0.5)
    axes.grid(axis="x", visible=False)


def _worst(disturbed: pd.DataFrame, clean: pd.Series) -> str:
    """The disturbance that costs a model most; without clean recordings, the lowest AUROC."""
    start = disturbed["model"].map(clean).astype(float)
    worst = disturbed.loc[(disturbed["auroc"] - start.fillna(0)).idxmin()]
    level = worst.level if isinstance(worst.level, str) else f"{worst.level:g}"
    under = f"{worst.auroc:.3f} under {worst.perturbation} ({level} {worst.unit})"
    if start.isna().all():
        return f"The lowest AUROC: {worst.model} {under}"
    return f"The largest fall of AUROC: {worst.model} from {clean[worst.model]:.3f} to {under}"


def _by_subset_and_length(table: pd.DataFrame, lengths: pd.DataFrame, model: str) -> str:
    """One model's AUROC on each subset, and the extremes by length."""
    own = table[table["model"] == model].dropna(subset="auroc")
    told = ", ".join(f"{row.subset} {row.auroc:.3f}" for row in own.itertuples())
    by_length = lengths[lengths["model"] == model].set_index("bin")["auroc"].dropna()
    if by_length.empty:
        return f"AUROC of the {model}: {told}"
    low, high = by_length.idxmin(), by_length.idxmax()
    ends = f"from {by_length[low]:.3f} ({low}) to {by_length[high]:.3f} ({high})"
    return f"AUROC of the {model}: {told}; by length {ends}"
