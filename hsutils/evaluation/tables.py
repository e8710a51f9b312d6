"""Predictions to tables, the paper's numbers beside ours.

A prediction table has the columns record, label (0 normal, 1 abnormal) and logit. If it has a
column group, intervals are those of whole groups (`intervals.cluster_bootstrap`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from hsutils.errors import InputError
from hsutils.evaluation.intervals import cluster_bootstrap, evaluate
from hsutils.evaluation.metrics import (
    CLASSES,
    accuracy,
    auroc,
    class_report,
    confusion,
    confusion_report,
    roc,
)

__all__ = [
    "CLASSES",
    "PAPER",
    "PaperResult",
    "accuracy",
    "auroc",
    "auroc_interval",
    "class_report",
    "confusion",
    "confusion_report",
    "errors",
    "in_model_order",
    "roc",
    "side_by_side",
    "summary",
    "table_1",
    "table_2",
    "table_3",
]


@dataclass(frozen=True)
class PaperResult:
    """What the paper prints for one model (tables 1-3)."""

    dev_auroc: float
    test_auroc: float
    confusion: tuple[tuple[int, int], tuple[int, int]]


PAPER = {
    "teacher": PaperResult(0.926, 0.927, ((154, 46), (21, 179))),
    "student": PaperResult(0.907, 0.915, ((150, 50), (8, 192))),
    "baseline": PaperResult(0.820, 0.864, ((198, 2), (146, 54))),
}


def in_model_order(by_model: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The paper's models first, in its order, then any others as given."""
    known = [model for model in PAPER if model in by_model]
    return {model: by_model[model] for model in [*known, *(m for m in by_model if m not in PAPER)]}


def table_1(dev: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Dev AUROC of each model beside the paper's table 1.

    Args:
        dev: model -> predictions on the dev split.

    Returns:
        One row a model: model, recordings, auroc, auroc_low, auroc_high (95% bootstrap), paper.
    """
    rows = []
    for model, p in in_model_order(dev).items():
        paper = PAPER[model].dev_auroc if model in PAPER else np.nan
        rows.append({"model": model, "recordings": len(p), **_auroc_columns(p), "paper": paper})
    return pd.DataFrame(rows)


def table_2(test: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Test confusion matrices beside the paper's table 2.

    Args:
        test: model -> predictions on the test split.

    Returns:
        One row a model and actual class: model, actual, predicted_normal, predicted_abnormal,
        paper_normal, paper_abnormal.
    """
    rows = []
    for model, p in in_model_order(test).items():
        paper = PAPER[model].confusion if model in PAPER else [(pd.NA, pd.NA)] * 2
        ours = confusion(p["label"], p["logit"])
        rows += [
            (model, *row) for row in zip(CLASSES, *ours.T, *zip(*paper, strict=True), strict=True)
        ]
    predicted = [f"{who}_{c}" for who in ("predicted", "paper") for c in CLASSES]
    table = pd.DataFrame(rows, columns=["model", "actual", *predicted])
    return table.astype(dict.fromkeys(predicted, "Int64"))


def table_3(test: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Test precision, recall, F1 and AUROC beside the paper's table 3.

    The paper's values are computed from its confusion matrices, so they carry more digits than it
    prints.

    Args:
        test: model -> predictions on the test split.

    Returns:
        One row a model and class: model, class, precision, recall, f1, paper_precision,
        paper_recall, paper_f1, and the model's auroc, auroc_low, auroc_high, paper_auroc.
    """
    parts = []
    for model, p in in_model_order(test).items():
        ours = class_report(p["label"], p["logit"])
        paper = PAPER.get(model)
        theirs = confusion_report(paper.confusion if paper else np.full((2, 2), np.nan))
        part = ours.join(theirs.add_prefix("paper_")).reset_index()
        columns = _auroc_columns(p) | {"paper_auroc": paper.test_auroc if paper else np.nan}
        parts.append(part.assign(model=model, **columns))
    table = pd.concat(parts, ignore_index=True)
    return table[["model", *table.columns.drop("model")]]


def summary(predictions: Mapping[tuple[str, str], pd.DataFrame]) -> pd.DataFrame:
    """Every metric of every model on every split, one row each.

    Args:
        predictions: (model, split) -> predictions.

    Returns:
        Columns model, split, n, auroc, auroc_low, auroc_high, and with abnormal as the class to
        be found: sensitivity, specificity, accuracy, macc, f1, ppv, npv.
    """
    rows = []
    for (model, split), p in predictions.items():
        metrics = evaluate(p["label"], p["logit"])
        rows.append({"model": model, "split": split, "n": len(p), **_auroc_columns(p), **metrics})
    return pd.DataFrame(rows)


def side_by_side(by_model: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """One row a recording: record, label, and one column of logits a model.

    Raises:
        InputError: if the models were not evaluated on the same records with the same labels.
    """
    by_model = in_model_order(by_model)
    parts = {m: p.set_index("record")[["label", "logit"]] for m, p in by_model.items()}
    (first, reference), *others = parts.items()
    problems = [
        f"predictions of {model}: records or labels differ from those of {first}; "
        "evaluate both on the same split"
        for model, part in others
        if not part["label"].sort_index().equals(reference["label"].sort_index())
    ]
    if problems:
        raise InputError(problems)
    logits = {model: part["logit"] for model, part in parts.items()}
    return reference[["label"]].assign(**logits).reset_index()


def shared_errors(by_model: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """How many recordings two models both get wrong at logit 0.

    Returns:
        A square table, rows and columns named after the models: each model's own mistakes on the
        diagonal, those it shares with another beside it.
    """
    table = side_by_side(by_model)
    logits = table.drop(columns=["record", "label"])
    wrong = (logits > 0).ne(table["label"] == 1, axis=0).astype(int)
    return wrong.T @ wrong


def errors(test: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Recordings that at least one model gets wrong at logit 0, most confident errors first.

    Args:
        test: model -> predictions, all on the same records.

    Returns:
        Columns record, label, one column of logits a model, n_wrong, wrong_by (model names joined
        by commas). Sorted by the wrong logit farthest from 0, whichever model gave it.
    """
    table = side_by_side(test)
    logits = table.drop(columns=["record", "label"])
    wrong = (logits > 0).ne(table["label"] == 1, axis=0)
    table["n_wrong"] = wrong.sum(axis=1)
    table["wrong_by"] = [", ".join(logits.columns[row]) for row in wrong.to_numpy()]
    confidence = logits.abs().where(wrong).max(axis=1)
    order = confidence.sort_values(ascending=False, kind="stable").dropna().index
    return table.loc[order].reset_index(drop=True)


def auroc_interval(predictions: pd.DataFrame) -> tuple[float, float]:
    """95% interval of the AUROC; see `intervals.cluster_bootstrap`.

    It holds the sampling error of the evaluated recordings, not the spread between training seeds.

    Raises:
        InputError: as `intervals.cluster_bootstrap`.
    """
    labels, logits, groups = (predictions.get(name) for name in ("label", "logit", "group"))
    row = cluster_bootstrap(labels, logits, groups).set_index("metric").loc["auroc"]
    return float(row.low), float(row.high)


def _auroc_columns(p: pd.DataFrame) -> dict[str, float]:
    low, high = auroc_interval(p)
    return {"auroc": auroc(p["label"], p["logit"]), "auroc_low": low, "auroc_high": high}
