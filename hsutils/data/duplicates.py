"""What of a split is not independent of another, and what that is worth in scores.

A recording leaks when a model was trained, or chosen, on the same audio or the same patient. The
audit names each pair and what it shares; dropping the affected recordings tells how much of a
score rests on them.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from hsutils.errors import InputError
from hsutils.evaluation.intervals import (
    cluster_bootstrap,
    expanded_level,
    group_codes,
    multiplicities,
    percentiles,
    weighted_metrics,
)
from hsutils.data.challenge import inspect_samples
from hsutils.data.shared_audio import shared_audio
from hsutils.data.splits import SPLITS, audit

KINDS = ("identical audio", "shared audio", "same subject", "validation copy")
VALIDATION = "validation"
"""The Challenge's folder of copies of training recordings, and its name in place of a split."""

_COLUMNS = ["kind", "record_a", "record_b", "split_a", "split_b", "seconds"]
_RANK = {name: rank for rank, name in enumerate((*KINDS, *SPLITS, VALIDATION))}


def find_leaks(
    recordings: pd.DataFrame, splits: pd.DataFrame, root: Path | str | None = None
) -> pd.DataFrame:
    """Every pair of recordings in different splits that are not independent.

    Only groups that straddle splits are searched, so the audit judges as the grouping did. Two
    recordings of such a group may be joined through a third alone; `splits.audit` lists them, but
    they are no pair here. As `shared_audio` says, where more than nine recordings hold the same
    passage some of its pairs may be missing.

    Args:
        recordings: the table of `read_recordings`.
        splits: record, split.
        root: folder of the data; when given, its validation copies are listed too.

    Returns:
        One row a pair and kind: kind (of `KINDS`), record_a, record_b, split_a (the earlier of
        the two), split_b, seconds (of the shared passage; NaN for the same subject). The kinds:
        whole files with equal samples; other pairs with a run of equal samples; one patient; a
        listed recording (a) and its copy in the validation folder (b).

    Raises:
        InputError: if a file cannot be read.
    """
    members = recordings.merge(audit(recordings, splits)[["record", "split"]], on="record")
    subjects = _alike(members[members.subject != ""], "subject").assign(seconds=np.nan)
    pairs = pd.concat([_audio_pairs(members), subjects.assign(kind="same subject")])
    split = splits.set_index("record").split
    pairs = pairs.assign(split_a=pairs.record_a.map(split), split_b=pairs.record_b.map(split))
    # Pairs come in both directions; one of them leads from an earlier split to a later one.
    leaks = pairs[pairs.split_a.map(_RANK) < pairs.split_b.map(_RANK)][_COLUMNS]
    if root is not None:
        leaks = pd.concat([leaks, _copy_rows(root, recordings, splits)])
    return _in_order(leaks)


def validation_copies(
    root: Path | str, recordings: pd.DataFrame, splits: pd.DataFrame
) -> pd.DataFrame:
    """Which recording each file of the Challenge's `validation` folder copies.

    The folder reads like held-out data but is none.

    Args:
        root: folder of the data; the validation folder may lie at any depth.
        recordings: columns record, digest.
        splits: record, split.

    Returns:
        One row a file and recording with the very same samples: record (the file's name), copy_of,
        split (of the recording). Both are "" where there is none. No row without such a folder.

    Raises:
        InputError: if `root` is no folder, or naming every file that cannot be read.
    """
    files = _validation_files(Path(root))
    inspected = [inspect_samples(str(path)) for path in files]
    if problems := [result for result in inspected if isinstance(result, str)]:
        raise InputError(problems)
    columns = {
        "record": [path.stem for path in files],
        "digest": [result["digest"] for result in inspected],
    }
    known = recordings[["record", "digest"]].merge(splits, on="record", how="left")
    known = known.rename(columns={"record": "copy_of"})
    table = pd.DataFrame(columns, dtype=str).merge(known, on="digest", how="left").fillna("")
    columns = ["record", "copy_of", "split"]
    return table[columns].sort_values(columns, ignore_index=True)


def summarize(leaks: pd.DataFrame) -> pd.DataFrame:
    """How much leaks between which splits.

    Args:
        leaks: the table of `find_leaks`.

    Returns:
        One row a kind and two splits: kind, split_a, split_b, pairs, recordings (different ones in
        those pairs, copies in the validation folder not counted), longest_seconds (NaN for the
        same subject).
    """
    keys, rows = ["kind", "split_a", "split_b"], []
    for key, part in _in_order(leaks).groupby(keys, sort=False):
        records = {*part.record_a, *part.record_b[part.split_b != VALIDATION]}
        rows.append((*key, len(part), len(records), part.seconds.max()))
    return pd.DataFrame(rows, columns=[*keys, "pairs", "recordings", "longest_seconds"])


