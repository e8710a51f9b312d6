"""Configurations held against each other in unseen databases, and the decisions made there."""

import tomllib
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score, recall_score, roc_auc_score

from hsutils.config import load_profile
from hsutils.data.corpus import load_recordings
from hsutils.errors import InputError
from hsutils.evaluate import few_labels
from hsutils.pipeline import load_predictions
from hsutils.studies import new_databases
from hsutils.studies.new_databases import (
    CONFIGURATIONS,
    FEW,
    LOCK,
    areas,
    differences,
    gather,
    lock,
    require_lock,
    results,
    runs,
)
from hsutils.studies.seeds import Study

pytestmark = pytest.mark.filterwarnings("ignore:split lists:UserWarning")
FULL, ROBUST = "full-band/baseline", "robust/baseline"
VIEW_METRICS = ("auroc, view", "auroc, difference from circor", "auroc, difference from circor, p")
MIN_MAX, PAPER = "full-band-min-max/baseline", "paper/teacher"


@pytest.fixture(scope="module")
def inputs() -> dict[str, pd.DataFrame]:
    """Six databases; configurations rank by the same noise and another signal."""
    rng, n = np.random.default_rng(7), 60
    table = pd.DataFrame({"database": np.repeat([*"abcdef"], n), "group": np.arange(6 * n)})
    table = table.assign(label=np.arange(6 * n) % 2, quality=1, seconds=9.0)
    own = 0.8 * table.label + rng.standard_normal(len(table))
    for seed in (0, 1):
        table[f"{FULL}/{seed}"] = own + 0.3 * seed * rng.standard_normal(len(table))
    table[f"{ROBUST}/1"] = table[f"{FULL}/1"] + 0.01 * rng.standard_normal(len(table))
    table[f"{MIN_MAX}/0"] = table[f"{FULL}/0"] - 0.6 * table.label
    table[f"{PAPER}/0"] = rng.standard_normal(len(table))
    table["paper/student/0"] = table[f"{PAPER}/0"].where(table.database != "c")
    return {"left_out": table}


@pytest.fixture(scope="module")
def found(inputs) -> pd.DataFrame:
    return areas(inputs["left_out"])


@pytest.fixture(scope="module")
def changes(inputs, found) -> pd.DataFrame:
    return differences(inputs["left_out"], found).set_index("variant")


def mean_area(table: pd.DataFrame, column: str) -> float:
    parts = table.groupby("database")
    return float(np.mean([roc_auc_score(part.label, part[column]) for _, part in parts]))


def test_mean_and_worst_are_those_of_the_databases(inputs, found):
    table = found.set_index(["variant", "model", "seed", "database"]).auroc.sort_index()
    means = [mean_area(inputs["left_out"], f"{FULL}/{s}") for s in (0, 1)]
    assert table["full-band", "baseline", "0", "mean"] == pytest.approx(means[0])
    assert table["full-band", "baseline", "mean", "mean"] == pytest.approx(np.mean(means))
    own = table["full-band", "baseline", "mean"].drop(["mean", "worst"])
    assert table["full-band", "baseline", "mean", "worst"] == own.min()


def test_a_model_that_was_not_tested_everywhere_has_no_mean(found):
    student = found.query("model == 'student' and seed == '0'")
    assert student.database.tolist() == [*"abdef"]


def test_a_change_is_compared_over_the_seeds_of_both(inputs, changes):
    for key, column, seed in (("full-band-min-max", MIN_MAX, 0), ("robust", ROBUST, 1)):
        other = mean_area(inputs["left_out"], f"{FULL}/{seed}")
        expected = mean_area(inputs["left_out"], f"{column}/{seed}") - other
        assert changes.difference[key] == pytest.approx(expected)
    assert set(changes.index) == {"full-band-min-max", "robust"}
    min_max, robust = changes.loc["full-band-min-max"], changes.loc["robust"]
    assert min_max.high < 0 and robust.low < 0 < robust.high
    # The smaller p of two counts twice (Holm); 1,000 draws cannot say less than 2 in 1,001.
    assert min_max.p == pytest.approx(4 / 1001) and robust.p > 0.05


