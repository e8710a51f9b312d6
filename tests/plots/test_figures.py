"""Laws of the figures: what is drawn adds up, what is claimed is so, and nothing is cut off."""

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from torch import nn

from hsutils.plots import diagrams, ablations as figures_ablations, beyond as figures_beyond, reliability as figures_calibration, clinic as figures_clinic, cycles as figures_cycles, heart as figures_heart, robustness as figures_robustness, seeds as figures_seeds, shortcuts as figures_shortcuts, trust as figures_trust, style
from hsutils import plots as figures
from hsutils.evaluation.tables import auroc
from hsutils.models.teacher_student import StudentCNN

HOP, MEL_HZ = 0.02, np.geomspace(30, 7000, 50)


def some_recordings(n: int = 120) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "record": [f"a{i:04d}" for i in range(n)],
            "database": rng.choice(list("abcdef"), n),
            "label": rng.integers(0, 2, n),
            "quality": rng.integers(0, 2, n),
            "seconds": rng.uniform(5, 60, n),
        }
    )


def some_splits() -> pd.DataFrame:
    records = some_recordings()["record"]
    names = ["pretrain", "finetune", "dev", "test"]
    return pd.DataFrame({"record": records, "split": np.repeat(names, 30)})


def some_predictions() -> dict[str, pd.DataFrame]:
    rng = np.random.default_rng(1)
    base = some_recordings()[["record", "label"]]
    return {
        model: base.assign(logit=base["label"] - 0.5 + rng.normal(size=len(base)))
        for model in ("student", "teacher", "baseline")
    }


def some_spectrogram(seed: int = 2) -> np.ndarray:
    return np.random.default_rng(seed).uniform(1, 5, (1, 50, 200))


def some_history(n: int = 5) -> pd.DataFrame:
    epoch = np.arange(1, n + 1)
    return pd.DataFrame({"epoch": epoch, "loss": 1 / epoch, "dev_auroc": 0.9 - 0.1 / epoch})


def some_filters() -> tuple[np.ndarray, np.ndarray]:
    hz = np.arange(0, 4000, 100.0)
    filters = np.zeros((len(hz), 4))
    for mel, (low, high) in enumerate(((1, 5), (8, 13), (15, 20), (20, 30))):
        filters[low:high, mel] = 1
    return filters, hz


def some_audit() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "record": list("uvwxyz"),
            "group": ["one", "one", "two", "two", "alone", "one"],
            "split": ["pretrain", "test", "dev", "dev", "test", "pretrain"],
        }
    )


def some_embeddings() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    table = some_recordings()
    points = np.random.default_rng(3).normal(size=(len(table), 8))
    return points, table["label"].to_numpy(), table["database"].to_numpy()


def soft_labels() -> pd.DataFrame:
    rng = np.random.default_rng(4)
    return some_recordings()[["record", "label"]].assign(soft_label=rng.uniform(size=120))


ELSEWHERE = (
    figures_ablations, figures_beyond, figures_calibration, figures_clinic, figures_cycles,
    figures_heart, figures_robustness, figures_seeds, figures_shortcuts, figures_trust,
)  # fmt: skip
"""Their figures are held to the same laws in tests of their own."""

EVERY_FIGURE = {
    "recordings_overview": lambda: figures.recordings_overview(some_recordings()),
    "split_composition": lambda: figures.split_composition(some_recordings(), some_splits()),
    "leaks": lambda: figures.leaks(some_audit()),
    "waveform_and_spectrogram": lambda: figures.waveform_and_spectrogram(
        np.sin(np.arange(8000)), 2000, some_spectrogram(), HOP, MEL_HZ, "a0001"
    ),
    "spectrogram_pair": lambda: figures.spectrogram_pair(
        some_spectrogram(), some_spectrogram(), HOP, MEL_HZ, "a0001"
    ),
    "mel_filters": lambda: figures.mel_filters(*some_filters()),
    "error_gallery": lambda: figures.error_gallery(
        np.stack([some_spectrogram()] * 3), ["a0001", "a0002", "a0003"]
    ),
    "loss_by_epoch": lambda: figures.loss_by_epoch(some_history(), 3.4),
    "dev_auroc_by_epoch": lambda: figures.dev_auroc_by_epoch({"student": some_history()}),
    "soft_label_histogram": lambda: figures.soft_label_histogram(soft_labels()),
    "embedding_map": lambda: figures.embedding_map(*some_embeddings()),
    "roc_curves": lambda: figures.roc_curves(some_predictions()),
    "confusion_matrices": lambda: figures.confusion_matrices(some_predictions()),
    "logit_histograms": lambda: figures.logit_histograms(some_predictions()),
    "errors_by_model": lambda: figures.errors_by_model(some_predictions(), some_recordings()),
    "architecture": lambda: diagrams.architecture(StudentCNN()),
    "training_regime": lambda: diagrams.training_regime({"pretrain": 2040, "dev": 400}),
}


