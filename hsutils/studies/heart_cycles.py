"""A linear model on heart-cycle features, beside the networks: every weight can be read.

Recordings are tables as of `read_recordings`, features have shape (n, 60), NaN without beats.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from hsutils.audio.heart_cycles import BANDS, FEATURES, PHASES, heart_cycle_features
from hsutils.audio.wav import read_waveform
from hsutils.data.splits import leave_out
from hsutils.environment import usable_cores
from hsutils.progress import progress

STRENGTHS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
"""Of the regularization (inverse, as scikit-learn's C), chosen without the database tested."""
USUAL, MANY = 1e-4, 100
"""The strength where fewer than two databases of `MANY` recordings can choose it."""


def features_of(recordings: pd.DataFrame) -> np.ndarray:
    """The heart-cycle features of recordings."""
    with ThreadPoolExecutor(usable_cores()) as threads:
        found = threads.map(lambda path: heart_cycle_features(read_waveform(path)), recordings.path)
        return np.array(list(progress(found, len(recordings), "heart cycles")))


def linear_model(features: np.ndarray, table: pd.DataFrame, strength: float) -> BaseEstimator:
    """A logistic regression in which every database and class counts alike."""
    parts = table.groupby(["database", "label"])
    weights = (len(table) / parts.ngroups / parts.label.transform("size")).to_numpy()
    model = make_pipeline(
        SimpleImputer(strategy="median", keep_empty_features=True),
        StandardScaler(),
        LogisticRegression(C=strength, max_iter=1000),
    )
    steps = ("standardscaler", "logisticregression")
    return model.fit(features, table.label, **{f"{s}__sample_weight": weights for s in steps})


def fitted(features: np.ndarray, recordings: pd.DataFrame, splits: pd.DataFrame) -> BaseEstimator:
    """The linear model of those recordings whose split trains networks, when all labels do.

    The strength is the one with the best mean AUROC over large databases, each left out in turn.
    """
    used = recordings.merge(splits, on="record", how="left").split.isin(["pretrain", "finetune"])
    features, table = features[used], recordings[used.to_numpy()].reset_index(drop=True)
    scores = []
    for _, part in table.groupby("database"):
        others = table[~table.group.isin(part.group)]
        if len(part) >= MANY and part.label.nunique() == 2 == others.label.nunique():
            models = [linear_model(features[others.index], others, s) for s in STRENGTHS]
            logits = [model.decision_function(features[part.index]) for model in models]
            scores.append([roc_auc_score(part.label, each) for each in logits])
    best = STRENGTHS[np.argmax(np.mean(scores, axis=0))] if len(scores) > 1 else USUAL
    return linear_model(features, table, best)


def lodo(
    features: np.ndarray, recordings: pd.DataFrame, splits: pd.DataFrame, database: str
) -> pd.DataFrame:
    """Predictions (record, logit) of a database by the linear model of all others.

    Without a database they are those of the test split.
    """
    if database:
        splits = leave_out(splits, recordings, database, with_test=True)
    model = fitted(features, recordings, splits)
    here = recordings.record.isin(splits.record[splits.split == "test"]).to_numpy()
    return recordings.loc[here, ["record"]].assign(logit=model.decision_function(features[here]))


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
    rows += [("rhythm", name) for name in FEATURES[len(rows) :]]
    table = pd.DataFrame(rows, columns=["phase", "band"])
    return table.assign(weight=fitted(features, recordings, splits)[-1].coef_[0]).round(5)
