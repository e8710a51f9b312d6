"""Trained models as files of their own: read with what made them, and written for others."""

import json
import shlex
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from onnxruntime import InferenceSession
from safetensors import SafetensorError, safe_open
from torch import nn

from hsutils.audio.heart_cycles import LinearModel
from hsutils.audio.spectrograms import padding_value
from hsutils.config import PROFILES, FrontEnd, Profile, load_profile, parse_profile
from hsutils.data.corpus import TRAINED, load_recordings, load_splits
from hsutils.errors import InputError
from hsutils.files import atomic_path
from hsutils.models.build import MODELS, new_network
from hsutils.models.compact import CompactCNN
from hsutils.models.heart_cycles import features_of, fitted
from hsutils.run import Run
from hsutils.training.checkpoints import load_weights, save_weights

PACKAGED_WEIGHTS = Path(__file__).resolve().parent / "pretrained" / "compact.safetensors"
"""The model that comes with the package, see MODEL_CARD.md."""
AGREEMENT = 1e-4  # between the logits of PyTorch and ONNX Runtime, at most
THRESHOLD = 0.0  # logit (paper section 4)


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


def export(source: Path | str, target: Path | str, heart_cycles: bool = False) -> Path:
    """Write a trained model as one file whose metadata (see `load_model`) say what made it.

    A target in .onnx holds a graph for ONNX Runtime: spectrograms (N, 1, mels, frames), padded or
    not, to logits (N,). A compact CNN takes any number of frames. The metadata also hold the
    `threshold` of the logit. With `heart_cycles` they hold a linear model of heart-cycle features,
    trained with all labels of the run; `predict` averages its logit with the network's.

    Raises:
        InputError: as `load_model`, if the target is neither .safetensors nor .onnx, or if an ONNX
            file's logits differ by more than `AGREEMENT`.
    """
    source, target = Path(source), Path(target)
    if target.suffix not in (".safetensors", ".onnx"):
        raise InputError(f"{target}: name a file that ends in .safetensors or .onnx")
    network, profile, metadata = load_model(source)
    if "command" not in metadata:  # a run's, which keeps the rest beside it
        note = Run(source.parent, profile).note(source.name)
        metadata["command"] = command_of(profile, metadata["model"])
        metadata["profile"] = profile.portable().to_toml()
        metadata |= {name: json.dumps(note.get(name)) for name in ("environment", "history")}
        if heart_cycles:
            own = load_profile(source.parent / "experiment.toml")  # which knows where its data are
            one, other = own.portable(), profile.portable()
            if (one.data, one.splits) != (other.data, other.splits):
                problem = "was opened with other settings of data or splits since it was trained"
                raise InputError(f"{source.parent}: {problem}; open it with those of the training")
            model = heart_cycle_model(Run(source.parent, own), source.stem)
            metadata["heart_cycles"] = model.to_json()
            to = f"export --run-dir runs/{profile.name} --model {metadata['model']}"
            metadata["command"] += f" && python -m hsutils {to} --heart-cycles --to model.onnx"
    elif heart_cycles:
        raise InputError(f"{source}: heart cycles are learned from a run; name it with --run-dir")
    with atomic_path(target) as temporary:
        if target.suffix == ".onnx":
            metadata["threshold"] = str(THRESHOLD)
            _write_onnx(temporary, network, profile.front_end.shape, metadata)
            if (apart := disagreement(network, temporary, profile.front_end)) > AGREEMENT:
                problem = f"ONNX Runtime's logits differ from PyTorch's by {apart:.2g}"
                raise InputError(f"{target}: {problem}, more than {AGREEMENT:g}; not written")
        else:
            save_weights(temporary, network.state_dict(), metadata)
    return target


def heart_cycle_model(run: Run, name: str, features: np.ndarray | None = None) -> LinearModel:
    """The linear model of a run's recordings, its logits on dev scaled to a network's spread.

    `features` (n, 117) are those of the run's recordings, found again unless given.

    Raises:
        InputError: if the run has no predictions on dev, or no heartbeat is found there.
    """
    recordings, splits = load_recordings(run), load_splits(run)
    features = features_of(recordings) if features is None else features
    split = recordings[["record"]].merge(splits, how="left").split
    trains, dev = split.isin(TRAINED).to_numpy(), (split == "dev").to_numpy()
    model = fitted(features[trains], recordings[trains])
    saved, spread = run.path(f"predictions/{name}-dev.csv"), model.logits(features[dev]).std()
    if not saved.is_file() or not spread:
        lacking = "heartbeat on dev" if saved.is_file() else f"{saved.name}; train it again"
        raise InputError(f"{run.folder}: has no {lacking}")
    return replace(model, share=float(pd.read_csv(saved).logit.std(ddof=0) / spread))


def _write_onnx(path: Path, network: nn.Module, shape: tuple[int, ...], metadata: dict) -> None:
    sizes, names = {0: torch.export.Dim("batch")}, {"input_names": ["spectrogram"]}
    if isinstance(network, CompactCNN):
        sizes[3] = torch.export.Dim("frames")
    options = names | {"output_names": ["logit"], "dynamic_shapes": (sizes,), "verbose": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of deprecated calls inside the exporter
        # A size of 1 would be taken for a constant.
        program = torch.onnx.export(network, (torch.zeros(2, *shape),), dynamo=True, **options)
    for node in program.model.graph:
        node.metadata_props.clear()  # names of folders on this machine
    program.model.metadata_props.update(metadata)
    program.save(path)


@torch.no_grad()
def disagreement(network: nn.Module, path: Path, front_end: FrontEnd) -> float:
    """The largest difference between the logits of PyTorch and ONNX Runtime, on random input."""
    session, apart, (_, mels, frames) = InferenceSession(path), [], front_end.shape
    for length in (1, 2, 15, 16, frames // 7, frames // 2, frames):
        noise = torch.randn(2, 1, mels, length, generator=torch.Generator().manual_seed(length))
        before, after = (frames - length) // 2, -((length - frames) // 2)
        padded = nn.functional.pad(noise, (before, after), value=padding_value(front_end))
        for images in [padded, noise] if isinstance(network, CompactCNN) else [padded]:
            (logits,) = session.run(None, {"spectrogram": images.numpy()})
            apart.append(np.abs(network(images).numpy() - logits).max())
    return max(apart)


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
