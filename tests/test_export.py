"""One file holds a model and what made it, works without the run, and without PyTorch."""

import json
import shlex
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from onnxruntime import InferenceSession
from safetensors.torch import save_file
from torch import nn

from hsutils import export as module
from hsutils.audio.heart_cycles import FEATURES, LinearModel, heart_cycle_features
from hsutils.audio.spectrograms import log_mel, standardize
from hsutils.audio.wav import read_waveform
from hsutils.config import RECORDED_RATE, load_profile
from hsutils.data.corpus import load_recordings, load_splits
from hsutils.errors import InputError
from hsutils.export import AGREEMENT, PACKAGED_WEIGHTS, command_of, disagreement, export, load_model
from hsutils.files import write_csv
from hsutils.models.build import new_network
from hsutils.models.heart_cycles import features_of, fitted
from hsutils.predict import PACKAGED, Classifier
from hsutils.run import Run, open_run
from hsutils.training.checkpoints import save_weights

pytestmark = pytest.mark.usefixtures("one_thread")
METADATA = ("profile", "model", "command", "environment", "history")


@pytest.fixture
def run(tmp_path) -> Run:
    """A run with a student of random weights."""
    run = open_run("small", tmp_path / "run", {"data.folder": str(tmp_path), "seed": 3})
    torch.manual_seed(0)
    metadata = {"profile": run.profile.to_toml(), "model": "student"}
    state = new_network(run.profile, "student").state_dict()
    history = [{"epoch": 1, "loss": 0.5, "dev_auroc": 0.8, "seconds": 1.0}]

    def make(path) -> dict:
        save_weights(path, state, metadata)
        return {"history": history, "environment": {"git_commit": "abc"}}

    run.store("student.safetensors", "stamp", make)
    return run


@pytest.mark.parametrize("change", ["front_end.hop=80", "networks.cnn=compact"])
def test_an_exported_model_keeps_the_settings_it_was_trained_with(run, change):
    open_run("small", run.folder, [change])
    exported = export(run.path("student.safetensors"), run.path("exported.safetensors"))
    assert load_model(exported)[1].front_end == run.profile.front_end


def test_a_run_without_the_model_says_how_to_get_it(run):
    with pytest.raises(InputError, match=r"teacher\.safetensors: no such model.*make run"):
        load_model(run.path("teacher.safetensors"))
    with pytest.raises(InputError, match="a folder, not a model"):
        load_model(run.folder)


GOOD = {"model": "student", "profile": load_profile("small").to_toml()}
CRAFTED = {
    "no metadata": None,
    "no profile": {"model": "student"},
    "no model": {"profile": GOOD["profile"]},
    "an unknown model": GOOD | {"model": "encoder"},
    "a profile that is not TOML": GOOD | {"profile": "= 3"},
    "a number without end": GOOD | {"profile": f"seed = {'9' * 5000}"},
    "an unknown field": GOOD | {"profile": "[pretrain]\ncolour = 3"},
    "weights of another network": GOOD,
}


@pytest.mark.parametrize("kind", [*CRAFTED, b"", b"no weights", b"\xff" * 100, "cut"])
def test_a_foreign_or_damaged_file_is_told_in_one_line(run, tmp_path, kind):
    path = tmp_path / "foreign.safetensors"
    if kind in CRAFTED:
        save_file({"a": torch.zeros(1)}, path, CRAFTED[kind])
    else:
        cut = run.path("student.safetensors").read_bytes()[:-9]
        path.write_bytes(cut if kind == "cut" else kind)
    with pytest.raises(InputError) as error:
        load_model(path)
    said = str(error.value)
    assert str(path) in said and "\n" not in said and "delete" not in said


@pytest.mark.parametrize("name", ["model.ONNX", "model.pt", "model"])
def test_a_file_of_another_kind_is_not_written(tmp_path, name):
    with pytest.raises(InputError, match=r"ends in \.safetensors or \.onnx"):
        export(PACKAGED_WEIGHTS, tmp_path / name)
    assert not (tmp_path / name).exists()


def test_an_exported_file_says_what_made_it_and_names_no_place(run, tmp_path):
    target = tmp_path / "new folder" / "model.safetensors"
    exported = export(run.path("student.safetensors"), target)
    _, profile, metadata = load_model(exported)
    assert profile == run.profile.portable()
    assert json.loads(metadata["environment"])["git_commit"] == "abc"
    assert json.loads(metadata["history"])[0]["dev_auroc"] == 0.8
    assert str(tmp_path) not in "".join(metadata.values())


@pytest.mark.parametrize("name", ["robust", "mine"])
def test_the_command_asks_for_the_same_profile(name):
    changes = ["baseline.epochs=2", "splits.leave_out=b", 'compute.precision="32-true"', "seed=3"]
    profile = load_profile("robust", [*changes, "front_end.repair_clips=false", f"name={name}"])
    words = shlex.split(command_of(profile, "baseline"))
    assert words[:5] == ["python", "-m", "hsutils", "run", "--trainings-only"]
    options = dict(pairwise(words))
    asked = [value for word, value in pairwise(words) if word == "--set"]
    assert load_profile(options["--profile"], asked) == profile
    assert options["--models"] == "baseline"


def test_the_packaged_model_is_small_and_says_what_made_it():
    network, profile, metadata = load_model(PACKAGED_WEIGHTS)
    assert PACKAGED_WEIGHTS.stat().st_size < 2_000_000
    asked = {
        "compute": profile.compute.model_dump(),
        "data.more": "data/circor-2022/recordings.csv",
    }
    plain = load_profile("all-ages", asked)
    assert profile == plain.portable() and metadata["model"] == "baseline"
    assert LinearModel.from_json(metadata["heart_cycles"]).weights.shape == (len(FEATURES),)
    assert json.loads(metadata["environment"])["git_commit"].isalnum(), "a commit, unchanged"
    assert network(torch.zeros(1, *profile.front_end.shape)).isfinite().all()


