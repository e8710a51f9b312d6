"""Laws of the figures on trust: what is drawn is what the table holds, and readable."""

from collections.abc import Callable
from functools import cache

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from scipy.special import ndtr
from test_shortcuts import assert_drawn, assert_readable, blind, svg

from hsutils.plots import reliability as figures_calibration, robustness as figures_robustness, trust as figures_trust, style
from hsutils.evaluation.calibration import net_benefit, ppv_npv, prevalence_shift
from hsutils.plots.common import shade

NAN = np.nan
MODELS = ("teacher", "student", "baseline")
AUROC = dict(zip(MODELS, (0.924, 0.919, 0.882), strict=True))


def spreads(seeds: bool = True) -> pd.DataFrame:
    """Every metric of three models; the baseline calls nearly everything normal."""
    values = {
        "teacher": (0.924, 0.79, 0.88, 0.835, 0.835, 0.827, 0.868, 0.807),
        "student": (0.919, 0.78, 0.865, 0.822, 0.822, 0.814, 0.852, 0.797),
        "baseline": (0.882, 0.185, 0.99, 0.587, 0.587, 0.309, 0.949, 0.549),
    }
    metrics = ("auroc", "sensitivity", "specificity", "accuracy", "macc", "f1", "ppv", "npv")
    rng, rows = np.random.default_rng(0), []
    for model, by_metric in values.items():
        for metric, value in zip(metrics, by_metric, strict=True):
            half = 1.96 * np.sqrt(value * (1 - value) / 300)
            low, high = value - half, min(value + half, 1)
            ends = value + np.array([-1, 1]) * rng.uniform(0.003, 0.02) if seeds else (NAN, NAN)
            rows.append((model, metric, value, low, high, *ends))
    columns = ["model", "metric", "value", "low", "high", "seed_min", "seed_max"]
    return pd.DataFrame(rows, columns=columns)


def differences(seeds: int = 3) -> pd.DataFrame:
    rng, rows = np.random.default_rng(1), []
    for a, b, gap in (("teacher", "student", 0.005), ("student", "baseline", 0.04),
                      ("teacher", "baseline", 0.045)):  # fmt: skip
        for metric, times in (("auroc", 1), ("accuracy", 4)):
            for seed in range(seeds):
                value = times * (gap + 0.01 * rng.normal())
                half = times * 0.02
                rows.append((a, b, seed, metric, value, value - half, value + half, 0.03))
    columns = ["a", "b", "seed", "metric", "difference", "low", "high", "p"]
    table = pd.DataFrame(rows, columns=columns)
    half = (table["high"] - table["low"]) / 2
    return table.assign(p=2 * ndtr(-1.96 * table["difference"].abs() / half))


def predictive_values() -> pd.DataFrame:
    share, parts = np.geomspace(0.005, 0.5, 60), []
    for model, sensitivity, specificity in zip(MODELS, (0.79, 0.78, 0.185), (0.88, 0.865, 0.99),
                                               strict=True):  # fmt: skip
        columns = {"model": model, "prevalence": share}
        for end, shift in (("", 0), ("_low", -0.03), ("_high", 0.03)):
            about = min(sensitivity + shift, 1), min(specificity + shift / 4, 1)
            columns |= {name + end: v for name, v in zip(("ppv", "npv"), ppv_npv(*about, share),
                                                         strict=True)}  # fmt: skip
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def calibrations() -> tuple[pd.DataFrame, pd.DataFrame]:
    rows, scores = [], []
    for model, temperature in zip(MODELS, (2.1, 1.3, 0.8), strict=True):
        for calibration, t in (("as trained", 1), ("temperature", temperature)):
            logit = np.linspace(-5, 5, 10) / t
            observed = 1 / (1 + np.exp(-np.linspace(-5, 5, 10) / temperature / 1.1))
            low, high = np.clip(observed - 0.12, 0, 1), np.clip(observed + 0.12, 0, 1)
            columns = {"model": model, "calibration": calibration, "observed": observed}
            columns |= {"mean_probability": 1 / (1 + np.exp(-logit)), "low": low, "high": high}
            rows.append(pd.DataFrame(columns).assign(count=40))
            ece = 0.03 + 0.06 * abs(np.log(temperature)) * (calibration == "as trained")
            scores.append((model, calibration, ece, 0.1 + ece / 3, t))
    columns = ["model", "calibration", "ece", "brier", "temperature"]
    return pd.concat(rows, ignore_index=True), pd.DataFrame(scores, columns=columns)


