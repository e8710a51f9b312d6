"""What `make lab` sets up: outputs stay out of git."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from hsutils.config import CHECKOUT

NOTEBOOKS = sorted((CHECKOUT / "notebooks").glob("*.ipynb"))
KERNEL = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
MODE = {"name": "ipython", "version": 3}
LANGUAGE = {"name": "python", "version": "3.13.1", "mimetype": "text/x-python"}
LANGUAGE |= {"codemirror_mode": MODE, "pygments_lexer": "ipython3", "file_extension": ".py"}
LANGUAGE |= {"nbconvert_exporter": "python"}
ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith(("GIT_", "MAKE"))}
ENVIRONMENT |= {"GIT_CONFIG_GLOBAL": "/dev/null"}
PRINTED = "printed by a cell"
NEEDS_GIT = pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")


def done(folder: Path, *line: str) -> subprocess.CompletedProcess:
    """What a command said, which must not fail, nor know the user's git or a make around it."""
    about = {"check": True, "capture_output": True, "text": True}
    return subprocess.run(line, cwd=folder, env=ENVIRONMENT, **about)


def git(folder: Path, *arguments: str) -> str:
    return done(folder, "git", "-c", "user.name=t", "-c", "user.email=t@t", *arguments).stdout


def set_filter(folder: Path, programs: Path = Path(sys.executable).parent) -> str:
    """What `make filter` says."""
    return done(folder, "make", "-s", "filter", f"bin={programs}").stderr


@pytest.fixture
def folder(tmp_path) -> Path:
    """What a tarball holds: a notebook, and what sets the filter."""
    (tmp_path / "notebooks").mkdir()
    for path in (*(CHECKOUT / name for name in ("Makefile", ".gitattributes")), NOTEBOOKS[0]):
        shutil.copy(path, tmp_path / path.relative_to(CHECKOUT))
    return tmp_path


def test_notebooks_are_valid_name_their_kernel_as_jupyterlab_does_and_hold_no_outputs():
    for path in NOTEBOOKS:
        notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
        nbformat.validate(notebook)
        assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
        assert notebook.metadata == {"kernelspec": KERNEL, "language_info": {"name": "python"}}
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        assert not any(cell.outputs or cell.execution_count for cell in code)


@NEEDS_GIT
def test_what_run_all_writes_is_no_change_to_git(folder):
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "before")
    assert set_filter(folder) == ""
    path = folder / "notebooks" / NOTEBOOKS[0].name
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata |= {"kernelspec": KERNEL, "language_info": LANGUAGE, "widgets": {}}
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "code":
            cell.execution_count = number
            cell.outputs = [nbformat.v4.new_output("stream", text=PRINTED)]
            cell.metadata["execution"] = {"iopub.status.busy": "2030-01-01"}
        else:
            cell.metadata["jp-MarkdownHeadingCollapsed"] = True
    nbformat.write(notebook, path)
    assert git(folder, "diff") == ""
    # Git compares sizes before it asks the filter; adding a file makes it look again.
    assert git(folder, "status", "--porcelain") == f" M notebooks/{path.name}\n"
    git(folder, "add", ".")
    assert git(folder, "status", "--porcelain") == ""
    path.write_text(path.read_text().replace("# ", "## ", 1))
    git(folder, "add", ".")
    assert git(folder, "status", "--porcelain") == f"M  notebooks/{path.name}\n"
    assert PRINTED not in git(folder, "show", f":notebooks/{path.name}")


def test_outside_a_checkout_there_is_nothing_to_set_and_nothing_fails(folder):
    assert set_filter(folder) == ""


@NEEDS_GIT
def test_without_the_programs_git_goes_on_and_says_that_outputs_are_kept(folder):
    git(folder, "init", "-q")
    assert set_filter(folder, Path("absent")) == ""
    assert "make lab" in done(folder, "git", "add", ".").stderr
    path = next((folder / "notebooks").glob("*.ipynb"))
    assert git(folder, "show", f":notebooks/{path.name}") == path.read_text()
    done(folder, "make", "clean")
    assert "notebooks" not in (folder / ".git/config").read_text()


@NEEDS_GIT
def test_a_git_that_takes_no_filter_is_named_in_one_line(folder):
    git(folder, "init", "-q")
    (folder / ".git/config.lock").touch()
    assert len(set_filter(folder).splitlines()) == 1
