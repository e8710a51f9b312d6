"""SpecAugment masks the recording and never the padding; mixup mixes targets as recordings."""

import numpy as np
import pytest
import torch
from scipy.stats import beta, kstest

from hsutils.audio.augment import mixup, spec_augment
from hsutils.audio.spectrograms import Occupied
from hsutils.config import Augment

SHAPE = (1, 50, 300)
OCCUPIED = Occupied(rows=(3, 43), frames=(100, 200))


def masked(seed: int, occupied: Occupied = OCCUPIED, **settings: float) -> np.ndarray:
    """Where an all-ones spectrogram was masked, shape (mels, frames)."""
    ones, generator = torch.ones(SHAPE), np.random.default_rng(seed)
    return (spec_augment(ones, occupied, Augment(**settings), generator) == 0)[0].numpy()


def inside(mask: np.ndarray, occupied: Occupied = OCCUPIED) -> np.ndarray:
    return mask[slice(*occupied.rows), slice(*occupied.frames)]


def runs(line: np.ndarray) -> int:
    """Separate masked stretches in a line."""
    return int((np.diff(np.r_[0, line.astype(int)]) == 1).sum())


REGIONS = [OCCUPIED, Occupied((5, 6), (10, 11)), Occupied((0, 50), (0, 300))]


@pytest.mark.parametrize("occupied", REGIONS)
def test_masks_are_whole_bands_and_whole_frames_of_the_recording_never_of_padding(occupied):
    for seed in range(20):
        mask = masked(seed, occupied=occupied)
        region = inside(mask, occupied)
        bands, frames = region.all(axis=1), region.all(axis=0)
        np.testing.assert_array_equal(region, bands[:, None] | frames)
        region[:] = False
        assert not mask.any()


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_masks_of_one_kind_cover_at_most_their_share(share):
    for seed in range(20):
        bands = inside(masked(seed, time_masks=0, masked_share=share)).all(axis=1)
        frames = inside(masked(seed, frequency_masks=0, masked_share=share)).all(axis=0)
        assert bands.mean() <= share and frames.mean() <= share


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_there_are_as_many_masks_as_asked_for(count):
    for kind, axis in (("time_masks", 0), ("frequency_masks", 1)):
        settings = {"time_masks": 0, "frequency_masks": 0, kind: count}
        found = [runs(inside(masked(seed, **settings)).any(axis=axis)) for seed in range(40)]
        assert max(found) == count


def test_every_frame_may_be_masked_and_widths_run_from_nothing_to_the_widest():
    settings = {"frequency_masks": 0, "time_masks": 1, "masked_share": 0.2}
    masks = [inside(masked(seed, **settings)) for seed in range(400)]
    assert np.any(masks, axis=0).all()
    assert {int(mask.any(axis=0).sum()) for mask in masks} == set(range(21))


def test_masks_hold_zero_all_else_is_untouched_and_they_repeat_by_seed():
    original = torch.randn(SHAPE)
    copy = original.clone()
    first, again, other = (
        spec_augment(original, OCCUPIED, Augment(), np.random.default_rng(seed))
        for seed in (0, 0, 1)
    )
    assert torch.equal(original, copy) and torch.equal(first, again)
    assert not torch.equal(first, other)
    changed = first != original
    assert changed.any() and (first[changed] == 0).all()


def test_mixed_recordings_and_targets_hold_the_same_shares():
    spectrograms = torch.eye(6)[:, None, None] * torch.ones(1, 1, 3, 1)
    targets = torch.tensor([0.0, 1, 0, 1, 0.25, 0.75])
    for seed in range(20):
        mixed, mixed_targets = mixup(spectrograms, targets, 0.4, np.random.default_rng(seed))
        shares = mixed[:, 0, 0]  # Of whom each is made: recording k is 1 in frame k alone.
        torch.testing.assert_close(shares.sum(dim=1), torch.ones(6))
        assert ((shares > 0).sum(dim=1) <= 2).all()
        torch.testing.assert_close(mixed_targets, shares @ targets)


def test_how_much_is_mixed_follows_the_beta_distribution():
    pair, targets = torch.zeros(2, 1, 1, 1), torch.tensor([0.0, 1.0])
    drawn = [mixup(pair, targets, 0.4, np.random.default_rng(s))[1][1].item() for s in range(600)]
    shares = np.array([t for t in drawn if t != 1])  # Where it is not mixed with itself.
    assert kstest(shares, beta(0.4, 0.4).cdf).pvalue > 1e-3