def texts(figure: Figure) -> list[str]:
    return [t.get_text() for axes in figure.axes for t in axes.texts]


def bars(axes) -> np.ndarray:
    return np.array([patch.get_width() for patch in axes.patches])


@pytest.mark.parametrize("name", EVERY_FIGURE)
def test_headline_and_words_are_not_cut_off_by_the_page(name):
    figure = EVERY_FIGURE[name]()
    figure.draw_without_rendering()
    for text in (figure._suptitle, *(text for axes in figure.axes for text in axes.texts)):
        box = text.get_window_extent()
        assert box.x0 >= 0 and box.x1 <= figure.bbox.x1, text.get_text()
        assert box.y0 >= 0 and box.y1 <= figure.bbox.y1, text.get_text()


@pytest.mark.parametrize("name", sorted(figures.__all__))
def test_every_public_figure_is_held_to_these_laws(name):
    assert (
        name in EVERY_FIGURE
        or name in ("apply_style", "save_figure")
        or any(hasattr(module, name) for module in ELSEWHERE)
    )


@pytest.mark.parametrize("name", ["roc_curves", "recordings_overview", "architecture"])
def test_saving_the_same_figure_twice_gives_the_same_bytes(name, tmp_path):
    first, second = (
        style.save_figure(EVERY_FIGURE[name](), tmp_path / folder, "f") for folder in "ab"
    )
    assert first == tmp_path / "a" / "f.png"
    assert first.read_bytes() == second.read_bytes()
    assert first.with_suffix(".svg").read_bytes() == second.with_suffix(".svg").read_bytes()
    assert sorted(p.name for p in first.parent.iterdir()) == ["f.png", "f.svg"]


def test_a_figure_shows_itself_as_png_and_leaves_pyplot_alone():
    from matplotlib import pyplot

    assert EVERY_FIGURE["loss_by_epoch"]()._repr_png_().startswith(b"\x89PNG")
    assert pyplot.get_fignums() == []


def test_drawing_leaves_the_callers_settings_alone():
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    EVERY_FIGURE["roc_curves"]()
    assert dict(mpl.rcParams) == before


def test_no_two_models_classes_or_databases_share_a_color():
    for palette in (style.MODEL_COLORS, style.CLASS_COLORS, style.DATABASE_COLORS):
        assert len({c.lower() for c in palette.values()}) == len(palette)
    assert not set(style.MODEL_COLORS.values()) & set(style.CLASS_COLORS.values())


def test_bars_of_the_overview_add_up_to_the_recordings():
    axes = figures.recordings_overview(some_recordings()).axes[0]
    assert bars(axes).sum() == len(some_recordings())


def test_shares_of_each_split_add_up_to_one():
    figure = figures.split_composition(some_recordings(), some_splits())
    for axes in figure.axes:
        assert bars(axes).sum() == pytest.approx(4)


def test_leaks_counts_only_groups_that_straddle():
    figure = figures.leaks(some_audit())
    assert style.finding_of(figure) == "3 recordings have kin in another split, in 1 group"
    assert sorted(texts(figure)) == ["1", "2"]


def test_leaks_says_so_when_there_are_none():
    for kept in (some_audit().query("group != 'one'"), some_audit().head(0)):
        assert style.finding_of(figures.leaks(kept)).startswith("No group of related")


def test_only_cells_that_augmentation_changed_are_tinted():
    original, augmented = some_spectrogram(), some_spectrogram()
    original[:, :5] = augmented[:, :5] = augmented[:, 10:20] = 0
    figure = figures.spectrogram_pair(original, augmented, HOP, MEL_HZ, "a0001")
    (_, clean), (_, tinted) = (axes.images for axes in figure.axes[:2])
    assert clean.get_array().count() == 0
    assert tinted.get_array().count() == 10 * 200
    assert "20%" in style.finding_of(figure)


def test_filters_above_the_recordings_nyquist_are_counted():
    figure = figures.mel_filters(*some_filters())
    assert style.finding_of(figure).startswith("2 of 4 mel filters lie wholly above 1 kHz")
    legend = [t.get_text() for t in figure.axes[0].get_legend().get_texts()]
    assert legend == ["1 wholly below 1 kHz", "1 across 1 kHz", "2 wholly above 1 kHz"]


@pytest.mark.parametrize(("losses", "verb"), [((2, 1), "falls"), ((1, 2), "rises")])
def test_loss_headline_says_which_way_it_went(losses, verb):
    figure = figures.loss_by_epoch(pd.DataFrame({"epoch": [1, 2], "loss": losses}))
    assert verb in style.finding_of(figure)


def test_best_epoch_is_starred_even_when_some_were_not_measured():
    history = some_history().assign(dev_auroc=[0.6, np.nan, 0.9, np.nan, 0.8])
    axes = figures.dev_auroc_by_epoch({"student": history}).axes[0]
    (star,) = [line for line in axes.lines if line.get_marker() == "*"]
    assert (star.get_xdata()[0], star.get_ydata()[0]) == (3, 0.9)


