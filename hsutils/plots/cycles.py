"""Figures of mean heart cycles: one recording's, and what abnormal ones have more of."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from hsutils.audio.beats import RATE, Rhythm
from hsutils.audio.heart_cycles import BANDS, PHASES, band_edges
from hsutils.plots.style import FAINT, INK, OTHER_COLOR, headline, legend_above, new_page, styled

COLUMNS, DIVERGING = 4, "RdBu_r"
SHORT = ("S1", "systole 1", "systole 2", "S2", "diastole 1", "diastole 2", "diastole 3")
CLEAR_DB = 0.5
"""Less does not make one part louder than the other."""
PARTS = {"systole": PHASES[1:3], "diastole": PHASES[4:7]}
SECOND = {"color": OTHER_COLOR, "lw": 1.6, "ls": "--"}


@styled
def beats_and_cycle(
    waveform: np.ndarray, rhythm: Rhythm, cycle: np.ndarray, record: str, seconds: float = 4.0
) -> Figure:
    """The beats found in a recording, and the mean of all its cycles.

    Args:
        waveform: at 2,000 Hz, shape (samples,).
        rhythm, cycle: of the same recording, see `mean_cycle.mean_cycle`.
        record: its name.
        seconds: how much of the waveform is shown.
    """
    figure, (wave, page) = new_page(10, 3.6, ncols=2, width_ratios=(2, 1))
    shown = waveform[: round(seconds * RATE)]
    wave.plot(np.arange(len(shown)) / RATE, shown, color=FAINT, lw=0.6)
    for name, times, look in (
        ("S1", rhythm.onset, {"color": INK, "lw": 1.6}),
        ("S2", rhythm.onset + rhythm.systole, SECOND),
    ):
        for time in times[times < len(shown) / RATE]:
            wave.axvline(time, label=name, **look)
            name = None  # one entry in the legend
    wave.set(xlabel="time (s)", ylabel="amplitude", xlim=(0, max(len(shown), 1) / RATE))
    if len(rhythm.onset):
        legend_above(wave)
    image = _page(page, 10 * cycle.T, np.nanmax(np.abs(10 * cycle), initial=1e-6))
    figure.colorbar(image, ax=page, label="dB over the band's mean")
    if len(rhythm.onset) < 2:
        return headline(figure, f"{record}: no whole beat was found")
    systole, diastole = (_mean(10 * cycle.T, part) for part in PARTS)
    than = "louder" if systole > diastole else "quieter"
    return headline(
        figure,
        f"{record}: {len(rhythm.onset)} beats, {60 / rhythm.period:.0f} a minute; systole is "
        f"{abs(systole - diastole):.1f} dB {than} than diastole",
    )


@styled
def mean_cycles(cycles: pd.DataFrame, weights: pd.DataFrame) -> Figure:
    """How much louder abnormal recordings are in each phase and band, by database.

    Args:
        cycles: columns database, label, phase, band, value (dB): see `cycle_scores.mean_cycles`;
            databases of one class are left out.
        weights: columns phase, band, weight: what a linear model of all databases weighs, scaled
            to the panel.
    """
    gains = excess(cycles)
    names = sorted(gains)
    figure, panels = new_page(10, 5.6, nrows=2, ncols=COLUMNS)
    cells = panels.ravel().tolist()
    reach = max((np.abs(page).max() for page in gains.values()), default=1.0)
    for axes, name in zip(cells, names, strict=False):
        image = _page(axes, gains[name], reach)
        axes.set_title(f"database {name}", weight="bold")
    rest = cells[len(names) :]
    if not names:
        return headline(figure, "No database has normal and abnormal recordings with beats")
    figure.colorbar(image, ax=panels, label="abnormal minus normal (dB)", shrink=0.7)
    own = weights[weights["phase"].isin(PHASES)]
    if rest and len(own):
        page = _table(own, "weight")
        _page(rest[0], page / np.abs(page).max() * reach, reach)
        rest.pop(0).set_title("weights (scaled)", weight="bold")
    for place, axes in enumerate(cells):
        axes.tick_params(labelleft=place % COLUMNS == 0)
    for axes in rest:
        axes.remove()
    return headline(figure, _where(gains))


def excess(cycles: pd.DataFrame) -> dict[str, np.ndarray]:
    """Abnormal minus normal, dB, shape (BANDS, 7), of each database that has both."""
    made = {}
    for name, part in cycles.groupby("database"):
        if part["label"].nunique() == 2:
            normal, abnormal = (_table(part[part["label"] == c], "value") for c in (0, 1))
            made[str(name)] = abnormal - normal
    return made


def louder_part(gain: np.ndarray) -> str:
    """The part where abnormal recordings gain more, mean over bands; "" within `CLEAR_DB`."""
    systole, diastole = (_mean(gain, part) for part in PARTS)
    if abs(systole - diastole) < CLEAR_DB:
        return ""
    return "systole" if systole > diastole else "diastole"


def _mean(page: np.ndarray, part: str) -> float:
    """Over the bands and phases of systole or diastole."""
    return float(pd.DataFrame(page, columns=PHASES)[list(PARTS[part])].to_numpy().mean())


def _table(rows: pd.DataFrame, value: str) -> np.ndarray:
    bands = rows.assign(band=rows["band"].astype(int))
    return bands.pivot(index="band", columns="phase", values=value)[list(PHASES)].to_numpy()


def _page(axes: Axes, values: np.ndarray, reach: float) -> AxesImage:
    """Phases from left to right, bands from below, symmetric about 0."""
    image = axes.imshow(
        values, origin="lower", aspect="auto", cmap=DIVERGING, vmin=-reach, vmax=reach
    )
    centers = band_edges()[1:-1]
    every = range(0, BANDS, 2)
    axes.set_yticks(every, [f"{centers[k]:.0f} Hz" for k in every])
    axes.set_xticks(range(len(PHASES)), SHORT, rotation=90)
    axes.grid(visible=False)
    return image


def _where(gains: dict[str, np.ndarray]) -> str:
    """What the databases agree on, and what not."""
    louder = {part: [d for d in gains if louder_part(gains[d]) == part] for part in PARTS}
    said = [
        f"more in {part} than in {other} in {_listed(louder[part])}"
        for part, other in (("systole", "diastole"), ("diastole", "systole"))
        if louder[part]
    ]
    if not said:
        return "Abnormal hearts gain as much in systole as in diastole"
    if len(said) == 1:
        return f"Abnormal hearts gain {said[0]}"
    apart = "databases do not agree on what “abnormal” sounds like"
    return f"Abnormal hearts gain {said[0]}, and {said[1]}: {apart}"


def _listed(names: Sequence[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
