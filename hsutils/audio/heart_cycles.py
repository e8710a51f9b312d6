"""When a heart beats, and its mean cycle: seven phases by eight bands, and its rhythm.

The loudness of a recording repeats with the heart, so its autocorrelation peaks at the period and,
earlier, at the systolic interval from the first heart sound (S1) to the second (S2). Of all chains
of beats about one period apart the best is found by dynamic programming, as beats of music are
(Ellis 2007, "Beat tracking by dynamic programming", J. New Music Research 36:51).

Every beat is then cut into S1, early and late systole, S2, and diastole in thirds. How much louder
a band is in one phase than in the whole recording owes little to the device. Windows of 128 ms are
as long as a phase, so a heart sound reaches into the phases beside it: compare one heart's phase
with another heart's, not with its neighbor.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.signal import butter, hilbert, sosfiltfilt

from hsutils.audio.preprocessing import remove_artefacts
from hsutils.audio.spectrograms import log_mel, mel_edges
from hsutils.config import RECORDED_RATE, FrontEnd, load_profile

STEP = 20
"""Samples from one value of the envelope to the next: 10 ms."""
BAND_HZ, SMOOTH_SECONDS = (25, 150), 0.05
PERIOD, SYSTOLE = (45, 150), (20, 45)
"""Steps in which the period (40 to 133 beats a minute) and the systolic interval may lie."""
SYSTOLE_SHARE = 0.5
"""Of the period, at most: systole is shorter than diastole at rest, which tells S1 from S2."""
HALF_AS_GOOD = 0.85
"""Two periods repeat as well as one: half of one is preferred if it repeats nearly as well."""
GAPS = (0.8, 1.25)
"""Between neighboring beats, as multiples of the period; a rhythm more uneven is evened out."""
TIGHTNESS = 40.0
"""Penalty on the squared logarithm of such a multiple, in standard deviations of the envelope."""
CLEAR_HEARTBEAT = 0.2
"""`Rhythm.regularity` of 98 in 100 recordings of the Challenge, and of 1 in 100 of white noise."""

PHASES = ("S1", "early systole", "late systole", "S2")
PHASES += ("early diastole", "mid diastole", "late diastole")
BANDS = 8
RHYTHM = ("period", "systole's share", "scatter of the period", "scatter of systole")
FEATURES = tuple(f"{phase}, band {band + 1}" for phase in PHASES for band in range(BANDS)) + RHYTHM
AROUND_S1, AROUND_S2 = (0.06, 0.06), (0.04, 0.06)
"""Seconds before and after the loudest moment that belong to a heart sound."""


@dataclass(frozen=True)
class Rhythm:
    """Beats of a recording. They are proposed for any sound: `regularity` says how clear they are.

    It is the autocorrelation of the envelope at the period, at most about 1, or 0 if there are no
    beats or the autocorrelation does not peak there. Compare `CLEAR_HEARTBEAT`.
    """

    onset: np.ndarray  # when S1 is loudest, s, shape (beats,)
    systole: np.ndarray  # from there to the loudest of S2, s, shape (beats,)
    period: float  # of the beats, s; NaN where there are none
    regularity: float


def find_beats(waveform: np.ndarray) -> Rhythm:
    """The beats of a waveform (samples,) at `RECORDED_RATE`.

    Silence, and what is shorter than two of the longest periods, has none.
    """
    if len(waveform) < 2 * PERIOD[1] * STEP or not np.ptp(waveform):
        return Rhythm(np.empty(0), np.empty(0), np.nan, 0.0)
    loudness = envelope(waveform)
    correlation = _autocorrelation(loudness)
    period = _period(correlation)
    systole = _systole(correlation, period)
    onset = _chain(_score(loudness, period, systole), period)
    near = np.arange(-5, 6)
    around = np.take(loudness, onset[:, None] + systole + near, mode="clip")
    second = systole + near[around.argmax(axis=1)]
    peaks = correlation[period] >= max(correlation[period - 1], correlation[period + 1])
    seconds, regularity = STEP / RECORDED_RATE, float(correlation[period]) if peaks else 0.0
    return Rhythm(onset * seconds, second * seconds, period * seconds, regularity)


def envelope(waveform: np.ndarray) -> np.ndarray:
    """Loudness of the heart sounds, one value in `STEP` samples, mean 0 and deviation 1.

    The square root and a ceiling at the 99th percentile keep a knock from outweighing the heart.
    """
    sections = butter(2, BAND_HZ, "bandpass", fs=RECORDED_RATE, output="sos")
    magnitude = np.abs(hilbert(sosfiltfilt(sections, waveform)))
    window = np.hanning(round(SMOOTH_SECONDS * RECORDED_RATE))
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
    low, high = PERIOD
    period = low + int(np.argmax(correlation[low:high]))
    around = period // 2 + np.arange(-3, 4)
    around = around[around >= low]
    if len(around) and correlation[around].max() > HALF_AS_GOOD * correlation[period]:
        return int(around[correlation[around].argmax()])
    return period


def _systole(correlation: np.ndarray, period: int) -> int:
    low, high = SYSTOLE
    high = max(low + 1, min(high, int(SYSTOLE_SHARE * period)))
    return low + int(np.argmax(correlation[low:high]))


def _score(loudness: np.ndarray, period: int, systole: int) -> np.ndarray:
    """How well a beat fits that starts here: loud now and a systole later, quiet in between.

    Diastole counts more than systole, in which a murmur may be.
    """
    time = np.arange(len(loudness))

    def after(steps: float) -> np.ndarray:
        return np.interp(time + steps, time, loudness, right=0)

    between = 0.6 * after(systole / 2) + 0.9 * after((period + systole) / 2)
    return loudness + 0.8 * after(systole) - between


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


@lru_cache
def cycle_front_end() -> FrontEnd:
    """The front end of the profile "robust", in 8 bands and steps of 10 ms."""
    return load_profile("robust").front_end.model_copy(update={"mels": BANDS, "hop": STEP})


def band_edges() -> np.ndarray:
    """The edges of the bands in Hz, shape (BANDS + 2,): band k runs from k to k + 2."""
    return mel_edges(cycle_front_end())


def mean_cycle(waveform: np.ndarray) -> tuple[np.ndarray, Rhythm]:
    """The median over beats of how loud each band is in each phase.

    Args:
        waveform: at `RECORDED_RATE`, shape (samples,); what exceeds a clip is not used.

    Returns:
        Factors of ten of power over each band's mean, shape (7, 8), NaN where `find_beats` finds
        fewer than two beats; and the beats.
    """
    front_end = cycle_front_end()
    clip = waveform[: round(front_end.clip_seconds * RECORDED_RATE)]
    clean = remove_artefacts(clip, RECORDED_RATE, front_end)
    # Silence would be dithered, and beats be found in the dither.
    rhythm = find_beats(clean if np.ptp(clip) else clip)
    edges = _edges(rhythm)
    if not len(edges):
        return np.full((len(PHASES), BANDS), np.nan), rhythm
    plain = {"repair_clips": False, "pass_low_hz": 0.0, "pass_high_hz": 0.0, "bits": 0}
    plain["clip_seconds"] = len(clean) / RECORDED_RATE
    bands, _ = log_mel(clean, RECORDED_RATE, front_end.model_copy(update=plain))
    # A frame stands for its middle.
    middle = front_end.n_fft / 2 / RECORDED_RATE
    frames = np.round((edges - middle) * RECORDED_RATE / STEP).astype(int)
    frames = np.clip(frames, 0, bands.shape[1])
    loudness = bands.T.double().numpy()
    return np.median([_by_phase(loudness, beat) for beat in frames], axis=0), rhythm


def heart_cycle_features(waveform: np.ndarray) -> np.ndarray:
    """The mean cycle, phase by phase, then the rhythm: `FEATURES`, shape (60,); NaN without beats.

    Scatter and systole are those of whole cycles: the last S2 may lie behind the recording's end.
    """
    cycle, rhythm = mean_cycle(waveform)
    if len(rhythm.onset) < 2:
        return np.full(len(FEATURES), np.nan)
    gaps, systole = np.diff(rhythm.onset), rhythm.systole[:-1]
    share, scatter = np.median(systole) / rhythm.period, gaps.std() / rhythm.period
    return np.append(cycle.ravel(), [rhythm.period, share, scatter, systole.std()])


def _edges(rhythm: Rhythm) -> np.ndarray:
    """Where the phases of each beat begin and the last one ends, s, shape (beats - 1, 8)."""
    first, following, systole = rhythm.onset[:-1], rhythm.onset[1:], rhythm.systole[:-1]
    second = first + systole
    opened, closed = first + AROUND_S1[1], second - AROUND_S2[0]
    after, before_next = second + AROUND_S2[1], following - AROUND_S1[0]
    third = (before_next - after) / 3
    halves = (opened, (opened + closed) / 2, closed)
    thirds = (after, after + third, after + 2 * third, before_next)
    return np.stack([first - AROUND_S1[0], *halves, *thirds], axis=1)


def _by_phase(bands: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Mean over the frames of each phase, at least one, shape (7, BANDS)."""
    last = len(bands) - 1
    starts = np.minimum(edges[:-1], last)
    stops = np.maximum(edges[1:], starts + 1)
    return np.array([bands[a:b].mean(axis=0) for a, b in zip(starts, stops, strict=True)])
