"""Small tables for every figure, and what is drawn of them."""

from collections.abc import Callable, Sequence
from functools import cache
from hashlib import sha256
from io import BytesIO
from itertools import product
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from hsutils import plots
from hsutils.audio.heart_cycles import BANDS, PHASES, Rhythm
from hsutils.models.teacher_student import StudentCNN

MODELS = ("teacher", "student", "baseline")
EVERY = ("database only", "format only", "band statistics", *MODELS)
METRICS = ("auroc", "sensitivity", "specificity", "accuracy", "macc", "f1", "ppv", "npv")
PROTOCOLS = ("within one database", "all pairs", "unseen database")
LABELS = {"hop_seconds": 0.02, "mel_hz": np.geomspace(50, 900, 24)}


def grid(**levels: Sequence) -> pd.DataFrame:
    """A row for every combination."""
    return pd.DataFrame(product(*levels.values()), columns=[*levels])


def around(table: pd.DataFrame, column: str, values: object, half: float = 0.03) -> pd.DataFrame:
    """With a column of values and an interval about it; what is too short is repeated."""
    values = np.resize(values, len(table))
    return table.assign(**{column: values, "low": values - half, "high": values + half})


def predictions(seeds: int = 1) -> dict[str, pd.DataFrame]:
    made = {}
    for model, skill in zip(MODELS, (2.0, 1.5, 0.7), strict=True):
        table = grid(seed=range(seeds), record=[f"a{k:04d}" for k in range(80)])
        label, noise = (
            np.arange(len(table)) % 2,
            np.random.default_rng(0).normal(0, 1.5, len(table)),
        )
        logit = skill * (2 * label - 1) + noise - 3 * (model == "baseline")
        made[model] = table.assign(group=table["record"], label=label, logit=logit)
    return made if seeds > 1 else {m: p.drop(columns="seed") for m, p in made.items()}


def histories(seeds: int = 1) -> dict[str, pd.DataFrame]:
    """Model -> dev AUROC that rises to epoch 4 and falls; seed 1 ends an epoch early."""
    table = grid(seed=range(seeds), epoch=range(1, 6)).query("seed != 1 or epoch < 5")
    dev = 0.7 + 0.04 * np.minimum(table["epoch"], 8 - table["epoch"]) + 0.01 * table["seed"]
    return dict.fromkeys(MODELS, table.assign(dev_auroc=dev, loss=1 / table["epoch"]))


