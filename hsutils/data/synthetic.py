"""An artificial heart sound corpus in the Challenge's own layout, for lessons without a download.

The hearts are those of `hsutils.heart`. Each of the six databases has its own stethoscope and the
real one's share of recordings, abnormal and noisy ones (Liu et al. 2016, Physiol. Meas. 37:2181),
so the confound between database and label is as in the real data: the letter alone tells much.
"""

import hashlib
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from hsutils.errors import InputError
from hsutils.files import read_json, write_csv, write_json
from hsutils.audio.heart_simulator import RATE, draw_beats, draw_patient, murmur_sound, valve_sounds
from hsutils.audio.stethoscope import Stethoscope, capture, room_noise

VERSION = 1  # raise when the same parameters give other bytes
QUANTILES = (0, 0.05, 0.25, 0.5, 0.75, 0.95, 1)
SHORTEST = 2.0  # s, whatever the scale


@dataclass(frozen=True)
class Database:
    """One folder of the Challenge: its real counts, its durations and its device.

    Attributes:
        letter: a to f.
        recordings, abnormal, noisy: counts in the Challenge; noisy means of quality 0.
        seconds: the `QUANTILES` of its durations.
        stethoscope: tuned by hand until the median spectrum resembled the real folder's.
    """

    letter: str
    recordings: int
    abnormal: int
    noisy: int
    seconds: tuple[float, ...]
    stethoscope: Stethoscope


DATABASES = (
    Database(
        *("a", 409, 292, 17, (9.3, 20.6, 30.8, 35.6, 35.7, 36.2, 36.5)),
        Stethoscope(9, 150, -28, 50, 0.4),
    ),
    Database(
        *("b", 490, 104, 122, (5.3, 7.9, 8.0, 8.0, 8.0, 8.0, 8.0)),
        Stethoscope(2, 60, -56, 0, 0.9),
    ),
    Database(
        *("c", 31, 24, 4, (9.6, 13.1, 29.6, 44.4, 68.7, 97.7, 122.0)),
        Stethoscope(7, 90, -46, 0, 1.0),
    ),
    Database(
        *("d", 55, 28, 3, (6.6, 7.4, 9.3, 12.3, 18.3, 29.3, 48.5)),
        Stethoscope(8, 100, -43, 60, 0.2),
    ),
    Database(
        *("e", 2141, 183, 213, (8.1, 10.2, 16.3, 21.1, 26.7, 43.1, 101.7)),
        Stethoscope(16, 140, -30, 60, 0.8, 64),
    ),
    Database(
        *("f", 114, 34, 5, (29.4, 30.1, 30.8, 31.7, 33.4, 40.8, 59.6)),
        Stethoscope(28, 600, -25, 0, 0.85),
    ),
)


def allocate(total: int, shares: np.ndarray, floor: int = 0) -> np.ndarray:
    """Split a whole into whole parts: each at least `floor`, the rest by largest remainder.

    Returns:
        Integers that sum to `total`, shape of `shares`.
    """
    ideal = np.maximum(total * shares / shares.sum() - floor, 0)
    ideal *= (total - floor * shares.size) / ideal.sum()
    parts = np.floor(ideal).astype(int)
    missing = total - floor * shares.size - parts.sum()
    parts[np.argsort(parts - ideal, kind="stable")[:missing]] += 1
    return parts + floor


