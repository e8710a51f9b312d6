"""What a logit means as a probability, and what a threshold costs where the disease is rare.

Half of the paper's test split is abnormal; in screening few recordings are. Fit temperatures and
choose thresholds on the dev split, then evaluate them on the test split. For labels and logits,
and the errors of unusable ones, see `metrics`. Prevalences lie in (0, 1).
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_curve
from statsmodels.stats.proportion import proportion_confint

from hsutils.errors import InputError
from hsutils.evaluation.metrics import checked

RULES = ("logit 0", "Youden", "sensitivity 0.95")


class Platt(NamedTuple):
    """The calibrated logit is logit / temperature + shift."""

    temperature: float
    shift: float


def reliability(labels: ArrayLike, logits: ArrayLike) -> pd.DataFrame:
    """The observed share of abnormal recordings by predicted probability.

    Returns:
        One row a bin, from the lowest: mean_probability, observed, low, high (Wilson's 95%
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

    It is an InputError if none is the best: logit 0 makes no error, or the classes are not ranked.
    """
    return _logistic(labels, logits, shifted=False).temperature


def platt(labels: ArrayLike, logits: ArrayLike) -> Platt:
    """Temperature and shift with the least log loss (Platt 1999, without smoothed labels)."""
    return _logistic(labels, logits, shifted=True)


def recalibrate(logits: ArrayLike, temperature: float, shift: float = 0.0) -> np.ndarray:
    """logits / temperature + shift, of the same shape."""
    return np.asarray(logits, dtype=float) / temperature + shift


def prevalence_shift(logits: ArrayLike, from_: float, to: float) -> np.ndarray:
    """Calibrated logits carried from one share of abnormal recordings to another (Bayes)."""
    return np.asarray(logits, dtype=float) + logit(to) - logit(from_)


def ppv_npv(
    sensitivity: ArrayLike, specificity: ArrayLike, prevalence: ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    """Chance that an abnormal, and that a normal, call is right; NaN where none is made (Bayes).

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


def net_benefit(
    labels: ArrayLike, logits: ArrayLike, thresholds: ArrayLike, prevalence: float
) -> pd.DataFrame:
    """Decision curve (Vickers and Elkin 2006): true positives a recording, less false alarms.

    A false alarm costs threshold / (1 - threshold) of a true positive. Whoever refers a patient at
    10% risk accepts nine false alarms for one disease found.

    Args:
        labels, logits: calibrated, and moved to the prevalence by `prevalence_shift`.
        thresholds: (k,) probabilities in (0, 1) above which a recording is called abnormal.
        prevalence: of the population meant.

    Returns:
        One row a threshold: threshold, and the net benefit of following the model, of calling all
        recordings abnormal, and of calling none so: model, all, none (0).
    """
    labels, logits = checked(labels, logits, both=True)
    thresholds = np.asarray(thresholds, dtype=float)
    called = logits > logit(thresholds)[:, None]
    found, alarms = called[:, labels == 1].mean(axis=1), called[:, labels == 0].mean(axis=1)
    cost = (1 - prevalence) * thresholds / (1 - thresholds)
    curves = {"model": prevalence * found - cost * alarms, "all": prevalence - cost, "none": 0.0}
    return pd.DataFrame({"threshold": thresholds, **curves})


def choose_threshold(labels: ArrayLike, logits: ArrayLike, rule: str) -> float:
    """The logit above which to call a recording abnormal, by a rule applied to the dev split.

    `RULES` are "logit 0" (the paper's); "Youden", the largest sensitivity plus specificity, of
    equals the most sensitive; "sensitivity 0.95", the largest specificity among thresholds at least
    that sensitive. The logit lies halfway between two recordings', so that rounding moves none.
    """
    scored = checked(labels, logits, both=True)
    false_positive, sensitivity, at = roc_curve(*scored, drop_intermediate=False)
    if rule == "logit 0":
        return 0.0
    gain = np.round(sensitivity - false_positive, 12)
    most_sensitive_best = np.flatnonzero(gain == gain.max())[-1]
    best = {"Youden": most_sensitive_best, "sensitivity 0.95": np.argmax(sensitivity >= 0.95)}[rule]
    # Point k of the curve calls the k highest distinct logits abnormal.
    ends = np.r_[at[1] + 1, at[1:], at[-1] - 1]
    return float((ends[best] + ends[best + 1]) / 2)


def _logistic(labels: ArrayLike, logits: ArrayLike, shifted: bool) -> Platt:
    """Unpenalized logistic regression of the labels on the logits, with an intercept or without."""
    labels, logits = checked(labels, logits, both=True)
    center = logits.mean() if shifted else 0.0
    normal, abnormal = (logits[labels == c] - center for c in (0, 1))
    if abnormal.sum() <= normal.sum():
        raise InputError("calibration: abnormal logits are not above the normal; train the model")
    if abnormal.min() >= normal.max() and (shifted or abnormal.min() >= 0 >= normal.max()):
        raise InputError("calibration: a threshold makes no error; fit it on more recordings")
    scale = np.sqrt(np.mean((logits - center) ** 2))
    # Not penalized, so that the scale of the logits does not matter.
    regression = LogisticRegression(
        C=np.inf, fit_intercept=shifted, solver="newton-cholesky", tol=1e-10
    )
    fit = regression.fit(((logits - center) / scale)[:, None], labels)
    steepness = fit.coef_[0, 0] / scale
    shift = fit.intercept_[0] - steepness * center if shifted else 0.0
    return Platt(float(1 / steepness), float(shift))
