"""What a logit means for a patient: predictive values, calibration, net benefit, thresholds."""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from hsutils.plots import style
from hsutils.plots.forest import forest_plot, long

COLLECTION, TEST_SPLIT = 0.205, 0.5
"""Share of abnormal recordings in the Challenge's collection and in the paper's test split."""
PREVALENCES = {f"this collection ({COLLECTION:.1%})": style.DASHED}
PREVALENCES |= {f"test split ({TEST_SPLIT:.0%})": style.DASHED | {"ls": ":"}}
SHARES = (0.005, 0.02, 0.1, 0.5)
CALIBRATIONS = {
    "as trained": {"marker": "s", "ms": 6, "mfc": "white", "mew": 1.5, "ls": ":", "lw": 1.5},
    "temperature": {"marker": "o", "ms": 6, "ls": "-", "lw": 1.5},
}
STRATEGIES = {
    "all": ("call all abnormal", {"color": style.INK, "lw": 1.2, "ls": "--"}),
    "none": ("call none abnormal", {"color": style.INK, "lw": 1.2}),
}
PEOPLE, ROWS = 1_000, 20
SICK, WELL = style.CLASS_COLORS["abnormal"], style.CLASS_COLORS["normal"]
OUTCOMES = {
    "ill, found": {"mfc": SICK, "mec": SICK},
    "ill, missed": {"mfc": "white", "mec": SICK, "mew": 1.8},
    "healthy, false alarm": {"mfc": WELL, "mec": WELL},
    "healthy, cleared": {"mfc": "#E9E9E9", "mec": "#E9E9E9"},
}


@style.styled
def prevalence_curves(table: pd.DataFrame) -> Figure:
    """Chance that an abnormal and that a normal call is right, by how common the disease is.

    Args:
        table: columns model, prevalence, ppv, ppv_low, ppv_high, npv, npv_low, npv_high.
    """
    models = style.in_order(table["model"])
    shape = {"nrows": 2, "ncols": len(models), "sharex": True, "sharey": "row", "squeeze": False}
    title = "How often is a call right where the disease is rare?"
    figure, grid = style.new_page(title, 6, **shape)
    for row, value, call in zip(grid, ("ppv", "npv"), ("abnormal", "normal"), strict=True):
        for axes, model in zip(row, models, strict=True):
            part, color = table[table["model"] == model], style.color_of(model)
            part = 100 * part.set_index("prevalence").filter(like=value).sort_index()
            low, high = part[f"{value}_low"], part[f"{value}_high"]
            axes.fill_between(part.index, low, high, color=color, alpha=0.25, lw=0)
            sns.lineplot(part[value], color=color, errorbar=None, ax=axes)
            for share, look in zip((COLLECTION, TEST_SPLIT), PREVALENCES.values(), strict=True):
                axes.axvline(share, **look)
            axes.set(title=model, xscale="log", xlabel="abnormal recordings (%)")
            axes.set_ylabel(f"{value.upper()}: {call} calls right (%)")
            axes.set_xticks(SHARES, [f"{100 * share:g}" for share in SHARES])
            axes.minorticks_off()
    marks = style.color_key(models, marker="", ls="-") | {"95% interval": style.BAR}
    return style.with_legend(figure, marks | PREVALENCES)


@style.styled
def reliability(table: pd.DataFrame, scores: pd.DataFrame) -> Figure:
    """Observed share of abnormal recordings against the probability given, before and after.

    Args:
        table: columns model, calibration (as trained, temperature), mean_probability, observed,
            low, high.
        scores: columns model, calibration, ece, brier.
    """
    models = style.in_order(table["model"])
    shape = {"ncols": len(models), "sharey": True, "squeeze": False}
    figure, (panels,) = style.new_page("Is a probability a probability?", 4.5, **shape)
    for axes, model in zip(panels, models, strict=True):
        color, lines = style.color_of(model), [model]
        axes.plot([0, 1], [0, 1], **style.DASHED)
        for (calibration, look), width in zip(CALIBRATIONS.items(), (1.5, 6), strict=True):
            asked = f"model == '{model}' and calibration == '{calibration}'"
            part = table.query(asked)
            style.intervals_at(axes, part["mean_probability"], part, color, lw=width)
            axes.plot(part["mean_probability"], part["observed"], color=color, **look)
            for score in scores.query(asked).itertuples():
                lines.append(f"{calibration}: ECE {score.ece:.3f}, Brier {score.brier:.3f}")
        axes.set_title("\n".join(lines), size=9.5)
        axes.set(xlabel="probability given", ylabel="share abnormal", aspect="equal")
        axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
    marks = CALIBRATIONS | {"95% interval": style.BAR, "perfect": style.DASHED}
    return style.with_legend(figure, marks)


