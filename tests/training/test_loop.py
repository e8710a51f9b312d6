"""One procedure for all classifiers: what it converges to, keeps, repeats and survives."""

import math
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from hsutils.config import Augment, Fit, FrontEnd, Pretrain
from hsutils.data.cache import SpectrogramCache
from hsutils.errors import InputError
from hsutils.models.losses import nt_xent
from hsutils.models.teacher_student import StudentCNN
from hsutils.training import loop
from hsutils.training.checkpoints import (
    Checkpoint,
    copy_state,
    history_table,
    load_weights,
    save_weights,
)
from hsutils.training.datasets import Labeled, ViewPairs
from hsutils.training.devices import seed_everything
from hsutils.training.loop import Procedure, Trained, fit, predict, pretrain

pytestmark = pytest.mark.usefixtures("one_thread")

BASICS = {"epochs": 4, "learning_rate": 1e-2, "weight_decay": 1e-3, "batch_size": 8}
SETTINGS = Fit(**BASICS)


def changed(settings: Fit, **values) -> Fit:
    return settings.model_copy(update=values)


def contrastive(settings: Fit) -> Pretrain:
    return Pretrain(**{name: getattr(settings, name) for name in BASICS}, temperature=0.5)


class Killed(Exception):
    """Stands for whatever may stop a process."""


@pytest.fixture(scope="module")
def fabric() -> Fabric:
    return Fabric(accelerator="cpu", devices=1, precision="32-true")


def network(outputs: int = 1, seed: int = 0) -> nn.Sequential:
    """Convolution, batch normalization and dropout: whatever a training may get wrong."""
    seed_everything(seed)
    layers = [nn.Conv2d(1, 8, 5, stride=4), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(3)]
    layers += [nn.Flatten(), nn.Dropout(0.3), nn.Linear(72, outputs)]
    return nn.Sequential(*layers, *([nn.Flatten(0)] if outputs == 1 else []))


def procedure(folder: Path, settings: Fit = SETTINGS, name: str = "x", **facts) -> Procedure:
    checkpoint = Checkpoint(folder / "checkpoint.safetensors", "stamp")
    return Procedure(name, settings, facts.pop("seed", 0), checkpoint, **facts)


@dataclass
class Setting:
    """A small training of one of the two kinds; `run` gives weights and history."""

    kind: str
    cache: SpectrogramCache
    fabric: Fabric
    folder: Path
    model: nn.Module = field(init=False)

    def run(self, settings: Fit = SETTINGS, **facts) -> tuple[dict, list]:
        rows, proc = np.arange(20), procedure(self.folder, settings, **facts)
        if self.kind == "pretrain":
            proc = procedure(self.folder, contrastive(settings), **facts)
            self.model = network(8)
            pairs = ViewPairs(self.cache, rows, Augment(), proc.seed)
            trained = pretrain(self.model, pairs, proc, self.fabric)
        else:
            self.model = network()
            trained = fit(self.model, labeled(self.cache, rows), dev(self.cache), proc, self.fabric)
        return self.model.state_dict(), trained.history.drop(columns="seconds").values.tolist()


def labeled(cache: SpectrogramCache, rows: np.ndarray) -> Labeled:
    return Labeled(cache, rows, np.linspace(0, 1, len(rows)))


def dev(cache: SpectrogramCache) -> Labeled:
    return Labeled(cache, np.arange(30, 40), np.arange(10) % 2)


def same(a: tuple[dict, list], b: tuple[dict, list]) -> bool:
    weights = all(torch.equal(a[0][name], b[0][name]) for name in a[0])
    return weights and str(a[1]) == str(b[1])


def killing(monkeypatch, name: str, call: int) -> pytest.MonkeyPatch:
    """Let a function of the module raise at one of its calls."""
    function, calls = getattr(loop, name), []

    def failing(*arguments, **keywords):
        calls.append(1)
        if len(calls) == call:
            raise Killed
        return function(*arguments, **keywords)

    monkeypatch.setattr(loop, name, failing)


@pytest.fixture(params=["pretrain", "fit"])
def setting(request, noise_cache, fabric, tmp_path) -> Setting:
    return Setting(request.param, noise_cache, fabric, tmp_path)


@pytest.fixture
def fitting(noise_cache, fabric, tmp_path) -> Setting:
    return Setting("fit", noise_cache, fabric, tmp_path)


def another(setting: Setting) -> Setting:
    return replace(setting, folder=setting.folder / "another")


# What is learned


