"""Pooled, between and overall AUROC: against pairs counted one by one, and on planted truth."""

import itertools

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from hsutils.errors import InputError
from hsutils.evaluation.intervals import cluster_bootstrap, group_codes, multiplicities
from hsutils.evaluation.domains import POOLS, auroc_within, within_database

SHARES = {"a": 0.7, "b": 0.2, "e": 0.08}


def cases(seed: int = 0, n: int = 120, **models) -> pd.DataFrame:
    """Recordings of three databases that differ in their share of abnormal ones, two a group."""
    rng = np.random.default_rng(seed)
    database = rng.permutation(np.resize([*"abe"], n))
    label = (rng.random(n) < pd.Series(SHARES)[database].to_numpy()).astype(int)
    record = [f"{letter}{i:04d}" for i, letter in enumerate(database)]
    table = pd.DataFrame({"record": record, "database": database, "label": label})
    table["group"] = table.database + (table.groupby("database").cumcount() // 2).astype(str)
    return table.assign(model=(label + rng.normal(size=n)).round(1), **models)


def of_model(table: pd.DataFrame, model: str = "model", **kwargs) -> pd.DataFrame:
    return within_database(table, [model], **kwargs).set_index("database")


def pairs_one_by_one(table: pd.DataFrame) -> dict[str, float]:
    wins = {pool: [] for pool in POOLS}
    rows = list(zip(table.database, table.label, table.model, strict=True))
    for (d, y, score), (other_d, other_y, other_score) in itertools.product(rows, rows):
        if y == 1 and other_y == 0:
            win = 1.0 if score > other_score else 0.5 if score == other_score else 0.0
            for pool in ("all", "pooled" if d == other_d else "between"):
                wins[pool].append(win)
    return {pool: np.mean(won) for pool, won in wins.items()}


@pytest.mark.parametrize("seed", range(3))
def test_pools_are_what_counting_pairs_one_by_one_gives(seed):
    table = cases(seed)
    found = of_model(table, n_resamples=10).auroc
    assert found[[*POOLS]].to_dict() == pytest.approx(pairs_one_by_one(table), rel=1e-12)
    assert auroc_within(table.label, table.model, table.database) == found["pooled"]


def test_within_needs_a_pair_of_one_database_and_usable_logits():
    assert np.isnan(auroc_within([0, 1], [0.1, 0.2], ["a", "b"]))
    with pytest.raises(InputError):
        auroc_within([0, 1], [0.1, np.nan], ["a", "a"])


def test_databases_agree_with_scikit_learn():
    table = cases()
    found = of_model(table, n_resamples=10)
    for database, part in table.groupby("database"):
        row = found.loc[database]
        assert row.auroc == pytest.approx(roc_auc_score(part.label, part.model))
        assert (row.recordings, row.abnormal) == (len(part), part.label.sum())
        assert row.pairs == (part.label == 1).sum() * (part.label == 0).sum()


def test_overall_is_the_mean_of_within_and_between_weighted_by_their_pairs():
    found = of_model(cases(), n_resamples=10)
    parts = found.loc[["pooled", "between"]]
    assert parts.pairs.sum() == found.pairs["all"]
    assert found.pairs["pooled"] == found.pairs[[*"abe"]].sum()
    assert np.average(parts.auroc, weights=parts.pairs) == pytest.approx(found.auroc["all"])


def test_the_base_rate_of_a_database_ranks_between_databases_only():
    table = cases()
    rate = table.groupby("database").label.transform("mean")
    found = of_model(table.assign(rate=rate), "rate", n_resamples=50)
    assert (found.loc[["a", "b", "e", "pooled"], ["auroc", "low", "high"]] == 0.5).all(axis=None)
    assert found.auroc["between"] > found.auroc["all"] > 0.75


def test_a_model_that_ranks_within_databases_only_is_perfect_there():
    table = cases()
    # Each database shifted against its share: what it gains inside it loses between them.
    offset = table.database.map({"a": 0.0, "b": 10.0, "e": 20.0})
    found = of_model(table.assign(shifted=table.label + offset), "shifted", n_resamples=50)
    assert (found.loc["pooled", ["auroc", "low", "high"]] == 1).all()
    assert found.auroc["between"] < 0.3


def test_intervals_of_all_and_of_each_database_are_those_of_the_cluster_bootstrap():
    table = cases()
    found = of_model(table, n_resamples=200, seed=3)
    parts = {"all": table} | dict(iter(table.groupby("database")))
    for name, part in parts.items():
        row = cluster_bootstrap(part.label, part.model, part.group, n_resamples=200, seed=3).loc[0]
        assert found.loc[name, ["auroc", "low", "high"]].tolist() == [row.value, row.low, row.high]


def test_pooled_interval_is_that_of_repeating_whole_groups():
    table = cases(1, n=60)
    groups = group_codes(table.group, len(table))
    (times,) = multiplicities(table.label.to_numpy(), groups, 39, 0)
    drawn = [pairs_one_by_one(table.loc[table.index.repeat(w.astype(int))]) for w in times]
    found = of_model(table, n_resamples=39)
    for pool in ("pooled", "between"):
        values = [values[pool] for values in drawn]
        # The interval is expanded for few groups, and 39 resamples have nothing farther out.
        assert found.loc[pool, ["low", "high"]].tolist() == pytest.approx(
            [min(values), max(values)], rel=1e-12
        )


def test_copies_in_the_same_group_do_not_narrow_the_interval():
    table = cases()
    once, thrice = (of_model(t, n_resamples=200) for t in (table, pd.concat([table] * 3)))
    intervals = ["auroc", "low", "high"]
    pd.testing.assert_frame_equal(once[intervals], thrice[intervals])


def test_where_there_is_no_pair_there_is_no_auroc():
    table = cases()
    table.loc[table.database == "e", "label"] = 0
    found = of_model(table, n_resamples=50)
    assert found.loc["e", ["auroc", "low", "high"]].isna().all()
    assert found.recordings["pooled"] == (table.database != "e").sum()
    assert found.loc[["a", "b", *POOLS], ["auroc", "low", "high"]].notna().all(axis=None)


def test_one_database_has_nothing_between():
    found = of_model(cases().query("database == 'a'"), n_resamples=50)
    assert found.loc["between", ["auroc", "low", "high"]].isna().all()
    assert found.pairs["between"] == 0
    columns = ["recordings", "abnormal", "pairs", "auroc", "low", "high"]
    assert found.loc["pooled", columns].equals(found.loc["all", columns])


def test_a_class_of_one_group_has_an_auroc_without_interval():
    table = cases().query("database == 'b'")
    table["group"] = table.group.where(table.label == 0, "b-all")
    found = of_model(table, n_resamples=50)
    assert found.auroc.loc[["b", "pooled", "all"]].notna().all()
    assert found[["low", "high"]].isna().all(axis=None)


def test_every_model_has_all_rows_in_the_order_asked():
    table = cases(other=1.0)
    found = within_database(table, ["other", "model"], n_resamples=10)
    assert found.model.tolist() == ["other"] * 6 + ["model"] * 6
    assert found.database.tolist() == [*"abe", *POOLS] * 2


def test_a_group_stands_in_for_groups_of_the_same_classes_only():
    classes, codes = np.array([0, 0, 1, 1, 2, 2, 2]), np.array([0, 1, 2, 3, 4, 5, 4])
    (times,) = multiplicities(classes, codes, 300, 0)
    assert (times[:, classes < 2] @ np.eye(2)[classes[classes < 2]] == 2).all()
    assert (times[:, 4] == times[:, 6]).all()
    assert (times[:, 4] + times[:, 5] == 2).all()
    assert len(np.unique(times, axis=0)) == 3**3


def test_unusable_cases_are_named():
    with pytest.raises(InputError, match="columns group, rival"):
        within_database(cases().drop(columns="group"), ["model", "rival"])
    with pytest.raises(InputError, match="1 are NaN"):
        within_database(cases().assign(model=[np.nan] + [0.0] * 119), ["model"])
