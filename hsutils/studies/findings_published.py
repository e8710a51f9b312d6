"""What recipes beyond the paper reach on the published split, in words read off the tables."""

import numpy as np
import pandas as pd

from hsutils.studies import future_work
from hsutils.studies.band_scores import PARTNER
from hsutils.studies.beyond import RECIPE
from hsutils.studies.beyond_tables import PUBLISHED, Tables
from hsutils.studies.ensemble import ENSEMBLE, TREES
from hsutils.plots.common import signed
from hsutils.studies.new_databases import COMPACT_STUDENT
from hsutils.studies.variants import BEYOND

NOT_TRIED = "the native recipe was not tried yet."
"""What is told of `RECIPE` where its score is missing."""

STUDENT, TEACHER = ("compact", COMPACT_STUDENT), ("paper", "teacher")
ALONE = {"few": "through the paper's front end", "few-2khz": "through one of 2 kHz"}
"""Profiles of the same CNN without a teacher."""

EVERY = {"many": "few", "many-2khz": "few-2khz", "compact-many": "compact"}
"""Profiles with all labels, and what each is to be held against."""


def published(made: Tables) -> str:
    """What the stethoscope is worth where it is known."""
    rows = made["summary"].dropna(subset="test").set_index(["profile", "model"])
    if RECIPE not in rows.index:
        return NOT_TRIED
    own = rows.loc[RECIPE]
    told = (
        f"the native recipe has {own.test:.3f} on a test whose databases were trained on, and "
        f"{own.within:.3f} among pairs of one database"
    )
    if TEACHER not in rows.index:
        return f"{told}."
    teacher = rows.loc[TEACHER]
    return f"{told}; the paper's teacher {teacher.test:.3f} and {teacher.within:.3f}."


def compact(made: Tables) -> str:
    """A compact student of several teachers, on the paper's own task."""
    rows = _by_model(made)
    if not {STUDENT, TEACHER} <= set(rows.index) or np.isnan(rows.test[STUDENT]):
        return "no compact student was trained yet."
    own, papers = rows.loc[STUDENT], rows.loc[TEACHER]
    told = (
        f"a compact CNN of {own.parameters:,.0f} parameters, "
        f"{papers.parameters / own.parameters:,.0f} times fewer than the paper's teacher has, "
        "learned the mean soft label of the teachers that the profile `compact` names, which know "
        f"the labels of *finetune*: dev AUROC {own.dev:.3f} beside {papers.dev:.3f} of the paper's "
        f"teacher, test AUROC {own.test:.3f} beside {papers.test:.3f}, test accuracy at the "
        f"threshold that dev chooses {own.accuracy_by_dev:.3f} beside {papers.accuracy_by_dev:.3f} "
        f"(means over {_seeds(own)} and {_seeds(papers)}{_test_by_seed(made)}). "
    )
    alone = [
        f"{words} {row.dev:.3f} on dev and {row.test:.3f} on test ({_seeds(row)})"
        for profile, words in ALONE.items()
        for row in _found(rows, profile)
    ]
    if alone:
        told += f"The same CNN, told the labels of *finetune* and no soft label, has {alone[0]}"
        told += f", and {alone[1]}. " if alone[1:] else ". "
    told += "All of it knows the stethoscopes: this is the paper's task, not a new database"
    return f"{told}.{_changed(made, rows)}"


def all_labels(made: Tables) -> str:
    """What the labels of pretrain are worth besides those of finetune, on the paper's own task."""
    rows = _by_model(made)
    parts = []
    for profile, before in EVERY.items():
        for row in _found(rows, profile):
            fewer = "".join(
                f" ({known.dev:.3f} and {known.test:.3f} without)" for known in _found(rows, before)
            )
            parts.append(f"`{profile}` {row.dev:.3f} on dev and {row.test:.3f} on test{fewer}")
            parts[-1] += f", accuracy {row.accuracy_by_dev:.3f} ({_seeds(row)})"
    if not parts:
        return "no compact CNN was told all labels yet."
    return (
        "with the labels of *pretrain* and *finetune* together, and accuracy at the threshold that "
        f"dev chooses: {'; '.join(parts)}.{_trees(made, rows)}"
    )


def _trees(made: Tables, rows: pd.DataFrame) -> str:
    """What boosted trees know that hear no order in time, alone and beside a network."""
    if not {TREES, ENSEMBLE} <= set(rows.index):
        return ""
    new, alone, both = made["trees"], *(_tested(made, rows, key) for key in (TREES, ENSEMBLE))
    told = (
        " Boosted trees that know how each mel band's values are distributed, and nothing of their "
        f"order in time, so no beat, have {alone}"
    )
    if len(new):
        worst = new.loc[new.auroc.idxmin()]
        told += (
            f"; fitted to the other databases they have a mean of {new.auroc.mean():.3f} in one "
            f"they never heard, {worst.auroc:.3f} in {worst.database}"
        )
    return f"{told}. The mean of their logit and that of `{PARTNER[0]}` has {both}."


