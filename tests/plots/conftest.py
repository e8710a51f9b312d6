"""Small tables for every figure, and what is drawn of them."""

from collections.abc import Callable, Sequence
from functools import cache
from itertools import product

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure

from hsutils import plots
from hsutils.audio.beats import Rhythm
from hsutils.audio.heart_cycles import BANDS, PHASES
from hsutils.config import CHECKOUT
from hsutils.models.teacher_student import StudentCNN

MODELS = ("teacher", "student", "baseline")
EVERY = ("database only", "format only", "band statistics", *MODELS)
TRUST = CHECKOUT / "figures" / "trust"
METRICS = ("auroc", "sensitivity", "specificity", "accuracy", "macc", "f1", "ppv", "npv")
PROTOCOLS = ("within one database", "all pairs", "unseen database")


def grid(**levels: Sequence) -> pd.DataFrame:
    """A row for every combination."""
    return pd.DataFrame(product(*levels.values()), columns=[*levels])


def around(table: pd.DataFrame, column: str, values: object, half: float = 0.03) -> pd.DataFrame:
    """With a column of values and an interval about it; what is too short is repeated."""
    values = np.resize(values, len(table))
    return table.assign(**{column: values, "low": values - half, "high": values + half})


def predictions(seeds: int = 1) -> dict[str, pd.DataFrame]:
    table = grid(seed=range(seeds), record=[f"a{k:04d}" for k in range(80)])
    label, noise = np.arange(len(table)) % 2, np.random.default_rng(0).normal(0, 1.5, len(table))
    table = table.assign(group=table["record"], label=label)
    table = table if seeds > 1 else table.drop(columns="seed")
    skills = zip(MODELS, ((2.0, 0), (1.5, 0), (0.7, -3)), strict=True)
    return {m: table.assign(logit=a * (2 * label - 1) + noise + b) for m, (a, b) in skills}


def histories(seeds: int = 1) -> dict[str, pd.DataFrame]:
    """Model -> dev AUROC that rises to epoch 4 and falls; seed 1 ends an epoch early."""
    table = grid(seed=range(seeds), epoch=range(1, 6)).query("seed != 1 or epoch < 5")
    dev = 0.7 + 0.04 * np.minimum(table["epoch"], 8 - table["epoch"]) + 0.01 * table["seed"]
    return dict.fromkeys(MODELS, table.assign(dev_auroc=dev, loss=1 / table["epoch"]))


