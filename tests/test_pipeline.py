"""The stages, end to end: what they leave, what they skip, and what they must not know."""

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
from safetensors import safe_open
from safetensors.torch import load_file

from hsutils import pipeline
from hsutils.config import Profile, load_profile, parse_profile
from hsutils.data.corpus import load_corpus
from hsutils.data.splits import SPLITS
from hsutils.errors import InputError
from hsutils.evaluation import tables
from hsutils.models.build import MODELS
from hsutils.models.compact import CompactCNN
from hsutils.run import Run, open_run
from hsutils.studies.seeds import is_trained
from hsutils.training import loop
from hsutils.training.checkpoints import copy_state, save_weights
from hsutils.training.datasets import examples_of
from hsutils.training.loop import Trained

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:split lists:UserWarning"),
]

WEIGHTS = [f"{name}.safetensors" for name in ("encoder", *MODELS)]
PREDICTIONS = [f"predictions/{model}-{split}.csv" for model in MODELS for split in ("dev", "test")]
NUMBERS = [*WEIGHTS, *PREDICTIONS, "soft_labels.csv"]
finish = pipeline.train_all


class Killed(Exception):
    """Stands for whatever may stop a process."""


def digests(run: Run, files: list[str]) -> dict[str, str]:
    """Of each file's content; of weights, of the tensors, since metadata have no fixed order."""
    found = {}
    for file in files:
        content = run.path(file).read_bytes()
        if file.endswith(".safetensors"):
            tensors = sorted(load_file(run.path(file)).items())
            content = b"".join(name.encode() + t.numpy().tobytes() for name, t in tensors)
        found[file] = hashlib.sha256(content).hexdigest()
    return found


def start(folder: Path, data: Path, **changes) -> Run:
    """A tiny run on the recordings in a folder."""
    where = {"data.folder": str(data / "recordings"), "splits.lists": str(data)}
    return open_run("small", folder, TINY_SETTINGS | where | changes)


@pytest.fixture(scope="module")
def finished(tiny_data, tmp_path_factory) -> Run:
    """An undisturbed run."""
    run = start(tmp_path_factory.mktemp("finished"), tiny_data)
    finish(run)
    return run


@pytest.fixture
def copied(finished, tiny_data, tmp_path) -> Callable[..., Run]:
    """Opens a copy of the undisturbed run with changed settings."""
    shutil.copytree(finished.folder, tmp_path / "run")
    return lambda **changes: start(tmp_path / "run", tiny_data, **changes)


def untrained(monkeypatch, seen: dict | None = None) -> None:
    """Let trainings end at once, and note the weights and examples they were given."""
    history = pd.DataFrame({"epoch": [1], "loss": [0.0], "dev_auroc": [0.5], "seconds": [0.0]})

    def train(model, examples, *rest):
        if seen is not None:
            seen[rest[-2].name] = copy_state(model), examples
        return Trained(history)

    monkeypatch.setattr(pipeline, "pretrain", train)
    monkeypatch.setattr(pipeline, "fit", train)


def said(capsys, what: str) -> list[str]:
    """The models of which the pipeline said so."""
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


def test_nothing_but_the_cache_is_written_outside_the_run_folder(finished, tiny_data):
    assert {path.name for path in tiny_data.iterdir()} == {
        "recordings",
        *(f"{s}.txt" for s in SPLITS),
    }


@pytest.mark.parametrize("model", MODELS)
def test_saved_predictions_are_those_of_the_saved_weights_in_the_order_of_the_split(
    finished, model
):
    corpus, (network, _) = load_corpus(finished), pipeline.TRAIN[model](finished)
    for split in ("dev", "test"):
        table = pd.read_csv(finished.path(f"predictions/{model}-{split}.csv"))
        assert table[["record", "label"]].equals(corpus.of(split)[["record", "label"]])
        with torch.no_grad():
            logits = network.eval()(corpus.cache.batch(corpus.rows(split)))
        np.testing.assert_allclose(table.logit, logits, rtol=1e-3, atol=1e-5)


