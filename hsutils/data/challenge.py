"""The Challenge layout on disk -> one table, one row per recording.

The layout is PhysioNet's (https://physionet.org/content/challenge-2016/1.0.0): folders
`training-a` to `training-f`, each with WAV or FLAC files, `REFERENCE.csv` and
`REFERENCE-SQI.csv`.
Its `validation` folder holds copies of training recordings and is never used as data.
"""

import hashlib
import os
import re
import warnings
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd

from hsutils.audio.wav import read_samples
from hsutils.config import RECORDED_RATE
from hsutils.data.duplicates import group_related
from hsutils.environment import usable_cores
from hsutils.errors import InputError

COLUMNS = ["record", "database", "path", "label", "quality"]
COLUMNS += ["sample_rate", "seconds", "subject", "group", "digest"]
ANNOTATION_FILES = ("Online_Appendix_training_set.csv", "Online Appendix_training set.csv")
"""Names that PhysioNet has given to the table of subjects."""
READ = (".flac", ".wav")
"""Endings of files that are read; where a record has both, the WAV file counts."""
_AUDIO = (*READ, ".mp3", ".aif", ".aiff", ".ogg", ".m4a")


def read_recordings(root: Path | str) -> pd.DataFrame:
    """Every training recording below `root`, checked sample by sample.

    Args:
        root: folder with `training-a` to `training-f`, all or some, at any depth. Without
            PhysioNet's `Online_Appendix_training_set.csv` among them no subject is known.

    Returns:
        One row per recording, sorted by `record`, with `COLUMNS`:
        `label` 0 normal, 1 abnormal; `quality` 1 usable, 0 too noisy to be sure;
        `sample_rate` (Hz) and `seconds` as stored; `subject` such as "a-C45", "" where unknown;
        `group` the first record among the related ones (same subject or shared audio);
        `digest` of the decoded samples, which changes when and only when they change.

    Raises:
        InputError: one line for each cause found in folders, rows and files, all at once.

    Warns:
        UserWarning: once, if some files are not mono at 2,000 Hz.
    """
    problems: list[str] = []
    tree = _walk(Path(root), problems)
    folders = [path for path in tree if re.fullmatch("training-[A-Za-z0-9]+", path.name)]
    rows = [row for path in folders for row in _read_folder(path, tree[path], problems)]
    recordings = pd.DataFrame(rows, columns=COLUMNS[:5])
    if len(twice := recordings[recordings.record.duplicated(keep=False)]):
        where = " and in ".join(sorted({str(Path(path).parent) for path in twice.path}))
        problems.append(f"{twice.record.nunique()} recordings are in {where}; remove a folder")
    if not rows and not problems:
        problems.append(f"{root}: holds no recordings in training-a and so on; run `hsutils fetch`")
    beside = [path / name for path in tree for name in tree[path] if name in ANNOTATION_FILES]
    subjects = _read_subjects(min(beside), problems) if beside else {}
    recordings["subject"] = [subjects.get(record, "") for record in recordings.record]
    return add_audio_facts(recordings, problems)[COLUMNS]


def add_audio_facts(recordings: pd.DataFrame, problems: list[str]) -> pd.DataFrame:
    """Recordings (index 0, 1, ...) with facts of their files and their group, sorted by record.

    Raises:
        InputError: with the problems there are, and those of the files.
    """
    inspected = _inspect(recordings.path, problems)
    recordings = recordings.join(inspected).sort_values("record", ignore_index=True)
    odd = recordings[(recordings.sample_rate != RECORDED_RATE) | (recordings.channels != 1)]
    if len(odd):
        problem = f"{len(odd)} of {len(recordings)} recordings are not mono at {RECORDED_RATE:,} Hz"
        first = "{record}: {sample_rate:,} Hz, channels: {channels}".format(**odd.iloc[0])
        remedy = "they are mixed down and resampled on reading"
        warnings.warn(f"{problem} (for example {first}); {remedy}", stacklevel=3)
    return recordings.assign(group=group_related(recordings))


