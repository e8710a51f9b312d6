"""Metrics of a binary classifier's logits.

In the whole package labels are (n,) 0 normal, 1 abnormal, and logits are (n,) finite numbers. A
recording is called abnormal when its logit lies above the threshold (paper, section 4: 0).
Anything else, as NaN of a diverged training, is an `InputError`.
"""

import math

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.metrics import confusion_matrix, roc_auc_score

from hsutils.errors import InputError

CLASSES = ("normal", "abnormal")


def auroc(labels: ArrayLike, logits: ArrayLike) -> float:
    """Area under the ROC curve; tied pairs count one half. One class alone is an InputError."""
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


def threshold_at(labels: ArrayLike, logits: ArrayLike, specificity: float) -> float:
    """The lowest threshold that calls at least this share of the normal recordings normal.

    It lies halfway to the next recording's logit, so that rounding moves none across.
    """
    labels, logits = checked(labels, logits)
    normal = np.sort(logits[labels == 0])
    # A share of a few hundred recordings must not be missed by its rounding.
    highest = normal[math.ceil(specificity * len(normal) - 1e-9) - 1]
    above = logits[logits > highest]
    return float((highest + above.min()) / 2 if above.size else highest)


def checked(
    labels: ArrayLike, logits: ArrayLike, both: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Labels as integers and logits as floats, or an InputError that names all that is wrong.

    With `both` that includes that one class is missing.
    """
    labels, logits = np.asarray(labels), np.asarray(logits, dtype=float)
    problems = []
    if labels.ndim != 1 or labels.shape != logits.shape:
        problems.append(f"labels {labels.shape}, logits {logits.shape}: give one each a recording")
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
