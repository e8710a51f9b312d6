"""Stations 01 and 02: recordings, their splits and their spectrograms, made once a run."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from hsutils.training.datasets import Labeled
from hsutils.data.cache import SpectrogramCache, build_cache
from hsutils.experiment import PROJECT, Run, fingerprint
from hsutils.files import write_csv
from hsutils.data.challenge import read_recordings
from hsutils.settings import Splits
from hsutils.data.splits import (
    digest_lists,
    generated_splits,
    leave_out,
    published_splits,
    stratified_subset,
)
from hsutils.data.synthetic import write_corpus


@dataclass(frozen=True)
class Corpus:
    """Recordings, their splits and their spectrograms.

    Besides the four splits there are "labeled", the recordings whose labels the teacher may learn
    from, and "unlabeled", those that a student hears with soft labels: in the paper *finetune* and
    *pretrain*.
    """

    recordings: pd.DataFrame
    splits: pd.DataFrame
    cache: SpectrogramCache
    settings: Splits = field(default_factory=Splits)
    seed: int = 0

    def of(self, split: str) -> pd.DataFrame:
        """The recordings of one split, by record."""
        both, every = ["pretrain", "finetune"], self.settings.labeled == "all"
        softly = both if every or self.settings.softly == "both" else ["pretrain"]
        groups = {"labeled": both if every else ["finetune"], "unlabeled": softly}
        wanted = groups.get(split, [split])
        records = self.splits.record[self.splits.split.isin(wanted)]
        found = self.recordings[self.recordings.record.isin(records)].reset_index(drop=True)
        if split == "labeled" and self.settings.label_share < 1:
            kept = max(1, round(len(found) * self.settings.label_share))
            found = stratified_subset(found, kept, self.seed)
        return found

    def rows(self, split: str) -> np.ndarray:
        """Rows of the cache that belong to one split."""
        return self.cache.rows(self.of(split).record)

    @property
    def paths(self) -> list[str]:
        """Of the recordings, by row of the cache."""
        return self.recordings.set_index("record").path.loc[self.cache.index.index].tolist()

    def labeled(self, split: str) -> Labeled:
        """Spectrograms of one split with their true labels."""
        return Labeled(self.cache, self.rows(split), self.of(split).label.to_numpy())


def load_recordings(run: Run) -> pd.DataFrame:
    """Station 01, first half: the table of recordings, checked and grouped."""
    data, file, folder = run.experiment.data, run.path("recordings.csv"), prepare_data(run)
    stamp = data_fingerprint(run)
    if not run.is_done("recordings.csv", stamp):
        subset = 0 if data.source == "synthetic" else data.recordings
        table = stratified_subset(read_recordings(folder), subset, data.seed)
        run.forget("recordings.csv")
        write_csv(file, table)
        run.mark_done("recordings.csv", stamp)
    text = dict.fromkeys(["record", "database", "path", "subject", "group", "digest"], str)
    return pd.read_csv(file, dtype=text, keep_default_na=False)


def prepare_data(run: Run) -> Path:
    """The folder of the recordings; artificial ones are written unless they are there."""
    data, folder = run.experiment.data, data_folder(run)
    if data.source == "synthetic":
        knobs = (data.seconds_scale, data.snr_db, data.murmur_db)
        write_corpus(folder, data.recordings, data.seed, *knobs)
    return folder


def data_fingerprint(run: Run) -> str:
    """What the table of recordings depends on: settings, and every file's size and time."""
    return fingerprint(run.experiment.data, _listing(data_folder(run)))


def data_folder(run: Run) -> Path:
    """The folder of the recordings; every artificial corpus has one of its own."""
    data = run.experiment.data
    folder = PROJECT / Path(data.folder).expanduser()
    return folder / fingerprint(data) if data.source == "synthetic" else folder


def load_splits(run: Run) -> pd.DataFrame:
    """Station 01, second half: which recording serves which purpose."""
    recordings, settings = load_recordings(run), run.experiment.splits
    identity = recordings[["record", "database", "label", "group"]].to_numpy().tolist()
    published = settings.method == "published"
    lists = digest_lists(settings.lists) if published and settings.lists else []
    with_test = bool(settings.leave_out) and settings.labeled == "all"
    rules = ["with test"] if with_test else []
    stamp = fingerprint(settings, run.experiment.data.seed, identity, lists, *rules)
    if not run.is_done("splits.csv", stamp):
        if published:
            table = published_splits(recordings, settings.lists)
        else:
            table = generated_splits(recordings, run.experiment.data.seed)
        if settings.leave_out:
            table = leave_out(table, recordings, settings.leave_out, with_test)
        run.forget("splits.csv")
        write_csv(run.path("splits.csv"), table)
        run.mark_done("splits.csv", stamp)
    return pd.read_csv(run.path("splits.csv"), dtype=str)


def load_corpus(run: Run) -> Corpus:
    """Station 02: recordings and splits with their cached spectrograms."""
    recordings, splits = load_recordings(run), load_splits(run)
    experiment = run.experiment
    cache = build_cache(recordings, experiment.front_end)
    return Corpus(recordings, splits, cache, experiment.splits, experiment.data.seed)


def _listing(folder: Path) -> list[list[object]]:
    """Every data file's name, size and time: cheap to compare, and any change shows."""
    files = sorted(p for p in folder.rglob("*") if p.suffix in (".wav", ".csv") and p.is_file())
    return [[str(p), p.stat().st_size, p.stat().st_mtime_ns] for p in files]
