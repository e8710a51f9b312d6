"""The table tells the truth about the folder, and a broken folder is refused in plain words."""

import os
import re
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from hsutils.data import challenge
from hsutils.data.challenge import COLUMNS, read_recordings, validation_copies
from hsutils.errors import InputError

RATE = 2_000
LABELS = {f"c{number:04d}": 1 if number % 3 else -1 for number in range(1, 32)}
"""As many as in the Challenge's smallest folder."""


@pytest.fixture
def root(tmp_path: Path, write_folder) -> Path:
    """Two folders of three recordings."""
    write_folder(tmp_path / "training-a", {"a0002": 1, "a0001": -1, "a0003": 1})
    write_folder(tmp_path / "training-b", {"b0001": -1, "b0002": -1, "b0003": 1}, seed=10)
    return tmp_path


def problems(root: Path) -> list[str]:
    with pytest.raises(InputError) as caught:
        read_recordings(root)
    return caught.value.problems


def test_the_table_has_one_sorted_row_a_recording(root):
    (root / "training-a" / "REFERENCE-SQI.csv").write_text("a0001,-1,0\na0002,1,1\n")
    recordings = read_recordings(root)
    assert list(recordings) == COLUMNS
    columns = ["record", "database", "label", "quality", "sample_rate", "seconds", "group"]
    facts = {"a0001": [0, 0], "a0002": [1, 1], "a0003": [1, 1]}
    facts |= {"b0001": [0, 1], "b0002": [0, 1], "b0003": [1, 1]}
    expected = [[name, name[0], *classes, RATE, 1.5, name] for name, classes in facts.items()]
    assert recordings[columns].to_numpy().tolist() == expected
    assert all(Path(path).is_absolute() for path in recordings["path"])


def test_folders_are_found_at_any_depth_and_validation_at_none(root, write_folder):
    deep = root / "training"
    write_folder(deep / "training-clinic2", {"c0001": 1}, seed=20)
    write_folder(root / "training-a_StateAns", {"a0001": 1}, seed=5)
    write_folder(root / "validation", {"a0001": -1})
    write_folder(deep / "validation" / "training-d", {"d0001": 1})
    write_folder(deep / "training-clinic2" / "validation", {"c0001": 1})
    write_folder(root / ".to-unpacking" / "training-e", {"e00001": 1})
    assert set(read_recordings(root)["database"]) == {"a", "b", "clinic2"}
    assert set(read_recordings(deep / "training-clinic2")["database"]) == {"clinic2"}


