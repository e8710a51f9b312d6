"""Laws of the drawings: layers, shapes and parameters are the model's own."""

import torch
from torch import nn

from hsutils.models.teacher_student import StudentCNN
from hsutils.plots.diagrams import trace


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
