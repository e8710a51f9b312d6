"""Synthetic recordings: simulated hearts, each in a noisy room, recorded by a simulated device.

The *corpus* stands in for the Challenge, in its layout: each of its six databases has its own
device and the real shares of abnormal and noisy recordings (Liu et al. 2016, Physiol. Meas.
37:2181), so database and label are confounded as in the real data. The *training recordings* are
half abnormal; device, room and murmur are drawn anew for each, so that only the heart is
informative about the label.
"""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile
from filelock import FileLock

from hsutils.audio import heart_simulator as simulator
from hsutils.audio.devices import Stethoscope, capture, room_noise, simulate_device
from hsutils.config import PROJECT, RECORDED_RATE, Data, Synthetic, fingerprint
from hsutils.errors import InputError
from hsutils.files import digest_of, is_whole, require_space, write_csv, write_json, write_text
from hsutils.progress import progress

VERSION = 3  # raise when the same settings give other files
NOTE, TABLE = "synthetic.json", "synthetic.csv"
QUANTILES = (0, 0.05, 0.25, 0.5, 0.75, 0.95, 1)

# Of training recordings: ranges, and the shares in a noisy room and through a second device.
MURMUR_DB, SNR_DB = (-2.0, 10.0), (0.0, 22.0)
NOISY, SECOND_DEVICE = 0.15, 0.5
LOW_HZ, HIGH_HZ = (2.0, 30.0), (60.0, 600.0)
FLOOR_DB, PEAK, HUM_HZ = (-56.0, -25.0), (0.2, 1.0), (0.0, 50.0, 60.0)

Rendered = tuple[np.ndarray, dict[str, Any]]
"""16-bit samples (samples,), and what was drawn: lesion, murmur_grade, heart_rate, snr_db."""

_DATABASES = {
    "a": (409, 292, 17, (9.3, 20.6, 30.8, 35.6, 35.7, 36.2, 36.5), (9, 150, -28, 50, 0.4)),
    "b": (490, 104, 122, (5.3, 7.9, 8.0, 8.0, 8.0, 8.0, 8.0), (2, 60, -56, 0, 0.9)),
    "c": (31, 24, 4, (9.6, 13.1, 29.6, 44.4, 68.7, 97.7, 122.0), (7, 90, -46, 0, 1.0)),
    "d": (55, 28, 3, (6.6, 7.4, 9.3, 12.3, 18.3, 29.3, 48.5), (8, 100, -43, 60, 0.2)),
    "e": (2141, 183, 213, (8.1, 10.2, 16.3, 21.1, 26.7, 43.1, 101.7), (16, 140, -30, 60, 0.8, 64)),
    "f": (114, 34, 5, (29.4, 30.1, 30.8, 31.7, 33.4, 40.8, 59.6), (28, 600, -25, 0, 0.85)),
}
_COLUMNS = ["recordings", "abnormal", "noisy", "seconds", "device"]
REAL = pd.DataFrame.from_dict(_DATABASES, orient="index", columns=_COLUMNS)
"""The Challenge's databases: counts (noisy: of quality 0), `QUANTILES` of durations, `Stethoscope`.

The devices were tuned by hand until the median spectrum resembled the real database's.
"""


def write_corpus(data: Data) -> Path:
    """The corpus that stands in for the Challenge, written unless it is there, undamaged.

    Beside the Challenge's own files lies `synthetic.csv`: what was drawn for each recording.

    Args:
        data: `recordings`, at least 6; `seed`; `seconds_scale`, a factor on the real durations,
            which average 22 s (none falls below 2 s); `snr_db`, the median ratio of heart to room
            noise in usable recordings; `murmur_db`, the gain of every murmur.

    Raises:
        InputError: if the recordings are too few or the disk is full, or beside real recordings.
    """
    if data.recordings < len(REAL):
        raise InputError(f"data.recordings={data.recordings}: use {len(REAL)} or more")
    folder = corpus_folder(data)
    above = folder.parent
    found = [*above.glob("training-*"), *above.glob("*/training-*")]
    if not all((path.parent / NOTE).exists() for path in found):
        problem = "holds real recordings; name another folder for synthetic ones, or profile paper"
        raise InputError(f"data.folder={above}: {problem}")
    planned = plan(data.recordings, data.seed, data.seconds_scale)
    planned["file"] = "training-" + planned.database + "/" + planned.record + ".wav"
    columns, lists = ["record", "label", "quality"], {}
    for database, rows in planned.assign(label=planned.label * 2 - 1).groupby("database"):
        for name, count in (("REFERENCE.csv", 2), ("REFERENCE-SQI.csv", 3)):
            text = rows[columns[:count]].to_csv(header=False, index=False)
            lists[f"training-{database}/{name}"] = text
    _write(folder, "data.folder", planned, lambda row: corpus_recording(row, data), lists)
    return folder


