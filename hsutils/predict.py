"""A trained model as one file: read it, classify WAV files with it, and write it for others."""

import json
import shlex
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from hsutils.audio.spectrograms import read_log_mel, standardize
from hsutils.config import PROFILES, PROJECT, Profile, load_profile, parse_profile
from hsutils.errors import InputError
from hsutils.files import atomic_path
from hsutils.models.build import MODELS, new_network
from hsutils.run import Run
from hsutils.training.checkpoints import load_weights, save_weights

PACKAGED = Path(__file__).resolve().parent / "pretrained" / "compact.safetensors"
"""The compact CNN that comes with the package, see MODEL_CARD.md."""


def load_model(path: Path | str) -> tuple[nn.Module, Profile, dict[str, str]]:
    """A trained network as it was trained, whatever the settings beside it say now.

    Returns:
        The network in evaluation mode, its profile, and the file's metadata: `profile` (TOML) and
        `model`; from `export` also `command`, `environment` (JSON) and `history` (JSON).

    Raises:
        InputError: if there is no such file, or it holds no model of this project.
    """
    path = Path(path)
    if not path.is_file():
        what = "a folder, not a model" if path.is_dir() else "no such model"
        raise InputError(f"{path}: {what}; train it with `make run`, or name another --run-dir")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: no weights, or damaged ones ({error})") from error
    if metadata.get("model") not in MODELS or "profile" not in metadata:
        raise InputError(f"{path}: holds no {', '.join(MODELS)} with its profile")
    profile = parse_profile(metadata["profile"], str(path))
    network = load_weights(new_network(profile, metadata["model"]), path)
    return network.eval(), profile, metadata


@torch.no_grad()
def classify(
    files: Sequence[Path | str], model: Path | str = PACKAGED
) -> tuple[pd.DataFrame, list[str]]:
    """Logit, probability and class of each WAV file. For research and teaching, not for care.

    Args:
        files: of any sample rate; only the first `front_end.clip_seconds` are used.
        model: weights of a run, or what `export` wrote; refused as `load_model` does.

    Returns:
        Table file, logit, probability (of abnormal), prediction (normal or abnormal), and a line
        for each file that cannot be read.
    """
    network, profile, _ = load_model(model)
    network.to(memory_format=torch.channels_last)
    rows, problems = [], []
    for file in map(Path, files):
        try:
            spectrogram, _ = read_log_mel(file, profile.front_end)
        except InputError as error:
            problems += error.problems
            continue
        image = torch.from_numpy(standardize(spectrogram, profile.front_end))[None, None]
        rows.append((str(file), network(image).item()))
    table = pd.DataFrame(rows, columns=["file", "logit"])
    table["probability"] = 1 / (1 + np.exp(-table.logit))
    table["prediction"] = np.where(table.logit > 0, "abnormal", "normal")
    return table.round(4), problems


def export(run_dir: Path | str, model: str, target: Path | str) -> Path:
    """Write a model of a run as one file whose metadata (see `load_model`) say what made it.

    Raises:
        InputError: if the run has no such model.
    """
    source = PROJECT / run_dir / f"{model}.safetensors"
    network, profile, metadata = load_model(source)
    note = Run(source.parent, profile).note(source.name)
    metadata |= {"profile": profile.portable().to_toml(), "command": command_of(profile, model)}
    metadata |= {name: json.dumps(note.get(name)) for name in ("environment", "history")}
    with atomic_path(target) as temporary:
        save_weights(temporary, network.state_dict(), metadata)
    return Path(target)


def command_of(profile: Profile, model: str) -> str:
    """What trains a model again: a profile of the package, and whatever differs from it."""
    base = profile.name if (PROFILES / f"{profile.name}.toml").is_file() else "paper"
    usual, asked = (
        pd.json_normalize(p.model_dump()).to_dict("records")[0]
        for p in (load_profile(base), profile.portable())
    )
    speed = ("compute.threads", "compute.workers")
    differs = [key for key in asked if asked[key] != usual[key] and key not in speed]
    # As an override is read: TOML, in which truth is lower case.
    sets = [f"--set {shlex.quote(f'{key}={json.dumps(asked[key])}')}" for key in differs]
    command = f"python -m hsutils run --trainings-only --profile {base} --models {model}"
    return " ".join([command, *sets])