def test_a_student_of_a_constant_teacher_learns_that_constant(
    noise_cache, fabric, tmp_path, monkeypatch
):
    monkeypatch.setattr(loop, "roc_auc_score", lambda labels, logits: 1 - 1 / (1 + next(epochs)))
    epochs = iter(range(1, 100))
    seed_everything(0)
    student, rows = StudentCNN(noise_cache.shape), np.arange(32)
    soft = Labeled(noise_cache, rows, np.full(32, 0.2))
    settings = Fit(epochs=12, learning_rate=1e-3)
    trained = fit(student, soft, dev(noise_cache), procedure(tmp_path, settings), fabric)
    probability = torch.sigmoid(torch.from_numpy(predict(student, noise_cache, rows, fabric)))
    assert (probability - 0.2).abs().max() < 0.02
    entropy = -0.2 * math.log(0.2) - 0.8 * math.log(0.8)
    assert trained.history.loss.iloc[-1] == pytest.approx(entropy, abs=0.02)


def test_pre_training_brings_the_views_of_a_recording_together(noise_cache, fabric, tmp_path):
    pairs = ViewPairs(noise_cache, np.arange(32), Augment(masked_share=0.1), seed=0)
    settings = Pretrain(epochs=12, learning_rate=0.1, batch_size=16, temperature=0.1)
    trained = pretrain(linear(8), pairs, procedure(tmp_path, settings), fabric)
    assert trained.history.loss.iloc[-1] < trained.history.loss.iloc[0] - 0.4
    assert trained.history.dev_auroc.isna().all()
    assert trained.best_epoch == 12


@pytest.mark.parametrize(
    ("scores", "best"), [([0.6, 0.8, 0.8, 0.7], 2), ([0.9, 0.5, 0.5, 0.5], 1), ([0.1] * 4, 1)]
)
def test_the_first_epoch_with_the_best_dev_auroc_is_kept(fitting, monkeypatch, scores, best):
    seen, left = [], iter(scores)
    monkeypatch.setattr(loop, "roc_auc_score", lambda _, logits: seen.append(logits) or next(left))
    _, history = fitting.run()
    assert [row[2] for row in history] == scores
    kept = predict(fitting.model, fitting.cache, np.arange(30, 40), fitting.fabric)
    distances = [np.abs(kept - logits).max() for logits in seen]
    assert [epoch for epoch, distance in enumerate(distances, 1) if distance < 1e-5] == [best]


def test_the_best_epoch_is_read_from_the_history():
    columns = ["epoch", "loss", "dev_auroc", "seconds"]
    rows = [[1, 0.5, 0.7, 1], [2, 0.4, 0.9, 1], [3, 0.3, 0.9, 1]]
    table = history_table([dict(zip(columns, row, strict=True)) for row in rows])
    assert Trained(table).best_epoch == 2
    assert Trained(table.assign(dev_auroc=math.nan)).best_epoch == 3


def test_dev_labels_choose_the_epoch_and_nothing_else(noise_cache, fabric, tmp_path, monkeypatch):
    scores, found = iter([0.0, 1.0, 0.0, 0.0] * 2), []
    monkeypatch.setattr(loop, "roc_auc_score", lambda *_: next(scores))
    truth = dev(noise_cache)
    for labels in (truth.targets, 1 - truth.targets):
        poisoned = Labeled(noise_cache, truth.rows, labels)
        model, proc = network(), procedure(tmp_path / str(labels[0].item()))
        fit(model, labeled(noise_cache, np.arange(20)), poisoned, proc, fabric)
        found.append((model.state_dict(), []))
    assert same(*found)


def test_the_loss_of_an_epoch_is_the_mean_over_recordings_not_batches(fitting, monkeypatch):
    losses, bce = [], loop.soft_label_bce

    def noting(logits, targets, *_):
        loss = bce(logits, targets)
        losses.append((loss.item(), len(targets)))
        return loss

    monkeypatch.setattr(loop, "soft_label_bce", noting)
    _, history = fitting.run(changed(SETTINGS, epochs=1))
    values, sizes = np.array(losses).T
    assert sizes.tolist() == [8, 8, 4]
    assert history[0][1] == pytest.approx((values * sizes).sum() / 20)


# What is repeated


def test_equal_seeds_give_equal_weights_to_the_last_bit(setting):
    assert same(setting.run(), another(setting).run())


def test_other_seeds_give_other_weights(setting):
    assert not same(setting.run(), another(setting).run(seed=1))


