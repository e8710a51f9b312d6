"""A thousand people add up, and each of them is drawn."""

import numpy as np
import pytest

from hsutils.evaluation.calibration import ppv_npv
from hsutils.errors import InputError
from hsutils.plots.clinic import OUTCOMES, PEOPLE, of_a_thousand, thousand_people
from hsutils.plots.style import finding_of


@pytest.mark.parametrize("prevalence", [0, 0.005, 0.2, 0.5, 1])
@pytest.mark.parametrize(("sensitivity", "specificity"), [(0.96, 0.75), (0, 1), (1, 0), (0.5, 0.5)])
def test_people_add_up_whatever_the_test(sensitivity, specificity, prevalence):
    counts = of_a_thousand(sensitivity, specificity, prevalence)
    assert sum(counts.values()) == PEOPLE and min(counts.values()) >= 0
    assert counts["ill, found"] + counts["ill, missed"] == round(PEOPLE * prevalence)


def test_the_share_of_right_alarms_is_the_predictive_value():
    found, _, alarmed, _ = of_a_thousand(0.96, 0.75, 0.1).values()
    ppv, _ = ppv_npv(0.96, 0.75, 0.1)
    assert found / (found + alarmed) == pytest.approx(float(ppv), abs=0.002)


def test_every_person_is_drawn_once():
    figure = thousand_people(0.9, 0.8, 0.1, "the student")
    dots = [np.column_stack(line.get_data()) for line in figure.axes[0].lines]
    assert len(np.unique(np.concatenate(dots), axis=0)) == PEOPLE
    assert [len(d) for d in dots] == list(of_a_thousand(0.9, 0.8, 0.1).values())
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == [f"{o}: {n}" for o, n in zip(OUTCOMES, (90, 10, 180, 720), strict=True)]
    said = finding_of(figure)
    assert "the student finds 90 of 100 who are ill; 90 of 270 alarms are right" in said


def test_a_test_that_never_alarms_is_drawn_too():
    assert "nobody is called ill" in finding_of(thousand_people(0, 1, 0.1))


def test_shares_outside_zero_and_one_are_named_together():
    with pytest.raises(InputError, match=r"sensitivity is 1\.2[\s\S]*prevalence is -1"):
        of_a_thousand(1.2, 0.5, -1)
