"""A student of other runs' models: whose opinion it hears, and whom it must not ask."""

import dataclasses
import shutil

import numpy as np
import pytest
import torch
from conftest import TINY_SETTINGS

from hsutils import pipeline as stations
from hsutils.studies import teachers as teachers_module
from hsutils.errors import InputError
from hsutils.experiment import Run, open_run
from hsutils.models.build import trained_network
from hsutils.studies.teachers import named_teachers

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:split lists:UserWarning"),
]


@pytest.fixture(scope="module")
def opened(tiny_data, tmp_path_factory):
    """Opens a run of the tiny corpus in a folder of its own, by name."""
    home = tmp_path_factory.mktemp("teachers")
    where = {"data.folder": str(tiny_data / "recordings"), "splits.lists": str(tiny_data)}

    def open_one(name: str, **more) -> Run:
        more = {key.replace("__", "."): value for key, value in more.items()}
        return open_run("demo", home / name, TINY_SETTINGS | where | more)

    open_one.home = home
    return open_one


@pytest.fixture(scope="module")
def teachers(opened) -> list[Run]:
    """Two baselines; the second hears through a front end of fewer mel bands."""
    runs = [opened("first-0"), opened("second-0", front_end__mels=32)]
    for run in runs:
        stations.train_baseline(run)
    return runs


def names(opened, *wanted: str) -> str:
    return ", ".join(f"{opened.home}/{name}" for name in wanted)


def test_each_teacher_is_asked_through_its_own_front_end(opened, teachers):
    run = opened("student", distillation__teachers=names(opened, "second-0/baseline"))
    table = stations.label_softly(run)
    network, _ = trained_network(teachers[1].folder, "baseline")
    corpus = stations.load_corpus(teachers[1])
    with torch.no_grad():
        expected = network(corpus.cache.batch(corpus.rows("pretrain"))).numpy()
    assert table.record.tolist() == corpus.of("pretrain").record.tolist()
    np.testing.assert_allclose(table.logit, expected, atol=1e-3)
    np.testing.assert_allclose(table.soft_label, 1 / (1 + np.exp(-expected)), atol=1e-4)


def test_probabilities_are_averaged_and_not_logits(opened, teachers, monkeypatch):
    told = names(opened, "first-{seed}/baseline", "second-{seed}/baseline")
    run = opened("student", distillation__teachers=told)
    sure = {24: 5.0, 32: -1.0}

    def predict(network, cache, rows, fabric):
        return np.full(len(rows), sure[cache.shape[1]], dtype=np.float32)

    monkeypatch.setattr(teachers_module, "predict", predict)
    table = stations.label_softly(run)
    mean = np.mean([1 / (1 + np.exp(-logit)) for logit in sure.values()])
    np.testing.assert_allclose(table.soft_label, mean, rtol=1e-6)
    assert mean < 0.65 < 1 / (1 + np.exp(-2)), "the mean logit would say otherwise"


def test_a_student_of_others_trains_no_teacher_and_follows_them(opened, teachers, capsys):
    run = opened("follower", distillation__teachers=names(opened, "first-0/baseline"))
    stations.distill_student(run)
    assert not list(run.folder.glob("teacher*")) and not list(run.folder.glob("encoder*"))
    before = run.path("student.json").read_bytes()
    capsys.readouterr()
    stations.distill_student(run)
    assert "student: loaded" in capsys.readouterr().out
    others = opened("follower", distillation__teachers=names(opened, "second-0/baseline"))
    stations.distill_student(others)
    assert "student: trained" in capsys.readouterr().out
    assert run.path("student.json").read_bytes() != before


def test_a_teacher_trained_anew_makes_new_soft_labels(opened, teachers):
    shutil.copytree(teachers[0].folder, opened.home / "changing-0", dirs_exist_ok=True)
    run = opened("listener", distillation__teachers=names(opened, "changing-0/baseline"))
    before = stations.label_softly(run)
    stations.train_baseline(opened("changing-0", baseline__learning_rate=1e-2))
    assert not stations.label_softly(run).equals(before)


def test_left_out_databases_and_seeds_are_filled_in(opened, teachers):
    run = opened("student", splits__leave_out="b", seed=7)
    told = names(opened, "first-{without}{seed}/baseline")
    experiment = dataclasses.replace(
        run.experiment,
        distillation=dataclasses.replace(run.experiment.distillation, teachers=told),
    )
    with pytest.raises(InputError, match=r"first-without-b-7/baseline\.safetensors is missing"):
        named_teachers(Run(run.folder, experiment))


@pytest.mark.parametrize(
    ("teacher", "settings", "said"),
    [
        ("first-0/baseline", {"splits__leave_out": "b"}, "recordings of this run's dev and test"),
        # It has learned from the others' test recordings.
        ("all-without-b-0/baseline", {}, "recordings of this run's dev and test"),
        ("all-without-b-0/baseline", {"splits__leave_out": "b"}, ""),
        ("changed-0/baseline", {}, "was opened with other settings since: train it again"),
        ("first-0/encoder", {}, "'encoder' is no model"),
        ("first-{seed.x}/baseline", {}, "only {without} and {seed} change"),
        ("first-0/student", {}, "student.safetensors is missing; train it first"),
        ("first-{number}/baseline", {}, "only {without} and {seed} change"),
    ],
)
def test_who_may_have_heard_the_test_is_not_asked(opened, teachers, teacher, settings, said):
    if teacher.startswith("all"):
        stations.train_baseline(
            opened("all-without-b-0", splits__labeled="all", splits__leave_out="b")
        )
    if teacher.startswith("changed"):
        shutil.copytree(teachers[0].folder, opened.home / "changed-0", dirs_exist_ok=True)
        opened("changed-0", front_end__mels=28)
    run = opened("refused", distillation__teachers=names(opened, teacher), **settings)
    if not said:
        assert named_teachers(run) == [(opened.home / "all-without-b-0", "baseline")]
        return
    with pytest.raises(InputError, match=r"distillation\.teachers") as caught:
        named_teachers(run)
    assert said in str(caught.value)


@pytest.mark.parametrize("settings", [{"splits__labeled": "all"}, {"splits__softly": "both"}])
def test_a_student_may_hear_the_recordings_of_finetune_as_well(opened, teachers, settings):
    told = names(opened, "first-0/baseline")
    run = opened("paper's", distillation__teachers=told)
    assert len(stations.label_softly(run)) == len(stations.load_corpus(run).of("pretrain"))
    run = opened("paper's", distillation__teachers=told, **settings)
    corpus = stations.load_corpus(run)
    records = sorted([*corpus.of("pretrain").record, *corpus.of("finetune").record])
    assert sorted(stations.label_softly(run).record) == records
