"""Figures about spectrograms: what the models see, and what augmentation hides from them."""

from collections.abc import Sequence
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap, ListedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from hsutils.audio.beats import Rhythm
from hsutils.config import RECORDED_RATE
from hsutils.plots import style
from hsutils.plots.data import BEATS, mark_beats

Hertz = Sequence[float]
PLACE = {"origin": "lower", "aspect": "auto", "interpolation": "nearest"}
MASK_COLOR = "#56B4E9"
"""Of hidden cells; the color map of spectrograms, magma, has no blue of this lightness."""
TOWARD = LinearSegmentedColormap.from_list(
    "toward", [style.CLASS_COLORS["normal"], "white", style.CLASS_COLORS["abnormal"]]
)


@style.styled
def waveform_and_spectrogram(
    waveform: np.ndarray, sample_rate: float, spectrogram: np.ndarray, hop_seconds: float,
    mel_hz: Hertz, title: str, offset_seconds: float = 0.0,
) -> Figure:  # fmt: skip
    """A recording as samples and as the model sees it, on one time axis.

    Args:
        waveform: (samples,) amplitude, full scale 1.
        sample_rate: Hz.
        spectrogram: (1, mels, frames) or (mels, frames).
        hop_seconds: time between frames, s.
        mel_hz: (mels,) center frequency of each filter, Hz.
        title: as printed.
        offset_seconds: where the waveform starts on the spectrogram's axis, s.
    """
    shape = {"nrows": 2, "sharex": True, "height_ratios": (2, 3)}
    figure, (above, below) = style.new_page(title, 4.8, **shape)
    times = offset_seconds + np.arange(len(waveform)) / sample_rate
    above.plot(times, waveform, color=style.INK, lw=0.5)
    reach = 1.05 * max(np.abs(waveform).max(initial=0), 1e-6)
    above.set(ylabel="amplitude", ylim=(-reach, reach))
    above.yaxis.set_major_formatter("{x:.3f}")  # as wide whatever the recording
    image = _spectrogram(below, spectrogram, hop_seconds, mel_hz)
    figure.colorbar(image, ax=below, label="model input", pad=0.01)
    return figure


@style.styled
def spectrogram_pair(
    original: np.ndarray, augmented: np.ndarray, hop_seconds: float, mel_hz: Hertz, record: str
) -> Figure:
    """A positive pair of contrastive learning (paper, figure 4), hidden cells (0) tinted.

    Args:
        original: (1, mels, frames) or (mels, frames), one view.
        augmented: the other view, of the same shape.
        hop_seconds, mel_hz: see `waveform_and_spectrogram`.
        record: the recording's name.
    """
    first, second = (np.squeeze(np.asarray(view)) for view in (original, augmented))
    title = f"A positive pair: two views of recording {record}"
    figure, panels = style.new_page(title, 5.4, nrows=2, sharex=True)
    limits = first.min(), first.max()
    for axes, view, other in zip(panels, (first, second), (second, first), strict=True):
        image = _spectrogram(axes, view, hop_seconds, mel_hz, limits)
        hidden = (view == 0) & (other != 0)
        tint = {"cmap": ListedColormap([MASK_COLOR]), "extent": image.get_extent()}
        axes.imshow(np.ma.masked_equal(hidden, False), **tint, **PLACE)
        share = f"augmented: {hidden.mean():.0%} of the cells hidden"
        axes.set_title(share if hidden.any() else "as recorded")
    figure.colorbar(image, ax=panels, label="model input", pad=0.01)
    mark = {"marker": "s", "ms": 9, "ls": "none", "color": MASK_COLOR}
    return style.with_legend(figure, {"hidden by SpecAugment": mark})


@style.styled
def where_it_looked(
    waveform: np.ndarray, rhythm: Rhythm, spectrogram: np.ndarray, contributions: np.ndarray,
    hop_seconds: float, mel_hz: Hertz, title: str, start: float = 0.0,
    seconds: tuple[float, float] | None = None, inside: np.ndarray | None = None,
) -> Figure:  # fmt: skip
    """A recording with its beats, as the model sees it, and what each cell adds to the logit.

    Args:
        waveform: (samples,) at 2,000 Hz, from 0 s.
        rhythm: its beats.
        spectrogram, contributions: (mels, frames), see `hsutils.evaluation.attribution`.
        hop_seconds, mel_hz, title: see `waveform_and_spectrogram`.
        start: where the first frame is drawn, s.
        seconds: from when to when it is shown; all by default.
        inside: (mels, frames), true in a region to be outlined.
    """
    shape = {"nrows": 3, "sharex": True, "height_ratios": (2, 3, 3)}
    figure, (wave, seen, map_) = style.new_page(title, 6.4, **shape)
    wave.plot(np.arange(len(waveform)) / RECORDED_RATE, waveform, color=style.GRAY, lw=0.6)
    mark_beats(wave, rhythm, lw=1, alpha=0.7)
    wave.set(ylabel="amplitude", xlim=seconds or (0, len(waveform) / RECORDED_RATE), yticks=[0])
    place = (hop_seconds, mel_hz)
    image = _spectrogram(seen, spectrogram, *place, start=start)
    figure.colorbar(image, ax=seen, label="model input", pad=0.01)
    reach = max(np.quantile(np.abs(contributions), 0.998), 1e-9)
    image = _spectrogram(map_, contributions, *place, (-reach, reach), start, TOWARD)
    bar = figure.colorbar(image, ax=map_, pad=0.01, ticks=[-reach, 0, reach])
    bar.ax.set_yticklabels(["normal", "0", "abnormal"])
    bar.set_label("speaks for")
    marks = dict(BEATS)
    if inside is not None:
        map_.contour(inside, [0.5], extent=image.get_extent(), colors=style.INK, linewidths=1)
        marks["murmur"] = {"marker": "s", "ms": 9, "mfc": "none", "ls": "none"}
    return style.with_legend(figure, marks)


