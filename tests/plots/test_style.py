"""Laws of every figure: readable, the same each time, one look, and saved whole."""

import inspect
import pickle
from functools import partial
from itertools import combinations
from unittest.mock import patch

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb
from matplotlib.text import Text
from PIL import Image

from hsutils import plots
from hsutils.plots import style

CALLERS = {"font.size": 20, "axes.grid": False, "axes.facecolor": "red"}
# Linear RGB as seen with deuteranopia and protanopia (Machado et al. 2009, severity 1).
DEFICIENT = {
    "deuteranopia": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "protanopia": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
}


def test_words_are_readable_lie_on_the_page_and_not_on_one_another(name, draw):
    figure = draw(name)
    with patch.object(Text, "draw", autospec=True) as drawn:
        figure.draw_without_rendering()
    texts = [call.args[0] for call in drawn.call_args_list]
    texts = [text for text in texts if text.get_visible() and text.get_text().strip()]
    boxes = [(text, text.get_window_extent()) for text in texts]
    for text, box in boxes:
        inside = min(box.x0, box.y0) > -2
        inside &= box.x1 < figure.bbox.x1 + 2 and box.y1 < figure.bbox.y1 + 2
        assert inside and text.get_size() >= 8.5, text.get_text()
    for (one, a), (other, b) in combinations(boxes, 2):
        across, up = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        assert min(across, up) < 2, f"{one.get_text()!r} lies on {other.get_text()!r}"


def test_title_is_short_and_every_axis_says_what_it_shows(name, draw):
    assert 0 < len(draw(name).get_suptitle()) < 75 and "\n" not in draw(name).get_suptitle()
    for axes in draw(name).axes:
        place = axes.get_subplotspec()
        if axes.axison and (place is None or place.is_last_row()):
            assert axes.get_xlabel() or axes.get_ylabel()


def test_equal_tables_give_equal_pictures_whatever_the_callers_settings(name, given):
    make, tables = partial(getattr(plots, name), *given[name]), pickle.dumps(given[name])
    expected = make()._repr_png_()
    with mpl.rc_context(CALLERS):
        before = dict(mpl.rcParams)
        assert make()._repr_png_() == expected
        assert dict(mpl.rcParams) == before and pickle.dumps(given[name]) == tables


def test_every_public_figure_is_held_to_these_laws(given):
    public = {name for name, made in vars(plots).items() if inspect.isfunction(made)}
    assert public - set(given) == {"forest_plot", "save_figure"}


def test_pyplot_knows_nothing_of_the_figures(draw):
    picture, about = draw("roc_curves")._repr_png_()
    assert picture.startswith(b"\x89PNG") and about["alt"] == draw("roc_curves").get_suptitle()
    assert not plt.get_fignums()


def test_equal_figures_give_equal_files_and_store_their_title(given, tmp_path):
    written = []
    for settings in ({}, CALLERS):
        with mpl.rc_context(settings):
            path = plots.save_figure(plots.changes(*given["changes"]), tmp_path, "changes")
        written.append({path.name: path.read_bytes() for path in tmp_path.iterdir()})
    assert written[0] == written[1] and written[0].keys() == {"changes.png", "changes.svg"}
    assert Image.open(path).info["Title"] == "What does each change do in unseen databases?"


@pytest.mark.parametrize("palette", ["MODEL_COLORS", "CLASS_COLORS", "CONTROL_COLORS"])
@pytest.mark.parametrize("matrix", [np.eye(3), *map(np.array, DEFICIENT.values())])
def test_colors_are_told_apart_with_color_vision_deficiencies(palette, matrix):
    seen = [matrix @ np.array(to_rgb(color)) ** 2.2 for color in getattr(style, palette).values()]
    for one, other in combinations(seen, 2):
        assert np.abs(np.sqrt(one.clip(0)) - np.sqrt(other.clip(0))).max() > 0.15


def test_no_color_means_two_things():
    colors = {**style.COLORS, "other": style.OTHER_COLOR}
    del colors["format facts"]  # The features that the model "format only" knows.
    assert len(set(colors.values())) == len(colors)
    assert len(set(style.DATABASE_MARKERS.values())) == len(style.DATABASE_COLORS)


def test_the_papers_models_come_first_and_those_without_sound_last():
    given = ["database only", "baseline", "linear model", "teacher", "format only"]
    order = ["teacher", "baseline", "linear model", "database only", "format only"]
    assert style.in_order(given) == order
    assert style.color_of("compact student") == style.color_of("student")
