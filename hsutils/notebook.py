"""What the notebooks share: keeping figures, listening, looking closer."""

from collections.abc import Sequence
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import HTML, Audio, Markdown
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional

from hsutils import plots as figures
from hsutils.studies import findings, findings_beyond
from hsutils.data.corpus import data_folder
from hsutils.environment import versions
from hsutils.experiment import PROJECT, Run
from hsutils.studies.findings import read_tables
from hsutils.audio.heart_cycles import mean_cycle
from hsutils.evaluation.metrics import CLASSES
from hsutils.settings import FrontEnd
from hsutils.audio.spectrograms import log_mel, mel_edges, resample_waveform, standardize
from hsutils.audio.wav import SAMPLE_RATE, read_waveform

PLAYED_RATE = 8_000
"""Hz; browsers refuse to play the 2,000 Hz of the recordings."""


def show_versions() -> pd.DataFrame:
    """Versions of Python and the packages that matter, in one row."""
    return pd.DataFrame([versions()], index=["version"])


def announce(run: Run) -> Markdown:
    """What this run is: its profile and folder, and plainly whether the hearts are real."""
    experiment = run.experiment
    lines = [f"Profile **{experiment.name}**, run folder `{shown(run.folder)}`."]
    if experiment.data.source == "synthetic":
        lines.append(
            "**These recordings are artificial.** They were computed by `hsutils.synthetic`; "
            "whatever is measured below shows how the method works, not how well it serves "
            "real hearts, and cannot be compared with the paper."
        )
    elif experiment.data.recordings or experiment.splits.method != "published":
        lines.append(
            "**Real recordings, but not the paper's own split of all of them**: the paper's "
            "numbers, where shown, were measured on other recordings."
        )
    return Markdown("\n>\n".join(f"> {line}" for line in lines))


def shown(path: Path) -> str:
    """A path as a reader wants it: from the project's folder where it lies inside."""
    return str(path.relative_to(PROJECT) if path.is_relative_to(PROJECT) else path)


def say_saved(run: Run, *names: str) -> None:
    """Print where in the run folder these files lie."""
    for name in names:
        print(f"saved {shown(run.path(name))}")


def keep(run: Run, figure: Figure, name: str) -> Figure:
    """Save a figure as PNG and SVG in the run's `figures`, say where, and return it."""
    path = figures.save_figure(figure, run.path("figures"), name)
    print(f"saved {shown(path)} and .svg")
    return figure


@cache
def kept_tables(folder: str) -> dict[str, pd.DataFrame]:
    """The tables kept of the real recordings: folder "trust" or "beyond", by file name."""
    return read_tables(PROJECT / "figures" / folder)


def tell(question: str) -> Markdown:
    """What the kept evidence of the real recordings says to a question of `FINDINGS`.

    Args:
        question: a key of `findings.FINDINGS` or of `findings_beyond.FINDINGS`.
    """
    beyond = question in findings_beyond.FINDINGS
    told = findings_beyond.finding if beyond else findings.finding
    return Markdown(told(question, kept_tables("beyond" if beyond else "trust")))


