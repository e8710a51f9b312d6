"""The spectrogram cache: one memory-mapped float16 file for all recordings of a corpus.

The key is a hash of the front end's settings and of every recording's samples. So all runs on the
same data share it, and only a change of this package's code can make it stale. Memory stays flat:
recordings are processed a few at a time, and batches are read from the map.
"""

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, repeat
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from filelock import FileLock
from torch import Tensor

from hsutils.audio.spectrograms import Occupied, read_log_mel, standardize
from hsutils.config import PROJECT, FrontEnd, fingerprint
from hsutils.environment import usable_cores
from hsutils.errors import InputError
from hsutils.files import atomic_path, digest_of, is_whole, require_space, write_csv, write_json
from hsutils.progress import progress


class SpectrogramCache:
    """Spectrograms of a corpus on disk, by record.

    `array` is the map: float16 (in [0, 1] with min-max scaling), shape (recordings, mels, frames).
    `index` holds the region that each record occupies.
    """

    def __init__(self, folder: Path, front_end: FrontEnd):
        self.folder = folder
        self.front_end = front_end
        how = {"dtype": {"record": str}, "keep_default_na": False}
        self.index = pd.read_csv(folder / "index.csv", **how).set_index("record")
        self.array = np.load(folder / "spectrograms.npy", mmap_mode="r")

    def __reduce__(self) -> tuple:
        """Another process opens the map anew: a pickled map would be a whole copy."""
        return SpectrogramCache, (self.folder, self.front_end)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one spectrogram: (1, mels, frames)."""
        return self.front_end.shape

    def rows(self, records: Iterable[str]) -> np.ndarray:
        """Row numbers in the map of these records, shape (N,).

        Raises:
            InputError: if a record is not in the cache.
        """
        records = pd.Index(records, dtype=object)
        rows = self.index.index.get_indexer(records)
        if len(missing := records[rows < 0]):
            problem = f"{len(missing)} records have no spectrogram ({', '.join(missing[:5])})"
            raise InputError(f"{problem}: run notebook 02 on the same data")
        return rows

    def batch(self, rows: Sequence[int] | np.ndarray) -> Tensor:
        """Standardized float32 spectrograms of some rows, shape (N, 1, mels, frames)."""
        values = torch.from_numpy(self.array[np.asarray(rows)]).float()
        return standardize(values, self.front_end).unsqueeze(1)

    def occupied(self, row: int) -> Occupied:
        """The region of a spectrogram that its recording fills."""
        first_row, last_row, first_frame, last_frame = self.index.iloc[row]
        return Occupied((first_row, last_row), (first_frame, last_frame))


def cache_key(recordings: pd.DataFrame, front_end: FrontEnd) -> str:
    """A hash of the front end and of every recording's name and samples."""
    return fingerprint(front_end, identity(recordings))


def identity(recordings: pd.DataFrame) -> list[list]:
    """What makes a recording the one it is: its name, samples and sample rate."""
    return recordings[["record", "digest", "sample_rate"]].to_numpy().tolist()


def build_cache(recordings: pd.DataFrame, front_end: FrontEnd) -> SpectrogramCache:
    """The cache of these recordings, computed unless it is already there and undamaged.

    It lies in a folder of its own in `$HSUTILS_CACHE`, or in `cache` beside the package.
    `recordings` has the columns record, path, digest, sample_rate.

    Raises:
        InputError: if the disk has no room for it.
    """
    root = Path(os.environ.get("HSUTILS_CACHE", PROJECT / "cache"))
    folder = root / cache_key(recordings, front_end)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock"):
        if not is_whole(folder / "note.json"):
            for old in folder.glob("*.*"):
                old.unlink()
            files = _compute(recordings, front_end, folder)
            write_json(folder / "note.json", {path.name: digest_of(path) for path in files})
    return SpectrogramCache(folder, front_end)


def _compute(recordings: pd.DataFrame, front_end: FrontEnd, folder: Path) -> tuple[Path, Path]:
    shape, paths, ends = (len(recordings), *front_end.shape[1:]), recordings.path.tolist(), []
    file, threads = folder / "spectrograms.npy", ThreadPoolExecutor(usable_cores())
    with atomic_path(file) as temporary, threads:
        array = np.lib.format.open_memmap(temporary, "w+", np.float16, shape)
        require_space(folder.parent, temporary.stat().st_size, "HSUTILS_CACHE", sparse=temporary)
        # A few at a time: a slow disk must not fill memory.
        parts = (paths[start : start + 16] for start in range(0, len(paths), 16))
        made = (threads.map(read_log_mel, part, repeat(front_end)) for part in parts)
        made = progress(chain.from_iterable(made), len(paths), "spectrograms")
        for spectrogram, occupied in made:
            array[len(ends)] = spectrogram
            ends.append((*occupied.rows, *occupied.frames))
        array.flush()
    columns = ["first_mel", "last_mel", "first_frame", "last_frame"]
    index = pd.DataFrame(ends, recordings.record, columns)
    return file, write_csv(folder / "index.csv", index, index=True)
