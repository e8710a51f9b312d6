"""Makers of recordings, corpora and folders that several test modules of this room use."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from hsutils.config import RECORDED_RATE, Data
from hsutils.data.splits import published_splits
from hsutils.errors import InputError

WriteFolder = Callable[..., Path]
Noise = Callable[..., np.ndarray]


@pytest.fixture(scope="session")
def noise() -> Noise:
    """Full-scale 16-bit noise, always the same of a seed."""

    def make(samples: int = 3_000, seed: int = 0) -> np.ndarray:
        generator = np.random.default_rng(seed)
        return generator.integers(-32_768, 32_768, samples).astype(np.int16)

    return make


@pytest.fixture
def write_folder(noise: Noise) -> WriteFolder:
    """Writes a folder in the Challenge's layout: a WAV file and a row for each label (-1 or 1)."""

    def write(folder: Path, labels: dict[str, int], seed: int = 0) -> Path:
        folder.mkdir(parents=True)
        for number, record in enumerate(labels):
            soundfile.write(folder / f"{record}.wav", noise(seed=seed + number), RECORDED_RATE)
        rows = "".join(f"{record},{label}\n" for record, label in labels.items())
        (folder / "REFERENCE.csv").write_text(rows)
        return folder

    return write


@pytest.fixture(scope="session")
def corpus_of() -> Callable[..., Data]:
    """Settings of a corpus of 24 recordings of about 2 s below a folder."""

    def make(folder: Path, **settings: float) -> Data:
        asked = {"recordings": 24, "seconds_scale": 0.1} | settings
        return Data(source="synthetic", folder=str(folder), **asked)

    return make


@pytest.fixture(scope="session")
def real_lists(real_recordings: pd.DataFrame) -> pd.DataFrame:
    """The published splits, from the folder HSUTILS_LISTS or fetched."""
    try:
        return published_splits(real_recordings, os.environ.get("HSUTILS_LISTS"))
    except InputError as error:
        pytest.skip(f"HSUTILS_LISTS names no folder with the four lists, and {error}")
