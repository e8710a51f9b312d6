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


@pytest.fixture
def table_of(tmp_path: Path, noise):
    """Writes `clinic.csv` with a column of values in turn for each name, and files of noise."""

    def make(count: int, **columns: list) -> Path:
        columns = {"path": [f"wav/r{i:02d}.wav" for i in range(count)]} | columns
        columns = {"label": ["normal", "abnormal"]} | columns
        table = pd.DataFrame({name: (v * count)[:count] for name, v in columns.items()})
        for number, path in enumerate(table.path):
            (tmp_path / path).parent.mkdir(exist_ok=True)
            if not (tmp_path / path).exists():
                soundfile.write(tmp_path / path, noise(seed=number), 2_000)
        table.to_csv(tmp_path / "clinic.csv", index=False)
        return tmp_path / "clinic.csv"

    return make


def problems(path: Path) -> list[str]:
    with pytest.raises(InputError) as caught:
        read_table(path)
    return [line.removeprefix(f"{path}: ") for line in caught.value.problems]


SPELLINGS = [["0", "1"], ["-1", "1"], ["Normal", "ABNORMAL"], ["absent", "Present"], ["0.0", "1.0"]]


@pytest.mark.parametrize("labels", SPELLINGS)
def test_a_label_means_the_same_however_it_is_written(table_of, labels):
    assert read_table(table_of(4, label=labels)).label.tolist() == [0, 1, 0, 1]


def test_what_a_table_leaves_out_is_filled_in_and_what_it_adds_is_kept(table_of):
    found = read_table(table_of(3, site=["AV", "007", ""], seconds=["wrong"]))
    assert list(found) == [*COLUMNS, "site"]
    facts = ["record", "database", "quality", "subject", "sample_rate", "seconds", "site"]
    sites = enumerate(["AV", "007", ""])
    expected = [[f"r0{i}", "clinic", 1, "", 2_000, 1.5, site] for i, site in sites]
    assert found[facts].to_numpy().tolist() == expected


def test_columns_of_any_case_and_order_are_read_and_paths_start_at_the_table(
    table_of, tmp_path, monkeypatch
):
    path = table_of(3, patient=["x", "", "x"], quality=["1", "0", ""], database=["B 1"])
    table = pd.read_csv(path, dtype=str)
    table.loc[2, "path"] = str(tmp_path / table.path[2])
    table = table[table.columns[::-1]].rename(columns=lambda name: f" {name.title()}")
    path.write_text("\ufeff" + table.to_csv(index=True) + ",,,,\n")
    monkeypatch.chdir("/")
    found = read_table(path)
    assert found.path.tolist() == [str(tmp_path / f"wav/r0{i}.wav") for i in range(3)]
    facts = [["x", 1, "B 1"], ["", 0, "B 1"], ["x", 1, "B 1"]]
    assert found[["subject", "quality", "database"]].to_numpy().tolist() == facts


def test_empty_columns_as_spreadsheets_write_them_do_not_matter(table_of):
    path = table_of(2)
    path.write_text("\n".join(f"{line},," for line in path.read_text().split()))
    assert "" not in read_table(path) and len(read_table(path)) == 2


def test_files_of_one_name_are_told_apart_by_their_folders_or_by_record(table_of):
    paths = ["a/01.wav", "b/01.wav"]
    assert read_table(table_of(2, path=paths)).record.tolist() == ["a/01", "b/01"]
    assert read_table(table_of(2, path=paths, record=["x", "y"])).record.tolist() == ["x", "y"]


def test_a_patient_or_shared_audio_makes_recordings_related(table_of, tmp_path, noise):
    (tmp_path / "wav").mkdir()
    for i in (2, 3):
        samples = np.append(noise(seed=50 + i), noise(1_500, seed=99))
        soundfile.write(tmp_path / f"wav/r0{i}.wav", samples, 2_000)
    path = table_of(5, patient=["p", "p", "q", "", ""], database=["one", "two"])
    assert read_table(path).group.tolist() == ["r00", "r00", "r02", "r02", "r04"]