def test_what_two_models_share_does_not_widen_the_interval_of_their_difference(
    inputs, found, changes
):
    row = changes.loc["full-band-min-max"]
    rng, gains = np.random.default_rng(5), []
    for _ in range(200):
        each = []
        for _, part in inputs["left_out"].groupby("database"):
            drawn = part.iloc[rng.integers(0, len(part), len(part))]
            ill = (drawn.label == 1).to_numpy()
            logits = [drawn[f"{c}/0"].to_numpy() for c in (MIN_MAX, FULL)]
            area = [(x[ill][:, None] > x[~ill]).mean() for x in logits]
            each.append(area[0] - area[1])
        gains.append(np.mean(each))
    low, high = np.percentile(gains, [2.5, 97.5])
    assert (row.high - row.low) / (high - low) == pytest.approx(1.05, abs=0.15)
    alone = found.query("variant == 'full-band-min-max' and database == 'mean'").iloc[0]
    assert row.high - row.low < 0.8 * (alone.high - alone.low)


def test_a_view_is_held_against_circor_and_is_no_candidate(inputs):
    table = inputs["left_out"].rename(columns={f"{FULL}/0": "circor/baseline/0"})
    table = table[[*new_databases.ABOUT, "circor/baseline/0"]]
    table["circor-by-patch/baseline/0"] = table["circor/baseline/0"] - 0.6 * table.label
    found = results({"left_out": table})
    view = found[found.variant == "circor-by-patch"]
    assert set(view.metric) == {*VIEW_METRICS}
    assert {"auroc", "sensitivity"} <= set(found.metric[found.variant == "circor"])
    patched, plain = (mean_area(table, f"{v}/baseline/0") for v in ("circor-by-patch", "circor"))
    means = view[view.database == "mean"].groupby("metric").value.first()
    assert means[VIEW_METRICS[0]] == pytest.approx(patched, abs=1e-5)
    assert means[VIEW_METRICS[1]] == pytest.approx(patched - plain, abs=1e-5)
    drawn = new_databases.figures({"cycles": pd.DataFrame({"database": [], "label": []})}, found)
    rows = [text.get_text() for text in drawn["changes"]().axes[0].get_yticklabels()]
    assert "circor by patch, from circor (1)" in rows


def test_decisions_are_those_at_logit_0_and_at_the_best_threshold(inputs):
    table = new_databases.operating(inputs["left_out"]).set_index(["variant", "model", "database"])
    table = table.sort_index()
    for database, part in inputs["left_out"].groupby("database"):
        row, logits = table.loc["paper", "teacher", database], part[f"{PAPER}/0"]
        assert row.sensitivity == pytest.approx(recall_score(part.label, logits > 0))
        assert row.specificity == pytest.approx(recall_score(1 - part.label, logits <= 0))
        scores = [balanced_accuracy_score(part.label, logits > t) for t in (0, logits.median())]
        assert row["balanced accuracy"] == pytest.approx(scores[0])
        assert row["balanced accuracy, own median"] == pytest.approx(scores[1])
        every = [balanced_accuracy_score(part.label, logits >= t) for t in logits]
        assert row["balanced accuracy, own threshold"] == pytest.approx(max(every))
        few = few_labels(part.assign(logit=logits), 20, 0.0, draws=50).value
        assert row[FEW] == pytest.approx(few.macc)
    own = table.loc["paper", "teacher"].sensitivity
    assert own["mean"] == pytest.approx(own.drop("mean").mean())
    assert ("paper", "student", "mean") not in table.index


def test_a_database_of_one_group_or_one_class_stops_nothing(inputs):
    rows = inputs["left_out"].copy()
    rows.loc[rows.database == "d", "group"] = 10_000
    assert len(differences(rows, areas(rows))) == 2
    rows.loc[rows.database == "d", "label"] = 0
    table = new_databases.operating(rows)
    assert "d" not in set(table.database)


@pytest.mark.parametrize(
    ("key", "fields"),
    [
        ("robust", {"repair_clips", "pass_low_hz", "pass_high_hz", "bits", "bins"}),
        ("band-limit-only", {"pass_low_hz", "pass_high_hz"}),
        ("full-band-no-synthetic", {"synthetic", "epochs"}),
        ("full-band-no-synthetic-each-once", {"sampling"}),
        ("full-band-min-max", {"scaling"}),
        ("circor", {"more"}),
        ("all-ages", {"more", "hearts", "tempo"}),
        ("slowed", {"hearts", "heart_rate"}),
        ("circor-no-dither", {"bits"}),
    ],
)
def test_a_configuration_differs_in_what_it_says_and_nothing_else(differing, key, fields):
    pair = (CONFIGURATIONS[k] for k in (key, CONFIGURATIONS[key].against))
    found = differing(*(load_profile(c.profile, c.overrides) for c in pair))
    assert {name.split(".")[1] for name in found} == fields


