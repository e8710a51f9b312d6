"""Files that are either whole or absent: write to a temporary name, sync, then rename."""

import errno
import gzip
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from hsutils.errors import InputError


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """A temporary name beside `path` that becomes `path` when the block ends without error.

    Parent folders are made. The suffix is kept because many writers choose their format by it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        with temporary.open("rb") as written:
            # Renamed unsynced, a file may be found empty after a power cut.
            os.fsync(written.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path | str, text: str) -> Path:
    """Write `text` (UTF-8) whole or not at all; return the path."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return Path(path)


def write_json(path: Path | str, value: Any) -> Path:
    """Write `value` as indented JSON whole or not at all; return the path."""
    return write_text(path, json.dumps(value, indent=2, sort_keys=True) + "\n")


def read_json(path: Path | str) -> Any:
    """The value stored as JSON in `path`."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def write_csv(path: Path | str, table: pd.DataFrame, index: bool = False) -> Path:
    """Write `table` as CSV, compressed where the name ends in .gz; return the path.

    Equal tables make equal files: of neither the time nor the name is anything kept.
    """
    text = table.to_csv(index=index).encode()
    with atomic_path(path) as temporary:
        temporary.write_bytes(gzip.compress(text, mtime=0) if temporary.suffix == ".gz" else text)
    return Path(path)


def digest_of(path: Path | str) -> str:
    """SHA-256 of a file's content, as hexadecimal text; read once while the file is unchanged."""
    status = Path(path).stat()
    return _digest(str(path), status.st_ino, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=1024)
def _digest(path: str, *_: int) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def require_space(folder: Path, needed: int, setting: str, sparse: Path | None = None) -> None:
    """Raise InputError unless `needed` bytes are free in `folder`, which `setting` names.

    A `sparse` file there is given all of its blocks at once: when the disk is full, writing
    through a memory map of it would kill the process.
    """
    free = shutil.disk_usage(folder).free
    full = free < needed
    if sparse and not full and hasattr(os, "posix_fallocate"):
        with sparse.open("r+b") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, needed)
            except OSError as error:
                full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    if full:
        sizes = f"{needed / 1e6:,.1f} MB are needed and {free / 1e6:,.1f} MB are free"
        remedy = f"make room or name another folder in {setting}"
        raise InputError(f"{setting}={folder}: {sizes}; {remedy}")


def is_whole(note: Path) -> bool:
    """Whether all files that a note (JSON, name -> SHA-256) lists beside it are as it says."""
    try:
        digests = read_json(note)
        return digests != {} and all(digest_of(note.parent / n) == digests[n] for n in digests)
    except (OSError, ValueError, TypeError):
        return False
