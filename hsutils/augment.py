"""SpecAugment and the two views of a recording that make a positive pair (paper section 4)."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from hsutils.cache import SpectrogramCache
from hsutils.settings import Augment
from hsutils.spectrograms import Occupied


def spec_augment(
    spectrogram: Tensor, occupied: Occupied, settings: Augment, generator: np.random.Generator
) -> Tensor:
    """A copy of a spectrogram with random mel bands and frames masked by 0 (Park et al. 2019).

    Without time warping. Masks fall inside the occupied region, so that padding is never
    touched, and all masks of one kind together cover at most `masked_share` of it.

    Args:
        spectrogram: standardized, shape (1, mels, frames).
        occupied: the region the recording fills.
        settings: number of masks and the share they may cover.
        generator: the source of chance.

    Returns:
        The masked copy, same shape.
    """
    masked = spectrogram.clone()
    (low, high), (start, stop) = occupied.rows, occupied.frames
    for first, last in _masks(low, high, settings.frequency_masks, settings, generator):
        masked[:, first:last, start:stop] = 0
    for first, last in _masks(start, stop, settings.time_masks, settings, generator):
        masked[:, low:high, first:last] = 0
    return masked


def _masks(
    start: int, stop: int, count: int, settings: Augment, generator: np.random.Generator
) -> list[tuple[int, int]]:
    if count == 0:
        return []
    widest = int((stop - start) * settings.masked_share / count)
    widths = generator.integers(0, widest, size=count, endpoint=True)
    firsts = generator.integers(start, stop - widths, endpoint=True)
    return [(int(first), int(first + width)) for first, width in zip(firsts, widths, strict=True)]


class ViewPairs(Dataset):
    """Positive pairs for contrastive pre-training: two views of each recording.

    A view depends on nothing but seed, epoch and recording, so that pairs are the same with
    any number of workers or devices, and after a restart.

    Args:
        cache: the spectrograms.
        rows: rows of the cache to draw from, shape (N,).
        settings: SpecAugment's settings; `both_views` masks the first view too.
        seed: seed of the run.
    """

    def __init__(self, cache: SpectrogramCache, rows: np.ndarray, settings: Augment, seed: int):
        self.cache, self.rows, self.settings, self.seed = cache, rows, settings, seed
        self.epoch, self.strata = 1, None

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """The two views, each of shape (1, mels, frames)."""
        row = int(self.rows[index])
        original = self.cache.batch([row])[0]
        occupied = self.cache.occupied(row)
        generator = np.random.default_rng([self.seed, self.epoch, row])
        second = spec_augment(original, occupied, self.settings, generator)
        if not self.settings.both_views:
            return original, second
        return spec_augment(original, occupied, self.settings, generator), second


@dataclass(frozen=True)
class Views:
    """What a training sees of a recording in an epoch: all of it, a crop, a masked one.

    Args:
        crop: frames of a crop, drawn from those that the recording occupies; a shorter recording
            is repeated to fill it. 0: the whole spectrogram.
        masks: SpecAugment's settings; None: no masks.
        seed: with epoch and recording, the only source of chance.
    """

    crop: int = 0
    masks: Augment | None = None
    seed: int = 0

    def of(self, spectrogram: Tensor, occupied: Occupied, epoch: int, row: int) -> Tensor:
        """The view of one spectrogram (1, mels, frames) in one epoch: (1, mels, crop or frames)."""
        generator = np.random.default_rng([self.seed, epoch, row])
        if self.crop:
            first, last = occupied.frames
            start = first + int(generator.integers(max(1, last - first - self.crop + 1)))
            whole = spectrogram[..., start : min(last, start + self.crop)]
            spectrogram = whole.repeat(1, 1, -(-self.crop // whole.shape[-1]))[..., : self.crop]
            occupied = Occupied(occupied.rows, (0, self.crop))
        if self.masks is None:
            return spectrogram
        return spec_augment(spectrogram, occupied, self.masks, generator)


class Labeled(Dataset):
    """Spectrograms with their targets: labels, or a teacher's soft labels.

    Args:
        cache: the spectrograms.
        rows: rows of the cache, shape (N,).
        targets: probability of abnormal for each row, shape (N,).
        strata: (N,) what an even sampling is even over; see `sampling.EvenSampler`.
        views: what is shown of them; by default all.
    """

    def __init__(
        self,
        cache: SpectrogramCache,
        rows: np.ndarray,
        targets: np.ndarray,
        strata: np.ndarray | None = None,
        views: Views | None = None,
    ):
        self.cache, self.rows, self.strata, self.views = cache, rows, strata, views
        self.targets = torch.tensor(np.asarray(targets, dtype=np.float32))
        self.epoch = 1

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """One spectrogram (1, mels, frames) or the view of it, and its target, a scalar."""
        row = int(self.rows[index])
        spectrogram = self.cache.batch([row])[0]
        if self.views is not None:
            spectrogram = self.views.of(spectrogram, self.cache.occupied(row), self.epoch, row)
        return spectrogram, self.targets[index]
