"""Augmentations as pure functions: SpecAugment (paper section 3) and mixup."""

import numpy as np
from torch import Tensor

from hsutils.audio.spectrograms import Occupied
from hsutils.config import Augment


def spec_augment(
    spectrogram: Tensor, occupied: Occupied, settings: Augment, generator: np.random.Generator
) -> Tensor:
    """A copy of a spectrogram (1, mels, frames) with random mel bands and frames masked by 0.

    As Park et al. 2019, without time warping. Masks fall inside the occupied region, so that
    padding is never touched. Those of one kind together cover at most `masked_share` of it.

    >>> spectrogram, region = Tensor(np.ones((1, 50, 300))), Occupied((0, 50), (100, 200))
    >>> masked = spec_augment(spectrogram, region, Augment(), np.random.default_rng(0))
    >>> masked[..., 100:200].mean() < 1, masked[..., :100].mean() == 1
    (tensor(True), tensor(True))
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
) -> list[list[int]]:
    """First and one past the last of each mask between two edges."""
    widest = int((stop - start) * settings.masked_share / max(1, count))
    widths = generator.integers(0, widest, size=count, endpoint=True)
    firsts = generator.integers(start, stop - widths, endpoint=True)
    return np.column_stack([firsts, firsts + widths]).tolist()


def mixup(
    spectrograms: Tensor, targets: Tensor, beta: float, generator: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Each recording of a batch mixed with another, and their targets alike (Zhang et al. 2018).

    Spectrograms (N, 1, mels, frames) are without padding, targets have shape (N,). The share of
    the first is drawn from the beta distribution whose parameters are both `beta`.
    """
    share, other = generator.beta(beta, beta), generator.permutation(len(targets))
    return tuple(share * x + (1 - share) * x[other] for x in (spectrograms, targets))
