"""How do trained models bear recordings that are worse than those they know?

A recording is worsened as a waveform, goes through the run's own front end as any other, and is
scored again; its own verdict on the clean recording is what it is compared with. Every change but
the shortening is stored as a 16-bit WAV file would store it: rounded to steps of 1/32768 and
clipped at full scale. Noise and hum are added as a careful recordist would, turned down where the
sum would clip, so that they show noise and not clipping.

Levels relate to the recording's own power (its variance, within the seconds that the front end
hears), heart and existing noise together: a recording rated too noisy gets more noise on top.

The front end does not remove gain, clipped or not: padding and the bands above 1 kHz pin its
minimum to the floor, and the louder a recording, the smaller its contrasts above that.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from hsutils.compute import start_fabric
from hsutils.errors import InputError
from hsutils.experiment import Run
from hsutils.intervals import cluster_bootstrap
from hsutils.paired import paired_cluster_bootstrap
from hsutils.progress import progress
from hsutils.settings import FrontEnd
from hsutils.spectrograms import log_mel, standardize
from hsutils.training import predict
from hsutils.wav import SAMPLE_RATE, read_waveform

SPEECH_HZ = (63, 80, 100, 125, 160, 200, 250, 315, 400, 500, 630, 800, 1000)
SPEECH_DB = (38.6, 43.5, 54.4, 57.7, 56.8, 60.2, 60.3, 59.0, 62.1, 62.1, 60.5, 56.8, 53.7)
"""The average talker in third-octave bands, dB of 70 dB in all: men and women of 12 languages
(Byrne et al. 1994, J. Acoust. Soc. Am. 96:2108, table 2)."""

SYLLABLES = (3.0, 5.0)
"""A second; speech comes and goes most at about 4 Hz (Houtgast and Steeneken 1985,
J. Acoust. Soc. Am. 77:1069)."""

HARMONICS = np.arange(1, 6)

CLEAN = ("none", "", np.nan)
"""Perturbation, unit and level of the recordings as they are."""

Apply = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Perturbation:
    """One way in which a recording can be worse.

    For other levels than these use `dataclasses.replace`.

    Attributes:
        name: as it stands in tables and titles.
        unit: of the levels.
        levels: from mild to severe; of the gain from soft to loud.
        apply: from a waveform (samples,) in [-1, 1] at 2,000 Hz, a level and the source of chance
            to the worse waveform, float32 in [-1, 1].
    """

    name: str
    unit: str
    levels: tuple[float, ...]
    apply: Apply


Perturbations = Mapping[str, Perturbation]


def add_white_noise(waveform: np.ndarray, snr: float, rng: np.random.Generator) -> np.ndarray:
    """Add hiss, as of a poor microphone, `snr` dB below the recording."""
    return _mixed(waveform, rng.standard_normal(len(waveform)), snr)


def add_speech_noise(waveform: np.ndarray, snr: float, rng: np.random.Generator) -> np.ndarray:
    """Add noise that resembles a talker in the room, `snr` dB below the recording."""
    return _mixed(waveform, speech_noise(len(waveform), rng), snr)


def speech_noise(samples: int, rng: np.random.Generator) -> np.ndarray:
    """Noise with the spectrum of the average talker below 1 kHz, in syllables, no words.

    White noise is given the density of `SPEECH_DB` (linear in dB over log frequency; nothing below
    the lowest band) and swells and falls as sin^2 with each syllable, of 3 to 5 a second: the idea
    of the ICRA noises (Dreschler et al. 2001, Audiology 40:148), with one talker and one band.

    Returns:
        Waveform (samples,) at 2,000 Hz, of no particular loudness.
    """
    hz = np.fft.rfftfreq(samples, 1 / SAMPLE_RATE)
    heard = np.maximum(hz, SPEECH_HZ[0] / 2 ** (1 / 6))
    level = np.interp(np.log(heard), np.log(SPEECH_HZ), SPEECH_DB)
    # A third of an octave is as wide as it is high, so the density falls by the frequency.
    density = np.where(hz == heard, 10 ** (level / 10) / heard, 0)
    shaped = np.fft.irfft(np.fft.rfft(rng.standard_normal(samples)) * np.sqrt(density), samples)
    seconds = np.arange(samples) / SAMPLE_RATE
    lasting = 1 / rng.uniform(*SYLLABLES, size=3 + int(SYLLABLES[1] * samples / SAMPLE_RATE))
    onsets = np.append(0, np.cumsum(lasting))
    # The first syllable is under way already.
    syllables = np.interp(seconds + rng.uniform(0, lasting[0]), onsets, np.arange(len(onsets)))
    return shaped * np.sin(np.pi * syllables) ** 2


def add_hum(hz: float) -> Apply:
    """Mains hum `level` dB above the recording (negative: below), of a random phase.

    Harmonics up to the fifth sound with it, the k-th with 1/k of the fundamental's amplitude; the
    level is that of all together.
    """

    def apply(waveform: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
        turns = hz * np.arange(len(waveform)) / SAMPLE_RATE
        phases = rng.uniform(size=len(HARMONICS))
        waves = np.sin(2 * np.pi * (turns[:, None] * HARMONICS + phases))
        return _mixed(waveform, waves @ (1 / HARMONICS), -level)

    return apply


def change_gain(waveform: np.ndarray, gain: float, rng: np.random.Generator) -> np.ndarray:
    """Record `gain` dB louder: soft recordings drown in the steps of 16 bits, loud ones clip."""
    return _stored(10 ** (gain / 20) * waveform.astype(float))


def clip_peaks(waveform: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Cut all that passes a share of the recording's peak."""
    limit = share * np.abs(waveform).max()
    return _stored(np.clip(waveform, -limit, limit))


def shorten(waveform: np.ndarray, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """The first seconds; a shorter recording stays as it is."""
    return waveform[: round(seconds * SAMPLE_RATE)]


_SNR = (20.0, 15.0, 10.0, 5.0, 0.0)
_HUM = (-20.0, -10.0, 0.0, 10.0)

PERTURBATIONS = {
    p.name: p
    for p in (
        Perturbation("white noise", "dB SNR", _SNR, add_white_noise),
        Perturbation("speech-like noise", "dB SNR", _SNR, add_speech_noise),
        Perturbation("gain", "dB", (-20.0, -10.0, 10.0, 20.0), change_gain),
        Perturbation("clipping", "of the peak", (0.5, 0.2, 0.1, 0.05), clip_peaks),
        Perturbation("hum 50 Hz", "dB over the signal", _HUM, add_hum(50)),
        Perturbation("hum 60 Hz", "dB over the signal", _HUM, add_hum(60)),
        Perturbation("shortened", "s", (20.0, 10.0, 5.0, 3.0), shorten),
    )
}


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


def _mixed(waveform: np.ndarray, sound: np.ndarray, snr: float) -> np.ndarray:
    """The waveform with a sound `snr` dB below it, turned down where both would clip."""
    mixed = waveform + 10 ** (-snr / 20) * waveform.std() / sound.std() * sound
    return _stored(mixed / max(1, np.abs(mixed).max()))


def _stored(waveform: np.ndarray) -> np.ndarray:
    """The waveform as a 16-bit WAV file keeps it."""
    steps = np.clip(np.round(32_768 * waveform), -32_768, 32_767)
    return (steps / 32_768).astype(np.float32)
