"""From a chest to a WAV file: the noise of a room, and the stethoscope that hears both.

Noise is drawn to be of the right kind (where in frequency, how it comes and goes), not fitted.
"""

from dataclasses import dataclass

import numpy as np
from scipy.signal import butter, sosfilt

from hsutils.audio.heart_simulator import RATE, ring


@dataclass(frozen=True)
class Stethoscope:
    """What stands between a chest and a WAV file.

    Attributes:
        low, high: corners of the pass band, Hz (second order below, first order above).
        floor: electronic noise, dB relative to the heart.
        hum: mains frequency, Hz; 0 where none is heard.
        peak: typical peak as a fraction of full scale; what passes full scale is clipped.
        step: distance of two neighboring levels in the file, in units of the 16-bit integer.
    """

    low: float
    high: float
    floor: float
    hum: float
    peak: float
    step: int = 1


def room_noise(samples: int, breaths: float, noisy: bool, rng: np.random.Generator) -> np.ndarray:
    """All that is not the heart: rumble, hiss, breath, and at times a voice and handling bumps.

    Args:
        samples: length of the result.
        breaths: breaths a minute.
        noisy: True for a recording of quality 0, with more voices and bumps.
        rng: source of every draw.

    Returns:
        Waveform of unit RMS, shape (samples,).
    """
    time = np.arange(samples) / RATE
    parts = [
        rng.uniform(0.5, 1) * _band(rng.standard_normal(samples), 3, rng.uniform(25, 70)),
        rng.uniform(0.05, 0.2) * rng.standard_normal(samples),
        rng.uniform(0.05, 0.3) * _breath(time, breaths, rng),
    ]
    if rng.uniform() < (0.5 if noisy else 0.1):
        parts.append(rng.uniform(0.2, 0.8) * _voice(time, rng))
    bumps = rng.poisson((0.4 if noisy else 0.03) * samples / RATE)
    onset, gain = rng.uniform(0, samples / RATE, bumps), rng.lognormal(1.5, 0.5, bumps)
    parts.append(ring(onset, gain, rng.uniform(12, 40), 0.03, samples))
    noise = sum(parts)
    return noise / noise.std()


def _band(waveform: np.ndarray, low: float, high: float) -> np.ndarray:
    """The waveform between two frequencies (Hz), scaled to unit RMS."""
    band = sosfilt(butter(1, (low, high), "bandpass", fs=RATE, output="sos"), waveform)
    return band / band.std()


def _breath(time: np.ndarray, breaths: float, rng: np.random.Generator) -> np.ndarray:
    """Airflow: hiss that swells twice a breath, once in, once out."""
    flow = np.sin(2 * np.pi * (breaths / 60 * time + rng.uniform()))
    return _band(rng.standard_normal(time.size), 150, 500) * flow**2


def _voice(time: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A gliding sawtooth in a vowel's band, cut into syllables (4 a second) and sentences."""
    pitch = rng.uniform(90, 240) * (1 + 0.1 * np.sin(2 * np.pi * rng.uniform(0.3, 0.8) * time))
    buzz = _band(np.cumsum(pitch / RATE) % 1 - 0.5, 200, 800)
    syllables = np.maximum(0, np.sin(2 * np.pi * (4 * time + rng.uniform())))
    sentences = np.sin(2 * np.pi * (rng.uniform(0.1, 0.3) * time + rng.uniform())) > 0
    return buzz * syllables * sentences


def capture(sound: np.ndarray, device: Stethoscope, rng: np.random.Generator) -> np.ndarray:
    """What a stethoscope stores of a sound: filtered, with its own noise, clipped, in steps.

    The corners and the gain differ a little from recording to recording, as placement does.

    Returns:
        16-bit samples, shape of `sound`.
    """
    low, high = np.array([device.low, device.high]) * rng.lognormal(0, 0.12, 2)
    heard = sosfilt(butter(2, low, "highpass", fs=RATE, output="sos"), sound)
    heard = sosfilt(butter(1, high, "lowpass", fs=RATE, output="sos"), heard)
    floor = rng.standard_normal(sound.size)
    if device.hum:
        hum = 2 * np.pi * device.hum * np.arange(sound.size) / RATE
        floor += rng.lognormal(0, 1) * np.sin(hum)
    heard = heard / heard.std() + 10 ** (device.floor / 20) * floor
    peak = device.peak * rng.lognormal(0, 0.2) / np.quantile(np.abs(heard), 0.999)
    levels = np.round(32767 / device.step * peak * heard) * device.step
    return np.clip(levels, -32768, 32767).astype(np.int16)
