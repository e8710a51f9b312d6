"""When a heart beats, found in its sound alone: the first heart sound, S1, and the second, S2.

The loudness of a recording repeats with the heart, so that its autocorrelation peaks at the period
and, earlier, at the systolic interval from S1 to S2. Of all chains of beats about one period apart
the best is found by dynamic programming, as beats of music are (Ellis 2007, "Beat tracking by
dynamic programming", J. New Music Research 36:51).
"""

from dataclasses import dataclass

import numpy as np
from scipy.signal import butter, hilbert, sosfiltfilt

RATE = 2000  # Hz, as in the Challenge
STEP = 20
"""Samples from one value of the envelope to the next: 10 ms."""

BAND_HZ, SMOOTH_SECONDS = (25, 150), 0.05
PERIOD, SYSTOLE = (0.45, 1.5), (0.2, 0.45)
"""Seconds in which the period (40 to 133 beats a minute) and the systolic interval may lie."""
SYSTOLE_SHARE = 0.5
"""Of the period, at most: systole is shorter than diastole at rest, which tells S1 from S2."""
HALF_AS_GOOD = 0.85
"""Two periods repeat as well as one: half of one is preferred if it repeats nearly as well."""

GAPS = (0.8, 1.25)
"""Between neighboring beats, as multiples of the period; a rhythm more uneven is evened out."""
TIGHTNESS = 40.0
"""Penalty on the squared logarithm of such a multiple, in standard deviations of the envelope."""


@dataclass(frozen=True)
class Rhythm:
    """Beats of a recording; both arrays have shape (beats,).

    Beats are proposed for whatever sounds, noise included: `regularity` says how far to trust them.

    Attributes:
        onset: when S1 is loudest, s.
        systole: from there to the loudest of S2, s.
        period: of the beats, s; NaN where there are none.
        regularity: autocorrelation of the envelope at the period, at most about 1.
    """

    onset: np.ndarray
    systole: np.ndarray
    period: float
    regularity: float


NONE = Rhythm(np.empty(0), np.empty(0), np.nan, 0.0)


def find_beats(waveform: np.ndarray) -> Rhythm:
    """The beats of a recording.

    Args:
        waveform: at `RATE`, shape (samples,); what is shorter than two of the longest periods, or
            silent, has none.
    """
    if len(waveform) < 2 * PERIOD[1] * RATE or not np.ptp(waveform):
        return NONE
    loudness = envelope(waveform)
    correlation = _autocorrelation(loudness)
    period = _period(correlation)
    systole = _systole(correlation, period)
    onset = _chain(_score(loudness, period, systole), period)
    near = np.arange(-5, 6)
    heard = np.take(loudness, onset[:, None] + systole + near, mode="clip")
    second = systole + near[heard.argmax(axis=1)]
    second_to = STEP / RATE
    return Rhythm(
        onset * second_to, second * second_to, period * second_to, float(correlation[period])
    )


def envelope(waveform: np.ndarray) -> np.ndarray:
    """Loudness of the heart sounds, one value in `STEP` samples, mean 0 and deviation 1.

    The square root and a ceiling at the 99th percentile keep a knock from outshouting the heart.
    """
    sections = butter(2, BAND_HZ, "bandpass", fs=RATE, output="sos")
    magnitude = np.abs(hilbert(sosfiltfilt(sections, waveform)))
    window = np.hanning(round(SMOOTH_SECONDS * RATE))
    smooth = np.convolve(magnitude, window / window.sum(), "same")[::STEP]
    loudness = np.sqrt(np.clip(smooth, 0, np.quantile(smooth, 0.99)))
    return (loudness - loudness.mean()) / max(loudness.std(), 1e-12)


def _autocorrelation(values: np.ndarray) -> np.ndarray:
    """From lag 0 up, every lag divided by the number of its pairs, 1 at lag 0."""
    n = len(values)
    power = np.abs(np.fft.rfft(values, 2 * n)) ** 2
    sums = np.fft.irfft(power)[:n]
    return sums / (n - np.arange(n)) / max(sums[0] / n, 1e-12)


def _period(correlation: np.ndarray) -> int:
    low, high = _steps(PERIOD)
    period = low + int(np.argmax(correlation[low:high]))
    around = period // 2 + np.arange(-3, 4)
    around = around[around >= low]
    if len(around) and correlation[around].max() > HALF_AS_GOOD * correlation[period]:
        return int(around[correlation[around].argmax()])
    return period


def _systole(correlation: np.ndarray, period: int) -> int:
    low, high = _steps(SYSTOLE)
    high = max(low + 1, min(high, int(SYSTOLE_SHARE * period)))
    return low + int(np.argmax(correlation[low:high]))


def _steps(seconds: tuple[float, float]) -> tuple[int, int]:
    return tuple(round(s * RATE / STEP) for s in seconds)


def _score(loudness: np.ndarray, period: int, systole: int) -> np.ndarray:
    """How well a beat fits that starts here: loud now and a systole later, quiet in between.

    Diastole counts more than systole, in which a murmur may be.
    """
    time = np.arange(len(loudness))

    def later(steps: float) -> np.ndarray:
        return np.interp(time + steps, time, loudness, right=0)

    between = 0.6 * later(systole / 2) + 0.9 * later((period + systole) / 2)
    return loudness + 0.8 * later(systole) - between


def _chain(score: np.ndarray, period: int) -> np.ndarray:
    """Steps of the best chain of beats, ascending.

    No beat follows another by less than the shortest gap, so that as many steps at once look back
    at chains that are finished.
    """
    shortest, longest = (int(factor * period) for factor in GAPS)
    gaps = np.arange(shortest, longest + 1)
    cost = TIGHTNESS * np.log(gaps / period) ** 2
    best, before = score.copy(), np.full(len(score), -1)
    for start in range(shortest, len(score), shortest):
        here = np.arange(start, min(start + shortest, len(score)))
        last = here[:, None] - gaps
        value = np.where(last >= 0, best[last] - cost, -np.inf)
        pick = value.argmax(axis=1)[:, None]
        gain = np.take_along_axis(value, pick, axis=1)[:, 0]
        follows = gain > 0
        best[here[follows]] += gain[follows]
        before[here[follows]] = np.take_along_axis(last, pick, axis=1)[follows, 0]
    beat = max(0, len(score) - longest)
    chain = [beat + int(best[beat:].argmax())]
    while before[chain[-1]] >= 0:
        chain.append(before[chain[-1]])
    return np.array(chain[::-1])
