"""What the changes of the native recipe do in databases never heard, and what follows, in words."""

import pandas as pd

from hsutils.studies.beyond import RECIPE
from hsutils.studies.beyond_tables import LEFT_OUT, Tables, row_of
from hsutils.plots.common import signed
from hsutils.studies.findings_published import NOT_TRIED, count_of
from hsutils.studies.new_databases import CHANGES, COMPACT_STUDENT, NARROW, OPERATING, PHASES
from hsutils.studies.variants import BEYOND

BESIDE = {
    ("mean-cycle", "linear model"): "the linear model of `mean-cycle`",
    ("paper", "teacher"): "the paper's teacher",
}
"""Models whose answers are told beside those of the CNN, and how they read."""


def changes(made: Tables) -> str:
    """What each change brings, and of which that can be said from these recordings."""
    rows = _of_the_recipe(made)
    if rows.empty:
        return "no change of the native recipe was tried yet."
    up, down = _clear(rows)
    rest = rows.drop([*up.index, *down.index])
    kinds = {"clearly up, with": up, "clearly down, with": down.iloc[::-1]}
    kinds["not clearly, with"] = rest
    told = [
        f"{which} {'; '.join(_moved(row) for row in part.itertuples())}"
        for which, part in kinds.items()
        if len(part)
    ]
    return (
        "against the native recipe with the same seeds, the mean over new databases moves (95% "
        "over the recordings, the same for both; clearly where p is below .05 after Holm's "
        f"correction; `changes.csv`) {'. It moves '.join(told)}. None of this knows of "
        f"other seeds or databases{_spread(made)}."
    )


def _of_the_recipe(made: Tables) -> pd.DataFrame:
    """All but the students of *narrow* CNNs, of which `phases` tells."""
    rows = made.get("changes", pd.DataFrame(columns=CHANGES))
    return rows[~rows.profile.isin([f"{RECIPE[0]}-{change}" for change in PHASES])]


