"""The demo's lessons: they hold in the committed means, and a run's answers can be read back."""

import pandas as pd
import pytest
from demo_lessons import assert_lessons

from hsutils.config import CHECKOUT

FOLDER = CHECKOUT / "figures/demo"


@pytest.fixture(scope="module")
def found() -> pd.DataFrame:
    return pd.read_csv(FOLDER / "results.csv")


def test_the_lessons_hold_in_the_mean_over_three_seeds(found):
    assert set(found.seed) == {"0", "1", "2", "mean"}
    assert_lessons(found[found.seed == "mean"])
    test = found[found.seed.eq("mean") & found.protocol.eq("all pairs") & found.metric.eq("auroc")]
    auroc = test.set_index("model").value
    assert auroc["teacher"] > auroc["student"] > auroc["baseline"]


@pytest.mark.parametrize("model", ["teacher", "student", "baseline", "robust"])
def test_a_mean_lies_between_the_lowest_and_the_highest_seed(found, model):
    part = found[found.model.eq(model) & found.metric.eq("auroc")]
    for _, rows in part.groupby(["protocol", "database"], dropna=False):
        seeds, (mean,) = rows[rows.seed != "mean"].value, rows[rows.seed == "mean"].itertuples()
        assert mean.value == pytest.approx(seeds.mean(), abs=1e-5)
        assert (mean.low, mean.high) == pytest.approx((seeds.min(), seeds.max()), abs=1e-5)
