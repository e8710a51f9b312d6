"""What the changes of the native recipe do in databases never heard, and what follows, in words."""

import pandas as pd

from hsutils.beyond import RECIPE
from hsutils.beyond_tables import LEFT_OUT, Tables, row_of
from hsutils.figures_common import signed
from hsutils.findings_published import NOT_TRIED, count_of
from hsutils.new_databases import NARROW, PHASES
from hsutils.variants import BEYOND

BESIDE = {"mean-cycle": "linear model", "paper": "teacher"}
"""Profiles whose answers are told beside those of the CNN, and their models."""


def changes(made: Tables) -> str:
    """What each change brings, and of which that can be said from these recordings."""
    rows = made.get("changes", pd.DataFrame({"against": []}))
    rows = rows[rows.against == RECIPE[0]]
    if rows.empty:
        return "no change of the native recipe was tried yet."
    sorted_out = {
        "up, with": rows[rows.low > 0],
        "down, with": rows[rows.high < 0].iloc[::-1],
        "by too little to be told from nothing, with": rows[(rows.low <= 0) & (rows.high >= 0)],
    }
    told = "; ".join(
        f"{which} {', '.join(_moved(row) for row in part.itertuples())}"
        for which, part in sorted_out.items()
        if len(part)
    )
    return (
        "against the native recipe with the same seeds, the mean over new databases moves (95% "
        f"over the recordings, the same for both; `changes.csv`) {told}. Of {len(rows)} intervals "
        f"one or another is off by chance, and none knows of other seeds{_spread(made)}."
    )


def _moved(row: tuple) -> str:
    return (
        f"*{option_of(row.profile)}* {signed(row.difference)} "
        f"({signed(row.low)} to {signed(row.high)}; {count_of(row.seeds)})"
    )


def option_of(profile: str) -> str:
    """What a changed profile does, in words."""
    return BEYOND[profile.removeprefix(f"{RECIPE[0]}-")].option


def _spread(made: Tables) -> str:
    """How far the recipe itself moves with its seed, and what was asked on dev alone."""
    found = made["results"]
    own = found[(found.protocol == LEFT_OUT) & (found.database == "mean")]
    own = own[(own.profile == RECIPE[0]) & (own.model == RECIPE[1])].auroc
    seeds = f": the recipe's own range over {own.max() - own.min():.3f}" if len(own) > 1 else ""
    rows = made["summary"]
    rows = rows[rows.model == RECIPE[1]].set_index("profile").dropna(subset="dev")
    asked = rows[rows.new_database.isna() & rows.index.str.startswith(f"{RECIPE[0]}-")]
    if asked.empty or RECIPE[0] not in rows.index:
        return seeds
    each = ", ".join(f"{dev:.3f} with *{option_of(profile)}*" for profile, dev in asked.dev.items())
    return f"{seeds}. Asked on dev alone: {each} (the recipe {rows.dev[RECIPE[0]]:.3f})"


def phases(made: Tables) -> str:
    """A student of several CNNs of the narrow recipe, and a second phase for it."""
    own = row_of(made, NARROW, RECIPE[1])
    known = {
        words: row
        for change, words in PHASES.items()
        if (row := row_of(made, f"{RECIPE[0]}-{change}", "compact student")) is not None
    }
    if own is None or not known:
        return "no student of *narrow* CNNs was tried yet."
    each = "; ".join(
        f"{words} {row.new_database:.3f} ({row.low:.3f} to {row.high:.3f}; worst {row.worst:.3f} "
        f"in {row.worst_database}; {count_of(row.new_seeds)})"
        for words, row in known.items()
    )
    return (
        f"CNNs of *narrow* have a mean AUROC of {own.new_database:.3f} in a database never heard "
        f"({count_of(own.new_seeds)}). Of students of their size, "
        f"taught by three of them, {each}."
    )


def operating(made: Tables) -> str:
    """What answers are given in a new database: AUROC asks the order alone."""
    table = made.get("operating", pd.DataFrame(columns=["profile", "model", "database"]))
    whole = table[table.database == "mean"].set_index(["profile", "model"])
    asked = [(NARROW, RECIPE[1]), RECIPE]
    key = next((key for key in asked if key in whole.index), None)
    if key is None:
        return NOT_TRIED
    rows = table[(table.profile == key[0]) & (table.model == key[1])].set_index("database")
    each = ", ".join(
        f"{database} {row.sensitivity:.0%} and {row.specificity:.0%}"
        for database, row in rows.drop("mean").iterrows()
    )
    told = (
        "at logit 0, where training put the threshold, the CNN of "
        f"`{key[0]}` calls this share of the abnormal and of the normal recordings of a database "
        f"it never heard what they are ({count_of(rows.seeds['mean'])}): {each}. The mean of both "
        f"is {_balanced(whole.loc[key])}"
    )
    others = [
        f"{_balanced(whole.loc[pair], False)} for the {pair[1]} of `{pair[0]}`"
        for pair in BESIDE.items()
        if pair in whole.index
    ]
    return told + (f"; {', '.join(others)}." if others else ".")


def _balanced(row: pd.Series, at_length: bool = True) -> str:
    middle, best = "", ""
    if at_length:
        middle = (
            " with the median of each database's own logits for a threshold, which needs no label"
        )
        best = " with the best for each, chosen by its labels"
    return (
        f"{row.balanced:.2f}, {row.balanced_median:.2f}{middle}, and {row.balanced_own:.2f}{best}"
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
    parts += _clear(made)
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


def _clear(made: Tables) -> list[str]:
    """The changes whose intervals leave out nothing, by their direction."""
    rows = made.get("changes", pd.DataFrame(columns=["against", "low", "high"]))
    rows = rows[rows.against == RECIPE[0]]
    told = []
    for which, part in (("raises", rows[rows.low > 0]), ("lowers", rows[rows.high < 0])):
        each = [f"*{option_of(r.profile)}* ({signed(r.difference, 2)})" for r in part.itertuples()]
        told += [f"what {which} it, clear of chance, is {', '.join(each)}"] if each else []
    return told
