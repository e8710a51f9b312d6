"""What the notebooks share: keeping figures, listening, looking closer."""

from collections.abc import Callable, Sequence
from html import escape
from inspect import getsource, getsourcefile, unwrap
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import HTML, Audio, Code, Image, Markdown, display
from matplotlib.figure import Figure

from hsutils import plots
from hsutils.audio.heart_cycles import mean_cycle
from hsutils.audio.spectrograms import mel_edges, read_log_mel, standardize
from hsutils.audio.wav import read_waveform
from hsutils.config import PROJECT, RECORDED_RATE, FrontEnd
from hsutils.environment import versions
from hsutils.evaluation.metrics import CLASSES
from hsutils.run import Run

PLAYED_RATE = 8_000
"""Hz; browsers refuse to play the 2,000 Hz of the recordings."""

SYNTHETIC = """**These recordings are synthetic.** The numbers below show how the method works. They
> say nothing about real hearts and cannot be compared with the paper's."""
OTHER_SPLIT = """**Real recordings, but not all, with splits of their own.** The paper's numbers,
> where shown, were measured on other recordings."""

OWN = """**Your own recordings.** The text describes the Challenge's: what it says of its databases
> need not hold here. Splits are those of your table's column `split`, or else generated."""


def show_versions() -> pd.DataFrame:
    """Versions of Python and the packages that matter, in one row."""
    return pd.DataFrame([versions()], index=["version"])


def announce(run: Run) -> Markdown:
    """The run's profile and folder, and whether its numbers may be compared with the paper's."""
    profile = run.profile
    lines = [f"Profile **{profile.name}**, run folder `{shown(run.folder)}`."]
    if not profile.is_the_papers:
        special = {"synthetic": SYNTHETIC, "table": OWN}
        lines.append(special.get(profile.data.source, OTHER_SPLIT))
    return Markdown("\n>\n".join(f"> {line}" for line in lines))


def shown(path: Path) -> str:
    """A path relative to the project where it lies inside."""
    return str(path.relative_to(PROJECT) if path.is_relative_to(PROJECT) else path)


def say_saved(run: Run, *names: str) -> None:
    """Name these files of the run folder in a line that unfolds."""
    files = "<br>".join(escape(shown(run.path(name))) for name in names)
    display(HTML(f"<details><summary>Saved in the run folder</summary>{files}</details>"))


def show_source(*parts: Callable) -> HTML:
    """The source of this package's functions and classes, each in a line that unfolds."""
    page = ""
    for part in parts:
        where = f"<code>{part.__qualname__}</code> in {shown(Path(getsourcefile(unwrap(part))))}"
        code = Code(dedent(getsource(part)), language="python")._repr_html_()
        page += f"<details><summary>Show the code: {where}</summary>{code}</details>\n"
    return HTML(page)


def keep(run: Run, figure: Figure, name: str) -> Image:
    """Save a figure as PNG and SVG in the run's `figures`, and show the PNG."""
    path = plots.save_figure(figure, run.path("figures"), name)
    return Image(path, alt=figure.get_suptitle())


def examples(recordings: pd.DataFrame) -> pd.DataFrame:
    """A normal and an abnormal row: usable, of usual length, from one database, so one device.

    The first database that holds usable recordings of both is taken.
    """
    usable = recordings[recordings.quality == 1]
    both = usable[usable.groupby("database").label.transform("nunique") == 2]
    same = both[both.database == both.database.min()]
    unusual = (same.seconds - same.seconds.median()).abs()
    return same.loc[unusual.groupby(same.label).idxmin()].reset_index(drop=True)


def caption(recording: pd.Series) -> str:
    """A recording in a few words: name, label, database, duration."""
    label, database = CLASSES[recording.label], recording.database
    return f"{recording.record}: {label}, database {database}, {recording.seconds:.1f} s"


def verdicts(table: pd.DataFrame) -> list[str]:
    """A line for each recording (record, label, and a column of logits per model)."""
    models = table.columns.drop(["record", "label"])
    return [
        f"{row.record}, {CLASSES[row.label]}: "
        + ", ".join(f"{m} {row[m]:+.2f}".replace("-", "−") for m in models)
        for _, row in table.iterrows()
    ]


def players(
    recordings: pd.DataFrame, captions: Sequence[str] | None = None, seconds: float = 10.0
) -> HTML:
    """Players of the first `seconds` of recordings, at full volume, each under its caption."""
    rows, page = [row for _, row in recordings.iterrows()], ""
    for row, text in zip(rows, captions or map(caption, rows), strict=True):
        waveform = read_waveform(row.path, PLAYED_RATE)[: round(seconds * PLAYED_RATE)]
        waveform = waveform / max(np.abs(waveform).max(), 1e-9)
        player = Audio(waveform, rate=PLAYED_RATE, normalize=False)._repr_html_()
        page += f"<p style='margin:0.6em 0 0'>{escape(text)}</p>{player}\n"
    return HTML(page)


def axes_of(front_end: FrontEnd) -> dict[str, Any]:
    """What figures of spectrograms need to label their axes: hop_seconds and mel_hz."""
    hop_seconds = front_end.hop / front_end.sample_rate
    return {"hop_seconds": hop_seconds, "mel_hz": mel_edges(front_end)[1:-1]}


def look(run: Run, recording: pd.Series, seconds: float | None = None) -> Figure:
    """A recording as a waveform and as the models' input.

    `seconds` is how much to show from its start; None shows the whole clip with its padding.
    """
    front_end, title = run.profile.front_end, caption(recording)
    used = min(seconds or front_end.clip_seconds, front_end.clip_seconds)
    waveform = read_waveform(recording.path)[: round(used * RECORDED_RATE)]
    if seconds is None:
        spectrogram = standardize(read_log_mel(recording.path, front_end)[0], front_end)
        offset = (front_end.clip_seconds - len(waveform) / RECORDED_RATE) / 2
    else:
        spectrogram, offset = excerpt(recording, front_end, seconds), 0.0
        title = f"{title}; its first {seconds:g} s"
    labels = axes_of(front_end) | {"title": title, "offset_seconds": offset}
    return plots.waveform_and_spectrogram(waveform, RECORDED_RATE, spectrogram, **labels)


def heart_cycle(recording: pd.Series) -> Figure:
    """The beats found in a recording and the mean of its cycles, see `mean_cycle`."""
    waveform = read_waveform(recording.path)
    cycle, rhythm = mean_cycle(waveform)
    name = f"{recording.record} ({CLASSES[recording.label]})"
    return plots.beats_and_cycle(waveform, rhythm, cycle, name)


def excerpt(recording: pd.Series, front_end: FrontEnd, seconds: float) -> np.ndarray:
    """The start of a recording's standardized spectrogram, shape (mels, frames).

    Where the recording or the clip is shorter, padding follows.
    """
    scaled, occupied = read_log_mel(recording.path, front_end)
    count = round(seconds * front_end.sample_rate / front_end.hop)
    first, last = occupied.frames
    part = scaled[:, first : min(first + count, last)]
    return standardize(np.pad(part, ((0, 0), (0, count - part.shape[1]))), front_end)


def gallery(
    run: Run, recordings: pd.DataFrame, captions: Sequence[str], title: str, seconds: float = 3.0
) -> Figure:
    """The spectrogram of the start of each recording under its own caption."""
    front_end = run.profile.front_end
    parts = [excerpt(row, front_end, seconds) for _, row in recordings.iterrows()]
    return plots.spectrogram_gallery(np.stack(parts), captions, **axes_of(front_end), title=title)
