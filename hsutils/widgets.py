"""Turning knobs: what can be explored live in a notebook.

Everything degrades where nobody watches: run headless, an explorer shows its first picture.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import ipywidgets
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hsutils import plots as figures
from hsutils.training.datasets import spec_augment
from hsutils.evaluation.calibration import RULES
from hsutils.data.corpus import Corpus
from hsutils.experiment import Run
from hsutils.notebook import axes_of, look
from hsutils.progress import in_live_notebook


def explore(draw: Callable[..., Any], **controls: ipywidgets.Widget) -> Any:
    """Redraw whenever a control moves; headless, the picture of the controls' first values.

    Args:
        draw: called with one keyword argument a control.
        controls: widgets with a `value`, such as sliders and menus.
    """
    if in_live_notebook():
        return ipywidgets.interactive(draw, **controls)
    return draw(**{name: control.value for name, control in controls.items()})


def explore_augmentation(run: Run, corpus: Corpus, record: str) -> Any:
    """Turn SpecAugment's knobs on any recording; starts with the run's own settings."""
    settings, front_end = run.experiment.augment, run.experiment.front_end

    def draw(record: str, seed: int, **knobs: float) -> Figure:
        row = corpus.cache.rows([record])[0]
        original = corpus.cache.batch([row])[0]
        changed = dataclasses.replace(settings, **knobs)
        generator = np.random.default_rng(seed)
        augmented = spec_augment(original, corpus.cache.occupied(row), changed, generator)
        return figures.spectrogram_pair(original, augmented, **axes_of(front_end), record=record)

    return explore(
        draw,
        record=ipywidgets.Dropdown(options=list(corpus.recordings.record), value=record),
        frequency_masks=_slider(settings.frequency_masks, 0, 6),
        time_masks=_slider(settings.time_masks, 0, 12),
        masked_share=ipywidgets.FloatSlider(settings.masked_share, min=0, max=0.9, step=0.1),
        seed=_slider(run.experiment.seed, 0, 20),
    )


def explore_recordings(run: Run, recordings: pd.DataFrame) -> Any:
    """Look at any of these recordings, in the order given."""
    table = recordings.set_index("record", drop=False)
    menu = ipywidgets.Dropdown(options=list(table.index), value=table.index[0])
    return explore(lambda record: look(run, table.loc[record]), record=menu)


def explore_clinic(thresholds: pd.DataFrame) -> Any:
    """A thousand people, tested by any model with any rule's threshold, however rare the disease.

    Args:
        thresholds: columns model, rule, sensitivity, specificity, as `trust_tables.thresholds`.
    """
    known = thresholds.set_index(["model", "rule"])

    def draw(model: str, rule: str, prevalence: float) -> Figure:
        row = known.loc[(model, rule)]
        shares = row.sensitivity, row.specificity, prevalence
        return figures.thousand_people(*shares, f"the {model}")

    models = list(dict.fromkeys(thresholds.model))
    return explore(
        draw,
        model=ipywidgets.Dropdown(options=models, value=models[min(1, len(models) - 1)]),
        rule=ipywidgets.Dropdown(options=RULES),
        prevalence=ipywidgets.FloatSlider(
            0.02, min=0.005, max=0.5, step=0.005, readout_format=".1%", continuous_update=False
        ),
    )


def _slider(value: int, low: int, high: int) -> ipywidgets.IntSlider:
    return ipywidgets.IntSlider(value, min=low, max=max(high, value), continuous_update=False)
