"""The same heart, as another stethoscope in another room might have kept it.

What a device does to every recording it makes, a network can learn instead of the heart. Drawn anew
for every view, it tells nothing any more. Each step has a strength of its own, drawn from mild to
strong, so that an untouched recording is among those that can come out.
"""

import numpy as np
from scipy.signal import fftconvolve, firwin2

from hsutils.audio.perturbations import clip_peaks, speech_noise
from hsutils.audio.wav import SAMPLE_RATE

TAPS = 65
EQUALIZER_HZ = (0, 25, 50, 100, 200, 400, 700, 1000)
EQUALIZER_DB = 8.0
"""Standard deviation of the response at each of `EQUALIZER_HZ`, at the largest strength."""

ECHO_SECONDS = (0.02, 0.2)
ECHO_DB = (-30.0, -6.0)
"""Power of all echoes together, relative to the direct sound."""

SNR_DB = (5.0, 45.0)
CLIPPED_SHARE = (0.4, 1.0)
"""Of the peak, at which clipping sets in; a recording in three is clipped at all."""

BITS = (6, 16)


def another_sensor(waveform: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """One drawing of equalizer, echo, noise, clipping and steps of storage, in this order.

    Args:
        waveform: samples at 2,000 Hz, shape (samples,), of any loudness.
        generator: the source of chance.

    Returns:
        The waveform at a peak of 1, float64, same shape; silence stays silent.
    """
    if not np.any(waveform):
        return waveform.astype(float)
    heard = equalize(waveform, EQUALIZER_DB * generator.random(), generator)
    seconds = generator.uniform(*ECHO_SECONDS)
    heard = reverberate(heard, seconds, generator.uniform(*ECHO_DB), generator)
    heard = add_noise(heard, generator.uniform(*SNR_DB), generator)
    heard = heard / np.abs(heard).max()
    if generator.random() < 1 / 3:
        heard = clip_peaks(heard, generator.uniform(*CLIPPED_SHARE), generator)
        heard = heard / np.abs(heard).max()
    return quantize(heard, int(generator.integers(*BITS, endpoint=True)))


def equalize(waveform: np.ndarray, deviation: float, generator: np.random.Generator) -> np.ndarray:
    """A smooth random frequency response, of linear phase.

    Args:
        waveform: shape (samples,).
        deviation: standard deviation of the response at `EQUALIZER_HZ`, in dB; linear between.
        generator: the source of chance.
    """
    gains = 10 ** (generator.normal(0, deviation, len(EQUALIZER_HZ)) / 20)
    response = firwin2(TAPS, EQUALIZER_HZ, gains, fs=SAMPLE_RATE)
    return fftconvolve(waveform, response, mode="same")


def reverberate(
    waveform: np.ndarray, seconds: float, level: float, generator: np.random.Generator
) -> np.ndarray:
    """Echoes that die away: noise under an exponential, `level` dB of the direct sound in all.

    Args:
        waveform: shape (samples,).
        seconds: in which the echoes fall by 60 dB.
        level: power of all echoes together, in dB relative to the direct sound.
        generator: the source of chance.
    """
    time = np.arange(1, max(2, round(seconds * SAMPLE_RATE)))
    tail = generator.standard_normal(len(time)) * 10 ** (-3 * time / (seconds * SAMPLE_RATE))
    tail *= 10 ** (level / 20) / np.sqrt(np.sum(tail**2))
    return fftconvolve(waveform, np.concatenate([[1.0], tail]))[: len(waveform)]


def add_noise(waveform: np.ndarray, snr: float, generator: np.random.Generator) -> np.ndarray:
    """Hiss and a talker in a random mixture, `snr` dB below the recording; never clipped."""
    share, count = generator.random(), len(waveform)
    parts = [generator.standard_normal(count), speech_noise(count, generator)]
    hiss, talker = (part / part.std() for part in parts)
    noise = np.sqrt(share) * hiss + np.sqrt(1 - share) * talker
    return waveform + 10 ** (-snr / 20) * waveform.std() * noise


def quantize(waveform: np.ndarray, bits: int) -> np.ndarray:
    """A waveform in [-1, 1] in steps of 2 ** (1 - bits), without dither, as plain devices do."""
    step = 2.0 ** (1 - bits)
    return step * np.round(waveform / step)
