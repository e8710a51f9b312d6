"""The right answers to the notebooks' exercises, computed from the run, and a hint for each."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import display

from hsutils.config import PROJECT
from hsutils.data.corpus import load_recordings, load_splits
from hsutils.data.splits import audit
from hsutils.errors import InputError
from hsutils.evaluation.shortcuts import database_baseline
from hsutils.pipeline import load_predictions
from hsutils.run import Run

RIGHT, WRONG, OPEN = "✔ **Right.**", "✘ **Not yet.**", "… **Your turn.**"
NUMBERS, WORDS = "The answer is one or more numbers.", "The answer is one or more names."


@dataclass(frozen=True)
class Exercise:
    """The right answer, computed from a run, and what to look at again after a wrong one."""

    right: Callable[[Run], Any]
    hint: str
    tolerance: float = 0.005
    """How far a number may be off; absolute, in the unit of the answer."""


def checker(run: Run) -> Callable[[str, Any], None]:
    """A function `check(number, answer)` that says below a cell whether an answer is right.

    An answer is a number, several numbers in order, a word, or several words in any order; of
    Python, NumPy, pandas or PyTorch. `...` is the answer to an open question and shows its hint.
    The text/plain output is the verdict alone, such as "04.3: right", "wrong" or "open".

    Raises:
        InputError: by `check`, if no exercise has this number.
    """

    def check(number: str, answer: Any) -> None:
        if number not in EXERCISES:
            raise InputError(f"there is no exercise {number}; there are {', '.join(EXERCISES)}")
        exercise = EXERCISES[number]
        if answer is ...:
            return _show(number, "open", OPEN, exercise.hint)
        right, given = _plain(exercise.right(run)), _plain(answer)
        if type(given) is not type(right):
            return _show(number, "wrong", WRONG, WORDS if isinstance(right, set) else NUMBERS)
        if isinstance(right, set):
            same = given == right
        else:
            same = given.shape == right.shape and np.allclose(given, right, 0, exercise.tolerance)
        return (
            _show(number, "right", RIGHT) if same else _show(number, "wrong", WRONG, exercise.hint)
        )

    return check


def _show(number: str, verdict: str, *texts: str) -> None:
    text = " ".join([f"{number}:", *texts])
    display({"text/plain": f"{number}: {verdict}", "text/markdown": text}, raw=True)


def _plain(value: Any) -> np.ndarray | set[str] | None:
    """Numbers as a flat array, words as a set in lower case, anything else as None."""
    value = getattr(value, "detach", lambda: value)()
    listed = isinstance(value, Iterable) and not isinstance(value, str)
    try:
        values = np.asarray(sorted(value) if isinstance(value, set) else value).ravel()
        if values.dtype.kind in "biuf":
            return values.astype(float)
    except (TypeError, ValueError):
        return None
    words = [*value] if listed else [value]
    return {w.strip().casefold() for w in words} if all(isinstance(w, str) for w in words) else None


def _random_split_leaks(run: Run) -> int:
    splits = load_splits(run)
    drawn = splits.assign(split=np.random.default_rng(1).permutation(splits.split))
    return audit(load_recordings(run), drawn).group.nunique()


def _found(run: Run, model: str, threshold: Callable[[pd.DataFrame], float]) -> float:
    """Share of the abnormal test recordings above a threshold that is computed from dev."""
    dev, test = (load_predictions(run, model, split) for split in ("dev", "test"))
    return (test.logit[test.label == 1] > threshold(dev)).mean()


def _false_alarms(run: Run) -> float:
    test = load_predictions(run, "student", "test")
    return 980 * (test.logit[test.label == 0] > 0).mean()


def _reversed_databases(run: Run) -> list[str]:
    found = pd.read_csv(PROJECT / "figures/unseen/results.csv")
    asked = "variant == 'paper' and model == 'student' and metric == 'auroc' and seed == 'mean'"
    return found.query(f"{asked} and high < 0.5").database.tolist()


def _found_above_the_median(run: Run) -> float:
    left = pd.read_csv(run.path("beyond/left_out.csv"))
    return (left["robust"] > left["robust"].median())[left.label == 1].mean()


EXERCISES = {
    # 01 Data exploration
    "01.1": Exercise(
        lambda run: load_recordings(run).groupby("database").label.mean().idxmax(),
        "Group the recordings by `database`. The mean of `label` is the share of abnormal ones.",
    ),
    "01.2": Exercise(
        _random_split_leaks,
        "Permute the column `split` with `np.random.default_rng(1)`, audit the result, and count "
        "each `group` once.",
    ),
    "01.3": Exercise(
        lambda run: database_baseline(load_recordings(run), load_splits(run)).logit.max(),
        "`alone` holds a logit for each recording of *test*. Which logit is the highest?",
    ),
    # 07 Results
    "07.1": Exercise(
        lambda run: _found(run, "baseline", lambda dev: dev.logit.median()),
        "The threshold comes from *dev*, the share from *test*: `test['baseline']`, label 1.",
    ),
    "07.2": Exercise(
        lambda run: _found(run, "student", lambda dev: dev.logit[dev.label == 1].quantile(0.05)),
        "`quantile(0.05)` of the abnormal *dev* recordings only; then the share on *test*.",
    ),
    # 08 Can we trust it?
    "08.1": Exercise(
        lambda run: 18 / (18 + 196),
        "18 of the 20 ill are found. How many of the 980 healthy people get an alarm?",
    ),
    "08.2": Exercise(
        _false_alarms,
        "980 of 1,000 are healthy. The share of them with an alarm is 1 − specificity.",
        tolerance=0.5,
    ),
    # 09 Beyond the paper
    "09.1": Exercise(
        _reversed_databases,
        "Look for the rows of the paper's student whose column `high` is below 0.5.",
    ),
    "09.2": Exercise(
        _found_above_the_median,
        "The threshold is `tested['robust'].median()`. Which share of label 1 is above it?",
    ),
}
"""Number, "notebook.exercise" -> exercise; every notebook's below its own line."""
