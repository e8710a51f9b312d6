"""Simulated devices change what a device changes, by as much as they say, and leave the beat."""

import numpy as np
import pytest
from numpy.random import default_rng
from scipy.signal import freqz, hilbert, periodogram, welch

from hsutils.audio import devices
from hsutils.audio.devices import PERTURBATIONS, Stethoscope, simulate_device
from hsutils.config import RECORDED_RATE as RATE

NOISES = ("white noise", "speech-like noise")
HUMS = {"hum 50 Hz": 50, "hum 60 Hz": 60}


def decibels(ratio: float) -> float:
    return 10 * np.log10(ratio)


@pytest.fixture(scope="module")
def beats() -> np.ndarray:
    """20 s of soft thuds of noise in steps of 16 bits, 75 a minute."""
    time = np.arange(20 * RATE) / RATE
    waveform = default_rng(9).standard_normal(len(time)) * np.exp(-10 * (time % 0.8))
    waveform *= 0.05 / np.abs(waveform).max()
    return (np.round(waveform * 32_768) / 32_768).astype(np.float32)


# Synthetic recordings


def test_room_noise_has_unit_rms():
    for noisy in (False, True):
        assert devices.room_noise(20 * RATE, 15.0, noisy, default_rng(0)).std() == pytest.approx(1)


def test_a_stethoscope_clips_and_stores_in_steps():
    device = Stethoscope(low=20, high=200, floor=-40, hum=0, peak=2.0, step=64)
    stored = devices.capture(default_rng(0).standard_normal(4 * RATE), device, default_rng(0))
    clipped = stored == stored.max()
    assert stored.dtype == np.int16 and 0.001 < clipped.mean() < 0.2
    assert not (stored[~clipped & (stored > stored.min())] % 64).any()


@pytest.mark.parametrize("hum", [0, 60])
def test_a_stethoscope_hums_only_where_it_has_mains(hum):
    sound = default_rng(1).standard_normal(60 * RATE)
    stored = devices.capture(sound, Stethoscope(10, 300, 0, hum, 0.5), default_rng(0))
    power = welch(stored, RATE, nperseg=RATE)[1]
    assert power[60] > 10 * power[50] if hum else power[60] < 2 * power[50]


# Training views


def rhythm(waveform: np.ndarray) -> float:
    """Seconds between beats, by the autocorrelation of the envelope."""
    envelope = np.abs(waveform).reshape(-1, 20).mean(axis=1)
    envelope = envelope - envelope.mean()
    correlation = np.correlate(envelope, envelope, "full")[len(envelope) :]
    return (30 + np.argmax(correlation[30:150]) + 1) * 20 / RATE


@pytest.mark.parametrize("seed", range(6))
def test_the_rhythm_stays_and_the_peak_is_full_scale(beats, seed):
    found = simulate_device(beats, default_rng(seed))
    assert found.shape == beats.shape and np.isfinite(found).all()
    assert np.abs(found).max() == pytest.approx(1, abs=2**-5)
    assert rhythm(found) == pytest.approx(0.8, abs=0.02)
    assert np.array_equal(found, simulate_device(beats, default_rng(seed)))
    assert not np.array_equal(found, simulate_device(beats, default_rng(seed + 1)))


def test_the_loudness_of_the_recording_leaves_no_trace(beats):
    soft, loud = (simulate_device(gain * beats, default_rng(3)) for gain in (0.01, 1.0))
    np.testing.assert_allclose(soft, loud, atol=2**-5)
    assert not simulate_device(np.zeros(500), default_rng(0)).any()


def test_an_equalizers_response_deviates_as_asked(beats):
    flat = devices.equalize(beats, 0.0, default_rng(0))
    np.testing.assert_allclose(flat, beats, atol=1e-3)
    click, levels = np.eye(1, 4096, 2048)[0], []
    for seed in range(20):
        hz, response = freqz(devices.equalize(click, 6.0, default_rng(seed)), worN=4096, fs=RATE)
        at = np.searchsorted(hz, devices.EQUALIZER_HZ[3:-1])
        levels.append(20 * np.log10(np.abs(response[at])))
    assert np.std(levels) == pytest.approx(6, rel=0.25)


@pytest.mark.parametrize("level", [-20.0, -6.0])
def test_echoes_have_the_power_asked_for_and_die_away(level):
    click = np.eye(1, 1000)[0]
    found = devices.reverberate(click, 0.1, level, default_rng(0))
    assert found[0] == 1
    assert decibels(np.sum(found[1:] ** 2)) == pytest.approx(level, abs=0.01)
    assert np.abs(found[200:]).max() < 1e-2 * np.abs(found[1:40]).max()


@pytest.mark.parametrize("snr", [0.0, 20.0])
def test_noise_is_as_far_below_as_asked(beats, snr):
    noise = devices.add_noise(beats, snr, default_rng(0)) - beats
    assert decibels(beats.var() / noise.var()) == pytest.approx(snr, abs=0.5)


def test_steps_are_those_of_the_bits():
    assert set(devices.quantize(np.linspace(-1, 1, 1001), 4) * 8) == set(range(-8, 9))


# Worsened recordings