@cache
def made() -> dict[str, tuple]:
    """Figure -> the arguments it is drawn of, with the values that the tests look for."""
    rng, nan, made = np.random.default_rng(0), np.nan, {}
    names = ["roc_curves", "confusion_matrices", "score_histograms"]
    made |= dict.fromkeys(names, (predictions(),))
    made["dev_auroc_by_epoch"] = (histories(),)
    history = histories()["teacher"]
    made["loss_by_epoch"] = (history, "loss (nats)", "teacher", {"chance": 0.7})
    made["architecture"] = (StudentCNN(),)
    made["training_regime"] = ({"pretrain": 2_040, "finetune": 400, "dev": 401, "test": 402},)
    angles = torch.tensor([[0.2, 1.3, 2.8, 4.8], [0.8, 1.9, 3.8, 5.7]])
    views = torch.stack([angles.cos(), angles.sin()], dim=-1)
    made |= {"contrast": (*views, 0.5), "similarities": (*views, 0.07), "distillation": ()}
    every = pd.DataFrame({"record": np.arange(240).astype(str), "label": np.arange(240) % 3 // 2})
    every["database"] = rng.choice([*"abcdef"], 240, p=[0.2, 0.2, 0.05, 0.05, 0.4, 0.1])
    every["quality"], every["seconds"] = rng.integers(0, 2, 240), rng.uniform(5, 110, 240)
    made["recordings_overview"] = (every,)
    split = np.resize(["pretrain", "finetune", "dev", "test"], 240)
    made["split_composition"] = (every, every[["record"]].assign(split=split))
    points = rng.normal(size=(240, 8))
    points = {"before": points, "after": 9 * points}
    made["embedding_map"] = (points, every["label"], every["database"])
    cells = grid(phase=PHASES, band=range(1, BANDS + 1))
    cycles = grid(database=[*"abe"], label=(0, 1)).merge(cells, how="cross")
    cycles = cycles.assign(value=3.0 * cycles["label"] * (cycles["phase"] == "S2"))
    weights = cells.astype({"band": str}).assign(weight=0.01)
    made["mean_cycles"] = (cycles.query("database != 'e' or label"), weights)
    wave, pictures = rng.normal(0, 0.1, 12_000), rng.normal(size=(5, 1, 24, 60))
    rhythm = Rhythm(np.arange(0.3, 6, 0.8), np.full(8, 0.3), 0.8, 0.9)
    made["beats_and_cycle"] = (wave, rhythm, np.ones((7, 8)), "a0001")
    filters = np.clip(1 - abs(np.arange(60)[:, None] - 2.5 * np.arange(24)) / 4, 0, 1)
    made["mel_filters"] = (filters, np.linspace(0, 2_000, 60))
    axes = (0.02, np.geomspace(50, 900, 24))  # Seconds a frame, hertz of the mels.
    captions = [f"a000{k}, abnormal: teacher −3.10, student −2.90" for k in range(5)]
    made["spectrogram_gallery"] = (pictures, captions, *axes, "The hardest recordings")
    hidden = pictures[0] * (np.arange(60) > 14)
    made["spectrogram_pair"] = (pictures[0], hidden, *axes, "a0001")
    made["waveform_and_spectrogram"] = (wave[:2_400], 2_000, pictures[0], *axes, "a0001: normal")
    table = around(grid(model=MODELS, metric=METRICS), "value", np.linspace(0.9, 0.3, 24))
    ends = {"seed_min": table["value"] - 0.01, "seed_max": table["value"] + 0.01}
    made["intervals"] = (table.assign(**ends),)
    table = grid(a=("teacher", "student"), seed=range(3), metric=("auroc", "accuracy"))
    table = around(table, "difference", np.linspace(-0.02, 0.08, 12))
    p = np.repeat([0.28, 0.0002, nan] * 2, 2)
    made["paired_differences"] = (table.assign(b=["student"] * 6 + ["baseline"] * 6, p=p),)
    table = grid(database=[*"abcdef"], fact=("peak", "per_second"))
    made["separation"] = (around(table, "auroc", np.linspace(0.3, 1, 12)),)
    table = grid(model=EVERY, protocol=PROTOCOLS, database=(nan, "a", "b", "e"))
    table = table[(table["protocol"] != "all pairs") | table["database"].isna()]
    pooled = around(grid(model=EVERY, protocol=PROTOCOLS[:1], database=["not e"]), "auroc", 0.58)
    alone = around(grid(model=["teacher"], protocol=PROTOCOLS[:1], database="c"), "auroc", 0.9, nan)
    table = pd.concat([around(table, "auroc", [0.5, 0.3, 0.6, 0.04]), pooled, alone])
    rest = around(grid(model=EVERY, protocol=PROTOCOLS[1:2], database=["not e"]), "auroc", 0.65)
    made["heart_or_stethoscope"] = (pd.concat([table, rest]),)
    table = pd.DataFrame({"name": ["own", "paper: teacher", "best"], "model": MODELS[::-1]})
    means = around(table.assign(database="mean"), "value", [0.7, 0.5, 0.8])
    single = table.merge(grid(database=["worst", *"abcdef"], value=[0.04]), how="cross")
    made["unseen_databases"] = (pd.concat([means, single]),)
    table = grid(name=("wider", "focal loss"), model=["baseline"], seeds=[3])
    made["changes"] = (around(table, "value", [0.03, -0.02]),)
    table = grid(model=MODELS[:2], variant=("paper", "other"), seed=("0", "1", "mean"))
    table = around(table.assign(metric="auroc"), "value", [0.90, 0.92, 0.91, 0.86, 0.88, 0.87])
    means = table[table["seed"] == "mean"]
    last = means.assign(metric="auroc, last epoch", value=0.89)
    change = means[means["variant"] == "other"].assign(metric="auroc, difference", value=-0.04)
    test = change.assign(metric="p", value=0.2)
    made["ablations"] = (pd.concat([table, last, change, test], ignore_index=True),)
    files = {"quality": ["quality", "length"], "stored_levels": ["facts"]}
    files |= {"leak_effect": ["leak_effect"], "robustness": ["robustness"]}
    for name, parts in (files | {"database_probe": ["probe"]}).items():
        made[name] = tuple(pd.read_csv(TRUST / f"{part}.csv") for part in parts)
    scores = grid(model=MODELS, calibration=("as trained", "temperature"))
    table = scores.merge(grid(mean_probability=np.linspace(0.05, 0.95, 5)), how="cross")
    table = around(table, "observed", table["mean_probability"] ** 2, 0.05)
    made["reliability"] = (table, scores.assign(ece=0.068, brier=0.114))
    ends = {"sensitivity": 0.8, "sensitivity_low": 0.7, "sensitivity_high": 0.85}
    ends |= {"specificity": 0.9, "specificity_low": 0.85, "specificity_high": 0.92}
    rules = grid(model=MODELS, rule=("logit 0", "Youden")).assign(threshold=[0, -0.25] * 3)
    made["threshold_rules"] = (rules.assign(**ends),)
    made["decisions"] = (predictions()["student"], -0.25, 0.02, "student")
    seen = (wave, rhythm, pictures[0, 0], pictures[1, 0], *axes, "a0001: normal")
    made["where_it_looked"] = (*seen, 0.0, None, pictures[0, 0] > 1)
    return made


@cache
def drawn(name: str) -> Figure:
    return getattr(plots, name)(*made()[name])


@pytest.fixture
def given() -> dict[str, tuple]:
    return made()


@pytest.fixture(params=made())
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def draw() -> Callable[[str], Figure]:
    """A public figure by its name, drawn once."""
    return drawn


@pytest.fixture
def several_seeds() -> dict:
    """Predictions of two seeds, histories of three."""
    return {"test": predictions(seeds=2), "histories": histories(seeds=3)}
