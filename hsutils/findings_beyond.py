"""What the kept evidence beyond the paper says, in words: every number is read off the tables."""

import textwrap

import pandas as pd

from hsutils import findings_cycles, findings_published
from hsutils.beyond import RECIPE
from hsutils.beyond_tables import Tables, in_new_databases
from hsutils.findings_published import count_of
from hsutils.variants import BEYOND, TAUGHT

PHASES = {
    "narrow-three-seeds": "one that learned their mean soft label has",
    "narrow-labels-after": "such a one, then told the true labels, has",
    "narrow-own-opinions-after": "one trained anew on the opinions of such a one has",
}
"""Changes in `BEYOND`, and how they read of a student."""


def finding(question: str, made: Tables) -> str:
    """One paragraph of Markdown.

    Args:
        question: a key of `FINDINGS`.
        made: the tables of a folder such as `figures/beyond`, see `findings.read_tables`.
    """
    return "**On the real recordings:** " + FINDINGS[question](made)


def summary(made: Tables) -> str:
    """The README's list of findings beyond the paper, wrapped to 100 columns."""
    told = {
        "A database never heard": _new(made).split(") ", 1)[1],
        "Which recipe the others would choose": _choice(made),
        "Artificial hearts alone": _hearts(made),
        "What each change brings": _changes(made),
        "A student of several": _phases(made),
        "Sixty numbers": findings_cycles.sixty(made),
        "The published test": findings_published.published(made),
        "A compact student": findings_published.compact(made),
        "All labels": findings_published.all_labels(made),
        "What the paper would try next": findings_published.next_steps(made),
        "Formats": _storage(made),
        "Few labels": _labels(made),
    }
    how = {"break_long_words": False, "break_on_hyphens": False, "subsequent_indent": "  "}
    return (
        "\n".join(
            textwrap.fill(f"- **{about}**: {text}", 100, **how)
            for about, text in told.items()
            if text
        )
        + "\n"
    )


def _row(made: Tables, profile: str, model: str) -> pd.Series | None:
    asked = in_new_databases(made).set_index(["profile", "model"])
    return asked.loc[profile, model] if (profile, model) in asked.index else None


