"""SpecAugment masks the recording and never the padding; pairs depend on seed, epoch, record."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import beta, kstest
from torch.utils.data import DataLoader

from hsutils.training.datasets import Labeled, ViewPairs, Views, WaveformViews, mixup, spec_augment
from hsutils.settings import Augment
from hsutils.audio.spectrograms import Occupied, padding_value

SHAPE = (1, 50, 300)
OCCUPIED = Occupied(rows=(3, 43), frames=(100, 200))


def masked(seed: int, settings: Augment = Augment(), occupied: Occupied = OCCUPIED) -> np.ndarray:  # noqa: B008
    """Where an all-ones spectrogram was masked, shape (mels, frames)."""
    ones = torch.ones(SHAPE)
    return (spec_augment(ones, occupied, settings, np.random.default_rng(seed)) == 0)[0].numpy()


def inside(mask: np.ndarray, occupied: Occupied = OCCUPIED) -> np.ndarray:
    return mask[slice(*occupied.rows), slice(*occupied.frames)]


def runs(line: np.ndarray) -> int:
    """Separate masked stretches in a line."""
    return int((np.diff(np.r_[0, line.astype(int)]) == 1).sum())


@pytest.fixture
def pairs(noise_cache) -> ViewPairs:
    return ViewPairs(noise_cache, np.arange(10), Augment(), seed=0)


# One spectrogram


@pytest.mark.parametrize("seed", range(50))
def test_padding_is_never_masked(seed):
    mask = masked(seed)
    inside(mask)[:] = False
    assert not mask.any()


@pytest.mark.parametrize("seed", range(50))
@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_masks_of_one_kind_cover_at_most_their_share(seed, share):
    bands = inside(masked(seed, Augment(time_masks=0, masked_share=share))).all(axis=1)
    frames = inside(masked(seed, Augment(frequency_masks=0, masked_share=share))).all(axis=0)
    assert bands.mean() <= share
    assert frames.mean() <= share


def test_masks_are_whole_bands_and_whole_frames_of_the_recording():
    for seed in range(50):
        mask = inside(masked(seed))
        bands, frames = mask.all(axis=1), mask.all(axis=0)
        np.testing.assert_array_equal(mask, bands[:, None] | frames)


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_there_are_as_many_masks_as_asked_for(count):
    settings = Augment(frequency_masks=0, time_masks=count)
    found = [runs(inside(masked(seed, settings)).any(axis=0)) for seed in range(200)]
    assert max(found) == count
    settings = Augment(frequency_masks=count, time_masks=0)
    found = [runs(inside(masked(seed, settings)).any(axis=1)) for seed in range(200)]
    assert max(found) == count


def test_every_frame_and_band_may_be_masked_and_widths_run_from_nothing_to_the_widest():
    masks = [inside(masked(seed, Augment(0, 1, masked_share=0.2))) for seed in range(3000)]
    assert np.any(masks, axis=0).all()
    assert {int(mask.any(axis=0).sum()) for mask in masks} == set(range(21))


def test_masks_hold_zero_and_all_else_is_untouched():
    original = torch.randn(SHAPE)
    copy = original.clone()
    result = spec_augment(original, OCCUPIED, Augment(), np.random.default_rng(0))
    assert torch.equal(original, copy)
    changed = result != original
    assert changed.any() and (result[changed] == 0).all()


@pytest.mark.parametrize("occupied", [Occupied((5, 6), (10, 11)), Occupied((0, 50), (0, 300))])
def test_the_smallest_and_the_largest_region_can_be_masked(occupied):
    for seed in range(20):
        mask = masked(seed, occupied=occupied)
        inside(mask, occupied)[:] = False
        assert not mask.any()


def test_masks_repeat_by_seed():
    np.testing.assert_array_equal(masked(1), masked(1))
    assert not np.array_equal(masked(1), masked(2))


# Positive pairs


def test_the_first_view_is_the_recording_and_the_second_is_masked(pairs, noise_cache):
    assert len(pairs) == 10
    for index in range(10):
        first, second = pairs[index]
        assert torch.equal(first, noise_cache.batch([index])[0])
        changed = second != first
        assert changed.any() and (second[changed] == 0).all()


def test_both_views_are_masked_differently_when_asked_for(noise_cache):
    pairs = ViewPairs(noise_cache, np.arange(10), Augment(both_views=True), seed=0)
    for index in range(10):
        first, second = pairs[index]
        original = noise_cache.batch([index])[0]
        assert not torch.equal(first, original) and not torch.equal(second, original)
        assert not torch.equal(first, second)


def test_masks_stay_inside_the_recording(pairs, noise_cache):
    for index in range(10):
        first, second = pairs[index]
        start, stop = noise_cache.occupied(index).frames
        assert torch.equal(first[..., :start], second[..., :start])
        assert torch.equal(first[..., stop:], second[..., stop:])


def test_masks_differ_between_records_epochs_and_seeds(noise_cache):
    settings = Augment(time_masks=0, masked_share=1.0)

    def bands(row, epoch, seed):
        pairs = ViewPairs(noise_cache, np.array([row]), settings, seed)
        pairs.epoch = epoch
        first, second = pairs[0]
        return tuple((first != second)[0].any(dim=1).tolist())

    keys = [(row, epoch, seed) for row in range(4) for epoch in (1, 2, 3) for seed in (0, 1)]
    found = [bands(*key) for key in keys]
    assert len(set(found)) >= len(keys) - 3, "equal by chance is rare"
    assert found == [bands(*key) for key in keys]


def test_a_records_masks_do_not_depend_on_its_neighbors(noise_cache, pairs):
    alone = ViewPairs(noise_cache, np.array([7]), Augment(), seed=0)
    assert torch.equal(alone[0][1], pairs[7][1])


def test_pairs_are_the_same_with_any_number_of_workers(pairs):
    pairs.epoch = 3
    batches = [
        torch.stack([torch.stack(b) for b in DataLoader(pairs, 5, num_workers=workers)])
        for workers in (0, 2)
    ]
    assert torch.equal(*batches)


# Examples with targets


def test_examples_are_spectrograms_with_their_targets(noise_cache):
    rows, targets = np.array([4, 1, 9]), [0.25, 1, 0]
    examples = Labeled(noise_cache, rows, targets)
    assert len(examples) == 3
    for index, (row, target) in enumerate(zip(rows, targets, strict=True)):
        spectrogram, found = examples[index]
        assert torch.equal(spectrogram, noise_cache.batch([row])[0])
        assert found.dtype == torch.float32 and found.item() == target


def test_no_masks_means_an_unchanged_second_view(noise_cache):
    settings = replace(Augment(), frequency_masks=0, time_masks=0)
    first, second = ViewPairs(noise_cache, np.arange(3), settings, seed=0)[0]
    assert torch.equal(first, second)


# Views of examples, beyond the paper


def view(row: int, cache, epoch: int = 1, **settings) -> torch.Tensor:
    examples = Labeled(cache, np.arange(40), np.zeros(40), views=Views(**settings))
    examples.epoch = epoch
    return examples[row][0]


def test_a_crop_is_a_stretch_of_the_recording(noise_cache):
    for row in range(12):
        start, stop = noise_cache.occupied(row).frames
        inside = noise_cache.batch([row])[0][..., start:stop]
        crop = view(row, noise_cache, crop=20)
        assert crop.shape == (1, 24, 20)
        places = range(stop - start - 19)
        assert any(torch.equal(crop, inside[..., at : at + 20]) for at in places)


def test_a_shorter_recording_is_repeated_to_fill_the_crop(noise_cache):
    start, stop = noise_cache.occupied(3).frames
    inside = noise_cache.batch([3])[0][..., start:stop]
    crop = view(3, noise_cache, crop=2 * (stop - start) + 5)
    assert torch.equal(crop, torch.cat([inside, inside, inside[..., :5]], dim=2))


def test_masks_leave_the_ends_of_a_crop_alone(noise_cache):
    masks = Augment(frequency_masks=0, time_masks=5, masked_share=0.9)
    for epoch in range(1, 60):
        plain = view(5, noise_cache, epoch, crop=20)
        masked = view(5, noise_cache, epoch, crop=20, masks=masks)
        assert masked.shape == plain.shape
        assert torch.equal(masked[..., [0, -1]], plain[..., [0, -1]])


def test_crops_differ_between_epochs_and_repeat_with_the_seed(noise_cache):
    row = int(np.argmax([np.diff(noise_cache.occupied(r).frames)[0] for r in range(40)]))
    crops = [view(row, noise_cache, epoch, crop=12) for epoch in range(1, 9)]
    assert any(not torch.equal(crops[0], other) for other in crops[1:])
    assert torch.equal(crops[4], view(row, noise_cache, 5, crop=12))


def test_masks_lie_on_the_crop(noise_cache):
    masked = view(5, noise_cache, crop=30, masks=Augment(masked_share=1.0))
    plain = view(5, noise_cache, crop=30)
    changed = masked != plain
    assert changed.any() and not masked[changed].any()


def test_without_settings_all_is_shown(noise_cache):
    assert torch.equal(view(5, noise_cache), noise_cache.batch([5])[0])


# Views made from the waveform


@pytest.fixture
def paths(noise_recordings, noise_cache) -> list[str]:
    return noise_recordings.set_index("record").path.loc[noise_cache.index.index].tolist()


def test_an_untouched_waveform_gives_the_cached_spectrogram(paths, noise_cache):
    for row in (0, 7, 31):
        found = WaveformViews(paths).of(noise_cache, row, epoch=1)
        expected = noise_cache.batch([row])[0]
        assert (found - expected).abs().max() < 1e-3 / noise_cache.front_end.scale


def test_a_stretch_fills_as_many_frames_as_it_lasts(paths, noise_cache):
    found = WaveformViews(paths, seconds=0.5).of(noise_cache, 4, epoch=1)
    front_end = replace(noise_cache.front_end, clip_seconds=0.5)
    assert found.shape == front_end.shape
    occupied = (found - padding_value(front_end)).abs().amax(dim=(0, 1)) > 1e-3
    assert occupied.all()
    whole = WaveformViews(paths).of(noise_cache, 4, epoch=1)
    assert whole.shape == noise_cache.shape


def test_views_differ_by_number_and_epoch_and_repeat(paths, noise_cache):
    views = WaveformViews(paths, seconds=0.5, sensor=True, masks=Augment(), seed=3)
    keys = [(1, 0), (1, 1), (2, 0), (2, 1)]
    found = [views.of(noise_cache, 9, *key) for key in keys]
    for key, view in zip(keys, found, strict=True):
        assert torch.equal(view, views.of(noise_cache, 9, *key))
        assert sum(torch.equal(view, other) for other in found) == 1


def test_another_sensor_changes_more_than_a_stretch(paths, noise_cache):
    plain, heard = (WaveformViews(paths, sensor=s).of(noise_cache, 5, 1) for s in (False, True))
    assert (plain - heard).abs().mean() > 0.1


def test_pairs_may_be_made_of_waveform_views(paths, noise_cache):
    views = WaveformViews(paths, seconds=0.4, seed=1)
    pairs = ViewPairs(noise_cache, np.array([3, 8]), Augment(), 1, views)
    pairs.epoch = 2
    first, second = pairs[1]
    assert torch.equal(first, views.of(noise_cache, 8, 2, 0))
    assert torch.equal(second, views.of(noise_cache, 8, 2, 1))
    assert not torch.equal(first, second)


def test_mixed_recordings_and_targets_hold_the_same_shares():
    spectrograms = torch.eye(6)[:, None, None] * torch.ones(1, 1, 3, 1)
    targets = torch.tensor([0.0, 1, 0, 1, 0.25, 0.75])
    for seed in range(20):
        mixed, told = mixup(spectrograms, targets, 0.4, np.random.default_rng(seed))
        shares = mixed[:, 0, 0]  # Of whom each is made: recording k is 1 in frame k alone.
        torch.testing.assert_close(shares.sum(dim=1), torch.ones(6))
        assert ((shares > 0).sum(dim=1) <= 2).all()
        torch.testing.assert_close(told, shares @ targets)


def test_how_much_is_mixed_follows_the_beta_distribution():
    pair, targets = torch.zeros(2, 1, 1, 1), torch.tensor([0.0, 1.0])
    told = [mixup(pair, targets, 0.4, np.random.default_rng(s))[1][1].item() for s in range(3000)]
    shares = np.array([t for t in told if t != 1])  # Where it is not mixed with itself.
    assert kstest(shares, beta(0.4, 0.4).cdf).pvalue > 1e-3
