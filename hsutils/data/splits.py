"""Which recording serves which purpose: pretrain, finetune, dev or test (paper section 3)."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from hsutils.config import PROJECT
from hsutils.data.download import LISTS, fetch_lists
from hsutils.errors import InputError
from hsutils.files import digest_of

SPLITS = ("pretrain", "finetune", "dev", "test")


def published_splits(recordings: pd.DataFrame, lists: Path | str | None = None) -> pd.DataFrame:
    """The split lists behind the paper's numbers: a table record, split, sorted by record.

    Args:
        recordings: with column record; every listed record must be in it.
        lists: folder with `pretrain.txt`, `finetune.txt`, `dev.txt`, `test.txt`, or the files
            under the lab's own names; None or empty fetches them once from the lab's repository.

    Raises:
        InputError: naming missing files, fetched files that were changed, and records listed
            twice or unknown.

    Warns:
        UserWarning: if lists from a folder are not the published ones, byte for byte.
    """
    files = list_files(lists)
    pairs = zip(files.values(), LISTS.values(), strict=True)
    if changed := [path.name for path, published in pairs if digest_of(path) != published]:
        effect = "results on them cannot be compared with the paper's"
        problem = f"split lists {', '.join(changed)} are not the published ones"
        warnings.warn(f"{problem}: {effect}", stacklevel=2)
    listed = pd.concat(
        pd.DataFrame({"record": path.read_text("utf-8", "replace").split(), "split": split})
        for split, path in files.items()
    ).sort_values("record", ignore_index=True)
    known, problems = listed.record.isin(recordings.record), []
    for faulty, cause in (
        (listed.record.duplicated(), "records are listed twice; keep one of each"),
        (~known, "records are not in the data; fetch all folders or use splits.method=generated"),
    ):
        if len(records := listed.record[faulty].unique()):
            problems.append(f"split lists ({', '.join(records[:5])}): {len(records)} {cause}")
    if problems:
        raise InputError(problems)
    return listed


def list_files(lists: Path | str | None) -> dict[str, Path]:
    """Split -> its list, in a folder under our or the lab's name, or fetched."""
    if not lists:
        return dict(zip(SPLITS, fetch_lists(), strict=True))
    files, advice = {}, "missing; name a folder with the four split lists"
    folder = PROJECT / Path(lists).expanduser()
    for split, lab_name in zip(SPLITS, LISTS, strict=True):
        ours, labs = folder / f"{split}.txt", folder / lab_name
        files[split] = labs if labs.is_file() and not ours.is_file() else ours
    if missing := [f"{path}: {advice}" for path in files.values() if not path.is_file()]:
        raise InputError(missing)
    return files


def generated_splits(recordings: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Splits with the published lists' shares and balance that no group crosses.

    Finetune, dev and test hold 400 recordings in 3,240 each, half of them abnormal (scaled for
    other corpora); the rest, nearly all normal, is for pre-training. `recordings` has the columns
    record, label, group. The result is a table record, split, sorted by record.

    Raises:
        InputError: if there are too few abnormal or normal recordings.
    """
    abnormal, normal = int((recordings.label == 1).sum()), int((recordings.label == 0).sum())
    # Some of each class stay for pretrain.
    half = min(round(len(recordings) * 400 / 2 / 3240), abnormal * 4 // 13, normal // 4)
    if half < 2:
        problem = f"{normal} normal and {abnormal} abnormal recordings are too few to split"
        raise InputError(f"{problem}: use 25 or more, 8 of them normal and 7 abnormal")
    members = recordings.groupby("group").label.value_counts().unstack(fill_value=0)
    groups = np.random.default_rng(seed).permutation(members.index.to_numpy())
    split_of = dict.fromkeys(groups, "pretrain")
    for split in SPLITS[1:]:
        left = np.array([half, half])
        for group, *count in members.loc[groups].itertuples():
            if split_of[group] == "pretrain" and (count <= left).all():
                split_of[group] = split
                left -= count
    table = recordings[["record"]].assign(split=recordings.group.map(split_of))
    return table.sort_values("record", ignore_index=True)


def stratified_subset(recordings: pd.DataFrame, n: int, seed: int = 0) -> pd.DataFrame:
    """About `n` recordings that keep the shares of every database and label, at least one of each.

    All are kept where `n` is 0 or there are no more.
    """
    if not 0 < n < len(recordings):
        return recordings
    share = n / len(recordings)
    picked = [
        part.sample(max(1, round(len(part) * share)), random_state=seed)
        for _, part in recordings.groupby(["database", "label"])
    ]
    return pd.concat(picked).sort_values("record", ignore_index=True)


def leave_out(
    splits: pd.DataFrame, recordings: pd.DataFrame, database: str, with_test: bool = False
) -> pd.DataFrame:
    """The same splits without one database, all of whose recordings become the test split.

    The other databases keep their splits, except for their test split and for recordings related
    to those left out. So no subject, device or room of the test split was trained on.

    Args:
        splits: record, split; the result is such a table, sorted by record.
        recordings: with columns record, database, label, group.
        database: the one to leave out.
        with_test: whether the other databases' test recordings, on which nothing is tested now,
            join *finetune* instead of being dropped.

    Raises:
        InputError: if no recording is of this database, or too little else is left.
    """
    held = recordings[recordings.database == database]
    if held.empty:
        known = ", ".join(sorted(set(recordings.database)))
        raise InputError(f"splits.leave_out={database}: no such database; there are {known}")
    related = recordings.record[recordings.group.isin(held.group)]
    others = splits.replace({"split": {"test": "finetune"}}) if with_test else splits
    kept = others[(others.split != "test") & ~others.record.isin(related)]
    problem = f"splits.leave_out={database}: too little is left"
    require_classes(kept, recordings, problem, SPLITS[:3])
    table = pd.concat([kept, held[["record"]].assign(split="test")])
    return table.sort_values("record", ignore_index=True)


def require_classes(
    splits: pd.DataFrame, recordings: pd.DataFrame, problem: str, names: Sequence = SPLITS
) -> None:
    """Raise InputError if pretrain has no two recordings, or another of these lacks a class."""
    labels = splits.merge(recordings[["record", "label"]], on="record").groupby("split").label
    found = labels.nunique().to_dict() | {"pretrain": labels.size().get("pretrain", 0)}
    if missing := [name for name in names if found.get(name, 0) < 2]:
        needs = "pretrain needs two recordings, the others both classes"
        raise InputError(f"{problem} for {', '.join(missing)}; {needs}")


def audit(recordings: pd.DataFrame, splits: pd.DataFrame) -> pd.DataFrame:
    """What leaks: group, record, split of every group in more than one split, sorted.

    >>> recordings = pd.DataFrame({"record": ["x", "y", "z"], "group": ["p", "p", "q"]})
    >>> splits = pd.DataFrame({"record": ["x", "y", "z"], "split": ["dev", "test", "test"]})
    >>> audit(recordings, splits).record.to_list()
    ['x', 'y']
    """
    table = recordings[["record", "group"]].merge(splits, on="record")
    crosses = table.groupby("group").split.transform("nunique") > 1
    columns = ["group", "record", "split"]
    return table.loc[crosses, columns].sort_values(columns[:2], ignore_index=True)
