"""Tables and figures over seeds say what the evidence says, and nothing else."""

import dataclasses
import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import recall_score, roc_auc_score, roc_curve
from statsmodels.stats.multitest import multipletests

from hsutils.studies import ablations, reproduction
from hsutils.studies.evidence import Evidence
from hsutils.studies.variants import VARIANTS

MODELS = ("teacher", "student", "baseline")
SEEDS = (0, 1, 2)
COLUMNS = [("paper", model) for model in MODELS]
COLUMNS += [("paper-hard-decisions", "student"), ("paper-no-pretraining", "teacher")]
COLUMNS += [("paper-ten-times-the-rate", "student")]


def made_up(source: str = "challenge", seeds=SEEDS) -> Evidence:
    """Evidence of three seeds and three variants that nobody had to train."""
    rng = np.random.default_rng(0)
    splits = []
    for split in ("dev", "test"):
        label = np.arange(40) % 2
        about = {"database": list("abcdefab") * 5, "group": range(40)}
        table = {"split": split} | about | {"label": label}
        for profile, model in COLUMNS:
            for seed in seeds:
                logit = label - 0.5 + rng.normal(0, 1, 40)
                hidden = split == "test" and profile != "paper"
                table[f"{profile}/{model}/{seed}"] = np.nan if hidden else logit.round(5)
        splits.append(pd.DataFrame(table))
    keys = [(p, m, s, e) for p, m in COLUMNS for s in seeds for e in (1, 2, 3)]
    histories = pd.DataFrame(keys, columns=["profile", "model", "seed", "epoch"])
    histories = histories.assign(loss=0.5, dev_auroc=rng.uniform(0.6, 0.9, len(keys)), seconds=10.0)
    trainings = histories.drop_duplicates(["profile", "model", "seed"])
    rates = np.where(trainings.profile == "paper-ten-times-the-rate", 1e-3, 1e-4)
    trainings = trainings.assign(is_the_papers=source == "challenge", learning_rate=rates)
    trainings = trainings.assign(epochs=3, best_epoch=2)
    return Evidence(pd.concat(splits, ignore_index=True), histories, trainings)


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    return made_up()


@pytest.fixture(scope="module")
def tables(evidence) -> dict[str, pd.DataFrame]:
    return reproduction.tables(evidence)


def aurocs(evidence: Evidence, profile: str, model: str, split: str = "dev") -> np.ndarray:
    """By scikit-learn, in the order of the seeds."""
    rows = evidence.predictions[evidence.predictions.split == split]
    return np.array([roc_auc_score(rows.label, rows[f"{profile}/{model}/{s}"]) for s in SEEDS])


@pytest.mark.parametrize("split", ["dev", "test"])
@pytest.mark.parametrize("model", MODELS)
def test_results_agree_with_scikit_learn(evidence, tables, model, split):
    results = tables["results"].query("profile == 'paper' and model == @model and split == @split")
    assert results.seed.tolist() == list(SEEDS)
    assert results.auroc.tolist() == pytest.approx(
        aurocs(evidence, "paper", model, split), abs=1e-4
    )
    rows = evidence.predictions[evidence.predictions.split == split]
    found = [recall_score(rows.label, rows[f"paper/{model}/{s}"] > 0) for s in SEEDS]
    assert results.sensitivity.tolist() == pytest.approx(found, abs=1e-4)


def test_results_begin_with_profile_model_seed_split(tables):
    first = ["profile", "model", "seed", "split"]
    assert tables["results"].columns[:4].tolist() == first
    assert {"auroc", "accuracy"} <= set(tables["results"].columns)
    assert not tables["results"].duplicated(first).any()


def test_spread_over_seeds_is_that_of_the_seeds(evidence, tables):
    seeds = tables["seeds"].set_index(["model", "split", "metric"])
    for model in MODELS:
        values, row = aurocs(evidence, "paper", model, "test"), seeds.loc[(model, "test", "auroc")]
        assert row.seeds == 3
        assert row[["mean", "sd", "min", "max"]].tolist() == pytest.approx(
            [values.mean(), values.std(ddof=1), values.min(), values.max()], abs=2e-4
        )


def test_the_papers_numbers_stand_beside_ours(tables):
    seeds = tables["seeds"].set_index(["model", "split", "metric"]).paper
    assert seeds["teacher", "dev", "auroc"] == 0.926
    assert seeds["student", "test", "auroc"] == 0.915
    assert seeds["student", "test", "accuracy"] == 0.855
    assert seeds["baseline", "test", "sensitivity"] == 0.27
    assert np.isnan(seeds["baseline", "dev", "accuracy"])


def test_artificial_recordings_are_not_held_against_the_paper():
    evidence = made_up("synthetic")
    tables = reproduction.tables(evidence)
    assert not [c for t in tables.values() for c in t if c.startswith("paper")]
    assert "0.926" not in reproduction.markdown(evidence)


