"""One look for every figure: palette, page, headline, and how a figure is saved."""

import functools
import io
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hsutils.files import atomic_path

# Colors are told apart with the common color-vision deficiencies (Okabe-Ito for models, Tol muted
# for classes, Tol bright for databases). No color means two things.
MODEL_COLORS = {"teacher": "#0072B2", "student": "#D55E00", "baseline": "#707070"}
CLASS_COLORS = {"normal": "#44AA99", "abnormal": "#882255"}
DATABASE_COLORS = {
    "a": "#4477AA",
    "b": "#EE6677",
    "c": "#228833",
    "d": "#CCBB44",
    "e": "#66CCEE",
    "f": "#AA3377",
}
OTHER_COLOR = "#B09C00"
INK, FAINT, PAPER_TONE = "#222222", "#B8B8B8", "#F3F1EC"
SPECTROGRAM_COLORS = "magma"

STYLE = {
    "figure.dpi": 120,
    "savefig.dpi": 120,
    "figure.facecolor": "white",
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.labelsize": 10,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#666666",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.8,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 2.0,
    "text.color": INK,
    "svg.hashsalt": "hsutils",
}

P = ParamSpec("P")


class Picture(Figure):
    """A Figure that shows itself once in a notebook and that pyplot does not keep alive."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()


def apply_style() -> None:
    """Give figures drawn by hand in a notebook the look of the figures in this package."""
    mpl.rcParams.update(STYLE)


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw with `STYLE`, whatever the caller's matplotlib settings."""

    @functools.wraps(draw)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with mpl.rc_context(STYLE):
            return draw(*args, **kwargs)

    return wrapper


def new_page(width: float = 10, height: float = 4.5, **subplots: Any) -> tuple[Picture, Any]:
    """A figure of width x height inches and its axes, as `Figure.subplots` returns them."""
    figure = Picture(figsize=(width, height), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.06)
    return figure, figure.subplots(**subplots)


def headline(figure: Figure, finding: str) -> Figure:
    """Set the finding as the bold title of the figure, wrapped to its width in even lines."""
    columns = int(figure.get_figwidth() * 8.6)
    wrapped = [
        textwrap.wrap(finding, width, break_on_hyphens=False) for width in range(30, columns + 1)
    ]
    even = next(lines for lines in wrapped if len(lines) == len(wrapped[-1]))
    figure.suptitle(
        "\n".join(even), x=0.012, ha="left", fontsize=12.5, fontweight="bold", color=INK
    )
    return figure


def finding_of(figure: Figure) -> str:
    """The headline on one line; empty when there is none."""
    return " ".join(figure.get_suptitle().split())


def color_of(model: str) -> str:
    """The fixed color of a model; one shared color for models the paper does not have."""
    return MODEL_COLORS.get(model, OTHER_COLOR)


def legend_above(axes: Axes, columns: int = 4, **options: Any) -> None:
    """A legend on one line between the title and the plot, where it can cover no data."""
    place = {"loc": "lower left", "bbox_to_anchor": (0, 1.0), "borderaxespad": 0.2}
    axes.legend(ncols=columns, **(place | {"columnspacing": 1.2, "handlelength": 1.4} | options))


def quiet(axes: Axes) -> None:
    """Remove grid, ticks and frame, for tables and diagrams drawn inside axes."""
    axes.grid(False)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def save_figure(figure: Figure, folder: Path | str, name: str, source: str = "") -> Path:
    """Write `folder`/`name`.png and .svg, each whole or not at all; equal figures, equal bytes.

    The headline is stored in the PNG as its title, where the report finds its caption; `source`,
    a digest of the numbers drawn, is stored in both.

    Returns:
        Path of the PNG.
    """
    png, svg = Path(folder) / f"{name}.png", Path(folder) / f"{name}.svg"
    note = {"Title": finding_of(figure)} | ({"Source": source} if source else {})
    with mpl.rc_context(STYLE):
        with atomic_path(svg) as temporary:
            figure.savefig(temporary, metadata={"Date": None} | note)
        with atomic_path(png) as temporary:
            figure.savefig(temporary, metadata={"Software": None} | note)
    return png