# ONNX, and heart cycles


def test_both_kinds_of_file_hold_what_made_the_model_and_the_linear_model_of_its_run(run, tmp_path):
    """Of the paper's CNN, whose images have one size; the packaged file is of the compact one."""
    recordings, splits = load_recordings(run), load_splits(run)
    logits = np.random.default_rng(0).normal(0, 3, (splits.split == "dev").sum())
    write_csv(run.path("predictions/student-dev.csv"), pd.DataFrame({"logit": logits}))
    exported = export(run.path("student.safetensors"), tmp_path / "both.safetensors", True)
    _, _, metadata = load_model(exported)
    features, model = features_of(recordings), LinearModel.from_json(metadata["heart_cycles"])
    trains = recordings.record.isin(splits.record[splits.split.isin(["pretrain", "finetune"])])
    expected = fitted(features[trains], recordings[trains])
    assert model.weights == pytest.approx(expected.weights, abs=1e-6)
    dev = recordings.record.isin(splits.record[splits.split == "dev"])
    assert model.share * model.logits(features[dev]).std() == pytest.approx(logits.std(), rel=1e-4)
    again = export(exported, tmp_path / "both.onnx")
    path = recordings.path[0]
    alone = Classifier(run.path("student.safetensors")).read(path).logit
    for classifier in (Classifier(exported), Classifier(again)):
        together = model.together(alone, heart_cycle_features(read_waveform(path)))
        assert classifier.read(path).logit == pytest.approx(together, abs=AGREEMENT)
    kept = InferenceSession(again).get_modelmeta().custom_metadata_map
    assert set(kept) == {*METADATA, "heart_cycles", "threshold"} and kept["model"] == "student"
    assert str(tmp_path).encode() not in again.read_bytes()
    with pytest.raises(InputError, match="heart cycles are learned from a run"):
        export(exported, tmp_path / "again.onnx", True)
    settings, own = run.path("experiment.toml"), run.profile.splits
    other = {"splits": own.model_copy(update={"leave_out": "a"})}
    settings.write_text(run.profile.model_copy(update=other).to_toml())
    with pytest.raises(InputError, match="opened with other settings of data or splits since"):
        export(run.path("student.safetensors"), tmp_path / "other.onnx", True)


def test_the_packaged_onnx_file_is_that_of_the_packaged_weights():
    network, profile, metadata = load_model(PACKAGED_WEIGHTS)
    assert disagreement(network, PACKAGED, profile.front_end) < AGREEMENT
    kept = InferenceSession(PACKAGED).get_modelmeta().custom_metadata_map
    expected = {name: metadata[name] for name in (*METADATA, "heart_cycles")}
    assert kept == {**expected, "threshold": "0.0"}
    assert b"/" + PACKAGED.parts[1].encode() + b"/" not in PACKAGED.read_bytes()


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 2, 3, 15, 16, 17, 333, 1_000, 4_001])
def test_the_graph_takes_any_number_of_frames_padded_or_not_alone_or_in_batches(frames):
    network, session = load_model(PACKAGED_WEIGHTS)[0], InferenceSession(PACKAGED)
    images = torch.randn(2, 1, 50, frames, generator=torch.Generator().manual_seed(frames))
    expected = network(images).numpy()
    for before, after in ((0, 0), (0, 1), (31, 100)):
        padded = nn.functional.pad(images, (before, after)).numpy()
        (logits,) = session.run(None, {"spectrogram": padded})
        assert np.abs(logits - expected).max() < AGREEMENT
        (alone,) = session.run(None, {"spectrogram": padded[:1]})
        assert alone == pytest.approx(expected[:1], abs=AGREEMENT)


def test_an_onnx_file_that_disagrees_with_pytorch_is_not_written(tmp_path, monkeypatch):
    """Here the graph is that of the packaged weights, and the network has one other weight."""
    network, _, metadata = load_model(PACKAGED_WEIGHTS)
    with torch.no_grad():
        network.head[3].bias += 2 * AGREEMENT
    save_weights(tmp_path / "other.safetensors", network.state_dict(), metadata)
    monkeypatch.setattr(module, "_write_onnx", lambda p, *_: p.write_bytes(PACKAGED.read_bytes()))
    with pytest.raises(InputError, match=r"other\.onnx: ONNX Runtime's logits differ .* by 0.0002"):
        export(tmp_path / "other.safetensors", tmp_path / "other.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["other.safetensors"]


@pytest.mark.real
@torch.no_grad()
def test_pytorch_and_onnx_runtime_agree_on_300_real_recordings(real_recordings):
    """The longest, the shortest and others between, in equal steps of length."""
    network, profile, metadata = load_model(PACKAGED_WEIGHTS)
    linear = LinearModel.from_json(metadata["heart_cycles"])
    paths = real_recordings.sort_values("seconds").path
    chosen, classifier, apart = np.linspace(0, len(paths) - 1, 300).astype(int), Classifier(), []
    for path in paths.iloc[chosen]:
        waveform = read_waveform(path, seconds=profile.front_end.clip_seconds)
        spectrogram, _ = log_mel(waveform, RECORDED_RATE, profile.front_end)
        image = torch.from_numpy(standardize(spectrogram, profile.front_end))
        logit = network(image[None, None]).item()
        together = linear.together(logit, heart_cycle_features(waveform))
        apart.append(abs(together - classifier.logit(waveform)))
    assert len(apart) == 300 and max(apart) < AGREEMENT
