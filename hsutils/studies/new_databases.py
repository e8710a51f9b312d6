"""Databases that no training heard: how far recipes differ there, and what answers they give.

Everything is read off the kept logits. Recipes are compared on the same recordings, resample by
resample, so that what makes a database easy or hard for both does not widen the interval.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.special import ndtr

from hsutils.studies.ablations import holm
from hsutils.studies.beyond import DATABASES, RECIPE
from hsutils.evaluation.calibration import choose_threshold
from hsutils.evaluation.intervals import expanded_level, normal_quantile, percentiles, resamples
from hsutils.evaluation.metrics import confusion
from hsutils.studies.variants import BEYOND, TAUGHT
from hsutils.evaluation.domains import classes_in_groups

N_RESAMPLES = 1000
NARROW = f"{RECIPE[0]}-narrow"
"""The change whose CNNs teach the students of `PHASES`."""
COMPACT_STUDENT = "compact student"
PHASES = {
    "narrow-three-seeds": (NARROW, RECIPE[1]),
    "narrow-labels-after": (f"{NARROW}-three-seeds", COMPACT_STUDENT),
    "narrow-own-opinions-after": (f"{NARROW}-three-seeds", COMPACT_STUDENT),
}
"""Changes in `BEYOND` of students of CNNs of `NARROW`, and what each is held against."""
AGAINST = PHASES | {"no-artificial-each-once": (f"{RECIPE[0]}-no-artificial", RECIPE[1])}
"""Changes that are held against another than the recipe, from which they differ in one thing."""

CHANGES = ("profile", "model", "against", "seeds", "difference", "low", "high", "p_holm")
CHOSEN = ("recipes", "auroc", "low", "high", "worst", "worst_database")
OPERATING = ("profile", "model", "database", "seeds", "sensitivity", "specificity")
OPERATING += ("balanced", "balanced_median", "balanced_own")

Draws = Mapping[str, Mapping[str, np.ndarray]]
"""Column of logits -> database -> its AUROC in every resample of that database's groups."""


def logit_columns(table: pd.DataFrame) -> list[str]:
    """The columns of logits, `profile/model/seed`."""
    return [column for column in table if column.count("/") == 2]


def draw(left_out: pd.DataFrame) -> Draws:
    """AUROC of every model in resamples of groups, inside every database that it was asked about.

    Resamples of few groups vary too little; those of each database are drawn apart by its own
    factor, as `intervals.expanded_level` does for a single interval. All are NaN where all
    recordings of a class are one group.

    Args:
        left_out: see `beyond.Beyond`.
    """
    draws: dict[str, dict[str, np.ndarray]] = {column: {} for column in logit_columns(left_out)}
    for number, (database, part) in enumerate(left_out.groupby("database")):
        asked = [column for column in draws if part[column].notna().all()]
        if not classes_in_groups(part.label, part.group, 2):
            for column in asked:
                draws[column][database] = np.full(N_RESAMPLES, np.nan)
            continue
        level = expanded_level(part.label, part.group, 0.95)
        factor = normal_quantile(level) / normal_quantile(0.95)
        for column in asked:
            how = {"n_resamples": N_RESAMPLES, "seed": number}
            drawn = resamples(part.label, part[column], part.group, **how)["auroc"]
            middle = np.nanmean(drawn)
            draws[column][database] = middle + factor * (drawn - middle)
    return draws


def interval_of_mean(draws: Draws, columns: Mapping[str, Sequence[str]]) -> tuple[float, float]:
    """95% interval of the mean over databases, of the models that were asked about each.

    Args:
        draws: as `draw` gives them.
        columns: database -> columns of logits, one a seed.
    """
    means = [np.mean([draws[c][d] for c in asked], axis=0) for d, asked in columns.items()]
    return _ends(np.mean(means, axis=0))


def _ends(drawn: np.ndarray) -> tuple[float, float]:
    return percentiles(drawn, 0.95)[:2]


