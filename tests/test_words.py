"""Numbers in the words are those of the committed tables.

A comment `<!-- figures/trust/leaks.csv -->` names the tables that hold every decimal and every
percentage of the paragraph, list or table below it. `| query` after the paths picks rows.
"""

import json
import re

import numpy as np
import pandas as pd
import pytest

from hsutils.config import CHECKOUT

COMMENT = re.compile(r"<!--\s*(figures/[^|>]*?)\s*(?:\|\s*(.+?)\s*)?-->")
SKIPPED = re.compile(r"`[^`]*`|\]\([^)]*\)|https?://\S+|95\s?%(?=[\w -]* (?:interval|CI))")
NUMBER = re.compile(r"(?<![\w.,])(\d*\.\d+|\d+(?=\s?%))(\s?%)?")


def wrong_numbers(text: str, folder=CHECKOUT) -> list[str]:
    """Numbers below a comment that do not occur, rounded, in the tables it names."""
    wrong = []
    for comment in COMMENT.finditer(text):
        block = SKIPPED.sub(" ", text[comment.end() :].lstrip("\n").partition("\n\n")[0])
        values = np.concatenate([numbers(folder / p, comment[2]) for p in comment[1].split()])
        for number, percent in NUMBER.findall(block):
            digits = len(number.partition(".")[2])
            known = abs(values) * (100 if percent else 1)
            if not (abs(known - float(number)) <= 0.5 * 10**-digits + 1e-9).any():
                wrong.append(f"{number}{percent} is not in {comment[0]}")
    return wrong


def numbers(path, query: str | None) -> np.ndarray:
    table = pd.read_csv(path)
    table = table.query(query) if query else table
    assert len(table), f"{path} has no row with {query}"
    return table.select_dtypes("number").to_numpy(float).ravel()


def pages() -> dict[str, list[str]]:
    """Everything that people read: file -> its texts."""
    parts = ("*.md", "docs/*.md", "notebooks/*.md", "figures/**/*.md")
    files = [path for part in parts for path in CHECKOUT.glob(part)]
    found = {str(path.relative_to(CHECKOUT)): [path.read_text(encoding="utf-8")] for path in files}
    for path in sorted((CHECKOUT / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
        found[f"notebooks/{path.name}"] = texts
    return found


PAGES = pages()


@pytest.mark.parametrize("page", PAGES)
def test_every_number_occurs_in_the_table_it_is_taken_from(page):
    assert [wrong for text in PAGES[page] for wrong in wrong_numbers(text)] == []


@pytest.mark.parametrize("page", ["08_can_we_trust_it", "09_beyond_the_paper"])
def test_the_longest_notebooks_stay_short(page):
    assert sum(len(text.split()) for text in PAGES[f"notebooks/{page}.ipynb"]) <= 1800


def test_every_link_to_the_glossary_has_its_heading():
    headings = re.findall(r"^## (.+)$", "\n".join(PAGES["notebooks/glossary.ipynb"]), re.MULTILINE)
    anchors = {heading.replace(" ", "-") for heading in headings}
    every = "\n".join(text for texts in PAGES.values() for text in texts)
    assert set(re.findall(r"glossary\.ipynb#([^)]*)", every)) <= anchors
    assert len(anchors) == len(headings)


def test_the_pages_name_their_tables():
    assert sum(bool(COMMENT.search(text)) for texts in PAGES.values() for text in texts) > 10


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("It is 0.93 (.923 to 93.1%), 95% interval, in 3 runs.", 0),
        ("- fell by −0.12\n- to 92 %", 0),
        ("It is 0.94.", 1),
        ("| 0.928 | 0.929 |\n\nUnmarked: 0.5", 1),
        ("In [a](a-0.5.md) `0.6` of 95%.", 1),
    ],
)
def test_a_planted_number_is_found(tmp_path, text, wrong):
    table = pd.DataFrame({"model": ["a", "b"], "value": [0.928, 0.9231], "low": [0.931, -0.12]})
    table.to_csv(tmp_path / "t.csv", index=False)
    (tmp_path / "figures").mkdir()
    (tmp_path / "t.csv").rename(tmp_path / "figures/t.csv")
    marked = f"# 0.7\n\n<!-- figures/t.csv -->\n{text}"
    assert len(wrong_numbers(marked, tmp_path)) == wrong


def test_a_query_picks_rows(tmp_path):
    (tmp_path / "figures").mkdir()
    pd.DataFrame({"model": ["a", "b"], "value": [0.1, 0.2]}).to_csv(tmp_path / "figures/t.csv")
    comment = "<!-- figures/t.csv | model == 'b' -->"
    assert len(wrong_numbers(f"{comment}\n0.10 and 0.20", tmp_path)) == 1
