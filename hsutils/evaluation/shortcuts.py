"""How well can something do that hears no heart beat?

A rival knows only which database a recording is from, how its file was stored, or how loud each
mel band is and how much it varies, no matter when. The first two hear no sound at all; the third
hears no order in time, and with it no rhythm.
"""

import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import logit
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, confusion_matrix
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from hsutils.audio.preprocessing import clipped
from hsutils.data.cache import SpectrogramCache
from hsutils.data.corpus import Corpus
from hsutils.errors import InputError
from hsutils.evaluation.intervals import group_codes, multiplicities, percentiles
from hsutils.results import letter_baseline
from hsutils.audio.wav import read_samples
from hsutils.evaluation.domains import auroc_interval

RIVALS = ("database letter", "format only", "band statistics")
FACTS = ("seconds", "levels", "peak", "clipped", "levels_per_second")
PERCENTILES = (10, 25, 50, 75, 90)

_THREADS = 4
_TREES = 500
_PERMUTATIONS = 10


def format_facts(recordings: pd.DataFrame) -> pd.DataFrame:
    """What can be said of a file without listening to it.

    Args:
        recordings: columns record and path.

    Returns:
        One row a recording, in the same order: record; `seconds`; `levels`, how many distinct
        16-bit values occur; `peak`, the largest distance from 0, in steps of 16 bits; `clipped`,
        how many samples lie on a flat top: at the largest or smallest value of the file, beside a
        sample of the same value (a wave touches its extremes for one sample, and a file rescaled
        after clipping need not reach full scale); `levels_per_second`.

    Raises:
        InputError: if a file cannot be read.
    """
    with ThreadPoolExecutor(_THREADS) as threads:
        facts = pd.DataFrame(threads.map(_facts, recordings.path))
    facts.insert(0, "record", recordings.record.to_numpy())
    return facts


def band_statistics(cache: SpectrogramCache, records: Sequence[str]) -> np.ndarray:
    """How the values of each mel band are distributed, whatever their order in time.

    Args:
        cache: spectrograms of a corpus.
        records: which of them.

    Returns:
        Array (n, mels * 7): means of all bands, standard deviations, then each of `PERCENTILES`,
        over the frames that the recording occupies, of the spectrogram scaled to [0, 1].

    Raises:
        InputError: if a record is not in the cache.
    """
    statistics = []
    for row in cache.rows(records):
        first, last = cache.occupied(row).frames
        bands = cache.array[row, :, first:last].astype(np.float32)
        spread = np.percentile(bands, PERCENTILES, axis=1)
        statistics.append(np.concatenate([bands.mean(axis=1), bands.std(axis=1), *spread]))
    return np.array(statistics)


def rivals(
    corpus: Corpus,
    seed: int = 0,
    learn: str = "finetune",
    splits: Sequence[str] = ("dev", "test"),
    names: Sequence[str] = RIVALS,
) -> dict[str, dict[str, pd.DataFrame]]:
    """Predictions of those who hear no heart beat, taught by the labels the teacher sees.

    "database letter" knows the letter; "format only" also levels, peak, clipped samples and
    seconds (`format_facts`); "band statistics" only those of `band_statistics`. The last two are
    extra trees (Geurts et al. 2006).

    Args:
        corpus: any splits; a letter that `learn` lacks, as when a database is left out, is to the
            first rival the average database and to the second none of those it knows.
        seed: of the trees.
        learn: the split they learn from.
        splits: the splits they predict.
        names: which rivals; only "band statistics" reads the cache.

    Returns:
        Rival -> split -> table record, label, logit.

    Raises:
        InputError: if a split is empty, `learn` lacks a class, or a file cannot be read.
    """
    table = corpus.recordings.merge(corpus.splits, on="record", validate="one_to_one")
    table = table[table.split.isin([learn, *splits])].reset_index(drop=True)
    _check(table, learn, splits, names)
    return {name: _predictions(name, corpus, table, learn, splits, seed) for name in names}


