"""Classify single WAV files with a model a run has trained."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from hsutils.errors import InputError
from hsutils.experiment import PROJECT
from hsutils.models.build import trained_network
from hsutils.pretrained import load_pretrained
from hsutils.audio.spectrograms import log_mel, standardize
from hsutils.audio.wav import SAMPLE_RATE, read_waveform


@torch.no_grad()
def classify(
    files: Sequence[Path | str], run_dir: Path | None, model: str = "student"
) -> pd.DataFrame:
    """Logit, probability and class of each WAV file. For research and teaching, not for care.

    Args:
        files: WAV files of any sample rate; only the profile's first seconds are heard.
        run_dir: run folder; relative paths start at the project. None: the compact CNN that comes
            with the package.
        model: teacher, student or baseline.

    Returns:
        Table file, logit, probability (of abnormal), prediction (normal or abnormal).

    Raises:
        InputError: if the run has no such model or a file cannot be read.
    """
    if run_dir is None:
        network, experiment, _ = load_pretrained()
    else:
        network, experiment = trained_network(PROJECT / run_dir, model)
    front_end = experiment.front_end
    network.to(memory_format=torch.channels_last)
    logits, problems = [], []
    for file in files:
        try:
            spectrogram, _ = log_mel(read_waveform(file), SAMPLE_RATE, front_end)
        except InputError as error:
            problems += error.problems
            continue
        logits.append(network(standardize(spectrogram, front_end)[None, None]).item())
    if problems:
        raise InputError(problems)
    table = pd.DataFrame({"file": [str(file) for file in files], "logit": logits})
    table["probability"] = 1 / (1 + np.exp(-table.logit))
    table["prediction"] = np.where(table.logit > 0, "abnormal", "normal")
    return table.round(4)
