"""Every committed table beyond the paper, from what is kept alone."""

from collections.abc import Mapping

import pandas as pd

from hsutils.studies.beyond import DATABASES, RECIPE, Beyond
from hsutils.evaluation.calibration import choose_threshold
from hsutils.studies.ensemble import with_ensemble
from hsutils.studies.evidence import KEY
from hsutils.studies.finished import counts_whole
from hsutils.evaluation.metrics import accuracy
from hsutils.studies.new_databases import (
    N_RESAMPLES,
    Draws,
    changes,
    chosen,
    draw,
    interval_of_mean,
    logit_columns,
    operating,
)
from hsutils.evaluation.domains import counts_and_auroc, within_database

PUBLISHED, LEFT_OUT = "published", "leave-one-database-out"
LARGE = "abef"
"""Databases of more than a hundred recordings: with fewer, recipes cannot be told apart."""

SHOWN = tuple(f"{RECIPE[0]}-{change}" for change in ("narrow", "controlled", "artificial-only"))
"""The changes of the native recipe that stand beside it; the others are held against it alone."""

RESULT = [*KEY[:2], "protocol", "database", "seed", "split", "recordings", "abnormal"]
RESULT += ["auroc", "low", "high", "accuracy", "accuracy_by_dev"]
NEW = ["new_database", "low", "high", "worst", "worst_database", "new_seeds"]
TESTED = ["test", "within", "dev", "accuracy", "accuracy_by_dev", "seeds"]

Tables = Mapping[str, pd.DataFrame]
"""Table by name, as `tables` makes them or `findings.read_tables` reads them."""


def tables(beyond: Beyond) -> dict[str, pd.DataFrame]:
    """Every table, by name; among the models is the ensemble of `with_ensemble`.

    results: a row a profile, model, protocol, database and seed; see `results`.
    summary: a row a profile and model, means over seeds with intervals; see `summary`.
    choices: which recipe the databases of each test would have chosen; see `choices`.
    changes, chosen, operating: see `new_databases`.
    label_efficiency: what frozen features are worth by the share of labels; see `efficiency`.
    """
    beyond = with_ensemble(beyond)
    found, draws = results(beyond), draw(beyond.left_out)
    picked = choices(beyond.inner, found)
    made = {
        "results": found,
        "summary": summary(beyond, found, draws),
        "choices": picked,
        "changes": changes(found, draws),
        "chosen": chosen(picked, draws),
        "operating": operating(beyond.left_out),
        "label_efficiency": efficiency(beyond.frozen_features),
    }
    return {name: table.round(5) for name, table in made.items()}


def results(beyond: Beyond) -> pd.DataFrame:
    """AUROC of every model and seed under both protocols, with 95% intervals over groups.

    Returns:
        Columns `RESULT`. Under the published protocol `database` is a letter, "within" (pairs of
        one database only) or "all"; with databases left out it is a letter, and "mean" and "worst"
        where all six are known. Of "all" alone: accuracy at logit 0, and accuracy_by_dev at the
        threshold of Youden's index on dev, which is not given for dev itself.
    """
    parts, by_dev = [], _thresholds(beyond.published)
    for split, cases in beyond.published.groupby("split"):
        found = _published(cases, by_dev if split == "test" else {})
        parts.append(found.assign(split=split, protocol=PUBLISHED))
    parts.append(_left_out(beyond.left_out).assign(split="test", protocol=LEFT_OUT))
    return pd.concat(parts, ignore_index=True).reindex(columns=RESULT)


