"""A heart in sixty numbers: its mean cycle, seven phases by eight bands, and its rhythm.

Every beat is cut at its heart sounds, so that hearts of any rate lie on one page: S1, early and
late systole, S2, and diastole in thirds. How much louder a band is in one phase than in the
recording as a whole owes little to what a device does to that band at all times.

Windows of 128 ms are as long as a phase, so that a heart sound is also heard in the phases beside
it: compare one heart's phase with another heart's, not with its neighbor.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pandas as pd
from filelock import FileLock

from hsutils.audio.preprocessing import control
from hsutils.audio.beats import (
    BAND_HZ,
    GAPS,
    HALF_AS_GOOD,
    PERIOD,
    RATE,
    SMOOTH_SECONDS,
    STEP,
    SYSTOLE,
    SYSTOLE_SHARE,
    TIGHTNESS,
    Rhythm,
    find_beats,
)
from hsutils.data.cache import cache_root, identity, one_torch_thread
from hsutils.experiment import fingerprint, load_experiment
from hsutils.files import atomic_path
from hsutils.progress import progress
from hsutils.settings import FrontEnd
from hsutils.audio.spectrograms import log_mel, mel_edges
from hsutils.studies.variants import BEYOND
from hsutils.audio.wav import read_waveform

PHASES = ("S1", "early systole", "late systole", "S2")
PHASES += ("early diastole", "mid diastole", "late diastole")
BANDS = 8
RHYTHM = ("period", "systole's share", "scatter of the period", "scatter of systole")
AROUND_S1, AROUND_S2 = (0.06, 0.06), (0.04, 0.06)
"""Seconds before and after the loudest moment that belong to a heart sound."""
VERSION = 1  # raise when the same settings give other numbers

NAMES = tuple(f"{phase}, band {band + 1}" for phase in PHASES for band in range(BANDS)) + RHYTHM


@lru_cache
def front_end() -> FrontEnd:
    """That of the change "narrow", in 8 bands and steps of 10 ms."""
    change = BEYOND["narrow"].change(load_experiment("native-all"))
    return replace(load_experiment("native-all", change).front_end, mels=BANDS, hop=STEP)


def band_edges() -> np.ndarray:
    """The edges of the bands in Hz, shape (BANDS + 2,): band k runs from k to k + 2."""
    return mel_edges(front_end())


def mean_cycle(waveform: np.ndarray) -> tuple[np.ndarray, Rhythm]:
    """The median over beats of how loud each band is in each phase.

    Args:
        waveform: at 2,000 Hz, shape (samples,); what exceeds a clip is not heard.

    Returns:
        Factors of ten of power over each band's mean, shape (7, 8), NaN where it is silent or
        shorter than `find_beats` asks for; and the beats.
    """
    clip = waveform[: round(front_end().clip_seconds * RATE)]
    heard = control(clip, RATE, front_end())
    # Silence would be dithered, and beats be found in the dither.
    rhythm = find_beats(heard if np.ptp(clip) else clip)
    edges = _edges(rhythm)
    if not len(edges):
        return np.full((len(PHASES), BANDS), np.nan), rhythm
    plain = replace(front_end(), repair_clips=False, pass_low_hz=0.0, pass_high_hz=0.0, bits=0)
    bands, _ = log_mel(heard, RATE, replace(plain, clip_seconds=len(heard) / RATE))
    # A frame stands for its middle.
    frames = np.round((edges - plain.n_fft / 2 / RATE) * RATE / STEP).astype(int)
    frames = np.clip(frames, 0, bands.shape[1])
    loudness = bands.T.double().numpy()
    return np.median([_by_phase(loudness, beat) for beat in frames], axis=0), rhythm


def sixty_numbers(waveform: np.ndarray) -> np.ndarray:
    """The mean cycle, phase by phase, then the rhythm: see `NAMES`; NaN where there are none."""
    cycle, rhythm = mean_cycle(waveform)
    return np.concatenate([cycle.ravel(), _rhythm(rhythm)])


def numbers_of(recordings: pd.DataFrame) -> np.ndarray:
    """The sixty numbers of recordings, computed unless they are in the cache.

    Args:
        recordings: columns record, path, digest and sample_rate, as `read_recordings` gives them.

    Returns:
        Shape (n, 60).

    Raises:
        InputError: if a file cannot be read.
    """
    how = [BAND_HZ, SMOOTH_SECONDS, PERIOD, SYSTOLE, SYSTOLE_SHARE, HALF_AS_GOOD, GAPS, TIGHTNESS]
    how += [AROUND_S1, AROUND_S2, VERSION]
    folder = cache_root() / fingerprint(front_end(), identity(recordings), how)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock"):
        if not (folder / "sixty.npy").exists():
            numbers = np.array(list(_computed(recordings)))
            with atomic_path(folder / "sixty.npy") as temporary, temporary.open("wb") as file:
                np.save(file, numbers)
    return np.load(folder / "sixty.npy")


def _computed(recordings: pd.DataFrame) -> Iterator[np.ndarray]:
    with ThreadPoolExecutor(os.cpu_count()) as threads, one_torch_thread():
        numbers = threads.map(lambda path: sixty_numbers(read_waveform(path)), recordings.path)
        yield from progress(numbers, len(recordings), "mean cycles")


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


def _rhythm(rhythm: Rhythm) -> list[float]:
    """Of whole cycles: the last S2 may lie behind the end of the recording."""
    if len(rhythm.onset) < 2:
        return [np.nan] * len(RHYTHM)
    gaps, systole = np.diff(rhythm.onset), rhythm.systole[:-1]
    share = float(np.median(systole) / rhythm.period)
    return [rhythm.period, share, float(gaps.std() / rhythm.period), float(systole.std())]
