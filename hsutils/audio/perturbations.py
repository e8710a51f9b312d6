"""Ways in which a recording can be worse: noise, hum, gain, clipping, too few seconds.

Every change but the shortening is stored as a 16-bit WAV file would store it: rounded to steps of
1/32768 and clipped at full scale. Noise and hum are added as a careful recordist would, turned down
where the sum would clip, so that they show noise and not clipping.

Levels relate to the recording's own power (its variance, within the seconds that the front end
hears), heart and existing noise together: a recording rated too noisy gets more noise on top.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from hsutils.audio.wav import SAMPLE_RATE

SPEECH_HZ = (63, 80, 100, 125, 160, 200, 250, 315, 400, 500, 630, 800, 1000)
SPEECH_DB = (38.6, 43.5, 54.4, 57.7, 56.8, 60.2, 60.3, 59.0, 62.1, 62.1, 60.5, 56.8, 53.7)
"""The average talker in third-octave bands, dB of 70 dB in all: men and women of 12 languages
(Byrne et al. 1994, J. Acoust. Soc. Am. 96:2108, table 2)."""

SYLLABLES = (3.0, 5.0)
"""A second; speech comes and goes most at about 4 Hz (Houtgast and Steeneken 1985,
J. Acoust. Soc. Am. 77:1069)."""

HARMONICS = np.arange(1, 6)

Apply = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Perturbation:
    """One way in which a recording can be worse.

    For other levels than these use `dataclasses.replace`.

    Attributes:
        name: as it stands in tables and titles.
        unit: of the levels.
        levels: from mild to severe; of the gain from soft to loud.
        apply: from a waveform (samples,) in [-1, 1] at 2,000 Hz, a level and the source of chance
            to the worse waveform, float32 in [-1, 1].
    """

    name: str
    unit: str
    levels: tuple[float, ...]
    apply: Apply


Perturbations = Mapping[str, Perturbation]


def add_white_noise(waveform: np.ndarray, snr: float, rng: np.random.Generator) -> np.ndarray:
    """Add hiss, as of a poor microphone, `snr` dB below the recording."""
    return _mixed(waveform, rng.standard_normal(len(waveform)), snr)


def add_speech_noise(waveform: np.ndarray, snr: float, rng: np.random.Generator) -> np.ndarray:
    """Add noise that resembles a talker in the room, `snr` dB below the recording."""
    return _mixed(waveform, speech_noise(len(waveform), rng), snr)


def speech_noise(samples: int, rng: np.random.Generator) -> np.ndarray:
    """Noise with the spectrum of the average talker below 1 kHz, in syllables, no words.

    White noise is given the density of `SPEECH_DB` (linear in dB over log frequency; nothing below
    the lowest band) and swells and falls as sin^2 with each syllable, of 3 to 5 a second: the idea
    of the ICRA noises (Dreschler et al. 2001, Audiology 40:148), with one talker and one band.

    Returns:
        Waveform (samples,) at 2,000 Hz, of no particular loudness.
    """
    hz = np.fft.rfftfreq(samples, 1 / SAMPLE_RATE)
    heard = np.maximum(hz, SPEECH_HZ[0] / 2 ** (1 / 6))
    level = np.interp(np.log(heard), np.log(SPEECH_HZ), SPEECH_DB)
    # A third of an octave is as wide as it is high, so the density falls by the frequency.
    density = np.where(hz == heard, 10 ** (level / 10) / heard, 0)
    shaped = np.fft.irfft(np.fft.rfft(rng.standard_normal(samples)) * np.sqrt(density), samples)
    seconds = np.arange(samples) / SAMPLE_RATE
    lasting = 1 / rng.uniform(*SYLLABLES, size=3 + int(SYLLABLES[1] * samples / SAMPLE_RATE))
    onsets = np.append(0, np.cumsum(lasting))
    # The first syllable is under way already.
    syllables = np.interp(seconds + rng.uniform(0, lasting[0]), onsets, np.arange(len(onsets)))
    return shaped * np.sin(np.pi * syllables) ** 2


def add_hum(hz: float) -> Apply:
    """Mains hum `level` dB above the recording (negative: below), of a random phase.

    Harmonics up to the fifth sound with it, the k-th with 1/k of the fundamental's amplitude; the
    level is that of all together.
    """

    def apply(waveform: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
        turns = hz * np.arange(len(waveform)) / SAMPLE_RATE
        phases = rng.uniform(size=len(HARMONICS))
        waves = np.sin(2 * np.pi * (turns[:, None] * HARMONICS + phases))
        return _mixed(waveform, waves @ (1 / HARMONICS), -level)

    return apply


def change_gain(waveform: np.ndarray, gain: float, rng: np.random.Generator) -> np.ndarray:
    """Record `gain` dB louder: soft recordings drown in the steps of 16 bits, loud ones clip."""
    return _stored(10 ** (gain / 20) * waveform.astype(float))


def clip_peaks(waveform: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Cut all that passes a share of the recording's peak."""
    limit = share * np.abs(waveform).max()
    return _stored(np.clip(waveform, -limit, limit))


def shorten(waveform: np.ndarray, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """The first seconds; a shorter recording stays as it is."""
    return waveform[: round(seconds * SAMPLE_RATE)]


_SNR = (20.0, 15.0, 10.0, 5.0, 0.0)
_HUM = (-20.0, -10.0, 0.0, 10.0)

PERTURBATIONS = {
    p.name: p
    for p in (
        Perturbation("white noise", "dB SNR", _SNR, add_white_noise),
        Perturbation("speech-like noise", "dB SNR", _SNR, add_speech_noise),
        Perturbation("gain", "dB", (-20.0, -10.0, 10.0, 20.0), change_gain),
        Perturbation("clipping", "of the peak", (0.5, 0.2, 0.1, 0.05), clip_peaks),
        Perturbation("hum 50 Hz", "dB over the signal", _HUM, add_hum(50)),
        Perturbation("hum 60 Hz", "dB over the signal", _HUM, add_hum(60)),
        Perturbation("shortened", "s", (20.0, 10.0, 5.0, 3.0), shorten),
    )
}


def _mixed(waveform: np.ndarray, sound: np.ndarray, snr: float) -> np.ndarray:
    """The waveform with a sound `snr` dB below it, turned down where both would clip."""
    mixed = waveform + 10 ** (-snr / 20) * waveform.std() / sound.std() * sound
    return _stored(mixed / max(1, np.abs(mixed).max()))


def _stored(waveform: np.ndarray) -> np.ndarray:
    """The waveform as a 16-bit WAV file keeps it."""
    steps = np.clip(np.round(32_768 * waveform), -32_768, 32_767)
    return (steps / 32_768).astype(np.float32)
