"""The paper's experiment over several seeds, beside the paper's numbers, and its ablations.

An ablation changes one thing in the paper's configuration and is judged on dev.
"""

from collections.abc import Callable
from itertools import product

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.metrics import roc_auc_score
from statsmodels.stats.multitest import multipletests

from hsutils import plots
from hsutils.config import Profile
from hsutils.evaluation.intervals import cluster_bootstrap, evaluate
from hsutils.evaluation.metrics import choose_threshold, confusion
from hsutils.evaluation.tables import PAPER
from hsutils.models.build import MODELS
from hsutils.pipeline import EVALUATED
from hsutils.studies.seeds import KEY, Pictures, Tables, Variants, tidy

INPUTS = ("predictions.csv", "histories.csv", "trainings.csv")
COUNTS = ("tn", "fp", "fn", "tp")
MOVED = " at the paper's specificity"
LAST, CHANGE = "auroc, last epoch", ", difference"
PRETRAIN_OVER_FINETUNE = 2040 / 400
"""Recordings in the two splits, published or generated."""


def _few_labels(profile: Profile) -> list[str]:
    """As many steps with the small split as the student makes with the large one."""
    epochs = round(profile.student.epochs * PRETRAIN_OVER_FINETUNE)
    return ["distillation.targets=fine-tune labels", f"student.epochs={epochs}"]


def _rate(factor: float) -> Callable[[Profile], list[str]]:
    return lambda profile: [f"student.learning_rate={profile.student.learning_rate * factor:.6g}"]


VARIANTS: Variants = {
    "few-labels": ("student", _few_labels),
    "hard-decisions": ("student", lambda _: ["distillation.targets=hard decisions"]),
    "early-teacher": ("student", lambda _: ["finetune.epochs=2"]),
    "ten-times-the-rate": ("student", _rate(10)),
    "a-tenth-of-the-rate": ("student", _rate(0.1)),
    "early-stopping": ("student", lambda _: ["student.epochs=60", "student.patience=3"]),
    "focal-student": ("student", lambda _: ["student.focal_gamma=2"]),
    "no-pretraining": ("teacher", lambda _: ["pretrain.epochs=0"]),
    "both-views": ("teacher", lambda _: ["augment.both_views=true"]),
    "focal-teacher": ("teacher", lambda _: ["finetune.focal_gamma=2"]),
    "focal-baseline": ("baseline", lambda _: ["baseline.focal_gamma=2"]),
}
"""Changes of the paper's configuration (paper sections 4 to 6)."""


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
    return pd.concat([table, ablations(inputs)], ignore_index=True)


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


def dev_aurocs(inputs: Tables) -> pd.DataFrame:
    """Dev AUROC of every training, at the best and after the last epoch.

    The best epoch is chosen on dev, and the more epochs the better the best: a training of more
    epochs must be compared by its last one too.

    Returns:
        Columns "auroc" and "auroc, last epoch", indexed by variant, model, seed.
    """
    dev = inputs["predictions"].query("split == 'dev'")
    best = {
        (variant, model, int(seed)): roc_auc_score(dev.label, dev[column])
        for column in dev.columns[dev.columns.str.count("/") == 2]
        for variant, model, seed in [column.split("/")]
    }
    histories = inputs["histories"].dropna(subset="dev_auroc").sort_values("epoch")
    last = histories.groupby(KEY).dev_auroc.last()
    return pd.DataFrame({"auroc": pd.Series(best).rename_axis(KEY), LAST: last})


def ablations(inputs: Tables) -> pd.DataFrame:
    """Dev AUROC of each ablation and seed, and what the seeds say together.

    Seed "mean" has the mean over seeds and its 95% t interval, which holds the spread between
    seeds and not the sampling error of the recordings. "difference" is that to the profile with
    the same seeds, p is of the paired t test, and "p (Holm)" is corrected for all variants (Holm
    1979). One seed has neither interval nor p.
    """
    own, scores = inputs["trainings"].variant.iloc[0], dev_aurocs(inputs)
    change = scores.drop(index=own).sub(scores.loc[own], axis="index").dropna()
    every = scores.join(change.add_suffix(CHANGE)).reset_index()
    long = every.melt(KEY, var_name="metric").dropna()
    groups = long.groupby([*KEY[:2], "metric"], sort=False).value
    mean = groups.agg(value="mean", error="sem", seeds="count").reset_index().assign(seed="mean")
    half = stats.t.ppf(0.975, mean.seeds - 1) * mean.error
    mean = mean.assign(low=mean.value - half, high=mean.value + half)
    tests = mean[mean.metric.eq("auroc" + CHANGE) & (mean.seeds > 1)]
    p = 2 * stats.t.sf(abs(tests.value / tests.error), tests.seeds - 1)
    tests = tests[KEY].assign(p=p)
    tests["p (Holm)"] = multipletests(p, method="holm")[1] if len(p) else p
    parts = [every[[*KEY, "auroc"]], mean.drop(columns="error"), tests]
    parts = [tidy(part, study="ablations", protocol="dev") for part in parts]
    return pd.concat(parts, ignore_index=True)


def drawn_ablations(found: pd.DataFrame) -> pd.DataFrame:
    """The rows of `results.csv` that `plots.ablations` draws: of models that have a variant."""
    table = found[found.study == "ablations"]
    table = table[table.groupby("model").variant.transform("nunique") > 1]
    rank = {name: number for number, name in enumerate(VARIANTS)}
    # The profile itself has no rank and comes first.
    table = table.sort_values("variant", key=lambda v: v.map(rank).fillna(-1), kind="stable")
    named = table.variant.where(table.variant.isin(rank), "unchanged")
    return table.assign(variant=named.str.replace("-", " "))


def learning_rates(inputs: Tables) -> dict[str, pd.DataFrame]:
    """Histories of the student at each learning rate, by the name of that rate."""
    trainings = inputs["trainings"].query("model == 'student'")
    own, rated = trainings.variant.iloc[0], trainings.variant.str.endswith("the-rate")
    rates = trainings[rated | trainings.variant.eq(own)][[*KEY, "learning_rate"]]
    table = inputs["histories"].merge(rates, on=KEY)
    return {f"student, rate {rate:g}": part for rate, part in table.groupby("learning_rate")}


def figures(inputs: Tables, found: pd.DataFrame) -> Pictures:
    """How every picture is drawn, by name; `found` are the rows of `results`."""
    real, test = is_the_papers(inputs), predictions(inputs, "test")
    own = inputs["histories"].variant.eq(inputs["trainings"].variant.iloc[0])
    histories = dict(iter(inputs["histories"][own].groupby("model")))
    curves = {model: histories[model] for model in MODELS}
    student = {"student": histories["student"]}
    pages = {
        "roc": lambda: plots.roc_curves(test, paper=real),
        "confusion": lambda: plots.confusion_matrices(test, paper=real),
        "dev-auroc": lambda: plots.dev_auroc_by_epoch(curves, paper=real),
        "paper-figure-5": lambda: plots.dev_auroc_by_epoch(student, paper=real),
    }
    rates = learning_rates(inputs)
    if len(rates) > 1:
        pages["learning-rates"] = lambda: plots.dev_auroc_by_epoch(rates, paper=False)
    table = drawn_ablations(found)
    if len(table):
        pages["ablations"] = lambda: plots.ablations(table)
    return pages
