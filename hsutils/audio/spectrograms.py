"""The front end: a waveform becomes the 50 x 2805 log-mel spectrogram of paper section 3.

The paper gives only the size; the rest follows the lab's public code, which calls
`scipy.signal.spectrogram` with its defaults. Only frames that touch the recording are
computed: a frame of pure padding has zero power and so the floor's value, exactly.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.signal.windows import tukey

from hsutils.audio.beats import CLEAR_HEARTBEAT, Rhythm, find_beats
from hsutils.audio.preprocessing import remove_artifacts
from hsutils.audio.wav import read_waveform
from hsutils.config import RECORDED_RATE, FrontEnd

READ_SECONDS = 300.0  # of a recording, at most; artifacts are removed from all of them
# librosa's "kaiser_best" filter: images above the recording's Nyquist frequency fall below
# the spectrogram's floor, which shorter filters do not achieve.
ZEROS, BETA, ROLLOFF = 64, 14.769656459379492, 0.9475937167399596


@dataclass(frozen=True)
class Occupied:
    """The part of a spectrogram that a recording fills; the rest is padding."""

    rows: tuple[int, int]  # the first mel band and one past the last
    frames: tuple[int, int]


@lru_cache
def mel_filters(front_end: FrontEnd) -> np.ndarray:
    """Triangular HTK mel filters of peak 1, shape (bins, mels)."""
    hz = np.arange(front_end.bins) * front_end.sample_rate / front_end.n_fft
    edges = mel_edges(front_end)
    lower, center, upper = edges[:-2], edges[1:-1], edges[2:]
    rising = (hz[:, None] - lower) / (center - lower)
    falling = (upper - hz[:, None]) / (upper - center)
    return np.clip(np.minimum(rising, falling), 0, None)


def mel_edges(front_end: FrontEnd) -> np.ndarray:
    """Edges of the bands, equal in mel, in Hz, shape (mels + 2,): band k runs from k to k + 2."""
    top_hz = (front_end.bins - 1) * front_end.sample_rate / front_end.n_fft
    ends = 2595 * np.log10(1 + np.array([front_end.low_hz, top_hz]) / 700)
    mels = np.linspace(*ends, front_end.mels + 2)
    return 700 * (10 ** (mels / 2595) - 1)


def resample_waveform(waveform: np.ndarray, rate: int, front_end: FrontEnd) -> np.ndarray:
    """The first `clip_seconds` of a waveform (samples,) at the front end's sample rate, float64."""
    clip = waveform[: round(front_end.clip_seconds * rate)].astype(float)
    common = math.gcd(rate, front_end.sample_rate)
    up, down = front_end.sample_rate // common, rate // common
    if up == down:
        return clip
    kernel = _kaiser_best(up, down)
    reach = (len(kernel) - down) // 2
    blocks = sliding_window_view(np.pad(clip, (reach, reach + down)), len(kernel))[::down]
    return (blocks @ kernel).ravel()[: math.ceil(len(clip) * up / down)]


@lru_cache
def _kaiser_best(up: int, down: int) -> np.ndarray:
    """Windowed sincs of which each makes one of `up` samples from `down` and those around them."""
    cutoff = ROLLOFF * min(1, up / down)  # of the input's Nyquist frequency
    reach = math.ceil(ZEROS / cutoff)
    time = np.arange(-reach, reach + down)[:, None] - np.arange(up) * down / up
    window = np.sqrt(np.clip(1 - (time * cutoff / ZEROS) ** 2, 0, None))
    window = np.i0(BETA * window) * (window > 0) / np.i0(BETA)
    return cutoff * np.sinc(time * cutoff) * window


def read_log_mel(path: Path | str, front_end: FrontEnd) -> tuple[np.ndarray, Occupied]:
    """`log_mel` of a WAV file, no more of which is read than needed; raises as `read_waveform`."""
    seconds = max(front_end.clip_seconds, READ_SECONDS)
    return log_mel(read_waveform(path, seconds=seconds), RECORDED_RATE, front_end)


