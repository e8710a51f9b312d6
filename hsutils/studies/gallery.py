"""Every figure of the folder `figures`, drawn from its tables by one line."""

from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from hsutils import evaluate, plots
from hsutils.audio import augment, spectrograms
from hsutils.config import PROJECT, load_profile
from hsutils.data.clips import CLIPS
from hsutils.errors import InputError
from hsutils.models.teacher_student import StudentCNN
from hsutils.studies import beats, new_databases, reproduction, trust
from hsutils.studies.seeds import Pictures, Tables, read_tables


def figure(study: str, name: str) -> Figure:
    """A figure of the gallery (`docs/gallery.md`), drawn from the tables in `figures/<study>`.

    Example:
        >>> figure("trust", "probe").get_suptitle()
        'Can the database be read off these features?'

    Raises:
        InputError: if there is no such figure, naming those that there are; or no table.
    """
    drawn = pictures(STUDIES[study], PROJECT / "figures" / study) if study in STUDIES else {}
    if name not in drawn:
        there = f"the figures of {study}" if drawn else "the studies"
        raise InputError(f"no figure {study}, {name}: {there} are {', '.join(drawn or STUDIES)}")
    return drawn[name]()


def pictures(module: ModuleType | SimpleNamespace, folder: Path) -> Pictures:
    """Those of a study, from its inputs and `results.csv` in a folder; `lessons` has none."""
    tables = read_tables(folder, (*module.INPUTS, "results.csv"))
    return module.figures(tables, tables["results"]) if hasattr(module, "figures") else {}


def _paper(_: Tables, found: pd.DataFrame) -> Pictures:
    """The paper's figures 1, 3 and 4, the last one of a packaged clip."""
    profile, path = load_profile("demo"), CLIPS / "training-a/a0011.flac"
    front_end, rng = profile.front_end, np.random.default_rng(profile.seed)
    image, occupied = spectrograms.read_log_mel(path, front_end)
    original = spectrograms.standardize(torch.from_numpy(image[None]), front_end)
    augmented = augment.spec_augment(original, occupied, profile.augment, rng)
    axes = front_end.hop / front_end.sample_rate, spectrograms.mel_edges(front_end)[1:-1]
    return {
        "figure-1": lambda: plots.architecture(StudentCNN()),
        "figure-3": lambda: plots.training_regime(found.set_index("split").recordings),
        "figure-4": lambda: plots.spectrogram_pair(original, augmented, *axes, path.stem),
    }


def _beyond(inputs: Tables, _: pd.DataFrame) -> Pictures:
    table = inputs["changes"].query("against == 'native-all'")
    names = table.profile.str.removeprefix("native-all-").str.replace("-", " ")
    table = table.rename(columns={"difference": "value"}).assign(name=names)
    return {"changes": lambda: plots.changes(table)}


STUDIES = {"reproduction": reproduction, "trust": trust, "unseen": new_databases, "beats": beats}
STUDIES |= {"external": evaluate, "paper": SimpleNamespace(INPUTS=(), figures=_paper)}
STUDIES |= {"beyond": SimpleNamespace(INPUTS=("changes.csv",), figures=_beyond)}