def test_workers_do_not_change_the_weights(setting):
    settings = changed(SETTINGS, epochs=2)
    assert same(setting.run(settings), another(setting).run(settings, workers=2))


@pytest.mark.parametrize("call", [1, 4, 6, 8, 12])
def test_a_training_killed_at_any_step_and_started_again_ends_with_the_same_weights(
    setting, monkeypatch, call
):
    undisturbed = another(setting).run()
    with monkeypatch.context() as patch, pytest.raises(Killed):
        killing(patch, "nt_xent" if setting.kind == "pretrain" else "soft_label_bce", call)
        setting.run()
    assert same(setting.run(), undisturbed)


def test_a_training_killed_twice_or_after_its_last_epoch_still_ends_the_same(setting, monkeypatch):
    undisturbed = another(setting).run()
    for call in (5, 5):
        with monkeypatch.context() as patch, pytest.raises(Killed):
            killing(patch, "nt_xent" if setting.kind == "pretrain" else "soft_label_bce", call)
            setting.run()
    assert same(setting.run(), undisturbed)
    with monkeypatch.context() as patch:
        killing(patch, "_one_epoch", 1)
        assert same(setting.run(), undisturbed), "a finished training trains no more"


def test_a_trained_model_predicts_to_the_last_bit_as_when_loaded_from_its_file(fitting):
    fitting.run()
    save_weights(fitting.folder / "model.safetensors", fitting.model.state_dict(), {})
    loaded = load_weights(network(seed=1), fitting.folder / "model.safetensors")
    rows = np.arange(40)
    logits = [predict(m, fitting.cache, rows, fitting.fabric) for m in (fitting.model, loaded)]
    np.testing.assert_array_equal(*logits)


def test_a_loss_that_is_not_finite_stops_the_training_in_its_epoch(setting, monkeypatch):
    name = "nt_xent" if setting.kind == "pretrain" else "soft_label_bce"
    original, calls = getattr(loop, name), []

    def diverging(*arguments):
        calls.append(1)
        return original(*arguments) * (math.nan if len(calls) == 4 else 1)

    monkeypatch.setattr(loop, name, diverging)
    expected = r"x: the loss became NaN or infinite in epoch 2; lower x.learning_rate \(0.01\)"
    with pytest.raises(InputError, match=expected):
        setting.run()
    assert len(calls) == 4


# The order of recordings


def batches(setting: Setting, monkeypatch, **facts) -> list[list[float]]:
    """The targets of every batch, in order; they tell the recordings apart."""
    seen, bce = [], loop.soft_label_bce

    def noting(logits: Tensor, targets: Tensor, *_: float) -> Tensor:
        seen.append(targets.tolist())
        return bce(logits, targets)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "soft_label_bce", noting)
        setting.run(**facts)
    return seen


