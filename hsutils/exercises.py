"""The right answers to the notebooks' exercises, computed from the run, and a hint for each."""

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from IPython.display import display
from scipy.special import entr

from hsutils.audio.spectrograms import mel_filters
from hsutils.config import PROJECT, RECORDED_RATE, load_profile
from hsutils.data.corpus import load_recordings, load_splits
from hsutils.data.splits import audit
from hsutils.errors import InputError
from hsutils.evaluation.shortcuts import database_baseline
from hsutils.pipeline import MODELS, label_softly, load_predictions
from hsutils.run import Run
from hsutils.training.checkpoints import history_table

RIGHT, WRONG, OPEN = "✔ **Right.**", "✘ **Not yet.**", "… **Your turn.**"
NUMBERS, WORDS = "The answer is one or more numbers.", "The answer is one or more names."


class Exercise(NamedTuple):
    """The right answer, computed from a run, and what to look at again after a wrong one."""

    right: Callable[[Run], Any]
    hint: str
    tolerance: float = 0.005  # absolute, in the unit of the answer


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
        right, given = _plain(exercise.right(run)), _plain(answer)
        words = isinstance(right, set)
        if answer is ...:
            verdict, text = "open", f"{OPEN} {exercise.hint}"
        elif type(given) is not type(right):
            verdict, text = "wrong", f"{WRONG} {WORDS if words else NUMBERS}"
        elif given == right if words else _close(given, right, exercise.tolerance):
            shown = sorted(right) if words else [f"{value:.4g}" for value in right]
            verdict, text = "right", f"{RIGHT} {', '.join(shown)}"
        else:
            verdict, text = "wrong", f"{WRONG} {exercise.hint}"
        said = {"text/plain": f"{number}: {verdict}", "text/markdown": f"{number}: {text}"}
        display(said, raw=True)

    return check


def _close(given: np.ndarray, right: np.ndarray, tolerance: float) -> bool:
    return given.shape == right.shape and np.allclose(given, right, rtol=0, atol=tolerance)


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


def _reversed_databases(run: Run) -> list[str]:
    found = pd.read_csv(PROJECT / "figures/unseen/results.csv")
    asked = "variant == 'paper' and model == 'student' and metric == 'auroc' and seed == 'mean'"
    return found.query(f"{asked} and high < 0.5").database.tolist()


def _found_above_the_median(run: Run) -> float:
    left = pd.read_csv(run.path("beyond/left_out.csv"))
    return (left["robust"] > left["robust"].median())[left.label == 1].mean()


def _filters_above(_: Run) -> int:
    front_end = load_profile("paper").front_end
    above = np.arange(front_end.bins) * front_end.sample_rate / front_end.n_fft > RECORDED_RATE / 2
    weights = mel_filters(front_end) > 0
    return (weights[above].any(axis=0) & ~weights[~above].any(axis=0)).sum()


def _history(run: Run, network: str) -> pd.DataFrame:
    return history_table(run.note(f"{network}.safetensors")["history"])


def _logits(run: Run, model: str, label: int, split: str = "dev") -> pd.Series:
    found = load_predictions(run, model, split)
    return found.logit[found.label == label]


def _sensitivity(run: Run, model: str, threshold: float, split: str = "test") -> float:
    return (_logits(run, model, 1, split) > threshold).mean()


def _gain(run: Run) -> float:
    by_epoch = _history(run, "teacher").dev_auroc
    return by_epoch.max() - by_epoch.tail(5).mean()


def _worst_mistake(run: Run) -> str:
    dev = load_predictions(run, "teacher", "dev")
    return dev.record[((2 * dev.label - 1) * dev.logit).idxmin()]


def _wrong_soft_labels(run: Run) -> list[int]:
    table = label_softly(run).merge(load_recordings(run), on="record")
    wrong = table[(table.soft_label > 0.5) != (table.label == 1)]
    return [(wrong.label == label).sum() for label in (0, 1)]


def _above_the_floor(run: Run) -> float:
    q = label_softly(run).soft_label
    return _history(run, "student").loss.iloc[-1] - (entr(q) + entr(1 - q)).mean()


def _costs_of_guesses(run: Run) -> list[float]:
    table = load_recordings(run).merge(load_splits(run), on="record")
    p = table[table.split == "pretrain"].label.mean()
    return [-p * math.log(g) - (1 - p) * math.log(1 - g) for g in (0.5, 0.001)]


def _specificity_at_the_students_sensitivity(run: Run) -> float:
    found = _sensitivity(run, "student", 0, "dev")
    return (_logits(run, "baseline", 0) < _logits(run, "baseline", 1).quantile(1 - found)).mean()


def _disagreements(run: Run) -> int:
    test = [load_predictions(run, model, "test").set_index("record").logit > 0 for model in MODELS]
    return pd.concat(test, axis=1).nunique(axis=1).gt(1).sum()


