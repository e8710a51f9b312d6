"""Stages 01 and 02: recordings, their splits and their spectrograms, made once a run."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from hsutils.config import PROJECT, Splits, fingerprint
from hsutils.data.cache import SpectrogramCache, build_cache
from hsutils.data.challenge import COLUMNS, READ, read_recordings
from hsutils.data.clips import CLIPS
from hsutils.data.duplicates import group_related
from hsutils.data.splits import (
    generated_splits,
    leave_out,
    list_files,
    published_splits,
    require_classes,
    stratified_subset,
)
from hsutils.data.synthetic import corpus_folder, write_corpus
from hsutils.data.table import read_table, table_rows
from hsutils.errors import InputError
from hsutils.files import digest_of, write_csv
from hsutils.run import Run

TRAINED = ("pretrain", "finetune", "further")
"""The splits that train, where all labels do; `further` recordings are those of `data.more`."""


@dataclass(frozen=True)
class Corpus:
    """Recordings, their splits and their spectrograms.

    Besides the four splits there are "labeled", with whose labels the teacher is fine-tuned, and
    "unlabeled", on whose soft labels the student is trained. In the paper these are *finetune* and
    *pretrain*; with `splits.labeled` "all" each is both.
    """

    recordings: pd.DataFrame
    splits: pd.DataFrame
    cache: SpectrogramCache
    settings: Splits = field(default_factory=Splits)

    def of(self, split: str) -> pd.DataFrame:
        """The recordings of one split, by record."""
        named = {"labeled": ["finetune"], "unlabeled": ["pretrain"]}
        if self.settings.labeled == "all":
            named = {name: [*TRAINED] for name in named}
        records = self.splits.record[self.splits.split.isin(named.get(split, [split]))]
        return self.recordings[self.recordings.record.isin(records)].reset_index(drop=True)

    def rows(self, split: str) -> np.ndarray:
        """Rows of the cache that belong to one split."""
        return self.cache.rows(self.of(split).record)

    @property
    def paths(self) -> list[str]:
        """The files of the recordings, by row of the cache."""
        return self.recordings.set_index("record").path.loc[self.cache.index.index].tolist()


def load_recordings(run: Run) -> pd.DataFrame:
    """Stage 01, first half: the table of `challenge.COLUMNS`, checked and grouped."""
    data, folder = run.profile.data, prepare_data(run)
    subset = 0 if data.source == "synthetic" else data.recordings
    read = read_table if data.source == "table" else read_recordings

    def make(file: Path) -> None:
        table = stratified_subset(read(folder)[COLUMNS], subset, data.seed)
        if data.more:
            more = read_table(further_table(run))[COLUMNS]
            _require_unrelated(table, more, data.more)
            table = pd.concat([table, more], ignore_index=True)
        write_csv(file, table)

    text = dict.fromkeys(["record", "database", "path", "subject", "group", "digest"], str)
    file = run.cached("recordings.csv", data_fingerprint(run), make)
    return pd.read_csv(file, dtype=text, keep_default_na=False)


def _require_unrelated(table: pd.DataFrame, more: pd.DataFrame, name: str) -> None:
    """Further recordings share no name, audio or patient with those that may be tested on."""
    known = more.record.isin(table.record)
    problem, remedy = "are named as others in the data", "rename them (column record)"
    if not known.any():
        group = group_related(pd.concat([table, more], ignore_index=True))
        known = np.isin(group[len(table) :], group[: len(table)])
        problem = "share audio or a patient with the data"
        remedy = "take them out, or rename patients who are others (column patient)"
    if len(twice := more.record[known]):
        problem = f"{len(twice)} recordings {problem} ({', '.join(twice[:5])})"
        raise InputError(f"data.more={name}: {problem}; {remedy}")


def load_splits(run: Run) -> pd.DataFrame:
    """Stage 01, second half: which recording serves which purpose; record, split."""
    recordings, settings, seed = load_recordings(run), run.profile.splits, run.profile.data.seed
    # Only the database left out is tested on: with "all" labels, train on the others' test split.
    with_test = bool(settings.leave_out) and settings.labeled == "all"
    more = table_rows(further_table(run)).record if run.profile.data.more else []
    is_further = recordings.record.isin(more)
    further = recordings[is_further & (recordings.database != settings.leave_out)]
    recordings, given = recordings[~is_further], _given_splits(run)

    def make(file: Path) -> None:
        if len(given):
            table = given[given.record.isin(recordings.record)].sort_values("record")
        elif settings.method == "published" and run.profile.data.source != "table":
            table = published_splits(recordings, settings.lists)
        else:
            table = generated_splits(recordings, seed)
        require_classes(table, recordings, "splits: too few recordings or patients")
        if settings.leave_out:
            table = leave_out(table, recordings, settings.leave_out, with_test)
        write_csv(file, pd.concat([table, further[["record"]].assign(split="further")]))

    identity = recordings[["record", "database", "label", "group"]].to_numpy().tolist()
    identity += further.record.tolist()
    # Lists in a folder may be edited; those that are fetched cannot differ.
    own = settings.method == "published" and settings.lists
    lists = list_files(settings.lists).values() if own else []
    parts = [*map(digest_of, lists)], with_test, *given.to_numpy().tolist()
    stamp = fingerprint(settings, seed, identity, *parts)
    return pd.read_csv(run.cached("splits.csv", stamp, make), dtype=str, keep_default_na=False)


def _given_splits(run: Run) -> pd.DataFrame:
    """The splits that a table of recordings names itself: record, split; none elsewhere."""
    if run.profile.data.source != "table":
        return pd.DataFrame(columns=["record", "split"])
    rows = table_rows(data_folder(run)).reindex(columns=["record", "split"], fill_value="")
    return rows[rows.split != ""]


def load_corpus(run: Run) -> Corpus:
    """Stage 02: recordings and splits with their cached spectrograms."""
    recordings, splits = load_recordings(run), load_splits(run)
    cache = build_cache(recordings, run.profile.front_end)
    return Corpus(recordings, splits, cache, run.profile.splits)


def prepare_data(run: Run) -> Path:
    """The folder of the recordings, or their table; a synthetic corpus is written if missing."""
    data = run.profile.data
    return write_corpus(data) if data.source == "synthetic" else data_folder(run)


def data_folder(run: Run) -> Path:
    """The folder of the recordings, or their table; each synthetic corpus has its own folder."""
    data = run.profile.data
    if data.source == "synthetic":
        return corpus_folder(data)
    if data.source == "clips":
        return CLIPS
    return PROJECT / Path(data.folder).expanduser()


def further_table(run: Run) -> Path:
    """The table of further recordings, where `data.more` names one."""
    return PROJECT / Path(run.profile.data.more).expanduser()


def data_fingerprint(run: Run) -> str:
    """What the table of recordings depends on: settings, and every file's size and time."""
    folder = data_folder(run)
    if run.profile.data.source == "table":
        files = [folder, *map(Path, table_rows(folder).path)]
    else:
        files = sorted(p for p in folder.rglob("*") if p.suffix in (*READ, ".csv") and p.is_file())
    if run.profile.data.more:
        files += [further_table(run), *map(Path, table_rows(further_table(run)).path)]
    listing = [[str(p), p.stat().st_size, p.stat().st_mtime_ns] for p in files]
    return fingerprint(run.profile.data, listing)