def test_the_digest_follows_the_samples_and_not_the_header(root, noise):
    before = read_recordings(root).set_index("record")["digest"]
    with soundfile.SoundFile(root / "training-a" / "a0002.wav", "w", RATE, 1, "PCM_16") as wav:
        wav.title = "another header"
        wav.write(noise(seed=0))
    soundfile.write(root / "training-b" / "b0001.wav", noise(seed=10) // 2, RATE)
    after = read_recordings(root).set_index("record")["digest"]
    assert (before != after).to_dict() == {record: record == "b0001" for record in before.index}


def test_recordings_with_the_same_audio_form_one_group_named_by_the_first(root, noise):
    run = noise(1_500, seed=99)
    for name, seed in {"a/a0003": 51, "b/b0001": 52, "b/b0003": 53}.items():
        soundfile.write(root / f"training-{name}.wav", np.append(noise(seed=seed), run), RATE)
    group = read_recordings(root).set_index("record")["group"]
    assert group[group != group.index].to_dict() == {"b0001": "a0003", "b0003": "a0003"}


@pytest.mark.parametrize("name", challenge.ANNOTATION_FILES)
def test_annotated_subjects_make_recordings_related(root, name):
    header = "Challenge record name,Database,Class (-1=normal 1=abnormal)"
    rows = ["a0001,training-a,-1,C45S1,", "a0002,training-a,1,C45S2,", "a0003,training-a,1,D4,"]
    rows += ["b0001,training-b,-1,x é,7", "b0003,training-b,1,y,7"]
    text = "\n".join([f"{header},Original record name,Subject ID", *rows])
    (root / name).write_text(text, encoding="latin-1")
    recordings = read_recordings(root)
    assert recordings["subject"].tolist() == ["a-C45", "a-C45", "", "b-7", "", "b-7"]
    assert recordings["group"].tolist() == ["a0001", "a0001", "a0003", "b0001", "b0002", "b0001"]


def test_a_missing_folder_an_empty_one_and_a_foreign_table_say_what_to_do(tmp_path, write_folder):
    assert "no such folder" in problems(tmp_path / "none")[0]
    assert "run `hsutils fetch`" in problems(tmp_path)[0]
    write_folder(tmp_path / "training-a", {})
    assert "holds no recordings" in problems(tmp_path)[0]
    (tmp_path / challenge.ANNOTATION_FILES[0]).write_text("record,subject\n")
    assert "set.csv: lacks the column" in problems(tmp_path)[-1]


def test_an_unreadable_folder_does_not_drop_its_database(root, monkeypatch):
    # Whoever may read everything, as root may, cannot make a folder unreadable to himself.
    scandir, closed = os.scandir, root.resolve() / "training-b"

    def refusing(path):
        if Path(path) == closed:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    expected = f"{closed}: cannot be read (Permission denied); allow reading it"
    assert problems(root) == [expected]


# One cause, one line


@pytest.fixture
def c(tmp_path: Path, write_folder) -> Path:
    """A folder of 31 recordings, with a list of their quality."""
    folder = write_folder(tmp_path / "training-c", LABELS)
    rows = "".join(f"{record},{label},1\n" for record, label in LABELS.items())
    (folder / "REFERENCE-SQI.csv").write_text(rows)
    return folder


LISTS = ("REFERENCE.csv", "REFERENCE-SQI.csv")


@pytest.mark.parametrize(
    ("names", "old", "new", "problem"),
    [
        (LISTS, ",", ";", "fields are separated by ';', not ','"),
        (LISTS, r"(c\d+)", r"\1.wav", "names end in .wav; leave the ending out"),
        (LISTS, r"\A", "record,label\n", "line 1 is a heading; remove it"),
        (LISTS[:1], "-1", "0", "labels are 0 and 1; write -1 and 1"),
        (LISTS[:1], "(-?)1$", r"x\1", "labels are x and x-; write -1 and 1"),
    ],
)
def test_lists_written_otherwise_are_one_line_each(c, names, old, new, problem):
    for name in names:
        (c / name).write_text(re.sub(old, new, (c / name).read_text(), flags=re.MULTILINE))
    assert problems(c) == [f"{c / name}: {problem}" for name in names]


@pytest.mark.parametrize("ending", [".WAV", ".ogg"])
def test_other_endings_are_one_line(c, ending):
    for path in c.glob("*.wav"):
        path.rename(path.with_suffix(ending))
    problem = f"31 recordings end in {ending}, not .wav or .flac; rename or convert them"
    assert problems(c) == [f"{c}: {problem}"]


def test_missing_files_and_rows_are_one_line_each(c, noise):
    for number in range(1, 6):
        (c / f"c{number:04d}.wav").unlink()
    for name in ("x1", "x2"):
        soundfile.write(c / f"{name}.wav", noise(seed=7), RATE)
    lacking, unlisted = (
        "a row but no .wav or .flac file",
        ".wav or .flac files have no row in REFERENCE.csv",
    )
    first, second = problems(c)
    assert f"REFERENCE.csv: 5 records have {lacking} (c0001, c0002, c0003, ...); add" in first
    assert second == f"{c}: 2 {unlisted} (x1, x2); add rows or remove the files"
    (c / "REFERENCE.csv").write_text("")
    assert f"28 {unlisted} (c0006, c0007, c0008, ...)" in problems(c)[-1]


def test_all_causes_are_told_at_once_each_naming_its_file(root):
    folder = root / "training-a"
    (folder / "REFERENCE.csv").write_text("a0001,-1\na0001,1\na0002,7\na0009,1\na0008\n")
    (root / "training-b" / "REFERENCE-SQI.csv").write_text("b0001,-1,x\n")
    (root / "training-b" / "b0002.wav").write_bytes(b"RIFF, but not really")
    (root / "training-c").mkdir()
    (root / challenge.ANNOTATION_FILES[0]).write_text("")
    found = "\n".join(problems(root))
    for expected in (
        "REFERENCE.csv: 1 records are listed twice (a0001)",
        "REFERENCE.csv: 1 labels are unknown (line 3: '7'); write -1 and 1",
        "REFERENCE.csv: 1 rows do not have 2 fields (line 5)",
        "1 records have a row but no .wav or .flac file (a0009)",
        "1 .wav or .flac files have no row in REFERENCE.csv (a0003)",
        "REFERENCE-SQI.csv: 1 qualities are unknown (line 1: 'x'); write 0 and 1",
        "b0002.wav: not a readable audio file",
        "training-c/REFERENCE.csv: missing",
        "set.csv: no CSV",
    ):
        assert expected in found
    assert "a0002" not in found and len(found.splitlines()) == 9


def test_a_recording_in_two_folders_is_refused_once(root, write_folder):
    write_folder(root / "copy" / "training-a", {"a0001": -1, "a0002": 1})
    (line,) = problems(root)
    assert line.startswith("2 recordings are in ") and line.count("training-a") == 2


def test_another_rate_or_channel_count_is_noticed_once_not_refused(root, noise):
    soundfile.write(root / "training-a" / "a0002.wav", noise(44_100, seed=0), 44_100)
    soundfile.write(root / "training-b" / "b0001.wav", np.stack([noise(seed=10)] * 2, axis=1), RATE)
    with pytest.warns(UserWarning, match=r"2 of 6 .*a0002: 44,100 Hz, channels: 1") as caught:
        recordings = read_recordings(root)
    assert len(caught) == 1
    assert recordings["sample_rate"].tolist() == [RATE, 44_100, RATE, RATE, RATE, RATE]
    assert recordings["seconds"].tolist() == [1.5, 1.0, 1.5, 1.5, 1.5, 1.5]


# Validation copies


def test_each_validation_file_is_traced_to_its_recording_whatever_its_header(root, noise):
    folder = root / "training" / "validation"
    folder.mkdir(parents=True)
    assert validation_copies(root, read_recordings(root)).empty
    shutil.copy(root / "training-a" / "a0003.wav", folder / "a9998.wav")
    content = bytearray((root / "training-b" / "b0001.wav").read_bytes())
    content[4:8] = struct.pack("<I", len(content))
    (folder / "a9999.wav").write_bytes(content + struct.pack("<4sI", b"LIST", 0))
    soundfile.write(folder / "x0001.wav", noise(seed=77), RATE)
    copies = validation_copies(root, read_recordings(root))
    assert copies.to_numpy().tolist() == [
        ["a0003", "validation/a9998", "validation copy", 1.5],
        ["b0001", "validation/a9999", "validation copy", 1.5],
    ]
    assert list(copies) == ["record_a", "record_b", "kind", "seconds"]
    damaged = [folder / "a9998.wav", folder / "x0001.wav"]
    for path in damaged:
        path.write_bytes(b"no audio")
    with pytest.raises(InputError) as caught:
        validation_copies(root, read_recordings(root))
    assert [line.split(":")[0] for line in caught.value.problems] == [*map(str, damaged)]


@pytest.mark.real
def test_the_challenge_has_3240_recordings_of_which_665_are_abnormal(real_recordings):
    assert len(real_recordings) == 3_240
    assert real_recordings["label"].sum() == 665
    assert (real_recordings["quality"] == 0).sum() == 364
    assert real_recordings["digest"].is_unique
    assert real_recordings["seconds"].sum() / 3_600 == pytest.approx(20.2, abs=0.05)
    assert real_recordings["group"].nunique() == 3_240 - 45 + 6
