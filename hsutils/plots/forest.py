"""One kind of figure for every table of estimates with intervals: the forest plot."""

from collections.abc import Mapping, Sequence
from textwrap import fill

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hsutils.plots import style

DIAMOND = style.DOT | {"marker": "D", "zorder": 4}
TICK = {"marker": "|", "ms": 9, "mew": 2, "ls": "none"}
LOOKS = {
    f"database {name}": style.DOT | {"marker": marker, "color": style.color_of(name)}
    for name, marker in style.DATABASE_MARKERS.items()
}
LOOKS |= {"one seed": style.DOT | {"ms": 6}, "lowest and highest seed": TICK}
LOOKS["mean after the last epoch"] = DIAMOND | {"ms": 9, "mfc": "none", "mec": style.INK}
LOOKS["chance"] = TICK | {"color": style.INK}
METRICS = {"auroc": "AUROC", "f1": "F1", "macc": "balanced accuracy", "ppv": "PPV", "npv": "NPV"}
PROTOCOLS = ("all pairs", "within one database", "unseen database")
GUESSING, NO_CHANGE = {"guessing": 0.5}, {"no change": 0}


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
        row: column whose text names a line, or the lines of all hues together.
        title, xlabel: as printed.
        value: column of the estimates; a line without one is left out of its panel.
        hue: column that gives the color (`style.color_of`); in the legend unless it names the rows,
            groups or panels.
        group: column whose text heads its rows.
        panel: column whose text heads a panel; panels lie side by side.
        share_x: one x axis for all panels.
        reference: name -> x of a dashed line; of the last panel alone where x is not shared.
        digits: decimals of the values printed.
        marks: more marks, each beneath the line of the same group, row, hue and panel; columns
            value, and mark, a key of `LOOKS`.
    """
    keys = list(dict.fromkeys(column for column in (group, row, hue) if column))
    heights, names, bottom = _heights(table, group, row, keys)
    table = table.merge(heights, on=keys).dropna(subset=value)
    table = table.assign(color=table[hue].map(style.color_of) if hue else style.INK)
    own = [*keys, panel] if panel else keys
    marks = None if marks is None else marks.merge(table[[*own, "y", "color"]], on=own)
    panels = list(dict.fromkeys(table[panel])) if panel else [""]
    shape = {"ncols": len(panels), "sharex": share_x, "sharey": True, "squeeze": False}
    inches = 0.3 if marks is None else 0.4
    figure, (grid,) = style.new_page(title, 1.6 + inches * bottom, **shape)
    for axes, name in zip(grid, panels, strict=True):
        for x in (reference or {}).values() if share_x or axes is grid[-1] else ():
            axes.axvline(x, **style.DASHED)
        part = table[table[panel] == name] if panel else table
        for _, line in part.iterrows():
            y, bar = line["y"], style.BAR | {"color": line["color"]}
            axes.plot([line["low"], line["high"]], [y, y], **bar)
            text = line.get("note", f"{round(line[value], digits) + 0:.{digits}f}")
            beside = {"xycoords": axes.get_yaxis_transform(), "textcoords": "offset points"}
            axes.annotate(text.replace("-", "−"), (1, y), (8, 0), va="center_baseline", **beside)
        look = {"c": part["color"], "marker": "D", "s": 55, "zorder": 4}
        sns.scatterplot(part, x=value, y="y", ax=axes, **look)
        for _, mark in [] if marks is None else marks.iterrows():
            if not panel or mark[panel] == name:
                look = {"color": mark["color"]} | LOOKS[mark["mark"]]
                axes.plot(mark["value"], mark["y"] + 0.3, **look)
        axes.set(title=fill(name, 84 // len(panels)), xlabel=xlabel, ylabel="")
        axes.margins(x=0.03 * len(panels))
        axes.xaxis.set_major_locator(MaxNLocator(12 // len(panels), steps=[1, 2, 5, 10]))
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0)
    grid[0].set(yticks=[y for y, *_ in names], yticklabels=[text for _, text, _ in names])
    for label, (*_, weight) in zip(grid[0].get_yticklabels(), names, strict=True):
        label.set_weight(weight)
    grid[0].set_ylim(bottom - 0.4, -0.7)
    hues = dict.fromkeys(table[hue]) if hue and hue not in (row, group, panel) else {}
    shown = style.color_key(hues, marker="D") or {"estimate": DIAMOND}
    shown |= {"95% interval": style.BAR} if table["low"].notna().any() else {}
    shown |= {} if marks is None else {m: LOOKS[m] for m in LOOKS if m in set(marks["mark"])}
    return style.with_legend(figure, shown | dict.fromkeys(reference or {}, style.DASHED))


def _heights(
    table: pd.DataFrame, group: str | None, row: str, keys: list[str]
) -> tuple[pd.DataFrame, list[tuple[float, str, str]], float]:
    """A column y by key; height, text and weight of each name beside the axis; the lower end."""
    lines, names, y = [], [], 0.0
    for heading, part in table.groupby(group, sort=False) if group else [("", table)]:
        if group:
            names.append((y, fill(heading, 50), "bold"))
            y += 1 + 0.3 * names[-1][1].count("\n")
        for text, hues in part.drop_duplicates(keys).groupby(row, sort=False):
            places = y + 0.75 * np.arange(len(hues))
            names.append((places.mean(), text, "normal"))
            lines.append(hues[keys].assign(y=places))
            y = places[-1] + (1.25 if len(hues) > 1 else 1)
        y += 0.5
    return pd.concat(lines), names, y - 0.5


def long(table: pd.DataFrame, keys: list[str], parts: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """The keys, panel, value, low and high, from panel -> its columns of these three."""
    columns = [*keys, "value", "low", "high"]
    made = [table[[*keys, *numbers]].set_axis(columns, axis=1) for numbers in parts.values()]
    made = [part.assign(panel=panel) for part, panel in zip(made, parts, strict=True)]
    return pd.concat(made, ignore_index=True)


def intervals(table: pd.DataFrame) -> Figure:
    """Every metric of every model: the sampling error as bars, the training seeds beneath.

    Args:
        table: columns model, metric, value (mean over seeds), low, high (95%, of sampling the
            recordings), seed_min, seed_max (NaN for one seed).
    """
    table = _by_model(table).assign(metric=table["metric"].replace(METRICS))
    ends = table[table["seed_min"] < table["seed_max"]].drop(columns="value")
    ends = ends.melt(["model", "metric"], ["seed_min", "seed_max"])
    marks = ends.assign(mark="lowest and highest seed")
    words = {"title": "How sure is each number?", "xlabel": "metric on the test split"}
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
    parts = {"AUROC, all": ["auroc", "low", "high"]}
    parts["AUROC"] = ["auroc_kept", "low_kept", "high_kept"]
    parts["change of AUROC"] = ["change", "low_change", "high_change"]
    lines = long(_by_model(table), ["model", "n", "dropped"], parts)
    without = "without " + lines["dropped"].astype(str) + " related"
    lines["row"] = without.mask(lines["panel"] == "AUROC, all", "all " + lines["n"].astype(str))
    lines["panel"] = lines["panel"].replace("AUROC, all", "AUROC")
    columns = {"group": "model", "row": "row", "hue": "model", "panel": "panel"}
    words = {"title": "Do related recordings in other splits raise the score?"}
    words |= {"xlabel": "on the test split", "reference": NO_CHANGE}
    return forest_plot(lines, share_x=False, **columns, **words)


def separation(table: pd.DataFrame) -> Figure:
    """How well each fact about a recording's file separates the classes, database by database.

    Args:
        table: columns database, fact, auroc, low, high; below 0.5 larger values mean normal.
    """
    facts, databases = table["fact"].str.replace("_", " "), "database " + table["database"]
    words = {"title": "Does the file's format alone give the label away?", "xlabel": "AUROC"}
    columns = {"row": "fact", "panel": "database", "value": "auroc", "digits": 2}
    lines = table.assign(fact=facts, database=databases)
    return forest_plot(lines, reference=GUESSING, **columns, **words)


def heart_or_stethoscope(table: pd.DataFrame) -> Figure:
    """AUROC over all pairs, over pairs within one database, and in an unseen database.

    The more a score falls from left to right, the less of it was the heart.

    Args:
        table: columns model, protocol (all pairs, within one database, unseen database), database
            ("" pooled or mean, a letter, or "not e": pooled without e, shown instead of "" where
            given), auroc, low, high. Single databases without an interval are not drawn.
    """
    table = _by_model(table.fillna({"database": ""}))
    letters = table["database"].str.len() == 1
    single, whole = table[letters & table["low"].notna()], table[~letters]
    whole = whole[whole["database"] == whole.groupby("protocol")["database"].transform("max")]
    whole = whole.sort_values("protocol", key=lambda p: p.map(PROTOCOLS.index), kind="stable")
    pool = whole["database"].map(lambda name: f" ({name})" if name else "")
    panels = {"protocol": dict(zip(whole["protocol"], whole["protocol"] + pool, strict=True))}
    columns = {"row": "model", "panel": "protocol", "title": "How much of the score is the heart?"}
    return _by_database(whole.replace(panels), single.replace(panels), **columns)


def unseen_databases(means: pd.DataFrame, by_database: pd.DataFrame) -> Figure:
    """AUROC of each configuration in unseen databases, the best mean first.

    Args:
        means: columns name (of the configuration), model, auroc (mean over databases), low, high.
        by_database: columns name, model, database, auroc; seeds are averaged.
    """
    means = means.sort_values("auroc", ascending=False, kind="stable")
    single = by_database.groupby(["name", "model", "database"])["auroc"].mean().reset_index()
    title = "How well does each configuration do in an unseen database?"
    return _by_database(means, single, row="name", title=title)


def changes(table: pd.DataFrame) -> Figure:
    """What each change of one configuration does to its mean AUROC in unseen databases.

    Args:
        table: columns name (of the change), model, seeds, difference (changed minus unchanged),
            low, high; all rows compare with the same configuration.
    """
    table = table.assign(name=table["name"] + " (" + table["seeds"].astype(str) + ")")
    columns = {"row": "name", "hue": "model", "value": "difference", "reference": NO_CHANGE}
    words = {"title": "What does each change do in unseen databases?"}
    words["xlabel"] = "change of mean AUROC (in brackets: seeds)"
    return forest_plot(table, **columns, **words)


def ablations(table: pd.DataFrame, seeds: pd.DataFrame) -> Figure:
    """Dev AUROC of each option of each question, and its difference from the paper's own option.

    Args:
        table: columns question, option, model, mean, low, high (95% t interval over seeds),
            last_epoch (mean after the last epoch), difference, difference_low, difference_high (of
            equal seeds; NaN for the paper's own option).
        seeds: columns question, option, seed, dev_auroc.
    """
    keys, parts = ["question", "option", "model"], {"mean over seeds": ["mean", "low", "high"]}
    parts["difference, same seeds"] = ["difference", "difference_low", "difference_high"]
    last = table[keys].assign(value=table["last_epoch"], mark="mean after the last epoch")
    each = seeds.merge(table[keys]).rename(columns={"dev_auroc": "value"}).assign(mark="one seed")
    marks = pd.concat([each, last]).assign(panel="mean over seeds")
    columns = {"group": "question", "row": "option", "hue": "model", "panel": "panel"}
    words = {"title": "What carries the paper's result?", "xlabel": "dev AUROC"}
    words["reference"] = NO_CHANGE
    return forest_plot(long(table, keys, parts), share_x=False, marks=marks, **columns, **words)


def quality(table: pd.DataFrame, lengths: pd.DataFrame) -> Figure:
    """AUROC of each model on usable and on noisy recordings, and by their length.

    Args:
        table: columns model, subset, recordings, auroc, low, high.
        lengths: columns model, shortest, longest (s), recordings, auroc, low, high.
    """
    ends = lengths[["shortest", "longest"]].map("{:.0f}".format)
    lengths = lengths.assign(subset=ends["shortest"] + " to " + ends["longest"] + " s")
    parts = [table.assign(group="annotated quality"), lengths.assign(group="length")]
    lines = pd.concat([_by_model(part) for part in parts])
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
    rows = -(-len(kinds) // 4)
    shape = {"nrows": rows, "ncols": -(-len(kinds) // rows), "sharey": True, "squeeze": False}
    figure, grid = style.new_page("How much worse may a recording be?", 1.4 + 2.4 * rows, **shape)
    for axes, (kind, part) in zip(grid.flat, kinds, strict=False):
        levels = list(dict.fromkeys(part["level"]))
        for k, model in enumerate(models):
            own, color = part[part["model"] == model], style.color_of(model)
            look = {"color": color, "marker": "o", "lw": 1.2, "ax": axes}
            x = own["level"].map(levels.index) + 0.16 * (k - (len(models) - 1) / 2)
            style.intervals_at(axes, x, own, color)
            sns.lineplot(x=x, y=own["auroc"], errorbar=None, **look)
            axes.axhline(clean[model], **style.DASHED | {"color": color})
        axes.set(title=kind, xlabel=part["unit"].iloc[0], ylabel="AUROC")
        axes.set_xticks(range(len(levels)), [f"{level:g}" for level in levels])
        axes.grid(axis="x", visible=False)
    for axes in grid.flat[len(kinds) :]:
        axes.set_axis_off()
    marks = {"95% interval": style.BAR, "clean recordings": style.DASHED}
    return style.with_legend(figure, style.color_key(models) | marks)


def _by_model(table: pd.DataFrame) -> pd.DataFrame:
    """Rows in the order of `style.in_order`."""
    order = style.in_order(table["model"])
    return table.sort_values("model", key=lambda model: model.map(order.index), kind="stable")


def _by_database(whole: pd.DataFrame, single: pd.DataFrame, **columns: str) -> Figure:
    """The whole as diamonds, single databases beneath."""
    marks = single.rename(columns={"auroc": "value"}).assign(mark="database " + single["database"])
    look = {"hue": "model", "value": "auroc", "digits": 2, "xlabel": "AUROC", "marks": marks}
    return forest_plot(whole, reference=GUESSING, **look, **columns)


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
