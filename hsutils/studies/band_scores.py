"""What statistics of the mel bands tell, with all labels: boosted trees beside the networks.

They hear no order in time and so no beat.
"""

from collections.abc import Iterable
from functools import cached_property
from typing import ClassVar

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

from hsutils.data.corpus import Corpus, load_corpus
from hsutils.studies.cost import timed
from hsutils.studies.finished import Finished, Fitted, Model, typical
from hsutils.evaluation.shortcuts import band_statistics
from hsutils.evaluation.domains import counts_and_auroc

PARTNER = ("many-2khz", "compact student")
"""Profile and name of the network whose recordings and front end the trees share."""

NEW = ("database", "recordings", "abnormal", "auroc", "low", "high")


def boosted_trees(statistics: np.ndarray, labels: np.ndarray) -> HistGradientBoostingClassifier:
    """Gradient boosting, its rounds and rate chosen by dev.

    Args:
        statistics: shape (n, 7 mels), see `shortcuts.band_statistics`.
        labels: shape (n,), 1 is abnormal.
    """
    model = HistGradientBoostingClassifier(
        learning_rate=0.05, max_iter=300, early_stopping=False, random_state=0
    )
    # On tables this small several threads mostly wait for one another.
    with threadpool_limits(1):
        return model.fit(statistics, labels)


def logits_of(model: HistGradientBoostingClassifier, statistics: np.ndarray) -> np.ndarray:
    """Logits, shape (n,), of statistics (n, 7 mels)."""
    with threadpool_limits(1):
        return model.decision_function(statistics)


class BandStatistics(Fitted):
    """Boosted trees on the band statistics of the recordings whose labels a run may know."""

    profile: ClassVar[str] = "band-statistics"
    name: ClassVar[str] = "boosted trees"

    def cost(self, recordings: pd.DataFrame) -> dict[str, object]:
        """How long statistics and trees take, of a recording of mean length."""
        cache, record = self._corpus.cache, typical(recordings)
        # Trees have no weights to count.
        known = {"parameters": pd.NA, "multiply_adds": pd.NA}
        return known | timed(lambda: logits_of(self.fitted, band_statistics(cache, [record])))

    def predictions(self, split: str) -> pd.Series:
        """Its logits on one split, by record."""
        records = self._corpus.of(split).record
        logits = logits_of(self.fitted, self._statistics.loc[records].to_numpy())
        return pd.Series(logits, pd.Index(records), name=self.column)

    def in_new_databases(self) -> pd.DataFrame:
        """AUROC in each database of the same trees fitted to all recordings of the others.

        Returns:
            Columns `NEW`, with 95% intervals over groups.
        """
        recordings, rows = self._corpus.recordings, []
        statistics = self._statistics.to_numpy()
        for database, part in recordings.groupby("database"):
            learn = (~recordings.group.isin(part.group)).to_numpy()
            if part.label.nunique() < 2 or recordings.label[learn].nunique() < 2:
                continue
            trees = boosted_trees(statistics[learn], recordings.label[learn].to_numpy())
            logits = logits_of(trees, statistics[part.index])
            rows.append({"database": database} | counts_and_auroc(part, logits))
        return pd.DataFrame(rows, columns=NEW).round(5)

    @cached_property
    def fitted(self) -> HistGradientBoostingClassifier:
        """The trees themselves."""
        learn = self._corpus.of("labeled")
        statistics = self._statistics.loc[learn.record].to_numpy()
        return boosted_trees(statistics, learn.label.to_numpy())

    @cached_property
    def _statistics(self) -> pd.DataFrame:
        """Of every recording of the corpus, in its order, by record."""
        records = self._corpus.recordings.record
        return pd.DataFrame(band_statistics(self._corpus.cache, records), pd.Index(records))

    @cached_property
    def _corpus(self) -> Corpus:
        return load_corpus(self.run)


def beside(models: Iterable[Finished]) -> list[BandStatistics]:
    """The trees of the first run of `PARTNER` among these, if there is one."""
    runs = [model.run for model in models if (model.profile, model.name) == PARTNER]
    return [BandStatistics(run) for run in runs[:1]]


def in_new_databases(models: Iterable[Model]) -> pd.DataFrame:
    """See `BandStatistics.in_new_databases`; empty where there are no trees among the models."""
    for model in models:
        if isinstance(model, BandStatistics):
            return model.in_new_databases()
    return pd.DataFrame(columns=NEW)
