"""Calibration against scikit-learn, Bayes' rule, Wilson's formula and planted miscalibration."""

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import norm
from sklearn import metrics as oracle
from sklearn.calibration import calibration_curve

from hsutils.errors import InputError
from hsutils.evaluation.calibration import brier, ece, ppv_npv, reliability, temperature
from hsutils.evaluation.metrics import confusion


def calibrated(seed: int = 0, n: int = 20_000, spread: float = 2.0):
    """Labels drawn with exactly the probability that their logits state."""
    rng = np.random.default_rng(seed)
    logits = spread * rng.normal(size=n)
    return (rng.random(n) < expit(logits)).astype(int), logits


@pytest.mark.parametrize(("n", "bins"), [(503, 10), (80, 5), (20, 1)])
def test_reliability_agrees_with_scikit_learn_in_bins_of_15_or_more(n, bins):
    labels, logits = calibrated(n=n)
    table = reliability(labels, logits)
    observed, mean = calibration_curve(labels, expit(logits), n_bins=bins, strategy="quantile")
    np.testing.assert_allclose(table["observed"], observed)
    np.testing.assert_allclose(table["mean_probability"], mean)
    assert table["count"].sum() == n and np.ptp(table["count"]) <= 1


def test_intervals_of_the_observed_share_are_wilsons():
    table = reliability(*calibrated(n=503))
    share, n, z = table["observed"], table["count"], norm.ppf(0.975)
    center = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    np.testing.assert_allclose(table["low"], center - half, atol=1e-12)
    np.testing.assert_allclose(table["high"], center + half, atol=1e-12)


def test_equal_probabilities_share_a_bin():
    table = reliability([0, 1] * 20 + [0] * 20, [0.0] * 40 + [5.0] * 20)
    assert table["count"].tolist() == [40, 20]
    assert table["mean_probability"][0] == table["observed"][0] == 0.5


def test_ece_is_the_bins_mean_distance_and_small_only_when_calibrated():
    assert ece([0, 1, 1, 1], [0.0] * 4) == 0.25
    labels, logits = calibrated()
    assert ece(labels, logits) < 0.02
    assert ece(labels, 3 * logits) > 0.1


def test_chance_alone_gives_a_calibrated_model_the_ece_its_docstring_states():
    values = [ece(*calibrated(seed, n=400)) for seed in range(50)]
    assert np.mean(values) == pytest.approx(0.05, abs=0.01)


def test_brier_agrees_with_scikit_learn_and_prices_indifference_at_a_quarter():
    labels, logits = calibrated(n=300)
    assert brier(labels, logits) == pytest.approx(oracle.brier_score_loss(labels, expit(logits)))
    assert brier([0, 1, 1], [0.0] * 3) == 0.25


def test_temperature_of_calibrated_logits_is_one_and_of_tripled_ones_three():
    labels, logits = calibrated()
    assert temperature(labels, logits) == pytest.approx(1, abs=0.05)
    assert temperature(labels, 3 * logits) == pytest.approx(3, abs=0.15)


@pytest.mark.parametrize("scale", [1e-6, 0.2, 1, 1e6])
def test_temperature_scales_with_the_logits_and_has_the_least_log_loss(scale):
    labels, logits = calibrated(n=300)
    best = temperature(labels, scale * logits)
    assert best == pytest.approx(scale * temperature(labels, logits))
    loss = {
        factor: oracle.log_loss(labels, expit(scale * logits / factor / best))
        for factor in (0.98, 1, 1.02)
    }
    assert loss[1] < min(loss[0.98], loss[1.02])


@pytest.mark.parametrize(
    ("logits", "advice"),
    [([-2.0, -1, 1, 2], "more recordings"), ([2.0, 1, -1, -2], "train"), ([0.0] * 4, "train")],
)
def test_a_temperature_that_does_not_exist_is_refused(logits, advice):
    with pytest.raises(InputError, match=advice):
        temperature([0, 0, 1, 1], logits)
    # A threshold beside 0 makes no error, yet a temperature keeps 0.
    assert temperature([0, 0, 1, 1], [1.0, 2, 3, 4]) > 0


def test_predictive_values_are_those_counted_at_the_prevalence_of_the_set():
    labels, logits = calibrated(n=500)
    (tn, fp), (fn, tp) = confusion(labels, logits)
    ppv, npv = ppv_npv(tp / (tp + fn), tn / (tn + fp), labels.mean())
    assert (ppv, npv) == pytest.approx((tp / (tp + fp), tn / (tn + fn)))
    ends = ppv_npv(0.96, 0.75, [0, 1])
    assert np.array(ends).tolist() == [[0, 1], [1, 0]] and np.isnan(ppv_npv(0, 1, 0.5)[0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: reliability([0, 1], [0, np.inf]), "infinite"),
        (lambda: brier([0, 1], [0, np.nan]), "NaN"),
        (lambda: temperature([1, 1], [0, 1]), "abnormal"),
    ],
)
def test_unusable_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()
