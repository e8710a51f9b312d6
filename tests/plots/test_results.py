"""Laws of the figures about training and predictions: curves, counts and shares are the tables'."""

import numpy as np
import pytest
import seaborn as sns
from sklearn.metrics import auc, confusion_matrix, roc_auc_score

from hsutils import plots
from hsutils.evaluation.tables import PAPER
from hsutils.plots import style


def lines_of(axes, model: str) -> list:
    return [line for line in axes.lines if line.get_color() == style.color_of(model)]


def marked(axes, marker: str) -> list[list[float]]:
    lines = [line for line in axes.lines if line.get_marker() == marker]
    return [xy for line in lines for xy in line.get_xydata().tolist()]


def test_the_best_epoch_is_starred_where_epochs_were_measured(given):
    history = given["dev_auroc_by_epoch"][0]["student"].drop(columns="seed")
    history.loc[history["epoch"] == 1, "dev_auroc"] = np.nan
    both = {"student": history, "baseline": history.assign(dev_auroc=np.nan)}
    student, baseline = plots.dev_auroc_by_epoch(both, paper=False).axes
    assert marked(student, "*") == [[4, pytest.approx(history["dev_auroc"].max())]]
    assert not marked(baseline, "*") and "not measured" in baseline.get_title(loc="left")


def test_each_seed_has_its_line_and_the_mean_covers_what_all_seeds_have(several_seeds):
    figure = plots.dev_auroc_by_epoch(several_seeds["histories"])
    for axes, (model, history) in zip(figure.axes, several_seeds["histories"].items(), strict=True):
        *seeds, mean = [line for line in axes.lines if line.get_linestyle() == "-"]
        assert len(seeds) == len(marked(axes, "*")) == 3 and len(mean.get_xdata()) == 4
        table = history.pivot(index="epoch", columns="seed", values="dev_auroc")
        np.testing.assert_allclose(mean.get_ydata(), table.loc[:4].mean(axis=1))
        best = table.max().mean()
        assert axes.get_title(loc="left").startswith(f"{model}, best {best:.3f}")


def test_loss_is_drawn_by_epoch_beside_what_it_is_held_against(draw):
    figure = draw("loss_by_epoch")
    loss, chance = figure.axes[0].lines
    np.testing.assert_allclose(loss.get_ydata(), 1 / np.arange(1, 6))
    assert chance.get_ydata()[0] == 0.7
    assert "chance 0.7" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_neighbors_in_two_far_clusters_share_their_label_and_not_their_database():
    label, points = np.arange(40) % 2, np.random.default_rng(0).normal(size=(40, 3))
    points[:, 0] += 100 * label
    figure = plots.embedding_map({"here": points}, label, np.array(["a"] * 39 + ["b"]))
    by_label, by_database = (axes.get_title(loc="left") for axes in figure.axes)
    assert "alike: 100% (chance 49%)" in by_label
    assert "(chance 95%)" in by_database


def test_embeddings_of_any_scale_share_their_axes(draw):
    before, _, after, _ = draw("embedding_map").axes
    np.testing.assert_allclose(*(a.collections[0].get_offsets() for a in (before, after)))
    assert before.get_xlim() == after.get_xlim()


def test_areas_under_the_curves_and_operating_points_are_those_of_the_logits(draw, given):
    curves, areas = draw("roc_curves").axes
    printed = {text.get_text() for text in areas.texts}
    for model, p in given["roc_curves"][0].items():
        drawn = max(lines_of(curves, model), key=lambda line: len(line.get_xdata()))
        expected = roc_auc_score(p["label"], p["logit"])
        assert auc(*drawn.get_data()) == pytest.approx(expected)
        assert f"{expected:.3f}" in printed
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
def test_the_papers_results_are_drawn_only_when_asked(given, paper):
    test, histories = given["roc_curves"][0], given["dev_auroc_by_epoch"][0]
    curves, areas = plots.roc_curves(test, paper=paper).axes
    assert [x for x, _ in marked(areas, "D")] == [p.test_auroc for p in PAPER.values()] * paper
    counts = [np.array(p.confusion) for p in PAPER.values()]
    points = np.array([c[:, 1] / c.sum(axis=1) for c in counts] * paper)
    np.testing.assert_allclose(np.array(marked(curves, "D")), points)
    assert len(plots.confusion_matrices(test, paper=paper).axes) == 3 + 3 * paper
    panels = plots.dev_auroc_by_epoch(histories, paper).axes
    for axes, p in zip(panels, PAPER.values(), strict=True):
        dotted = [line for line in axes.lines if line.get_linestyle() == ":"]
        assert [line.get_ydata()[0] for line in dotted] == [p.dev_auroc] * paper


def test_cells_hold_every_recording_once(draw, given):
    test = given["confusion_matrices"][0].values()
    for axes, p in zip(draw("confusion_matrices").axes, test, strict=False):
        counts = [int(text.get_text().split("\n")[0]) for text in axes.texts]
        assert counts == confusion_matrix(p["label"], p["logit"] > 0).ravel().tolist()


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


@pytest.mark.parametrize(("score", "even"), [("logit", 0), ("soft_label", 0.5)])
def test_histograms_span_each_models_own_scores_about_even_odds(given, score, even):
    test = {m: p.rename(columns={"logit": score}) for m, p in given["roc_curves"][0].items()}
    test["teacher"][score] *= 99
    _, student, _ = plots.score_histograms(test, score).axes
    steps, drawn = student.collections[0].get_paths()[0].vertices[:, 0], test["student"][score]
    np.testing.assert_allclose([steps.min(), steps.max()], [drawn.min(), drawn.max()])
    for of_class in student.collections:  # however rare a class is, its 25 bars add up to 1
        x, y = of_class.get_paths()[0].vertices.T
        area = abs(np.sum(x * np.roll(y, 1) - y * np.roll(x, 1))) / 2
        assert area == pytest.approx((drawn.max() - drawn.min()) / 25)
    assert student.get_xlim()[1] < 2 * np.abs(drawn).max()
    assert student.lines[0].get_xdata()[0] == even