def without_leaks(
    cases: pd.DataFrame,
    leaking_records: Iterable[str],
    models: Sequence[str],
    n_resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """How the models' AUROCs change when the recordings that leak are dropped.

    The change is paired: each resample of whole groups is scored with and without those of its
    recordings that leak, so its interval is far narrower than either score's. How many leak is
    taken for chance as well. Simulated with 7 to 80 affected of 400 and 6 of 60, it holds the
    truth in 91 to 96 % of cases.

    Args:
        cases: record, group, label, and a column of logits a model.
        leaking_records: such as `splits.audit(recordings, splits).record`; those that are not
            among the cases do not matter. (`find_leaks` with validation copies lists more: a
            copy does not spoil a score.)
        models: names of columns.
        n_resamples, seed: of `intervals.cluster_bootstrap`, which makes the 95 % intervals.

    Returns:
        One row a model: model, n, dropped, auroc, low, high (of all cases), auroc_kept, low_kept,
        high_kept, change (kept minus all), low_change, high_change.

    Raises:
        InputError: if a model has no column, if a class is missing or is one group only among the
            kept, or if a logit is unusable.
    """
    kept = ~cases.record.isin(set(leaking_records)).to_numpy()
    _check(cases, kept, models)
    rows = [
        (model, len(cases), int((~kept).sum()), *_scores(cases, kept, model, n_resamples, seed))
        for model in models
    ]
    scores = [f"{name}{part}" for part in ("", "_kept") for name in ("auroc", "low", "high")]
    changes = ["change", "low_change", "high_change"]
    return pd.DataFrame(rows, columns=["model", "n", "dropped", *scores, *changes])


def _audio_pairs(members: pd.DataFrame) -> pd.DataFrame:
    """Pairs with common samples, in both directions: record_a, record_b, seconds, kind."""
    whole = _alike(members, "digest").assign(kind="identical audio")
    found = shared_audio(members).assign(kind="shared audio")
    turned = found.rename(columns={"record_a": "record_b", "record_b": "record_a"})
    # Where whole files are equal, so are their samples: what comes first says more.
    return pd.concat([whole, found, turned]).drop_duplicates(["record_a", "record_b"])


def _alike(members: pd.DataFrame, key: str) -> pd.DataFrame:
    """All ordered pairs of equal `key`, with the seconds of the first: record_a, record_b, ..."""
    table = members[["record", "seconds", key]]
    both = table.merge(table[["record", key]], on=key, suffixes=("_a", "_b"))
    return both.loc[both.record_a != both.record_b, ["record_a", "record_b", "seconds"]]


def _copy_rows(root: Path | str, recordings: pd.DataFrame, splits: pd.DataFrame) -> pd.DataFrame:
    """Validation copies of recordings that are in some split, as rows of `find_leaks`."""
    copies = validation_copies(root, recordings, splits)
    copies = copies[copies.split != ""]
    columns = {
        "kind": "validation copy",
        "record_a": copies.copy_of,
        "record_b": VALIDATION + "/" + copies.record,
        "split_a": copies.split,
        "split_b": VALIDATION,
        "seconds": copies.copy_of.map(recordings.set_index("record").seconds),
    }
    return pd.DataFrame(columns)


def _validation_files(root: Path) -> list[Path]:
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; name the one that `hsutils fetch` filled")
    # Hidden folders are where `hsutils fetch` unpacks.
    found = root.rglob(f"{VALIDATION}/[!.]*.wav")
    return sorted(p for p in found if not any(n[0] == "." for n in p.relative_to(root).parts))


def _in_order(leaks: pd.DataFrame) -> pd.DataFrame:
    """By kind and splits in their fixed order, then the longest first."""
    names = leaks[["kind", "split_a", "split_b"]].apply(lambda column: column.map(_RANK))
    keys = [leaks.record_b, leaks.record_a, -leaks.seconds]
    keys += [names.split_b, names.split_a, names.kind]
    return leaks.iloc[np.lexsort(keys)].reset_index(drop=True)


def _check(cases: pd.DataFrame, kept: np.ndarray, models: Sequence[str]) -> None:
    problems = [
        f"models: {model!r} is no column of the cases; give its logits"
        for model in models
        if model not in cases
    ]
    for label, name in enumerate(("normal", "abnormal")):
        if not (cases.label[kept] == label).any():
            problems.append(
                f"leaking_records: no {name} recording is left without them, so there is no AUROC; "
                "use splits.method=generated"
            )
    if problems:
        raise InputError(problems)


def _scores(
    cases: pd.DataFrame, kept: np.ndarray, model: str, n_resamples: int, seed: int
) -> list[float]:
    """AUROC of all, of the kept, and the change, each followed by its interval."""
    labels, logits, groups = (cases[name].to_numpy() for name in ("label", model, "group"))
    settings = {"n_resamples": n_resamples, "seed": seed}
    every = cluster_bootstrap(labels, logits, groups, **settings)
    fewer = cluster_bootstrap(labels[kept], logits[kept], groups[kept], **settings)
    scores = [table.set_index("metric").loc["auroc"] for table in (every, fewer)]
    draws = multiplicities(labels, group_codes(groups, len(labels)), **settings)
    # A recording that is dropped counts for nothing, however often its group was drawn.
    changes = [
        weighted_metrics(labels, logits, weights * kept)["auroc"]
        - weighted_metrics(labels, logits, weights)["auroc"]
        for weights in draws
    ]
    reached = expanded_level(labels, groups, level=0.95)
    low, high, _ = percentiles(np.concatenate(changes), reached)
    change = scores[1].value - scores[0].value
    return [*(row[key] for row in scores for key in ("value", "low", "high")), change, low, high]
