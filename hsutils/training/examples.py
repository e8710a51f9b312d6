"""What a classifier is shown: which recordings, how often, and how much of each."""

from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from hsutils.data.artificial import VERSION, write_artificial
from hsutils.training.datasets import Labeled, Together, Views, WaveformViews
from hsutils.data.cache import build_cache
from hsutils.data.corpus import Corpus
from hsutils.experiment import Run
from hsutils.settings import Fit


def examples_of(
    run: Run, corpus: Corpus, section: str, split: str, targets: ArrayLike
) -> Labeled | Together:
    """What a classifier is trained on, sampled and shown as the profile's section says.

    Args:
        run: the run.
        corpus: its recordings.
        section: of the profile: finetune, student or baseline.
        split: whose recordings.
        targets: (n,) what it is told of them, in [0, 1].
    """
    settings, front_end = getattr(run.experiment, section), run.experiment.front_end
    recordings, strata = corpus.of(split), None
    if settings.sampling == "even":
        # By the targets, not the labels: a student that is told no label must not sense it either.
        told = pd.Series(np.asarray(targets) > 0.5, recordings.index)
        strata = (recordings.database + told.astype(str)).to_numpy()
    crop = round(settings.crop_seconds * front_end.sample_rate / front_end.hop)
    masks, seed = run.experiment.augment if settings.masks else None, run.experiment.seed
    views = Views(crop, masks, seed) if crop or masks else None
    if settings.sensor:
        views = WaveformViews(corpus.paths, settings.crop_seconds, True, masks, seed)
    real = Labeled(corpus.cache, corpus.rows(split), np.asarray(targets), strata, views)
    if not settings.artificial:
        return real
    artificial = _artificial(run, settings, views)
    return Together([real, artificial] if settings.real else [artificial])


def _artificial(run: Run, settings: Fit, views: Views | WaveformViews | None) -> Labeled:
    """Artificial recordings, shown as the real ones are, as so many databases of their own."""
    asked = run.experiment.artificial
    recordings = write_artificial(asked)
    front_end = replace(run.experiment.front_end, clip_seconds=asked.seconds)
    cache = build_cache(recordings, front_end)
    database = [f"artificial {n // 2 % settings.artificial}" for n in range(len(recordings))]
    strata = np.char.add(database, recordings.label.astype(bool).astype(str).to_numpy(str))
    if isinstance(views, WaveformViews):
        views = replace(views, paths=recordings.path.tolist())
    return Labeled(cache, np.arange(len(recordings)), recordings.label, strata, views)


def artificial_identity(run: Run, section: str) -> list[object]:
    """What a fingerprint must know of artificial recordings: nothing, where none is heard."""
    asked = replace(run.experiment.artificial, folder="")
    return [asked, VERSION] if getattr(run.experiment, section).artificial else []
