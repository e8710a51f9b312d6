"""The front end against an independent one in float64, and what it does to padding."""

import math
from pathlib import Path

import numpy as np
import pytest
import scipy.signal

from hsutils.audio import spectrograms
from hsutils.audio.heart_simulator import Patient, draw_beats, valve_sounds
from hsutils.audio.preprocessing import remove_artifacts
from hsutils.audio.spectrograms import Occupied, log_mel, mel_edges, mel_filters, padding_value
from hsutils.audio.wav import read_waveform
from hsutils.config import RECORDED_RATE as RATE
from hsutils.config import FrontEnd, load_profile

PAPER = FrontEnd()
SHORT = FrontEnd(clip_seconds=3.0)
NATIVE = FrontEnd(
    **{"clip_seconds": 6.0, "sample_rate": 2000, "n_fft": 256, "hop": 40, "bins": 129},
    **{"low_hz": 20.0, "scaling": "band mean", "offset": 0.0, "scale": 1.0},
)


def beating(seconds: float, seed: int = 0, rate: int = RATE) -> np.ndarray:
    """Noise whose loudness beats like a heart, in 16-bit steps."""
    generator = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    loudness = 0.01 + 0.2 * np.exp(-10 * (1 - np.cos(2 * np.pi * 1.2 * time)))
    return (np.round(32_768 * loudness * generator.normal(size=time.size)) / 32_768).astype("f4")


