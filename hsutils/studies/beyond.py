"""Beyond the paper: what is kept of every recipe, on the published split and in new databases.

The published protocol tests in the databases that were trained on. Leaving one database out tests
in one that no training heard, neither its subjects nor its device; a choice between recipes is made
by leaving out two, training on four, and asking one of the two which recipe the other should get.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar

import pandas as pd

from hsutils.studies import band_scores, control_probe, cycle_scores, future_work, label_efficiency
from hsutils.data.corpus import load_recordings
from hsutils.studies.cycle_scores import MeanCycle
from hsutils.errors import InputError
from hsutils.experiment import load_experiment
from hsutils.studies.finished import Finished, Model, everything_finished, recipes
from hsutils.studies.kept import Kept
from hsutils.evaluation.metrics import auroc
from hsutils.settings import FrontEnd
from hsutils.pipeline import EVALUATED
from hsutils.studies.study import LEFT_OUT, Study
from hsutils.studies.trust import ABOUT, IDENTITY
from hsutils.studies.variants import BEYOND

DATABASES = "abcdef"
RECIPE = ("native-all", "compact baseline")
"""The recipe that words and figures are about, whichever scores best: profile and model."""

DIGITS = 4
"""Of kept logits of the published split, whose thresholds are chosen among a few hundred."""
LEFT_OUT_DIGITS = 3
"""Of the many of databases left out, which are only ranked: what is committed is to stay small."""

INNER = ("profile", "model", "seed", "left_out", "database", "auroc")


@dataclass(frozen=True)
class Beyond(Kept):
    """What is kept of several recipes.

    Columns of logits are named `profile/model/seed`; a changed profile is `profile-change`, and
    names of compact networks begin with "compact".

    Args:
        published: a row a recording of dev and test: split, database, group, label, logits; those
            of changed profiles on dev alone, and none of the changes that `future_work` tries.
        left_out: a row a recording of any database: database, group, label, quality, seconds,
            logits of models trained on the other databases; NaN where there is none. Inside a
            database they are in the order of a hash of their samples, on any machine the same.
        inner: AUROC in each of two databases left out together, by which recipes are chosen:
            profile, model, seed, left_out, database, auroc.
        recipes: profile, model, labeled (`finished.Model.labeled`), told ("true labels" or "soft
            labels", of two phases in the first), parameters, multiply_adds and milliseconds a
            recording, and where these were measured; train_seconds, of two phases the last, mean
            over seeds. Models that are no networks have no multiply_adds and 0 train_seconds, and
            boosted trees no parameters either.
        frozen_features: AUROC of linear classifiers on frozen features by the share of labels:
            profile and the columns of `label_efficiency`.
        storage: what facts of storage tell of the class, in the files and after the control of the
            change "controlled" (`control_probe.format_probe`).
        trees: AUROC in each database of boosted trees fitted to the others' band statistics
            (`band_scores`).
        inside: AUROC of the linear model on mean cycles where a database's own labels are known:
            database, how many recordings, abnormal ones and groups, and its 95% interval.
        cycles, weights: the mean cycle of each database and class, and what that model weighs
            (`cycle_scores`).
        future_work: what the paper would try next, beside the recipe from the same machine
            (`future_work`).
    """

    published: pd.DataFrame
    left_out: pd.DataFrame
    inner: pd.DataFrame
    recipes: pd.DataFrame
    frozen_features: pd.DataFrame
    storage: pd.DataFrame
    trees: pd.DataFrame
    inside: pd.DataFrame
    cycles: pd.DataFrame
    weights: pd.DataFrame
    future_work: pd.DataFrame

    COMPRESSED: ClassVar = frozenset({"left_out"})
    COLUMNS: ClassVar = {
        "published": ("split", *IDENTITY),
        "left_out": tuple(IDENTITY),
        "inner": INNER,
        "recipes": (
            *("profile", "model", "labeled", "told"),
            *("parameters", "multiply_adds", "milliseconds"),
        ),
        "frozen_features": ("profile", *label_efficiency.COLUMNS),
        "storage": control_probe.COLUMNS,
        "trees": band_scores.NEW,
        "inside": cycle_scores.INSIDE,
        "cycles": cycle_scores.CYCLES,
        "weights": cycle_scores.WEIGHTS,
        "future_work": future_work.COLUMNS,
    }


def collect(studies: Sequence[Study]) -> Beyond:
    """Gather whatever is finished of these studies, of their changes and databases left out.

    Args:
        studies: one a profile, all of the same recordings.

    Raises:
        InputError: if nothing is finished, or runs are of different recordings.
    """
    whole = _with_linear(everything_finished(studies, [""], but=future_work.CHANGES))
    whole += band_scores.beside(whole)
    single = {d: _with_linear(everything_finished(studies, [d])) for d in DATABASES}
    pairs = ["".join(pair) for pair in combinations(DATABASES, 2)]
    everything = [*whole, *(model for found in single.values() for model in found)]
    if not everything:
        names = ", ".join(study.experiment.name for study in studies)
        raise InputError(f"nothing of {names} is finished: train with `run` or `variants` first")
    recordings = load_recordings(everything[0].run).set_index("record")
    return Beyond(
        published=_published(whole, recordings),
        left_out=_left_out(single, recordings),
        inner=_inner(_with_linear(everything_finished(studies, pairs)), single, recordings),
        recipes=recipes(everything, recordings),
        frozen_features=_frozen_features(studies),
        storage=control_probe.format_probe(recordings, _controlled()),
        trees=band_scores.in_new_databases(whole),
        inside=cycle_scores.inside(recordings.reset_index()),
        cycles=cycle_scores.mean_cycles(recordings.reset_index()),
        weights=cycle_scores.weights(m for m in whole if isinstance(m, MeanCycle)),
        future_work=future_work.tried(studies),
    )


def _with_linear(models: Iterable[Finished]) -> list[Model]:
    """And the linear model on mean cycles, of the same recordings."""
    found = list(models)
    return [*found, *cycle_scores.beside(found)]


def _published(models: Sequence[Model], recordings: pd.DataFrame) -> pd.DataFrame:
    parts = []
    for split in EVALUATED:
        # A change is chosen or dropped by dev or databases left out: its test is not read.
        asked = [m for m in models if split == "dev" or m.tested]
        logits = pd.DataFrame({m.column: m.predictions(split) for m in asked})
        parts.append(_about(logits, recordings).assign(split=split))
    table = pd.concat(parts, ignore_index=True)
    table = table.assign(group=pd.factorize(table.group)[0])
    return table[["split", *IDENTITY, *(m.column for m in models)]].round(DIGITS)


def _left_out(single: dict[str, Sequence[Model]], recordings: pd.DataFrame) -> pd.DataFrame:
    parts = []
    for models in single.values():
        logits = pd.DataFrame({m.column: m.predictions("test") for m in models})
        parts.append(_about(logits, recordings))
    table = pd.concat(parts, ignore_index=True).sort_values(["database", "digest"])
    table = table.assign(group=pd.factorize(table.group)[0], seconds=table.seconds.round(1))
    columns = sorted(set(table) - set(recordings))
    return table[[*ABOUT, *columns]].reset_index(drop=True).round(LEFT_OUT_DIGITS)


def _about(logits: pd.DataFrame, recordings: pd.DataFrame) -> pd.DataFrame:
    """Logits by record with what is known of each recording.

    Raises:
        InputError: if models were evaluated on different recordings.
    """
    if logits.isna().any(axis=None) or not logits.index.isin(recordings.index).all():
        lacking = logits.columns[logits.isna().any()]
        raise InputError(
            f"{', '.join(lacking if len(lacking) else logits.columns)} were evaluated on other "
            "recordings than the rest: give every profile the same --data and --lists"
        )
    return recordings.loc[logits.index].join(logits).reset_index(drop=True)


def _inner(
    pairs: Iterable[Model], single: Mapping[str, Sequence[Model]], recordings: pd.DataFrame
) -> pd.DataFrame:
    rows = []

    def tell(model: Model, left_out: str, logits: pd.Series) -> None:
        known = recordings.loc[logits.index]
        score = round(auroc(known.label, logits), 5)
        about = [model.profile, model.name, model.seed]
        rows.append([*about, left_out, known.database.iloc[0], score])

    # One that heard no real recording is the same network, whichever databases are left out.
    for asked, found in single.items():
        for model in (m for m in found if not m.real):
            for other in (o for o in DATABASES if o != asked):
                tell(model, "".join(sorted(asked + other)), model.predictions("test"))
    for model in pairs:
        logits = model.predictions("test")
        for _, part in logits.groupby(recordings.database.loc[logits.index]):
            tell(model, model.run.experiment.splits.leave_out, part)
    return pd.DataFrame(rows, columns=INNER)


def _controlled() -> FrontEnd:
    experiment = load_experiment(RECIPE[0])
    return load_experiment(RECIPE[0], BEYOND["controlled"].change(experiment)).front_end


def _frozen_features(studies: Iterable[Study]) -> pd.DataFrame:
    parts = []
    for study in studies:
        for left_out in ("", *LEFT_OUT):
            for seed in study.seeds:
                run = study.look(seed, left_out)
                if run.path("encoder.json").is_file() and run.experiment.pretrain.epochs:
                    table = label_efficiency.label_efficiency(run)
                    parts.append(table.assign(profile=study.experiment.name))
    columns = ["profile", *label_efficiency.COLUMNS]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)
