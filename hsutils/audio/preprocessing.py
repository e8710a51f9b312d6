"""What device and file leave in a waveform, removed before its spectrogram is computed.

Inside one database the number of distinct sample values alone can tell normal from abnormal.
Across databases clipping, loudness and bandwidth tell the device.
"""

import zlib

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.signal import butter, sosfiltfilt

from hsutils.config import FrontEnd

LEVEL = 0.05  # root mean square, of full scale, of what is dithered


def remove_artifacts(waveform: np.ndarray, rate: int, front_end: FrontEnd) -> np.ndarray:
    """A waveform (samples,) of some rate (Hz) after the steps that the front end asks for.

    Where none is asked for, the result is the very same array, else float64.
    """
    if front_end.repair_clips:
        waveform = repair_clips(waveform)
    if front_end.pass_low_hz or front_end.pass_high_hz:
        waveform = pass_band(waveform, rate, front_end.pass_low_hz, front_end.pass_high_hz)
    return dither(waveform, front_end.bits) if front_end.bits else waveform


def clipped(samples: np.ndarray) -> np.ndarray:
    """Which samples lie on a flat top, as truth values of the same shape; time comes first.

    They have the recording's largest or smallest value and a neighbor of the same value. A smooth
    wave touches its extremes for one sample only. The extremes need not be full scale.
    """
    at_extreme = (samples == samples.max()) | (samples == samples.min())
    as_before = np.zeros_like(at_extreme)
    as_before[1:] = samples[1:] == samples[:-1]
    return at_extreme & (as_before | np.roll(as_before, -1, axis=0))


def repair_clips(waveform: np.ndarray) -> np.ndarray:
    """Flat tops of a waveform (samples,) rounded by a cubic spline through all other samples.

    A repaired sample lies no lower than the flat top it replaces, and at most 1.5 times as high.
    A recording that is all flat is returned as it is.
    """
    flat, repaired, time = clipped(waveform), waveform.astype(float), np.arange(len(waveform))
    if flat.any() and np.count_nonzero(~flat) > 1:
        top = repaired[flat]
        spline = CubicSpline(time[~flat], repaired[~flat])
        lowest, highest = np.sort([top, 1.5 * top], axis=0)
        repaired[flat] = np.clip(spline(time[flat]), lowest, highest)
    return repaired


def pass_band(waveform: np.ndarray, rate: int, low_hz: float, high_hz: float) -> np.ndarray:
    """A waveform (samples,) of some rate (Hz) without what lies below and above a band.

    Butterworth, order 4, forward and backward: at the limits the gain is a half; 0 for no limit.
    """
    kind = "bandpass" if low_hz and high_hz else "highpass" if low_hz else "lowpass"
    edges = (low_hz, high_hz) if kind == "bandpass" else low_hz or high_hz
    sections = butter(4, edges, kind, fs=rate, output="sos")
    return sosfiltfilt(sections, waveform, padlen=min(100, len(waveform) - 1))


def dither(waveform: np.ndarray, bits: int) -> np.ndarray:
    """The waveform (samples,) at a common level, in common steps of 2 ** (1 - bits).

    With triangular dither, which the waveform seeds, the error of rounding becomes noise of one
    power, whatever the steps before (Lipshitz et al. 1992, J. Audio Eng. Soc. 40:355).
    """
    loudness = np.sqrt(np.mean(np.square(waveform, dtype=float)))
    levelled = waveform * (LEVEL / loudness) if loudness else waveform.astype(float)
    generator = np.random.default_rng(zlib.crc32(np.ascontiguousarray(waveform).tobytes()))
    step, noise = 2.0 ** (1 - bits), generator.random((2, len(waveform)))
    return step * np.round(levelled / step + noise[0] - noise[1])
