"""Planted truth comes out of an evaluation, and every mistake of a user is one line."""

import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from scipy.stats import norm

from hsutils import evaluate as module
from hsutils.cli import main
from hsutils.data.circor import circor_table
from hsutils.errors import InputError
from hsutils.evaluate import by_patient, evaluate, few_labels, results, subgroups
from hsutils.evaluation import shortcuts
from hsutils.evaluation.shortcuts import CROSS_VALIDATED
from hsutils.predict import Verdict


def planted(patients=120, each=4, distance=1.5, within=1.0, between=1.0, shift=0.0, seed=0):
    """Half of the patients abnormal; logits `distance` apart, normal within and between them."""
    rng, patient = np.random.default_rng(seed), np.repeat(np.arange(patients), each)
    label = patient % 2
    logit = shift + distance * label + between * rng.normal(size=patients)[patient]
    logit += within * rng.normal(size=len(label))
    table = pd.DataFrame({"group": patient.astype(str), "label": label, "logit": logit})
    return table.assign(**dict.fromkeys(CROSS_VALIDATED, 0.0))


def value(made: pd.DataFrame, metric="auroc", end="value", **about) -> float:
    about = {"protocol": "recordings", "model": "model", "group": ""} | about | {"metric": metric}
    if metric == "auroc":
        about["study"] = "subgroups" if about["group"] else "ranking"
    found = made[np.logical_and.reduce([made[key] == asked for key, asked in about.items()])]
    (number,) = found[end]
    return number


def test_the_planted_auroc_comes_out_of_recordings_and_of_patients():
    made = results(planted(patients=800), [])
    # A patient's mean of four has a quarter of the variance within.
    for protocol, variance in {"recordings": 2.0, "patients": 1.25}.items():
        truth = norm.cdf(1.5 / np.sqrt(2 * variance))
        assert value(made, protocol=protocol) == pytest.approx(truth, abs=0.02)
        ends = [value(made, protocol=protocol, end=end) for end in ("low", "high")]
        assert ends[0] < truth < ends[1]
    assert value(made, model="length only") == 0.5


def test_recordings_of_one_patient_make_the_interval_wider():
    table = planted(patients=60, within=0.3)
    alone = table.assign(group=np.arange(len(table)).astype(str))
    made = [results(cases, []) for cases in (table, alone)]
    together, apart = (value(m, end="high") - value(m, end="low") for m in made)
    assert together > 1.5 * apart
    assert set(made[1].protocol) == {"recordings"}, "each is a patient of its own"


def test_of_shifted_logits_few_labels_find_a_threshold_and_the_shipped_one_does_not():
    made = results(planted(shift=3.0), [])
    shipped, chosen, best = (
        [value(made, metric, variant=rule) for metric in ("macc", "threshold", "specificity")]
        for rule in ("as shipped", "20 + 20 labeled", "best in hindsight")
    )
    assert shipped[0] < 0.55 and best[0] >= chosen[0] > best[0] - 0.05
    assert shipped[1] == 0 and chosen[1] == pytest.approx(3.75, abs=0.2)
    assert value(made, "macc", variant="median") > chosen[0] - 0.03
    assert value(made, "gain", "low", variant="5 + 5 labeled") > 0.1
    rules = ("5 + 5 labeled", "20 + 20 labeled")
    low, high = ([value(made, "threshold", e, variant=r) for r in rules] for e in ("low", "high"))
    assert low[0] < low[1] < 3.75 < high[1] < high[0], "more labels, less luck"


def test_a_chosen_threshold_lies_halfway_and_is_tested_on_other_patients():
    table = planted(patients=40, between=0.0, within=0.0, distance=4.0)
    found = few_labels(table, 5, 9.0)
    assert found.value.tolist() == [1, 1, 1, 2, 0.5] and (found.low == found.high).all()
    # One patient alone is above any threshold, so nobody is in the draws that hold this one.
    odd = table.assign(logit=table.logit * (table.group == "1"))
    assert few_labels(odd, 10, 9.0).low.macc == 0.5
    made = results(planted(patients=30), [])
    assert set(made.variant) >= {"5 + 5 labeled"}, "half of the patients remain to be tested"
    assert "10 + 10 labeled" not in set(made.variant)


