"""Anyone's table becomes the table of the series, and each thing wrong with it is one line."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from hsutils.config import load_profile
from hsutils.data.challenge import COLUMNS
from hsutils.data.corpus import load_corpus, load_splits
from hsutils.data.splits import SPLITS, audit
from hsutils.data.table import read_table
from hsutils.errors import InputError
from hsutils.run import Run

RATE = 2_000


@pytest.fixture
def write_table(tmp_path: Path, noise):
    """Writes `table.csv` and a file of noise for each of its paths that lies in no folder above."""

    def write(rows: list[dict], name: str = "clinic.csv") -> Path:
        for number, row in enumerate(rows):
            if not (path := tmp_path / row["path"]).exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, noise(seed=number), RATE)
        pd.DataFrame(rows).to_csv(tmp_path / name, index=False)
        return tmp_path / name

    return write


def rows_of(number: int, **columns: list) -> list[dict]:
    """Rows with paths and labels in turn; of other columns, values in turn."""
    columns = {"label": ["normal", "abnormal"]} | columns
    return [
        {"path": f"wav/r{i:02d}.wav"} | {name: v[i % len(v)] for name, v in columns.items()}
        for i in range(number)
    ]


def problems(path: Path) -> list[str]:
    with pytest.raises(InputError) as caught:
        read_table(path)
    assert all(line.startswith(str(path.parent)) for line in caught.value.problems)
    return [line.removeprefix(f"{path}: ") for line in caught.value.problems]


SPELLINGS = [["0", "1"], ["-1", "1"], ["Normal", "ABNORMAL"], ["absent", "Present"], ["0.0", "1.0"]]


@pytest.mark.parametrize("labels", SPELLINGS)
def test_a_label_means_the_same_however_it_is_written(write_table, labels):
    assert read_table(write_table(rows_of(4, label=labels))).label.tolist() == [0, 1, 0, 1]


def test_what_a_table_leaves_out_is_filled_in_and_what_it_adds_is_kept(write_table):
    found = read_table(write_table(rows_of(3, site=["AV", "007", ""], seconds=["wrong"])))
    assert list(found) == [*COLUMNS, "site"]
    facts = ["record", "database", "quality", "subject", "sample_rate", "seconds", "site"]
    expected = [[f"r0{i}", "clinic", 1, "", RATE, 1.5, s] for i, s in enumerate(["AV", "007", ""])]
    assert found[facts].to_numpy().tolist() == expected


def test_columns_of_any_case_and_order_are_read_and_paths_start_at_the_table(
    write_table, tmp_path, monkeypatch
):
    path = write_table(rows_of(3, patient=["x", "", "x"], quality=["1", "0", ""], database=["B 1"]))
    table = pd.read_csv(path, dtype=str)
    table.loc[2, "path"] = str(tmp_path / table.path[2])
    table = table[table.columns[::-1]].rename(columns=lambda name: f" {name.title()}")
    path.write_text("\ufeff" + table.to_csv(index=True) + ",,,,\n")
    monkeypatch.chdir("/")
    found = read_table(path)
    assert found.path.tolist() == [str(tmp_path / f"wav/r0{i}.wav") for i in range(3)]
    assert found[["subject", "quality", "database"]].to_numpy().tolist() == [
        ["x", 1, "B 1"],
        ["", 0, "B 1"],
        ["x", 1, "B 1"],
    ]


def test_files_of_one_name_are_told_apart_by_their_folders(write_table):
    rows = [{"path": f"{folder}/01.wav", "label": 0} for folder in ("a", "b")]
    assert read_table(write_table(rows)).record.tolist() == ["a/01", "b/01"]
    named = read_table(write_table([row | {"record": f"x{i}"} for i, row in enumerate(rows)]))
    assert named.record.tolist() == ["x0", "x1"]


def test_a_patient_or_shared_audio_makes_recordings_related(write_table, tmp_path, noise):
    (tmp_path / "wav").mkdir()
    for i, seed in ((2, 52), (3, 53)):
        samples = np.append(noise(seed=seed), noise(1_500, seed=99))
        soundfile.write(tmp_path / f"wav/r0{i}.wav", samples, RATE)
    rows = rows_of(5, patient=["p", "p", "q", "", ""], database=["one", "two"])
    assert read_table(write_table(rows)).group.tolist() == ["r00", "r00", "r02", "r02", "r04"]


# One cause, one line

FAULTS = {
    "commas": (",", ";", "line 1 names no column path and no column label; name them"),
    "heading": (r"\A.*\n", "", "line 1 names no column path and no column label"),
    "labels": ("abnormal", "ill", "15 rows have label 'ill'; write one of 0, -1, normal, "),
    "no label": (r"wav,abnormal", "wav,", "15 rows have label ''; write one of"),
    "mixed": (r"wav,normal", "wav,0", None),
    "unsure": (r"wav,(ab)?normal", r"wav,0\1", "15 rows have label '0ab'"),
    "path": ("wav/", "audio/", "31 rows name files that are not there; paths start in /"),
    "no path": (r"wav/r\d+.wav", "", "31 rows have no path; fill it in (line 2, 3, 4, ...)"),
    "twice": ("r1[0-9]", "r10", "9 rows name a file that is listed before"),
    "quality": (r",1$", ",good", "31 rows have quality 'good'; write one of 0, 1"),
    "split": (r",1$", ",1,train", "31 rows have split 'train'; write one of pretrain, finetune"),
    "fields": (r"r07.*", "r07,normal,1,2,3,4", "cannot be read as a CSV table in UTF-8"),
}


@pytest.mark.parametrize(("old", "new", "problem"), FAULTS.values(), ids=FAULTS)
def test_what_is_wrong_with_a_table_is_one_line(write_table, old, new, problem):
    path = write_table(rows_of(31, quality=["1"]))
    text = re.sub(old, new, path.read_text(), flags=re.MULTILINE)
    path.write_text(text.replace("quality", "quality,split", 1) if "train" in new else text)
    if problem is None:
        assert len(read_table(path)) == 31
        return
    found = [line for line in problems(path) if "listed before" not in line or "listed" in problem]
    assert len([line for line in found if line.startswith(problem)]) == 1
    assert len(found) == 1 or new == "r10"


def test_minus_one_and_zero_in_one_table_are_refused(write_table):
    found = problems(write_table(rows_of(6, label=["-1", "0", "1"])))
    assert found == ["labels are -1, 0 and 1; write 0 and 1, without unsure ones"]


def test_files_with_one_fault_are_one_line_and_an_unreadable_table_is_one(write_table, tmp_path):
    path = write_table(rows_of(31))
    for file in (tmp_path / "wav").iterdir():
        file.write_bytes(b"no audio")
    (line,) = problems(path)
    assert "r00.wav and 30 more files: not a readable audio file" in line
    for content in (b"", b"\xff\xfe\x00p", b"path,label\n"):
        path.write_bytes(content)
        assert len(problems(path)) == 1
    assert "No such file" in problems(tmp_path / "none.csv")[0]


# In a run


def run_of(path: Path, folder: Path, **splits: str) -> Run:
    changes = {"data.source": "table", "data.folder": str(path), "data.recordings": 0}
    changes |= {"front_end.clip_seconds": 2.2, "front_end.mels": 24}
    changes |= {f"splits.{name}": value for name, value in splits.items()}
    return Run(folder, load_profile("paper", changes))


def test_splits_of_a_table_keep_patients_together_and_leave_a_database_out_by_name(
    write_table, tmp_path
):
    patients = [f"p{i // 4}{'ab'[i % 2]}" for i in range(60)]
    rows = rows_of(60, patient=patients, database=["Ward 3"] * 48 + ["phones at home"] * 12)
    path = write_table(rows)
    corpus = load_corpus(run_of(path, tmp_path / "run"))
    assert audit(corpus.recordings, corpus.splits).empty
    assert corpus.recordings.groupby("subject").group.nunique().eq(1).all()
    assert all(corpus.of(split).label.nunique() == 2 for split in SPLITS)
    assert list(corpus.recordings) == COLUMNS
    left = load_splits(run_of(path, tmp_path / "left", leave_out="phones at home"))
    test = corpus.recordings[corpus.recordings.database == "phones at home"].record
    assert left.record[left.split == "test"].tolist() == test.tolist()
    with pytest.raises(InputError, match=r"splits.leave_out=a: no such database; there are Ward 3"):
        load_splits(run_of(path, tmp_path / "other", leave_out="a"))


def test_a_tables_own_splits_are_used_and_read_again_when_they_change(write_table, tmp_path):
    split = ["Pretrain", "pretrain", "finetune", "finetune", "dev", "dev", "test", "test", "", ""]
    rows = rows_of(20, split=split)
    run = run_of(write_table(rows), tmp_path / "run")
    expected = {f"r{i:02d}": split[i % 10].lower() for i in range(20) if split[i % 10]}
    assert load_splits(run).set_index("record").split.to_dict() == expected
    rows[8]["split"] = "dev"
    write_table(rows)
    assert load_splits(run).set_index("record").split.to_dict() == expected | {"r08": "dev"}
    write_table([row for row in rows if row["split"] != "dev" or row["label"] == "normal"])
    with pytest.raises(InputError, match="column split: too little is given for dev; finetune, "):
        load_splits(run)
