"""Beats found in the sound are those that made it."""

import numpy as np
import pytest

from hsutils.audio import beats
from hsutils.audio.beats import RATE, STEP, find_beats
from hsutils.audio.heart_simulator import Beats, Patient, draw_beats, draw_patient, murmur_sound, valve_sounds
from hsutils.audio.stethoscope import room_noise

SECONDS = 12.0
SAMPLES = round(SECONDS * RATE)


def heart(number: int, noise_db: float = 15.0) -> tuple[np.ndarray, Beats, Patient]:
    """A random patient's heart in a room, and when it beat; every other one is ill."""
    rng = np.random.default_rng([3, number])
    patient = draw_patient(number % 2, rng)
    made = draw_beats(patient, SECONDS, rng)
    sound = valve_sounds(patient, made, SAMPLES, rng) + murmur_sound(patient, made, SAMPLES, rng)
    room = room_noise(SAMPLES, patient.breaths, False, rng)
    return sound + sound.std() * 10 ** (-noise_db / 20) * room, made, patient


@pytest.mark.parametrize("number", range(24))
def test_every_first_sound_is_found_and_no_second_is_taken_for_one(number):
    waveform, made, _ = heart(number)
    found = find_beats(waveform)
    # Where a whole beat lies inside the recording.
    whole = made.onset[(made.onset > 0.3) & (made.onset < SECONDS - 1)]
    away = np.abs(whole[:, None] - found.onset).min(axis=1)
    second = whole + made.systole[np.isin(made.onset, whole)]
    assert away.max() < 0.06
    assert np.abs(second[:, None] - found.onset).min() > 0.06
    assert np.abs(second[:, None] - (found.onset + found.systole)).min(axis=1).max() < 0.08
    assert found.period == pytest.approx(np.diff(made.onset).mean(), rel=0.06)


def test_loudness_and_polarity_of_a_recording_do_not_matter():
    waveform, _, _ = heart(0)
    first, louder = find_beats(waveform), find_beats(-7 * waveform)
    assert np.array_equal(first.onset, louder.onset)
    assert np.array_equal(first.systole, louder.systole)


@pytest.mark.parametrize("waveform", [np.zeros(20_000), np.full(20_000, 0.3), np.ones(500)])
def test_silence_and_scraps_have_no_beats(waveform):
    found = find_beats(waveform)
    assert len(found.onset) == len(found.systole) == 0
    assert np.isnan(found.period) and found.regularity == 0


def test_a_knock_does_not_outshout_the_heart():
    waveform, made, _ = heart(5)
    waveform = waveform.copy()
    waveform[10_000:10_200] += 50 * waveform.std() * np.random.default_rng(0).standard_normal(200)
    onset = find_beats(waveform).onset
    whole = made.onset[(made.onset > 0.3) & (made.onset < SECONDS - 1)]
    assert np.median(np.abs(whole[:, None] - onset).min(axis=1)) < 0.06


def test_half_a_period_is_taken_where_it_repeats_as_well():
    lags = np.arange(400)
    correlation = np.cos(2 * np.pi * lags / 50) + 0.01 * (lags == 100)
    assert beats._period(correlation) == 50
    correlation[(lags > 40) & (lags < 60)] *= 0.5  # now it does not
    assert beats._period(correlation) == 100


def test_a_recording_with_beats_repeats_and_noise_does_not():
    noise = np.random.default_rng(0).standard_normal(SAMPLES)
    assert find_beats(heart(1)[0]).regularity > 0.4 > 0.2 > find_beats(noise).regularity


def test_the_autocorrelation_is_that_of_its_definition():
    values = np.random.default_rng(0).standard_normal(300)
    plain = [np.mean(values[: 300 - lag] * values[lag:]) for lag in range(300)]
    assert beats._autocorrelation(values) == pytest.approx(np.array(plain) / plain[0])


def test_the_best_chain_is_that_of_trying_step_by_step():
    score, period = np.random.default_rng(1).standard_normal(500), 40
    shortest, longest = (int(factor * period) for factor in beats.GAPS)
    best, before = score.copy(), {}
    for step in range(len(score)):
        for gap in range(shortest, longest + 1):
            if step >= gap:
                value = best[step - gap] - beats.TIGHTNESS * np.log(gap / period) ** 2
                if value > 0 and score[step] + value > best[step]:
                    best[step], before[step] = score[step] + value, step - gap
    step = max(range(len(score) - longest, len(score)), key=lambda s: best[s])
    chain = [step]
    while step in before:
        step = before[step]
        chain.append(step)
    assert beats._chain(score, period).tolist() == chain[::-1]


def test_the_envelope_follows_the_heart_sounds_in_steps_of_ten_milliseconds():
    waveform, made, _ = heart(2, noise_db=30.0)
    loudness = beats.envelope(waveform)
    assert len(loudness) == SAMPLES // STEP
    assert loudness.mean() == pytest.approx(0, abs=1e-9) and loudness.std() == pytest.approx(1)
    inside = (made.onset > 0) & (made.onset < SECONDS - 1.5)
    onset, systole, diastole = (x[inside] for x in (made.onset, made.systole, made.diastole))
    first, quiet = (
        np.interp(times * RATE / STEP, np.arange(len(loudness)), loudness)
        for times in (onset + 0.02, onset + systole + 0.6 * diastole)
    )
    assert first.min() > quiet.max()