def test_a_patient_is_the_mean_of_the_logits_and_abnormal_if_a_recording_is():
    table = pd.DataFrame({"group": list("aab"), "label": [0, 1, 0], "logit": [1.0, 2.0, 5.0]})
    assert by_patient(table)[["label", "logit"]].to_numpy().tolist() == [[1, 1.5], [0, 5]]


def test_subgroups_are_values_quarters_and_grades_against_all_normal():
    table = planted(patients=40, each=1)
    table["site"] = np.where(table.index < 20, "AV", "MV")
    table["grade"] = np.where(table.label == 0, "", np.where(table.index < 10, "II", "I"))
    table["murmur"] = table.grade.replace("", "absent")
    table["height"] = [str(number) for number in range(40)]
    table["date"] = [str(20_240_100 + number) for number in range(40)]
    table["name"] = "n" + table.height
    table["nothing"] = ""
    found = {(name, part): some for name, part, some in subgroups(table, [*table.columns[6:]])}
    assert {name for name, _ in found} == {"site", "grade", "murmur", "height", "date"}
    assert ("date", "20240100 to 20240109.75") in found
    assert found["site", "AV"].equals(table[:20])
    assert found["grade", "II"].equals(table[(table.label == 0) | (table.index < 10)])
    assert found["murmur", "I"].equals(found["grade", "I"]) and ("murmur", "absent") not in found
    quarters = [some for (name, _), some in found.items() if name == "height"]
    assert [len(some) for some in quarters] == [10] * 4
    assert pd.concat(quarters).equals(table)


def test_subgroups_are_scored_apart_and_small_ones_only_counted():
    table = planted().assign(site="AV")
    table.loc[table.index >= 240, ["site", "logit"]] = ["MV", 0.0]
    table.loc[:3, "site"] = "PV"
    made = results(table, subgroups(table, ["site"]))
    assert value(made, group="site", part="MV") == 0.5
    assert value(made, group="site", part="AV") > 0.7
    row = made[(made.part == "PV") & (made.protocol == "recordings")].iloc[0]
    assert row.cases == 4 and np.isnan(row.value)


def test_where_every_patient_has_both_labels_nothing_is_said_of_patients():
    table = planted().sort_values("group", kind="stable", ignore_index=True)
    table["label"] = table.groupby("group").cumcount() % 2
    made = results(table, [])
    assert (
        set(made.protocol) == {"recordings"} and made.query("metric == 'auroc'").value.notna().all()
    )


@pytest.mark.filterwarnings("error")
def test_a_draw_without_enough_labels_does_not_count():
    table = planted(patients=10, each=2)
    table["label"] = table.groupby("group").cumcount()
    chosen = few_labels(table, 5, 0.0).value
    assert chosen.isna().all() or chosen.between(-99, 99).all()


@pytest.fixture
def few_trees(monkeypatch):
    monkeypatch.setattr(shortcuts, "_TREES", 50)


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Path:
    """120 recordings of 40 patients; those of the abnormal are stored in coarser steps."""
    folder, rng, rows = tmp_path_factory.mktemp("own"), np.random.default_rng(0), []
    for number in range(120):
        patient = number // 3
        samples = rng.normal(0, 3_000, 2_000 + 50 * patient).astype(np.int16)
        samples = samples // 256 * 256 if patient % 3 == 0 else samples
        soundfile.write(folder / f"{number}.wav", samples, 2_000)
        label = "abnormal" if patient % 3 == 0 else "normal"
        rows.append([f"{number}.wav", label, f"p{patient}", "AM"[number % 2]])
    made = pd.DataFrame(rows, columns=["path", "label", "patient", "site"])
    made.to_csv(folder / "own.csv", index=False)
    return folder / "own.csv"


