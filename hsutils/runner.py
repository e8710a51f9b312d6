"""Runs the series with papermill, in order, headless, resumable; then writes it as one page."""

import os
import re
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import nbformat
import papermill
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import NoSuchKernel
from jupyter_core.utils import run_sync
from latex2mathml.converter import convert
from nbclient import NotebookClient
from nbclient.exceptions import CellTimeoutError
from nbconvert import HTMLExporter
from papermill.exceptions import PapermillExecutionError

from hsutils.config import CHECKOUT, fingerprint
from hsutils.data.corpus import data_fingerprint, prepare_data
from hsutils.environment import git_commit
from hsutils.errors import GO_ON, InputError
from hsutils.files import digest_of, write_json, write_text
from hsutils.progress import TERMINAL
from hsutils.run import Run

NOTEBOOKS = CHECKOUT / "notebooks"
FORMULA = re.compile(r"(\$\$?)(.+?)\1", re.DOTALL)
OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./[^)]+\)")
LINK = re.compile(r"\]\((?:glossary\.ipynb#)?([\w.-]+)\)")
ABOUT = ("experiment.toml", "environment.json")
UNWATCHED = ("notebooks", "checkpoints", "report.html", *ABOUT)
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ margin: 2rem auto; max-width: 60rem; padding: 0 1rem; font: 16px/1.55 sans-serif; }}
h1, h2 {{ margin-top: 3rem; }} img {{ max-width: 100%; }} .anchor-link {{ display: none; }}
td, th {{ padding: .2rem .6rem; text-align: right; }} pre {{ white-space: pre-wrap; }}
</style></head><body>{body}</body></html>
"""


def series() -> list[Path]:
    """The notebooks in order.

    Raises:
        InputError: if the package was installed without them.
    """
    if found := sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb")):
        return found
    raise InputError(f"no notebooks beside the package ({NOTEBOOKS}): use pip install -e .")


def run_series(run: Run, profile: str, overrides: list[str]) -> Path:
    """Execute every notebook whose result is missing or whose inputs changed; write the report.

    Profile and overrides are handed to the notebooks. Returns the path of `report.html`.

    Raises:
        InputError: what a notebook complained about, or where to find a notebook that failed.
    """
    parameters = {"profile": profile, "run_dir": str(run.folder), "overrides": overrides}
    notebooks, stamp, stamps, left = series(), _source_fingerprint(run), [], {}
    for notebook in notebooks:
        stamps.append(stamp := fingerprint(stamp, digest_of(notebook)))
        if run.is_done(name := f"notebooks/{notebook.name}", stamp):
            left |= run.note(name)["files"]  # the last to leave a file may have made it anew
    with _one_kernel() as kernel:
        for number, (notebook, stamp) in enumerate(zip(notebooks, stamps, strict=True), start=1):
            title = f"[{number}/{len(notebooks)}] {notebook.stem}"
            name = f"notebooks/{notebook.name}"
            files = run.note(name).get("files", {})
            if run.is_done(name, stamp) and all(_is_left(run, f, left[f]) for f in files):
                print(f"{title}: done before, nothing it depends on has changed", flush=True)
                continue
            print(f"{title} ...", flush=True)
            run.store(name, stamp, partial(_execute, run, notebook, parameters, kernel))
            print(f"{title}: {run.note(name)['seconds']:.0f} s", flush=True)
    ended = datetime.now(UTC).isoformat(timespec="seconds")
    write_json(run.path("environment.json"), run.note("environment.json") | {"ended": ended})
    return write_report(run)


def write_report(run: Run) -> Path:
    """Write report.html, which stands alone: executed notebooks without code, and the glossary."""
    cells, contents = [], []
    executed = [run.path("notebooks", notebook.name) for notebook in series()]
    for notebook in (*executed, *NOTEBOOKS.glob("glossary.ipynb")):
        for cell in nbformat.read(notebook, as_version=4).cells:
            text = OUTSIDE.sub(r"\1", LINK.sub(r"](#\1)", cell.source))
            cell.source = as_mathml(text)
            if cell.cell_type == "code":
                # Without a kernel, controls would do nothing.
                cell.outputs = [o for o in cell.outputs if "widget-view" not in str(o.get("data"))]
            elif heading := re.match("(##?) (.*)", cell.source):
                name = notebook.name if heading[1] == "#" else f"section-{len(contents)}"
                contents.append(f"{'  ' * len(heading[1])}- [{heading[2]}](#{name})")
                cell.source = f'<a id="{name}"></a>\n\n{cell.source}'
            # Several notebooks use the same names of cells.
            cell.id = f"cell-{len(cells)}"
            cells.append(cell)
    title = f"Heart sounds, profile {run.profile.name}"
    about = [f"```\n{run.path(name).read_text(encoding='utf-8')}\n```" for name in ABOUT]
    texts = [f"# {title}\n", *contents], ["# Settings and environment", *about]
    first, last = (nbformat.v4.new_markdown_cell("\n".join(lines)) for lines in texts)
    exporter = HTMLExporter(template_name="basic", exclude_input=True, exclude_output_prompt=True)
    body, _ = exporter.from_notebook_node(nbformat.v4.new_notebook(cells=[first, *cells, last]))
    return write_text(run.path("report.html"), PAGE.format(title=title, body=body))


def as_mathml(text: str) -> str:
    """Markdown with its formulas as MathML, which browsers draw without the network."""
    return FORMULA.sub(lambda f: convert(f[2], display="block" if f[1] == "$$" else "inline"), text)


@contextmanager
def _one_kernel() -> Iterator[AsyncKernelManager]:
    """A kernel for all notebooks: to import the packages anew takes longer than most of them."""
    kernel = AsyncKernelManager(kernel_name="python3")
    try:
        yield kernel
    finally:
        if kernel.has_kernel:
            run_sync(kernel.shutdown_kernel)(now=True)


def _execute(
    run: Run, notebook: Path, parameters: dict, kernel: AsyncKernelManager, result: Path
) -> dict[str, Any]:
    started, failed = time.perf_counter(), run.path("notebooks", f"{notebook.stem}.failed.ipynb")
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    if sys.stderr.isatty():
        os.environ[TERMINAL] = os.ttyname(sys.stderr.fileno())
    # Neither a word about encryption nor about the interrupt that ends a kernel.
    quiet = {"progress_bar": False, "extra_arguments": ["--IPKernelApp.log_level=CRITICAL"]}
    forget = nbformat.v4.new_code_cell("get_ipython().reset(new_session=True)")
    try:
        if kernel.has_kernel:
            NotebookClient(nbformat.v4.new_notebook(cells=[forget]), km=kernel).execute()
        with warnings.catch_warnings(action="ignore"):
            papermill.execute_notebook(
                notebook, failed, parameters, kernel_name="python3", km=kernel, **quiet
            )
    except PapermillExecutionError as error:
        if error.ename == InputError.__name__:
            raise InputError(error.evalue) from None
        problem = f"stopped with {error.ename}: {error.evalue}".splitlines()[0]
        raise InputError(f"{notebook.name} {problem} (see {failed})") from error
    except (RuntimeError, NoSuchKernel, CellTimeoutError) as error:
        died = "its kernel died, most often for want of memory"
        problem = died if "died" in str(error) else " ".join(str(error).split())
        raise InputError(f"{notebook.name}: {problem} (see {failed}); {GO_ON}") from error
    failed.replace(result)
    paths = (p.relative_to(run.folder) for p in run.folder.rglob("[!.]*") if p.is_file())
    names = sorted(path.as_posix() for path in paths if path.parts[0] not in UNWATCHED)
    files = {name: run.note(name).get("fingerprint") for name in names}
    seconds = round(time.perf_counter() - started, 1)
    return {"files": files, "seconds": seconds, "commit": git_commit()}


def _is_left(run: Run, file: str, stamp: str | None) -> bool:
    """Whether a file is as the notebooks left it, or at least there if it has no note."""
    note, path = run.note(file), run.path(file)
    if note.get("fingerprint") != stamp:
        return False
    if file.endswith(".json"):
        return bool(note)
    return path.is_file() and note.get("digest") in (None, digest_of(path))


def _source_fingerprint(run: Run) -> str:
    """The profile, its data's listing, the package's own source and the committed results."""
    # A synthetic corpus that the first notebook wrote would look like changed data ever after.
    prepare_data(run)
    patterns = ("hsutils/**/*.py", "hsutils/**/*.toml", "figures/**/*.csv*")
    files = sorted(path for pattern in patterns for path in CHECKOUT.glob(pattern))
    return fingerprint(run.profile, data_fingerprint(run), [digest_of(path) for path in files])
