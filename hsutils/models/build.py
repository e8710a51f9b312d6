"""The networks of a profile."""

from torch import nn

from hsutils.audio.spectrograms import padding_value
from hsutils.config import Profile
from hsutils.models.compact import CompactCNN
from hsutils.models.packing import accelerate
from hsutils.models.teacher_student import StudentCNN, Teacher

MODELS = ("teacher", "student", "baseline")


def new_network(profile: Profile, model: str) -> nn.Module:
    """Teacher, student or baseline; the last two are one architecture, of `profile.networks`.

    Weights are drawn from the global generator.

    Raises:
        ValueError: if `model` is none of `MODELS`.
    """
    if model not in MODELS:
        raise ValueError(f"no network is called {model!r}: use one of {', '.join(MODELS)}")
    front_end, padding = profile.front_end, padding_value(profile.front_end)
    if model == "teacher":
        return accelerate(Teacher(), padding)
    if profile.networks.cnn == "compact":
        return CompactCNN(front_end.mels, profile.networks.width, padding)
    return accelerate(StudentCNN(front_end.shape), padding)
