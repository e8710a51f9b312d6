"""Explorers show a picture whoever runs the notebook, and draw it anew when a control moves."""

import ipywidgets
import nbformat
import pandas as pd
import pytest
from matplotlib.figure import Figure
from nbclient import NotebookClient

from hsutils import widgets
from hsutils.config import load_profile
from hsutils.data.corpus import Corpus
from hsutils.run import Run


class Shown(list):
    """What a cell shows: the picture first displayed, then those that replaced it."""

    def display(self, picture, display_id: bool) -> "Shown":
        assert display_id, "a picture without an identity cannot be replaced"
        self.append(picture)
        return self

    def update(self, picture) -> None:
        self.append(picture)


@pytest.fixture
def shown(monkeypatch) -> Shown:
    shown = Shown()
    monkeypatch.setattr(widgets, "display", shown.display)
    monkeypatch.setattr(widgets, "somebody_is_there", lambda: True)
    return shown


def control(box: ipywidgets.VBox, label: str) -> ipywidgets.Widget:
    (found,) = [child for child in box.children if child.description == label]
    return found


def test_the_picture_comes_first_and_follows_the_controls(shown):
    controls = {"masked_share": ipywidgets.IntSlider(3), "y": ipywidgets.Text("a")}
    box = widgets.explore(lambda **values: values, **controls)
    assert shown == [{"masked_share": 3, "y": "a"}]
    control(box, "masked share").value = 5
    control(box, "y").value = "b"
    assert shown[1:] == [{"masked_share": 5, "y": "a"}, {"masked_share": 5, "y": "b"}]


def test_a_picture_and_a_player_are_each_replaced_in_its_own_place(shown):
    slider = ipywidgets.IntSlider(1, description="its own label")
    box = widgets.explore(lambda n: [f"picture {n}", f"sound {n}"], n=slider)
    control(box, "its own label").value = 2
    assert shown == ["picture 1", "sound 1", "picture 2", "sound 2"]


def test_any_recording_can_be_seen_and_heard(shown, noise_recordings, tmp_path):
    run = Run(tmp_path, load_profile("demo"))
    box = widgets.explore_recordings(run, noise_recordings)
    control(box, "record").value = noise_recordings.record[7]
    assert all(isinstance(figure, Figure) for figure in shown[::2])
    titles = [figure.axes[0].get_title() + figure.get_suptitle() for figure in shown[::2]]
    for number, title, sound in zip((0, 7), titles, shown[1::2], strict=True):
        assert noise_recordings.record[number] in title
        assert noise_recordings.record[number] in sound.data and "<audio" in sound.data


def test_every_control_of_the_augmentation_changes_the_picture(
    shown, noise_recordings, noise_cache, tmp_path, monkeypatch
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
    assert len(shown) == 1 + len(box.children)
    assert control(box, "masked share").max == 1
    assert len(set(shown)) == len(shown)


def test_a_clinic_shows_the_model_rule_and_prevalence_asked_for(shown, monkeypatch):
    rules = ("logit 0", "Youden")
    rows = [(m, r, 0.1 * i, 0.9) for i, m in enumerate(("teacher", "student")) for r in rules]
    table = pd.DataFrame(rows, columns=["model", "rule", "sensitivity", "specificity"])
    monkeypatch.setattr(widgets.plots, "thousand_people", lambda *shares: {"shares": shares})
    box = widgets.explore_clinic(table)
    control(box, "model").value = "student"
    control(box, "rule").value = "Youden"
    control(box, "prevalence").value = 0.3
    assert shown[0]["shares"] == (0.0, 0.9, 0.02, "the teacher")
    assert shown[-1]["shares"] == (0.1, 0.9, 0.3, "the student")


def test_controls_are_shown_only_where_somebody_can_move_them():
    source = """
from IPython.display import HTML
from ipywidgets import IntSlider
from hsutils.widgets import explore
explore(lambda n: [HTML(f"picture {n}"), HTML("sound")], n=IntSlider(3))"""
    client = NotebookClient(nbformat.v4.new_notebook(), kernel_name="python3")
    with client.setup_kernel():
        shown = {}
        for person in (False, True):
            client.nb.cells = [nbformat.v4.new_code_cell(source)]
            client.kc.allow_stdin = person
            shown[person] = client.execute_cell(client.nb.cells[0], 0).outputs
    kinds = {person: [o.output_type for o in outputs] for person, outputs in shown.items()}
    assert kinds[False] == ["display_data"] * 2
    assert shown[False][0].data["text/html"] == "picture 3"
    assert kinds[True] == [*kinds[False], "execute_result"]
    assert "application/vnd.jupyter.widget-view+json" in shown[True][-1].data
