"""The reproduction's numbers are those of independent libraries; ablations are paired by seed."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import confusion_matrix, precision_score, roc_auc_score, roc_curve
from statsmodels.stats.multitest import multipletests

from hsutils.config import CHECKOUT, load_profile
from hsutils.studies import reproduction
from hsutils.studies.reproduction import VARIANTS, ablations
from hsutils.studies.seeds import read_tables

KEYS = ["variant", "model", "seed", "protocol", "metric"]
MOVED = " at the paper's specificity"


@pytest.fixture(scope="module")
def inputs() -> dict[str, pd.DataFrame]:
    """The committed inputs: seeds 0, 1 and 2, every variant."""
    return read_tables(CHECKOUT / "figures/reproduction", reproduction.INPUTS)


def first_seed(inputs) -> dict[str, pd.DataFrame]:
    others = [c for c in inputs["predictions"] if c.endswith(("/1", "/2"))]
    tables = {name: inputs[name].query("seed == 0") for name in ("histories", "trainings")}
    return tables | {"predictions": inputs["predictions"].drop(columns=others)}


@pytest.fixture(scope="module")
def found(inputs) -> pd.Series:
    table = reproduction.results(inputs).query("study == 'reproduction'")
    assert not table.duplicated(KEYS).any()
    return table.set_index(KEYS)[["value", "low", "high"]].sort_index()


@pytest.mark.parametrize("split", ["dev", "test"])
def test_values_are_those_of_scikit_learn(inputs, found, split):
    table = inputs["predictions"].query("split == @split")
    for seed in (0, 1, 2):
        logits = table[f"paper/student/{seed}"]
        row = found.loc["paper", "student", seed, split]["value"]
        assert row["auroc"] == pytest.approx(roc_auc_score(table.label, logits), abs=1e-5)
        assert row["ppv"] == pytest.approx(precision_score(table.label, logits > 0), abs=1e-5)
        counts = confusion_matrix(table.label, logits > 0).ravel()
        assert row[["tn", "fp", "fn", "tp"]].tolist() == counts.tolist()


def test_the_mean_has_the_lowest_and_the_highest_seed(found):
    for metric in ("auroc", "accuracy"):
        seeds = [found.loc["paper", "teacher", s, "test", metric]["value"] for s in (0, 1, 2)]
        row = found.loc["paper", "teacher", "mean", "test", metric]
        assert row.tolist() == pytest.approx([np.mean(seeds), min(seeds), max(seeds)], abs=1e-5)


def test_the_papers_numbers_stand_beside(found):
    paper = found.loc["published"]["value"].droplevel("seed")
    assert paper["teacher", "dev", "auroc"] == 0.926
    assert paper["student", "test", "auroc"] == 0.915
    assert paper["student", "test", "accuracy"] == 0.855
    assert paper["baseline", "test", "sensitivity"] == 0.27
    assert paper["baseline", "test", "tn"] == 198
    assert ("baseline", "dev", "accuracy") not in paper


def test_other_recordings_are_not_held_against_the_paper(inputs):
    trainings = inputs["trainings"].assign(is_the_papers=False)
    found = reproduction.results(first_seed(inputs | {"trainings": trainings}))
    assert "published" not in set(found.variant)
    assert not found.metric.str.contains("paper").any()


def test_the_threshold_is_moved_on_dev_and_judged_on_test(inputs, found):
    dev, test = (inputs["predictions"].query(f"split == '{s}'") for s in ("dev", "test"))
    for seed in (0, 1, 2):
        column, row = f"paper/student/{seed}", found.loc["paper", "student", seed, "test"]["value"]
        curve = roc_curve(dev.label, dev[column], drop_intermediate=False)
        threshold = row["threshold" + MOVED]
        on_dev = (dev[column] > threshold)[dev.label == 1].mean()
        assert on_dev == pytest.approx(curve[1][curve[0] <= 0.25 + 1e-9].max())
        called = test[column] > threshold
        assert row["sensitivity" + MOVED] == pytest.approx(called[test.label == 1].mean())
        assert row["specificity" + MOVED] == pytest.approx(1 - called[test.label == 0].mean())


@pytest.mark.parametrize("seeds_of", [first_seed, dict])
def test_every_picture_is_offered(inputs, seeds_of):
    inputs = seeds_of(inputs)
    pages = reproduction.figures(inputs, ablations(inputs))
    assert set(pages) == {
        *("roc", "confusion", "dev-auroc", "paper-figure-5", "learning-rates", "ablations")
    }


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("few-labels", {"distillation.targets", "student.epochs"}),
        ("hard-decisions", {"distillation.targets"}),
        ("ten-times-the-rate", {"student.learning_rate"}),
        ("a-tenth-of-the-rate", {"student.learning_rate"}),
        ("early-teacher", {"finetune.epochs"}),
        ("early-stopping", {"student.epochs", "student.patience"}),
        ("no-pretraining", {"pretrain.epochs"}),
        ("both-views", {"augment.both_views"}),
        ("focal-teacher", {"finetune.focal_gamma"}),
        ("focal-student", {"student.focal_gamma"}),
        ("focal-baseline", {"baseline.focal_gamma"}),
    ],
)
def test_a_variant_changes_what_it_says_and_nothing_else(differing, name, fields):
    profile = load_profile("paper")
    assert differing(profile, load_profile("paper", VARIANTS[name][1](profile))) == fields


def test_rates_and_steps_follow_the_profile():
    for base in ("paper", "demo"):
        profile = load_profile(base)
        rates = [
            load_profile(base, VARIANTS[name][1](profile)).student.learning_rate
            for name in ("ten-times-the-rate", "a-tenth-of-the-rate")
        ]
        own = profile.student.learning_rate
        assert rates == pytest.approx([10 * own, own / 10])
        few = load_profile(base, VARIANTS["few-labels"][1](profile)).student
        assert few.epochs * 400 == pytest.approx(profile.student.epochs * 2040, rel=0.02)


def test_differences_pair_seed_with_seed_and_the_last_epoch_is_compared_too(inputs):
    found = ablations(inputs).query("seed == 'mean'").set_index(["variant", "metric"]).sort_index()
    dev, p = inputs["predictions"].query("split == 'dev'"), {}
    changed = inputs["trainings"].query("variant != 'paper' and model != 'encoder'")
    for (name, model), part in changed.groupby(["variant", "model"]):
        if len(part) == 1:
            continue
        own, other = (
            [roc_auc_score(dev.label, dev[f"{variant}/{model}/{seed}"]) for seed in part.seed]
            for variant in ("paper", name)
        )
        change = np.subtract(other, own)
        oracle = stats.ttest_1samp(change, 0)
        ends = oracle.confidence_interval(0.95)
        row = found.loc[name, "auroc, difference"][["value", "low", "high"]].tolist()
        assert row == pytest.approx([change.mean(), *ends], abs=1e-5)
        assert found.loc[name, "p"]["value"] == pytest.approx(oracle.pvalue, abs=1e-5)
        p[name] = oracle.pvalue
    holm = [found.loc[name, "p (Holm)"]["value"] for name in p]
    assert holm == pytest.approx([*multipletests([*p.values()], method="holm")[1]], abs=1e-5)
    students = inputs["histories"].query("model == 'student'").sort_values("epoch")
    last = students.groupby(["variant", "seed"]).dev_auroc.last()
    change = found.loc["few-labels", "auroc, last epoch, difference"]["value"]
    assert change == pytest.approx((last["few-labels"] - last["paper"]).mean(), abs=1e-5)


def test_one_seed_has_a_mean_and_no_interval(inputs):
    found = ablations(first_seed(inputs))
    assert found[["low", "high"]].isna().all(axis=None)
    assert not found.metric.isin(["p", "p (Holm)"]).any()
    compared = found.variant[found.metric == "auroc, difference"]
    assert sorted(compared) == sorted({*inputs["trainings"].variant} - {"paper"})


def test_the_profile_is_drawn_first_and_models_without_a_variant_are_not(inputs):
    table = reproduction.drawn_ablations(ablations(inputs))
    assert [*dict.fromkeys(table.variant)][:3] == ["unchanged", "few labels", "hard decisions"]
    assert set(table.model) == {"teacher", "student"}


def test_learning_rates_are_the_students_histories(inputs):
    table = reproduction.learning_rates(inputs)
    assert set(table) == {f"student, rate {rate}" for rate in ("0.001", "0.0001", "1e-05")}
    own = inputs["histories"].query("variant == 'paper' and model == 'student'").dev_auroc
    assert table["student, rate 0.0001"].dev_auroc.tolist() == own.tolist()
