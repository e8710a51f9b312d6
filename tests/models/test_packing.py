"""Packed batches: the dense networks' outputs, gradients and statistics, with fewer columns."""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

from hsutils.models import packing
from hsutils.models.packing import RESNET_STAGES, STUDENT_STAGES, Level, pack
from hsutils.models.teacher_student import Encoder, StudentCNN, Teacher

pytestmark = pytest.mark.usefixtures("one_thread")

PADDING, MELS, WIDTH = 0.0487, 24, 1173
STAGES = (*RESNET_STAGES, *STUDENT_STAGES)

# Columns (first, one past last) that the recordings of a batch occupy, of WIDTH columns.
BATCHES = {
    "short": [(560, 640), (586, 587), (455, 700)],
    "touching either border": [(0, 90), (1100, WIDTH), (500, 700)],
    "near either border": [(250, 330), (900, 936), (300, 303)],
    "whole width": [(500, 700), (0, WIDTH), (3, 1170)],
    "nothing but whole": [(0, WIDTH), (1, WIDTH - 1)],
    "all padding": [(0, 0), (600, 640)],
    "nothing but padding": [(0, 0), (0, 0)],
    "first and last column": [(0, 1), (WIDTH - 1, WIDTH), (580, 581)],
    "identical": [(500, 700)] * 3,
}
# How many frames the Challenge's recordings fill: the middles of sixteen equal shares of them.
FRAMES = (395, 395, 403, 570, 709, 821, 919, 995, 1059, 1147, 1260, 1407, 1521, 1753, 1774, 2291)


def noise(spans: list[tuple[int, int]], width: int = WIDTH, mels: int = MELS) -> Tensor:
    """Noise where recordings are, padding elsewhere; equal spans hold equal noise."""
    images = torch.full((len(spans), 1, mels, width), PADDING, dtype=torch.float64)
    for image, (first, last) in zip(images, spans, strict=True):
        generator = torch.Generator().manual_seed(first)
        image[..., first:last] = 5 * torch.rand(mels, last - first, generator=generator).double()
    return images


@dataclass
class Network:
    """A network in double precision, how it computes packed, and its stages."""

    model: nn.Module
    packed: Callable
    stages: tuple
    mels: int  # as few as it takes


def narrow_encoder(channels: int = 8) -> Encoder:
    """The teacher's encoder with an eighth of its channels: as deep, and sooner done."""
    encoder = Encoder()
    encoder.conv1 = nn.Conv2d(1, channels, kernel_size=7, stride=2, padding=3, bias=False)
    encoder.bn1, encoder.inplanes = nn.BatchNorm2d(channels), channels
    for n, stride in enumerate((1, 2, 2, 2)):
        layer = encoder._make_layer(BasicBlock, channels * 2**n, 2, stride)
        setattr(encoder, f"layer{n + 1}", layer)
    return encoder


@pytest.fixture(scope="module")
def networks() -> dict[str, Network]:
    torch.manual_seed(0)
    encoders = {"encoder": Encoder(), "narrow encoder": narrow_encoder()}
    for norm in nn.ModuleDict(encoders).double().modules():
        if isinstance(norm, nn.BatchNorm2d):  # as if it had learned something
            for values in (norm.weight.data, norm.bias.data, norm.running_mean, norm.running_var):
                values.add_(torch.rand_like(values))
    made = {name: Network(e, packing.encode, RESNET_STAGES, 4) for name, e in encoders.items()}
    features = StudentCNN((1, MELS, WIDTH)).double().features
    made["student"] = Network(features, packing.student_features, STUDENT_STAGES, MELS)
    return made


@pytest.fixture(params=["narrow encoder", "student"])
def network(networks, request) -> Network:
    return networks[request.param]


def assert_close(actual: Tensor, expected: Tensor, what: str = "", tolerance: float = 1e-9):
    error, size = (actual - expected).abs().max(), expected.abs().max()
    assert error <= tolerance * size, f"{what}: off by {error:.1e} where values reach {size:.1e}"


