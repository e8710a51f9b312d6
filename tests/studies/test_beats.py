"""Scores of beats: closed forms, an independent matching, and the faults that infants showed."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from scipy.optimize import linear_sum_assignment

from hsutils.audio.beats import Rhythm
from hsutils.config import RECORDED_RATE as RATE
from hsutils.studies import beats
from hsutils.studies.__main__ import main

# Two annotated stretches of four beats, 0.5 s apart, with S2 0.2 s after S1: middles at 1.05, ...
CYCLE = np.array([[0, 0.1, 1], [0.1, 0.2, 2], [0.2, 0.3, 3], [0.3, 0.5, 4]])
STRETCH = np.concatenate([np.add(CYCLE, [k / 2, k / 2, 0]) for k in range(4)])
TWO = (np.add(STRETCH, [start, start, 0]) for start in (1, 6))
SEGMENTS = np.concatenate([[[0, 1, 0]], next(TWO), [[3, 6, 0]], next(TWO), [[8, 9, 0]]])
S1 = np.arange(0.05, 9, 0.5)  # also where nothing is annotated


@pytest.mark.parametrize(
    ("late", "every", "expected"),
    [
        (0.0, 1, {"S1 found": 8, "S1 60": 8, "S2 60": 8, "rate": 120}),
        (0.08, 1, {"S1 found": 8, "S1 60": 0, "S1 100": 8, "S2 100": 8}),
        (0.0, 2, {"S1 found": 4, "S1 60": 4, "S1 annotated": 8, "rate": 60}),
        (0.2, 1, {"S1 found": 8, "S1 100": 0, "S2 100": 0, "S2 annotated": 8}),
    ],
)
def test_beats_count_where_they_are_annotated(late, every, expected):
    onset = S1[::every] + late
    found = beats.score(Rhythm(onset, np.full(len(onset), 0.2), every / 2, 0.5), SEGMENTS)
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert found["annotated rate"] == pytest.approx(120)  # no gap from stretch to stretch


def test_pairs_are_as_many_as_the_best_assignment_has():
    rng = np.random.default_rng(0)
    for _ in range(50):
        found, true = rng.uniform(0, 5, rng.integers(0, 30)), rng.uniform(0, 5, 25)
        near = np.abs(found[:, None] - true) <= 0.1
        assert beats.matched(found, true, 0.1) == near[linear_sum_assignment(~near)].sum()


def test_metrics_are_of_all_beats_and_intervals_over_patients():
    counts = {f"{s} {k}": 10 for s in ("S1", "S2") for k in ("found", "annotated", 60, 100)}
    about = {"code": "now", "part": "report", "annotated rate": 120.0, "regularity": 0.5}
    rows = [counts | about | {"age": "Infant", "rate": 120.0, "patient": k // 2} for k in range(8)]
    rows[0] |= {"S1 found": 30, "S1 60": 0, "rate": 60.0, "regularity": 0.1}
    rows.append(rows[1] | {"age": "Child", "patient": 9})
    table = beats.results({"scores": pd.DataFrame(rows)}).set_index(["age", "metric"])
    infant = table.loc["Infant"]
    assert infant.value["S1 F1, 60 ms"] == pytest.approx(2 * 70 / (100 + 80), abs=1e-5)
    assert infant.value["S1 precision, 60 ms"] == pytest.approx(0.7)
    assert infant.value["S1 recall, 60 ms"] == pytest.approx(7 / 8)
    assert infant.value["period doubled"] == 1 - infant.value["clear heartbeat"] == 1 / 8
    assert infant.value["heart rate error"] == 60 / 8
    assert infant.low["S1 F1, 60 ms"] < infant.value["S1 F1, 60 ms"] < infant.high["S1 F1, 60 ms"]
    assert np.isnan(table.low["Child", "S1 F1, 60 ms"]) and table.value["all", "recordings"] == 9


def test_the_command_scores_a_folder_beside_earlier_code(tmp_path, monkeypatch, capsys):
    time = np.arange(9 * RATE) / RATE
    sounds = np.exp(-(((time[:, None] - np.append(S1, S1 + 0.2)) / 0.02) ** 2)).sum(axis=1)
    for n in (2, 3):
        soundfile.write(tmp_path / f"{n}.wav", 0.4 * sounds * np.sin(2 * np.pi * 60 * time), RATE)
        np.savetxt(tmp_path / f"{n}.tsv", SEGMENTS, delimiter="\t")
    table = pd.DataFrame({"path": ["2.wav", "3.wav"], "patient": [2, 3], "age": ["Infant", ""]})
    monkeypatch.setattr(beats, "circor_table", lambda folder, unsure: table)
    line, there = ["beats", "--data", str(tmp_path), "--to", str(tmp_path)], tmp_path / "scores.csv"
    assert main(line) == 0
    scores = pd.read_csv(there)
    assert (scores[["S1 60", "S2 60"]] == 8).all(axis=None)
    scores.assign(code="before").to_csv(there, index=False)
    assert main(line) == 0
    assert pd.read_csv(there).code.tolist() == ["before"] * 2 + ["now"] * 2
    (tmp_path / "3.tsv").write_text("0\t1\n")
    assert main(line) == 2 and "3.tsv: not start, end, state" in capsys.readouterr().err


def test_infants_of_circor_keep_their_period():
    if not (folder := os.environ.get("HSUTILS_CIRCOR")):
        pytest.skip("HSUTILS_CIRCOR is not set: name the folder of `hsutils fetch circor-2022`")
    table = beats.circor_table(folder, unsure=True).query("age == 'Infant'").head(30)
    rows = []
    for file in (Path(folder) / path for path in table.path):
        found = beats.find_beats(beats.read_waveform(file))
        rows.append(beats.score(found, np.loadtxt(file.with_suffix(".tsv"))))
    sums = pd.DataFrame(rows)
    assert (sums["annotated rate"] / sums["rate"] > np.sqrt(2)).mean() < 0.1
    both = sums["S1 found"].sum() + sums["S1 annotated"].sum()
    assert 2 * sums["S1 60"].sum() / both > 0.85
