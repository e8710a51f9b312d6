"""Drawings of the method: networks, the training regime (paper, 1 and 3), and its two ideas."""

import copy
from collections.abc import Mapping, Sequence
from math import log2
from types import SimpleNamespace

import numpy as np
import seaborn as sns
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle
from matplotlib.path import Path
from torch import Tensor, nn
from torch.nn import functional

from hsutils.models.losses import nt_xent
from hsutils.plots import style

PALE = "#F3F1EC"
COLORS = {"input": "#8A8A8A", "conv": "#0072B2", "MaxPool2d": "#56B4E9", "linear": "#D55E00"}
PER_ROW, SCALE = 6, 0.041
"""Layers in a row; the share of a layer's place that each doubling of mels or frames fills."""
PULL, PUSH, STEPS = "#0072B2", "#D55E00", 50
RING = {"marker": "o", "ms": 15, "mfc": "none", "mec": style.INK, "mew": 1.8, "ls": "none"}
VIEWS = {"recording": {"marker": "o", "ms": 8, "color": style.INK, "ls": "none"}}
VIEWS["its masked copy"] = RING


def trace(model: nn.Module, input_shape: Sequence[int]) -> list[SimpleNamespace]:
    """The steps a batch takes through the model, in the order in which its layers run.

    A step is a layer that changes the tensor, with the shape-keeping layers that follow it: names,
    shape of the output without the batch, parameters. Found with forward hooks on a copy.

    Args:
        model: on the CPU, takes `(N, *input_shape)`.
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


@style.styled
def contrast(z_i: Tensor, z_j: Tensor, temperature: float) -> Figure:
    """What NT-Xent does to pairs on a circle: the forces on all views, and where steps take them.

    An arrow is as thick as the first view's loss pulls its partner or pushes a negative.

    Args:
        z_i, z_j: embeddings of the two views, (N, 2).
        temperature: of the loss.
    """
    title = "NT-Xent pulls partners together and pushes all others apart"
    figure, panels = style.new_page(title, 5.2, ncols=2)
    z, states = torch.stack([z_i, z_j]).requires_grad_(), []
    optimizer = torch.optim.SGD([z], lr=1.0)
    for _ in range(STEPS + 1):
        loss = nt_xent(*z, temperature)
        states.append((loss.item(), torch.atan2(z[..., 1], z[..., 0]).detach().numpy()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    names = "before", f"after {STEPS} gradient steps"
    for axes, name, (loss, angles) in zip(panels, names, (states[0], states[-1]), strict=True):
        axes.set(xlim=(-1.5, 1.5), ylim=(-1.3, 1.3), aspect="equal")
        axes.set_title(f"{name}: loss {loss:.2f}")
        axes.set_axis_off()
        axes.plot(*_on_circle(np.linspace(0, 2 * np.pi, 200)), color=style.FAINT, lw=1)
        for look, view in zip(VIEWS.values(), angles, strict=True):
            axes.plot(*_on_circle(view), **look)
        for view in angles if name == "before" else angles[:1]:
            for number, place in enumerate(_on_circle(view, 1.2).T, start=1):
                axes.text(*place, number, ha="center", va="center", weight="bold", size=12)
    anchor, *others = states[0][1].ravel()
    panels[0].text(*_on_circle(anchor, 0.8), "anchor ", ha="right", va="center")
    shares = _similarities(z_i, z_j, temperature)[1][0, 1:].tolist()
    for k, (angle, share) in enumerate(zip(others, shares, strict=True), start=1):
        away = (angle - anchor + np.pi) % (2 * np.pi) - np.pi
        is_partner = k == len(z_i)
        turn = -0.8 * away if is_partner else np.copysign(0.42, away)
        color, force = (PULL, 1 - share) if is_partner else (PUSH, share)
        arc = angle + np.linspace(np.copysign(0.08, turn), turn, 20)
        look = {"arrowstyle": "-|>", "mutation_scale": 12 + 20 * force, "lw": 1.5 + 8 * force}
        look |= {"color": color, "capstyle": "butt", "joinstyle": "miter"}
        panels[0].add_patch(FancyArrowPatch(path=Path(_on_circle(arc, 0.86).T), **look))
    forces = {"pulled to the anchor": {"color": PULL, "lw": 4}}
    return style.with_legend(figure, VIEWS | forces | {"pushed away": {"color": PUSH, "lw": 4}})


@style.styled
def similarities(z_i: Tensor, z_j: Tensor, temperature: float) -> Figure:
    """Cosine similarities of recordings to all views, and the probabilities NT-Xent makes of them.

    Args:
        z_i, z_j: embeddings of the two views, (N, D).
        temperature: of the loss.
    """
    loss, n = nt_xent(z_i, z_j, temperature).item(), len(z_i)
    title = f"Temperature {temperature:.2g}: NT-Xent loss {loss:.2f} nats"
    figure, panels = style.new_page(title, 3.8, ncols=2)
    names = [f"{number}{prime}" for prime in ("", "′") for number in range(1, n + 1)]
    look = {"annot": True, "cbar": False, "square": True, "linewidths": 1}
    look |= {"mask": np.eye(n, 2 * n, dtype=bool), "xticklabels": names, "yticklabels": names[:n]}
    colors = {"cmap": "vlag", "vmin": -1, "vmax": 1, "fmt": ".1f"}, {"cmap": "Blues", "fmt": ".2f"}
    titles = "cosine similarity", "probability of being the partner"
    drawn = zip(panels, _similarities(z_i, z_j, temperature), colors, titles, strict=True)
    for axes, values, color, name in drawn:
        sns.heatmap(values[:n].numpy(), ax=axes, **look | {"vmin": 0, "vmax": 1.5} | color)
        axes.set(title=name, xlabel="other view (′: masked copy)", ylabel="anchor")
        axes.tick_params(length=0, labelrotation=0)
        axes.grid(visible=False)
        for row in range(n):
            axes.add_patch(Rectangle((row + n, row), 1, 1, fill=False, ec=style.INK, lw=2.2))
    return style.with_legend(figure, {"the partner": RING | {"marker": "s", "ms": 11}})


@style.styled
def distillation() -> Figure:
    """How a student learns from a teacher: what is predicted, compared and changed."""
    title = "The student is trained to give the teacher's probabilities"
    figure, axes = style.new_page(title, 4.4)
    axes.set(xlim=(0, 20), ylim=(0, 7.6), aspect="equal")
    axes.set_axis_off()
    blue, orange, _ = style.MODEL_COLORS.values()
    _box(axes, (2.0, 4.0), (3.2, 1.4), "recording", "of pretrain, no label")
    _box(axes, (7.6, 6.2), (3.6, 1.4), "teacher", "frozen", blue)
    _box(axes, (7.6, 1.8), (3.6, 1.4), "student", "in training", orange)
    _box(axes, (17.4, 4.0), (4.2, 1.4), "loss", "cross entropy of q and p")
    for y, name, p in ((6.2, "soft label q", 0.8), (1.8, "probability p", 0.6)):
        side = np.sign(y - 4)
        _arrow(axes, (3.6, 4 + 0.4 * side), (5.8, y))
        _arrow(axes, (9.4, y), (11.1, y), "logit")
        _arrow(axes, (15, y), (16.4, 4 + 0.7 * side))
        axes.text(13, y + 0.5, name, ha="center", va="bottom", weight="bold")
        for kind, left, share in (("normal", 0, 1 - p), ("abnormal", 1 - p, p)):
            corner, color = (11.2 + 3.6 * left, y - 0.35), style.color_of(kind)
            axes.add_patch(Rectangle(corner, 3.6 * share, 0.7, color=color))
            middle, look = 11.2 + 3.6 * (left + share / 2), {"ha": "center", "va": "center"}
            axes.text(middle, y, f"{share:.2f}", color="white", weight="bold", size=9, **look)
    axes.plot([18.2, 18.2, 7.6], [3.3, 0.35, 0.35], **style.DASHED | {"color": style.INK})
    _arrow(axes, (7.6, 0.35), (7.6, 1.1))
    axes.text(13, 0.45, "gradient: changes the student only", ha="center", va="bottom", size=9)
    return style.with_legend(figure, style.color_key(style.CLASSES, marker="s", ms=9))


def _similarities(z_i: Tensor, z_j: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Cosines of all 2N views, and each row's softmax over the other views."""
    z = functional.normalize(torch.cat([z_i, z_j]))
    cosines = z @ z.T
    return cosines, (cosines / temperature).fill_diagonal_(-torch.inf).softmax(dim=1)


def _on_circle(angles: np.ndarray, radius: float = 1.0) -> np.ndarray:
    return radius * np.array([np.cos(angles), np.sin(angles)])


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
