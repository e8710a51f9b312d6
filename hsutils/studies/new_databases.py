"""Unseen databases: every configuration is trained without one database and tested on it (LODO).

Configurations are compared on the same recordings, resample by resample, so that what makes a
database easy or hard for both does not widen the interval of their difference.
"""

import tomllib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import tomli_w
from statsmodels.stats.multitest import multipletests

from hsutils import plots
from hsutils.audio.heart_cycles import FEATURES
from hsutils.config import FITS, fingerprint, load_profile
from hsutils.data.corpus import load_recordings, load_splits
from hsutils.errors import InputError
from hsutils.evaluate import few_labels
from hsutils.evaluation.domains import drawn_aurocs, unseen_databases
from hsutils.evaluation.intervals import percentiles
from hsutils.evaluation.metrics import choose_threshold
from hsutils.export import THRESHOLD, heart_cycle_model
from hsutils.files import write_text
from hsutils.models.build import MODELS
from hsutils.models.heart_cycles import STRENGTHS, features_of
from hsutils.pipeline import load_predictions
from hsutils.run import Run
from hsutils.studies import heart_cycles, seeds
from hsutils.studies.seeds import KEY, Study, Tables, is_trained, read_tables, tidy, with_logits

INPUTS = ("left_out.csv.gz", "cycles.csv", "weights.csv")
LOCK = "selection.toml"
DATABASES = "abcdef"
LINEAR = "heart-cycles/linear model/0"
ABOUT = ["database", "group", "label", "quality", "seconds"]
DECIDED = ("sensitivity", "specificity", "balanced accuracy")
DECIDED += ("balanced accuracy, own median", "balanced accuracy, own threshold")
FEW = "balanced accuracy, 20 + 20 labeled"
DECIDED += (FEW, FEW + ", gain")
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


_ARTIFACTS = ("front_end.repair_clips=false", "front_end.bits=0", "front_end.bins=129")
_FULL = (*_ARTIFACTS, "front_end.pass_low_hz=0.0", "front_end.pass_high_hz=0.0")
_REAL = (*_FULL, "baseline.synthetic=0", "baseline.epochs=12")
"""Real recordings alone, in more epochs, since synthetic ones are most of an epoch."""
_ONCE, _MIN_MAX = "baseline.sampling=each once", "front_end.scaling=min-max"
_MORE = "data.more=data/circor-2022/recordings.csv"
_SLOWED = (*(f"{fit}.tempo=1.0" for fit in FITS), "front_end.heart_rate=75.0")

VIEW = "circor-"
"""How the names of those begin that show `circor` its recordings in another way; some of them need
a patch that lies with the results."""

