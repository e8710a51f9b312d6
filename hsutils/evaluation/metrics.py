"""Metrics of a binary classifier's logits, in plain numpy.

Everywhere, a recording is called abnormal when its logit lies above the threshold (paper,
section 4: logit 0).
"""

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from hsutils.errors import InputError

CLASSES = ("normal", "abnormal")

Metric = Callable[[np.ndarray, np.ndarray], float]


def auroc(labels: ArrayLike, logits: ArrayLike) -> float:
    """Area under the ROC curve, from ranks (Mann-Whitney U); tied pairs count one half.

    Args:
        labels: (n,) 0 normal, 1 abnormal; both must occur.
        logits: (n,) finite; larger means more likely abnormal. Only their order matters.

    Returns:
        The chance that a random abnormal recording outranks a random normal one, in [0, 1].

    Raises:
        InputError: if lengths differ, a value is unusable, or one class is missing.
    """
    labels, logits = checked(labels, logits)
    abnormal = labels.sum()
    normal = len(labels) - abnormal
    if not (normal and abnormal):
        only = CLASSES[int(normal == 0)]
        raise InputError(
            f"labels: all {len(labels)} recordings are {only}, and AUROC needs both classes; "
            "evaluate a split that holds both"
        )
    _, position, ties = np.unique(logits, return_inverse=True, return_counts=True)
    mid_ranks = np.cumsum(ties) - (ties - 1) / 2
    rank_sum = mid_ranks[position][labels == 1].sum()
    return float((rank_sum - abnormal * (abnormal + 1) / 2) / (normal * abnormal))


def roc(labels: ArrayLike, logits: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Corner points of the ROC curve, one for each distinct logit, from (0, 0) to (1, 1).

    Returns:
        (false positive rate, true positive rate), each (distinct logits + 1,).

    Raises:
        InputError: as for `auroc`.
    """
    auroc(labels, logits)
    labels, logits = checked(labels, logits)
    distinct, position = np.unique(-logits, return_inverse=True)
    counts = [np.bincount(position[labels == c], minlength=len(distinct)) for c in (0, 1)]
    false_positives, true_positives = (np.r_[0, np.cumsum(c)] / c.sum() for c in counts)
    return false_positives, true_positives


def confusion(labels: ArrayLike, logits: ArrayLike, threshold: float = 0.0) -> np.ndarray:
    """Counts (2, 2): rows actual normal, abnormal; columns predicted normal, abnormal.

    A logit exactly at the threshold counts as normal.

    Raises:
        InputError: if lengths differ or a value is unusable.
    """
    labels, logits = checked(labels, logits)
    return np.bincount(2 * labels + (logits > threshold), minlength=4).reshape(2, 2)


def accuracy(labels: ArrayLike, logits: ArrayLike, threshold: float = 0.0) -> float:
    """Share of recordings on the right side of the threshold."""
    matrix = confusion(labels, logits, threshold)
    return float(np.trace(matrix) / matrix.sum())


def class_report(labels: ArrayLike, logits: ArrayLike, threshold: float = 0.0) -> pd.DataFrame:
    """Precision, recall and F1 of each class (paper, table 3); see `confusion_report`."""
    return confusion_report(confusion(labels, logits, threshold))


def confusion_report(matrix: ArrayLike) -> pd.DataFrame:
    """Precision, recall and F1 of each class from a confusion matrix.

    Args:
        matrix: (2, 2) counts as `confusion` returns them.

    Returns:
        Index normal, abnormal; columns precision, recall, f1. NaN where nothing was predicted
        (precision) or nothing occurred (recall).
    """
    matrix = np.asarray(matrix, dtype=float)
    hits = np.diag(matrix)
    with np.errstate(invalid="ignore"):
        precision, recall = hits / matrix.sum(axis=0), hits / matrix.sum(axis=1)
        f1 = 2 * hits / (matrix.sum(axis=0) + matrix.sum(axis=1))
    columns = {"precision": precision, "recall": recall, "f1": f1}
    return pd.DataFrame(columns, index=pd.Index(CLASSES, name="class"))


def threshold_at(labels: ArrayLike, logits: ArrayLike, specificity: float) -> float:
    """The lowest threshold above which at most a share 1 - specificity of the normal lies.

    Args:
        labels: (n,) 0 normal, 1 abnormal; both must occur.
        logits: (n,) finite.
        specificity: in (0, 1].

    Returns:
        A logit halfway to the next recording's, so that rounding moves none across.

    Raises:
        InputError: as for `auroc`.
    """
    labels, logits = checked(labels, logits)
    normal = np.sort(logits[labels == 0])
    # A share of a few hundred recordings must not be missed by its rounding.
    highest_cleared = normal[math.ceil(specificity * len(normal) - 1e-9) - 1]
    above = logits[logits > highest_cleared]
    return float((highest_cleared + above.min()) / 2 if above.size else highest_cleared)


def checked(labels: ArrayLike, logits: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Labels as integers and logits as floats, each (n,).

    Raises:
        InputError: naming everything that is wrong with them.
    """
    labels, logits = np.asarray(labels), np.asarray(logits, dtype=float)
    problems = []
    if labels.ndim != 1 or labels.shape != logits.shape:
        problems.append(
            f"labels {labels.shape} and logits {logits.shape}: give one of each a recording"
        )
    if not labels.size:
        problems.append("labels: there are no recordings; give at least one")
    if not np.isin(labels, (0, 1)).all():
        problems.append("labels: some are neither 0 (normal) nor 1 (abnormal); recode them")
    if not np.isfinite(logits).all():
        count = int((~np.isfinite(logits)).sum())
        problems.append(f"logits: {count} are NaN or infinite; did training diverge?")
    if problems:
        raise InputError(problems)
    return labels.astype(int), logits