def separation(facts: pd.DataFrame, recordings: pd.DataFrame) -> pd.DataFrame:
    """Which fact about the files separates the classes inside each database.

    Args:
        facts: as `format_facts` gives them, of these recordings at least.
        recordings: columns record, database, label, group.

    Returns:
        One row a database and fact, in the order of `FACTS`: database, fact, n, abnormal, auroc
        of the fact as a score (above 0.5: larger in abnormal recordings), distance of it from
        0.5, and its 95% interval low, high; NaN as in `within.auroc_interval`.
    """
    columns = ["record", "database", "label", "group"]
    table = recordings[columns].merge(facts, on="record", validate="one_to_one")
    rows = []
    for database, part in table.groupby("database"):
        who = {"database": database, "n": len(part), "abnormal": int(part.label.sum())}
        for fact in FACTS:
            area = auroc_interval(part.label, part[fact], part.group)
            rows.append(who | {"fact": fact, "distance": abs(area["auroc"] - 0.5)} | area)
    order = ["database", "fact", "n", "abnormal", "auroc", "distance", "low", "high"]
    return pd.DataFrame(rows)[order]


def probe_database(
    features: np.ndarray, databases: ArrayLike, groups: ArrayLike, folds: int = 5, seed: int = 0
) -> dict[str, object]:
    """Can the database be read off frozen features by a linear classifier?

    Multinomial logistic regression on standardized features, cross-validated with whole groups.
    Databases of one group are left out: none of it could be both learned and predicted.

    Args:
        features: (n, d), such as those of `results.embed`.
        databases, groups: (n,) names.
        folds, seed: of the cross-validation; the seed also of resamples and permutations.

    Returns:
        recordings (used); balanced_accuracy, the mean over databases of the share recognized;
        low, high, its 95% interval over groups; chance and chance_high, the mean and largest of
        ten probes with databases dealt anew to whole groups; confusion, a table of counts, rows
        the actual and columns the predicted database.

    Raises:
        InputError: if fewer than two databases have two groups, or none has one a fold.
    """
    databases, groups = np.asarray(databases, dtype=object), np.asarray(groups, dtype=object)
    kept = _probed(databases, groups, folds)
    features, groups = np.asarray(features)[kept], group_codes(groups[kept], kept.sum())
    letters, actual = np.unique(databases[kept].astype(str), return_inverse=True)
    predicted = _cross_validated(features, actual, groups, folds, seed)
    low, high = _recall_interval(actual, predicted, groups, seed)
    chance = _chance(features, actual, groups, folds, seed)
    names = [pd.Index(letters, name=name) for name in ("actual", "predicted")]
    return {
        "recordings": len(actual),
        "balanced_accuracy": float(balanced_accuracy_score(actual, predicted)),
        **{"low": low, "high": high, "chance": float(chance.mean())},
        "chance_high": float(chance.max()),
        "confusion": pd.DataFrame(confusion_matrix(actual, predicted), *names),
    }


def _facts(path: str) -> dict[str, float]:
    samples, rate = read_samples(path)
    if samples.dtype != np.int16:
        samples = np.rint(samples * 32_768)
    samples = samples.astype(np.int32)
    seconds = len(samples) / rate
    facts = storage_facts(samples)
    return {"seconds": seconds} | facts | {"levels_per_second": facts["levels"] / seconds}


def storage_facts(samples: np.ndarray) -> dict[str, int]:
    """Levels, peak and clipped of integer samples, shape (samples, ...); see `format_facts`."""
    return {
        "levels": len(np.unique(samples)),
        "peak": int(np.abs(samples).max()),
        "clipped": int(clipped(samples).sum()),
    }


def _check(table: pd.DataFrame, learn: str, splits: Sequence[str], names: Sequence[str]) -> None:
    """Raise InputError if a split is empty, a rival unknown, or a class not to be learned."""
    empty = [split for split in (learn, *splits) if split not in set(table.split)]
    problems = [f"splits: no recording is in {split}; name one of the corpus" for split in empty]
    unknown = [name for name in names if name not in RIVALS]
    problems += [f"names: {name} is unknown; use {', '.join(RIVALS)}" for name in unknown]
    if learn not in empty and table.label[table.split == learn].nunique() < 2:
        problems.append(f"splits: {learn} holds one class only; learn from one that holds both")
    if problems:
        raise InputError(problems)


