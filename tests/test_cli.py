"""What a user types: every mistake is one line that names it, before any work."""

import errno
import json
import os
import re
import shutil
import subprocess
import sys
from io import StringIO, TextIOWrapper
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from safetensors.torch import load_file

from hsutils import pipeline, runner
from hsutils.cli import MODELS, PURPOSE, find_recordings, main
from hsutils.config import PROJECT
from hsutils.models import build
from hsutils.predict import patients_of

TRAIN_STUDENT = ["run", "--profile", "small", "--trainings-only", "--models", "student"]


@pytest.fixture
def failed(capsys):
    """Run a command that fails; what it says, which is no traceback."""

    def run(*arguments: object, code: int = 2) -> str:
        assert main([str(argument) for argument in arguments]) == code
        said = capsys.readouterr().err
        assert said.startswith("hsutils: ") and "Traceback" not in said
        return said.removeprefix("hsutils: ").strip()

    return run


@pytest.mark.parametrize("command", ["", "run", "fetch", "predict", "evaluate", "export"])
def test_every_command_is_there_and_explains_itself(capsys, command):
    with pytest.raises(SystemExit, match="0"):
        main([*command.split(), "--help"])
    said = capsys.readouterr().out
    assert f"hsutils {command}".strip() in said
    assert (PURPOSE in " ".join(said.split())) == (command in ("predict", "evaluate"))
    if not command:
        listed = re.findall(r"^    (\w+)  ", said, re.MULTILINE)
        assert listed == ["run", "fetch", "edition", "predict", "evaluate", "export"]
        assert "hsutils.studies" in said


def test_help_is_quick_because_it_imports_little():
    code = "import sys; from hsutils.cli import main\ntry: main(['--help'])\n"
    code += "except SystemExit: print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert MODELS == build.MODELS, "named twice, so that nothing need be imported"
    assert not {"numpy", "pandas", "torch", "pydantic", "papermill"} & set(done.stdout.split())


def test_an_unknown_profile_and_every_wrong_field_are_named(failed, tmp_path):
    said = failed("run", "--profile", "no-such-profile", "--run-dir", tmp_path / "run")
    assert "no-such-profile" in said and "demo" in said and "\n" not in said
    wrong = ["--set", "finetune.epochs=0", "--set", "student.colour=red", "--seed", "3"]
    said = failed("run", "--run-dir", tmp_path / "run", *wrong)
    assert "finetune.epochs" in said and "student.colour" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("--accelerator=cuda", "'compute.accelerator' is cuda, but this machine has none"),
        ("--accelerator=mps", "'compute.accelerator' is mps, but this machine has none"),
        ("--devices=3", "'compute.devices' is 3, but this machine has 2"),
    ],
)
def test_what_the_machine_lacks_is_refused_before_any_work(
    failed, tmp_path, monkeypatch, asked, said
):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    line = failed("run", "--run-dir", tmp_path / "run", "--trainings-only", asked)
    assert line.startswith(f"profile demo: {said}") and "\n" not in line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("option", ["--data", "--lists"])
@pytest.mark.parametrize("how", [(), ("--trainings-only",)])
def test_a_missing_folder_is_noticed_before_any_work(failed, tmp_path, tiny_data, option, how):
    folders = {"--data": tiny_data / "recordings", "--lists": tiny_data}
    folders[option] = tmp_path / "nowhere"
    given = [part for pair in folders.items() for part in pair]
    said = failed("run", "--profile", "paper", *given, "--run-dir", tmp_path / "run", *how)
    assert "nowhere: no such folder" in said and option in said and "\n" not in said
    assert not (tmp_path / "run").exists()


def test_a_missing_table_and_an_option_of_another_corpus_are_refused(failed, tmp_path):
    said = failed("run", "--data", tmp_path / "none.csv", "--run-dir", tmp_path / "run")
    assert said.startswith(f"{tmp_path / 'none.csv'}: no such table; name it with --data")
    assert "leave it out" in failed("fetch", "--unsure", "--to", tmp_path / "to")
    assert not [*tmp_path.iterdir()]


def test_some_models_are_no_series_of_notebooks(failed, tmp_path):
    for options in (["baseline"], ["cnn,student", "--trainings-only"]):
        said = failed("run", "--run-dir", tmp_path / "run", "--models", *options)
        assert said.startswith(f"--models {options[0]}: use some of teacher,student,baseline")
    assert not (tmp_path / "run").exists()


def test_every_seed_is_a_run_of_its_own(tmp_path, monkeypatch, failed):
    trained = []
    monkeypatch.setitem(pipeline.TRAIN, "student", trained.append)
    command = [*TRAIN_STUDENT, "--run-dir", f"{tmp_path}/run/", "--seeds"]
    assert "seed" in failed(*command, "0,-1") and not trained
    assert main([*command, "0,3"]) == 0
    assert [run.folder.name for run in trained] == ["run-0", "run-3"]
    assert [run.profile.seed for run in trained] == [0, 3]


