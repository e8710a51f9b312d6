"""CirCor's files become a table whose labels are what was heard at each site."""

import os
import shutil
import zipfile
from pathlib import Path

import pandas as pd
import pytest
import soundfile

from hsutils.data.circor import circor_table, fetch_circor
from hsutils.data.table import read_table
from hsutils.errors import InputError

PATIENTS = {
    "11": {"Murmur": "Present", "Murmur locations": "AV+MV", "Systolic murmur grading": "II/VI"},
    "12": {"Murmur": "Absent", "Additional ID": "9.0", "Pregnancy status": "True"},
    "9": {"Murmur": "Unknown", "Additional ID": "12.0"},
    "13": {"Murmur": "Present", "Murmur locations": "MV", "Diastolic murmur grading": "I/IV"},
    "14": {"Murmur": "Absent"},
}
FILES = ["11_AV", "11_PV", "11_MV_1", "11_MV_2", "12_AV", "9_AV", "13_MV"]
COLUMNS = ["Murmur", "Murmur locations", "Age", "Sex", "Campaign", "Additional ID"]
COLUMNS += ["Pregnancy status"]
for _what in ("timing", "shape", "grading", "pitch"):
    COLUMNS += [f"Systolic murmur {_what}", f"Diastolic murmur {_what}"]


@pytest.fixture
def root(tmp_path: Path, noise) -> Path:
    """Five patients in PhysioNet's layout, one of them without recordings."""
    folder = tmp_path / "root" / "training_data"
    folder.mkdir(parents=True)
    for number, name in enumerate(FILES):
        soundfile.write(folder / f"{name}.wav", noise(6_000, seed=number), 4_000)
        (folder / f"{name}.tsv").write_text("0\t1\t1\n")
    table = pd.DataFrame.from_dict(PATIENTS, "index", columns=COLUMNS).rename_axis("Patient ID")
    table["Locations"] = ["AV+PV+MV+MV", "AV", "AV", "MV", "TV"]
    table.fillna("nan").to_csv(folder.parent / "training_data.csv")
    return folder.parent


def test_the_label_is_the_murmur_at_this_site_and_unsure_ones_are_left_out(root):
    sure, every = circor_table(root), circor_table(root, unsure=True)
    heard = dict.fromkeys(["11_AV", "11_MV_1", "11_MV_2", "13_MV"], "present")
    heard |= {"11_PV": "other site", "12_AV": "absent", "9_AV": "unknown"}
    assert every.set_index("record").murmur.to_dict() == heard
    assert (every.label == (every.murmur == "present")).all()
    assert sorted(sure.record) == sorted(set(heard) - {"11_PV", "9_AV"})
    assert sure.merge(every).equals(sure)


def test_visits_are_one_patient_and_a_murmur_is_described_where_it_is_heard(root):
    table = circor_table(root, unsure=True).set_index("record")
    assert table.patient.to_dict() == dict(zip(FILES, [11, 11, 11, 11, 9, 9, 13], strict=True))
    grades = {"11_AV": "II/VI", "11_MV_1": "II/VI", "11_MV_2": "II/VI", "13_MV": "I/IV"}
    assert table.grade[table.grade != ""].to_dict() == grades
    assert table.index[table.pregnant == "yes"].tolist() == ["12_AV"]
    assert table.site.tolist() == [record.split("_")[1] for record in table.index]


def test_of_two_formats_the_commoner_one_is_listed(root, noise):
    for number, name in enumerate(FILES[:-1]):
        soundfile.write(root / f"training_data/{name}.flac", noise(seed=number), 2_000)
    (root / "training_data/12_AV.wav").unlink()
    paths = circor_table(root, unsure=True).set_index("record").path
    endings = dict.fromkeys(FILES, "flac") | {"13_MV": "wav"}
    assert paths.to_dict() == {name: f"training_data/{name}.{e}" for name, e in endings.items()}


