"""The reproduction: tables and figures of a study, drawn from its evidence alone."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from hsutils.studies import ablations
from hsutils.evaluation import tables as evaluation
from hsutils.plots import ablations as figures_ablations, seeds as figures_seeds
from hsutils.evaluation.tables import PAPER
from hsutils.studies.evidence import KEY, Evidence
from hsutils.files import write_csv
from hsutils.studies.markdown import table as table_of
from hsutils.evaluation.metrics import class_report, confusion_report, threshold_at
from hsutils.models.build import MODELS
from hsutils.pipeline import EVALUATED
from hsutils.plots.style import save_figure

METRICS = ("auroc", "accuracy", "sensitivity", "specificity", "macc", "ppv", "npv", "f1")


def tables(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Every table of a study, by name.

    results: a row a model, seed and split with every metric (`evaluation.summary`).
    seeds: mean, sd, lowest and highest of each metric over seeds, the paper's value beside it.
    table_1, table_2, table_3: the paper's tables for every seed and their mean.
    operating_points: each model and seed with its threshold moved, on dev, to the paper's
        specificity.
    ablations: dev AUROC of each option of each question, with intervals over seeds.
    learning_rates: how high, how soon and how steadily the student gets at each rate.
    early_stopping: when dev AUROC would have stopped each training, and what that had lost.
    """
    made = {"results": results(evidence)}
    own = evidence.profile
    by_seed = {split: _by_seed(evidence.logits(split, variants=False)) for split in EVALUATED}
    made["seeds"] = over_seeds(made["results"].query("profile == @own"))
    made["table_1"] = _with_mean(by_seed["dev"], evaluation.table_1, ["model"])
    made["table_2"] = _with_mean(by_seed["test"], evaluation.table_2, ["model", "actual"])
    made["table_3"] = _with_mean(by_seed["test"], evaluation.table_3, ["model", "class"])
    if evidence.is_the_papers:
        made["operating_points"] = operating_points(evidence)
        made["early_stopping"] = ablations.early_stopping(evidence)
    else:
        made = {n: t.loc[:, ~t.columns.str.startswith("paper")] for n, t in made.items()}
    made["ablations"] = ablations.ablations(made["results"], ablations.last_epochs(evidence), own)
    if (rates := ablations.learning_rates(evidence)).rate.nunique() > 1:
        made["learning_rates"] = ablations.by_rate(rates)
    return {name: table.round(5) for name, table in made.items()}


def results(evidence: Evidence) -> pd.DataFrame:
    """A row a profile, model, seed and split: profile, model, seed, split, n, auroc, ..."""
    rows = []
    for split in EVALUATED:
        for (profile, model, seed), part in evidence.logits(split).groupby(KEY, sort=False):
            row = evaluation.summary({(model, split): part}).iloc[0].to_dict()
            rows.append({"profile": profile, "model": model, "seed": seed} | row)
    return pd.DataFrame(rows)


def over_seeds(results: pd.DataFrame) -> pd.DataFrame:
    """Mean, standard deviation, lowest and highest over seeds, the paper's value beside them.

    Args:
        results: rows of one profile, as `results` gives them.

    Returns:
        Columns model, split, metric, seeds, mean, sd (n - 1; NaN for one seed), min, max, paper.
    """
    long = results.melt(["model", "split"], list(METRICS), "metric")
    groups = long.groupby(["model", "split", "metric"], sort=False).value
    table = groups.agg(["count", "mean", "std", "min", "max"]).reset_index()
    table = table.rename(columns={"count": "seeds", "std": "sd"})
    table["paper"] = [_paper(*row) for row in table[["model", "split", "metric"]].to_numpy()]
    return table


def _paper(model: str, split: str, metric: str) -> float:
    if metric == "auroc":
        return PAPER[model].dev_auroc if split == "dev" else PAPER[model].test_auroc
    if split == "dev":
        return np.nan
    matrix = np.array(PAPER[model].confusion)
    normal, abnormal = confusion_report(matrix).to_dict("records")
    values = {"accuracy": np.trace(matrix) / matrix.sum(), "f1": abnormal["f1"]}
    values |= {"sensitivity": abnormal["recall"], "specificity": normal["recall"]}
    values["macc"] = (values["sensitivity"] + values["specificity"]) / 2
    return (values | {"ppv": abnormal["precision"], "npv": normal["precision"]})[metric]


