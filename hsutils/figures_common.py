"""What the figures about trust share: the rivals' colors, the order of models, small marks."""

from collections.abc import Iterable

from matplotlib.axes import Axes

from hsutils.evaluation import in_model_order
from hsutils.style import color_of

# Rivals of the paper's models: earth and night, told apart by lightness alone.
RIVAL_COLORS = {
    "band statistics": "#7A4419",
    "format only": "#14213D",
    "database letter": "#8F6D48",
}
RIVAL_COLORS["format facts"] = RIVAL_COLORS["format only"]
DEAF = ("format only", "database letter")
"""Rivals that are given no sound, only how and where a recording was stored."""

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
    """A number with its sign and a true minus."""
    return f"{value:+.{digits}f}".replace("-", "−")
