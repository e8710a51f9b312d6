"""The disk: is there room for what is to be written, and is what was written undamaged?"""

import errno
import os
import shutil
from pathlib import Path

from hsutils.errors import InputError
from hsutils.files import digest_of, read_json


def require_space(folder: Path, needed: int, setting: str, sparse: Path | None = None) -> None:
    """Raise InputError in one line unless `needed` bytes are free in `folder`.

    Args:
        setting: what names another folder, such as `--to` or `HSUTILS_CACHE`.
        sparse: a file in that folder to give all of its blocks at once. Writing through a memory
            map of a sparse file kills the process when the disk is full.
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
