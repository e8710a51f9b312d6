"""Heart-cycle finding against CirCor's segmentation, on patients that it was not chosen on.

`python -m hsutils.studies beats --data data/circor-2022 --to figures/beats` scores the code as it
is, beside the scores of other code that the folder holds.
"""

import zlib
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from hsutils import plots
from hsutils.audio.beats import CLEAR_HEARTBEAT, Rhythm, find_beats
from hsutils.audio.wav import read_waveform
from hsutils.data.circor import circor_table
from hsutils.errors import InputError
from hsutils.evaluation.intervals import expansion, multiplicities, percentiles, ratio
from hsutils.studies.seeds import Pictures, Tables

INPUTS = ("scores.csv",)
WITHIN = (60, 100)  # ms
AGES = ("all", "Neonate", "Infant", "Child", "Adolescent", "Young Adult", "not given")


def matched(found: np.ndarray, true: np.ndarray, within: float) -> int:
    """How many pairs of a found and a true time, each in one pair, lie so near together."""
    near = csr_array(np.abs(np.subtract.outer(found, true)) <= within)
    return int((maximum_bipartite_matching(near) >= 0).sum())


def score(rhythm: Rhythm, segments: np.ndarray) -> dict[str, float]:
    """How beats fit a segmentation (n, 3): start s, end s and state (0 is not annotated) of each.

    A beat is where a sound is loudest, so its reference is the middle of the annotated sound.
    """
    start, end, state = segments.T
    middle, row = (start + end) / 2, {}
    for name, code, times in ("S1", 1, rhythm.onset), ("S2", 3, rhythm.onset + rhythm.systole):
        here = np.searchsorted(start, times, side="right") - 1
        found = times[(here >= 0) & (state[here] > 0) & (times < end[here])]
        true = middle[state == code]
        row |= {f"{name} found": len(found), f"{name} annotated": len(true)}
        row |= {f"{name} {ms}": matched(found, true, ms / 1000) for ms in WITHIN}
    stretch, first = np.cumsum(state == 0)[state == 1], middle[state == 1]
    gaps = np.diff(first)[np.diff(stretch) == 0]
    row["annotated rate"] = 60 / np.median(gaps) if len(gaps) else np.nan
    return row | {"rate": 60 / rhythm.period, "regularity": rhythm.regularity}


def gather(folder: Path | str, to: Path) -> Tables:
    """Scores of all recordings with a segmentation, and those of other code in the folder `to`.

    Raises:
        InputError: as `circor_table`, or if there is no segmentation, or one is broken.
    """
    rows, table = [], circor_table(folder, unsure=True)
    for path, patient, age in zip(table.path, table.patient, table.age, strict=True):
        file = Path(folder) / path
        if (text := file.with_suffix(".tsv")).is_file():
            try:
                segments = np.loadtxt(text, ndmin=2).reshape(-1, 3)
            except ValueError:
                raise InputError(f"{text}: not start, end, state; fetch it again") from None
            part = "develop" if zlib.crc32(str(patient).encode()) % 10 < 4 else "report"
            about = {"code": "now", "part": part, "age": age or "not given", "patient": patient}
            rows.append(about | score(find_beats(read_waveform(file)), segments))
    if not rows:
        raise InputError(f"{folder}: no recording has a segmentation (.tsv); fetch them again")
    scores = pd.DataFrame(rows).round(4)
    scores["patient"], there = pd.factorize(scores.patient)[0], to / INPUTS[0]
    kept = [pd.read_csv(there).query("code != 'now'")] if there.is_file() else []
    return {"scores": pd.concat([*kept, scores], ignore_index=True)}


def results(inputs: Tables) -> pd.DataFrame:
    """Metrics by part, age and code, with 95% intervals over patients; F1 is of all beats."""
    rows, ages = [], pd.CategoricalDtype(AGES, ordered=True)
    every = pd.concat([inputs["scores"], inputs["scores"].assign(age="all")]).astype({"age": ages})
    for keys, table in every.groupby(["part", "age", "code"], observed=True):
        change = table["annotated rate"] / table["rate"]
        known, sums = change.notna(), {}  # above and below the line of a ratio
        for name, ms in product(("S1", "S2"), WITHIN):
            hits, found, true = (table[f"{name} {what}"] for what in (ms, "found", "annotated"))
            sums[f"{name} F1, {ms} ms"] = 2 * hits, found + true
            sums[f"{name} precision, {ms} ms"] = hits, found
            sums[f"{name} recall, {ms} ms"] = hits, true
        sums["heart rate error"] = (table["rate"] - table["annotated rate"]).abs(), known
        sums["period doubled"] = change > np.sqrt(2), known
        sums["period halved"] = change < np.sqrt(0.5), known
        sums["clear heartbeat"] = table.regularity > CLEAR_HEARTBEAT, table.regularity.notna()
        n, groups = len(table), table.patient.to_numpy()
        counts = {"recordings": n, "patients": table.patient.nunique()}
        rows += [(*keys, name, count, np.nan, np.nan) for name, count in counts.items()]
        draws = np.concatenate([*multiplicities(np.zeros(n, int), groups)])
        wider = expansion(np.repeat([0, 1], n), np.tile(groups, 2))
        for metric, (above, below) in sums.items():
            above, below = (np.nan_to_num(part.to_numpy(float)) for part in (above, below))
            ends = percentiles(ratio(draws @ above, draws @ below), wider)
            rows.append((*keys, metric, ratio(above.sum(), below.sum()), *ends))
    columns = ["part", "age", "code", "metric", "value", "low", "high"]
    return pd.DataFrame(rows, columns=columns).round(5)


def figures(inputs: Tables, found: pd.DataFrame) -> Pictures:
    """The metrics that say most, of the part on which nothing was chosen."""
    shown = ["S1 F1, 60 ms", "S2 F1, 60 ms", "period doubled"]
    table = found[found.part.eq("report") & found.metric.isin(shown)]
    title = "Are the beats where CirCor's annotators saw them?"
    look = {"row": "code", "group": "age", "panel": "metric", "digits": 2}
    return {"beats": lambda: plots.forest_plot(table, title=title, xlabel="share", **look)}
