"""The index of the figures names what is there, and only that."""

import re
from itertools import groupby

import pytest

from hsutils.experiment import PROJECT

FIGURES = PROJECT / "figures"
LINES = (FIGURES / "README.md").read_text(encoding="utf-8").splitlines()
QUOTED = re.compile(r"`([^`]+)`")
TABLE_FILE = re.compile(r"[\w-]+\.csv(?:\.gz)?")
SEPARATOR = re.compile(r"\|(?:-+\|)+")


def named(lines: list[str]) -> set[str]:
    """Paths below the figures: all that first columns name, and tables wherever they are named."""
    folder, paths = "", set()
    for line in lines:
        opened = re.match(r"`([\w-]+)` ", line)
        if opened and (FIGURES / opened[1]).is_dir():
            folder = f"{opened[1]}/"
        names = set(QUOTED.findall(line.split("|")[1])) if line.startswith("|") else set()
        names |= {name for name in QUOTED.findall(line) if TABLE_FILE.fullmatch(name)}
        for name in names:
            endings = ("",) if "." in name else (".png", ".svg")
            paths |= {f"{folder}{name}{ending}" for ending in endings}
    return paths


def cut_tables(lines: list[str]) -> list[str]:
    """First lines of tables that lack their heading: a blank line parts them from it."""
    blocks = [list(block) for rows, block in groupby(lines, _is_row) if rows]
    return [block[0] for block in blocks if not SEPARATOR.fullmatch("".join(block[1:2]))]


def _is_row(line: str) -> bool:
    return line.startswith("|")


def test_every_file_is_named():
    files = {p.relative_to(FIGURES).as_posix() for p in FIGURES.rglob("*") if p.is_file()}
    assert sorted(files - named(LINES) - {"README.md"}) == []


def test_every_file_that_is_named_exists():
    assert sorted(path for path in named(LINES) if not (FIGURES / path).is_file()) == []


def test_no_table_is_cut():
    assert cut_tables(LINES) == []


@pytest.mark.parametrize("row", [i for i, line in enumerate(LINES) if SEPARATOR.fullmatch(line)])
def test_a_cut_is_found_wherever_it_is(row):
    assert cut_tables([*LINES[: row + 2], "", *LINES[row + 2 :]]) == [LINES[row + 2]]