def test_soft_labels_are_the_sigmoid_of_the_teachers_logits_for_every_pretrain_recording(finished):
    table = pipeline.label_softly(finished)
    assert list(table) == ["record", "logit", "soft_label"]
    corpus, (teacher, _) = load_corpus(finished), pipeline.fine_tune_teacher(finished)
    assert table.record.tolist() == corpus.of("pretrain").record.tolist()
    np.testing.assert_allclose(table.soft_label, torch.sigmoid(torch.tensor(table.logit)), 1e-6)
    with torch.no_grad():
        logits = teacher.eval()(corpus.cache.batch(corpus.rows("pretrain")))
    np.testing.assert_allclose(table.logit, logits, rtol=1e-3, atol=1e-5)


def test_histories_stand_beside_the_weights(finished):
    histories = pipeline.load_histories(finished)
    assert list(histories) == ["encoder", *MODELS]
    for model, history in histories.items():
        assert history.epoch.tolist() == [1, 2]
        measured = ["loss", "seconds"] if model == "encoder" else ["loss", "dev_auroc", "seconds"]
        assert history[measured].notna().all(axis=None), model


def test_weights_carry_the_profile_they_were_trained_with(finished):
    for name in ("encoder", *MODELS):
        with safe_open(finished.path(f"{name}.safetensors"), framework="pt") as file:
            about = file.metadata()
        assert about["model"] == name
        assert parse_profile(about["profile"], name) == finished.profile.portable()


# What a rerun skips


def test_a_rerun_trains_nothing_predicts_nothing_and_says_so(copied, monkeypatch, capsys):
    run = copied()
    before = digests(run, NUMBERS)
    for name in ("pretrain", "fit", "predict"):
        monkeypatch.setattr(pipeline, name, None)
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
        ({"networks.cnn": "compact", "networks.width": 4}, ["student", "baseline"]),
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


def test_what_decides_how_examples_are_drawn_retrains(tiny_data, tmp_path, monkeypatch):
    """Masks, the databases of an even sampling, and the rows from which random numbers start."""
    seen, table = {}, tmp_path / "table.csv"
    untrained(monkeypatch, seen)
    paths = sorted((tiny_data / "recordings").rglob("*.wav"))[:18]
    lines = pd.DataFrame({"path": paths, "label": [0, 1] * 9, "database": ["a", "a", "b"] * 6})
    lines["split"] = [
        "",
        *["pretrain", "pretrain", "finetune", "finetune", "dev", "dev", "test", "test"],
    ] * 2

    def retrains(lines: pd.DataFrame, **changes) -> bool:
        lines.to_csv(table, index=False)
        given = {"data.source": "table", "data.folder": str(table)}
        drawn = {"baseline.sampling": "even", "baseline.masks": True}
        run = open_run("small", tmp_path / "run", TINY_SETTINGS | given | drawn | changes)
        pipeline.train_baseline(run)
        return bool(seen.pop("baseline", None))

    assert retrains(lines) and not retrains(lines)
    assert retrains(lines, **{"augment.masked_share": 0.9})
    assert retrains(lines.assign(database="a")) and retrains(lines)
    assert retrains(lines[lines.split != ""])
    crops = {"baseline.masks": False, "baseline.sampling": "each once", "networks.cnn": "compact"}
    crops["baseline.crop_seconds"] = 1.0
    assert retrains(lines, **crops) and retrains(lines[lines.split != ""], **crops)


@pytest.mark.parametrize(
    ("missing", "trained"),
    [
        ("student.safetensors", ["student"]),
        ("teacher.json", ["teacher", "student"]),  # whose soft labels are then other ones
        ("predictions/student-test.csv", []),
    ],
)
def test_what_is_deleted_is_made_again(copied, monkeypatch, capsys, missing, trained):
    run = copied()
    run.path(missing).unlink()
    untrained(monkeypatch)
    finish(run)
    assert said(capsys, ": trained, ") == trained and run.path(missing).is_file()


def test_an_edited_list_changes_the_splits_and_retrains_what_depends_on_them(
    finished, tiny_data, tmp_path, monkeypatch, capsys
):
    shutil.copytree(tiny_data, tmp_path / "data")
    run = start(tmp_path / "run", tiny_data, **{"splits.lists": str(tmp_path / "data")})
    shutil.copytree(finished.folder, run.folder, dirs_exist_ok=True)
    lists = tmp_path / "data" / "pretrain.txt"
    lists.write_text("\n".join(lists.read_text().split()[1:]))
    untrained(monkeypatch)
    finish(run)
    assert len(load_corpus(run).of("pretrain")) == 23
    assert said(capsys, ": trained, ") == ["encoder", *MODELS]