def assert_same(run, dense_run, model: nn.Module) -> None:
    """Outputs, gradients of all parameters that have one, and buffers agree."""
    packed, dense = copy.deepcopy(model), copy.deepcopy(model)
    actual, expected = run(packed), dense_run(dense)
    assert actual.shape == expected.shape
    assert_close(actual, expected, "output")
    direction = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1))
    for output in (expected, actual):
        (output * direction.to(output.dtype)).sum().backward()
    for (name, ours), theirs in zip(packed.named_parameters(), dense.parameters(), strict=True):
        assert (ours.grad is None) == (theirs.grad is None)
        if theirs.grad is not None:
            assert_close(ours.grad, theirs.grad, name)
    for (name, ours), theirs in zip(packed.named_buffers(), dense.buffers(), strict=True):
        assert_close(ours.double(), theirs.double(), name)


def assert_same_packed(network: Network, images: Tensor) -> None:
    packed = pack(images, PADDING, network.stages)
    assert_same(lambda m: network.packed(m, packed), lambda m: m(images), network.model)


@pytest.mark.parametrize("batch", BATCHES)
def test_training_is_the_same_packed(batch, network):
    assert_same_packed(network, noise(BATCHES[batch], mels=network.mels))


def test_training_is_the_same_at_the_papers_width(networks):
    assert_same_packed(networks["encoder"], noise([(952, 1853), (0, 2805)], 2805, mels=4))


@torch.no_grad()
@pytest.mark.parametrize("width", [1152, 1175, 1176, 1178])
def test_evaluating_is_the_same_packed(width, networks):
    images = noise([(0, 90), (1100, width), (500, 700)], width, mels=4)
    before = networks["encoder"].model
    model = copy.deepcopy(before).eval()
    assert_close(packing.encode(model, pack(images, PADDING, RESNET_STAGES)), model(images))
    for after, buffer in zip(model.buffers(), before.buffers(), strict=True):
        assert torch.equal(after, buffer)


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_single_precision_stays_near_double(memory, networks):
    images = noise([(500, 700), (300, 880), (0, WIDTH)], mels=4)
    double = copy.deepcopy(networks["encoder"].model)
    single = copy.deepcopy(double).float().to(memory_format=memory)
    expected = double(images)
    packed = pack(images.float().contiguous(memory_format=memory), PADDING, RESNET_STAGES)
    actual = packing.encode(single, packed)
    assert actual.dtype == torch.float32
    assert_close(actual, expected, tolerance=1e-5)
    for (name, ours), theirs in zip(single.named_buffers(), double.buffers(), strict=True):
        assert_close(ours, theirs, name, tolerance=1e-5)
    actual.sum().backward()
    assert all(p.grad.isfinite().all() for p in single.parameters())


def gradients(model: nn.Module, run, autocast: bool) -> list[Tensor]:
    """Gradients of a loss that weighs outputs unevenly."""
    model = copy.deepcopy(model)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        output = run(model)
    direction = torch.randn(output.shape, generator=torch.Generator().manual_seed(1))
    (output * direction.to(output.dtype)).sum().backward()
    return [p.grad.double() for p in model.parameters() if p.grad is not None]


def relative_error(actual: list[Tensor], expected: list[Tensor]) -> float:
    off = torch.cat([(a - b).flatten() for a, b in zip(actual, expected, strict=True)])
    return float(off.norm() / torch.cat([b.flatten() for b in expected]).norm())


def test_bfloat16_is_no_farther_from_double_packed_than_dense(network):
    images = noise([(540, 620), (0, WIDTH)], mels=network.mels)
    packed = pack(images.float(), PADDING, network.stages)
    single = copy.deepcopy(network.model).float()
    exact = gradients(network.model, lambda m: m(images), False)
    dense = relative_error(gradients(single, lambda m: m(images.float()), True), exact)
    ours = relative_error(gradients(single, lambda m: network.packed(m, packed), True), exact)
    assert dense > 1e-3, "autocast did round"
    assert ours < 1.1 * dense


@torch.no_grad()
def test_a_recording_may_start_and_stop_anywhere(network):
    images = noise([(500 + n, 560 + 2 * n) for n in range(33)], mels=network.mels)
    packed, model = pack(images, PADDING, network.stages), copy.deepcopy(network.model).eval()
    assert_close(network.packed(model, packed), model(images))


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("batch", BATCHES)
def test_every_image_column_is_where_its_source_says(batch, stage):
    images = noise(BATCHES[batch])
    images[0, :, :, 510:530] = PADDING  # a mask may hold the padding's own value
    packed = pack(images, PADDING, (stage,))
    (layout,) = packed.layouts
    assert packed.canvas.shape == (1, 1, MELS, layout.length)
    assert torch.equal(packed.canvas[0, 0][:, layout.source].transpose(0, 1), images[:, 0])


