"""Runs of one profile with several seeds, variants of it, and the tables that studies share.

A variant changes something of the profile. Whatever the change does not affect is taken over from
the run with the same seed. Every study has inputs (CSV files without record names), from which
`results.csv` and every picture are computed again without training.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from hsutils.config import PROJECT, Profile, load_profile
from hsutils.data.corpus import load_recordings
from hsutils.errors import InputError
from hsutils.models.build import MODELS
from hsutils.pipeline import EVALUATED, TRAIN, load_predictions
from hsutils.run import Run, open_run
from hsutils.training.checkpoints import history_table
from hsutils.training.loop import Trained

COLUMNS = ("study", "variant", "model", "seed", "protocol", "database", "metric")
VALUES = ["value", "low", "high"]
COUNTS = ("recordings", "abnormal", "seeds")
KEY = ["variant", "model", "seed"]
SECTIONS = {"encoder": "pretrain", "teacher": "finetune"}
"""The section of the profile that trains a network, where it has another name."""

Tables = dict[str, pd.DataFrame]
Pictures = dict[str, Callable[[], Figure]]
Variants = Mapping[str, tuple[str, Callable[[Profile], list[str]]]]
"""Name -> the model it is about, and from the profile to its overrides."""


@dataclass(frozen=True)
class Study:
    """A profile (`name`) with overrides for every run, and the seeds it is run with.

    Run folders are `base-<seed>` and `base-<variant>-<seed>`; the default base is `runs/<name>`.
    """

    name: str
    seeds: tuple[int, ...]
    overrides: tuple[str, ...] = ()
    base: str = ""

    @property
    def profile(self) -> Profile:
        """What all runs share."""
        return load_profile(self.name, self.overrides)

    def folder(self, seed: int, variant: str = "") -> Path:
        """The run folder of a seed, or of a variant with this seed."""
        base = PROJECT / (self.base or f"runs/{self.profile.name}")
        return base.with_name("-".join(filter(None, [base.name, variant, str(seed)])))

    def run(self, seed: int, variant: str = "", change: Iterable[str] = ()) -> Run:
        """The run of a seed or of a variant as it was left, or as it would be.

        Raises:
            InputError: if its folder was made with other settings, paths and machine aside.
        """
        asked = load_profile(self.name, [*self.overrides, f"seed={seed}", *change])
        folder = self.folder(seed, variant)
        if (folder / "experiment.toml").is_file():
            profiles = asked, load_profile(folder / "experiment.toml")
            one, other = (p.portable().model_dump(exclude={"compute"}) for p in profiles)
            if differing := [section for section in one if one[section] != other[section]]:
                raise InputError(
                    f"{folder} was made with other settings ({', '.join(differing)}): give the "
                    "same ones, or another --run-dir"
                )
        return Run(folder, asked, self.folder(seed) if variant else None)


def train(run: Run, models: Iterable[str] = MODELS) -> None:
    """Train models of a run; what is trained already is loaded."""
    print(run.folder, flush=True)
    opened = open_run("paper", run.folder, run.profile.model_dump(), run.parent)
    for model in models:
        TRAIN[model](opened)


def is_trained(run: Run, models: Iterable[str]) -> bool:
    """Whether models are trained and their predictions belong to the weights beside them."""
    weights = {model: run.note(f"{model}.safetensors").get("digest") for model in models}
    return all(
        digest and run.note(f"predictions/{model}-{split}.csv").get("model") == digest
        for model, digest in weights.items()
        for split in EVALUATED
    )


def variant_runs(study: Study, variants: Variants) -> Iterator[tuple[str, Run, tuple[str, ...]]]:
    """(variant, run, the models it is about) for all seeds of a study."""
    for name, (model, change) in variants.items():
        for seed in study.seeds:
            yield name, study.run(seed, name, change(study.profile)), (model,)


def gather(study: Study, variants: Variants) -> Tables:
    """Predictions and histories of all seeds, and of those variants that are trained.

    Returns:
        - predictions has one row per recording of dev and test, with split, database, group, label,
          and a column of logits `variant/model/seed` each; variants are evaluated on dev only.
        - histories: variant, model, seed, epoch, loss, dev_auroc, seconds.
        - trainings: variant, model, seed, and where and how it was trained.

    Raises:
        InputError: if runs were evaluated on different recordings or differ in precision.
    """
    own = [(study.profile.name, study.run(seed), MODELS) for seed in study.seeds]
    changed = variant_runs(study, variants)
    every = [item for item in (*own, *changed) if is_trained(*item[1:])]
    recordings, parts, histories, trainings = load_recordings(own[0][1]), [], [], []
    for split in EVALUATED:
        logits = {
            f"{name}/{model}/{run.profile.seed}": load_predictions(run, model, split)
            for name, run, models in (every if split == "dev" else own)
            for model in models
        }
        table = with_logits(recordings, logits).assign(split=split)
        parts.append(table[["split", "database", "group", "label", *logits]])
    predictions = pd.concat(parts, ignore_index=True)
    for name, run, models in every:
        for network in ("encoder", *models) if "teacher" in models else models:
            keys = {"variant": name, "model": network, "seed": run.profile.seed}
            history, about = _training(run, network)
            histories.append(history.assign(**keys)[[*KEY, *history]])
            trainings.append(keys | about)
    if len(used := {training["precision"] for training in trainings}) > 1:
        raise InputError(
            f"trainings of different precision ({', '.join(sorted(used))}) cannot be compared: "
            "train all with one --set compute.precision=..."
        )
    return {
        "predictions": predictions.assign(group=pd.factorize(predictions.group)[0]),
        "histories": pd.concat(histories, ignore_index=True),
        "trainings": pd.DataFrame(trainings),
    }


def _training(run: Run, network: str) -> tuple[pd.DataFrame, dict[str, object]]:
    """History of a network, and where and how it was trained."""
    settings = getattr(run.profile, SECTIONS.get(network, network))
    note = run.note(f"{network}.safetensors")
    history, where = history_table(note["history"]), note["environment"]
    about = {"is_the_papers": run.profile.is_the_papers, "epochs": len(history)}
    about |= {"learning_rate": settings.learning_rate}
    about["best_epoch"] = Trained(history, settings.keep).best_epoch
    about["seconds"] = round(history.seconds.sum())
    about |= {key: where[key] for key in ("device", "precision", "processor")}
    about |= {"torch": where["versions"]["torch"], "commit": where["git_commit"]}
    return history.round({"loss": 5, "dev_auroc": 6, "seconds": 1}), about


def with_logits(recordings: pd.DataFrame, logits: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The recordings that have predictions (record, logit), with a column of logits for each model.

    Raises:
        InputError: if a model was evaluated on other recordings than the first one.
    """
    records = next(iter(logits.values())).record
    other = [name for name, table in logits.items() if set(table.record) != set(records)]
    if other or not records.isin(recordings.record).all():
        raise InputError(
            f"{', '.join(other or logits)}: evaluated on other recordings than the first run; give "
            "all runs the same data and splits"
        )
    part = recordings.set_index("record", drop=False).loc[records].reset_index(drop=True)
    columns = {n: part.record.map(t.set_index("record").logit).round(5) for n, t in logits.items()}
    return part.assign(**columns)


