"""A linear model on heart-cycle features, beside the networks: every weight has a meaning.

Recordings are tables as of `read_recordings`, features have shape (n, 117), NaN without beats.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from hsutils.audio.heart_cycles import LIMIT, LinearModel, heart_cycle_features
from hsutils.audio.wav import read_waveform
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


def linear_model(features: np.ndarray, table: pd.DataFrame, strength: float) -> LinearModel:
    """A logistic regression in which each class of each database has the same total weight.

    `table` has the columns database and label; `strength` is one of `STRENGTHS`.
    """
    parts = table.groupby(["database", "label"])
    counts = (len(table) / parts.ngroups / parts.label.transform("size")).to_numpy()
    missing = np.isnan(features).all(axis=0)
    usual = np.nanmedian(np.where(missing, 0, features), axis=0)
    known = np.where(np.isnan(features), usual, features)
    mean = np.average(known, axis=0, weights=counts)
    deviation = np.sqrt(np.average((known - mean) ** 2, axis=0, weights=counts))
    deviation = np.where(deviation > 0, deviation, 1)
    steps = np.clip((known - mean) / deviation, -LIMIT, LIMIT)
    found = LogisticRegression(C=strength, max_iter=1000).fit(steps, table.label, counts)
    return LinearModel(usual, mean, deviation, found.coef_[0], found.intercept_[0])


def fitted(features: np.ndarray, table: pd.DataFrame) -> LinearModel:
    """The linear model of recordings, with columns database, label and group.

    The strength is the one with the best mean AUROC over large databases, each left out in turn.
    """
    table, scores = table.reset_index(drop=True), []
    for _, part in table.groupby("database"):
        others = table[~table.group.isin(part.group)]
        if len(part) >= MANY and part.label.nunique() == 2 == others.label.nunique():
            models = [linear_model(features[others.index], others, s) for s in STRENGTHS]
            logits = [model.logits(features[part.index]) for model in models]
            scores.append([roc_auc_score(part.label, each) for each in logits])
    best = STRENGTHS[np.argmax(np.mean(scores, axis=0))] if len(scores) > 1 else USUAL
    return linear_model(features, table, best)
