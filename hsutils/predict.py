"""A recording of any length -> heart rate, logit and decision, without PyTorch.

For research and teaching, not for patient care. A recording is read in windows, and each is
searched for a heartbeat. The logits of the windows with one are averaged; without any, there is no
decision.
"""

import math
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit

from hsutils.audio.beats import CLEAR_HEARTBEAT, PERIOD, STEP, Rhythm, find_beats
from hsutils.audio.heart_cycles import LinearModel, heart_cycle_features
from hsutils.audio.spectrograms import log_mel, standardize
from hsutils.audio.wav import LAST_BIT, OVERSHOOT, RATES, one_channel, read_windows, resampled
from hsutils.config import RECORDED_RATE, FrontEnd, parse_profile
from hsutils.environment import usable_cores
from hsutils.errors import InputError
from hsutils.progress import progress

PACKAGED = Path(__file__).resolve().parent / "pretrained" / "compact.onnx"
"""The model that comes with the package, see MODEL_CARD.md."""
WINDOW = 56.0  # s
BY_CHANCE = 0.56  # regularity of 1 s; few in 100 of white noise have this much
EXACT = 0.97  # regularity that no recording of the Challenge reaches, but a loud clock does
REFUSED = (OSError, ValueError, TypeError, AttributeError, LookupError)  # by pandas
REFUSED += (re.error, OverflowError, RecursionError)  # by re
COLUMNS = ["file", "seconds", "heart_rate", "heartbeat", "logit", "probability", "decision", "note"]


@dataclass(frozen=True)
class Verdict:
    """A model's result for one recording."""

    seconds: float  # of the sound that was used
    heart_rate: float  # beats a minute; NaN without a heartbeat
    logit: float  # a larger one speaks for abnormal; NaN without sound
    decision: str  # normal or abnormal; empty without a heartbeat, whatever the logit
    note: str  # why there is no decision, and what else is to be known
    beats: np.ndarray  # when S1 and S2 are loudest, s, shape (beats, 2); none without a heartbeat

    @property
    def heartbeat(self) -> bool:
        """Whether there is one, clear and regular."""
        return len(self.beats) > 0

    @property
    def probability(self) -> float:
        """Sigmoid of the logit: of abnormal, if the model were calibrated for this device."""
        return float(expit(self.logit))


