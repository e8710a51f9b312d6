"""Weights and checkpoints are whole, ours and never unpickled."""

import errno
import pickle
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import nn

from hsutils.errors import InputError
from hsutils.training import checkpoints
from hsutils.training.checkpoints import Checkpoint, copy_state, load_weights, save_weights

HISTORY = [
    {"epoch": 1, "loss": 0.1 + 0.2, "dev_auroc": float("nan"), "seconds": 1.5},
    {"epoch": 2, "loss": 1e-300, "dev_auroc": 2 / 3, "seconds": 0.5},
]


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    layers = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(36, 1))
    return layers.to(memory_format=torch.channels_last)


def stepped(seed: int = 0, steps: int = 2) -> tuple[nn.Module, torch.optim.Optimizer]:
    """A network and its optimizer after some steps on noise."""
    model = network(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    for step in range(steps):
        one_step(model, optimizer, step)
    return model, optimizer


def one_step(model: nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
    noise = torch.randn(4, 1, 5, 5, generator=torch.Generator().manual_seed(seed))
    model(noise).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()


def stepped_to(history: list) -> tuple[nn.Module, dict, torch.optim.Optimizer, list]:
    """What a checkpoint saves."""
    model, optimizer = stepped()
    return model, copy_state(network(seed=9)), optimizer, history


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def refused(path: Path) -> None:
    """A file is neither weights nor a checkpoint, and in one line that names it, says so."""
    for call in (load_weights, lambda *_: Checkpoint(path, "stamp").restore(*stepped())):
        with pytest.raises(InputError) as caught:
            call(network(), path)
        (problem,) = caught.value.problems
        assert str(path) in problem and "\n" not in problem


ABOUT = {name: f"über\n{name}" for name in "zyxwvutsrq"}


def test_weights_come_back_bit_for_bit_and_equal_ones_give_equal_bytes(tmp_path):
    model, _ = stepped()
    save_weights(tmp_path / "a", model.state_dict(), ABOUT)
    assert same(load_weights(network(seed=1), tmp_path / "a").state_dict(), model.state_dict())
    save_weights(
        tmp_path / "b",
        model.to(memory_format=torch.contiguous_format).state_dict(),
        dict(reversed(ABOUT.items())),
    )
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with safe_open(tmp_path / "a", framework="pt") as file:
        assert file.metadata() == ABOUT


@pytest.mark.parametrize("other", [nn.Linear(3, 2), nn.Sequential(nn.Conv2d(1, 5, 3)), None])
def test_weights_of_another_architecture_or_none_are_refused_by_name(tmp_path, other):
    path = tmp_path / "teacher.safetensors"
    if other:
        save_weights(path, other.state_dict(), {})
    with pytest.raises(InputError, match=r"teacher\.safetensors holds no weights of Seq") as caught:
        load_weights(network(), path)
    assert "\n" not in caught.value.problems[0]


@pytest.mark.parametrize("damage", [b"", b"\x00" * 100, "half"])
def test_a_damaged_file_is_refused_by_name(tmp_path, damage):
    path = tmp_path / "student.safetensors"
    Checkpoint(path, "stamp").save(*stepped_to(HISTORY))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if damage == "half" else damage)
    refused(path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a disk always full")
def test_a_full_disk_is_named(tmp_path):
    file = tmp_path / "weights.safetensors"
    file.symlink_to("/dev/full")
    with pytest.raises(OSError) as caught:
        save_weights(file, network().state_dict(), {})
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(file))


class Trap:
    """Unpickling this sets the trap off."""

    sprung = False

    def __reduce__(self):
        return (setattr, (Trap, "sprung", True))


def test_nothing_is_unpickled(tmp_path):
    path = tmp_path / "model.safetensors"
    for content in (pickle.dumps(Trap()), pickle.dumps({"0.weight": Trap()})):
        path.write_bytes(content)
        refused(path)
    torch.save(Trap(), path)
    refused(path)
    assert not Trap.sprung
    pickle.loads(pickle.dumps(Trap()))
    assert Trap.sprung, "the trap works"


def test_a_restored_training_goes_on_exactly_where_it_was(tmp_path):
    checkpoint = Checkpoint(tmp_path / "deep" / "c.safetensors", "stamp")
    model, best, optimizer, _ = saved = stepped_to(HISTORY)
    checkpoint.save(*saved)
    other, other_optimizer = stepped(seed=5, steps=0)
    restored, history = checkpoint.restore(other, other_optimizer)
    assert same(restored, best)
    assert str(history) == str(HISTORY)
    for seed in (7, 8):
        one_step(model, optimizer, seed)
        one_step(other, other_optimizer, seed)
    assert same(other.state_dict(), model.state_dict())
    checkpoint.remove()
    assert list(checkpoint.path.parent.iterdir()) == []


def test_nothing_is_restored_from_no_checkpoint_or_that_of_another_training(tmp_path):
    path = tmp_path / "c.safetensors"
    model, optimizer = stepped(steps=3)
    before = copy_state(model)
    for make in (
        Checkpoint(path, "stamp").remove,
        lambda: Checkpoint(path, "yesterday").save(*stepped_to(HISTORY)),
        lambda: save_weights(path, network().state_dict(), {}),
    ):
        make()
        assert Checkpoint(path, "stamp").restore(model, optimizer) == ({}, [])
        assert same(model.state_dict(), before)


def test_copied_weights_stay_when_training_goes_on():
    model, optimizer = stepped()
    copy, frozen = copy_state(model), deepcopy(model.state_dict())
    one_step(model, optimizer, 3)
    assert same(copy, frozen) and not same(copy, model.state_dict())


def test_the_history_is_a_table_with_fixed_columns():
    assert list(checkpoints.history_table([])) == ["epoch", "loss", "dev_auroc", "seconds"]
    assert checkpoints.history_table(HISTORY).epoch.tolist() == [1, 2]
