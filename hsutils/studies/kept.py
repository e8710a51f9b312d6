"""A few tables that belong together, kept as CSV files small enough to be committed."""

import dataclasses
import gzip
import hashlib
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import ClassVar, Self

import pandas as pd

from hsutils.errors import InputError
from hsutils.files import write_csv

BROKEN = (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError)
BROKEN += (gzip.BadGzipFile, zlib.error, EOFError)
"""What reading a file says that is no table, or only the beginning of one."""


@dataclasses.dataclass(frozen=True)
class Kept:
    """Base of dataclasses whose every field is a table; each is a CSV file (`file`)."""

    COLUMNS: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Table -> columns without which it is not what its name says."""
    COMPRESSED: ClassVar[frozenset[str]] = frozenset()
    """Tables of so many recordings and models that their files are compressed."""

    @classmethod
    def parts(cls) -> tuple[str, ...]:
        """Names of the tables."""
        return tuple(field.name for field in dataclasses.fields(cls))

    @classmethod
    def file(cls, part: str) -> str:
        """Name of a table's file; pandas reads both kinds alike."""
        return f"{part}.csv.gz" if part in cls.COMPRESSED else f"{part}.csv"

    @property
    def digest(self) -> str:
        """A hash of everything in it; figures carry it."""
        text = "".join(getattr(self, part).to_csv(index=False) for part in self.parts())
        return hashlib.sha256(text.encode()).hexdigest()

    def save(self, folder: Path) -> Path:
        """Write every table into a folder."""
        for part in self.parts():
            write_csv(folder / self.file(part), getattr(self, part))
        return folder

    @classmethod
    def read(cls, folder: Path | str) -> Self:
        """What `save` wrote.

        Raises:
            InputError: naming the files that are missing, no table, or without a column that
                `COLUMNS` asks for.
        """
        paths = {part: Path(folder) / cls.file(part) for part in cls.parts()}
        missing = [path.name for path in paths.values() if not path.is_file()]
        if missing:
            raise InputError(f"{folder} lacks {', '.join(missing)}: gather into it first")
        return cls(*(_read(path, cls.COLUMNS.get(part, ())) for part, path in paths.items()))


def _read(path: Path, columns: Iterable[str]) -> pd.DataFrame:
    remedy = "gather into its folder again"
    try:
        table = pd.read_csv(path)
    except BROKEN as error:
        raise InputError(f"{path} is no table ({error}): {remedy}") from error
    absent = [column for column in columns if column not in table]
    if absent:
        raise InputError(f"{path} lacks the columns {', '.join(absent)}: {remedy}")
    return table
