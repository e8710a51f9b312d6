"""The committed tables, figures and README are drawn from the committed evidence."""

import re

import numpy as np
import pytest
from PIL import Image

from hsutils import reproduction
from hsutils.evidence import Evidence
from hsutils.experiment import PROJECT

FOLDER = PROJECT / "figures/reproduction"
NUMBER = re.compile(r"-?\d+\.\d+")
DRAWN = sorted(path.name for path in FOLDER.glob("*.png"))


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    return Evidence.read(FOLDER)


@pytest.fixture(scope="module")
def redrawn(evidence, tmp_path_factory):
    """A folder with everything drawn anew."""
    folder = tmp_path_factory.mktemp("redrawn")
    reproduction.draw(evidence, folder)
    return folder


def test_nothing_committed_is_drawn_from_elsewhere(redrawn):
    parts = {"predictions.csv", "histories.csv", "trainings.csv"}
    assert {p.name for p in FOLDER.iterdir()} == {p.name for p in redrawn.iterdir()} | parts


def test_tables_follow_from_the_evidence(redrawn):
    tables = sorted(redrawn.glob("*.csv"))
    assert [t.name for t in tables if t.read_text() != (FOLDER / t.name).read_text()] == []


@pytest.mark.parametrize("name", DRAWN)
def test_pictures_follow_from_the_evidence(evidence, redrawn, name):
    with Image.open(FOLDER / name) as committed, Image.open(redrawn / name) as fresh:
        assert committed.info["Source"] == fresh.info["Source"] == evidence.digest
        assert committed.info["Title"] == fresh.info["Title"]
        assert committed.size == fresh.size


@pytest.mark.parametrize("name", DRAWN)
def test_every_line_and_dot_lies_where_the_evidence_puts_it(evidence, redrawn, name):
    texts = [(folder / name).with_suffix(".svg").read_text() for folder in (FOLDER, redrawn)]
    assert evidence.digest in texts[0]
    committed, fresh = (np.array(NUMBER.findall(text), dtype=float) for text in texts)
    # In points; another processor may round the last digits otherwise.
    np.testing.assert_allclose(committed, fresh, atol=0.01)


def test_evidence_is_small_and_complete(evidence):
    assert sum(path.stat().st_size for path in FOLDER.glob("*.csv")) < 1_000_000
    counts = evidence.predictions.groupby(["split", "label"]).size()
    assert counts.to_dict() == {(s, label): 200 for s in ("dev", "test") for label in (0, 1)}


def test_the_readme_shows_the_reproduction(evidence):
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    assert reproduction.markdown(evidence) in readme