class Planted:
    """A classifier that is right, but for recordings without a heartbeat; those of patients 0-5."""

    threshold, silent = 0.0, 6

    def __init__(self, model, threshold):
        pass

    def read_all(self, files):
        patient = {file: int(Path(file).stem) // 3 for file in files}
        logits = {f: -1.0 if (p % 3 == 0) == (p < self.silent) else 1.0 for f, p in patient.items()}
        beats = {f: np.ones((int(p >= self.silent), 2)) for f, p in patient.items()}
        return {f: Verdict(1, 60 + p, logits[f], "", "", beats[f]) for f, p in patient.items()}, []


@pytest.fixture
def classified(monkeypatch):
    monkeypatch.setattr(module, "Classifier", Planted)


def test_one_command_leaves_numbers_figures_and_a_page(
    table, classified, few_trees, tmp_path, capsys
):
    folder = tmp_path / "to"
    assert main(["evaluate", str(table), "--to", str(folder)]) == 0
    said = capsys.readouterr().out
    assert "AUROC" in said and "band statistics" in said and str(folder / "report.html") in said
    made = pd.read_csv(folder / "results.csv", keep_default_na=False)
    made["value"] = pd.to_numeric(made.value)
    assert value(made) == value(made, group="site", part="A") == 1
    assert value(made, group="heartbeat", part="found or not") < 1
    assert value(made, model="format only") > 0.95, "how a file is stored gives its label away"
    # A patient's three recordings are of one length: learned from two, the third would be known.
    assert value(made, model="length only") < 0.7
    predictions = pd.read_csv(folder / "predictions.csv")
    assert len(predictions) == 120 and str(table.parent) not in predictions.to_csv()
    page = (folder / "report.html").read_text()
    assert page.count("data:image/png;base64,") == len(list(folder.glob("*.png"))) == 5
    assert not re.search(r"(src|href)=\"(?!data:)", page), "the page stands alone"
    assert "own.csv" in page and "1.00" in page and "{{" not in page


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.assign(label=0), "40 normal and 0 abnormal patients"),
        (lambda t: t[:18], "4 normal and 2 abnormal patients to evaluate; each class needs 5"),
        (lambda t: t.drop(columns="label"), "label"),
        (lambda t: t.drop(columns="site"), "--groups site makes no groups; columns that do: none"),
        (lambda t: t.assign(site="A"), "--groups site makes no groups; columns that do: none"),
    ],
    ids=["one class", "few patients", "no label", "no group", "one value"],
)
def test_what_cannot_be_evaluated_is_one_line(table, classified, tmp_path, capsys, change, said):
    rows = pd.read_csv(table)
    rows["path"] = [str(table.parent / path) for path in rows.path]
    change(rows).to_csv(tmp_path / "own.csv", index=False)
    command = ["evaluate", str(tmp_path / "own.csv"), "--to", str(tmp_path / "to")]
    assert main([*command, "--groups", "site"]) == 2
    line = capsys.readouterr().err
    assert said in line and line.count("\n") == 1 and not (tmp_path / "to").exists()


def test_heartbeats_must_be_found_in_both_classes(table, classified, tmp_path, monkeypatch):
    monkeypatch.setattr(Planted, "silent", 60)
    with pytest.raises(InputError, match="0 normal and 0 abnormal patients"):
        evaluate(table, tmp_path / "to")


def test_loud_murmurs_of_circor_are_ranked_above_children_without(few_trees, tmp_path):
    folder = os.environ.get("HSUTILS_CIRCOR")
    if not folder:
        pytest.skip("HSUTILS_CIRCOR is not set: name the folder of the CirCor recordings")
    listed = circor_table(folder)
    listed = listed[listed.grade.isin(["", "III/VI"]) & (listed.age == "Child")]
    listed = listed.drop_duplicates("patient").groupby("label").head(10)
    listed["path"] = [str(Path(folder) / path) for path in listed.path]
    listed.to_csv(tmp_path / "circor.csv", index=False)
    made, problems = evaluate(tmp_path / "circor.csv", tmp_path / "to", groups=["sex"])
    assert not problems and value(made) > 0.8 and made.cases.max() == 20
