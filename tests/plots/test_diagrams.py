"""Laws of the drawings: layers, shapes and parameters are the model's own."""

import numpy as np
import pytest
import torch
from torch import nn

from hsutils import plots
from hsutils.models.losses import nt_xent
from hsutils.models.teacher_student import StudentCNN
from hsutils.plots.diagrams import PULL, PUSH, trace


def test_steps_and_drawing_hold_every_parameter_of_the_model(draw):
    steps, figure = trace(StudentCNN(), (1, 50, 2805)), draw("architecture")
    assert sum(step.parameters for step in steps) == 5_838_465
    assert [step.shape for step in steps if step.names[0] == "Flatten"] == [(44_800,)]
    assert figure.get_suptitle() == "StudentCNN: 5,838,465 parameters"
    texts = {text.get_text() for text in figure.axes[0].texts}
    assert {"5,734,528 parameters", "1 × 50 × 2,805", "conv 9×9, stride 2\nLeakyReLU"} < texts


def test_layers_that_keep_the_shape_join_the_layer_before():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.LeakyReLU(), nn.Flatten(), nn.Linear(24, 24))
    names = [["input"], ["conv 3×3", "LeakyReLU"], ["Flatten"], ["linear 24 → 24"]]
    assert [step.names for step in trace(model, (1, 4, 5))] == names


def test_tracing_changes_neither_modes_nor_statistics_nor_hooks():
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout()).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trace(model, (4,))
    assert all(module.training and not module._forward_hooks for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_training_regime_shows_the_counts_it_was_given(draw, given):
    texts = " ".join(text.get_text() for text in draw("training_regime").axes[0].texts)
    assert all(f"{count:,} recordings" in texts for count in given["training_regime"][0].values())


def test_contrast_brings_partners_together_and_recordings_apart(draw, given):
    *views, temperature = given["contrast"]
    before, after = draw("contrast").axes
    assert before.get_title("left") == f"before: loss {nt_xent(*views, temperature):.2f}"
    recordings, copies = (np.stack(line.get_data(), axis=1) for line in after.lines[1:])
    assert np.abs(recordings - copies).max() < 0.05
    gaps = np.linalg.norm(recordings[:, None] - recordings, axis=-1)[np.triu_indices(4, 1)]
    assert gaps.min() > 1.2


def test_the_partner_is_pulled_and_the_nearest_negative_is_pushed_hardest(draw):
    arrows = draw("contrast").axes[0].patches
    colors = [
        "#{:02X}{:02X}{:02X}".format(*(round(255 * c) for c in a.get_ec()[:3])) for a in arrows
    ]
    assert colors == [PUSH] * 3 + [PULL] + [PUSH] * 3
    pushes = [
        arrow.get_linewidth() for arrow, color in zip(arrows, colors, strict=True) if color == PUSH
    ]
    assert np.argmax(pushes) == 5, "the copy of the fourth recording"


@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_probabilities_are_the_softmax_of_the_similarities_beside_them(given, temperature):
    *views, _ = given["similarities"]
    figure = plots.similarities(*views, temperature)
    cosines, shares = (axes.collections[0].get_array() for axes in figure.axes)
    assert cosines.shape == (4, 8) and np.array_equal(np.argwhere(cosines.mask)[:, 1], range(4))
    weights = np.exp(cosines / temperature)
    assert np.allclose(shares, weights / weights.sum(axis=1, keepdims=True), atol=1e-5)
    assert f"loss {nt_xent(*views, temperature):.2f} nats" in figure.get_suptitle()


def test_distillation_shows_both_probabilities(draw):
    texts = {text.get_text() for text in draw("distillation").axes[0].texts}
    assert {"0.80", "0.20", "0.60", "0.40", "frozen", "soft label q"} < texts
