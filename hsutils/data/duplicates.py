"""Related recordings: pairs with the same subject or shared audio, and those that cross splits.

Two cuts of one tape can overlap without being equal as files, and a split between them leaks.
Content chooses where to look (Manber 1994, "Finding similar files in a large file system"): each
window of samples has a hash, and windows with a small hash are anchors, wherever they lie. Equal
anchors suggest two recordings and an offset between them; the samples themselves then decide.
"""

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from hsutils.audio.wav import read_samples
from hsutils.data.splits import SPLITS, audit
from hsutils.environment import usable_cores

KINDS = ("identical audio", "shared audio", "same subject", "validation copy")
_RANK = {name: rank for rank, name in enumerate((*KINDS, *SPLITS, "validation"))}
_PAIR = ["record_a", "record_b", "kind", "seconds"]
_WINDOW = 128  # samples; a power of two
_ANCHOR_BITS = 6  # one window in 2**6: half a second at 2 kHz has none once in a million
_LEAST_CHANGES = _WINDOW // 8  # a flatter window is in too many recordings to be a clue
_SHORTEST_SECONDS = 0.5  # of a shared run
_MOTIF = 16  # samples; audio hardly ever repeats so many, silence and test tones do
_NEIGHBORS = 8
_BASE, _MIXER = 0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93  # any odd numbers with well-mixed bits


def find_leaks(
    recordings: pd.DataFrame, splits: pd.DataFrame, copies: pd.DataFrame
) -> pd.DataFrame:
    """Every pair of related recordings in different splits.

    Two recordings of a group may be related through a third alone: `splits.audit` lists them, but
    they are no pair here. The copies, of `challenge.validation_copies`, are a split "validation".

    Returns:
        One row per pair and kind, ordered by kind and splits, the longest first: the columns of
        `related_pairs`, split_a (the earlier of the two, that of record_a) and split_b.

    Raises:
        InputError: if a file cannot be read.
    """
    pairs = related_pairs(recordings[recordings.record.isin(audit(recordings, splits).record)])
    pairs, split = pd.concat([pairs, copies]), splits.set_index("record").split
    mirrored = pairs.set_axis(["record_b", "record_a", *_PAIR[2:]], axis=1)
    pairs = pd.concat([pairs, mirrored], ignore_index=True)
    pairs["split_a"] = pairs.record_a.map(split)
    pairs["split_b"] = pairs.record_b.map(split).fillna("validation")
    leaks = pairs[pairs.split_a.map(_RANK) < pairs.split_b.map(_RANK)]
    ranks = leaks[["kind", "split_a", "split_b"]].map(_RANK.get).assign(longest=-leaks.seconds)
    order = ranks.join(leaks[["record_a", "record_b"]])
    return leaks.loc[order.sort_values([*order]).index].reset_index(drop=True)


def summarize(leaks: pd.DataFrame) -> pd.DataFrame:
    """How much leaks between which splits, from the table of `find_leaks`.

    Returns:
        One row per kind and two splits: kind, split_a, split_b, pairs, recordings (in those pairs,
        without validation copies), longest_seconds (NaN for the same subject).
    """
    keys, rows = ["kind", "split_a", "split_b"], []
    for key, part in leaks.groupby(keys, sort=False):
        records = {*part.record_a, *part.record_b[part.split_b != "validation"]}
        rows.append((*key, len(part), len(records), part.seconds.max()))
    return pd.DataFrame(rows, columns=[*keys, "pairs", "recordings", "longest_seconds"])


def group_related(recordings: pd.DataFrame) -> np.ndarray:
    """For each recording the first record of those it is related to, directly or through others.

    It takes what `related_pairs` takes.
    """
    records, pairs = pd.Index(recordings.record), related_pairs(recordings)
    edges = [records.get_indexer(pairs.record_a), records.get_indexer(pairs.record_b)]
    graph = coo_array((np.ones(len(pairs)), edges), shape=(len(records), len(records)))
    component = connected_components(graph, directed=False)[1]
    return recordings.record.groupby(component).transform("min").to_numpy()


def related_pairs(recordings: pd.DataFrame) -> pd.DataFrame:
    """Pairs of recordings of one subject or with shared audio.

    Args:
        recordings: columns record, path, seconds, subject ("" where unknown), digest.

    Returns:
        One row per pair and kind: record_a, record_b, kind (of `KINDS`: whole files with equal
        samples, other pairs with a run of equal samples, or one subject), seconds (of the shared
        passage; NaN for the same subject).
    """

    def alike(table: pd.DataFrame, key: str) -> pd.DataFrame:
        table = table[["record", "seconds", key]]
        both = table.merge(table, on=key, suffixes=("_a", "_b"))
        return both[both.record_a < both.record_b].rename(columns={"seconds_a": "seconds"})

    identical = alike(recordings, "digest").assign(kind=KINDS[0])
    shared = shared_audio(recordings).assign(kind=KINDS[1])
    # Where whole files are equal, so are their samples: what comes first says more.
    audio = pd.concat([identical, shared]).drop_duplicates(["record_a", "record_b"])
    subjects = alike(recordings[recordings["subject"] != ""], "subject").assign(kind=KINDS[2])
    return pd.concat([audio[_PAIR], subjects.assign(seconds=np.nan)[_PAIR]], ignore_index=True)


