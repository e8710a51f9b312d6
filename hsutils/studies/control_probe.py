"""What a file's storage still tells of the class, once a waveform is controlled (`artefacts`).

Inside the largest database normal recordings are stored in far fewer levels than abnormal ones, so
that a count of distinct sample values tells the class nearly without error. A front end that claims
to have removed this is asked the same question again.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict

from hsutils.audio.preprocessing import control
from hsutils.evaluation.intervals import group_codes
from hsutils.settings import FrontEnd
from hsutils.evaluation.shortcuts import storage_facts
from hsutils.audio.wav import SAMPLE_RATE, read_waveform
from hsutils.evaluation.domains import classes_in_groups, counts_and_auroc

FACTS = ("levels", "peak", "clipped")
"""Of `shortcuts.format_facts`, those that storage decides; how long it lasts is left alone."""
COLUMNS = ("waveform", "facts", "database", "recordings", "abnormal", "auroc", "low", "high")

_FOLDS, _TREES, _THREADS = 5, 100, 4
_FULL_SCALE = 32_768


def format_probe(recordings: pd.DataFrame, front_end: FrontEnd, seed: int = 0) -> pd.DataFrame:
    """AUROC of extra trees that see facts of storage alone, inside each database.

    Cross-validated with whole groups; databases with fewer than five groups of a class are left
    out.

    Args:
        recordings: columns path, database, group, label.
        front_end: whose control is tried.
        seed: of trees and folds.

    Returns:
        Columns `COLUMNS`: waveform is "stored" or "controlled"; facts is one of `FACTS`, or "all";
        low and high are a 95% interval over groups.

    Raises:
        InputError: if a file cannot be read.
    """
    rows = []
    for waveform, settings in (("stored", FrontEnd()), ("controlled", front_end)):
        facts = _facts(recordings, settings)
        for database, part in recordings.groupby("database"):
            if not classes_in_groups(part.label, part.group, _FOLDS):
                continue
            for name, scores in _scores(facts.loc[part.index], part, seed):
                about = {"waveform": waveform, "facts": name, "database": database}
                rows.append(about | counts_and_auroc(part, scores))
    return pd.DataFrame(rows, columns=COLUMNS).round(5)


def _facts(recordings: pd.DataFrame, front_end: FrontEnd) -> pd.DataFrame:
    def one(path: str) -> dict[str, int]:
        waveform = control(read_waveform(path), SAMPLE_RATE, front_end)
        return storage_facts(np.rint(waveform * _FULL_SCALE).astype(np.int64))

    with ThreadPoolExecutor(_THREADS) as threads:
        return pd.DataFrame(threads.map(one, recordings.path), recordings.index)


def _scores(facts: pd.DataFrame, part: pd.DataFrame, seed: int) -> Iterator[tuple[str, np.ndarray]]:
    folds = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=seed)
    groups = group_codes(part.group.to_numpy(), len(part))
    known_by = {fact: [fact] for fact in FACTS} | {"all": list(FACTS)}
    for name, columns in known_by.items():
        trees = ExtraTreesClassifier(_TREES, min_samples_leaf=2, random_state=seed)
        known, how = facts[columns].to_numpy(), {"cv": folds, "method": "predict_proba"}
        yield name, cross_val_predict(trees, known, part.label, groups=groups, **how)[:, 1]
