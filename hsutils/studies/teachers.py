"""Teachers of other runs, one or many, whose soft labels a student learns instead of its own's.

The mean of many networks' probabilities tells a student more than any one of them knows, and one
small network can learn it (Hinton et al. 2015, section 3). Teachers may differ in recipe, front end
and size from the student and from each other.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from torch import nn

from hsutils.training.devices import resolve_precision, start_fabric
from hsutils.data.corpus import load_corpus, load_splits
from hsutils.errors import InputError
from hsutils.experiment import PROJECT, Experiment, Run, fingerprint, load_experiment
from hsutils.files import read_json
from hsutils.models.build import MODELS, trained_network
from hsutils.training.loop import predict

Named = tuple[Path, str]
"""A run folder and one of its models."""


def named_teachers(run: Run) -> list[Named]:
    """The models that `distillation.teachers` names, filled in for this run.

    Raises:
        InputError: naming every one that is not `folder/model`, is not trained, or has heard what
            this run is chosen or tested by.
    """
    settings, problems, found = run.experiment, [], []
    left_out = settings.splits.leave_out
    fill = {"seed": settings.seed, "without": f"without-{left_out}-" if left_out else ""}
    for name in filter(None, map(str.strip, settings.distillation.teachers.split(","))):
        try:
            folder, _, model = name.format(**fill).rpartition("/")
        except (LookupError, ValueError, AttributeError, TypeError):
            problems.append(f"distillation.teachers '{name}': only {{without}} and {{seed}} change")
            continue
        problem = _problem(run, PROJECT / folder, model)
        problems += [f"distillation.teachers '{name}': {problem}"] if problem else []
        found.append((PROJECT / folder, model))
    if problems:
        raise InputError(problems)
    return found


def _problem(run: Run, folder: Path, model: str) -> str:
    weights = folder / f"{model}.safetensors"
    if model not in MODELS:
        return f"{model!r} is no model: name a run folder, a slash, and {', '.join(MODELS)}"
    if not (weights.is_file() and weights.with_suffix(".json").is_file()):
        return f"{weights} is missing; train it first"
    setting = setting_of(load_experiment(folder / "experiment.toml"))
    # Runs from before it was noted cannot be told.
    if read_json(weights.with_suffix(".json")).get("setting", setting) != setting:
        return f"{folder} was opened with other settings since: train it again"
    splits = pd.read_csv(folder / "splits.csv", dtype=str).set_index("record").split
    learned = splits.index[splits.isin(["pretrain", "finetune"])]
    own = load_splits(run)
    asked = own.record[own.split.isin(["dev", "test"])]
    if heard := int(asked.isin(learned).sum()):
        return f"it has learned from {heard} recordings of this run's dev and test"
    return ""


def setting_of(experiment: Experiment) -> str:
    """What decides which recordings a model heard, and how: data, splits and front end."""
    data, splits = replace(experiment.data, folder=""), replace(experiment.splits, lists="")
    return fingerprint(data, splits, experiment.front_end)


def stamp_of(run: Run, teachers: list[Named]) -> list[str]:
    """What the opinion of these teachers depends on."""
    made = [read_json(folder / f"{model}.json")["fingerprint"] for folder, model in teachers]
    heard = [setting_of(load_experiment(folder / "experiment.toml")) for folder, _ in teachers]
    return [*made, *heard, resolve_precision(run.experiment.compute)]


def mean_opinion(run: Run, teachers: list[Named], split: str) -> np.ndarray:
    """Mean of the teachers' probabilities of abnormal, each through its own front end.

    Args:
        run: whose recordings.
        teachers: see `named_teachers`.
        split: see `Corpus.of`.

    Returns:
        Shape (n,), a recording of the split each.

    Raises:
        InputError: if a teacher's weights cannot be read.
    """
    return np.mean([_opinion(run, *trained_network(*t), split) for t in teachers], axis=0)


def _opinion(run: Run, network: nn.Module, teacher: Experiment, split: str) -> np.ndarray:
    heard_by = replace(run, experiment=replace(run.experiment, front_end=teacher.front_end))
    corpus, fabric = load_corpus(heard_by), start_fabric(run.experiment.compute)
    logits = predict(fabric.setup(network), corpus.cache, corpus.rows(split), fabric)
    return 1 / (1 + np.exp(-logits.astype(float)))
