"""What the figures about trust share: the rivals' colors, the order of models, small marks."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from hsutils.evaluation.tables import in_model_order
from hsutils.plots.style import DATABASE_COLORS, OTHER_COLOR, color_of

# Rivals of the paper's models: earth and night, told apart by lightness alone.
RIVAL_COLORS = {
    "band statistics": "#7A4419",
    "format only": "#14213D",
    "database letter": "#8F6D48",
}
RIVAL_COLORS["format facts"] = RIVAL_COLORS["format only"]
DEAF = ("format only", "database letter")
"""Rivals that are given no sound, only how and where a recording was stored."""

LETTER_GAP = 0.047
"""Of a panel's width, between neighboring letters, so that they can be read."""

BAR = {"lw": 6, "alpha": 0.3, "solid_capstyle": "butt"}
"""The line of a 95% interval."""


def shade(model: str) -> str:
    """The fixed color of a model or of a rival."""
    return RIVAL_COLORS.get(model) or color_of(model)


def in_order(models: Iterable[str]) -> list[str]:
    """Each model once: the paper's, then others as given, those that hear no heart last."""
    return sorted(in_model_order(dict.fromkeys(models)), key=lambda model: model in DEAF)


def interval(axes: Axes, row: float, low: float, high: float, color: str, **look: object) -> None:
    """A pale bar from low to high at a row; none where an end is NaN."""
    axes.plot([low, high], [row, row], **BAR | {"color": color} | look)


def upright(axes: Axes, x: float, low: float, high: float, color: str, **look: object) -> None:
    """A pale bar from low to high at a place x; none where an end is NaN."""
    axes.plot([x, x], [low, high], **BAR | {"color": color} | look)


def color_key(models: Iterable[str], **look: object) -> dict[str, dict]:
    """Entries for `legend_handles`: a dot of each model's color, or a line where look says so."""
    return {m: {"color": shade(m), "marker": "o", "ls": "none", "ms": 7} | look for m in models}


def signed(value: float, digits: int = 3) -> str:
    """A number with its sign and a true minus; what rounds to zero has none."""
    text = f"{value:+.{digits}f}"
    return text.replace("-", "−") if text.strip("+-0.") else text[1:]


def letters_below(axes: Axes, y: float, letters: pd.DataFrame) -> None:
    """A tick in its database's color at each value, and the letter beneath, moved where close.

    Args:
        axes: with its limits set.
        y: the row.
        letters: columns database and auroc, ascending.
    """
    values, gap = letters["auroc"].to_numpy(), LETTER_GAP * np.ptp(axes.get_xlim())
    steps = gap * np.arange(len(letters))
    forward = np.maximum.accumulate(values - steps)
    backward = np.minimum.accumulate((values - steps)[::-1])[::-1]
    places = (forward + backward) / 2 + steps
    for value, x, name in zip(values, places, letters["database"], strict=True):
        color = DATABASE_COLORS.get(name, OTHER_COLOR)
        axes.plot([value, value], [y + 0.13, y + 0.27], color=color, lw=2.5)
        axes.text(x, y + 0.3, name, ha="center", va="top", color=color, weight="bold", size=9)
