"""CirCor DigiScope in PhysioNet's layout -> a table of recordings.

Phonocardiograms of children and some pregnant women, at up to four *sites* of the chest, with a
physician's description of murmurs: https://physionet.org/content/circor-heart-sound/1.0.3 (ODC-By
1.0; Oliveira et al. 2022, IEEE J. Biomed. Health Inform. 26(6):2524). `training_data.csv` has a row
a patient; `training_data` holds files such as `2530_AV.wav`, or `2530_AV_2.wav` of a second take.
"""

import warnings
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from hsutils.data.challenge import READ, some
from hsutils.data.download import Source, fetch
from hsutils.errors import InputError
from hsutils.files import write_csv

PHYSIONET = "https://physionet.org/static/published-projects/circor-heart-sound"
ARCHIVE = "the-circor-digiscope-phonocardiogram-dataset-1.0.3.zip"
PATIENTS, FOLDER = "training_data.csv", "training_data"
MURMUR = {"timing": "timing", "grading": "grade", "pitch": "pitch", "shape": "shape"}
"""What PhysioNet's table says of systolic and diastolic murmurs, and the name it has in ours."""


def circor_table(root: Path | str, unsure: bool = False) -> pd.DataFrame:
    """The recordings below a folder, for `table.read_table`.

    Label 1 is a murmur that was heard at this site, label 0 is none. Only sure labels are listed:
    the sites that `Murmur locations` names, and patients without a murmur. With `unsure` the rest
    is, too, with label 0: other sites of patients with a murmur, and patients of whom the physician
    was unsure. The column `murmur` tells them apart.

    Returns:
        One row per recording: record, path (from `root`), label, patient (the same at all visits),
        database ("circor"), site, murmur (present, absent, other site, unknown), age (empty
        for the pregnant), sex, campaign, pregnant (yes, no); of murmurs heard here timing, grade,
        pitch, shape (systolic, else diastolic).

    Raises:
        InputError: if there is no table of patients, no recording, or one of no patient.

    Warns:
        UserWarning: if recordings of some patients are not there.
    """
    root = Path(root)
    paths = [path for path in sorted((root / FOLDER).glob("[!.]*")) if path.suffix in READ]
    rows = [(path.stem, path.suffix, *path.stem.split("_")[:2]) for path in paths]
    files = pd.DataFrame(rows, columns=["record", "ending", "visit", "site"])
    # Of a recording in two formats the commoner is used: a format must not identify the patient.
    files["rarity"] = -files.ending.map(files.ending.value_counts())
    files = files.sort_values(["record", "rarity"]).drop_duplicates("record", ignore_index=True)
    try:
        patients = pd.read_csv(root / PATIENTS, dtype=str).fillna("").replace("nan", "")
        about = patients.set_index("Patient ID").loc[files.visit].reset_index()
        murmur, places = about["Murmur"].str.lower(), about["Murmur locations"].str.split("+")
        here = [site in where for site, where in zip(files.site, places, strict=True)]
        visits = about[["Patient ID", "Additional ID"]].replace("", None).astype(float)
        named = about["Locations"].str.split("+").map(sorted)
    except (OSError, ValueError, KeyError) as error:
        problem = f"holds no CirCor recordings with their {PATIENTS}"
        why = getattr(error, "strerror", None) or error
        raise InputError(f"{root}: {problem} ({why}); fetch them again") from error
    if files.empty:
        raise InputError(f"{root}: holds no CirCor recordings; fetch them again")
    found = files.groupby("visit").site.agg(sorted).loc[files.visit].reset_index(drop=True)
    if lacking := files.visit[found != named].unique().tolist():
        problem = f"some recordings of {len(lacking)} patients are not there ({some(lacking)})"
        warnings.warn(f"{root}: {problem}", stacklevel=2)
    murmur = murmur.mask((murmur == "present") & ~np.array(here), "other site")
    table = files[["record"]].assign(
        path=FOLDER + "/" + files.record + files.ending,
        label=(murmur == "present").astype(int),
        patient=visits.min(axis=1).astype(int),
        database="circor",
        site=files.site,
        murmur=murmur,
        **about[["Age", "Sex", "Campaign"]].rename(columns=str.lower),
        pregnant=about["Pregnancy status"].str.lower().replace({"true": "yes", "false": "no"}),
    )
    for ending, name in MURMUR.items():
        systolic, diastolic = (about[f"{k} murmur {ending}"] for k in ("Systolic", "Diastolic"))
        table[name] = systolic.mask(systolic == "", diastolic).where(table.label == 1, "")
    return table if unsure else _sure(table)


def _sure(table: pd.DataFrame) -> pd.DataFrame:
    return table[table.murmur.isin(["present", "absent"])].reset_index(drop=True)


def fetch_circor(to: Path | str, mirror: Path | str | None = None, unsure: bool = False) -> Path:
    """Put CirCor and `recordings.csv`, its `circor_table`, into the folder `to`; see `fetch`.

    A mirror may hold any archives or folders of its files, WAV or FLAC. Verified is that archives
    are undamaged and that recordings and patients fit together. A `recordings.csv` that is there
    already is written anew only if this command wrote it with the other `unsure`.
    """

    def faults(root: Path) -> list[str]:
        try:
            every = circor_table(root, unsure=True)
        except InputError as error:
            return [problem.split(": ", 1)[1].rsplit(";", 1)[0] for problem in error.problems]
        listed, sure = root / "recordings.csv", _sure(every)
        wanted, other = (every, sure) if unsure else (sure, every)
        there = listed.read_bytes() if listed.exists() else None
        if there in (None, other.to_csv(index=False).encode()):
            write_csv(listed, wanted)
        elif there != wanted.to_csv(index=False).encode():
            print(f"{listed}: differs, but is left as it is; rename it to have it made again")
        return []

    return fetch(to, mirror, Source(PHYSIONET, (ARCHIVE,), _place, faults, loose=True))


def _place(name: str) -> str:
    path = PurePosixPath(name)
    if path.name == PATIENTS:
        return PATIENTS
    used = path.parent.name == FOLDER and path.suffix in (*READ, ".tsv")
    return f"{FOLDER}/{path.name}" if used and "__MACOSX" not in path.parts else ""
