"""Predictions to tables, the paper's numbers beside ours.

Predictions have the columns record, label (0 normal, 1 abnormal), logit and group. Intervals hold
the sampling error of the evaluated recordings, not the spread between training seeds.
"""

from collections.abc import Mapping
from typing import NamedTuple

import pandas as pd

from hsutils.errors import InputError
from hsutils.evaluation.intervals import auroc_and_interval, evaluate
from hsutils.evaluation.metrics import CLASSES, auroc, confusion, confusion_report

Predictions = Mapping[str, pd.DataFrame]
"""Model -> predictions, all on the same split."""


class PaperResult(NamedTuple):
    """What the paper prints for one model (tables 1-3)."""

    dev_auroc: float
    test_auroc: float
    confusion: tuple[tuple[int, int], tuple[int, int]]


PAPER = {
    "teacher": PaperResult(0.926, 0.927, ((154, 46), (21, 179))),
    "student": PaperResult(0.907, 0.915, ((150, 50), (8, 192))),
    "baseline": PaperResult(0.820, 0.864, ((198, 2), (146, 54))),
}


def table_1(dev: Predictions) -> pd.DataFrame:
    """Dev AUROC: model, recordings, auroc, auroc_low, auroc_high, paper."""
    rows = []
    for model, p in dev.items():
        about = {"model": model, "recordings": len(p)}
        rows.append(about | _auroc(p) | {"paper": PAPER[model].dev_auroc})
    return pd.DataFrame(rows)


def table_2(test: Predictions) -> pd.DataFrame:
    """Test confusion matrices, one row per model and actual class.

    Columns model, actual, predicted_normal, predicted_abnormal, paper_normal, paper_abnormal.
    """
    columns = [f"{who}_{name}" for who in ("predicted", "paper") for name in CLASSES]
    parts = []
    for model, p in test.items():
        counts = zip(confusion(p.label, p.logit), PAPER[model].confusion, strict=True)
        part = pd.DataFrame([[*ours, *theirs] for ours, theirs in counts], columns=columns)
        parts.append(part.assign(model=model, actual=CLASSES))
    return pd.concat(parts, ignore_index=True)[["model", "actual", *columns]]


def table_3(test: Predictions) -> pd.DataFrame:
    """Test precision, recall, F1 and AUROC, one row per model and class.

    Columns model, class, precision, recall, f1, paper_precision, paper_recall, paper_f1 (computed
    from the paper's confusion matrices), auroc, auroc_low, auroc_high, paper_auroc.
    """
    parts = []
    for model, p in test.items():
        theirs = confusion_report(PAPER[model].confusion).add_prefix("paper_")
        part = confusion_report(confusion(p.label, p.logit)).join(theirs).reset_index()
        part.insert(0, "model", model)
        parts.append(part.assign(**_auroc(p), paper_auroc=PAPER[model].test_auroc))
    return pd.concat(parts, ignore_index=True)


def summary(predictions: Mapping[tuple[str, str], pd.DataFrame]) -> pd.DataFrame:
    """model, split, n, auroc, auroc_low, auroc_high, and the others of `intervals.METRICS`."""
    rows = [
        {"model": model, "split": split, "n": len(p)} | _auroc(p) | evaluate(p.label, p.logit)
        for (model, split), p in predictions.items()
    ]
    return pd.DataFrame(rows)


def side_by_side(by_model: Predictions) -> pd.DataFrame:
    """record, label, and one column of logits per model; an InputError if the records differ."""
    parts = {model: p.set_index("record") for model, p in by_model.items()}
    (first, reference), *_ = parts.items()
    for model, part in parts.items():
        if not part.label.sort_index().equals(reference.label.sort_index()):
            raise InputError(
                f"predictions of {model}: records or labels differ from those of {first}; "
                "evaluate both on the same split"
            )
    logits = {model: part.logit for model, part in parts.items()}
    return reference[["label"]].assign(**logits).reset_index()


def shared_errors(by_model: Predictions) -> pd.DataFrame:
    """How many recordings two models both get wrong at logit 0: (models, models), named."""
    wrong = _wrong(side_by_side(by_model)).astype(int)
    return wrong.T @ wrong


def errors(test: Predictions) -> pd.DataFrame:
    """Recordings that at least one model gets wrong at logit 0.

    Columns as `side_by_side`, n_wrong, wrong_by (model names joined by commas). Sorted by the wrong
    logit farthest from 0, whichever model gave it.
    """
    table = side_by_side(test)
    wrong = _wrong(table)
    names = [", ".join(wrong.columns[row]) for row in wrong.to_numpy()]
    table = table.assign(n_wrong=wrong.sum(axis=1), wrong_by=names)
    confidence = table[wrong.columns].abs().where(wrong).max(axis=1).dropna()
    order = confidence.sort_values(ascending=False, kind="stable").index
    return table.loc[order].reset_index(drop=True)


def hardest(predictions: Predictions, each: int = 2) -> pd.DataFrame:
    """The recordings on which some model is most confidently wrong, or else most nearly so.

    Columns as `side_by_side`; `each` recordings a model, those of the first model first.
    """
    table = side_by_side(predictions)
    toward_truth = table.drop(columns=["record", "label"]).mul(2 * table["label"] - 1, axis=0)
    worst = [row for model in toward_truth for row in toward_truth[model].nsmallest(each).index]
    return table.loc[list(dict.fromkeys(worst))].reset_index(drop=True)


def auroc_interval(predictions: pd.DataFrame) -> tuple[float, float]:
    """95% interval of the AUROC: low, high."""
    found = auroc_and_interval(predictions.label, predictions.logit, predictions.get("group"))
    return found["low"], found["high"]


def _auroc(p: pd.DataFrame) -> dict[str, float]:
    low, high = auroc_interval(p)
    return {"auroc": auroc(p.label, p.logit), "auroc_low": low, "auroc_high": high}


def _wrong(table: pd.DataFrame) -> pd.DataFrame:
    """Whether each model (a column) is wrong about each recording."""
    logits = table.drop(columns=["record", "label"])
    return (logits > 0).ne(table["label"] == 1, axis=0)