FAULTS = [
    (",", ";", "fields are separated by ';', not by commas; name them"),
    (r"\A.*\n", "", "line 1 names no column path and no column label"),
    ("abnormal", "ill", "15 rows have label 'ill'; write one of 0, -1, normal, "),
    ("abnormal,", ",", "15 rows have label ''; write one of"),
    ("wav/", "audio/", "31 rows name files that are not there; paths start in /"),
    (r"wav/r\d+.wav", "", "31 rows have no path; fill it in (line 2, 3, 4, ...)"),
    (r",1$", ",good", "31 rows have quality 'good'; write one of 0, 1"),
    ("quality|1$", "split", "31 rows have split 'split'; write one of pretrain, finetune, "),
    (r"(.*r07.*)", r"\1,2,3,4", "cannot be read as a CSV table in UTF-8"),
    (r"\Alabel[^~]*", "", "cannot be read as a CSV table in UTF-8"),
    (r"\n[^~]*", "", "lists no recording"),
    (r"\A(.*)quality", r"\1Label", "line 1 names label twice (a subject is a patient); rename one"),
    (r"\A(.*)quality", r"\1label", "line 1 names label twice (a subject is a patient); rename one"),
]


@pytest.mark.parametrize(("old", "new", "problem"), FAULTS)
def test_what_is_wrong_with_a_table_is_one_line(table_of, old, new, problem):
    path = table_of(31, quality=["1"])
    path.write_text(re.sub(old, new, path.read_text(), flags=re.MULTILINE))
    (line,) = problems(path)
    assert line.startswith(problem)


def test_unsure_labels_and_rows_listed_twice_are_refused(table_of):
    unsure = "labels are -1 and 0; write 0 and 1, none that is unsure"
    assert problems(table_of(6, label=["-1", "0", "1"])) == [unsure]
    twice = ["2 rows name a file that is listed before (line 4, 5)"]
    twice += ["2 rows have a record that is listed before (line 4, 5)"]
    assert problems(table_of(4, path=["wav/a.wav", "wav/b.wav"])) == twice


def test_files_with_one_fault_are_one_line(table_of, tmp_path):
    path = table_of(31)
    for file in (tmp_path / "wav").iterdir():
        file.write_bytes(b"no audio")
    (line,) = problems(path)
    assert "r00.wav and 30 more files: not a readable audio file" in line


def run_of(path: Path, folder: Path, **splits: str) -> Run:
    changes = {"data.source": "table", "data.folder": str(path), "splits": splits}
    return Run(folder, load_profile("paper", changes | {"front_end.clip_seconds": 1.0}))


def test_patients_stay_together_and_a_database_is_left_out_by_name(table_of, tmp_path):
    patients = [f"p{i // 4}{'ab'[i % 2]}" for i in range(60)]
    path = table_of(60, patient=patients, database=["Ward 3"] * 48 + ["phones at home"] * 12)
    corpus = load_corpus(run_of(path, tmp_path / "run"))
    assert audit(corpus.recordings, corpus.splits).empty
    assert corpus.recordings.groupby("subject").group.nunique().eq(1).all()
    assert all(corpus.of(split).label.nunique() == 2 for split in SPLITS)
    assert list(corpus.recordings) == COLUMNS
    left = load_splits(run_of(path, tmp_path / "left", leave_out="phones at home"))
    assert left.record[left.split == "test"].tolist() == [f"r{i}" for i in range(48, 60)]
    with pytest.raises(InputError, match=r"=a: no such database; there are Ward 3, phones"):
        load_splits(run_of(path, tmp_path / "other", leave_out="a"))


def test_a_tables_own_splits_are_used_and_read_again_when_they_change(table_of, tmp_path):
    split = ["Pretrain", "pretrain", "finetune", "finetune", "dev", "dev", "test", "test", "", ""]
    run = run_of(table_of(20, split=split), tmp_path / "run")
    expected = {f"r{i:02d}": split[i % 10].lower() for i in range(20) if split[i % 10]}
    assert load_splits(run).set_index("record").split.to_dict() == expected
    table_of(20, split=[*split[:9], "dev", *split])
    assert load_splits(run).set_index("record").split.to_dict() == expected | {"r09": "dev"}
    table_of(20, split=[*["pretrain"], *[""] * 9, "", "", "finetune", "finetune", *["test"] * 6])
    too_few = r"too few recordings or patients for pretrain, dev; pretrain needs two recordings"
    with pytest.raises(InputError, match=too_few):
        load_splits(run)
    # Patients of 15 recordings fit into no split of a corpus of 60.
    patients = [f"p{i // 30}{'ab'[i % 2]}" for i in range(60)]
    with pytest.raises(InputError, match=r"too few .* for finetune, dev, test;"):
        load_splits(run_of(table_of(60, patient=patients), tmp_path / "patients"))
