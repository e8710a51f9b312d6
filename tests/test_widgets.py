"""Explorers show a picture whoever runs the notebook, and draw it anew when a control moves."""

import weakref
from types import SimpleNamespace

import ipywidgets
import pandas as pd
import pytest

from hsutils import widgets
from hsutils.config import load_profile
from hsutils.data.corpus import Corpus
from hsutils.run import Run


def control(box: ipywidgets.VBox, label: str) -> ipywidgets.Widget:
    (found,) = [child for child in box.children if child.description == label]
    return found


def test_the_picture_comes_first_and_follows_the_controls(screen):
    controls = {"masked_share": ipywidgets.IntSlider(3), "y": ipywidgets.Text("a")}
    box = widgets.explore(lambda **values: values, **controls)
    assert screen.places == [[{"masked_share": 3, "y": "a"}]]
    control(box, "masked share").value = 5
    control(box, "y").value = "b"
    moved = [{"masked_share": 5, "y": "a"}, {"masked_share": 5, "y": "b"}]
    assert screen.places[0][1:] == moved


def test_what_an_explorer_held_is_freed_when_its_cell_runs_again(screen):
    held = type("Held", (), {})()
    held.itself, gone = held, weakref.ref(held)  # only the collector frees a cycle
    widgets.explore(lambda y: y, y=ipywidgets.Text("a"))
    del held
    widgets.explore(lambda y: y, y=ipywidgets.Text("a"))
    assert gone() is None


def test_a_picture_and_a_player_are_each_replaced_in_its_own_place(screen):
    slider = ipywidgets.IntSlider(1, description="its own label")
    box = widgets.explore(lambda n: [f"picture {n}", f"sound {n}"], n=slider)
    control(box, "its own label").value = 2
    assert screen.places == [["picture 1", "picture 2"], ["sound 1", "sound 2"]]


def test_any_recording_can_be_seen_and_heard(screen, noise_recordings, tmp_path):
    run = Run(tmp_path, load_profile("demo"))
    box = widgets.explore_recordings(run, noise_recordings)
    control(box, "record").value = noise_recordings.record[7]
    for number, figure, sound in zip((0, 7), *screen.places, strict=True):
        record = noise_recordings.record[number]
        assert record in figure.axes[0].get_title() + figure.get_suptitle()
        assert record in sound.data and "<audio" in sound.data


def test_every_control_of_the_augmentation_changes_the_picture(
    screen, noise_recordings, noise_cache, tmp_path, monkeypatch
):
    front_end = noise_cache.front_end
    overrides = {"front_end.clip_seconds": front_end.clip_seconds, "front_end.mels": front_end.mels}
    run = Run(tmp_path, load_profile("demo", overrides))
    corpus = Corpus(noise_recordings, noise_recordings[["record"]].assign(split="dev"), noise_cache)
    augmented = lambda _, view, **__: view.numpy().tobytes()  # noqa: E731
    monkeypatch.setattr(widgets.plots, "spectrogram_pair", augmented)
    box = widgets.explore_augmentation(run, corpus, noise_recordings.record[3])
    for knob in box.children:
        knob.value = knob.options[0] if hasattr(knob, "options") else knob.max
    assert control(box, "masked share").max == 1
    (pictures,) = screen.places
    assert len(pictures) == len(set(pictures)) == 1 + len(box.children)


def test_the_threshold_moves_what_is_decided_for_recordings_and_for_people(screen):
    table = pd.DataFrame({"label": [0, 0, 1], "teacher": [-2.5, 0.0, 2.0], "student": [0.0, 0, 1]})
    box = widgets.explore_threshold(table, ["teacher", "student"])
    threshold, prevalence = control(box, "threshold"), control(box, "prevalence")
    assert (threshold.min, threshold.max) == (-3, 2)
    threshold.value, prevalence.value = threshold.min, 0.1
    legend = [text.get_text() for text in screen.places[0][-1].legends[0].get_texts()]
    wanted = {"ill, found": 100, "ill, missed": 0, "healthy, false alarm": 900}
    assert legend[:4] == [f"{k}: {n}" for k, n in (wanted | {"healthy, cleared": 0}).items()]


@pytest.mark.parametrize(
    ("message", "controls"),
    [
        ({"content": {"allow_stdin": True}}, True),  # JupyterLab, VS Code
        ({"content": {"allow_stdin": False}}, False),  # papermill, nbconvert, jupyter execute
        ({}, False),
        (None, False),
    ],
)
def test_controls_are_shown_only_where_somebody_can_move_them(
    screen, monkeypatch, message, controls
):
    """That the programs say so is seen in tests/notebooks and tests/browser."""
    kernel = message if message is None else SimpleNamespace(get_parent=lambda: message)
    monkeypatch.setattr(widgets, "get_ipython", lambda: SimpleNamespace(kernel=kernel))
    box = widgets.explore(lambda n: f"picture {n}", n=ipywidgets.IntSlider(3))
    assert (box is not None) is controls
    assert screen.places == [["picture 3"]]