def benefits() -> pd.DataFrame:
    rng, parts = np.random.default_rng(3), []
    labels, thresholds = np.arange(400) % 2, np.linspace(0.01, 0.6, 60)
    for model, skill in zip(MODELS, (1.3, 1.25, 0.9), strict=True):
        logits = skill * (2 * labels - 1) + rng.normal(0, 1.5, 400)
        for prevalence in (0.05, 0.205, 0.5):
            moved = prevalence_shift(logits, 0.5, prevalence)
            curves = net_benefit(labels, moved, thresholds, prevalence)
            curves = curves.rename(columns={"model": model}).melt(
                "threshold", [model, "all", "none"], "model", "net_benefit"
            )
            parts.append(curves.assign(prevalence=prevalence))
    return pd.concat(parts).drop_duplicates(["model", "prevalence", "threshold"])


def rules() -> pd.DataFrame:
    shares = {
        "teacher": ((0, 0.79, 0.88), (-0.84, 0.875, 0.835), (-2.1, 0.94, 0.71)),
        "student": ((0, 0.78, 0.865), (-0.5, 0.86, 0.82), (-1.4, 0.955, 0.7)),
        "baseline": ((0, 0.185, 0.99), (-3.2, 0.82, 0.8), (-4.4, 0.95, 0.56)),
    }
    names = ("logit 0", "Youden", "sensitivity 0.95")
    rows = []
    for model, by_rule in shares.items():
        for rule, (threshold, *values) in zip(names, by_rule, strict=True):
            row = {"model": model, "rule": rule, "threshold": threshold}
            for name, value in zip(("sensitivity", "specificity"), values, strict=True):
                row |= {name: value, f"{name}_low": value - 0.05}
                row[f"{name}_high"] = min(value + 0.05, 1)
            rows.append(row)
    return pd.DataFrame(rows)


