"""What statistics of the mel bands tell, with all labels: boosted trees beside the networks.

They hear no order in time and so no beat, but they know a stethoscope when they meet it again.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

from hsutils.corpus import Corpus, load_corpus
from hsutils.cost import timed
from hsutils.experiment import Run
from hsutils.finished import Finished, Model
from hsutils.shortcuts import band_statistics

BESIDE = ("many-2khz", "compact student")
"""Profile and name of the network whose recordings and front end the trees share."""


def boosted_trees(statistics: np.ndarray, labels: np.ndarray) -> HistGradientBoostingClassifier:
    """Gradient boosting, of the same trees on any number of threads.

    Args:
        statistics: shape (n, 7 mels), see `shortcuts.band_statistics`.
        labels: shape (n,), 1 is abnormal.
    """
    model = HistGradientBoostingClassifier(
        learning_rate=0.05, max_iter=300, early_stopping=False, random_state=0
    )
    # Sums of gradients are rounded in an order that depends on the number of threads.
    with threadpool_limits(1):
        return model.fit(statistics, labels)


@dataclass(frozen=True)
class BandStatistics(Model):
    """Boosted trees on the band statistics of the recordings that a run's student was told of.

    They are the same for every seed of that run.
    """

    run: Run

    profile: ClassVar[str] = "band-statistics"
    name: ClassVar[str] = "boosted trees"
    told: ClassVar[str] = "true labels"
    tested: ClassVar[bool] = True
    real: ClassVar[bool] = True
    seed: ClassVar[int] = 0
    seconds: ClassVar[float] = 0.0
    architecture: ClassVar[tuple] = (name,)

    def cost(self, recordings: pd.DataFrame) -> dict[str, object]:
        """How long statistics and trees take, of the recording nearest to the mean length."""
        off = (recordings.seconds - recordings.seconds.mean()).abs()

        def classify() -> np.ndarray:
            return self.fitted.decision_function(
                band_statistics(self._corpus.cache, [off.idxmin()])
            )

        # Trees have no weights to count.
        return {"parameters": pd.NA, "multiply_adds": pd.NA} | timed(classify)

    def predictions(self, split: str) -> pd.Series:
        """Its logits on one split, by record."""
        records = self._corpus.of(split).record
        logits = self.fitted.decision_function(band_statistics(self._corpus.cache, records))
        return pd.Series(logits, pd.Index(records), name=self.column)

    @cached_property
    def fitted(self) -> HistGradientBoostingClassifier:
        """The trees themselves."""
        learn = self._corpus.of("labeled")
        statistics = band_statistics(self._corpus.cache, learn.record)
        return boosted_trees(statistics, learn.label.to_numpy())

    @cached_property
    def _corpus(self) -> Corpus:
        return load_corpus(self.run)


def beside(models: Iterable[Finished]) -> list[BandStatistics]:
    """The trees of the first run of `BESIDE` among these, if there is one."""
    runs = [model.run for model in models if (model.profile, model.name) == BESIDE]
    return [BandStatistics(run) for run in runs[:1]]
