"""What a user types: every mistake is one line that names it, before any work."""

import errno
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import torch

from hsutils import pipeline
from hsutils.cli import MODELS, main
from hsutils.config import PROJECT
from hsutils.models import build

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


@pytest.mark.parametrize("command", ["run", "fetch", "predict", "export"])
def test_every_command_is_there_and_explains_itself(capsys, command):
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    assert f"hsutils {command}" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    help_text = capsys.readouterr().out
    assert re.search(rf"^    {command}  ", help_text, re.MULTILINE)
    assert "hsutils.studies" in help_text


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
        ("--precision=16-mixed", "'compute.precision' 16-mixed needs a GPU"),
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
    command = [*TRAIN_STUDENT, "--run-dir", str(tmp_path / "run"), "--seeds"]
    assert "seed" in failed(*command, "0,-1") and not trained
    assert main([*command, "0,3"]) == 0
    assert [run.folder.name for run in trained] == ["run-0", "run-3"]
    assert [run.profile.seed for run in trained] == [0, 3]


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


def test_installed_without_notebooks_nothing_is_run_or_written(tmp_path):
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    skipped = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PROJECT / "hsutils", site / "hsutils", ignore=skipped)
    command = [sys.executable, "-B", "-m", "hsutils", "run", "--profile", "small"]
    environment = os.environ | {"PYTHONPATH": str(site)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=elsewhere, env=environment)
    assert done.returncode == 2 and done.stdout == ""
    assert f"no notebooks beside the package ({site / 'notebooks'})" in done.stderr
    assert "use pip install -e ." in done.stderr
    assert [path.name for path in site.iterdir()] == ["hsutils"] and not any(elsewhere.iterdir())
    command = [*command[:2], "-c", "from hsutils.config import PROJECT; print(PROJECT)"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=elsewhere, env=environment)
    assert done.stdout.strip() == str(elsewhere), "results never go beside an installed package"


def test_verdicts_go_to_stdout_and_unreadable_files_to_stderr(tmp_path, capsys):
    noise = np.random.default_rng(0).integers(-9000, 9000, 20_000).astype(np.int16)
    soundfile.write(tmp_path / "good.wav", noise, 2000)
    (tmp_path / "bad.wav").write_text("<html>404")
    files = [str(tmp_path / f"{name}.wav") for name in ("bad", "good", "absent")]
    assert main(["predict", "--pretrained", *files]) == 2
    said = capsys.readouterr()
    header, row = said.out.splitlines()
    assert header == "file,logit,probability,prediction" and row.startswith(f"{files[1]},")
    assert files[0] in said.err and f"{files[2]}: no such file" in said.err
    assert files[1] not in said.err
