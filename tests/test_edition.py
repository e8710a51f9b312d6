"""The edition: the notebooks' own code with all outputs, small, and readable where it lies."""

import base64
import io
import json
import re

import nbformat
import numpy as np
import pytest
import soundfile
from IPython.display import Audio
from PIL import Image

from hsutils import edition, runner
from hsutils.config import CHECKOUT
from hsutils.edition import write_edition
from hsutils.errors import InputError
from hsutils.run import open_run

SOURCES = sorted((CHECKOUT / "notebooks").glob("*.ipynb"))
EDITION = CHECKOUT / "figures/edition"


def sources(path) -> dict[str, str]:
    """What its cells hold; links as in `notebooks`."""
    cells = nbformat.read(path, as_version=4).cells
    return {c.id: c.source.replace("](../../", "](../") for c in cells if c.id != "made"}


def text_outputs(notebook) -> str:
    """All that cells printed or showed, but for pictures and sounds."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    text = json.dumps([{**o, "data": o.get("data", {}) | {"image/png": ""}} for o in outputs])
    return re.sub(r"base64,[\w+/=]+", "", text)


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_the_edition_runs_the_code_of_the_notebooks(source):
    kept = nbformat.read(EDITION / source.name, as_version=4)
    assert sources(EDITION / source.name) == sources(source), "run make edition again"
    cells = [cell for cell in kept.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in cells)
    folders = re.findall(r"(?<![\w./])/(?:home|root|tmp|work|Users)/", text_outputs(kept))
    assert folders == []
    outputs = [output for cell in cells for output in cell.outputs]
    kinds = {kind for o in outputs for kind in (o.output_type, *o.get("data", ()))}
    assert not kinds & {"error", "application/vnd.jupyter.widget-view+json"}
    links = re.findall(r"\]\((?!\w+:)([^)#]+)", "\n".join(c.source for c in kept.cells))
    assert [link for link in links if not (EDITION / link).exists()] == []


def test_the_edition_is_whole_and_small():
    assert {path.name for path in EDITION.iterdir()} == {path.name for path in SOURCES}
    assert sum(path.stat().st_size for path in EDITION.iterdir()) <= 15e6


@pytest.fixture
def executed(tmp_path, monkeypatch):
    """A run with one notebook, executed, with a picture and a sound; and the picture and sound."""
    monkeypatch.setattr(edition, "NOTEBOOKS", tmp_path / "notebooks")
    monkeypatch.setattr(runner, "NOTEBOOKS", tmp_path / "notebooks")
    run = open_run("small", tmp_path / "run")
    samples = np.random.default_rng(0).integers(-9_000, 9_000, 8_000).astype(np.int16)
    ramp = np.linspace(0, 255, 300).astype(np.uint8) * np.ones((200, 1), np.uint8)
    picture = np.stack([ramp, ramp[:, ::-1], ramp // 2], axis=-1)
    png = io.BytesIO()
    Image.fromarray(picture).save(png, "PNG")
    data = {"image/png": base64.b64encode(png.getvalue()).decode(), "text/plain": "<Figure>"}
    wav = io.BytesIO()
    soundfile.write(wav, samples, 8_000, format="WAV")
    sound = {"text/html": Audio(data=wav.getvalue())._repr_html_()}
    cells = [
        nbformat.v4.new_markdown_cell("# One\n\n[all](../figures/README.md)", id="title"),
        nbformat.v4.new_code_cell("draw()", id="draw"),
    ]
    notebook = nbformat.v4.new_notebook(
        cells=cells, metadata={"papermill": {"end_time": "2026-01-02T03"}}
    )
    for path in (tmp_path / "notebooks/01_one.ipynb", tmp_path / "notebooks/glossary.ipynb"):
        path.parent.mkdir(exist_ok=True)
        nbformat.write(notebook, path)
    notebook.cells[1].update(
        execution_count=3,
        outputs=[nbformat.v4.new_output("display_data", part) for part in (data, sound)],
    )
    notebook.cells.insert(1, nbformat.v4.new_code_cell("run_dir = '/secret'", id="injected"))
    about = {"commit": "0123456" + "f" * 33 + "+changes"}
    run.store("notebooks/01_one.ipynb", "", lambda to: nbformat.write(notebook, to) or about)
    return run, picture, samples


def test_pictures_keep_their_look_and_sounds_every_sample(executed, tmp_path):
    run, picture, samples = executed
    assert len(write_edition(run, tmp_path / "to")) == 2
    notebook = nbformat.read(tmp_path / "to/01_one.ipynb", as_version=4)
    assert [cell.id for cell in notebook.cells] == ["title", "made", "draw"]
    assert "](../../figures/README.md)" in notebook.cells[0].source
    assert "`0123456+changes`" in notebook.cells[1].source
    assert "2026-01-02" in notebook.cells[1].source and "secret" not in json.dumps(notebook)
    shown, played = (output.data for output in notebook.cells[2].outputs)
    small = Image.open(io.BytesIO(base64.b64decode(shown["image/png"])))
    assert small.mode == "P" and "text/plain" not in shown
    assert np.abs(np.asarray(small.convert("RGB"), float) - picture).mean() < 3
    flac = re.search(r"audio/flac;base64,([^\"]+)", played["text/html"])[1]
    again, rate = soundfile.read(io.BytesIO(base64.b64decode(flac)), dtype="int16")
    assert rate == 8_000 and (again == samples).all() and "wav" not in played["text/html"]


def test_another_sentence_needs_no_new_run_and_a_notebook_that_is_gone_goes(executed, tmp_path):
    source, old = tmp_path / "notebooks/01_one.ipynb", tmp_path / "to/00_old.ipynb"
    source.write_text(source.read_text().replace("# One", "# Two"))
    old.parent.mkdir()
    old.write_text('{"cells": [{"id": "made"}]}')
    (own := old.with_name("my_own.ipynb")).write_text("{}")
    assert "# Two" in write_edition(executed[0], tmp_path / "to")[1].read_text()
    assert not old.exists() and own.exists()


def test_the_notebooks_themselves_are_never_overwritten(executed, tmp_path):
    with pytest.raises(InputError, match="holds the notebooks themselves; name another folder"):
        write_edition(executed[0], tmp_path / "notebooks")


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("notebooks/01_one.ipynb", "draw(2)", "draw has changed"),
        ("run/notebooks/01_one.ipynb", "draw(2)", "finish"),
        ("run/notebooks/01_one.ipynb", None, "finish"),
    ],
)
def test_a_run_that_is_not_of_these_notebooks_is_one_line(executed, tmp_path, file, change, said):
    path = tmp_path / file
    text = path.read_text().replace("draw()", change or "")
    path.write_text(text) if change else path.unlink()
    with pytest.raises(InputError, match=said):
        write_edition(executed[0], tmp_path / "to")
    assert not (tmp_path / "to").exists()
