"""The beats of a heart: the times of S1 and S2, and the heart's period.

The autocorrelation of a recording's loudness peaks at the heart's period, at its multiples and at
the interval from the first heart sound (S1) to the second (S2), systole. For each possible period
the best chain of beats is found by dynamic programming, as beats of music are (Ellis 2007, J. New
Music Research 36:51). These chains compete, also with S1 and S2 exchanged. The best one fits the
loudness, and its systole is steady and grows with the root of the period (Bazett 1920, Heart
7:353). The constants are fitted to children: `hsutils.studies.beats`.
"""

from dataclasses import dataclass

import numpy as np
from scipy.fft import next_fast_len
from scipy.signal import butter, hilbert, sosfiltfilt

from hsutils.config import RECORDED_RATE

STEP = 20  # samples from one value of the envelope to the next: 10 ms
PERIOD = (30, 151)  # steps: 200 to 40 beats a minute
SYSTOLE = 3.3  # steps, times the root of the period in steps: 0.33 s in a period of 1 s
GAPS = (0.8, 1.25)  # between beats, in periods; a rhythm more uneven is evened out
TIGHTNESS = 40.0  # penalty on the squared logarithm of such a gap, in deviations of the envelope
CLEAR_HEARTBEAT = 0.2
"""`Rhythm.regularity` of 96 in 100 recordings of the Challenge, 93 of CirCor, but 2 in 100 of white
noise of 8 s (14 of 5 s, fewer of more). Steady clicks are as regular as a heart."""


@dataclass(frozen=True)
class Rhythm:
    """Beats of a recording, proposed for any sound: `regularity` says how clear they are."""

    onset: np.ndarray  # when S1 is loudest, s, shape (beats,)
    systole: np.ndarray  # from there to the loudest of S2, s, shape (beats,)
    period: float  # of the beats, s; NaN where there are none
    regularity: float  # autocorrelation at the period, at most about 1, or 0 if it has no peak


def find_beats(waveform: np.ndarray) -> Rhythm:
    """The beats of a waveform (samples,) at `RECORDED_RATE`; none in silence or in under 3 s."""
    best, rhythm = -np.inf, Rhythm(np.empty(0), np.empty(0), np.nan, 0.0)
    if len(waveform) < 2 * PERIOD[1] * STEP or not np.ptp(waveform):
        return rhythm
    loudness, seconds = envelope(waveform), STEP / RECORDED_RATE
    correlation = _autocorrelation(loudness)
    for period in _periods(correlation):
        systole = _systole(correlation, period)
        every = _score(loudness, np.arange(len(loudness)), period, systole)
        first = _loudest(loudness, _chain(every, period), 3)
        second = _loudest(loudness, first + systole, 5)
        # What was taken for S1 may be S2; a single beat cannot tell.
        orders = (first, second), (second[:-1], first[1:])
        for onset, closing in orders[: len(first)]:
            regularity = float(correlation[period])
            evidence = 3 * regularity + _evidence(loudness, onset, closing - onset, period)
            if evidence > best:
                times = onset * seconds, (closing - onset) * seconds, period * seconds
                best, rhythm = evidence, Rhythm(*times, regularity)
    return rhythm


def envelope(waveform: np.ndarray) -> np.ndarray:
    """Loudness from 25 to 150 Hz, one value in `STEP` samples, mean 0 and deviation 1."""
    sections = butter(2, (25, 150), "bandpass", fs=RECORDED_RATE, output="sos")
    n = len(waveform)  # the transform of some lengths is slow
    magnitude = np.abs(hilbert(sosfiltfilt(sections, waveform), next_fast_len(n))[:n])
    window = np.hanning(round(0.05 * RECORDED_RATE))
    smooth = np.convolve(magnitude, window / window.sum(), "same")[::STEP]
    # Root and ceiling keep a knock from outweighing the heart.
    loudness = np.sqrt(np.clip(smooth, 0, np.quantile(smooth, 0.99)))
    return (loudness - loudness.mean()) / max(loudness.std(), 1e-12)


