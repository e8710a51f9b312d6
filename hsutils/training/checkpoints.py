"""Weights and unfinished trainings as safetensors: nothing is ever unpickled."""

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.optim import Optimizer

from hsutils.errors import InputError
from hsutils.files import atomic_path

State = dict[str, Tensor]


def save_weights(path: Path, state: State, metadata: dict[str, str]) -> None:
    """Write a state dict with metadata such as the profile (TOML); equal ones, equal bytes."""
    # safetensors refuses two names of one memory, such as best and current weights.
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    try:
        path.write_bytes(_in_order(save(plain, metadata)))
    except OSError as error:
        error.filename = str(path)  # which a full disk does not say
        raise


def _in_order(content: bytes) -> bytes:
    """A safetensors file whose metadata are sorted; the library writes them in any order."""
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    header["__metadata__"] = dict(sorted(header.get("__metadata__", {}).items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[start:]


def load_weights(model: nn.Module, path: Path) -> nn.Module:
    """Load a state dict into a model and return it.

    Raises:
        InputError: if the file is unreadable or belongs to another architecture.
    """
    try:
        model.load_state_dict(load_file(path))
    except (SafetensorError, OSError, RuntimeError) as error:
        why = str(error).splitlines()[0]
        raise InputError(f"{path} holds no weights of {type(model).__name__} ({why})") from error
    return model


@dataclass(frozen=True)
class Checkpoint:
    """An unfinished training: weights, best weights, optimizer and history after an epoch."""

    path: Path  # exists only while the training is unfinished
    stamp: str  # fingerprint of what the training depends on; a file with another is ignored

    def save(self, model: nn.Module, best: State, optimizer: Optimizer, history: list) -> None:
        """Replace the checkpoint by the state after the last epoch of `history`."""
        tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in best.items()}
        for i, slots in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{i}.{slot}": value for slot, value in slots.items()}
        note = {"stamp": self.stamp, "history": json.dumps(history)}
        with atomic_path(self.path) as temporary:
            save_weights(temporary, tensors, note)

    def restore(self, model: nn.Module, optimizer: Optimizer) -> tuple[State, list]:
        """Load the checkpoint if it is ours; best weights and history, empty if there is none.

        Raises:
            InputError: if the file is damaged.
        """
        if not self.path.exists():
            return {}, []
        try:
            with safe_open(self.path, framework="pt") as file:
                note = file.metadata() or {}
            if note.get("stamp") != self.stamp:
                return {}, []
            tensors = load_file(self.path)
        except (SafetensorError, OSError) as error:
            remedy = "delete it to train from the start"
            raise InputError(f"{self.path}: a damaged checkpoint ({error}); {remedy}") from error
        model.load_state_dict(_under("model.", tensors))
        state = optimizer.state_dict()
        for name, tensor in _under("optimizer.", tensors).items():
            i, slot = name.split(".")
            state["state"].setdefault(int(i), {})[slot] = tensor
        optimizer.load_state_dict(state)
        return _under("best.", tensors), json.loads(note["history"])

    def remove(self) -> None:
        """Delete the checkpoint: the training is finished."""
        self.path.unlink(missing_ok=True)


def _under(prefix: str, tensors: State) -> State:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def history_table(history: list[dict]) -> pd.DataFrame:
    """History rows as a table: epoch, loss, dev_auroc, seconds."""
    kinds = {"epoch": int, "loss": float, "dev_auroc": float, "seconds": float}
    return pd.DataFrame(history, columns=list(kinds)).astype(kinds)


def copy_state(model: nn.Module) -> State:
    """A copy of a model's weights that further training leaves alone."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
