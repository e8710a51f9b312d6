"""One look for every figure: fixed colors, the page and its title, legends, and how it is saved."""

import io
from collections.abc import Iterable, Mapping
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib.style as mpl_style
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from hsutils.files import atomic_path

# Told apart with the common color-vision deficiencies (Okabe-Ito for models, Tol muted for classes,
# Tol bright for databases); control models differ in lightness. No color means two things.
MODEL_COLORS = {"teacher": "#0072B2", "student": "#D55E00", "baseline": "#707070"}
CONTROL_COLORS = {"band statistics": "#7A4419", "format only": "#14213D"}
CONTROL_COLORS["database only"] = "#8F6D48"
CLASS_COLORS = {"normal": "#44AA99", "abnormal": "#882255"}
DATABASE_COLORS = {"a": "#4477AA", "b": "#EE6677", "c": "#228833"}
DATABASE_COLORS |= {"d": "#CCBB44", "e": "#66CCEE", "f": "#AA3377"}
DATABASE_MARKERS = dict(zip("abcdef", "os^vXP", strict=True))
OTHER_COLOR = "#B09C00"
INK, GRAY, FAINT = "#222222", "#5F5F5F", "#B8B8B8"
COLORS = MODEL_COLORS | CONTROL_COLORS | CLASS_COLORS | DATABASE_COLORS
COLORS |= {"format facts": CONTROL_COLORS["format only"], "with heart cycles": "#7B52AB"}
CLASSES = list(CLASS_COLORS)
NO_SOUND = ("format only", "database only")
"""Control models that are given no sound, only how and where a recording was stored."""

STYLE = {
    **{"figure.dpi": 120, "savefig.dpi": 120, "svg.hashsalt": "hsutils", "lines.linewidth": 2},
    **{"axes.titlesize": "medium", "axes.titlelocation": "left", "axes.titleweight": "bold"},
    **{"axes.edgecolor": "#666666", "axes.spines.top": False, "axes.spines.right": False},
    **{"axes.grid": True, "axes.axisbelow": True, "grid.color": "#E4E4E4", "legend.frameon": False},
}

# Marks that mean the same in every figure; `with_legend` names them.
DOT = {"marker": "o", "ms": 7, "mec": "white", "ls": "none"}
BAR = {"lw": 6, "alpha": 0.3, "solid_capstyle": "butt"}
DASHED = {"lw": 1.2, "ls": "--", "color": GRAY}
PAPER_MARK = {"marker": "D", "ms": 8, "mfc": "white", "mec": INK, "mew": 1.8, "ls": "none"}


styled = mpl_style.context(["default", STYLE])
"""Decorator: draw with `STYLE`, whatever the caller's matplotlib settings."""


class Picture(Figure):
    """A Figure that shows itself once in a notebook and that pyplot does not keep alive."""

    @styled  # Ticks are made when they are drawn.
    def savefig(self, *args: Any, **kwargs: Any) -> None:
        super().savefig(*args, **kwargs)

    @styled
    def _repr_png_(self) -> tuple[bytes, dict[str, str]]:
        canvas, buffer = FigureCanvasAgg(self), io.BytesIO()
        # The same pixels as `savefig`, which draws twice and packs longer: explorers are quick.
        canvas.draw()
        image = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
        image.save(buffer, "png", compress_level=1)
        return buffer.getvalue(), {"alt": self.get_suptitle()}


def new_page(title: str, height: float, **subplots: Any) -> tuple[Picture, Any]:
    """A titled figure 10 inches wide and its axes, as `Figure.subplots` returns them."""
    figure = Picture(figsize=(10, height), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.06)
    figure.suptitle(title, x=0.012, ha="left", fontsize=13, fontweight="bold")
    return figure, figure.subplots(**subplots)


def new_pages(title: str, count: int, per_row: int, height: float, **subplots: Any) -> tuple:
    """As `new_page`: `count` panels, each `height` inches high, in rows of at most `per_row`."""
    rows = -(-count // per_row)
    shape = {"nrows": rows, "ncols": -(-count // rows), "squeeze": False}
    figure, grid = new_page(title, 1.2 + height * rows, **shape, **subplots)
    for axes in grid.flat[count:]:
        axes.set_axis_off()
    return figure, grid.flat[:count]


def color_of(name: str) -> str:
    """The fixed color of a model, class or database; "compact student, x" has that of "student"."""
    return COLORS.get(name.removeprefix("compact ").partition(",")[0], OTHER_COLOR)


def database_looks(names: Iterable[str], prefix: str = "") -> dict[str, dict]:
    """Prefix and name of each database -> its color and marker, by name.

    Those of a to f are fixed; other names get what is left, in turn.
    """
    colors, markers = [*DATABASE_COLORS.values()], [*DATABASE_MARKERS.values()]
    looks = [
        (color, markers[(place + turn) % len(markers)])
        for turn in range(len(markers))
        for place, color in enumerate(colors)
    ]
    names, fixed = sorted(set(names)), dict(zip(DATABASE_COLORS, looks, strict=False))
    free = (look for look in cycle(looks) if look not in [fixed.get(name) for name in names])
    chosen = {name: fixed.get(name) or next(free) for name in names}
    return {prefix + n: DOT | {"color": c, "marker": m} for n, (c, m) in chosen.items()}


def in_order(models: Iterable[str]) -> list[str]:
    """Each model once: the paper's, then others as given, those that are given no sound last."""
    given = dict.fromkeys(models)
    known = [model for model in MODEL_COLORS if model in given]
    return sorted(dict.fromkeys([*known, *given]), key=lambda model: model in NO_SOUND)


def class_names(labels: pd.Series) -> pd.Series:
    """The class of each label, 0 normal and 1 abnormal."""
    return labels.map(dict(enumerate(CLASSES)))


def class_histogram(axes: Axes, table: pd.DataFrame, column: str, **look: Any) -> None:
    """One step histogram a class, in bins that both classes share."""
    look |= {"palette": CLASS_COLORS, "hue_order": CLASSES, "legend": False}
    named = table.assign(label=class_names(table["label"]))
    sns.histplot(named, x=column, hue="label", ax=axes, element="step", alpha=0.45, **look)
    axes.set_ylabel("recordings")


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
