"""A CNN for recordings of any length, far smaller than the paper's student.

Padding is cut away before the first convolution and never counted. So the logit of a recording
depends neither on the clip it was put into nor on the other recordings of its batch.
"""

import torch
from torch import Tensor, nn

from hsutils.models.packing import occupied_columns
from hsutils.models.teacher_student import Float32Head


class CompactCNN(nn.Module):
    """Convolutions, masked pooling over the occupied frames, and a small head.

    Args:
        mels: mel bands of a spectrogram, at least 16.
        width: channels of the first convolution; later ones have 2 to 4 times as many.
        padding: value of the padding around recordings (see `spectrograms.padding_value`).

    Raises:
        ValueError: if there are fewer than 16 mel bands.
    """

    def __init__(self, mels: int = 50, width: int = 24, padding: float = 0.0):
        super().__init__()
        if mels < 16:
            raise ValueError(f"four poolings need at least 16 mel bands, not {mels}")
        self.features = _Features(mels, width, padding)
        self.head = Float32Head(
            nn.Linear(8 * width, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 1), nn.Flatten(0)
        )

    def forward(self, spectrograms: Tensor) -> Tensor:
        """Logits, shape (N,), of spectrograms (N, 1, mels, frames)."""
        return self.head(self.features(spectrograms))


class _Features(nn.Module):
    """Spectrograms (N, 1, mels, frames) -> mean and maximum over the occupied frames (N, 8 w)."""

    def __init__(self, mels: int, width: int, padding: float):
        super().__init__()
        self.padding, wide = padding, 4 * width
        kernels = {(1, width): 5, (width, 2 * width): 3, (2 * width, wide): 3, (wide, wide): 3}
        self.blocks = nn.ModuleList(_Block(*sides, kernel) for sides, kernel in kernels.items())
        self.join = nn.Conv2d(wide, wide, (mels // 16, 1))
        self.along = nn.Conv2d(wide, wide, (1, 5), padding=(0, 2), bias=False)
        self.norm = MaskedBatchNorm(wide)

    def forward(self, spectrograms: Tensor) -> Tensor:
        x, mask = occupied(spectrograms, self.padding)
        if not torch.compiler.is_exporting() and mask.all():
            mask = None  # crops last as long as their batch
        for block in self.blocks:
            x, mask = block(x, mask)
        x = _masked(torch.relu(self.join(x)), mask)
        x = _masked(torch.relu(self.norm(self.along(x), mask)), mask)
        mean = x.mean(dim=3) if mask is None else x.sum(dim=3) / mask.sum(dim=3)
        # Nothing is below 0 after the rectifier, so that masked frames win no maximum.
        return torch.cat([mean, x.amax(dim=3)], dim=1).flatten(1)


class _Block(nn.Module):
    """Convolution, batch normalization, rectifier and pooling by 2, with 0 beyond the recording."""

    def __init__(self, inputs: int, outputs: int, kernel: int):
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
        self.norm = MaskedBatchNorm(outputs)

    def forward(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        x = _masked(torch.relu(self.norm(self.convolution(x), mask)), mask)
        # A last band without a partner is left out. A last frame is kept: none is too short.
        x = nn.functional.max_pool2d(x[:, :, : x.shape[2] // 2 * 2], 2, ceil_mode=True)
        if mask is None:
            return x, None
        return x, nn.functional.max_pool2d(mask, (1, 2), ceil_mode=True)


class MaskedBatchNorm(nn.BatchNorm2d):
    """Batch normalization whose statistics count only the frames where a mask is 1."""

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Normalize x (N, C, H, W); in training, frames where mask (N, 1, 1, W) is 0 become 0."""
        if mask is None or not self.training:
            return super().forward(x)
        lasting = mask[:, 0, 0] > 0
        columns = super().forward(x.movedim(3, 1)[lasting][..., None])[..., 0]
        frames = columns.new_zeros(x.movedim(3, 1).shape).index_put((lasting,), columns)
        return frames.movedim(1, 3)


def occupied(spectrograms: Tensor, padding: float) -> tuple[Tensor, Tensor]:
    """The occupied frames of spectrograms (N, 1, mels, frames), moved to the left.

    Returns:
        Spectrograms (N, 1, mels, longest) with 0 behind each recording, and a mask
        (N, 1, 1, longest) of 1 where it lasts. An empty one lasts a single frame.
    """
    first, last = occupied_columns(spectrograms, padding)
    length = (last - first + 1).clamp(min=1)
    # In an exported graph no size depends on values: there, padding stays and is masked.
    exporting, frames = torch.compiler.is_exporting(), spectrograms.shape[3]
    column = torch.arange(frames if exporting else int(length.max()), device=spectrograms.device)
    mask = (column < length[:, None])[:, None, None].to(spectrograms.dtype)
    source = (first[:, None] + column).clamp(max=frames - 1)
    source = source[:, None, None].expand(-1, -1, spectrograms.shape[2], -1)
    return spectrograms.gather(3, source) * mask, mask


def _masked(x: Tensor, mask: Tensor | None) -> Tensor:
    return x if mask is None else x * mask
