"""What a logit means for a patient: predictive values, calibration, net benefit, thresholds."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.special import expit, logit

from hsutils.plots.common import BAR, color_key, in_order, interval, shade, signed, upright
from hsutils.plots.seeds import BELOW, DASHED, DOT, legend_handles
from hsutils.plots.style import INK, headline, legend_above, new_page, styled

PREVALENCES = {"collection\n20.5%": 0.205, "test split\n50%": 0.5}
"""Share of abnormal recordings in the Challenge's collection and in the paper's test split."""

SHARES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
CALIBRATIONS = {
    "as trained": DOT | {"marker": "s", "ms": 6, "mfc": "white", "mew": 1.5, "ls": ":", "lw": 1.5},
    "temperature": DOT | {"ls": "-", "lw": 1.5},
}
STRATEGIES = {"all": {"color": INK, "lw": 1.2, "ls": "--"}, "none": {"color": INK, "lw": 1.2}}
SENSITIVITY = DOT | {"ms": 9}
SPECIFICITY = DOT | {"marker": "s", "ms": 8, "mfc": "white", "mec": INK, "mew": 2}


@styled
def prevalence_curves(table: pd.DataFrame) -> Figure:
    """Chance that an abnormal and that a normal call is right, by how common the disease is.

    Args:
        table: columns model, prevalence, ppv, ppv_low, ppv_high, npv, npv_low, npv_high.
    """
    figure, panels = new_page(10, 4.6, ncols=2)
    models = in_order(table["model"])
    for axes, value, call in zip(panels, ("ppv", "npv"), ("an abnormal", "a normal"), strict=True):
        for share in PREVALENCES.values():
            axes.axvline(share, **DASHED | {"color": INK})
        for model in models:
            part, color = table[table["model"] == model].sort_values("prevalence"), shade(model)
            low, high = part[f"{value}_low"], part[f"{value}_high"]
            axes.fill_between(part["prevalence"], low, high, color=color, alpha=0.15, lw=0)
            axes.plot(part["prevalence"], part[value], color=color)
        axes.set(xscale="log", xlim=(0.005, 0.55), xlabel="prevalence of abnormal recordings")
        axes.set_xticks(SHARES, [f"{100 * share:g}%" for share in SHARES])
        axes.set_xticks([], minor=True)
        axes.set_ylabel(f"{value.upper()}: {call} call is right")
        axes.yaxis.set_major_formatter("{x:.0%}")
        for name, share in PREVALENCES.items():
            place = {"xycoords": axes.get_xaxis_transform(), "textcoords": "offset points"}
            axes.annotate(name, (share, 1), (0, 4), ha="center", va="bottom", size=9, **place)
    lines = color_key(models, marker="", ls="-")
    figure.legend(handles=legend_handles(lines | {"95% interval": BAR | {"alpha": 0.15}}), **BELOW)
    return headline(figure, _rarer(table[table["model"] == models[0]]))


@styled
def reliability(table: pd.DataFrame, scores: pd.DataFrame) -> Figure:
    """Observed share of abnormal recordings against the probability given, before and after.

    Args:
        table: columns model, calibration (as trained, temperature), mean_probability, observed,
            low, high, count.
        scores: columns model, calibration, ece, brier, temperature.
    """
    models = in_order(table["model"])
    figure, panels = new_page(10, 4.9, ncols=len(models), sharey=True, squeeze=False)
    scores = scores.set_index(["model", "calibration"])
    told = []
    for axes, model in zip(panels[0], models, strict=True):
        axes.plot([0, 1], [0, 1], **DASHED)
        for calibration, look in CALIBRATIONS.items():
            part = table[(table["model"] == model) & (table["calibration"] == calibration)]
            color = look | {"color": shade(model), "mec": shade(model)}
            axes.plot(part["mean_probability"], part["observed"], **color)
            width = BAR["lw"] if calibration == "temperature" else 1
            for row in part.itertuples():
                upright(axes, row.mean_probability, row.low, row.high, shade(model), lw=width)
        told.append(_describe(axes, model, scores.loc[model]))
        axes.set(xlabel="probability given", xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal")
    panels[0, 0].set_ylabel("share abnormal")
    marks = {name: look | {"mec": INK} for name, look in CALIBRATIONS.items()}
    marks |= {"95% interval": BAR, "perfect": DASHED}
    figure.legend(handles=legend_handles(marks), **BELOW)
    return headline(figure, "Calibration error as trained → with a temperature: " + ", ".join(told))


@styled
def decision_curves(table: pd.DataFrame) -> Figure:
    """Net benefit of following each model, of referring everybody, and of referring nobody.

    Args:
        table: columns model (also "all" and "none"), prevalence, threshold (probability),
            net_benefit (true positives a recording, less false alarms at the threshold's odds).
    """
    models = [model for model in in_order(table["model"]) if model not in STRATEGIES]
    prevalences = sorted(set(table["prevalence"]))
    figure, panels = new_page(10, 4.4, ncols=len(prevalences), squeeze=False)
    told = []
    for axes, prevalence in zip(panels[0], prevalences, strict=True):
        part = table[table["prevalence"] == prevalence].sort_values("threshold")
        for model in [*STRATEGIES, *models]:
            look = STRATEGIES.get(model) or {"color": shade(model)}
            curve = part[part["model"] == model]
            axes.plot(curve["threshold"], curve["net_benefit"], **look)
        top = max(part["net_benefit"].max(), 0.01)
        axes.set(xlabel="threshold probability", ylim=(-0.15 * top, 1.08 * top), xmargin=0)
        axes.set_title(f"{prevalence:.1%} of the recordings abnormal".replace(".0%", "%"))
        axes.xaxis.set_major_formatter("{x:.0%}")
        told.append(f"{_useful(part, models[0])} (prevalence {prevalence:.1%})")
    panels[0, 0].set_ylabel("net benefit a recording")
    names = {"all": "call all abnormal", "none": "call none abnormal"}
    marks = {names[name]: look for name, look in STRATEGIES.items()}
    lines = color_key(models, marker="", ls="-")
    figure.legend(handles=legend_handles(lines | marks), **BELOW | {"ncols": 6})
    finding = f"Following the {models[0]} beats calling all or none abnormal at thresholds of "
    return headline(figure, (finding + ", ".join(told)).replace(".0%", "%"))


@styled
def threshold_rules(table: pd.DataFrame) -> Figure:
    """Sensitivity and specificity of each model under each rule for its threshold.

    Args:
        table: columns model, rule, threshold (logit), sensitivity, sensitivity_low,
            sensitivity_high, specificity, specificity_low, specificity_high.
    """
    models, y, places, heads = in_order(table["model"]), 0.0, {}, {}
    for model in models:
        heads[y] = model
        for rule in table.loc[table["model"] == model, "rule"]:
            y += 1
            places[model, rule] = y
        y += 1.3
    figure, axes = new_page(10, 1.5 + 0.29 * y)
    for row in table.itertuples():
        _rule_row(axes, places[row.model, row.rule], row)
    axes.set_yticks([*heads, *places.values()], [*heads.values(), *(rule for _, rule in places)])
    for name in axes.get_yticklabels()[: len(heads)]:
        name.set(weight="bold", color=shade(name.get_text()))
    axes.text(1.01, 0, "threshold (logit)", transform=axes.get_yaxis_transform(), va="center",
              size=9)  # fmt: skip
    axes.set(ylim=(y - 0.6, -0.6), xlabel="share of the recordings called right", xmargin=0.03)
    axes.xaxis.set_major_formatter("{x:.0%}")
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    marks = {
        "sensitivity (abnormal found)": SENSITIVITY,
        "specificity (normal cleared)": SPECIFICITY,
    }
    legend_above(axes, handles=legend_handles(marks | {"95% interval": BAR}))
    return headline(figure, _largest_move(table))


def _describe(axes: Axes, model: str, scores: pd.DataFrame) -> str:
    """Title a panel with the scores of both calibrations; returns the change of the ECE."""
    ece, brier = (
        " → ".join(f"{value:.3f}" for value in scores[name].reindex(CALIBRATIONS).dropna())
        for name in ("ece", "brier")
    )
    heat = scores["temperature"].get("temperature")
    heat = "no temperature" if heat is None else f"temperature {heat:.2f}"
    axes.set_title(f"{model}, {heat}\nECE {ece}\nBrier {brier}")
    return f"{model} {ece}".replace(" → ", "\u00a0→\u00a0")


def _rarer(part: pd.DataFrame) -> str:
    """PPV of one model where half, a fifth and 2% of the recordings are abnormal."""
    # The odds of a right call are proportional to those of the disease (Bayes).
    at = [*sorted(PREVALENCES.values(), reverse=True), 0.02]
    known, model = part.dropna(subset="ppv").sort_values("prevalence"), part["model"].iloc[0]
    if known.empty:
        return f"The {model} calls no recording abnormal"
    odds = logit(known["ppv"].clip(1e-6, 1 - 1e-6))
    first, *rest = expit(np.interp(logit(at), logit(known["prevalence"]), odds))
    told = ", ".join(f"{ppv:.0%} at {share:.1%}" for ppv, share in zip(rest, at[1:], strict=True))
    finding = f"right {first:.0%} of the time at a prevalence of {at[0]:.1%}, {told}"
    finding = finding.replace(".0%", "%")
    return f"An abnormal call of the {model} is {finding}"


def _useful(part: pd.DataFrame, model: str) -> str:
    """The longest run of thresholds at which a model beats both strategies."""
    curves = part.pivot(index="threshold", columns="model", values="net_benefit")
    better = curves[model] > curves[[*STRATEGIES]].max(axis=1)
    runs = (better != better.shift()).cumsum()[better]
    if runs.empty:
        return "nowhere"
    run = runs.index[runs == runs.value_counts().sort_index().idxmax()]
    return f"{run[0]:.0%} to {run[-1]:.0%}"


def _rule_row(axes: Axes, y: float, row: tuple) -> None:
    """Both shares joined by a line; the shorter it is, the more evenly the classes are served."""
    color = shade(row.model)
    axes.plot([row.sensitivity, row.specificity], [y, y], color=color, lw=1.2)
    interval(axes, y, row.sensitivity_low, row.sensitivity_high, color)
    interval(axes, y, row.specificity_low, row.specificity_high, color)
    axes.plot(row.sensitivity, y, color=color, **SENSITIVITY)
    axes.plot(row.specificity, y, color=color, **SPECIFICITY | {"mec": color})
    threshold = signed(row.threshold, 2) if row.threshold else "0"
    axes.text(1.01, y, threshold, transform=axes.get_yaxis_transform(),
              va="center", size=9)  # fmt: skip


def _largest_move(table: pd.DataFrame) -> str:
    """Where a rule moves sensitivity farthest from that of the model's first rule."""
    start = table.groupby("model", sort=False)[["rule", "sensitivity", "specificity"]].transform(
        "first"
    )
    most = (table["sensitivity"] - start["sensitivity"]).abs().idxmax()
    old, new = start.loc[most], table.loc[most]
    return (
        f"“{new.rule}” instead of “{old.rule}”: the {new.model} finds {new.sensitivity:.0%} of the "
        f"abnormal instead of {old.sensitivity:.0%} and clears {new.specificity:.0%} of the normal "
        f"instead of {old.specificity:.0%}"
    )
