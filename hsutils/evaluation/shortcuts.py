"""Control models: how well do models that cannot use the heartbeat rank recordings?

A control model is given only the database of a recording, how its file is stored, or the
distribution of the values of each mel band. The first two use no sound at all; the third uses no
order in time, and so no rhythm.
"""

import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.signal import spectrogram
from scipy.special import logit
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from hsutils.audio.preprocessing import clipped
from hsutils.audio.wav import one_channel, read_samples, read_windows, resampled
from hsutils.config import RECORDED_RATE
from hsutils.data.cache import SpectrogramCache
from hsutils.data.corpus import Corpus
from hsutils.environment import usable_cores
from hsutils.errors import InputError
from hsutils.evaluation import intervals
from hsutils.evaluation.domains import counts_and_auroc

CONTROL_MODELS = ("database only", "format only", "band statistics")
CROSS_VALIDATED = ("length only", "format only", "band statistics")
FACTS = ("seconds", "levels", "peak", "clipped", "levels_per_second")
PERCENTILES = (10, 25, 50, 75, 90)

_TREES = 500
_FOLDS = 5
_PERMUTATIONS = 10


def control_models(
    corpus: Corpus,
    splits: Sequence[str] = ("dev", "test"),
    names: Sequence[str] = CONTROL_MODELS,
) -> dict[str, dict[str, pd.DataFrame]]:
    """Predictions of control models, trained with the labels of the fine-tune split.

    "database only" is `database_baseline`. "format only" is also given levels, peak, clipped
    and seconds of `format_facts`; "band statistics" is given `band_statistics` alone. These two are
    extra trees (Geurts et al. 2006).

    Returns:
        Model -> split -> table record, label, logit. Only "band statistics" reads the cache.
    """
    table = corpus.recordings.merge(corpus.splits, on="record", validate="one_to_one")
    table = table[table.split.isin(["finetune", *splits])].reset_index(drop=True)
    trained = table[table.split == "finetune"]
    if trained.label.nunique() < 2:
        raise InputError("splits: finetune lacks a class; train with a split that holds both")
    found = {}
    for name in names:
        if name == "database only":
            known = corpus.recordings, corpus.splits
            found[name] = {s: database_baseline(*known, s) for s in splits}
            continue
        if name == "format only":
            databases = sorted(set(trained.database))
            features = [(table.database == database).to_numpy() for database in databases]
            stored = format_facts(table)[["levels", "peak", "clipped", "seconds"]]
            features = np.column_stack([*features, stored])
        else:
            features = band_statistics(corpus.cache, table.record)
        trees = _trees().fit(features[trained.index], trained.label)
        made = table[["record", "label"]].assign(logit=_logits(trees.predict_proba(features)))
        found[name] = {s: made[table.split == s].reset_index(drop=True) for s in splits}
    return found


def cross_validated_controls(recordings: pd.DataFrame) -> pd.DataFrame:
    """Logits of `CROSS_VALIDATED`, extra trees trained on the other four fifths of the groups.

    Args:
        recordings: columns record, path, label, group; five groups of each class or more.

    Returns:
        "length only"; "format only", given all `FACTS`; "band statistics", given how the power in
        64 bands up to 1 kHz is distributed over the first window, at most a minute, with sound.
    """
    facts, bands = format_facts(recordings)[[*FACTS]], []
    for path in recordings.path:
        windows = ((one_channel(samples), rate) for samples, rate in read_windows(path, 60))
        waveform = next(resampled(*window) for window in windows if np.ptp(window[0]))
        power = spectrogram(waveform, RECORDED_RATE, nperseg=128)[2][1:]
        bands.append(_distribution(np.log10(power + 1e-11)))
    asked = {"y": recordings.label, "groups": recordings.group, "method": "predict_proba"}
    asked["cv"] = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=0)
    given = map(np.array, (facts[["seconds"]], facts, bands))
    found = [_logits(cross_val_predict(_trees(), features, **asked)) for features in given]
    return pd.DataFrame(dict(zip(CROSS_VALIDATED, found, strict=True)), recordings.index)


def _trees() -> ExtraTreesClassifier:
    # Leaves of two recordings: whole trees would fit the 400 labels exactly.
    return ExtraTreesClassifier(_TREES, min_samples_leaf=2, random_state=0, n_jobs=1)


def _logits(probabilities: np.ndarray) -> np.ndarray:
    """Of (n, 2), half a tree from certainty, so that a unanimous forest has a logit."""
    return logit(np.clip(probabilities[:, 1], 0.5 / _TREES, 1 - 0.5 / _TREES))


def database_baseline(
    recordings: pd.DataFrame, splits: pd.DataFrame, split: str = "test"
) -> pd.DataFrame:
    """Predictions (record, label, logit) of a split: its database's abnormal share in *finetune*.

    Databases that *finetune* lacks get its overall share. Half a recording is added to each class,
    so that a database without abnormal ones has a logit.
    """
    table = recordings.merge(splits, on="record", validate="one_to_one")
    known = table[table.split == "finetune"].groupby("database").label.agg(["sum", "count"])
    asked = table[table.split == split].reset_index(drop=True)
    counts = known.reindex(asked.database).reset_index(drop=True).fillna(known.sum())
    odds = (counts["sum"] + 0.5) / (counts["count"] - counts["sum"] + 0.5)
    return asked[["record", "label"]].assign(logit=np.log(odds))


