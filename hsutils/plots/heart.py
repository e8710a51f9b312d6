"""The figure to look at first: how much of a score is heart, and how much stethoscope?"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from hsutils.plots.common import (
    BAR,
    DEAF,
    in_order,
    interval,
    letters_below,
    shade,
    signed,
)
from hsutils.plots.seeds import BELOW, DOT, legend_handles
from hsutils.plots.style import INK, PAPER_TONE, headline, new_page, styled

PROTOCOLS = {
    "all": ("Ordinary test", "any normal against any abnormal", "on the ordinary test"),
    "within": ("Same database", "both recordings from one", "within one database"),
    "left out": ("New database", "never heard in training", "in a database never heard"),
}
HEARING = {True: "hear no sound", False: "hear the sound"}
STEM, LOST = {"lw": 2}, {"lw": 1.5, "ls": ":"}
MARKS = {
    "above guessing": STEM | DOT | {"ms": 9, "ls": "-"},
    "lost since the ordinary test": LOST,
    "95% interval": BAR,
    "one database": {"marker": "$a$", "ls": "none", "ms": 7, "mew": 0.4},
}


@styled
def heart_or_stethoscope(table: pd.DataFrame) -> Figure:
    """AUROC over all recordings, within one database, and in a database never heard.

    The more a score falls from left to right, the less of it was heart. Rows may be missing. Single
    databases are drawn where they have an interval: with one recording of a class they have none.

    Args:
        table: columns model, protocol (all, within, left out), database ("" pooled or mean, a
            letter, or "not e": pooled without e, shown instead of "" where there is one), auroc,
            low, high, recordings.
    """
    table = table.dropna(subset="auroc").fillna({"database": ""})
    rows, heads, bottom = _rows(in_order(table["model"]))
    asked = [protocol for protocol in PROTOCOLS if protocol in set(table["protocol"])]
    look = {"ncols": len(asked), "sharex": True, "sharey": True, "squeeze": False}
    figure, ((first, *others),) = new_page(10, 1.7 + 0.53 * bottom, **look)
    pools = {protocol: _pool(table, protocol) for protocol in asked}
    single, whole = (
        table["database"].str.len() == 1,
        table["database"] == table["protocol"].map(pools),
    )
    pooled = table[whole].set_index(["protocol", "model"])["auroc"]
    table = table[whole | (single & (table["high"] > table["low"]))]
    first.set(xlim=(min(0.45, table["auroc"].min() - 0.03), 1.1), ylim=(bottom, -0.4))
    first.set_xticks(np.arange(0.5, 1.01, 0.1))
    for axes, protocol in zip((first, *others), asked, strict=True):
        if HEARING[True] in heads:
            axes.axhspan(heads[HEARING[True]] - 0.45, bottom, color=PAPER_TONE, lw=0)
        title, meaning, _ = PROTOCOLS[protocol]
        axes.set_title(title, weight="bold", pad=21)
        meaning = f"{meaning}, {pools[protocol]}" if pools[protocol] else meaning
        axes.annotate(meaning, (0, 1), (0, 6), "axes fraction", "offset points")
        _protocol_panel(axes, table[table["protocol"] == protocol], rows, pooled)
    first.set_yticks([*heads.values(), *rows.values()], [*heads, *rows])
    for name in first.get_yticklabels()[: len(heads)]:
        name.set(weight="bold", size=9)
    figure.legend(handles=legend_handles(MARKS), **BELOW)
    return headline(figure, _fall(pooled, pools))


def _rows(models: list[str]) -> tuple[dict[str, float], dict[str, float], float]:
    """Heights of the models and of the headings of both groups, and the lower end."""
    rows, heads, y = {}, {}, 0.0
    for model in models:
        if (head := HEARING[model in DEAF]) not in heads:
            heads[head] = y
            y += 0.75
        rows[model] = y
        y += 1.15
    return rows, heads, y - 0.5


def _look(model: str) -> dict:
    """A full dot for a model that hears the sound, a hollow square for one that does not."""
    if model in DEAF:
        hollow = {"marker": "s", "ms": 8, "mfc": "white", "mec": shade(model), "mew": 2}
        return {"ls": "none", "zorder": 3} | hollow
    return DOT | {"ms": 9, "color": shade(model)}


def _protocol_panel(axes: Axes, part: pd.DataFrame, rows: dict, pooled: pd.Series) -> None:
    """One protocol: each model's mark, its fall from the ordinary test, and the databases."""
    axes.axvline(0.5, color=INK, lw=1)
    for row in part[part["database"].str.len() != 1].itertuples():
        y, color, text = rows[row.model], shade(row.model), f"{row.auroc:.2f}"
        interval(axes, y, row.low, row.high, color)
        axes.plot([0.5, row.auroc], [y, y], color=color, **STEM)
        ordinary = pooled.get(("all", row.model), np.nan)
        if row.protocol != "all" and np.isfinite(ordinary):
            axes.plot([row.auroc, ordinary], [y, y], color=color, **LOST)
            axes.plot(ordinary, y, "|", ms=10, mew=1.5, color=color)
            text += f" ({signed(row.auroc - ordinary, 2)})"
        axes.plot(row.auroc, y, **_look(row.model))
        halo = withStroke(linewidth=3, foreground=PAPER_TONE if row.model in DEAF else "white")
        place = {"ha": "center", "va": "bottom", "path_effects": [halo]}
        axes.text(row.auroc, y - 0.2, text, color=color, weight="bold", **place)
    for model, single in part[part["database"].str.len() == 1].groupby("model"):
        letters_below(axes, rows[model], single.sort_values("auroc"))
    for model in [model for model in rows if model not in set(part["model"])]:
        axes.text(0.52, rows[model], "not measured", va="center", size=9, color="#767676")
    axes.set_xlabel("AUROC (0.5: guessing)")
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)


def _pool(table: pd.DataFrame, protocol: str) -> str:
    """What stands for a protocol as a whole: all databases, or all but those given away."""
    names = set(table.loc[table["protocol"] == protocol, "database"])
    return max((name for name in names if name.startswith("not ")), default="")


def _fall(pooled: pd.Series, pools: Mapping[str, str]) -> str:
    """How the first model fares under each protocol, and what is reached without any sound."""
    models = in_order(model for _, model in pooled.index)
    model = models[0]
    values = {p: pooled[p, model] for p in PROTOCOLS if (p, model) in pooled.index}
    names = {
        p: f"{PROTOCOLS[p][2]} ({pool})" if pool else PROTOCOLS[p][2] for p, pool in pools.items()
    }
    (start, value), *rest = values.items()
    finding = f"AUROC of the {model} is {value:.2f} {names[start]}"
    if rest:
        verb = "falls" if max(v for _, v in rest) < value else "goes"
        ends = " and ".join(f"{v:.2f} {names[p]}" for p, v in rest)
        finding = f"AUROC of the {model} {verb} from {value:.2f} {names[start]} to {ends}"
    deaf = {m: pooled["all", m] for m in models if m in DEAF and ("all", m) in pooled.index}
    if deaf and model not in deaf:
        best = max(deaf, key=deaf.get)
        finding += f"; {best}, which hears no sound, reaches {deaf[best]:.2f}"
    return finding
