"""A run folder knows what each file was made from, notices damage, and has one writer at a time."""

import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from hsutils.config import PROJECT, Profile, load_profile
from hsutils.errors import InputError
from hsutils.files import read_json
from hsutils.run import Run, open_run

FILE = "tables/table.csv"


class Killed(Exception):
    """Stands for whatever may stop a process."""


@pytest.fixture
def run(tmp_path) -> Run:
    return Run(tmp_path / "run", Profile())


def made(run: Run, stamp: str = "stamp", text: str = "a,b\n1,2\n", file: str = FILE) -> int:
    """How often `cached` had to make the file."""
    calls = []

    def make(path: Path) -> dict:
        calls.append(path)
        path.write_text(text)
        return {"fact": 1}

    assert run.cached(file, stamp, make) == run.path(file)
    assert run.path(file).read_text() == text or not calls
    return len(calls)


def test_an_open_run_holds_its_resolved_profile_and_environment(tmp_path):
    run = open_run("demo", tmp_path / "run", ["seed=5"])
    assert load_profile(run.path("experiment.toml")) == run.profile
    assert run.profile.seed == run.note("environment.json")["seed"] == 5
    assert {path.name for path in run.folder.iterdir()} == {"experiment.toml", "environment.json"}


def test_a_refused_run_leaves_no_folder(tmp_path):
    with pytest.raises(InputError):
        open_run("demo", tmp_path / "run", ["seed=-1"])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("run_dir", "folder"), [(None, "runs/demo"), ("runs/mine", "runs/mine"), ("/else", "/else")]
)
def test_relative_run_folders_start_at_the_project(monkeypatch, run_dir, folder):
    monkeypatch.setattr("hsutils.run.write_text", lambda *_: None)
    monkeypatch.setattr("hsutils.run.write_json", lambda *_: None)
    assert open_run("demo", run_dir).folder == PROJECT / folder


def test_a_file_is_made_once_for_the_same_inputs(run):
    assert [made(run), made(run), made(run, "other"), made(run, "other")] == [1, 0, 1, 0]


def test_facts_are_noted_beside_fingerprint_and_digest(run):
    made(run)
    note = run.note(FILE)
    assert (note["fingerprint"], note["fact"], len(note["digest"])) == ("stamp", 1, 64)
    assert note == read_json(run.path("tables/table.json"))


@pytest.mark.parametrize("name", [FILE, "tables/table.json"])
@pytest.mark.parametrize("damage", [None, b"", b"a,b\n1,3\n", b"{", b"[1]", b"\xff", b"{}"])
def test_a_missing_or_damaged_file_or_note_is_made_again(run, name, damage):
    made(run)
    run.path(name).unlink()
    if damage is not None:
        run.path(name).write_bytes(damage)
    assert [made(run), made(run)] == [1, 0]


def test_an_interrupted_remake_leaves_nothing_that_passes_for_done(run, monkeypatch):
    made(run)

    def kill(*_):
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Run, "_write_note", kill)
        made(run, "other", "new")
    assert not run.is_done(FILE, "stamp") and not run.is_done(FILE, "other")
    with pytest.raises(Killed):
        run.cached(FILE, "third", kill)
    assert not list(run.path("tables").glob(".table*"))


def test_a_parents_result_is_copied_where_its_inputs_are_the_same(run, tmp_path):
    made(run)
    child = Run(tmp_path / "child", Profile(), parent=run.folder)
    assert made(child) == 0 and child.note(FILE) == run.note(FILE)
    assert made(Run(tmp_path / "other", Profile(), parent=run.folder), "other") == 1


def test_a_parents_result_that_is_damaged_or_changes_meanwhile_is_made_again(
    run, tmp_path, monkeypatch
):
    made(run)
    with monkeypatch.context() as patch:
        half = lambda source, target: target.write_text("half of another")  # noqa: E731
        patch.setattr("hsutils.run.shutil.copyfile", half)
        assert made(Run(tmp_path / "child", Profile(), parent=run.folder)) == 1
    run.path(FILE).write_text("damaged")
    assert made(Run(tmp_path / "other", Profile(), parent=run.folder)) == 1


def test_a_second_process_waits_and_says_for_whom_then_does_no_work_again(run):
    code = f"""
from pathlib import Path
from hsutils.config import Profile
from hsutils.run import Run
run = Run(Path({str(run.folder)!r}), Profile())
run.cached({FILE!r}, "stamp", lambda path: path.write_text("theirs") and None)
print("done", run.path({FILE!r}).read_text())
"""
    with run.writing():
        other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        line = other.stdout.readline()
        assert "waiting for process" in line and str(run.folder) in line
        made(run, text="ours")
    assert other.communicate(timeout=60)[0] == "done ours\n"


def test_who_interrupts_is_told_how_to_go_on_in_one_line(run):
    with pytest.raises(KeyboardInterrupt) as caught, run.writing():
        raise KeyboardInterrupt
    (line,) = caught.value._render_traceback_()
    assert "run the cell again" in line
    with FileLock(run.path(".lock"), timeout=0):
        pass


def test_the_lock_may_be_held_twice_by_one_process(run):
    with run.writing():
        assert made(run) == 1