def corpus_folder(settings: Data | Synthetic) -> Path:
    """Where the recordings of these settings lie."""
    return PROJECT / Path(settings.folder).expanduser() / fingerprint(settings, VERSION)


def write_training_recordings(settings: Synthetic) -> pd.DataFrame:
    """Synthetic recordings to train with, written unless they are there, undamaged.

    Returns:
        One row per recording: record, label (0 and 1 in turn), sample_rate (Hz), seconds, path,
        digest (of the file), lesion, murmur_grade.

    Raises:
        InputError: if the disk is full.
    """
    folder, numbers = corpus_folder(settings), np.arange(settings.recordings)
    planned = pd.DataFrame({"record": [f"z{number:05d}" for number in numbers]})
    planned = planned.assign(label=numbers % 2, sample_rate=RECORDED_RATE, seconds=settings.seconds)
    planned["file"] = planned.record + ".wav"

    def render(row: Any) -> Rendered:
        ages = settings.hearts == "all ages"
        return training_recording(row.label, row.seconds, [settings.seed, row.Index], ages)

    table = _write(folder, "synthetic.folder", planned, render, {})
    return table.assign(path=[str(folder / file) for file in table.file])


def plan(n_recordings: int, seed: int, seconds_scale: float = 1.0) -> pd.DataFrame:
    """Which recordings a corpus will have, in the real proportions.

    Returns:
        One row per recording: record, database, label (0 or 1), quality (1 usable, 0 noisy),
        seconds. Every database is present, the small ones with three recordings where possible.
    """
    size = REAL.recordings.to_numpy()
    counts = allocate(n_recordings, size, floor=max(1, min(3, n_recordings // 20)))
    abnormal, noisy = (
        allocate(round(n_recordings * of_kind.sum() / size.sum()), counts * of_kind / size)
        for of_kind in (REAL.abnormal.to_numpy(), REAL.noisy.to_numpy())
    )
    tables = []
    for index, (name, quantiles) in enumerate(REAL.seconds.items()):
        rng, count = np.random.default_rng([seed, index]), counts[index]
        # One draw from each of `count` equal slices keeps the median in a database of three.
        drawn = (rng.permutation(count) + rng.uniform(size=count)) / count
        seconds = seconds_scale * np.interp(drawn, QUANTILES, quantiles)
        digits = 5 if name == "e" else 4  # a0001 but e00001, as in the Challenge
        table = pd.DataFrame({"record": [f"{name}{i + 1:0{digits}d}" for i in range(count)]})
        table["database"] = name
        table["label"] = rng.permutation(np.arange(count) < abnormal[index]).astype(int)
        table["quality"] = rng.permutation(np.arange(count) >= noisy[index]).astype(int)
        tables.append(table.assign(seconds=np.maximum(2.0, seconds).round(3)))
    return pd.concat(tables, ignore_index=True)


def allocate(total: int, shares: np.ndarray, floor: int = 0) -> np.ndarray:
    """Integers that sum to `total`: each at least `floor`, the rest by largest remainder."""
    ideal = np.maximum(total * shares / shares.sum() - floor, 0)
    ideal *= (total - floor * shares.size) / ideal.sum()
    parts = np.floor(ideal).astype(int)
    missing = total - floor * shares.size - parts.sum()
    parts[np.argsort(parts - ideal, kind="stable")[:missing]] += 1
    return parts + floor


def corpus_recording(row: Any, data: Data) -> Rendered:
    """One recording of a `plan`, drawn from the seed and its name alone."""
    rng = np.random.default_rng([data.seed, *row.record.encode()])
    patient = simulator.draw_patient(row.label, rng)
    _, heart = _heart(patient, row.seconds, data.murmur_db, rng)
    # Noisy recordings lie 13 dB deeper in noise than usable ones.
    snr = data.snr_db + rng.normal(0, 4) - (0 if row.quality else 13)
    noise = room_noise(len(heart), patient.breaths, not row.quality, rng)
    sound = heart + heart.std() * 10 ** (-snr / 20) * noise
    drawn = {"lesion": patient.lesion, "murmur_grade": patient.grade}
    drawn |= {"heart_rate": round(patient.rate, 1), "snr_db": round(snr, 1)}
    return capture(sound, Stethoscope(*REAL.device[row.database]), rng), drawn


def training_recording(
    label: int, seconds: float, seed: list[int], all_ages: bool = False
) -> Rendered:
    """One recording to train with, of label 0 (normal) or 1, drawn from the seed alone."""
    rng = np.random.default_rng(seed)
    patient = simulator.draw_patient(label, rng, all_ages)
    valves, heart = _heart(patient, seconds, None, rng)
    noise = room_noise(len(heart), patient.breaths, rng.random() < NOISY, rng)
    # Relative to the valves, which all hearts have: a murmur must not bring noise with it.
    sound = heart + valves.std() * 10 ** (-rng.uniform(*SNR_DB) / 20) * noise
    stored = capture(sound, any_device(rng), rng)
    if rng.random() < SECOND_DEVICE:
        again = simulate_device(stored / 32768, rng)
        stored = np.round(32767 * again).clip(-32768, 32767).astype(np.int16)
    return stored, {"lesion": patient.lesion, "murmur_grade": patient.grade}


def _heart(
    patient: simulator.Patient, seconds: float, murmur_db: float | None, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The sound of the valves, and that of the whole heart; None draws a gain of the murmur."""
    samples, beats = round(seconds * RECORDED_RATE), simulator.draw_beats(patient, seconds, rng)
    valves = simulator.valve_sounds(patient, beats, samples, rng)
    gain = 10 ** ((rng.uniform(*MURMUR_DB) if murmur_db is None else murmur_db) / 20)
    return valves, valves + gain * simulator.murmur_sound(patient, beats, samples, rng)


def any_device(rng: np.random.Generator) -> Stethoscope:
    """A device with pass band, noise, hum and gain drawn from the widths that there are."""
    low, high = (np.exp(rng.uniform(*np.log(ends))) for ends in (LOW_HZ, HIGH_HZ))
    return Stethoscope(low, high, rng.uniform(*FLOOR_DB), rng.choice(HUM_HZ), rng.uniform(*PEAK))


def _write(
    folder: Path, setting: str, planned: pd.DataFrame, render: Callable, lists: dict[str, str]
) -> pd.DataFrame:
    """The plan with what was drawn and the digest of each file; lists are name -> text."""
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock"):
        if not is_whole(folder / NOTE):
            require_space(folder.parent, round(planned.seconds.sum() * RECORDED_RATE * 2), setting)
            # The note marks the folder as ours from now on, and is complete only in the end.
            write_json(folder / NOTE, {})
            for name, text in lists.items():
                write_text(folder / name, text)
            drawn = []
            for row in progress(planned.itertuples(), len(planned), "synthetic recordings"):
                (samples, truth), wav = render(row), BytesIO()
                soundfile.write(wav, samples, RECORDED_RATE, subtype="PCM_16", format="WAV")
                # Written by Python, so that a full disk is an OSError.
                (folder / row.file).write_bytes(wav.getvalue())
                drawn.append(truth | {"digest": digest_of(folder / row.file)})
            write_csv(folder / TABLE, planned.join(pd.DataFrame(drawn)))
            files = (TABLE, *lists, *planned.file)
            write_json(folder / NOTE, {name: digest_of(folder / name) for name in files})
    return pd.read_csv(folder / TABLE, dtype={"record": str})
