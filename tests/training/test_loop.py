"""One procedure for all classifiers: what it converges to, keeps, repeats and survives."""

import itertools
import math
from collections.abc import Callable
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
from hsutils.models.losses import nt_xent, soft_label_bce
from hsutils.models.teacher_student import StudentCNN
from hsutils.training import loop
from hsutils.training.checkpoints import Checkpoint, copy_state, load_weights, save_weights
from hsutils.training.datasets import Labeled, ViewPairs, loader
from hsutils.training.devices import seed_everything
from hsutils.training.loop import Procedure, Trained, fit, predict, pretrain, step

pytestmark = pytest.mark.usefixtures("one_thread")

BASICS = {"epochs": 4, "learning_rate": 1e-2, "weight_decay": 1e-3, "batch_size": 8}
SETTINGS = Fit(**BASICS)


def changed(settings: Fit, **values) -> Fit:
    return settings.model_copy(update=values)


SHORT = changed(SETTINGS, epochs=2)


def contrastive(settings: Fit) -> Pretrain:
    return Pretrain(**{name: getattr(settings, name) for name in BASICS}, temperature=0.5)


@pytest.fixture(scope="module")
def fabric() -> Fabric:
    return Fabric(accelerator="cpu", devices=1, precision="32-true")


def network(outputs: int = 1, seed: int = 0) -> nn.Sequential:
    """Convolution, batch normalization and dropout: whatever a training may get wrong."""
    seed_everything(seed)
    layers = [nn.Conv2d(1, 8, 5, stride=4), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(3)]
    layers += [nn.Flatten(), nn.Dropout(0.3), nn.Linear(72, outputs)]
    return nn.Sequential(*layers, *([nn.Flatten(0)] if outputs == 1 else []))


def linear(outputs: int = 1) -> nn.Sequential:
    """A network without batch normalization, whose batches may be divided between devices."""
    seed_everything(0)
    head = [nn.Flatten(0)] if outputs == 1 else []
    return nn.Sequential(nn.AdaptiveAvgPool2d(6), nn.Flatten(), nn.Linear(36, outputs), *head)


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
    make: Callable[..., nn.Module] = network
    model: nn.Module = field(init=False)

    @property
    def loss(self) -> str:
        """The loss function's name in the module."""
        return "nt_xent" if self.kind == "pretrain" else "soft_label_bce"

    def run(self, settings: Fit = SETTINGS, recordings: int = 20, **facts) -> tuple[dict, list]:
        rows = np.arange(recordings)
        if self.kind == "pretrain":
            proc = procedure(self.folder, contrastive(settings), **facts)
            self.model = self.make(8)
            pairs = ViewPairs(self.cache, rows, Augment(), proc.seed)
            trained = pretrain(self.model, pairs, proc, self.fabric)
        else:
            proc, self.model = procedure(self.folder, settings, **facts), self.make()
            trained = fit(self.model, labeled(self.cache, rows), dev(self.cache), proc, self.fabric)
        return self.model.state_dict(), trained.history.drop(columns="seconds").values.tolist()


def labeled(cache: SpectrogramCache, rows: np.ndarray) -> Labeled:
    return Labeled(cache, rows, np.linspace(0, 1, len(rows)))


def dev(cache: SpectrogramCache) -> Labeled:
    return Labeled(cache, np.arange(30, 40), np.arange(10) % 2)


def same(a: tuple[dict, list], b: tuple[dict, list]) -> bool:
    weights = all(torch.equal(a[0][name], b[0][name]) for name in a[0])
    return weights and str(a[1]) == str(b[1])


def killing(monkeypatch, name: str, call: int) -> None:
    """Let a function of the module be interrupted at one of its calls."""
    function, calls = getattr(loop, name), itertools.count(1)

    def failing(*arguments):
        if next(calls) == call:
            raise KeyboardInterrupt
        return function(*arguments)

    monkeypatch.setattr(loop, name, failing)


def watched(monkeypatch, name: str, what=lambda *arguments: arguments) -> list:
    """What is to be seen of the arguments of each call of a function of the module."""
    function, seen = getattr(loop, name), []
    monkeypatch.setattr(loop, name, lambda *a: seen.append(what(*a)) or function(*a))
    return seen


