"""Laws of the figures over seeds: every seed is drawn, and what is claimed is so."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from sklearn import metrics

from hsutils.plots import seeds as figures_seeds, style
from hsutils.evaluation.tables import PAPER, auroc, roc
from hsutils.plots.ablations import ablations

MODELS = ("baseline", "student", "teacher")
NAN = np.nan


def predictions(seeds: int = 3, n: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 2
    # Rounded, so that some recordings tie and a curve has slopes as well as steps.
    parts = [
        {"model": m, "seed": s, "label": labels, "logit": (labels + rng.normal(size=n)).round(1)}
        for m in MODELS
        for s in range(seeds)
    ]
    return pd.concat([pd.DataFrame(part) for part in parts], ignore_index=True)


def histories(seeds: int = 3, key: str = "model", kinds: tuple = MODELS) -> pd.DataFrame:
    """Seeds stop after different epochs, and epoch 2 was not measured."""
    rng = np.random.default_rng(1)
    parts = []
    for kind in kinds:
        for seed in range(seeds):
            epoch = np.arange(1, 7 + seed)
            values = 0.9 - 0.2 / epoch + rng.normal(0, 0.02, len(epoch))
            values[1] = NAN
            part = {key: kind, "seed": seed, "epoch": epoch, "dev_auroc": values}
            parts.append(pd.DataFrame(part))
    return pd.concat(parts, ignore_index=True)


def rates(seeds: int = 3) -> pd.DataFrame:
    return histories(seeds, "rate", (1e-3, 1e-4, 1e-5))


def questions(seeds: int = 3, half: float = 0.02) -> tuple[pd.DataFrame, pd.DataFrame]:
    asked = [
        ("Does pre-training help?", "teacher", {"pre-trained": NAN, "random weights": -0.03}),
        ("Which rate suits?", "student", {"1e-4": NAN, "1e-3": 0.004, "1e-5": -0.012}),
    ]
    half = half if seeds > 1 else NAN
    rows, dots = [], []
    for question, model, options in asked:
        for option, change in options.items():
            about = {"question": question, "option": option}
            mean = 0.9 + np.nan_to_num(change)
            row = {"model": model, "seeds": seeds, "mean": mean, "low": mean - half}
            row |= {"high": mean + half, "difference": change}
            row |= {"difference_low": change - half, "difference_high": change + half}
            row |= {"last_epoch": mean - 0.001}
            row |= {"p_holm": (0.01 if abs(change) > half else 0.5) if seeds > 1 else NAN}
            rows.append(about | row)
            values = mean + 0.002 * (np.arange(seeds) - (seeds - 1) / 2)
            dots += [about | {"seed": s, "dev_auroc": v} for s, v in enumerate(values)]
    return pd.DataFrame(rows), pd.DataFrame(dots)


EVERY_FIGURE = {
    "roc_over_seeds": lambda n: figures_seeds.roc_over_seeds(predictions(n)),
    "dev_auroc_over_seeds": lambda n: figures_seeds.dev_auroc_over_seeds(histories(n)),
    "confusion_over_seeds": lambda n: figures_seeds.confusion_over_seeds(predictions(n)),
    "learning_rates": lambda n: figures_seeds.learning_rates(rates(n)),
    "ablations": lambda n: ablations(*questions(n)),
}


def lines(axes: Axes, **look: object) -> list[Line2D]:
    """Lines that hold data and have this look, as `marker='o', color='#0072B2'`."""
    wanted = {k: to_hex(v) if k == "color" else v for k, v in look.items()}
    return [
        line
        for line in axes.lines
        if len(line.get_xdata())
        and all(
            (to_hex(line.get_color()) if k == "color" else getattr(line, f"get_{k}")()) == v
            for k, v in wanted.items()
        )
    ]


def words(figure: Figure) -> list:
    texts = [text for axes in figure.axes for text in (*axes.texts, axes.title)]
    return [figure._suptitle, *(text for text in texts if text.get_text())]


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("name", EVERY_FIGURE)
def test_words_lie_on_the_page_and_not_on_one_another(name, seeds):
    figure = EVERY_FIGURE[name](seeds)
    figure.draw_without_rendering()
    boxes = {text: text.get_window_extent() for text in words(figure)}
    for text, box in boxes.items():
        assert box.x0 >= 0 and box.x1 <= figure.bbox.x1, text.get_text()
        assert box.y0 >= 0 and box.y1 <= figure.bbox.y1, text.get_text()
        for other, its_box in boxes.items():
            assert other is text or not box.overlaps(its_box), (text, other)


@pytest.mark.parametrize("name", EVERY_FIGURE)
def test_headline_names_the_number_of_seeds_or_the_question(name):
    one, three = (style.finding_of(EVERY_FIGURE[name](n)) for n in (1, 3))
    if name == "ablations":
        assert "“Does pre-training help?”: −0.030 with random weights" in one
        assert "“Does pre-training help?”: −0.030 (−0.050 to −0.010) with" in three
    else:
        assert ", one seed: " in one and ", mean of 3 seeds: " in three


def test_a_difference_within_the_seeds_spread_makes_no_headline():
    table, seeds = questions(3)
    table["p_holm"] = 0.06  # Whatever one interval alone may say.
    assert "moves dev AUROC clearly more than seeds do" in style.finding_of(ablations(table, seeds))


def test_models_with_different_numbers_of_seeds_are_owned_up_to():
    table = predictions().query("model != 'teacher' or seed == 0")
    assert ", mean of 1–3 seeds: " in style.finding_of(figures_seeds.roc_over_seeds(table))


def test_headline_numbers_are_those_of_scikit_learn():
    table = predictions()
    groups = list(table.groupby(["model", "seed"]))
    areas, shares = (
        pd.Series({key: measure(p["label"], p["logit"]) for key, p in groups})
        for measure in (
            metrics.roc_auc_score,
            lambda label, logit: metrics.accuracy_score(label, logit > 0),
        )
    )
    for draw, values, form in (
        (figures_seeds.roc_over_seeds, areas, ".3f"),
        (figures_seeds.confusion_over_seeds, shares, ".1%"),
    ):
        mean = values.groupby(level=0).mean()
        told = ", ".join(f"{m} {mean[m]:{form}}" for m in ("teacher", "student", "baseline"))
        assert style.finding_of(draw(table)).endswith(f": {told}")


def test_area_under_the_mean_curve_is_the_mean_auroc():
    table = predictions()
    curve = figures_seeds.roc_over_seeds(table).axes[0]
    for model, part in table.groupby("model"):
        (mean,) = lines(curve, label=model)
        areas = [auroc(p["label"], p["logit"]) for _, p in part.groupby("seed")]
        assert np.trapezoid(*mean.get_data()[::-1]) == pytest.approx(np.mean(areas), abs=1e-6)
        assert mean.get_ydata()[0] == 0 and mean.get_ydata()[-1] == 1


def test_mean_curve_of_equal_seeds_is_the_curve_of_each():
    one = predictions(1)
    table = pd.concat([one, one.assign(seed=1)])
    curve = figures_seeds.roc_over_seeds(table).axes[0]
    for model, p in one.groupby("model"):
        (mean,) = lines(curve, label=model)
        x, y = roc(p["label"], p["logit"])
        for height in (np.interp(x - 1e-9, x, y), np.interp(x + 1e-9, x, y)):
            assert np.isin(height.round(6), mean.get_ydata().round(6)).all()


def test_band_reaches_from_the_lowest_to_the_highest_seed():
    table = predictions().query("model == 'student'")
    (band,) = figures_seeds.roc_over_seeds(table).axes[0].collections
    corners = band.get_paths()[0].vertices
    between = np.linspace(0.005, 0.995, 100) + 1e-4
    heights = [np.interp(between, *roc(p["label"], p["logit"])) for _, p in table.groupby("seed")]
    turn = len(corners) // 2
    edges = [part[np.argsort(part[:, 0], kind="stable")] for part in np.split(corners, [turn])]
    edges = sorted((np.interp(between, *edge.T) for edge in edges), key=np.mean)
    assert (edges[0] <= np.min(heights, axis=0) + 1e-6).all()
    assert (edges[1] >= np.max(heights, axis=0) - 1e-6).all()


@pytest.mark.parametrize("seeds", [1, 3])
def test_every_seed_has_its_dot_at_logit_0_and_at_its_auroc(seeds):
    table = predictions(seeds)
    curve, areas = figures_seeds.roc_over_seeds(table).axes
    for model, part in table.groupby("model"):
        look = {"marker": "o", "color": style.color_of(model)}
        (decisions,), (dots,) = lines(curve, **look), lines(areas, **look)
        for (_, p), point, area in zip(
            part.groupby("seed"), decisions.get_xydata(), dots.get_xdata(), strict=True
        ):
            called = p["logit"] > 0
            assert point == pytest.approx([called[p["label"] == c].mean() for c in (0, 1)])
            assert area == pytest.approx(auroc(p["label"], p["logit"]))


@pytest.mark.parametrize("paper", [True, False])
def test_the_papers_results_are_marked_only_when_asked(paper):
    curve, areas = figures_seeds.roc_over_seeds(predictions(), paper).axes
    for axes in (curve, areas):
        assert len(lines(axes, marker="D")) == 3 * paper
    panels = figures_seeds.dev_auroc_over_seeds(histories(), paper).axes
    assert [len(lines(axes, linestyle=":")) for axes in panels] == [paper] * 3
    assert len(figures_seeds.confusion_over_seeds(predictions(), paper).axes) == 3 + 3 * paper
    if paper:
        (line,) = lines(panels[1], linestyle=":")
        assert line.get_ydata()[0] == PAPER["student"].dev_auroc


def test_each_seed_has_its_line_and_a_star_at_its_first_best_epoch():
    table = histories().assign(dev_auroc=lambda t: t["dev_auroc"].clip(upper=0.85))
    panels = figures_seeds.dev_auroc_over_seeds(table).axes
    for axes, model in zip(panels, ("teacher", "student", "baseline"), strict=True):
        stars, runs = lines(axes, marker="*"), lines(axes, linewidth=1)
        seeds = table[table["model"] == model].dropna().groupby("seed")
        for star, run, (_, history) in zip(stars, runs, seeds, strict=True):
            assert run.get_xydata() == pytest.approx(history[["epoch", "dev_auroc"]].to_numpy())
            best = history.loc[history["dev_auroc"].idxmax(), ["epoch", "dev_auroc"]]
            assert star.get_xydata()[0] == pytest.approx(best.to_numpy(dtype=float))


def test_mean_line_covers_only_epochs_that_all_seeds_have():
    table = histories().query("model == 'student'")
    (axes,) = figures_seeds.dev_auroc_over_seeds(table).axes
    (mean,) = lines(axes, linewidth=3)
    assert mean.get_xdata().tolist() == [1, 3, 4, 5, 6]
    means = table.groupby("epoch")["dev_auroc"].mean()
    assert mean.get_ydata() == pytest.approx(means[[1, 3, 4, 5, 6]].to_numpy())


def test_best_dev_auroc_is_the_mean_of_each_seeds_best():
    for draw, table, key, form in (
        (figures_seeds.dev_auroc_over_seeds, histories(), "model", "student {:.3f}"),
        (figures_seeds.learning_rates, rates(), "rate", "{:.3f} at 1e-4"),
    ):
        best = table.groupby([key, "seed"])["dev_auroc"].max().groupby(level=0).mean()
        told = form.format(best[{"model": "student", "rate": 1e-4}[key]])
        assert told in style.finding_of(draw(table))


def test_histories_without_any_measurement_still_draw():
    figure = figures_seeds.dev_auroc_over_seeds(histories().assign(dev_auroc=NAN))
    assert style.finding_of(figure) == "No dev AUROC was measured"


def test_cells_hold_the_mean_and_the_range_of_the_counts():
    table = predictions().query("model == 'student'")
    (axes,) = figures_seeds.confusion_over_seeds(table, paper=False).axes
    counts = np.stack(
        [metrics.confusion_matrix(p["label"], p["logit"] > 0) for _, p in table.groupby("seed")]
    ).reshape(-1, 4)
    shown = [text.get_text() for text in axes.texts]
    assert [float(text) for text in shown[::2]] == pytest.approx(counts.mean(axis=0), abs=0.05)
    ranges = [f"({low}–{high})" for low, high in zip(counts.min(0), counts.max(0), strict=True)]
    assert [text.split("\n")[0] for text in shown[1::2]] == ranges


def test_cells_of_one_seed_are_whole_and_have_no_range():
    for axes in figures_seeds.confusion_over_seeds(predictions(1), paper=False).axes:
        shown = [text.get_text() for text in axes.texts]
        assert sum(int(text) for text in shown[::2]) == 60
        assert all(text.endswith("%") and "–" not in text for text in shown[1::2])


def test_a_steady_rate_has_no_step_and_a_jumping_one_has_its_height():
    epoch = np.arange(1, 6)
    flat = pd.DataFrame({"rate": 1e-5, "seed": 0, "epoch": epoch, "dev_auroc": 0.8})
    jumps = flat.assign(rate=1e-3, dev_auroc=0.8 + 0.1 * (epoch % 2))
    axes = figures_seeds.learning_rates(pd.concat([flat, jumps])).axes[1]
    dots = lines(axes, marker="o")
    assert [dot.get_xdata()[0] for dot in dots] == pytest.approx([0, 0.1])


def test_no_rate_has_the_color_of_a_model_class_or_database():
    known = style.MODEL_COLORS | style.CLASS_COLORS | style.DATABASE_COLORS
    assert not set(figures_seeds.RATE_COLORS) & set(known.values())
    curves = figures_seeds.learning_rates(rates()).axes[0]
    means = lines(curves, linewidth=3)
    assert [to_hex(m.get_color()).upper() for m in means] == list(figures_seeds.RATE_COLORS)


@pytest.mark.parametrize("half", [0.004, 5.0])
def test_every_seed_of_every_option_stays_readable_however_wide_the_intervals(half):
    table, seeds = questions(half=half)
    forest = ablations(table, seeds).axes[1]
    drawn = np.concatenate([dots.get_xdata() for dots in lines(forest, marker="o")])
    assert drawn == pytest.approx(seeds["dev_auroc"].to_numpy())
    left, right = forest.get_xlim()
    assert left < drawn.min() and drawn.max() < right
    assert right - left < 3 * np.ptp(drawn)
    arrows = len(lines(forest, marker="<")) + len(lines(forest, marker=">"))
    assert arrows == (0 if half < 1 else 2 * len(table))


def test_each_option_is_printed_with_its_mean_and_difference():
    table, seeds = questions()
    names, _, numbers = ablations(table, seeds).axes
    shown = {text.get_text() for text in numbers.texts}
    assert {f"{mean:.3f}" for mean in table["mean"]} <= shown
    assert {"paper's recipe", "−0.012 (−0.032 to +0.008)"} <= shown
    expected = {*table["question"], *table["option"]}
    assert {text.get_text() for text in names.texts} == expected
