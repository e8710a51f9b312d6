"""Trust finds what was planted, and nothing where nothing was; its tables name no recording."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import recall_score, roc_auc_score

from hsutils.data.corpus import load_recordings
from hsutils.evaluation.shortcuts import CONTROL_MODELS, FACTS, separation
from hsutils.pipeline import load_predictions
from hsutils.studies import trust

pytestmark = pytest.mark.filterwarnings("ignore:split lists:UserWarning")
MODELS = ("teacher", "student", "baseline")
N = 300


def cases(rng: np.random.Generator, split: str) -> pd.DataFrame:
    """Half abnormal; abnormal recordings are mostly of database a, normal ones of b."""
    label = np.arange(N) % 2
    database = np.where(rng.uniform(size=N) < np.where(label, 0.9, 0.1), "a", "b")
    heart = 2.0 * label - 1 + rng.normal(0, 1, N)
    about = {"split": split, "database": database, "group": np.arange(N), "label": label}
    known = np.where(database == "a", 2.0, -2.0)
    logits = {
        # Two seeds that differ by little, and whose probabilities are right.
        **{f"teacher/{s}": 2 * heart + rng.normal(0, 0.1, N) for s in (0, 1)},
        # As good as the teacher, but four times too sure.
        **{f"student/{s}": 8 * heart + rng.normal(0, 0.1, N) for s in (0, 1)},
        # Ranks badly, and calls hardly anything abnormal.
        **{f"baseline/{s}": heart + rng.normal(0, 2, N) - 4 for s in (0, 1)},
        "database only": known,
        "format only": known + 0.1 * rng.normal(0, 1, N),
        "band statistics": heart + known,
    }
    return pd.DataFrame(about | logits)


@pytest.fixture(scope="module")
def inputs() -> dict[str, pd.DataFrame]:
    """Of two seeds that nobody had to train; in database b the format gives labels away."""
    rng = np.random.default_rng(0)
    every = pd.concat([cases(rng, "dev"), cases(rng, "test")], ignore_index=True)
    left_out = cases(rng, "test").drop(columns="split").assign(quality=1, seconds=9.0)
    left_out[["format only", "database only"]] = 0.0
    left_out.loc[left_out.database == "b", ["teacher/1", "student/1", "baseline/0"]] = np.nan
    left_out.loc[left_out.database == "b", "baseline/1"] = np.nan
    label, database = np.arange(N) % 2, np.repeat(["a", "b"], N // 2)
    levels = rng.integers(500, 900, N) - 450 * ((label == 0) & (database == "b"))
    facts = pd.DataFrame({"database": database, "group": np.arange(N), "label": label})
    facts = facts.assign(levels=levels, seconds=rng.uniform(5, 60, N))
    facts = facts.assign(**{f: rng.integers(0, 1000, N) for f in FACTS if f not in facts})
    return {"cases": every, "left_out": left_out, "facts": facts}


@pytest.fixture(scope="module")
def tables(inputs) -> dict[str, pd.DataFrame]:
    """Function of the study -> what it makes of the inputs."""
    names = ("metrics", "paired", "prevalence", "thresholds")
    return {name: getattr(trust, name)(inputs) for name in names}


@pytest.fixture(scope="module")
def protocols(inputs) -> pd.DataFrame:
    table = trust.heart_or_stethoscope(inputs)
    return table.set_index(["model", "protocol", "database"]).sort_index()


@pytest.mark.parametrize("model", MODELS)
def test_values_are_means_over_seeds_by_scikit_learn(inputs, tables, model):
    test = inputs["cases"].query("split == 'test'")
    columns = [test[f"{model}/{seed}"] for seed in (0, 1)]
    table = tables["metrics"].query("model == @model").set_index("metric")
    areas = [roc_auc_score(test.label, logits) for logits in columns]
    found = [recall_score(test.label, logits > 0) for logits in columns]
    for metric, values in (("auroc", areas), ("sensitivity", found)):
        row = table.loc[metric]
        assert row["value"] == pytest.approx(np.mean(values))
        assert [row.seed_min, row.seed_max] == pytest.approx([min(values), max(values)])
        assert row.low <= row["value"] <= row.high


def test_the_interval_of_several_seeds_is_that_of_their_mean(inputs, tables):
    """Seeds that err independently make a mean surer than each; equal ones do not."""
    alone = inputs["cases"].drop(columns=["baseline/1", "teacher/1"])
    every = tables["metrics"], trust.metrics({"cases": alone})
    both, one = (t.query("metric == 'auroc'").set_index("model") for t in every)
    width = (both.high - both.low) / (one.high - one.low)
    assert width["baseline"] < 0.93 and width["teacher"] == pytest.approx(1, rel=0.05)


def test_copies_within_groups_narrow_no_interval(inputs, tables):
    copied = {"cases": pd.concat([inputs["cases"]] * 2, ignore_index=True)}
    for name, once in tables.items():
        again = getattr(trust, name)(copied)
        pair = (table.filter(regex="value|diff|low|high") for table in (once, again))
        pd.testing.assert_frame_equal(*pair)


def test_without_unseen_databases_the_study_says_the_rest(inputs, tables, protocols, monkeypatch):
    alone = inputs | {"left_out": inputs["left_out"].iloc[:0]}
    table = trust.heart_or_stethoscope(alone).set_index(["model", "protocol", "database"])
    rest = protocols.drop("unseen database", level="protocol")
    pd.testing.assert_frame_equal(table.sort_index(), rest)
    for name in tables:  # they know nothing of it, and take long
        monkeypatch.setattr(trust, name, lambda _, name=name: tables[name])
    assert set(trust.results(alone).protocol) > {"test", "all pairs", "within one database"}
    assert "unseen database" not in set(trust.results(alone).protocol)


def test_a_planted_difference_is_found_and_its_absence_too(tables):
    table = tables["paired"].set_index(["a", "b", "seed", "metric"])
    for seed in ("0", "1"):
        for metric in ("auroc", "accuracy"):
            equal = table.loc[("teacher", "student", seed, metric)]
            planted = table.loc[("student", "baseline", seed, metric)]
            assert equal.low < 0 < equal.high and planted.low > 0
        assert planted.p < 1e-6 and equal.p > 0.05


def test_a_model_of_the_database_alone_is_at_chance_within_one(inputs, protocols):
    test = inputs["cases"].query("split == 'test'")
    for model, column in (("database only", "database only"), ("teacher", "teacher/0")):
        area = protocols.loc[(model, "all pairs", "")].auroc
        assert area == pytest.approx(roc_auc_score(test.label, test[column]), abs=0.01)
    assert protocols.loc[("database only", "within one database", "")].auroc == 0.5
    assert protocols.loc[("database only", "unseen database", "")].auroc == 0.5
    assert protocols.loc[("teacher", "within one database", "")].auroc > 0.85


def test_databases_whose_format_gives_labels_away_are_set_aside(inputs, protocols):
    assert trust.given_away(inputs) == ["b"]
    alone = protocols.loc[("teacher", "within one database", "a")].auroc
    for pairs in ("all pairs", "within one database"):
        assert protocols.loc[("teacher", pairs, "not b")].auroc == pytest.approx(alone)
    facts = separation(inputs["facts"]).set_index(["database", "fact"])
    assert facts.loc[("b", "levels")].auroc > 0.99
    assert facts.loc[("a", "levels")].low < 0.5 < facts.loc[("a", "levels")].high


def test_a_mean_over_unseen_databases_needs_all_of_them(protocols):
    unseen = protocols.xs("unseen database", level="protocol")
    assert unseen.loc["baseline"].index.tolist() == ["a"]
    of_each = unseen.loc["teacher"].auroc
    assert of_each[""] == pytest.approx(of_each[["a", "b"]].mean())


def test_planted_overconfidence_is_measured_and_fixed(inputs):
    curves, scores = trust.calibrated(inputs)
    table = scores.set_index(["model", "calibration"])
    heat = {m: table.loc[(m, "temperature")].temperature for m in ("teacher", "student")}
    assert heat["student"] / heat["teacher"] == pytest.approx(4, rel=0.05)
    for score in ("ece", "brier"):
        before, after = (table.loc[("student", c)][score] for c in ("as trained", "temperature"))
        assert after < before
        assert after == pytest.approx(table.loc[("teacher", "temperature")][score], abs=0.02)
    assert set(curves.calibration) == {"as trained", "temperature"}


def test_a_threshold_chosen_on_dev_fixes_decisions_but_not_at_logit_0(tables):
    table = tables["thresholds"].set_index(["model", "rule"])
    assert (table.xs("logit 0", level="rule").threshold == 0).all()
    low = table.loc["baseline"]
    assert low.loc["logit 0"].sensitivity < 0.2 < low.loc["Youden"].sensitivity
    wanted = table.xs("sensitivity 0.95", level="rule").loc[["teacher", "student"]]
    assert (abs(wanted.sensitivity - 0.95) < 0.06).all()


@pytest.mark.parametrize(("split", "chosen"), [("test", False), ("dev", True)])
def test_labels_of_dev_alone_choose(inputs, tables, split, chosen):
    table = inputs["cases"]
    flipped = table.label.where(table.split != split, 1 - table.label)
    before, after = tables["thresholds"], trust.thresholds({"cases": table.assign(label=flipped)})
    assert before.threshold.equals(after.threshold) != chosen
    assert not before.accuracy.equals(after.accuracy)


def test_rare_disease_makes_alarms_false(tables):
    for _, part in tables["prevalence"].groupby("model"):
        assert part.prevalence.tolist() == pytest.approx(list(trust.PREVALENCES))
        assert part.ppv.is_monotonic_increasing and part.npv.is_monotonic_decreasing


FEW = {name: trust.PERTURBATIONS[name] for name in ("white noise", "shortened")}


@pytest.fixture(scope="module")
def gathered(trained, one_thread) -> dict[str, pd.DataFrame]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trust, "PERTURBATIONS", FEW)
        patch.setattr(trust.shortcuts, "_TREES", 20)
        return trust.gather_study(trained)


def test_every_case_keeps_the_logits_that_the_run_saved(trained, gathered):
    for split in ("dev", "test"):
        part = gathered["cases"].query("split == @split")
        saved = load_predictions(trained.run(1), "teacher", split).logit
        assert part["teacher/1"].tolist() == pytest.approx(saved.tolist(), abs=1e-5)
    assert set(CONTROL_MODELS) <= set(gathered["cases"])


def test_unseen_databases_are_those_that_were_left_out(trained, gathered):
    table, recordings = gathered["left_out"], load_recordings(trained.run(0))
    here = table[table.database == "b"]
    assert len(here) == (recordings.database == "b").sum()
    assert here["teacher/0"].notna().all() and here["format only"].notna().all()
    others = table[table.database != "b"]
    assert others["teacher/0"].isna().all() and others["format only"].notna().all()


def test_no_recording_is_named_and_no_split_given_away(trained, gathered):
    records = load_recordings(trained.run(0)).record
    text = "".join(table.to_csv(index=False) for table in gathered.values())
    assert not [record for record in records if record in text]
    assert len(gathered["facts"]) == len(records)
    # A row that says in which split it is says nothing that only one recording has.
    logits = {c for c in gathered["cases"] if c.split("/")[0] in (*MODELS, *CONTROL_MODELS)}
    assert set(gathered["cases"]) - logits == {"split", "database", "group", "label"}
    assert not {"split", "record"} & {*gathered["facts"], *gathered["left_out"]}


def test_degraded_recordings_are_predicted_once(trained, gathered, monkeypatch):
    monkeypatch.setattr(trust, "PERTURBATIONS", FEW)
    monkeypatch.setattr(trust.robustness, "perturbed_scores", lambda *_: 1 / 0)
    run = trained.run(0)
    corpus = trust.load_corpus(run)
    assert trust._robustness(run, corpus).round(5).equals(gathered["robustness"])
    corrected = corpus.recordings.assign(label=1 - corpus.recordings.label)
    with pytest.raises(ZeroDivisionError):
        trust._robustness(run, replace(corpus, recordings=corrected))
    monkeypatch.setattr(trust, "PERTURBATIONS", {"shortened": FEW["shortened"]})
    with pytest.raises(ZeroDivisionError):
        trust._robustness(run, corpus)