def test_every_epoch_shows_every_recording_once_in_an_order_of_its_own(fitting, monkeypatch):
    seen = batches(fitting, monkeypatch)
    epochs = [sum(seen[i : i + 3], []) for i in range(0, 12, 3)]  # noqa: RUF017
    everything = labeled(fitting.cache, np.arange(20)).targets.tolist()
    assert all(sorted(epoch) == everything for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4
    assert everything not in epochs


def test_the_order_follows_the_seed_and_not_the_procedure(fitting, monkeypatch):
    student = batches(fitting, monkeypatch, name="student")
    assert batches(another(fitting), monkeypatch, name="baseline") == student
    other = replace(fitting, folder=fitting.folder / "other")
    assert batches(other, monkeypatch, name="student", seed=7) != student


@pytest.mark.parametrize(("recordings", "sizes"), [(17, [8, 8]), (18, [8, 8, 2]), (16, [8, 8])])
def test_a_last_batch_of_one_recording_is_dropped(
    noise_cache, fabric, tmp_path, monkeypatch, recordings, sizes
):
    seen, bce = [], loop.soft_label_bce
    noting = lambda logits, targets, *_: seen.append(len(targets)) or bce(logits, targets)  # noqa: E731
    monkeypatch.setattr(loop, "soft_label_bce", noting)
    examples = labeled(noise_cache, np.arange(recordings))
    once = procedure(tmp_path, changed(SETTINGS, epochs=1))
    fit(network(), examples, dev(noise_cache), once, fabric)
    assert seen == sizes


def test_every_epoch_draws_masks_of_its_own(noise_cache, fabric, tmp_path, monkeypatch):
    pairs, seen = ViewPairs(noise_cache, np.arange(8), Augment(), seed=0), []
    monkeypatch.setattr(loop, "nt_xent", lambda *a: seen.append(pairs.epoch) or nt_xent(*a))
    pretrain(linear(8), pairs, procedure(tmp_path, contrastive(SETTINGS)), fabric)
    assert seen == [1, 2, 3, 4]


# Predictions


def test_predictions_keep_the_order_of_the_rows_whatever_the_batches(noise_cache, fabric):
    model, rows = network(), np.array([9, 3, 31, 3, 0])
    expected = [model.eval()(noise_cache.batch([row])).item() for row in rows]
    for batch_size in (1, 2, 16):
        logits = predict(model, noise_cache, rows, fabric, batch_size)
        assert logits.dtype == np.float32
        np.testing.assert_allclose(logits, expected, rtol=1e-5)


def test_predicting_is_without_chance_and_leaves_the_model_as_it_was(noise_cache, fabric):
    model, rows = network(), np.arange(20)
    before = copy_state(model)
    first, second = (predict(model, noise_cache, rows, fabric) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


# Two devices


def linear(outputs: int) -> nn.Sequential:
    """A network without batch normalization, whose batches may be divided between devices."""
    seed_everything(0)
    head = [nn.Flatten(0)] if outputs == 1 else []
    return nn.Sequential(nn.AdaptiveAvgPool2d(6), nn.Flatten(), nn.Linear(36, outputs), *head)


def learn(fabric: Fabric, cache_folder: Path, out: Path) -> None:
    """Gradient and loss of one NT-Xent batch, and both trainings, saved by the first rank."""
    cache = SpectrogramCache(cache_folder, FrontEnd(clip_seconds=1.5, mels=24))
    settings = changed(SETTINGS, batch_size=16 // fabric.world_size, epochs=2)
    results = gradient(fabric, cache)
    for name in ("pretrain", "fit"):
        model = linear(8 if name == "pretrain" else 1)
        kind = contrastive(settings) if name == "pretrain" else settings
        proc = procedure(out / f"{fabric.world_size}-{name}", kind)
        if name == "pretrain":
            trained = pretrain(model, ViewPairs(cache, np.arange(32), Augment(), 0), proc, fabric)
        else:
            trained = fit(model, labeled(cache, np.arange(32)), dev(cache), proc, fabric)
        results |= {f"{name}.{key}": value for key, value in model.state_dict().items()}
        results[f"{name}.loss"] = torch.tensor(trained.history.loss.to_numpy())
    torch.save(results, out / f"{fabric.world_size}-{fabric.global_rank}.pt")


def gradient(fabric: Fabric, cache: SpectrogramCache) -> dict[str, Tensor]:
    share = slice(fabric.global_rank, None, fabric.world_size)
    first, second = cache.batch(np.arange(16)[share]), cache.batch(np.arange(16, 32)[share])
    model = linear(8)
    wrapped = fabric.setup(model)
    z = loop._gather(fabric, wrapped(torch.cat([first, second])).unflatten(0, (2, -1)))
    loss = nt_xent(z[0], z[1], 0.5)
    fabric.backward(loss)
    return {"loss": loss.detach(), "gradient": model[2].weight.grad}


@pytest.fixture(scope="module")
def by_rank(noise_cache, fabric, tmp_path_factory) -> dict[str, dict[str, Tensor]]:
    """What `learn` finds on one device, and on each of two."""
    out = tmp_path_factory.mktemp("ranks")
    learn(fabric, noise_cache.folder, out)
    two = Fabric(accelerator="cpu", devices=2, strategy="ddp_spawn", precision="32-true")
    two.launch(learn, noise_cache.folder, out)
    return {path.stem: torch.load(path) for path in out.glob("*.pt")}


def test_two_devices_see_the_loss_and_gradient_of_one_with_the_whole_batch(by_rank):
    for rank in ("2-0", "2-1"):
        for quantity in ("loss", "gradient"):
            expected = by_rank["1-0"][quantity]
            torch.testing.assert_close(by_rank[rank][quantity], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["pretrain", "fit"])
def test_two_devices_learn_what_one_learns_with_the_whole_batch(by_rank, name):
    found = [key for key in by_rank["1-0"] if key.startswith(f"{name}.")]
    for key in found:
        first, second = by_rank["2-0"][key], by_rank["2-1"][key]
        if not (name == "fit" and key.endswith("loss")):
            assert torch.equal(first, second), "ranks agree to the last bit"
            torch.testing.assert_close(first, by_rank["1-0"][key].to(first), rtol=1e-3, atol=1e-4)


# Beyond the paper


@pytest.mark.parametrize(
    ("scores", "patience", "stopped"),
    [
        ([0.9, 0.8, 0.7, 0.6], 3, True),
        ([0.9, 0.8, 0.7], 3, False),
        ([0.9, 0.8, 0.8, 0.7], 3, False),
        ([0.6, 0.9, 0.8, 0.7], 2, True),
        ([0.9, 0.8, 0.7, 0.8], 2, False),
        ([0.9, 0.8, 0.7, 0.6], 0, False),
        ([], 1, False),
    ],
)
def test_a_training_stops_after_so_many_falls_of_dev_auroc_in_a_row(scores, patience, stopped):
    assert loop.has_stopped([{"dev_auroc": score} for score in scores], patience) is stopped


def test_a_training_that_stops_early_keeps_its_best_epoch_and_stays_stopped(fitting, monkeypatch):
    scores = iter([0.7, 0.9, 0.8, 0.6, 0.99, 0.99])
    monkeypatch.setattr(loop, "roc_auc_score", lambda *_: next(scores))
    settings = changed(SETTINGS, epochs=6, patience=2)
    weights, history = fitting.run(settings)
    assert [row[2] for row in history] == [0.7, 0.9, 0.8, 0.6]
    again, longer = fitting.run(settings)
    assert len(longer) == 4 and all(torch.equal(weights[name], again[name]) for name in weights)
    monkeypatch.undo()
    assert len(another(fitting).run(changed(settings, patience=0))[1]) == 6


def test_focal_loss_reaches_the_training(fitting):
    plain = fitting.run()
    focal = another(fitting).run(changed(SETTINGS, focal_gamma=2.0))
    assert focal[1][0][1] < plain[1][0][1], "every loss is weighed down"
    assert not same(plain, focal)


def test_even_epochs_show_every_stratum_equally_often(noise_cache, fabric, tmp_path, monkeypatch):
    shown, strata = [], np.array(["a"] * 15 + ["b"] * 5)
    examples = Labeled(noise_cache, np.arange(20), np.zeros(20), strata)
    original = Labeled.__getitem__
    monkeypatch.setattr(
        Labeled, "__getitem__", lambda self, i: (shown.append(i[0]), original(self, i))[1]
    )
    fit(network(), examples, dev(noise_cache), procedure(tmp_path), fabric)
    epochs = np.array(shown).reshape(SETTINGS.epochs, 20)
    assert all((strata[epoch] == "a").sum() == 10 for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == SETTINGS.epochs


BEYOND = changed(SETTINGS, epochs=4, mixup=0.4, schedule="cosine")


def test_mixed_and_cooled_trainings_resume_to_the_same_weights(fitting, monkeypatch):
    undisturbed = another(fitting).run(BEYOND)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        killing(patch, "_one_epoch", 3)
        fitting.run(BEYOND)
    assert same(fitting.run(BEYOND), undisturbed)
    unmixed = another(another(fitting)).run(changed(BEYOND, mixup=0.0))
    assert not same(unmixed, undisturbed)


@pytest.mark.parametrize(
    ("schedule", "shares"), [("constant", [1, 1, 1, 1]), ("cosine", [1, 0.853553, 0.5, 0.146447])]
)
def test_the_learning_rate_follows_its_schedule(fitting, monkeypatch, schedule, shares):
    rates, step = [], loop._one_epoch

    def noting(model, optimizer, *rest):
        rates.append(optimizer.param_groups[0]["lr"] / BEYOND.learning_rate)
        return step(model, optimizer, *rest)

    monkeypatch.setattr(loop, "_one_epoch", noting)
    fitting.run(changed(BEYOND, schedule=schedule))
    assert rates == pytest.approx(shares, abs=1e-6)


def test_the_last_epoch_is_kept_where_that_is_asked_for(fitting, monkeypatch):
    states, copy = [], loop.copy_state

    def noting(model):
        states.append(copy(model))
        return states[-1]

    monkeypatch.setattr(loop, "copy_state", noting)
    monkeypatch.setattr(loop, "roc_auc_score", lambda *_: 0.9 - 0.1 * len(states))
    weights, history = fitting.run(changed(BEYOND, keep="last"))
    assert len(states) == 1 + len(history), "the start, and every epoch"
    assert all(torch.equal(weights[name], states[-1][name]) for name in weights)
    table = pd.DataFrame(history, columns=["epoch", "loss", "dev_auroc"])
    assert [Trained(table, keep).best_epoch for keep in ("best", "last")] == [1, 4]
