"""The slides are cells of the notebooks; the page for teachers names what the notebooks hold."""

import re
import runpy

import nbformat
from nbformat.v4 import new_notebook, new_output

from hsutils.config import CHECKOUT
from hsutils.runner import series

deck = runpy.run_path(str(CHECKOUT / "docs/slides.py"))["deck"]
NOTEBOOKS = {path.name: nbformat.read(path, as_version=4).cells for path in series()}
CHOSEN = {n: [c for c in cells if "slideshow" in c.metadata] for n, cells in NOTEBOOKS.items()}
CELLS = [(c, c.metadata.slideshow["slide_type"]) for cells in CHOSEN.values() for c in cells]
TEACHERS = (CHECKOUT / "notebooks/README.md").read_text(encoding="utf-8").splitlines()


def test_the_90_minutes_are_slides_steps_and_notes():
    assert {name[:2] for name, cells in CHOSEN.items() if cells} >= {"01", "07", "08"}
    assert {kind for _, kind in CELLS} == {"slide", "fragment", "notes"} and CELLS[0][1] == "slide"


def test_the_deck_has_every_slide_but_no_code_no_link_and_nothing_from_the_network(tmp_path):
    code = [cell for cell, _ in CELLS if cell.cell_type == "code"]
    for cell in code:
        cell.outputs = [new_output("stream", text=f"output of {cell.id}")]
    for name, cells in NOTEBOOKS.items():
        nbformat.write(new_notebook(cells=cells), tmp_path / name)
    page = deck(tmp_path)
    assert page.count("<section") == 2 * sum(kind == "slide" for _, kind in CELLS)
    assert page.count("output of ") == len(code) and "keep(run, " not in page
    assert "<math" in page and "$$" not in page and "<a " not in page
    for address in re.findall(r"""(?:src|href)=["']([^"']*)|url\(|@import""", page):
        assert address.startswith("reveal.js/")


def test_teachers_find_time_and_figure_of_each_chapter():
    for name, cells in NOTEBOOKS.items():
        (row,) = [line.split(" | ") for line in TEACHERS if f"]({name}) | " in line]
        stated = re.search(r"\*\*: (\d+) minutes to \w+, (.+?) to compute", cells[0].source)
        assert tuple(row[2:4]) == stated.groups()
        figure, place = re.match(rf"\[(.+)\]\(\.\./figures/edition/{name}#(.+?)\)", row[5]).groups()
        assert f"## {figure}" in [cell.source.partition("\n")[0] for cell in cells]
        assert place == re.sub(r"[^\w-]", "", figure.lower().replace(" ", "-"))


def test_teachers_find_every_slide_in_order():
    slides = [line.split(" | ")[1] for line in TEACHERS if re.match(r"\| \d+ \| \*", line)]
    headings = [c.source.partition("\n")[0][3:] for c, _ in CELLS if c.source.startswith("## ")]
    assert re.findall(r"\*(.+?\?)\*", " ".join(slides)) == headings
