"""What the kept evidence beyond the paper says, in words: every number is read off the tables."""

import textwrap
from collections.abc import Callable, Sequence

import pandas as pd

from hsutils.studies import findings_changes, findings_cycles, findings_published
from hsutils.studies.beyond import RECIPE
from hsutils.studies.beyond_tables import Tables, in_new_databases, row_of
from hsutils.plots.common import signed
from hsutils.studies.findings_published import NOT_TRIED, count_of


def finding(question: str, made: Tables) -> str:
    """One paragraph of Markdown.

    Args:
        question: a key of `FINDINGS`.
        made: the tables of a folder such as `figures/beyond`, see `findings.read_tables`.
    """
    return "**On the real recordings:** " + FINDINGS[question](made)


def summary(made: Tables, asked: Sequence[str] | None = None) -> str:
    """Findings as a list, wrapped to 100 columns.

    Args:
        made: as for `finding`.
        asked: keys of `TITLES`; all of them by default.
    """
    how = {"break_long_words": False, "break_on_hyphens": False, "subsequent_indent": "  "}
    told = {TITLES[question]: FINDINGS[question](made) for question in asked or TITLES}
    lines = [textwrap.fill(f"- **{title}**: {text}", 100, **how) for title, text in told.items()]
    return "\n".join(lines) + "\n"


def _new(made: Tables) -> str:
    asked = in_new_databases(made).set_index(["profile", "model"])
    if RECIPE not in asked.index:
        return NOT_TRIED
    own = asked.loc[RECIPE]
    told = (
        "the native recipe, with all labels of the other databases, has a mean AUROC of "
        f"{own.new_database:.3f} ({own.low:.3f} to {own.high:.3f}, 95% over the recordings of "
        "these six; `summary.csv`) in a database it never heard, mean of "
        f"{count_of(own.new_seeds)}; in the hardest, {own.worst_database}, it is {own.worst:.3f}"
    )
    papers = [
        f"{asked.new_database['paper', model]:.3f} for the {model}"
        for model in ("teacher", "student", "baseline")
        if ("paper", model) in asked.index
    ]
    if not papers:
        return told + "."
    told += (
        f". By the paper's recipe it is {', '.join(papers)}, from fewer labels: at most 400 "
        "(teacher and, through it, student) and 2,040, of which 65 are abnormal (baseline)"
    )
    if ("native", RECIPE[1]) not in asked.index:
        return told + ". What part of the difference is labels is not measured."
    few = asked.loc["native", RECIPE[1]]
    return told + (
        f". From that baseline's labels, and artificial hearts, the native recipe has "
        f"{few.new_database:.3f} ({few.low:.3f} to {few.high:.3f})."
    )


def _choice(made: Tables) -> str:
    """Which recipe each database would be tested with, had the others chosen, and how it does."""
    table, picked = made.get("choices", ()), made.get("chosen", ())
    if not len(picked):
        return "no two recipes were trained without pairs of databases yet."
    row = picked.iloc[0]
    best = table[table.chosen].drop_duplicates("test_database")
    each = ", ".join(f"{r.test_database} `{r.profile}` ({r.auroc:.2f})" for r in best.itertuples())
    return (
        f"chosen for each database by the others alone ({row.recipes:.0f} recipes, two databases "
        f"left out at a time, `choices.csv`): {each}; mean AUROC of the chosen {row.auroc:.3f} "
        f"({row.low:.3f} to {row.high:.3f}), worst {row.worst:.3f}. Which recipes there "
        "were to choose from was decided by people who had seen scores in all six, so that even "
        "this is somewhat kind."
    )


def _hearts(made: Tables) -> str:
    alone = row_of(made, f"{RECIPE[0]}-artificial-only", RECIPE[1])
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
        "a network that learned from artificial hearts alone has a mean AUROC of "
        f"{alone.new_database:.3f} ({alone.low:.3f} to {alone.high:.3f}) over the six databases "
        f"({each}): it learned from no real stethoscope, file or patient."
    )


