"""The listening room finds, shows, plays and judges recordings, also one's own."""

from datetime import UTC, datetime
from io import BytesIO

import ipywidgets
import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from scipy.signal import welch

from hsutils import listening
from hsutils.data.corpus import Corpus
from hsutils.data.synthetic import training_recording
from hsutils.models.build import new_network
from hsutils.run import open_run
from hsutils.training.checkpoints import save_weights

RECORDED, HEART, MURMUR = listening.SOUNDS
NORMAL, HALF = listening.SPEEDS
OVERRIDES = {"front_end.clip_seconds": 1.5, "front_end.n_fft": 64, "front_end.bins": 33}
OVERRIDES |= {"front_end.mels": 24, "front_end.hop": 32}


@pytest.fixture(scope="module")
def room(noise_recordings, noise_cache, tmp_path_factory):
    """Networks of random weights; the recordings are noise, and logits are drawn."""
    run = open_run("demo", tmp_path_factory.mktemp("run"), OVERRIDES)
    splits = noise_recordings[["record"]].assign(split="test")
    corpus = Corpus(noise_recordings, splits, noise_cache)
    torch.manual_seed(0)
    for model in listening.MODELS:
        about = {"profile": run.profile.to_toml(), "model": model}
        weights = new_network(run.profile, model).state_dict()
        save_weights(run.path(f"{model}.safetensors"), weights, about)
    rng = np.random.default_rng(0)

    def load_predictions(run, model, split):
        if model == "packaged":
            return pd.read_csv(run.path("predictions/packaged-test.csv"))
        return noise_recordings.assign(logit=rng.normal(size=40))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(listening, "train_all", lambda run: None)
        patch.setattr(listening, "load_corpus", lambda run: corpus)
        patch.setattr(listening, "load_predictions", load_predictions)
        yield listening.Room(run)


def by_label(box: ipywidgets.VBox) -> dict[str, ipywidgets.Widget]:
    return {control.description: control for control in box.children}


def test_every_search_gives_the_records_that_fit_and_results_are_those_of_the_model(room):
    table, every = room.recordings, ("teacher", "any", "any")
    parts = [room.records(*every, result) for result in ("right", "missed", "false alarm")]
    assert (
        sorted(record for part in parts for record in part)
        == room.records(*every, "any")
        == sorted(table.index)
    )
    _, missed, alarms = (table.loc[part] for part in parts)
    assert missed.label.all() and (missed.teacher <= 0).all() and len(missed)
    assert not alarms.label.any() and (alarms.teacher > 0).all() and len(alarms)
    disagree = table.loc[room.records(*every, "models disagree")][list(listening.MODELS)] > 0
    assert 0 < len(disagree) < 40 and (disagree.nunique(axis=1) == 2).all()
    chosen = table.loc[room.records("student", "d", "abnormal", "any")]
    assert set(chosen.database) == {"d"} and chosen.label.all()


def test_menus_narrow_the_list_and_picture_table_and_player_follow(screen, room):
    controls = by_label(listening.explore_room(room))
    figure, table, player = (place[0] for place in screen.places)
    first = room.recordings.iloc[0]
    assert first.record in figure.get_suptitle() and "<audio" in player.data
    assert table.loc["teacher", "logit"] == round(first.teacher, 2)
    controls["model"].value = "baseline"
    controls["result"].value = "missed"
    record = controls["record"].value
    assert record == room.records("baseline", "any", "any", "missed")[0]
    assert record in screen.places[0][-1].get_suptitle()
    assert screen.places[1][-1].loc["baseline", "result"] == "missed"
    controls["sound"].value = MURMUR
    assert screen.places[2][-1].data != screen.places[2][-2].data


def test_a_search_without_a_match_says_so_and_can_be_left(screen, room):
    controls = by_label(listening.explore_room(room))
    controls["label"].value = "normal"
    controls["result"].value = "missed"
    assert "No recording fits" in screen.places[0][-1].data
    controls["result"].value = "any"
    assert controls["record"].value in screen.places[0][-1].get_suptitle()


def upload(button: ipywidgets.FileUpload, name: str, content: bytes) -> None:
    file = {"name": name, "type": "", "size": len(content), "content": memoryview(content)}
    button.value = (file | {"last_modified": datetime.now(UTC)},)


def test_ones_own_file_is_judged_by_every_model_and_a_bad_one_is_one_line(screen, room):
    button, wav = by_label(listening.explore_own_file(room))["choose a recording"], BytesIO()
    soundfile.write(wav, np.random.default_rng(1).normal(0, 0.1, 88_200), 44_100, format="WAV")
    upload(button, "my-heart.wav", wav.getvalue())
    figure, table, player = (place[-1] for place in screen.places)
    assert figure.get_suptitle().startswith("my-heart.wav; the teacher model gives logit")
    assert table.index.tolist() == listening.JUDGES and "result" not in table
    assert table.notna().all(axis=None) and "<audio" in player.data
    upload(button, "../a<b>.wav", b"no sound")
    (said, *others) = (place[-1].data for place in screen.places)
    assert said.startswith("a&lt;b&gt;.wav: not a readable audio file") and others == ["", ""]


@pytest.fixture(scope="module")
def heart() -> np.ndarray:
    return training_recording(1, 8.0, [0, 7])[0] / 32_768


@pytest.mark.parametrize(("sound", "low", "high"), [(HEART, 20, 150), (MURMUR, 100, 700)])
def test_a_filtered_sound_keeps_its_band_and_all_are_equally_loud(heart, sound, low, high):
    played = listening.heard(heart, sound, NORMAL)
    hz, power = welch(played, listening.PLAYED_RATE, nperseg=4096)
    assert power[(hz > low) & (hz < high)].sum() > 0.9 * power.sum()
    for each in (played, listening.heard(0.01 * heart, RECORDED, NORMAL)):
        assert np.quantile(np.abs(each), 0.99) == pytest.approx(0.5, abs=0.01)
        assert np.abs(each).max() <= 1


def test_half_speed_lasts_twice_as_long_at_the_same_pitch():
    second = np.arange(16_000) / 2_000
    beats = np.sin(2 * np.pi * 60 * second) * (second % 1 < 0.1)
    usual, slow = (listening.heard(beats, RECORDED, speed) for speed in (NORMAL, HALF))
    assert len(slow) == pytest.approx(2 * len(usual), rel=0.01)
    peaks = []
    for played in (usual, slow):
        hz, power = welch(played, listening.PLAYED_RATE, nperseg=8192)
        peaks.append(hz[power.argmax()])
    assert peaks == pytest.approx([60, 60], abs=3)
    # Loudness in tenths of a second: a beat begins every two seconds.
    loud = np.square(slow[: 14 * 8_000]).reshape(7, 20, 800).mean(axis=(0, 2))
    assert loud[:3].sum() > 0.8 * loud.sum()


def test_of_a_long_recording_the_seconds_that_speak_most_for_abnormal_are_shown(monkeypatch):
    front_end = listening.load_model(listening.PACKAGED_WEIGHTS)[1].front_end
    monkeypatch.setattr(
        listening,
        "contributions",
        lambda network, image, occupied: (np.arange(image.shape[1]) >= 2_000) * np.ones((50, 1)),
    )
    noise = np.random.default_rng(0).normal(0, 0.1, 60 * 2_000)
    network = lambda images: torch.zeros(len(images))  # noqa: E731
    _, drawn = listening.examine(noise, network, front_end)
    start, end = drawn["seconds"]
    assert end - start == listening.SHOWN_SECONDS
    assert start >= 2_000 * front_end.hop / front_end.sample_rate - 0.1
