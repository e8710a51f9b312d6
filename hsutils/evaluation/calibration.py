"""What a logit means as a probability, and what a decision is worth where the disease is rare.

Half of the paper's test split is abnormal; in screening few recordings are. Fit temperatures on
the dev split and evaluate them on the test split. For labels and logits see `metrics`.
"""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from statsmodels.stats.proportion import proportion_confint

from hsutils.errors import InputError
from hsutils.evaluation.metrics import checked


def reliability(labels: ArrayLike, logits: ArrayLike) -> pd.DataFrame:
    """The observed share of abnormal recordings by predicted probability.

    Returns:
        One row per bin, from the lowest: mean_probability, observed, low, high (Wilson's 95%
        interval of independent recordings), count. There are ten equally filled bins, or fewer so
        that each holds 15 recordings. Equal probabilities share a bin.
    """
    labels, logits = checked(labels, logits)
    probability, bins = expit(logits), min(10, max(1, len(labels) // 15))
    edges = np.quantile(probability, np.linspace(0, 1, bins + 1)[1:-1])
    table = pd.DataFrame({"mean_probability": probability, "observed": labels})
    groups = table.groupby(np.searchsorted(edges, probability))
    count = groups.size()
    low, high = proportion_confint(groups["observed"].sum(), count, method="wilson")
    return groups.mean().assign(low=low, high=high, count=count).reset_index(drop=True)


def ece(labels: ArrayLike, logits: ArrayLike) -> float:
    """Expected calibration error: mean distance of probability and observed share over the bins.

    Chance alone keeps it above 0: about 0.05 for 400 recordings of a calibrated model. Compare it
    only between models on the same recordings.
    """
    table = reliability(labels, logits)
    distance = (table["mean_probability"] - table["observed"]).abs()
    return float(np.average(distance, weights=table["count"]))


def brier(labels: ArrayLike, logits: ArrayLike) -> float:
    """Mean squared distance of probability and label, in [0, 1]."""
    labels, logits = checked(labels, logits)
    return float(np.mean((expit(logits) - labels) ** 2))


def temperature(labels: ArrayLike, logits: ArrayLike) -> float:
    """The divisor of the logits with the least log loss (Guo et al. 2017); above 1: overconfident.

    Raises:
        InputError: if there is no best one: logit 0 makes no error, or the classes are not ranked.
    """
    labels, logits = checked(labels, logits, both=True)
    normal, abnormal = (logits[labels == c] for c in (0, 1))
    if abnormal.sum() <= normal.sum():
        raise InputError("calibration: abnormal logits are not above the normal; train the model")
    if abnormal.min() >= 0 >= normal.max():
        raise InputError("calibration: logit 0 makes no error; fit it on more recordings")
    scale = np.sqrt(np.mean(logits**2))
    # Not penalized, so that the scale of the logits does not matter.
    regression = LogisticRegression(
        C=np.inf, fit_intercept=False, solver="newton-cholesky", tol=1e-10
    )
    fit = regression.fit((logits / scale)[:, None], labels)
    return float(scale / fit.coef_[0, 0])


def ppv_npv(
    sensitivity: ArrayLike, specificity: ArrayLike, prevalence: ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    """Positive and negative predictive value (Bayes' rule); NaN where no such call is made.

    Example:
        >>> ppv, npv = ppv_npv(0.96, 0.75, prevalence=0.02)
        >>> print(f"{ppv:.3f} {npv:.3f}")
        0.073 0.999
    """
    sensitivity, specificity, sick = map(np.asarray, (sensitivity, specificity, prevalence))
    hits, misses = sensitivity * sick, (1 - sensitivity) * sick
    passes, alarms = specificity * (1 - sick), (1 - specificity) * (1 - sick)
    with np.errstate(invalid="ignore"):
        return hits / (hits + alarms), passes / (passes + misses)
