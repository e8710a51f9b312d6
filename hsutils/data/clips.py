"""The real recordings that come with the package: clips of 8 s of the Challenge's recordings.

    python -m hsutils.data.clips --data data/challenge-2016

cuts them again from all recordings. They keep their names, labels and databases, in the
Challenge's layout, as FLAC. `hsutils/clips/README.md` names the authors and the license.
"""

import argparse
import shutil
from pathlib import Path

import pandas as pd
import soundfile

from hsutils.audio.wav import read_samples
from hsutils.data.challenge import read_recordings
from hsutils.data.duplicates import shared_audio
from hsutils.files import write_csv

CLIPS = Path(__file__).resolve().parents[1] / "clips"
SECONDS, PAIRS, LATER, SEED = 8.0, 6, 2.0, 0
PLACES = {"a": (30, 50), "b": (70, 18), "c": (4, 6), "d": (10, 6), "e": (285, 18), "f": (25, 6)}
"""Database -> how many normal and abnormal recordings. As in the Challenge, one in five is abnormal
and most normal ones are of e; small databases have more than their share."""


def choose(recordings: pd.DataFrame, shared: pd.DataFrame) -> pd.DataFrame:
    """Which recordings are cut where: a stratified sample, and `PAIRS` pairs with shared audio.

    Args:
        recordings: the table of `read_recordings`.
        shared: the table of `shared_audio`, the longest passage first.

    Returns:
        Rows of `recordings` with a column start (s). The first clip of a pair begins where the
        audio that they share begins, the second one `LATER` (s), so that no checksum notices.
    """
    seconds, starts = recordings.set_index("record").seconds, {}
    for pair in shared.itertuples():
        cuts = {pair.record_a: pair.start_a, pair.record_b: pair.start_b + LATER}
        fits = all(seconds[record] - start >= SECONDS for record, start in cuts.items())
        if fits and len(starts) < 2 * PAIRS and not cuts.keys() & starts.keys():
            starts |= cuts
    sample = [
        part.sample(PLACES[database][label], random_state=SEED).record
        for (database, label), part in recordings.groupby(["database", "label"])
    ]
    chosen = recordings[recordings.record.isin([*pd.concat(sample), *starts])]
    return chosen.assign(start=chosen.record.map(starts).fillna(0.0))


def write_clips(chosen: pd.DataFrame, folder: Path) -> None:
    """Write the clips of `choose` into a folder, with the Challenge's lists of labels and quality.

    Args:
        chosen: columns record, database, path, label, quality, start (s).
        folder: gets `training-a` and so on, and `clips.csv` with each record's start (s).
    """
    for database, part in chosen.groupby("database"):
        own = folder / f"training-{database}"
        shutil.rmtree(own, ignore_errors=True)
        own.mkdir(parents=True)
        for row in part.itertuples():
            samples, rate = read_samples(row.path)
            first = round(row.start * rate)
            clip = samples[first : first + round(SECONDS * rate)]
            soundfile.write(own / f"{row.record}.flac", clip, rate, subtype="PCM_16")
        listed = part[["record"]].assign(label=2 * part.label - 1, quality=part.quality)
        listed[["record", "label"]].to_csv(own / "REFERENCE.csv", header=False, index=False)
        listed.to_csv(own / "REFERENCE-SQI.csv", header=False, index=False)
    write_csv(folder / "clips.csv", chosen[["record", "start"]])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="folder of all recordings")
    parser.add_argument("--to", type=Path, default=CLIPS, help="folder to write into")
    options = parser.parse_args()
    table = read_recordings(options.data)
    related = table[table.duplicated("group", keep=False)]
    write_clips(choose(table, shared_audio(related)), options.to)
