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

CPU = Compute(accelerator="cpu", precision="32-true", threads=1)


@pytest.fixture(autouse=True)
def same_threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def hardware(monkeypatch, cuda: bool, bf16: bool, amx: bool, avx512: bool = False) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: bf16)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)


@pytest.mark.parametrize(
    ("accelerator", "cuda", "bf16", "amx", "precision"),
    [
        ("auto", True, True, False, "bf16-mixed"),
        ("cuda", True, False, True, "32-true"),
        ("auto", False, False, True, "bf16-mixed"),
        ("auto", False, False, False, "32-true"),
        ("cpu", True, True, False, "32-true"),
        ("cpu", True, False, True, "bf16-mixed"),
    ],
)
def test_auto_is_bfloat16_where_the_hardware_is_fast_at_it(
    monkeypatch, accelerator, cuda, bf16, amx, precision
):
    hardware(monkeypatch, cuda, bf16, amx)
    assert resolve_precision(Compute(accelerator=accelerator)) == precision


def test_vectors_of_bfloat16_are_as_good_as_tiles(monkeypatch):
    hardware(monkeypatch, cuda=False, bf16=False, amx=False, avx512=True)
    assert resolve_precision(Compute()) == "bf16-mixed"


def test_a_precision_that_is_named_is_used(monkeypatch):
    hardware(monkeypatch, cuda=False, bf16=False, amx=True)
    assert resolve_precision(Compute(precision="32-true")) == "32-true"


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


def test_a_fabric_has_the_profiles_device_precision_and_threads():
    fabric = start_fabric(CPU)
    assert fabric.device.type == "cpu"
    assert fabric.world_size == 1
    assert fabric.is_global_zero
    torch.set_num_threads(2)
    start_fabric(CPU)
    assert torch.get_num_threads() == 1, "whatever came between"
    assert torch.are_deterministic_algorithms_enabled()


def test_one_process_starts_one_fabric_a_setting():
    assert start_fabric(CPU) is start_fabric(Compute(**CPU.model_dump()))


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        ("cpu", torch.channels_last),
        ("cuda", torch.channels_last),
        ("mps", torch.contiguous_format),
    ],
)
def test_images_lie_channels_last_but_on_apples_gpus(device, expected):
    assert layout(SimpleNamespace(device=torch.device(device))) == expected


@pytest.mark.parametrize(("asked", "threads"), [("", 3), ("2", 2), ("4,2", 4), ("many", 3)])
def test_zero_threads_means_the_cores_that_are_allotted(monkeypatch, asked, threads):
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 5, 9}, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    torch.set_num_threads(1)
    start_fabric(Compute(accelerator="cpu"))
    assert torch.get_num_threads() == threads
