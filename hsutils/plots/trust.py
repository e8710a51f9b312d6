"""How sure the results are: sampling error, seeds, paired differences, thresholds, kin."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hsutils.plots.common import BAR, color_key, in_order, interval, shade, signed
from hsutils.plots.seeds import BELOW, DOT, legend_handles
from hsutils.evaluation.intervals import METRICS
from hsutils.plots.style import FAINT, INK, headline, legend_above, new_page, styled

NAMES = {
    "auroc": "AUROC",
    "macc": "mean of sensitivity\nand specificity",
    "f1": "F1",
    "ppv": "PPV",
    "npv": "NPV",
}
CAPPED = {"marker": "|", "ms": 7, "mew": 1.5, "lw": 1.5}
SQUARE = {"marker": "s", "ms": 7, "mfc": "white", "mew": 2, "ls": "none", "zorder": 3}
OPEN = DOT | {"mfc": "white", "mec": INK, "mew": 1.5}


@styled
def intervals(table: pd.DataFrame) -> Figure:
    """Every metric of every model: sampling error above, spread over training seeds below.

    Args:
        table: columns model, metric, value (mean over seeds), low, high (95%, of sampling the
            recordings), seed_min, seed_max (NaN for one seed). Rows without a value are left out.
    """
    table = table.dropna(subset="value")
    models = in_order(table["model"])
    metrics = [m for m in METRICS if m in set(table["metric"])]
    halves = np.array_split(metrics, 2 if len(metrics) > 1 else 1)
    height = 1.6 + len(halves[0]) * (0.27 * len(models) + 0.2)
    shape = {"ncols": len(halves), "sharex": True, "squeeze": False}
    figure, (panels,) = new_page(10, height, **shape)
    step = len(models) + 0.7
    for axes, half in zip(panels, halves, strict=True):
        tops = step * np.arange(len(half))
        for top, metric in zip(tops, half, strict=True):
            by_model = table[table["metric"] == metric].set_index("model")
            for k, model in enumerate(m for m in models if m in by_model.index):
                _two_spreads(axes, top + k, by_model.loc[model], shade(model))
        axes.set_yticks(tops + (len(models) - 1) / 2, [NAMES.get(m, m) for m in half])
        axes.set_ylim(tops[-1] + step - 0.5, -0.7)
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0)
    _zoom(panels[0], table[["value", "low", "high", "seed_min", "seed_max"]])
    marks = color_key(models) | {"95% interval of the recordings drawn": BAR}
    if (table["seed_min"] < table["seed_max"]).any():
        marks["range of the training seeds"] = CAPPED | {"marker": "none"}
    figure.legend(handles=legend_handles(marks), **BELOW | {"ncols": 5})
    return headline(figure, _wider(table))


@styled
def paired_differences(table: pd.DataFrame) -> Figure:
    """Differences of two models on the same recordings, seed by seed, with their tests.

    Args:
        table: columns a, b, seed, metric (auroc, accuracy), difference (a minus b), low, high
            (95%), p.
    """
    metrics = list(dict.fromkeys(table["metric"]))
    places, heads, bottom = _pair_rows(table)
    shape = {"ncols": len(metrics), "sharey": True, "squeeze": False}
    figure, (panels,) = new_page(10, 1.6 + 0.27 * bottom, **shape)
    for axes, metric in zip(panels, metrics, strict=True):
        axes.axvline(0, color=INK, lw=1)
        for row in table[table["metric"] == metric].itertuples():
            _difference(axes, places[row.a, row.b, row.seed], row)
        axes.set_title(f"Difference in {NAMES.get(metric, metric)}")
        axes.set_xlabel("above 0: the first is better")
        axes.text(1.02, 0, "p", transform=axes.get_yaxis_transform(), size=9, va="center")
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0)
    names = [*heads, *(f"seed {seed}" for *_, seed in places)]
    panels[0].set_yticks([*heads.values(), *places.values()], names)
    panels[0].set_ylim(bottom, -0.6)
    for name in panels[0].get_yticklabels()[: len(heads)]:
        name.set_weight("bold")
    better = [*table["a"][table["low"] > 0], *table["b"][table["high"] < 0]]
    marks = {f"{model} better": mark for model, mark in color_key(in_order(better)).items()}
    marks |= {"too close to call": OPEN, "95% interval": BAR}
    figure.legend(handles=legend_handles(marks), **BELOW | {"ncols": 6})
    return headline(figure, _clear_pairs(table[table["metric"] == metrics[0]]))


@styled
def leak_effect(table: pd.DataFrame) -> Figure:
    """AUROC with all recordings, and with only those that have no kin in another split.

    Args:
        table: columns model, n (recordings), dropped (those with kin), auroc, low, high,
            auroc_kept, low_kept, high_kept, change (kept minus all); its paired 95% interval,
            low_change and high_change, is written beneath where given.
    """
    table = table.set_index("model").loc[in_order(table["model"])].reset_index()
    figure, axes = new_page(10, 1.5 + 0.62 * len(table))
    for y, row in enumerate(table.itertuples()):
        color = shade(row.model)
        interval(axes, y - 0.15, row.low, row.high, color)
        interval(axes, y + 0.15, row.low_kept, row.high_kept, color)
        axes.plot(row.auroc, y - 0.15, color=color, **DOT | {"ms": 8})
        axes.plot(row.auroc_kept, y + 0.15, color=color, **SQUARE)
        text = f"{row.auroc:.3f} → {row.auroc_kept:.3f} ({signed(row.change)})"
        if hasattr(row, "low_change"):
            text += f"\n{signed(row.low_change)} to {signed(row.high_change)}"
        axes.text(1.01, y, text, transform=axes.get_yaxis_transform(), va="center", color=color)
    axes.set_yticks(range(len(table)), table["model"])
    axes.set(xlabel="AUROC", ylim=(len(table) - 0.5, -0.5), xmargin=0.04)
    axes.grid(axis="y", visible=False)
    first = table.iloc[0]
    marks = {f"all {first.n:,} recordings": DOT | {"ms": 8}}
    marks |= {f"without the {first.dropped:,} with kin": SQUARE, "95% interval": BAR}
    legend_above(axes, handles=legend_handles(marks))
    if not first.dropped:
        return headline(figure, f"None of {first.n:,} recordings has kin in another split")
    changes = ", ".join(f"{signed(row.change)} ({row.model})" for row in table.itertuples())
    about = f"{first.dropped:,} of {first.n:,} recordings that have kin in another split"
    return headline(figure, f"Without the {about}, AUROC changes by {changes}")


def _two_spreads(axes: Axes, y: float, row: pd.Series, color: str) -> None:
    """Mean and sampling interval, the range of the seeds beneath, and the mean in figures."""
    interval(axes, y, row.low, row.high, color)
    axes.plot(row.value, y, color=color, **DOT)
    if row.seed_min < row.seed_max:
        axes.plot([row.seed_min, row.seed_max], [y + 0.32] * 2, color=color, **CAPPED)
    end = np.nanmax([row.value, row.high, row.seed_max])
    place = {"xytext": (6, 0), "textcoords": "offset points", "va": "center_baseline", "size": 9}
    axes.annotate(f"{row.value:.3f}", (end, y + 0.1), color=color, **place)


def _zoom(axes: Axes, values: pd.DataFrame) -> None:
    """Limits about all values, with room for a number at the right and no tick above 1."""
    low, high = np.nanmin(values), np.nanmax(values)
    axes.set_xlim(low - 0.04 * (high - low), high + 0.17 * (high - low))
    axes.set_xticks([tick for tick in axes.get_xticks() if low <= tick <= 1])


def _wider(table: pd.DataFrame) -> str:
    """How far a typical metric is uncertain, from sampling and from training (medians)."""
    half, spread = (table["high"] - table["low"]) / 2, table["seed_max"] - table["seed_min"]
    finding = f"Sampling leaves a typical metric uncertain by ±{half.median():.3f} (95%)"
    if half.isna().all():
        return "Metrics at logit 0, without the uncertainty from sampling"
    if not (spread > 0).any():
        return f"{finding}; one training seed tells nothing of its spread over seeds"
    return f"{finding}; over training seeds it spreads by {spread[spread > 0].median():.3f}"


def _pair_rows(table: pd.DataFrame) -> tuple[dict, dict[str, float], float]:
    """Heights of each (a, b, seed) and of each pair's heading, and the lower end."""
    places, heads, y = {}, {}, 1.0
    for (a, b), pair in table.groupby(["a", "b"], sort=False):
        heads[f"{a} − {b}"] = y
        for seed in sorted(set(pair["seed"])):
            y += 1
            places[a, b, seed] = y
        y += 1.4
    return places, heads, y - 0.7


def _difference(axes: Axes, y: float, row: tuple) -> None:
    """A difference in the color of the better model, or hollow where it may be 0."""
    color = shade(row.a) if row.low > 0 else shade(row.b) if row.high < 0 else None
    interval(axes, y, row.low, row.high, color or FAINT, alpha=0.3 if color else 0.6)
    axes.plot(row.difference, y, **DOT | {"color": color} if color else OPEN)
    if np.isfinite(row.p):
        p = f"{row.p:.3f}" if row.p >= 0.001 else "< 0.001"
        axes.text(1.02, y, p, transform=axes.get_yaxis_transform(), size=9, va="center")


def _clear_pairs(table: pd.DataFrame) -> str:
    """Mean difference of each pair, and in how many seeds it is not 0."""
    told = []
    for (a, b), pair in table.groupby(["a", "b"], sort=False):
        clear = int(((pair["low"] > 0) | (pair["high"] < 0)).sum())
        told.append(f"{a} − {b} {signed(pair['difference'].mean())}, {clear} of {len(pair)}")
    metric = NAMES.get(table["metric"].iloc[0], table["metric"].iloc[0])
    return f"Mean difference in {metric}, and in how many seeds it is clear: " + "; ".join(told)
