"""A CNN for recordings of any length, a twenty-sixth of the paper's student.

It looks at the frames that a recording occupies and at nothing else: padding is cut away before
the first convolution and never counted, so that the logit of a recording does not depend on how
long a clip it was put into, nor on the other recordings of its batch.
"""

import torch
from torch import Tensor, nn

from hsutils.models.packing import occupied_columns
from hsutils.models.teacher_student import Float32Head


class CompactCNN(nn.Module):
    """Convolutions, masked pooling over the occupied frames, and a small head.

    Args:
        mels: mel bands of a spectrogram, at least 16.
        width: channels of the first convolution; later ones have 2 to 4 times as many. 24 make
            222,345 parameters for 50 mel bands.
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
        # Crops last as long as their batch: then there is nothing to mask.
        mask = None if mask.all() else mask
        for block in self.blocks:
            x, mask = block(x, mask)
        x = _kept(torch.relu(self.join(x)), mask)
        x = _kept(torch.relu(self.norm(self.along(x), mask)), mask)
        mean = x.mean(dim=3) if mask is None else x.sum(dim=3) / mask.sum(dim=3)
        # Nothing is below 0 after the rectifier, so that masked frames win no maximum.
        return torch.cat([mean, x.amax(dim=3)], dim=1).flatten(1)


class _Block(nn.Module):
    """Convolution, batch normalization, rectifier and pooling by 2.

    Frames beyond a recording's end are set to 0, as a convolution sees them beyond an image's.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int):
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
        self.norm = MaskedBatchNorm(outputs)

    def forward(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        x = _kept(torch.relu(self.norm(self.convolution(x), mask)), mask)
        # A last frame without a partner is pooled alone: no recording is too short.
        x = nn.functional.max_pool2d(_even(x), 2)
        return x, None if mask is None else nn.functional.max_pool2d(_even(mask), (1, 2))


class MaskedBatchNorm(nn.BatchNorm2d):
    """Batch normalization whose statistics count the masked frames only."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Normalize x (N, C, H, W) by the statistics of the frames where mask (N, 1, 1, W) is 1.

        Where there is no mask every frame counts; in training the others come out as 0.
        """
        if mask is None or not self.training:
            return super().forward(x)
        lasting = mask[:, 0, 0] > 0
        columns = super().forward(x.movedim(3, 1)[lasting][..., None])[..., 0]
        frames = columns.new_zeros(x.movedim(3, 1).shape).index_put((lasting,), columns)
        return frames.movedim(1, 3)


def occupied(spectrograms: Tensor, padding: float) -> tuple[Tensor, Tensor]:
    """The occupied frames of each spectrogram, moved to the left, and where they end.

    Args:
        spectrograms: shape (N, 1, mels, frames).
        padding: the value of padding.

    Returns:
        Spectrograms (N, 1, mels, longest) with 0 behind each recording, and a mask
        (N, 1, 1, longest) of 1 where it lasts. An empty one lasts a single frame.
    """
    first, last = occupied_columns(spectrograms, padding)
    length = (last - first + 1).clamp(min=1)
    column = torch.arange(int(length.max()), device=spectrograms.device)
    mask = (column < length[:, None])[:, None, None].to(spectrograms.dtype)
    source = (first[:, None] + column).clamp(max=spectrograms.shape[3] - 1)
    source = source[:, None, None].expand(-1, -1, spectrograms.shape[2], -1)
    return spectrograms.gather(3, source) * mask, mask


def _kept(x: Tensor, mask: Tensor | None) -> Tensor:
    return x if mask is None else x * mask


def _even(x: Tensor) -> Tensor:
    """x with an even number of frames: a last one of zeros where it is odd."""
    return nn.functional.pad(x, (0, x.shape[3] % 2))
