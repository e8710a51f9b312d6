"""The whole series, through the command a user types, on a table of synthetic recordings."""

from pathlib import Path

import nbformat
import pandas as pd
import pytest

from hsutils.cli import MODELS, main
from hsutils.predict import classify
from hsutils.runner import series as notebooks


def code_cells(notebook: Path) -> list:
    cells = nbformat.read(notebook, as_version=4).cells
    return [cell for cell in cells if cell.cell_type == "code"]


def test_every_notebook_is_executed_without_an_error(series):
    for notebook in notebooks():
        cells = code_cells(series.folder / "notebooks" / notebook.name)
        assert all(cell.execution_count for cell in cells)
        assert "error" not in {output.output_type for cell in cells for output in cell.outputs}


def test_explorers_leave_their_picture_and_no_cell_a_dead_control_or_a_progress_bar(series):
    paths = (series.folder / "notebooks").glob("*.ipynb")
    cells = [cell for path in paths for cell in code_cells(path)]
    explorers = [cell for cell in cells if "\nexplore" in f"\n{cell.source}"]
    assert len(explorers) >= 4
    assert all("image/png" in cell.outputs[0].data for cell in explorers)
    assert not any("widget-view" in str(cell.outputs) for cell in cells)
    text = "".join(output.get("text", "") for cell in cells for output in cell.outputs)
    assert "it/s" not in text + series.said


def test_the_run_folder_holds_what_the_readme_promises_and_says_where(series):
    files = ["experiment.toml", "environment.json", "recordings.csv", "splits.csv"]
    files += ["encoder.safetensors", "soft_labels.csv", "report.html"]
    files += [f"{model}.safetensors" for model in MODELS]
    files += [f"predictions/{model}-{split}.csv" for model in MODELS for split in ("dev", "test")]
    files += [f"tables/table_{number}.csv" for number in (1, 2, 3)]
    figures = [f"figures/paper-figure-{number}" for number in (1, 3, 4, 5)]
    files += [f"{figure}.{suffix}" for figure in figures for suffix in ("png", "svg")]
    assert [file for file in files if not (series.folder / file).exists()] == []
    for wanted in ("Table 1", "Table 2", "Table 3", "report.html", str(series.folder / "figures")):
        assert wanted in series.said


def test_a_second_run_makes_only_what_is_missing_or_damaged(series, capsys):
    folder = series.folder
    kept = {file: (folder / file).stat().st_mtime_ns for file in ("teacher.json", "baseline.json")}
    predictions = folder / "predictions/student-test.csv"
    before = predictions.read_bytes()
    predictions.write_bytes(before[: len(before) // 2])
    (folder / "student.safetensors").unlink()
    # What a process that was killed while it saved leaves behind.
    for leftover in ("figures/.a-x.png", "tables/.x.csv"):
        (folder / leftover).write_bytes(b"")
    assert main(series.command) == 0
    assert capsys.readouterr().out.count("done before") == len(notebooks()) - 1
    assert predictions.read_bytes() == before
    assert {file: (folder / file).stat().st_mtime_ns for file in kept} == kept


def test_the_trained_student_gives_a_file_the_logit_that_it_has_in_the_run(series):
    folder = series.folder
    paths = pd.read_csv(folder / "recordings.csv").set_index("record").path
    expected = pd.read_csv(folder / "predictions/student-test.csv")
    table, _ = classify(paths[expected.record[:4]], folder / "student.safetensors")
    # The cache holds float16, `classify` computes afresh in float32.
    assert table.logit.to_numpy() == pytest.approx(expected.logit[:4], abs=0.02)