def _autocorrelation(values: np.ndarray) -> np.ndarray:
    """From lag 0 up, every lag divided by the number of its pairs, 1 at lag 0."""
    n = len(values)
    sums = np.fft.irfft(np.abs(np.fft.rfft(values, 2 * n)) ** 2)[:n]
    return sums / (n - np.arange(n)) / max(sums[0] / n, 1e-12)


def _periods(correlation: np.ndarray) -> np.ndarray:
    """Where it has its three highest peaks, of which one is the period and others multiples."""
    lags = np.arange(*PERIOD)
    before, here, after = (correlation[lags + shift] for shift in (-1, 0, 1))
    peaks = lags[(here > before) & (here >= after)]
    return peaks[np.argsort(-correlation[peaks])[:3]]


def _systole(correlation: np.ndarray, period: int) -> int:
    """Where it peaks near the usual systole."""
    usual = SYSTOLE * np.sqrt(period)
    lags = np.arange(int(0.75 * usual) + 1, int(min(1.33 * usual, 0.68 * period)) + 1)
    return int(lags[(correlation[lags] - 5 * np.log(lags / usual) ** 2).argmax()])


def _loudest(loudness: np.ndarray, at: np.ndarray, reach: int) -> np.ndarray:
    """The loudest step around each of some, shape (beats,)."""
    around = np.take(loudness, at[:, None] + np.arange(-reach, reach + 1), mode="clip")
    return np.maximum(at - reach + around.argmax(axis=1), 0)


def _score(loudness: np.ndarray, at: np.ndarray, period: int, systole: float) -> np.ndarray:
    """How well a beat fits that starts at each step: loud now and a systole later, else quiet."""
    time = np.arange(len(loudness))

    def after(steps: float) -> np.ndarray:
        return np.interp(at + steps, time, loudness, right=0)

    # Diastole counts more than systole, in which a murmur may be; S1 fades later than S2.
    between = 0.6 * after(systole / 2) + 0.9 * after((period + systole) / 2)
    return after(0) + 0.8 * after(systole) - between + after(8) - after(systole + 8)


def _evidence(loudness: np.ndarray, onset: np.ndarray, systole: np.ndarray, period: int) -> float:
    """For these beats: they fit, and systole lasts as long as usual, and always as long."""
    n, median = len(onset), np.median(systole)
    # A sum over noise grows with the root of n.
    fit = _score(loudness, onset, period, median).sum() / np.sqrt(n)
    unusual = abs(np.log(median / (SYSTOLE * np.sqrt(period))))
    # As if five more beats scattered by two steps: a few may agree by chance.
    scatter = (np.abs(systole - median).sum() + 10) / (n + 5)
    return np.log(max(fit, 1e-3)) - 2 * unusual - np.log(scatter)


def _chain(score: np.ndarray, period: int) -> np.ndarray:
    """Steps of the best chain of beats, ascending, by dynamic programming."""
    shortest, longest = (int(factor * period) for factor in GAPS)
    gaps = np.arange(shortest, longest + 1)
    cost = TIGHTNESS * np.log(gaps / period) ** 2
    best, before = score.copy(), np.full(len(score), -1)
    # As many steps as the shortest gap look back at finished chains, so they are done at once.
    for start in range(shortest, len(score), shortest):
        here = np.arange(start, min(start + shortest, len(score)))
        last = here[:, None] - gaps
        value = np.where(last >= 0, best[last] - cost, -np.inf)
        pick, gain = value.argmax(axis=1), value.max(axis=1)
        follows = gain > 0
        best[here[follows]] += gain[follows]
        before[here[follows]] = (here - gaps[pick])[follows]
    beat = max(0, len(score) - longest)
    chain = [beat + int(best[beat:].argmax())]
    while before[chain[-1]] >= 0:
        chain.append(before[chain[-1]])
    return np.array(chain[::-1])
