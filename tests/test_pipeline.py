"""The seven stations, end to end: what they leave, what they skip, and what they must not know."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from conftest import TINY_SETTINGS

from hsutils import pipeline as stations
from hsutils.training import loop as training
from hsutils.training.checkpoints import copy_state
from hsutils.models.compact import CompactCNN
from hsutils.training.examples import examples_of
from hsutils.experiment import Run, open_run
from hsutils.files import read_json
from hsutils.predict import classify
from hsutils.data.splits import SPLITS
from hsutils.pipeline import MODELS
from hsutils.training.loop import Trained

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:split lists:UserWarning"),
]

WEIGHTS = [f"{name}.safetensors" for name in ("encoder", *MODELS)]
PREDICTIONS = [f"predictions/{model}-{split}.csv" for model in MODELS for split in ("dev", "test")]
NUMBERS = [*WEIGHTS, *PREDICTIONS, "soft_labels.csv"]


class Killed(Exception):
    """Stands for whatever may stop a process."""


def finish(run: Run) -> None:
    """All stations, and so all that the run folder holds."""
    for split in ("dev", "test"):
        stations.load_predictions(run, split)


def digests(run: Run, files: list[str]) -> dict[str, str]:
    return {file: hashlib.sha256(run.path(file).read_bytes()).hexdigest() for file in files}


@pytest.fixture(scope="module")
def data(tiny_data) -> Path:
    return tiny_data


def start(folder: Path, data: Path, **changes) -> Run:
    """A tiny run on the recordings in a folder."""
    where = {"data.folder": str(data / "recordings"), "splits.lists": str(data)}
    return open_run("demo", folder, TINY_SETTINGS | where | changes)


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory) -> Run:
    """An undisturbed run."""
    run = start(tmp_path_factory.mktemp("finished"), data)
    finish(run)
    return run


@pytest.fixture
def copied(finished, data, tmp_path) -> Callable[..., Run]:
    """Opens a copy of the undisturbed run with changed settings."""
    shutil.copytree(finished.folder, tmp_path / "run")
    return lambda **changes: start(tmp_path / "run", data, **changes)


def untrained(monkeypatch, seen: dict | None = None) -> None:
    """Let trainings end at once, and note the weights and targets they were given."""
    history = pd.DataFrame({"epoch": [1], "loss": [0.0], "dev_auroc": [0.5], "seconds": [0.0]})

    def train(model, examples, *rest):
        if seen is not None:
            name = rest[-2].name
            seen[name] = copy_state(model), getattr(examples, "targets", None)
        return Trained(history)

    monkeypatch.setattr(stations, "pretrain", train)
    monkeypatch.setattr(stations, "fit", train)


def said(capsys, what: str) -> list[str]:
    """The models of which the stations said so."""
    return [line.split(":")[0] for line in capsys.readouterr().out.splitlines() if what in line]


def relabeled(data: Path, target: Path, split: str) -> Path:
    """A copy of the data with every label of one split turned round."""
    shutil.copytree(data, target)
    records = (target / f"{split}.txt").read_text().split()
    for reference in target.glob("recordings/training-?/REFERENCE*.csv"):
        table = pd.read_csv(reference, header=None)
        table.loc[table[0].isin(records), 1] *= -1
        table.to_csv(reference, header=False, index=False)
    return target


# What a run leaves


def test_a_finished_run_holds_the_files_of_every_station(finished):
    expected = ["experiment.toml", "environment.json", "recordings.csv", "splits.csv", *NUMBERS]
    assert [file for file in expected if not finished.path(file).is_file()] == []
    assert not list(finished.path("checkpoints").iterdir())


def test_nothing_but_the_cache_is_written_outside_the_run_folder(finished, data):
    assert {path.name for path in data.iterdir()} == {"recordings", *(f"{s}.txt" for s in SPLITS)}


def test_predictions_are_of_their_split_in_order_with_its_labels(finished):
    corpus = stations.load_corpus(finished)
    for model in MODELS:
        for split in ("dev", "test"):
            table = pd.read_csv(finished.path(f"predictions/{model}-{split}.csv"))
            expected = corpus.of(split)[["record", "label"]]
            pd.testing.assert_frame_equal(table[["record", "label"]], expected)
            assert list(table) == ["record", "label", "logit"]
            assert np.isfinite(table.logit).all()


def test_soft_labels_are_the_sigmoid_of_the_teachers_logits_for_every_pretrain_recording(finished):
    table = stations.label_softly(finished)
    assert list(table) == ["record", "logit", "soft_label"]
    corpus = stations.load_corpus(finished)
    assert table.record.tolist() == corpus.of("pretrain").record.tolist()
    np.testing.assert_allclose(table.soft_label, torch.sigmoid(torch.tensor(table.logit)), 1e-6)
    teacher, _ = stations.fine_tune_teacher(finished)
    with torch.no_grad():
        logits = teacher.eval()(corpus.cache.batch(corpus.rows("pretrain")))
    np.testing.assert_allclose(table.logit, logits, rtol=1e-3, atol=1e-5)


def test_saved_predictions_are_those_of_the_saved_weights(finished):
    corpus = stations.load_corpus(finished)
    loaders = (stations.fine_tune_teacher, stations.distill_student, stations.train_baseline)
    for model, load in zip(MODELS, loaders, strict=True):
        network, _ = load(finished)
        with torch.no_grad():
            logits = network.eval()(corpus.cache.batch(corpus.rows("test")))
        saved = pd.read_csv(finished.path(f"predictions/{model}-test.csv")).logit
        np.testing.assert_allclose(saved, logits, rtol=1e-3, atol=1e-5)


def test_histories_stand_beside_the_weights(finished):
    for model, history in stations.load_histories(finished).items():
        assert history.epoch.tolist() == [1, 2]
        assert history[["loss", "dev_auroc", "seconds"]].notna().all(axis=None), model
    assert len(read_json(finished.path("encoder.json"))["history"]) == 2


def test_splits_share_the_recordings_out(finished):
    corpus = stations.load_corpus(finished)
    rows = np.concatenate([corpus.rows(split) for split in SPLITS])
    assert sorted(rows) == list(range(36))
    examples = corpus.labeled("test")
    assert examples.targets.tolist() == corpus.of("test").label.tolist()


# What a rerun skips


def test_a_rerun_trains_nothing_predicts_nothing_and_says_so(copied, monkeypatch, capsys):
    run = copied()
    before = digests(run, NUMBERS)
    for name in ("pretrain", "fit", "predict"):
        monkeypatch.setattr(stations, name, None)
    finish(run)
    assert digests(run, NUMBERS) == before
    assert set(said(capsys, ": loaded from ")) == {"encoder", *MODELS}


@pytest.mark.parametrize(
    ("change", "trained"),
    [
        ({"augment.time_masks": 4}, ["encoder", "teacher", "student"]),
        ({"pretrain.temperature": 0.08}, ["encoder", "teacher", "student"]),
        ({"finetune.weight_decay": 0.02}, ["teacher", "student"]),
        ({"student.learning_rate": 1e-2}, ["student"]),
        ({"baseline.weight_decay": 0.1}, ["baseline"]),
        ({"front_end.floor": 1e-10}, ["encoder", *MODELS]),
        ({"seed": 1}, ["encoder", *MODELS]),
        ({"compute.workers": 1, "name": "renamed"}, []),
    ],
)
def test_a_changed_setting_retrains_exactly_what_depends_on_it(
    copied, monkeypatch, capsys, change, trained
):
    untrained(monkeypatch)
    finish(copied(**change))
    assert said(capsys, ": trained, ") == trained


@pytest.mark.parametrize(
    ("missing", "trained"),
    [("student.safetensors", ["student"]), ("teacher.json", ["teacher"])],
)
def test_what_is_deleted_is_made_again(copied, monkeypatch, capsys, missing, trained):
    run = copied()
    run.path(missing).unlink()
    untrained(monkeypatch)
    finish(run)
    assert said(capsys, ": trained, ") == trained


def test_an_edited_list_changes_the_splits_and_retrains_what_depends_on_them(
    finished, data, tmp_path, monkeypatch, capsys
):
    shutil.copytree(data, tmp_path / "data")
    run = start(tmp_path / "run", data, **{"splits.lists": str(tmp_path / "data")})
    shutil.copytree(finished.folder, run.folder, dirs_exist_ok=True)
    lists = tmp_path / "data" / "pretrain.txt"
    lists.write_text("\n".join(lists.read_text().split()[1:]))
    untrained(monkeypatch)
    finish(run)
    assert len(stations.load_corpus(run).of("pretrain")) == 23
    assert said(capsys, ": trained, ") == ["encoder", *MODELS]


def test_a_deleted_prediction_is_made_again_without_training(copied, capsys):
    run = copied()
    before = digests(run, NUMBERS)
    run.path("predictions/student-test.csv").unlink()
    finish(run)
    assert digests(run, NUMBERS) == before
    assert said(capsys, ": trained, ") == []


def test_the_teacher_labels_the_pretrain_set_once(copied, monkeypatch):
    run = copied()
    for file in ("soft_labels.csv", "student.safetensors", "baseline.safetensors"):
        run.path(file).unlink()
    asked, predict = [], stations.predict
    monkeypatch.setattr(stations, "predict", lambda *a: asked.append(len(a[2])) or predict(*a))
    finish(run)
    size = len(stations.load_corpus(run).rows("pretrain"))
    assert asked.count(size) == 1


# What distillation is


def test_student_and_baseline_differ_in_their_targets_only(copied, monkeypatch):
    seen = {}
    untrained(monkeypatch, seen)
    run = copied(**{"student.weight_decay": 0.1, "baseline.weight_decay": 0.1})
    finish(run)
    (student, soft), (baseline, labels) = seen["student"], seen["baseline"]
    assert all(torch.equal(student[name], baseline[name]) for name in student)
    pretrain = stations.load_corpus(run).of("pretrain")
    assert labels.tolist() == pretrain.label.tolist()
    expected = stations.label_softly(run).soft_label.to_numpy(np.float32)
    np.testing.assert_array_equal(soft, expected)


def test_teacher_and_student_never_learn_a_pretrain_label(finished, data, tmp_path):
    poisoned = start(tmp_path / "run", relabeled(data, tmp_path / "data", "pretrain"))
    finish(poisoned)
    unchanged = ["encoder.safetensors", "teacher.safetensors", "student.safetensors"]
    unchanged.append("soft_labels.csv")
    assert digests(poisoned, unchanged) == digests(finished, unchanged)
    learned = ["baseline.safetensors"]
    assert digests(poisoned, learned) != digests(finished, learned)


def test_nothing_is_chosen_by_the_test_split(finished, data, tmp_path):
    other = relabeled(data, tmp_path / "data", "test")
    for record in (other / "test.txt").read_text().split():
        (wav,) = other.glob(f"recordings/*/{record}.wav")
        seed = int(record[1:])
        noise = np.random.default_rng(seed).normal(0, 5_000, 4_000).astype(np.int16)
        soundfile.write(wav, noise, 2_000)
    poisoned = start(tmp_path / "run", other)
    finish(poisoned)
    known = [file for file in NUMBERS if "test" not in file]
    assert digests(poisoned, known) == digests(finished, known)
    for model in MODELS:
        file = f"predictions/{model}-test.csv"
        assert digests(poisoned, [file]) != digests(finished, [file])


# What survives a kill


def killing(monkeypatch, owner: object, name: str, call: int) -> None:
    function, calls = getattr(owner, name), []

    def failing(*arguments, **keywords):
        calls.append(1)
        if len(calls) == call:
            raise Killed
        return function(*arguments, **keywords)

    monkeypatch.setattr(owner, name, failing)


INTERRUPTIONS = (
    ("in the middle of the second epoch of pre-training", training, "nt_xent", 4),
    ("between the encoder's weights and their note", Run, "mark_done", 1),
    ("in fine-tuning", training, "soft_label_bce", 2),
    ("while the teacher predicts", stations, "_predict", 2),
    ("while the teacher labels", stations, "_predict", 2),
    ("in the student's second epoch", training, "soft_label_bce", 4),
    ("before the student's weights are saved", stations, "save_weights", 1),
    ("in the baseline's first epoch", training, "soft_label_bce", 2),
    ("in the baseline's second epoch", training, "soft_label_bce", 4),
    ("before the last prediction is noted", stations, "_predict", 2),
)


def test_a_run_killed_again_and_again_ends_with_the_numbers_of_an_undisturbed_one(
    finished, data, tmp_path, monkeypatch
):
    for when, owner, name, call in INTERRUPTIONS:
        with monkeypatch.context() as patch:
            killing(patch, owner, name, call)
            with pytest.raises(Killed):
                finish(start(tmp_path / "run", data))
                pytest.fail(f"the run was not killed {when}")
    run = start(tmp_path / "run", data)
    finish(run)
    assert digests(run, NUMBERS) == digests(finished, NUMBERS)


def test_a_file_without_its_note_is_made_again(copied, monkeypatch):
    """A kill between file and note must not let an older note vouch for the newer file."""
    run = copied(**{"student.learning_rate": 1e-2})
    original = digests(run, ["student.safetensors"])
    with monkeypatch.context() as patch, pytest.raises(Killed):
        killing(patch, Run, "mark_done", 1)
        stations.distill_student(run)
    assert digests(run, ["student.safetensors"]) != original
    stations.distill_student(copied())
    assert digests(run, ["student.safetensors"]) == original


# Beyond the paper

NATIVE = {
    **{"networks.cnn": "compact", "networks.width": 4, "front_end.scaling": "band mean"},
    **{"front_end.offset": 0.0, "front_end.scale": 1.0, "front_end.bits": 9},
    **{f"{s}.sampling": "even" for s in ("finetune", "student", "baseline")},
    **{f"{s}.crop_seconds": 1.0 for s in ("finetune", "student", "baseline")},
    **{f"{s}.masks": True for s in ("student", "baseline")},
    **{"augment.pair": "crops", "augment.crop_seconds": 1.0, "augment.sensor": True},
    "baseline.sensor": True,
}


@pytest.fixture(scope="module")
def native(data, tmp_path_factory) -> Run:
    """All that goes beyond the paper, together."""
    run = start(tmp_path_factory.mktemp("native"), data, **NATIVE)
    finish(run)
    return run


def test_a_compact_student_goes_through_all_stations_and_repeats(native, data, tmp_path):
    student, _ = stations.distill_student(native)
    assert isinstance(student, CompactCNN)
    again = start(tmp_path / "again", data, **NATIVE)
    finish(again)
    assert digests(again, NUMBERS) == digests(native, NUMBERS)


def test_the_command_predicts_with_a_compact_student(native):
    recordings = stations.load_recordings(native).set_index("record")
    expected = pd.read_csv(native.path("predictions/student-test.csv"))
    table = classify([recordings.path[expected.record[0]]], native.folder)
    assert table.logit[0] == pytest.approx(expected.logit[0], abs=0.02)


def test_another_network_is_trained_anew_and_the_teacher_is_not(copied, capsys):
    run = copied(**{"networks.cnn": "compact", "networks.width": 4})
    capsys.readouterr()
    stations.distill_student(run)
    shown = capsys.readouterr().out
    assert "student: trained" in shown and "teacher: trained" not in shown


def test_even_sampling_of_a_student_does_not_betray_true_labels(native):
    """Strata come from what it is told, whatever the truth may be."""
    corpus = stations.load_corpus(native)
    targets = np.linspace(0, 1, len(corpus.of("pretrain")))
    strata = examples_of(native, corpus, "student", "pretrain", targets).strata
    assert set(pd.Series(strata).str[1:]) == {"True", "False"}
    assert [s.endswith("True") for s in strata] == (targets > 0.5).tolist()


def test_all_labels_may_be_learned_from_or_a_share_of_them(data, tmp_path):
    few = stations.load_corpus(start(tmp_path / "few", data))
    every = stations.load_corpus(start(tmp_path / "all", data, **{"splits.labeled": "all"}))
    half = {"splits.labeled": "all", "splits.label_share": 0.5}
    part = stations.load_corpus(start(tmp_path / "half", data, **half))
    assert few.of("labeled").equals(few.of("finetune"))
    both = {*few.of("pretrain").record, *few.of("finetune").record}
    assert set(every.of("labeled").record) == both
    assert set(part.of("labeled").record) < both
    assert len(part.of("labeled")) == pytest.approx(len(both) / 2, abs=6)
    strata = [set(map(tuple, c.of("labeled")[["database", "label"]].to_numpy()))
              for c in (every, part)]  # fmt: skip
    assert strata[0] == strata[1], "every database and class is kept"


def test_with_all_labels_and_a_database_left_out_the_others_test_labels_are_learned(data, tmp_path):
    of = {"splits.leave_out": "b"}
    few = stations.load_corpus(start(tmp_path / "few", data, **of))
    every = stations.load_corpus(start(tmp_path / "all", data, **of, **{"splits.labeled": "all"}))
    whole = stations.load_corpus(start(tmp_path / "whole", data))
    gained = set(every.of("labeled").record) - set(few.of("finetune").record)
    gained -= set(few.of("pretrain").record)
    assert gained and gained <= set(whole.of("test").record)
    for split in ("dev", "test"):
        assert every.of(split).record.tolist() == few.of(split).record.tolist()
    assert not set(every.of("test").group) & set(every.of("labeled").group)


def test_with_all_labels_teacher_and_baseline_learn_from_the_same(data, tmp_path, monkeypatch):
    run, heard = start(tmp_path / "run", data, **{"splits.labeled": "all"}), []
    original = stations.fit

    def noting(model, examples, *rest):
        heard.append(set(examples.rows))
        return original(model, examples, *rest)

    monkeypatch.setattr(stations, "fit", noting)
    stations.fine_tune_teacher(run)
    stations.train_baseline(run)
    corpus = stations.load_corpus(run)
    assert heard == [set(corpus.rows("labeled"))] * 2
    assert not heard[0] & {*corpus.rows("dev"), *corpus.rows("test")}


def test_artificial_recordings_are_heard_as_databases_of_their_own(data, tmp_path, monkeypatch):
    heard = {}
    settings = {
        **{"baseline.artificial": 2, "baseline.crop_seconds": 0.5, "baseline.sampling": "even"},
        **{"artificial.recordings": 12, "artificial.seconds": 2.0},
        **{"artificial.folder": str(tmp_path / "artificial"), "networks.cnn": "compact"},
    }
    run = start(tmp_path / "run", data, **settings)
    original = stations.fit

    def noting(model, examples, *rest):
        heard["strata"] = set(examples.strata)
        heard["targets"] = [examples[len(examples) - 1 - i][1].item() for i in range(12)]
        return original(model, examples, *rest)

    monkeypatch.setattr(stations, "fit", noting)
    stations.train_baseline(run)
    artificial = {f"artificial {n}{told}" for n in (0, 1) for told in (True, False)}
    assert artificial < heard["strata"]
    assert heard["targets"] == [1, 0] * 6
    monkeypatch.setattr(stations, "fit", lambda *_: pytest.fail("trained again"))
    stations.train_baseline(run)
    monkeypatch.setattr(stations, "fit", noting)
    stations.train_baseline(start(tmp_path / "run", data, **settings | {"baseline.real": False}))
    assert heard["strata"] == artificial
    monkeypatch.setattr(stations, "fit", lambda *_: pytest.fail("trained again"))
    more = start(tmp_path / "run", data, **settings | {"artificial.recordings": 14})
    with pytest.raises(pytest.fail.Exception, match="trained again"):
        stations.train_baseline(more)