@pytest.fixture(scope="module")
def gathered(trained, tmp_path_factory) -> dict[str, pd.DataFrame]:
    return gather(trained, ["paper"], tmp_path_factory.mktemp("unseen"))


def test_what_is_trained_is_gathered_and_no_recording_is_named(trained, gathered):
    table = gathered["left_out"]
    assert [c for c in table if "/" in c] == [
        new_databases.LINEAR,
        *(f"paper/{model}/0" for model in ("teacher", "student", "baseline")),
    ]
    assert set(table.database[table["paper/teacher/0"].notna()]) == {"b"}
    run = next(run for _, d, run in runs(trained, ["paper"]) if d == "b")
    saved = load_predictions(run, "teacher", "test").logit
    kept = table[table.database == "b"]["paper/teacher/0"]
    assert sorted(kept) == pytest.approx(sorted(saved), abs=6e-4)
    assert table[new_databases.LINEAR].notna().all()
    records = load_recordings(trained.run(0)).record
    text = "".join(table.to_csv(index=False) for table in gathered.values())
    assert not [record for record in records if record in text]


def test_results_and_pictures_are_made_of_whatever_there_is(gathered):
    found = new_databases.results(gathered)
    assert set(found.variant) == {"paper", "heart-cycles"}
    assert set(new_databases.figures(gathered, found)) == {"unseen-databases"}, "without heartbeats"


def test_what_another_machine_trained_is_kept(trained, gathered, tmp_path):
    table = gathered["left_out"]
    others = {name: np.arange(len(table)) / 8 for name in ("given-up/baseline/0", f"{ROBUST}/5")}
    other = table.assign(**others, **{"paper/teacher/0": 0.0})
    other.to_csv(tmp_path / new_databases.INPUTS[0], index=False)
    both = gather(trained, ["paper"], tmp_path)["left_out"]
    assert both.columns.tolist() == [*table, *reversed(others)]
    pd.testing.assert_frame_equal(both[[*others]], other[[*others]])
    pd.testing.assert_frame_equal(both[[*table]], table)
    other.assign(label=1 - other.label).to_csv(tmp_path / new_databases.INPUTS[0], index=False)
    with pytest.raises(InputError, match="is of other recordings"):
        gather(trained, ["paper"], tmp_path)


def test_the_final_configuration_is_locked_once_with_its_settings(inputs, tmp_path, monkeypatch):
    view = {f"{new_databases.VIEW}by-patch/baseline/0": inputs["left_out"][f"{FULL}/0"]}
    inputs["left_out"].assign(**view).to_csv(tmp_path / new_databases.INPUTS[0], index=False)
    one, both = (Study("paper", seeds) for seeds in ((1,), (0, 1)))
    require_lock(tmp_path, "robust", Study("paper", (7,)))
    lock(tmp_path, "robust", both)
    locked = tomllib.loads((tmp_path / LOCK).read_text())
    assert (locked["variant"], locked["seeds"], locked["threshold"]) == ("robust", [0, 1], 0.0)
    mean = mean_area(inputs["left_out"], f"{ROBUST}/1")
    assert locked["mean_auroc"][f"{ROBUST}/1"] == pytest.approx(mean, abs=1e-4)
    assert "paper/student/0" not in locked["mean_auroc"], "it was not tested everywhere"
    assert not {*view} & {*locked["mean_auroc"]}, "no configuration to choose"
    with pytest.raises(InputError, match="a lock is there"):
        lock(tmp_path, "full-band", one)
    require_lock(tmp_path, "robust", one)
    require_lock(tmp_path, "robust", replace(one, overrides=("data.source=challenge",)))
    require_lock(tmp_path, "full-band", Study("paper", (9,)))
    with pytest.raises(InputError, match="locked with other seeds;"):
        require_lock(tmp_path, "robust", Study("paper", (1, 2)))
    with pytest.raises(InputError, match="locked with other settings;"):
        require_lock(tmp_path, "robust", replace(one, overrides=("front_end.mels=40",)))
    changed = replace(CONFIGURATIONS["robust"], overrides=("baseline.epochs=4",))
    monkeypatch.setitem(CONFIGURATIONS, "robust", changed)
    with pytest.raises(InputError, match="locked with other settings;"):
        require_lock(tmp_path, "robust", one)
