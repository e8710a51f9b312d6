"""Does a score depend on how recordings were made: noise, device, length, related recordings?

Tables here take `cases`, one row per recording: label (0 normal, 1 abnormal), group, the columns
that a function names, and a column of logits per model. Intervals are those of `intervals`.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from hsutils.audio.devices import PERTURBATIONS, Perturbation
from hsutils.audio.spectrograms import log_mel, standardize
from hsutils.audio.wav import read_waveform
from hsutils.config import RECORDED_RATE, FrontEnd
from hsutils.evaluation import intervals
from hsutils.evaluation.domains import counts_and_auroc
from hsutils.evaluation.metrics import checked
from hsutils.progress import progress
from hsutils.run import Run
from hsutils.training.devices import start_fabric
from hsutils.training.loop import predict

CLEAN = ("none", "", np.nan)
"""Perturbation, unit and level of the recordings as they are."""


def perturbed_scores(
    run: Run,
    recordings: pd.DataFrame,
    models: Mapping[str, nn.Module],
    perturbations: Mapping[str, Perturbation] = PERTURBATIONS,
) -> pd.DataFrame:
    """Every model's logit on every recording, as it is and degraded in every way.

    One recording is in memory at a time. Noise is drawn for each perturbation and record, and is
    the same at all levels.

    Args:
        run: gives front end, device and precision; nothing is written.
        recordings: columns record and path.
        models: name -> model of spectrograms (N, 1, mels, frames) giving logits (N,).
        perturbations: see `devices.PERTURBATIONS`.

    Returns:
        One row per condition, record and model, first the clean recordings, `CLEAN`: perturbation,
        unit, level, model, record, logit.
    """
    front_end, fabric = run.profile.front_end, start_fabric(run.profile.compute)
    networks = {name: fabric.setup(model) for name, model in models.items()}
    degraded = [(p.name, p.unit, level) for p in perturbations.values() for level in p.levels]
    conditions = pd.DataFrame([CLEAN, *degraded], columns=["perturbation", "unit", "level"])
    parts = []
    for row in progress(recordings.itertuples(), len(recordings), "degraded recordings"):
        views = _Views(row.path, row.record, perturbations, front_end)
        for name, network in networks.items():
            logits = predict(network, views, np.arange(len(conditions)), fabric)
            parts.append(conditions.assign(model=name, record=row.record, logit=logits))
    return pd.concat(parts).sort_index(kind="stable").reset_index(drop=True)


def robustness(scores: pd.DataFrame, cases: pd.DataFrame) -> pd.DataFrame:
    """What each model loses under each condition of `perturbed_scores`.

    Returns:
        One row per condition and model: perturbation, unit, level, model; auroc, low, high;
        sensitivity, specificity; change of the AUROC against the clean recordings, change_low,
        change_high (paired); flips, the share of recordings whose decision at logit 0 changed.
    """
    keys, rows = ["perturbation", "unit", "level", "model"], []
    clean = scores[scores.perturbation == CLEAN[0]][["model", "record", "logit"]]
    table = scores.merge(clean, "left", ["model", "record"], suffixes=("", "_clean"))
    table = table.merge(cases[["record", "label", "group"]], "left", "record")
    for key, part in table.groupby(keys, sort=False, dropna=False):
        logits, before = part.logit, part.logit_clean
        pair = intervals.paired_cluster_bootstrap(part.label, logits, before, part.group)
        pair = pair.set_index("metric")
        row = dict(zip(keys, key, strict=True))
        row |= intervals.auroc_and_interval(part.label, logits, part.group)
        row |= pair.a[["sensitivity", "specificity"]].to_dict()
        apart = pair.loc["auroc"]
        row |= {"change": apart.difference, "change_low": apart.low, "change_high": apart.high}
        rows.append(row | {"flips": ((logits > 0) != (before > 0)).mean()})
    return pd.DataFrame(rows)


def by_quality(cases: pd.DataFrame, models: Sequence[str]) -> pd.DataFrame:
    """AUROC on all recordings, the usable ones (quality 1) and those too noisy to be sure (0).

    Columns model, subset ("all", "usable", "too noisy"), recordings, abnormal, auroc, low, high.
    """
    usable = cases.quality == 1
    parts = {"all": cases, "usable": cases[usable], "too noisy": cases[~usable]}
    return _by_part([({"subset": name}, part) for name, part in parts.items()], models)


def by_length(cases: pd.DataFrame, models: Sequence[str]) -> pd.DataFrame:
    """AUROC among recordings of like length (column seconds), in four equally filled bins.

    Columns model, shortest, longest (seconds), recordings, abnormal, auroc, low, high; the
    shortest come first. Equal lengths share a bin, so ties leave fewer.
    """
    edges = cases.seconds.quantile([0.25, 0.5, 0.75])
    bins = [part for _, part in cases.groupby(np.searchsorted(edges, cases.seconds))]
    ends = [{"shortest": part.seconds.min(), "longest": part.seconds.max()} for part in bins]
    return _by_part(list(zip(ends, bins, strict=True)), models)


def without_leaks(
    cases: pd.DataFrame, leaking_records: Iterable[str], models: Sequence[str]
) -> pd.DataFrame:
    """How the AUROC changes when recordings related to training recordings are left out.

    Each resample of whole groups is scored with and without its recordings that leak. In
    simulations with 7 to 80 leaks in 400, the interval covers the true change in 91 to 96%.

    Returns:
        One row per model: model, n, dropped, auroc, low, high (of all cases), auroc_kept, low_kept,
        high_kept, change (kept minus all), low_change, high_change.
    """
    kept, rows = ~cases.record.isin(set(leaking_records)).to_numpy(), []
    wider = intervals.expansion(cases.label, cases.group)
    for model in models:
        labels, logits = checked(cases.label, cases[model])
        # A recording that is dropped counts for nothing, however often its group was drawn.
        drawn = [
            intervals.ratio(*intervals.weighted_wins(labels, logits, weights * kept))
            - intervals.ratio(*intervals.weighted_wins(labels, logits, weights))
            for weights in intervals.multiplicities(labels, cases.group)
        ]
        low, high = intervals.percentiles(np.concatenate(drawn), wider)
        every = intervals.auroc_and_interval(labels, logits, cases.group)
        fewer = intervals.auroc_and_interval(labels[kept], logits[kept], cases.group[kept])
        row = {"model": model, "n": len(cases), "dropped": int((~kept).sum())} | every
        row |= {f"{name}_kept": value for name, value in fewer.items()}
        row |= {"change": fewer["auroc"] - every["auroc"], "low_change": low, "high_change": high}
        rows.append(row)
    return pd.DataFrame(rows)


def _by_part(parts: Sequence[tuple[dict, pd.DataFrame]], models: Sequence[str]) -> pd.DataFrame:
    """One row per model and part of the cases, which begins with what is said about that part."""
    rows = [
        {"model": model} | about | counts_and_auroc(part, part[model])
        for model in models
        for about, part in parts
    ]
    return pd.DataFrame(rows)


class _Views:
    """In memory what `SpectrogramCache` is on disk: one recording under every condition."""

    def __init__(
        self,
        path: str,
        record: str,
        perturbations: Mapping[str, Perturbation],
        front_end: FrontEnd,
    ):
        waveforms = [read_waveform(path, seconds=front_end.clip_seconds)]
        for perturbation in perturbations.values():
            # Without the name a synthetic recording would be given its own noise once more.
            key = [0, *perturbation.name.encode(), *record.encode()]
            for level in perturbation.levels:
                rng = np.random.default_rng(key)
                waveforms.append(perturbation.apply(waveforms[0], level, rng))
        spectrograms = np.stack([log_mel(w, RECORDED_RATE, front_end)[0] for w in waveforms])
        self.spectrograms, self.front_end = torch.from_numpy(spectrograms).half(), front_end

    def batch(self, rows: np.ndarray) -> Tensor:
        """Standardized float32 spectrograms of some rows, shape (N, 1, mels, frames)."""
        return standardize(self.spectrograms[rows].float(), self.front_end).unsqueeze(1)
