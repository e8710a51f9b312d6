"""The series as a newcomer runs it: profile `demo` on the package's clips teaches its lessons."""

import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from demo_lessons import assert_lessons

from hsutils.run import open_run
from hsutils.runner import series
from hsutils.studies import lessons

OVERRIDES = ["compute.threads=1", "compute.precision=32-true", "compute.accelerator=cpu"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "run"
    command = [sys.executable, "-m", "hsutils", "run", "--run-dir", str(folder)]
    command += [part for override in OVERRIDES for part in ("--set", override)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_lessons_come_out(folder):
    assert_lessons(lessons.answers(open_run("demo", folder, OVERRIDES)), clearly=0.0)


def test_every_solution_is_right(folder):
    for path in series():
        cells = nbformat.read(folder / "notebooks" / path.name, as_version=4).cells
        solutions = [cell for cell in cells if "solution" in cell.metadata.get("tags", [])]
        assert len(solutions) >= 2, path.name
        for cell in solutions:
            said = [o.data["text/plain"] for o in cell.outputs if "data" in o]
            assert any(text.endswith(": right") for text in said), (path.name, cell.source, said)