def validation_copies(root: Path | str, recordings: pd.DataFrame) -> pd.DataFrame:
    """Which recordings the Challenge's `validation` folder copies: it is no held-out data.

    That folder may lie at any depth; `recordings` has the columns record, digest, seconds.

    Returns:
        One row per pair with equal samples: record_a, record_b (`validation/x`), kind, seconds.

    Raises:
        InputError: naming every file that cannot be read.
    """
    paths = sorted(Path(root).rglob("validation/[!.]*.wav"))
    digests = _inspect(map(str, paths), [])["digest"].astype(str)
    files = pd.DataFrame({"digest": digests, "record_b": [f"validation/{p.stem}" for p in paths]})
    known = recordings.rename(columns={"record": "record_a"})
    pairs = known.merge(files, on="digest").assign(kind="validation copy")
    return pairs[["record_a", "record_b", "kind", "seconds"]]


def _inspect(paths: Iterable[str], problems: list[str]) -> pd.DataFrame:
    """Sample rate (Hz), channels, seconds and digest of every file.

    Raises:
        InputError: with the problems there are, and those of the files. A fault that more than
            three of them have in common is one line.
    """

    def facts_of(path: str) -> tuple | InputError:
        try:
            samples, sample_rate = read_samples(path)
        except InputError as error:
            return error
        digest = hashlib.blake2b(samples.tobytes(), digest_size=16).hexdigest()
        return sample_rate, samples.shape[1], len(samples) / sample_rate, digest

    facts, faults = [], {}
    with ThreadPoolExecutor(usable_cores()) as threads:
        for found in threads.map(facts_of, paths):
            if isinstance(found, InputError):
                path, _, fault = str(found).partition(": ")
                faults.setdefault(fault, []).append(path)
            else:
                facts.append(found)
    for fault, files in faults.items():
        if len(files) > 3:
            files = [f"{files[0]} and {len(files) - 1} more files"]
        problems += [f"{file}: {fault}" for file in files]
    if problems:
        raise InputError(problems)
    return pd.DataFrame(facts, columns=["sample_rate", "channels", "seconds", "digest"])


def _walk(root: Path, problems: list[str]) -> dict[Path, list[str]]:
    """Folder -> names of its files, at and below `root`, both in a fixed order."""
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; name the one that `hsutils fetch` filled")
    tree, closed = {}, []
    for name, children, files in os.walk(root.resolve(), onerror=closed.append):
        tree[Path(name)] = sorted(file for file in files if file[0] != ".")
        # Unpacking takes place in hidden folders; macOS leaves shadows of files in __MACOSX.
        children[:] = {c for c in children if c[0] != "."} - {"__MACOSX", "validation"}
    # Left out without a word, a folder would take its whole database with it.
    problems += [f"{e.filename}: cannot be read ({e.strerror}); allow reading it" for e in closed]
    return dict(sorted(tree.items()))


def _read_folder(folder: Path, files: list[str], problems: list[str]) -> list[dict]:
    """One row per recording that has both an audio file and a label; the rest to `problems`."""
    reference, quality_file = folder / "REFERENCE.csv", folder / "REFERENCE-SQI.csv"
    if reference.name not in files:
        problems.append(f"{reference}: missing; write one, a line `record,label` a recording")
        return []
    audio = [Path(name) for name in files if name.lower().endswith(_AUDIO)]
    audio.sort(key=lambda path: READ.index(path.suffix) if path.suffix in READ else -1)
    endings = {path.stem: path.suffix for path in audio}
    labels, quality = _read_rows(reference, 2, "labels", ("-1", "1"), endings, problems), {}
    if quality_file.name in files:
        quality = _read_rows(quality_file, 3, "qualities", ("0", "1"), endings, problems)
    if labels is None:
        return []
    columns = {"label": labels, "quality": quality or {}, "ending": endings}
    table = pd.DataFrame(columns, dtype=object).sort_index()
    labeled, is_read = table.label.notna(), table.ending.isin(READ)
    for ending, count in table.ending[labeled & ~is_read].value_counts().sort_index().items():
        problem = f"{count} recordings end in {ending}, not .wav or .flac"
        problems.append(f"{folder}: {problem}; rename or convert them")
    if lacking := table.index[labeled & table.ending.isna()].tolist():
        problem = f"{len(lacking)} records have a row but no .wav or .flac file ({some(lacking)})"
        problems.append(f"{reference}: {problem}; add the files or remove the rows")
    if unlisted := table.index[is_read & ~labeled].tolist():
        problem = (
            f"{len(unlisted)} .wav or .flac files have no row in REFERENCE.csv ({some(unlisted)})"
        )
        problems.append(f"{folder}: {problem}; add rows or remove the files")
    rows = table[labeled & is_read].rename_axis("record").reset_index()
    rows["database"] = folder.name.removeprefix("training-")
    rows["path"] = str(folder) + os.sep + rows.record + rows.ending
    rows["label"] = (rows.label == "1").astype(int)
    rows["quality"] = (rows.quality.fillna("1") == "1").astype(int)
    return rows.to_dict("records")


