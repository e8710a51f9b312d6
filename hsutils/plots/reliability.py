"""What a logit means for a patient: calibration, thresholds, and a thousand people tested."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hsutils.evaluation.metrics import confusion
from hsutils.plots import style
from hsutils.plots.forest import forest_plot, long
from hsutils.plots.results import draw_confusion

CALIBRATIONS = {
    "as trained": {"marker": "s", "ms": 6, "mfc": "white", "mew": 1.5, "ls": ":", "lw": 1.5},
    "temperature": {"marker": "o", "ms": 6, "ls": "-", "lw": 1.5},
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
def reliability(table: pd.DataFrame, scores: pd.DataFrame) -> Figure:
    """Observed share of abnormal recordings against the probability given, before and after.

    Args:
        table: columns model, calibration (as trained, temperature), mean_probability, observed,
            low, high.
        scores: columns model, calibration, ece, brier.
    """
    models = style.in_order(table["model"])
    shape = {"ncols": len(models), "sharey": True, "squeeze": False}
    title = "Do probabilities match the share that is abnormal?"
    figure, (panels,) = style.new_page(title, 4.5, **shape)
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
    marks = {name: look for name, look in CALIBRATIONS.items() if name in set(table["calibration"])}
    marks |= {"95% interval": style.BAR, "perfect": style.DASHED}
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
        xlabel="share classified correctly: abnormal (sensitivity), normal (specificity)",
    )


@style.styled
def decisions(predictions: pd.DataFrame, threshold: float, prevalence: float, model: str) -> Figure:
    """What a threshold decides: for the recordings that it was tried on, and for 1,000 people.

    Args:
        predictions: columns label, logit; both labels occur.
        threshold: a recording of a higher logit is called abnormal.
        prevalence: share of the people who are ill, in [0, 1].
        model: whose logits these are.
    """
    title, shape = f"What does the {model} decide?", {"ncols": 3, "width_ratios": (3, 2.6, 6)}
    figure, (logits, counts, people) = style.new_page(title, 4.2, **shape)
    style.class_histogram(logits, predictions, "logit", bins=20)
    logits.axvline(threshold, **style.DASHED)
    logits.set_title(f"threshold {threshold:+.2f}".replace("-", "−"))
    matrix = confusion(predictions["label"], predictions["logit"], threshold)
    draw_confusion(counts, matrix[None], "test", model)
    false_alarms, found = matrix[:, 1] / matrix.sum(axis=1)
    marks = _people(people, found, 1 - false_alarms, prevalence)
    people.set_title(f"1,000 people, {prevalence:.1%} ill")
    return style.with_legend(figure, marks | {"threshold": style.DASHED}, columns=5)


def _people(
    axes: Axes, sensitivity: float, specificity: float, prevalence: float
) -> dict[str, dict]:
    """A dot per person; returns what each kind looks like, under its name and number."""
    ill = round(PEOPLE * prevalence)
    found, cleared = round(ill * sensitivity), round((PEOPLE - ill) * specificity)
    counts = (found, ill - found, PEOPLE - ill - cleared, cleared)
    start, marks = 0, {}
    for (outcome, look), count in zip(OUTCOMES.items(), counts, strict=True):
        place = np.arange(start, start := start + count)
        marks[f"{outcome}: {count}"] = {"marker": "o", "ls": "none", "ms": 4.5} | look
        axes.plot(place // ROWS, place % ROWS, **marks[f"{outcome}: {count}"])
    axes.set(xlim=(-0.8, PEOPLE / ROWS - 0.2), ylim=(ROWS - 0.3, -0.7))
    axes.set_axis_off()
    return marks
