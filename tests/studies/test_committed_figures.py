"""The committed results follow from the committed inputs, and every file that is named exists."""

import re
import tomllib

import numpy as np
import pandas as pd
import pytest

from hsutils.config import CHECKOUT
from hsutils.export import THRESHOLD
from hsutils.studies import lessons, new_databases
from hsutils.studies.gallery import STUDIES, pictures
from hsutils.studies.seeds import Study, read_tables

FIGURES = CHECKOUT / "figures"
MODULES = {name: STUDIES[name] for name in ("reproduction", "trust", "unseen", "beats")}
MODULES["demo"] = lessons


@pytest.mark.parametrize("name", MODULES)
def test_results_follow_from_the_inputs(name, tmp_path):
    module, folder = MODULES[name], FIGURES / name
    module.results(read_tables(folder, module.INPUTS)).to_csv(tmp_path / "r.csv", index=False)
    found, fresh = (pd.read_csv(p) for p in (folder / "results.csv", tmp_path / "r.csv"))
    values = ["value", "low", "high"]
    pd.testing.assert_frame_equal(found.drop(columns=values), fresh.drop(columns=values))
    np.testing.assert_allclose(found[values], fresh[values], atol=1.01e-5)


@pytest.mark.parametrize("name", MODULES)
def test_nothing_is_committed_that_no_study_writes(name):
    module, folder = MODULES[name], FIGURES / name
    expected = {"README.md", "results.csv", *module.INPUTS}
    expected |= {f"{p}.{ending}" for p in pictures(module, folder) for ending in ("png", "svg")}
    if name == "unseen":  # patches are those that its page explains
        page = (folder / "README.md").read_text(encoding="utf-8")
        expected |= {new_databases.LOCK, *re.findall(r"[\w-]+\.patch", page)}
    assert {p.name for p in folder.iterdir()} == expected


def test_the_final_configuration_is_the_one_that_was_locked():
    """Its settings, its threshold, and no seed but those named; the page names the lock."""
    folder = FIGURES / "unseen"
    locked = tomllib.loads((folder / new_databases.LOCK).read_text())
    assert locked["settings"] == new_databases.identity(new_databases.FINAL, Study("paper", ()))
    assert (locked["variant"], locked["threshold"]) == (new_databases.FINAL, THRESHOLD)
    columns = new_databases.logit_columns(pd.read_csv(folder / new_databases.INPUTS[0], nrows=1))
    seeds = {int(c.split("/")[2]) for c in columns if c.startswith(f"{new_databases.FINAL}/")}
    assert seeds and seeds <= set(locked["seeds"])
    assert locked["settings"] in (folder / "README.md").read_text()


@pytest.mark.parametrize("readme", sorted(FIGURES.rglob("README.md")), ids=lambda p: p.parent.name)
def test_every_file_that_a_page_names_exists(readme):
    text = readme.read_text(encoding="utf-8")
    names = re.findall(r"`([\w-]+\.(?:csv(?:\.gz)?|png))`", text)
    links = [x for x in re.findall(r"\]\(([^)#]+)[^)]*\)", text) if "://" not in x]
    assert names or links
    assert [n for n in names + links if not (readme.parent / n).exists()] == []


def test_inputs_are_small_and_complete():
    for name in MODULES:
        assert sum(path.stat().st_size for path in (FIGURES / name).glob("*.csv*")) < 1_000_000
    for file in ("reproduction/predictions.csv", "trust/cases.csv"):
        counts = pd.read_csv(FIGURES / file).groupby(["split", "label"]).size()
        assert counts.to_dict() == {(s, y): 200 for s in ("dev", "test") for y in (0, 1)}


def test_studies_have_the_same_logits():
    predictions = pd.read_csv(FIGURES / "reproduction/predictions.csv")
    cases = pd.read_csv(FIGURES / "trust/cases.csv")
    for column in cases.columns[cases.columns.str.contains("/")]:
        np.testing.assert_allclose(cases[column], predictions[f"paper/{column}"])
    about = ["database", "label", "quality", "seconds"]
    left_out = [FIGURES / "trust/left_out.csv", FIGURES / "unseen/left_out.csv.gz"]
    tables = [pd.read_csv(p)[about].sort_values(about, ignore_index=True) for p in left_out]
    pd.testing.assert_frame_equal(*tables)
