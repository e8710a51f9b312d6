"""Augmentations as pure functions: SpecAugment (paper section 3) and mixup."""

import numpy as np
from torch import Tensor

from hsutils.audio.spectrograms import Occupied
from hsutils.config import Augment


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
