"""The listening room: see and hear any recording, with the verdict of every model of a run."""

from functools import lru_cache, partial
from hashlib import blake2b
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ipywidgets
import numpy as np
import pandas as pd
import torch
from IPython.display import HTML, Audio
from scipy.special import expit
from torch import Tensor, nn
from torchaudio.functional import phase_vocoder, resample

from hsutils import plots
from hsutils.audio.beats import find_beats
from hsutils.audio.preprocessing import pass_band
from hsutils.audio.spectrograms import READ_SECONDS, log_mel, standardize
from hsutils.audio.wav import RECORDINGS, read_waveform
from hsutils.config import RECORDED_RATE, FrontEnd, fingerprint
from hsutils.data.cache import identity
from hsutils.data.corpus import load_corpus
from hsutils.errors import InputError
from hsutils.evaluation.attribution import contributions
from hsutils.evaluation.metrics import CLASSES
from hsutils.export import PACKAGED_WEIGHTS, load_model
from hsutils.files import digest_of, write_csv
from hsutils.notebook import PLAYED_RATE, axes_of, caption
from hsutils.pipeline import MODELS, load_predictions, train_all
from hsutils.predict import PACKAGED, classify
from hsutils.run import Run
from hsutils.widgets import Drawn, explore

JUDGES = [*MODELS, "packaged"]
RESULTS = ["any", "right", "missed", "false alarm", "models disagree"]
SOUNDS = {"as recorded": None, "heart sounds, 25 to 120 Hz": (25, 120)}
SOUNDS["murmurs, 120 to 600 Hz"] = (120, 600)
SPEEDS = {"as recorded": 1.0, "half, at the same pitch": 0.5}
SHOWN_SECONDS = 8.0  # of a longer recording: those that speak most for abnormal


class Room:
    """The recordings of *test* with every model's logits, and the networks themselves.

    Whatever the run lacks is trained first. `recordings` is indexed by record and has a column of
    logits for each of `JUDGES`.
    """

    def __init__(self, run: Run):
        train_all(run)
        test = load_corpus(run).of("test")
        stamp = fingerprint(identity(test), digest_of(PACKAGED))
        run.cached("predictions/packaged-test.csv", stamp, partial(_judge, test))
        logits = {m: load_predictions(run, m, "test").set_index("record").logit for m in JUDGES}
        self.recordings = test.set_index("record", drop=False).assign(**logits)
        files = [*(run.path(f"{model}.safetensors") for model in MODELS), PACKAGED_WEIGHTS]
        self.networks = {m: load_model(f)[:2] for m, f in zip(JUDGES, files, strict=True)}
        self.see = lru_cache(maxsize=64)(self._see)
        self.uploads = TemporaryDirectory()

    def records(self, model: str, database: str, label: str, result: str) -> list[str]:
        """The records of *test* that fit; "any" fits all. `result` is one of `RESULTS`."""
        table = self.recordings
        called, ill = table[JUDGES] > 0, table.label == 1
        fits = {
            "any": ill | ~ill,
            "right": called[model] == ill,
            "missed": ill & ~called[model],
            "false alarm": called[model] & ~ill,
            "models disagree": called[list(MODELS)].nunique(axis=1) > 1,
        }[result]
        fits &= (table.database == database) | (database == "any")
        fits &= (ill == (label == "abnormal")) | (label == "any")
        return table.index[fits].tolist()

    def _see(self, path: str, model: str) -> tuple[float, dict[str, Any]]:
        network, profile = self.networks[model]
        seconds = max(profile.front_end.clip_seconds, READ_SECONDS)
        return examine(read_waveform(path, seconds=seconds), network, profile.front_end)

    def show(
        self, path: str, title: str, table: pd.DataFrame, model: str, sound: str, speed: str
    ) -> list[Drawn]:
        """A recording's picture, its verdicts and its sound."""
        logit, drawn = self.see(path, model)
        start, end = (round(second * RECORDED_RATE) for second in drawn["seconds"])
        logit = f"{logit:+.2f}".replace("-", "−")
        title = f"{title}; the {model} model gives logit {logit}"
        figure = plots.where_it_looked(title=title, **drawn)
        return [figure, table, player(drawn["waveform"][start:end], sound, speed)]


def examine(
    waveform: np.ndarray, network: nn.Module, front_end: FrontEnd
) -> tuple[float, dict[str, Any]]:
    """A network's logit of a waveform (samples,) at `RECORDED_RATE`, and what there is to draw.

    Returns:
        The logit, and the arguments of `plots.where_it_looked` but for the title.
    """
    spectrogram, occupied = log_mel(waveform, RECORDED_RATE, front_end)
    image = torch.from_numpy(standardize(spectrogram, front_end))
    filled = slice(*occupied.frames)
    with torch.no_grad():
        logit = network(image[None, None]).item()
    found = contributions(network, image, occupied)[:, filled]
    waveform = waveform[: round(front_end.clip_seconds * RECORDED_RATE)]
    lasts, axes = len(waveform) / RECORDED_RATE, axes_of(front_end)
    # A frame is drawn where its middle is, and as wide as the step to the next one.
    first = filled.start * front_end.hop + (front_end.n_fft - front_end.hop) / 2
    window = np.ones(min(round(SHOWN_SECONDS / axes["hop_seconds"]), found.shape[1]))
    most = np.convolve(found.clip(0).sum(axis=0), window, "valid").argmax() * axes["hop_seconds"]
    start = max(0.0, min(most, lasts - SHOWN_SECONDS))
    return logit, axes | {
        "start": first / front_end.sample_rate - (front_end.clip_seconds - lasts) / 2,
        "seconds": (start, min(lasts, start + SHOWN_SECONDS)),
        "waveform": waveform,
        "spectrogram": image[:, filled],
        "contributions": found,
        "rhythm": find_beats(waveform),
    }