def operating_points(evidence: Evidence) -> pd.DataFrame:
    """Whether a model that decides otherwise than the paper's also ranks otherwise.

    The threshold that gives the paper's specificity is chosen on dev and judged on test.

    Returns:
        Columns model, seed, at_logit_0_specificity, at_logit_0_sensitivity, threshold (logit),
        specificity, sensitivity, paper_specificity, paper_sensitivity.
    """
    dev = evidence.logits("dev", variants=False).groupby(KEY[1:])
    rows = []
    for (model, seed), part in evidence.logits("test", variants=False).groupby(KEY[1:], sort=False):
        paper = {name: _paper(model, "test", name) for name in ("specificity", "sensitivity")}
        asked = dev.get_group((model, seed))
        threshold = threshold_at(asked.label, asked.logit, paper["specificity"])
        row = {"model": model, "seed": seed}
        for prefix, at in (("at_logit_0_", 0.0), ("", threshold)):
            found = class_report(part.label, part.logit - at).recall
            row |= {f"{prefix}specificity": found["normal"]}
            row |= {f"{prefix}sensitivity": found["abnormal"]}
        rows.append(row | {"threshold": threshold} | {f"paper_{k}": v for k, v in paper.items()})
    columns = [*list(rows[0])[:4], "threshold", "specificity", "sensitivity"]
    return pd.DataFrame(rows)[[*columns, "paper_specificity", "paper_sensitivity"]]


def _by_seed(logits: pd.DataFrame) -> dict[int, dict[str, pd.DataFrame]]:
    """Seed -> model -> predictions."""
    return {seed: dict(iter(part.groupby("model"))) for seed, part in logits.groupby("seed")}


def _with_mean(
    by_seed: Mapping[int, Mapping[str, pd.DataFrame]],
    table: Callable[[Mapping[str, pd.DataFrame]], pd.DataFrame],
    keys: list[str],
) -> pd.DataFrame:
    """The table of each seed and, below them, its mean; seed stands after the keys."""
    parts = [table(models).assign(seed=str(seed)) for seed, models in by_seed.items()]
    every = pd.concat(parts, ignore_index=True)
    mean = every.drop(columns="seed").groupby(keys, sort=False).mean().reset_index()
    # A mean of interval ends is no interval.
    mean.loc[:, mean.columns.str.endswith(("_low", "_high"))] = np.nan
    every = pd.concat([every, mean.assign(seed="mean")], ignore_index=True)
    return every[[*keys, "seed", *every.columns.drop([*keys, "seed"])]]


def draw(evidence: Evidence, folder: Path) -> list[Path]:
    """Write every table (CSV) and every figure (PNG and SVG) of a study into a folder."""
    made = tables(evidence)
    written = [write_csv(folder / f"{name}.csv", table) for name, table in made.items()]
    real, own = evidence.is_the_papers, evidence.profile
    test = evidence.logits("test", variants=False)
    histories = evidence.histories.query("profile == @own and model in @MODELS")
    pages = {
        "roc": figures_seeds.roc_over_seeds(test, paper=real),
        "confusion": figures_seeds.confusion_over_seeds(test, paper=real),
        "dev-auroc": figures_seeds.dev_auroc_over_seeds(histories, paper=real),
    }
    student = histories.query("model == 'student'")
    pages["paper-figure-5"] = figures_seeds.dev_auroc_over_seeds(student, paper=real)
    rates = ablations.learning_rates(evidence)
    if rates.rate.nunique() > 1:
        pages["learning-rates"] = figures_seeds.learning_rates(rates)
    if len(made["ablations"]):
        pages["ablations"] = figures_ablations.ablations(
            made["ablations"], ablations.dots(made["results"], own)
        )
    digest = evidence.digest
    return written + [save_figure(page, folder, name, digest) for name, page in pages.items()]


def markdown(evidence: Evidence) -> str:
    """The reproduction as a Markdown table: mean (lowest to highest seed), the paper beside it."""
    every, own = results(evidence), evidence.profile
    seeds = over_seeds(every[every.profile == own])
    if not evidence.is_the_papers:
        seeds["paper"] = np.nan
    asked = [("dev", "auroc"), ("test", "auroc"), ("test", "accuracy")]
    asked += [("test", "sensitivity"), ("test", "specificity")]
    head = [""]
    for split, metric in asked:
        head += [f"{split} {metric.replace('auroc', 'AUROC')}", "paper"]
    cell = seeds.set_index(["model", "split", "metric"])
    rows = [
        [model, *(text for what in asked for text in _cells(cell.loc[(model, *what)]))]
        for model in MODELS
    ]
    return f"{table_of(head, rows)}\n"


def _cells(value: pd.Series) -> tuple[str, str]:
    ends = f" ({value['min']:.3f}–{value['max']:.3f})" if value.seeds > 1 else ""
    paper = f"{value.paper:.3f}" if pd.notna(value.paper) else ""
    return f"**{value['mean']:.3f}**{ends}", paper
