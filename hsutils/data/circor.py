"""CirCor DigiScope in PhysioNet's layout -> a table of recordings.

Phonocardiograms of children and young adults at up to four places of the chest (*sites*), with a
physician's description of murmurs: https://physionet.org/content/circor-heart-sound/1.0.3
(ODC-By 1.0; Oliveira et al. 2022, IEEE J. Biomed. Health Inform. 26(6):2524). `training_data.csv`
has a row a patient; the folder `training_data` holds files such as `2530_AV.wav`, or
`2530_AV_2.wav` where a site was recorded twice.
"""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from hsutils.data.challenge import READ, some
from hsutils.errors import InputError

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
    listed = root / "training_data.csv"
    try:
        patients = pd.read_csv(listed, dtype=str).set_index("Patient ID")
        patients = patients[COLUMNS].fillna("").replace("nan", "")
    except (OSError, ValueError, KeyError) as error:
        problem = f"not CirCor's table of patients ({error})"
        raise InputError(f"{listed}: {problem}; fetch it again") from error
    paths = [path for path in (root / "training_data").glob("[!.]*") if path.suffix in READ]
    rows = [(path.stem, path.suffix, path.relative_to(root).as_posix()) for path in paths]
    files = pd.DataFrame(rows, columns=["record", "ending", "path"])
    # Of a recording in two formats the commoner one is used: a format must not tell the patient.
    rarity = -files.ending.map(files.ending.value_counts())
    files = files.assign(rarity=rarity).sort_values(["record", "rarity", "path"])
    files = files.drop_duplicates("record", ignore_index=True)
    named = files.record.str.extract(r"^(?P<visit>\d+)_(?P<site>[A-Za-z]+)(?:_\d+)?$")
    if files.empty:
        raise InputError(f"{root / 'training_data'}: holds no recordings; fetch them again")
    if strange := files.record[~named.visit.isin(patients.index)].tolist():
        problem = f"{len(strange)} recordings are of no patient in {listed.name} ({some(strange)})"
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
