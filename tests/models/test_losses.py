"""NT-Xent and soft-label cross entropy: closed forms, symmetries, slow and foreign references."""

import math

import pytest
import torch
from pytorch_metric_learning.losses import NTXentLoss
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss

from hsutils.models.losses import nt_xent, soft_label_bce


def views(n: int, d: int = 8, seed: int = 0, dtype=torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(2, n, d, generator=generator, dtype=dtype))


def slow_nt_xent(z_i: Tensor, z_j: Tensor, temperature: float) -> float:
    """Equation 1 of Chen et al. 2020, one anchor at a time."""
    z, n = [*z_i, *z_j], len(z_i)
    total = 0.0
    for i, anchor in enumerate(z):
        similarity = [float(anchor @ other / anchor.norm() / other.norm()) for other in z]
        others = sum(math.exp(similarity[k] / temperature) for k in range(2 * n) if k != i)
        total -= math.log(math.exp(similarity[(i + n) % (2 * n)] / temperature) / others)
    return total / (2 * n)


@pytest.mark.parametrize("n", [2, 3, 16])
def test_identical_embeddings_cost_log_of_the_number_of_others(n):
    z = torch.ones(n, 5)
    assert nt_xent(z, z).item() == pytest.approx(math.log(2 * n - 1), rel=1e-6)


@pytest.mark.parametrize("temperature", [0.07, 0.5, 2.0])
def test_orthogonal_pairs_cost_what_the_softmax_of_one_among_zeros_costs(temperature):
    n = 6
    z = torch.eye(n, dtype=torch.float64)
    expected = math.log1p((2 * n - 2) * math.exp(-1 / temperature))
    assert nt_xent(z, z, temperature).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("n", [2, 5, 16])
@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_nt_xent_agrees_with_the_equation_written_out(n, temperature):
    z_i, z_j = views(n)
    expected = slow_nt_xent(z_i, z_j, temperature)
    assert nt_xent(z_i, z_j, temperature).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_nt_xent_agrees_with_pytorch_metric_learning(temperature):
    z_i, z_j = views(12, dtype=torch.float32)
    partner = torch.arange(12).repeat(2)
    expected = NTXentLoss(temperature)(torch.cat([z_i, z_j]), partner)
    assert nt_xent(z_i, z_j, temperature).item() == pytest.approx(expected.item(), rel=1e-5)


def test_nt_xent_sees_directions_only_and_no_order_of_pairs_or_of_views():
    z_i, z_j = views(9)
    lengths = torch.rand(2, 9, 1, dtype=torch.float64) * 100 + 0.01
    order, swapped = torch.randperm(9), torch.arange(9)[:, None] % 2 == 0
    for same in (
        (z_i * lengths[0], z_j * lengths[1]),
        (z_i[order], z_j[order]),
        (z_j, z_i),
        (torch.where(swapped, z_j, z_i), torch.where(swapped, z_i, z_j)),
    ):
        assert nt_xent(*same).item() == pytest.approx(nt_xent(z_i, z_j).item(), rel=1e-12)


def test_the_gradient_of_nt_xent_is_its_slope():
    inputs = tuple(z.requires_grad_() for z in views(4, d=3))
    assert torch.autograd.gradcheck(lambda z_i, z_j: nt_xent(z_i, z_j, 0.5), inputs)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_projections_are_compared_in_float32(dtype):
    z_i, z_j = (z.to(dtype) for z in views(8))
    loss = nt_xent(z_i, z_j)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(slow_nt_xent(z_i.double(), z_j.double(), 0.07), rel=1e-5)


@pytest.mark.parametrize(
    ("first", "second", "temperature", "problem"),
    [
        ((4, 8), (5, 8), 0.07, "expected two"),
        ((4, 2, 8), (4, 2, 8), 0.07, "expected two"),
        ((1, 8), (1, 8), 0.07, "two pairs"),
        ((4, 8), (4, 8), 0.0, "temperature"),
        ((4, 8), (4, 8), math.nan, "temperature"),
    ],
)
def test_nt_xent_refuses_what_it_cannot_compare(first, second, temperature, problem):
    with pytest.raises(ValueError, match=problem):
        nt_xent(torch.ones(first), torch.ones(second), temperature)


def test_soft_label_bce_is_the_cross_entropy_of_the_two_class_mixture():
    logits = torch.linspace(-4, 4, 9, dtype=torch.float64)
    soft = torch.linspace(0, 1, 9, dtype=torch.float64)
    p = 1 / (1 + torch.exp(-logits))
    expected = -(soft * torch.log(p) + (1 - soft) * torch.log(1 - p)).mean()
    assert soft_label_bce(logits, soft).item() == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize("soft_label", [0.02, 0.5, 0.9])
@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_soft_label_bce_is_smallest_where_the_student_agrees_with_the_teacher(soft_label, gamma):
    agreement = math.log(soft_label / (1 - soft_label))
    logits = agreement + torch.linspace(-1, 1, 21, dtype=torch.float64)
    target = torch.full((1,), soft_label, dtype=torch.float64)
    losses = [soft_label_bce(logit[None], target, gamma).item() for logit in logits]
    assert losses.index(min(losses)) == 10
    assert gamma == 0 or min(losses) == pytest.approx(0, abs=1e-9)


def test_soft_label_bce_neither_overflows_nor_broadcasts():
    assert soft_label_bce(torch.tensor([1e4]), torch.tensor([0.0])).item() == 1e4
    with pytest.raises(ValueError, match="soft labels"):
        soft_label_bce(torch.zeros(3), torch.zeros(3, 1))


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_focal_loss_of_true_labels_is_torchvisions(gamma):
    logits, labels = torch.linspace(-4, 4, 9), torch.tensor([0.0, 1.0, 0.0] * 3)
    expected = sigmoid_focal_loss(logits, labels, alpha=-1, gamma=gamma, reduction="mean")
    assert soft_label_bce(logits, labels, gamma).item() == pytest.approx(expected.item(), rel=1e-6)
