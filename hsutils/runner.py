"""Runs the series with papermill: in order, headless, resumable."""

import hashlib
import os
import sys
import time
import warnings
from datetime import UTC, datetime
from pathlib import Path

import papermill
from papermill.exceptions import PapermillExecutionError

from hsutils.errors import InputError
from hsutils.experiment import PROJECT, Run, fingerprint
from hsutils.files import read_json, write_json
from hsutils.progress import TERMINAL
from hsutils.report import write_report

NOTEBOOKS = PROJECT / "notebooks"
FIGURES = PROJECT / "figures"
UNWATCHED = ("notebooks", "checkpoints")


def run_series(run: Run, profile: str, overrides: list[str]) -> Path:
    """Execute every notebook whose result is missing or whose inputs changed; write the report.

    Args:
        run: the open run.
        profile: the profile's name or path, handed to the notebooks.
        overrides: `key=value` texts, handed to the notebooks.

    Returns:
        Path of `report.html`.

    Raises:
        InputError: what a notebook complained about, or where to find a notebook that failed.
    """
    parameters = {"profile": profile, "run_dir": str(run.folder), "overrides": overrides}
    before = _source_fingerprint(run)
    notebooks = sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
    for number, notebook in enumerate(notebooks, start=1):
        before = fingerprint(before, _digest(notebook))
        title = f"[{number}/{len(notebooks)}] {notebook.stem}"
        if _is_done(run, notebook, before):
            print(f"{title}: done before, nothing it depends on has changed", flush=True)
            continue
        print(f"{title} ...", flush=True)
        started = time.perf_counter()
        _execute(run, notebook, parameters)
        seconds = round(time.perf_counter() - started, 1)
        run.mark_done(f"notebooks/{notebook.name}", before, files=_files(run), seconds=seconds)
        print(f"{title}: {seconds:.0f} s", flush=True)
    environment = read_json(run.path("environment.json"))
    ended = datetime.now(UTC).isoformat(timespec="seconds")
    write_json(run.path("environment.json"), environment | {"ended": ended})
    return write_report(run.folder)


def _execute(run: Run, notebook: Path, parameters: dict) -> None:
    result = run.path("notebooks", notebook.name)
    unfinished = result.with_suffix(".failed.ipynb")
    unfinished.parent.mkdir(parents=True, exist_ok=True)
    _prepare_kernel_environment()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            papermill.execute_notebook(
                notebook,
                unfinished,
                parameters,
                kernel_name="python3",
                progress_bar=False,
                # Kernels on this machine alone need no word about encryption.
                extra_arguments=["--IPKernelApp.log_level=ERROR"],
            )
    except PapermillExecutionError as error:
        if error.ename == InputError.__name__:
            raise InputError(error.evalue) from None
        raise InputError(
            f"{notebook.name} stopped with {error.ename}: {error.evalue} (see {unfinished})"
        ) from error
    unfinished.replace(result)


def _prepare_kernel_environment() -> None:
    """Kernels inherit it: where the package is, and which terminal shows their progress."""
    paths = [str(PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    if sys.stderr.isatty():
        os.environ[TERMINAL] = os.ttyname(sys.stderr.fileno())


def _is_done(run: Run, notebook: Path, stamp: str) -> bool:
    name = f"notebooks/{notebook.name}"
    if not run.is_done(name, stamp):
        return False
    made = read_json(run.path(name).with_suffix(".json"))["files"]
    return all(run.path(file).exists() for file in made)


def _files(run: Run) -> list[str]:
    """Everything in the run folder so far: a notebook with a file missing is run again."""
    names = (path.relative_to(run.folder) for path in run.folder.rglob("*") if path.is_file())
    return sorted(name.as_posix() for name in names if name.parts[0] not in UNWATCHED)


def _source_fingerprint(run: Run) -> str:
    """The experiment, its data's listing, the package's own source and the evidence shown."""
    from hsutils.data.corpus import data_fingerprint, prepare_data

    # An artificial corpus that the first notebook wrote would look like changed data ever after.
    prepare_data(run)
    package = PROJECT / "hsutils"
    files = sorted([*package.rglob("*.py"), *package.rglob("*.toml"), *FIGURES.rglob("*.csv*")])
    return fingerprint(run.experiment, data_fingerprint(run), [_digest(path) for path in files])


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
