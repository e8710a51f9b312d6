"""Device simulation: what a room, a stethoscope and a WAV file make of the sound of a heart.

Synthetic recordings get a room and a stethoscope (`room_noise`, `capture`), training views another
device (`simulate_device`), and evaluation worsens recordings (`PERTURBATIONS`). Waveforms have
`RECORDED_RATE`. Noise has the right kind of spectrum and rhythm, not that of any recording.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from scipy.signal import butter, fftconvolve, firwin2, sosfilt

from hsutils.audio.heart_simulator import Rng, ring
from hsutils.config import RECORDED_RATE


class Stethoscope(NamedTuple):
    """What stands between a chest and a WAV file."""

    low: float  # Hz, corners of the pass band (second order below, first order above)
    high: float
    floor: float  # electronic noise, dB relative to the heart
    hum: float  # mains frequency, Hz; 0 for no hum
    peak: float  # typical peak as a fraction of full scale; what passes full scale is clipped
    step: int = 1  # between two neighboring levels in the file, in units of the 16-bit integer


def room_noise(samples: int, breaths: float, noisy: bool, rng: Rng) -> np.ndarray:
    """Rumble, hiss, `breaths` a minute, voices and bumps (more where `noisy`), of unit RMS."""
    time = np.arange(samples) / RECORDED_RATE
    noise = rng.uniform(0.5, 1) * _band(rng.standard_normal(samples), 3, rng.uniform(25, 70))
    noise += rng.uniform(0.05, 0.2) * rng.standard_normal(samples)
    # Air hisses twice a breath, once in, once out.
    gain, flow = rng.uniform(0.05, 0.3), np.sin(2 * np.pi * (breaths / 60 * time + rng.uniform()))
    noise += gain * (_band(rng.standard_normal(samples), 150, 500) * flow**2)
    if rng.uniform() < (0.5 if noisy else 0.1):
        noise += rng.uniform(0.2, 0.8) * _voice(time, rng)
    bumps = rng.poisson((0.4 if noisy else 0.03) * samples / RECORDED_RATE)
    onset, gain = rng.uniform(0, samples / RECORDED_RATE, bumps), rng.lognormal(1.5, 0.5, bumps)
    noise += ring(onset, gain, rng.uniform(12, 40), 0.03, samples)
    return noise / noise.std()


def _band(waveform: np.ndarray, low: float, high: float) -> np.ndarray:
    """The waveform between two frequencies (Hz), scaled to unit RMS."""
    sections = butter(1, (low, high), "bandpass", fs=RECORDED_RATE, output="sos")
    band = sosfilt(sections, waveform)
    return band / band.std()


def _voice(time: np.ndarray, rng: Rng) -> np.ndarray:
    """A gliding sawtooth in a vowel's band, cut into syllables (4 a second) and sentences."""
    pitch = rng.uniform(90, 240) * (1 + 0.1 * np.sin(2 * np.pi * rng.uniform(0.3, 0.8) * time))
    buzz = _band(np.cumsum(pitch / RECORDED_RATE) % 1 - 0.5, 200, 800)
    syllables = np.maximum(0, np.sin(2 * np.pi * (4 * time + rng.uniform())))
    sentences = np.sin(2 * np.pi * (rng.uniform(0.1, 0.3) * time + rng.uniform())) > 0
    return buzz * syllables * sentences


def capture(sound: np.ndarray, device: Stethoscope, rng: Rng) -> np.ndarray:
    """A sound (samples,) as 16-bit samples: filtered, noisy, clipped and in the device's steps."""
    # The corners and the gain differ a little from recording to recording, as placement does.
    low, high = np.array([device.low, device.high]) * rng.lognormal(0, 0.12, 2)
    passed = sosfilt(butter(2, low, "highpass", fs=RECORDED_RATE, output="sos"), sound)
    passed = sosfilt(butter(1, high, "lowpass", fs=RECORDED_RATE, output="sos"), passed)
    floor = rng.standard_normal(sound.size)
    if device.hum:
        hum = 2 * np.pi * device.hum * np.arange(sound.size) / RECORDED_RATE
        floor += rng.lognormal(0, 1) * np.sin(hum)
    passed = passed / passed.std() + 10 ** (device.floor / 20) * floor
    peak = device.peak * rng.lognormal(0, 0.2) / np.quantile(np.abs(passed), 0.999)
    levels = np.round(32767 / device.step * peak * passed) * device.step
    return np.clip(levels, -32768, 32767).astype(np.int16)


