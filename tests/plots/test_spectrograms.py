"""Laws of the figures about spectrograms: axes in seconds and hertz, hidden cells, mel filters."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from hsutils import plots
from hsutils.plots import style

PICTURE = np.random.default_rng(0).normal(size=(1, 24, 60))
AXES = (0.5, np.geomspace(50, 900, 24))


def test_time_is_in_seconds_and_rows_carry_their_frequency():
    figure = plots.waveform_and_spectrogram(np.ones(100), 10, PICTURE, *AXES, "a0001", 3)
    wave, picture, _ = figure.axes
    assert wave.lines[0].get_xdata()[[0, -1]].tolist() == [3, 12.9]
    assert picture.images[0].get_extent()[:2] == [0, 30]
    labels = [text.get_text() for text in picture.get_yticklabels()]
    assert (labels[0], labels[-1]) == ("50", "900")


def test_only_cells_that_augmentation_changed_are_tinted():
    augmented = PICTURE * (np.arange(60) >= 15)
    recorded, masked = plots.spectrogram_pair(PICTURE, augmented, *AXES, "a0001").axes[:2]
    tints = [axes.images[1].get_array() for axes in (recorded, masked)]
    assert tints[0].count() == 0 and tints[1].count() == 24 * 15
    assert masked.get_title(loc="left") == "augmented: 25% of the cells hidden"
    assert recorded.images[0].get_clim() == masked.images[0].get_clim()


def test_filters_are_counted_on_both_sides_of_what_the_recordings_hold():
    hz = np.linspace(0, 3_000, 13)  # A step of 250 Hz; the recordings end at 1 kHz.
    filters = np.zeros((13, 4))
    filters[1:3, 0] = filters[4:6, 1] = filters[6:8, 2] = filters[9:, 3] = 1
    figure = plots.mel_filters(filters, hz)
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert {"1 wholly below 1 kHz", "1 across 1 kHz", "2 wholly above 1 kHz"} < set(texts)
    rows = [part.get_paths()[0].vertices[:, 1].min() for part in figure.axes[0].collections]
    assert rows == [1, 2, 3, 4]  # Each filter has a row of its own.


def test_gallery_shows_each_picture_under_its_caption_on_one_scale(draw):
    shown = [axes for axes in draw("spectrogram_gallery").axes if axes.get_title(loc="left")]
    assert [axes.get_title(loc="left")[:5] for axes in shown] == [f"a000{k}" for k in range(5)]
    assert len({axes.images[0].get_clim() for axes in shown}) == 1
    # The lowest of each column; four of five are in two rows, the last alone.
    assert [axes.get_xlabel() for axes in shown] == ["", "", "", "time (s)", "time (s)"]


def test_what_speaks_for_either_class_has_its_color_and_the_place_of_the_sound(given):
    *seen, _, _, inside = given["where_it_looked"]
    figure = plots.where_it_looked(*seen, 0.5, (1.0, 2.0), inside)
    wave, picture, contributed, *_ = figure.axes
    assert wave.get_xlim() == (1, 2)
    for axes in (picture, contributed):
        assert axes.images[0].get_extent()[:2] == pytest.approx((0.5, 0.5 + 60 * seen[4]))
    low, high = contributed.images[0].get_clim()
    assert low == -high
    toward = contributed.images[0].cmap
    assert [to_hex(toward(end)) for end in (0.0, 1.0)] == [
        style.CLASS_COLORS[name].lower() for name in ("normal", "abnormal")
    ]
