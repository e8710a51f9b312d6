"""Drawings of the method: the network layer by layer, and the training regime (paper, 1 and 3)."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log2, prod

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Polygon, Rectangle
from torch import nn

from hsutils.plots import style

PER_ROW, COLUMN, ROW = 6, 2.0, 2.5
SCALE = 0.055, 0.17, 0.078
"""Depth, height and width of a block, per doubling of channels, mels and frames."""
LAYER_COLORS = {"Conv": "#0072B2", "Pool": "#56B4E9", "Linear": "#D55E00", "Input": "#8A8A8A"}
NAMES = {"LeakyReLU": "leaky ReLU", "Dropout": "dropout", "AdaptiveAvgPool2d": "average pool",
         "BatchNorm1d": "batch norm", "BatchNorm2d": "batch norm", "MaxPool2d": "max pool",
         "Flatten": "flatten", "Identity": "flatten"}  # fmt: skip


@dataclass
class Step:
    """A layer that changes the tensor, with the shape-keeping layers that follow it."""

    kind: str
    names: list[str]
    shape: tuple[int, ...]
    parameters: int


def trace(model: nn.Module, input_shape: Sequence[int]) -> list[Step]:
    """The steps a batch takes through the model, in the order in which its layers run.

    Found with forward hooks on the leaf modules of a copy and a batch of two blank inputs.

    Args:
        model: takes (N, *input_shape).
        input_shape: of one input, without the batch; so are the shapes of the steps.
    """
    steps = [Step("Input", ["input"], tuple(input_shape), 0)]

    def record(module: nn.Module, _: tuple, output: torch.Tensor) -> None:
        shape, own = tuple(output.shape[1:]), list(module.parameters())
        reshaped = prod(shape) != prod(steps[-1].shape) or len(shape) != len(steps[-1].shape) > 0
        if any(weights.ndim > 1 for weights in own) or (reshaped and shape):
            steps.append(Step(type(module).__name__, [_describe(module)], shape, 0))
        elif prod(shape) > 1 and not isinstance(module, nn.Identity):
            steps[-1].names.append(_describe(module))
        steps[-1].parameters += sum(weights.numel() for weights in own)

    own = copy.deepcopy(model).eval()
    for module in own.modules():
        if not list(module.children()):
            module.register_forward_hook(record)
    with torch.inference_mode():
        own(torch.zeros(2, *input_shape, device=next(own.parameters()).device))
    return steps


@style.styled
def architecture(model: nn.Module, input_shape: Sequence[int] = (1, 50, 2805)) -> Figure:
    """The model drawn from itself (paper, figure 1): layer, output shape, parameters, total.

    A block's front is frequency x time and its depth channels, each on a logarithmic scale.
    Layers are in the order in which they run; residual shortcuts are not drawn.

    Args:
        model: takes (N, *input_shape).
        input_shape: of one input, without the batch.
    """
    steps = trace(model, input_shape)
    rows, total = -(-len(steps) // PER_ROW), sum(p.numel() for p in model.parameters())
    title = f"{type(model).__name__}: {total:,} parameters"
    figure, axes = _canvas(title, 2.05 * rows + 0.45, PER_ROW * COLUMN, rows * ROW)
    for k, step in enumerate(steps):
        row, column = divmod(k, PER_ROW)
        x, y = (column + 0.5) * COLUMN, (rows - row - 0.48) * ROW
        _block(axes, step, x, y)
        if k:
            _arrow(axes, (x - (1.26 if column else 0.98), y), (x - 0.74, y))
        first, *others = step.names
        above = f"{first}\n{' + '.join(others)}" if others else first
        axes.text(x, y + 0.72, above, ha="center", va="bottom", size=9, linespacing=1.25)
        shape = " × ".join(f"{n:,}" for n in step.shape) or "1"
        axes.text(x, y - 0.74, shape, ha="center", va="top", size=9.5, weight="bold")
        count = f"{step.parameters:,} parameters" if step.parameters else ""
        axes.text(x, y - 1.0, count, ha="center", va="top", size=8.5, color=style.GRAY)
    return figure


@style.styled
def training_regime(counts: Mapping[str, int]) -> Figure:
    """Who learns from what (paper, figure 3): the teacher, the student, the baseline.

    Args:
        counts: split -> number of recordings, for pretrain, finetune, dev and test.
    """
    figure, axes = _canvas("Who learns from what?", 5.0, 20, 9.6)
    n = {split: f"{count:,} recordings" for split, count in counts.items()}
    blue, orange, gray = style.MODEL_COLORS.values()
    _box(axes, (1.9, 3.9), (3.2, 6.8), "pretrain", n["pretrain"], style.PAPER_TONE)
    _box(axes, (7.9, 6.4), (2.8, 1.3), "encoder", "ResNet-18", "white", blue)
    _box(axes, (12.9, 6.4), (3.6, 1.3), "teacher", "encoder + evaluator", blue)
    _box(axes, (12.9, 8.7), (3.6, 1.3), "finetune", n["finetune"], style.PAPER_TONE)
    _box(axes, (12.9, 3.7), (3.6, 1.3), "student", "CNN", orange)
    _box(axes, (12.9, 1.2), (3.6, 1.3), "baseline", "same CNN", gray)
    judged = f"{n['dev']}\npick the epoch,\n{n['test']}\ngive the result"
    _box(axes, (18.2, 3.9), (3.0, 6.8), "dev, then test", judged, style.PAPER_TONE)
    _arrow(axes, (3.5, 6.4), (6.5, 6.4), "no labels:\nNT-Xent on\naugmented pairs")
    _arrow(axes, (9.3, 6.4), (11.1, 6.4), "trained\nweights")
    _arrow(axes, (12.9, 8.05), (12.9, 7.05), "few labels")
    _arrow(axes, (12.9, 5.75), (12.9, 4.35), "soft labels for\npretrain")
    _arrow(axes, (3.5, 3.7), (11.1, 3.7), "recordings only, no labels")
    _arrow(axes, (3.5, 1.2), (11.1, 1.2), "recordings and true labels")
    for y in (6.4, 3.7, 1.2):
        _arrow(axes, (14.7, y), (16.7, y), "logits")
    return figure


def _describe(module: nn.Module) -> str:
    if isinstance(module, nn.Conv2d):
        stride = f", stride {module.stride[0]}" if module.stride[0] > 1 else ""
        return f"conv {'×'.join(map(str, module.kernel_size))}{stride}"
    if isinstance(module, nn.Linear):
        return f"linear {module.in_features:,} → {module.out_features:,}"
    return NAMES.get(type(module).__name__, type(module).__name__)


def _canvas(title: str, height: float, right: float, top: float) -> tuple[Figure, Axes]:
    figure, axes = style.new_page(title, height)
    axes.set(xlim=(0, right), ylim=(0, top), aspect="equal")
    axes.set_axis_off()
    return figure, axes


def _block(axes: Axes, step: Step, x: float, y: float) -> None:
    """A cuboid for channels x mels x frames, a bar for a vector."""
    color = next((c for kind, c in LAYER_COLORS.items() if kind in step.kind), style.FAINT)
    look = {"facecolor": color, "edgecolor": "white", "linewidth": 0.8}
    if len(step.shape) < 3:
        height = 0.1 + 0.075 * log2(max(prod(step.shape), 1))
        axes.add_patch(Rectangle((x - 0.09, y - height / 2), 0.18, height, **look))
        return
    d, h, w = (scale * log2(n + 1) for scale, n in zip(SCALE, step.shape, strict=True))
    left, low = x - (w + d) / 2, y - (h + d) / 2
    front = [(0, 0), (w, 0), (w, h), (0, h)]
    top, side = (
        [(0, h), (w, h), (w + d, h + d), (d, h + d)],
        [(w, 0), (w + d, d), (w + d, h + d), (w, h)],
    )
    for face, alpha in ((front, 0.95), (top, 0.55), (side, 0.75)):
        corners = [(left + dx, low + dy) for dx, dy in face]
        axes.add_patch(Polygon(corners, **look, alpha=alpha))


def _box(
    axes: Axes, center: tuple, size: tuple, name: str, about: str, fill: str, edge: str = "none"
) -> None:
    """A rounded box with its name in bold and what it is beneath."""
    (x, y), (width, height) = center, size
    shape = {"boxstyle": "round,pad=0,rounding_size=0.22", "linewidth": 2}
    corner = (x - width / 2, y - height / 2)
    axes.add_patch(FancyBboxPatch(corner, *size, facecolor=fill, edgecolor=edge, **shape))
    ink = style.INK if fill in (style.PAPER_TONE, "white") else "white"
    middle = {"ha": "center", "color": ink, "size": 9.5}
    axes.text(x, y + 0.1, name, va="bottom", weight="bold", **middle)
    axes.text(x, y, about, va="top", **middle)


def _arrow(axes: Axes, start: tuple, end: tuple, text: str = "") -> None:
    """An arrow with its text above, or at the right of an upright one."""
    look = {"arrowstyle": "-|>", "mutation_scale": 12, "color": style.INK, "linewidth": 1.2}
    axes.add_patch(FancyArrowPatch(start, end, shrinkA=1, shrinkB=1, **look))
    (x, top), (right, bottom) = start, end
    place = {"ha": "left", "va": "center"} if x == right else {"ha": "center", "va": "bottom"}
    across, up = (0.2, 0) if x == right else (0, 0.12)
    middle = ((x + right) / 2 + across, (top + bottom) / 2 + up)
    axes.text(*middle, text, size=9, color=style.INK, **place)