def summary(beyond: Beyond, found: pd.DataFrame, draws: Draws) -> pd.DataFrame:
    """What a reader asks of every recipe, means over its seeds.

    Returns:
        Columns profile, model; new_database (mean AUROC over the six databases left out), its
        low and high (95%, over the recordings of these six databases, not over other databases),
        worst, worst_database, and new_seeds; test, within and dev (AUROC on the published split),
        accuracy, accuracy_by_dev and seeds; then the columns of `Beyond.recipes`.
    """
    rows = []
    for (profile, model), part in found.groupby(KEY[:2], sort=False):
        row = {"profile": profile, "model": model}
        rows.append(row | _of_new_databases(draws, part) | _of_published(part))
    table = pd.DataFrame(rows).reindex(columns=[*KEY[:2], *NEW, *TESTED])
    table = table.merge(beyond.recipes, on=KEY[:2], how="left")
    return counts_whole(table)


def row_of(made: Tables, profile: str, model: str) -> pd.Series | None:
    """The row of a recipe that was asked in new databases, or None."""
    asked = in_new_databases(made).set_index(["profile", "model"])
    return asked.loc[profile, model] if (profile, model) in asked.index else None


def in_new_databases(made: Tables) -> pd.DataFrame:
    """The rows of the summary whose models were asked in new databases."""
    return made["summary"].dropna(subset="new_database").reset_index(drop=True)


def but_changes(summary: pd.DataFrame) -> pd.DataFrame:
    """The rows of the summary without the changes of the native recipe but those of `SHOWN`."""
    changed = summary["profile"].str.startswith(f"{RECIPE[0]}-")
    return summary[~changed | summary["profile"].isin(SHOWN)]


def choices(inner: pd.DataFrame, found: pd.DataFrame) -> pd.DataFrame:
    """For each database to be tested in: how every recipe does in the others, itself never heard.

    A recipe's score for database x is its mean AUROC over databases y of `LARGE`, each from the
    training that left out x and y; seeds are averaged first.

    Args:
        inner: see `Beyond.inner`.
        found: the table of `results`.

    Returns:
        Columns test_database, profile, model, inner_auroc, pairs, chosen (the best of those with
        as many pairs as any), and auroc, of that recipe in the test database (mean over seeds).
    """
    rows = []
    for database in DATABASES:
        asked = inner[inner.left_out.str.contains(database) & (inner.database != database)]
        asked = asked[asked.database.isin(list(LARGE))]
        scores = asked.groupby([*KEY[:2], "database"]).auroc.mean()
        for (profile, model), part in scores.groupby(KEY[:2]):
            row = {"test_database": database, "profile": profile, "model": model}
            rows.append(row | {"inner_auroc": part.mean(), "pairs": len(part)})
    columns = ["test_database", "profile", "model", "inner_auroc", "pairs"]
    table = pd.DataFrame(rows, columns=columns)
    groups = table.groupby("test_database")
    whole = table.pairs == groups.pairs.transform("max")
    best = table.inner_auroc.where(whole).groupby(table.test_database).transform("max")
    tested = found[found.protocol == LEFT_OUT].rename(columns={"database": "test_database"})
    tested = tested.groupby(["test_database", *KEY[:2]], as_index=False).auroc.mean()
    table = table.assign(chosen=table.inner_auroc.eq(best) & whole)
    return table.merge(tested, how="left", on=["test_database", *KEY[:2]])


def efficiency(rows: pd.DataFrame) -> pd.DataFrame:
    """Label efficiency, means over seeds, or over databases left out (asked "new").

    Returns:
        Columns profile, asked, features, share, labels, auroc, low and high (the lowest and the
        highest of the seeds or databases).
    """
    whole = rows.left_out.isna() | rows.left_out.eq("")
    table = rows.assign(asked=rows.database.where(whole, "new"))
    # Seeds first, so that every database counts alike.
    keys = ["profile", "asked", "features", "share"]
    table = table.groupby([*keys, "database", "seed"], as_index=False)[["labels", "auroc"]].mean()
    inner = table.asked.eq("new")
    per_database = table[inner].groupby([*keys, "database"], as_index=False)[["labels", "auroc"]]
    table = pd.concat([table[~inner], per_database.mean()])
    groups = table.groupby(keys, sort=False)
    made = groups.agg(
        labels=("labels", "mean"),
        auroc=("auroc", "mean"),
        low=("auroc", "min"),
        high=("auroc", "max"),
    )
    return made.reset_index()