def explore_room(room: Room) -> ipywidgets.VBox | None:
    """See and hear any recording of *test*, found by its database, label and result."""
    options = {"database": ["any", *sorted(room.recordings.database.unique())]}
    options |= {"label": ["any", *CLASSES], "result": RESULTS}
    search = {name: ipywidgets.Dropdown(options=o, description=name) for name, o in options.items()}
    model, record = _menu(JUDGES), _menu([])

    def narrow(_: object = None) -> None:
        found = room.records(model.value, **{name: menu.value for name, menu in search.items()})
        if found != list(record.options):
            record.options = found
        if found and record.value is None:
            record.value = found[0]

    def draw(record: str | None, **chosen: str) -> list[Drawn]:
        if record is None:
            return [HTML("No recording fits: choose another."), HTML(""), HTML("")]
        row = room.recordings.loc[record]
        return room.show(row.path, caption(row), judgments(row[JUDGES], row.label), **chosen)

    narrow()
    for menu in (model, *search.values()):
        menu.observe(narrow, names="value")
    controls = explore(draw, model=model, record=record, sound=_menu(SOUNDS), speed=_menu(SPEEDS))
    if controls is None:
        return None
    menus = [*search.values(), *controls.children]
    for menu in menus:
        menu.layout, menu.style.description_width = model.layout, "9ch"
    return ipywidgets.VBox(menus)


def explore_own_file(room: Room) -> ipywidgets.VBox | None:
    """See and hear a file of one's own; until there is one, a recording of *test*."""
    button = ipywidgets.FileUpload(accept=",".join(RECORDINGS), description="choose a recording")

    def draw(file: tuple[dict, ...], **chosen: str) -> list[Drawn]:
        path = Path(room.recordings.path.iloc[0])
        if file:
            content = bytes(file[0]["content"])
            path = Path(room.uploads.name, blake2b(content, digest_size=8).hexdigest())
            path.mkdir(exist_ok=True)
            path /= Path(file[0]["name"]).name
            path.write_bytes(content)
        try:
            logits = pd.Series({model: room.see(str(path), model)[0] for model in JUDGES})
        except InputError as error:
            return [HTML(escape(str(error).replace(f"{path.parent}/", ""))), HTML(""), HTML("")]
        return room.show(str(path), path.name, judgments(logits), **chosen)

    menus = {"model": _menu(JUDGES), "sound": _menu(SOUNDS), "speed": _menu(SPEEDS)}
    return explore(draw, file=button, **menus)


def judgments(logits: pd.Series, label: int | None = None) -> pd.DataFrame:
    """Logit, probability of abnormal and decision of each model; its result if there is a label."""
    logits = logits.astype(float).rename_axis("model")
    table = pd.DataFrame({"logit": logits, "probability of abnormal": expit(logits)})
    table["decision"] = np.where(logits > 0, "abnormal", "normal")
    if label is not None:
        wrong = "missed" if label else "false alarm"
        table["result"] = np.where((logits > 0) == label, "right", wrong)
    return table.round(2)


def heard(waveform: np.ndarray, sound: str, speed: str) -> np.ndarray:
    """A waveform (samples,) at `RECORDED_RATE` as it is played at `PLAYED_RATE`.

    Whatever the band, 99% of its samples lie within half of full scale; higher peaks are clipped.
    """
    if band := SOUNDS[sound]:
        waveform = pass_band(waveform, RECORDED_RATE, *band)
    samples = torch.from_numpy(waveform.astype(np.float32))
    played = resample(_stretched(samples, SPEEDS[speed]), RECORDED_RATE, PLAYED_RATE).numpy()
    return np.clip(played / max(2 * np.quantile(np.abs(played), 0.99), 1e-9), -1, 1)


def player(waveform: np.ndarray, sound: str, speed: str) -> HTML:
    """A player of what `heard` gives."""
    audio = Audio(heard(waveform, sound, speed), rate=PLAYED_RATE, normalize=False)
    return HTML(audio._repr_html_())


def _stretched(samples: Tensor, speed: float) -> Tensor:
    """At another speed and the same pitch: an octave lower, few speakers would play S1."""
    size, hop = 256, 32  # 128 and 16 ms
    window = {"n_fft": size, "hop_length": hop, "window": torch.hann_window(size)}
    turns = torch.linspace(0, torch.pi * hop, size // 2 + 1)[:, None]
    found = torch.stft(samples, **window, return_complex=True)
    return samples if speed == 1 else torch.istft(phase_vocoder(found, speed, turns), **window)


def _menu(options: object) -> ipywidgets.Dropdown:
    return ipywidgets.Dropdown(options=list(options))


def _judge(test: pd.DataFrame, path: Path) -> None:
    """Write the packaged model's logits, as those of the run's own models are."""
    table, _ = classify(test.path)
    write_csv(path, test[["record", "label"]].assign(logit=table.logit.to_numpy()))
