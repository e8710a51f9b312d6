"""What sixty numbers of a heart (`mean_cycle`) tell: a linear model beside the networks.

It is trained and asked on the recordings of the runs that it stands beside, so that both heard the
same. Every coefficient can be read: how loud which band is in which phase.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from hsutils.corpus import load_recordings, load_splits
from hsutils.environment import processor
from hsutils.experiment import Run
from hsutils.finished import Finished
from hsutils.intervals import group_codes
from hsutils.mean_cycle import BANDS, NAMES, PHASES, numbers_of, sixty_numbers
from hsutils.metrics import auroc
from hsutils.wav import read_waveform
from hsutils.within import auroc_interval

STRENGTH = 1e-4
"""Of the regularization (inverse, as scikit-learn's C): the best of 1e-4 to 1e-2 where two
databases are left out."""
STRENGTHS, FOLDS = (1e-4, 1e-3, 1e-2, 1e-1), 5
"""Inside a database the strength is chosen by folds of the training folds."""
REPEATS = 9
SUMMED = "native-all-narrow"
"""The profile, with its change, whose CNN the linear model is added to."""

INSIDE = ("database", "recordings", "abnormal", "auroc", "low", "high")
CYCLES = ("database", "label", "recordings", "phase", "band", "value")
WEIGHTS = ("phase", "band", "weight")


def linear_model(
    numbers: np.ndarray, learn: pd.DataFrame, strength: float = STRENGTH
) -> BaseEstimator:
    """A logistic regression in which every database and class counts alike.

    Args:
        numbers: shape (n, 60); NaN where a heart has no rhythm, taken for the median.
        learn: columns database and label of the same recordings.
        strength: see `STRENGTH`.
    """
    parts = learn.groupby(["database", "label"])
    weights = len(learn) / parts.ngroups / parts.label.transform("size")
    model = make_pipeline(
        SimpleImputer(strategy="median", keep_empty_features=True),
        StandardScaler(),
        LogisticRegression(C=strength, max_iter=1000),
    )
    return model.fit(numbers, learn.label, logisticregression__sample_weight=weights.to_numpy())


@dataclass(frozen=True)
class MeanCycle:
    """The linear model of the recordings that a run with all labels learned from.

    It stands among models of `finished.Finished`, and answers what they are asked.
    """

    run: Run

    profile: ClassVar[str] = "mean-cycle"
    name: ClassVar[str] = "linear model"
    told: ClassVar[str] = "true labels"
    tested: ClassVar[bool] = True
    real: ClassVar[bool] = True
    architecture: ClassVar[tuple] = (name,)
    seconds: ClassVar[float] = 0.0

    @property
    def column(self) -> str:
        """Name of its column of logits."""
        return f"{self.profile}/{self.name}/{self.run.experiment.seed}"

    def cost(self, recordings: pd.DataFrame) -> dict[str, object]:
        """Its parameters, and how long beats and numbers take, of a recording of mean length."""
        off = (recordings.seconds - recordings.seconds.mean()).abs()
        waveform, spans = read_waveform(recordings.path[off.idxmin()]), []
        for _ in range(REPEATS):
            started = time.perf_counter()
            sixty_numbers(waveform)
            spans.append(time.perf_counter() - started)
        milliseconds = round(1000 * sorted(spans)[REPEATS // 2], 2)
        about = {"parameters": len(NAMES) + 1, "multiply_adds": pd.NA}
        return about | {"milliseconds": milliseconds, "threads": 1, "processor": processor()}

    def predictions(self, split: str) -> pd.Series:
        """Its logits on one split, by record."""
        recordings = _with_splits(self.run)
        asked = recordings[recordings.split == split]
        logits = self.fitted().decision_function(numbers_of(recordings)[asked.index])
        return pd.Series(logits, pd.Index(asked.record), name=self.column)

    def fitted(self) -> BaseEstimator:
        """The model itself."""
        recordings = _with_splits(self.run)
        learn = recordings[recordings.split.isin(["pretrain", "finetune"])]
        return linear_model(numbers_of(recordings)[learn.index], learn)


@dataclass(frozen=True)
class Together:
    """A compact CNN and the linear model of the same recordings: their logits are added.

    It answers what models of `finished.Finished` are asked.
    """

    network: Finished
    linear: MeanCycle

    profile: ClassVar[str] = "narrow-and-mean-cycle"
    name: ClassVar[str] = "compact sum"
    told: ClassVar[str] = "true labels"
    tested: ClassVar[bool] = False
    real: ClassVar[bool] = True
    architecture: ClassVar[tuple] = (name,)

    @property
    def run(self) -> Run:
        """That of the network."""
        return self.network.run

    @property
    def column(self) -> str:
        """Name of its column of logits."""
        return f"{self.profile}/{self.name}/{self.run.experiment.seed}"

    @property
    def seconds(self) -> float:
        """Of the network's training."""
        return self.network.seconds

    def cost(self, recordings: pd.DataFrame) -> dict[str, object]:
        """Parameters and milliseconds of both, multiply-adds of the network."""
        network, linear = (model.cost(recordings) for model in (self.network, self.linear))
        both = {key: network[key] + linear[key] for key in ("parameters", "milliseconds")}
        return network | both

    def predictions(self, split: str) -> pd.Series:
        """Its logits on one split, by record."""
        logits = self.network.predictions(split)
        return (logits + self.linear.predictions(split)[logits.index]).rename(self.column)


def _with_splits(run: Run) -> pd.DataFrame:
    return load_recordings(run).merge(load_splits(run), on="record", how="left")


def beside(models: Iterable[Finished]) -> list[MeanCycle | Together]:
    """A linear model for each set of databases left out, where a run with all labels is.

    Beside the CNNs of `SUMMED` stands the sum with theirs as well.
    """
    found, linear = list(models), {}
    for model in found:
        splits = model.run.experiment.splits
        if splits.labeled == "all" and splits.label_share == 1:
            linear.setdefault(splits.leave_out, MeanCycle(model.run))
    sums = [
        Together(model, linear[model.run.experiment.splits.leave_out])
        for model in found
        if model.profile == SUMMED and model.model == "baseline"
    ]
    return [*linear.values(), *sums]


def inside(recordings: pd.DataFrame) -> pd.DataFrame:
    """AUROC where a database's own labels are known: cross-validated, whole groups at a time.

    Returns:
        Columns `INSIDE`, with 95% intervals over groups; databases with fewer than five groups of
        a class are left out.
    """
    numbers, rows = numbers_of(recordings), []
    for database, part in recordings.reset_index(drop=True).groupby("database"):
        if part.groupby("label").group.nunique().reindex([0, 1], fill_value=0).min() < FOLDS:
            continue
        scores = _cross_validated(numbers[part.index], part.reset_index(drop=True))
        counts = {"recordings": len(part), "abnormal": int(part.label.sum())}
        area = auroc_interval(part.label, scores, part.group)
        rows.append({"database": database} | counts | area)
    return pd.DataFrame(rows, columns=INSIDE).round(5)


def _cross_validated(numbers: np.ndarray, part: pd.DataFrame) -> np.ndarray:
    """Scores of each fold by a model of the others, as ranks: models differ in scale."""
    scores = np.empty(len(part))
    groups = group_codes(part.group.to_numpy(), len(part))
    for learn, ask in _folds(FOLDS).split(numbers, part.label, groups):
        best = max(
            STRENGTHS, key=lambda s: _inner(numbers[learn], part.iloc[learn], groups[learn], s)
        )
        logits = linear_model(numbers[learn], part.iloc[learn], best)
        known = np.sort(logits.decision_function(numbers[learn]))
        scores[ask] = np.searchsorted(known, logits.decision_function(numbers[ask])) / len(known)
    return scores


def _inner(numbers: np.ndarray, part: pd.DataFrame, groups: np.ndarray, strength: float) -> float:
    scores = np.empty(len(part))
    for learn, ask in _folds(FOLDS - 1).split(numbers, part.label, groups):
        model = linear_model(numbers[learn], part.iloc[learn], strength)
        scores[ask] = model.decision_function(numbers[ask])
    return auroc(part.label, scores)


def _folds(count: int) -> StratifiedGroupKFold:
    return StratifiedGroupKFold(count, shuffle=True, random_state=0)


def mean_cycles(recordings: pd.DataFrame) -> pd.DataFrame:
    """The mean cycle of each database and class.

    Returns:
        Columns `CYCLES`: recordings that have a rhythm, and value in decibels over the band's
        mean; bands count from 1.
    """
    keys = ["database", "label"]
    names = pd.MultiIndex.from_product([PHASES, range(1, BANDS + 1)], names=["phase", "band"])
    values = 10 * numbers_of(recordings)[:, : len(names)]
    index = pd.MultiIndex.from_frame(recordings[keys])
    parts = pd.DataFrame(values, index, names).dropna().groupby(keys)
    table = parts.mean().stack(["phase", "band"], future_stack=True).rename("value").reset_index()
    counts = parts.size().rename("recordings").reset_index()
    return table.merge(counts, on=keys)[list(CYCLES)].round(5)


def weights(models: Iterable[MeanCycle]) -> pd.DataFrame:
    """The coefficients of the linear model that leaves nothing out, if there is one.

    Returns:
        Columns `WEIGHTS`: of phase and band, per standard deviation; those of the rhythm have
        "rhythm" for a phase and their name for a band.
    """
    rows = [(phase, band + 1) for phase in PHASES for band in range(BANDS)]
    rows += [("rhythm", name) for name in NAMES[len(rows) :]]
    for model in models:
        if not model.run.experiment.splits.leave_out:
            table = pd.DataFrame(rows, columns=WEIGHTS[:2])
            return table.assign(weight=model.fitted()[-1].coef_[0]).round(5)
    return pd.DataFrame(columns=WEIGHTS)