def format_facts(recordings: pd.DataFrame) -> pd.DataFrame:
    """What can be known about files (columns record, path) without listening to them.

    Returns:
        record and `FACTS`, in the same order: `seconds`; `levels`, how many distinct 16-bit values
        occur; `peak`, the largest distance from 0, in steps of 16 bits; `clipped`, how many
        samples lie on a flat top; `levels_per_second`.
    """

    def facts_of(path: str) -> tuple[float, ...]:
        samples, rate = read_samples(path)
        if samples.dtype != np.int16:
            samples = np.rint(samples * 32_768)
        samples = samples.astype(np.int32)
        seconds, levels = len(samples) / rate, len(np.unique(samples))
        peak, flat = int(np.abs(samples).max()), int(clipped(samples).sum())
        return seconds, levels, peak, flat, levels / seconds

    with ThreadPoolExecutor(usable_cores()) as threads:
        facts = pd.DataFrame(threads.map(facts_of, recordings.path), columns=FACTS)
    facts.insert(0, "record", recordings.record.to_numpy())
    return facts


def band_statistics(cache: SpectrogramCache, records: Sequence[str]) -> np.ndarray:
    """How the values of each mel band are distributed, whatever their order in time.

    Returns:
        Array (records, mels * 7): means of all bands, standard deviations, then each of
        `PERCENTILES`, over the frames that the recording occupies.
    """
    statistics = []
    for row in cache.rows(records):
        first, last = cache.occupied(row).frames
        statistics.append(_distribution(cache.array[row, :, first:last].astype(np.float32)))
    return np.array(statistics)


def _distribution(bands: np.ndarray) -> np.ndarray:
    spread = np.percentile(bands, PERCENTILES, axis=1)
    return np.concatenate([bands.mean(axis=1), bands.std(axis=1), *spread])


def separation(table: pd.DataFrame) -> pd.DataFrame:
    """Which of the `format_facts` separates the classes inside each database.

    Args:
        table: columns database, label, group and `FACTS`.

    Returns:
        database, fact, recordings, abnormal, auroc of the fact as a score (above 0.5: larger in
        abnormal recordings), low, high.
    """
    rows = [
        {"database": database, "fact": fact} | counts_and_auroc(part, part[fact])
        for database, part in table.groupby("database")
        for fact in FACTS
    ]
    return pd.DataFrame(rows)


def probe_database(features: np.ndarray, databases: ArrayLike, groups: ArrayLike) -> dict:
    """Can a linear classifier read the database (n,) from features (n, d), such as an encoder's?

    Multinomial logistic regression on standardized features, cross-validated in five folds of
    whole groups. Databases of one group are left out: none can be both learned and predicted.

    Returns:
        recordings (used); balanced_accuracy, low and high; chance and chance_high, the mean and
        largest of ten probes with databases dealt anew to whole groups.

    Raises:
        InputError: if fewer than two databases have two groups, or none has one per fold.
    """
    table = pd.DataFrame({"database": databases, "group": groups}).astype(str)
    counts = table.groupby("database").group.nunique()
    if (counts > 1).sum() < 2 or counts.max() < _FOLDS:
        raise InputError(
            "databases: a probe needs two databases of two groups or more, one of them of "
            f"{_FOLDS}; these have {', '.join(f'{d}: {n}' for d, n in counts.items())}"
        )
    used = table.database.map(counts).to_numpy() > 1
    features, table = np.asarray(features)[used], table[used]
    actual, _ = pd.factorize(table.database, sort=True)
    codes = intervals.group_codes(table.group, len(table))
    predicted = _cross_validated(features, actual, codes)
    # The mean share recognized, in resamples of whole groups.
    members = np.eye(actual.max() + 1)[actual]
    right = members * (actual == predicted)[:, None]
    draws = intervals.multiplicities(actual, codes)
    values = [((times @ right) / (times @ members)).mean(axis=1) for times in draws]
    low, high = intervals.percentiles(np.concatenate(values))
    rng, of_group = np.random.default_rng(0), actual[np.unique(codes, return_index=True)[1]]
    chance = []
    for _ in range(_PERMUTATIONS):
        dealt = rng.permutation(of_group)[codes]
        chance.append(balanced_accuracy_score(dealt, _cross_validated(features, dealt, codes)))
    accuracy = float(balanced_accuracy_score(actual, predicted))
    found = {"recordings": len(actual), "balanced_accuracy": accuracy, "low": low, "high": high}
    return found | {"chance": float(np.mean(chance)), "chance_high": float(max(chance))}


def _cross_validated(features: np.ndarray, classes: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """(n,) the class predicted for each recording by a fit without its group."""
    probe = make_pipeline(
        StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=1_000)
    )
    folds = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=0)
    # On matrices this small several threads mostly wait for one another.
    with warnings.catch_warnings(), threadpool_limits(1):
        # A database of fewer groups than folds is learned from fewer; nothing is wrong with that.
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        return cross_val_predict(probe, features, classes, groups=groups, cv=folds)
