"""The executed series as notebooks that can be read without running them."""

import base64
import io
import re
from pathlib import Path

import nbformat
import soundfile
from nbformat import NotebookNode
from PIL import Image

from hsutils.errors import InputError
from hsutils.files import digest_of, write_text
from hsutils.run import Run
from hsutils.runner import NOTEBOOKS, series

SOUND = re.compile(r"data:audio/wav;base64,([\w+/=]+)")
ABOVE = re.compile(r"\]\((?=\.\./)")
MADE = """Executed with profile `{profile}` at commit `{commit}`, on {processor} with {threads}
threads; finished on {date:.10}. To run it yourself, open [the notebook](../../notebooks/{name});
there `profile` is `demo`, and numbers differ. Recordings, sounds and labels are from the
PhysioNet/CinC Challenge 2016, made available under the [ODC Attribution
License](https://opendatacommons.org/licenses/by/1-0/)."""


def write_edition(run: Run, to: Path) -> list[Path]:
    """Write the executed notebooks of a finished run, and the glossary, into a folder to be read.

    Code and text are those of `notebooks`, with links that work two folders below the project.
    Outputs are the run's: pictures with 256 colors, sounds as FLAC (lossless), nothing twice.
    Nothing is written unless all of them are whole. Chapters that are gone are removed.

    Raises:
        InputError: if a notebook was not executed to its end, its code has changed since, or the
            folder is that of the notebooks.
    """
    if to.resolve() == NOTEBOOKS.resolve():
        raise InputError(f"--to={to}: holds the notebooks themselves; name another folder")
    pages = {"glossary.ipynb": nbformat.read(NOTEBOOKS / "glossary.ipynb", as_version=4)}
    for path in series():
        page = pages[path.name] = nbformat.read(path, as_version=4)
        page.cells.insert(1, nbformat.v4.new_markdown_cell(_fill(page, run, path.name), id="made"))
    for page in pages.values():
        for cell in page.cells:
            if cell.cell_type == "markdown" and cell.id != "made":
                cell.source = ABOVE.sub("](../", cell.source)
    for other in set(to.glob("*.ipynb")) - {to / name for name in pages}:
        if '"id": "made"' in other.read_text(errors="replace"):
            other.unlink()
    return [write_text(to / name, nbformat.writes(page) + "\n") for name, page in pages.items()]


def _fill(page: NotebookNode, run: Run, name: str) -> str:
    """Put the outputs of the executed notebook into its source; how they were made."""
    executed, note = run.path("notebooks", name), run.note(f"notebooks/{name}")
    if not executed.is_file() or note.get("digest") != digest_of(executed):
        raise InputError(f"{executed}: not executed to its end; finish the run first")
    done = nbformat.read(executed, as_version=4)
    cells = {cell.id: cell for cell in done.cells}
    for cell in (cell for cell in page.cells if cell.cell_type == "code"):
        if cell.id not in cells or cell.source != cells[cell.id].source:
            raise InputError(f"{executed}: cell {cell.id} has changed since; run the series again")
        cell.execution_count = cells[cell.id].execution_count
        cell.outputs = [_small(output) for output in cells[cell.id].outputs]
    commit = note.get("commit", "unknown")
    about = {"commit": commit[:7] + commit[40:], "date": done.metadata.papermill.end_time}
    return MADE.format(profile=run.profile.name, name=name, **about, **run.note("environment.json"))


def _small(output: NotebookNode) -> NotebookNode:
    data = output.get("data", {})
    if len(data) > 1:
        data.pop("text/plain", None)
    if "image/png" in data:
        picture, small = Image.open(io.BytesIO(base64.b64decode(data["image/png"]))), io.BytesIO()
        palette = picture.convert("RGB").quantize(256, dither=Image.Dither.NONE)
        palette.save(small, "PNG", optimize=True)
        data["image/png"] = base64.b64encode(small.getvalue()).decode()
    if "text/html" in data:
        data["text/html"] = SOUND.sub(_flac, data["text/html"]).replace("audio/wav", "audio/flac")
    return output


def _flac(found: re.Match[str]) -> str:
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(found[1])), dtype="int16")
    small = io.BytesIO()
    soundfile.write(small, samples, rate, "PCM_16", format="FLAC")
    return f"data:audio/flac;base64,{base64.b64encode(small.getvalue()).decode()}"