class Classifier:
    """A trained model that judges waveforms and files.

    Args:
        model: what `export` wrote (.onnx runs without PyTorch), or weights of a run (.safetensors).
        threshold: a logit above it is called abnormal; by default the model's own.

    Raises:
        InputError: if there is no such model.

    >>> Classifier()(np.zeros(10_000), sample_rate=2_000).heartbeat
    False
    """

    def __init__(self, model: Path | str = PACKAGED, threshold: float | None = None):
        self._network, self.front_end, usual, self._cycles = _load(Path(model))
        self.threshold = usual if threshold is None else threshold

    def __call__(self, waveform: np.ndarray, sample_rate: int) -> Verdict:
        """The verdict on a waveform (samples,) or (samples, channels) of a rate in Hz.

        It is of int16, or of floats of full scale [-1, 1]; all else is an InputError.
        """
        samples = np.asarray(waveform)
        samples = samples if samples.dtype == np.int16 else samples.astype(np.float32)
        samples = samples[:, None] if samples.ndim == 1 else samples
        peak = 0 if samples.dtype == np.int16 else np.abs(samples).max(initial=0)
        shaped = samples.ndim == 2 and 0 < samples.shape[1] <= len(samples)
        if not shaped or not peak <= OVERSHOOT:  # NaN is not, either
            raise InputError("waveform: give (samples,) or (samples, channels) within [-1, 1]")
        if not RATES[0] <= sample_rate <= RATES[1] or sample_rate != int(sample_rate):
            raise InputError(f"sample_rate: give whole Hz, {RATES[0]} to {RATES[1]:,}")
        parts = np.array_split(samples, math.ceil(len(samples) / (WINDOW * sample_rate)))
        return self._verdict((part, int(sample_rate)) for part in parts)

    def read(self, path: Path | str) -> Verdict:
        """The verdict on a file; raises as `read_windows`."""
        return self._verdict(read_windows(path, WINDOW))

    def read_all(self, files: Iterable[Path | str]) -> tuple[dict[str, Verdict], list[str]]:
        """The verdict on each file, and a line for each file that cannot be read."""
        names, verdicts, problems = list(dict.fromkeys(map(str, files))), {}, []
        threads = ThreadPoolExecutor(usable_cores())
        try:
            waiting = [(name, threads.submit(self.read, name)) for name in names]
            for name, verdict in progress(waiting, len(names), "recordings"):
                try:
                    verdicts[name] = verdict.result()
                except InputError as error:
                    problems += error.problems
        finally:  # at an interruption, without those that have not begun
            threads.shutdown(cancel_futures=True)
        return verdicts, problems

    def logit(self, waveform: np.ndarray, rhythm: Rhythm | None = None) -> float:
        """The logit of a waveform (samples,) at `RECORDED_RATE`, with or without a heartbeat.

        The mean of the network's logit and that of a linear model of heart cycles, if there is one.
        """
        count = math.ceil(len(waveform) / (self.front_end.clip_seconds * RECORDED_RATE))
        clips = (log_mel(w, RECORDED_RATE, self.front_end) for w in np.array_split(waveform, count))
        images = (standardize(clip, self.front_end)[None, None] for clip, _ in clips)
        logit = float(np.mean([self._network(image) for image in images]))
        if self._cycles is None:
            return logit
        return self._cycles.together(logit, heart_cycle_features(waveform, rhythm))

    def _verdict(self, windows: Iterable[tuple[np.ndarray, int]]) -> Verdict:
        parts, length = [], 0.0
        for samples, rate in windows:
            parts.append(self._of_window(samples, rate, length))
            length += len(samples) / rate
        beating = [part for part in parts if part.heartbeat]
        used = beating or [part for part in parts if not math.isnan(part.logit)]
        seconds, logits = sum(part.seconds for part in used), [part.logit for part in used]
        logit = float(np.mean(logits)) if used else math.nan
        rate = float(np.median([part.heart_rate for part in beating])) if beating else math.nan
        decision = ("abnormal" if logit > self.threshold else "normal") if beating else ""
        notes = list(dict.fromkeys(part.note for part in beating or parts if part.note))
        if 0 < len(beating) < len(parts):
            notes.append(f"no heartbeat in {length - seconds:.0f} of {length:.0f} s")
        beats = np.concatenate([part.beats for part in parts])
        return Verdict(seconds, rate, logit, decision, "; ".join(notes), beats)

    def _of_window(self, samples: np.ndarray, rate: int, start: float) -> Verdict:
        waveform, seconds, none = one_channel(samples), len(samples) / rate, np.empty((0, 2))
        if not np.ptp(waveform):
            sound = np.ptp(samples, axis=0).any()
            note = "its channels cancel each other" if sound else "no sound: all samples are equal"
            return Verdict(seconds, math.nan, math.nan, "", note, none)
        peak, waveform = np.abs(waveform).max(), resampled(waveform, rate)
        rhythm = find_beats(waveform)
        logit = self.logit(waveform, rhythm)
        if note := no_heartbeat(waveform, rhythm):
            return Verdict(seconds, math.nan, logit, "", note, none)
        note = f"clipped: peaks at {peak:.3g} times full scale" if peak > 1 + LAST_BIT else ""
        beats = np.stack([rhythm.onset, rhythm.onset + rhythm.systole], axis=1)
        beats = start + beats[beats[:, 1] < seconds]  # the last S2 may lie behind the end
        return Verdict(seconds, 60 / rhythm.period, logit, "", note, beats)


def no_heartbeat(waveform: np.ndarray, rhythm: Rhythm) -> str:
    """Why the beats of a waveform (samples,) at `RECORDED_RATE` are not a heart's; else empty.

    Other sounds that repeat, such as a clock in a noisy room, cannot be distinguished from hearts.
    """
    if len(waveform) < 2 * PERIOD[1] * STEP:
        return "too short to find a heartbeat"
    clear = max(CLEAR_HEARTBEAT, BY_CHANCE / math.sqrt(len(waveform) / RECORDED_RATE))
    if rhythm.regularity < clear or len(rhythm.onset) < 2:
        return "no regular heartbeat was found"
    return "too even for a heart: a clock?" if rhythm.regularity > EXACT else ""


def classify(
    files: Sequence[Path | str], model: Path | str = PACKAGED, threshold: float | None = None
) -> tuple[pd.DataFrame, list[str]]:
    """`Verdict` of each file (WAV, FLAC, OGG, MP3 or AIFF of any length) by a `Classifier`.

    Returns:
        Table of `COLUMNS`, one row per file, and a line for each file that cannot be read.
    """
    verdicts, problems = Classifier(model, threshold).read_all(files)
    return as_table(verdicts), problems


def as_table(verdicts: Mapping[str, Verdict]) -> pd.DataFrame:
    """Verdicts by file as a table of `COLUMNS`."""
    rows = [[name, *(getattr(v, c) for c in COLUMNS[1:])] for name, v in verdicts.items()]
    digits = {"seconds": 2, "heart_rate": 0, "logit": 4, "probability": 4}
    return pd.DataFrame(rows, columns=COLUMNS).astype({"heartbeat": bool}).round(digits)


def beats_table(verdicts: Mapping[str, Verdict]) -> pd.DataFrame:
    """Every beat found: file, and when S1 and S2 are loudest, in s from its start."""
    rows = [(name, *beat) for name, verdict in verdicts.items() for beat in verdict.beats]
    return pd.DataFrame(rows, columns=["file", "s1", "s2"]).round(3)


