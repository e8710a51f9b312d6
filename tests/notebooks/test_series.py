"""The whole series, through the command a user types, on artificial and on real recordings."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pandas as pd
import pytest

from hsutils.experiment import PROJECT

NOTEBOOKS = sorted((PROJECT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
MODELS = ("teacher", "student", "baseline")


def hsutils(*arguments: object, cache: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "hsutils", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "HSUTILS_CACHE": str(cache)},
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("series")


@pytest.fixture(scope="module")
def series(place: Path) -> tuple[Path, subprocess.CompletedProcess]:
    command = ["run", "--profile", "small", "--run-dir", place / "run", "--data", place / "data"]
    done = hsutils(*command, cache=place / "cache")
    assert done.returncode == 0, done.stdout + done.stderr
    return place / "run", done


def test_every_notebook_is_executed_without_an_error(series):
    folder, _ = series
    for notebook in NOTEBOOKS:
        cells = nbformat.read(folder / "notebooks" / notebook.name, as_version=4).cells
        code = [cell for cell in cells if cell.cell_type == "code"]
        assert all(cell.execution_count for cell in code)
        kinds = {output.output_type for cell in code for output in cell.outputs}
        assert "error" not in kinds


def test_the_run_folder_holds_what_the_readme_promises(series):
    folder, _ = series
    files = ["experiment.toml", "environment.json", "recordings.csv", "splits.csv"]
    files += ["encoder.safetensors", "soft_labels.csv", "report.html"]
    files += [f"{model}.safetensors" for model in MODELS]
    files += [f"predictions/{model}-{split}.csv" for model in MODELS for split in ("dev", "test")]
    files += [f"tables/table_{number}.csv" for number in (1, 2, 3)]
    assert [file for file in files if not (folder / file).exists()] == []
    for number in (1, 3, 4, 5):
        for suffix in ("png", "svg"):
            assert (folder / f"figures/paper-figure-{number}.{suffix}").exists()


def test_the_results_and_where_they_lie_are_printed(series):
    folder, done = series
    for wanted in ("Table 1", "Table 2", "Table 3", "report.html", str(folder / "figures")):
        assert wanted in done.stdout


def test_headless_runs_show_no_progress_bar(series):
    _, done = series
    assert "it/s" not in done.stdout + done.stderr


def test_a_second_run_does_nothing_and_says_so(series, place):
    folder, _ = series
    weights = {model: (folder / f"{model}.safetensors").stat().st_mtime_ns for model in MODELS}
    command = ["run", "--profile", "small", "--run-dir", folder, "--data", place / "data"]
    again = hsutils(*command, cache=place / "cache")
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("done before") == len(NOTEBOOKS)
    for model, when in weights.items():
        assert (folder / f"{model}.safetensors").stat().st_mtime_ns == when


def test_a_missing_result_is_made_again_with_the_same_numbers(series, place):
    folder, _ = series
    predictions = folder / "predictions/student-test.csv"
    before = predictions.read_bytes()
    predictions.unlink()
    (folder / "student.safetensors").unlink()
    command = ["run", "--profile", "small", "--run-dir", folder, "--data", place / "data"]
    assert hsutils(*command, cache=place / "cache").returncode == 0
    assert predictions.read_bytes() == before


def test_the_trained_student_classifies_a_wav_file(series):
    folder, _ = series
    recordings = pd.read_csv(folder / "recordings.csv").set_index("record")
    expected = pd.read_csv(folder / "predictions/student-test.csv")
    record = expected.record[0]
    done = hsutils("predict", recordings.path[record], "--run-dir", folder, cache=folder)
    assert done.returncode == 0, done.stderr
    logit = float(done.stdout.splitlines()[1].split(",")[1])
    # The cache holds float16, the command computes afresh in float32.
    assert logit == pytest.approx(expected.logit[0], abs=0.02)


@pytest.mark.real
def test_the_series_runs_on_real_recordings(real_data, tmp_path):
    overrides = ["data.source=challenge", "data.recordings=80", "front_end.clip_seconds=8.0"]
    arguments = [part for override in overrides for part in ("--set", override)]
    folder = tmp_path / "run"
    command = ["run", "--profile", "small", "--run-dir", folder, "--data", real_data, *arguments]
    done = hsutils(*command, cache=tmp_path / "cache")
    assert done.returncode == 0, done.stdout + done.stderr
    recordings = pd.read_csv(folder / "recordings.csv")
    assert 70 <= len(recordings) <= 90
    assert set(recordings.database) == set("abcdef")
    assert len(pd.read_csv(folder / "tables/table_1.csv")) == len(MODELS)
