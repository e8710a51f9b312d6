"""Laws of the figures about training: best epochs, means over seeds, nearest neighbors."""

import numpy as np
import pytest

from hsutils import plots
from hsutils.evaluation.tables import PAPER


def stars(axes) -> list[tuple[float, float]]:
    return [
        xy for line in axes.lines if line.get_marker() == "*" for xy in line.get_xydata().tolist()
    ]


def test_the_best_epoch_is_starred_even_when_some_were_not_measured(tables):
    history = tables["histories"]["student"].drop(columns="seed")
    history.loc[history["epoch"] == 1, "dev_auroc"] = np.nan
    (axes,) = plots.dev_auroc_by_epoch({"student": history}).axes
    assert stars(axes) == [[4, pytest.approx(history["dev_auroc"].max())]]


def test_histories_without_any_measurement_still_draw(tables):
    history = tables["histories"]["student"].assign(dev_auroc=np.nan)
    (axes,) = plots.dev_auroc_by_epoch({"student": history}, paper=False).axes
    assert axes.get_title(loc="left") == "student, not measured"


def test_each_seed_has_its_line_and_the_mean_covers_what_all_seeds_have(several_seeds):
    histories = several_seeds["histories"]
    for axes, (model, history) in zip(
        plots.dev_auroc_by_epoch(histories).axes, histories.items(), strict=True
    ):
        *seeds, mean = [line for line in axes.lines if line.get_linestyle() == "-"]
        assert len(seeds) == len(stars(axes)) == 3 and len(mean.get_xdata()) == 4
        table = history.pivot(index="epoch", columns="seed", values="dev_auroc")
        np.testing.assert_allclose(mean.get_ydata(), table.loc[:4].mean(axis=1))
        best = table.max().mean()
        assert axes.get_title(loc="left").startswith(f"{model}, best {best:.3f}")


@pytest.mark.parametrize("paper", [True, False])
def test_the_papers_best_is_drawn_only_when_asked(tables, paper):
    figure = plots.dev_auroc_by_epoch(tables["histories"], paper=paper)
    dotted = [
        [li.get_ydata()[0] for li in a.lines if li.get_linestyle() == ":"] for a in figure.axes
    ]
    assert dotted == [[p.dev_auroc] * paper for p in PAPER.values()]


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
