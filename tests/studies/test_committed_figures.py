"""The committed tables, figures, README and model card are drawn from the committed evidence."""

import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from hsutils.studies import ablations, beyond_figures, beyond_markdown, findings, findings_beyond, reproduction, trust_figures
from hsutils.studies.beyond import Beyond
from hsutils.studies.evidence import Evidence
from hsutils.experiment import PROJECT
from hsutils.studies.model_card import model_card
from hsutils.studies.trust import Trust

KEPT = {
    "reproduction": (Evidence, reproduction.draw),
    "trust": (Trust, trust_figures.draw),
    "beyond": (Beyond, beyond_figures.draw),
}
CASES = {"reproduction": "predictions", "trust": "cases", "beyond": "published"}
FROM_RECORDINGS = {"trust": {"stored-levels.png", "stored-levels.svg"}}
"""Pictures of the recordings themselves, which no evidence holds."""
NUMBER = re.compile(r"-?\d+\.\d+")
FOLDERS = {name: PROJECT / "figures" / name for name in KEPT}
DRAWN = [
    (name, picture.name)
    for name, folder in FOLDERS.items()
    for picture in sorted(folder.glob("*.png"))
    if picture.name not in FROM_RECORDINGS.get(name, ())
]


@pytest.fixture(scope="module")
def evidence() -> dict:
    return {name: kept.read(FOLDERS[name]) for name, (kept, _) in KEPT.items()}


@pytest.fixture(scope="module")
def redrawn(evidence, tmp_path_factory) -> dict:
    """A folder of each kind with everything drawn anew."""
    folders = {name: tmp_path_factory.mktemp(name) for name in KEPT}
    for name, (_, draw) in KEPT.items():
        draw(evidence[name], folders[name])
    return folders


@pytest.mark.parametrize("name", KEPT)
def test_nothing_committed_is_drawn_from_elsewhere(redrawn, name):
    kept = KEPT[name][0]
    parts = {kept.file(part) for part in kept.parts()} | FROM_RECORDINGS.get(name, set())
    assert {p.name for p in FOLDERS[name].iterdir()} == {
        p.name for p in redrawn[name].iterdir()
    } | parts


@pytest.mark.parametrize("name", KEPT)
def test_tables_follow_from_the_evidence(redrawn, name):
    tables = sorted([*redrawn[name].glob("*.csv"), *redrawn[name].glob("*.md")])
    assert [t.name for t in tables if t.read_text() != (FOLDERS[name] / t.name).read_text()] == []


@pytest.mark.parametrize(("name", "picture"), DRAWN)
def test_pictures_follow_from_the_evidence(evidence, redrawn, name, picture):
    paths = FOLDERS[name] / picture, redrawn[name] / picture
    with Image.open(paths[0]) as committed, Image.open(paths[1]) as fresh:
        assert committed.info["Source"] == fresh.info["Source"] == evidence[name].digest
        assert committed.info["Title"] == fresh.info["Title"]
        assert committed.size == fresh.size


@pytest.mark.parametrize(("name", "picture"), DRAWN)
def test_every_line_and_dot_lies_where_the_evidence_puts_it(evidence, redrawn, name, picture):
    folders = FOLDERS[name], redrawn[name]
    texts = [(folder / picture).with_suffix(".svg").read_text() for folder in folders]
    assert evidence[name].digest in texts[0]
    committed, fresh = (np.array(NUMBER.findall(text), dtype=float) for text in texts)
    # In points; another processor may round the last digits otherwise.
    np.testing.assert_allclose(committed, fresh, atol=0.01)


@pytest.mark.parametrize("name", KEPT)
def test_evidence_is_small_and_complete(evidence, name):
    assert sum(path.stat().st_size for path in FOLDERS[name].glob("*.csv*")) < 1_000_000
    cases = getattr(evidence[name], CASES[name])
    counts = cases.groupby(["split", "label"]).size()
    assert counts.to_dict() == {(s, label): 200 for s in ("dev", "test") for label in (0, 1)}


def test_both_kinds_of_evidence_are_of_the_same_logits(evidence):
    predictions, cases = evidence["reproduction"].predictions, evidence["trust"].cases
    for column in cases.columns[cases.columns.str.contains("/")]:
        np.testing.assert_allclose(cases[column], predictions[f"paper/{column}"])


def test_the_readme_shows_the_reproduction(evidence):
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    assert reproduction.markdown(evidence["reproduction"]) in readme


def test_the_readme_shows_what_carries_the_result(evidence):
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    table = reproduction.tables(evidence["reproduction"])["ablations"]
    assert ablations.markdown(table) in readme


def test_the_readme_says_what_stopping_early_would_have_cost(evidence):
    readme = " ".join((PROJECT / "README.md").read_text(encoding="utf-8").split())
    table = reproduction.tables(evidence["reproduction"])["early_stopping"]
    assert ablations.stopped_early(table) in readme


def test_the_readme_says_of_trust_what_the_tables_say():
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    assert findings.summary(findings.read_tables(FOLDERS["trust"])) in readme


def test_the_readme_shows_the_recipes_beyond_the_paper():
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    made = findings.read_tables(FOLDERS["beyond"])
    assert beyond_markdown.recipe_table(made) in readme
    assert beyond_markdown.published_table(made) in readme
    assert findings_beyond.summary(made, findings_beyond.SHORT) in readme


def test_databases_left_out_are_the_same_recordings_in_both_kinds_of_evidence(evidence):
    about = ["database", "label", "quality", "seconds"]
    tables = [evidence[name].left_out[about] for name in ("trust", "beyond")]
    tables = [table.sort_values(about, ignore_index=True) for table in tables]
    pd.testing.assert_frame_equal(*tables)


def test_the_model_card_is_the_one_the_evidence_writes(evidence):
    card = (PROJECT / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert card == model_card(evidence["reproduction"], evidence["trust"])