def log_mel(waveform: np.ndarray, rate: int, front_end: FrontEnd) -> tuple[np.ndarray, Occupied]:
    """The scaled log-mel spectrogram of a waveform (samples,) at `rate` Hz, before standardization.

    It is scaled by the recording's minimum and maximum (the paper), or each band's mean is
    subtracted, which removes what a device does to that band at all times.

    Returns:
        Spectrogram (mels, frames), float32, in [0, 1] or in factors of ten of power, and the region
        the recording occupies. Padding and silent recordings hold 0.

    >>> spectrogram, occupied = log_mel(np.sin(np.arange(20_000.0)), 2_000, FrontEnd())
    >>> spectrogram.shape, occupied.frames  # 10 s in the middle of 57 s
    ((50, 2805), (1156, 1649))
    """
    clip = resample_waveform(remove_artifacts(waveform, rate, front_end), rate, front_end)
    first, last, chunk = _occupied_chunk(clip, front_end)
    power = _power_density(chunk, front_end) @ mel_filters(front_end)
    occupied = np.log10(power + front_end.floor).T
    if front_end.scaling == "band mean":
        scaled = occupied - occupied.mean(axis=1, keepdims=True)
    else:
        padded = last - first < front_end.frames
        lowest = np.log10(front_end.floor) if padded else occupied.min()
        span = occupied.max() - lowest
        # Two libraries' logarithms of the floor may differ in the last bit: that is silence still.
        scaled = (occupied - lowest) / span if span > 1e-9 else np.zeros_like(occupied)
    if front_end.heart_rate:
        rhythm = find_beats(waveform[: round(front_end.clip_seconds * rate)])
        scaled = slow_down(scaled, rhythm, front_end.heart_rate)[:, : front_end.frames]
        first = (front_end.frames - scaled.shape[1]) // 2
        last = first + scaled.shape[1]
    spectrogram = np.zeros((front_end.mels, front_end.frames), np.float32)
    spectrogram[:, first:last] = scaled
    rows = np.flatnonzero(scaled.max(axis=1) > 1e-3).tolist() or [0, front_end.mels - 1]
    return spectrogram, Occupied((rows[0], rows[-1] + 1), (first, last))


def slow_down(spectrogram: np.ndarray, rhythm: Rhythm, rate: float) -> np.ndarray:
    """A spectrogram (mels, frames) with more frames, as if its heart beat `rate` times a minute.

    Frames are interpolated. Hearts that beat no faster, or not clearly, stay as they are.
    """
    if rhythm.regularity < CLEAR_HEARTBEAT or rhythm.period >= 60 / rate:
        return spectrogram
    slower, frames = 60 / rate / rhythm.period, spectrogram.shape[1]
    time = np.arange(int(slower * frames)) / slower
    before = time.astype(int)
    after, share = np.minimum(before + 1, frames - 1), time - before
    return (1 - share) * spectrogram[:, before] + share * spectrogram[:, after]


def standardize(spectrograms: Any, front_end: FrontEnd) -> Any:
    """Shifted and scaled spectrograms (array or tensor), as the lab's code gives them to networks.

    Their type and precision stay.
    """
    return (spectrograms + front_end.offset) / front_end.scale


def padding_value(front_end: FrontEnd) -> float:
    """The value of padding in a standardized spectrogram."""
    return front_end.offset / front_end.scale


def _occupied_chunk(clip: np.ndarray, front_end: FrontEnd) -> tuple[int, int, np.ndarray]:
    """First and one past the last frame that touch the centered clip, and their samples."""
    total = round(front_end.clip_seconds * front_end.sample_rate)
    clip = clip[:total]
    left = (total - len(clip)) // 2
    first = max(0, (left - front_end.n_fft) // front_end.hop + 1)
    last = min(front_end.frames, (left + len(clip) - 1) // front_end.hop + 1)
    start, stop = first * front_end.hop, (last - 1) * front_end.hop + front_end.n_fft
    before, after = left - start, stop - (left + len(clip))
    # Below 0: what a last frame, or a hop longer than a frame, leaves out.
    chunk = np.pad(clip, (max(0, before), max(0, after)))[max(0, -before) :]
    return first, last, chunk[: stop - start]


def _power_density(samples: np.ndarray, front_end: FrontEnd) -> np.ndarray:
    """One-sided power density, shape (frames, bins)."""
    window = tukey(front_end.n_fft, 0.25, sym=False)
    frames = sliding_window_view(samples, front_end.n_fft)[:: front_end.hop]
    frames = (frames - frames.mean(axis=1, keepdims=True)) * window
    spectrum = np.fft.rfft(frames)[:, : front_end.bins]
    density = (spectrum.real**2 + spectrum.imag**2) / (front_end.sample_rate * (window**2).sum())
    # Every bin but 0 Hz and the Nyquist frequency counts twice.
    density[:, 1 : (front_end.n_fft + 1) // 2] *= 2
    return density
