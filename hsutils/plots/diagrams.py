"""Drawings of the method: the network layer by layer, and the training regime (paper, 1 and 3)."""

import copy
from collections.abc import Mapping, Sequence
from math import log2
from types import SimpleNamespace

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle
from torch import nn

from hsutils.plots import style

PALE = "#F3F1EC"
COLORS = {"input": "#8A8A8A", "conv": "#0072B2", "MaxPool2d": "#56B4E9", "linear": "#D55E00"}
PER_ROW, SCALE = 6, 0.041
"""Layers in a row; the share of a layer's place that each doubling of mels or frames fills."""


def trace(model: nn.Module, input_shape: Sequence[int]) -> list[SimpleNamespace]:
    """The steps a batch takes through the model, in the order in which its layers run.

    A step is a layer that changes the tensor, with the shape-keeping layers that follow it: names,
    shape of the output without the batch, parameters. Found with forward hooks on a copy.

    Args:
        model: on the CPU, takes (N, *input_shape).
        input_shape: of one input, without the batch.
    """
    steps = [SimpleNamespace(names=["input"], shape=tuple(input_shape), parameters=0)]

    def record(module: nn.Module, _: tuple, output: torch.Tensor) -> None:
        shape, own = tuple(output.shape[1:]), list(module.parameters())
        if shape and (shape != steps[-1].shape or any(weights.ndim > 1 for weights in own)):
            steps.append(SimpleNamespace(names=[], shape=shape, parameters=0))
        if shape:
            steps[-1].names.append(_describe(module))
        steps[-1].parameters += sum(weights.numel() for weights in own)

    own = copy.deepcopy(model).eval()
    for module in own.modules():
        if not list(module.children()):
            module.register_forward_hook(record)
    with torch.inference_mode():
        own(torch.zeros(2, *input_shape))
    return steps


@style.styled
def architecture(model: nn.Module, input_shape: Sequence[int] = (1, 50, 2805)) -> Figure:
    """The model drawn from itself (paper, figure 1): layer, output shape, parameters, total.

    A box is as wide as the output has frames and as high as it has mels (or, flattened, values),
    on one logarithmic scale.

    Args:
        model, input_shape: see `trace`.
    """
    steps = trace(model, input_shape)
    rows, total = -(-len(steps) // PER_ROW), sum(p.numel() for p in model.parameters())
    title = f"{type(model).__name__}: {total:,} parameters"
    figure, axes = style.new_page(title, 2.05 * rows + 0.45)
    axes.set(xlim=(0, PER_ROW), ylim=(0, 1.25 * rows), aspect="equal")
    axes.set_axis_off()
    for k, step in enumerate(steps):
        x, y = k % PER_ROW + 0.5, 1.25 * (rows - k // PER_ROW - 0.48)
        if k:
            _arrow(axes, (x - (0.63 if k % PER_ROW else 0.49), y), (x - 0.37, y))
        height, width = (SCALE * log2(n + 1) for n in (*step.shape[-2:], 1)[:2])
        color = COLORS.get(step.names[0].split()[0], style.FAINT)
        axes.add_patch(Rectangle((x - width / 2, y - height / 2), width, height, color=color))
        above = " + ".join(step.names).replace(" + ", "\n", 1)
        axes.text(x, y + 0.36, above, ha="center", va="bottom", size=9)
        shape = " × ".join(f"{n:,}" for n in step.shape)
        axes.text(x, y - 0.37, shape, ha="center", va="top", size=9.5, weight="bold")
        count = f"{step.parameters:,} parameters" if step.parameters else ""
        axes.text(x, y - 0.5, count, ha="center", va="top", size=8.5, color=style.GRAY)
    return figure


@style.styled
def training_regime(counts: Mapping[str, int]) -> Figure:
    """Who learns from what (paper, figure 3): the teacher, the student, the baseline.

    Args:
        counts: split -> number of recordings, for pretrain, finetune, dev and test.
    """
    figure, axes = style.new_page("Who learns from what?", 5.0)
    axes.set(xlim=(0, 20), ylim=(0, 9.6), aspect="equal")
    axes.set_axis_off()
    n = {split: f"{count:,} recordings" for split, count in counts.items()}
    blue, orange, gray = style.MODEL_COLORS.values()
    _box(axes, (1.9, 3.9), (3.2, 6.8), "pretrain", n["pretrain"])
    _box(axes, (7.9, 6.4), (2.8, 1.3), "encoder", "ResNet-18", blue)
    _box(axes, (12.9, 6.4), (3.6, 1.3), "teacher", "encoder + evaluator", blue)
    _box(axes, (12.9, 8.7), (3.6, 1.3), "finetune", n["finetune"])
    _box(axes, (12.9, 3.7), (3.6, 1.3), "student", "CNN", orange)
    _box(axes, (12.9, 1.2), (3.6, 1.3), "baseline", "same CNN", gray)
    judged = f"{n['dev']}\npick the epoch,\n{n['test']}\ngive the result"
    _box(axes, (18.2, 3.9), (3.0, 6.8), "dev, then test", judged)
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
    return type(module).__name__


def _box(axes: Axes, center: tuple, size: tuple, name: str, about: str, fill: str = PALE) -> None:
    """A rounded box with its name in bold and what it is beneath."""
    (x, y), (width, height) = center, size
    shape = {"boxstyle": "round,pad=0,rounding_size=0.22", "linewidth": 0}
    corner = (x - width / 2, y - height / 2)
    axes.add_patch(FancyBboxPatch(corner, width, height, facecolor=fill, **shape))
    words = {"ha": "center", "color": style.INK if fill == PALE else "white", "size": 9.5}
    axes.text(x, y + 0.1, name, va="bottom", weight="bold", **words)
    axes.text(x, y, about, va="top", **words)


def _arrow(axes: Axes, start: tuple, end: tuple, text: str = "") -> None:
    """An arrow with its text above, or at the right of an upright one."""
    look = {"arrowstyle": "-|>", "color": style.INK, "shrinkA": 1, "shrinkB": 1}
    axes.annotate("", end, start, arrowprops=look)
    x, y = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
    if start[0] == end[0]:
        axes.text(x + 0.2, y, text, va="center", size=9)
    else:
        axes.text(x, y + 0.12, text, ha="center", va="bottom", size=9)
