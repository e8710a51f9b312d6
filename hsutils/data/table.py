"""A CSV table of anyone's recordings -> the table that everything after it knows.

path,label,patient,database
ward/0001.wav,normal,p01,clinic A
ward/0002.wav,abnormal,p02,clinic A
"""

from pathlib import Path

import pandas as pd

from hsutils.data.challenge import COLUMNS, add_audio_facts, inspect, some
from hsutils.data.splits import SPLITS
from hsutils.errors import InputError

LABELS = {"0": 0, "-1": 0, "normal": 0, "absent": 0, "1": 1, "abnormal": 1, "present": 1}
"""What a label may be, in any case."""
_NAMED = ("record", "database", "subject")
_MEASURED = ("sample_rate", "seconds", "group", "digest")


def read_table(path: Path | str) -> pd.DataFrame:
    """Every recording of a table, checked sample by sample.

    Args:
        path: a CSV file whose first line names its columns, in any order and case: `path` (from
            the table's folder, or absolute) and `label` (`LABELS`). Optional are `record` (default:
            the file's name without its ending, or its path where names repeat), `patient` (or
            `subject`; equal names are one person, in whatever database; empty: unknown), `database`
            (any name; default: the table's), `quality` (1 usable, 0 too noisy to be sure) and
            `split` (pretrain, finetune, dev, test; empty: not used).

    Returns:
        One row a recording, sorted by `record`: `COLUMNS` as of `challenge.read_recordings`, then
        all other columns of the file as text.

    Raises:
        InputError: one line for each cause found in the table and its files, all at once.

    Warns:
        UserWarning: once, if some files are not mono at 2,000 Hz.
    """
    problems: list[str] = []
    rows = _read_rows(Path(path), problems)
    there = [file for file in rows.path if Path(file).is_file()]
    inspected = inspect(there, problems)
    if problems:
        raise InputError(problems)
    recordings = add_audio_facts(rows, inspected)
    return recordings[[*COLUMNS, *(name for name in rows if name not in COLUMNS)]]


def listed_files(path: Path | str) -> list[Path]:
    """The files that a table lists, those that are there.

    Raises:
        InputError: if the table cannot be read.
    """
    return [file for file in map(Path, _read_rows(Path(path), []).path) if file.is_file()]


def table_splits(path: Path | str) -> pd.DataFrame | None:
    """The table's own splits: record, split, sorted by record; None if it has no such column.

    Raises:
        InputError: as `read_table`, of the table alone, or if finetune, dev or test lack a class or
            pretrain is empty.
    """
    problems: list[str] = []
    rows = _read_rows(Path(path), problems)
    if problems:
        raise InputError(problems)
    if "split" not in rows:
        return None
    used = rows[rows.split != ""].sort_values("record", ignore_index=True)
    classes = used.groupby("split").label.nunique().reindex(SPLITS, fill_value=0)
    if missing := list(classes.index[classes < [1, 2, 2, 2]]):
        problem = f"column split has too little for {', '.join(missing)}"
        remedy = "finetune, dev and test need both classes, pretrain one recording"
        raise InputError(f"{path}: {problem}; {remedy}, or leave the column out")
    return used[["record", "split"]]


def _read_rows(table: Path, problems: list[str]) -> pd.DataFrame:
    """The rows as they are meant, with absolute paths; what is wrong to `problems`."""
    fields = _read_fields(table)

    def refuse(faulty: pd.Series, problem: str) -> None:
        if lines := faulty.index[faulty].tolist():
            problems.append(f"{table}: {len(lines)} rows {problem} (line {some(lines)})")

    def allowed(name: str, values: tuple | dict) -> None:
        wrong = ~fields[name].isin(values)
        found = some(sorted(set(fields[name][wrong])))
        refuse(wrong, f"have {name} {found!r}; write one of {', '.join(filter(None, values))}")

    rows = fields.drop(columns=[name for name in _MEASURED if name in fields])
    rows["path"] = [str(table.parent.resolve() / file) if file else "" for file in fields.path]
    refuse(fields.path == "", "have no path; fill it in")
    there = pd.Series([Path(file).is_file() for file in rows.path], rows.index)
    refuse(
        ~there & (fields.path != ""),
        f"name files that are not there; paths start in {table.parent.resolve()}",
    )
    refuse(rows.path.duplicated() & (fields.path != ""), "name a file that is listed before")
    fields["label"] = fields.label.str.lower().str.removesuffix(".0")
    refuse(fields.label == "", "have no label; fill it in, or leave these rows out")
    allowed("label", {"": None, **LABELS})
    if {"-1", "0"} <= set(fields.label):
        problems.append(f"{table}: labels are -1, 0 and 1; write 0 and 1, without unsure ones")
    rows["label"] = fields.label.map(LABELS)
    if "quality" in rows:
        fields["quality"] = fields.quality.str.removesuffix(".0")
        allowed("quality", ("", "0", "1"))
    rows["quality"] = (fields.get("quality", fields.path) != "0").astype(int)
    if "split" in rows:
        fields["split"] = rows["split"] = fields.split.str.lower()
        allowed("split", ("", *SPLITS))
    stems = pd.Series([Path(file).stem for file in fields.path], rows.index)
    if stems.duplicated().any():
        stems = pd.Series([str(Path(file).with_suffix("")) for file in fields.path], rows.index)
    defaults = {"record": stems, "database": table.stem, "subject": ""}
    for name in _NAMED:
        given = rows.get(name, pd.Series("", rows.index))
        rows[name] = given.where(given != "", defaults[name])
    refuse(rows.record.duplicated() & (fields.path != ""), "have a record that is listed before")
    return rows.reset_index(drop=True)


def _read_fields(table: Path) -> pd.DataFrame:
    """What is written, as text by line of the file and name of the column."""
    if not table.is_file():
        raise InputError(f"{table}: no such file; name a CSV table of recordings")
    how = {"header": None, "dtype": str, "keep_default_na": False, "encoding": "utf-8-sig"}
    try:
        cells = pd.read_csv(table, skip_blank_lines=False, **how)
    except (OSError, ValueError) as error:
        problem = f"no CSV in UTF-8 ({str(error).strip()})"
        raise InputError(f"{table}: {problem}; save it as one") from error
    cells = cells.fillna("").map(str.strip)
    cells.index += 1
    cells = cells[(cells != "").any(axis=1)]
    if cells.empty:
        raise InputError(f"{table}: is empty; write a line of names (path,label) and one a file")
    names = cells.iloc[0].str.lower().replace("patient", "subject")
    if cells.shape[1] == 1 and any(mark in names[0] for mark in ";\t"):
        mark = ";" if ";" in names[0] else "\t"
        raise InputError(f"{table}: fields are separated by {mark!r}, not ','")
    fields = cells.iloc[1:].set_axis(names, axis=1)
    # Without a name: the numbers of rows that many programs write.
    fields = fields.loc[:, names.to_numpy() != ""]
    if lacking := [name for name in ("path", "label") if name not in fields]:
        problem = f"its first line has no {' and no '.join(lacking)}"
        raise InputError(f"{table}: {problem}; it must name the columns, such as path,label")
    if twice := fields.columns[fields.columns.duplicated()].tolist():
        raise InputError(f"{table}: two columns are named {twice[0]}; leave one out")
    if fields.empty:
        raise InputError(f"{table}: lists no recording; write a row for each")
    return fields.rename_axis(columns=None)
