"""Metrics of a binary classifier's logits.

In the whole package labels are (n,) 0 normal, 1 abnormal, and logits are (n,) finite numbers. A
recording is called abnormal when its logit lies above the threshold (paper, section 4: 0).
Anything else, such as NaN from a diverged training, is an `InputError`.
"""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.metrics import confusion_matrix, roc_auc_score, roc_curve

from hsutils.errors import InputError

CLASSES = ("normal", "abnormal")


def auroc(labels: ArrayLike, logits: ArrayLike) -> float:
    """Area under the ROC curve; tied pairs count one half. One class alone is an InputError.

    >>> auroc([0, 0, 1, 1], [-2.0, 0.5, 0.5, 3.0])
    0.875
    """
    return float(roc_auc_score(*checked(labels, logits, both=True)))


def confusion(labels: ArrayLike, logits: ArrayLike, threshold: float = 0.0) -> np.ndarray:
    """Counts (2, 2): rows actual normal, abnormal; columns predicted normal, abnormal."""
    labels, logits = checked(labels, logits)
    return confusion_matrix(labels, logits > threshold, labels=[0, 1])


def confusion_report(matrix: ArrayLike) -> pd.DataFrame:
    """precision, recall and f1 of each class (paper, table 3) from the counts of `confusion`.

    Index normal, abnormal. NaN where nothing was predicted (precision) or occurred (recall).
    """
    matrix = np.asarray(matrix, dtype=float)
    hits, predicted, actual = np.diag(matrix), matrix.sum(axis=0), matrix.sum(axis=1)
    with np.errstate(invalid="ignore"):
        scores = [hits / predicted, hits / actual, 2 * hits / (predicted + actual)]
    columns = dict(zip(("precision", "recall", "f1"), scores, strict=True))
    return pd.DataFrame(columns, index=pd.Index(CLASSES, name="class"))


def choose_threshold(
    labels: ArrayLike,
    logits: ArrayLike,
    sensitivity: float | None = None,
    specificity: float | None = None,
) -> float:
    """The highest threshold of at least a sensitivity, or the lowest of at least a specificity.

    Without either it is Youden's: the largest sum of both; among equals, the most sensitive. It
    lies halfway between two recordings' logits, so that rounding moves none across.

    >>> choose_threshold([0, 0, 1, 1], [-3.0, 1.0, -1.0, 3.0], sensitivity=0.9)
    -2.0
    """
    scored = checked(labels, logits, both=True)
    false_alarms, found, at = roc_curve(*scored, drop_intermediate=False)
    gain = np.round(found - false_alarms, 12)
    best = np.flatnonzero(gain == gain.max())[-1]
    if sensitivity is not None:
        best = np.argmax(found >= sensitivity)
    elif specificity is not None:
        # A share of a few hundred recordings must not be missed by its rounding.
        best = np.flatnonzero(1 - false_alarms >= specificity - 1e-9)[-1]
    # Point k of the curve calls the k highest distinct logits abnormal.
    ends = np.r_[at[1] + 1, at[1:], at[-1] - 1]
    return float((ends[best] + ends[best + 1]) / 2)


def checked(
    labels: ArrayLike, logits: ArrayLike, both: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Labels as integers and logits as floats, or an InputError that names all that is wrong.

    With `both` that includes that one class is missing.
    """
    labels, logits = np.asarray(labels), np.asarray(logits, dtype=float)
    problems = []
    if labels.ndim != 1 or labels.shape != logits.shape:
        problems.append(f"labels {labels.shape}, logits {logits.shape}: give one per recording")
    if not labels.size:
        problems.append("labels: there are no recordings; give at least one")
    if not np.isin(labels, (0, 1)).all():
        problems.append("labels: some are neither 0 (normal) nor 1 (abnormal); recode them")
    if unusable := int((~np.isfinite(logits)).sum()):
        problems.append(f"logits: {unusable} are NaN or infinite; did training diverge?")
    if both and not problems and labels.min() == labels.max():
        only = CLASSES[int(labels[0])]
        problems.append(
            f"labels: all {len(labels)} recordings are {only}, and both classes are needed; "
            "evaluate a split that holds both"
        )
    if problems:
        raise InputError(problems)
    return labels.astype(int), logits
