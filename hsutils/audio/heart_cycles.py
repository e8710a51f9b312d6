"""The mean heart cycle of a recording: seven phases by eight bands, and its rhythm.

Every beat is cut into phases. How much louder a band is in one phase than in the whole recording
owes little to the device. Windows of 128 ms are as long as a phase: compare a phase between hearts,
not with its neighbor.
"""

import numpy as np

from hsutils.audio.beats import STEP, Rhythm, find_beats
from hsutils.audio.preprocessing import remove_artefacts
from hsutils.audio.spectrograms import log_mel, mel_edges
from hsutils.config import RECORDED_RATE, load_profile

PHASES = ("S1", "early systole", "late systole", "S2")
PHASES += ("early diastole", "mid diastole", "late diastole")
BANDS = 8
FRONT_END = load_profile("robust").front_end.model_copy(update={"mels": BANDS, "hop": STEP})
FEATURES = tuple(f"{phase}, band {band + 1}" for phase in PHASES for band in range(BANDS))
FEATURES += ("period", "systole's share", "scatter of the period", "scatter of systole")


def band_edges() -> np.ndarray:
    """The edges of the bands in Hz, shape (BANDS + 2,): band k runs from k to k + 2."""
    return mel_edges(FRONT_END)


def mean_cycle(waveform: np.ndarray) -> tuple[np.ndarray, Rhythm]:
    """How loud each band is in each phase of a waveform (samples,) at `RECORDED_RATE`.

    Returns:
        Factors of ten of power over each band's mean, shape (7, 8), the median over beats, NaN
        where there are fewer than two; and the beats.
    """
    clip = waveform[: round(FRONT_END.clip_seconds * RECORDED_RATE)]
    clean = remove_artefacts(clip, RECORDED_RATE, FRONT_END)
    # Silence would be dithered, and beats would be found in the dither.
    rhythm = find_beats(clean if np.ptp(clip) else clip)
    edges = _edges(rhythm)
    if not len(edges):
        return np.full((len(PHASES), BANDS), np.nan), rhythm
    plain = {"repair_clips": False, "pass_low_hz": 0.0, "pass_high_hz": 0.0, "bits": 0}
    plain |= {"clip_seconds": len(clean) / RECORDED_RATE}
    bands, _ = log_mel(clean, RECORDED_RATE, FRONT_END.model_copy(update=plain))
    middle = FRONT_END.n_fft / 2 / RECORDED_RATE  # of a frame, for which it stands
    frames = np.round((edges - middle) * RECORDED_RATE / STEP).astype(int)
    frames, loudness = np.clip(frames, 0, bands.shape[1]), bands.T.astype(float)
    starts = np.minimum(frames[:, :-1], len(loudness) - 1)
    stops = np.maximum(frames[:, 1:], starts + 1)
    means = [loudness[a:b].mean(axis=0) for a, b in zip(starts.flat, stops.flat, strict=True)]
    return np.median(np.reshape(means, (-1, len(PHASES), BANDS)), axis=0), rhythm


def heart_cycle_features(waveform: np.ndarray) -> np.ndarray:
    """The mean cycle, phase by phase, and the rhythm: `FEATURES`, shape (60,), NaN if no beats."""
    cycle, rhythm = mean_cycle(waveform)
    if len(rhythm.onset) < 2:
        return np.full(len(FEATURES), np.nan)
    # The last S2 may lie behind the recording's end.
    gaps, systole = np.diff(rhythm.onset), rhythm.systole[:-1]
    share, scatter = np.median(systole) / rhythm.period, gaps.std() / rhythm.period
    return np.append(cycle.ravel(), [rhythm.period, share, scatter, systole.std()])


def _edges(rhythm: Rhythm) -> np.ndarray:
    """Where the phases of each beat begin and the last one ends, s, shape (beats - 1, 8)."""
    first, following = rhythm.onset[:-1], rhythm.onset[1:]
    second = first + rhythm.systole[:-1]
    # A heart sound lasts about 0.06 s to either side of its loudest moment.
    opened, closed = first + 0.06, second - 0.04
    systole = opened, (opened + closed) / 2, closed
    diastole = np.linspace(second + 0.06, following - 0.06, 4)
    return np.stack([first - 0.06, *systole, *diastole], axis=1)
