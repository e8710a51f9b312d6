"""Drawings of the method: the network layer by layer, and the training regime (paper, 1 and 3)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log2, prod

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Polygon, Rectangle
from torch import nn

from hsutils.plots.style import (
    FAINT,
    INK,
    MODEL_COLORS,
    PAPER_TONE,
    Picture,
    headline,
    new_page,
    quiet,
    styled,
)

PER_ROW = 6
COLUMN, ROW = 2.0, 2.5
SCALE = 0.055, 0.17, 0.078
LAYER_COLORS = {"Conv": "#0072B2", "Pool": "#56B4E9", "Linear": "#D55E00", "Input": "#8A8A8A"}
SHORT = {"LeakyReLU": "leaky ReLU", "Dropout": "dropout", "BatchNorm1d": "batch norm",
         "BatchNorm2d": "batch norm", "MaxPool2d": "max pool", "Flatten": "flatten",
         "AdaptiveAvgPool2d": "average pool", "Identity": "flatten"}  # fmt: skip


@dataclass
class Step:
    """A layer that changes the tensor, with the shape-keeping layers that follow it."""

    kind: str
    names: list[str]
    shape: tuple[int, ...]
    parameters: int


def trace(model: nn.Module, input_shape: Sequence[int]) -> list[Step]:
    """The steps a batch takes through the model, in the order in which its layers run.

    Found with forward hooks on the leaf modules and a batch of two blank inputs; training mode
    and weights are left as they were.

    Args:
        model: takes (N, *input_shape).
        input_shape: of one input, without the batch.

    Returns:
        Steps, the first being the input itself; shapes are of one recording.
    """
    steps = [Step("Input", ["input"], tuple(input_shape), 0)]

    def record(module: nn.Module, _: tuple, output: torch.Tensor) -> None:
        shape, parameters = tuple(output.shape[1:]), sum(p.numel() for p in module.parameters())
        starts = any(p.ndim > 1 for p in module.parameters()) or (
            prod(shape) != prod(steps[-1].shape) or len(shape) not in (0, len(steps[-1].shape))
        )
        if starts:
            steps.append(Step(type(module).__name__, [_describe(module)], shape, parameters))
        elif prod(shape) > 1 and not isinstance(module, nn.Identity):
            steps[-1].names.append(_describe(module))
            steps[-1].parameters += parameters

    leaves = [m for m in model.modules() if not list(m.children())]
    hooks = [leaf.register_forward_hook(record) for leaf in leaves]
    modes = {module: module.training for module in model.modules()}
    device = next(model.parameters()).device
    try:
        with torch.inference_mode():
            model.eval()(torch.zeros(2, *input_shape, device=device))
    finally:
        for hook in hooks:
            hook.remove()
        for module, training in modes.items():
            module.training = training
    return steps


@styled
def architecture(model: nn.Module, input_shape: Sequence[int] = (1, 50, 2805)) -> Figure:
    """The model drawn from itself (paper, figure 1): layer, output shape, parameters, total.

    A block's front is frequency x time and its depth channels, each on a logarithmic scale.
    Layers stand in the order in which they run; residual shortcuts are not drawn.

    Args:
        model: takes (N, *input_shape).
        input_shape: of one input, without the batch.
    """
    steps = trace(model, input_shape)
    total = sum(p.numel() for p in model.parameters())
    rows = -(-len(steps) // PER_ROW)
    figure, axes = _canvas(10, 2.05 * rows + 0.45, PER_ROW * COLUMN, rows * ROW)
    for k, step in enumerate(steps):
        row, column = divmod(k, PER_ROW)
        x, y = (column + 0.5) * COLUMN, (rows - row - 0.48) * ROW
        _block(axes, step, x, y)
        _arrow_in_row(axes, k, len(steps), x, y)
        note = f"{step.parameters:,} parameters" if step.parameters else ""
        shape = " × ".join(f"{n:,}" for n in step.shape) or "1"
        top = "\n".join(step.names[:1] + [" + ".join(step.names[1:])] * (len(step.names) > 1))
        axes.text(x, y + 0.72, top, ha="center", va="bottom", size=8.5, linespacing=1.25)
        axes.text(x, y - 0.74, shape, ha="center", va="top", size=9.5, weight="bold")
        axes.text(x, y - 1.0, note, ha="center", va="top", size=8, color="#555555")
    largest = max(steps, key=lambda step: step.parameters)
    share = f"{largest.parameters / max(total, 1):.0%} of them in one layer ({largest.names[0]})"
    elsewhere = total - sum(step.parameters for step in steps)
    aside = f"; {elsewhere:,} lie off this path" if elsewhere else ""
    return headline(figure, f"{type(model).__name__}: {total:,} parameters, {share}{aside}")


@styled
def training_regime(counts: Mapping[str, int]) -> Figure:
    """Who learns from what (paper, figure 3): the teacher, the student, the baseline.

    Args:
        counts: split -> number of recordings, for pretrain, finetune, dev and test.
    """
    figure, axes = _canvas(10, 5.0, 20, 9.6)
    n = {split: f"{counts.get(split, 0):,} recordings" for split in ("pretrain", "finetune")}
    teacher, student, baseline = MODEL_COLORS.values()
    _box(axes, 1.9, 3.9, 3.2, 6.8, f"pretrain\n{n['pretrain']}", PAPER_TONE)
    _box(axes, 7.9, 6.4, 2.8, 1.3, "encoder\nResNet-18", "white", teacher)
    _box(axes, 12.9, 6.4, 3.6, 1.3, "teacher\nencoder + evaluator", teacher)
    _box(axes, 12.9, 8.7, 3.6, 1.3, f"finetune\n{n['finetune']}", PAPER_TONE)
    _box(axes, 12.9, 3.7, 3.6, 1.3, "student\nCNN", student)
    _box(axes, 12.9, 1.2, 3.6, 1.3, "baseline\nsame CNN", baseline)
    _box(axes, 18.2, 3.9, 3.0, 6.8, "", PAPER_TONE)
    for y, split, use in ((5.1, "dev", "picks the epoch"), (2.5, "test", "gives the result")):
        _words(axes, 18.2, y, f"{split}\n{counts.get(split, 0):,} recordings\n{use}", INK)
    _arrow(axes, (3.5, 6.4), (6.5, 6.4), "no labels:\nNT-Xent on\naugmented pairs")
    _arrow(axes, (9.3, 6.4), (11.1, 6.4), "trained\nweights")
    _arrow(axes, (12.9, 8.05), (12.9, 7.05), "few labels", beside=True)
    _arrow(axes, (12.9, 5.75), (12.9, 4.35), "soft labels for\npretrain", beside=True)
    _arrow(axes, (3.5, 3.7), (11.1, 3.7), "recordings only, no labels")
    _arrow(axes, (3.5, 1.2), (11.1, 1.2), "recordings and true labels")
    for y in (6.4, 3.7, 1.2):
        _arrow(axes, (14.7, y), (16.7, y), "logits")
    return headline(
        figure, "The student never trains on a label: the teacher's soft labels are all it gets"
    )


def _arrow_in_row(axes: Axes, k: int, steps: int, x: float, y: float) -> None:
    """The arrow to step k + 1; at the end of a row it is cut in two, out and in again."""
    if k + 1 < steps:
        row_ends = (k + 1) % PER_ROW == 0
        _arrow(axes, (x + 0.74, y), (x + (0.98 if row_ends else COLUMN - 0.74), y))
    if k and k % PER_ROW == 0:
        _arrow(axes, (x - 0.98, y), (x - 0.74, y))


def _describe(module: nn.Module) -> str:
    name = type(module).__name__
    if isinstance(module, nn.Conv2d):
        stride = f", stride {module.stride[0]}" if module.stride[0] > 1 else ""
        return f"conv {'×'.join(map(str, module.kernel_size))}{stride}"
    if isinstance(module, nn.Linear):
        return f"linear {module.in_features:,} → {module.out_features:,}"
    return SHORT.get(name, name)


def _canvas(width: float, height: float, right: float, top: float) -> tuple[Picture, Axes]:
    figure, axes = new_page(width, height)
    quiet(axes)
    axes.set(xlim=(0, right), ylim=(0, top), aspect="equal")
    return figure, axes


def _block(axes: Axes, step: Step, x: float, y: float) -> None:
    """A cuboid for channels x mels x frames, a bar for a vector."""
    color = next((c for kind, c in LAYER_COLORS.items() if kind in step.kind), FAINT)
    look = {"facecolor": color, "edgecolor": "white", "linewidth": 0.8}
    if len(step.shape) < 3:
        height = 0.1 + 0.075 * log2(max(prod(step.shape), 1))
        axes.add_patch(Rectangle((x - 0.09, y - height / 2), 0.18, height, **look))
        return
    depth, height, width = (scale * log2(n + 1) for scale, n in zip(SCALE, step.shape, strict=True))
    left, low = x - (width + depth) / 2, y - (height + depth) / 2
    front = [(0, 0), (width, 0), (width, height), (0, height)]
    top = [(0, height), (width, height), (width + depth, height + depth), (depth, height + depth)]
    side = [(width, 0), (width + depth, depth), (width + depth, height + depth), (width, height)]
    for face, alpha in ((front, 0.95), (top, 0.55), (side, 0.75)):
        corners = [(left + dx, low + dy) for dx, dy in face]
        axes.add_patch(Polygon(corners, **(look | {"alpha": alpha})))


def _box(
    axes: Axes, x: float, y: float, width: float, height: float, text: str, fill: str,
    edge: str = "none",
) -> None:  # fmt: skip
    """A rounded box centered on (x, y); the first line of its text is bold."""
    shape = FancyBboxPatch(
        (x - width / 2, y - height / 2), width, height,
        boxstyle="round,pad=0,rounding_size=0.22", facecolor=fill, edgecolor=edge, linewidth=2,
    )  # fmt: skip
    axes.add_patch(shape)
    ink = INK if fill in (PAPER_TONE, "white") else "white"
    _words(axes, x, y, text, ink)


def _words(axes: Axes, x: float, y: float, text: str, color: str) -> None:
    """Lines centered on (x, y), the first one bold."""
    lines = text.split("\n")
    for k, line in enumerate(lines):
        weight = "normal" if k else "bold"
        middle = y + 0.46 * ((len(lines) - 1) / 2 - k)
        axes.text(x, middle, line, ha="center", va="center", color=color, weight=weight, size=9.5)


def _arrow(
    axes: Axes, start: tuple[float, float], end: tuple[float, float], text: str = "",
    beside: bool = False,
) -> None:  # fmt: skip
    look = {"arrowstyle": "-|>", "mutation_scale": 12, "color": INK, "linewidth": 1.2}
    axes.add_patch(FancyArrowPatch(start, end, shrinkA=1, shrinkB=1, **look))
    x, y = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
    place = {"ha": "left", "va": "center"} if beside else {"ha": "center", "va": "bottom"}
    axes.text(x + 0.2 * beside, y + 0.12 * (not beside), text, size=8.5, color="#444444", **place)
