"""The Challenge layout on disk -> one table, a row a recording.

The layout is PhysioNet's (https://physionet.org/content/challenge-2016/1.0.0): folders
`training-a` to `training-f`, each with WAV files, `REFERENCE.csv` and `REFERENCE-SQI.csv`.
Its `validation` folder holds copies of training recordings and is never read.
"""

import hashlib
import os
import re
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from hsutils.errors import InputError
from hsutils.data.shared_audio import shared_audio
from hsutils.audio.wav import SAMPLE_RATE, read_samples, read_waveform

__all__ = ["COLUMNS", "grouping_evidence", "read_recordings", "read_waveform"]

COLUMNS = (
    *("record", "database", "path", "label", "quality"),
    *("sample_rate", "seconds", "subject", "group", "digest"),
)

ANNOTATION_FILES = ("Online_Appendix_training_set.csv", "Online Appendix_training set.csv")
"""Names PhysioNet has given to the table of subjects, newest first."""

_THREADS = 4


def read_recordings(root: Path | str, annotations: Path | str | None = None) -> pd.DataFrame:
    """Every training recording below `root`, checked sample by sample.

    Args:
        root: folder with `training-a` to `training-f`, all or some, at any depth.
        annotations: PhysioNet's `Online_Appendix_training_set.csv`; looked for below `root`
            when not given. Without it no subject is known.

    Returns:
        One row a recording, sorted by `record`, with `COLUMNS`:
        `label` 0 normal, 1 abnormal; `quality` 1 usable, 0 too noisy to be sure;
        `sample_rate` (Hz) and `seconds` as stored; `subject` such as "a-C45", "" where unknown;
        `group` the smallest record among those that share a subject or identical audio;
        `digest` of the decoded samples, which changes when and only when they change.

    Raises:
        InputError: naming every problem found in folders, rows and files at once.

    Warns:
        UserWarning: once, if some files are not mono at 2,000 Hz.
    """
    folders, found_annotations = _find(Path(root))
    problems: list[str] = []
    rows = [row for folder in folders for row in _read_folder(folder, problems)]
    with ThreadPoolExecutor(_THREADS) as threads:
        inspected = list(threads.map(inspect_samples, (row["path"] for row in rows)))
    problems += [result for result in inspected if isinstance(result, str)]
    problems += _recordings_in_two_folders(rows)
    if not rows and not problems:
        problems.append(f"{root}: holds no recordings; run `hsutils fetch`")
    subjects = _read_subjects(annotations or found_annotations, problems)
    if problems:
        raise InputError(problems)
    _notice_conversions(rows, inspected)
    recordings = pd.DataFrame(rows).join(pd.DataFrame(inspected).drop(columns="channels"))
    recordings = recordings.sort_values("record", ignore_index=True)
    recordings["subject"] = [subjects.get(record, "") for record in recordings["record"]]
    recordings["group"] = _groups(recordings)
    return recordings[list(COLUMNS)]


def grouping_evidence(recordings: pd.DataFrame) -> pd.DataFrame:
    """How far splits by `group` can be called patient-disjoint, per database.

    Returns:
        Indexed by `database`, with a last row "all": number of `recordings`, how many have a
        `known_subject`, distinct `subjects`, `groups`, and the `share` with a known subject.
        Only where `share` is 1 may a split be called patient-disjoint.
    """
    databases = recordings["database"]
    parts = [*recordings.groupby(databases), ("all", recordings)]
    known = {name: part["subject"] != "" for name, part in parts}
    return pd.DataFrame(
        {
            "recordings": {name: len(part) for name, part in parts},
            "known_subject": {name: int(known[name].sum()) for name, _ in parts},
            "subjects": {name: part["subject"][known[name]].nunique() for name, part in parts},
            "groups": {name: part["group"].nunique() for name, part in parts},
            "share": {name: float(known[name].mean()) for name, _ in parts},
        }
    ).rename_axis("database")


def _find(root: Path) -> tuple[list[Path], Path | None]:
    """The training folders and the annotation file at or below `root`, in a fixed order."""
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; name the one that `hsutils fetch` filled")
    root = root.resolve()
    folders, annotations = [root] if _is_training(root.name) else [], []
    for name, children, files in os.walk(root):
        here = Path(name)
        folders += [here / child for child in children if _is_training(child)]
        annotations += [here / file for file in files if file in ANNOTATION_FILES]
        children[:] = [child for child in children if not _is_skipped(child)]
    if not folders:
        raise InputError(f"{root}: holds no folder training-a to training-f; run `hsutils fetch`")
    return sorted(folders), min(annotations, default=None)


def _is_training(name: str) -> bool:
    return re.fullmatch("training-[a-f]", name) is not None


def _is_skipped(name: str) -> bool:
    # Hidden folders are where `hsutils fetch` unpacks; macOS leaves shadows of files in __MACOSX.
    return _is_training(name) or name in ("validation", "__MACOSX") or name.startswith(".")


