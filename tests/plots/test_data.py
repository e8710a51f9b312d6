"""Laws of the figures about recordings: every recording is counted where it belongs."""

import numpy as np
import pandas as pd
import pytest

from hsutils import plots
from hsutils.audio.heart_cycles import PHASES


def test_bars_dots_and_words_of_the_overview_are_the_recordings(draw, tables):
    who, length, noise = draw("recordings_overview").axes
    assert sum(bar.get_width() for bar in who.patches) == 240
    (dots,) = length.collections
    rows = tables["recordings"]["database"].map([*"abcdef"].index)
    assert (dots.get_offsets()[:, 1].round() == rows).all()
    assert dots.get_sizes()[0] >= 9 and dots.get_alpha() >= 0.5  # They can be seen.
    noisy = 1 - tables["recordings"].groupby("database")["quality"].mean()
    np.testing.assert_allclose([bar.get_width() for bar in noise.patches], 100 * noisy)
    totals = tables["recordings"]["database"].value_counts().sort_index()
    assert [int(text.get_text().split()[0]) for text in who.texts] == totals.tolist()


def test_numbers_in_the_bars_are_the_counts_of_their_split(draw, tables):
    labels, databases = draw("split_composition").axes
    counts = pd.crosstab(tables["splits"]["split"], tables["recordings"]["label"])
    printed = sorted(int(text.get_text()) for text in labels.texts if text.get_text())
    assert printed == sorted(counts.to_numpy().ravel())
    for axes in (labels, databases):
        assert sum(bar.get_width() for bar in axes.patches) == pytest.approx(4)
    for bar, text in zip(labels.containers[0], labels.texts, strict=False):
        assert float(text.get_text()) == pytest.approx(60 * bar.get_width())


def test_leaks_count_only_groups_in_several_splits_and_draw_the_largest(draw):
    figure = draw("leaks")
    assert figure.get_suptitle().endswith(": 48")
    assert figure.axes[0].get_ylabel() == "group (20 of 24)"
    assert "g0" not in [text.get_text() for text in figure.axes[0].get_yticklabels()]


def test_splits_without_leaks_are_drawn_empty(tables):
    audit = tables["audit"][tables["audit"]["group"] == "g0"]
    assert plots.leaks(audit).get_suptitle().endswith(": 0")


def test_every_beat_of_the_first_seconds_is_marked(draw):
    wave = draw("beats_and_cycle").axes[0]
    first, second = (
        [line.get_xdata()[0] for line in wave.lines[1:] if line.get_linestyle() == look]
        for look in ("-", "--")
    )
    np.testing.assert_allclose(first, [0.3, 1.1, 1.9, 2.7, 3.5])
    np.testing.assert_allclose(second, np.add(first, 0.3))


def test_a_recording_without_a_beat_is_drawn(tables):
    silent = tables["rhythm"].__class__(np.empty(0), np.empty(0), np.nan, 0.0)
    figure = plots.beats_and_cycle(tables["wave"], silent, np.full((7, 8), np.nan), "a0001")
    assert figure.get_suptitle() == "a0001: 0 beats"


def test_each_database_of_both_classes_shows_what_abnormal_has_more_of(draw):
    figure = draw("mean_cycles")
    shown = {axes.get_title(loc="left"): axes for axes in figure.axes if axes.images}
    assert list(shown) == ["database a", "database b", "linear model"]
    page = shown["database a"].images[0].get_array()
    expected = np.zeros(page.shape)
    expected[:, PHASES.index("S2")] = 3
    np.testing.assert_allclose(page, expected)
    low, high = shown["database a"].images[0].get_clim()
    assert low == -high
