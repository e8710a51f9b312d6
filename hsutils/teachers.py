"""Teachers of other runs, one or many, whose soft labels a student learns instead of its own's.

The mean of many networks' probabilities tells a student more than any one of them knows, and one
small network can learn it (Hinton et al. 2015, section 3). Teachers may differ in recipe, front end
and size from the student and from each other.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import nn

from hsutils.compute import start_fabric
from hsutils.corpus import load_corpus
from hsutils.errors import InputError
from hsutils.experiment import PROJECT, Experiment, Run, load_experiment
from hsutils.files import read_json
from hsutils.networks import trained_network
from hsutils.training import predict

Named = tuple[Path, str]
"""A run folder and one of its models."""


def named_teachers(run: Run) -> list[Named]:
    """The models that `distillation.teachers` names, filled in for this run.

    Raises:
        InputError: naming every one that is not `folder/model`, is not trained, or may have heard
            what this run is tested on.
    """
    settings, problems, found = run.experiment, [], []
    left_out = settings.splits.leave_out
    fill = {"seed": settings.seed, "without": f"without-{left_out}-" if left_out else ""}
    for name in settings.distillation.teachers.replace(",", " ").split():
        try:
            folder, _, model = name.format(**fill).rpartition("/")
        except (KeyError, IndexError, ValueError):
            problems.append(f"distillation.teachers '{name}': only {{without}} and {{seed}} change")
            continue
        teacher = (PROJECT / folder, model)
        problems += _problems(settings, teacher, f"distillation.teachers '{name}'")
        found.append(teacher)
    if problems:
        raise InputError(problems)
    return found


def _problems(student: Experiment, teacher: Named, name: str) -> list[str]:
    folder, model = teacher
    if not (folder / f"{model}.json").is_file():
        return [f"{name}: {folder / model}.safetensors is missing; train it first"]
    other = load_experiment(folder / "experiment.toml")
    heard = sorted(set(student.splits.leave_out) - set(other.splits.leave_out))
    if heard:
        return [f"{name}: it has heard database {', '.join(heard)}, which this run leaves out"]
    same = [replace(e.data, folder="") for e in (student, other)]
    if same[0] != same[1] or student.splits.method != other.splits.method:
        return [f"{name}: it is of other recordings or splits, and may have heard this run's test"]
    return []


def fingerprints(teachers: list[Named]) -> list[str]:
    """What each of them was made from."""
    return [read_json(folder / f"{model}.json")["fingerprint"] for folder, model in teachers]


def mean_opinion(run: Run, teachers: list[Named], split: str) -> np.ndarray:
    """Mean of the teachers' probabilities of abnormal, each through its own front end.

    Args:
        run: whose recordings.
        teachers: see `named_teachers`.
        split: see `Corpus.of`.

    Returns:
        Shape (n,), a recording of the split each.
    """
    return np.mean([_opinion(run, *trained_network(*t), split) for t in teachers], axis=0)


def _opinion(run: Run, network: nn.Module, teacher: Experiment, split: str) -> np.ndarray:
    heard_by = replace(run, experiment=replace(run.experiment, front_end=teacher.front_end))
    corpus, fabric = load_corpus(heard_by), start_fabric(run.experiment.compute)
    logits = predict(fabric.setup(network), corpus.cache, corpus.rows(split), fabric)
    return 1 / (1 + np.exp(-logits.astype(float)))