CONFIGURATIONS = {
    "paper": Configuration("", models=MODELS),
    "robust": Configuration(against="full-band"),
    "full-band": Configuration(overrides=_FULL),
    "band-limit-only": Configuration(overrides=_ARTIFACTS, against="full-band"),
    "full-band-no-synthetic": Configuration(overrides=_REAL, against="full-band"),
    "full-band-no-synthetic-each-once": Configuration(
        overrides=(*_REAL, _ONCE), against="full-band-no-synthetic"
    ),
    "full-band-min-max": Configuration(overrides=(*_FULL, _MIN_MAX), against="full-band"),
    "circor": Configuration(overrides=(_MORE,), against="robust"),
    "all-ages": Configuration("all-ages", (_MORE,), against="robust"),
    "slowed": Configuration("all-ages", (_MORE, *_SLOWED), against="circor"),
    f"{VIEW}no-dither": Configuration(overrides=(_MORE, "front_end.bits=0"), against="circor"),
    f"{VIEW}tempo": Configuration(overrides=(_MORE, "baseline.tempo=2.0"), against="circor"),
    f"{VIEW}all-hearts": Configuration(
        overrides=(_MORE, 'synthetic.hearts="all ages"'), against="circor"
    ),
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


FINAL, BOTH = "all-ages", "with heart cycles"
TOGETHER = (FINAL, f"{VIEW}tempo")
"""The configurations whose CNN also decides together with the linear model of heart cycles."""


def lock(folder: Path, key: str, study: Study) -> Path:
    """Write down which configuration is final, before more of its results are read.

    `selection.toml` names its seeds, its threshold and the `identity` of its settings, and what it
    was chosen by: the mean AUROC of each configuration and seed, over those databases in which it
    and the final one were tested.

    Raises:
        InputError: if there is a lock already, or no result of this configuration.
    """
    if (folder / LOCK).exists():
        raise InputError(f"{folder / LOCK}: {key} cannot be locked, since a lock is there")
    found = areas(read_tables(folder, INPUTS[:1])["left_out"])
    single = found[found.database.isin([*DATABASES]) & found.seed.ne("mean")]
    single = single[~single.variant.str.startswith(VIEW)]
    final = single[single.variant == key]
    if final.empty or key not in CONFIGURATIONS:
        raise InputError(f"--lock {key}: {folder / INPUTS[0]} has no configuration of this name")
    single = single[single.database.isin(final.database)]
    means = single.groupby([*KEY], sort=False).auroc.agg(["mean", "size"])
    means = means["mean"][means["size"] == final.database.nunique()].round(4)
    text = {"variant": key, "seeds": [*study.seeds], "threshold": THRESHOLD}
    text["settings"] = identity(key, study)
    text["chosen_in_databases"] = sorted(set(final.database))
    text["mean_auroc"] = {"/".join(name): value for name, value in means.items()}
    return write_text(folder / LOCK, tomli_w.dumps(text))


def identity(key: str, study: Study) -> str:
    """A hash of a configuration's settings, apart from seed, folders and machine."""
    configuration = CONFIGURATIONS[key]
    overrides = (*study.overrides, *configuration.overrides)
    profile = load_profile(configuration.profile or study.name, overrides).portable()
    settings = profile.model_dump(exclude={"seed", "compute"})
    return fingerprint(settings, FEATURES, STRENGTHS)


def require_lock(folder: Path, key: str, study: Study) -> None:
    """Refuse to train a configuration that was locked with other settings, or more seeds of it.

    Raises:
        InputError: naming what differs.
    """
    locked = tomllib.loads((folder / LOCK).read_text()) if (folder / LOCK).exists() else {}
    if locked.get("variant") == key:
        differs = ["settings"] * (locked["settings"] != identity(key, study))
        differs += ["seeds"] * (not {*study.seeds} <= {*locked["seeds"]})
        if differs:
            problem = f"{key} was locked with other {' and '.join(differs)}"
            raise InputError(f"{folder / LOCK}: {problem}; write into another folder")


def gather(study: Study, keys: Iterable[str], to: Path) -> Tables:
    """Logits of every configuration that is trained, and of the linear model on heart cycles.

    What the folder `to` holds of other configurations and seeds is kept.

    Returns:
        - left_out has one row per recording, `ABOUT` and a column `variant/model/seed` each, NaN
          where a database was not left out; inside a database in the order of a hash of samples.
        - cycles, weights: see `heart_cycles`.
    """
    own = study.run(study.seeds[0])
    recordings, splits = load_recordings(own), load_splits(own)
    features, of_all = features_of(recordings), None
    logits = {}
    for database in sorted(set(recordings.database)):
        # In a small corpus one database may hold all that there is to train with.
        with suppress(InputError):
            linear = heart_cycles.lodo(features, recordings, splits, database)
            logits[database] = {LINEAR: linear}
    for key, database, run in runs(study, keys):
        if is_trained(run, models := CONFIGURATIONS[key].models):
            found = {model: load_predictions(run, model, "test") for model in models}
            if key in TOGETHER:
                if of_all is None:
                    of_all = features_of(load_recordings(run))
                found[BOTH] = _together(run, of_all)
            seed = run.profile.seed
            logits[database] |= {f"{key}/{model}/{seed}": made for model, made in found.items()}
    table = pd.concat([with_logits(recordings, part) for part in logits.values()])
    table = table.sort_values(["database", "digest"], ignore_index=True)
    table = table.assign(group=pd.factorize(table.group)[0], seconds=table.seconds.round(1))
    return {
        "left_out": _with_earlier(table[[*ABOUT, *logit_columns(table)]].round(3), to),
        "cycles": heart_cycles.mean_cycles(features, recordings),
        "weights": heart_cycles.weights(features, recordings, splits),
    }


def _with_earlier(table: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """The table, and the columns of logits that it lacks and that one in the folder has."""
    if not (folder / INPUTS[0]).exists():
        return table
    earlier = read_tables(folder, INPUTS[:1])["left_out"]
    if not earlier[ABOUT].astype(str).equals(table[ABOUT].astype(str)):
        raise InputError(f"{folder / INPUTS[0]}: is of other recordings; write into another folder")
    kept = earlier.columns.difference(table.columns, sort=False)
    # Variants that this code no longer knows come last.
    order = ["heart-cycles", *CONFIGURATIONS, *kept.str.split("/").str[0]]
    every = sorted([*logit_columns(table), *kept], key=lambda c: order.index(c.split("/")[0]))
    return table.join(earlier[kept])[[*ABOUT, *every]]


def _together(run: Run, features: np.ndarray) -> pd.DataFrame:
    """Predictions (record, logit) of a run's CNN together with its linear model of heart cycles."""
    model, recordings = heart_cycle_model(run, "baseline", features), load_recordings(run)
    tested = load_predictions(run, "baseline", "test")
    rows = pd.Index(recordings.record).get_indexer(tested.record)
    both = (model.together(*pair) for pair in zip(tested.logit, features[rows], strict=True))
    return tested.assign(logit=list(both))


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

    `found` are the rows of `areas`; columns are variant, model, against, difference, low, high, and
    p: twice the share of draws on the other side of 0, corrected for all rows (Holm 1979).
    """
    means = found[found.database.eq("mean") & found.seed.ne("mean")]
    means, rows = means.set_index(means[KEY].agg("/".join, axis=1)).auroc, []
    asked = [(key, "baseline", c.against) for key, c in CONFIGURATIONS.items()]
    patched = found.variant[found.variant.str.startswith(VIEW)].unique()
    asked += [(key, "baseline", "circor") for key in patched if key not in CONFIGURATIONS]
    asked += [(key, BOTH, against) for key in TOGETHER for against in (key, "robust")]
    for key, model, against in asked:
        pairs = [(f"{key}/{model}/{s}", f"{against}/baseline/{s}") for s in found.seed.unique()]
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
        mean = np.mean(drawn, axis=0)
        p = min(1, 2 * (1 + min((mean < 0).sum(), (mean > 0).sum())) / (1 + len(mean)))
        rows.append((key, model, against, difference, *percentiles(mean), p))
    table = pd.DataFrame(rows, columns=[*KEY[:2], "against", "difference", "low", "high", "p"])
    return table.assign(p=multipletests(table.p, method="holm")[1]) if rows else table


def operating(left_out: pd.DataFrame) -> pd.DataFrame:
    """What a model decides in an unseen database: AUROC depends on the order alone.

    Returns:
        Columns variant, model, database (or "mean" over all) and `DECIDED`; means over seeds.
        Sensitivity and specificity are at logit 0. Balanced accuracy is their mean; "own median" is
        at the median of this database's logits, which needs no label, and "own threshold" at the
        best one, chosen with its own labels and therefore optimistic. `FEW` is at a threshold from
        a few labels, evaluated on the rest, and its gain is over logit 0 there; databases with too
        few recordings of a class have none, and do not count in its mean.
    """
    rows = []
    for column in logit_columns(left_out):
        for database, part in left_out.groupby("database"):
            if part[column].notna().all() and part.label.nunique() == 2:
                logits = part[column]
                own = choose_threshold(part.label, logits)
                at = [(logits > t).groupby(part.label).mean() for t in (0.0, logits.median(), own)]
                balanced = [(1 + rates[1] - rates[0]) / 2 for rates in at]
                few = few_labels(part.assign(logit=logits), 20, THRESHOLD, draws=50).value
                rates = at[0][1], 1 - at[0][0], *balanced, few["macc"], few["gain"]
                rows.append((*column.split("/"), database, *rates))
    table = pd.DataFrame(rows, columns=[*KEY, "database", *DECIDED])
    table = table.groupby([*KEY[:2], "database"], sort=False)[[*DECIDED]].mean().reset_index()
    models, count = table.groupby(KEY[:2], sort=False), left_out.database.nunique()
    mean = models[[*DECIDED]].mean()[models.size() == count].reset_index()
    return pd.concat([table, mean.assign(database="mean")], ignore_index=True)


def results(inputs: Tables) -> pd.DataFrame:
    """The rows of `results.csv`: `areas`, `differences` and `operating`.

    Views have a metric of their own, so that they are not among the configurations to choose from.
    """
    left_out, found = inputs["left_out"], areas(inputs["left_out"])
    changes = differences(left_out, found)
    is_view = found.variant.str.startswith(VIEW)
    views = found[is_view].rename(columns={"auroc": "auroc, view"})
    decided = operating(left_out.drop(columns=left_out.filter(regex=f"^{VIEW}")))
    changes = changes.assign(metric="auroc, difference from " + changes.against, seed="mean")
    changes = changes.rename(columns={"difference": "value"}).drop(columns="against")
    changes, decided = changes.assign(database="mean"), decided.assign(seed="mean")
    parts = [found[~is_view], views, changes, decided]
    parts = [tidy(part, study="unseen", protocol="unseen database") for part in parts if len(part)]
    return pd.concat(parts, ignore_index=True)


def figures(inputs: Tables, found: pd.DataFrame) -> seeds.Pictures:
    """How every picture is drawn, by name; `found` are the rows of `results`."""
    area = found[found.metric == "auroc"]
    area = area.assign(name=area.variant.str.replace("-", " "))
    means = found[found.metric.isin(["auroc", "auroc, view"]) & (found.database == "mean")]
    seeds_of = means[means.seed != "mean"].groupby(KEY[:2]).seed.agg(set)
    against = found.metric.str.extract("^auroc, difference from ([a-z-]+)$", expand=False)
    both = found.model.where(found.model == BOTH, "")
    names = (found.variant + " " + both).str.strip() + ", from " + against
    changes = found.assign(name=names.str.replace("-", " ")).dropna(subset="name")
    asked = zip(changes.variant, changes.model, against[changes.index], strict=True)
    both = [len(seeds_of[key, model] & seeds_of[other, "baseline"]) for key, model, other in asked]
    changes = changes.assign(seeds=both).sort_values("value")[::-1]
    pages = {}
    # Few recordings, or very noisy ones, may have no heart cycles to compare.
    if inputs["cycles"].groupby("database").label.nunique().gt(1).any():
        pages["mean-cycles"] = lambda: plots.mean_cycles(inputs["cycles"], inputs["weights"])
    if len(means):
        pages["unseen-databases"] = lambda: plots.unseen_databases(area[area.seed == "mean"])
    if len(changes):
        pages["changes"] = lambda: plots.changes(changes)
    return pages
