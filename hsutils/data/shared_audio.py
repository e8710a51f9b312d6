"""Recordings that contain the very same samples, found at any offset.

Two cuts of one tape can overlap without being equal as files. Checksums do not see it, yet a
split between the two leaks. Comparing every position of 20 h with every other is out of the
question, so content chooses where to look (Manber 1994, "Finding similar files in a large file
system"): each window of samples has a hash, and the windows with a small hash are anchors,
wherever they stand and in whichever recording. Equal anchors suggest two recordings and an
offset between them; the samples themselves then decide.
"""

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, lru_cache

import numpy as np
import pandas as pd

from hsutils.audio.wav import read_samples

_WINDOW = 128  # samples
_ANCHOR_BITS = 6  # one window in 2**6: half a second at 2 kHz has none once in a million
_LEAST_CHANGES = _WINDOW // 8  # a flatter window is in too many recordings to be a clue
_MOTIF = 16  # samples; audio hardly ever repeats so many, silence and test tones do
_NEIGHBORS = 8
_BLOCK = 1 << 15  # samples hashed at a time, so that memory does not grow with a recording
_THREADS = 4
_COLUMNS = {"record_a": str, "record_b": str, "seconds": float, "start_a": float, "start_b": float}

# Any odd numbers with well-mixed bits will do: odd so that they can be inverted modulo 2**64.
_BASE, _MIXER = 0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93


def shared_audio(recordings: pd.DataFrame, minimum_seconds: float = 0.5) -> pd.DataFrame:
    """Pairs of recordings with a run of identical samples, longest run first.

    Samples are compared as 16-bit mono at each file's own rate, so a copy that was filtered,
    rescaled or resampled is not found. Silence, clipping and short periods are no evidence of
    common origin and do not count. Where more than nine recordings share the same audio the
    list may leave out some pairs, but those it keeps connect all of the recordings.

    Args:
        recordings: table with columns `record` and `path`.
        minimum_seconds: shortest run that counts. A run of 600 samples (0.3 s at 2 kHz) is
            missed once in a thousand times, a shorter one more often.

    Returns:
        One row a pair, `record_a` before `record_b`, with their longest shared run: its length
        `seconds`, and `start_a` and `start_b`, where it begins in each, all in seconds.

    Raises:
        InputError: if a file cannot be read.
    """
    recordings = recordings.sort_values("record")
    records, paths = recordings["record"].tolist(), recordings["path"].tolist()
    load = lru_cache(maxsize=64)(lambda index: _levels(paths[index]))
    rows = []
    for a, b, offsets in _candidates(paths):
        (levels_a, rate_a), (levels_b, rate_b) = load(a), load(b)
        run = _longest_run(levels_a, levels_b, offsets, math.ceil(minimum_seconds * rate_a))
        if run:
            length, start_a, start_b = run
            row = (length / rate_a, start_a / rate_a, start_b / rate_b)
            rows.append((records[a], records[b], *row))
    pairs = pd.DataFrame(rows, columns=[*_COLUMNS]).astype(_COLUMNS)
    return pairs.sort_values(
        ["seconds", "record_a", "record_b"], ascending=[False, True, True], ignore_index=True
    )


def _levels(path: str) -> tuple[np.ndarray, int]:
    """A recording as mono int16 (samples,), and its sample rate in Hz."""
    samples, sample_rate = read_samples(path)
    if samples.dtype != np.int16:
        samples = np.clip(np.rint(samples * 32_768), -32_768, 32_767)
    if samples.shape[1] > 1:
        samples = np.rint(samples.mean(axis=1, keepdims=True))
    return samples[:, 0].astype(np.int16), sample_rate


