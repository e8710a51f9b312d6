"""The reproduction's numbers are those of independent libraries, beside the paper's."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import confusion_matrix, precision_score, roc_auc_score, roc_curve

from hsutils.studies import reproduction

KEYS = ["variant", "model", "seed", "protocol", "metric"]
MOVED = " at the paper's specificity"


@pytest.fixture(scope="module")
def inputs(make_reproduction) -> dict[str, pd.DataFrame]:
    return make_reproduction()


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


def test_other_recordings_are_not_held_against_the_paper(make_reproduction):
    found = reproduction.results(make_reproduction(papers=False))
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


@pytest.mark.parametrize("seeds", [(0,), (0, 1, 2)])
def test_every_picture_is_drawn(make_reproduction, seeds):
    inputs = make_reproduction(seeds)
    pages = reproduction.figures(inputs, reproduction.results(inputs))
    assert set(pages) == {
        *("roc", "confusion", "dev-auroc", "paper-figure-5", "learning-rates", "ablations")
    }