def tidy(table: pd.DataFrame, **about: object) -> pd.DataFrame:
    """A table as rows of `results.csv`: each of its numbers in one, with its interval.

    Args:
        table: any of `COLUMNS`, and columns of numbers, each followed by low and high (such as
            `auroc, low, high` or `ppv, ppv_low, ppv_high`) where it has an interval. Where there is
            a column metric, it names `value`, and other numbers are named after both.
        about: column -> value of all rows.
    """
    numbers = [c for c in table if c not in (*COLUMNS, *COUNTS)]
    about = {c: table.get(c, "") for c in COLUMNS} | about
    parts = []
    for position, name in enumerate(numbers):
        if name.endswith(("low", "high")):
            continue
        ends = numbers[position + 1 : position + 3]
        ends = ends if ends and ends[0].endswith("low") else []
        values = dict(zip(VALUES, (table[column] for column in (name, *ends)), strict=False))
        metric = [m if name == "value" else f"{m}, {name}" for m in table.get("metric", ())]
        parts.append(pd.DataFrame(about | {"metric": metric or name} | values, table.index))
    rows = pd.concat(parts, ignore_index=True).reindex(columns=[*COLUMNS, *VALUES])
    rows = rows.dropna(subset="value")
    # A small p is not 0.
    tiny = rows.metric.str.contains(r"\bp\b") & (rows.value < 5e-6)
    return pd.concat([rows[~tiny].round(5), rows[tiny]]).sort_index()


def read_tables(folder: Path, files: Iterable[str]) -> Tables:
    """CSV files of a folder, by name without ending.

    Raises:
        InputError: naming the first file that is missing or no table.
    """
    tables = {}
    for file in files:
        try:
            tables[file.split(".")[0]] = pd.read_csv(folder / file)
        except (OSError, EOFError, ValueError) as error:
            problem = f"{folder / file}: {error}; run the study that writes it"
            raise InputError(problem) from error
    return tables