def _clear(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Gains and losses that are no chance of these recordings: p below .05 after Holm."""
    clear = rows[rows.p_holm < 0.05]
    return clear[clear.difference > 0], clear[clear.difference < 0]


def _moved(row: tuple) -> str:
    return (
        f"{_named(row)} {signed(row.difference)} "
        f"({signed(row.low)} to {signed(row.high)}; {count_of(row.seeds)})"
    )


def _named(row: tuple) -> str:
    """What changes, and against what, if not against the recipe."""
    other = f" (against *{option_of(row.against)}*)" if row.against != RECIPE[0] else ""
    return f"*{option_of(row.profile)}*{other}"


def option_of(profile: str) -> str:
    """What a changed profile does, in words; the change's name, if it is none of today's."""
    change = profile.removeprefix(f"{RECIPE[0]}-")
    return BEYOND[change].option if change in BEYOND else change


def _spread(made: Tables) -> str:
    """How far a recipe moves with its seed, and what was asked on dev alone."""
    found = made["results"]
    means = found[(found.protocol == LEFT_OUT) & (found.database == "mean")]
    means = means[means.profile.str.startswith(RECIPE[0])].groupby(["profile", "model"]).auroc
    apart = (means.max() - means.min()).max()
    several = (means.size() > 1).any()
    seeds = f"; seeds of one recipe differ by up to {apart:.3f}" if several else ""
    rows = made["summary"]
    rows = rows[rows.model == RECIPE[1]].set_index("profile").dropna(subset="dev")
    asked = rows[rows.new_database.isna() & rows.index.str.startswith(f"{RECIPE[0]}-")]
    if asked.empty or RECIPE[0] not in rows.index:
        return seeds
    each = "; ".join(f"{dev:.3f} with *{option_of(profile)}*" for profile, dev in asked.dev.items())
    return f"{seeds}. Asked on dev alone: {each} (the recipe {rows.dev[RECIPE[0]]:.3f})"


READ = {
    "narrow-three-seeds": "one that learned their mean soft label",
    "narrow-labels-after": "such a one, then told the true labels,",
    "narrow-own-opinions-after": "one trained anew on the opinions of such a one",
}
"""How the students of `PHASES` read."""


def phases(made: Tables) -> str:
    """A student of several CNNs of the narrow recipe, and a second phase for it."""
    own = row_of(made, NARROW, RECIPE[1])
    known = {
        change: row
        for change in PHASES
        if (row := row_of(made, f"{RECIPE[0]}-{change}", COMPACT_STUDENT)) is not None
    }
    if own is None or not known:
        return "no student of *narrow* CNNs was tried yet."
    rows = made.get("changes", pd.DataFrame(columns=CHANGES)).set_index("profile")
    each = []
    for change, row in known.items():
        told = f"{READ[change]} has {row.new_database:.3f} ({count_of(row.new_seeds)}"
        if row.name[0] in rows.index:
            moved = rows.loc[row.name[0]]
            told += (
                f"; against `{moved.against}` of the same seed {signed(moved.difference)}, "
                f"{signed(moved.low)} to {signed(moved.high)}"
            )
        each.append(f"{told}; worst {row.worst:.3f} in {row.worst_database})")
    return (
        f"CNNs of *narrow* have a mean AUROC of {own.new_database:.3f} in a database never heard "
        f"({count_of(own.new_seeds)}). Of students of their size, taught by three of them, "
        f"{'; '.join(each)}."
    )


def operating(made: Tables) -> str:
    """What answers are given in a new database: AUROC asks the order alone."""
    table = made.get("operating", pd.DataFrame(columns=OPERATING))
    whole = table[table.database == "mean"].set_index(["profile", "model"])
    key = next((key for key in ((NARROW, RECIPE[1]), RECIPE) if key in whole.index), None)
    if key is None:
        return NOT_TRIED
    rows = table[(table.profile == key[0]) & (table.model == key[1])].set_index("database")
    each = ", ".join(
        f"{database} {row.sensitivity:.0%} and {row.specificity:.0%}"
        for database, row in rows.drop("mean").iterrows()
    )
    balanced = [
        f"{whole.balanced[pair]:.2f}, {whole.balanced_median[pair]:.2f} and "
        f"{whole.balanced_own[pair]:.2f} for {name}"
        for pair, name in [(key, "this CNN"), *BESIDE.items()]
        if pair in whole.index
    ]
    return (
        f"sensitivity and specificity of `{key[0]}` in a database it never heard, at logit 0, "
        f"where training put the threshold ({count_of(rows.seeds['mean'])}): {each}. The mean of "
        "both over the six, at logit 0, at the median of a database's own logits (which needs no "
        f"label), and at its best threshold (chosen by its own labels): {'; '.join(balanced)}."
    )


def answer(made: Tables) -> str:
    """What a network must be shown, to know a heart in a new database: the whole story, short."""
    own = row_of(made, *RECIPE)
    if own is None:
        return NOT_TRIED
    known = {
        "by the paper's recipe (teacher)": row_of(made, "paper", "teacher"),
        "of artificial hearts alone": row_of(made, f"{RECIPE[0]}-artificial-only", RECIPE[1]),
    }
    parts = [f"mean AUROC in databases never heard is {own.new_database:.2f} by the native recipe"]
    parts += [f"{row.new_database:.2f} {how}" for how, row in known.items() if row is not None]
    parts += _moves(made)
    if len(picked := made.get("chosen", ())):
        row = picked.iloc[0]
        parts.append(
            f"chosen by the other databases it is {row.auroc:.2f} ({row.low:.2f} to {row.high:.2f})"
        )
    if len(inside := made.get("inside", ())):
        parts.append(
            f"told a database's own labels, sixty numbers of a heart have {inside.auroc.mean():.2f}"
        )
    return "; ".join(parts) + "."


def _moves(made: Tables) -> list[str]:
    """The changes that move it clearly, by their direction."""
    told = []
    for which, part in zip(("raises", "lowers"), _clear(_of_the_recipe(made)), strict=True):
        each = [f"{_named(row)} {signed(row.difference, 2)}" for row in part.itertuples()]
        told += [f"what clearly {which} it is {'; '.join(each)}"] if each else []
    return told