def scored(monkeypatch, scores: list[float]) -> None:
    """Let dev AUROC take these values, epoch after epoch."""
    left = iter(scores)
    monkeypatch.setattr(loop, "roc_auc_score", lambda *_: next(left))


@pytest.fixture(params=["pretrain", "fit"])
def setting(request, noise_cache, fabric, tmp_path) -> Setting:
    return Setting(request.param, noise_cache, fabric, tmp_path)


@pytest.fixture
def fitting(noise_cache, fabric, tmp_path) -> Setting:
    return Setting("fit", noise_cache, fabric, tmp_path)


@pytest.fixture(scope="module")
def undisturbed(noise_cache, fabric, tmp_path_factory) -> dict[str, tuple[dict, list]]:
    """What each kind of training ends with."""
    folder = tmp_path_factory.mktemp("undisturbed")
    kinds = ("pretrain", "fit")
    return {kind: Setting(kind, noise_cache, fabric, folder / kind).run() for kind in kinds}


def another(setting: Setting) -> Setting:
    return replace(setting, folder=setting.folder / "another")


# What is learned


def test_a_student_of_a_constant_teacher_learns_that_constant(
    noise_cache, fabric, tmp_path, monkeypatch
):
    scored(monkeypatch, list(range(100)))  # the last epoch is the best
    seed_everything(0)
    student, rows = StudentCNN(noise_cache.shape), np.arange(32)
    soft = Labeled(noise_cache, rows, np.full(32, 0.2))
    settings = Fit(epochs=12, learning_rate=1e-3)
    trained = fit(student, soft, dev(noise_cache), procedure(tmp_path, settings), fabric)
    probability = torch.sigmoid(torch.from_numpy(predict(student, noise_cache, rows, fabric)))
    assert (probability - 0.2).abs().max() < 0.02
    entropy = -0.2 * math.log(0.2) - 0.8 * math.log(0.8)
    assert trained.history.loss.iloc[-1] == pytest.approx(entropy, abs=0.02)


def test_a_step_moves_each_weight_against_its_gradient_and_forgets_it(fabric):
    weights = torch.tensor([1.0, -2.0], requires_grad=True)
    step((weights**2).sum(), torch.optim.SGD([weights], lr=0.1), fabric)
    assert weights.tolist() == pytest.approx([0.8, -1.6])
    assert weights.grad is None


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
    scored(monkeypatch, scores)
    seen = watched(monkeypatch, "roc_auc_score", lambda _, logits: logits)
    _, history = fitting.run()
    assert [row[2] for row in history] == scores
    kept = predict(fitting.model, fitting.cache, np.arange(30, 40), fitting.fabric)
    distances = [np.abs(kept - logits).max() for logits in seen]
    assert [epoch for epoch, distance in enumerate(distances, 1) if distance < 1e-5] == [best]


def test_the_best_epoch_is_read_from_the_history():
    table = pd.DataFrame({"epoch": [1, 2, 3], "dev_auroc": [0.7, 0.9, 0.9]})
    assert Trained(table).best_epoch == 2
    assert Trained(table, "last").best_epoch == 3
    assert Trained(table.assign(dev_auroc=math.nan)).best_epoch == 3
    assert Trained(table[:0]).best_epoch == 0


def test_dev_labels_choose_the_epoch_and_nothing_else(noise_cache, fabric, tmp_path, monkeypatch):
    scored(monkeypatch, [0.0, 1.0, 0.0, 0.0] * 2)
    truth, found = dev(noise_cache), []
    for labels in (truth.targets, 1 - truth.targets):
        poisoned = Labeled(noise_cache, truth.rows, labels)
        model, proc = network(), procedure(tmp_path / str(labels[0].item()))
        fit(model, labeled(noise_cache, np.arange(20)), poisoned, proc, fabric)
        found.append((model.state_dict(), []))
    assert same(*found)


def test_the_loss_of_an_epoch_is_the_mean_over_recordings_not_batches(fitting, monkeypatch):
    losses = watched(monkeypatch, "soft_label_bce", lambda *a: (soft_label_bce(*a), len(a[0])))
    _, history = fitting.run(changed(SETTINGS, epochs=1))
    values, sizes = np.array([(loss.item(), size) for loss, size in losses]).T
    assert sizes.tolist() == [8, 8, 4]
    assert history[0][1] == pytest.approx((values * sizes).sum() / 20)


