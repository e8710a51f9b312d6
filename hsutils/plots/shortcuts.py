"""What tells recordings apart without listening: how they are stored, and from which database."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from hsutils.plots import style
from hsutils.plots.forest import forest_plot


@style.styled
def stored_levels(
    facts: pd.DataFrame, waveforms: Mapping[str, tuple[np.ndarray, np.ndarray]]
) -> Figure:
    """Distinct sample values of the recordings of one database, and what few of them look like.

    Args:
        facts: columns label, seconds, levels (distinct values of the samples).
        waveforms: class name -> (seconds, integer samples), each (n,), a stretch of up to 100 ms.
    """
    title = "How many different sample values does a recording use?"
    shape = {"ncols": 1 + len(waveforms), "width_ratios": (1.3, *[1] * len(waveforms))}
    figure, (cloud, *waves) = style.new_page(title, 4.6, **shape)
    facts = facts.assign(label=style.class_names(facts["label"]))
    look = {"palette": style.CLASS_COLORS, "s": 14, "alpha": 0.6, "linewidth": 0, "legend": False}
    sns.scatterplot(facts, x="seconds", y="levels", hue="label", ax=cloud, **look)
    for name, median in facts.groupby("label")["levels"].median().items():
        cloud.axhline(median, **style.DASHED | {"color": style.color_of(name)})
    cloud.set(xscale="log", yscale="log", xlabel="duration (s)", ylabel="distinct sample values")
    seconds = [t for t in (5, 10, 20, 50, 100) if facts["seconds"].min() <= t]
    cloud.set_xticks(seconds, seconds)
    cloud.xaxis.set_minor_formatter(NullFormatter())
    cloud.yaxis.set_major_formatter("{x:,g}")
    for axes, (name, (times, samples)) in zip(waves, waveforms.items(), strict=True):
        levels, milliseconds = np.unique(samples), 1000 * (times - times[0])
        if len(levels) <= 20:
            axes.hlines(levels, 0, milliseconds[-1], color=style.FAINT, lw=0.6)
        axes.step(milliseconds, samples, where="mid", color=style.color_of(name), lw=1.5)
        axes.set(title=f"{name}: {len(levels)} values", xlabel="time (ms)", ylabel="sample value")
        axes.grid(False)
    style.legend_below(figure, style.color_key(style.CLASSES) | {"median": style.DASHED})
    return figure


def database_probe(table: pd.DataFrame) -> Figure:
    """How well a linear classifier reads the database off features, against chance.

    Args:
        table: columns features, balanced_accuracy, low, high, chance.
    """
    return forest_plot(
        table,
        **{"row": "features", "hue": "features", "value": "balanced_accuracy", "digits": 2},
        title="Can the database be read off these features?",
        xlabel="balanced accuracy of the database",
        marks=table[["features"]].assign(value=table["chance"], mark="chance"),
    )
