"""One look for every figure: fixed colors, the page and its title, legends, and how it is saved."""

import functools
import io
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import matplotlib.style as mpl_style
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hsutils.files import atomic_path

# Told apart with the common color-vision deficiencies (Okabe-Ito for models, Tol muted for classes,
# Tol bright for databases); control models differ in lightness. No color means two things.
MODEL_COLORS = {"teacher": "#0072B2", "student": "#D55E00", "baseline": "#707070"}
CONTROL_COLORS = {"band statistics": "#7A4419", "format only": "#14213D"}
CONTROL_COLORS["database only"] = "#8F6D48"
CLASS_COLORS = {"normal": "#44AA99", "abnormal": "#882255"}
DATABASE_COLORS = {"a": "#4477AA", "b": "#EE6677", "c": "#228833"}
DATABASE_COLORS |= {"d": "#CCBB44", "e": "#66CCEE", "f": "#AA3377"}
DATABASE_MARKERS = dict(zip("abcdef", "os^vDP", strict=True))
OTHER_COLOR = "#B09C00"
INK, GRAY, FAINT, PAPER_TONE = "#222222", "#5F5F5F", "#B8B8B8", "#F3F1EC"
COLORS = MODEL_COLORS | CONTROL_COLORS | CLASS_COLORS | DATABASE_COLORS
COLORS["format facts"] = CONTROL_COLORS["format only"]
CLASSES = list(CLASS_COLORS)
NO_SOUND = ("format only", "database only")
"""Control models that are given no sound, only how and where a recording was stored."""

STYLE = {
    **{"figure.dpi": 120, "savefig.dpi": 120, "figure.facecolor": "white"},
    **{"font.size": 10.5, "axes.titlesize": 10.5, "axes.labelsize": 10.5, "text.color": INK},
    **{"xtick.labelsize": 10, "ytick.labelsize": 10, "legend.fontsize": 10},
    **{"axes.titlelocation": "left", "axes.titleweight": "bold", "axes.labelcolor": INK},
    **{"axes.edgecolor": "#666666", "axes.linewidth": 0.8, "axes.axisbelow": True},
    **{"axes.spines.top": False, "axes.spines.right": False, "axes.grid": True},
    **{"grid.color": "#E4E4E4", "grid.linewidth": 0.8, "lines.linewidth": 2.0},
    **{"xtick.color": INK, "ytick.color": INK, "legend.frameon": False, "svg.hashsalt": "hsutils"},
}

# Marks that mean the same in every figure; `with_legend` names them.
DOT = {"marker": "o", "ms": 7, "mec": "white", "ls": "none"}
BAR = {"lw": 6, "alpha": 0.3, "solid_capstyle": "butt"}
DASHED = {"lw": 1.2, "ls": "--", "color": GRAY}
PAPER_MARK = {"marker": "D", "ms": 8, "mfc": "white", "mec": INK, "mew": 1.8, "ls": "none"}


class Picture(Figure):
    """A Figure that shows itself once in a notebook and that pyplot does not keep alive."""

    def savefig(self, *args: Any, **kwargs: Any) -> None:
        with mpl_style.context(["default", STYLE]):  # Ticks are made when they are drawn.
            super().savefig(*args, **kwargs)

    def _repr_png_(self) -> tuple[bytes, dict[str, str]]:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue(), {"alt": self.get_suptitle()}


def styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Draw with `STYLE`, whatever the caller's matplotlib settings."""

    @functools.wraps(draw)
    def wrapper(*args: Any, **kwargs: Any) -> Figure:
        with mpl_style.context(["default", STYLE]):
            return draw(*args, **kwargs)

    return wrapper


def new_page(title: str, height: float, **subplots: Any) -> tuple[Picture, Any]:
    """A titled figure 10 inches wide and its axes, as `Figure.subplots` returns them."""
    figure = Picture(figsize=(10, height), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.06)
    figure.suptitle(title, x=0.012, ha="left", fontsize=13, fontweight="bold")
    return figure, figure.subplots(**subplots)


def color_of(name: str) -> str:
    """The fixed color of a model, class or database; "compact student" has that of "student"."""
    return COLORS.get(name.removeprefix("compact "), OTHER_COLOR)


def in_order(models: Iterable[str]) -> list[str]:
    """Each model once: the paper's, then others as given, those that are given no sound last."""
    given = dict.fromkeys(models)
    known = [model for model in MODEL_COLORS if model in given]
    return sorted(dict.fromkeys([*known, *given]), key=lambda model: model in NO_SOUND)


def class_names(labels: pd.Series) -> pd.Series:
    """The class of each label, 0 normal and 1 abnormal."""
    return labels.map(dict(enumerate(CLASSES)))


def with_legend(figure: Figure, marks: Mapping[str, dict], columns: int = 6) -> Figure:
    """The figure with a legend under all panels: name -> line properties, in ink by default."""
    handles = [Line2D([], [], **{"color": INK, "label": name} | m) for name, m in marks.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(columns, len(handles)))
    return figure


def color_key(names: Iterable[str], **look: object) -> dict[str, dict]:
    """Legend entries: a dot of each name's color, or what `look` makes of it."""
    return {name: DOT | {"color": color_of(name)} | look for name in names}


def intervals_at(axes: Axes, x: Iterable, rows: pd.DataFrame, color: str, **look: object) -> None:
    """An upright bar from `low` to `high` of each row, at its x; none where an end is NaN."""
    for place, low, high in zip(x, rows["low"], rows["high"], strict=True):
        axes.plot([place, place], [low, high], **BAR | {"color": color} | look)


def save_figure(figure: Figure, folder: Path | str, name: str) -> Path:
    """Write `folder`/`name`.png and .svg, each whole or not at all; equal figures, equal bytes.

    The title is stored in both files, where the report finds its caption. Returns the PNG's path.
    """
    png, svg = Path(folder) / f"{name}.png", Path(folder) / f"{name}.svg"
    for path, no_trace in ((svg, {"Date": None}), (png, {"Software": None})):
        with atomic_path(path) as temporary:
            figure.savefig(temporary, metadata=no_trace | {"Title": figure.get_suptitle()})
    return png