def test_the_teacher_labels_the_pretrain_set_once(copied, monkeypatch):
    run = copied()
    for file in ("soft_labels.csv", "student.safetensors", "baseline.safetensors"):
        run.path(file).unlink()
    asked, predict = [], pipeline.predict
    monkeypatch.setattr(pipeline, "predict", lambda *a: asked.append(len(a[2])) or predict(*a))
    finish(run)
    size = len(load_corpus(run).rows("pretrain"))
    assert asked.count(size) == 1


# What distillation is


def test_student_and_baseline_differ_in_their_targets_only(copied, monkeypatch):
    seen = {}
    untrained(monkeypatch, seen)
    run = copied(**{"student.weight_decay": 0.1, "baseline.weight_decay": 0.1})
    finish(run)
    (student, soft), (baseline, true) = seen["student"], seen["baseline"]
    assert all(torch.equal(student[name], baseline[name]) for name in student)
    assert true.targets.tolist() == load_corpus(run).of("pretrain").label.tolist()
    expected = pipeline.label_softly(run).soft_label.to_numpy(np.float32)
    np.testing.assert_array_equal(soft.targets, expected)


@pytest.fixture
def other_test(tiny_data, tmp_path) -> Path:
    """The data with other sounds and labels in the split *test*."""
    other = relabeled(tiny_data, tmp_path / "other", "test")
    for record in (other / "test.txt").read_text().split():
        (wav,) = other.glob(f"recordings/*/{record}.wav")
        seed = int(record[1:])
        noise = np.random.default_rng(seed).normal(0, 5_000, 4_000).astype(np.int16)
        soundfile.write(wav, noise, 2_000)
    return other


def changed(run: Run, finished: Run, model: str) -> set[str]:
    """The numbers of one model that are not those of the undisturbed run."""
    files = [file for file in NUMBERS if model in file]
    found, before = digests(run, files), digests(finished, files)
    return {file for file in files if found[file] != before[file]}


def test_nothing_of_the_baseline_is_chosen_by_the_test_split(finished, other_test, tmp_path):
    run = start(tmp_path / "run", other_test)
    pipeline.train_baseline(run)
    assert changed(run, finished, "baseline") == {"predictions/baseline-test.csv"}


def test_teacher_and_student_know_neither_pretrain_labels_nor_the_test_split(
    finished, other_test, tmp_path
):
    run = start(tmp_path / "run", relabeled(other_test, tmp_path / "data", "pretrain"))
    finish(run)
    for model in ("teacher", "student"):
        assert changed(run, finished, model) == {f"predictions/{model}-test.csv"}
    assert not changed(run, finished, "encoder") | changed(run, finished, "soft_labels")
    assert "baseline.safetensors" in changed(run, finished, "baseline")


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
    ("in the middle of the second epoch of pre-training", loop, "nt_xent", 4),
    ("between the encoder's weights and their note", Run, "_write_note", 1),
    ("in fine-tuning", loop, "soft_label_bce", 2),
    ("while the teacher predicts", pipeline, "_predict", 2),
    ("while the teacher labels", pipeline, "_predict", 2),
    ("in the student's second epoch", loop, "soft_label_bce", 4),
    ("before the student's weights are saved", pipeline, "save_weights", 1),
    ("in the baseline's first epoch", loop, "soft_label_bce", 2),
    ("in the baseline's second epoch", loop, "soft_label_bce", 4),
    ("before the last prediction is noted", pipeline, "_predict", 2),
)


def test_a_run_killed_again_and_again_ends_with_the_numbers_of_an_undisturbed_one(
    finished, tiny_data, tmp_path, monkeypatch
):
    for when, owner, name, call in INTERRUPTIONS:
        with monkeypatch.context() as patch:
            killing(patch, owner, name, call)
            with pytest.raises(Killed):
                finish(start(tmp_path / "run", tiny_data))
                pytest.fail(f"the run was not killed {when}")
    run = start(tmp_path / "run", tiny_data)
    finish(run)
    assert digests(run, NUMBERS) == digests(finished, NUMBERS)


# Beyond the paper

