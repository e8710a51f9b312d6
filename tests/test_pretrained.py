"""One file holds a model and what made it, and works without the run."""

import dataclasses
import json
import shlex
from itertools import pairwise

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import save_file

from hsutils import pretrained
from hsutils.training.checkpoints import save_weights
from hsutils.errors import InputError
from hsutils.experiment import Run, load_experiment, open_run
from hsutils.files import write_json
from hsutils.models.build import new_network
from hsutils.predict import classify
from hsutils.pretrained import COMPACT, command_of, export, load_pretrained
from hsutils.studies.variants import BEYOND


@pytest.fixture
def run(tmp_path) -> Run:
    """A native run with a baseline of random weights."""
    where = {"data.folder": str(tmp_path), "splits.lists": str(tmp_path), "seed": 3}
    run = open_run("native-all", tmp_path / "run", where)
    torch.manual_seed(0)
    save_weights(
        run.path("baseline.safetensors"), new_network(run.experiment, "baseline").state_dict()
    )
    history = [{"epoch": 1, "loss": 0.5, "dev_auroc": 0.8, "seconds": 1.0}]
    environment = {"git_commit": "abc", "precision": "32-true"}
    facts = {"fingerprint": "x", "history": history, "environment": environment}
    write_json(run.path("baseline.json"), facts)
    return run


@pytest.fixture
def exported(run, tmp_path):
    return export(run.folder, "baseline", tmp_path / "new folder" / "model.safetensors")


def test_the_file_classifies_as_the_run_does(run, exported, tmp_path, monkeypatch):
    noise = np.random.default_rng(0).integers(-9000, 9000, 20_000).astype(np.int16)
    soundfile.write(tmp_path / "heart.wav", noise, 2000)
    by_run = classify([tmp_path / "heart.wav"], run.folder, "baseline")
    monkeypatch.setattr(pretrained.load_pretrained, "__defaults__", (exported,))
    assert classify([tmp_path / "heart.wav"], None).equals(by_run)


def test_it_says_what_made_it_and_names_no_place(run, exported, tmp_path):
    _, experiment, metadata = load_pretrained(exported)
    assert experiment.seed == 3 and experiment.networks == run.experiment.networks
    assert json.loads(metadata["environment"])["git_commit"] == "abc"
    assert json.loads(metadata["history"])[0]["dev_auroc"] == 0.8
    assert str(tmp_path) not in "".join(metadata.values())


def test_its_command_asks_for_the_same_experiment(tmp_path):
    changes = ["baseline.epochs=2", "splits.leave_out=b", 'compute.precision="32-true"']
    changes += ["front_end.repair_clips=true", "front_end.pass_low_hz=25"]
    experiment = load_experiment("native-all", [*changes, "seed=3"])
    words = shlex.split(command_of(experiment, "baseline"))
    assert words[:4] == ["python", "-m", "hsutils", "run"] and "--trainings-only" in words
    options = dict(zip(words[5::2], words[6::2], strict=True))
    assert options["--models"] == "baseline"
    asked = [value for word, value in pairwise(words) if word == "--set"]
    again = load_experiment(options["--profile"], [*asked, f"seed={options['--seeds']}"])
    assert again == experiment
    with pytest.raises(InputError, match="no profile mine"):
        command_of(dataclasses.replace(experiment, name="mine"), "baseline")


def test_what_is_no_such_file_is_told(run, tmp_path):
    with pytest.raises(InputError, match=r"teacher\.safetensors: missing"):
        export(run.folder, "teacher", tmp_path / "x.safetensors")
    (tmp_path / "text.safetensors").write_text("no weights")
    with pytest.raises(InputError, match="no weights"):
        load_pretrained(tmp_path / "text.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "bare.safetensors")
    with pytest.raises(InputError, match="lacks model, experiment"):
        load_pretrained(tmp_path / "bare.safetensors")


def test_the_one_that_comes_with_the_package_is_small_and_says_what_made_it(tmp_path):
    network, experiment, metadata = load_pretrained()
    assert COMPACT.stat().st_size < 2_000_000
    assert experiment.name == "native-all" and experiment.networks.cnn == "compact"
    plain = load_experiment("native-all", {"seed": experiment.seed})
    narrow = load_experiment("native-all", BEYOND["narrow"].change(plain)).front_end
    made = {"front_end": narrow, "compute": experiment.compute}
    assert experiment == dataclasses.replace(plain, **made) and experiment.compute.threads == 1
    assert metadata["command"] == command_of(experiment, metadata["model"])
    assert json.loads(metadata["environment"])["git_commit"].isalnum(), "a commit, unchanged"
    silence = torch.zeros(1, *experiment.front_end.shape)
    assert network(silence).isfinite().all()
