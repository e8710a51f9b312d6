"""Pairs and crops depend on seed, epoch and recording alone; even draws are even."""

from collections import Counter

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from hsutils.audio.spectrograms import padding_value
from hsutils.config import Augment
from hsutils.training.datasets import EvenSampler, Labeled, ViewPairs

PLAIN = {"frequency_masks": 0, "time_masks": 0}


# Positive pairs


@pytest.mark.parametrize("both", [False, True])
def test_views_are_masked_inside_the_recording_and_the_first_where_asked_for(noise_cache, both):
    pairs = ViewPairs(noise_cache, np.arange(10), Augment(both_views=both), seed=0)
    assert len(pairs) == 10
    for index in range(10):
        original = noise_cache.batch([index])[0]
        start, stop = noise_cache.occupied(index).frames
        first, second = pairs[index]
        assert torch.equal(first, original) is not both
        assert not torch.equal(first, second)
        for view in pairs[index]:
            changed = view != original
            assert not view[changed].any() and not changed[..., :start].any()
            assert not changed[..., stop:].any()


def test_masks_differ_between_records_epochs_and_seeds(noise_cache):
    settings = Augment(time_masks=0, masked_share=1.0)

    def bands(row, epoch, seed):
        first, second = ViewPairs(noise_cache, np.array([row]), settings, seed, epoch=epoch)[0]
        return tuple((first != second)[0].any(dim=1).tolist())

    keys = [(row, epoch, seed) for row in range(4) for epoch in (1, 2, 3) for seed in (0, 1)]
    found = [bands(*key) for key in keys]
    assert len(set(found)) >= len(keys) - 3, "equal by chance is rare"
    assert found == [bands(*key) for key in keys]


def test_pairs_are_the_same_with_any_neighbors_and_any_number_of_workers(noise_cache):
    pairs = ViewPairs(noise_cache, np.arange(10), Augment(), seed=0, epoch=3)
    alone = ViewPairs(noise_cache, np.array([7]), Augment(), seed=0, epoch=3)
    assert torch.equal(alone[0][1], pairs[7][1])
    for batch, plain in zip(DataLoader(pairs, 5, num_workers=2), DataLoader(pairs, 5), strict=True):
        assert torch.equal(torch.stack(batch), torch.stack(plain))


# Examples with targets


def test_examples_are_spectrograms_with_their_targets(noise_cache):
    rows, targets = np.array([4, 1, 9]), [0.25, 1, 0]
    examples = Labeled(noise_cache, rows, targets)
    assert len(examples) == 3
    for index, (row, target) in enumerate(zip(rows, targets, strict=True)):
        spectrogram, found = examples[index]
        assert torch.equal(spectrogram, noise_cache.batch([row])[0])
        assert found.dtype == torch.float32 and found.item() == target


def test_recordings_of_another_cache_follow_and_share_the_epoch(noise_cache):
    def examples(rows, **settings) -> Labeled:
        return Labeled(noise_cache, rows, rows / 40, crop_frames=12, **settings)

    synthetic = examples(np.array([7, 8]))
    together = examples(np.array([5, 6]), more=synthetic, epoch=3)
    alone = examples(np.array([7, 8]), epoch=3)
    assert len(together) == 4
    for found, expected in zip(together[3, 1], alone[1, 1], strict=True):
        assert torch.equal(found, expected)


# Views of examples, beyond the paper


def view(row: int, cache, **settings) -> torch.Tensor:
    return Labeled(cache, np.arange(40), np.zeros(40), **settings)[row][0]


def test_a_crop_is_a_stretch_of_the_recording(noise_cache):
    for row in range(12):
        start, stop = noise_cache.occupied(row).frames
        inside = noise_cache.batch([row])[0][..., start:stop]
        crop = view(row, noise_cache, crop_frames=20)
        assert crop.shape == (1, 24, 20)
        places = range(stop - start - 19)
        assert any(torch.equal(crop, inside[..., at : at + 20]) for at in places)


def test_a_shorter_recording_is_repeated_to_fill_the_crop(noise_cache):
    start, stop = noise_cache.occupied(3).frames
    inside = noise_cache.batch([3])[0][..., start:stop]
    crop = view(3, noise_cache, crop_frames=2 * (stop - start) + 5)
    assert torch.equal(crop, torch.cat([inside, inside, inside[..., :5]], dim=2))


def test_masks_lie_on_the_crop_and_leave_its_ends_alone(noise_cache):
    for epoch in range(1, 60):
        crop = {"crop_frames": 20, "epoch": epoch}
        masks = Augment(frequency_masks=0, time_masks=5, masked_share=0.9)
        plain, masked = (view(5, noise_cache, **crop, masks=m) for m in (None, masks))
        assert torch.equal(masked[..., [0, -1]], plain[..., [0, -1]])
        changed = masked != plain
        assert changed.any() and not masked[changed].any()


def test_crops_differ_between_epochs_and_repeat_with_the_seed(noise_cache):
    row = int(np.argmax([np.diff(noise_cache.occupied(r).frames)[0] for r in range(40)]))
    crops = [view(row, noise_cache, epoch=epoch, crop_frames=12) for epoch in range(1, 9)]
    assert any(not torch.equal(crops[0], other) for other in crops[1:])
    assert torch.equal(crops[4], view(row, noise_cache, epoch=5, crop_frames=12))


