"""The model card says what the evidence says, under every heading that TRIPOD+AI asks for."""

import dataclasses
import re

import numpy as np
import pandas as pd
import pytest
from test_reproduction import made_up
from test_trust_tables import made_trust

from hsutils.__main__ import main
from hsutils.errors import InputError
from hsutils.studies.model_card import model_card
from hsutils.pipeline import MODELS
from hsutils.studies.trust import Trust
from hsutils.studies.trust_tables import tables

HEADINGS = (
    *("Title and summary", "Background and objectives", "Methods", "Open science", "Results"),
    *("Discussion",),
)
ITEMS = (
    *("Data", "Participants", "Data preparation", "Outcome", "Predictors", "Sample size"),
    *("Missing data", "Analysis", "Class imbalance", "Fairness", "Output"),
    *("Training versus evaluation", "Ethical approval", "Interpretation", "Limitations"),
    *("Known failures", "Usability"),
)


@pytest.fixture(scope="module")
def trust() -> Trust:
    rows = [("none", "", np.nan, m, 0.9) for m in MODELS]
    rows += [("hum 50 Hz", "dB", level, m, 0.8 - 0.01 * level) for level in (0, 10) for m in MODELS]
    worse = pd.DataFrame(rows, columns=["perturbation", "unit", "level", "model", "auroc"])
    return dataclasses.replace(made_trust(), robustness=worse)


@pytest.fixture(scope="module")
def card(trust) -> str:
    return model_card(made_up(), trust)


def test_every_heading_is_there_and_nothing_is_left_to_be_filled_in(card):
    assert [h for h in HEADINGS if f"\n## {h}\n" not in card] == []
    assert [item for item in ITEMS if f"**{item}.**" not in card] == []
    assert not re.search(r"[{}]|nan|NaN", card)


def test_it_says_what_it_is_not_for(card):
    assert "Not for clinical use" in card and "Out of scope" in card


def test_numbers_are_those_of_the_tables(card, trust):
    made = tables(trust, "intervals", "thresholds", "calibration")
    for row in made["intervals"].query("model in @MODELS and metric == 'auroc'").itertuples():
        assert f"| {row.model} | {row.value:.3f} ({row.low:.3f} to {row.high:.3f}) |" in card
    for row in made["thresholds"].itertuples():
        assert f"| {row.model} | {row.rule} | {row.threshold:+.2f} |" in card
    for row in made["calibration"].query("calibration == 'as trained'").itertuples():
        assert f"{row.model} {row.ece:.3f}" in card
    assert f"{len(trust.facts):,} recordings" in card
    assert "hum 50 Hz at 10 dB: 0.700" in card


def test_every_table_is_rectangular(card):
    blocks = re.findall(r"(?:^\|.*\n)+", card, re.MULTILINE)
    assert len(blocks) >= 7
    for block in blocks:
        assert len({line.count("|") for line in block.splitlines()}) == 1, block


def test_a_study_of_something_else_gets_no_card(trust):
    with pytest.raises(InputError, match="paper's experiment"):
        model_card(made_up("synthetic"), trust)


def test_one_command_writes_it_from_what_is_kept(trust, tmp_path, card):
    made_up().save(tmp_path / "reproduction")
    trust.save(tmp_path / "trust")
    folders = ["--evidence", str(tmp_path / "reproduction"), "--trust", str(tmp_path / "trust")]
    assert main(["card", *folders, "--to", str(tmp_path / "card.md")]) == 0
    assert (tmp_path / "card.md").read_text() == card