def _read_rows(
    file: Path, width: int, kind: str, allowed: tuple, records: Collection, problems: list[str]
) -> dict[str, str] | None:
    """Record -> last field of each row, as it was probably meant; None if there are no fields."""
    try:
        lines = pd.Series(file.read_text("utf-8-sig", "replace").splitlines(), dtype=object)
    except OSError as error:
        problems.append(f"{file}: cannot be read ({error.strerror}); allow reading it")
        return None
    lines.index += 1
    lines = lines[lines.str.strip(" \t,") != ""]
    for separator in ";\t":
        if len(lines) and lines.str.contains(separator).all():
            problems.append(f"{file}: fields are separated by {separator!r}, not ','")
            return None
    fields = lines.map(lambda line: [field.strip() for field in line.split(",")])
    rows = pd.DataFrame({"name": fields.str[0], "value": fields.str[-1], "width": fields.str.len()})
    if len(rows) and rows.name.iloc[0] not in records and not re.search(r"\d", rows.value.iloc[0]):
        problems.append(f"{file}: line {rows.index[0]} is a heading; remove it")
        rows = rows[1:]
    names = rows.name.str.replace(r"\.wav$", "", case=False, regex=True)
    if (names != rows.name).any():
        problems.append(f"{file}: names end in .wav; leave the ending out")
    if odd := rows.index[rows.width != width].tolist():
        problems.append(f"{file}: {len(odd)} rows do not have {width} fields (line {some(odd)})")
    names, values = names[rows.width == width], rows.value[rows.width == width]
    if twice := names[names.duplicated()].unique().tolist():
        problems.append(f"{file}: {len(twice)} records are listed twice ({some(twice)})")
    if wrong := [f"{n}: {value!r}" for n, value in values.items() if value not in allowed]:
        problem = f"{len(wrong)} {kind} are unknown (line {some(wrong)})"
        if len(found := sorted(set(values))) == 2:
            problem = f"{kind} are {' and '.join(found)}"
        problems.append(f"{file}: {problem}; write {' and '.join(allowed)}")
    return dict(zip(names, values, strict=True))


def some(names: list) -> str:
    """The first three, for a message."""
    return ", ".join(map(str, names[:3])) + ", ..." * (len(names) > 3)


def _read_subjects(annotations: Path, problems: list[str]) -> dict[str, str]:
    """Record -> subject such as "b-12", prefixed by database, for every subject that is known."""
    names = ["Challenge record name", "Original record name", "Subject ID"]
    try:
        table = pd.read_csv(annotations, encoding="latin-1", dtype=str).rename(columns=str.strip)
        record, original, subject = (table[name].str.strip() for name in names)
    except (OSError, ValueError, KeyError) as error:
        lacks = isinstance(error, KeyError)
        problem = f"lacks the column {error}" if lacks else f"no CSV ({error})"
        problems.append(f"{annotations}: {problem}; replace it by PhysioNet's or remove it")
        return {}
    # Database a names its files by subject and site: C45S1 is the first recording of subject C45.
    from_name = original.str.extract(r"^(C\d+)S\d+", expand=False)
    subject = subject.fillna(from_name.where(record.str[0] == "a"))
    return (record.str[0] + "-" + subject).set_axis(record).dropna().to_dict()