def reference_resampled(clip: np.ndarray, up: int, down: int) -> np.ndarray:
    """Windowed-sinc interpolation with librosa's kaiser_best filter."""
    zeros, rolloff, beta = 64, 0.9475937167399596, 14.769656459379492
    half = math.ceil(zeros * up / rolloff / down) * down
    t = np.arange(-half, half + 1) / up * rolloff
    window = np.i0(beta * np.sqrt(np.maximum(0, 1 - (t / zeros) ** 2))) / np.i0(beta)
    taps = rolloff * np.sinc(t) * window * (np.abs(t) <= zeros)
    length = math.ceil(len(clip) * up / down)
    return scipy.signal.upfirdn(taps, clip.astype(float), up, down)[half // down :][:length]


def reference_filters(front_end: FrontEnd) -> np.ndarray:
    """Triangles one bin and one band at a time, (mels, bins)."""
    bin_hz, steps = front_end.sample_rate / front_end.n_fft, front_end.mels + 1
    top = 2595 * math.log10(1 + (front_end.bins - 1) * bin_hz / 700)
    edges = [700 * (10 ** (top * k / steps / 2595) - 1) for k in range(steps + 1)]
    filters = np.zeros((front_end.mels, front_end.bins))
    for band, (low, center, high) in enumerate(zip(edges, edges[1:], edges[2:], strict=False)):
        for b in range(front_end.bins):
            slopes = (b * bin_hz - low) / (center - low), (high - b * bin_hz) / (high - center)
            filters[band, b] = max(0, min(slopes))
    return filters


def reference_log_mel(waveform: np.ndarray, front_end: FrontEnd) -> np.ndarray:
    """The front end of the lab, literally: the whole padded clip through scipy, in float64."""
    clip = waveform[: round(front_end.clip_seconds * RATE)]
    samples = reference_resampled(clip, 441, 40)
    total = round(front_end.clip_seconds * front_end.sample_rate)
    samples = samples[:total]
    left = (total - len(samples)) // 2
    samples = np.pad(samples, (left, total - len(samples) - left))
    options = {"nperseg": front_end.n_fft, "noverlap": front_end.n_fft - front_end.hop}
    _, _, power = scipy.signal.spectrogram(samples, front_end.sample_rate, **options)
    log = np.log10(reference_filters(front_end) @ power[: front_end.bins] + front_end.floor)
    return (log - log.min()) / (log.max() - log.min())


def outside(spectrogram: np.ndarray, occupied: Occupied) -> np.ndarray:
    first, last = occupied.frames
    return np.concatenate([spectrogram[..., :first], spectrogram[..., last:]], axis=-1)


# Agreement with independent implementations


@pytest.mark.parametrize(
    ("front_end", "seconds"),
    [
        *((SHORT, seconds) for seconds in (0.03, 0.5, 1.2345, 2.9, 2.9995, 3.0, 3.0005, 4.2)),
        *((PAPER, seconds) for seconds in (8.0, 60.0)),
        (FrontEnd(clip_seconds=1.0, n_fft=512, bins=257, hop=512), 0.8),
        (FrontEnd(clip_seconds=1.0, n_fft=511, bins=256, hop=100, mels=30), 0.8),
        (FrontEnd(clip_seconds=1.0, n_fft=256, bins=100, hop=256, floor=1e-8), 0.8),
    ],
)
def test_the_front_end_agrees_with_scipy_in_double_precision(front_end, seconds):
    waveform = beating(seconds)
    ours, _ = log_mel(waveform, RATE, front_end)
    assert ours.shape == front_end.shape[1:] and ours.dtype == np.float32
    assert np.abs(ours - reference_log_mel(waveform, front_end)).max() < 1e-5


@pytest.mark.real
@pytest.mark.parametrize("record", ["a/a0001", "b/b0003", "c/c0018", "e/e00624", "f/f0067"])
def test_real_recordings_agree_with_scipy_in_double_precision(real_data, record):
    (path,) = Path(real_data).rglob(f"training-{record}.wav")
    waveform = read_waveform(path)
    ours, _ = log_mel(waveform, RATE, PAPER)
    assert np.abs(ours - reference_log_mel(waveform, PAPER)).max() < 1e-5


# The mel filters


def test_mel_filters_agree_with_triangles_drawn_by_hand():
    assert np.abs(mel_filters(PAPER).T - reference_filters(PAPER)).max() < 1e-12


def test_most_of_the_papers_image_lies_above_what_2000_hz_recordings_hold():
    edges = mel_edges(PAPER)
    assert PAPER.shape == (1, 50, 2805)
    assert ((edges[:-2] >= RATE / 2).sum(), (edges[1:-1] < RATE / 2).sum()) == (31, 18)


@pytest.mark.parametrize("hz", [100, 400, 900])
def test_resampling_leaves_no_image_above_the_recordings_nyquist_frequency(hz):
    tone = np.sin(2 * np.pi * hz * np.arange(6_000) / RATE) * np.hanning(6_000)
    resampled = spectrograms.resample_waveform(tone, RATE, SHORT)
    power = np.abs(np.fft.rfft(resampled)) ** 2
    frequency = np.fft.rfftfreq(len(resampled), 1 / SHORT.sample_rate)
    assert frequency[power.argmax()] == pytest.approx(hz, abs=1)
    assert power[frequency > 1_000].sum() < 1e-10 * power.sum()


# Clip and padding


@pytest.mark.parametrize("seconds", [0.05, 0.9, 1.0, 1.7, 2.5, 2.9])
def test_padding_is_the_same_on_both_sides_and_holds_the_minimum_exactly(seconds):
    spectrogram, occupied = log_mel(beating(seconds), RATE, SHORT)
    before, after = occupied.frames[0], SHORT.frames - occupied.frames[1]
    assert abs(before - after) <= 1
    assert occupied.frames[1] - occupied.frames[0] == pytest.approx(seconds * 22_050 / 448, abs=2)
    padding = outside(spectrogram, occupied)
    assert padding.size > 0 and (padding == 0).all()
    assert (spectrogram.min(), spectrogram.max()) == (0, 1)


def test_a_sound_in_the_middle_of_a_short_recording_is_in_the_middle_frame():
    click = np.eye(1, 2_001, 1_000, dtype=np.float32)[0]
    loudest = log_mel(click, RATE, SHORT)[0].sum(axis=0).argmax()
    assert abs(loudest - SHORT.frames // 2) <= 1


@pytest.mark.parametrize("seconds", [0.05, 1.0, 2.9, 4.0])
def test_occupied_frames_are_exactly_those_that_touch_the_recording(seconds):
    loud = np.random.default_rng(0).choice([-1.0, 1.0], round(seconds * RATE)).astype("f4")
    spectrogram, occupied = log_mel(loud, RATE, SHORT)
    sounding = np.flatnonzero(spectrogram.max(axis=0) > 0)
    assert occupied.frames == (int(sounding[0]), int(sounding[-1]) + 1)


def test_occupied_rows_are_the_bands_that_rise_from_the_floor():
    soft = beating(2.0) * np.hanning(4_000).astype("f4") / 100
    spectrogram, occupied = log_mel(soft, RATE, SHORT)
    risen = np.flatnonzero(spectrogram.max(axis=1) > 1e-3)
    assert occupied.rows == (int(risen[0]), int(risen[-1]) + 1) and 10 < occupied.rows[1] < 50


@pytest.mark.parametrize("seconds", [0.05, 1.5, 3.0, 3.5])
@pytest.mark.parametrize("floor", [1e-11, 3e-9, 7.7e-5])
def test_a_silent_recording_is_all_zeros(seconds, floor):
    front_end = FrontEnd(clip_seconds=3.0, floor=floor)
    silence = np.zeros(round(seconds * RATE), np.float32)
    spectrogram, occupied = log_mel(silence, RATE, front_end)
    assert (spectrogram == 0).all()
    assert occupied.rows == (0, 50)


def test_standardizing_maps_padding_to_the_padding_value():
    assert padding_value(PAPER) == pytest.approx(0.0035824 / 0.0735521)
    ends = spectrograms.standardize(np.array([0, 1], np.float32), PAPER)
    assert ends.dtype == np.float32
    assert ends[0] == pytest.approx(padding_value(PAPER))
    assert ends[1] - ends[0] == pytest.approx(1 / 0.0735521)


# Beyond the paper


def test_bands_may_begin_above_zero():
    edges, filters = mel_edges(NATIVE), mel_filters(NATIVE)
    assert edges[0] == pytest.approx(20) and edges[-1] == pytest.approx(1000)
    assert np.diff(2595 * np.log10(1 + edges / 700)).std() < 1e-9
    assert (filters.sum(axis=0) > 0).all(), "no band falls between two bins"
    assert filters[:3].sum() < 0.5, "nothing below 20 Hz"


def test_without_band_means_every_band_averages_zero_and_padding_holds_zero():
    found, occupied = log_mel(beating(4.0), RATE, NATIVE)
    assert np.abs(found[:, slice(*occupied.frames)].mean(axis=1)).max() < 1e-5
    assert not outside(found, occupied).any()
    assert padding_value(NATIVE) == 0


def test_without_band_means_a_device_that_filters_leaves_no_trace():
    waveform = beating(5.9)
    lowpass = scipy.signal.butter(1, 300, fs=RATE, output="sos")
    filtered = scipy.signal.sosfilt(lowpass, 7 * waveform)
    plain, occupied = log_mel(waveform, RATE, NATIVE)
    other, _ = log_mel(filtered, RATE, NATIVE)
    # The first and last frames reach over the edges of the recording.
    inside = slice(occupied.frames[0] + 7, occupied.frames[1] - 7)
    apart = (plain - other)[:, inside]
    assert apart.std() < 0.1 * plain[:, inside].std()


def test_artifacts_are_removed_before_the_waveform_is_transformed():
    front_end = NATIVE.model_copy(update={"bits": 9, "pass_high_hz": 300.0, "repair_clips": True})
    clean = remove_artifacts(beating(4.0), RATE, front_end)
    expected, _ = log_mel(clean, RATE, NATIVE)
    assert np.array_equal(log_mel(beating(4.0), RATE, front_end)[0], expected)


@pytest.mark.parametrize("rate", [60, 110, 150])
def test_a_fast_heart_is_slowed_to_the_rate_asked_for(rate):
    front_end = load_profile("robust").front_end
    patient, rng = Patient("none", 0, rate, child=rate > 110), np.random.default_rng(1)
    beats = draw_beats(patient, 20, rng)
    heart = valve_sounds(patient, beats, 20 * RATE, rng) + 1e-3 * rng.standard_normal(20 * RATE)
    plain, _ = log_mel(heart, RATE, front_end)
    slowed, occupied = log_mel(heart, RATE, front_end.model_copy(update={"heart_rate": 75.0}))
    lasted = occupied.frames[1] - occupied.frames[0]
    if rate < 75:
        assert np.array_equal(slowed, plain)
        return
    assert lasted / (20 * RATE / front_end.hop) == pytest.approx(rate / 75, rel=0.05)
    loudness = slowed[:10, slice(*occupied.frames)].mean(axis=0)
    period = np.correlate(loudness, loudness, "full")[lasted - 1 :][30:60].argmax() + 30
    assert 60 * RATE / front_end.hop / period == pytest.approx(75, rel=0.06)


def test_what_has_no_clear_heartbeat_is_not_slowed():
    front_end = load_profile("robust").front_end
    noise = np.random.default_rng(0).standard_normal(20 * RATE)
    slowed, _ = log_mel(noise, RATE, front_end.model_copy(update={"heart_rate": 40.0}))
    assert np.array_equal(slowed, log_mel(noise, RATE, front_end)[0])
