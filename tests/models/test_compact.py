"""The compact CNN sees what a recording occupies, and nothing else."""

import copy

import pytest
import torch
from torch import Tensor, nn

from hsutils.models.compact import CompactCNN, MaskedBatchNorm, occupied
from hsutils.models.teacher_student import count_parameters

pytestmark = pytest.mark.usefixtures("one_thread")

MELS, PADDING = 20, 0.25


def sound(frames: int, seed: int = 0) -> Tensor:
    """A spectrogram without padding, shape (1, MELS, frames)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, MELS, frames, generator=generator, dtype=torch.float64)


def padded(frames: Tensor, before: int, after: int) -> Tensor:
    return nn.functional.pad(frames, (before, after), value=PADDING)


@pytest.fixture
def model() -> CompactCNN:
    """In double precision, with running statistics that are not those of the start."""
    torch.manual_seed(0)
    model = CompactCNN(MELS, width=4, padding=PADDING).double()
    model.train()
    with torch.no_grad():
        for seed in range(3):
            model(torch.stack([sound(90, seed), sound(90, seed + 9)]))
    return model.eval()


def test_the_default_is_a_twenty_sixth_of_the_papers_student_and_few_mel_bands_are_refused():
    assert count_parameters(CompactCNN()) == 222_345
    with pytest.raises(ValueError, match="at least 16 mel bands, not 15"):
        CompactCNN(15)


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 2, 15, 16, 17, 63, 200])
def test_the_logit_does_not_depend_on_the_padding(model, frames):
    alone = model(sound(frames)[None]).item()
    for before, after in ((0, 7), (31, 0), (50, 301)):
        within = model(padded(sound(frames), before, after)[None])
        assert within.item() == pytest.approx(alone, rel=1e-9)


@torch.no_grad()
def test_the_logit_does_not_depend_on_the_rest_of_the_batch(model):
    short, long = padded(sound(40, 1), 30, 330), padded(sound(333, 2), 50, 17)
    together = model(torch.stack([short, long]))
    assert together.tolist() == pytest.approx([model(x[None]).item() for x in (short, long)])


@torch.no_grad()
def test_what_the_recording_holds_matters(model):
    logits = [model(sound(100, seed)[None]).item() for seed in range(4)]
    assert len({round(logit, 6) for logit in logits}) == 4


def test_gradients_reach_every_weight_and_none_comes_from_padding(model):
    def gradients(images: Tensor) -> list[Tensor]:
        trained = copy.deepcopy(model).train()
        trained.head[2].p = 0.0  # Dropout draws anew.
        trained(images).sum().backward()
        return [p.grad for p in trained.parameters()]

    images = torch.stack([sound(64, 1), sound(64, 2)])
    plain, wider = gradients(images), gradients(padded(images, 16, 48))
    for a, b in zip(plain, wider, strict=True):
        assert a.abs().max() > 0
        torch.testing.assert_close(a, b)


def test_a_mask_that_keeps_every_frame_is_no_mask(model):
    x, mask = torch.stack([sound(33, 1), sound(33, 2)]), torch.ones(2, 1, 1, 33).double()
    one, other = copy.deepcopy(model).train(), copy.deepcopy(model).train()
    (masked, _), (plain, none) = one.features.blocks[0](x, mask), other.features.blocks[0](x, None)
    torch.testing.assert_close(masked, plain)
    assert none is None
    for a, b in zip(one.buffers(), other.buffers(), strict=True):
        torch.testing.assert_close(a, b)


def test_an_empty_recording_has_a_finite_logit(model):
    assert model(torch.full((1, 1, MELS, 50), PADDING, dtype=torch.float64)).isfinite().all()


def test_recordings_are_moved_to_the_left_and_masked():
    images = torch.stack([padded(sound(5), 3, 2), padded(sound(2), 0, 8)])
    found, mask = occupied(images, PADDING)
    assert mask[:, 0, 0].tolist() == [[1] * 5, [1, 1, 0, 0, 0]]
    assert torch.equal(found[0], sound(5)) and torch.equal(found[1, ..., :2], sound(2))
    assert not found[1, ..., 2:].any()


@pytest.mark.parametrize("lengths", [(7, 7), (7, 3), (1, 9)])
def test_masked_normalization_is_that_of_the_frames_that_count(lengths):
    x = torch.randn(2, 3, 4, 9, dtype=torch.float64)
    mask = (torch.arange(9) < torch.tensor(lengths)[:, None])[:, None, None].double()
    ours, theirs = (cls(3).double() for cls in (MaskedBatchNorm, nn.BatchNorm2d))
    for norm in (ours, theirs):
        nn.init.constant_(norm.weight, 1.7)
        nn.init.constant_(norm.bias, -0.3)
    kept = torch.cat([image[..., :n] for image, n in zip(x, lengths, strict=True)], dim=2)
    found, expected = ours(x, mask), theirs(kept[None])[0]
    found = torch.cat([image[..., :n] for image, n in zip(found, lengths, strict=True)], dim=2)
    torch.testing.assert_close(found, expected)
    for name, buffer in theirs.named_buffers():
        torch.testing.assert_close(dict(ours.named_buffers())[name], buffer)


def test_under_bfloat16_the_head_stays_in_float32():
    model = CompactCNN(MELS, width=4, padding=PADDING).eval()
    with torch.autocast("cpu", torch.bfloat16):
        assert model(sound(80).float()[None]).dtype == torch.float32