def pool(table: pd.DataFrame, patients: Sequence[str], threshold: float) -> pd.DataFrame:
    """One row per patient, from `classify`'s table and the patient of each row.

    `heartbeats` counts the recordings that have one; their logits and heart rates are averaged.
    """
    table = table.assign(patient=patients)
    groups = table.groupby("patient", sort=False)
    pooled = groups.agg(recordings=("file", "size"), heartbeats=("heartbeat", "sum"))
    means = table[table.heartbeat].groupby("patient")[["heart_rate", "logit"]].mean()
    pooled = pooled.join(means.round({"heart_rate": 0, "logit": 4}))
    pooled["probability"] = expit(pooled.logit.astype(float)).round(4)
    decisions = np.where(pooled.logit > threshold, "abnormal", "normal")
    return pooled.assign(decision=np.where(pooled.heartbeats > 0, decisions, "")).reset_index()


def patients_of(files: Sequence[str], by: str) -> list[str]:
    """The patient of each file, or an InputError that names those without one.

    `by` is `folder`, whose name is the patient (with those above it where two are alike); a CSV of
    path (from its folder) and patient, which may list a file again but with no other patient; or a
    regular expression, whose one group in a file's name is the patient.
    """
    paths = [Path(os.path.normpath(Path(file).absolute())) for file in files]
    what = "no CSV with path and patient"
    try:
        if by == "folder":
            found = _names_of([path.parent for path in paths])
        elif by.lower().endswith(".csv"):
            how = {"dtype": str, "keep_default_na": False, "encoding": "utf-8-sig"}
            table = pd.read_csv(by, index_col=False, **how).fillna("").map(str.strip)
            table.columns = table.columns.str.strip().str.lower()
            if lacking := [name for name in ("path", "patient") if name not in table]:
                problem = f"line 1 names no column {' and no '.join(lacking)}"
                raise InputError(f"--by {by}: {problem}; name them as in path,patient")
            table["path"] = [(Path(by).parent / path).resolve() for path in table.path]
            table = table.loc[table.patient != "", ["path", "patient"]].drop_duplicates()
            if len(twice := table.path[table.path.duplicated()].unique()):
                problem = "is given two patients; correct it"
                raise InputError([f"--by {by}: {file} {problem}" for file in twice])
            found = table.set_index("path").patient.reindex([path.resolve() for path in paths])
        else:
            what = "no regular expression with one group, such as '([0-9]+)_'"
            matches = [re.search(by, path.name) for path in paths]
            found = [match and match.group(1) for match in matches]
    except InputError:
        raise
    except REFUSED as error:
        raise InputError(f"--by {by}: {what} ({error})") from error
    if lost := [file for file, patient in zip(files, found, strict=True) if pd.isna(patient)]:
        raise InputError([f"{file}: --by {by} gives it no patient; correct it" for file in lost])
    return list(found)


def _names_of(folders: Sequence[Path]) -> list[str]:
    """The name of each folder; its path from what they share if two have the same name."""
    if len({folder.name for folder in folders}) == len({*folders}):
        return [folder.name for folder in folders]
    shared = os.path.commonpath([folder.parent for folder in folders])
    return [folder.relative_to(shared).as_posix() for folder in folders]


Loaded = tuple[Callable[[np.ndarray], float], FrontEnd, float, LinearModel | None]


def _load(path: Path) -> Loaded:
    """A network as a function of spectrograms (1, 1, mels, frames), its front end and threshold.

    Beside it the linear model of heart cycles that its file holds, if any.
    """
    if path.suffix == ".safetensors":
        import torch

        from hsutils.export import THRESHOLD, load_model

        network, profile, about = load_model(path)
        logit = torch.no_grad()(lambda x: network(torch.from_numpy(x)).item())
        return logit, profile.front_end, THRESHOLD, _cycles(about, path)
    if not path.is_file():
        raise InputError(f"{path}: no such model")
    from onnxruntime import InferenceSession, SessionOptions

    options = SessionOptions()
    options.intra_op_num_threads = 1  # recordings run in parallel
    try:
        session = InferenceSession(path, options)
        about = session.get_modelmeta().custom_metadata_map
        text, threshold = about["profile"], float(about["threshold"])
    except Exception as error:  # ONNX Runtime's have no base of their own
        why = str(error).splitlines()[0]
        raise InputError(f"{path}: no model that `export` wrote, or damaged ({why})") from error
    front_end = parse_profile(text, str(path)).front_end

    def logit(image: np.ndarray) -> float:
        return session.run(None, {"spectrogram": image})[0].item()

    return logit, front_end, threshold, _cycles(about, path)


def _cycles(about: Mapping[str, str], path: Path) -> LinearModel | None:
    if "heart_cycles" not in about:
        return None
    try:
        return LinearModel.from_json(about["heart_cycles"])
    except (ValueError, TypeError, AttributeError) as error:
        problem = "its linear model of heart cycles is damaged, or of another version"
        raise InputError(f"{path}: {problem} ({error}); export it again") from error
