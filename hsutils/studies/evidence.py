"""What is kept of a study: logits, histories and where each model was trained.

It is small enough to be committed. Every table and figure is drawn from it alone, so that numbers
and pictures cannot part. Predictions carry no record names, only their place in the split's
order: the split lists are not ours to copy.
"""

from dataclasses import dataclass
from typing import ClassVar

import pandas as pd

from hsutils.training.checkpoints import history_table
from hsutils.errors import InputError
from hsutils.experiment import Run
from hsutils.files import read_json
from hsutils.studies.kept import Kept
from hsutils.evaluation.metrics import auroc
from hsutils.models.build import MODELS
from hsutils.pipeline import EVALUATED, saved_predictions
from hsutils.studies.study import Study
from hsutils.training.loop import Trained
from hsutils.studies.variants import VARIANTS

STAGES = {"encoder": "pretrain", "teacher": "finetune", "student": "student"}
STAGES |= {"baseline": "baseline"}
KEY = ["profile", "model", "seed"]
FACTS = ["database", "group", "label"]


@dataclass(frozen=True)
class Evidence(Kept):
    """What is kept of a study.

    Args:
        predictions: one row a recording of dev and test: split, database, group (a number that
            recordings of one subject share), label, then a column of logits named
            `profile/model/seed` for each model trained; variants are read on dev only.
        histories: profile, model, seed, epoch, loss, dev_auroc, seconds.
        trainings: profile, model, seed, is_the_papers, epochs, learning_rate, best_epoch, seconds,
            and where it was trained.
    """

    predictions: pd.DataFrame
    histories: pd.DataFrame
    trainings: pd.DataFrame

    COLUMNS: ClassVar = {
        "predictions": ("split", *FACTS),
        "histories": (*KEY, "epoch", "loss", "dev_auroc", "seconds"),
        "trainings": (*KEY, "is_the_papers", "epochs", "learning_rate", "best_epoch"),
    }

    @property
    def profile(self) -> str:
        """Name of the profile that was run with several seeds."""
        return self.trainings.profile.iloc[0]

    @property
    def is_the_papers(self) -> bool:
        """Whether the paper's numbers may stand beside these: see `Experiment.is_the_papers`."""
        return bool(self.trainings.is_the_papers.all())

    def logits(self, split: str, variants: bool = True) -> pd.DataFrame:
        """Long table of one split: profile, model, seed, database, group, label, logit."""
        rows = self.predictions[self.predictions.split == split]
        long = rows.drop(columns="split").melt(FACTS, value_name="logit").dropna()
        names = long.pop("variable").str.rsplit("/", n=2, expand=True).set_axis(KEY, axis=1)
        table = names.assign(seed=names.seed.astype(int)).join(long)
        return table if variants else table[table.profile == self.profile]


def gather(study: Study) -> Evidence:
    """Collect predictions and histories of every seed, and of those variants that are trained.

    Raises:
        InputError: if a seed is not finished, two seeds were evaluated on different recordings, or
            trainings differ in precision.
    """
    name = study.experiment.name
    unfinished = [s for s in study.seeds if not finished(study.look(s), MODELS)]
    if unfinished:
        raise InputError(
            f"seeds {unfinished} of {name} are not finished: run them first, with --seeds"
        )
    trained = [(name, study.look(seed), MODELS) for seed in study.seeds]
    trained += [
        (f"{name}-{variant}", run, (VARIANTS[variant].model,))
        for variant in VARIANTS
        for run in [study.look(seed, variant) for seed in study.seeds]
        if finished(run, (VARIANTS[variant].model,))
    ]
    trainings = pd.DataFrame([row for item in trained for row in _trainings(*item)])
    _refuse_mixed_precision(trainings)
    return Evidence(
        _predictions(name, trained),
        pd.concat([_histories(*item) for item in trained], ignore_index=True),
        trainings,
    )


def _refuse_mixed_precision(trainings: pd.DataFrame) -> None:
    """Models that are compared must have been computed alike."""
    by_precision = trainings.groupby("precision").apply(
        lambda part: ", ".join(
            sorted({f"{p} seed {s}" for p, s in zip(part.profile, part.seed, strict=True)})
        )
    )
    if len(by_precision) > 1:
        told = "; ".join(f"{name or 'unknown'}: {runs}" for name, runs in by_precision.items())
        raise InputError(
            f"trainings of different precision cannot be compared ({told}): train all with one "
            "--precision"
        )