@pytest.mark.parametrize("name", ["table_1", "table_2", "table_3"])
def test_the_mean_of_a_table_is_the_mean_of_its_seeds(tables, name):
    table = tables[name]
    keys = [key for key in ("model", "actual", "class") if key in table]
    by_hand = table[table.seed != "mean"].drop(columns="seed").groupby(keys, sort=False).mean()
    mean = table[table.seed == "mean"].drop(columns="seed").set_index(keys)
    ends = [column for column in mean if column.endswith(("_low", "_high"))]
    assert mean[ends].isna().all(axis=None)
    pd.testing.assert_frame_equal(
        mean.drop(columns=ends), by_hand.drop(columns=ends), check_dtype=False, atol=1e-4
    )


def test_confusion_matrices_hold_every_test_recording(tables):
    counts = tables["table_2"][["predicted_normal", "predicted_abnormal"]].sum(axis=1)
    assert counts.tolist() == pytest.approx([20] * len(counts))


def test_ablations_pair_seed_with_seed(evidence, tables):
    table = tables["ablations"].set_index("option")
    variant = VARIANTS["hard-decisions"]
    change = aurocs(evidence, "paper-hard-decisions", "student")
    change = change - aurocs(evidence, "paper", "student")
    row = table.loc[variant.option]
    low, high = stats.ttest_1samp(change, 0).confidence_interval(0.95)
    assert [row.difference, row.difference_low, row.difference_high] == pytest.approx(
        [change.mean(), low, high], abs=2e-4
    )
    recipe = table.loc[variant.recipe]
    last = evidence.histories.query("epoch == 3 and profile == 'paper-hard-decisions'").dev_auroc
    assert row.last_epoch == pytest.approx(last.mean(), abs=1e-4)
    own = evidence.histories.query("epoch == 3 and profile == 'paper' and model == 'student'")
    at_end = last.to_numpy() - own.dev_auroc.to_numpy()
    low, high = stats.ttest_1samp(at_end, 0).confidence_interval(0.95)
    assert [row.last_difference, row.last_low, row.last_high] == pytest.approx(
        [at_end.mean(), low, high], abs=2e-4
    )
    assert row.p == pytest.approx(stats.ttest_1samp(change, 0).pvalue, abs=1e-4)
    assert recipe["mean"] == pytest.approx(aurocs(evidence, "paper", "student").mean(), abs=1e-4)
    assert np.isnan(recipe.difference) and recipe.question == row.question == variant.question


def test_questions_nobody_trained_for_are_left_out(tables):
    asked = {
        VARIANTS[n].question for n in ("hard-decisions", "no-pretraining", "ten-times-the-rate")
    }
    assert set(tables["ablations"].question) == asked


def test_p_values_are_corrected_for_the_number_of_questions():
    p = pd.Series([0.04, np.nan, 0.01, 0.3, 0.011])
    corrected = ablations.holm(p)
    oracle = multipletests(p.dropna(), method="holm")[1]
    assert corrected.dropna().tolist() == pytest.approx(oracle.tolist())
    assert np.isnan(corrected[1])


def test_operating_points_move_the_threshold_on_dev_and_judge_it_on_test(evidence, tables):
    table = tables["operating_points"].set_index(["model", "seed"])
    dev, test = (evidence.predictions.query(f"split == '{split}'") for split in ("dev", "test"))
    for (model, seed), row in table.iterrows():
        column = f"paper/{model}/{seed}"
        called = roc_curve(dev.label, dev[column], drop_intermediate=False)
        specific = called[0] <= 1 - row.paper_specificity + 1e-9
        on_dev = (dev[column] > row.threshold)[dev.label == 1].mean()
        assert on_dev == pytest.approx(called[1][specific].max())
        verdict = test[column] > row.threshold
        assert row.sensitivity == pytest.approx(verdict[test.label == 1].mean(), abs=1e-4)
        assert row.specificity == pytest.approx(1 - verdict[test.label == 0].mean(), abs=1e-4)


def test_test_labels_choose_no_threshold(evidence):
    flipped = evidence.predictions.copy()
    test = flipped.split == "test"
    flipped.loc[test, "label"] = 1 - flipped.loc[test, "label"]
    changed = Evidence(flipped, evidence.histories, evidence.trainings)
    before, after = (reproduction.operating_points(e) for e in (evidence, changed))
    assert before.threshold.equals(after.threshold)
    assert not before.sensitivity.equals(after.sensitivity)


def test_the_papers_operating_points_stand_beside(tables):
    table = tables["operating_points"].set_index(["model", "seed"])
    assert table.loc["student"].paper_sensitivity.tolist() == [0.96] * 3
    assert "operating_points" not in reproduction.tables(made_up("synthetic"))


