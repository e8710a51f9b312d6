"""What a logit means as a probability, and what a threshold costs where the disease is rare.

The test split of the paper is half abnormal; a screening clinic is not. Fit temperatures and choose
thresholds on the dev split, then judge them on the test split.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.optimize import brentq, minimize
from scipy.special import expit, logit

from hsutils.errors import InputError
from hsutils.evaluation.intervals import wilson
from hsutils.evaluation.metrics import auroc, checked, roc

RULES = ("logit 0", "Youden", "sensitivity 0.95")


class Platt(NamedTuple):
    """The calibrated logit is logit / temperature + shift."""

    temperature: float
    shift: float


def reliability(
    labels: ArrayLike, logits: ArrayLike, bins: int | None = None, level: float = 0.95
) -> pd.DataFrame:
    """What share is abnormal among recordings given like probabilities, in equally filled bins.

    Args:
        labels: (n,) 0 normal, 1 abnormal.
        logits: (n,) finite.
        bins: number of bins, at least 1; by default 10, or fewer so that each holds 15 recordings.
            Equal probabilities share a bin, so ties leave fewer.
        level: of the Wilson interval of the observed share (independent recordings).

    Returns:
        One row a bin, from the lowest: mean_probability, observed, low, high, count.

    Raises:
        InputError: if lengths differ, a value is unusable, or there is no bin.
    """
    labels, logits = checked(labels, logits)
    bins = min(10, max(1, len(labels) // 15)) if bins is None else bins
    if bins < 1:
        raise InputError(f"bins: {bins} is too few; give at least 1")
    probability = expit(logits)
    edges = np.quantile(probability, np.linspace(0, 1, bins + 1)[1:-1])
    position = np.searchsorted(edges, probability)
    count = np.bincount(position, minlength=bins)
    filled = count > 0
    count = count[filled]
    abnormal = np.bincount(position, labels, bins)[filled]
    low, high = wilson(abnormal, count, level)
    mean = np.bincount(position, probability, bins)[filled] / count
    columns = {"mean_probability": mean, "observed": abnormal / count, "low": low, "high": high}
    return pd.DataFrame({**columns, "count": count})


def ece(labels: ArrayLike, logits: ArrayLike, bins: int | None = None) -> float:
    """Expected calibration error: mean distance of probability and observed share over the bins.

    Chance alone keeps it above 0: about 0.05 for 400 recordings of a calibrated model in 10 bins.
    Compare it only between models on the same recordings and bins.

    Raises:
        InputError: as `reliability`.
    """
    table = reliability(labels, logits, bins)
    distance = (table["mean_probability"] - table["observed"]).abs()
    return float(np.average(distance, weights=table["count"]))


def brier(labels: ArrayLike, logits: ArrayLike) -> float:
    """Mean squared distance of probability and label, in [0, 1]; saying 0.5 always costs 0.25.

    Raises:
        InputError: if lengths differ or a value is unusable.
    """
    labels, logits = checked(labels, logits)
    return float(np.mean((expit(logits) - labels) ** 2))


def temperature(labels: ArrayLike, logits: ArrayLike) -> float:
    """The divisor of the logits with the least log loss (Guo et al. 2017); above 1: overconfident.

    The loss is convex in 1 / temperature, so its one root of the slope is the optimum.

    Args:
        labels: (n,) 0 normal, 1 abnormal; of recordings the model was not trained on.
        logits: (n,) finite.

    Returns:
        Temperature > 0; `recalibrate` applies it. No decision at logit 0 changes.

    Raises:
        InputError: if a value is unusable, if every recording is on its right side of logit 0
            (any colder temperature is better), or if the logits say nothing (any warmer is).
    """
    labels, logits = checked(labels, logits)

    def slope(inverse: float) -> float:
        return float(np.mean((expit(inverse * logits) - labels) * logits))

    if (logits * (2 * labels - 1) >= 0).all():
        raise InputError(
            "temperature: no recording is on the wrong side of logit 0, so none is too cold; "
            "fit it on more recordings"
        )
    if slope(0) >= 0:
        raise InputError(
            "temperature: the logits do not tell abnormal from normal, so none is too warm; "
            "is this model trained?"
        )
    high = 1 / np.abs(logits).mean()
    while slope(high) < 0:
        high *= 2
    return 1 / brentq(slope, 0, high, xtol=1e-14 * high)


def platt(labels: ArrayLike, logits: ArrayLike) -> Platt:
    """Temperature and shift with the least log loss (Platt 1999, without smoothed labels).

    Args:
        labels: (n,) 0 normal, 1 abnormal; both must occur.
        logits: (n,) finite.

    Returns:
        (temperature, shift), as `recalibrate` takes them.

    Raises:
        InputError: if a value is unusable, a class is missing, the classes do not overlap, or
            abnormal recordings have the lower mean logit.
    """
    auroc(labels, logits)
    labels, logits = checked(labels, logits)
    normal, abnormal = (logits[labels == c] for c in (0, 1))
    if abnormal.mean() <= normal.mean():
        raise InputError("platt: abnormal logits are not above the normal; is this model trained?")
    if abnormal.min() >= normal.max():
        raise InputError("platt: the classes do not overlap; fit it on more recordings")
    center, scale = logits.mean(), logits.std()
    design = np.column_stack([(logits - center) / scale, np.ones(len(logits))])

    def loss(x: np.ndarray) -> float:
        return float(np.mean(np.logaddexp(0, design @ x) - labels * (design @ x)))

    def slope(x: np.ndarray) -> np.ndarray:
        return design.T @ (expit(design @ x) - labels) / len(labels)

    def curvature(x: np.ndarray) -> np.ndarray:
        p = expit(design @ x)
        return design.T @ (design * (p * (1 - p))[:, None]) / len(labels)

    newton = {"method": "trust-exact", "jac": slope, "hess": curvature}
    steepness, height = minimize(loss, [1.0, 0.0], **newton, options={"gtol": 1e-10}).x
    return Platt(float(scale / steepness), float(height - steepness * center / scale))


def recalibrate(logits: ArrayLike, temperature: float, shift: float = 0.0) -> np.ndarray:
    """logits / temperature + shift, of the same shape.

    Raises:
        InputError: if the temperature is not above 0.
    """
    if not temperature > 0:
        raise InputError(f"temperature: {temperature} is not above 0")
    return np.asarray(logits, dtype=float) / temperature + shift


def prevalence_shift(logits: ArrayLike, from_: float, to: float) -> np.ndarray:
    """Calibrated logits carried from one share of abnormal recordings to another (Bayes).

    Only the prior log odds change, as if each class looked the same in both populations.

    Args:
        logits: any shape, calibrated where a share `from_` is abnormal.
        from_, to: prevalences in (0, 1).

    Raises:
        InputError: if a prevalence lies outside (0, 1).
    """
    _inside("prevalence", from_, to)
    return np.asarray(logits, dtype=float) + logit(to) - logit(from_)


def ppv_npv(
    sensitivity: ArrayLike, specificity: ArrayLike, prevalence: ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    """Chance that an abnormal, and that a normal, call is right at a prevalence (Bayes).

    Args:
        sensitivity, specificity, prevalence: in [0, 1], of shapes that broadcast.

    Returns:
        (ppv, npv), NaN where no such call is ever made.

    Raises:
        InputError: if a value lies outside [0, 1].

    Example:
        >>> ppv, npv = ppv_npv(0.96, 0.75, prevalence=0.02)
        >>> print(f"{ppv:.3f} {npv:.3f}")
        0.073 0.999
    """
    values = [np.asarray(v, dtype=float) for v in (sensitivity, specificity, prevalence)]
    for name, v in zip(("sensitivity", "specificity", "prevalence"), values, strict=True):
        if not ((v >= 0) & (v <= 1)).all():
            raise InputError(f"{name}: give values from 0 to 1")
    sensitivity, specificity, prevalence = values
    hit, miss = sensitivity * prevalence, (1 - sensitivity) * prevalence
    pass_, alarm = specificity * (1 - prevalence), (1 - specificity) * (1 - prevalence)
    with np.errstate(invalid="ignore"):
        return hit / (hit + alarm), pass_ / (pass_ + miss)


def net_benefit(
    labels: ArrayLike,
    logits: ArrayLike,
    thresholds: ArrayLike,
    prevalence: float | None = None,
) -> pd.DataFrame:
    """Decision curve (Vickers and Elkin 2006): true positives a recording, less false alarms.

    A false alarm costs threshold / (1 - threshold) of a true positive: whoever refers a patient at
    10% risk accepts nine false alarms for one disease found.

    Args:
        labels: (n,) 0 normal, 1 abnormal; both must occur.
        logits: (n,) calibrated; for another prevalence, first moved by `prevalence_shift`.
        thresholds: probabilities in (0, 1) above which a recording is called abnormal.
        prevalence: in (0, 1), of the population meant; by default that of the labels.

    Returns:
        One row a threshold: threshold, and the net benefit of following the model, of calling all
        recordings abnormal, and of calling none so: model, all, none (0).

    Raises:
        InputError: if a value is unusable, a class is missing, or a probability lies outside
            (0, 1).
    """
    auroc(labels, logits)
    labels, logits = checked(labels, logits)
    thresholds = np.atleast_1d(np.asarray(thresholds, dtype=float))
    share = labels.mean() if prevalence is None else prevalence
    _inside("prevalence", share)
    _inside("thresholds", *thresholds)
    called = logits > logit(thresholds)[:, None]
    cost = (1 - share) * thresholds / (1 - thresholds)
    model = share * called[:, labels == 1].mean(axis=1) - cost * called[:, labels == 0].mean(axis=1)
    curves = {"model": model, "all": share - cost, "none": np.zeros_like(cost)}
    return pd.DataFrame({"threshold": thresholds, **curves})


def choose_threshold(labels: ArrayLike, logits: ArrayLike, rule: str = "logit 0") -> float:
    """The logit above which to call a recording abnormal, by a rule applied to the dev split.

    Args:
        labels: (n,) 0 normal, 1 abnormal; both must occur.
        logits: (n,) finite.
        rule: one of `RULES`: "logit 0" (the paper's); "Youden", the largest sensitivity plus
            specificity, of equals the most sensitive; "sensitivity 0.95", the largest specificity
            among thresholds at least that sensitive.

    Returns:
        A logit halfway between two recordings' (or 0), so that rounding moves none across.

    Raises:
        InputError: if a value is unusable, a class is missing, or the rule is unknown.
    """
    if rule not in RULES:
        raise InputError(f"rule: {rule!r} is unknown; give one of {', '.join(RULES)}")
    false_positive, sensitivity = roc(labels, logits)
    if rule == "logit 0":
        return 0.0
    if rule == "Youden":
        gain = np.round(sensitivity - false_positive, 12)
        best = np.flatnonzero(gain == gain.max())[-1]
    else:
        best = np.argmax(sensitivity >= 0.95)
    # Point k of the ROC curve calls the k highest distinct logits abnormal.
    distinct = np.unique(logits)[::-1]
    ends = np.r_[distinct[0] + 1, distinct, distinct[-1] - 1]
    return float((ends[best] + ends[best + 1]) / 2)


def _inside(name: str, *values: float) -> None:
    outside = [float(v) for v in values if not 0 < v < 1]
    if outside:
        raise InputError(f"{name}: {outside[0]:g} is not between 0 and 1")