# What is repeated


def test_equal_seeds_give_equal_weights_to_the_last_bit_and_others_do_not(setting, undisturbed):
    assert same(setting.run(), undisturbed[setting.kind])
    assert not same(another(setting).run(seed=1), undisturbed[setting.kind])


def test_workers_do_not_change_the_weights(setting):
    assert same(setting.run(SHORT), another(setting).run(SHORT, workers=2))


@pytest.mark.parametrize("calls", [[1], [6], [12], [5, 5]])
def test_a_training_killed_at_any_step_and_started_again_ends_with_the_same_weights(
    setting, undisturbed, monkeypatch, calls
):
    for call in calls:
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            killing(patch, setting.loss, call)
            setting.run()
    assert same(setting.run(), undisturbed[setting.kind])
    killing(monkeypatch, "one_epoch", 1)
    assert same(setting.run(), undisturbed[setting.kind]), "a finished training trains no more"


def test_a_trained_model_predicts_to_the_last_bit_as_when_loaded_from_its_file(fitting):
    fitting.run(SHORT)
    save_weights(fitting.folder / "model.safetensors", fitting.model.state_dict(), {})
    loaded = load_weights(network(seed=1), fitting.folder / "model.safetensors")
    rows = np.arange(40)
    logits = [predict(m, fitting.cache, rows, fitting.fabric) for m in (fitting.model, loaded)]
    np.testing.assert_array_equal(*logits)


def test_a_loss_that_is_not_finite_stops_the_training_in_its_epoch(setting, monkeypatch):
    original, calls = getattr(loop, setting.loss), []

    def diverging(*arguments):
        calls.append(1)
        return original(*arguments) * (math.nan if len(calls) == 4 else 1)

    monkeypatch.setattr(loop, setting.loss, diverging)
    expected = r"x: the loss became NaN or infinite in epoch 2; lower x.learning_rate \(0.01\)"
    with pytest.raises(InputError, match=expected):
        setting.run()
    assert len(calls) == 4


# The order of recordings


def batches(setting: Setting, monkeypatch, **facts) -> list[list[float]]:
    """The targets of every batch, in order; they tell the recordings apart."""
    with monkeypatch.context() as patch:
        seen = watched(patch, "soft_label_bce", lambda logits, targets, *_: targets.tolist())
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
    student = batches(fitting, monkeypatch, settings=SHORT, name="student")
    other = another(fitting)
    assert batches(other, monkeypatch, settings=SHORT, name="baseline") == student
    assert batches(another(other), monkeypatch, settings=SHORT, name="student", seed=7) != student


@pytest.mark.parametrize(("recordings", "sizes"), [(17, [8, 8]), (18, [8, 8, 2]), (16, [8, 8])])
def test_a_last_batch_of_one_recording_is_dropped(fitting, monkeypatch, recordings, sizes):
    seen = watched(monkeypatch, "soft_label_bce", lambda logits, *_: len(logits))
    fitting.run(changed(SETTINGS, epochs=1), recordings)
    assert seen == sizes


def test_every_epoch_draws_masks_of_its_own(noise_cache, fabric, tmp_path, monkeypatch):
    pairs = ViewPairs(noise_cache, np.arange(8), Augment(), seed=0)
    seen = watched(monkeypatch, "nt_xent", lambda *_: pairs.epoch)
    pretrain(linear(8), pairs, procedure(tmp_path, contrastive(SETTINGS)), fabric)
    assert seen == [1, 2, 3, 4]


# Predictions


@pytest.mark.parametrize("rows", [[9, 3, 31, 3, 0], np.r_[40:0:-1] - 1])
def test_predictions_follow_the_rows_whatever_the_batches_and_leave_the_model_as_it_was(
    noise_cache, fabric, rows
):
    model = network()
    before = copy_state(model)
    logits = predict(model, noise_cache, np.array(rows), fabric)
    assert logits.dtype == np.float32
    assert same((before, []), (model.state_dict(), []))
    expected = [model.eval()(noise_cache.batch([row])).item() for row in rows]
    np.testing.assert_allclose(logits, expected, rtol=1e-5)


# Two devices


