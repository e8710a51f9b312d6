"""Other sensors change what a device changes, by as much as they say, and leave the beat."""

import numpy as np
import pytest
import scipy.signal

from hsutils.audio.devices import (
    EQUALIZER_HZ,
    add_noise,
    another_sensor,
    equalize,
    quantize,
    reverberate,
)
from hsutils.audio.wav import SAMPLE_RATE


def chance(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def beats() -> np.ndarray:
    """20 s of thuds of noise, 75 a minute."""
    time = np.arange(20 * SAMPLE_RATE) / SAMPLE_RATE
    return 0.1 * chance(9).standard_normal(len(time)) * np.exp(-20 * (time % 0.8))


def rhythm(waveform: np.ndarray) -> float:
    """Seconds between beats, by the autocorrelation of the envelope."""
    envelope = np.abs(waveform).reshape(-1, 20).mean(axis=1)
    envelope = envelope - envelope.mean()
    correlation = np.correlate(envelope, envelope, "full")[len(envelope) :]
    return (30 + np.argmax(correlation[30:150]) + 1) * 20 / SAMPLE_RATE


@pytest.mark.parametrize("seed", range(12))
def test_the_rhythm_stays_and_the_peak_is_full_scale(beats, seed):
    found = another_sensor(beats, chance(seed))
    assert found.shape == beats.shape and np.isfinite(found).all()
    assert np.abs(found).max() == pytest.approx(1, abs=2**-5)
    assert rhythm(found) == pytest.approx(0.8, abs=0.02)


def test_every_drawing_is_another_and_repeats_with_its_seed(beats):
    first, again, other = (another_sensor(beats, chance(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_loudness_and_sign_of_storage_leave_no_trace(beats):
    soft, loud = (another_sensor(gain * beats, chance(3)) for gain in (0.01, 1.0))
    assert soft == pytest.approx(loud, abs=2**-5)


def test_silence_stays_silent():
    assert not another_sensor(np.zeros(500), chance()).any()


def test_an_equalizer_without_deviation_changes_nothing(beats):
    assert equalize(beats, 0.0, chance()) == pytest.approx(beats, abs=1e-3)


def test_the_response_deviates_as_asked():
    click = np.zeros(4096)
    click[2048] = 1
    levels = []
    for seed in range(60):
        hz, response = scipy.signal.freqz(equalize(click, 6.0, chance(seed)), worN=4096, fs=2000)
        at = np.searchsorted(hz, EQUALIZER_HZ[3:-1])
        levels.append(20 * np.log10(np.abs(response[at])))
    assert np.std(levels) == pytest.approx(6, rel=0.25)


@pytest.mark.parametrize("level", [-20.0, -6.0])
def test_echoes_have_the_power_asked_for_and_die_away(level):
    click = np.zeros(1000)
    click[0] = 1
    found = reverberate(click, 0.1, level, chance())
    assert found[0] == 1
    assert 10 * np.log10(np.sum(found[1:] ** 2)) == pytest.approx(level, abs=0.01)
    assert np.abs(found[200:]).max() < 1e-2 * np.abs(found[1:40]).max()


@pytest.mark.parametrize("snr", [0.0, 20.0])
def test_noise_is_as_far_below_as_asked(beats, snr):
    noise = add_noise(beats, snr, chance()) - beats
    assert 20 * np.log10(beats.std() / noise.std()) == pytest.approx(snr, abs=0.5)


def test_steps_are_those_of_the_bits():
    found = quantize(np.linspace(-1, 1, 1001), 4)
    assert set(found * 8) == set(range(-8, 9))
