"""The two networks are those of the paper, counted to the last parameter."""

import pytest
import torch
from lightning_fabric import Fabric

from hsutils.config import SMALLEST
from hsutils.models.teacher_student import StudentCNN, Teacher, count_parameters

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = (1, 24, 73)


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    return Teacher()


def test_the_teacher_has_the_papers_parameters(teacher):
    assert count_parameters(teacher) == 11_827_905
    assert count_parameters(teacher.encoder) == 11_170_240
    assert count_parameters(teacher.projection_head) == 393_984
    assert count_parameters(teacher.evaluator) == 263_681


def test_the_student_has_the_papers_parameters_and_frozen_ones_do_not_count():
    student = StudentCNN()
    assert count_parameters(student) == 5_838_465
    assert student.head[0].in_features == 44_800
    student.head[0].weight.requires_grad_(False)
    assert count_parameters(student) == 5_838_465 - 128 * 44_800


@pytest.mark.parametrize("shape", [SMALL, (1, 50, 589), (1, SMALLEST, SMALLEST), (1, 37, 400)])
def test_the_student_fits_other_spectrograms(shape):
    assert StudentCNN(shape)(torch.zeros(2, *shape)).shape == (2,)


@pytest.mark.parametrize("shape", [(1, SMALLEST - 1, 400), (1, 400, SMALLEST - 1)])
def test_a_spectrogram_too_small_for_three_poolings_is_refused(shape):
    with pytest.raises(ValueError, match="too small"):
        StudentCNN(shape)


def test_encoder_features_feed_both_heads(teacher):
    x = torch.randn(2, *SMALL)
    features = teacher.eval().encoder(x)
    assert torch.equal(teacher.projector(x), teacher.projection_head(features))
    assert torch.equal(teacher(x), teacher.evaluator(features))
    shapes = features.shape, teacher.projector(x).shape, teacher(x).shape
    assert shapes == ((2, 512), (2, 256), (2,))


def test_what_is_pre_trained_is_the_teachers_own_encoder(teacher):
    parts = (teacher.projector.parameters(), teacher.classifier.parameters())
    projector, classifier = ({id(p) for p in part} for part in parts)
    encoder = {id(p) for p in teacher.encoder.parameters()}
    assert projector & classifier == encoder
    assert projector | classifier == {id(p) for p in teacher.parameters()}


@pytest.mark.parametrize("make", [Teacher, lambda: Teacher().projector, lambda: StudentCNN(SMALL)])
def test_outputs_stay_float32_under_bfloat16_autocast(make):
    model = make().eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        logits = model(torch.randn(2, *SMALL))
    assert logits.dtype == torch.float32
    assert not torch.equal(logits, logits.bfloat16().float()), "no rounding to bfloat16 on the way"


def test_double_precision_reaches_the_heads():
    model = Fabric(accelerator="cpu", precision="64-true").setup(StudentCNN(SMALL))
    assert model(torch.randn(2, *SMALL)).shape == (2,)
    assert {p.dtype for p in model.parameters()} == {torch.float64}
