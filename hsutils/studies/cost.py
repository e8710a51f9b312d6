"""What a network costs: parameters, multiply-adds and milliseconds a recording."""

import time
from collections.abc import Callable

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from hsutils.environment import processor
from hsutils.models.teacher_student import count_parameters
from hsutils.settings import FrontEnd
from hsutils.audio.spectrograms import padding_value

REPEATS = 31


@torch.no_grad()
def cost(network: nn.Module, front_end: FrontEnd, seconds: float) -> dict[str, object]:
    """Size and cost of classifying one recording.

    Args:
        network: maps spectrograms (N, 1, mels, frames) to logits (N,).
        front_end: of its spectrograms.
        seconds: how long the recording lasts; the rest of the clip is padding.

    Returns:
        parameters; multiply_adds, of its convolutions and matrix products as they are computed
        here, padding once or not at all; milliseconds, the median of `REPEATS` runs of one
        recording on this machine; threads and processor, which these depend on.
    """
    # As in training and evaluation, see `compute.layout`.
    network.eval().to(memory_format=torch.channels_last)
    images = torch.full((1, *front_end.shape), padding_value(front_end))
    frames = min(front_end.frames, round(seconds * front_end.sample_rate / front_end.hop))
    generator = torch.Generator().manual_seed(0)
    images[..., :frames] = torch.randn(front_end.mels, frames, generator=generator)
    with FlopCounterMode(display=False) as counter:
        network(images)
    return {
        "parameters": count_parameters(network),
        "multiply_adds": counter.get_total_flops() // 2,
        **timed(lambda: network(images)),
    }


def timed(work: Callable[[], object]) -> dict[str, object]:
    """The median of `REPEATS` runs, as milliseconds, and what they depend on: see `cost`."""
    spans = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        work()
        spans.append(time.perf_counter() - started)
    milliseconds = round(1000 * sorted(spans)[REPEATS // 2], 2)
    about = {"threads": torch.get_num_threads(), "processor": processor()}
    return {"milliseconds": milliseconds} | about
