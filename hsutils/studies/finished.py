"""Models that runs have trained, as `beyond` gathers them."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from hsutils.studies.cost import cost
from hsutils.studies.evidence import STAGES, finished
from hsutils.experiment import Run
from hsutils.files import read_json
from hsutils.models.build import MODELS, new_network
from hsutils.pipeline import saved_predictions
from hsutils.studies.study import Study
from hsutils.studies.variants import BEYOND


class Model(ABC):
    """What `beyond` asks of every model that it gathers.

    Attributes:
        profile, name: what it is called; networks of the compact kind begin with "compact".
        run: whose recordings it learned from and is asked about.
        seed: of its training.
        told: "true labels" or "soft labels", what training was told of a recording.
        tested: whether its published test is read; a change is chosen or dropped without it.
        real: whether it has heard real recordings.
        seconds: how long its training took.
        architecture: equal for models that cost the same.
    """

    profile: str
    name: str
    run: Run
    told: str
    tested: bool
    real: bool
    seconds: float
    architecture: tuple

    @property
    def seed(self) -> int:
        """Of the run, unless a model has none."""
        return self.run.experiment.seed

    @property
    def labeled(self) -> str:
        """Whose true labels it, or its teacher, was told.

        A split, "both" for *pretrain* and *finetune*, or "none" without any real recording.
        """
        known = self.run.experiment.splits.labeled
        return ("both" if known == "all" else known) if self.real else "none"

    @property
    def column(self) -> str:
        """Name of its column of logits."""
        return f"{self.profile}/{self.name}/{self.seed}"

    @abstractmethod
    def cost(self, recordings: pd.DataFrame) -> dict[str, object]:
        """Size, and cost of a recording of mean length: see `cost.cost`."""

    @abstractmethod
    def predictions(self, split: str) -> pd.Series:
        """Its logits on one split, by record, under the name of its column."""


@dataclass(frozen=True)
class Fitted(Model):
    """A model that is no network, fitted while it is gathered, for every seed alike."""

    run: Run

    told: ClassVar[str] = "true labels"
    tested: ClassVar[bool] = True
    real: ClassVar[bool] = True
    seed: ClassVar[int] = 0
    seconds: ClassVar[float] = 0.0

    @property
    def architecture(self) -> tuple:
        """Equal for models that cost the same."""
        return (self.name,)


def typical(recordings: pd.DataFrame) -> str:
    """The recording whose length is nearest to the mean: `recordings` by record, with seconds."""
    return (recordings.seconds - recordings.seconds.mean()).abs().idxmin()


@dataclass(frozen=True)
class Finished(Model):
    """One trained network: the profile (with its change), its name, and the run that holds it."""

    profile: str
    model: str
    run: Run

    @property
    def name(self) -> str:
        """The model's name; networks of the compact kind are told apart."""
        small = self.run.experiment.networks.cnn == "compact" and self.model != "teacher"
        return f"compact {self.model}" if small else self.model

    @property
    def labeled(self) -> str:
        """Of the baseline *pretrain*, which it learns from instead of any teacher."""
        known = super().labeled
        return "pretrain" if self.model == "baseline" and known == "finetune" else known

    @property
    def told(self) -> str:
        """What its training was told of a recording: "true labels" or "soft labels"."""
        targets = self.run.experiment.distillation.targets
        softly = self.model == "student" and targets != "fine-tune labels"
        return "soft labels" if softly else "true labels"

    @property
    def tested(self) -> bool:
        """Whether its published test is read: a change is chosen or dropped without it."""
        return self.profile == self.run.experiment.name

    @property
    def real(self) -> bool:
        """Whether it has heard real recordings."""
        return getattr(self.run.experiment, STAGES[self.model]).real

    @property
    def seconds(self) -> float:
        """How long its training took."""
        return sum(
            row["seconds"] for row in read_json(self.run.path(f"{self.model}.json"))["history"]
        )

    @property
    def architecture(self) -> tuple:
        """Equal for models that cost the same."""
        return self.name, self.run.experiment.front_end, self.run.experiment.networks

    def cost(self, recordings: pd.DataFrame) -> dict[str, object]:
        """Size, and cost of a recording of mean length: see `cost.cost`."""
        network = new_network(self.run.experiment, self.model)
        return cost(network, self.run.experiment.front_end, float(recordings.seconds.mean()))

    def predictions(self, split: str) -> pd.Series:
        """Its logits on one split, by record."""
        table = saved_predictions(self.run, self.model, split)
        return table.set_index("record").logit.rename(self.column)


def everything_finished(
    studies: Iterable[Study], left_out: Iterable[str], but: Collection[str] = ()
) -> Iterator[Finished]:
    """Every model that is trained without these databases ("" for none), changes included.

    Of a change there is the one model that it is about; what its run takes over is not its own.
    Changes named in `but` are passed over.
    """
    databases = list(left_out)
    for study in studies:
        for change in ("", *(name for name in BEYOND if name not in but)):
            models = (BEYOND[change].model,) if change else MODELS
            profile = "-".join(filter(None, [study.experiment.name, change]))
            for letters in databases:
                without = f"without-{letters}" if letters else ""
                variant = "-".join(filter(None, [change, without]))
                for seed in study.seeds:
                    if study.folder(seed, variant).exists():
                        run = study.look(seed, variant)
                        yield from (
                            Finished(profile, m, run) for m in models if finished(run, (m,))
                        )


def recipes(models: Iterable[Model], recordings: pd.DataFrame) -> pd.DataFrame:
    """What each recipe was told and what it costs; every architecture is measured once."""
    rows, known = {}, {}
    for model in models:
        if model.architecture not in known:
            known[model.architecture] = model.cost(recordings)
        about = {"profile": model.profile, "model": model.name} | known[model.architecture]
        about |= {"labeled": model.labeled, "told": model.told}
        rows.setdefault((model.profile, model.name), about | {"train_seconds": []})
        rows[model.profile, model.name]["train_seconds"].append(model.seconds)
    table = counts_whole(pd.DataFrame(rows.values()))
    return table.assign(train_seconds=[round(np.mean(s)) for s in table.train_seconds])


def counts_whole(table: pd.DataFrame) -> pd.DataFrame:
    """Parameters and multiply-adds as whole numbers, though some models have none to count."""
    return table.astype(dict.fromkeys(["parameters", "multiply_adds"], "Int64"))