def _surest_false_alarm(run: Run) -> str:
    test = load_predictions(run, "student", "test")
    return test[test.label == 0].set_index("record").logit.idxmax()


def _alarms_with_three_missed(run: Run) -> int:
    fourth = _logits(run, "teacher", 1, "test").nsmallest(4).max()
    return (_logits(run, "teacher", 0, "test") >= fourth).sum()


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
    # 02 Spectrograms
    "02.1": Exercise(
        lambda run: 60 / 75 * run.profile.front_end.sample_rate / run.profile.front_end.hop,
        "A beat lasts 60 / 75 s. A frame begins every `hop / sample_rate` seconds.",
        tolerance=0.5,
    ),
    "02.2": Exercise(
        _filters_above,
        "A filter lies above 1 kHz if all of its weights at 1 kHz and below are 0.",
    ),
    "02.3": Exercise(
        lambda run: 1 - (1 - run.profile.augment.masked_share) ** 2,
        "A visible cell lies in a visible row *and* in a visible frame.",
    ),
    # 03 Contrastive teacher
    "03.1": Exercise(
        lambda run: math.log(7),
        "Each view has 2 · 4 − 1 others, and a guess gives each the same probability.",
    ),
    "03.2": Exercise(
        lambda run: math.log1p((2 * run.profile.pretrain.batch_size - 2) * math.exp(-2)),
        "`apart` holds such projections: call `nt_xent` with it twice, and with the temperature.",
    ),
    "03.3": Exercise(
        lambda run: math.exp(-_history(run, "encoder").loss.iloc[-1]),
        "The last row of `pretrained.history` has the loss; take `math.exp` of minus this number.",
    ),
    # 04 Fine-tuned teacher
    "04.1": Exercise(
        _gain,
        "`tuned.history.dev_auroc` has a value for each epoch: take its maximum and its `tail(5)`.",
    ),
    "04.2": Exercise(
        _worst_mistake,
        "The logit of a normal recording should be low, of an abnormal one high. Where is it "
        "farthest on the wrong side of 0?",
    ),
    "04.3": Exercise(
        lambda run: _logits(run, "teacher", 1).quantile(0.1),
        "9 of 10 abnormal logits lie above it: a quantile of `dev.logit[dev.label == 1]`.",
        tolerance=0.02,
    ),
    # 05 Distilled student
    "05.1": Exercise(
        lambda run: (0, math.log(2)),
        "A perfect copy pays the entropy, −q log q − (1 − q) log(1 − q), with 0 log 0 = 0.",
    ),
    "05.2": Exercise(
        _wrong_soft_labels,
        "In `with_truth`, compare `soft_label > 0.5` with `label`, and count by `label`.",
    ),
    "05.3": Exercise(
        _above_the_floor,
        "`distilled.history.loss` has a value for each epoch; `floor` is the perfect copy's.",
    ),
    # 06 Supervised baseline
    "06.1": Exercise(
        lambda run: [(_logits(run, model, 1) > 0).sum() for model in ("student", "baseline")],
        "Of `dev[model]` take the rows of label 1, and count the logits above 0.",
    ),
    "06.2": Exercise(
        _costs_of_guesses,
        "`p` is the share of abnormal recordings, `np.log` the natural logarithm.",
    ),
    "06.3": Exercise(
        _specificity_at_the_students_sensitivity,
        "If the student finds a share s, the threshold is the quantile 1 − s of the baseline's "
        "abnormal logits. Specificity is the share of normal logits below it.",
    ),
    # 07 Results
    "07.1": Exercise(
        lambda run: _sensitivity(
            run, "baseline", load_predictions(run, "baseline", "dev").logit.median()
        ),
        "The threshold comes from *dev*, the share from *test*: `test['baseline']`, label 1.",
    ),
    "07.2": Exercise(
        lambda run: _sensitivity(run, "student", _logits(run, "student", 1).quantile(0.05)),
        "`quantile(0.05)` of the abnormal *dev* recordings only; then the share on *test*.",
    ),
    # 08 Can we trust it?
    "08.1": Exercise(
        lambda run: 18 / (18 + 196),
        "18 of the 20 ill are found. How many of the 980 healthy people get an alarm?",
    ),
    "08.2": Exercise(
        lambda run: 980 * (_logits(run, "student", 0, "test") > 0).mean(),
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
        "The threshold is `tested['robust'].median()`. What share of label 1 is above it?",
    ),
    # 10 Listening room
    "10.1": Exercise(
        _disagreements,
        "Choose the result *models disagree* and count the entries of the menu *record*.",
    ),
    "10.2": Exercise(
        _surest_false_alarm,
        "Choose the model *student* and the result *false alarm*, then compare the logits.",
    ),
    "10.3": Exercise(
        _alarms_with_three_missed,
        "Sort `room.recordings.teacher` where the label is 1. How many logits of label 0 are not "
        "below the fourth value?",
        tolerance=1.0,
    ),
}
"""Number, "notebook.exercise" -> exercise; every notebook's below its own line."""
