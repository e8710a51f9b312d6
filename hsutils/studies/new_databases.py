"""Unseen databases: every configuration is trained without one database and tested on it (LODO).

Configurations are compared on the same recordings, resample by resample, so that what makes a
database easy or hard for both does not widen the interval of their difference.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hsutils import plots
from hsutils.data.corpus import load_recordings, load_splits
from hsutils.errors import InputError
from hsutils.evaluation.domains import drawn_aurocs, unseen_databases
from hsutils.evaluation.intervals import percentiles
from hsutils.evaluation.metrics import choose_threshold
from hsutils.models.build import MODELS
from hsutils.pipeline import load_predictions
from hsutils.run import Run
from hsutils.studies import heart_cycles
from hsutils.studies.seeds import KEY, Study, Tables, is_trained, tidy, with_logits

INPUTS = ("left_out.csv.gz", "cycles.csv", "weights.csv")
DATABASES = "abcdef"
LINEAR = "heart-cycles/linear model/0"
ABOUT = ["database", "group", "label", "quality", "seconds"]
DECIDED = ("sensitivity", "specificity", "balanced accuracy")
DECIDED += ("balanced accuracy, own median", "balanced accuracy, own threshold")
N_RESAMPLES = 1000


@dataclass(frozen=True)
class Configuration:
    """What is trained, and which configuration it differs from in one thing (`against`).

    Without a name of a profile it is the study's own.
    """

    profile: str = "robust"
    overrides: tuple[str, ...] = ()
    models: tuple[str, ...] = ("baseline",)
    against: str = ""


_ARTEFACTS = ("front_end.repair_clips=false", "front_end.bits=0", "front_end.bins=129")
_FULL = (*_ARTEFACTS, "front_end.pass_low_hz=0.0", "front_end.pass_high_hz=0.0")
_REAL = (*_FULL, "baseline.synthetic=0", "baseline.epochs=12")
"""Real recordings alone, in more epochs, since synthetic ones are most of an epoch."""
_ONCE, _MIN_MAX = "baseline.sampling=each once", "front_end.scaling=min-max"

CONFIGURATIONS = {
    "paper": Configuration("", models=MODELS),
    "robust": Configuration(against="full-band"),
    "full-band": Configuration(overrides=_FULL),
    "band-limit-only": Configuration(overrides=_ARTEFACTS, against="full-band"),
    "full-band-no-synthetic": Configuration(overrides=_REAL, against="full-band"),
    "full-band-no-synthetic-each-once": Configuration(
        overrides=(*_REAL, _ONCE), against="full-band-no-synthetic"
    ),
    "full-band-min-max": Configuration(overrides=(*_FULL, _MIN_MAX), against="full-band"),
}


def runs(study: Study, keys: Iterable[str]) -> Iterator[tuple[str, str, Run]]:
    """(configuration, database left out, run) for all seeds of a study, in folders `unseen-...`."""
    for key in keys:
        configuration = CONFIGURATIONS[key]
        profile, base = configuration.profile or study.name, study.base or "runs/unseen"
        own = replace(study, name=profile, base=base)
        for database in DATABASES:
            change = (*configuration.overrides, f"splits.leave_out={database}")
            for seed in study.seeds:
                yield key, database, own.run(seed, f"{key}-without-{database}", change)


def gather(study: Study, keys: Iterable[str] = tuple(CONFIGURATIONS)) -> Tables:
    """Logits of every configuration that is trained, and of the linear model on heart cycles.

    Returns:
        left_out: a row a recording: `ABOUT` and a column `variant/model/seed` each, NaN where a
            database was not left out; inside a database in the order of a hash of the samples.
        cycles, weights: see `heart_cycles`.
    """
    own = study.run(study.seeds[0])
    recordings, splits = load_recordings(own), load_splits(own)
    features = heart_cycles.features_of(recordings)
    logits = {}
    for database in sorted(set(recordings.database)):
        # In a small corpus one database may hold all that there is to train with.
        with suppress(InputError):
            linear = heart_cycles.lodo(features, recordings, splits, database)
            logits[database] = {LINEAR: linear}
    for key, database, run in runs(study, keys):
        if is_trained(run, models := CONFIGURATIONS[key].models):
            names = {model: f"{key}/{model}/{run.profile.seed}" for model in models}
            logits[database] |= {names[m]: load_predictions(run, m, "test") for m in models}
    table = pd.concat([with_logits(recordings, part) for part in logits.values()])
    table = table.sort_values(["database", "digest"], ignore_index=True)
    table = table.assign(group=pd.factorize(table.group)[0], seconds=table.seconds.round(1))
    return {
        "left_out": table[[*ABOUT, *logit_columns(table)]].round(3),
        "cycles": heart_cycles.mean_cycles(features, recordings),
        "weights": heart_cycles.weights(features, recordings, splits),
    }


def logit_columns(table: pd.DataFrame) -> list[str]:
    """The columns of logits, `variant/model/seed`."""
    return [column for column in table if column.count("/") == 2]


def areas(left_out: pd.DataFrame) -> pd.DataFrame:
    """AUROC of every model in every database that it was not trained with.

    Columns are variant, model, seed (or "mean" over seeds), database (or "mean" over databases,
    or "worst" of them), seeds, auroc, low, high.
    """
    models = {column: [column] for column in logit_columns(left_out)}
    for column in logit_columns(left_out):
        models.setdefault(f"{column.rpartition('/')[0]}/mean", []).append(column)
    table = unseen_databases(left_out, models, N_RESAMPLES)
    names = table.pop("model").str.split("/", expand=True).set_axis(KEY, axis=1)
    table = names.join(table).replace({"database": {"": "mean"}})
    whole = table[table.database == "mean"]
    single = table[table.database != "mean"]
    worst = single.groupby(KEY).auroc.min().reset_index().merge(whole[[*KEY, "seeds"]], on=KEY)
    return pd.concat([table, worst.assign(database="worst")], ignore_index=True)


def differences(left_out: pd.DataFrame, found: pd.DataFrame) -> pd.DataFrame:
    """How far each configuration is from the one it is compared with, over the seeds of both.

    `found` are the rows of `areas`; columns are variant, model, against, difference, low, high.
    """
    means = found[found.database.eq("mean") & found.seed.ne("mean")]
    means, rows = means.set_index(means[KEY].agg("/".join, axis=1)).auroc, []
    for key, configuration in CONFIGURATIONS.items():
        against = configuration.against
        pairs = [(f"{key}/baseline/{s}", f"{against}/baseline/{s}") for s in found.seed.unique()]
        pairs = [pair for pair in pairs if pair[0] in means and pair[1] in means]
        if not pairs:
            continue
        drawn = []
        for number, (_, part) in enumerate(left_out.groupby("database")):
            one, other = (
                drawn_aurocs(part, columns, N_RESAMPLES, number)
                for columns in zip(*pairs, strict=True)
            )
            drawn.append(one - other)
        difference = np.mean([means[a] - means[b] for a, b in pairs])
        rows.append((key, "baseline", against, difference, *percentiles(np.mean(drawn, axis=0))))
    return pd.DataFrame(rows, columns=[*KEY[:2], "against", "difference", "low", "high"])


def operating(left_out: pd.DataFrame) -> pd.DataFrame:
    """What a model decides in an unseen database: AUROC asks for the order alone.

    Returns:
        Columns variant, model, database (or "mean" over all) and `DECIDED`; means over seeds.
        Sensitivity and specificity are at logit 0. Balanced accuracy is their mean; "own median" is
        at the median of this database's logits, which needs no label, and "own threshold" at the
        best one, chosen with its own labels and therefore optimistic.
    """
    rows = []
    for column in logit_columns(left_out):
        for database, part in left_out.groupby("database"):
            if part[column].notna().all() and part.label.nunique() == 2:
                logits = part[column]
                own = choose_threshold(part.label, logits)
                at = [(logits > t).groupby(part.label).mean() for t in (0.0, logits.median(), own)]
                balanced = [(1 + rates[1] - rates[0]) / 2 for rates in at]
                rows.append((*column.split("/"), database, at[0][1], 1 - at[0][0], *balanced))
    table = pd.DataFrame(rows, columns=[*KEY, "database", *DECIDED])
    table = table.groupby([*KEY[:2], "database"], sort=False)[[*DECIDED]].mean().reset_index()
    models, count = table.groupby(KEY[:2], sort=False), left_out.database.nunique()
    mean = models[[*DECIDED]].mean()[models.size() == count].reset_index()
    return pd.concat([table, mean.assign(database="mean")], ignore_index=True)


def results(inputs: Tables) -> pd.DataFrame:
    """The rows of `results.csv`: `areas`, `differences` and `operating`."""
    left_out, found = inputs["left_out"], areas(inputs["left_out"])
    changes = differences(left_out, found)
    changes = changes.assign(metric="auroc, difference from " + changes.against, seed="mean")
    changes = changes.rename(columns={"difference": "value"}).drop(columns="against")
    parts = [found, changes.assign(database="mean"), operating(left_out).assign(seed="mean")]
    parts = [tidy(part, study="unseen", protocol="unseen database") for part in parts]
    return pd.concat(parts, ignore_index=True)


def figures(inputs: Tables, found: pd.DataFrame) -> dict[str, Figure]:
    """Every picture by name; `found` are the rows of `results`."""
    found = found.assign(name=found.variant.str.replace("-", " "))
    area = found[found.metric == "auroc"]
    means = area[area.database == "mean"]
    seeds = means[means.seed != "mean"].variant.value_counts()
    changes = found[found.metric == "auroc, difference from full-band"]
    changes = changes.assign(seeds=changes.variant.map(seeds)).sort_values("value")[::-1]
    pages = {}
    # Few recordings, or very noisy ones, may have no heart cycles to compare.
    with suppress(InputError):
        pages["mean-cycles"] = plots.mean_cycles(inputs["cycles"], inputs["weights"])
    if len(means):
        pages["unseen-databases"] = plots.unseen_databases(area[area.seed == "mean"])
    if len(changes):
        pages["changes"] = plots.changes(changes)
    return pages
