"""Trainings as tasks: on a cluster of processes, of which one is killed."""

import json
import os
import signal
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import dask
import pytest
from distributed import LocalCluster
from safetensors import safe_open
from safetensors.torch import load_file

from hsutils.errors import InputError
from hsutils.studies.cluster import train_all

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:split lists:UserWarning"),
]
LONG = "baseline.epochs=12"


@pytest.fixture(scope="module")
def cluster():
    """One worker, a process of its own; the scheduler takes the usual port for its web page."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Port")  # or another program has taken it
        cluster = LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None)
    with cluster:
        yield cluster


def weights(run) -> dict[str, bytes]:
    """Bit for bit, in whatever order the file holds them."""
    tensors = load_file(run.path("baseline.safetensors"))
    return {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}


def history(run) -> list[dict]:
    return run.note("baseline.safetensors")["history"]


@pytest.mark.filterwarnings("error:Port")
def test_a_training_whose_worker_is_killed_goes_on_elsewhere(tiny_study, tmp_path, cluster):
    undisturbed, killed = (
        replace(study, overrides=(*study.overrides, LONG)).run(0)
        for study in (tiny_study(tmp_path / name, (0,)) for name in ("undisturbed", "killed"))
    )
    train_all([(undisturbed, ["baseline"])])
    checkpoint = killed.path("checkpoints/baseline.safetensors")
    (worker,) = cluster.workers.values()
    first = worker.pid
    with ThreadPoolExecutor() as threads:
        ending = threads.submit(train_all, [(killed, ["baseline"])], cluster.scheduler_address)
        while not checkpoint.exists():
            assert not ending.done()
            time.sleep(0.01)
        with safe_open(checkpoint, framework="pt") as file:
            before = json.loads(file.metadata()["history"])
        os.kill(first, signal.SIGKILL)
        ending.result(timeout=120)
    assert worker.pid != first
    assert weights(killed) == weights(undisturbed)
    assert len(history(killed)) == len(history(undisturbed)) == 12
    # With the seconds that they took before: no epoch is trained twice.
    assert 0 < len(before) < 12 and history(killed)[: len(before)] == before
    assert not checkpoint.exists()


def test_what_is_trained_starts_no_worker(trained, monkeypatch):
    monkeypatch.setattr("hsutils.studies.cluster.LocalCluster", lambda **_: pytest.fail("started"))
    train_all([(trained.run(seed), ["teacher", "baseline"]) for seed in trained.seeds])


def test_what_is_wrong_with_a_training_is_said_as_without_a_cluster(tiny_study, tmp_path, cluster):
    study = tiny_study(tmp_path, (0,))
    run = replace(study, overrides=(*study.overrides, "splits.leave_out=z")).run(0)
    with pytest.raises(InputError, match=r"splits\.leave_out=z: no such database") as raised:
        train_all([(run, ["baseline"])], cluster.scheduler_address)
    assert len(raised.value.problems) == 1


def test_a_scheduler_that_does_not_answer_is_named(tiny_study, tmp_path):
    run = tiny_study(tmp_path, (0,)).run(0)
    soon = dask.config.set({"distributed.comm.timeouts.connect": "1s"})
    with soon, pytest.raises(InputError, match="no scheduler answers"):
        train_all([(run, ["baseline"])], "tcp://127.0.0.1:1")
