"""What a sensitivity and a specificity mean for people: natural frequencies, one dot a person."""

import numpy as np
from matplotlib.figure import Figure

from hsutils.errors import InputError
from hsutils.plots.style import CLASS_COLORS, headline, new_page, quiet, styled

PEOPLE, ROWS = 1_000, 20
OUTCOMES = ("ill, found", "ill, missed", "healthy, sent on", "healthy, reassured")


def of_a_thousand(sensitivity: float, specificity: float, prevalence: float) -> dict[str, int]:
    """How 1,000 people fare, in whole people: outcome -> count, in the order of `OUTCOMES`.

    Raises:
        InputError: if a share lies outside [0, 1].
    """
    shares = {"sensitivity": sensitivity, "specificity": specificity, "prevalence": prevalence}
    outside = [f"{name} is {value}" for name, value in shares.items() if not 0 <= value <= 1]
    if outside:
        raise InputError([f"{problem}: give a share from 0 to 1" for problem in outside])
    ill = round(PEOPLE * prevalence)
    found, reassured = round(ill * sensitivity), round((PEOPLE - ill) * specificity)
    counts = (found, ill - found, PEOPLE - ill - reassured, reassured)
    return dict(zip(OUTCOMES, counts, strict=True))


@styled
def thousand_people(
    sensitivity: float, specificity: float, prevalence: float, model: str = "the model"
) -> Figure:
    """A thousand people who are all tested: who is found, missed, alarmed and reassured.

    Args:
        sensitivity, specificity: of the test at its threshold, in [0, 1].
        prevalence: share who are ill, in [0, 1].
        model: whose verdicts these are.
    """
    counts = of_a_thousand(sensitivity, specificity, prevalence)
    figure, axes = new_page(10, 4.2)
    quiet(axes)
    sick, well = CLASS_COLORS["abnormal"], CLASS_COLORS["normal"]
    looks = (
        {"mfc": sick, "mec": sick},
        {"mfc": "white", "mec": sick, "mew": 1.8},
        {"mfc": well, "mec": well},
        {"mfc": "#E9E9E9", "mec": "#E9E9E9"},
    )
    start = 0
    for (outcome, count), look in zip(counts.items(), looks, strict=True):
        place = np.arange(start, start + count)
        label = f"{outcome}: {count}"
        axes.plot(place // ROWS, place % ROWS, "o", ls="none", ms=6.5, label=label, **look)
        start += count
    axes.set(xlim=(-0.8, PEOPLE / ROWS - 0.2), ylim=(ROWS - 0.3, -0.7))
    figure.legend(loc="outside lower center", ncols=4, markerscale=1.2)
    found, missed, alarmed, _ = counts.values()
    called = found + alarmed
    right = f"{found} of {called} alarms are right" if called else "nobody is called ill"
    verdicts = f"{model} finds {found} of {found + missed} who are ill; {right}"
    return headline(figure, f"Of 1,000 people, {verdicts}")