@style.styled
def mel_filters(filters: np.ndarray, hz: np.ndarray) -> Figure:
    """The triangular mel filters, one row each, and which lie above what the recordings hold.

    Args:
        filters: (bins, mels) weights, as `hsutils.audio.spectrograms.mel_filters` gives them.
        hz: (bins,) frequency of each bin, Hz.
    """
    weights, khz, edge = np.asarray(filters).T, np.asarray(hz) / 1000, RECORDED_RATE / 2000
    below, above = ((weights[:, part] > 0).any(axis=1) for part in (khz <= edge, khz > edge))
    kinds = {"wholly below": (below & ~above, style.MODEL_COLORS["teacher"])}
    kinds["across"] = (below & above, style.OTHER_COLOR)
    kinds["wholly above"] = (above & ~below, style.FAINT)
    figure, axes = style.new_page("Which mel filters can see a heart sound?", 5.6)
    marks = {f"highest frequency recorded: {edge:g} kHz": style.DASHED}
    for name, (chosen, color) in kinds.items():
        if not chosen.any():
            continue
        for row in np.flatnonzero(chosen):
            look = {"color": color, "lw": 0, "alpha": (1, 0.5)[row % 2]}
            axes.fill_between(khz, row + 1, row + 1 + 1.8 * weights[row], **look)
        marks[f"{chosen.sum()} {name} {edge:g} kHz"] = {"color": color, "lw": 6}
    axes.axvline(edge, **style.DASHED)
    axes.set(xlabel="frequency (kHz)", ylabel="mel filter (height: weight)", xlim=(0, khz[-1]))
    return style.with_legend(figure, marks)


@style.styled
def spectrogram_gallery(
    spectrograms: np.ndarray, captions: Sequence[str], hop_seconds: float, mel_hz: Hertz, title: str
) -> Figure:
    """Spectrograms in two columns, each under its own caption, all on one color scale.

    Args:
        spectrograms: (k, 1, mels, frames), k >= 1.
        captions: k captions, such as "a0001, abnormal: teacher -3.1".
        hop_seconds, mel_hz, title: see `waveform_and_spectrogram`.
    """
    figure, panels = style.new_pages(title, len(captions), 2, 1.9)
    limits = np.min(spectrograms), np.max(spectrograms)
    for axes, spectrogram, caption in zip(panels, spectrograms, captions, strict=True):
        image = _spectrogram(axes, spectrogram, hop_seconds, mel_hz, limits)
        axes.set_title(fill(caption, 46), weight="normal")
    for lowest in panels[-2:]:
        lowest.set_xlabel("time (s)")
        lowest.tick_params(labelbottom=True)
    figure.colorbar(image, ax=list(panels), label="model input", pad=0.01)
    return figure


def _spectrogram(
    axes: Axes, values: np.ndarray, hop_seconds: float, mel_hz: Hertz,
    limits: tuple = (None, None), start: float = 0.0, colors: str | Colormap = "magma",
) -> AxesImage:  # fmt: skip
    """Draw one spectrogram from `start` (s); some rows are labeled with their center frequency."""
    values, (low, high) = np.squeeze(np.asarray(values)), limits
    mels, frames = values.shape
    extent = (start, start + frames * hop_seconds, -0.5, mels - 0.5)
    image = axes.imshow(values, cmap=colors, vmin=low, vmax=high, extent=extent, **PLACE)
    axes.grid(False)
    ticks = np.linspace(0, mels - 1, 5).round().astype(int)
    axes.set_yticks(ticks, [f"{float(f'{mel_hz[tick]:.2g}'):,.0f}" for tick in ticks])
    axes.set(xlabel="time (s)", ylabel="Hz (mel scale)")
    axes.label_outer()
    return image