def _size(made: Tables) -> str:
    own, teacher = row_of(made, *RECIPE), row_of(made, "paper", "teacher")
    if own is None:
        return NOT_TRIED
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


def _storage(made: Tables) -> str:
    """What format facts tell inside the largest database, before and after control."""
    rows = made["storage"] if "storage" in made else pd.DataFrame({"database": []})
    if not (rows.database == "e").any():
        return "what facts of storage tell inside the largest database was not asked yet."
    areas = rows[rows.database == "e"].set_index(["waveform", "facts"]).auroc
    each = ", ".join(
        f"{name} {areas['stored', fact]:.3f} and {areas['controlled', fact]:.3f}"
        for fact, name in (
            *(("levels", "the number of distinct sample values"), ("peak", "the peak")),
            *(("clipped", "the number of clipped samples"), ("all", "all three together")),
        )
    )
    return (
        "extra trees that see facts of storage alone have this AUROC inside database e, in the "
        f"files and after control: {each}."
    )


def _labels(made: Tables) -> str:
    """Pre-trained features against none, from few labels to all."""
    table = made.get("label_efficiency", pd.DataFrame())
    if table.empty:
        return "no encoder was pre-trained yet."
    names = {"all": "on dev", "within": "among dev's pairs of one database"}
    names |= {"new": "in a new database"}
    parts = [
        f"`{profile}` {names[asked]}, {_ahead(part)}"
        for (profile, asked), part in table.groupby(["profile", "asked"], sort=False)
    ]
    return (
        "AUROC of a linear classifier on frozen features of the pre-trained encoder, from the "
        "fewest labels to all (`label_efficiency.csv`), against the same encoder untrained and "
        f"against each band's mean and deviation. {'; '.join(parts)}."
    )


def _ahead(part: pd.DataFrame) -> str:
    """What pre-training has, and at how many shares of the labels it is ahead of others."""
    areas = part.pivot(index="share", columns="features", values="auroc").sort_index()
    labels, own = part.groupby("share").labels.first(), areas["pre-trained"]
    each = [
        f"of {name} at {(gain > 0).sum()} of {len(gain)} ({signed(gain.min(), 2)} to "
        f"{signed(gain.max(), 2)})"
        for kind, name in (("random", "untrained"), ("bands", "bands"))
        for gain in [own - areas[kind]]
    ]
    return (
        f"{own.iloc[0]:.2f} with {labels.iloc[0]:.0f} labels and {own.iloc[-1]:.2f} with "
        f"{labels.iloc[-1]:.0f}, ahead {' and '.join(each)}"
    )


FINDINGS: dict[str, Callable[[Tables], str]] = {
    "new": _new,
    "operating": findings_changes.operating,
    "choice": _choice,
    "hearts": _hearts,
    "changes": findings_changes.changes,
    "phases": findings_changes.phases,
    "sixty": findings_cycles.sixty,
    "published": findings_published.published,
    "size": _size,
    "compact": findings_published.compact,
    "all-labels": findings_published.all_labels,
    "future-work": findings_published.next_steps,
    "storage": _storage,
    "labels": _labels,
    "answer": findings_changes.answer,
}
"""Question -> what the tables say."""

TITLES = {
    "new": "A database never heard",
    "operating": "The answers given there",
    "choice": "Which recipe the others would choose",
    "hearts": "Artificial hearts alone",
    "changes": "What each change brings",
    "phases": "A student of several",
    "sixty": "Sixty numbers",
    "published": "The published test",
    "size": "What it costs",
    "compact": "A compact student",
    "all-labels": "All labels",
    "future-work": "What the paper would try next",
    "storage": "Formats",
    "labels": "Few labels",
    "answer": "So what must it be shown?",
}
"""Keys of `FINDINGS`, and how they are headed in a list."""
SHORT = ("new", "operating", "choice", "compact", "answer")
"""Those that the README tells."""
