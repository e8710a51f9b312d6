"""Batches without the empty part of the image: the same networks, less than half the arithmetic.

A recording fills on average 1,093 of 2,805 frames; the rest is padding. A column that sees only
padding does not depend on the recording, so one canvas, shape (1, 1, mels, L), computes it once for
the whole batch. From left to right the canvas holds

- recordings too long to share a border, whole, each followed by a wall: zeros, which stand for
  the zero padding that convolutions see beyond an image's border;
- the image's left border and one steady block, which sees neither border nor recording;
- a piece for each other recording: the columns that see it, and nothing else;
- the image's right border, up to the canvas's own.

How far a column sees grows with depth. Each stage of a network has a layout of its own, with
margins as narrow as that depth allows; between stages, columns are copied over.

Every image column equals the canvas column named by `Layout.source`, and batch normalization
counts a canvas column as often as it occurs in the images. So outputs, statistics and gradients
are those of the dense network, to rounding. The networks know nothing of it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function

from hsutils.models.teacher_student import Encoder, StudentCNN

# (stride, reach) of a stage's last level, in input columns; reach is how far to either side a
# column of that level sees. ResNet-18 after layers 1 to 4; the student CNN.
RESNET_STAGES = ((4, 21), (8, 49), (16, 105), (32, 217))
STUDENT_STAGES = ((16, 25),)
WORTHWHILE = 0.85  # share of the columns above which packing costs more than it saves


def accelerate(model: nn.Module, padding: float) -> nn.Module:
    """Let a network compute the padding around recordings once a batch, where that pays.

    Parameters and, to rounding, outputs stay the same. On a GPU, and for batches with little
    padding, the network computes as it always did.

    Args:
        model: holds an `Encoder` or is a `StudentCNN`; changed in place and returned.
        padding: the value of padding, see `spectrograms.padding_value`.
    """
    for part in model.modules():
        if isinstance(part, Encoder):
            part.forward = partial(_forward, part, part.forward, encode, padding)
        elif isinstance(part, StudentCNN):
            part = part.features
            part.forward = partial(_forward, part, part.forward, student_features, padding)
    return model


def _forward(
    part: nn.Module,
    plain: Callable[[Tensor], Tensor],
    packed: Callable[[nn.Module, "Packed"], Tensor],
    padding: float,
    spectrograms: Tensor,
) -> Tensor:
    if spectrograms.device.type == "cpu" and not torch.compiler.is_exporting():
        stages = RESNET_STAGES if isinstance(part, Encoder) else STUDENT_STAGES
        batch = pack(spectrograms, padding, stages)
        if batch.share < WORTHWHILE:
            return packed(part, batch)
    return plain(spectrograms)


@dataclass(frozen=True)
class Level:
    """One resolution of a layout: images of W columns, a canvas of L.

    `source` (N, W) names the canvas column of every image column, `weights` (L,) counts how often
    a canvas column is named, and `walls` (K,) lists the columns that must be zero.
    """

    source: Tensor
    weights: Tensor
    walls: Tensor

    @cached_property
    def odd(self) -> Tensor:
        """The few columns that do not occur exactly once: borders, the steady block, walls."""
        return torch.nonzero(self.weights != 1).flatten()


@dataclass(frozen=True)
class Layout:
    """Where, by `source` (N, W), a canvas of `length` columns holds every column of N images.

    The `whole` recordings come first, in slots of `slot` columns.
    """

    source: Tensor
    length: int
    whole: int
    slot: int

    def level(self, stride: int, width: int | None = None) -> Level:
        """The level `stride` apart, where images have `width` columns; by default, all begun."""
        width = -(-self.source.shape[1] // stride) if width is None else width
        source = self.source[:, ::stride][:, :width] // stride
        weights = torch.bincount(source.flatten(), minlength=-(-self.length // stride))
        slots = torch.arange(self.whole, device=source.device)[:, None] * (self.slot // stride)
        beyond = torch.arange(width, self.slot // stride, device=source.device)
        return Level(source, weights, (slots + beyond).flatten())


@dataclass(frozen=True)
class Packed:
    """A batch of N spectrograms as one canvas (1, 1, mels, L), with a layout for each stage."""

    canvas: Tensor
    layouts: tuple[Layout, ...]

    @property
    def share(self) -> float:
        """Columns computed, relative to the dense batch: the mean over the stages."""
        return sum(each.length / each.source.numel() for each in self.layouts) / len(self.layouts)


def pack(spectrograms: Tensor, padding: float, stages: tuple[tuple[int, int], ...]) -> Packed:
    """Lay spectrograms (N, 1, mels, W) out for `encode` or `student_features`, by their stages.

    What each recording occupies is read off its spectrogram: a mask within it may hold any value.
    """
    first, last = occupied_columns(spectrograms, padding)
    layouts = tuple(_layout(first, last, spectrograms.shape[-1], *stage) for stage in stages)
    images = spectrograms[:, 0].transpose(1, 2)
    canvas = images.new_zeros(layouts[0].length, images.shape[2])
    # Where images share a column, all of them hold padding there. What nobody names stays zero.
    canvas[layouts[0].source] = images
    return Packed(canvas.T[None, None], layouts)


def occupied_columns(spectrograms: Tensor, padding: float) -> tuple[Tensor, Tensor]:
    """First and last column (N,) that differ from padding by more than its rounding."""
    rounding = 4 * torch.finfo(spectrograms.dtype).eps * abs(padding)
    differs = ~((spectrograms - padding).abs() <= rounding).all(dim=2)[:, 0]
    width = differs.shape[1]
    columns = torch.arange(width, device=differs.device)
    first = torch.where(differs, columns, width).amin(dim=1)
    return first, torch.where(differs, columns, -1).amax(dim=1)


def _layout(first: Tensor, last: Tensor, width: int, stride: int, reach: int) -> Layout:
    """Lay out images of `width` columns, occupied from `first` to `last` (N,), empty where -1."""
    # A piece is made of the columns of the last level that see the recording. A finer level's see
    # less far by at least the difference in stride, so they lie in the piece too. Starts are
    # multiples of `stride`: there, strided convolutions meet the same columns as in the image.
    left, right = -(-reach // stride) * stride, (width - reach) // stride * stride
    start = -((reach - first) // stride) * stride
    stop = ((last + reach) // stride + 1) * stride
    start, stop = (edge.masked_fill(last < 0, left) for edge in (start, stop))
    whole = (start < left) | (stop > right)
    start, stop = start.masked_fill(whole, 0), stop.masked_fill(whole, width)
    slot = (-(-width // stride) + 1) * stride
    size = torch.where(whole, slot, stop - start)
    walled, pieces = size.where(whole, 0).cumsum(0), size.where(~whole, 0).cumsum(0)
    border = int(walled[-1])
    steady = border + left
    right_border = steady + stride + int(pieces[-1])
    place = torch.where(whole, walled, steady + stride + pieces) - size
    columns = torch.arange(width, device=first.device)
    blank = torch.where(columns < left, border + columns, steady + columns % stride)
    blank = torch.where(columns < right, blank, right_border - right + columns)
    own = (columns >= start[:, None]) & (columns < stop[:, None])
    source = torch.where(own, (place - start)[:, None] + columns, blank)
    return Layout(source, right_border + width - right, int(whole.sum()), slot)


def encode(encoder: Encoder, packed: Packed) -> Tensor:
    """Features (N, 512) of a batch: what `encoder` gives for the spectrograms, to rounding.

    Under autocast, sums over columns stay in float32: one steady column stands for thousands.
    """
    layout, layers = packed.layouts[0], (encoder.layer2, encoder.layer3, encoder.layer4)
    level = layout.level(2)
    x = _normalize(encoder.bn1, encoder.conv1(packed.canvas), level)
    x = encoder.maxpool(_WalledReLU.apply(x, level.walls))
    x = _layer(encoder.layer1, x.index_fill_(3, layout.level(4).walls, 0), layout, 4)
    stages = zip((4, 8, 16), layers, pairwise(packed.layouts), strict=True)
    for stride, layer, (before, after) in stages:
        x = _move(x, before.level(stride), after.level(stride))
        x = _layer(layer, x, after, stride)
    source, x = packed.layouts[-1].level(32).source, _wide(x).mean(dim=2)[0]
    shares = x.new_zeros(len(source), x.shape[1])
    shares.scatter_add_(1, source, x.new_full(source.shape, 1 / source.shape[1]))
    with torch.autocast(x.device.type, enabled=False):
        return encoder.fc(shares @ x.T)


def student_features(features: nn.Sequential, packed: Packed) -> Tensor:
    """Features (N, flat): what `StudentCNN.features` gives for the spectrograms, to rounding."""
    (layout,) = packed.layouts
    x, (images, width), stride = packed.canvas, layout.source.shape, 1
    for convolution, activation, pooling in zip(*[iter(features[:-1])] * 3, strict=True):
        # Unlike the ResNet's, its first convolution drops columns at the image's end.
        x = x.index_fill(3, layout.level(stride, width).walls, 0) if stride > 1 else x
        step, lost = convolution.stride[1], convolution.kernel_size[1] - 2 * convolution.padding[1]
        width = ((width - lost) // step + 1) // 2
        stride *= 2 * step
        # The activation never falls, so it may follow the pooling: a quarter of the work.
        x = activation(pooling(convolution(x)))
    columns = _columns(x, layout.level(stride, width).source.flatten())
    return features[-1](columns[0].unflatten(2, (images, width)).permute(2, 0, 1, 3))


def _layer(layer: nn.Sequential, x: Tensor, layout: Layout, stride: int) -> Tensor:
    """Residual blocks, from a canvas whose columns are `stride` input columns apart."""
    for block in layer:
        stride *= block.stride
        level, residual = layout.level(stride), x
        if block.downsample is not None:
            convolution, norm = block.downsample
            residual = _normalize(norm, convolution(x), level)
        x = _WalledReLU.apply(_normalize(block.bn1, block.conv1(x), level), level.walls)
        x = _normalize(block.bn2, block.conv2(x), level)
        x = _WalledReLU.apply(x.add_(residual), level.walls)
    return x


def _wide(x: Tensor) -> Tensor:
    """x in at least float32: bfloat16 loses small terms of long sums, and so of their gradients."""
    return x.float() if x.dtype == torch.bfloat16 else x


def _columns(x: Tensor, index: Tensor) -> Tensor:
    """Columns `index` (K,) of x (1, C, H, L), shape (1, C, H, K), channels last as they lie."""
    return _wide(x)[0].permute(1, 2, 0).index_select(1, index).permute(2, 0, 1)[None]


def _move(x: Tensor, old: Level, new: Level) -> Tensor:
    """Canvas x (1, C, H, L) from one layout's level to the same level of another layout."""
    nowhere = len(old.weights)
    index = old.source.new_full((len(new.weights),), nowhere)
    index.scatter_reduce_(0, new.source.flatten(), old.source.flatten(), "amin")
    return _columns(F.pad(x, (0, 1)), index)


