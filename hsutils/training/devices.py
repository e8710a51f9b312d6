"""Lightning Fabric from a profile: the same training steps on a CPU, a GPU or many."""

import os
import random
import warnings
from functools import cache

import numpy as np
import torch
from lightning_fabric import Fabric

from hsutils.config import Compute, Profile, fingerprint
from hsutils.environment import usable_cores
from hsutils.errors import InputError


def start_fabric(compute: Compute) -> Fabric:
    """A launched Fabric with the profile's accelerator, devices, nodes, precision and threads."""
    torch.set_num_threads(compute.threads or usable_cores())
    return _launched(compute)


@cache
def _launched(compute: Compute) -> Fabric:
    """One process launches one Fabric a setting."""
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False
    options = {"accelerator": compute.accelerator, "precision": resolve_precision(compute)}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*You are using a CUDA device.*")
        fabric = Fabric(devices=compute.devices, num_nodes=compute.nodes, **options)
    if compute.devices * compute.nodes > 1:
        fabric.launch()
    return fabric


def resolve_precision(compute: Compute) -> str:
    """The precision that `auto` stands for here: bfloat16 where the hardware is fast at it."""
    if compute.precision != "auto":
        return compute.precision
    if compute.accelerator in ("auto", "cuda", "gpu") and torch.cuda.is_available():
        fast = torch.cuda.is_bf16_supported()
    else:
        fast = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return "bf16-mixed" if fast else "32-true"


def require_devices(profile: Profile) -> None:
    """Refuse what this machine cannot do, before any work.

    Raises:
        InputError: for an accelerator or devices that are not there.
    """
    compute, kind = profile.compute, profile.compute.accelerator
    there = {"cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    gpus = there.get(kind, 0 if kind == "cpu" else max(there.values()))
    if kind in ("cuda", "mps", "gpu") and not gpus:
        problem = f"'compute.accelerator' is {kind}, but this machine has none; use auto or cpu"
    elif compute.devices > (most := gpus or os.cpu_count() or 1):
        problem = f"'compute.devices' is {compute.devices}, but this machine has {most}"
    else:
        return
    raise InputError(f"profile {profile.name}: {problem}")


def layout(fabric: Fabric) -> torch.memory_format:
    """The order of images in memory: channels last, faster everywhere but on Apple's GPUs."""
    return torch.contiguous_format if fabric.device.type == "mps" else torch.channels_last


def seed_for(seed: int, *what: str | int) -> int:
    """An independent seed for one purpose, such as one epoch of one training."""
    return int(fingerprint(seed, *what)[:8], 16)


def seed_everything(seed: int) -> None:
    """Seed every global generator that a layer or a mixture may draw from."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
