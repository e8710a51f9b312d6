"""One self-contained HTML page about one run, made from nothing but the files in its folder."""

import base64
import tomllib
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
from PIL import Image

from hsutils.errors import InputError
from hsutils.files import read_json, write_text

MOST_ROWS = 30

CSS = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 66rem; padding: 1.5rem 1rem 4rem; background: #fff; color: #222;
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: .5rem 0; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .75rem; padding-bottom: .3rem;
  border-bottom: 2px solid #0072b2; }
h3 { font-size: 1rem; margin: 1.5rem 0 .4rem; }
a { color: #0072b2; }
p.banner { background: #fff3d6; border-left: .4rem solid #d55e00; padding: .8rem 1rem;
  font-weight: 600; }
nav a { margin-right: 1rem; }
figure { margin: 0 0 2rem; }
img { display: block; width: 100%; height: auto; }
figcaption, p.note { color: #555; font-size: .875rem; margin: .3rem 0 0; }
div.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem; text-align: right; border-bottom: 1px solid #e4e4e4;
  white-space: nowrap; }
td:first-child, th:first-child { text-align: left; }
thead th { border-bottom: 2px solid #999; }
table.facts td, table.facts th { text-align: left; white-space: normal; overflow-wrap: anywhere; }
tbody tr:hover { background: #f3f1ec; }
"""


def write_report(run_dir: Path | str) -> Path:
    """Write report.html into a run folder: tables, figures, environment and notebooks on one page.

    Figures are embedded, so the page can be sent alone; notebooks and long tables are linked
    relative to the folder. What the folder lacks is left out. The same folder gives the same page.

    Args:
        run_dir: the run folder.

    Returns:
        Path of the page.

    Raises:
        InputError: if `run_dir` is not a folder.
    """
    run_dir = Path(run_dir)
    if not run_dir.is_dir():
        raise InputError(f"{run_dir} is not a folder; name the folder of a finished run")
    settings, environment = _settings(run_dir), _environment(run_dir)
    profile = str(settings.get("profile") or settings.get("name") or run_dir.resolve().name)
    sections = {
        "Tables": _tables(run_dir),
        "Figures": _figures(run_dir),
        "Notebooks": _notebooks(run_dir),
        "Settings": _facts(settings),
        "Environment": _facts(environment),
    }
    sections = {name: body for name, body in sections.items() if body}
    links = " ".join(f'<a href="#{name.lower()}">{name}</a>' for name in sections)
    body = "\n".join(
        f'<section id="{name.lower()}">\n<h2>{name}</h2>\n{content}\n</section>'
        for name, content in sections.items()
    )
    banner = _BANNER if is_synthetic(settings) or is_synthetic(environment) else ""
    title = f"Heart sounds, run “{escape(profile)}”"
    page = _PAGE.format(title=title, css=CSS, banner=banner, links=links, body=body)
    return write_text(run_dir / "report.html", page)


def is_synthetic(facts: Any) -> bool:
    """Whether settings or environment say the recordings are artificial.

    They do so by a key `synthetic` that is true or by any value "synthetic", at any depth.
    """
    return any(
        value == "synthetic" or (key.rpartition(".")[2] == "synthetic" and value is True)
        for key, value in _flat(facts)
    )


_BANNER = (
    '<p class="banner">The recordings of this run are synthetic. '
    "Its numbers show that the software works; they say nothing about hearts.</p>"
)

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{css}</style>
</head>
<body>
<h1>{title}</h1>
{banner}
<nav>{links}</nav>
{body}
</body>
</html>
"""


def _settings(run_dir: Path) -> dict[str, Any]:
    path = run_dir / "experiment.toml"
    return tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _environment(run_dir: Path) -> Any:
    path = run_dir / "environment.json"
    return read_json(path) if path.exists() else {}


def _tables(run_dir: Path) -> str:
    """The paper's tables first, then the others by name; long ones are cut and linked."""
    parts = []
    paths = (run_dir / "tables").glob("*.csv")
    for path in sorted(paths, key=lambda p: (not p.stem.startswith("table"), p.name)):
        table = pd.read_csv(path) if path.stat().st_size > 1 else pd.DataFrame()
        if table.columns.empty:
            continue
        html = table.head(MOST_ROWS).to_html(
            index=False, border=0, na_rep="", float_format=lambda value: f"{value:.4g}"
        )
        link = f'<a href="tables/{quote(path.name)}">{escape(path.name)}</a>'
        rows = f"first {MOST_ROWS} of {len(table):,} rows" if len(table) > MOST_ROWS else "all rows"
        note = f'<p class="note">{link}, {rows}</p>'
        parts.append(f'<h3>{_spoken(path)}</h3>\n<div class="wide">{html}</div>\n{note}')
    return "\n".join(parts)


def _figures(run_dir: Path) -> str:
    """Figures by name; the finding stored in a PNG is its caption, else its name is."""
    parts = []
    for path in sorted((run_dir / "figures").glob("*.png")):
        with Image.open(path) as image:
            finding = escape(image.info.get("Title") or "") or _spoken(path)
        data = base64.b64encode(path.read_bytes()).decode()
        caption = f"{_spoken(path)}: {finding}" if finding != _spoken(path) else finding
        parts.append(
            f'<figure><img alt="{finding}" src="data:image/png;base64,{data}">\n'
            f"<figcaption>{caption}</figcaption></figure>"
        )
    return "\n".join(parts)


def _notebooks(run_dir: Path) -> str:
    items = [
        f'<li><a href="notebooks/{quote(path.name)}">{escape(path.name)}</a></li>'
        for path in sorted((run_dir / "notebooks").glob("*.ipynb"))
    ]
    return "<ul>\n" + "\n".join(items) + "\n</ul>" if items else ""


def _facts(facts: Any) -> str:
    """Nested settings as a two-column table, nested keys joined by dots."""
    rows = "\n".join(
        f"<tr><th>{escape(key)}</th><td>{escape(str(value))}</td></tr>"
        for key, value in _flat(facts)
    )
    return f'<table class="facts"><tbody>\n{rows}\n</tbody></table>' if rows else ""


def _flat(facts: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of every leaf of nested dictionaries."""
    if isinstance(facts, dict):
        for key, value in facts.items():
            yield from _flat(value, f"{name}.{key}" if name else str(key))
    else:
        yield name, facts


def _spoken(path: Path) -> str:
    return escape(path.stem.replace("_", " ").replace("-", " "))