def _new(made: Tables) -> str:
    asked = in_new_databases(made).set_index(["profile", "model"])
    own = asked.loc[RECIPE]
    told = (
        "(`figures/beyond/summary.csv`) the native recipe, with all labels of the other "
        f"databases, has a mean AUROC of {own.new_database:.3f} ({own.low:.3f} to {own.high:.3f}, "
        "95% over the recordings of these six) in a database it never heard, mean of "
        f"{count_of(own.new_seeds)}; in the hardest, "
        f"{own.worst_database}, it is {own.worst:.3f}"
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


def _changes(made: Tables) -> str:
    scores = (
        made["results"]
        .query("protocol == 'leave-one-database-out' and database == 'mean'")
        .set_index(["profile", "model", "seed"])
        .sort_index()
    )
    own, parts = scores.auroc.loc[RECIPE], []
    for row in in_new_databases(made).itertuples():
        change = row.profile.removeprefix(f"{RECIPE[0]}-")
        # Students of other changes differ from the recipe in more than the change.
        taught = change in BEYOND and BEYOND[change].question == TAUGHT
        # Students of another change's CNNs are held against these: see `_phases`.
        if change != row.profile and change not in PHASES and (taught or row.model == RECIPE[1]):
            gains = (scores.auroc.loc[row.profile, row.model] - own).dropna()
            parts.append((gains.mean(), change, len(gains)))
    if not parts:
        return "no change of the native recipe was tried yet."
    told = ", ".join(
        f"{gain:+.3f} with *{change}* ({count_of(seeds)})" for gain, change, seeds in sorted(parts)
    )
    spread = f"; the recipe's own seeds range over {own.max() - own.min():.3f}"
    return (
        "against the native recipe with the same seeds, the mean over new databases moves by "
        f"{told}{spread if len(own) > 1 else ''}{_on_dev_alone(made)}."
    )


def _phases(made: Tables) -> str:
    """A student of several CNNs of the narrow recipe, and a second phase for it."""
    own = _row(made, f"{RECIPE[0]}-narrow", RECIPE[1])
    known = {
        words: row
        for change, words in PHASES.items()
        if (row := _row(made, f"{RECIPE[0]}-{change}", "compact student")) is not None
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


def _on_dev_alone(made: Tables) -> str:
    """Changes of the recipe that were never asked in a new database."""
    rows = made["summary"]
    rows = rows[rows.model == RECIPE[1]].set_index("profile").dropna(subset="dev")
    asked = rows[rows.new_database.isna() & rows.index.str.startswith(f"{RECIPE[0]}-")]
    if asked.empty or RECIPE[0] not in rows.index:
        return ""
    each = ", ".join(
        f"{dev:.3f} with *{profile.removeprefix(RECIPE[0] + '-')}*"
        for profile, dev in asked.dev.items()
    )
    return f". Asked on dev alone: {each} (the recipe {rows.dev[RECIPE[0]]:.3f})"


def _choice(made: Tables) -> str:
    """Which recipe each database would be tested with, had the others chosen, and how it does."""
    table = made.get("choices", pd.DataFrame())
    if table.empty or table.groupby("test_database").size().min() < 2:
        return "no two recipes were trained without pairs of databases yet."
    best = table[table.chosen].drop_duplicates("test_database")
    each = ", ".join(f"{r.test_database} `{r.profile}` ({r.auroc:.2f})" for r in best.itertuples())
    return (
        f"chosen for each database by the others alone ({len(set(table.profile))} recipes, two "
        f"databases left out at a time, `choices.csv`): {each}; mean AUROC of the chosen "
        f"{best.auroc.mean():.3f}, worst {best.auroc.min():.3f}."
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
        "a network that learned from artificial hearts alone has a mean AUROC of "
        f"{alone.new_database:.3f} ({alone.low:.3f} to {alone.high:.3f}) over the six databases "
        f"({each}): it learned from no real stethoscope, file or patient."
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
        f"files and after control ({BEYOND['controlled'].option}): {each}."
    )


def _labels(made: Tables) -> str:
    """Pre-trained features against none, from few labels to all."""
    table = made.get("label_efficiency", pd.DataFrame())
    if table.empty:
        return "no encoder was pre-trained yet."
    names = {"all": "on dev", "within": "among dev's pairs of one database"}
    names |= {"new": "in a new database"}
    parts = []
    for (profile, asked), part in table.groupby(["profile", "asked"], sort=False):
        areas = part.set_index(["features", "share"]).auroc
        each = [
            f"{name} " + " ".join(f"{areas[kind, share]:.2f}" for share in (0.01, 0.1, 1.0))
            for kind, name in (("pre-trained", "pre-trained"), ("random", "untrained"))
        ]
        each += ["bands " + " ".join(f"{areas['bands', s]:.2f}" for s in (0.01, 0.1, 1.0))]
        parts.append(f"`{profile}` {names[asked]}: {', '.join(each)}")
    few, some, every = (table[table.share == share].labels.iloc[0] for share in (0.01, 0.1, 1.0))
    return (
        f"a linear classifier on frozen features of {few:.0f}, {some:.0f} and {every:.0f} labels "
        "(features of the pre-trained encoder, of the same untrained, and each band's mean and "
        f"deviation) has these AUROCs. {'; '.join(parts)}."
    )


FINDINGS = {"choice": _choice, "storage": _storage, "labels": _labels, "new": _new}
FINDINGS |= {"changes": _changes, "hearts": _hearts, "size": _size}
FINDINGS |= {"published": findings_published.published, "compact": findings_published.compact}
FINDINGS |= {"sixty": findings_cycles.sixty, "phases": _phases}
FINDINGS |= {
    "all-labels": findings_published.all_labels,
    "future-work": findings_published.next_steps,
}
"""Question -> what the tables say."""
