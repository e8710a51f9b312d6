"""Artificial hearts heard through any stethoscope: what the six databases cannot show enough of.

Of the 2,141 recordings of the largest database 183 are abnormal, and databases differ in devices
and rooms as they do in diagnoses. Artificial hearts have as many murmurs as one likes, and each is
heard in another room through another stethoscope, so that nothing but the heart is common to the
abnormal ones.
"""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
from filelock import FileLock

from hsutils.experiment import PROJECT, fingerprint
from hsutils.files import atomic_path, write_csv
from hsutils.audio.heart_simulator import RATE, draw_beats, draw_patient, murmur_sound, valve_sounds
from hsutils.progress import progress
from hsutils.audio.devices import another_sensor
from hsutils.settings import Artificial
from hsutils.audio.stethoscope import Stethoscope, capture, room_noise

VERSION = 2  # raise when the same settings give other bytes
MURMUR_DB = (-2.0, 10.0)
SNR_DB = (0.0, 22.0)
NOISY, RESENSED = 0.15, 0.5
"""Shares of recordings in a noisy room, and of those that go through `another_sensor` as well."""

LOW_HZ, HIGH_HZ = (2.0, 30.0), (60.0, 600.0)
FLOOR_DB, PEAK, HUM_HZ = (-56.0, -25.0), (0.2, 1.0), (0.0, 50.0, 60.0)


def write_artificial(settings: Artificial) -> pd.DataFrame:
    """Artificial recordings, written unless they are there.

    Args:
        settings: how many, how long, of which seed, and below which folder.

    Returns:
        One row a recording: record, path, label (0 normal, 1 abnormal, in turn), sample_rate (Hz),
        seconds and digest, as in `recordings.read_recordings`; lesion and murmur_grade.
    """
    folder = PROJECT / settings.folder / fingerprint(settings, VERSION)
    table = folder / "recordings.csv"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock"):
        if not table.exists():
            write_csv(table, pd.DataFrame(_written(settings, folder)))
    made = pd.read_csv(table, dtype={"record": str, "digest": str})
    return made.assign(path=[str(folder / f"{record}.wav") for record in made.record])


def _written(settings: Artificial, folder: Path) -> Iterator[dict[str, object]]:
    for number in progress(range(settings.recordings), settings.recordings, "artificial hearts"):
        samples, truth = artificial(number % 2, settings.seconds, [settings.seed, number])
        record = f"z{number:05d}"
        with atomic_path(folder / f"{record}.wav") as temporary:
            soundfile.write(temporary, samples, RATE, subtype="PCM_16", format="WAV")
        about = {"record": record, "label": number % 2, "sample_rate": RATE}
        about |= {"seconds": settings.seconds, "digest": sha256(samples.tobytes()).hexdigest()[:16]}
        yield about | truth


def artificial(
    label: int, seconds: float, seed: list[int]
) -> tuple[np.ndarray, dict[str, str | int]]:
    """One artificial recording: a patient, a room, and a stethoscope, each drawn anew.

    Args:
        label: 0 normal, 1 abnormal.
        seconds: how long it lasts.
        seed: the only source of chance.

    Returns:
        16-bit samples at 2,000 Hz, shape (seconds * RATE,), and the patient's lesion and
        murmur_grade.
    """
    rng, samples = np.random.default_rng(seed), round(seconds * RATE)
    patient = draw_patient(label, rng)
    beats = draw_beats(patient, seconds, rng)
    valves = valve_sounds(patient, beats, samples, rng)
    heart = valves + 10 ** (rng.uniform(*MURMUR_DB) / 20) * murmur_sound(
        patient, beats, samples, rng
    )
    room = room_noise(samples, patient.breaths, rng.random() < NOISY, rng)
    # Relative to the valves, which all hearts have: a murmur must not bring noise with it.
    sound = heart + valves.std() * 10 ** (-rng.uniform(*SNR_DB) / 20) * room
    stored = capture(sound, any_stethoscope(rng), rng)
    if rng.random() < RESENSED:
        again = another_sensor(stored / 32768, rng)
        stored = np.round(32767 * again).clip(-32768, 32767).astype(np.int16)
    return stored, {"lesion": patient.lesion, "murmur_grade": patient.grade}


def any_stethoscope(rng: np.random.Generator) -> Stethoscope:
    """A stethoscope with pass band, noise, hum and gain drawn over the widths that there are."""
    low, high = (np.exp(rng.uniform(*np.log(ends))) for ends in (LOW_HZ, HIGH_HZ))
    return Stethoscope(low, high, rng.uniform(*FLOOR_DB), rng.choice(HUM_HZ), rng.uniform(*PEAK))
