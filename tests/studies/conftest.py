"""Inputs of studies that nobody had to train, and two seeds that were trained in seconds."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import TINY_SETTINGS

MODELS = ("teacher", "student", "baseline")


@pytest.fixture(scope="session")
def tiny_study(tiny_data: Path) -> Callable:
    """Makes studies of the tiny recordings in a folder: (folder, seeds) -> Study."""
    from hsutils.studies.seeds import Study

    where = {"data.folder": str(tiny_data / "recordings"), "splits.lists": str(tiny_data)}
    settings = tuple(f"{key}={value}" for key, value in (TINY_SETTINGS | where).items())
    return lambda folder, seeds=(0, 1): Study("demo", seeds, settings, str(folder / "tiny"))


@pytest.fixture(scope="session")
def trained(tiny_study: Callable, tmp_path_factory: pytest.TempPathFactory):
    """A study with two trained seeds, one variant, and database b left out with the first seed."""
    from hsutils.studies import new_databases
    from hsutils.studies.reproduction import VARIANTS
    from hsutils.studies.seeds import Study, train

    study: Study = tiny_study(tmp_path_factory.mktemp("study"))
    for seed in study.seeds:
        train(study.run(seed))
    model, change = VARIANTS["hard-decisions"]
    train(study.run(0, "hard-decisions", change(study.profile)), [model])
    one = tiny_study(Path(study.base).parent, (0,))
    for _, database, run in new_databases.runs(one, ["paper"]):
        if database == "b":
            train(run, MODELS)
    return study


@pytest.fixture(scope="session")
def differing() -> Callable:
    """Names the fields `table.key` in which two profiles differ."""

    def flat(profile) -> dict:
        tables = {k: v for k, v in profile.model_dump().items() if isinstance(v, dict)}
        return {f"{t}.{k}": v for t, part in tables.items() for k, v in part.items()}

    return lambda one, other: {k for k, v in flat(one).items() if v != flat(other)[k]}


def logits(rng: np.random.Generator, label: np.ndarray, strength: float) -> np.ndarray:
    return strength * (2 * label - 1) + rng.normal(0, 1.5, len(label))


@pytest.fixture(scope="session")
def make_reproduction() -> Callable:
    """Makes inputs of the reproduction: (seeds, whether they are the paper's) -> tables."""

    def make(seeds=(0, 1, 2), papers: bool = True) -> dict[str, pd.DataFrame]:
        rng, parts = np.random.default_rng(0), []
        names = [("paper", model, seed) for model in MODELS for seed in seeds]
        changed = [("hard-decisions", "student", s) for s in seeds]
        changed += [("few-labels", "student", s) for s in seeds]
        changed += [("ten-times-the-rate", "student", seeds[0])]
        for split in ("dev", "test"):
            label = np.arange(80) % 2
            table = pd.DataFrame({"split": split, "database": "a", "label": label})
            table.insert(2, "group", np.arange(80) // 2)
            for variant, model, seed in names + (changed if split == "dev" else []):
                strength = {"teacher": 1.2, "student": 1.0, "baseline": 0.4}[model]
                strength -= 0.3 * (variant == "few-labels")
                table[f"{variant}/{model}/{seed}"] = logits(rng, label, strength)
            parts.append(table)
        rows = [
            (*name, epoch, 0.5, 0.6 + 0.1 * epoch + rng.normal(0, 0.02), 1.0)
            for name in names + changed
            for epoch in (1, 2, 3)
        ]
        columns = ["variant", "model", "seed", "epoch", "loss", "dev_auroc", "seconds"]
        trainings = pd.DataFrame(names + changed, columns=columns[:3])
        rate = np.where(trainings.variant.eq("ten-times-the-rate"), 1e-3, 1e-4)
        return {
            "predictions": pd.concat(parts, ignore_index=True),
            "histories": pd.DataFrame(rows, columns=columns),
            "trainings": trainings.assign(is_the_papers=papers, learning_rate=rate),
        }

    return make