def finished(run: Run, models: tuple[str, ...]) -> bool:
    """Whether each model is trained, and the predictions are those of the weights beside them."""
    weights = {model: run.path(f"{model}.json") for model in models}
    if not all(note.is_file() for note in weights.values()):
        return False
    stamps = {model: read_json(note)["fingerprint"] for model, note in weights.items()}
    notes = {(m, s): run.path(f"predictions/{m}-{s}.json") for m in models for s in EVALUATED}
    return all(
        note.is_file() and read_json(note).get("model") == stamps[model]
        for (model, _), note in notes.items()
    )


def _predictions(name: str, trained: list[tuple[str, Run, tuple[str, ...]]]) -> pd.DataFrame:
    parts = []
    for split in EVALUATED:
        columns, reference = {}, None
        for profile, run, models in trained:
            for model in models if split == "dev" or profile == name else ():
                table = saved_predictions(run, model, split)
                facts = table[["record", "label"]]
                reference = facts if reference is None else reference
                if not facts.equals(reference):
                    raise InputError(
                        f"{run.folder} was evaluated on other {split} recordings than the first "
                        "run: give both the same data and split lists"
                    )
                _refuse_other_weights(run, model, split, table)
                columns[f"{profile}/{model}/{run.experiment.seed}"] = table.logit.round(5)
        about = _about(trained[0][1], reference)
        parts.append(pd.DataFrame({"split": split, **about, "label": reference.label, **columns}))
    table = pd.concat(parts, ignore_index=True)
    return table.assign(group=pd.factorize(table.group)[0])


def _about(run: Run, predictions: pd.DataFrame) -> dict[str, pd.Series]:
    recordings = pd.read_csv(run.path("recordings.csv"), dtype=str).set_index("record")
    asked = recordings.loc[predictions.record].reset_index()
    return {name: asked[name] for name in ("database", "group")}


def _refuse_other_weights(run: Run, model: str, split: str, table: pd.DataFrame) -> None:
    """Logits on dev must give the AUROC for which their epoch was kept."""
    if split != "dev":
        return
    history = history_table(read_json(run.path(f"{model}.json"))["history"])
    keep = getattr(run.experiment, STAGES[model]).keep
    kept = history.set_index("epoch").dev_auroc[Trained(history, keep).best_epoch]
    # Weights loaded from a file lie in another order, and bfloat16 then rounds a few ties apart.
    if abs(kept - auroc(table.label, table.logit)) > 1e-3:
        raise InputError(
            f"{run.folder}: predictions of the {model} are not those of the epoch kept; delete "
            f"predictions/{model}-dev.json and run again"
        )


def _histories(profile: str, run: Run, models: tuple[str, ...]) -> pd.DataFrame:
    parts = []
    for stage in _stages(models):
        history = history_table(read_json(run.path(f"{stage}.json"))["history"])
        keys = {"profile": profile, "model": stage, "seed": run.experiment.seed}
        parts.append(history.round({"loss": 5, "dev_auroc": 6, "seconds": 1}).assign(**keys))
    table = pd.concat(parts, ignore_index=True)
    return table[[*KEY, *table.columns.drop(KEY)]]


def _trainings(profile: str, run: Run, models: tuple[str, ...]) -> list[dict[str, object]]:
    rows = []
    for stage in _stages(models):
        facts = read_json(run.path(f"{stage}.json"))
        history, where = history_table(facts["history"]), facts.get("environment", {})
        row = dict(zip(KEY, (profile, stage, run.experiment.seed), strict=True))
        row |= {"is_the_papers": run.experiment.is_the_papers, "epochs": len(history)}
        settings = getattr(run.experiment, STAGES[stage])
        row["learning_rate"] = settings.learning_rate
        keep = settings.keep
        row["best_epoch"] = Trained(history, keep).best_epoch
        row["seconds"] = round(history.seconds.sum())
        row |= {key: where.get(key, "") for key in ("device", "precision", "processor")}
        row["torch"] = where.get("versions", {}).get("torch", "")
        rows.append(row | {"commit": where.get("git_commit", "")})
    return rows


def _stages(models: tuple[str, ...]) -> tuple[str, ...]:
    return ("encoder", *models) if "teacher" in models else models