def test_what_does_not_fit_together_is_one_line(root):
    folder = root / "training_data"
    (folder / "11_AV.wav").unlink()
    with pytest.warns(UserWarning, match=r"some recordings of 1 patients are not there \(11\)"):
        circor_table(root)
    (folder / "12_AV.wav").rename(folder / "99_AV.wav")
    for damage in (str, (root / "training_data.csv").unlink):
        damage()
        with pytest.raises(InputError, match=r"holds no CirCor recordings .* fetch them again"):
            circor_table(root)


@pytest.mark.filterwarnings("ignore:.*not mono at 2,000 Hz:UserWarning")
@pytest.mark.parametrize("packed", [False, True])
def test_a_mirror_of_folders_or_archives_becomes_recordings_and_their_table(root, tmp_path, packed):
    mirror, above = tmp_path / "mirror", "the-circor-dataset-1.0.3"
    shutil.copytree(root, mirror / above)
    (mirror / above / "notes.wav").write_text("not of the corpus")
    for part in range(2 * packed):
        with zipfile.ZipFile(mirror / f"{part}.zip", "w") as archive:
            # Some files are in both.
            for path in sorted((mirror / above / "training_data").iterdir())[part * 6 :]:
                archive.write(path, path.relative_to(mirror))
            archive.writestr("training_data/../../outside_AV.wav", b"evil")
    if packed:
        shutil.rmtree(mirror / above / "training_data")
    to = fetch_circor(tmp_path / "to", mirror)
    names = {f"training_data/{name}.{end}" for name in FILES for end in ("wav", "tsv")}
    found = {str(path.relative_to(to)) for path in to.rglob("*.*")}
    assert found == names | {"recordings.csv", "training_data.csv"}
    table = read_table(to / "recordings.csv")
    assert table.record.tolist() == circor_table(root).record.tolist()
    with pytest.raises(InputError, match=r"^holds no CirCor recordings.*; replace it, then run"):
        fetch_circor(tmp_path / "other", mirror / above if packed else to / "training_data")
    fetch_circor(to, tmp_path / "gone", unsure=True)
    assert len(read_table(to / "recordings.csv")) == len(FILES)


@pytest.mark.parametrize("unsure", [False, True])
def test_a_table_that_was_changed_is_left_and_one_that_is_missing_is_made(root, capsys, unsure):
    listed = root / "recordings.csv"
    for before, shown in [(None, 0), (not unsure, 0), (unsure, 0), ("path,label\n", 1)]:
        listed.unlink(missing_ok=True)
        if isinstance(before, bool):
            circor_table(root, before).to_csv(listed, index=False)
        elif before:
            listed.write_text(before)
        fetch_circor(root, unsure=unsure)
        expected = before if shown else circor_table(root, unsure).to_csv(index=False)
        assert listed.read_text() == expected
        assert capsys.readouterr().out.count("is left as it is; rename it") == shown


@pytest.mark.real
@pytest.mark.filterwarnings("error:.*are not there:UserWarning")
def test_the_real_table_agrees_with_what_is_said_of_every_patient():
    if not (folder := os.environ.get("HSUTILS_CIRCOR")):
        pytest.skip("HSUTILS_CIRCOR is not set: name the folder of `hsutils fetch circor-2022`")
    table = circor_table(folder, unsure=True).set_index("record")
    patients = pd.read_csv(Path(folder) / "training_data.csv", dtype=str).set_index("Patient ID")
    for record, row in table.iterrows():
        visit, site = record.split("_")[:2]
        about = patients.loc[visit]
        assert row.label == int(site in str(about["Murmur locations"]).split("+"))
        assert row.murmur == "unknown" or (about.Murmur == "Absent") == (row.murmur == "absent")
        assert row.pregnant in ("yes", "no") and not (row.pregnant == "yes" and row.age)
        assert (row.pregnant == "yes") == (about["Pregnancy status"] == "True")
        assert str(row.patient) in {visit, str(about["Additional ID"]).removesuffix(".0")}
    # What joins two visits is right: the same person has the same sex.
    assert table.groupby("patient").sex.nunique().eq(1).all()
