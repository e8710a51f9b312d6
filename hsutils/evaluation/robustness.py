"""How do trained models bear recordings that are worse than those they know?

A recording is worsened as a waveform, goes through the run's own front end as any other, and is
scored again; its own verdict on the clean recording is what it is compared with.

The front end does not remove gain, clipped or not: padding and the bands above 1 kHz pin its
minimum to the floor, and the louder a recording, the smaller its contrasts above that.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from hsutils.training.devices import start_fabric
from hsutils.errors import InputError
from hsutils.experiment import Run
from hsutils.evaluation.intervals import cluster_bootstrap
from hsutils.evaluation.paired import paired_cluster_bootstrap
from hsutils.audio.perturbations import PERTURBATIONS, Perturbations
from hsutils.progress import progress
from hsutils.settings import FrontEnd
from hsutils.audio.spectrograms import log_mel, standardize
from hsutils.training.loop import predict
from hsutils.audio.wav import SAMPLE_RATE, read_waveform

CLEAN = ("none", "", np.nan)
"""Perturbation, unit and level of the recordings as they are."""


def perturbed_scores(
    run: Run,
    recordings: pd.DataFrame,
    models: Mapping[str, nn.Module],
    perturbations: Perturbations = PERTURBATIONS,
    seed: int = 0,
) -> pd.DataFrame:
    """Every model's logit on every recording, as it is and worsened in every way.

    One recording is in memory at a time; each worsened spectrogram is computed once for all models
    and rounded to float16, as the cached ones that the models were trained on.

    Args:
        run: lends its front end, device and precision; nothing is written.
        recordings: rows of the table of `read_recordings`.
        models: name -> model of spectrograms (N, 1, mels, frames) giving logits (N,).
        perturbations: name -> perturbation, with the levels to be scored.
        seed: of the noise, which is drawn for each perturbation and record and serves all levels.

    Returns:
        One row a condition, record and model: perturbation, unit, level, model, record, logit.
        First come the clean recordings: perturbation "none", unit "", level NaN.

    Raises:
        InputError: if there is no model or recording, the seed is negative, or a file unreadable.
    """
    _check(recordings, models, seed)
    front_end, fabric = run.experiment.front_end, start_fabric(run.experiment.compute)
    networks = {name: fabric.setup(model) for name, model in models.items()}
    worse = [(p.name, p.unit, level) for p in perturbations.values() for level in p.levels]
    conditions = pd.DataFrame([CLEAN, *worse], columns=["perturbation", "unit", "level"])
    parts = []
    for row in progress(recordings.itertuples(), len(recordings), "worse recordings"):
        views = _views(row.path, row.record, perturbations, front_end, seed)
        for name, network in networks.items():
            logits = predict(network, views, np.arange(len(conditions)), fabric)
            parts.append(conditions.assign(model=name, record=row.record, logit=logits))
    return pd.concat(parts).sort_index(kind="stable").reset_index(drop=True)


def robustness(scores: pd.DataFrame, cases: pd.DataFrame) -> pd.DataFrame:
    """What each model loses under each condition.

    Args:
        scores: table of `perturbed_scores`.
        cases: columns record, label (0 normal, 1 abnormal) and group, one row a recording.

    Returns:
        One row a condition and model, the clean recordings first: perturbation, unit, level,
        model; auroc with its 95 % interval low, high; sensitivity and specificity at logit 0;
        change of the AUROC against the clean recordings with the interval of that paired
        difference, change_low, change_high; flips, the share of recordings whose verdict changed.

    Raises:
        InputError: if clean scores or cases are missing for some recordings, or as
            `intervals.cluster_bootstrap`.
    """
    clean = scores[scores.perturbation == CLEAN[0]].set_index(["model", "record"]).logit
    known = cases.set_index("record")[["label", "group"]]
    pairs = pd.MultiIndex.from_frame(scores[["model", "record"]])
    problems = []
    if not pairs.isin(clean.index).all():
        problems.append("scores: some recordings have no clean score; keep the perturbation none")
    if unknown := sorted(set(scores.record) - set(known.index)):
        problems.append(f"cases: lacks {len(unknown)} records ({', '.join(unknown[:5])}); add them")
    if problems:
        raise InputError(problems)
    keys = ["perturbation", "unit", "level", "model"]
    table = scores.assign(clean=clean.loc[pairs].to_numpy()).join(known, on="record")
    rows = [
        dict(zip(keys, key, strict=True)) | _loss(part)
        for key, part in table.groupby(keys, sort=False, dropna=False)
    ]
    return pd.DataFrame(rows)


def _loss(part: pd.DataFrame) -> dict[str, float]:
    """The columns that `robustness` adds to one condition and model."""
    alone = cluster_bootstrap(part.label, part.logit, part.group).set_index("metric")
    paired = paired_cluster_bootstrap(part.label, part.logit, part.clean, part.group)
    change = paired.set_index("metric").loc["auroc"]
    return {
        "auroc": alone.value["auroc"],
        "low": alone.low["auroc"],
        "high": alone.high["auroc"],
        "sensitivity": alone.value["sensitivity"],
        "specificity": alone.value["specificity"],
        "change": change.difference,
        "change_low": change.low,
        "change_high": change.high,
        "flips": float(((part.logit > 0) != (part.clean > 0)).mean()),
    }


@dataclass(frozen=True)
class _Views:
    """In memory what `SpectrogramCache` is on disk: one recording under every condition."""

    spectrograms: Tensor
    front_end: FrontEnd

    def batch(self, rows: np.ndarray) -> Tensor:
        """Standardized float32 spectrograms of some rows, shape (N, 1, mels, frames)."""
        return standardize(self.spectrograms[rows].float(), self.front_end).unsqueeze(1)


def _views(
    path: str, record: str, perturbations: Perturbations, front_end: FrontEnd, seed: int
) -> _Views:
    waveform = read_waveform(path)[: round(front_end.clip_seconds * SAMPLE_RATE)]
    waveforms = [waveform]
    for perturbation in perturbations.values():
        # Without the name an artificial recording would be given its own noise once more.
        key = [seed, *perturbation.name.encode(), *record.encode()]
        for level in perturbation.levels:
            waveforms.append(perturbation.apply(waveform, level, np.random.default_rng(key)))
    spectrograms = [log_mel(worse, SAMPLE_RATE, front_end)[0].half() for worse in waveforms]
    return _Views(torch.stack(spectrograms), front_end)


def _check(recordings: pd.DataFrame, models: Mapping[str, nn.Module], seed: int) -> None:
    absent = [path for path in recordings.path if not Path(path).is_file()]
    problems = [f"{path}: missing; fetch it again" for path in absent]
    if recordings.empty or not models:
        problems.append("there is nothing to score: give at least one recording and one model")
    if seed < 0:
        problems.append(f"seed is {seed}: give 0 or more")
    if problems:
        raise InputError(problems)
