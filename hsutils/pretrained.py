"""A trained model as one file: weights, and everything that made them, for those without the run.

The package holds one (`COMPACT`): the compact CNN of the native recipe on controlled waveforms,
with all mel bands below 414 Hz ("narrow" in `variants.BEYOND`) and all labels of the published
pretrain and finetune lists. The recipe is the best of four networks by databases left out two at a
time, its last epoch is kept, and test was not looked at.
"""

import dataclasses
import json
import shlex
import tempfile
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from hsutils.errors import InputError
from hsutils.experiment import PROJECT, Experiment, load_experiment
from hsutils.files import atomic_path, read_json
from hsutils.models.build import new_network
from hsutils.settings import Artificial, Data, Splits

COMPACT = Path(__file__).resolve().parent / "pretrained" / "compact.safetensors"
FIELDS = ("model", "experiment", "command", "environment", "history")


def export(run_dir: Path | str, model: str, target: Path | str) -> Path:
    """Write a model of a run as one file with its metadata.

    The metadata are texts: `model` (teacher, student or baseline), `experiment` (the profile,
    TOML, without this machine's folders), `command` (which trains it again), `environment`
    (versions, machine, precision and commit, JSON) and `history` (loss and dev AUROC of each epoch,
    JSON).

    Raises:
        InputError: if the run has no such model.
    """
    folder = PROJECT / run_dir
    weights, note = folder / f"{model}.safetensors", folder / f"{model}.json"
    if not (weights.is_file() and note.is_file()):
        raise InputError(f"{weights}: missing; train it first, or name another --run-dir")
    experiment, facts = _anywhere(load_experiment(folder / "experiment.toml")), read_json(note)
    metadata = {
        "model": model,
        "experiment": experiment.to_toml(),
        "command": command_of(experiment, model),
        "environment": json.dumps(facts.get("environment", {})),
        "history": json.dumps(facts["history"]),
    }
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(target) as temporary:
        save_file(load_file(weights), temporary, metadata)
    return target


def load_pretrained(path: Path | str = COMPACT) -> tuple[nn.Module, Experiment, dict[str, str]]:
    """A network in evaluation mode, the experiment that it was trained in, and its metadata.

    Raises:
        InputError: if the file is not one that `export` wrote.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        state = load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"{path}: no weights ({error}); name a file that `export` wrote"
        ) from error
    if missing := [field for field in FIELDS if field not in metadata]:
        raise InputError(f"{path}: lacks {', '.join(missing)}; name a file that `export` wrote")
    experiment = _read(metadata["experiment"])
    network = new_network(experiment, metadata["model"])
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(f"{path}: its weights are not of the network it names") from error
    return network.eval(), experiment, metadata


def _read(text: str) -> Experiment:
    with tempfile.TemporaryDirectory() as folder:
        profile = Path(folder) / "experiment.toml"
        profile.write_text(text, encoding="utf-8")
        return load_experiment(profile)


def _anywhere(experiment: Experiment) -> Experiment:
    """The same experiment with the folders of a newcomer."""
    data = dataclasses.replace(experiment.data, folder="data/challenge-2016")
    splits = dataclasses.replace(experiment.splits, lists=Splits().lists)
    artificial = dataclasses.replace(experiment.artificial, folder=Artificial().folder)
    teachers = experiment.distillation.teachers.replace(f"{PROJECT}/", "")
    distillation = dataclasses.replace(experiment.distillation, teachers=teachers)
    experiment = dataclasses.replace(experiment, distillation=distillation)
    if experiment.data.source != Data().source:
        data = dataclasses.replace(data, folder="data/synthetic")
    return dataclasses.replace(experiment, data=data, splits=splits, artificial=artificial)


def command_of(experiment: Experiment, model: str) -> str:
    """What trains a model again: the profile of that name, and whatever differs from it.

    Raises:
        InputError: if the package has no profile of that name.
    """
    profile = load_experiment(experiment.name)
    own, usual = (_flat(e) for e in (experiment, profile))
    # As an override is read: TOML, in which truth is lower case.
    changed = [f"{key}={json.dumps(value)}" for key, value in own.items() if value != usual[key]]
    parts = ["python -m hsutils run --trainings-only", f"--profile {experiment.name}"]
    parts += [f"--seeds {experiment.seed}", f"--models {model}"]
    parts += [f"--set {shlex.quote(text)}" for text in changed]
    return " ".join(parts)


def _flat(experiment: Experiment) -> dict[str, object]:
    """Dotted field -> value, but for the seed and for how fast it is computed."""
    return {
        f"{table}.{key}": value
        for table, fields in dataclasses.asdict(experiment).items()
        if isinstance(fields, dict)
        for key, value in fields.items()
        if f"{table}.{key}" not in ("compute.threads", "compute.workers")
    }