def make_tables() -> dict:
    """Tables of the figures, with the values that the tests look for."""
    rng, nan = np.random.default_rng(0), np.nan
    made = {"test": predictions(), "histories": histories()}
    made["soft_labels"] = made["test"]["teacher"].assign(soft_label=np.linspace(0, 1, 80))
    made["databases"] = made["test"]["teacher"][["record"]].assign(database=[*"abcdef" * 14][:80])
    every = pd.DataFrame({"record": np.arange(240).astype(str), "label": np.arange(240) % 3 // 2})
    every["database"] = rng.choice([*"abcdef"], 240, p=[0.2, 0.2, 0.05, 0.05, 0.4, 0.1])
    every["quality"], every["levels"] = rng.integers(0, 2, 240), rng.integers(10, 9_000, 240)
    made["recordings"] = every.assign(seconds=rng.uniform(5, 110, 240))
    splits = np.resize(["pretrain", "finetune", "dev", "test"], 240)
    made["splits"] = every[["record"]].assign(split=splits)
    made["audit"] = grid(group=[f"g{k}" for k in range(25)], split=("pretrain", "test"))
    made["audit"] = made["audit"].assign(record=range(50), split=["dev"] * 2 + ["dev", "test"] * 24)
    table = around(grid(model=MODELS, metric=METRICS), "value", np.linspace(0.9, 0.3, 24))
    ends = {"seed_min": table["value"] - 0.01, "seed_max": table["value"] + 0.01}
    made["intervals"] = table.assign(**ends)
    table = grid(a=("teacher", "student"), seed=range(3), metric=("auroc", "accuracy"))
    table = around(table, "difference", np.linspace(-0.02, 0.08, 12))
    p = np.repeat([0.28, 0.0002, nan] * 2, 2)
    made["paired"] = table.assign(b=["student"] * 6 + ["baseline"] * 6, p=p)
    ends = {"auroc_kept": 0.91, "low_kept": 0.88, "high_kept": 0.95}
    ends |= {"change": -0.01, "low_change": -0.02, "high_change": 0.0001}
    table = around(grid(model=EVERY), "auroc", 0.92)
    made["leak_effect"] = table.assign(n=400, dropped=7, **ends)
    table = grid(database=[*"abcdef"], fact=("peak", "per_second"))
    made["separation"] = around(table, "auroc", np.linspace(0.3, 1, 12))
    table = grid(model=EVERY, protocol=PROTOCOLS, database=(nan, "a", "b", "e"))
    table = table[(table["protocol"] != "all pairs") | table["database"].isna()]
    pooled = around(grid(model=EVERY, protocol=PROTOCOLS[:1], database=["not e"]), "auroc", 0.58)
    alone = around(grid(model=["teacher"], protocol=PROTOCOLS[:1], database="c"), "auroc", 0.9, nan)
    made["heart"] = pd.concat([around(table, "auroc", [0.5, 0.3, 0.6, 0.04]), pooled, alone])
    table = pd.DataFrame({"name": ["own", "paper: teacher", "best"], "model": MODELS[::-1]})
    made["unseen"] = around(table, "auroc", [0.7, 0.5, 0.8])
    seeds = table.merge(grid(database=[*"abcdef"], seed=(0, 1)), how="cross")
    made["by_database"] = seeds.assign(auroc=np.resize([0.03, 0.05], len(seeds)))
    table = grid(name=("wider", "focal loss"), model=["baseline"], seeds=[3])
    made["changes"] = around(table, "difference", [0.03, -0.02])
    questions = ["Does the student need probabilities, and not decisions alone?", "Is pre-training"]
    table = grid(question=questions, option=("as in the paper", "other"))
    table = around(table.assign(model=np.repeat(MODELS[:2], 2)), "mean", [0.9, 0.87], 0.01)
    ends = {"difference": [nan, -0.03] * 2, "difference_low": -0.05, "difference_high": -0.01}
    made["ablations"] = table.assign(last_epoch=0.89, **ends)
    table = made["ablations"].merge(grid(seed=(-1, 0, 1)), how="cross")
    made["seeds"] = table.assign(dev_auroc=table["mean"] + 0.004 * table["seed"])
    made["seeds"] = made["seeds"][["question", "option", "seed", "dev_auroc"]]
    table = grid(model=MODELS, subset=("usable", "too noisy"))
    made["quality"] = around(table, "auroc", 0.9).assign(recordings=[343, 57] * 3)
    table = grid(model=MODELS, shortest=(5.3, 14.3)).assign(longest=[14.2, 23.3] * 3)
    made["lengths"] = around(table, "auroc", 0.8).assign(recordings=100)
    parts = [grid(perturbation=[kind], level=levels, model=MODELS) for kind, levels in
             (("none", [nan]), ("white noise", (20, 10, 0)), ("clipping", (0.5, 0.1)))]  # fmt: skip
    table = pd.concat(parts).assign(unit="dB SNR")
    made["robustness"] = around(table, "auroc", [0.95] * 3 + [0.8] * 15)
    table = grid(features=("format facts", "band statistics", "teacher", "student"))
    made["probe"] = around(table.assign(chance=0.17), "balanced_accuracy", 0.8)
    table = grid(model=MODELS, prevalence=np.geomspace(0.005, 0.5, 20))
    share = table["prevalence"]
    ends = {"ppv_low": share / 2, "ppv_high": 1.0, "npv_low": 0.9 - share, "npv_high": 1.0}
    made["prevalence"] = table.assign(ppv=share, npv=1 - share, **ends)
    table = grid(model=MODELS, calibration=("as trained", "temperature"))
    made["scores"] = table.assign(ece=0.068, brier=0.114)
    table = table.merge(grid(mean_probability=np.linspace(0.05, 0.95, 5)), how="cross")
    made["reliability"] = around(table, "observed", table["mean_probability"] ** 2, 0.05)
    table = grid(prevalence=(0.5, 0.205), model=(*MODELS, "all", "none"), threshold=(0.1, 0.3))
    benefit = table["prevalence"] * (0.9 - table["threshold"])
    made["decision"] = table.assign(net_benefit=benefit)
    ends = {"sensitivity": 0.8, "sensitivity_low": 0.7, "sensitivity_high": 0.85}
    ends |= {"specificity": 0.9, "specificity_low": 0.85, "specificity_high": 0.92}
    table = grid(model=MODELS, rule=("logit 0", "Youden")).assign(threshold=[0, -0.25] * 3)
    made["thresholds"] = table.assign(**ends)
    cells = grid(phase=PHASES, band=range(1, BANDS + 1))
    made["weights"] = cells.astype({"band": str}).assign(weight=0.01)
    table = grid(database=[*"abe"], label=(0, 1)).merge(cells, how="cross")
    louder = 3.0 * table["label"] * (table["phase"] == "S2")
    made["cycles"] = table.assign(value=louder).query("database != 'e' or label")
    made["counts"] = {"pretrain": 2_040, "finetune": 400, "dev": 401, "test": 402}
    made["wave"], made["pictures"] = rng.normal(0, 0.1, 12_000), rng.normal(size=(5, 1, 24, 60))
    made["rhythm"] = Rhythm(np.arange(0.3, 6, 0.8), np.full(8, 0.3), 0.8, 0.9)
    made["filters"] = np.clip(1 - abs(np.arange(60)[:, None] - 2.5 * np.arange(24)) / 4, 0, 1)
    return made | {"embeddings": rng.normal(size=(240, 8)), "cycle": np.ones((7, 8))}


TABLES = {
    **{"recordings_overview": ["recordings"], "leaks": ["audit"], "stored_levels": ["recordings"]},
    **{"split_composition": ["recordings", "splits"], "mean_cycles": ["cycles", "weights"]},
    **{"training_regime": ["counts"], "ablations": ["ablations", "seeds"], "changes": ["changes"]},
    **{"heart_or_stethoscope": ["heart"], "intervals": ["intervals"], "separation": ["separation"]},
    **{
        "leak_effect": ["leak_effect"],
        "paired_differences": ["paired"],
        "database_probe": ["probe"],
    },
    **{"quality": ["quality", "lengths"], "robustness": ["robustness"], "roc_curves": ["test"]},
    **{"unseen_databases": ["unseen", "by_database"], "reliability": ["reliability", "scores"]},
    **{"decision_curves": ["decision"], "prevalence_curves": ["prevalence"]},
    **{"threshold_rules": ["thresholds"], "confusion_matrices": ["test"]},
    **{"errors_by_model": ["test", "databases"], "logit_histograms": ["test"]},
    **{"soft_label_histogram": ["soft_labels"], "dev_auroc_by_epoch": ["histories"]},
}
"""Figure -> the tables it draws."""

FIGURES: dict[str, Callable[[dict], Figure]] = {
    name: lambda t, name=name, keys=keys: getattr(plots, name)(*(t[key] for key in keys))
    for name, keys in TABLES.items()
}
FIGURES |= {
    "architecture": lambda t: plots.architecture(StudentCNN()),
    "beats_and_cycle": lambda t: plots.beats_and_cycle(t["wave"], t["rhythm"], t["cycle"], "a"),
    "thousand_people": lambda t: plots.thousand_people(0.8, 0.9, 0.02, "the student"),
    "mel_filters": lambda t: plots.mel_filters(t["filters"], np.linspace(0, 2_000, 60)),
    "loss_by_epoch": lambda t: plots.loss_by_epoch(t["histories"]["teacher"], 0.7, "loss (nats)"),
    "spectrogram_gallery": lambda t: plots.spectrogram_gallery(
        t["pictures"], [f"a000{k}, abnormal: teacher −3.10, student −2.90" for k in range(5)],
        **LABELS, title="The hardest recordings",
    ),
    "spectrogram_pair": lambda t: plots.spectrogram_pair(
        t["pictures"][0], t["pictures"][0] * (np.arange(60) > 14), **LABELS, record="a0001"
    ),
    "waveform_and_spectrogram": lambda t: plots.waveform_and_spectrogram(
        t["wave"][:2_400], 2_000, t["pictures"][0], **LABELS, title="a0001: normal"
    ),
    "embedding_map": lambda t: plots.embedding_map(
        {"before": t["embeddings"], "after": 9 * t["embeddings"]},
        t["recordings"]["label"], t["recordings"]["database"],
    ),
}  # fmt: skip


def drawn_words(figure: Figure) -> list[Text]:
    """Every text that a drawing of the figure shows."""
    seen = []

    def record(text: Text, *args: object, **kwargs: object) -> None:
        if text.get_visible() and text.get_text().strip():
            seen.append(text)

    figure.draw_without_rendering()
    with patch.object(Text, "draw", autospec=True, side_effect=record):
        figure.draw_without_rendering()
    return seen


@pytest.fixture
def tables() -> dict:
    return make_tables()


@pytest.fixture(params=FIGURES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def figures() -> dict[str, Callable[[dict], Figure]]:
    """Public figure -> how it is drawn of `tables`."""
    return FIGURES


def pixels(figure: Figure) -> str:
    """A digest of the figure as drawn for the first time."""
    buffer = BytesIO()
    figure.savefig(buffer, format="raw")
    return sha256(buffer.getvalue()).hexdigest()


@cache
def drawn(name: str) -> tuple[Figure, str]:
    figure = FIGURES[name](make_tables())
    return figure, pixels(figure)


@pytest.fixture
def draw() -> Callable[[str], Figure]:
    """A public figure by its name, drawn once."""
    return lambda name: drawn(name)[0]


@pytest.fixture
def redrawn(tables: dict) -> Callable[[str], bool]:
    """Whether a public figure drawn once more is the same to the pixel."""
    return lambda name: pixels(FIGURES[name](tables)) == drawn(name)[1]


@pytest.fixture
def words() -> Callable[[Figure], list[Text]]:
    return drawn_words


@pytest.fixture
def several_seeds() -> dict:
    """Predictions of two seeds, histories of three."""
    return {"test": predictions(seeds=2), "histories": histories(seeds=3)}
