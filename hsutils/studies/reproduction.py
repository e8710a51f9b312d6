"""The paper's experiment over several seeds, beside the paper's numbers."""

from itertools import product

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hsutils import plots
from hsutils.evaluation.intervals import cluster_bootstrap, evaluate
from hsutils.evaluation.metrics import choose_threshold, confusion
from hsutils.evaluation.tables import PAPER
from hsutils.models.build import MODELS
from hsutils.pipeline import EVALUATED
from hsutils.studies import ablations
from hsutils.studies.seeds import Tables, tidy

INPUTS = ("predictions.csv", "histories.csv", "trainings.csv")
COUNTS = ("tn", "fp", "fn", "tp")
MOVED = " at the paper's specificity"


def is_the_papers(inputs: Tables) -> bool:
    """Whether the paper's numbers may stand beside these: see `Profile.is_the_papers`."""
    return bool(inputs["trainings"].is_the_papers.all())


def predictions(inputs: Tables, split: str) -> dict[str, pd.DataFrame]:
    """The profile's own predictions of one split: model -> seed, record, label, logit, group."""
    own, parts = inputs["trainings"].variant.iloc[0], {}
    table = inputs["predictions"].query("split == @split")
    for column in table.columns[table.columns.str.startswith(f"{own}/")]:
        _, model, seed = column.split("/")
        about = {"seed": int(seed), "record": table.index, "logit": table[column]}
        parts.setdefault(model, []).append(table[["label", "group"]].assign(**about))
    return {model: pd.concat(parts[model], ignore_index=True) for model in MODELS}


def results(inputs: Tables) -> pd.DataFrame:
    """The rows of `results.csv`; protocol is the split. Then those of `ablations`.

    A seed's low and high are the 95% interval over recordings; those of seed "mean" are the lowest
    and the highest seed. Variant "published" is the paper. Decisions are at logit 0, and with "at
    the paper's specificity" at the threshold that has this specificity on dev.
    """
    own, rows, real = inputs["trainings"].variant.iloc[0], [], is_the_papers(inputs)
    dev = predictions(inputs, "dev")
    for split, model in product(EVALUATED, MODELS):
        for seed, part in predictions(inputs, split)[model].groupby("seed"):
            counts = zip(COUNTS, confusion(part.label, part.logit).ravel(), strict=True)
            parts = [cluster_bootstrap(part.label, part.logit, part.group)]
            parts.append(pd.DataFrame(counts, columns=["metric", "value"]))
            if split == "test" and real:
                parts.append(_moved(model, dev[model].query("seed == @seed"), part))
            about = {"variant": own, "model": model, "seed": seed, "protocol": split}
            rows.append(pd.concat(parts).assign(**about))
    found = pd.concat(rows, ignore_index=True)
    groups = found.groupby(["variant", "model", "protocol", "metric"], sort=False).value
    mean = groups.agg(value="mean", low="min", high="max").reset_index().assign(seed="mean")
    found = pd.concat([found, mean, *([_paper()] if real else [])], ignore_index=True)
    table = tidy(found, study="reproduction")
    return pd.concat([table, ablations.results(inputs)], ignore_index=True)


def _moved(model: str, dev: pd.DataFrame, test: pd.DataFrame) -> pd.DataFrame:
    """What a model decides on test at the threshold that has the paper's specificity on dev."""
    (tn, fp), _ = PAPER[model].confusion
    threshold = choose_threshold(dev.label, dev.logit, specificity=tn / (tn + fp))
    found = evaluate(test.label, test.logit - threshold) | {"threshold": threshold}
    asked = ("sensitivity", "specificity", "threshold")
    return pd.DataFrame([(m + MOVED, found[m]) for m in asked], columns=["metric", "value"])


def _paper() -> pd.DataFrame:
    """The paper's numbers; what it does not print follows from its confusion matrices."""
    rows = []
    for model, printed in PAPER.items():
        counts = np.ravel(printed.confusion)
        values = evaluate(np.repeat([0, 0, 1, 1], counts), np.repeat([-1, 1, -1, 1], counts))
        values |= {"auroc": printed.test_auroc} | dict(zip(COUNTS, counts, strict=True))
        rows.append((model, "dev", "auroc", printed.dev_auroc))
        rows += [(model, "test", metric, value) for metric, value in values.items()]
    columns = ["model", "protocol", "metric", "value"]
    return pd.DataFrame(rows, columns=columns).assign(variant="published", seed="")


def figures(inputs: Tables, found: pd.DataFrame) -> dict[str, Figure]:
    """Every picture by name; `found` are the rows of `results`."""
    real, test = is_the_papers(inputs), predictions(inputs, "test")
    own = inputs["histories"].variant.eq(inputs["trainings"].variant.iloc[0])
    histories = dict(iter(inputs["histories"][own].groupby("model")))
    curves = {model: histories[model] for model in MODELS}
    pages = {
        "roc": plots.roc_curves(test, paper=real),
        "confusion": plots.confusion_matrices(test, paper=real),
        "dev-auroc": plots.dev_auroc_by_epoch(curves, paper=real),
        "paper-figure-5": plots.dev_auroc_by_epoch({"student": curves["student"]}, paper=real),
    }
    rates = ablations.learning_rates(inputs)
    if rates.rate.nunique() > 1:
        curves = {f"learning rate {rate:g}": part for rate, part in rates.groupby("rate")}
        pages["learning-rates"] = plots.dev_auroc_by_epoch(curves, paper=False)
    options, seeds = ablations.for_figure(found)
    if len(options):
        pages["ablations"] = plots.ablations(options, seeds)
    return pages
