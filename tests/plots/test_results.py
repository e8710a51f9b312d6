"""Laws of the figures about predictions: areas, counts and shares are those of the logits."""

import numpy as np
import pytest
import seaborn as sns
from matplotlib.colors import to_rgb
from sklearn.metrics import auc, confusion_matrix, roc_auc_score

from hsutils import plots
from hsutils.evaluation.tables import PAPER
from hsutils.plots import style


def lines_of(axes, model: str) -> list:
    return [line for line in axes.lines if line.get_color() == style.color_of(model)]


def test_area_under_each_curve_is_its_models_auroc_and_is_printed(draw, tables):
    curves, areas = draw("roc_curves").axes
    printed = {text.get_text() for text in areas.texts}
    for model, p in tables["test"].items():
        drawn = max(lines_of(curves, model), key=lambda line: len(line.get_xdata()))
        expected = roc_auc_score(p["label"], p["logit"])
        assert auc(*drawn.get_data()) == pytest.approx(expected)
        assert f"{expected:.3f}" in printed


def test_dots_are_the_operating_points_at_logit_0(draw, tables):
    curves, _ = draw("roc_curves").axes
    for model, p in tables["test"].items():
        (dot,) = [line for line in lines_of(curves, model) if line.get_marker() == "o"]
        called = p.groupby("label")["logit"].apply(lambda logit: (logit > 0).mean())
        np.testing.assert_allclose(np.ravel(dot.get_data()), called)


def test_every_seed_has_a_curve_and_a_dot_and_their_mean_is_marked(several_seeds):
    curves, areas = plots.roc_curves(several_seeds["test"], paper=False).axes
    for y, (model, p) in enumerate(several_seeds["test"].items()):
        each = [roc_auc_score(q["label"], q["logit"]) for _, q in p.groupby("seed")]
        assert sum(len(line.get_xdata()) > 2 for line in lines_of(curves, model)) == 2
        marks = {line.get_marker(): line for line in areas.lines if line.get_ydata()[0] == y}
        np.testing.assert_allclose(marks["o"].get_xdata(), each)
        np.testing.assert_allclose(marks["|"].get_xdata(), np.mean(each))


@pytest.mark.parametrize("paper", [True, False])
def test_the_papers_results_are_marked_only_when_asked(tables, paper):
    figure = plots.roc_curves(tables["test"], paper=paper)
    marked = [line for line in figure.axes[1].lines if line.get_marker() == "D"]
    assert [line.get_xdata()[0] for line in marked] == [
        p.test_auroc for p in PAPER.values()
    ] * paper
    assert len(plots.confusion_matrices(tables["test"], paper=paper).axes) == 3 + 3 * paper


def test_cells_hold_every_recording_once(draw, tables):
    for axes, (_, p) in zip(draw("confusion_matrices").axes, tables["test"].items(), strict=False):
        counts = [int(text.get_text().split("\n")[0]) for text in axes.texts]
        expected = confusion_matrix(p["label"], p["logit"] > 0)
        assert counts == expected.ravel().tolist()


def test_cells_of_seeds_hold_the_mean_and_the_range_of_the_counts(several_seeds):
    figure = plots.confusion_matrices(several_seeds["test"], paper=False)
    p = several_seeds["test"]["student"]
    found = [int(((q["label"] == 1) & (q["logit"] > 0)).sum()) for _, q in p.groupby("seed")]
    mean, span, share = figure.axes[1].texts[3].get_text().split("\n")
    assert float(mean) == pytest.approx(np.mean(found), abs=0.05)
    assert span == f"({min(found)}–{max(found)})" and share == f"{np.mean(found) / 40:.0%}"


def test_words_in_cells_stand_out_from_every_shade(draw):
    for axes in draw("confusion_matrices").axes:
        shades = axes.collections[0].get_facecolors()
        for text, shade in zip(axes.texts, shades, strict=True):
            light, dark = (sns.utils.relative_luminance(c) for c in (shade[:3], text.get_color()))
            assert (light + 0.05) / (dark + 0.05) > 4.5  # WCAG 2, level AA.


def test_histograms_span_each_models_own_logits(tables):
    wide = tables["test"] | {
        "teacher": tables["test"]["teacher"].assign(logit=lambda p: 99 * p.logit)
    }
    _, student, _ = plots.logit_histograms(wide).axes
    steps = student.collections[0].get_paths()[0].vertices[:, 0]
    logits = tables["test"]["student"]["logit"]
    assert steps.min() == pytest.approx(logits.min()) and steps.max() == pytest.approx(logits.max())
    assert student.get_xlim()[1] < 2 * np.abs(logits).max()


def test_misses_add_up_to_the_recordings_and_rates_are_those_of_the_databases(draw, tables):
    counts, rates = draw("errors_by_model").axes
    assert sum(int(text.get_text()) for text in counts.texts) == 80
    assert sum(bar.get_height() for bar in counts.patches) == 80
    p = tables["test"]["baseline"].merge(tables["databases"])
    wrong = 100 * ((p["logit"] > 0) != (p["label"] == 1)).groupby(p["database"]).mean()
    bars = [b for b in rates.patches if b.get_facecolor()[:3] == to_rgb(style.color_of("baseline"))]
    np.testing.assert_allclose([bar.get_height() for bar in bars if bar.get_width()], wrong)