def worse(name: str, waveform: np.ndarray, level: float, seed: int = 0) -> np.ndarray:
    return PERTURBATIONS[name].apply(waveform, level, default_rng(seed))


@pytest.mark.parametrize("name", [*NOISES, *HUMS])
def test_what_is_added_is_as_loud_as_asked_and_follows_the_seed(beats, name):
    sign = -1 if name in NOISES else 1
    for level in PERTURBATIONS[name].levels:
        added = worse(name, beats, level) - beats
        assert decibels(added.var() / beats.var()) == pytest.approx(sign * level, abs=0.1)
    first, again, other = (worse(name, beats, 10, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.5


@pytest.mark.parametrize("name", [*NOISES, *HUMS])
def test_a_loud_recording_is_turned_down_not_clipped(beats, name):
    level = 10.0 if name in HUMS else -10.0
    soft, loud = (worse(name, gain * beats, level) for gain in (1, 20))
    assert np.abs(soft).max() < 0.5 and np.abs(loud).max() == pytest.approx(1, abs=1e-4)
    assert np.corrcoef(soft, loud)[0, 1] > 0.99999


def test_white_noise_is_as_strong_everywhere(beats):
    _, density = welch(worse("white noise", beats, 10) - beats, RATE, nperseg=128)
    assert np.ptp(decibels(density[1:-1])) < 2


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    return devices.speech_noise(default_rng(0), 200 * RATE)


def test_speech_noise_has_the_average_talkers_third_octaves(speech):
    hz, density = welch(speech, RATE, nperseg=8192)
    centers = np.array(devices.SPEECH_HZ[:-1])  # half the band at 1 kHz lies beyond the recording
    bands = (centers * 2 ** (-1 / 6), centers * 2 ** (1 / 6))
    inside = [(hz >= low) & (hz < high) for low, high in zip(*bands, strict=True)]
    off = decibels(np.array([density[band].sum() for band in inside])) - devices.SPEECH_DB[:-1]
    # The two lowest are 20 dB softer, and the slope between them is steep.
    assert np.abs(off - np.median(off))[2:].max() < 1 and np.ptp(off) < 2.5
    assert density[hz < 50].sum() < 1e-4 * density.sum()


def test_speech_noise_swells_four_times_a_second_and_never_stops(speech):
    hz, modulation = welch(np.abs(hilbert(speech)), RATE, nperseg=4 * RATE)
    assert 3 <= hz[np.argmax(modulation)] <= 5
    syllables, faster = (hz >= 3) & (hz <= 5), (hz >= 10) & (hz <= 12)
    assert modulation[syllables].sum() > 10 * modulation[faster].sum()
    loudness = speech.reshape(-1, RATE // 2).std(axis=1)
    assert loudness.min() > loudness.max() / 8


@pytest.mark.parametrize("name", HUMS)
def test_hum_is_lines_at_the_mains_and_its_harmonics(beats, name):
    hz, power = periodogram(worse(name, beats, 10) - beats, RATE)
    lines = np.isin(hz, HUMS[name] * np.arange(1, 6))
    assert lines.sum() == 5 and power[~lines].sum() < 1e-4 * power.sum()
    amplitudes = np.sqrt(power[lines] / power[lines][0])
    np.testing.assert_allclose(amplitudes, 1 / np.arange(1, 6), rtol=1e-2)


def test_gain_is_a_factor_until_it_clips_or_drowns_in_steps(beats):
    np.testing.assert_allclose(worse("gain", beats, 10), beats * 10**0.5, atol=1 / 65_536)
    loud = worse("gain", 8 * beats, 20)
    assert loud.max() == 32_767 / 32_768 and loud.min() == -1
    np.testing.assert_array_equal(np.abs(loud) >= 32_767 / 32_768, np.abs(80 * beats) >= 1)
    assert set(np.unique(worse("gain", beats, -60) * 32_768)) <= {-2, -1, 0, 1, 2}


@pytest.mark.parametrize("share", PERTURBATIONS["clipping"].levels)
def test_clipping_cuts_at_its_share_of_the_peak_and_nothing_else(beats, share):
    clipped, limit = worse("clipping", beats, share), share * np.abs(beats).max()
    assert np.abs(clipped).max() == pytest.approx(limit, abs=1 / 65_536)
    inside = np.abs(beats) < limit - 1 / 32_768
    np.testing.assert_array_equal(clipped[inside], beats[inside])


def test_shortening_keeps_the_beginning_of_longer_recordings(beats):
    np.testing.assert_array_equal(worse("shortened", beats, 5), beats[: 5 * RATE])
    np.testing.assert_array_equal(worse("shortened", beats[:RATE], 3), beats[:RATE])


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_what_comes_out_fits_a_16_bit_file_and_silence_stays_silent(beats, name):
    for level in PERTURBATIONS[name].levels:
        stored = worse(name, beats, level) * 32_768
        assert (stored == np.round(stored)).all()
        assert stored.min() >= -32_768 and stored.max() <= 32_767
    assert not worse(name, np.zeros(RATE, np.float32), 0.5).any()
    shortest = default_rng(0).uniform(-1, 1, 47).astype(np.float32)
    assert np.isfinite(worse(name, shortest, 0.5)).all()