# Training views. A network can learn the device instead of the heart; drawn anew for every view,
# the device is uninformative. Each step is mild to strong: a view can be nearly unchanged too.

EQUALIZER_HZ = (0, 25, 50, 100, 200, 400, 700, 1000)


def simulate_device(waveform: np.ndarray, rng: Rng) -> np.ndarray:
    """The recording (samples,), of peak 1, as another device in another room might have stored it.

    One draw of equalizer, echo, noise, clipping (in a third of the views) and steps of storage.
    """
    if not np.any(waveform):
        return waveform.astype(float)
    sound = equalize(waveform, 8 * rng.random(), rng)
    sound = reverberate(sound, rng.uniform(0.02, 0.2), rng.uniform(-30, -6), rng)
    sound = add_noise(sound, rng.uniform(5, 45), rng)
    sound = sound / np.abs(sound).max()
    if rng.random() < 1 / 3:
        sound = clip_peaks(sound, rng.uniform(0.4, 1), rng)
    return quantize(sound / np.abs(sound).max(), int(rng.integers(6, 16, endpoint=True)))


def equalize(waveform: np.ndarray, deviation: float, rng: Rng) -> np.ndarray:
    """A smooth random response of linear phase; `deviation` (dB) is that at each `EQUALIZER_HZ`."""
    gains = 10 ** (rng.normal(0, deviation, len(EQUALIZER_HZ)) / 20)
    response = firwin2(65, EQUALIZER_HZ, gains, fs=RECORDED_RATE)
    return fftconvolve(waveform, response, mode="same")


def reverberate(waveform: np.ndarray, seconds: float, level: float, rng: Rng) -> np.ndarray:
    """Echoes that fall by 60 dB in `seconds`; together they have `level` dB of the direct sound."""
    time = np.arange(1, max(2, round(seconds * RECORDED_RATE)))
    tail = rng.standard_normal(len(time)) * 10 ** (-3 * time / (seconds * RECORDED_RATE))
    tail *= 10 ** (level / 20) / np.sqrt(np.sum(tail**2))
    return fftconvolve(waveform, np.concatenate([[1.0], tail]))[: len(waveform)]


def add_noise(waveform: np.ndarray, snr: float, rng: Rng) -> np.ndarray:
    """Hiss and a talker in a random mixture, `snr` dB below the recording; never clipped."""
    share = rng.random()
    sounds = rng.standard_normal(len(waveform)), speech_noise(rng, len(waveform))
    hiss, talker = (sound / sound.std() for sound in sounds)
    noise = np.sqrt(share) * hiss + np.sqrt(1 - share) * talker
    return waveform + 10 ** (-snr / 20) * waveform.std() * noise


def quantize(waveform: np.ndarray, bits: int) -> np.ndarray:
    """A waveform in [-1, 1] in steps of 2 ** (1 - bits), without dither, as plain devices do."""
    step = 2.0 ** (1 - bits)
    return step * np.round(waveform / step)


# Worsened recordings, stored as in a 16-bit file. Noise and hum are turned down with the recording
# where the sum would clip, so that they show noise and not clipping. Levels relate to the
# recording's own variance, heart and existing noise together.

SPEECH_HZ = (63, 80, 100, 125, 160, 200, 250, 315, 400, 500, 630, 800, 1000)
SPEECH_DB = (38.6, 43.5, 54.4, 57.7, 56.8, 60.2, 60.3, 59.0, 62.1, 62.1, 60.5, 56.8, 53.7)
"""The average talker in third-octave bands, dB of 70 dB in all: men and women of 12 languages
(Byrne et al. 1994, J. Acoust. Soc. Am. 96:2108, table 2)."""


class Perturbation(NamedTuple):
    """One way in which a recording can be worse."""

    name: str
    unit: str  # of the levels
    levels: tuple[float, ...]  # from mild to severe; of the gain from soft to loud
    # From waveform (samples,), level and chance to the worse waveform; both lie in [-1, 1].
    apply: Callable[[np.ndarray, float, Rng], np.ndarray]