NATIVE = {
    **{"networks.cnn": "compact", "networks.width": 4, "front_end.scaling": "band mean"},
    **{"front_end.offset": 0.0, "front_end.scale": 1.0, "front_end.bits": 9},
    **{f"{s}.sampling": "even" for s in ("finetune", "student", "baseline")},
    **{f"{s}.crop_seconds": 1.0 for s in ("finetune", "student", "baseline")},
    **{f"{s}.masks": True for s in ("student", "baseline")},
    **{"augment.pair": "crops", "augment.crop_seconds": 1.0, "augment.simulate_devices": True},
    **{"pretrain.epochs": 1, "finetune.epochs": 1},
}


@pytest.fixture(scope="module")
def native(tiny_data, tmp_path_factory) -> Run:
    """All that goes beyond the paper, together."""
    run = start(tmp_path_factory.mktemp("native"), tiny_data, **NATIVE)
    finish(run)
    return run


def test_a_compact_student_goes_through_all_stages_and_repeats(native, tiny_data, tmp_path):
    student, _ = pipeline.distill_student(native)
    assert isinstance(student, CompactCNN)
    again = start(tmp_path / "again", tiny_data, **NATIVE)
    finish(again)
    assert digests(again, NUMBERS) == digests(native, NUMBERS)


def test_even_sampling_of_a_student_does_not_reveal_true_labels(native):
    """Strata come from its targets, whatever the labels are."""
    corpus = load_corpus(native)
    targets = np.linspace(0, 1, len(corpus.of("pretrain")))
    strata = examples_of(native, corpus, "student", "pretrain", targets).strata
    assert set(pd.Series(strata).str[1:]) == {"True", "False"}
    assert [s.endswith("True") for s in strata] == (targets > 0.5).tolist()


@pytest.mark.parametrize("left_out", ["", "b"])
def test_all_labels_are_those_of_pretrain_finetune_and_an_unused_test_set(
    tiny_data, tmp_path, left_out
):
    of, every = {"splits.leave_out": left_out}, {"splits.labeled": "all"}
    whole = load_corpus(start(tmp_path / "whole", tiny_data))
    few = load_corpus(start(tmp_path / "few", tiny_data, **of))
    more = load_corpus(start(tmp_path / "more", tiny_data, **of, **every))
    assert few.of("labeled").equals(few.of("finetune"))
    assert few.of("unlabeled").equals(few.of("pretrain"))
    both = {*few.of("pretrain").record, *few.of("finetune").record}
    gained = {*more.of("labeled").record} - both
    assert bool(gained) == bool(left_out) and gained <= {*whole.of("test").record}
    assert both <= {*more.of("labeled").record} == {*more.of("unlabeled").record}
    for split in ("dev", "test"):
        assert more.of(split).record.tolist() == few.of(split).record.tolist()
    assert not {*more.of("test").group} & {*more.of("labeled").group}


def test_with_all_labels_teacher_and_baseline_are_trained_with_the_same(
    tiny_data, tmp_path, monkeypatch
):
    run, seen = start(tmp_path / "run", tiny_data, **{"splits.labeled": "all"}), {}
    untrained(monkeypatch, seen)
    pipeline.fine_tune_teacher(run)
    pipeline.train_baseline(run)
    corpus = load_corpus(run)
    rows = [set(seen[name][1].rows) for name in ("finetune", "baseline")]
    assert rows == [set(corpus.rows("labeled"))] * 2
    assert not rows[0] & {*corpus.rows("dev"), *corpus.rows("test")}


def test_synthetic_recordings_count_as_databases_of_their_own(tiny_data, tmp_path, monkeypatch):
    seen = {}
    untrained(monkeypatch, seen)
    settings = {
        **{"baseline.synthetic": 2, "baseline.crop_seconds": 0.5, "baseline.sampling": "even"},
        **{"synthetic.recordings": 12, "synthetic.seconds": 2.0},
        **{"synthetic.folder": str(tmp_path / "synthetic"), "networks.cnn": "compact"},
    }
    run = start(tmp_path / "run", tiny_data, **settings)
    pipeline.train_baseline(run)
    _, examples = seen.pop("baseline")
    assert {f"artificial {n}{positive}" for n in (0, 1) for positive in (True, False)} < set(
        examples.strata
    )
    assert [examples[(len(examples) - 1 - i, 0)][1].item() for i in range(12)] == [1, 0] * 6
    pipeline.train_baseline(run)
    assert not seen, "trained again"
    settings["synthetic.recordings"] = 14
    pipeline.train_baseline(start(tmp_path / "run", tiny_data, **settings))
    assert "baseline" in seen


