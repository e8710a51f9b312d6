"""Tables of trust find what was planted in the kept answers, and nothing where nothing was."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import recall_score, roc_auc_score

from hsutils.data.duplicates import without_leaks
from hsutils.evaluation.quality import by_length, by_quality, length_score
from hsutils.evaluation.shortcuts import FACTS, RIVALS
from hsutils.pipeline import MODELS
from hsutils.studies.trust import Trust
from hsutils.studies.trust_tables import CLINICS, PREVALENCES, TABLES, columns_of, tables

N = 300


def cases(rng: np.random.Generator, split: str) -> pd.DataFrame:
    """Half abnormal; abnormal recordings are mostly of database a, normal ones of b."""
    label = np.arange(N) % 2
    database = np.where(rng.uniform(size=N) < np.where(label, 0.9, 0.1), "a", "b")
    heart = 2.0 * label - 1 + rng.normal(0, 1, N)
    about = {"split": split, "database": database, "group": np.arange(N), "label": label}
    letter = np.where(database == "a", 2.0, -2.0)
    logits = {
        # Two seeds that differ by little, and whose probabilities are honest.
        "teacher/0": 2 * heart + rng.normal(0, 0.1, N),
        "teacher/1": 2 * heart + rng.normal(0, 0.1, N),
        # As good as the teacher, but four times too sure.
        **{f"student/{s}": 8 * heart + rng.normal(0, 0.1, N) for s in (0, 1)},
        # Hears little, and calls hardly anything abnormal.
        **{f"baseline/{s}": heart + rng.normal(0, 2, N) - 4 for s in (0, 1)},
        "database letter": letter,
        "format only": letter + 0.1 * rng.normal(0, 1, N),
        "band statistics": heart + letter,
    }
    return pd.DataFrame(about | logits)


def facts(rng: np.random.Generator) -> pd.DataFrame:
    """In database b normal recordings are stored in few levels; in a nothing is planted."""
    label, database = np.arange(N) % 2, np.repeat(["a", "b"], N // 2)
    levels = rng.integers(500, 900, N) - 450 * ((label == 0) & (database == "b"))
    table = {"database": database, "group": np.arange(N), "label": label, "quality": 1}
    table |= {"seconds": rng.uniform(5, 60, N), "levels": levels}
    table |= {fact: rng.integers(0, 1000, N) for fact in FACTS if fact not in table}
    return pd.DataFrame(table)


def made_trust() -> Trust:
    """Kept answers of two seeds that nobody had to train."""
    rng = np.random.default_rng(0)
    kept = pd.concat([cases(rng, "dev"), cases(rng, "test")], ignore_index=True)
    left_out = cases(rng, "test").drop(columns="split").assign(quality=1, seconds=9.0)
    hears_only_format = ["format only", "database letter"]
    left_out[hears_only_format] = 0.0
    left_out.loc[left_out.database == "b", ["teacher/1", "student/1", "baseline/0"]] = np.nan
    left_out.loc[left_out.database == "b", "baseline/1"] = np.nan
    test = kept[kept.split == "test"].rename(columns=lambda name: name.removesuffix("/0"))
    test = test.assign(record=test.index, quality=test.label % 2, seconds=rng.uniform(5, 60, N))
    empty = pd.DataFrame({"model": []})
    return Trust(
        *(kept, left_out, facts(rng), empty, without_leaks(test, test.record[:6], MODELS)),
        *(by_quality(test, MODELS), by_length(test, MODELS), length_score(test, MODELS)),
        *(empty, empty),
    )


@pytest.fixture(scope="module")
def trust() -> Trust:
    return made_trust()


@pytest.fixture(scope="module")
def made(trust) -> dict[str, pd.DataFrame]:
    return tables(trust)


def test_models_come_in_order_with_their_seeds(trust):
    found = columns_of(trust.cases)
    assert list(found)[:3] == list(MODELS) and set(found) == {*MODELS, *RIVALS}
    assert found["teacher"] == ["teacher/0", "teacher/1"] and found["format only"] == [
        "format only"
    ]


@pytest.mark.parametrize("model", MODELS)
def test_values_are_means_over_seeds_by_scikit_learn(trust, made, model):
    test = trust.cases[trust.cases.split == "test"]
    columns = [test[f"{model}/{seed}"] for seed in (0, 1)]
    table = made["intervals"].query("model == @model").set_index("metric")
    areas = [roc_auc_score(test.label, logits) for logits in columns]
    found = [recall_score(test.label, logits > 0) for logits in columns]
    for metric, values in (("auroc", areas), ("sensitivity", found)):
        row = table.loc[metric]
        assert row["value"] == pytest.approx(np.mean(values), abs=1e-4)
        ends = [row.seed_min, row.seed_max, row.seed_sd]
        assert ends == pytest.approx([min(values), max(values), np.std(values, ddof=1)], abs=1e-4)
        assert row.low <= row["value"] <= row.high


def test_a_planted_difference_is_found_and_its_absence_too(made):
    table = made["paired"].set_index(["a", "b", "seed", "metric"])
    for seed in ("0", "1"):
        equal = table.loc[("teacher", "student", seed, "auroc")]
        assert equal.p > 0.05 and equal.low < 0 < equal.high
        for metric in ("auroc", "accuracy"):
            planted = table.loc[("student", "baseline", seed, metric)]
            assert planted.p < 1e-6 and planted.low > 0


def test_what_only_knows_the_letter_has_nothing_left_within_a_database(trust, made):
    table = made["heart_or_stethoscope"].set_index(["model", "protocol", "database"])
    for model in ("database letter", "teacher"):
        column = model if model in trust.cases else f"{model}/0"
        test = trust.cases.query("split == 'test'")
        overall = table.loc[(model, "all", "")].auroc
        assert overall == pytest.approx(roc_auc_score(test.label, test[column]), abs=0.01)
    assert table.loc[("database letter", "within", "")].auroc == 0.5
    assert table.loc[("database letter", "left out", "")].auroc == 0.5
    assert table.loc[("teacher", "within", "")].auroc > 0.85


def test_left_out_databases_are_weighted_alike_and_seeds_where_they_are(made):
    table = made["heart_or_stethoscope"].query("protocol == 'left out'")
    for model, part in table[table.model != "baseline"].groupby("model"):
        of_each, mean = part[part.database != ""], part[part.database == ""].iloc[0]
        assert mean.auroc == pytest.approx(of_each.auroc.mean(), abs=1e-4)
        assert mean.low < mean.auroc < mean.high or model in ("database letter", "format only")
    seeds = table[table.model == "teacher"].set_index("database").seeds
    assert seeds.to_dict() == {"a": 2, "b": 1, "": 1}


def test_a_mean_over_some_databases_does_not_stand_beside_one_over_all(made):
    table = made["heart_or_stethoscope"].query("protocol == 'left out' and model == 'baseline'")
    assert table.database.tolist() == ["a"]


def test_without_left_out_databases_the_other_protocols_stand(trust):
    alone = dataclasses.replace(trust, left_out=trust.left_out.iloc[:0])
    made = tables(alone, "heart_or_stethoscope")["heart_or_stethoscope"]
    assert set(made.protocol) == {"all", "within"}


def test_the_planted_fact_is_found_in_its_database_only(made):
    table = made["separation"].set_index(["database", "fact"])
    assert table.loc[("b", "levels")].auroc > 0.99
    assert table.loc[("a", "levels")].low < 0.5 < table.loc[("a", "levels")].high


def test_planted_overconfidence_is_measured_and_mended(made):
    table = made["calibration"].set_index(["model", "calibration"])
    heat = {m: table.loc[(m, "temperature")].temperature for m in ("teacher", "student")}
    assert heat["student"] / heat["teacher"] == pytest.approx(4, rel=0.05)
    for score in ("ece", "brier"):
        before, after = (table.loc[("student", c)][score] for c in ("as trained", "temperature"))
        assert after < before
        assert after == pytest.approx(table.loc[("teacher", "temperature")][score], abs=0.02)


def test_a_threshold_chosen_on_dev_mends_decisions_but_not_at_logit_0(made):
    table = made["thresholds"].set_index(["model", "rule"])
    assert (table.xs("logit 0", level="rule").threshold == 0).all()
    blind = table.loc["baseline"]
    assert blind.loc["logit 0"].sensitivity < 0.2 < blind.loc["Youden"].sensitivity
    wanted = table.xs("sensitivity 0.95", level="rule")
    assert (abs(wanted.loc[["teacher", "student"]].sensitivity - 0.95) < 0.06).all()


def test_rare_disease_makes_alarms_false(made):
    table = made["prevalence"]
    for _, part in table.groupby("model"):
        assert part.prevalence.tolist() == pytest.approx(list(PREVALENCES), abs=1e-4)
        assert part.ppv.is_monotonic_increasing and part.npv.is_monotonic_decreasing


def test_decision_curves_hold_every_clinic_and_both_strategies_without_a_model(made):
    table = made["decision"]
    assert set(table.prevalence) == set(CLINICS)
    assert set(table.model) == {*MODELS, "all", "none"}
    assert (table[table.model == "none"].net_benefit == 0).all()
    counts = table.groupby(["prevalence", "model"]).threshold.nunique()
    assert (
        counts.nunique() == 1 and not table.duplicated(["prevalence", "model", "threshold"]).any()
    )


def test_prevalence_of_dev_is_undone_not_that_of_test(trust):
    rows = trust.cases
    rare = rows[(rows.split == "dev") | (rows.label == 0) | (rows.group % 10 == 1)]
    half = dataclasses.replace(trust, cases=rows), dataclasses.replace(trust, cases=rare)
    at = [
        tables(t, "decision")["decision"].query("model == 'teacher' and prevalence == 0.205")
        for t in half
    ]
    assert (at[0].net_benefit.to_numpy() - at[1].net_benefit.to_numpy()).max() < 0.05


def test_single_tables_can_be_asked_for(trust, made):
    assert list(made) == list(TABLES)
    pd.testing.assert_frame_equal(tables(trust, "paired")["paired"], made["paired"])


def changed(trust: Trust, **columns) -> Trust:
    return dataclasses.replace(trust, cases=trust.cases.assign(**columns))


def test_labels_of_the_test_split_choose_nothing(trust):
    """Thresholds, temperatures and shifts come from dev alone."""
    test = trust.cases.split == "test"
    flipped = changed(trust, label=trust.cases.label.where(~test, 1 - trust.cases.label))
    asked = ("thresholds", "calibration")
    before, after = tables(trust, *asked), tables(flipped, *asked)
    assert before["thresholds"].threshold.equals(after["thresholds"].threshold)
    assert before["calibration"].temperature.equals(after["calibration"].temperature)
    shifted = before["calibration"].calibration == "temperature and shift"
    assert shifted.any()
    assert not before["thresholds"].accuracy.equals(after["thresholds"].accuracy)


def test_labels_of_dev_choose_thresholds_and_temperatures(trust):
    dev = trust.cases.split == "dev"
    moved = changed(trust, **{"student/0": trust.cases["student/0"].where(~dev, 3.0)})
    asked = ("thresholds", "calibration")
    before, after = tables(trust, *asked), tables(moved, *asked)
    assert not before["thresholds"].threshold.equals(after["thresholds"].threshold)


def test_copies_within_groups_narrow_no_interval(trust):
    """Four copies of each recording in one group tell no more than one."""
    copies = pd.concat([trust.cases] * 4, ignore_index=True)
    few, many = trust, dataclasses.replace(trust, cases=copies)
    for name in ("intervals", "paired"):
        alone, copied = (tables(t, name)[name] for t in (few, many))
        width = (copied.high - copied.low) / (alone.high - alone.low)
        assert width[alone.high > alone.low].min() > 0.8, name
    alone, copied = (tables(t, "heart_or_stethoscope")["heart_or_stethoscope"] for t in (few, many))
    ends = (t[t.protocol != "left out"].set_index(["model", "protocol", "database"])
            for t in (alone, copied))  # fmt: skip
    alone, copied = ends
    assert ((copied.high - copied.low) / (alone.high - alone.low)).dropna().min() > 0.8


def test_the_interval_of_several_seeds_is_that_of_their_mean(trust, made):
    """Seeds that err independently make a mean surer than each; equal ones do not."""
    table = made["intervals"].query("metric == 'auroc'").set_index("model")
    single = {}
    for model in ("baseline", "teacher"):
        alone = dataclasses.replace(
            trust, cases=trust.cases.drop(columns=[f"{model}/1"], errors="ignore")
        )
        found = tables(alone, "intervals")["intervals"].query("metric == 'auroc'")
        single[model] = found.set_index("model").loc[model]
    width = {m: table.high[m] - table.low[m] for m in single}
    alone = {m: single[m].high - single[m].low for m in single}
    assert width["baseline"] < 0.93 * alone["baseline"]
    assert width["teacher"] == pytest.approx(alone["teacher"], rel=0.05)