@style.styled
def decision_curves(table: pd.DataFrame) -> Figure:
    """Net benefit of following each model, of referring everybody, and of referring nobody.

    Args:
        table: columns model (also "all" and "none"), prevalence, threshold (probability),
            net_benefit (true positives a recording, less false alarms at the threshold's odds).
    """
    models = [model for model in style.in_order(table["model"]) if model not in STRATEGIES]
    parts = list(table.assign(percent=100 * table["threshold"]).groupby("prevalence", sort=False))
    title = "From which threshold on is a model worth following?"
    figure, (panels,) = style.new_page(title, 4.6, ncols=len(parts), squeeze=False)
    for axes, (prevalence, part) in zip(panels, parts, strict=True):
        for name, (_, look) in STRATEGIES.items():
            curve = part[part["model"] == name]
            axes.plot(curve["percent"], curve["net_benefit"], **look)
        look = {
            "palette": {model: style.color_of(model) for model in models},
            "legend": False,
            "errorbar": None,
        }
        own = part[part["model"].isin(models)]
        sns.lineplot(own, x="percent", y="net_benefit", hue="model", ax=axes, **look)
        top = max(part["net_benefit"].max(), 0.01)
        axes.set(title=f"prevalence {100 * prevalence:g}%", xmargin=0)
        axes.set(xlabel="threshold probability (%)", ylabel="net benefit a recording")
        axes.set_ylim(-0.15 * top, 1.08 * top)
    marks = style.color_key(models, marker="", ls="-") | dict(STRATEGIES.values())
    return style.with_legend(figure, marks)


def threshold_rules(table: pd.DataFrame) -> Figure:
    """Sensitivity and specificity of each model under each rule for its threshold.

    Args:
        table: columns model, rule, threshold (logit), sensitivity, sensitivity_low,
            sensitivity_high, specificity, specificity_low, specificity_high.
    """
    threshold = table["threshold"].map(" (logit {:.2f})".format).str.replace("-", "−")
    rules = (table["rule"] + threshold).str.replace("logit 0 (logit 0.00)", "logit 0")
    metrics = {"abnormal": "sensitivity", "normal": "specificity"}
    parts = {name: [f"{m}{end}" for end in ("", "_low", "_high")] for name, m in metrics.items()}
    return forest_plot(
        long(table.assign(rule=rules), ["model", "rule"], parts),
        **{"group": "model", "row": "rule", "hue": "panel"},
        title="What does another threshold do to sensitivity and specificity?",
        xlabel="share called right: of the abnormal (sensitivity), of the normal (specificity)",
    )


@style.styled
def thousand_people(
    sensitivity: float, specificity: float, prevalence: float, model: str = "the model"
) -> Figure:
    """A thousand people who are all tested: who is found, missed, alarmed and cleared.

    Args:
        sensitivity, specificity: of the test at its threshold, in [0, 1].
        prevalence: share who are ill, in [0, 1].
        model: whose calls these are.
    """
    ill = round(PEOPLE * prevalence)
    found, cleared = round(ill * sensitivity), round((PEOPLE - ill) * specificity)
    counts = (found, ill - found, PEOPLE - ill - cleared, cleared)
    figure, axes = style.new_page(f"1,000 people, tested by {model}", 4.4)
    start, marks = 0, {}
    for (outcome, look), count in zip(OUTCOMES.items(), counts, strict=True):
        place = np.arange(start, start := start + count)
        marks[f"{outcome}: {count}"] = {"marker": "o", "ls": "none", "ms": 6.5} | look
        axes.plot(place // ROWS, place % ROWS, **marks[f"{outcome}: {count}"])
    axes.set(xlim=(-0.8, PEOPLE / ROWS - 0.2), ylim=(ROWS - 0.3, -0.7))
    axes.set_axis_off()
    return style.with_legend(figure, marks)
