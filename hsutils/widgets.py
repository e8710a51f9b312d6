"""What can be explored live in a notebook: a picture, and controls that redraw it.

The picture is an ordinary output of its cell, so that it is there whoever runs the notebook. The
controls follow it where somebody can move them.
"""

import gc
from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets
import numpy as np
import pandas as pd
from IPython import get_ipython
from IPython.display import HTML, display
from matplotlib.figure import Figure

from hsutils import plots
from hsutils.audio.augment import spec_augment
from hsutils.data.corpus import Corpus
from hsutils.notebook import axes_of, look, players
from hsutils.run import Run

Drawn = Figure | HTML | pd.DataFrame


def explore(
    draw: Callable[..., Drawn | Sequence[Drawn]], **controls: ipywidgets.ValueWidget
) -> ipywidgets.VBox | None:
    """Show what `draw` returns, and draw it anew in its place whenever a control moves.

    Args:
        draw: called with the value of each control by name. Returns what to show, such as a
            figure, or a list or tuple of as many things each time, such as a figure and a player.
        controls: such as sliders and menus. Each is labeled with its description, or else its name.

    Returns:
        The controls, to be the last line of a cell; None where nobody can move them.
    """

    def drawn() -> Sequence[Drawn]:
        parts = draw(**{name: control.value for name, control in controls.items()})
        return parts if isinstance(parts, list | tuple) else [parts]

    def redraw(_: object) -> None:
        for place, part, first in zip(places, drawn(), parts, strict=True):
            if isinstance(part, Figure) and len(part.axes) == len(first.axes):
                # To arrange a page takes as long as to draw it: the first one's places are kept.
                part.set_layout_engine("none")
                for axes, before in zip(part.axes, first.axes, strict=True):
                    axes.set_position(before.get_position())
            place.update(part)

    parts = drawn()
    places = [display(part, display_id=True) for part in parts]
    for name, control in controls.items():
        control.description = control.description or name.replace("_", " ")
        control.style.description_width, control.layout.width = "10em", "36em"
        control.observe(redraw, names="value")
    if not somebody_is_there():
        return None
    # To visit all that is loaded, a collection between two pictures would take half a second.
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    return ipywidgets.VBox(list(controls.values()))


def somebody_is_there() -> bool:
    """Whether a person sits before the notebook, not a program that only executes it.

    With each cell a front end sends whether it takes input (`allow_stdin` of Jupyter's messages):
    JupyterLab and VS Code do; papermill, nbconvert, `jupyter execute` and Sphinx don't.
    """
    kernel = getattr(get_ipython(), "kernel", None)
    return bool(kernel and kernel.get_parent().get("content", {}).get("allow_stdin"))


def explore_augmentation(run: Run, corpus: Corpus, record: str) -> ipywidgets.VBox | None:
    """SpecAugment on any recording; starts with the run's own settings."""
    settings, front_end = run.profile.augment, run.profile.front_end

    def draw(record: str, seed: int, **knobs: float) -> Figure:
        row = corpus.cache.rows([record])[0]
        original, occupied = corpus.cache.batch([row])[0], corpus.cache.occupied(row)
        changed = settings.model_copy(update=knobs)
        augmented = spec_augment(original, occupied, changed, np.random.default_rng(seed))
        return plots.spectrogram_pair(original, augmented, **axes_of(front_end), record=record)

    return explore(
        draw,
        record=ipywidgets.Dropdown(options=list(corpus.recordings.record), value=record),
        frequency_masks=_slider(settings.frequency_masks, 0, 6),
        time_masks=_slider(settings.time_masks, 0, 12),
        masked_share=_slider(settings.masked_share, 0, 1, 0.1),
        seed=_slider(run.profile.seed, 0, 20),
    )


def explore_recordings(run: Run, recordings: pd.DataFrame) -> ipywidgets.VBox | None:
    """Waveform, spectrogram and sound of any of these recordings, in the order given."""
    table = recordings.set_index("record", drop=False)
    menu = ipywidgets.Dropdown(options=list(table.index))

    def draw(record: str) -> list[Drawn]:
        return [look(run, table.loc[record]), players(table.loc[[record]])]

    return explore(draw, record=menu)


def explore_threshold(predictions: pd.DataFrame, models: Sequence[str]) -> ipywidgets.VBox | None:
    """What each model decides as its threshold moves, and for 1,000 people at any prevalence.

    Args:
        predictions: a column label, in which both labels occur, and a column of logits per model.
        models: at least one.
    """
    lowest, highest = np.quantile(predictions[list(models)], (0, 1))

    def draw(model: str, threshold: float, prevalence: float) -> Figure:
        table = predictions.assign(logit=predictions[model])
        return plots.decisions(table, threshold, prevalence, model)

    return explore(
        draw,
        model=ipywidgets.Dropdown(options=list(models)),
        threshold=_slider(0.0, np.floor(lowest), np.ceil(highest), 0.05),
        prevalence=_slider(0.02, 0.005, 0.5, 0.005, readout_format=".1%"),
    )


def _slider(value: float, low: float, high: float, step: float = 1, **options: Any):
    kind = ipywidgets.IntSlider if step == 1 else ipywidgets.FloatSlider
    highest = max(high, value)
    return kind(value, min=low, max=highest, step=step, continuous_update=False, **options)