def learn(fabric: Fabric, cache_folder: Path, out: Path) -> None:
    """Gradient and loss of one NT-Xent batch, and both trainings, saved by the first rank."""
    cache = SpectrogramCache(cache_folder, FrontEnd(clip_seconds=1.5, mels=24))
    settings = changed(SETTINGS, batch_size=16 // fabric.world_size, epochs=2)
    results = gradient(fabric, cache)
    for kind in ("pretrain", "fit"):
        training = Setting(kind, cache, fabric, out / f"{fabric.world_size}-{kind}", linear)
        weights, history = training.run(settings, recordings=32)
        results |= {f"{kind}.{key}": value for key, value in weights.items()}
        results[f"{kind}.loss"] = torch.tensor([row[1] for row in history])
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


@pytest.mark.parametrize("what", ["loss", "gradient", "pretrain", "fit"])
def test_two_devices_find_what_one_finds_with_the_whole_batch(by_rank, what):
    for key, expected in by_rank["1-0"].items():
        first, second = by_rank["2-0"][key], by_rank["2-1"][key]
        # Each rank of `fit` has the loss of its own share.
        if key.split(".")[0] == what and key != "fit.loss":
            tolerance = {"rtol": 1e-3, "atol": 1e-4} if "." in key else {"rtol": 1e-4, "atol": 1e-6}
            torch.testing.assert_close(first, expected.to(first), **tolerance)
            torch.testing.assert_close(second, expected.to(first), **tolerance)
            assert "." not in key or torch.equal(first, second), "ranks agree to the last bit"


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
    scored(monkeypatch, [0.7, 0.9, 0.8, 0.6, 0.99, 0.99])
    settings = changed(SETTINGS, epochs=6, patience=2)
    weights, history = fitting.run(settings)
    assert [row[2] for row in history] == [0.7, 0.9, 0.8, 0.6]
    again, longer = fitting.run(settings)
    assert len(longer) == 4 and all(torch.equal(weights[name], again[name]) for name in weights)


def test_focal_loss_reaches_the_training(fitting, undisturbed):
    plain, focal = undisturbed["fit"], fitting.run(changed(SETTINGS, focal_gamma=2.0))
    assert focal[1][0][1] < plain[1][0][1], "every loss is weighed down"
    assert not same(plain, focal)


def test_even_epochs_show_every_stratum_equally_often(fitting, monkeypatch):
    strata = np.array(["a"] * 15 + ["b"] * 5)
    monkeypatch.setattr(loop, "loader", lambda e, *rest: loader(replace(e, strata=strata), *rest))
    seen = batches(fitting, monkeypatch)
    epochs = np.concatenate(seen).reshape(SETTINGS.epochs, 20)
    assert all((epoch < 15 / 20).sum() == 10 for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == SETTINGS.epochs


BEYOND = changed(SETTINGS, mixup=0.4, schedule="cosine")


def test_mixed_and_cooled_trainings_resume_to_the_same_weights(fitting, monkeypatch):
    settings = changed(BEYOND, epochs=2)
    undisturbed = another(fitting).run(settings)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        killing(patch, "one_epoch", 2)
        fitting.run(settings)
    assert same(fitting.run(settings), undisturbed)
    unmixed = another(another(fitting)).run(changed(settings, mixup=0.0))
    assert not same(unmixed, undisturbed)


@pytest.mark.parametrize(
    ("schedule", "shares"), [("constant", [1, 1, 1, 1]), ("cosine", [1, 0.853553, 0.5, 0.146447])]
)
def test_the_learning_rate_follows_its_schedule(fitting, monkeypatch, schedule, shares):
    rates = watched(monkeypatch, "one_epoch", lambda _, adam, *rest: adam.param_groups[0]["lr"])
    fitting.run(changed(BEYOND, schedule=schedule))
    assert np.divide(rates, BEYOND.learning_rate) == pytest.approx(shares, abs=1e-6)


def test_the_last_epoch_is_kept_where_that_is_asked_for(fitting, monkeypatch):
    scored(monkeypatch, [0.9, 0.8, 0.7, 0.6])
    copies = watched(monkeypatch, "copy_state", copy_state)
    weights, history = fitting.run(changed(BEYOND, keep="last"))
    assert len(copies) == 1 + len(history), "the start, and every epoch"
    assert all(torch.equal(weights[name], copies[-1][name]) for name in weights)
