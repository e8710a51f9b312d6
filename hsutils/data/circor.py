"""CirCor DigiScope in PhysioNet's layout -> a table of recordings.

Phonocardiograms of children and young adults at up to four places of the chest (*sites*), with a
physician's description of murmurs: https://physionet.org/content/circor-heart-sound/1.0.3
(ODC-By 1.0; Oliveira et al. 2022, IEEE J. Biomed. Health Inform. 26(6):2524). `training_data.csv`
has a row a patient; the folder `training_data` holds files such as `2530_AV.wav`, or
`2530_AV_2.wav` where a site was recorded twice.
"""

import warnings
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from hsutils.data.challenge import READ, some
from hsutils.data.download import Source, fetch
from hsutils.errors import InputError
from hsutils.files import digest_of, write_csv

PHYSIONET = "https://physionet.org/static/published-projects/circor-heart-sound"
ARCHIVE = "the-circor-digiscope-phonocardiogram-dataset-1.0.3.zip"
PATIENTS, FOLDER, SUMS = "training_data.csv", "training_data", "SHA256SUMS.txt"

ABOUT = {"Age": "age", "Sex": "sex", "Campaign": "campaign"}
"""Columns of `training_data.csv` about the patient, and their names in the table."""
MURMUR = {"murmur timing": "timing", "murmur grading": "grade"}
MURMUR |= {"murmur pitch": "pitch", "murmur shape": "shape"}
"""Its columns about a systolic and a diastolic murmur, and their names."""
COLUMNS = ["Locations", "Murmur", "Murmur locations", "Additional ID", *ABOUT]
COLUMNS += [f"{when} {column}" for when in ("Systolic", "Diastolic") for column in MURMUR]


def circor_table(root: Path | str, unsure: bool = False) -> pd.DataFrame:
    """The recordings below a folder, as `table.read_table` takes them.

    The label says whether a murmur was heard at this site. Only sure ones are there: *present*, at
    a site that `Murmur locations` names, and *absent*, of a patient without a murmur.

    Args:
        root: the folder with `training_data.csv`.
        unsure: whether the others are listed too, with label 0: *other site*, where a patient has
            a murmur and none was noted at this site, and *unknown*, where the physician could not
            decide. The column `murmur` tells them apart.

    Returns:
        One row a recording, sorted: record, path (from `root`), label (0 or 1), patient (the same
        at all visits), database ("circor"), site, murmur (present, absent, other site, unknown),
        age, sex, campaign, and of murmurs that are present timing, grade, pitch, shape (of the
        systolic murmur, or else of the diastolic one). What is not known is "".

    Raises:
        InputError: if there is no such table, or no recordings, or some of unknown patients.

    Warns:
        UserWarning: once, of patients with recordings that are not there.
    """
    root = Path(root)
    listed = root / PATIENTS
    try:
        patients = pd.read_csv(listed, dtype=str).set_index("Patient ID")
        patients = patients[COLUMNS].fillna("").replace("nan", "")
    except (OSError, ValueError, KeyError) as error:
        problem = f"not CirCor's table of patients ({error})"
        raise InputError(f"{listed}: {problem}; fetch it again") from error
    paths = [path for path in (root / FOLDER).glob("[!.]*") if path.suffix in READ]
    rows = [(path.stem, path.suffix, path.relative_to(root).as_posix()) for path in paths]
    files = pd.DataFrame(rows, columns=["record", "ending", "path"])
    # Of a recording in two formats the commoner one is used: a format must not tell the patient.
    rarity = -files.ending.map(files.ending.value_counts())
    files = files.assign(rarity=rarity).sort_values(["record", "rarity", "path"])
    files = files.drop_duplicates("record", ignore_index=True)
    named = files.record.str.extract(r"^(?P<visit>\d+)_(?P<site>[A-Za-z]+)(?:_\d+)?$")
    if files.empty:
        raise InputError(f"{root / FOLDER}: holds no recordings; fetch them again")
    if strange := files.record[~named.visit.isin(patients.index)].tolist():
        problem = f"{len(strange)} recordings are of no patient in {PATIENTS} ({some(strange)})"
        raise InputError(f"{root}: {problem}; fetch them again")
    found = named.groupby("visit").site.agg(sorted)
    asked = patients["Locations"].loc[found.index].str.split("+").map(sorted)
    if lacking := found.index[found != asked].tolist():
        problem = f"of {len(lacking)} patients some recordings are not there ({some(lacking)})"
        warnings.warn(f"{root}: {problem}", stacklevel=2)
    about = patients.loc[named.visit].reset_index(drop=True)
    murmur, places = about["Murmur"].str.lower(), about["Murmur locations"].str.split("+")
    here = [site in where for site, where in zip(named.site, places, strict=True)]
    murmur = murmur.mask((murmur == "present") & ~np.array(here), "other site")
    visits = pd.concat([named.visit, about["Additional ID"]], axis=1).replace("", None)
    table = files[["record", "path"]].assign(
        label=(murmur == "present").astype(int),
        patient=visits.astype(float).min(axis=1).astype(int),
        database="circor",
        site=named.site,
        murmur=murmur,
        **{name: about[column] for column, name in ABOUT.items()},
    )
    for column, name in MURMUR.items():
        systolic, diastolic = about[f"Systolic {column}"], about[f"Diastolic {column}"]
        table[name] = systolic.mask(systolic == "", diastolic).where(table.label == 1, "")
    return table if unsure else table[murmur.isin(["present", "absent"])].reset_index(drop=True)


def fetch_circor(to: Path | str, mirror: Path | str | None = None, unsure: bool = False) -> Path:
    """Put CirCor into the folder `to`, verified, with its table `recordings.csv`, as `fetch` does.

    A mirror may hold PhysioNet's archive, others, or unpacked folders, of WAV or FLAC files.
    Verified is that patients and recordings fit together, and the checksums where they come along.
    An existing folder keeps its recordings, and its table is written anew.

    Raises:
        InputError: as `download.fetch`.
    """
    faults = partial(_faults, unsure=unsure)
    return fetch(to, mirror, Source(PHYSIONET, (ARCHIVE,), _place, faults, loose=True))


def _place(name: str) -> str:
    path = PurePosixPath(name)
    if path.name in (PATIENTS, SUMS):
        return path.name
    is_read = path.parent.name == FOLDER and path.suffix in (*READ, ".tsv")
    return f"{FOLDER}/{path.name}" if is_read and "__MACOSX" not in path.parts else ""


def _faults(root: Path, unsure: bool) -> list[str]:
    try:
        table = circor_table(root, unsure)
        sums = (root / SUMS).read_text("utf-8", "replace") if (root / SUMS).exists() else ""
        listed = dict(reversed(line.split(maxsplit=1)) for line in sums.splitlines())
        asked = {name: digest for name, digest in listed.items() if _place(name) == name}
        for name, digest in asked.items():
            if not (root / name).is_file() or digest_of(root / name) != digest:
                return [f"{name}: is not as {SUMS} says"]
    except InputError as error:
        return error.problems
    write_csv(root / "recordings.csv", table)
    return []