def _tested(made: Tables, rows: pd.DataFrame, key: tuple[str, str]) -> str:
    """Dev, test with its interval in one seed, and accuracy."""
    row, results = rows.loc[key], made["results"].set_index(["profile", "model"])
    found = results.loc[[key]].query(
        "protocol == 'published' and database == 'all' and split == 'test'"
    )
    return (
        f"{row.dev:.3f} on dev and {row.test:.3f} on test ({found.low.iloc[0]:.3f} to "
        f"{found.high.iloc[0]:.3f}), accuracy {row.accuracy_by_dev:.3f} ({_seeds(row)})"
    )


def next_steps(made: Tables) -> str:
    """What the paper leaves to future work (section 6), tried on its own recipe."""
    rows = made.get("future_work", pd.DataFrame(columns=future_work.COLUMNS))
    rows = rows[rows.profile == "paper"]
    focal = [
        f"{_moved(part.changed - part.recipe)} for the {part.model.iloc[0]}"
        for change in future_work.FOCAL
        if len(part := rows[rows.change == change])
    ]
    longer = [
        f"the {row.model} ends after {row.changed_epochs} instead of {row.recipe_epochs} epochs "
        f"({row.recipe:.3f} before, {row.changed:.3f} then)"
        for change in future_work.LONGER
        for row in rows[rows.change == change].itertuples()
    ]
    parts = [f"focal loss moves AUROC by {', '.join(focal)}"] if focal else []
    if longer:
        parts.append(f"left to train until it falls three epochs running, {', '.join(longer)}")
    if not parts:
        return "neither focal loss nor more patience was tried yet."
    return f"on the paper's own recipe and dev, {'; '.join(parts)}."


def _moved(gains: pd.Series) -> str:
    return f"{signed(gains.mean())} ({count_of(len(gains))})"


def _by_model(made: Tables) -> pd.DataFrame:
    """Rows of the summary that were asked on dev, by profile and model."""
    known = made["summary"].dropna(subset=[c for c in ("dev",) if c in made["summary"]])
    return known.set_index(["profile", "model"])


def _found(rows: pd.DataFrame, profile: str) -> list[pd.Series]:
    """The compact student of this profile, if it was trained."""
    key = (profile, STUDENT[1])
    return [rows.loc[key]] if key in rows.index else []


def _seeds(row: pd.Series) -> str:
    return count_of(row.seeds)


def count_of(seeds: float) -> str:
    """How many: "1 seed", "3 seeds"."""
    return f"{seeds:.0f} seed{'s' if seeds > 1 else ''}"


def _by_seed(made: Tables, split: str) -> pd.Series:
    """AUROC of all recordings of a published split, by profile, model and seed."""
    rows = made["results"]
    rows = rows[(rows.protocol == PUBLISHED) & (rows.split == split) & (rows.database == "all")]
    return rows.set_index(["profile", "model", "seed"]).auroc.sort_index()


def _test_by_seed(made: Tables) -> str:
    """How far apart the seeds of student and teacher lie on test."""
    test = _by_seed(made, "test")
    if not {STUDENT, TEACHER} <= set(test.index.droplevel("seed")):
        return ""
    ends = [f"{test.loc[key].min():.3f} to {test.loc[key].max():.3f}" for key in (STUDENT, TEACHER)]
    return f"; their seeds have {ends[0]} and {ends[1]} on test"


def _changed(made: Tables, rows: pd.DataFrame) -> str:
    """Sizes, teachers and phases other than those of the profile, on dev, seed against seed."""
    dev, parts = _by_seed(made, "dev"), {"sizes": [], "others": []}
    if STUDENT not in dev.index:
        return ""
    for (profile, model), row in rows.sort_values("parameters", kind="stable").iterrows():
        change = profile.removeprefix(f"{STUDENT[0]}-")
        if model != STUDENT[1] or change not in BEYOND or (profile, model) not in dev.index:
            continue
        gains = (dev.loc[profile, model] - dev.loc[STUDENT]).dropna()
        size = f"with {row.parameters:,.0f} parameters"
        kind = "sizes" if change.startswith("width") else "others"
        name = size if kind == "sizes" else f"*{BEYOND[change].option}*"
        if len(gains):
            parts[kind].append(f"{name} {_moved(gains)}")
    each = ", ".join([*parts["sizes"], *parts["others"]])
    return f" Against the same seed, dev AUROC moves: {each}." if each else ""