def test_a_crop_of_another_tempo_holds_more_or_less_of_the_recording(noise_cache, monkeypatch):
    ramp = torch.arange(noise_cache.shape[2]).expand(1, *noise_cache.shape).float()
    monkeypatch.setattr(type(noise_cache), "batch", lambda *_: ramp)
    first, last = noise_cache.occupied(0).frames
    frames, tempos = (last - first) // 3, []
    for epoch in range(1, 200):
        crop, _ = Labeled(noise_cache, np.array([0]), [1.0], None, frames, 2.0, epoch=epoch)[0]
        steps = crop[0, 0, :-1].diff()  # the last frame may lie between the crop and its repetition
        assert steps.max() - steps.min() < 1e-3, "even"
        assert first <= crop.min() and crop.max() < last
        tempos.append(float(steps.mean()))
    changed = [tempo for tempo in tempos if tempo != 1]
    assert 0.55 < len(changed) / len(tempos) < 0.85
    assert min(changed) == pytest.approx(0.85, abs=0.05)
    assert max(changed) == pytest.approx(2, abs=0.1)
    assert np.mean(np.array(changed) > np.sqrt(0.85 * 2)) == pytest.approx(0.5, abs=0.15)


# Views made from the waveform


@pytest.fixture
def paths(noise_recordings, noise_cache) -> list[str]:
    return noise_recordings.set_index("record").path.loc[noise_cache.index.index].tolist()


def stretches(paths, cache, rows=(9,), seed=3, **settings) -> ViewPairs:
    settings = {"pair": "crops", "crop_seconds": 0.5} | settings
    return ViewPairs(cache, np.array(rows), Augment(**settings), seed, paths)


def test_a_stretch_as_long_as_the_clip_is_the_cached_spectrogram(paths, noise_cache):
    whole = stretches(paths, noise_cache, (0, 7, 31), crop_seconds=1.5, **PLAIN)
    short = [i for i, row in enumerate(whole.rows) if noise_cache.occupied(row).frames[0] > 0]
    assert short
    for index in short:
        found = whole[index][0]
        expected = noise_cache.batch([whole.rows[index]])[0]
        assert (found - expected).abs().max() < 1e-3 / noise_cache.front_end.scale


def test_a_stretch_fills_as_many_frames_as_it_lasts(paths, noise_cache):
    found = stretches(paths, noise_cache, (4,), **PLAIN)[0][0]
    front_end = noise_cache.front_end.model_copy(update={"clip_seconds": 0.5})
    assert found.shape == front_end.shape
    assert ((found - padding_value(front_end)).abs().amax(dim=(0, 1)) > 1e-3).all()


def test_stretches_differ_by_view_and_epoch_and_repeat(paths, noise_cache):
    pairs, found = stretches(paths, noise_cache, simulate_devices=True), []
    for epoch in (1, 2):
        pairs.epoch = epoch
        found += pairs[0]
        assert all(torch.equal(a, b) for a, b in zip(found[-2:], pairs[0], strict=True))
    assert [sum(torch.equal(a, b) for b in found) for a in found] == [1] * 4


def test_a_simulated_device_changes_more_than_a_stretch(paths, noise_cache):
    settings = {"pair": "masked", **PLAIN}
    simulated = stretches(paths, noise_cache, (5,), simulate_devices=True, **settings)[0][0]
    assert (simulated - noise_cache.batch([5])[0]).abs().mean() > 0.1


# Even draws

STRATA = np.repeat(["a0", "a1", "b0", "b1"], [60, 3, 25, 12])


def places(epoch: int = 0, seed: int = 0, replicas: int = 1, rank: int = 0) -> list[tuple]:
    examples = Labeled(None, np.arange(len(STRATA)), np.zeros(len(STRATA)), STRATA)
    sampler = EvenSampler(examples, replicas, rank, seed=seed)
    sampler.set_epoch(epoch)
    drawn = list(sampler)
    assert len(drawn) == len(sampler)
    return drawn


def order(*arguments: int, **which: int) -> list[int]:
    return [index for index, _ in places(*arguments, **which)]


def one_of_each(drawn: list[int]) -> bool:
    """Whether each stretch of four places holds the four strata."""
    rounds = STRATA[drawn][: len(STRATA) // 4 * 4].reshape(-1, 4)
    return all(len(set(taken)) == 4 for taken in rounds)


def test_a_place_says_how_often_its_recording_came_before():
    seen = Counter()
    for index, occurrence in places():
        assert occurrence == seen[index]
        seen[index] += 1
    assert max(seen.values()) > 5


def test_every_round_holds_every_stratum_once_in_an_order_of_its_own():
    assert len(order()) == len(STRATA) and one_of_each(order())
    assert len({tuple(taken) for taken in STRATA[order()].reshape(-1, 4)}) > 10


def test_members_come_as_often_as_one_another():
    counts = Counter(order())
    small = [counts[i] for i in np.flatnonzero(STRATA == "a1")]
    assert sorted(small) == [8, 8, 9]
    large = [counts[i] for i in np.flatnonzero(STRATA == "a0")]
    assert max(large) == 1 and sum(large) == 25


def test_over_epochs_every_recording_is_shown():
    assert {i for epoch in range(12) for i in order(epoch)} == set(range(len(STRATA)))


def test_the_order_is_that_of_seed_and_epoch():
    assert order(3, 1) == order(3, 1)
    assert order(3, 1) != order(4, 1) != order(4, 2)


@pytest.mark.parametrize("replicas", [2, 3])
def test_processes_share_an_epoch(replicas):
    shares = [order(replicas=replicas, rank=rank) for rank in range(replicas)]
    assert {len(share) for share in shares} == {-(-len(STRATA) // replicas)}
    assert one_of_each([shares[i % replicas][i // replicas] for i in range(len(STRATA))])
