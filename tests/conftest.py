"""Fixtures every test module may use."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import soundfile

NEED_SERIES = ("tests/notebooks/test_series.py", "tests/browser/")
RATE = 2_000
TINY_SETTINGS = {
    **{"data.source": "challenge", "splits.method": "published"},
    **{"front_end.clip_seconds": 2.2, "front_end.mels": 24},
    **{f"{stage}.epochs": 2 for stage in ("pretrain", "finetune", "student", "baseline")},
    **{f"{stage}.learning_rate": 1e-3 for stage in ("finetune", "student", "baseline")},
    **{"compute.accelerator": "cpu", "compute.precision": "32-true", "compute.threads": 1},
}
"""The stages in seconds, on the recordings of `tiny_data`."""

SMALLEST = {f"{stage}.epochs": 1 for stage in ("finetune", "student", "baseline")}
SMALLEST |= {"front_end.clip_seconds": 2.2, "front_end.mels": 24}
"""Smaller than the profile `small`: what a notebook does is the same."""


class Screen:
    """What a notebook shows that somebody has opened: in each place one thing after another."""

    def __init__(self):
        self.places = []

    def display(self, part: object, display_id: bool) -> SimpleNamespace:
        assert display_id, "what has no identity cannot be replaced"
        self.places.append([part])
        return SimpleNamespace(update=self.places[-1].append)


class Series(NamedTuple):
    """A finished run of the series: what was typed, and what it said."""

    folder: Path
    overrides: list[str]
    command: list[str]
    said: str


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first."""
    items.sort(key=lambda item: item.path.parent.name not in ("notebooks", "browser"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log):
    """A file is run by one process, and all that needs the finished series, or trained studies."""
    from xdist.scheduler import LoadFileScheduling

    class FilesOrSeries(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            if file.startswith(NEED_SERIES):
                return "series"
            return "studies" if file.startswith("tests/studies/") else file

    config.option.loadscopereorder = False
    return FilesOrSeries(config, log)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The unpacked Challenge folder named by HSUTILS_DATA, or a skip that says how to get it."""
    folder = os.environ.get("HSUTILS_DATA")
    if not folder:
        pytest.skip("HSUTILS_DATA is not set: name the folder that `hsutils fetch` unpacked")
    if not Path(folder).is_dir():
        pytest.fail(f"HSUTILS_DATA names {folder}, which is not a folder")
    return Path(folder)


@pytest.fixture(scope="session")
def real_recordings(real_data: Path) -> pd.DataFrame:
    """The table of the real recordings."""
    from hsutils.data.challenge import read_recordings

    return read_recordings(real_data)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Tests never touch the user's spectrograms, nor do the processes they start."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HSUTILS_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def series(tmp_path_factory: pytest.TempPathFactory, own_cache: Path) -> Series:
    """The whole series, run by the command a user types, on a table of synthetic recordings."""
    from hsutils.config import load_profile
    from hsutils.data.challenge import read_recordings
    from hsutils.data.synthetic import write_corpus

    place = tmp_path_factory.mktemp("series")
    data = load_profile("small", {"data.folder": str(place / "data")}).data
    recordings = read_recordings(write_corpus(data))
    recordings["patient"] = recordings.index // 2
    names = {letter: "Clinic 1" if letter == "e" else "at home" for letter in "abcdef"}
    recordings["database"] = recordings.database.map(names)
    table = place / "table.csv"
    recordings[["path", "label", "patient", "database", "quality"]].to_csv(table, index=False)
    small = [f"{key}={value}" for key, value in SMALLEST.items()]
    overrides = [*small, "data.source=table", f"data.folder={table}"]
    command = ["run", "--profile", "small", "--data", str(table), "--run-dir", str(place / "run")]
    command += [part for override in small for part in ("--set", override)]
    line = [sys.executable, "-m", "hsutils", *command]
    done = subprocess.run(line, capture_output=True, text=True, cwd=place)
    assert done.returncode == 0, done.stdout + done.stderr
    return Series(place / "run", overrides, command, done.stdout + done.stderr)


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    """Where explorers show what they draw."""
    from hsutils import widgets

    screen, message = Screen(), {"content": {"allow_stdin": True}}
    kernel = SimpleNamespace(get_parent=lambda: message)
    monkeypatch.setattr(widgets, "display", screen.display)
    monkeypatch.setattr(widgets, "get_ipython", lambda: SimpleNamespace(kernel=kernel))
    return screen


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Small arithmetic is fastest on one thread, above all where others use the cores."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def noise_recordings(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The table of 40 recordings of noise, 0.8 to 2.4 s long; every third is abnormal."""
    folder, generator = tmp_path_factory.mktemp("noise"), np.random.default_rng(0)
    rows = []
    for number in range(40):
        samples = generator.normal(0, 3_000, generator.integers(1_600, 4_800)).astype(np.int16)
        record = f"{'abcdef'[number % 6]}{number:04d}"
        path = folder / f"{record}.wav"
        soundfile.write(path, samples, RATE)
        digest = hashlib.blake2b(samples.tobytes(), digest_size=16).hexdigest()
        rows.append([record, record[0], str(path), int(number % 3 == 0), 1, RATE])
        rows[-1] += [len(samples) / RATE, record, digest]
    columns = ["record", "database", "path", "label", "quality", "sample_rate"]
    table = pd.DataFrame(rows, columns=[*columns, "seconds", "group", "digest"])
    return table.sort_values("record", ignore_index=True)


@pytest.fixture(scope="session")
def noise_cache(noise_recordings: pd.DataFrame, own_cache: Path):
    """Their spectrograms, 1 x 24 x 73."""
    from hsutils.config import FrontEnd
    from hsutils.data.cache import build_cache

    return build_cache(noise_recordings, FrontEnd(clip_seconds=1.5, mels=24))


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """36 synthetic recordings of 2 s (in `recordings`), and the lists that split them."""
    from hsutils.config import Data
    from hsutils.data.challenge import read_recordings
    from hsutils.data.splits import generated_splits
    from hsutils.data.synthetic import write_corpus

    root = tmp_path_factory.mktemp("data")
    write_corpus(Data(folder=str(root), recordings=36, seconds_scale=0.01)).rename(
        root / "recordings"
    )
    recordings = read_recordings(root / "recordings")
    for split, part in generated_splits(recordings).groupby("split"):
        (root / f"{split}.txt").write_text("\n".join(part.record))
    return root