def test_a_run_with_other_recordings_is_not_written_over_unasked(tmp_path, monkeypatch, failed):
    trained = []
    monkeypatch.setattr("hsutils.config.PROJECT", tmp_path)
    monkeypatch.setattr("hsutils.run.PROJECT", tmp_path)
    monkeypatch.setitem(pipeline.TRAIN, "student", trained.append)
    tables = [tmp_path / name / "recordings.csv" for name in "ab"]
    for table in tables:
        table.parent.mkdir()
        table.write_text("path,label\n")
    one, other = (["run", "--data", str(table), *TRAIN_STUDENT[1:]] for table in tables)
    assert main(one) == main(one) == 0
    folder = tmp_path / "runs/small-recordings"
    assert failed(*other).startswith(f"{folder}: holds a run with other recordings; name another")
    assert "holds a run" in failed(*one, "--set", f"data.more={tables[1]}")
    assert main([*other, "--run-dir", str(folder)]) == 0
    assert [Path(run.profile.data.folder) for run in trained] == [tables[0], *tables]
    (folder / "experiment.toml").write_text("[data")  # cut short
    assert main(one) == 0


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "run/student.safetensors")
NO_MEMORY = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 MiB.\nSee the manual")


@pytest.mark.parametrize(
    ("error", "said", "code"),
    [
        (FULL, "run/student.safetensors: No space left on device", 2),
        (MemoryError(), "no more memory", 2),
        (NO_MEMORY, "CUDA out of memory. Tried to allocate 20 MiB.", 2),
        (KeyboardInterrupt(), "run the same command again", 130),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_the_machine_runs_out_of_is_one_line(failed, tmp_path, monkeypatch, error, said, code):
    def fail(run):
        raise error

    monkeypatch.setitem(pipeline.TRAIN, "student", fail)
    line = failed(*TRAIN_STUDENT, "--run-dir", tmp_path / "run", code=code)
    assert said in line and "\n" not in line


def test_a_fault_of_the_program_is_not_hidden(tmp_path, monkeypatch):
    monkeypatch.setitem(pipeline.TRAIN, "student", lambda run: run.no_such_thing)
    with pytest.raises(AttributeError):
        main([*TRAIN_STUDENT, "--run-dir", str(tmp_path / "run")])


def test_a_folder_that_cannot_be_written_is_one_line(failed, tmp_path):
    (tmp_path / "file").write_text("in the way")
    assert str(tmp_path / "file") in failed("run", "--run-dir", tmp_path / "file" / "run")


def test_installed_without_notebooks_nothing_is_run_or_written(failed, tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "NOTEBOOKS", tmp_path / "notebooks")
    said = failed("run", "--profile", "small", "--run-dir", tmp_path / "run")
    where = f"no notebooks beside the package ({tmp_path / 'notebooks'})"
    assert said == f"{where}: use pip install -e ." and not any(tmp_path.iterdir())


def test_results_never_go_beside_an_installed_package(tmp_path):
    (tmp_path / "hsutils").mkdir()
    for path in (PROJECT / "hsutils").glob("*.py"):
        shutil.copy(path, tmp_path / "hsutils")
    (elsewhere := tmp_path / "elsewhere").mkdir()
    code = "from hsutils.config import CHECKOUT, PROJECT; print(CHECKOUT, PROJECT, sep='\\n')"
    about = {"cwd": elsewhere, "env": os.environ | {"PYTHONPATH": str(tmp_path)}, "text": True}
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, **about)
    assert done.stdout.split() == [str(tmp_path), str(elsewhere)]


# predict


@pytest.fixture
def hearts(tmp_path) -> Path:
    """A folder with a heart and a text that ends in .wav, and one below it with another heart."""
    (tmp_path / "hearts" / "more").mkdir(parents=True)
    clips = PROJECT / "hsutils" / "clips"
    shutil.copy(clips / "training-a" / "a0006.flac", tmp_path / "hearts")
    shutil.copy(clips / "training-e" / "e00282.flac", tmp_path / "hearts" / "more" / "E.FLAC")
    (tmp_path / "hearts" / "bad.wav").write_text("<html>404")
    (tmp_path / "hearts" / ".hidden.wav").write_text("not looked at")
    return tmp_path / "hearts"


def test_good_files_are_done_and_bad_ones_named_with_exit_2(hearts, capsys):
    asked = [hearts, hearts.parent / "absent.wav", hearts / "a0006.flac"]
    assert main(["predict", *map(str, asked)]) == 2
    said = capsys.readouterr()
    table = pd.read_csv(StringIO(said.out), keep_default_na=False)
    assert table.file.tolist() == [str(hearts / "a0006.flac"), str(hearts / "more" / "E.FLAC")]
    assert table.decision.tolist() == ["abnormal", "normal"]
    lines = said.err.splitlines()
    assert lines[0].startswith(f"hsutils: {hearts / 'bad.wav'}: not a readable audio file")
    assert lines[1:] == [f"hsutils: {asked[1]}: no such file", f"hsutils: {PURPOSE}"]


def test_without_a_heartbeat_no_number_is_shown_that_looks_like_a_verdict(tmp_path, capsys):
    noise = np.random.default_rng(0).integers(-9000, 9000, 20_000).astype(np.int16)
    soundfile.write(tmp_path / "noise.wav", noise, 2000)
    for form in ("csv", "json", "table"):
        assert main(["predict", str(tmp_path), "--format", form]) == 0
        shown = capsys.readouterr().out
        assert "no regular heartbeat" in shown
        if form == "csv":
            assert shown.endswith("noise.wav,10.0,,False,,,,no regular heartbeat was found\n")
        elif form == "json":
            assert json.loads(shown)[0]["probability"] is None
        else:
            assert not re.search(r"\bNaN|\.\d{3}", shown)


def test_a_recording_may_come_through_a_pipe(hearts, capsys, monkeypatch):
    with (hearts / "a0006.flac").open("rb") as file:
        monkeypatch.setattr("sys.stdin", TextIOWrapper(file))
        assert main(["predict", "-"]) == 0
    piped = capsys.readouterr().out.splitlines()[1]
    main(["predict", str(hearts / "a0006.flac")])
    named = capsys.readouterr().out.splitlines()[1]
    assert piped.partition(",")[2] == named.partition(",")[2] and piped.startswith("-,")


@pytest.mark.parametrize("form", ["csv", "json", "table"])
def test_a_name_that_is_no_text_is_printed(hearts, capsys, form):
    for name in (b"caf\xe8.flac", b"caf\xe9.flac"):
        shutil.copy(hearts / "a0006.flac", hearts / "more" / os.fsdecode(name))
    beats = str(hearts / "beats.csv")
    assert main(["predict", str(hearts / "more"), "--format", form, "--beats", beats]) == 0
    said = capsys.readouterr().out
    for name in (r"caf\xe8.flac", r"caf\xe9.flac"):
        assert said.count(json.dumps(name)[1:-1] if form == "json" else name) == 1


def test_folders_of_one_name_are_different_patients():
    files = [f"/data/{site}/p01/{n}.wav" for site in ("north", "south") for n in (1, 2)]
    assert patients_of(files, "folder") == ["north/p01"] * 2 + ["south/p01"] * 2
    assert patients_of(files[:2], "folder") == ["p01"] * 2
    assert patients_of(["/d/p/1.wav", "/d/x/../p/2.wav"], "folder") == ["p", "p"]
    assert patients_of(["/d/p/1.wav", "/d/p/p/2.wav"], "folder") == ["p", "p/p"]


def test_patients_and_beats_are_written_as_asked(hearts, capsys):
    beats = hearts.parent / "beats.csv"
    (hearts / "bad.wav").unlink()
    asked = ["predict", str(hearts), "--by", "folder", "--beats", str(beats), "--threshold", "9"]
    assert main(asked) == 0
    table = pd.read_csv(StringIO(capsys.readouterr().out))
    assert table.patient.tolist() == ["hearts", "more"] and set(table.decision) == {"normal"}
    found = pd.read_csv(beats)
    assert found.file.unique().tolist() == [str(hearts / n) for n in ("a0006.flac", "more/E.FLAC")]
    assert (found.s1 < found.s2).all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--model", "teacher"], "--model teacher: name its run with --run-dir"),
        (["--run-dir", "r", "--model", "x.onnx"], "--model x.onnx: a run has teacher, student, "),
        (["--model", "x.onnx"], "x.onnx: no such model"),
        (["--run-dir", "nowhere"], "student.safetensors: no such model"),
        (["--by", "(x"], "--by (x: no regular expression"),
    ],
)
def test_options_that_do_not_fit_are_told_before_any_work(failed, hearts, options, said):
    line = failed("predict", hearts / "a0006.flac", *options)
    assert said in line and "\n" not in line and "fetch" not in line


def test_folders_without_recordings_are_named_and_hidden_files_left_out(hearts, tmp_path):
    (tmp_path / "empty").mkdir()
    files, (problem,) = find_recordings([str(tmp_path / "empty"), str(hearts / "more"), "-"])
    assert files == [str(hearts / "more" / "E.FLAC"), "-"]
    assert problem.startswith(f"{tmp_path / 'empty'}: a folder without recordings (.wav, .flac")


def test_export_writes_the_packaged_model_and_says_where(tmp_path, capsys):
    assert main(["export", "--to", str(tmp_path / "model.safetensors")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "model.safetensors")
    ours = load_file(tmp_path / "model.safetensors")
    theirs = load_file(PROJECT / "hsutils/pretrained/compact.safetensors")
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())
