"""One file holds a model and what made it, and works without the run."""

import json
import shlex
from itertools import pairwise

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file, save_file

from hsutils.audio.spectrograms import log_mel, standardize
from hsutils.config import load_profile
from hsutils.errors import InputError
from hsutils.models.build import new_network
from hsutils.predict import PACKAGED, classify, command_of, export, load_model
from hsutils.run import Run, open_run
from hsutils.training.checkpoints import save_weights


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


@pytest.fixture
def heart(tmp_path) -> str:
    noise = np.random.default_rng(0).integers(-9000, 9000, 6000).astype(np.int16)
    soundfile.write(tmp_path / "heart.wav", noise, 2000)
    return str(tmp_path / "heart.wav")


def test_a_file_gets_the_models_own_logit(run, heart):
    weights, front_end = run.path("student.safetensors"), run.profile.front_end
    model = new_network(run.profile, "student").eval()
    model.load_state_dict(load_file(weights))
    spectrogram, _ = log_mel(soundfile.read(heart)[0].astype(np.float32), 2000, front_end)
    image = torch.from_numpy(standardize(spectrogram, front_end))
    logit = model(image[None, None]).item()
    table, problems = classify([heart], weights)
    row = table.iloc[0]
    assert not problems and table.columns.tolist() == ["file", "logit", "probability", "prediction"]
    assert row.logit == pytest.approx(logit, abs=1e-3)
    assert row.probability == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-3)
    assert row.prediction == ("abnormal" if logit > 0 else "normal")


@pytest.mark.parametrize(
    "change", ["front_end.scale=0.3", "front_end.hop=80", "networks.cnn=compact"]
)
def test_weights_are_read_with_the_settings_they_were_trained_with(run, heart, change):
    weights = run.path("student.safetensors")
    before, _ = classify([heart], weights)
    open_run("small", run.folder, [change])
    assert classify([heart], weights)[0].equals(before)
    exported = export(run.folder, "student", run.path("exported.safetensors"))
    assert classify([heart], exported)[0].equals(before)
    assert load_model(exported)[1].front_end == run.profile.front_end


def test_files_that_cannot_be_read_are_named_beside_the_verdicts_of_the_others(
    run, heart, tmp_path
):
    (tmp_path / "text.wav").write_text("not a recording")
    files = [tmp_path / "text.wav", heart, tmp_path / "absent.wav", tmp_path]
    table, (text, absent, folder) = classify(files, run.path("student.safetensors"))
    assert table.file.tolist() == [heart]
    assert "text.wav" in text and "absent.wav: no such file" in absent
    assert folder == f"{tmp_path}: a folder; name the files in it"
    assert not any("fetch" in line for line in (text, absent, folder))


def test_a_run_without_the_model_says_how_to_get_it(run):
    with pytest.raises(InputError, match=r"teacher\.safetensors: no such model.*make run"):
        classify(["heart.wav"], run.path("teacher.safetensors"))
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


def test_an_exported_file_says_what_made_it_and_names_no_place(run, tmp_path):
    exported = export(run.folder, "student", tmp_path / "new folder" / "model.safetensors")
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
    network, profile, metadata = load_model(PACKAGED)
    assert PACKAGED.stat().st_size < 2_000_000
    plain = load_profile("robust", {"compute": profile.compute.model_dump()})
    assert profile == plain.portable() and metadata["model"] == "baseline"
    assert json.loads(metadata["environment"])["git_commit"].isalnum(), "a commit, unchanged"
    assert network(torch.zeros(1, *profile.front_end.shape)).isfinite().all()