def test_a_diverging_training_stops_in_that_epoch_and_leaves_nothing_done(tiny_data, tmp_path):
    run = start(tmp_path / "run", tiny_data, **{"pretrain.learning_rate": 1e37})
    expected = r"pretrain: the loss became NaN or infinite in epoch [12]; lower pretrain"
    with pytest.raises(InputError, match=expected):
        pipeline.fine_tune_teacher(run)
    assert not run.path("encoder.safetensors").exists() and not run.note("encoder.safetensors")
    pipeline.pretrain_teacher(start(tmp_path / "run", tiny_data))


@pytest.mark.parametrize("file", ["splits.csv", "soft_labels.csv", "student.safetensors"])
def test_damaged_results_are_made_again(copied, finished, file):
    run = copied()
    content = bytearray(run.path(file).read_bytes())
    content[-20] ^= 1
    run.path(file).write_bytes(content)
    pipeline.train_all(run)
    assert digests(run, [file, *NUMBERS]) == digests(finished, [file, *NUMBERS])


def test_other_weights_are_predicted_with_again(copied):
    """As if the same inputs had given them, say with another number of threads."""
    run = copied()
    for name in ("teacher", "baseline"):
        file, note = f"{name}.safetensors", run.note(f"{name}.safetensors")
        halved = {
            k: t / 2 if t.is_floating_point() else t for k, t in load_file(run.path(file)).items()
        }
        facts = {"history": note["history"]}
        run.store(
            file,
            note["fingerprint"],
            lambda path, w=halved, f=facts: save_weights(path, w, {}) or f,
        )
    assert not is_trained(run, ["baseline"]) and is_trained(run, ["student"])
    pipeline.train_all(run)
    assert is_trained(run, MODELS)
    for name in MODELS:
        test_saved_predictions_are_those_of_the_saved_weights_in_the_order_of_the_split(run, name)
    test_soft_labels_are_the_sigmoid_of_the_teachers_logits_for_every_pretrain_recording(run)


# Results


def test_tables_are_what_evaluation_gives_from_the_saved_predictions(copied, monkeypatch):
    run = copied()
    monkeypatch.setattr(Profile, "is_the_papers", True)
    made = pipeline.write_results(run)
    dev, test = (
        {m: pipeline.load_predictions(run, m, split) for m in MODELS} for split in ("dev", "test")
    )
    pd.testing.assert_frame_equal(made["table_1"], tables.table_1(dev).round(4))
    pd.testing.assert_frame_equal(made["errors"], tables.errors(test))
    assert len(made["summary"]) == 6
    history = made["history"]
    assert list(zip(history.model, history.epoch, strict=True)) == [
        (name, epoch) for name in ("encoder", *MODELS) for epoch in (1, 2)
    ]
    for name, table in made.items():
        saved_table = pd.read_csv(run.path(f"tables/{name}.csv"))
        pd.testing.assert_frame_equal(saved_table, table, check_dtype=False)
    # The paper's numbers never stand beside other recordings.
    assert [c for c in made["table_1"] if "paper" in c]
    monkeypatch.setattr(Profile, "is_the_papers", False)
    made = pipeline.write_results(run)
    assert not [c for table in made.values() for c in table if "paper" in c]


@pytest.mark.parametrize(
    "change",
    ["data.recordings=30", "data.more=a.csv", "splits.method=generated", "splits.leave_out=a"],
)
def test_only_all_recordings_and_the_published_lists_are_the_papers(change):
    assert load_profile("paper").is_the_papers
    assert not load_profile("paper", [change]).is_the_papers
    assert not load_profile("demo").is_the_papers


def test_features_are_those_of_the_encoder_in_the_order_of_the_split(finished):
    corpus, (teacher, _) = load_corpus(finished), pipeline.fine_tune_teacher(finished)
    features = pipeline.embed(finished, corpus, teacher, "dev")
    with torch.no_grad():
        expected = teacher.encoder.eval()(corpus.cache.batch(corpus.rows("dev")))
    assert features.shape == (len(corpus.of("dev")), 512)
    np.testing.assert_allclose(features, expected, rtol=1e-3, atol=1e-5)