def _read_folder(folder: Path, problems: list[str]) -> list[dict]:
    """One row for each recording that has both a WAV file and a label; the rest to `problems`."""
    reference = folder / "REFERENCE.csv"
    wavs = {path.stem: path for path in folder.glob("[!.]*.wav")}
    if not reference.is_file():
        problems.append(f"{reference}: missing; fetch the folder again")
        return []
    labels = _read_rows(reference, 2, ("-1", "1"), problems)
    quality_file = folder / "REFERENCE-SQI.csv"
    rated = _read_rows(quality_file, 3, ("0", "1"), problems) if quality_file.is_file() else {}
    for record in sorted(labels.keys() - wavs.keys()):
        problems.append(
            f"{reference}: {record} has a row but no {record}.wav; fetch it or remove the row"
        )
    for record in sorted(wavs.keys() - labels.keys()):
        problems.append(f"{wavs[record]}: has no row in REFERENCE.csv; add one or remove the file")
    return [
        {
            "record": record,
            "database": folder.name[-1],
            "path": str(wavs[record]),
            "label": int(labels[record] == "1"),
            "quality": int(rated.get(record, "1")),
        }
        for record in sorted(labels.keys() & wavs.keys())
    ]


def _read_rows(
    file: Path, width: int, allowed: tuple[str, ...], problems: list[str]
) -> dict[str, str]:
    """Record -> last field of each row of a headerless CSV; rows that break the rules complain."""
    rows: dict[str, str] = {}
    try:
        text = file.read_text("utf-8-sig", "replace")
    except OSError as error:
        problems.append(f"{file}: cannot be read ({error.strerror}); fetch the folder again")
        return rows
    for number, line in enumerate(text.splitlines(), start=1):
        fields = [field.strip() for field in line.split(",")]
        if not any(fields):
            continue
        record, value = fields[0], fields[-1]
        if len(fields) != width:
            problems.append(f"{file}, line {number}: {width} fields expected, not {len(fields)}")
        elif record in rows:
            problems.append(f"{file}, line {number}: {record} was listed before; keep one row")
        elif value not in allowed:
            problems.append(
                f"{file}, line {number}: {record} has {value!r}; write {' or '.join(allowed)}"
            )
        rows.setdefault(record, value if value in allowed else allowed[-1])
    return rows


def inspect_samples(path: str) -> dict | str:
    """What the samples alone tell about a recording, or the line that says why they cannot."""
    try:
        samples, sample_rate = read_samples(path)
    except InputError as error:
        return str(error)
    return {
        "sample_rate": sample_rate,
        "channels": samples.shape[1],
        "seconds": len(samples) / sample_rate,
        "digest": hashlib.blake2b(samples.tobytes(), digest_size=16).hexdigest(),
    }


def _recordings_in_two_folders(rows: list[dict]) -> list[str]:
    """A line for each pair of folders that hold recordings of the same name."""
    first: dict[str, Path] = {}
    clashes: Counter[tuple[Path, Path]] = Counter()
    for row in rows:
        folder = Path(row["path"]).parent
        if (earlier := first.setdefault(row["record"], folder)) != folder:
            clashes[earlier, folder] += 1
    return [
        f"{folder}: {count} recordings are also in {earlier}; remove one of the two folders"
        for (earlier, folder), count in clashes.items()
    ]


def _notice_conversions(rows: list[dict], inspected: list[dict]) -> None:
    odd = [
        f"{row['record']}: {found['sample_rate']:,} Hz, channels: {found['channels']}"
        for row, found in zip(rows, inspected, strict=True)
        if (found["sample_rate"], found["channels"]) != (SAMPLE_RATE, 1)
    ]
    if odd:
        warnings.warn(
            f"{len(odd)} of {len(rows)} recordings are not mono at {SAMPLE_RATE:,} Hz "
            f"(for example {odd[0]}); they are mixed down and resampled on reading",
            stacklevel=3,
        )


def _read_subjects(annotations: Path | str | None, problems: list[str]) -> dict[str, str]:
    """Record -> subject such as "b-12", prefixed by database, for every subject that is known."""
    if annotations is None:
        return {}
    names = ["Challenge record name", "Original record name", "Subject ID"]
    try:
        table = pd.read_csv(annotations, encoding="latin-1", dtype=str).rename(columns=str.strip)
    except (OSError, ValueError) as error:
        problems.append(
            f"{annotations}: not a readable CSV ({error}); name PhysioNet's or leave out"
        )
        return {}
    if missing := [name for name in names if name not in table]:
        problems.append(f"{annotations}: lacks the columns {missing}; fetch it again")
        return {}
    record, original, subject = (table[name].str.strip() for name in names)
    # Database a names its files by subject and site: C45S1 is the first recording of subject C45.
    from_name = original.str.extract(r"^(C\d+)S\d+", expand=False)
    database = record.str[0]
    subject = database + "-" + subject.fillna(from_name.where(database == "a"))
    return dict(zip(record[subject.notna()], subject.dropna(), strict=True))


def _groups(recordings: pd.DataFrame) -> np.ndarray:
    """For each recording the first record among those joined with it by subject or by audio."""
    number = pd.Series(range(len(recordings)), index=recordings["record"])
    pairs = shared_audio(recordings)
    edges = [number[pairs["record_a"]], number[pairs["record_b"]]]
    for key in ("subject", "digest"):
        first = number.groupby(recordings[key].to_numpy()).transform("first")
        known = recordings[key].to_numpy() != ""
        edges = [np.append(edges[0], number[known]), np.append(edges[1], first[known])]
    graph = coo_array((np.ones(len(edges[0])), edges), shape=(len(number), len(number)))
    component = connected_components(graph, directed=False)[1]
    return recordings["record"].groupby(component).transform("min").to_numpy()
