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
    "12": {"Murmur": "Absent", "Additional ID": "9.0"},
    "9": {"Murmur": "Unknown", "Additional ID": "12.0"},
    "13": {"Murmur": "Present", "Murmur locations": "MV", "Diastolic murmur grading": "I/IV"},
    "14": {"Murmur": "Absent"},
}
FILES = ["11_AV", "11_PV", "11_MV_1", "11_MV_2", "12_AV", "9_AV", "13_MV"]
COLUMNS = ["Patient ID", "Locations", "Age", "Sex", "Murmur", "Murmur locations", "Campaign"]
COLUMNS += ["Additional ID"] + [
    f"{when} murmur {what}"
    for when in ("Systolic", "Diastolic")
    for what in ("timing", "shape", "grading", "pitch")
]


@pytest.fixture
def root(tmp_path: Path, noise) -> Path:
    """Five patients in PhysioNet's layout, one of them without recordings."""
    folder = tmp_path / "root" / "training_data"
    folder.mkdir(parents=True)
    sites: dict[str, list[str]] = {}
    for number, name in enumerate(FILES):
        soundfile.write(folder / f"{name}.wav", noise(6_000, seed=number), 4_000)
        (folder / f"{name}.tsv").write_text("0\t1\t1\n")
        visit, site = name.split("_")[:2]
        sites.setdefault(visit, []).append(site)
    known = {"Age": "Child", "Sex": "Female", "Campaign": "CC2014"}
    rows = [
        {"Patient ID": visit, "Locations": "+".join(sites.get(visit, ["TV"]))} | known | about
        for visit, about in PATIENTS.items()
    ]
    pd.DataFrame(rows, columns=COLUMNS).to_csv(folder.parent / "training_data.csv", index=False)
    return folder.parent


def test_the_label_is_the_murmur_at_this_site_and_unsure_ones_are_left_out(root):
    sure, every = circor_table(root), circor_table(root, unsure=True)
    heard = {"11_AV": "present", "11_MV_1": "present", "11_MV_2": "present", "13_MV": "present"}
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
    assert table.site.tolist() == [record.split("_")[1] for record in table.index]


def test_of_two_formats_the_commoner_one_is_listed(root, noise):
    for number, name in enumerate(FILES[:-1]):
        soundfile.write(root / f"training_data/{name}.flac", noise(seed=number), 2_000)
    (root / "training_data/12_AV.wav").unlink()
    table = circor_table(root, unsure=True)
    assert table.record.is_unique and len(table) == len(FILES)
    endings = table.set_index("record").path.str.split(".").str[-1]
    assert endings.to_dict() == dict.fromkeys(FILES, "flac") | {"13_MV": "wav"}


def test_what_does_not_fit_together_is_one_line(root):
    folder = root / "training_data"
    (folder / "11_AV.wav").unlink()
    with pytest.warns(UserWarning, match=r"some recordings of 1 patients are not there \(11\)"):
        circor_table(root)
    (folder / "12_AV.wav").rename(folder / "99_AV.wav")
    for damage in (
        lambda: None,
        (root / "training_data.csv").unlink,
        lambda: shutil.rmtree(folder),
    ):
        damage()
        with pytest.raises(InputError, match=r"holds no CirCor recordings .* fetch them again"):
            circor_table(root)


@pytest.mark.parametrize("packed", ["folders", "archives"])
def test_a_mirror_of_folders_or_archives_becomes_recordings_and_their_table(root, tmp_path, packed):
    mirror, above = tmp_path / "mirror", "the-circor-dataset-1.0.3"
    if packed == "folders":
        shutil.copytree(root, mirror / above)
        (mirror / above / "notes.wav").write_text("not of the corpus")
    else:
        mirror.mkdir()
        shutil.copy(root / "training_data.csv", mirror)
        for part in range(2):
            with zipfile.ZipFile(mirror / f"{part}.zip", "w") as archive:
                # The first patient is in both.
                for path in sorted((root / "training_data").iterdir())[part * 6 :]:
                    archive.write(path, f"{above}/training_data/{path.name}")
                archive.writestr("training_data/../../outside_AV.wav", b"evil")
    to = fetch_circor(tmp_path / "to", mirror)
    files = {str(path.relative_to(to)) for path in to.rglob("*.*")}
    names = {f"training_data/{name}.{end}" for name in FILES for end in ("wav", "tsv")}
    assert files == names | {"recordings.csv", "training_data.csv"}
    with pytest.warns(UserWarning, match="not mono at 2,000 Hz"):
        found = read_table(to / "recordings.csv")
    assert found.record.tolist() == circor_table(root).record.tolist()
    fetch_circor(to, tmp_path / "gone", unsure=True)
    assert len(pd.read_csv(to / "recordings.csv")) == len(FILES)


@pytest.fixture(scope="module")
def real() -> Path:
    """The folder HSUTILS_CIRCOR, or a skip that says how to get it."""
    if not (folder := os.environ.get("HSUTILS_CIRCOR")):
        pytest.skip("HSUTILS_CIRCOR is not set: name the folder of `hsutils fetch circor-2022`")
    return Path(folder)


@pytest.mark.real
@pytest.mark.filterwarnings("error:.*are not there:UserWarning")
def test_the_real_table_agrees_with_the_text_file_of_every_patient(real):
    table = circor_table(real, unsure=True).set_index("record")
    patients = pd.read_csv(real / "training_data.csv", dtype=str).set_index("Patient ID")
    for record, row in table.iterrows():
        visit, site = record.split("_")[:2]
        about = patients.loc[visit]
        assert row.label == int(site in str(about["Murmur locations"]).split("+"))
        assert row.murmur == "unknown" or (about.Murmur == "Absent") == (row.murmur == "absent")
        assert str(row.patient) in {visit, str(about["Additional ID"]).removesuffix(".0")}
    assert table.groupby("patient").sex.nunique().eq(1).mean() > 0.95