def _normalize(norm: nn.BatchNorm2d, x: Tensor, level: Level) -> Tensor:
    """`norm` of a canvas (1, C, H, L), as of the images it stands for."""
    if not norm.training:
        return norm(x)
    count = level.source.numel() * x.shape[2]
    with torch.no_grad():
        mean, variance = _statistics(x, level, count)
        norm.num_batches_tracked.add_(1)
        norm.running_mean.lerp_(mean, norm.momentum)
        norm.running_var.lerp_(variance * (count / (count - 1)), norm.momentum)
    return _Normalization.apply(x, norm.weight, norm.bias, mean, variance, level, count, norm.eps)


def _statistics(x: Tensor, level: Level, count: int) -> tuple[Tensor, Tensor]:
    """Mean and biased variance (C,) of the images: the canvas's own, corrected at odd columns."""
    cells, columns = x.numel() // x.shape[1], _wide(x[..., level.odd])
    extra = level.weights[level.odd].to(columns.dtype) - 1
    # Running statistics that nobody reads: their dtype is that of the result.
    unread = (columns.new_zeros(x.shape[1]), columns.new_ones(x.shape[1]))
    # One running sum over a whole float32 canvas would lose four digits: add up mel rows.
    rows = [torch.batch_norm_update_stats(row, *unread, 0.0) for row in x.split(1, dim=2)]
    means, variances = (torch.stack(each) for each in zip(*rows, strict=True))
    mean = (cells * means.mean(dim=0) + (columns * extra).sum(dim=(0, 2, 3))) / count
    squares = cells * (variances + (means - mean) ** 2).mean(dim=0)
    return mean, (squares + ((columns - mean[:, None, None]) ** 2 * extra).sum((0, 2, 3))) / count


