"""SpecAugment and the two views of a recording that make a positive pair (paper section 4)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from hsutils.data.cache import SpectrogramCache
from hsutils.training.sampling import Place
from hsutils.audio.devices import another_sensor
from hsutils.settings import Augment
from hsutils.audio.spectrograms import Occupied, log_mel, standardize
from hsutils.audio.wav import SAMPLE_RATE, read_waveform


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

    def of(self, cache: SpectrogramCache, row: int, epoch: int, number: int = 0) -> Tensor:
        """View `number` of a row of the cache in an epoch, shape (1, mels, crop or frames)."""
        generator = _chance(self.seed, epoch, row, number)
        spectrogram, occupied = cache.batch([row])[0], cache.occupied(row)
        if self.crop:
            first, last = occupied.frames
            start = first + int(generator.integers(max(1, last - first - self.crop + 1)))
            whole = spectrogram[..., start : min(last, start + self.crop)]
            spectrogram = whole.repeat(1, 1, -(-self.crop // whole.shape[-1]))[..., : self.crop]
            occupied = Occupied(occupied.rows, (0, self.crop))
        if self.masks is None:
            return spectrogram
        return spec_augment(spectrogram, _inner(occupied), self.masks, generator)


@dataclass(frozen=True)
class WaveformViews:
    """Views made from the waveform: a stretch of it, through another sensor and the front end.

    Args:
        paths: of the recordings, by row of the cache.
        seconds: of a stretch; 0, or a shorter recording: all of it.
        sensor: whether it goes through `sensors.another_sensor`.
        masks: SpecAugment's settings; None: no masks.
        seed: with epoch, recording and number of the view, the only source of chance.
    """

    paths: Sequence[str]
    seconds: float = 0.0
    sensor: bool = False
    masks: Augment | None = None
    seed: int = 0

    def of(self, cache: SpectrogramCache, row: int, epoch: int, number: int = 0) -> Tensor:
        """View `number` of a row of the cache in an epoch, shape (1, mels, frames).

        Frames are those of `seconds`, or of the front end's clip where those are 0.
        """
        generator, front_end = _chance(self.seed, epoch, row, number), cache.front_end
        waveform = read_waveform(self.paths[row])
        length = round(self.seconds * SAMPLE_RATE)
        if 0 < length < len(waveform):
            start = int(generator.integers(len(waveform) - length + 1))
            waveform = waveform[start : start + length]
        if self.sensor:
            waveform = another_sensor(waveform, generator)
        if self.seconds:
            front_end = replace(front_end, clip_seconds=self.seconds)
        scaled, occupied = log_mel(waveform, SAMPLE_RATE, front_end)
        spectrogram = standardize(scaled, front_end)[None]
        if self.masks is None:
            return spectrogram
        return spec_augment(spectrogram, _inner(occupied), self.masks, generator)


def _inner(occupied: Occupied) -> Occupied:
    """All but the first and last frame: masked, they would look like padding to a network."""
    first, last = occupied.frames
    return Occupied(occupied.rows, (first + 1, last - 1)) if last - first > 2 else occupied


def _chance(seed: int, epoch: int, row: int, number: int) -> np.random.Generator:
    return np.random.default_rng([seed, epoch, row, number])


def mixup(
    spectrograms: Tensor, targets: Tensor, beta: float, generator: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Each recording of a batch mixed with another, and their targets alike (Zhang et al. 2018).

    Args:
        spectrograms: shape (N, 1, mels, frames), without padding.
        targets: shape (N,).
        beta: both parameters of the beta distribution that the share of the first is drawn from.
        generator: the source of chance.

    Returns:
        The mixed spectrograms and targets, of the same shapes.
    """
    share, other = generator.beta(beta, beta), generator.permutation(len(targets))
    return tuple(share * x + (1 - share) * x[other] for x in (spectrograms, targets))


class ViewPairs(Dataset):
    """Positive pairs for contrastive pre-training: two views of each recording.

    A view depends on nothing but seed, epoch and recording, so that pairs are the same with
    any number of workers or devices, and after a restart.

    Args:
        cache: the spectrograms.
        rows: rows of the cache to draw from, shape (N,).
        settings: SpecAugment's settings; `both_views` masks the first view too.
        seed: seed of the run.
        views: makes both views instead, whatever the settings say of them.
    """

    def __init__(
        self,
        cache: SpectrogramCache,
        rows: np.ndarray,
        settings: Augment,
        seed: int,
        views: WaveformViews | None = None,
    ):
        self.cache, self.rows, self.settings, self.seed = cache, rows, settings, seed
        self.epoch, self.strata, self.views = 1, None, views

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """The two views, each of shape (1, mels, frames)."""
        row = int(self.rows[index])
        if self.views is not None:
            first, second = (self.views.of(self.cache, row, self.epoch, n) for n in (0, 1))
            return first, second
        original = self.cache.batch([row])[0]
        occupied = self.cache.occupied(row)
        generator = np.random.default_rng([self.seed, self.epoch, row])
        second = spec_augment(original, occupied, self.settings, generator)
        if not self.settings.both_views:
            return original, second
        return spec_augment(original, occupied, self.settings, generator), second


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
        views: Views | WaveformViews | None = None,
    ):
        self.cache, self.rows, self.strata, self.views = cache, rows, strata, views
        self.targets = torch.tensor(np.asarray(targets, dtype=np.float32))
        self.epoch = 1

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: int | Place) -> tuple[Tensor, Tensor]:
        """One spectrogram (1, mels, frames) or the view of it, and its target, a scalar."""
        index, occurrence = place if isinstance(place, tuple) else (place, 0)
        row = int(self.rows[index])
        if self.views is None:
            return self.cache.batch([row])[0], self.targets[index]
        return self.views.of(self.cache, row, self.epoch, occurrence), self.targets[index]


class Together(Dataset):
    """Recordings of several caches as one dataset; views make all of one shape.

    Args:
        parts: each with strata.
    """

    def __init__(self, parts: Sequence[Labeled]):
        self.parts, self.ends = parts, np.cumsum([len(part) for part in parts])
        self.strata = np.concatenate([part.strata for part in parts])
        self.epoch = 1

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, place: int | Place) -> tuple[Tensor, Tensor]:
        """One view (1, mels, frames) and its target, a scalar."""
        index, occurrence = place if isinstance(place, tuple) else (place, 0)
        which = int(np.searchsorted(self.ends, index, side="right"))
        part, before = self.parts[which], self.ends[which - 1] if which else 0
        part.epoch = self.epoch
        return part[int(index - before), occurrence]