def _thresholds(published: pd.DataFrame) -> dict[str, float]:
    """For every column of logits the threshold that dev would choose."""
    dev = published[published.split == "dev"]
    asked = [column for column in logit_columns(dev) if dev[column].notna().all()]
    return {c: choose_threshold(dev.label, dev[c], "Youden") for c in asked} if len(dev) else {}


def _published(cases: pd.DataFrame, thresholds: dict[str, float]) -> pd.DataFrame:
    columns = [column for column in logit_columns(cases) if cases[column].notna().all()]
    made = within_database(cases, {c: [c] for c in columns}, N_RESAMPLES)
    made = made[made.database != "between"].replace({"database": {"pooled": "within"}})
    whole = made.database == "all"
    right = {c: accuracy(cases.label, cases[c]) for c in columns}
    by_dev = {c: accuracy(cases.label, cases[c], thresholds[c]) for c in columns if c in thresholds}
    told = {"accuracy": right, "accuracy_by_dev": by_dev}
    return _keyed(made.assign(**{k: made.model.map(v).where(whole) for k, v in told.items()}))


def _left_out(cases: pd.DataFrame) -> pd.DataFrame:
    rows = [
        {"model": column, "database": database} | counts_and_auroc(part, part[column], N_RESAMPLES)
        for column in logit_columns(cases)
        for database, part in cases.groupby("database")
        if database in DATABASES and part[column].notna().all()
    ]
    columns = ["model", "database", "recordings", "abnormal", "auroc", "low", "high"]
    made = pd.DataFrame(rows, columns=columns)
    pools = [made]
    for column, part in made.groupby("model", sort=False):
        if part.auroc.notna().sum() == len(DATABASES):
            ends = {"mean": part.auroc.mean(), "worst": part.auroc.min()}
            counts = part[["recordings", "abnormal"]].sum().to_dict()
            pool = [{"model": column, "database": k, "auroc": v} | counts for k, v in ends.items()]
            pools.append(pd.DataFrame(pool))
    return _keyed(pd.concat(pools, ignore_index=True))


def _keyed(made: pd.DataFrame) -> pd.DataFrame:
    """The column `model`, holding names of columns of logits, taken apart."""
    names = pd.DataFrame([column.split("/") for column in made["model"]], made.index, KEY)
    return made.drop(columns="model").join(names.astype({"seed": int}))


def _of_new_databases(draws: Draws, found: pd.DataFrame) -> dict[str, object]:
    rows = found[(found.protocol == LEFT_OUT) & found.database.isin(list(DATABASES))]
    seeds = rows.groupby("seed").database.nunique()
    seeds = seeds.index[seeds == len(DATABASES)]
    if seeds.empty:
        return {"new_seeds": 0}
    by_database = rows[rows.seed.isin(seeds)].groupby("database").auroc.mean()
    columns = ["/".join(map(str, (*rows.iloc[0][KEY[:2]], seed))) for seed in seeds]
    low, high = interval_of_mean(draws, dict.fromkeys(DATABASES, columns))
    return {
        "new_database": by_database.mean(),
        "low": low,
        "high": high,
        "worst": by_database.min(),
        "worst_database": by_database.idxmin(),
        "new_seeds": len(seeds),
    }


def _of_published(found: pd.DataFrame) -> dict[str, object]:
    rows = found[found.protocol == PUBLISHED]
    scores = ["auroc", "accuracy", "accuracy_by_dev"]
    means = rows.groupby(["split", "database"])[scores].mean()
    if means.empty:
        return {"seeds": 0}
    return {
        "test": means.auroc.get(("test", "all")),
        "within": means.auroc.get(("test", "within")),
        "dev": means.auroc.get(("dev", "all")),
        **{score: means[score].get(("test", "all")) for score in scores[1:]},
        "seeds": rows.seed.nunique(),
    }
