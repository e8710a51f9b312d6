"""A few tables that belong together, kept as CSV files small enough to be committed."""

import dataclasses
import hashlib
from pathlib import Path
from typing import Self

import pandas as pd

from hsutils.errors import InputError
from hsutils.files import write_csv


@dataclasses.dataclass(frozen=True)
class Kept:
    """Base of dataclasses whose every field is a table; each is a CSV file of its name."""

    @classmethod
    def parts(cls) -> tuple[str, ...]:
        """Names of the tables."""
        return tuple(field.name for field in dataclasses.fields(cls))

    @property
    def digest(self) -> str:
        """A hash of everything in it; figures carry it."""
        text = "".join(getattr(self, part).to_csv(index=False) for part in self.parts())
        return hashlib.sha256(text.encode()).hexdigest()

    def save(self, folder: Path) -> Path:
        """Write every table into a folder."""
        for part in self.parts():
            write_csv(folder / f"{part}.csv", getattr(self, part))
        return folder

    @classmethod
    def read(cls, folder: Path | str) -> Self:
        """What `save` wrote.

        Raises:
            InputError: naming the files that are missing.
        """
        missing = [part for part in cls.parts() if not (Path(folder) / f"{part}.csv").is_file()]
        if missing:
            raise InputError(f"{folder} lacks {', '.join(missing)} (.csv): gather into it first")
        return cls(*(pd.read_csv(Path(folder) / f"{part}.csv") for part in cls.parts()))
