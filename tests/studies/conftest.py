"""Two seeds that were trained in seconds, and how profiles differ."""

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import TINY_SETTINGS

MODELS = ("teacher", "student", "baseline")


@pytest.fixture(scope="session")
def tiny_study(tiny_data: Path) -> Callable:
    """Makes studies of the tiny recordings in a folder: (folder, seeds) -> Study."""
    from hsutils.studies.seeds import Study

    own = {"data.folder": str(tiny_data / "recordings"), "splits.lists": str(tiny_data)}
    own |= {"pretrain.epochs": 1, "finetune.epochs": 1}  # The teacher is the largest by far.
    settings = tuple(f"{key}={value}" for key, value in (TINY_SETTINGS | own).items())
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