def test_histories_without_any_measurement_still_draw():
    figure = figures.dev_auroc_by_epoch({"teacher": some_history().assign(dev_auroc=np.nan)})
    assert style.finding_of(figure) == "No dev AUROC was measured"


def test_area_under_each_drawn_roc_curve_is_the_printed_auroc():
    predictions = some_predictions()
    curve, areas = figures.roc_curves(predictions).axes
    drawn = {line.get_label(): line.get_xydata().T for line in curve.lines}
    printed = {t.get_text() for t in areas.texts}
    for model, p in predictions.items():
        area = np.trapezoid(*drawn[model][::-1])
        assert area == pytest.approx(auroc(p["label"], p["logit"]))
        assert f"{area:.3f}" in printed


def test_confusion_cells_hold_every_recording_once():
    predictions = some_predictions()
    figure = figures.confusion_matrices(predictions, paper=False)
    for axes in figure.axes:
        assert sum(int(t.get_text()) for t in axes.texts if "%" not in t.get_text()) == 120


def test_histograms_hold_every_recording_once():
    for axes in figures.logit_histograms(some_predictions()).axes:
        assert sum(patch.get_height() for patch in axes.patches) == 120
    (axes,) = figures.soft_label_histogram(soft_labels()).axes
    assert sum(patch.get_height() for patch in axes.patches) == 120


def test_soft_labels_are_drawn_without_true_labels_too():
    figure = figures.soft_label_histogram(soft_labels().drop(columns="label"))
    assert "truly" not in style.finding_of(figure)


def test_misses_add_up_to_the_recordings():
    (axes,) = figures.errors_by_model(some_predictions()).axes
    assert sum(patch.get_height() for patch in axes.patches) == 120


def test_neighbors_of_two_far_clusters_share_them_always():
    rng = np.random.default_rng(5)
    clusters = np.repeat([0, 1], 50)
    points = rng.normal(size=(100, 4)) + 100 * clusters[:, None]
    databases = np.array(["a", "e"])[clusters]
    finding = style.finding_of(figures.embedding_map(points, clusters, databases))
    assert finding.count("100% of the time (chance 49%)") == 2


def test_a_recording_is_not_its_own_nearest_neighbor():
    points = np.arange(6.0)[:, None] // 2 * [10, 1]
    finding = style.finding_of(figures.embedding_map(points, [0, 1] * 3, list("ae" * 3)))
    assert finding.count(" 0% of the time") == 2


def test_architecture_names_the_total_and_every_layers_share():
    figure = EVERY_FIGURE["architecture"]()
    assert "5,838,465 parameters" in style.finding_of(figure)
    counts = [t for t in texts(figure) if t.endswith(" parameters")]
    assert sum(int(t.split()[0].replace(",", "")) for t in counts) == 5_838_465
    assert "64 × 22 × 1,400" in texts(figure) and "44,800" in texts(figure)


def test_tracing_changes_neither_modes_nor_statistics_nor_hooks():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout())
    model[3].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    diagrams.trace(model, (1, 8, 8))
    assert [m.training for m in model] == [True, True, True, False]
    assert not any(m._forward_hooks for m in model.modules())
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name])


def test_layers_that_keep_the_shape_join_the_layer_before():
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1), nn.Flatten(0))
    assert [s.names for s in diagrams.trace(model, (8,))] == [
        ["input"],
        ["linear 8 → 8", "ReLU"],
        ["linear 8 → 1"],
    ]


def test_parameters_a_forward_pass_never_meets_are_owned_up_to():
    class Sleeper(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = nn.Linear(3, 1), nn.Linear(3, 4)

        def forward(self, x):
            return self.used(x)

    finding = style.finding_of(diagrams.architecture(Sleeper(), (3,)))
    assert "20 parameters" in finding and "16 lie off this path" in finding


def test_training_regime_shows_the_counts_it_was_given():
    figure = diagrams.training_regime({"pretrain": 1, "finetune": 22, "dev": 333, "test": 4444})
    for count in ("1", "22", "333", "4,444"):
        assert f"{count} recordings" in texts(figure)


@pytest.mark.parametrize("paper", [True, False])
def test_the_papers_auroc_is_marked_only_when_asked(paper):
    _, areas = figures.roc_curves(some_predictions(), paper=paper).axes
    assert ("paper" in {line.get_label() for line in areas.lines}) == paper
    assert any(line.get_marker() == "D" for line in areas.lines) == paper


def test_no_line_of_a_headline_is_left_nearly_empty():
    figure, _ = style.new_page()
    style.headline(figure, "seven letter words " * 5 + "end")
    first, second = figure.get_suptitle().split("\n")
    assert len(second) > len(first) / 2
