"""A CSV table of anyone's recordings -> the table that everything after it knows."""

import re
from pathlib import Path

import pandas as pd

from hsutils.data.challenge import COLUMNS, add_audio_facts, some
from hsutils.data.splits import SPLITS
from hsutils.errors import InputError

LABELS = {"0": 0, "-1": 0, "normal": 0, "absent": 0, "1": 1, "abnormal": 1, "present": 1}
ALLOWED = {"label": LABELS, "quality": {"": 1, "0": 0, "1": 1}}
ALLOWED["split"] = {name: name for name in ("", *SPLITS)}


def read_table(path: Path | str) -> pd.DataFrame:
    """Every recording of a table (see `table_rows`), checked sample by sample.

    Returns:
        One row per recording, sorted by `record`: `COLUMNS` as of `challenge.read_recordings`, then
        all other columns of the file as text.

    Raises:
        InputError: one line for each cause found in the table, or else in its files.

    Warns:
        UserWarning: once, if some files are not mono at 2,000 Hz.
    """
    recordings = add_audio_facts(table_rows(path), [])
    return recordings[[*COLUMNS, *recordings.columns.drop([*COLUMNS, "channels"])]]


def table_rows(path: Path | str) -> pd.DataFrame:
    """The rows of a table as they are meant; no audio is read.

    Args:
        path: a CSV file whose first line names its columns, in any order and case: `path` (from
            the table's folder, or absolute) and `label` (`LABELS`). Optional are `record` (default:
            the file's name without its ending, or its path where names repeat), `patient` (equal
            names are one person, in whatever database; empty: unknown), `database` (any name;
            default: the table's), `quality` (1 usable, 0 too noisy to be sure) and `split`
            (pretrain, finetune, dev, test; empty: not used).

    Returns:
        One row per recording: record, database, path (absolute), label (0 or 1), quality, subject
        (the patient) and the other columns as text.

    Raises:
        InputError: one line for each cause.
    """
    table, problems = Path(path), []
    rows, folder = _read_fields(table), table.parent.resolve()

    def refuse(faulty: pd.Series, problem: str) -> None:
        if lines := faulty.index[faulty].tolist():
            problems.append(f"{table}: {len(lines)} rows {problem} (line {some(lines)})")

    files, used = rows.path.map(Path), rows.path != ""
    refuse(~used, "have no path; fill it in")
    rows["path"] = files.map(lambda file: str(folder / file))
    missing = used & ~rows.path.map(lambda path: Path(path).is_file())
    refuse(missing, f"name files that are not there; paths start in {folder}")
    refuse(used & rows.path.duplicated(), "name a file that is listed before")
    stems = files.map(lambda file: file.stem)
    if stems.duplicated().any():
        stems = files.map(lambda file: str(file.parent / file.stem))
    for name, default in {"record": stems, "database": table.stem}.items():
        rows[name] = rows[name].mask(rows[name] == "", default)
    refuse(used & rows.record.duplicated(), "have a record that is listed before")
    for name, values in ALLOWED.items():
        if name in rows:
            given = rows[name].str.lower().str.removesuffix(".0")
            found, known = some(sorted({*given} - {*values})), ", ".join(filter(None, values))
            refuse(~given.isin(values), f"have {name} {found!r}; write one of {known}")
            rows[name] = given.map(values)
            if {"-1", "0"} <= {*given}:
                problems.append(f"{table}: labels are -1 and 0; write 0 and 1, none that is unsure")
    if problems:
        raise InputError(problems)
    return rows.reset_index(drop=True)


def _read_fields(table: Path) -> pd.DataFrame:
    """What is written, as text, by line of the file and name of the column."""
    how = {"dtype": str, "keep_default_na": False, "encoding": "utf-8-sig", "index_col": False}
    how |= {"skip_blank_lines": False}
    try:
        fields = pd.read_csv(table, **how).fillna("").map(str.strip)
        # As they are written: pandas would call the second of two equal names label.1.
        fields.columns = pd.read_csv(table, header=None, nrows=1, **how).iloc[0].tolist()
    except (OSError, ValueError) as error:
        problem = f"cannot be read as a CSV table in UTF-8 ({str(error).strip()})"
        raise InputError(f"{table}: {problem}; save it as one") from error
    fields.index += 2
    fields.columns = fields.columns.str.strip().str.lower()
    # Spreadsheets write commas for columns that are empty.
    fields = fields.loc[:, (fields.columns != "") | (fields != "").any()]
    fields = fields[(fields != "").any(axis=1)].rename(columns={"patient": "subject"})
    if twice := sorted(set(fields.columns[fields.columns.duplicated()])):
        problem = f"line 1 names {', '.join(twice)} twice (a subject is a patient)"
        raise InputError(f"{table}: {problem}; rename one")
    if lacking := [name for name in ("path", "label") if name not in fields]:
        problem = f"line 1 names no column {' and no column '.join(lacking)}"
        if len(fields.columns) == 1 and (apart := re.search("[;\t|]", fields.columns[0])):
            problem = f"fields are separated by {apart[0]!r}, not by commas"
        raise InputError(f"{table}: {problem}; name them as in path,label with commas between")
    if fields.empty:
        raise InputError(f"{table}: lists no recording; write a row for each")
    # What is measured is measured anew.
    names = [*dict.fromkeys([*COLUMNS[:5], "subject", *fields])]
    measured = {"sample_rate", "channels", "seconds", "group", "digest"}
    return fields.reindex(columns=[n for n in names if n not in measured], fill_value="")
