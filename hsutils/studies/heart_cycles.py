"""The linear model of heart cycles in studies: what trains it, and which predictions it makes."""

import numpy as np
import pandas as pd

from hsutils.audio.heart_cycles import BANDS, FEATURES, PHASES, LinearModel
from hsutils.data.corpus import TRAINED
from hsutils.data.splits import leave_out
from hsutils.models.heart_cycles import fitted


def trained(features: np.ndarray, recordings: pd.DataFrame, splits: pd.DataFrame) -> LinearModel:
    """The linear model of those recordings whose split trains networks, when all labels do."""
    used = recordings.record.isin(splits.record[splits.split.isin(TRAINED)]).to_numpy()
    return fitted(features[used], recordings[used])


def lodo(
    features: np.ndarray, recordings: pd.DataFrame, splits: pd.DataFrame, database: str
) -> pd.DataFrame:
    """Predictions (record, logit) of a database by the linear model of all others.

    Without a database they are those of the test split.
    """
    if database:
        splits = leave_out(splits, recordings, database, with_test=True)
    model = trained(features, recordings, splits)
    here = recordings.record.isin(splits.record[splits.split == "test"]).to_numpy()
    return recordings.loc[here, ["record"]].assign(logit=model.logits(features[here]))


def mean_cycles(features: np.ndarray, recordings: pd.DataFrame) -> pd.DataFrame:
    """The mean heart cycle of each database and class, in decibels over each band's mean.

    Returns:
        Columns database, label, recordings (in which beats were found), phase, band, value.
    """
    keys = ["database", "label"]
    names = pd.MultiIndex.from_product([PHASES, range(1, BANDS + 1)], names=["phase", "band"])
    index = pd.MultiIndex.from_frame(recordings[keys])
    parts = pd.DataFrame(10 * features[:, : len(names)], index, names).dropna().groupby(keys)
    table = parts.mean().stack(["phase", "band"], future_stack=True).rename("value").reset_index()
    table = table.merge(parts.size().rename("recordings").reset_index(), on=keys)
    return table[[*keys, "recordings", "phase", "band", "value"]].round(5)


def weights(features: np.ndarray, recordings: pd.DataFrame, splits: pd.DataFrame) -> pd.DataFrame:
    """The weights of the model that leaves nothing out, by phase and band; "rhythm" is a phase."""
    rows = [(phase, band + 1) for phase in PHASES for band in range(BANDS)]
    rows += [(f"scatter of {phase}", band) for phase, band in rows]
    rows += [("rhythm", name) for name in FEATURES[len(rows) :]]
    table = pd.DataFrame(rows, columns=["phase", "band"])
    return table.assign(weight=trained(features, recordings, splits).weights).round(5)
