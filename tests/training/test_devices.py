"""Chance is seeded by purpose, and `auto` means what the hardware is fast at."""

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from hsutils.config import Compute
from hsutils.training.devices import (
    layout,
    resolve_precision,
    seed_everything,
    seed_for,
    start_fabric,
)

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = Compute(accelerator="cpu", precision="32-true", threads=1)


@pytest.mark.parametrize(
    ("asked", "fast", "precision"),
    [
        ({"accelerator": "auto"}, {"cuda", "bf16"}, "bf16-mixed"),
        ({"accelerator": "cuda"}, {"cuda", "amx"}, "32-true"),
        ({"accelerator": "auto"}, {"amx"}, "bf16-mixed"),
        ({"accelerator": "auto"}, {"avx512"}, "bf16-mixed"),
        ({"accelerator": "auto"}, set(), "32-true"),
        ({"accelerator": "cpu"}, {"cuda", "bf16"}, "32-true"),
        ({"accelerator": "cpu"}, {"cuda", "amx"}, "bf16-mixed"),
        ({"precision": "32-true"}, {"amx"}, "32-true"),
    ],
)
def test_auto_is_bfloat16_where_the_hardware_is_fast_at_it(monkeypatch, asked, fast, precision):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: "cuda" in fast)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: "bf16" in fast)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: "amx" in fast)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: "avx512" in fast)
    assert resolve_precision(Compute(**asked)) == precision


def test_seeds_repeat_and_differ_by_purpose_everywhere():
    assert seed_for(0, "finetune", 1) == 341241373
    purposes = [(0, "finetune", 1), (0, "finetune", 2), (0, "student", 1), (1, "finetune", 1), (0,)]
    assert len({seed_for(*purpose) for purpose in purposes}) == len(purposes)
    assert all(0 <= seed_for(seed, "x") < 2**32 for seed in range(50))


def test_seeding_everything_repeats_all_global_chance():
    def draw():
        return random.random(), np.random.random(), torch.rand(1).item()

    seed_everything(5)
    first = draw()
    seed_everything(5)
    assert draw() == first
    seed_everything(6)
    assert all(a != b for a, b in zip(draw(), first, strict=True))


def test_one_process_starts_one_fabric_of_the_profiles_device_and_threads():
    fabric = start_fabric(CPU)
    assert (fabric.device.type, fabric.world_size, fabric.is_global_zero) == ("cpu", 1, True)
    torch.set_num_threads(2)
    assert start_fabric(Compute(**CPU.model_dump())) is fabric
    assert torch.get_num_threads() == 1, "whatever came between"
    assert torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize("device", ["cpu", "cuda", "mps"])
def test_images_lie_channels_last_but_on_apples_gpus(device):
    expected = torch.contiguous_format if device == "mps" else torch.channels_last
    assert layout(SimpleNamespace(device=torch.device(device))) == expected


@pytest.mark.parametrize(("asked", "threads"), [("", 3), ("2", 2), ("4,2", 4), ("many", 3)])
def test_zero_threads_means_the_cores_that_are_allotted(monkeypatch, asked, threads):
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 5, 9}, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    torch.set_num_threads(1)
    start_fabric(Compute(accelerator="cpu"))
    assert torch.get_num_threads() == threads
