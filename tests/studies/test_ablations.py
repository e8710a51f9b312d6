"""Ablations change what they say, and are compared seed by seed."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score
from statsmodels.stats.multitest import multipletests

from hsutils import plots
from hsutils.config import load_profile
from hsutils.studies import ablations
from hsutils.studies.ablations import VARIANTS


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


@pytest.fixture
def inputs(make_reproduction) -> dict[str, pd.DataFrame]:
    return make_reproduction()


def values(inputs, variant: str, seeds=(0, 1, 2)) -> np.ndarray:
    dev = inputs["predictions"].query("split == 'dev'")
    return np.array([roc_auc_score(dev.label, dev[f"{variant}/student/{s}"]) for s in seeds])


def test_differences_pair_seed_with_seed(inputs):
    found = ablations.results(inputs).query("seed == 'mean'").set_index(["variant", "metric"])
    tests = {}
    for name in ("few-labels", "hard-decisions"):
        change = values(inputs, name) - values(inputs, "paper")
        oracle = stats.ttest_1samp(change, 0)
        row, ends = found.loc[name, "auroc, difference"], oracle.confidence_interval(0.95)
        assert row["value"] == pytest.approx(change.mean(), abs=1e-5)
        assert [row.low, row.high] == pytest.approx([*ends], abs=1e-5)
        assert found.loc[name, "p"]["value"] == pytest.approx(oracle.pvalue, abs=1e-5)
        tests[name] = oracle.pvalue
    corrected = multipletests([*tests.values()], method="holm")[1]
    holm = [found.loc[name, "p (Holm)"]["value"] for name in tests]
    assert holm == pytest.approx([*corrected], abs=1e-5)


def test_the_last_epoch_is_compared_too(inputs):
    found = ablations.results(inputs).query("seed == 'mean'").set_index(["variant", "metric"])
    last = inputs["histories"].query("epoch == 3 and model == 'student'")
    last = last.set_index(["variant", "seed"]).dev_auroc
    change = (last["few-labels"] - last["paper"]).mean()
    assert found.loc["few-labels", "auroc, last epoch, difference"]["value"] == pytest.approx(
        change, abs=1e-5
    )


def test_one_seed_has_a_mean_and_no_interval(make_reproduction):
    found = ablations.results(make_reproduction(seeds=(0,)))
    assert found[["low", "high"]].isna().all(axis=None)
    assert not found.metric.isin(["p", "p (Holm)"]).any()
    assert (found.metric == "auroc, difference").sum() == 3


def test_the_figure_holds_options_beside_the_profile(inputs):
    table, seeds = ablations.for_figure(ablations.results(inputs))
    assert table.option.tolist() == ["paper", "few labels", "hard decisions", "ten times the rate"]
    assert set(table.model) == {"student"}, "models without a variant are left out"
    assert np.isnan(table.difference[0]) and table.difference[1:].notna().all()
    assert len(seeds.query("metric == 'auroc'")) == 10
    assert plots.ablations(table, seeds).axes


def test_learning_rates_are_the_students_histories(inputs):
    table = ablations.learning_rates(inputs)
    assert set(table.rate) == {1e-3, 1e-4}
    own = inputs["histories"].query("variant == 'paper' and model == 'student'").dev_auroc
    assert table[table.rate == 1e-4].dev_auroc.tolist() == own.tolist()
