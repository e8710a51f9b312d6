"""Figures beyond the paper: how recipes do in a database that no training heard, and their size."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hsutils.studies.beyond import RECIPE
from hsutils.studies.beyond_tables import but_changes
from hsutils.plots.common import BAR, interval, letters_below
from hsutils.plots.seeds import BELOW, DASHED, DOT, legend_handles
from hsutils.studies.new_databases import COMPACT_STUDENT
from hsutils.plots.style import INK, color_of, headline, new_page, styled
from hsutils.studies.variants import BEYOND

MEAN = {"marker": "D", "ls": "none", "ms": 8, "mew": 0}
SMALL_DOT = DOT | {"ms": 7, "mew": 1.4}
PAPERS, SMALL = "paper", "compact"
MARKS = {"mean over databases, or all recordings": MEAN | {"color": INK}}
MARKS |= {"pairs of one database": MEAN | {"color": INK, "mfc": "white", "mew": 1.8}}
MARKS |= {"95% interval": BAR | {"color": INK}}
MARKS |= {"one database": {"marker": "$a$", "ls": "none", "ms": 7, "mew": 0.4, "color": INK}}


@styled
def new_databases(
    summary: pd.DataFrame, results: pd.DataFrame, chosen: pd.DataFrame | None = None
) -> Figure:
    """AUROC on the ordinary test and in databases never heard, recipe by recipe, the best first.

    Changes of the native recipe have a figure of their own, `changes`, but for the few that
    `beyond_tables.SHOWN` names.

    Args:
        summary: columns profile, model, new_database, low, high, worst, test, within; rows without
            new_database are left out.
        results: columns profile, model, protocol, database, auroc: a letter in each database.
        chosen: see `new_databases.chosen`; the headline tells of it where it has a row.
    """
    shown = but_changes(summary.dropna(subset="new_database"))
    shown = shown.sort_values("new_database", ascending=False, ignore_index=True)
    figure, (ordinary, new) = new_page(10, 1.9 + 0.55 * len(shown), ncols=2, sharey=True)
    single = results["protocol"].str.startswith("leave") & (results["database"].str.len() == 1)
    letters = results[single].groupby(["profile", "model", "database"])["auroc"].mean()
    lowest = min(letters[row["profile"], row["model"]].min() for _, row in shown.iterrows())
    new.set_xlim(min(0.5, lowest - 0.03), 1.02)
    for y, row in shown.iterrows():
        color = color_of(kind(row["model"]))
        ordinary.plot(row["test"], y, color=color, **MEAN)
        ordinary.plot(row["within"], y, color=color, **MEAN | {"mfc": "white", "mew": 1.8})
        if np.isnan(row["test"]):
            ordinary.text(0.6, y, "not read for changes", va="center", size=9, color="#767676")
        interval(new, y, row["low"], row["high"], color)
        own = letters[row["profile"], row["model"]].sort_values()
        letters_below(new, y, own.reset_index())
        new.plot(row["new_database"], y, color=color, zorder=4, **MEAN)
    names = [label(*row) for row in shown[["profile", "model"]].to_numpy()]
    ordinary.set_yticks(range(len(shown)), names)
    ordinary.set(ylim=(len(shown) - 0.2, -0.5), xlim=new.get_xlim())
    for axes, title in ((ordinary, "Published test"), (new, "New database")):
        axes.set_xlabel("AUROC (0.5: guessing)")
        axes.set_title(title, weight="bold")
    figure.legend(handles=legend_handles(MARKS), **BELOW)
    return headline(figure, _gain(shown, chosen))


@styled
def changes(table: pd.DataFrame) -> Figure:
    """How far each change of the native recipe moves the mean AUROC in databases never heard.

    Args:
        table: see `new_databases.changes`; those held against another recipe are not drawn.
    """
    shown = table[table["against"] == RECIPE[0]].reset_index(drop=True)
    figure, axes = new_page(10, 1.7 + 0.33 * len(shown))
    axes.axvline(0, **DASHED)
    for y, row in shown.iterrows():
        color = color_of(kind(row["model"]))
        interval(axes, y, row["low"], row["high"], color)
        axes.plot(row["difference"], y, color=color, **MEAN)
    names = [f"{label(*row)} ({n})" for *row, n in shown[["profile", "model", "seeds"]].to_numpy()]
    axes.set(yticks=range(len(shown)), yticklabels=names, ylim=(len(shown) - 0.4, -0.6))
    axes.set_xlabel("change of the mean AUROC over six new databases (in brackets: seeds)")
    kinds = dict.fromkeys(kind(model) for model in shown["model"])
    told = {"baseline": "told true labels", "student": "told soft labels"}
    marks = {told[k]: MEAN | {"color": color_of(k)} for k in kinds}
    marks |= {"95% interval over recordings": BAR | {"color": INK}, "the native recipe": DASHED}
    figure.legend(handles=legend_handles(marks), **BELOW)
    gains = shown["difference"][shown["p_holm"] < 0.05]
    raised, lowered = (gains > 0).sum(), (gains < 0).sum()
    return headline(
        figure,
        f"{len(shown)} changes of the native recipe: {raised} clear gain{_s(raised)} of AUROC in "
        f"new databases, {lowered} clear drop{_s(lowered)} (p < .05 after Holm's correction)",
    )


def _s(count: int) -> str:
    return "" if count == 1 else "s"


@styled
def sizes(summary: pd.DataFrame) -> Figure:
    """AUROC on dev and in new databases against parameters and multiply-adds.

    Args:
        summary: columns profile, model, new_database, dev, labeled, parameters, multiply_adds;
            hollow on dev are those with all labels. Models without parameters are not drawn.
    """
    figure, panels = new_page(10, 4.6, nrows=1, ncols=2, sharey=True)
    shown = but_changes(summary.dropna(subset=["new_database", "dev"], how="all"))
    shown = shown.dropna(subset="parameters")
    shown = shown.astype({"parameters": float, "multiply_adds": float})
    for axes, column, name in (
        (panels[0], "parameters", "parameters"),
        (panels[1], "multiply_adds", "multiply-adds a recording"),
    ):
        for row in shown.to_dict("records"):
            color = color_of(kind(row["model"]))
            dev = SMALL_DOT | ({"mfc": "white", "mec": color} if row["labeled"] == "both" else {})
            for score, style in (("new_database", MEAN), ("dev", dev)):
                if np.isfinite(row[score]):
                    axes.plot(row[column], row[score], color=color, **style)
        axes.set(xscale="log", xlabel=name)
    panels[0].set_ylabel("AUROC")
    kinds = {m: m for m in ("teacher", "student", "baseline")} | {"linear": "other"}
    if shown["multiply_adds"].notna().all():
        del kinds["linear"]
    marks = {name: {"color": color_of(m)} | SMALL_DOT for name, m in kinds.items()}
    marks |= {
        "dev of the published split": SMALL_DOT | {"color": INK},
        "all labels": SMALL_DOT | {"mfc": "white", "mec": INK},
        "new database": MEAN | {"color": INK},
    }
    figure.legend(handles=legend_handles(marks), **BELOW | {"ncols": 7, "columnspacing": 1.2})
    return headline(figure, _smallest(shown))


FEATURES = {
    "pre-trained": {"color": color_of("teacher"), "marker": "o", "ms": 6},
    "random": {"color": "#767676", "marker": "s", "ms": 5, "ls": "--"},
    "bands": {"color": color_of("other"), "marker": "^", "ms": 6, "ls": ":"},
}
ASKED = {"all": "dev, all pairs", "within": "dev, pairs of one database", "new": "new database"}


@styled
def label_efficiency(table: pd.DataFrame) -> Figure:
    """AUROC of a linear classifier against the number of labels, for three kinds of features.

    Args:
        table: columns profile, features, share, asked ("all", "within" or "new"), labels, auroc,
            low and high (of seeds, or of databases): see `beyond_tables.efficiency`.
    """
    profiles = sorted(table["profile"].unique(), key=lambda name: (name != PAPERS, name))
    asked = [a for a in ASKED if a in set(table["asked"])]
    size = (1.5 + 3 * len(asked), 1.4 + 2.6 * len(profiles))
    figure, panels = new_page(
        *size, nrows=len(profiles), ncols=len(asked), sharey=True, squeeze=False
    )
    for row, profile in zip(panels, profiles, strict=True):
        row[0].set_ylabel("AUROC")
        for axes, question in zip(row, asked, strict=True):
            part = table[(table["profile"] == profile) & (table["asked"] == question)]
            if part.empty:
                axes.remove()
                continue
            _by_labels(axes, part)
            axes.set_title(f"{_recipe_name(profile)}: {ASKED[question]}", weight="bold")
    names = {"pre-trained": "pre-trained encoder", "random": "the same, untrained"}
    names |= {"bands": "no network: band means and deviations"}
    figure.legend(handles=legend_handles({names[n]: s for n, s in FEATURES.items()}), **BELOW)
    return headline(figure, _saved(table))


def _by_labels(axes: Axes, part: pd.DataFrame) -> None:
    for name, style in FEATURES.items():
        line = part[part["features"] == name].sort_values("share")
        axes.fill_between(
            line["labels"], line["low"], line["high"], color=style["color"], alpha=0.15
        )
        axes.plot(line["labels"], line["auroc"], **style)
    counts = sorted(part["labels"].unique())
    axes.set(xscale="log", xticks=counts, xticklabels=[f"{count:.0f}" for count in counts])
    axes.set_xlabel("labels")
    axes.minorticks_off()


def _saved(table: pd.DataFrame) -> str:
    """Of a tenth of the labels, by the paper's recipe wherever it was asked."""
    shown = table[table["profile"] == PAPERS] if PAPERS in set(table["profile"]) else table
    first = shown.iloc[0]
    asked = "all" if "all" in set(shown["asked"]) else first["asked"]
    tenth = shown[(shown["share"] == 0.1) & (shown["asked"] == asked)]
    tenth = tenth[tenth["profile"] == first["profile"]].set_index("features")
    own, plain = (tenth["auroc"][name] for name in ("pre-trained", "bands"))
    return (
        f"With {tenth['labels'].iloc[0]:.0f} labels, a linear classifier on pre-trained features "
        f"of the profile {first['profile']} reaches {own:.2f} ({ASKED[asked]}), and on two numbers "
        f"a mel band {plain:.2f}"
    )