def examples(recordings: pd.DataFrame) -> pd.DataFrame:
    """A normal and an abnormal recording, both usable, of one database and of usual length.

    The same stethoscope made both, so that what differs is the heart.

    Args:
        recordings: columns database, label, quality, seconds.

    Returns:
        Two rows, normal first, from the first database that holds usable ones of both.
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
    """A line for each recording: name, label, and every model's logit.

    Args:
        table: columns record, label, and one column of logits a model.
    """
    models = table.columns.drop(["record", "label"])
    return [
        f"{row.record}, {CLASSES[row.label]}: " + ", ".join(f"{m} {row[m]:+.2f}" for m in models)
        for _, row in table.iterrows()
    ]


def player(path: Path | str, seconds: float = 10.0) -> Audio:
    """An audio player for the first `seconds` of a recording, scaled to full volume."""
    waveform = read_waveform(path, PLAYED_RATE)[: round(seconds * PLAYED_RATE)]
    loudest = max(np.abs(waveform).max(), 1e-9)
    return Audio(waveform / loudest, rate=PLAYED_RATE, normalize=False)


def players(
    recordings: pd.DataFrame, captions: Sequence[str] | None = None, seconds: float = 10.0
) -> HTML:
    """A labeled audio player for each recording, one below the other.

    Args:
        recordings: the rows to hear.
        captions: one a row; by default what the recordings' table says of it.
        seconds: how much of each.
    """
    rows = [row for _, row in recordings.iterrows()]
    parts = [
        f"<p style='margin:0.6em 0 0'>{escape(text)}</p>{player(row.path, seconds)._repr_html_()}"
        for row, text in zip(rows, captions or [caption(row) for row in rows], strict=True)
    ]
    return HTML("\n".join(parts))


def axes_of(front_end: FrontEnd) -> dict[str, Any]:
    """What figures of spectrograms need to label their axes: hop_seconds and mel_hz."""
    return {
        "hop_seconds": front_end.hop / front_end.sample_rate,
        "mel_hz": mel_edges(front_end)[1:-1],
    }


def look(run: Run, recording: pd.Series, seconds: float | None = None) -> Figure:
    """A recording as samples and as the models see it.

    Args:
        run: gives the front end.
        recording: a row of the recordings' table.
        seconds: how much to show from its start; None shows the whole clip with its padding.
    """
    front_end, title = run.experiment.front_end, caption(recording)
    waveform = read_waveform(recording.path)[: round(front_end.clip_seconds * SAMPLE_RATE)]
    if seconds is None:
        spectrogram = standardize(log_mel(waveform, SAMPLE_RATE, front_end)[0], front_end)
        offset = (front_end.clip_seconds - len(waveform) / SAMPLE_RATE) / 2
    else:
        spectrogram, offset = excerpt(recording, front_end, seconds), 0.0
        waveform = waveform[: round(seconds * SAMPLE_RATE)]
        title = f"{title}, of which the first {seconds:g}"
    return figures.waveform_and_spectrogram(
        waveform,
        SAMPLE_RATE,
        spectrogram,
        **axes_of(front_end),
        title=title,
        offset_seconds=offset,
    )


def heart_cycle(recording: pd.Series) -> Figure:
    """The beats found in a recording and the mean of its cycles, see `mean_cycle`."""
    waveform = read_waveform(recording.path)
    cycle, rhythm = mean_cycle(waveform)
    name = f"{recording.record} ({CLASSES[recording.label]})"
    return figures.beats_and_cycle(waveform, rhythm, cycle, name)


def excerpt(recording: pd.Series, front_end: FrontEnd, seconds: float) -> Tensor:
    """The start of a recording's standardized spectrogram, shape (mels, frames).

    Where the recording or the clip is shorter, padding follows.
    """
    scaled, occupied = log_mel(read_waveform(recording.path), SAMPLE_RATE, front_end)
    count = round(seconds * front_end.sample_rate / front_end.hop)
    first, last = occupied.frames
    part = scaled[:, first : min(first + count, last)]
    return standardize(functional.pad(part, (0, count - part.shape[1])), front_end)


def gallery(
    run: Run,
    recordings: pd.DataFrame,
    captions: Sequence[str],
    title: str,
    seconds: float = 3.0,
) -> Figure:
    """The start of some recordings, each as the models see it under its own caption."""
    front_end = run.experiment.front_end
    parts = [excerpt(row, front_end, seconds).numpy() for _, row in recordings.iterrows()]
    return figures.error_gallery(np.stack(parts), captions, **axes_of(front_end), title=title)


def front_end_steps(recording: pd.Series, front_end: FrontEnd) -> pd.DataFrame:
    """The shapes a recording goes through on its way to the networks, measured on it.

    Returns:
        One row a step: step, shape, how.
    """
    waveform = read_waveform(recording.path)
    resampled = resample_waveform(waveform, SAMPLE_RATE, front_end)
    spectrogram, occupied = log_mel(waveform, SAMPLE_RATE, front_end)
    frames = occupied.frames[1] - occupied.frames[0]
    rate, n_fft = front_end.sample_rate, front_end.n_fft
    long, apart = (1000 * samples / rate for samples in (n_fft, front_end.hop))
    top = (front_end.bins - 1) * rate / n_fft
    rows = [
        ("waveform", (len(waveform),), f"{SAMPLE_RATE:,} samples a second"),
        (
            "resampled",
            (len(resampled),),
            f"{rate:,} a second, at most {front_end.clip_seconds:g} s",
        ),
        ("frames", (frames, n_fft), f"{long:.1f} ms each, one every {apart:.1f} ms"),
        ("power", (frames, front_end.bins), f"of each frequency up to {top:,.0f} Hz"),
        ("mel", (frames, front_end.mels), "weighted sums of neighboring frequencies"),
        ("log, scaled", (front_end.mels, frames), "log10, then smallest to 0 and largest to 1"),
        ("padded", (1, *spectrogram.shape), "silence on both sides, one size for all"),
    ]
    return pd.DataFrame(rows, columns=["step", "shape", "how"])


def kinds_of_abnormal(run: Run, recordings: pd.DataFrame) -> pd.DataFrame:
    """One abnormal recording of each kind: of each lesion where it is known, else of each database.

    What was drawn for an artificial recording is on record; the Challenge tells no diagnoses.

    Returns:
        Rows of `recordings` with a column `kind`; the clearest of its kind where that is known.
    """
    abnormal = recordings[recordings.label == 1]
    if run.experiment.data.source != "synthetic":
        first = abnormal.sort_values("quality", ascending=False, kind="stable")
        first = first.drop_duplicates("database").sort_values("database", ignore_index=True)
        return first.assign(kind="database " + first.database)
    truth = pd.read_csv(data_folder(run) / "synthetic.csv")
    known = abnormal.merge(truth[["record", "lesion", "murmur_grade", "snr_db"]], on="record")
    clearest = known.sort_values(["murmur_grade", "snr_db"], ascending=False)
    clearest = clearest.drop_duplicates("lesion").sort_values("lesion", ignore_index=True)
    return clearest.assign(kind=clearest.lesion.str.replace("_", " "))
