"""Laws of the figures of calls and probabilities: bands, curves, rules and people add up."""

import numpy as np
import pytest

from hsutils import plots
from hsutils.plots import style


def test_each_panel_has_both_calibrations_their_intervals_and_their_scores(draw):
    for axes in draw("reliability").axes:
        curves = [line for line in axes.lines if line.get_marker() in ("s", "o")]
        for line in curves:
            np.testing.assert_allclose(line.get_ydata(), np.linspace(0.05, 0.95, 5) ** 2)
        assert [line.get_marker() for line in curves] == ["s", "o"]
        assert sum(len(set(line.get_xdata())) == 1 for line in axes.lines) == 10
        assert axes.get_title(loc="left").count("ECE 0.068, Brier 0.114") == 2


def test_a_model_without_a_temperature_is_drawn_as_it_was_trained(given):
    parts = [table[table["calibration"] == "as trained"] for table in given["reliability"]]
    for axes in plots.reliability(*parts).axes:
        assert axes.get_title(loc="left").count("ECE") == 1


def test_both_shares_of_every_rule_are_drawn_in_the_color_of_their_class(draw):
    (axes,) = draw("threshold_rules").axes
    (dots,) = axes.collections
    assert sorted(dots.get_offsets()[:, 0]) == [0.8] * 6 + [0.9] * 6
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert names.count("logit 0") == 3 and names.count("Youden (logit −0.25)") == 3
    legend = [text.get_text() for text in axes.figure.legends[0].get_texts()]
    assert legend[:2] == ["abnormal", "normal"] == list(style.CLASS_COLORS)[::-1]


@pytest.mark.parametrize("prevalence", [0.02, 0.205, 0.5, 0])
@pytest.mark.parametrize("threshold", [-9, -0.25, 9])
def test_a_threshold_decides_for_the_recordings_and_for_the_people_alike(
    given, threshold, prevalence
):
    table, *_, model = given["decisions"]
    figure = plots.decisions(table, threshold, prevalence, model)
    logits, matrix, people, *_ = figure.axes
    assert logits.lines[-1].get_xdata()[0] == threshold
    cleared, alarmed, missed, found = (int(text.get_text().split()[0]) for text in matrix.texts)
    ill = table[table["label"] == 1]
    assert (missed, found) == ((ill.logit <= threshold).sum(), (ill.logit > threshold).sum())
    counts = [len(line.get_xdata()) for line in people.lines]
    printed = [text.get_text().split(": ") for text in figure.legends[0].get_texts()]
    assert counts == [int(number) for _, *numbers in printed for number in numbers]
    assert sum(counts) == 1_000
    places = np.concatenate([line.get_xydata() for line in people.lines])
    assert len(np.unique(places, axis=0)) == 1_000
    assert counts[0] + counts[1] == pytest.approx(1_000 * prevalence, abs=0.5)
    assert counts[0] == pytest.approx(1_000 * prevalence * found / len(ill), abs=1)
    specificity = cleared / (cleared + alarmed)
    assert counts[3] == pytest.approx(1_000 * (1 - prevalence) * specificity, abs=1)
