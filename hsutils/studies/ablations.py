"""What carries the result: every change of the paper's recipe against the recipe itself."""

import numpy as np
import pandas as pd
from scipy import stats

from hsutils.plots import ablations as figures_ablations
from hsutils.studies.evidence import KEY, Evidence
from hsutils.studies.markdown import table as table_of
from hsutils.models.build import MODELS
from hsutils.training.loop import has_stopped
from hsutils.studies.variants import VARIANTS

_ENDS = ("low", "high")
PATIENCE = 3
"""Falls of dev AUROC in a row that would end a training (paper section 6)."""


def last_epochs(evidence: Evidence) -> pd.Series:
    """Dev AUROC after the last epoch, indexed by profile, model, seed.

    The best epoch is chosen on dev, and the more epochs the luckier the best: a training of more
    epochs must be compared by its last one too.
    """
    histories = evidence.histories.dropna(subset="dev_auroc").sort_values("epoch")
    return histories.groupby(KEY).dev_auroc.last()


def ablations(results: pd.DataFrame, last: pd.Series, profile: str) -> pd.DataFrame:
    """Dev AUROC of each option of each question, with 95% t intervals over seeds.

    Args:
        results: as `results` gives them, of the profile and its variants.
        last: dev AUROC after the last epoch, as `last_epochs` gives it.
        profile: the name of the profile itself.

    Returns:
        Columns question, option, model, seeds, mean, low, high, and against the paper's recipe
        with the same seeds: difference, difference_low, difference_high, p of the paired t test
        and p_holm, corrected for all questions of the table (Holm 1979); last_epoch, the mean
        after the last epoch, and last_difference, last_low, last_high, the same comparison there.
        An interval needs two seeds; it holds the spread between seeds, not the sampling error of
        the recordings.
    """
    dev = results[results.split == "dev"].set_index(KEY).auroc.sort_index()
    rows, asked = [], None
    for name, variant in VARIANTS.items():
        key = (f"{profile}-{name}", variant.model)
        if key not in dev.index:
            continue
        recipe, option = dev.loc[profile, variant.model], dev.loc[key]
        ended = {"recipe": last.loc[profile, variant.model], "option": last.loc[key]}
        about = {"question": variant.question, "model": variant.model}
        if variant.question != asked:
            at_end = {"last_epoch": ended["recipe"].mean()}
            rows.append(about | {"option": variant.recipe, **_spread(recipe), **at_end})
        asked = variant.question
        rows.append(about | {"option": variant.option, **_spread(option)})
        rows[-1] |= _compared(option - recipe, ended["option"] - ended["recipe"])
        rows[-1]["last_epoch"] = ended["option"].mean()
    columns = ["question", "option", "model", "seeds", "mean", *_ENDS, "difference"]
    columns += [*(f"difference_{k}" for k in _ENDS), "p", "p_holm", "last_epoch"]
    columns += ["last_difference", *(f"last_{k}" for k in _ENDS)]
    table = pd.DataFrame(rows).reindex(columns=columns)
    return table.assign(p_holm=holm(table.p.astype(float)))


def _compared(best: pd.Series, last: pd.Series) -> dict[str, float]:
    """Paired differences over seeds, at the best and at the last epoch."""
    best, last = best.dropna(), last.dropna()
    values = {}
    for name, change in (("difference", _spread(best)), ("last", _spread(last))):
        values |= {f"{name}_{k}": change[k] for k in _ENDS}
        values["last_difference" if name == "last" else name] = change["mean"]
    return values | {"p": stats.ttest_1samp(best, 0).pvalue if len(best) > 1 else np.nan}


def holm(p: pd.Series) -> pd.Series:
    """p values corrected so that any false finding among them is as rare as a single one's.

    Holm 1979, Scand. J. Statist. 6:65. NaN stays NaN and counts for nothing.
    """
    known = p.dropna().sort_values()
    steps = known * np.arange(len(known), 0, -1)
    return steps.cummax().clip(upper=1).reindex(p.index)


def _spread(values: pd.Series) -> dict[str, float]:
    low, high = np.nan, np.nan
    if len(values) > 1:
        half = stats.t.ppf(0.975, len(values) - 1) * values.sem()
        low, high = values.mean() - half, values.mean() + half
    return {"seeds": len(values), "mean": values.mean(), "low": low, "high": high}


def learning_rates(evidence: Evidence) -> pd.DataFrame:
    """Dev AUROC of the student by learning rate (paper section 5.1).

    Returns:
        Columns rate, seed, epoch, dev_auroc.
    """
    own = evidence.profile
    asked = [own, *(f"{own}-{name}" for name in VARIANTS if name.endswith("the-rate"))]
    students = evidence.trainings.query("model == 'student'")
    rates = students[students.profile.isin(asked)]
    student = evidence.histories.query("model == 'student'")
    table = student.merge(rates[[*KEY, "learning_rate"]], on=KEY)
    table = table.rename(columns={"learning_rate": "rate"})
    return table[["rate", "seed", "epoch", "dev_auroc"]].reset_index(drop=True)