def test_columns_within_a_recording_are_its_own():
    layout = pack(noise([(500, 700)] * 2), PADDING, ((32, 217),)).layouts[0]
    assert not torch.isin(layout.source[0, 500:700], layout.source[1]).any()


def test_the_papers_recordings_need_less_than_half_of_the_columns():
    spans = [((2805 - frames) // 2, (2805 + frames) // 2) for frames in FRAMES]
    images = noise(spans, 2805, 1)
    assert 0.4 < pack(images, PADDING, RESNET_STAGES).share < 0.5
    student = pack(images, PADDING, STUDENT_STAGES)
    assert 0.35 < student.share < 0.45
    assert student.share == student.canvas.shape[3] / (len(FRAMES) * 2805)


@pytest.mark.parametrize("make", [Teacher, lambda: StudentCNN((1, MELS, WIDTH))])
def test_an_accelerated_network_and_its_copy_compute_the_same_from_fewer_columns(make, monkeypatch):
    torch.manual_seed(0)
    model = make().double().train()
    images, calls = noise(BATCHES["short"]), []
    monkeypatch.setattr(packing, "pack", lambda *a: calls.append(1) or pack(*a))
    for part in model.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    fast = packing.accelerate(copy.deepcopy(model), PADDING)
    copied = copy.deepcopy(fast)
    expected = model(images)
    assert not calls
    for network in (fast, copied):
        torch.testing.assert_close(network(images), expected, rtol=1e-9, atol=1e-12)
    assert len(calls) == 2
    assert list(fast.state_dict()) == list(model.state_dict())


def test_batches_with_little_padding_are_computed_as_they_are(monkeypatch):
    monkeypatch.setattr(packing, "student_features", lambda *_: pytest.fail("packed"))
    fast = packing.accelerate(StudentCNN((1, MELS, WIDTH)).double().eval(), PADDING)
    assert fast(noise(BATCHES["nothing but whole"])).shape == (2,)


def test_padding_may_be_off_in_its_last_bit_but_no_recording_is_that_quiet():
    images = noise([(0, 0)] * 2).float()
    images[0] = torch.nextafter(images[0], torch.tensor(1.0))
    packed = pack(images, PADDING, RESNET_STAGES)
    assert packed.layouts[-1].whole == 0
    images[0, 0, 0, 0] += 2**-24 / 0.0735521  # the cache's smallest step, standardized
    assert pack(images, PADDING, RESNET_STAGES).layouts[-1].whole == 1


def reach_after(modules: list[nn.Module]) -> tuple[int, int]:
    """Stride and farther reach, to either side, of these layers one after the other."""
    stride, left, right = 1, 0, 0
    for module in modules:
        if isinstance(module, nn.Conv2d | nn.MaxPool2d):
            kernel, step, pad = (
                size if isinstance(size, int) else size[1]
                for size in (module.kernel_size, module.stride, module.padding)
            )
            left, right = left + pad * stride, right + (kernel - 1 - pad) * stride
            stride *= step
    return stride, max(left, right)


def test_stages_are_those_of_the_networks(networks):
    encoder = networks["encoder"].model
    stem, layers = [encoder.conv1, encoder.maxpool], [getattr(encoder, f"layer{n}") for n in "1234"]
    reached = []
    for layer in layers:
        stem += [convolution for block in layer for convolution in (block.conv1, block.conv2)]
        reached.append(reach_after(stem))
    assert tuple(reached) == RESNET_STAGES
    assert (reach_after(list(networks["student"].model)),) == STUDENT_STAGES


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_statistics_of_a_large_canvas_keep_their_digits(dtype):
    source = torch.arange(10_000)[None]
    level = Level(source, torch.ones(10_000, dtype=torch.long), source[:, :0].flatten())
    torch.manual_seed(0)
    canvas = (torch.randn(1, 16, 25, 10_000) + 1.5).relu()
    canvas = canvas.contiguous(memory_format=torch.channels_last).to(dtype)
    mean, variance = packing._statistics(canvas, level, 250_000)
    assert_close(mean, canvas.double().mean(dim=(0, 2, 3)), "mean", 5e-6)
    assert_close(variance, canvas.double().var(dim=(0, 2, 3), correction=0), "variance", 1e-5)