def kind(model: str) -> str:
    """Teacher, student or baseline, whatever the size."""
    return model.removeprefix("compact ")


def label(profile: str, model: str) -> str:
    """How a recipe is named: "paper: teacher", or what a change of the native recipe is."""
    head, _, change = profile.partition(f"{RECIPE[0]}-")
    if not head and change in BEYOND:
        return f"{BEYOND[change].option}"
    return f"{_recipe_name(profile)}: {model}"


def _recipe_name(profile: str) -> str:
    return "native recipe" if profile == RECIPE[0] else profile


def _gain(shown: pd.DataFrame, chosen: pd.DataFrame | None) -> str:
    own, papers = _of_recipe(shown), shown[shown["profile"] == PAPERS]
    told = f"In a database never heard, the native recipe's mean AUROC is {own['new_database']:.2f}"
    told = f"{told} ({own['low']:.2f} to {own['high']:.2f})"
    if chosen is not None and len(chosen):
        row = chosen.iloc[0]
        told = (
            f"Chosen by the other databases, the recipe's mean AUROC in one never heard is "
            f"{row['auroc']:.2f} ({row['low']:.2f} to {row['high']:.2f})"
        )
    if papers.empty:
        return told
    ends = [
        f"{value:.2f}" for value in (papers["new_database"].min(), papers["new_database"].max())
    ]
    return f"{told}, with all labels; the paper's recipe, with fewer, is at {' to '.join(ends)}"


def _smallest(shown: pd.DataFrame) -> str:
    """Of the compact student beside the paper's teacher, or of the declared recipe's size."""
    dev = shown.dropna(subset="dev").set_index(["profile", "model"])
    student, teacher = (SMALL, COMPACT_STUDENT), (PAPERS, "teacher")
    if student not in dev.index or teacher not in dev.index:
        own, largest = _of_recipe(shown), shown.loc[shown["parameters"].idxmax()]
        factor = largest["parameters"] / own["parameters"]
        return (
            f"The native recipe's network has {own['parameters']:,.0f} parameters, "
            f"{factor:,.0f} times fewer than the largest"
        )
    own, papers = dev.loc[student], dev.loc[teacher]
    return (
        f"A student of {own['parameters']:,.0f} parameters reaches {own['dev']:.3f} on dev; the "
        f"paper's teacher, {papers['parameters'] / own['parameters']:,.0f} times as large, "
        f"{papers['dev']:.3f}"
    )


def _of_recipe(shown: pd.DataFrame) -> pd.Series:
    """The predeclared recipe: the best of many would owe some of its lead to luck."""
    found = shown[(shown["profile"] == RECIPE[0]) & (shown["model"] == RECIPE[1])]
    return (found if len(found) else shown).iloc[0]
