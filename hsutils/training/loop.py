"""The two training procedures: contrastive `pretrain`, and `fit`, shared by all the rest.

Fine-tuning, distillation and the baseline are one procedure with other targets: the paper
compares nothing but the targets. Each epoch draws its random numbers from (seed, procedure,
epoch) alone, so a training resumed after any epoch ends with the same weights.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
import torch
from lightning_fabric import Fabric
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm.std import tqdm

from hsutils.audio.augment import mixup
from hsutils.config import Fit, Pretrain
from hsutils.data.cache import SpectrogramCache
from hsutils.errors import InputError
from hsutils.models.losses import nt_xent, soft_label_bce
from hsutils.progress import progress
from hsutils.training.checkpoints import Checkpoint, copy_state, history_table
from hsutils.training.datasets import Labeled, ViewPairs, loader
from hsutils.training.devices import layout, seed_everything, seed_for

Loss = Callable[[nn.Module, list[Tensor]], Tensor]


@dataclass(frozen=True)
class Trained:
    """What a training leaves behind besides weights: history (epoch, loss, dev_auroc, seconds)."""

    history: pd.DataFrame
    keep: str = "best"

    @property
    def best_epoch(self) -> int:
        """The epoch kept: the first with the best dev AUROC, or the last (`Fit.keep`).

        Also the last where no dev AUROC is measured, and 0 where nothing was trained.
        """
        scores = self.history.dev_auroc
        if scores.empty:
            return 0
        best = self.keep == "best" and scores.notna().any()
        return int(self.history.epoch[scores.argmax() if best else len(scores) - 1])


@dataclass(frozen=True)
class Procedure:
    """What two trainings of the same model may differ in besides their loss."""

    name: str  # section of the profile, for progress and seeds
    settings: Pretrain | Fit
    seed: int  # of the run
    checkpoint: Checkpoint
    workers: int = 0  # data loading processes


def pretrain(
    projector: nn.Module, pairs: ViewPairs, procedure: Procedure, fabric: Fabric
) -> Trained:
    """Contrastive pre-training of encoder and projection head with NT-Xent, without labels.

    Both views go through the network in one batch; across devices the embeddings of all ranks
    are gathered with gradients, so that every device sees all negatives (paper section 5.2).
    `projector` maps spectrograms to projections (N, D); it keeps the weights of the last epoch.
    """

    def loss_of(model: nn.Module, batch: list[Tensor]) -> Tensor:
        views = torch.cat(batch).contiguous(memory_format=layout(fabric))
        z = _gather(fabric, model(views).unflatten(0, (2, -1)))
        return nt_xent(z[0], z[1], procedure.settings.temperature)

    return _train(projector, pairs, loss_of, None, procedure, fabric)


def fit(
    model: nn.Module, examples: Dataset, dev: Labeled, procedure: Procedure, fabric: Fabric
) -> Trained:
    """Train a classifier on targets in [0, 1] and keep the epoch with the best dev AUROC.

    Args:
        model: maps spectrograms to logits (N,); left as in the epoch kept.
        examples: spectrograms with labels or soft labels.
        dev: spectrograms with true labels, used to choose the epoch only (paper section 5.2).
    """
    settings = procedure.settings

    def loss_of(model: nn.Module, batch: list[Tensor]) -> Tensor:
        spectrograms, targets = batch
        if settings.mixup:
            # The global generator is seeded anew in every epoch.
            generator = np.random.default_rng(np.random.randint(2**31))
            spectrograms, targets = mixup(spectrograms, targets, settings.mixup, generator)
        views = spectrograms.contiguous(memory_format=layout(fabric))
        return soft_label_bce(model(views), targets, settings.focal_gamma)

    def dev_auroc(model: nn.Module) -> float:
        logits = predict(model, dev.cache, dev.rows, fabric)
        return float(roc_auc_score(dev.targets.numpy(), logits))

    return _train(model, examples, loss_of, dev_auroc, procedure, fabric)


@torch.no_grad()
def predict(
    model: nn.Module, cache: SpectrogramCache, rows: np.ndarray, fabric: Fabric
) -> np.ndarray:
    """Logits, shape (N,), of some rows of the cache, with the model in evaluation mode."""
    model.eval().to(fabric.device)
    logits = []
    for part in np.array_split(rows, math.ceil(len(rows) / 16)):
        views = cache.batch(part).contiguous(memory_format=layout(fabric)).to(fabric.device)
        with fabric.autocast():
            logits.append(model(views).float().cpu())
    return torch.cat(logits).numpy()


def _train(
    model: nn.Module,
    examples: Dataset,
    loss_of: Loss,
    dev_auroc: Callable[[nn.Module], float] | None,
    procedure: Procedure,
    fabric: Fabric,
) -> Trained:
    settings, checkpoint = procedure.settings, procedure.checkpoint
    # On its device before the checkpoint is read: Adam's restored moments go where the weights are.
    model.to(device=fabric.device, memory_format=layout(fabric))
    optimizer = torch.optim.Adam(
        model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    best, history = checkpoint.restore(model, optimizer)
    best = best or copy_state(model)
    wrapped, stepper = fabric.setup(model, optimizer)
    batches = loader(examples, settings.batch_size, procedure.seed, procedure.workers, fabric)
    steps, done = settings.epochs * len(batches), len(history) * len(batches)
    with progress(None, steps, procedure.name, done, quiet=not fabric.is_global_zero) as bar:
        while len(history) < settings.epochs and not has_stopped(history, settings.patience):
            epoch, started = len(history) + 1, time.perf_counter()
            batches.sampler.set_epoch(epoch - 1)
            batches.dataset.epoch = epoch
            seed_everything(seed_for(procedure.seed, procedure.name, epoch))
            _set_rate(stepper, settings, epoch)
            wrapped.train()
            loss = one_epoch(wrapped, stepper, batches, loss_of, fabric, bar)
            if not math.isfinite(loss):
                problem = f"{procedure.name}: the loss became NaN or infinite in epoch {epoch}"
                remedy = f"lower {procedure.name}.learning_rate ({settings.learning_rate:g})"
                raise InputError(f"{problem}; {remedy}")
            score = dev_auroc(wrapped) if dev_auroc else math.nan
            last = dev_auroc is None or settings.keep == "last"
            if last or all(score > row["dev_auroc"] for row in history):
                best = copy_state(model)
            seconds = time.perf_counter() - started
            history.append({"epoch": epoch, "loss": loss, "dev_auroc": score, "seconds": seconds})
            measured = {"loss": loss} | ({"dev_auroc": score} if dev_auroc else {})
            bar.set_postfix({name: f"{value:.3f}" for name, value in measured.items()})
            if fabric.is_global_zero:
                checkpoint.save(model, best, optimizer, history)
    model.load_state_dict(best)
    # The layout of weights loaded from a file; the other one rounds predictions differently.
    model.to(memory_format=torch.contiguous_format)
    return Trained(history_table(history), settings.keep)


def has_stopped(history: list[dict], patience: int) -> bool:
    """Whether dev AUROC fell from epoch to epoch `patience` times running; 0 never stops."""
    scores = [row["dev_auroc"] for row in history][-patience - 1 :]
    return 0 < patience < len(scores) and all(b < a for a, b in pairwise(scores))


def _set_rate(optimizer: torch.optim.Optimizer, settings: Pretrain | Fit, epoch: int) -> None:
    """Half a cosine over all epochs, from the learning rate toward 0, where that is asked for."""
    share = 1.0
    if settings.schedule == "cosine":
        share = (1 + math.cos(math.pi * (epoch - 1) / settings.epochs)) / 2
    for group in optimizer.param_groups:
        group["lr"] = share * settings.learning_rate


def one_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: DataLoader,
    loss_of: Loss,
    fabric: Fabric,
    bar: tqdm,
) -> float:
    """Take a step for each batch and return the mean loss; stop at one that is not finite."""
    total, seen = 0.0, 0
    for batch in batches:
        loss = loss_of(model, fabric.to_device(batch))
        if not loss.isfinite():
            return loss.item()
        step(loss, optimizer, fabric)
        total, seen = total + loss.item() * len(batch[0]), seen + len(batch[0])
        bar.set_postfix(loss=f"{total / seen:.3f}", refresh=False)
        bar.update()
    return total / seen


def step(loss: Tensor, optimizer: torch.optim.Optimizer, fabric: Fabric) -> None:
    """Change the weights a little, against the gradient of a batch's loss."""
    fabric.backward(loss)
    optimizer.step()
    optimizer.zero_grad()


def _gather(fabric: Fabric, z: Tensor) -> Tensor:
    """Projections of all ranks as (2, N, D); on one device just `z`, already (2, N, D)."""
    if fabric.world_size == 1:
        return z
    everyone = fabric.all_gather(z, sync_grads=True)
    return everyone.transpose(0, 1).flatten(1, 2)