def _candidates(paths: Sequence[str]) -> Iterator[tuple[int, int, np.ndarray]]:
    """Pairs a < b of positions in `paths`, and the offsets at which their anchors agree.

    Sample t of a is expected to equal sample t + offset of b.
    """
    if len(paths) < 2:
        return
    with ThreadPoolExecutor(_THREADS) as threads:
        anchors = list(threads.map(_anchors, paths))
    owner = np.repeat(np.arange(len(paths), dtype=np.int32), [len(hashes) for hashes, _ in anchors])
    hashes, starts = (np.concatenate(parts) for parts in zip(*anchors, strict=True))
    order = np.argsort(hashes, kind="stable")
    hashes, starts, owner = hashes[order], starts[order], owner[order]
    # A loop repeats its anchors; one of each is enough and leaves room for other recordings.
    new = np.append(True, (np.diff(hashes) != 0) | (np.diff(owner) != 0))[: len(hashes)]
    hashes, starts, owner = hashes[new], starts[new], owner[new]
    found = [np.empty((0, 3), dtype=np.int64)]
    for step in range(1, _NEIGHBORS + 1):
        first = np.flatnonzero(hashes[step:] == hashes[:-step])
        second = first + step
        found.append(np.c_[owner[first], owner[second], starts[second] - starts[first]])
    agreements = pd.DataFrame(np.concatenate(found), columns=["a", "b", "offset"])
    for (a, b), offsets in agreements.drop_duplicates().groupby(["a", "b"])["offset"]:
        yield a, b, offsets.to_numpy()


def _anchors(path: str) -> tuple[np.ndarray, np.ndarray]:
    """Hashes (uint64) and starts (samples) of a recording's anchors."""
    levels, _ = _levels(path)
    changes = np.append(0, np.cumsum(np.diff(levels) != 0))
    found = []
    for start, hashes in _window_hashes(levels, _WINDOW):
        at = np.flatnonzero(hashes < np.uint64(1 << (64 - _ANCHOR_BITS)))
        steps = changes[start + at + _WINDOW - 1] - changes[start + at]
        at = at[steps >= _LEAST_CHANGES]
        found.append((hashes[at], (start + at).astype(np.int32)))
    hashes, starts = zip(*found, strict=True)
    return np.concatenate(hashes), np.concatenate(starts)


def _window_hashes(levels: np.ndarray, width: int) -> Iterator[tuple[int, np.ndarray]]:
    """Position-independent hash of every window of `width` samples, in blocks (start, hashes).

    With x the samples and B odd, the window at i has sum(x[i + j] * B**j) modulo 2**64, which
    is a difference of prefix sums of x[k] * B**k times B**-i. The mixer carries the low bits,
    which know little of the window, into the high ones, which choose the anchors.
    """
    powers, inverses = _powers(_BLOCK + width)
    for start in range(0, max(1, len(levels) - width + 1), _BLOCK):
        block = levels[start : start + _BLOCK + width - 1]
        terms = block.astype(np.int64).view(np.uint64) * powers[: len(block)]
        prefix = np.append(np.uint64(0), np.cumsum(terms))
        sums = prefix[width:] - prefix[:-width]
        yield start, sums * inverses[: len(sums)]


@cache
def _powers(size: int) -> tuple[np.ndarray, np.ndarray]:
    """B**k and mixer * B**-k modulo 2**64 for k below `size`."""
    inverse = pow(_BASE, -1, 1 << 64)
    powers, inverses = (np.full(size, base, dtype=np.uint64) for base in (_BASE, inverse))
    powers[0] = inverses[0] = 1
    return np.cumprod(powers), np.cumprod(inverses) * np.uint64(_MIXER)


def _longest_run(
    a: np.ndarray, b: np.ndarray, offsets: np.ndarray, minimum: int
) -> tuple[int, int, int] | None:
    """Length and both starts (samples) of the longest identical run with content, if any."""
    runs = []
    for offset in offsets:
        start, stop = max(0, -offset), min(len(a), len(b) - offset)
        unequal = a[start:stop] != b[start + offset : stop + offset]
        edges = np.concatenate([[-1], np.flatnonzero(unequal), [stop - start]])
        lengths = np.diff(edges) - 1
        for at in np.flatnonzero(lengths >= minimum):
            begin = start + edges[at] + 1
            runs.append((int(lengths[at]), int(begin), int(begin + offset)))
    for length, begin, begin_b in sorted(runs, reverse=True):
        if _has_content(a[begin : begin + length], minimum):
            return length, begin, begin_b
    return None


def _has_content(run: np.ndarray, minimum: int) -> bool:
    """Whether a run holds half of `minimum` different motifs; a tone has as many as its period."""
    motifs = np.concatenate([hashes for _, hashes in _window_hashes(run, _MOTIF)])
    return len(np.unique(motifs)) >= minimum / 2