class _Normalization(Function):
    """Batch normalization by statistics in which a column counts `weights` times."""

    @staticmethod
    def forward(ctx, x, gamma, beta, mean, variance, level, count, eps):
        ctx.save_for_backward(x, gamma, mean, variance)
        ctx.level, ctx.count, ctx.eps = level, count, eps
        return F.batch_norm(x, mean, variance, gamma, beta, eps=eps)

    @staticmethod
    def backward(ctx, g):
        # With w a column's weight, W their sum over the cells and g the gradient of y,
        # dx = gamma / std * (g - w / W * (sum(g) + x_hat * sum(g * x_hat))).
        x, gamma, mean, variance = ctx.saved_tensors
        fixed = (gamma, mean, variance, None, None, False, ctx.eps, [False, True, True])
        rows = zip(g.split(1, dim=2), x.split(1, dim=2), strict=True)
        sums = [torch.ops.aten.native_batch_norm_backward(*row, *fixed)[1:] for row in rows]
        dgamma, dbeta = (torch.stack(each).sum(dim=0) for each in zip(*sums, strict=True))
        scale = gamma * (variance + ctx.eps).rsqrt()
        share = -scale / ctx.count
        dx = F.batch_norm(x, mean, variance, share * dgamma, share * dbeta, eps=ctx.eps)
        odd = ctx.level.odd
        dx[..., odd] *= ctx.level.weights[odd]
        # scale * g, by the one product that mixes bfloat16 with float32 fast.
        dx += F.batch_norm(g, torch.zeros_like(mean), variance, gamma, eps=ctx.eps)
        return dx, dgamma, dbeta, None, None, None, None, None


class _WalledReLU(Function):
    """ReLU in place, and zero where walls stand."""

    @staticmethod
    def forward(ctx, x, walls):
        x.relu_().index_fill_(3, walls, 0)
        ctx.mark_dirty(x)
        ctx.save_for_backward(x)
        return x

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return torch.ops.aten.threshold_backward(g, y, 0), None