def speech_noise(rng: Rng, samples: int) -> np.ndarray:
    """Noise with the spectrum of the average talker below 1 kHz, in syllables, no words.

    White noise is given the density of `SPEECH_DB`, as in the ICRA noises (Dreschler et al. 2001,
    Audiology 40:148). Each syllable is a sin^2, about four a second (Houtgast and Steeneken 1985,
    J. Acoust. Soc. Am. 77:1069).
    """
    hz = np.fft.rfftfreq(samples, 1 / RECORDED_RATE)
    spoken = np.maximum(hz, SPEECH_HZ[0] / 2 ** (1 / 6))
    level = np.interp(np.log(spoken), np.log(SPEECH_HZ), SPEECH_DB)
    # A third of an octave is as wide as it is high, so the density falls by the frequency.
    density = np.where(hz == spoken, 10 ** (level / 10) / spoken, 0)
    shaped = np.fft.irfft(np.fft.rfft(rng.standard_normal(samples)) * np.sqrt(density), samples)
    seconds = np.arange(samples) / RECORDED_RATE
    lasting = 1 / rng.uniform(3, 5, size=3 + int(5 * samples / RECORDED_RATE))
    onsets = np.append(0, np.cumsum(lasting))
    # The first syllable is under way already.
    syllables = np.interp(seconds + rng.uniform(0, lasting[0]), onsets, np.arange(len(onsets)))
    return shaped * np.sin(np.pi * syllables) ** 2


def hum(hz: float, rng: Rng, samples: int) -> np.ndarray:
    """Mains hum of random phases, with harmonics up to the fifth: the k-th has 1/k of amplitude."""
    harmonics, phases = np.arange(1, 6), rng.uniform(size=5)
    turns = hz * np.arange(samples) / RECORDED_RATE
    return np.sin(2 * np.pi * (turns[:, None] * harmonics + phases)) @ (1 / harmonics)


def add_sound(
    sound: Callable[[Rng, int], np.ndarray], sign: int, waveform: np.ndarray, level: float, rng: Rng
) -> np.ndarray:
    """Add a sound whose power, times `sign`, is `level` dB over the recording's."""
    extra = sound(rng, len(waveform))
    mixed = waveform + 10 ** (sign * level / 20) * waveform.std() / extra.std() * extra
    return _stored(mixed / max(1, np.abs(mixed).max()))


def change_gain(waveform: np.ndarray, gain: float, rng: Rng) -> np.ndarray:
    """Record `gain` dB louder: soft recordings drown in the steps of 16 bits, loud ones clip."""
    return _stored(10 ** (gain / 20) * waveform.astype(float))


def clip_peaks(waveform: np.ndarray, share: float, rng: Rng) -> np.ndarray:
    """Clip samples beyond a share of the recording's peak."""
    limit = share * np.abs(waveform).max()
    return _stored(np.clip(waveform, -limit, limit))


def shorten(waveform: np.ndarray, seconds: float, rng: Rng) -> np.ndarray:
    """The first seconds; a shorter recording stays as it is."""
    return waveform[: round(seconds * RECORDED_RATE)]


def _stored(waveform: np.ndarray) -> np.ndarray:
    """The waveform as a 16-bit WAV file holds it."""
    return np.clip(quantize(waveform, 16), -1, 1 - 2**-15).astype(np.float32)


_SNR, _HUM = (20.0, 15.0, 10.0, 5.0, 0.0), (-20.0, -10.0, 0.0, 10.0)
_WAYS = (
    Perturbation("white noise", "dB SNR", _SNR, partial(add_sound, Rng.standard_normal, -1)),
    Perturbation("speech-like noise", "dB SNR", _SNR, partial(add_sound, speech_noise, -1)),
    Perturbation("gain", "dB", (-20.0, -10.0, 10.0, 20.0), change_gain),
    Perturbation("clipping", "of the peak", (0.5, 0.2, 0.1, 0.05), clip_peaks),
    Perturbation("hum 50 Hz", "dB over the signal", _HUM, partial(add_sound, partial(hum, 50), 1)),
    Perturbation("hum 60 Hz", "dB over the signal", _HUM, partial(add_sound, partial(hum, 60), 1)),
    Perturbation("shortened", "s", (20.0, 10.0, 5.0, 3.0), shorten),
)
PERTURBATIONS = {way.name: way for way in _WAYS}
