"""One kind of figure for every table of estimates with intervals: the forest plot."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hsutils.evaluation.domains import PROTOCOLS
from hsutils.plots import style

DIAMOND = style.DOT | {"marker": "D", "zorder": 4}
TICK = {"marker": "|", "ms": 9, "mew": 2, "ls": "none"}
LOOKS = {
    "one seed": style.DOT | {"ms": 6},
    "lowest and highest seed": TICK,
    "mean after the last epoch": DIAMOND | {"ms": 9, "mfc": "none", "mec": style.INK},
    "chance": TICK | {"color": style.INK},
}
DATABASE = "database "
FACTS = {"seconds": "length", "levels": "distinct values", "levels_per_second": "values per second"}
FACTS |= {"clipped": "clipped samples"}
METRICS = {"auroc": "AUROC", "f1": "F1", "macc": "balanced accuracy", "ppv": "PPV", "npv": "NPV"}


@style.styled
def forest_plot(
    table: pd.DataFrame,
    *,
    row: str,
    title: str,
    xlabel: str,
    value: str = "value",
    hue: str | None = None,
    group: str | None = None,
    panel: str | None = None,
    share_x: bool = True,
    reference: Mapping[str, float] | None = None,
    digits: int = 3,
    marks: pd.DataFrame | None = None,
) -> Figure:
    """Estimates with their intervals, one line each, and the number at the right of the line.

    Args:
        table: one line each, with the ends of its interval in columns low and high (NaN: none).
            At its right is the value, or the text of the column note where there is one.
        row: column whose text names a line, or the lines of all hues together. Rows, groups and
            hues lie in the order of `style.in_order`.
        title, xlabel: as printed.
        value: column of the estimates; a line without one is left out of its panel.
        hue: column that gives the color (`style.color_of`); in the legend unless it names the rows
            or groups.
        group: column whose text heads its rows.
        panel: column whose text heads a panel; panels lie side by side.
        share_x: one x axis for all panels.
        reference: name -> x of a dashed line; of the last panel alone where x is not shared.
        digits: decimals of the values printed.
        marks: more marks, each beneath the line of the same group, row, hue and panel; columns
            value, and mark, a key of `LOOKS` or "database " and its name.
    """
    columns = [column for column in (group, row) if column]
    keys = list(dict.fromkeys([*columns, hue or row]))
    lines = table[keys].drop_duplicates()
    lines = lines.sort_values(keys, key=lambda names: names.map(style.in_order(names).index))
    first, headed = ~lines.duplicated(columns), ~lines.duplicated(columns[0]) & bool(group)
    steps = np.where(first, 1 if first.all() else 1.25, 0.75) + 1.5 * headed
    lines["y"] = steps.cumsum() - 0.5 * bool(group)
    rows = lines.groupby(columns, sort=False)["y"].mean()
    heads = lines[headed].set_index(columns[0])["y"] - 1
    table = table.merge(lines, on=keys).dropna(subset=value)
    table["color"] = table[hue].map(style.color_of) if hue else style.INK
    numbers = (table[value].round(digits) + 0).map(f"{{:.{digits}f}}".format)
    table["note"] = table.get("note", numbers).str.replace("-", "−")
    marks = table[:0].assign(mark="") if marks is None else marks
    named = marks["mark"][marks["mark"].str.startswith(DATABASE)].str.removeprefix(DATABASE)
    looks = style.database_looks(named, DATABASE) | LOOKS
    table, marks = (t.assign(heading=t[panel] if panel else "") for t in (table, marks))
    marks = marks.merge(table[[*keys, "heading", "y", "color"]], on=[*keys, "heading"])
    panels = list(dict.fromkeys(table["heading"]))
    shape = {"ncols": len(panels), "sharex": share_x, "sharey": True, "squeeze": False}
    inches = 0.4 if len(marks) else 0.3
    figure, (grid,) = style.new_page(title, 1.6 + inches * lines["y"].max(), **shape)
    for axes, name in zip(grid, panels, strict=True):
        part, beneath = (t[t["heading"] == name] for t in (table, marks))
        for x in (reference or {}).values() if share_x or axes is grid[-1] else ():
            axes.axvline(x, **style.DASHED)
        for line in part.itertuples():
            axes.plot([line.low, line.high], [line.y, line.y], color=line.color, **style.BAR)
            beside = {"xycoords": axes.get_yaxis_transform(), "textcoords": "offset points"}
            axes.annotate(line.note, (1, line.y), (8, 0), va="center_baseline", **beside)
        look = {"c": part["color"], "marker": "D", "s": 55, "zorder": 4}
        sns.scatterplot(part, x=value, y="y", ax=axes, **look)
        for mark in beneath.itertuples():
            axes.plot(mark.value, mark.y + 0.3, **{"color": mark.color} | looks[mark.mark])
        axes.set(title=name, xlabel=xlabel, ylabel="")
        axes.margins(x=0.03 * len(panels))
        axes.xaxis.set_major_locator(MaxNLocator(12 // len(panels), steps=[1, 2, 5, 10]))
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0)
    names = [*rows.index.get_level_values(row), *heads.index]
    grid[0].set(yticks=[*rows, *heads], yticklabels=names, ylim=(lines["y"].max() + 0.6, 0.3))
    for label in grid[0].get_yticklabels()[len(rows) :]:
        label.set_weight("bold")
    hues = style.in_order(table[hue]) if hue and hue not in columns else []
    shown = style.color_key(hues, marker="D") or {"estimate": DIAMOND}
    shown |= {"95% interval": style.BAR} if table["low"].notna().any() else {}
    shown |= {mark: look for mark, look in looks.items() if mark in set(marks["mark"])}
    return style.with_legend(figure, shown | dict.fromkeys(reference or {}, style.DASHED))


def long(table: pd.DataFrame, keys: list[str], parts: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """The keys, panel, value, low and high, from panel -> its columns of these three."""
    table, ends = table.set_index(keys), ["value", "low", "high"]
    made = {panel: table[list(numbers)].set_axis(ends, axis=1) for panel, numbers in parts.items()}
    return pd.concat(made, names=["panel"]).reset_index()


def intervals(table: pd.DataFrame) -> Figure:
    """Every metric of every model: the sampling error as bars, the training seeds beneath.

    Args:
        table: columns model, metric, value (mean over seeds), low, high (95%, of sampling the
            recordings), seed_min, seed_max (NaN for one seed).
    """
    table = table.assign(metric=table["metric"].replace(METRICS))
    ends = table[table["seed_min"] < table["seed_max"]].drop(columns="value")
    ends = ends.melt(["model", "metric"], ["seed_min", "seed_max"])
    words = {"title": "How sure is each number?", "xlabel": "metric on the test split"}
    marks = ends.assign(mark="lowest and highest seed")
    return forest_plot(table, row="metric", hue="model", marks=marks, **words)


def paired_differences(table: pd.DataFrame) -> Figure:
    """Differences of two models on the same recordings, seed by seed, with the p of their test.

    Args:
        table: columns a, b, seed, metric (auroc, accuracy), difference (a minus b), low, high, p.
    """
    table = table.assign(
        note=table["p"].map("p {:.3f}".format).replace({"p 0.000": "p < 0.001", "p nan": ""}),
        pair=table["a"] + " − " + table["b"],
        seed="seed " + table["seed"].astype(str),
        metric="difference in " + table["metric"].replace(METRICS),
    )
    words = {"title": "Is one model better than another?", "reference": {"no difference": 0}}
    words["xlabel"] = "second better  ←  0  →  first better"
    columns = {"group": "pair", "row": "seed", "panel": "metric", "value": "difference"}
    return forest_plot(table, **columns, **words)


def leak_effect(table: pd.DataFrame) -> Figure:
    """AUROC with all recordings and without those related to another split, and the change.

    Args:
        table: columns model, n (recordings), dropped (related ones), auroc, low, high, auroc_kept,
            low_kept, high_kept, change (kept minus all), low_change, high_change (paired).
    """
    every = "all " + table["n"].astype(str)
    without = "without " + table["dropped"].astype(str) + " related"
    scores = {"AUROC": ["auroc", "low", "high"]}
    rest = {"AUROC": ["auroc_kept", "low_kept", "high_kept"]}
    rest["change of AUROC"] = ["change", "low_change", "high_change"]
    parts = [long(table.assign(row=every), ["model", "row"], scores)]
    parts.append(long(table.assign(row=without), ["model", "row"], rest))
    columns = {"group": "model", "row": "row", "hue": "model", "panel": "panel"}
    words = {"title": "Do related recordings in other splits raise the score?"}
    words |= {"xlabel": "on the test split", "reference": {"no change": 0}}
    return forest_plot(pd.concat(parts), share_x=False, **columns, **words)


def separation(table: pd.DataFrame) -> Figure:
    """How well each fact about a recording's file separates the classes, database by database.

    Args:
        table: columns database, fact, auroc, low, high; below 0.5 larger values mean normal.
    """
    facts, databases = table["fact"].replace(FACTS), "database " + table["database"]
    columns = {"row": "fact", "panel": "database", "value": "auroc"}
    columns["reference"] = {"guessing (left of it: smaller if abnormal)": 0.5}
    words = {"title": "Does the file's format alone give the label away?", "xlabel": "AUROC"}
    table = table.assign(fact=facts, database=databases)
    return forest_plot(table, digits=2, **columns, **words)


def heart_or_stethoscope(table: pd.DataFrame) -> Figure:
    """AUROC over all pairs, over pairs within one database, and in an unseen database.

    The more a score falls from left to right, the less of it was the heart.

    Args:
        table: columns model, protocol (all pairs, within one database, unseen database), database
            ("" pooled or mean, a database, or "not e": pooled without e, shown beside "" for all
            pairs and instead of it within one database), auroc, low, high. Single databases without
            an interval are not drawn.
    """
    table = table.fillna({"database": ""}).rename(columns={"auroc": "value"})
    pooled = table["database"].eq("") | table["database"].str.startswith("not ")
    single, whole = table[~pooled & table["low"].notna()], table[pooled]
    narrowest = whole.groupby("protocol")["database"].transform("max")
    whole = whole[whole["protocol"].eq(PROTOCOLS[0]) | whole["database"].eq(narrowest)]
    order = {"protocol": PROTOCOLS.index, "database": len}
    whole = whole.sort_values([*order], key=lambda c: c.map(order[c.name]), kind="stable")
    pool = whole["database"].map(lambda name: f",\n{name}" if name else "")
    panels = {"protocol": dict(zip(whole["protocol"], whole["protocol"] + pool, strict=True))}
    whole = whole.assign(protocol=whole["protocol"] + pool)
    columns = {"row": "model", "panel": "protocol", "title": "How much of the score is the heart?"}
    return _by_database(whole, single.replace(panels), **columns)


def unseen_databases(table: pd.DataFrame) -> Figure:
    """AUROC of each configuration in unseen databases, the best mean first.

    Args:
        table: columns name (of the configuration), model, database ("mean" or a single one; others
            are not drawn), value (AUROC), low, high.
    """
    table = table.assign(model=table["model"].replace({"baseline": "baseline, any CNN"}))
    means = table[table["database"] == "mean"].sort_values("value", ascending=False, kind="stable")
    single = table[~table["database"].isin(["mean", "worst"])]
    title = "How well does each configuration do in an unseen database?"
    return _by_database(means, single, row="name", title=title)


def changes(table: pd.DataFrame) -> Figure:
    """What each change of one configuration does to its mean AUROC in unseen databases.

    Args:
        table: columns name (such as "robust, from full band"), model, seeds, value (changed minus
            unchanged), low, high.
    """
    table = table.assign(name=table["name"] + " (" + table["seeds"].astype(str) + ")")
    columns = {"row": "name", "hue": "model", "reference": {"no change": 0}}
    words = {"title": "What does each change do in unseen databases?"}
    words["xlabel"] = "change of mean AUROC (in brackets: seeds)"
    return forest_plot(table, **columns, **words)


def ablations(table: pd.DataFrame) -> Figure:
    """Dev AUROC of each variant of a model, and its difference from the unchanged one.

    Args:
        table: columns model, variant, seed ("mean" of all, or one), metric ("auroc", "auroc, last
            epoch", "auroc, difference"), value, low, high (95% t interval over seeds). Others are
            not drawn. The unchanged model is the first variant and has no difference.
    """
    panels = {"auroc": "mean over seeds", "auroc, difference": "difference, same seeds"}
    shown = table["metric"].map(panels)
    means = table[table["seed"] == "mean"].assign(panel=shown).dropna(subset="panel")
    looks = {"auroc": "one seed", "auroc, last epoch": "mean after the last epoch"}
    small = table[(table["seed"] == "mean") == (table["metric"] != "auroc")]
    marks = small.assign(mark=small["metric"].map(looks), panel=panels["auroc"])
    columns = {"group": "model", "row": "variant", "hue": "model", "panel": "panel"}
    words = {"title": "What carries the paper's result?", "xlabel": "dev AUROC"}
    words |= {"reference": {"no change": 0}, "marks": marks.dropna(subset="mark")}
    return forest_plot(means, share_x=False, **columns, **words)


def quality(table: pd.DataFrame, lengths: pd.DataFrame) -> Figure:
    """AUROC of each model on usable and on noisy recordings, and by their length.

    Args:
        table: columns model, subset, recordings, auroc, low, high.
        lengths: columns model, shortest, longest (s), recordings, auroc, low, high.
    """
    spans = lengths["shortest"].map("{:.0f} to ".format) + lengths["longest"].map("{:.0f} s".format)
    lengths = lengths.assign(subset=spans, group="length")
    lines = pd.concat([table.assign(group="annotated quality"), lengths])
    lines["subset"] += lines["recordings"].map(" ({:,.0f})".format)
    columns = {"group": "group", "row": "subset", "hue": "model", "value": "auroc"}
    words = {"title": "Do noisy or short recordings score worse?"}
    words["xlabel"] = "test AUROC (in brackets: recordings)"
    return forest_plot(lines, **columns, **words)


@style.styled
def robustness(table: pd.DataFrame) -> Figure:
    """AUROC of each model as recordings are disturbed, one panel a disturbance.

    Args:
        table: columns perturbation ("none" for the clean recordings), unit, level (in the order
            to be drawn; equally spaced), model, auroc, low, high.
    """
    models = style.in_order(table["model"])
    clean = table[table["perturbation"] == "none"].set_index("model")["auroc"]
    kinds = list(table[table["perturbation"] != "none"].groupby("perturbation", sort=False))
    title = "How robust are the models to poor recordings?"
    figure, panels = style.new_pages(title, len(kinds), 4, 2.5, sharey=True)
    for axes, (kind, part) in zip(panels, kinds, strict=True):
        levels = list(dict.fromkeys(part["level"]))
        for k, model in enumerate(models):
            own, color = part[part["model"] == model], style.color_of(model)
            x = own["level"].map(levels.index) + 0.16 * (k - (len(models) - 1) / 2)
            style.intervals_at(axes, x, own, color)
            look = {"color": color, "marker": "o", "lw": 1.2, "errorbar": None}
            sns.lineplot(x=x, y=own["auroc"], ax=axes, **look)
            axes.axhline(clean[model], **style.DASHED | {"color": color})
        axes.set(title=kind, xlabel=part["unit"].iloc[0], ylabel="AUROC")
        axes.set_xticks(range(len(levels)), [f"{level:g}".replace("-", "−") for level in levels])
        axes.grid(axis="x", visible=False)
    marks = {"95% interval": style.BAR, "clean recordings": style.DASHED}
    return style.with_legend(figure, style.color_key(models) | marks)


def database_probe(table: pd.DataFrame) -> Figure:
    """How well a linear classifier reads the database off features, against chance.

    Args:
        table: columns features, balanced_accuracy, low, high, chance.
    """
    columns = {"row": "features", "hue": "features", "value": "balanced_accuracy", "digits": 2}
    marks = table[["features"]].assign(value=table["chance"], mark="chance")
    words = {"title": "Can the database be read off these features?"}
    words["xlabel"] = "balanced accuracy of the database"
    return forest_plot(table, marks=marks, **columns, **words)


def _by_database(whole: pd.DataFrame, single: pd.DataFrame, **columns: str) -> Figure:
    """The whole as diamonds, single databases beneath."""
    marks = single.assign(mark=DATABASE + single["database"])
    look = {"hue": "model", "digits": 2, "xlabel": "AUROC", "marks": marks}
    return forest_plot(whole, reference={"guessing": 0.5}, **look, **columns)
