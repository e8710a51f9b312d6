import re
import subprocess
import sys

import pytest

from hsutils.__main__ import main


def test_bad_input_is_one_clear_line_without_a_traceback(tmp_path, capsys):
    code = main(["run", "--profile", "no-such-profile", "--run-dir", str(tmp_path)])
    error = capsys.readouterr().err
    assert code == 2
    assert "no-such-profile" in error and "demo" in error and "Traceback" not in error


def test_every_wrong_field_is_named_at_once(tmp_path, capsys):
    wrong = ["--set", "finetune.epochs=0", "--set", "student.colour=red", "--seed", "3"]
    assert main(["run", "--run-dir", str(tmp_path), *wrong]) == 2
    error = capsys.readouterr().err
    assert "finetune.epochs" in error and "student.colour" in error


def test_a_missing_data_folder_is_named_by_the_notebook_that_needs_it(tmp_path):
    command = [sys.executable, "-m", "hsutils", "run", "--profile", "paper"]
    command += ["--data", str(tmp_path / "nowhere"), "--run-dir", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "nowhere" in done.stderr and "fetch" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_mirror_without_archives_is_refused(tmp_path, capsys):
    (tmp_path / "mirror").mkdir()
    to, mirror = str(tmp_path / "to"), str(tmp_path / "mirror")
    assert main(["fetch", "--to", to, "--mirror", mirror]) == 2
    assert "mirror" in capsys.readouterr().err
    assert not (tmp_path / "to").exists()


def test_predicting_without_a_trained_model_says_how_to_get_one(tmp_path, capsys):
    assert main(["predict", "some.wav", "--run-dir", str(tmp_path)]) == 2
    assert "make run" in capsys.readouterr().err


def test_some_models_are_no_series_of_notebooks(tmp_path, capsys):
    assert main(["run", "--models", "baseline", "--run-dir", str(tmp_path / "run")]) == 2
    assert "add --trainings-only" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


COMMANDS = ("run", "variants", "gather", "trust", "beyond", "card", "redraw", "fetch")
COMMANDS += ("export", "predict")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_there_and_explains_itself(capsys, command):
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    assert f"hsutils {command}" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    assert re.search(rf"^    {command}  ", capsys.readouterr().out, re.MULTILINE)


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    assert main(["run", "--run-dir", str(tmp_path / "file" / "run")]) == 2
    error = capsys.readouterr().err
    assert str(tmp_path / "file") in error and "Traceback" not in error


@pytest.mark.parametrize("content", ["", "profile,model\n", "\xff"])
def test_evidence_that_is_no_evidence_is_named(tmp_path, capsys, content):
    for name in ("predictions", "histories", "trainings"):
        (tmp_path / f"{name}.csv").write_text(content, encoding="latin-1")
    assert main(["redraw", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "predictions.csv" in error and "gather" in error
