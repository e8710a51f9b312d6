"""Laws of the figures about recordings: every recording is counted where it belongs."""

import numpy as np
import pandas as pd
import pytest

from hsutils import plots
from hsutils.audio.beats import Rhythm
from hsutils.audio.heart_cycles import PHASES
from hsutils.errors import InputError


def test_bars_dots_and_words_of_the_overview_are_the_recordings(draw, given):
    who, length, noise = draw("recordings_overview").axes
    (recordings,) = given["recordings_overview"]
    assert sum(bar.get_width() for bar in who.patches) == 240
    (dots,) = length.collections
    rows = recordings["database"].map([*"abcdef"].index)
    assert (dots.get_offsets()[:, 1].round() == rows).all()
    assert dots.get_sizes()[0] >= 9 and dots.get_alpha() >= 0.5  # They can be seen.
    noisy = 1 - recordings.groupby("database")["quality"].mean()
    np.testing.assert_allclose([bar.get_width() for bar in noise.patches], 100 * noisy)
    totals = recordings["database"].value_counts().sort_index()
    assert [int(text.get_text().split()[0]) for text in who.texts] == totals.tolist()


def test_numbers_in_the_bars_are_the_counts_of_their_split(draw, given):
    recordings, splits = given["split_composition"]
    labels, databases = draw("split_composition").axes
    printed = sorted(int(text.get_text()) for text in labels.texts if text.get_text())
    assert printed == sorted(pd.crosstab(splits["split"], recordings["label"]).to_numpy().ravel())
    for axes in (labels, databases):
        assert sum(bar.get_width() for bar in axes.patches) == pytest.approx(4)
    for bar, text in zip(labels.containers[0], labels.texts, strict=False):
        assert float(text.get_text()) == pytest.approx(60 * bar.get_width())


def test_every_beat_of_the_first_seconds_is_marked(draw):
    marks = draw("beats_and_cycle").axes[0].lines[1:]
    for look, beats in (("-", [0.3, 1.1, 1.9, 2.7, 3.5]), ("--", [0.6, 1.4, 2.2, 3.0, 3.8])):
        found = [line.get_xdata()[0] for line in marks if line.get_linestyle() == look]
        np.testing.assert_allclose(found, beats)


def test_a_recording_without_a_beat_is_drawn(given):
    silent = Rhythm(np.empty(0), np.empty(0), np.nan, 0.0)
    wave = given["beats_and_cycle"][0]
    figure = plots.beats_and_cycle(wave, silent, np.full((7, 8), np.nan), "a0001")
    assert figure.get_suptitle() == "a0001: 0 beats"


def test_each_database_of_both_classes_shows_what_abnormal_has_more_of(draw):
    pages = [axes for axes in draw("mean_cycles").axes if axes.images]
    names = [axes.get_title(loc="left") for axes in pages]
    assert names == ["database a", "database b", "linear model\n(rhythm not drawn)"]
    (image,) = pages[0].images
    expected = np.zeros((8, 7)) + 3 * (np.array(PHASES) == "S2")
    np.testing.assert_allclose(image.get_array(), expected)
    assert image.get_clim()[0] == -image.get_clim()[1]


@pytest.mark.parametrize("asked", ["label == 1", "label > 1"])
def test_cycles_without_a_database_of_both_classes_are_refused(given, asked):
    cycles, weights = given["mean_cycles"]
    with pytest.raises(InputError, match="no database has heart cycles of both classes"):
        plots.mean_cycles(cycles.query(asked), weights)


def test_databases_share_one_logarithmic_axis(draw):
    shown = draw("stored_levels").axes
    assert [axes.get_title(loc="left") for axes in shown] == [f"database {d}" for d in "abcdef"]
    assert len({axes.get_xlim() for axes in shown}) == 1 and shown[0].get_xscale() == "log"
