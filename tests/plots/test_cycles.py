"""What the figures of mean cycles draw is what the tables hold."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from test_beats import heart

from hsutils.plots import cycles as figures_cycles
from hsutils.studies.cycle_scores import WEIGHTS
from hsutils.audio.heart_cycles import BANDS, NAMES, PHASES, mean_cycle
from hsutils.plots.style import finding_of


def cycles(diastolic: str = "ef") -> pd.DataFrame:
    """Six databases whose abnormal recordings are louder in systole, but for some."""
    rows = [
        (database, label, phase, band + 1, number + 0.1 * band + label * (phase in louder))
        for number, database in enumerate("abcdef")
        for louder in [PHASES[4:] if database in diastolic else PHASES[1:3]]
        for label in (0, 1)
        for phase in PHASES
        for band in range(BANDS)
    ]
    columns = ["database", "label", "phase", "band", "value"]
    return pd.DataFrame(rows, columns=columns).assign(recordings=20)


def weights() -> pd.DataFrame:
    rows = [(phase, band + 1, 0.1 * band) for phase in PHASES for band in range(BANDS)]
    rows += [("rhythm", name, 9.0) for name in NAMES[len(rows) :]]
    return pd.DataFrame(rows, columns=WEIGHTS)


def one_heart():
    waveform, _, _ = heart(0)
    cycle, rhythm = mean_cycle(waveform)
    return figures_cycles.beats_and_cycle(waveform, rhythm, cycle, "a0001")


# Held in `test_figures_beyond` to the laws of all its figures.
EVERY_FIGURE = {
    "beats_and_cycle": one_heart,
    "mean_cycles": lambda: figures_cycles.mean_cycles(cycles(), weights()),
}


def images(figure) -> list[np.ndarray]:
    return [image.get_array().data for axes in figure.axes for image in axes.images]


def test_each_database_shows_what_abnormal_has_more_of():
    first, *_, sixth, model = images(EVERY_FIGURE["mean_cycles"]())
    assert first == pytest.approx(np.tile([0, 1, 1, 0, 0, 0, 0], (BANDS, 1)))
    assert sixth == pytest.approx(np.tile([0, 0, 0, 0, 1, 1, 1], (BANDS, 1)))
    # Weights of the rhythm have no place on the page; the others fill its scale.
    assert model[:, 0] == pytest.approx(np.linspace(0, 1, BANDS))


def test_the_headline_says_whether_databases_agree():
    apart = finding_of(EVERY_FIGURE["mean_cycles"]())
    assert "in systole than in diastole in a, b, c and d, and more in diastole than in" in apart
    agreed = finding_of(figures_cycles.mean_cycles(cycles(""), weights()))
    assert agreed == "Abnormal hearts gain more in systole than in diastole in a, b, c, d, e and f"


def test_a_database_of_one_class_is_left_out_and_weights_may_be_missing():
    table = cycles()
    table = table[(table.database != "c") | (table.label == 0)]
    assert len(images(figures_cycles.mean_cycles(table, weights().head(0)))) == 5


def test_a_small_difference_is_not_told():
    table = cycles("").assign(value=lambda t: 0.2 * t.value)
    told = finding_of(figures_cycles.mean_cycles(table, weights()))
    assert told == "Abnormal hearts gain as much in systole as in diastole"


def test_recordings_of_one_class_have_nothing_to_compare():
    table = cycles()
    told = finding_of(figures_cycles.mean_cycles(table[table.label == 0], weights()))
    assert told == "No database has normal and abnormal recordings with beats"


def test_every_beat_of_the_first_seconds_is_marked():
    waveform, _, _ = heart(0)
    _, rhythm = mean_cycle(waveform)
    lines = EVERY_FIGURE["beats_and_cycle"]().axes[0].lines[1:]
    drawn = sorted(line.get_xdata()[0] for line in lines)
    marks = np.sort([*rhythm.onset, *(rhythm.onset + rhythm.systole)])
    assert drawn == pytest.approx(marks[marks < 4.0])


@pytest.mark.parametrize("beats", [0, 1])
def test_a_recording_without_a_whole_beat_says_so(beats):
    silence = np.zeros(9_000)
    cycle, rhythm = mean_cycle(silence)
    one = dataclasses.replace(rhythm, onset=np.full(beats, 1.0), systole=np.full(beats, 0.3))
    page = figures_cycles.beats_and_cycle(silence, one, cycle, "a0001")
    assert finding_of(page) == "a0001: no whole beat was found"
