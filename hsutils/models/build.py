"""The networks of an experiment: new ones, and those that a run has trained."""

from pathlib import Path

from torch import nn

from hsutils.training.checkpoints import load_weights
from hsutils.models.compact import CompactCNN
from hsutils.errors import InputError
from hsutils.experiment import Experiment, load_experiment
from hsutils.models.teacher_student import StudentCNN, Teacher
from hsutils.audio.spectrograms import padding_value

MODELS = ("teacher", "student", "baseline")
CNNS = ("student", "baseline", "first-student")
"""One architecture; the last is a student before a second phase of distillation."""


def new_network(experiment: Experiment, model: str) -> nn.Module:
    """A network with weights drawn from the global generator.

    Args:
        experiment: whose front end and networks.
        model: teacher, or one of `CNNS`.

    Raises:
        ValueError: if it is neither.
    """
    if model not in ("teacher", *CNNS):
        raise ValueError(f"no network is called {model!r}")
    front_end, networks = experiment.front_end, experiment.networks
    padding = padding_value(front_end)
    if model == "teacher":
        return Teacher(padding=padding)
    if networks.cnn == "compact":
        return CompactCNN(front_end.mels, networks.width, padding)
    return StudentCNN(front_end.shape, padding)


def trained_network(folder: Path, model: str) -> tuple[nn.Module, Experiment]:
    """A network that a run has trained, in evaluation mode, and the run's experiment.

    Raises:
        InputError: if the run has no such model.
    """
    weights = folder / f"{model}.safetensors"
    if not weights.exists():
        raise InputError(f"{weights}: missing; train it first with `make run`, or name --run-dir")
    experiment = load_experiment(folder / "experiment.toml")
    return load_weights(new_network(experiment, model), weights).eval(), experiment
