"""Every committed table and figure beyond the paper, drawn from what is kept alone."""

from pathlib import Path

from hsutils import plots as figures
from hsutils.studies.beyond import RECIPE, Beyond
from hsutils.studies.beyond_markdown import page
from hsutils.studies.beyond_tables import but_changes, tables
from hsutils.files import write_csv, write_text
from hsutils.plots.style import save_figure


def draw(beyond: Beyond, folder: Path) -> list[Path]:
    """Write every table (CSV), every figure (PNG and SVG) and what they say into a folder."""
    made = tables(beyond)
    written = [write_csv(folder / f"{name}.csv", table) for name, table in made.items()]
    pages = {}
    if len(but_changes(made["summary"].dropna(subset="new_database"))):
        told = (made["summary"], made["results"], made["chosen"])
        pages["new-databases"] = figures.new_databases(*told)
        pages["sizes"] = figures.sizes(made["summary"])
    if (made["changes"].against == RECIPE[0]).any():
        pages["changes"] = figures.changes(made["changes"])
    if len(made["label_efficiency"]):
        pages["label-efficiency"] = figures.label_efficiency(made["label_efficiency"])
    if len(beyond.cycles):
        pages["mean-cycles"] = figures.mean_cycles(beyond.cycles, beyond.weights)
    kept = {part: getattr(beyond, part) for part in beyond.parts()}
    written.append(write_text(folder / "findings.md", page(kept | made)))
    digest = beyond.digest
    return written + [save_figure(page, folder, name, digest) for name, page in pages.items()]