def plan(n_recordings: int, seed: int, seconds_scale: float = 1.0) -> pd.DataFrame:
    """Which recordings a corpus will have, in the real proportions.

    Returns:
        One row a recording: record, database, label (0 or 1), quality (1 usable, 0 noisy),
        seconds. Every database is present, the small ones with three recordings where possible.
    """
    real = pd.DataFrame([asdict(database) for database in DATABASES])
    total, size = real.recordings.sum(), real.recordings.to_numpy()
    counts = allocate(n_recordings, size, floor=max(1, min(3, n_recordings // 20)))
    abnormal, noisy = (
        allocate(round(n_recordings * real[kind].sum() / total), counts * real[kind] / size)
        for kind in ("abnormal", "noisy")
    )
    tables = []
    for index, database in enumerate(DATABASES):
        rng, count = np.random.default_rng([seed, index]), counts[index]
        # One draw from each of `count` equal slices keeps the median in a database of three.
        drawn = (rng.permutation(count) + rng.uniform(size=count)) / count
        seconds = seconds_scale * np.interp(drawn, QUANTILES, database.seconds)
        digits = 5 if database.letter == "e" else 4  # a0001 but e00001, as in the Challenge
        columns = {
            "record": [f"{database.letter}{i:0{digits}d}" for i in range(1, count + 1)],
            "database": database.letter,
            "label": rng.permutation(np.arange(count) < abnormal[index]).astype(int),
            "quality": rng.permutation(np.arange(count) >= noisy[index]).astype(int),
            "seconds": np.maximum(SHORTEST, seconds).round(3),
        }
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)


def render(row: pd.Series, snr_db: float, murmur_db: float, seed: int) -> tuple[np.ndarray, dict]:
    """One recording of a plan, drawn from the seed and its name alone.

    Args:
        row: a row of `plan`.
        snr_db: median heart-to-room ratio of usable recordings; the noisy lie 13 dB lower.
        murmur_db: gain of every murmur; negative hides them.
        seed: of the corpus.

    Returns:
        16-bit samples, shape (seconds * RATE,), and the truth about them.
    """
    rng = np.random.default_rng([seed, *row.record.encode()])
    patient = draw_patient(row.label, rng)
    samples = round(row.seconds * RATE)
    beats = draw_beats(patient, row.seconds, rng)
    heart = valve_sounds(patient, beats, samples, rng)
    heart += 10 ** (murmur_db / 20) * murmur_sound(patient, beats, samples, rng)
    snr = snr_db + rng.normal(0, 4) - (0 if row.quality else 13)
    noise = room_noise(samples, patient.breaths, not row.quality, rng)
    sound = heart + heart.std() * 10 ** (-snr / 20) * noise
    device = next(d.stethoscope for d in DATABASES if d.letter == row.database)
    truth = {
        "lesion": patient.lesion,
        "murmur_grade": patient.grade,
        "heart_rate": round(patient.rate, 1),
        "snr_db": round(snr, 1),
    }
    return capture(sound, device, rng), truth


def write_corpus(
    root: Path | str,
    n_recordings: int = 300,
    seed: int = 0,
    seconds_scale: float = 1.0,
    snr_db: float = 9.0,
    murmur_db: float = 0.0,
) -> Path:
    """Write an artificial corpus, `root/training-a` to `-f`, or find it already written.

    Beside the Challenge's own files lie `synthetic.csv` (what was drawn for each recording) and
    `synthetic.json` (these parameters), which fix every byte. The folder appears whole or not.

    Args:
        root: the new folder; may be empty.
        n_recordings: at least 6, one for each database.
        seed: not negative.
        seconds_scale: factor on the real durations, which average 22 s; none falls below 2 s.
        snr_db: median ratio of heart to room noise in usable recordings, dB.
        murmur_db: gain of every murmur, dB; more than 0 makes the task easier.

    Returns:
        `root`.

    Raises:
        InputError: if a parameter is out of range or `root` holds something else.
    """
    root = Path(root)
    parameters = {
        "version": VERSION,
        "n_recordings": n_recordings,
        "seed": seed,
        "seconds_scale": seconds_scale,
        "snr_db": snr_db,
        "murmur_db": murmur_db,
    }
    _check(parameters)
    if not _holds(root, parameters):
        _write_whole(root, parameters)
    return root


def _write_whole(root: Path, parameters: dict) -> None:
    """Write a corpus beside its place, then give it its name."""
    knobs = dict(parameters)
    del knobs["version"]
    recordings = plan(knobs.pop("n_recordings"), knobs["seed"], knobs.pop("seconds_scale"))
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root.parent, prefix=f".{root.name}-") as temporary:
        folder = Path(temporary) / "corpus"
        _write_recordings(folder, recordings, **knobs)
        write_json(folder / "synthetic.json", parameters)
        _move(folder, root, parameters)


def _check(parameters: dict) -> None:
    """Raise InputError naming every parameter that is out of range."""
    problems = []
    if parameters["n_recordings"] < len(DATABASES):
        problems.append(
            f"n_recordings is {parameters['n_recordings']}: give at least {len(DATABASES)}, "
            "one for each database"
        )
    if parameters["seed"] < 0:
        problems.append(f"seed is {parameters['seed']}: give 0 or more")
    if not parameters["seconds_scale"] > 0:
        problems.append(f"seconds_scale is {parameters['seconds_scale']}: give more than 0")
    if problems:
        raise InputError(problems)


def _holds(root: Path, parameters: dict) -> bool:
    """Whether `root` is this very corpus; InputError if it, or what is beside it, forbids one."""
    note = root / "synthetic.json"
    if note.is_file() and read_json(note) == parameters:
        return True
    if root.exists() and not (root.is_dir() and not any(root.iterdir())):
        what = "a synthetic corpus of other parameters" if note.is_file() else "other files"
        raise InputError(f"{root} holds {what}: name a new folder, or delete this one first")
    beside = (*root.parent.glob("training-[a-f]"), *root.parent.glob("*/training-[a-f]"))
    if any(not (folder.parent / "synthetic.json").exists() for folder in beside):
        raise InputError(
            f"{root.parent} holds real recordings, and artificial ones do not belong there: "
            "name another folder, or a profile whose data.source is challenge, such as paper"
        )
    return False


def _move(folder: Path, root: Path, parameters: dict) -> None:
    """Give a finished corpus its name, unless another run finished the same one meanwhile."""
    try:
        if root.exists():
            root.rmdir()
        folder.rename(root)
    except OSError:
        if not _holds(root, parameters):
            raise


def _write_recordings(
    root: Path, recordings: pd.DataFrame, snr_db: float, murmur_db: float, seed: int
) -> None:
    """All databases of a plan, and the truth about them."""
    truths = []
    for database, rows in recordings.groupby("database"):
        folder = root / f"training-{database}"
        folder.mkdir(parents=True)
        for row in rows.itertuples():
            waveform, truth = render(row, snr_db, murmur_db, seed)
            soundfile.write(folder / f"{row.record}.wav", waveform, RATE, subtype="PCM_16")
            header = (
                f"{row.record} 1 {RATE} {waveform.size}\r\n"
                f"{row.record}.wav 16+44 1 16 0 0 0 0 PCG\r\n"
                f"# {'Abnormal' if row.label else 'Normal'}\r\n"
            )
            (folder / f"{row.record}.hea").write_bytes(header.encode())
            truths.append(truth)
        _write_lists(folder, rows)
    write_csv(root / "synthetic.csv", pd.concat([recordings, pd.DataFrame(truths)], axis=1))


def _write_lists(folder: Path, rows: pd.DataFrame) -> None:
    """The Challenge's lists of one database: RECORDS*, REFERENCE*, SHA256SUMS."""
    lists = {"": rows, "-abnormal": rows[rows.label == 1], "-normal": rows[rows.label == 0]}
    for suffix, chosen in lists.items():
        (folder / f"RECORDS{suffix}").write_text("".join(f"{r}\n" for r in chosen.record))
    reference = rows[["record", "label", "quality"]].assign(label=rows.label * 2 - 1)
    reference.to_csv(folder / "REFERENCE-SQI.csv", header=False, index=False, lineterminator="\n")
    reference.drop(columns="quality").to_csv(
        folder / "REFERENCE.csv", header=False, index=False, lineterminator="\n"
    )
    sums = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
        for path in sorted(folder.iterdir())
    ]
    (folder / "SHA256SUMS").write_text("".join(sums))
