"""What sixty numbers of a heart (`mean_cycle`) tell: a linear model beside the networks.

It is trained and asked on the real recordings of the runs that it stands beside. Every coefficient
can be read: how loud which band is in which phase.
"""

from collections.abc import Callable, Iterable
from functools import cached_property, partial
from typing import ClassVar

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from hsutils.data.corpus import load_recordings, load_splits
from hsutils.studies.cost import timed
from hsutils.experiment import Run
from hsutils.studies.finished import Finished, Fitted, typical
from hsutils.evaluation.intervals import group_codes
from hsutils.audio.heart_cycles import BANDS, NAMES, PHASES, numbers_of, sixty_numbers
from hsutils.evaluation.metrics import auroc
from hsutils.audio.wav import read_waveform
from hsutils.evaluation.domains import classes_in_groups, counts_and_auroc

STRENGTHS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
"""Of the regularization (inverse, as scikit-learn's C), chosen without what is tested."""
USUAL = 1e-4
"""The strength where nothing can be chosen by: with fewer than two databases of `MANY`."""
MANY, FOLDS = 100, 5
"""Recordings of a database that has a say in the strength; folds inside a database."""

INSIDE = ("database", "recordings", "abnormal", "groups", "auroc", "low", "high")
CYCLES = ("database", "label", "recordings", "phase", "band", "value")
WEIGHTS = ("phase", "band", "weight")

Part = tuple[np.ndarray, np.ndarray]
"""Rows to learn from, and rows to ask."""


def linear_model(numbers: np.ndarray, learn: pd.DataFrame, strength: float) -> BaseEstimator:
    """A logistic regression in which every database and class counts alike.

    Args:
        numbers: shape (n, 60); NaN where no beats were found, taken for the median.
        learn: columns database and label of the same recordings.
        strength: see `STRENGTHS`.
    """
    parts = learn.groupby(["database", "label"])
    weights = (len(learn) / parts.ngroups / parts.label.transform("size")).to_numpy()
    model = make_pipeline(
        SimpleImputer(strategy="median", keep_empty_features=True),
        StandardScaler(),
        LogisticRegression(C=strength, max_iter=1000),
    )
    counted = {
        f"{step}__sample_weight": weights for step in ("standardscaler", "logisticregression")
    }
    return model.fit(numbers, learn.label, **counted)


def chosen_strength(numbers: np.ndarray, learn: pd.DataFrame, parts: Iterable[Part]) -> float:
    """The strength with the best mean AUROC over parts that are asked and not learned from.

    Args:
        numbers, learn: as for `linear_model`.
        parts: see `Part`; `USUAL` is chosen if there are none.
    """

    def score(strength: float, rows: np.ndarray, asked: np.ndarray) -> float:
        model = linear_model(numbers[rows], learn.iloc[rows], strength)
        return auroc(learn.label.iloc[asked], model.decision_function(numbers[asked]))

    known = list(parts)
    if not known:
        return USUAL
    return max(STRENGTHS, key=lambda s: np.mean([score(s, *part) for part in known]))


def by_database(learn: pd.DataFrame) -> list[Part]:
    """Each database of `MANY` recordings and both classes, asked of a model of the others.

    Args:
        learn: columns database, group and label.

    Returns:
        Row numbers, a part for each such database; none where there is one alone.
    """
    parts = []
    for _, part in learn.reset_index(drop=True).groupby("database"):
        others = (~learn.group.isin(part.group)).to_numpy().nonzero()[0]
        both = part.label.nunique() == 2 == learn.label.iloc[others].nunique()
        if len(part) >= MANY and both:
            parts.append((others, part.index.to_numpy()))
    return parts if len(parts) > 1 else []


class MeanCycle(Fitted):
    """The linear model of the real recordings that a run with all labels learned from."""

    profile: ClassVar[str] = "mean-cycle"
    name: ClassVar[str] = "linear model"

    def cost(self, recordings: pd.DataFrame) -> dict[str, object]:
        """Its parameters, and how long beats and numbers take, of a recording of mean length."""
        waveform = read_waveform(recordings.path[typical(recordings)])
        about = {"parameters": len(NAMES) + 1, "multiply_adds": pd.NA}
        return about | timed(partial(sixty_numbers, waveform))

    def predictions(self, split: str) -> pd.Series:
        """Its logits on one split, by record."""
        asked = self._recordings[self._recordings.split == split]
        logits = self.fitted.decision_function(numbers_of(self._recordings)[asked.index])
        return pd.Series(logits, pd.Index(asked.record), name=self.column)

    @cached_property
    def fitted(self) -> BaseEstimator:
        """The model itself."""
        learn = self._recordings[self._recordings.split.isin(["pretrain", "finetune"])]
        numbers = numbers_of(self._recordings)[learn.index]
        return linear_model(numbers, learn, chosen_strength(numbers, learn, by_database(learn)))

    @cached_property
    def _recordings(self) -> pd.DataFrame:
        return load_recordings(self.run).merge(load_splits(self.run), on="record", how="left")


def beside(models: Iterable[Finished]) -> list[MeanCycle]:
    """A linear model for each set of databases left out, where a run with all labels is."""
    runs: dict[str, Run] = {}
    for model in models:
        splits = model.run.experiment.splits
        if splits.labeled == "all" and splits.label_share == 1:
            runs.setdefault(splits.leave_out, model.run)
    return [MeanCycle(run) for run in runs.values()]


def inside(recordings: pd.DataFrame) -> pd.DataFrame:
    """AUROC where a database's own labels are known: cross-validated, whole groups at a time.

    Returns:
        Columns `INSIDE`, with 95% intervals over groups; databases with fewer than five groups of
        a class are left out.
    """
    numbers, rows = numbers_of(recordings), []
    for database, part in recordings.reset_index(drop=True).groupby("database"):
        if not classes_in_groups(part.label, part.group, FOLDS):
            continue
        scores = _cross_validated(numbers[part.index], part)
        about = {"database": database, "groups": part.group.nunique()}
        rows.append(about | counts_and_auroc(part, scores))
    return pd.DataFrame(rows, columns=INSIDE).round(5)


def _cross_validated(numbers: np.ndarray, part: pd.DataFrame) -> np.ndarray:
    """Scores of each fold by a model of the others, as ranks: models differ in scale."""
    scores = np.empty(len(part))
    groups = group_codes(part.group.to_numpy(), len(part))
    for rows, asked in _folds(FOLDS)(numbers, part.label, groups):
        own, learn = numbers[rows], part.iloc[rows]
        parts = _folds(FOLDS - 1)(own, learn.label, groups[rows])
        model = linear_model(own, learn, chosen_strength(own, learn, parts))
        known = np.sort(model.decision_function(own))
        scores[asked] = np.searchsorted(known, model.decision_function(numbers[asked])) / len(known)
    return scores


def _folds(count: int) -> Callable[..., Iterable[Part]]:
    return StratifiedGroupKFold(count, shuffle=True, random_state=0).split


def mean_cycles(recordings: pd.DataFrame) -> pd.DataFrame:
    """The mean cycle of each database and class.

    Returns:
        Columns `CYCLES`: recordings in which beats were found, and value in decibels over the
        band's mean; bands count from 1.
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
            return table.assign(weight=model.fitted[-1].coef_[0]).round(5)
    return pd.DataFrame(columns=WEIGHTS)
