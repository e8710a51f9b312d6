"""Artificial hearts: the label is in the heart, and nowhere else."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from hsutils.data import artificial as art
from hsutils.data.artificial import any_stethoscope, artificial, write_artificial
from hsutils.training.datasets import Labeled, Together, Views
from hsutils.audio.heart_simulator import FINDINGS, LESIONS
from hsutils.settings import Artificial
from hsutils.evaluation.shortcuts import format_facts
from hsutils.audio.wav import read_samples


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> Artificial:
    return Artificial(recordings=160, seconds=3.0, seed=4, folder=str(tmp_path_factory.mktemp("z")))


@pytest.fixture(scope="module")
def recordings(settings):
    return write_artificial(settings)


def test_half_of_them_are_abnormal_and_only_those_have_a_lesion_of_the_sick(recordings):
    assert recordings.label.tolist() == [0, 1] * 80
    for label, part in recordings.groupby("label"):
        assert set(part.lesion) <= set(FINDINGS[label])
        murmurs = part.lesion.map(lambda lesion: LESIONS[lesion].murmur is not None)
        assert ((part.murmur_grade > 0) == murmurs).all()


def test_files_hold_what_the_table_says(recordings):
    for number in (0, 7, 159):
        row = recordings.iloc[number]
        samples, rate = read_samples(row.path)
        expected, _ = artificial(row.label, 3.0, [4, number])
        assert rate == row.sample_rate == 2000
        np.testing.assert_array_equal(samples[:, 0], expected)
    assert recordings.digest.is_unique


def test_they_are_written_once_and_again_where_settings_differ(settings, recordings, monkeypatch):
    monkeypatch.setattr(art, "_written", lambda *_: pytest.fail("written again"))
    assert write_artificial(settings).equals(recordings)
    monkeypatch.undo()
    other = write_artificial(Artificial(4, 3.0, 5, settings.folder))
    assert len(other) == 4 and not set(other.digest) & set(recordings.digest)


def test_an_interrupted_writing_is_begun_anew(tmp_path, monkeypatch):
    settings = Artificial(4, 2.0, 0, str(tmp_path))
    monkeypatch.setattr(art, "capture", _failing_at(3))
    with pytest.raises(InterruptedError):
        write_artificial(settings)
    monkeypatch.undo()
    assert len(write_artificial(settings)) == 4


def _failing_at(call: int):
    calls, capture = [], art.capture

    def failing(*arguments):
        calls.append(1)
        if len(calls) == call:
            raise InterruptedError
        return capture(*arguments)

    return failing


def test_the_file_does_not_betray_the_label(recordings):
    facts = format_facts(recordings)
    for name in ("levels", "peak", "clipped"):
        assert 0.35 < roc_auc_score(recordings.label, facts[name]) < 0.65, name


def test_noise_beside_the_valves_is_as_loud_for_both_labels(monkeypatch):
    heard = {0: [], 1: []}

    def noting(sound, device, rng):
        heard[label].append(sound)
        return np.zeros(len(sound), np.int16)

    monkeypatch.setattr(art, "capture", noting)
    monkeypatch.setattr(art, "RESENSED", 0.0)
    monkeypatch.setattr(art, "valve_sounds", lambda _, __, n, rng: rng.standard_normal(n))
    monkeypatch.setattr(art, "murmur_sound", lambda patient, _, n, __: np.full(n, 9.0))
    for number in range(60):
        label = number % 2
        artificial(label, 2.0, [0, number])
    spread = {label: np.log([sound.std() for sound in sounds]) for label, sounds in heard.items()}
    # A constant in place of the murmur leaves the deviation to valves and room alone.
    assert abs(spread[0].mean() - spread[1].mean()) < 0.2


def test_stethoscopes_differ_as_widely_as_they_may():
    drawn = [any_stethoscope(np.random.default_rng(seed)) for seed in range(300)]
    for values, ends in (
        ([s.low for s in drawn], art.LOW_HZ),
        ([s.high for s in drawn], art.HIGH_HZ),
        ([s.floor for s in drawn], art.FLOOR_DB),
        ([s.peak for s in drawn], art.PEAK),
    ):
        assert ends[0] <= min(values) < np.mean(values) < max(values) <= ends[1]
        assert max(values) - min(values) > 0.9 * (ends[1] - ends[0])
    assert {s.hum for s in drawn} == set(art.HUM_HZ)


def test_two_caches_are_heard_as_one(noise_cache):
    views = Views(crop=8)
    parts = [
        Labeled(noise_cache, np.arange(10), np.zeros(10), np.array(["a"] * 10), views),
        Labeled(noise_cache, np.arange(10, 14), np.ones(4), np.array(["z"] * 4), views),
    ]
    both = Together(parts)
    assert len(both) == 14 and both.strata.tolist() == ["a"] * 10 + ["z"] * 4
    assert [both[i][1].item() for i in range(14)] == [0] * 10 + [1] * 4
    first = both[12][0]
    both.epoch = 2
    assert first.shape == both[12][0].shape and not torch.equal(first, both[12][0])
    assert torch.equal(both[12][0], parts[1][2][0])
    again = [both[12, occurrence][0] for occurrence in range(6)]
    assert torch.equal(again[0], both[12][0])
    assert any(not torch.equal(again[0], other) for other in again[1:]), "a repeat is shown anew"
