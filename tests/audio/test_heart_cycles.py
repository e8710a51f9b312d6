"""Sixty numbers of a heart: what moves them is the heart, not the device."""

import dataclasses

import numpy as np
import pytest
from scipy.signal import lfilter
from test_beats import SAMPLES, SECONDS, heart

from hsutils.audio import heart_cycles as cycles
from hsutils.audio.heart_simulator import LESIONS, draw_beats, draw_patient, murmur_sound, valve_sounds
from hsutils.audio.heart_cycles import BANDS, NAMES, PHASES, mean_cycle, numbers_of, sixty_numbers


def with_lesion(lesion: str) -> np.ndarray:
    """One patient's mean cycle, in decibels, with this lesion at grade 3."""
    rng = np.random.default_rng(5)
    patient = dataclasses.replace(draw_patient(0, rng), lesion=lesion, grade=3)
    patient = dataclasses.replace(patient, grade=3 if LESIONS[lesion].murmur else 0)
    made = draw_beats(patient, SECONDS, rng)
    sound = valve_sounds(patient, made, SAMPLES, np.random.default_rng(6))
    sound += murmur_sound(patient, made, SAMPLES, np.random.default_rng(7))
    sound += 1e-3 * np.random.default_rng(8).standard_normal(SAMPLES)
    return 10 * mean_cycle(sound)[0]


@pytest.mark.parametrize(
    ("lesion", "loud"),
    [
        ("mitral_regurgitation", ["early systole", "late systole"]),
        ("mitral_prolapse", ["late systole"]),
        ("aortic_regurgitation", ["early diastole"]),
    ],
)
def test_a_murmur_is_where_it_belongs(lesion, loud):
    gain = (with_lesion(lesion) - with_lesion("none"))[:, 3:].mean(axis=1)
    gain = dict(zip(PHASES, gain, strict=True))
    others = {"early systole", "late systole", "mid diastole", "late diastole"} - set(loud)
    assert min(gain[phase] for phase in loud) > 5 + max(gain[phase] for phase in others)


def test_heart_sounds_are_louder_than_what_is_between_them():
    page = mean_cycle(heart(0, noise_db=25.0)[0])[0].mean(axis=1)
    sounds = page[[PHASES.index("S1"), PHASES.index("S2")]]
    assert sounds.min() > np.delete(page, [0, 3]).max()


def test_a_device_that_filters_and_amplifies_changes_little():
    waveform = 0.05 * heart(0)[0]
    duller = 3 * lfilter([0.4, 0.35, 0.25], [1.0], waveform)
    first, second = (10 * mean_cycle(w)[0] for w in (waveform, duller))
    assert np.abs(second - first).mean() < 1.0 < 2.5 < np.abs(first).mean()


def test_phases_follow_one_another_from_beat_to_beat():
    rhythm = mean_cycle(heart(3)[0])[1]
    edges = cycles._edges(rhythm)
    assert edges.shape == (len(rhythm.onset) - 1, len(PHASES) + 1)
    assert (np.diff(edges, axis=1) > 0).all()
    assert edges[1:, 0] == pytest.approx(edges[:-1, -1])


def test_a_knock_in_one_beat_changes_nothing_but_that_beat():
    waveform = heart(3)[0]
    knocked = waveform.copy()
    knocked[9_000:9_400] += 0.3 * waveform.max() * np.random.default_rng(0).standard_normal(400)
    before, after = (10 * mean_cycle(w)[0] for w in (waveform, knocked))
    assert np.abs(after - before).max() < 1.0


def test_the_end_of_a_recording_does_not_scatter_systole():
    waveform, made, _ = heart(0)
    cut = round((made.onset[6] + 0.1) * 2000)  # inside systole
    whole, short = (
        sixty_numbers(w)[NAMES.index("scatter of systole")] for w in (waveform, waveform[:cut])
    )
    assert short < 1.5 * whole


def test_the_rhythm_is_that_of_the_beats():
    waveform, made, patient = heart(4)
    period, share, scatter, _ = sixty_numbers(waveform)[-4:]
    gaps = np.diff(made.onset)
    assert period == pytest.approx(60 / patient.rate, rel=0.06)
    assert share == pytest.approx(made.systole.mean() / gaps.mean(), abs=0.05)
    assert scatter == pytest.approx(gaps.std() / gaps.mean(), abs=0.02)


def test_there_are_sixty_and_none_without_beats():
    assert len(NAMES) == len(set(NAMES)) == len(PHASES) * BANDS + 4 == 60
    assert np.isnan(sixty_numbers(np.zeros(9_000))).all()
    assert np.isfinite(sixty_numbers(heart(0)[0])).all()


def test_numbers_are_computed_once_and_again_for_other_samples(noise_recordings, monkeypatch):
    few, heard = noise_recordings.head(3), []

    def lengths(waveform: np.ndarray) -> np.ndarray:
        heard.append(len(waveform))
        return np.full(60, len(waveform))

    monkeypatch.setattr(cycles, "sixty_numbers", lengths)
    samples = (few.seconds * few.sample_rate).round()
    assert numbers_of(few)[:, 7].tolist() == samples.tolist()  # in the order of the table
    assert numbers_of(few).shape == (3, 60) and len(heard) == 3
    numbers_of(few.assign(digest="other"))
    assert len(heard) == 6
    monkeypatch.setattr(cycles, "VERSION", cycles.VERSION + 1)
    numbers_of(few)
    assert len(heard) == 9
