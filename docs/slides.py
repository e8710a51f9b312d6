"""Writes the slides of the 90-minute path: `make slides`.

They are the cells of the executed notebooks that have a slide type: slide, fragment or notes (in
JupyterLab: Property Inspector, Slide Type). nbconvert and reveal.js make the page.
"""

import re
import shutil
import sys
from importlib.resources import files
from pathlib import Path

import nbformat
from nbconvert import SlidesExporter

from hsutils.files import write_text
from hsutils.runner import as_mathml

TEMPLATE = Path(__file__).with_name("slides.html.j2")
UNUSED = shutil.ignore_patterns("css", "*.map", "*.esm.js")
LEFT_OUT = ("input", "output_prompt", "anchor_links")
LINK = re.compile(r"\[([^\]]+)\]\([^)]+\)")


def deck(folder: Path) -> str:
    """The page of slides of the executed notebooks in `folder`, in their order.

    Code and links are left out. Formulas are MathML. A copy of reveal.js belongs beside the page.
    """
    chosen = []
    for path in sorted(folder.glob("[0-9][0-9]_*.ipynb")):
        for cell in nbformat.read(path, as_version=4).cells:
            if "slideshow" in cell.metadata:
                if cell.cell_type == "markdown":
                    cell.source = as_mathml(LINK.sub(r"\1", cell.source))
                # Several notebooks use the same names of cells.
                cell.id = f"{path.stem}-{cell.id}"
                chosen.append(cell)
    if not chosen:
        sys.exit(f"{folder}: no executed notebook with slides; make edition writes them")
    exporter = SlidesExporter(
        template_file=str(TEMPLATE),
        reveal_url_prefix="reveal.js",
        reveal_theme="white",
        **{f"exclude_{part}": True for part in LEFT_OUT},
    )
    notebook = nbformat.v4.new_notebook(cells=chosen, metadata={"title": "Heart sounds"})
    return exporter.from_notebook_node(notebook)[0]


def main(folder: Path, to: Path) -> None:
    """Write the slides of `folder` to `to`/index.html, with reveal.js."""
    reveal_js = files("sphinx_revealjs") / "_static/revealjs"
    shutil.copytree(reveal_js, to / "reveal.js", dirs_exist_ok=True, ignore=UNUSED)
    print(write_text(to / "index.html", deck(folder)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