def _predictions(
    name: str, corpus: Corpus, table: pd.DataFrame, learn: str, splits: Sequence[str], seed: int
) -> dict[str, pd.DataFrame]:
    """Split -> predictions of one rival; `table` holds the recordings of all splits concerned."""
    if name == "database letter":
        known = corpus.recordings, corpus.splits
        return {split: letter_baseline(*known, split, learn_from=learn) for split in splits}
    learned = (table.split == learn).to_numpy()
    if name == "format only":
        features = _format_features(table, sorted(set(table.database[learned])))
    else:
        features = band_statistics(corpus.cache, table.record)
    # Leaves of two recordings leave some doubt: whole trees know the 400 labels by heart.
    trees = ExtraTreesClassifier(_TREES, min_samples_leaf=2, random_state=seed, n_jobs=1)
    trees.fit(features[learned], table.label[learned])
    # Half a tree from certainty, so that a unanimous forest has a logit.
    abnormal = np.clip(trees.predict_proba(features)[:, 1], 0.5 / _TREES, 1 - 0.5 / _TREES)
    predicted = table[["record", "label"]].assign(logit=logit(abnormal))
    return {split: predicted[table.split == split].reset_index(drop=True) for split in splits}


def _format_features(table: pd.DataFrame, letters: Sequence[str]) -> np.ndarray:
    """(n, letters + 4): which of these databases, and how the file is stored."""
    letter = [(table.database == known).to_numpy() for known in letters]
    stored = format_facts(table)[["levels", "peak", "clipped", "seconds"]]
    return np.column_stack([*letter, stored])


def _probed(databases: np.ndarray, groups: np.ndarray, folds: int) -> np.ndarray:
    """(n,) whether each recording's database has the two groups that a probe needs."""
    if folds < 2:
        raise InputError(f"folds: {folds} is too few; 5 are usual")
    table = pd.DataFrame({"database": databases, "group": groups})
    counts = table.groupby("database").group.nunique()
    if (counts > 1).sum() < 2 or counts.max() < folds:
        raise InputError(
            f"databases: a probe in {folds} folds needs two databases of two groups or more, one "
            f"of them of {folds}; these have {', '.join(f'{d}: {n}' for d, n in counts.items())}"
        )
    return table.database.map(counts).to_numpy() > 1


def _cross_validated(
    features: np.ndarray, classes: np.ndarray, groups: np.ndarray, folds: int, seed: int
) -> np.ndarray:
    """(n,) the class predicted for each recording by a fit without its group."""
    probe = make_pipeline(
        StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=1_000)
    )
    parts = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    # On matrices this small several threads mostly wait for one another.
    with warnings.catch_warnings(), threadpool_limits(1):
        # A database of fewer groups than folds is learned from fewer; nothing is wrong with that.
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        return cross_val_predict(probe, features, classes, groups=groups, cv=parts)


def _recall_interval(
    classes: np.ndarray, predicted: np.ndarray, groups: np.ndarray, seed: int
) -> tuple[float, float]:
    """95% interval of the mean share recognized, over resampled groups."""
    members = np.eye(classes.max() + 1)[classes]
    right = members * (classes == predicted)[:, None]
    draws = multiplicities(classes, groups, 2000, seed)
    values = [((times @ right) / (times @ members)).mean(axis=1) for times in draws]
    low, high, _ = percentiles(np.concatenate(values), 0.95)
    return low, high


def _chance(
    features: np.ndarray, classes: np.ndarray, groups: np.ndarray, folds: int, seed: int
) -> np.ndarray:
    """(_PERMUTATIONS,) balanced accuracies after dealing the classes anew to whole groups."""
    rng = np.random.default_rng(seed)
    of_group = classes[np.unique(groups, return_index=True)[1]]
    scores = []
    for _ in range(_PERMUTATIONS):
        dealt = rng.permutation(of_group)[groups]
        predicted = _cross_validated(features, dealt, groups, folds, seed)
        scores.append(balanced_accuracy_score(dealt, predicted))
    return np.array(scores)
