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
from hsutils.files import write_text
from hsutils.run import Run
from hsutils.runner import NOTEBOOKS, series

SOUND = re.compile(r"data:audio/wav;base64,([\w+/=]+)")
ABOVE = re.compile(r"\]\((?=\.\./)")
MADE = """Executed with profile `{profile}` at commit `{commit:.7}`, on {processor} with {threads}
threads; finished on {date:.10}. To run it yourself, open [the notebook](../../notebooks/{name})."""


def write_edition(run: Run, to: Path) -> list[Path]:
    """Write the executed notebooks of a finished run, and the glossary, into a folder to be read.

    Cells are those of `notebooks`, with links that work two folders below the project. Outputs
    are the run's: pictures with 256 colors, sounds as FLAC (lossless), nothing twice.

    Raises:
        InputError: if a notebook was not executed, or has changed since.
    """
    written, machine = [], run.note("environment.json")
    for path in (*series(), NOTEBOOKS / "glossary.ipynb"):
        notebook = nbformat.read(path, as_version=4)
        if path in series():
            ended = _fill(notebook, run.path("notebooks", path.name))
            commit = run.note(f"notebooks/{path.name}").get("commit", "unknown")
            facts = {"profile": run.profile.name, "commit": commit, "date": ended}
            made = MADE.format(name=path.name, **facts, **machine)
            notebook.cells.insert(1, nbformat.v4.new_markdown_cell(made, id="made"))
        for cell in notebook.cells:
            if cell.cell_type == "markdown" and cell.id != "made":
                cell.source = ABOVE.sub("](../", cell.source)
        written.append(write_text(to / path.name, nbformat.writes(notebook) + "\n"))
    return written


def _fill(notebook: NotebookNode, executed: Path) -> str:
    """Put the outputs of an executed notebook into its source; when it was finished."""
    if not executed.is_file():
        raise InputError(f"{executed}: not there; finish the run first")
    source = nbformat.read(executed, as_version=4)
    done = {cell.id: cell for cell in source.cells}
    for cell in notebook.cells:
        if cell.id not in done or cell.source != done[cell.id].source:
            raise InputError(f"{executed}: cell {cell.id} has changed since; run the series again")
        if cell.cell_type == "code":
            cell.execution_count = done[cell.id].execution_count
            cell.outputs = [_small(output) for output in done[cell.id].outputs]
    return source.metadata.papermill.end_time


def _small(output: NotebookNode) -> NotebookNode:
    data = output.get("data", {})
    if len(data) > 1:
        data.pop("text/plain", None)
    if "image/png" in data:
        picture = Image.open(io.BytesIO(base64.b64decode(data["image/png"]))).convert("RGBA")
        page = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
        small = io.BytesIO()
        page.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(
            small, "PNG", optimize=True
        )
        data["image/png"] = base64.b64encode(small.getvalue()).decode()
    if "text/html" in data:
        data["text/html"] = SOUND.sub(_flac, data["text/html"]).replace("audio/wav", "audio/flac")
    return output


def _flac(found: re.Match[str]) -> str:
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(found[1])), dtype="int16")
    small = io.BytesIO()
    soundfile.write(small, samples, rate, "PCM_16", format="FLAC")
    return f"data:audio/flac;base64,{base64.b64encode(small.getvalue()).decode()}"