def disturbed() -> pd.DataFrame:
    rng = np.random.default_rng(2)
    kinds = {
        "white noise": ("dB SNR", (30, 20, 10, 0)),
        "hum": ("dB SNR", (20, 10, 0)),
        "low-pass": ("Hz", (800, 400, 200, 100)),
        "gain": ("times", (0.1, 0.5, 2, 10)),
        "clipping": ("of the peak", (0.9, 0.5, 0.2)),
        "fewer bits": ("bits", (12, 8, 6, 4)),
        "shorter": ("s", (30, 10, 5)),
    }
    rows = [("none", "", 0, m, AUROC[m], AUROC[m] - 0.03, AUROC[m] + 0.03) for m in MODELS]
    for harm, (kind, (unit, levels)) in enumerate(kinds.items()):
        for step, level in enumerate(levels):
            for model in MODELS:
                value = AUROC[model] - 0.012 * harm * step - 0.01 * rng.uniform()
                rows.append((kind, unit, level, model, value, value - 0.04, value + 0.04))
    columns = ["perturbation", "unit", "level", "model", "auroc", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def qualities() -> tuple[pd.DataFrame, pd.DataFrame]:
    subsets = (("all", 400, 0, 0.03), ("clear", 361, 0.01, 0.03), ("too noisy", 39, -0.12, 0.12))
    bins = ("5 to 10 s", "10 to 20 s", "20 to 30 s", "30 s and more")
    rows = [(m, s, n, AUROC[m] + d, AUROC[m] + d - h, min(AUROC[m] + d + h, 1))
            for m in MODELS for s, n, d, h in subsets]  # fmt: skip
    table = pd.DataFrame(rows, columns=["model", "subset", "recordings", "auroc", "low", "high"])
    rows = [(m, b, AUROC[m] - 0.03 * k, AUROC[m] - 0.03 * k - 0.06, AUROC[m] - 0.03 * k + 0.06)
            for m in MODELS for k, b in enumerate(bins[::-1])][::-1]  # fmt: skip
    return table, pd.DataFrame(rows, columns=["model", "bin", "auroc", "low", "high"])


def kin() -> pd.DataFrame:
    rows = [(m, 400, 37, AUROC[m], AUROC[m] - 0.03, AUROC[m] + 0.03, AUROC[m] - d,
             AUROC[m] - d - 0.032, AUROC[m] - d + 0.032, -d)
            for m, d in zip(MODELS, (0.008, 0.011, -0.002), strict=True)]  # fmt: skip
    columns = ["model", "n", "dropped", "auroc", "low", "high"]
    return pd.DataFrame(rows, columns=[*columns, "auroc_kept", "low_kept", "high_kept", "change"])


def bare(table: pd.DataFrame) -> pd.DataFrame:
    """Without intervals, and of the teacher or the first pair alone."""
    kept = table["model"].isin(["teacher", "all", "none"]) if "model" in table else (
        table["b"] == "student")  # fmt: skip
    return blind(table[kept])


DRAWN = {
    figures_trust.intervals: lambda: (spreads(),),
    figures_trust.paired_differences: lambda: (differences(),),
    figures_trust.leak_effect: lambda: (kin(),),
    figures_calibration.prevalence_curves: lambda: (predictive_values(),),
    figures_calibration.reliability: calibrations,
    figures_calibration.decision_curves: lambda: (benefits(),),
    figures_calibration.threshold_rules: lambda: (rules(),),
    figures_robustness.robustness: lambda: (disturbed(),),
    figures_robustness.quality: qualities,
}
each_figure = pytest.mark.parametrize("draw", DRAWN, ids=lambda draw: draw.__name__)
VALUES = (
    *("value", "difference", "auroc", "auroc_kept", "ppv", "npv", "mean_probability", "observed"),
    *("net_benefit", "sensitivity", "specificity", "low", "high", "low_kept", "high_kept"),
    *("seed_min", "seed_max", "sensitivity_low", "sensitivity_high", "specificity_low"),
    "specificity_high",
)
"""Columns that are places in a figure; clean recordings and bands have laws of their own."""


@cache
def figure_of(draw: Callable[..., Figure]) -> Figure:
    return draw(*DRAWN[draw]())


@each_figure
def test_words_lie_on_the_page_and_not_on_one_another(draw):
    assert_readable(figure_of(draw))


@each_figure
def test_one_model_without_intervals_is_as_readable(draw):
    assert_readable(draw(*(bare(table) for table in DRAWN[draw]())))


@each_figure
def test_equal_tables_give_equal_bytes_and_stay_as_they_were(draw):
    tables, others = ([bare(table) for table in DRAWN[draw]()] for _ in range(2))
    untouched = [table.copy() for table in tables]
    assert svg(draw(*tables)) == svg(draw(*others))
    for table, before in zip(tables, untouched, strict=True):
        pd.testing.assert_frame_equal(table, before)


@each_figure
def test_every_row_is_drawn(draw):
    figure = figure_of(draw)
    for table in DRAWN[draw]():
        if "ece" in table:
            continue
        if "perturbation" in table:
            clean = table["perturbation"] == "none"
            assert_drawn(figure, table.loc[clean, "auroc"])
            table = table[~clean]
        assert_drawn(figure, *(table[column] for column in VALUES if column in table))


def test_sampling_and_seeds_are_told_apart_in_figure_and_headline():
    table = spreads()
    finding = style.finding_of(figures_trust.intervals(table))
    half, spread = (table["high"] - table["low"]) / 2, table["seed_max"] - table["seed_min"]
    assert f"by ±{half.median():.3f} (95%)" in finding
    assert finding.endswith(f"it spreads by {spread.median():.3f}")
    alone = figures_trust.intervals(spreads(seeds=False))
    assert "one training seed" in style.finding_of(alone)


def test_one_seed_has_no_range():
    table = spreads().assign(seed_min=lambda t: t["value"], seed_max=lambda t: t["value"])
    for axes in figures_trust.intervals(table).axes:
        assert not [line for line in axes.lines if line.get_marker() == "|"]


def test_intervals_of_six_models_stay_readable():
    rivals = ("band statistics", "format only", "database letter")
    table = spreads()
    more = table.assign(model=table["model"].map(dict(zip(MODELS, rivals, strict=True))))
    both = pd.concat([table, more.assign(value=more["value"] - 0.01)], ignore_index=True)
    figure = figures_trust.intervals(both)
    assert_readable(figure)
    assert_drawn(figure, both["value"])


def test_a_difference_has_the_color_of_the_better_model_or_none_where_it_may_be_0():
    table = differences(1)
    table.loc[:, ["difference", "low", "high"]] = [
        *([(0.01, -0.01, 0.03)] * 2),
        *([(0.05, 0.03, 0.07)] * 2),
        *([(-0.05, -0.07, -0.03)] * 2),
    ]
    figure = figures_trust.paired_differences(table)
    for axes in figure.axes:
        dots = [line for line in axes.lines if line.get_marker() == "o"]
        assert dots[0].get_mfc() == "white"
        assert [dot.get_mfc() for dot in dots[1:]] == [shade("student"), shade("baseline")]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["student better", "baseline better", "too close to call", "95% interval"]


def test_each_pair_is_told_with_its_mean_and_its_clear_seeds():
    table = differences().query("metric == 'auroc'")
    finding = style.finding_of(figures_trust.paired_differences(differences()))
    for (a, b), pair in table.groupby(["a", "b"]):
        clear = ((pair["low"] > 0) | (pair["high"] < 0)).sum()
        mean = f"{pair['difference'].mean():+.3f}".replace("-", "−")
        assert f"{a} − {b} {mean}, {clear} of 3" in finding


def test_every_p_is_printed_and_small_ones_bounded():
    table = differences(1).assign(p=[0.5, 0.04, 0.0004, 0.001, 0.2, 0.0])
    panels = figures_trust.paired_differences(table).axes
    shown = [{text.get_text() for text in axes.texts} for axes in panels]
    assert shown == [{"p", "0.500", "< 0.001", "0.200"}, {"p", "0.040", "0.001", "< 0.001"}]


def test_leak_headline_counts_the_recordings_and_signs_the_changes():
    finding = style.finding_of(figures_trust.leak_effect(kin()))
    assert finding == (
        "Without the 37 of 400 recordings that have kin in another split, AUROC changes by "
        "−0.008 (teacher), −0.011 (student), +0.002 (baseline)"
    )


def test_the_paired_interval_of_a_change_is_printed_where_it_is_known():
    table = kin().assign(low_change=-0.015, high_change=0.001)
    figure = figures_trust.leak_effect(table)
    assert_readable(figure)
    assert all("\n−0.015 to +0.001" in text.get_text() for text in figure.axes[0].texts)


def test_predictive_value_is_told_where_half_a_fifth_and_few_are_ill():
    finding = style.finding_of(figures_calibration.prevalence_curves(predictive_values()))
    (half, fifth, few), _ = ppv_npv(0.79, 0.88, [0.5, 0.205, 0.02])
    told = f"right {half:.0%} of the time at a prevalence of 50%, {fifth:.0%} at 20.5%, {few:.0%}"
    assert told in finding and finding.startswith("An abnormal call of the teacher")


def test_a_model_that_never_calls_abnormal_has_no_predictive_value():
    table = predictive_values().assign(ppv=NAN, ppv_low=NAN, ppv_high=NAN)
    finding = style.finding_of(figures_calibration.prevalence_curves(table))
    assert finding == "The teacher calls no recording abnormal"
    silent = spreads()
    silent.loc[silent["metric"] == "ppv", ["value", "low", "high"]] = NAN
    figure = figures_trust.intervals(silent)
    assert_readable(figure)
    assert "PPV" not in [name.get_text() for name in figure.axes[1].get_yticklabels()]


def test_both_prevalences_are_marked_and_bands_reach_to_the_ends_of_the_intervals():
    table = predictive_values()
    for axes, value in zip(
        figures_calibration.prevalence_curves(table).axes, ("ppv", "npv"), strict=True
    ):
        marked = [line.get_xdata()[0] for line in axes.lines if len(set(line.get_xdata())) == 1]
        assert marked == [0.205, 0.5]
        for band, (_, part) in zip(axes.collections[::-1], table.groupby("model"), strict=True):
            heights = band.get_paths()[0].vertices[:, 1]
            assert set(part[f"{value}_low"]) | set(part[f"{value}_high"]) <= set(heights)


def test_each_panel_tells_the_scores_of_both_calibrations():
    table, scores = calibrations()
    figure = figures_calibration.reliability(table, scores)
    for axes, (_, own) in zip(figure.axes, scores.groupby("model", sort=False), strict=True):
        title = axes.get_title("left")
        assert f"temperature {own['temperature'].iloc[-1]:.2f}" in title
        for name in ("ece", "brier"):
            assert " → ".join(f"{value:.3f}" for value in own[name]) in title
    assert "teacher 0.075 → 0.030" in style.finding_of(figure)


def test_a_model_without_a_temperature_is_drawn_as_it_was_trained():
    kept = [t.query("model != 'student' or calibration == 'as trained'") for t in calibrations()]
    figure = figures_calibration.reliability(*kept)
    assert_readable(figure)
    assert figure.axes[1].get_title("left").startswith("student, no temperature\nECE 0.0")


def test_the_range_of_useful_thresholds_is_the_longest_run_above_both_strategies():
    threshold = np.linspace(0.1, 0.8, 8)
    gain = np.array([-1, 1, -1, 1, 1, 1, -1, -1])
    curves = {"teacher": 0.01 * gain, "all": 0 * threshold - 0.005, "none": 0 * threshold}
    parts = [pd.DataFrame({"model": model, "prevalence": 0.5, "threshold": threshold,
                           "net_benefit": values}) for model, values in curves.items()]  # fmt: skip
    table = pd.concat(parts)
    finding = style.finding_of(figures_calibration.decision_curves(table))
    assert finding.endswith("at thresholds of 40% to 60% (prevalence 50%)")
    useless = table.assign(net_benefit=table["net_benefit"].clip(upper=0))
    finding = style.finding_of(figures_calibration.decision_curves(useless))
    assert "nowhere (prevalence 50%)" in finding


def test_each_prevalence_has_a_panel_with_every_model_and_both_strategies():
    panels = figures_calibration.decision_curves(benefits()).axes
    assert len(panels) == 3
    for axes in panels:
        assert len(axes.lines) == 5
        colors = [line.get_color() for line in axes.lines[2:]]
        assert colors == [shade(model) for model in MODELS]


def test_headline_names_the_rule_that_moves_sensitivity_farthest():
    finding = style.finding_of(figures_calibration.threshold_rules(rules()))
    assert finding == (
        "“sensitivity 0.95” instead of “logit 0”: the baseline finds 95% of the abnormal instead "
        "of 18% and clears 56% of the normal instead of 99%"
    )


def test_every_threshold_is_printed():
    texts = [text.get_text() for text in figures_calibration.threshold_rules(rules()).axes[0].texts]
    assert texts.count("0") == 3
    assert {"−0.84", "−3.20", "−4.40"} <= set(texts)


@pytest.mark.parametrize("kinds", [1, 3, 4, 7])
def test_each_disturbance_has_a_panel_and_the_legend_covers_none(kinds):
    table = disturbed()
    asked = ["none", *table["perturbation"].unique()[1 : kinds + 1]]
    figure = figures_robustness.robustness(table[table["perturbation"].isin(asked)])
    panels = [axes for axes in figure.axes if axes.axison]
    assert [axes.get_title("left") for axes in panels] == asked[1:]
    assert not any(axes.get_legend() for axes in panels)
    for axes in panels:
        dashed = [line for line in axes.lines if line.get_linestyle() == "--"]
        assert [line.get_ydata()[0] for line in dashed] == list(AUROC.values())


def test_the_largest_fall_is_that_from_a_models_own_clean_score():
    table = disturbed()
    loud = (table["perturbation"] == "hum") & (table["level"] == 0) & (table["model"] == "teacher")
    table.loc[loud, "auroc"] = 0.695
    finding = style.finding_of(figures_robustness.robustness(table))
    assert finding == "The largest fall of AUROC: teacher from 0.924 to 0.695 under hum (0 dB SNR)"
    alone = table[table["perturbation"] != "none"]
    finding = style.finding_of(figures_robustness.robustness(alone))
    worst = alone.loc[alone["auroc"].idxmin()]
    assert finding.startswith(f"The lowest AUROC: baseline {worst['auroc']:.3f} under fewer bits")


def test_headline_tells_each_subset_and_the_extremes_by_length():
    finding = style.finding_of(figures_robustness.quality(*qualities()))
    assert finding == (
        "AUROC of the teacher: all 0.924, clear 0.934, too noisy 0.804; "
        "by length from 0.834 (5 to 10 s) to 0.924 (30 s and more)"
    )


def test_lengths_may_be_given_by_their_ends():
    table, lengths = qualities()
    ends = lengths.assign(shortest=lengths["bin"].str.split().str[0].astype(float))
    ends = ends.assign(longest=ends["shortest"] + 9.6, recordings=1000).drop(columns="bin")
    figure = figures_robustness.quality(table, ends)
    names = [text.get_text() for text in figure.axes[1].get_xticklabels()]
    assert names == [f"{a} to {b} s\n1,000" for a, b in ((5, 15), (10, 20), (20, 30), (30, 40))]


def test_a_subset_without_both_classes_is_left_out_of_the_headline():
    table, lengths = qualities()
    table.loc[table["subset"] == "too noisy", ["auroc", "low", "high"]] = NAN
    figure = figures_robustness.quality(table, lengths.assign(auroc=NAN))
    assert style.finding_of(figure) == "AUROC of the teacher: all 0.924, clear 0.934"