def by_rate(rates: pd.DataFrame) -> pd.DataFrame:
    """How high, how soon and how steadily dev AUROC rises at each learning rate.

    Args:
        rates: as `learning_rates` gives them.

    Returns:
        Columns rate, seeds, and means over seeds: best (dev AUROC), best_epoch, last (after the
        last epoch), step (the mean change from one epoch to the next, up or down), near_best (the
        first epoch within .01 of the best), swing (the mean step after that; NaN if it is the
        last).
    """
    rows = []
    for (rate, _), part in rates.groupby(["rate", "seed"]):
        scores = part.sort_values("epoch").dev_auroc.to_numpy()
        near = int(np.argmax(scores > scores.max() - 0.01))
        swings = np.abs(np.diff(scores[near:]))
        row = {"rate": rate, "best": scores.max(), "best_epoch": scores.argmax() + 1}
        row |= {"last": scores[-1], "step": np.abs(np.diff(scores)).mean(), "near_best": near + 1}
        rows.append(row | {"swing": swings.mean() if len(swings) else np.nan})
    groups = pd.DataFrame(rows).groupby("rate", sort=False)
    return (
        groups.mean()
        .assign(seeds=groups.size())
        .reset_index()[
            ["rate", "seeds", "best", "best_epoch", "last", "step", "near_best", "swing"]
        ]
    )


def early_stopping(evidence: Evidence, patience: int = PATIENCE) -> pd.DataFrame:
    """What would have been lost, had trainings stopped when dev AUROC fell (paper section 6).

    At a constant learning rate a training that stops early is the beginning of one that does not.

    Args:
        evidence: of the paper's profile, whose rate is constant and whose best epoch is kept.
        patience: falls from one epoch to the next, in a row, that end a training.

    Returns:
        Columns model, seed, epochs; stopped_after (epochs; NaN where it would not have stopped);
        best and best_if_stopped, dev AUROC of the epoch kept.
    """
    own = evidence.histories.query("profile == @evidence.profile")
    own = own[own.model.isin(MODELS)]
    rows = []
    for (model, seed), part in own.groupby(["model", "seed"], sort=False):
        epochs = part.sort_values("epoch").to_dict("records")
        ends = (n for n in range(1, len(epochs) + 1) if has_stopped(epochs[:n], patience))
        scores, stopped = [epoch["dev_auroc"] for epoch in epochs], next(ends, None)
        row = {"model": model, "seed": seed, "epochs": len(epochs), "stopped_after": stopped}
        rows.append(row | {"best": max(scores), "best_if_stopped": max(scores[:stopped])})
    return pd.DataFrame(rows).astype({"stopped_after": "Int64"})


def stopped_early(table: pd.DataFrame) -> str:
    """The table of `early_stopping` in a sentence for the README."""
    parts = []
    for model, rows in table.groupby("model", sort=False):
        ended, seeds = rows.stopped_after.dropna(), len(rows)
        lost = (rows.best - rows.best_if_stopped).max()
        after = " and ".join(str(epoch) for epoch in sorted(ended))
        told = f"{len(ended)} of {seeds} seeds end after {after} of {rows.epochs.max()} epochs"
        at_most = f"at most {lost:.3f}" if round(lost, 3) else "nothing"
        parts.append(f"{model}, {told} and lose {at_most}" if len(ended) else f"{model}, none ends")
    return f"Were a training to stop when dev AUROC falls three epochs running: {'; '.join(parts)}."


def dots(results: pd.DataFrame, profile: str) -> pd.DataFrame:
    """Every seed's dev AUROC of every option: question, option, seed, dev_auroc."""
    dev = results[results.split == "dev"]
    parts = []
    for name, v in VARIANTS.items():
        for option, run in ((v.recipe, profile), (v.option, f"{profile}-{name}")):
            rows = dev[(dev.profile == run) & (dev.model == v.model)]
            parts.append(
                pd.DataFrame({"question": v.question, "option": option, "seed": rows.seed,
                              "dev_auroc": rows.auroc})
            )  # fmt: skip
    return pd.concat(parts, ignore_index=True).drop_duplicates(["question", "option", "seed"])


def markdown(table: pd.DataFrame) -> str:
    """The table of `ablations` as Markdown; each question stands before its first option."""
    titles = ["", "", "seeds", "dev AUROC", "difference (95% interval over seeds)", "p (Holm)"]
    titles += ["difference after the last epoch"]
    rows = []
    for _, options in table.groupby(table.question.ne(table.question.shift()).cumsum()):
        for position, (_, option) in enumerate(options.iterrows()):
            question = "" if position else option.question
            cells = [question, option.option, f"{option.seeds}", f"{option['mean']:.3f}"]
            cells += [figures_ablations.difference_text(option)]
            cells += [f"{option.p_holm:.2g}" if np.isfinite(option.p_holm) else ""]
            end = option.last_difference
            cells += [f"{end:+.3f}".replace("-", "−") if np.isfinite(end) else ""]
            rows.append(cells)
    return f"{table_of(titles, rows)}\n"