def shared_audio(recordings: pd.DataFrame) -> pd.DataFrame:
    """Pairs of recordings with a run of at least 0.5 s of identical samples, longest run first.

    Samples are compared as 16-bit mono at each file's own rate, so a copy that was filtered,
    rescaled or resampled is not found. Silence, clipping and short periods are no evidence of
    common origin and do not count. Where more than nine recordings share the same audio the
    list may leave out some pairs, but those it keeps connect all of the recordings.
    `recordings` has the columns record and path.

    Returns:
        One row per pair, `record_a` before `record_b`, with their longest shared run: its length
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
        run = _longest_run(levels_a, levels_b, offsets, math.ceil(_SHORTEST_SECONDS * rate_a))
        if run:
            length, start_a, start_b = run
            seconds = (length / rate_a, start_a / rate_a, start_b / rate_b)
            rows.append((records[a], records[b], *seconds))
    columns = ["record_a", "record_b", "seconds", "start_a", "start_b"]
    pairs = pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(columns[2:], float))
    order = ["seconds", "record_a", "record_b"]
    return pairs.sort_values(order, ascending=[False, True, True], ignore_index=True)


def _levels(path: str) -> tuple[np.ndarray, int]:
    """A recording as mono int16 (samples,), and its sample rate in Hz."""
    samples, sample_rate = read_samples(path)
    if samples.dtype != np.int16:
        samples = np.clip(np.rint(samples * 32_768), -32_768, 32_767)
    return np.rint(samples.mean(axis=1)).astype(np.int16), sample_rate


def _candidates(paths: Sequence[str]) -> Iterator[tuple[int, int, np.ndarray]]:
    """Pairs a < b of positions in `paths`; sample t of a may equal sample t + offset of b."""
    if len(paths) < 2:
        return
    with ThreadPoolExecutor(usable_cores()) as threads:
        anchors = pd.concat(threads.map(_anchors, paths), keys=range(len(paths)), names=["owner"])
    anchors = anchors.reset_index("owner").sort_values("hash", kind="stable")
    # A loop repeats its anchors; one of each is enough and leaves room for other recordings.
    anchors = anchors.drop_duplicates(["hash", "owner"])
    hashes, starts, owner = (anchors[name].to_numpy() for name in ("hash", "start", "owner"))
    found = []
    for step in range(1, _NEIGHBORS + 1):
        first = np.flatnonzero(hashes[step:] == hashes[:-step])
        second = first + step
        found.append(np.c_[owner[first], owner[second], starts[second] - starts[first]])
    agreements = pd.DataFrame(np.concatenate(found), columns=["a", "b", "offset"])
    for (a, b), offsets in agreements.drop_duplicates().groupby(["a", "b"])["offset"]:
        yield a, b, offsets.to_numpy()


def _anchors(path: str) -> pd.DataFrame:
    """A recording's anchors: hash (uint64) and start (samples)."""
    levels, _ = _levels(path)
    changes = np.append(0, np.cumsum(np.diff(levels) != 0))
    hashes = _window_hashes(levels, _WINDOW)
    at = np.flatnonzero(hashes < np.uint64(1 << (64 - _ANCHOR_BITS)))
    at = at[changes[at + _WINDOW - 1] - changes[at] >= _LEAST_CHANGES]
    return pd.DataFrame({"hash": hashes[at], "start": at})


def _window_hashes(levels: np.ndarray, width: int) -> np.ndarray:
    """Hash of every window of `width` samples (a power of two), shape (samples - width + 1,)."""
    # With x the samples, the window at i has sum(x[i + j] * B**j) modulo 2**64, whatever lies
    # around it. Two neighboring windows give one of twice the width.
    hashes, power, span = levels.astype(np.int64).view(np.uint64), _BASE, 1
    while span < width:
        hashes = hashes[:-span] + np.uint64(power) * hashes[span:]
        power, span = power * power % 2**64, 2 * span
    # The mixer carries what low bits know of the window into the high ones, which choose anchors.
    return hashes * np.uint64(_MIXER)


def _longest_run(
    a: np.ndarray, b: np.ndarray, offsets: np.ndarray, minimum: int
) -> tuple[int, int, int] | None:
    """Length and both starts (samples) of the longest identical run with content, if any."""
    runs = []
    for offset in offsets:
        start, stop = max(0, -offset), min(len(a), len(b) - offset)
        unequal = start + np.flatnonzero(a[start:stop] != b[start + offset : stop + offset])
        begins = np.append(start, unequal + 1)
        lengths = np.append(unequal, stop) - begins
        for at in np.flatnonzero(lengths >= minimum):
            runs.append((int(lengths[at]), int(begins[at]), int(begins[at] + offset)))
    for length, begin, begin_b in sorted(runs, reverse=True):
        # A tone has as many different motifs as its period.
        if len(np.unique(_window_hashes(a[begin : begin + length], _MOTIF))) >= minimum / 2:
            return length, begin, begin_b
    return None
