"""Figures about spectrograms: what the models see, and what augmentation hides from them."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Patch

from hsutils.plots.style import (
    FAINT,
    INK,
    MODEL_COLORS,
    OTHER_COLOR,
    SPECTROGRAM_COLORS,
    headline,
    legend_above,
    new_page,
    styled,
)

PAPER_HOP_SECONDS = 448 / 22_050
MASK_COLOR = "#56B4E9"


@styled
def waveform_and_spectrogram(
    waveform: np.ndarray,
    sample_rate: float,
    spectrogram: np.ndarray,
    hop_seconds: float,
    mel_hz: Sequence[float],
    title: str,
    offset_seconds: float = 0.0,
) -> Figure:
    """A recording as samples and as the model sees it, on one time axis.

    Args:
        waveform: (samples,) amplitude, full scale 1.
        sample_rate: Hz.
        spectrogram: (1, mels, frames) or (mels, frames).
        hop_seconds: time between frames, s.
        mel_hz: (mels,) center frequency of each filter, Hz.
        title: the headline.
        offset_seconds: where the waveform starts on the spectrogram's axis, s.
    """
    figure, (above, below) = new_page(10, 4.8, nrows=2, sharex=True, height_ratios=(2, 3))
    times = offset_seconds + np.arange(len(waveform)) / sample_rate
    waveform = np.asarray(waveform)
    above.plot(times, waveform, color=INK, lw=0.5)
    reach = 1.05 * max(np.abs(waveform).max(initial=0), 1e-6)
    above.set(ylabel="amplitude", ylim=(-reach, reach))
    image = _spectrogram(below, spectrogram, hop_seconds, mel_hz)
    below.set(xlabel="time (s)")
    figure.colorbar(image, ax=below, label="model input", pad=0.01)
    return headline(figure, title)


@styled
def spectrogram_pair(
    original: np.ndarray,
    augmented: np.ndarray,
    hop_seconds: float,
    mel_hz: Sequence[float],
    record: str,
    fill: float = 0.0,
) -> Figure:
    """A positive pair of contrastive learning (paper, figure 4), hidden cells tinted.

    Args:
        original: (1, mels, frames) or (mels, frames), one view.
        augmented: the other view, of the same shape.
        hop_seconds: time between frames, s.
        mel_hz: (mels,) center frequency of each filter, Hz.
        record: the recording's name.
        fill: what SpecAugment writes into hidden cells.
    """
    views = [np.squeeze(np.asarray(view)) for view in (original, augmented)]
    hidden = [(a == fill) & (b != fill) for a, b in (views, views[::-1])]
    figure, panels = new_page(10, 5, nrows=2, sharex=True)
    for axes, view, mask in zip(panels, views, hidden, strict=True):
        image = _spectrogram(axes, view, hop_seconds, mel_hz, (views[0].min(), views[0].max()))
        axes.imshow(
            np.ma.masked_equal(mask, False),
            **_placement(view, hop_seconds),
            cmap=ListedColormap([MASK_COLOR]),
        )
        share = f"augmented: {mask.mean():.0%} of the cells hidden"
        axes.set_title(share if mask.any() else "as recorded")
    panels[1].set_xlabel("time (s)")
    tint = Patch(color=MASK_COLOR, label="hidden")
    panels[1].legend(handles=[tint], loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.2)
    figure.colorbar(image, ax=panels, label="model input", pad=0.01)
    return headline(
        figure,
        f"{record}: the encoder must find these two alike although "
        f"{(hidden[0] | hidden[1]).mean():.0%} of the picture differs",
    )


@styled
def mel_filters(filters: np.ndarray, hz: np.ndarray, nyquist_hz: float = 1000.0) -> Figure:
    """The triangular mel filters, and how many see only what the recordings cannot hold.

    Args:
        filters: (bins, mels) weights, as `hsutils.spectrograms.mel_filters` gives them.
        hz: (bins,) frequency of each bin, Hz.
        nyquist_hz: half the recordings' own sample rate, Hz.
    """
    filters, hz = np.asarray(filters).T, np.asarray(hz)
    inside = (filters[:, hz <= nyquist_hz] > 0).any(axis=1)
    outside = (filters[:, hz > nyquist_hz] > 0).any(axis=1)
    above, within = outside & ~inside, inside & ~outside
    figure, axes = new_page(10, 3.8)
    if above.any():
        axes.axvspan(nyquist_hz / 1000, hz[-1] / 1000, color="#F2F2F2", zorder=0)
    edge = f"{nyquist_hz / 1000:g} kHz"
    kinds = (
        (within, MODEL_COLORS["teacher"], "wholly below"),
        (inside & outside, OTHER_COLOR, "across"),
        (above, FAINT, "wholly above"),
    )
    for chosen, color, place in kinds:
        if chosen.any():
            axes.plot(hz / 1000, filters[chosen].T, color=color, lw=1.2)
            axes.plot([], [], color=color, label=f"{chosen.sum()} {place} {edge}")
    axes.set(xlabel="frequency (kHz)", ylabel="weight", ylim=(0, None), xlim=(0, hz[-1] / 1000))
    legend_above(axes)
    finding = f"{above.sum()} of {len(filters)} mel filters lie wholly above {edge}, "
    if not above.any():
        finding = f"None of the {len(filters)} mel filters lies above {edge}, "
    return headline(figure, finding + "where the recordings hold nothing")


@styled
def error_gallery(
    spectrograms: np.ndarray,
    titles: Sequence[str],
    hop_seconds: float = PAPER_HOP_SECONDS,
    mel_hz: Sequence[float] | None = None,
    title: str = "The most confident errors, as the models saw them",
) -> Figure:
    """Spectrograms in a grid, each under its own title.

    Args:
        spectrograms: (k, 1, mels, frames), k >= 1.
        titles: k titles, such as "a0001, abnormal, teacher -3.1".
        hop_seconds: time between frames, s.
        mel_hz: (mels,) center frequency of each filter, Hz; None labels filters by number.
        title: the headline.
    """
    columns = min(2, len(titles))
    rows = -(-len(titles) // columns)
    figure, panels = new_page(10, 1.65 * rows + 1, nrows=rows, ncols=columns, squeeze=False)
    spectrograms = np.asarray(spectrograms)
    limits = spectrograms.min(), spectrograms.max()
    for axes in panels.flat[len(titles) :]:
        axes.set_visible(False)
    for k, (axes, spectrogram, name) in enumerate(
        zip(panels.flat, spectrograms, titles, strict=False)
    ):
        _spectrogram(axes, spectrogram, hop_seconds, mel_hz, limits)
        axes.set_title(name, size=9)
        if k % columns:
            axes.set(ylabel="", yticklabels=[])
        if k + columns >= len(titles):
            axes.set_xlabel("time (s)")
        else:
            axes.set_xticklabels([])
    return headline(figure, title)


def _placement(spectrogram: np.ndarray, hop_seconds: float) -> dict:
    mels, frames = spectrogram.shape
    extent = (0, frames * hop_seconds, -0.5, mels - 0.5)
    return {"origin": "lower", "aspect": "auto", "extent": extent, "interpolation": "nearest"}


def _spectrogram(
    axes: Axes,
    spectrogram: np.ndarray,
    hop_seconds: float,
    mel_hz: Sequence[float] | None,
    limits: tuple[float, float] | None = None,
) -> AxesImage:
    """Draw one spectrogram; rows are labeled with their center frequency when it is known."""
    spectrogram = np.squeeze(np.asarray(spectrogram))
    low, high = limits or (None, None)
    place = _placement(spectrogram, hop_seconds)
    image = axes.imshow(spectrogram, cmap=SPECTROGRAM_COLORS, vmin=low, vmax=high, **place)
    axes.grid(False)
    ticks = np.linspace(0, len(spectrogram) - 1, 5).round().astype(int)
    if mel_hz is None:
        axes.set_yticks(ticks)
        axes.set_ylabel("mel filter")
    else:
        axes.set_yticks(ticks, [f"{float(f'{mel_hz[t]:.2g}'):,.0f}" for t in ticks])
        axes.set_ylabel("Hz (mel scale)")
    return image
