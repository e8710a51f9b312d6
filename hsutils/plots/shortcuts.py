"""What tells recordings apart without listening: how they are stored, and from which database."""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from hsutils.plots import style
from hsutils.plots.forest import forest_plot


@style.styled
def stored_levels(facts: pd.DataFrame) -> Figure:
    """How many distinct sample values the recordings of each database use.

    Args:
        facts: columns database, label, levels (distinct sample values of a recording).
    """
    facts = facts.assign(label=style.class_names(facts["label"]))
    names = sorted(facts["database"].unique())
    rows = -(-len(names) // 3)
    shape = {"nrows": rows, "ncols": 3, "sharex": True, "squeeze": False}
    title = "How many different sample values does a recording use?"
    figure, grid = style.new_page(title, 1 + 2 * rows, **shape)
    look = {"palette": style.CLASS_COLORS, "hue_order": style.CLASSES, "legend": False}
    span = np.log10([facts["levels"].min(), facts["levels"].max()])
    look |= {"element": "step", "alpha": 0.45, "bins": 40, "binrange": span, "log_scale": True}
    for axes, name in zip(grid.flat, names, strict=False):
        sns.histplot(facts[facts["database"] == name], x="levels", hue="label", ax=axes, **look)
        axes.set(title=f"database {name}", xlabel="distinct sample values", ylabel="recordings")
    for axes in grid.flat[len(names) :]:
        axes.set_axis_off()
    return style.with_legend(figure, style.color_key(style.CLASSES, marker="s", ms=9))


def database_probe(table: pd.DataFrame) -> Figure:
    """How well a linear classifier reads the database off features, against chance.

    Args:
        table: columns features, balanced_accuracy, low, high, chance.
    """
    columns = {"row": "features", "hue": "features", "value": "balanced_accuracy", "digits": 2}
    marks = table[["features"]].assign(value=table["chance"], mark="chance")
    words = {"title": "Can the database be read off these features?"}
    words["xlabel"] = "balanced accuracy of the database"
    return forest_plot(table, marks=marks, **columns, **words)
