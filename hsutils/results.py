"""Station 07 and the probes: what the predictions say, and what they should be held against."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from hsutils.evaluation import tables as evaluation
from hsutils.training.checkpoints import history_table
from hsutils.training.devices import start_fabric
from hsutils.data.corpus import Corpus, load_recordings
from hsutils.run import Run
from hsutils.files import read_json, write_csv
from hsutils.models.teacher_student import Teacher
from hsutils.models.build import MODELS
from hsutils.pipeline import EVALUATED, load_histories, run_all, saved_predictions
from hsutils.training.loop import predict


def write_results(run: Run) -> dict[str, pd.DataFrame]:
    """Station 07: every table of the paper, and those behind the figures, saved in `tables`.

    Runs whatever is missing before it. The paper's numbers stand beside ours only where the
    recordings are real: artificial ones are another task.

    Returns:
        Name -> table: table_1, table_2, table_3 and errors (test, most confident first) and
        summary as in `hsutils.evaluation`; history, one row a model and epoch.
    """
    run_all(run)
    by_split = {s: {m: read_predictions(run, m, s) for m in MODELS} for s in EVALUATED}
    dev, test = by_split["dev"], by_split["test"]
    tables = {
        "table_1": evaluation.table_1(dev),
        "table_2": evaluation.table_2(test),
        "table_3": evaluation.table_3(test),
        "summary": evaluation.summary(
            {(model, split): by_split[split][model] for model in MODELS for split in EVALUATED}
        ),
        "errors": evaluation.errors(test),
        "history": _long_history(run),
    }
    if not has_paper_numbers(run):
        tables = {name: _without_paper(table) for name, table in tables.items()}
    tables |= {name: tables[name].round(4) for name in ("table_1", "table_3")}
    for name, table in tables.items():
        write_csv(run.path(f"tables/{name}.csv"), table)
    return tables


def has_paper_numbers(run: Run) -> bool:
    """Whether the paper's numbers may stand beside this run's."""
    return run.profile.is_the_papers


def read_predictions(run: Run, model: str, split: str) -> pd.DataFrame:
    """The saved predictions (record, label, logit, group) of one model on one split."""
    groups = load_recordings(run)[["record", "group"]]
    return saved_predictions(run, model, split).merge(groups, on="record", validate="one_to_one")


def hardest(predictions: Mapping[str, pd.DataFrame], each: int = 2) -> pd.DataFrame:
    """The recordings on which some model is most confidently wrong, or else most nearly so.

    Args:
        predictions: model -> predictions, all on the same records.
        each: recordings a model; one that several models name is listed once.

    Returns:
        Columns record, label, and one column of logits a model; the hardest for the first model
        first.
    """
    table = evaluation.side_by_side(predictions)
    toward_truth = table.drop(columns=["record", "label"]).mul(2 * table["label"] - 1, axis=0)
    worst = [row for model in toward_truth for row in toward_truth[model].nsmallest(each).index]
    return table.loc[list(dict.fromkeys(worst))].reset_index(drop=True)


def letter_baseline(
    recordings: pd.DataFrame,
    splits: pd.DataFrame,
    split: str = "test",
    learn_from: str = "pretrain",
) -> pd.DataFrame:
    """Predictions from the database letter alone: the abnormal share it has in another split.

    A model that hears nothing of the heart and only recognizes the stethoscope can do as well.

    Args:
        recordings: columns record, database, label.
        splits: columns record, split.
        split: the split to predict.
        learn_from: the split whose labels give the shares.

    Returns:
        Table record, label, logit. Letters that `learn_from` lacks get its overall share; half a
        recording is added to each class, so that a letter without abnormal ones has a logit.
    """
    table = recordings.merge(splits, on="record", validate="one_to_one")
    known = table[table.split == learn_from].groupby("database").label.agg(["sum", "count"])
    overall = known.sum()
    asked = table[table.split == split].reset_index(drop=True)
    counts = known.reindex(asked.database).reset_index(drop=True).fillna(overall)
    logit = np.log((counts["sum"] + 0.5) / (counts["count"] - counts["sum"] + 0.5))
    return asked[["record", "label"]].assign(logit=logit)


def embed(run: Run, corpus: Corpus, teacher: Teacher, split: str = "dev") -> np.ndarray:
    """The encoder's features of one split, shape (recordings, 512), in the order of the split.

    These are what the evaluator classifies; the projection head only serves the NT-Xent loss.
    """
    fabric = start_fabric(run.profile.compute)
    return predict(fabric.setup(teacher.encoder), corpus.cache, corpus.rows(split), fabric)


def _long_history(run: Run) -> pd.DataFrame:
    """Histories of the pre-training and the three classifiers, one after the other."""
    encoder = history_table(read_json(run.path("encoder.json"))["history"])
    histories = {"encoder": encoder} | load_histories(run)
    parts = [history.assign(model=model) for model, history in histories.items()]
    columns = ["model", "epoch", "loss", "dev_auroc", "seconds"]
    return pd.concat(parts, ignore_index=True)[columns]


def _without_paper(table: pd.DataFrame) -> pd.DataFrame:
    return table.loc[:, ~table.columns.str.startswith("paper")]
