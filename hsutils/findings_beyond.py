"""What the kept evidence beyond the paper says, in words: every number is read off the tables."""

from collections.abc import Mapping

import pandas as pd

Tables = Mapping[str, pd.DataFrame]
RECIPE = ("native-all", "compact baseline")
"""The recipe that notebook 09 is about: profile and model."""


def finding(question: str, made: Tables) -> str:
    """One paragraph of Markdown.

    Args:
        question: a key of `FINDINGS`.
        made: the tables of a folder such as `figures/beyond`, see `findings.read_tables`.
    """
    return "**On the real recordings** " + FINDINGS[question](made)


def recipe_table(made: Tables) -> str:
    """The recipes that were asked in a new database, as a Markdown table, best first."""
    shown = _asked(made).sort_values("new_database", ascending=False, kind="stable")
    head = ["recipe", "seeds", "new database (95% interval)", "worst", "parameters"]
    head += ["multiply-adds", "ms"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in shown.itertuples():
        interval = f"{row.new_database:.3f} ({row.low:.3f} to {row.high:.3f})"
        cells = [f"`{row.profile}` {row.model}", f"{row.new_seeds:.0f}", interval]
        cells += [f"{row.worst:.3f} ({row.worst_database})", f"{row.parameters:,.0f}"]
        cells += [f"{row.multiply_adds / 1e6:,.0f} M", f"{row.milliseconds:.1f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _asked(made: Tables) -> pd.DataFrame:
    return made["summary"].dropna(subset="new_database").reset_index(drop=True)


def _row(made: Tables, profile: str, model: str) -> pd.Series | None:
    asked = _asked(made).set_index(["profile", "model"])
    return asked.loc[profile, model] if (profile, model) in asked.index else None


def _new(made: Tables) -> str:
    asked = _asked(made).set_index(["profile", "model"])
    own = asked.loc[RECIPE]
    told = (
        f"(`figures/beyond/summary.csv`) the native recipe ranks {own.new_database:.3f} "
        f"({own.low:.3f} to {own.high:.3f}) right in a database it never heard, mean of six and of "
        f"{own.new_seeds:.0f} seeds, and {own.worst:.3f} in the hardest, {own.worst_database}"
    )
    papers = [
        f"{asked.new_database['paper', model]:.3f} for the {model}"
        for model in ("teacher", "student", "baseline")
        if ("paper", model) in asked.index
    ]
    return told + (f". By the paper's recipe it is {', '.join(papers)}." if papers else ".")


def _changes(made: Tables) -> str:
    own, parts = _row(made, *RECIPE), []
    for row in _asked(made).itertuples():
        change = row.profile.removeprefix(f"{RECIPE[0]}-")
        if row.model == RECIPE[1] and change != row.profile:
            parts.append((row.new_database - own.new_database, change, row.new_seeds))
    if not parts:
        return "no change of the native recipe was tried yet."
    told = ", ".join(f"{gain:+.3f} with *{change}*" for gain, change, _ in sorted(parts))
    seeds = sorted({f"{count:.0f}" for *_, count in parts})
    return (
        f"changing one thing of the native recipe moves the mean over new databases by {told} "
        f"({' or '.join(seeds)} seed{'s' if seeds != ['1'] else ''} each; a second seed of the "
        "same recipe may move it by a few hundredths too)."
    )


def _hearts(made: Tables) -> str:
    alone = _row(made, f"{RECIPE[0]}-artificial-only", RECIPE[1])
    if alone is None:
        return "a network of artificial hearts alone was not tried yet."
    letters = made["results"].query(
        "profile == @RECIPE[0] + '-artificial-only' and protocol == 'leave-one-database-out'"
        " and database.str.len() == 1",
        engine="python",
    )
    by_database = letters.groupby("database").auroc.mean()
    each = ", ".join(f"{database} {score:.2f}" for database, score in by_database.items())
    return (
        f"a network that learned from artificial hearts alone ranks {alone.new_database:.3f} "
        f"({alone.low:.3f} to {alone.high:.3f}) right, mean of six databases ({each}): nothing of "
        "that can be a stethoscope's, a file's or a patient's it had met."
    )


def _size(made: Tables) -> str:
    own, teacher = _row(made, *RECIPE), _row(made, "paper", "teacher")
    told = (
        f"the compact CNN has {own.parameters:,.0f} parameters and takes "
        f"{own.multiply_adds / 1e6:,.0f} million multiply-adds and {own.milliseconds:.1f} ms for a "
        "recording of mean length"
    )
    if teacher is None:
        return told + "."
    return told + (
        f"; the paper's teacher has {teacher.parameters / own.parameters:,.0f} times the "
        f"parameters and takes {teacher.multiply_adds / own.multiply_adds:,.0f} times the "
        f"multiply-adds ({teacher.milliseconds:.0f} ms on the same machine)."
    )


FINDINGS = {"new": _new, "changes": _changes, "hearts": _hearts, "size": _size}
"""Question -> what the tables say."""
