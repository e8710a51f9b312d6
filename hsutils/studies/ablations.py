"""What carries the result: one change of the paper's configuration at a time, judged on dev."""

from collections.abc import Callable

import pandas as pd
from scipy import stats
from sklearn.metrics import roc_auc_score
from statsmodels.stats.multitest import multipletests

from hsutils.config import Profile
from hsutils.studies.seeds import KEY, VALUES, Tables, Variants, tidy

PRETRAIN_OVER_FINETUNE = 2040 / 400
"""Recordings in the two splits, published or generated."""
LAST, CHANGE = "auroc, last epoch", ", difference"
DRAWN = {(end, "auroc"): "mean" if end == "value" else end for end in VALUES}
DRAWN |= {("value", LAST): "last_epoch", ("value", "auroc" + CHANGE): "difference"}
DRAWN |= {(end, "auroc" + CHANGE): f"difference_{end}" for end in VALUES[1:]}
"""(Column, metric) of `results.csv` -> column of the figure's table."""


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


def results(inputs: Tables) -> pd.DataFrame:
    """The rows of `results.csv`: dev AUROC of each seed, and what the seeds say together.

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


def for_figure(found: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """From `results.csv` the tables of `plots.ablations`: a row an option, and one a seed too."""
    rank = {name.replace("-", " "): number for number, name in enumerate(VARIANTS)}
    found = found[found.study == "ablations"]
    found = found.assign(question=found.model, option=found.variant.str.replace("-", " "))
    means = found[found.seed == "mean"]
    wide = means.pivot(index=["question", "option", "model"], columns="metric", values=VALUES)
    wide = wide.reindex(columns=[*DRAWN]).set_axis(DRAWN.values(), axis=1).reset_index()
    wide = wide.groupby("question").filter(lambda part: len(part) > 1)
    # The profile itself has no rank and comes first.
    wide = wide.assign(rank=wide.option.map(rank).fillna(-1))
    wide = wide.sort_values(["model", "rank"], ignore_index=True)
    seeds = found[found.seed.ne("mean") & found.model.isin(wide.model)]
    return wide, seeds.rename(columns={"value": "dev_auroc"})


def learning_rates(inputs: Tables) -> pd.DataFrame:
    """Dev AUROC of the student at each learning rate: rate, seed, epoch, dev_auroc."""
    trainings = inputs["trainings"].query("model == 'student'")
    own, rated = trainings.variant.iloc[0], trainings.variant.str.endswith("the-rate")
    rates = trainings[rated | trainings.variant.eq(own)].rename(columns={"learning_rate": "rate"})
    found = inputs["histories"].merge(rates[[*KEY, "rate"]], on=KEY)
    return found[["rate", "seed", "epoch", "dev_auroc"]]
