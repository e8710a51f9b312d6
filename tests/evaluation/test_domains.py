"""AUROC within and over databases: against pairs counted one by one, and on planted truth."""

import itertools

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from hsutils.errors import InputError
from hsutils.evaluation.domains import ALL, UNSEEN, WITHIN, unseen_databases, within_database
from hsutils.evaluation.intervals import (
    auroc_and_interval,
    cluster_bootstrap,
    expansion,
    multiplicities,
    percentiles,
    resamples,
)

SHARES = {"a": 0.7, "b": 0.2, "e": 0.08}


def cases(seed: int = 0, n: int = 120, **models) -> pd.DataFrame:
    """Recordings of three databases that differ in their share of abnormal ones, two a group."""
    rng = np.random.default_rng(seed)
    database = rng.permutation(np.resize([*"abe"], n))
    label = (rng.random(n) < pd.Series(SHARES)[database].to_numpy()).astype(int)
    record = [f"{name}{i:04d}" for i, name in enumerate(database)]
    table = pd.DataFrame({"record": record, "database": database, "label": label})
    table["group"] = table.database + (table.groupby("database").cumcount() // 2).astype(str)
    return table.assign(model=(label + rng.normal(size=n)).round(1), **models)


def of_model(table: pd.DataFrame, model: str = "model") -> pd.DataFrame:
    """By database, where "within" and "all" stand for the pools of all."""
    found = within_database(table, {model: [model]})
    pool = found.protocol.map({WITHIN: "within", ALL: "all"})
    return found.assign(database=found.database.where(found.database != "", pool)).set_index(
        "database"
    )


def pairs_one_by_one(table: pd.DataFrame) -> dict[str, float]:
    wins = {"within": [], "all": []}
    rows = list(zip(table.database, table.label, table.model, strict=True))
    for (d, y, score), (other_d, other_y, other_score) in itertools.product(rows, rows):
        if y == 1 and other_y == 0:
            win = 1.0 if score > other_score else 0.5 if score == other_score else 0.0
            for pool in ("all", "within") if d == other_d else ("all",):
                wins[pool].append(win)
    return {pool: np.mean(won) for pool, won in wins.items()}


@pytest.mark.parametrize("seed", range(3))
def test_pools_are_what_counting_pairs_one_by_one_gives(seed):
    table = cases(seed)
    found = of_model(table).auroc
    assert found[["within", "all"]].to_dict() == pytest.approx(pairs_one_by_one(table), rel=1e-12)


def test_the_base_rate_of_a_database_ranks_between_databases_only():
    table = cases()
    rate = table.groupby("database").label.transform("mean")
    found = of_model(table.assign(rate=rate), "rate")
    assert (found.loc[["a", "b", "e", "within"], ["auroc", "low", "high"]] == 0.5).all(axis=None)
    assert found.auroc["all"] > 0.75


def test_intervals_of_all_and_of_each_database_are_those_of_the_cluster_bootstrap():
    table = cases()
    found = of_model(table)
    for name, part in ({"all": table} | dict(iter(table.groupby("database")))).items():
        row = cluster_bootstrap(part.label, part.model, part.group).loc[0]
        ours = found.loc[name, ["auroc", "low", "high"]].tolist()
        assert ours == pytest.approx([row.value, row.low, row.high], rel=1e-12)
        assert found.loc[name, ["recordings", "abnormal"]].tolist() == [len(part), part.label.sum()]


def test_interval_within_is_that_of_repeating_whole_groups():
    table = cases(1, n=60)
    (times,) = multiplicities(table.label.to_numpy(), table.group, 39)
    repeated = [table.loc[table.index.repeat(weights.astype(int))] for weights in times]
    values = np.array([pairs_one_by_one(rows)["within"] for rows in repeated])
    ends = percentiles(values, expansion(table.label, table.group))
    found = auroc_and_interval(table.label, table.model, table.group, 39, table.database)
    assert (found["low"], found["high"]) == pytest.approx(ends)


def test_where_there_is_no_pair_there_is_no_auroc():
    table = cases()
    table.loc[table.database == "e", "label"] = 0
    found = of_model(table)
    assert found.loc["e", ["auroc", "low", "high"]].isna().all()
    assert found.recordings["within"] == (table.database != "e").sum()
    assert found.loc[["a", "b", "within", "all"], ["auroc", "low", "high"]].notna().all(axis=None)


def test_seeds_are_averaged_and_models_come_in_the_order_asked():
    table = cases(other=1.0).assign(again=lambda t: t.model + t.label)
    found = within_database(table, {"other": ["other"], "mean": ["model", "again"]})
    assert found.model.tolist() == ["other"] * 5 + ["mean"] * 5
    assert found.database.tolist() == [*"abe", "", ""] * 2
    assert found.seeds.tolist() == [1] * 5 + [2] * 5
    both = [roc_auc_score(table.label, table[column]) for column in ("model", "again")]
    assert found.auroc.iloc[-1] == pytest.approx(np.mean(both))
    with pytest.raises(InputError, match="1 are NaN"):
        within_database(table.assign(model=[np.nan] + [0.0] * 119), {"model": ["model"]})


# Unseen databases


def test_unseen_databases_count_equally_and_are_resampled_on_their_own():
    table = cases(2)
    found = unseen_databases(table, {"model": ["model"]}).set_index("database")
    parts = dict(iter(table.groupby("database")))
    areas = [roc_auc_score(part.label, part.model) for part in parts.values()]
    assert found.auroc[[*parts, ""]].tolist() == pytest.approx([*areas, np.mean(areas)])
    assert (found.protocol == UNSEEN).all() and found.recordings[""] == len(table)
    drawn = [
        resamples(part.label, part.model, part.group, seed=seed)["auroc"]
        for seed, part in enumerate(parts.values())
    ]
    # Variances of independent databases add; of few groups each is too small.
    wider = [expansion(part.label, part.group) for part in parts.values()]
    error = np.linalg.norm(np.std(drawn, axis=1) * wider) / 3
    assert found.high[""] - found.low[""] == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_only_models_tested_in_every_database_have_a_mean():
    table = cases(3)
    table["partly"] = table.model.where(table.database != "e")
    models = {"whole": ["model"], "partly": ["partly"], "seeds": ["model", "partly"]}
    found = unseen_databases(table, models).set_index(["model", "database"])
    assert set(found.index[found.index.get_level_values(1) == ""]) == {("whole", ""), ("seeds", "")}
    assert ("partly", "e") not in found.index
    assert found.seeds["seeds"].to_dict() == {"a": 2, "b": 2, "e": 1, "": 1}
    one_class = table.assign(label=table.label.where(table.database != "e", 0))
    assert ("partly", "") in unseen_databases(one_class, models).set_index(
        ["model", "database"]
    ).index