def test_one_seed_has_a_mean_and_no_interval():
    table = reproduction.tables(made_up(seeds=(0,)))
    assert table["ablations"][["low", "high", "difference_low"]].isna().all(axis=None)
    assert table["seeds"].sd.isna().all() and table["seeds"]["mean"].notna().any()


def test_learning_rates_are_the_students_histories(evidence):
    table = ablations.learning_rates(evidence)
    assert set(table.rate) == {1e-3, 1e-4}
    own = evidence.histories.query("profile == 'paper' and model == 'student'").dev_auroc
    assert table[table.rate == 1e-4].dev_auroc.tolist() == own.tolist()


def test_how_soon_and_how_steadily_a_rate_learns():
    histories = {1e-3: [0.8, 0.9, 0.7, 0.9, 0.8], 1e-4: [0.6, 0.7, 0.8, 0.85, 0.9]}
    rows = [(r, 0, e, s) for r, scores in histories.items() for e, s in enumerate(scores, 1)]
    rates = pd.DataFrame(rows, columns=["rate", "seed", "epoch", "dev_auroc"])
    table = ablations.by_rate(rates).set_index("rate")
    fast, slow = table.loc[1e-3], table.loc[1e-4]
    assert [fast.best, fast.best_epoch, fast["last"], fast.near_best] == [0.9, 2, 0.8, 2]
    assert fast.swing == pytest.approx(0.5 / 3) and fast.step == pytest.approx(0.15)
    assert [slow.best_epoch, slow.near_best] == [5, 5] and np.isnan(slow.swing)


def test_a_training_would_have_stopped_at_the_third_fall(evidence):
    scores = {
        "teacher": [0.7, 0.8, 0.79, 0.78, 0.77, 0.9],
        "student": [0.7, 0.8, 0.79, 0.78, 0.78, 0.9],
        "baseline": [0.5, 0.4, 0.3, 0.2],
    }
    rows = [("paper", m, 0, e, s) for m, known in scores.items() for e, s in enumerate(known, 1)]
    rows += [("paper-hard-decisions", "student", 0, 1, 0.99), ("paper", "encoder", 0, 1, np.nan)]
    histories = pd.DataFrame(rows, columns=["profile", "model", "seed", "epoch", "dev_auroc"])
    kept = dataclasses.replace(evidence, histories=histories.sample(frac=1, random_state=0))
    table = ablations.early_stopping(kept).set_index("model")
    assert table.stopped_after.dropna().to_dict() == {"teacher": 5, "baseline": 4}
    assert table.best_if_stopped.to_dict() == {"teacher": 0.8, "student": 0.9, "baseline": 0.5}
    told = ablations.stopped_early(table.reset_index().sort_values("model"))
    assert "teacher, 1 of 1 seeds end after 5 of 6 epochs and lose at most 0.100" in told
    assert "student, none ends" in told and "baseline, 1 of 1 seeds end after 4" in told


def test_the_markdown_table_holds_mean_range_and_paper(evidence):
    values = aurocs(evidence, "paper", "student", "test")
    line = next(x for x in reproduction.markdown(evidence).splitlines() if "| student" in x)
    shown = re.search(r"\*\*([\d.]+)\*\* \(([\d.]+)–([\d.]+)\) \| 0\.915 ", line)
    wanted = [values.mean(), values.min(), values.max()]
    assert [float(value) for value in shown.groups()] == pytest.approx(wanted, abs=0.00051)


def test_the_ablations_as_markdown_hold_what_the_table_holds(tables):
    text = ablations.markdown(tables["ablations"])
    header, rule, *lines = text.splitlines()
    assert {header.count("|"), rule.count("|"), *(line.count("|") for line in lines)} == {8}
    for line, (_, row) in zip(lines, tables["ablations"].iterrows(), strict=True):
        assert row.option in line and f"{row['mean']:.3f}" in line
        if np.isfinite(row.difference):
            for difference in (row.difference, row.last_difference):
                assert f"{difference:+.3f}".replace("-", "−") in line


def test_the_same_evidence_draws_the_same_files(evidence, tmp_path):
    first = reproduction.draw(evidence, tmp_path / "first")
    second = reproduction.draw(evidence, tmp_path / "second")
    assert [path.name for path in first] == [path.name for path in second]
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(first, second, strict=True))


def test_other_numbers_draw_other_files(evidence, tmp_path):
    predictions = evidence.predictions.copy()
    predictions["paper/student/1"] = -predictions["paper/student/1"]
    changed = Evidence(predictions, evidence.histories, evidence.trainings)
    first = reproduction.draw(evidence, tmp_path / "first")
    second = reproduction.draw(changed, tmp_path / "second")
    same = {a.stem for a, b in zip(first, second, strict=True) if a.read_bytes() == b.read_bytes()}
    assert not same & {"results", "seeds", "table_1", "table_2", "table_3", "roc", "confusion"}
