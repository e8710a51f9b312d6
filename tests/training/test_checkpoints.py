"""Weights and checkpoints are whole, ours and never unpickled."""

import pickle

import pytest
import torch
from torch import nn

from hsutils.errors import InputError
from hsutils.training.checkpoints import (
    Checkpoint,
    copy_state,
    history_table,
    load_weights,
    save_weights,
)

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


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def refusal(call, *arguments) -> str:
    """The one line with which an InputError refuses."""
    with pytest.raises(InputError) as caught:
        call(*arguments)
    (problem,) = caught.value.problems
    assert "\n" not in problem
    return problem


def test_weights_come_back_bit_for_bit(tmp_path):
    model, _ = stepped()
    save_weights(tmp_path / "model.safetensors", model.state_dict(), {})
    loaded = load_weights(network(seed=1), tmp_path / "model.safetensors")
    assert same(loaded.state_dict(), model.state_dict())


def test_equal_weights_give_equal_bytes(tmp_path):
    model = network()
    save_weights(tmp_path / "a", model.state_dict(), {})
    save_weights(tmp_path / "b", model.to(memory_format=torch.contiguous_format).state_dict(), {})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_weights_of_another_architecture_are_refused_by_name(tmp_path):
    path = tmp_path / "teacher.safetensors"
    save_weights(path, nn.Linear(3, 2).state_dict(), {})
    problem = refusal(load_weights, network(), path)
    assert str(path) in problem and "Sequential" in problem
    save_weights(path, nn.Sequential(nn.Conv2d(1, 5, 3)).state_dict(), {})
    assert str(path) in refusal(load_weights, network(), path)


@pytest.mark.parametrize("damage", [b"", b"\x00" * 100, "half"])
def test_damaged_weights_are_refused_by_name(tmp_path, damage):
    path = tmp_path / "student.safetensors"
    save_weights(path, network().state_dict(), {})
    path.write_bytes(path.read_bytes()[:200] if damage == "half" else damage)
    assert str(path) in refusal(load_weights, network(), path)


def test_missing_weights_are_refused_by_name(tmp_path):
    assert "none.safetensors" in refusal(load_weights, network(), tmp_path / "none.safetensors")


class Trap:
    """Unpickling this sets the trap off."""

    sprung = False

    def __reduce__(self):
        return (setattr, (Trap, "sprung", True))


def test_nothing_is_unpickled(tmp_path):
    path = tmp_path / "model.safetensors"
    for content in (pickle.dumps(Trap()), pickle.dumps({"0.weight": Trap()})):
        path.write_bytes(content)
        refusal(load_weights, network(), path)
        refusal(Checkpoint(path, "stamp").restore, *stepped())
    torch.save(Trap(), path)
    refusal(load_weights, network(), path)
    refusal(Checkpoint(path, "stamp").restore, *stepped())
    assert not Trap.sprung
    pickle.loads(pickle.dumps(Trap()))
    assert Trap.sprung, "the trap works"


def test_a_restored_training_goes_on_exactly_where_it_was(tmp_path):
    checkpoint = Checkpoint(tmp_path / "deep" / "c.safetensors", "stamp")
    model, optimizer = stepped()
    best = copy_state(network(seed=9))
    checkpoint.save(model, best, optimizer, HISTORY)
    other, other_optimizer = stepped(seed=5, steps=0)
    restored, history = checkpoint.restore(other, other_optimizer)
    assert same(restored, best)
    assert str(history) == str(HISTORY)
    for seed in (7, 8):
        one_step(model, optimizer, seed)
        one_step(other, other_optimizer, seed)
    assert same(other.state_dict(), model.state_dict())


def test_without_a_checkpoint_nothing_is_restored(tmp_path):
    model, optimizer = stepped()
    before = copy_state(model)
    checkpoint = Checkpoint(tmp_path / "none", "stamp")
    assert checkpoint.restore(model, optimizer) == ({}, [])
    assert same(model.state_dict(), before)
    checkpoint.remove()


def test_a_checkpoint_of_another_training_is_ignored(tmp_path):
    path = tmp_path / "c.safetensors"
    model, optimizer = stepped()
    Checkpoint(path, "yesterday").save(model, {}, optimizer, HISTORY)
    one_step(model, optimizer, 3)
    before = copy_state(model)
    assert Checkpoint(path, "today").restore(model, optimizer) == ({}, [])
    save_weights(path, network().state_dict(), {})
    assert Checkpoint(path, "today").restore(model, optimizer) == ({}, [])
    assert same(model.state_dict(), before)


@pytest.mark.parametrize("damage", [b"", b"\x00" * 100, "half"])
def test_a_damaged_checkpoint_is_refused_by_name(tmp_path, damage):
    checkpoint = Checkpoint(tmp_path / "c.safetensors", "stamp")
    model, optimizer = stepped()
    checkpoint.save(model, {}, optimizer, HISTORY)
    whole = checkpoint.path.read_bytes()
    checkpoint.path.write_bytes(whole[: len(whole) // 2] if damage == "half" else damage)
    assert str(checkpoint.path) in refusal(checkpoint.restore, model, optimizer)


def test_a_finished_training_leaves_no_checkpoint(tmp_path):
    checkpoint = Checkpoint(tmp_path / "c.safetensors", "stamp")
    model, optimizer = stepped()
    checkpoint.save(model, {}, optimizer, HISTORY)
    checkpoint.remove()
    assert list(tmp_path.iterdir()) == []


def test_copied_weights_stay_when_training_goes_on():
    model, optimizer = stepped()
    copy = copy_state(model)
    frozen = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    one_step(model, optimizer, 3)
    assert same(copy, frozen)
    assert not same(copy, model.state_dict())


def test_the_history_is_a_table_with_fixed_columns():
    assert list(history_table([])) == ["epoch", "loss", "dev_auroc", "seconds"]
    assert history_table(HISTORY).epoch.tolist() == [1, 2]
