"""What is told of the kept evidence is what its tables say."""

import re

import pandas as pd
import pytest

from hsutils.experiment import PROJECT
from hsutils.studies.findings import FINDINGS, cell, finding, read_tables, seeds, summary
from hsutils.pipeline import MODELS

QUESTIONS = list(FINDINGS)


@pytest.fixture(scope="module")
def made() -> dict[str, pd.DataFrame]:
    return read_tables(PROJECT / "figures/trust")


def numbers(text: str) -> list[float]:
    return [float(n) for n in re.findall(r"[+-]?\d*\.\d+", text)]


@pytest.mark.parametrize("question", QUESTIONS)
def test_every_finding_is_one_paragraph_with_numbers(made, question):
    text = finding(question, made)
    assert text.startswith("**On the real recordings:** ") and "\n" not in text
    assert re.search(r"\d", text) and "nan" not in text.lower()


def test_scores_are_those_of_the_table(made):
    auroc = made["intervals"].query("metric == 'auroc'").set_index("model").loc[list(MODELS)]
    expected = auroc[["value", "low", "high"]].to_numpy().ravel()
    assert numbers(finding("chance", made))[:9] == pytest.approx(expected, abs=6e-4)


def test_a_changed_table_changes_what_is_told(made):
    table = made["robustness"].copy()
    row = (table.perturbation == "white noise") & (table.level == 20) & (table.model == "student")
    table.loc[row, "change"] = -0.77
    changed = made | {"robustness": table}
    for text in (finding("robustness", changed), summary(changed)):
        assert "-0.77" in text
    assert "-0.77" not in finding("robustness", made)


def test_how_many_seeds_agree_is_counted(made):
    assert [seeds(n, 3, "tell") for n in range(4)] == [
        "no seed tells", "1 of 3 seeds tell", "2 of 3 seeds tell", "every seed tells"
    ]  # fmt: skip
    paired = made["paired"].copy()
    student = (paired.a == "teacher") & (paired.metric == "auroc")
    paired.loc[student, ["low", "high"]] = [0.01, 0.05]
    told = finding("differences", made | {"paired": paired})
    assert "every seed tells student from teacher" in told


def test_databases_never_heard_are_told_of_once_all_are_measured(made):
    table = made["heart_or_stethoscope"]
    rivals = table[(table.protocol == "left out") & (table.model == "format only")]
    networks = [rivals.assign(model=model, auroc=0.61 + 0.01 * n) for n, model in enumerate(MODELS)]
    others = table[~((table.protocol == "left out") & table.model.isin(MODELS))]
    told = finding("heart", made | {"heart_or_stethoscope": pd.concat([others, *networks])})
    assert "teacher reaches 0.61" in told and "baseline 0.63" in told
    without = finding("heart", made | {"heart_or_stethoscope": others})
    assert "not measured for all databases" in without


def test_a_row_that_is_not_there_or_not_alone_is_an_error(made):
    with pytest.raises(KeyError, match="0 rows"):
        cell(made["intervals"], "value", model="nobody")
    with pytest.raises(KeyError, match="rows"):
        cell(made["intervals"], "value", model="teacher")


def test_what_the_words_claim_holds_of_the_kept_tables(made):
    """Words that no number fills in."""
    effect = made["leak_effect"].set_index("model").change
    assert effect[list(MODELS)].abs().max() < 0.01, "leaks did not make the score"
    table = made["heart_or_stethoscope"]
    rule = cell(table, "auroc", model="format only", protocol="left out", database="e")
    assert rule < 0.5, "the format's rule is reversed in e"
    intervals = made["intervals"].query("metric == 'auroc'").set_index("model")
    width, moved = intervals.high - intervals.low, intervals.seed_max - intervals.seed_min
    assert (width > moved)[["teacher", "student"]].all(), "recordings matter more than seeds"
    noise = made["robustness"].query("perturbation == 'white noise' and level == 20")
    assert (noise[noise.model != "baseline"].change_high < 0).all(), "faint noise costs"
    ece = made["calibration"].set_index(["model", "calibration"]).ece
    assert ece["baseline", "as trained"] == ece.max(), "the baseline leans most"