def changes(found: pd.DataFrame, draws: Draws) -> pd.DataFrame:
    """How far each change of the native recipe moves the mean over databases it never heard.

    Args:
        found: the table of `beyond_tables.results`.
        draws: as `draw` gives them.

    Returns:
        Columns `CHANGES`, the largest gain first: against is the profile that it is held against,
        the recipe's or what `AGAINST` names; seeds, how many both were trained with (none: left
        out); difference, with the 95% interval over the recordings, the same for both; p_holm, of
        no difference at all, by the normal distribution from the spread of the resamples, corrected
        for all rows (Holm 1979). None of it knows of other seeds or databases.
    """
    means = found[found.database == "mean"].set_index(["profile", "model", "seed"]).auroc
    means, rows = means.sort_index(), []
    for profile, model in means.index.droplevel("seed").unique():
        change = profile.removeprefix(f"{RECIPE[0]}-")
        taught = change in BEYOND and BEYOND[change].question == TAUGHT
        if change == profile or not (taught or model == RECIPE[1]):
            continue
        against = AGAINST.get(change, RECIPE)
        if against not in means.index:
            continue
        gains = (means.loc[profile, model] - means.loc[against]).dropna()
        if len(gains):
            drawn = _paired(draws, (profile, model), against, gains.index)
            p = 2 * ndtr(-abs(gains.mean()) / np.std(drawn, ddof=1))
            rows.append((profile, model, against[0], len(gains), gains.mean(), *_ends(drawn), p))
    table = pd.DataFrame(rows, columns=CHANGES)
    table = table.assign(p_holm=holm(table.p_holm.astype(float)))
    return table.sort_values("difference", ascending=False, ignore_index=True)


def _paired(
    draws: Draws, one: tuple[str, str], other: tuple[str, str], seeds: Iterable[int]
) -> np.ndarray:
    pairs = [[draws["/".join(map(str, (*key, s)))] for key in (one, other)] for s in seeds]
    return np.mean([a[d] - b[d] for a, b in pairs for d in DATABASES], axis=0)


def chosen(choices: pd.DataFrame, draws: Draws) -> pd.DataFrame:
    """What the recipes reach that the other databases would have chosen for each database.

    Args:
        choices: the table of `beyond_tables.choices`.
        draws: as `draw` gives them.

    Returns:
        One row, columns `CHOSEN`: how many recipes there were to choose from, mean AUROC over the
        six databases and its 95% interval over their recordings, and the worst database. No row
        unless two recipes or more were asked for each of the six, and every one chosen was tested.
    """
    counts = choices.groupby("test_database").size()
    if counts.reindex([*DATABASES], fill_value=0).min() < 2:
        return pd.DataFrame(columns=CHOSEN)
    best = choices[choices.chosen].drop_duplicates("test_database").set_index("test_database")
    columns = {
        d: [c for c in draws if c.startswith(f"{row.profile}/{row.model}/") and d in draws[c]]
        for d, row in best.iterrows()
    }
    if not all(columns.values()):
        return pd.DataFrame(columns=CHOSEN)
    ends, worst = interval_of_mean(draws, columns), best.auroc.idxmin()
    row = (choices.profile.nunique(), best.auroc.mean(), *ends, best.auroc[worst], worst)
    return pd.DataFrame([row], columns=CHOSEN)


def operating(left_out: pd.DataFrame) -> pd.DataFrame:
    """What answers a model gives in a database it never heard: AUROC asks the order alone.

    Args:
        left_out: see `beyond.Beyond`.

    Returns:
        Columns `OPERATING`, a row a profile, model and database of both classes, and "mean" where
        all six are known; means over seeds. Sensitivity and specificity are at logit 0, where
        training put the threshold; balanced is their mean, balanced_median the same at the median
        of this database's own logits, which needs no label, and balanced_own at its best
        threshold, chosen with its own labels and therefore kind.
    """
    rows = []
    for column in logit_columns(left_out):
        profile, model, _ = column.split("/")
        for database, part in left_out.groupby("database"):
            if part[column].notna().all() and part.label.nunique() == 2:
                about = {"profile": profile, "model": model, "database": database}
                rows.append(about | _answers(part.label, part[column]))
    columns = [c for c in OPERATING if c != "seeds"]
    groups = pd.DataFrame(rows, columns=columns).groupby([*OPERATING[:3]], sort=False)
    table = groups.mean().assign(seeds=groups.size()).reset_index()
    models = table.groupby(["profile", "model"], sort=False)
    whole = models.mean(numeric_only=True)[models.size() == len(DATABASES)]
    whole = whole.reset_index().assign(database="mean", seeds=lambda t: t.seeds.astype(int))
    return pd.concat([table, whole])[[*OPERATING]].reset_index(drop=True)


def _answers(labels: pd.Series, logits: pd.Series) -> dict[str, float]:
    sensitivity, specificity = _rates(labels, logits, 0.0)
    elsewhere = {"median": logits.median(), "own": choose_threshold(labels, logits, "Youden")}
    return {
        "sensitivity": sensitivity,
        "specificity": specificity,
        "balanced": (sensitivity + specificity) / 2,
        **{f"balanced_{name}": np.mean(_rates(labels, logits, t)) for name, t in elsewhere.items()},
    }


def _rates(labels: pd.Series, logits: pd.Series, threshold: float) -> tuple[float, float]:
    (negatives, false), (missed, found) = confusion(labels, logits, threshold)
    return found / (found + missed), negatives / (negatives + false)
