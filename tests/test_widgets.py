"""Explorers redraw when a control moves, and show their first picture where nobody watches."""

import ipywidgets
import pandas as pd
from matplotlib.figure import Figure

from hsutils import widgets as explorers
from hsutils.evaluation.calibration import RULES
from hsutils.data.corpus import Corpus
from hsutils.experiment import Run, load_experiment


def test_headless_explorer_is_the_picture_of_its_first_values():
    seen = explorers.explore(lambda x, y: (x, y), x=ipywidgets.IntSlider(3), y=ipywidgets.Text("a"))
    assert seen == (3, "a")


def test_live_explorer_draws_anew_when_a_control_moves(monkeypatch):
    monkeypatch.setattr(explorers, "in_live_notebook", lambda: True)
    drawn = []
    widget = explorers.explore(lambda x: drawn.append(x), x=ipywidgets.IntSlider(3))
    widget.update()
    widget.children[0].value = 5
    assert drawn[-1] == 5


def test_headless_look_at_any_recording_is_a_figure(noise_recordings, tmp_path):
    run = Run(tmp_path, load_experiment("demo"))
    assert isinstance(explorers.explore_recordings(run, noise_recordings), Figure)


def test_every_knob_of_the_augmentation_can_be_turned(
    noise_recordings, noise_cache, tmp_path, monkeypatch
):
    front_end = noise_cache.front_end
    overrides = {"front_end.clip_seconds": front_end.clip_seconds, "front_end.mels": front_end.mels}
    run = Run(tmp_path, load_experiment("demo", overrides))
    corpus = Corpus(noise_recordings, noise_recordings[["record"]].assign(split="dev"), noise_cache)
    drawn = []
    monkeypatch.setattr(
        explorers.figures, "spectrogram_pair", lambda *views, **_: drawn.append(views)
    )
    monkeypatch.setattr(explorers, "in_live_notebook", lambda: True)
    widget = explorers.explore_augmentation(run, corpus, noise_recordings.record[3])
    widget.update()
    *controls, _ = widget.children
    for control in controls:
        control.value = control.options[0] if hasattr(control, "options") else control.max
    assert len(drawn) > len(controls)
    assert len({augmented.numpy().tobytes() for _, augmented in drawn}) > 1


def test_a_clinic_shows_the_model_rule_and_prevalence_asked_for(monkeypatch):
    rows = [(m, r, 0.1 * i, 0.9) for i, m in enumerate(("teacher", "student")) for r in RULES]
    table = pd.DataFrame(rows, columns=["model", "rule", "sensitivity", "specificity"])
    assert "the student finds" in explorers.explore_clinic(table).get_suptitle().replace("\n", " ")
    drawn = []
    monkeypatch.setattr(
        explorers.figures, "thousand_people", lambda *shares: drawn.append(shares) or shares
    )
    monkeypatch.setattr(explorers, "in_live_notebook", lambda: True)
    widget = explorers.explore_clinic(table)
    model, rule, prevalence, _ = widget.children
    model.value, rule.value, prevalence.value = "teacher", RULES[1], 0.3
    widget.update()
    assert drawn[-1] == (0.0, 0.9, 0.3, "the teacher")
