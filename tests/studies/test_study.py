"""Seeds and variants: what a variant may change, and what it must not train again."""

import shutil
import tomllib

import numpy as np
import pytest
import torch
from conftest import TINY_SETTINGS
from safetensors.torch import load_file

from hsutils.studies import evidence
from hsutils import pipeline as stations
from hsutils.__main__ import main
from hsutils.training.checkpoints import copy_state
from hsutils.training.devices import start_fabric
from hsutils.errors import InputError
from hsutils.experiment import load_experiment
from hsutils.files import read_json, write_json
from hsutils.evaluation.metrics import auroc
from hsutils.models.build import trained_network
from hsutils.studies.study import STATION, Study, parts, train_variants
from hsutils.training.loop import predict
from hsutils.studies.variants import BEYOND, VARIANTS

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:split lists:UserWarning"),
]


def study_in(folder, data, seeds=(0, 1)) -> Study:
    where = {"data.folder": str(data / "recordings"), "splits.lists": str(data)}
    settings = tuple(f"{key}={value}" for key, value in (TINY_SETTINGS | where).items())
    return Study("demo", seeds, settings, str(folder / "tiny"))


@pytest.fixture(scope="module")
def runs(tiny_data, tmp_path_factory) -> Study:
    """Two seeds, finished."""
    study = study_in(tmp_path_factory.mktemp("study"), tiny_data)
    for seed in study.seeds:
        stations.run_all(study.open(seed))
    return study


@pytest.fixture(scope="module")
def own_files(runs) -> dict:
    """What the two runs hold before any variant."""
    paths = [path for seed in runs.seeds for path in runs.folder(seed).rglob("*.*")]
    return {path: path.read_bytes() for path in paths if path.is_file()}


@pytest.fixture(scope="module")
def study(runs, own_files) -> Study:
    """The same with two variants of them."""
    train_variants(runs, ["hard-decisions", "no-pretraining"], tell=lambda _: None)
    return runs


@pytest.fixture(scope="module")
def gathered(study) -> evidence.Evidence:
    return evidence.gather(study)


def changed_fields(variant: str) -> set[str]:
    def flat(experiment) -> dict:
        values = tomllib.loads(experiment.to_toml())
        tables = {k: v for k, v in values.items() if isinstance(v, dict)}
        return {f"{t}.{k}": v for t, part in tables.items() for k, v in part.items()}

    paper = load_experiment("paper")
    before = flat(paper)
    after = flat(load_experiment("paper", VARIANTS[variant].change(paper)))
    return {key for key in before if before[key] != after[key]}


@pytest.mark.parametrize(
    ("variant", "fields"),
    [
        ("few-labels", {"distillation.targets", "student.epochs"}),
        ("hard-decisions", {"distillation.targets"}),
        ("ten-times-the-rate", {"student.learning_rate"}),
        ("a-tenth-of-the-rate", {"student.learning_rate"}),
        ("no-pretraining", {"pretrain.epochs"}),
        ("both-views", {"augment.both_views"}),
        ("early-teacher", {"finetune.epochs"}),
    ],
)
def test_a_variant_changes_what_it_says_and_nothing_else(variant, fields):
    assert changed_fields(variant) == fields


def test_rates_and_steps_follow_the_profile():
    paper, demo = load_experiment("paper"), load_experiment("demo")
    for experiment in (paper, demo):
        rates = [
            load_experiment("paper", VARIANTS[name].change(experiment)).student.learning_rate
            for name in ("ten-times-the-rate", "a-tenth-of-the-rate")
        ]
        own = experiment.student.learning_rate
        assert rates == pytest.approx([10 * own, own / 10])
    few = load_experiment("paper", VARIANTS["few-labels"].change(paper)).student
    assert few.epochs * 400 == pytest.approx(paper.student.epochs * 2040, rel=0.01)


def test_seeds_have_folders_and_weights_of_their_own(study):
    first, second = (study.folder(seed) / "student.safetensors" for seed in study.seeds)
    assert first.read_bytes() != second.read_bytes()


def test_what_a_change_does_not_reach_is_not_trained_again(study, capsys):
    train_variants(study, ["ten-times-the-rate"], tell=lambda _: None)
    lines = capsys.readouterr().out.splitlines()
    trained = [line.split(":")[0] for line in lines if "trained, saved" in line]
    assert trained == ["student"] * 2
    folder = study.folder(0, "ten-times-the-rate")
    assert (folder / "soft_labels.csv").exists() and not list(folder.glob("teacher*"))
    train_variants(study, ["ten-times-the-rate"], tell=lambda _: None)
    assert "trained" not in capsys.readouterr().out


def test_variants_leave_the_runs_they_started_from_alone(study, own_files):
    now = {path: path.read_bytes() for path in own_files}
    assert now == own_files


def test_a_teacher_variant_is_no_copy_of_the_teacher(study):
    own, other = study.folder(0), study.folder(0, "no-pretraining")
    for file in ("encoder.safetensors", "teacher.safetensors", "predictions/teacher-dev.csv"):
        assert (own / file).read_bytes() != (other / file).read_bytes()


def test_without_pretraining_the_encoder_has_learned_nothing(study):
    run = study.open(0, "no-pretraining")
    _, trained = stations.pretrain_teacher(run)
    assert trained.history.empty and trained.best_epoch == 0


@pytest.fixture
def targets_of(study, monkeypatch):
    """The targets a variant of a finished run gives its student, by record."""
    seen = {}

    def fit(model, examples, dev, procedure, fabric):
        seen[procedure.name] = examples
        raise InterruptedError

    def ask(what: str) -> dict[str, float]:
        monkeypatch.setattr(stations, "fit", fit)
        run = study.open(0, "hard-decisions")
        settings = [*study.settings(0), f"distillation.targets={what}", "student.epochs=7"]
        run = type(run)(run.folder, load_experiment("demo", settings))
        with pytest.raises(InterruptedError):
            stations.distill_student(run)
        examples, records = seen["student"], stations.load_corpus(run).cache.index.index
        return dict(zip(records[examples.rows], examples.targets.tolist(), strict=True))

    return ask


def test_the_student_is_told_what_the_setting_says(study, targets_of):
    run = study.open(0)
    soft = stations.label_softly(run).set_index("record").soft_label
    assert targets_of("soft labels") == pytest.approx(soft.to_dict())
    assert targets_of("hard decisions") == (soft > 0.5).astype(float).to_dict()
    finetune = stations.load_corpus(run).of("finetune").set_index("record").label
    assert targets_of("fine-tune labels") == finetune.astype(float).to_dict()


def test_a_student_of_the_few_labels_needs_no_teacher(study):
    train_variants(study, ["few-labels"], tell=lambda _: None)
    folder = study.folder(0, "few-labels")
    assert (folder / "student.safetensors").exists()
    assert not list(folder.glob("teacher*")) and not list(folder.glob("encoder*"))


def test_a_second_phase_follows_the_first_and_changes_no_other_run(study, monkeypatch):
    folder, heard, original = study.folder(0, "labels-after"), {}, stations.fit

    def noting(model, examples, dev, procedure, fabric):
        heard[procedure.name] = (copy_state(model), examples.targets.tolist())
        return original(model, examples, dev, procedure, fabric)

    monkeypatch.setattr(stations, "fit", noting)
    one = Study(study.profile, (0,), study.overrides, study.base)
    train_variants(one, ["labels-after"], tell=lambda _: None)
    own = (study.folder(0) / "student.safetensors").read_bytes()
    assert (folder / "first-student.safetensors").read_bytes() == own
    assert (folder / "student.safetensors").read_bytes() != own
    weights, targets = heard["finetune"]
    first = load_file(folder / "first-student.safetensors")
    assert all(torch.equal(weights[name], first[name]) for name in first), "it goes on from there"
    labels = stations.load_corpus(study.look(0)).of("finetune").label
    assert targets == labels.tolist()


def test_a_student_may_be_taught_by_a_student(study, monkeypatch):
    told, original = [], stations.fit

    def noting(model, examples, dev, procedure, fabric):
        told.append(examples.targets.numpy())
        return original(model, examples, dev, procedure, fabric)

    monkeypatch.setattr(stations, "fit", noting)
    one = Study(study.profile, (0,), study.overrides, study.base)
    train_variants(one, ["own-opinions-after"], tell=lambda _: None)
    run = study.look(0, "own-opinions-after")
    model, _ = trained_network(run.folder, "first-student")
    corpus, fabric = stations.load_corpus(run), start_fabric(run.experiment.compute)
    logits = predict(fabric.setup(model), corpus.cache, corpus.rows("pretrain"), fabric)
    np.testing.assert_allclose(told[-1], 1 / (1 + np.exp(-logits)), rtol=1e-4)


def test_without_a_database_no_recording_of_it_or_its_kin_is_heard(runs):
    train_variants(Study(runs.profile, (0,), runs.overrides, runs.base), ["without-b"], str)
    run = runs.look(0, "without-b")
    assert run.experiment.splits.leave_out == "b"
    corpus = stations.load_corpus(run)
    held = corpus.of("test")
    assert len(held) == (corpus.recordings.database == "b").sum() > 0
    for split in ("pretrain", "finetune", "dev"):
        heard = corpus.of(split)
        assert "b" not in set(heard.database) and not set(heard.group) & set(held.group)
    predictions = stations.load_predictions(run, "test")
    assert all(predictions[m].record.tolist() == held.record.tolist() for m in stations.MODELS)


@pytest.mark.parametrize(
    ("variant", "expected"),
    [
        ("", ("", "")),
        ("focal", ("focal", "")),
        ("without-a", ("", "a")),
        ("without-be", ("", "be")),
        ("each-once-without-f", ("each-once", "f")),
        ("without-masks", ("without-masks", "")),
        ("without-masks-without-cd", ("without-masks", "cd")),
        ("without-x", ("without-x", "")),
        ("focal-without-", ("focal-without-", "")),
    ],
)
def test_the_name_of_a_variant_says_what_it_changes_and_leaves_out(variant, expected):
    assert parts(variant) == expected


@pytest.mark.parametrize("name", BEYOND)
def test_a_change_beyond_the_paper_is_one_that_the_native_profile_does_not_make(name):
    native = load_experiment("native-all")
    changed = load_experiment("native-all", BEYOND[name].change(native))
    assert changed != native and changed.splits == native.splits


def test_a_change_is_trained_without_a_database_and_nothing_else_is(tmp_path, tiny_data):
    study = study_in(tmp_path, tiny_data, seeds=(0,))
    train_variants(study, ["focal-without-b", "without-b"], str, models=["baseline"])
    focal, plain = study.look(0, "focal-without-b"), study.look(0, "without-b")
    assert focal.experiment.baseline.focal_gamma == 2 and plain.experiment.baseline.focal_gamma == 0
    assert focal.experiment.splits == plain.experiment.splits
    for run in (focal, plain):
        assert [path.name for path in run.folder.glob("*.safetensors")] == ["baseline.safetensors"]


@pytest.mark.parametrize("variant", ["focal", "focal-without-b"])
def test_models_asked_of_a_change_without_its_own_are_refused(tmp_path, tiny_data, variant):
    study = study_in(tmp_path, tiny_data, seeds=(0,))
    with pytest.raises(InputError) as caught:
        train_variants(study, [variant, "without-b"], models=["student", "teacher"])
    (line,) = caught.value.problems
    assert line.startswith(f"{variant} changes the baseline: name baseline among --models")
    assert main(command(study, "variants", "--only", variant, "--models", "student")) == 2
    assert not list(tmp_path.iterdir())


def test_a_change_asked_with_its_own_model_or_with_none_named_is_trained(
    tmp_path, tiny_data, monkeypatch
):
    trained = []
    for model in STATION:
        monkeypatch.setitem(STATION, model, lambda run, model=model: trained.append(model))
    study = study_in(tmp_path, tiny_data, seeds=(0,))
    for named in (("--models", "baseline"), ("--models", "student,baseline"), ()):
        assert main(command(study, "variants", "--only", "focal", *named)) == 0
    assert trained == ["baseline"] * 3


def test_wrong_seeds_and_variants_are_named_before_anything_is_trained(study, tmp_path, tiny_data):
    for seeds in ((1, 1), ()):
        with pytest.raises(InputError, match="at least one, and each once"):
            study_in(tmp_path, tiny_data, seeds=seeds)
    nowhere = study_in(tmp_path, tiny_data)
    with pytest.raises(InputError) as caught:
        train_variants(nowhere, ["few-labels", "no-teacher", ""])
    said = str(caught.value)
    assert "no variant 'no-teacher': use one of few-labels" in said and "no variant ''" in said
    assert "seed 0 is not trained" in said and "seed 1 is not trained" in said
    assert not list(tmp_path.iterdir())


def test_the_folder_of_a_study_may_be_named_with_a_slash(study):
    slashed = Study(study.profile, study.seeds, study.overrides, study.base + "/")
    assert slashed.folder(0, "few-labels") == study.folder(0, "few-labels")


# Taking over from another run


def test_what_does_not_fit_is_not_taken_over(study, tmp_path):
    parent = study.open(0)
    child = type(parent)(tmp_path / "child", parent.experiment, parent.folder)
    child.inherit("soft_labels.csv", "another stamp")
    assert not list(tmp_path.iterdir())
    stamp = read_json(parent.path("soft_labels.json"))["fingerprint"]
    child.inherit("soft_labels.csv", stamp)
    assert child.path("soft_labels.csv").read_bytes() == parent.path("soft_labels.csv").read_bytes()
    assert child.is_done("soft_labels.csv", stamp)


def test_a_copy_whose_source_changes_meanwhile_is_not_trusted(study, tmp_path, monkeypatch):
    source = type(study.open(0))(tmp_path / "source", study.experiment)
    source.path("a.csv").parent.mkdir()
    source.path("a.csv").write_text("old")
    source.mark_done("a.csv", "stamp")
    copy = shutil.copyfile

    def slow(one, other):
        source.mark_done("a.csv", "a newer stamp")
        return copy(one, other)

    monkeypatch.setattr("hsutils.experiment.shutil.copyfile", slow)
    child = type(source)(tmp_path / "child", study.experiment, source.folder)
    child.inherit("a.csv", "stamp")
    assert not child.is_done("a.csv", "stamp")


# The command line


def command(study: Study, name: str, *more: str) -> list[str]:
    settings = [part for text in study.overrides for part in ("--set", text)]
    seeds = ",".join(map(str, study.seeds))
    return [name, "--profile", "demo", "--seeds", seeds, "--run-dir", study.base, *settings, *more]


def test_one_command_runs_the_seeds_that_are_missing_and_gathers_all(study, capsys):
    weights = [study.folder(seed) / "student.safetensors" for seed in study.seeds]
    before = [path.stat().st_mtime_ns for path in weights]
    assert main(command(study, "run", "--trainings-only")) == 0
    shown = capsys.readouterr().out
    assert "trained, saved" not in shown and shown.count("student: loaded") >= len(study.seeds)
    assert [path.stat().st_mtime_ns for path in weights] == before
    assert "| student | **0." in shown and str(study.folder("seeds")) in shown
    assert (study.folder("seeds") / "results.csv").exists()
    assert (study.folder("seeds") / "roc.png").exists()


def test_evidence_is_gathered_anywhere_and_drawn_again(study, tmp_path, capsys):
    assert main(command(study, "gather", "--to", str(tmp_path))) == 0
    drawn = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for path in drawn:
        if path.name not in ("predictions.csv", "histories.csv", "trainings.csv"):
            path.unlink()
    assert main(["redraw", str(tmp_path)]) == 0
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == drawn


def test_gathering_what_nobody_ran_and_seeds_that_are_none_are_refused(tmp_path, capsys):
    arguments = ["gather", "--profile", "demo", "--run-dir", str(tmp_path / "run")]
    assert main([*arguments, "--seeds", "0"]) == 2
    assert "not finished" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*arguments, "--seeds", "0;1"])
    assert "no list such as 0,1,2" in capsys.readouterr().err


# Evidence


def test_evidence_holds_the_predictions_of_the_runs(study, gathered):
    for split in ("dev", "test"):
        logits = gathered.logits(split).set_index(["profile", "model", "seed"])
        for seed in study.seeds:
            for model, table in stations.load_predictions(study.open(seed), split).items():
                ours = logits.loc["demo", model, seed]
                assert ours.label.tolist() == table.label.tolist()
                assert ours.logit.tolist() == pytest.approx(table.logit.tolist(), abs=1e-5)


def test_variants_are_read_on_dev_only(gathered):
    variants = {"demo-hard-decisions", "demo-no-pretraining"}
    assert variants <= set(gathered.logits("dev").profile)
    assert set(gathered.logits("test").profile) == {"demo"}


def test_evidence_names_no_recording(study, gathered, tmp_path):
    gathered.save(tmp_path)
    records = stations.load_recordings(study.open(0)).record
    text = "".join(path.read_text() for path in tmp_path.iterdir())
    assert not [record for record in records if record in text]


def test_evidence_says_what_was_trained_and_chosen(study, gathered):
    own = gathered.trainings.query("profile == 'demo'").set_index(["model", "seed"])
    assert set(own.index.get_level_values("model")) == {"encoder", *stations.MODELS}
    for seed in study.seeds:
        history = stations.load_histories(study.open(seed))["student"]
        assert own.best_epoch["student", seed] == history.epoch[history.dev_auroc.argmax()]
        dev = stations.load_predictions(study.open(seed), "dev")["student"]
        assert history.dev_auroc.max() == pytest.approx(auroc(dev.label, dev.logit))
    assert (own.commit != "").all() and (own.precision == "32-true").all()


def test_evidence_survives_the_disk(gathered, tmp_path):
    gathered.save(tmp_path)
    read = evidence.Evidence.read(tmp_path)
    assert read.logits("dev").equals(gathered.logits("dev"))
    assert read.histories.equals(gathered.histories)
    (tmp_path / "histories.csv").unlink()
    with pytest.raises(InputError, match="lacks histories"):
        evidence.Evidence.read(tmp_path)


def test_a_variant_still_in_training_is_left_out(study, gathered, tmp_path):
    copies = Study(study.profile, study.seeds, study.overrides, str(tmp_path / "tiny"))
    for seed in study.seeds:
        shutil.copytree(study.folder(seed), copies.folder(seed))
        shutil.copytree(study.folder(seed, "no-pretraining"), copies.folder(seed, "no-pretraining"))
    (copies.folder(1, "no-pretraining") / "teacher.json").unlink()
    dev = evidence.gather(copies).logits("dev")
    assert set(dev.seed[dev.profile == "demo-no-pretraining"]) == {0}


def test_predictions_of_other_weights_are_not_gathered(study, tmp_path):
    copies = Study(study.profile, study.seeds, study.overrides, str(tmp_path / "tiny"))
    for seed in study.seeds:
        shutil.copytree(study.folder(seed), copies.folder(seed))
    path = copies.folder(1) / "student.json"
    note = read_json(path)
    write_json(path, note | {"fingerprint": "trained anew"})
    with pytest.raises(InputError, match=r"seeds \[1\] of demo are not finished"):
        evidence.gather(copies)
    note["history"][0]["dev_auroc"] = 1.5
    write_json(path, note)
    with pytest.raises(InputError, match="not those of the epoch kept"):
        evidence.gather(copies)


def test_runs_with_other_settings_are_refused_by_name_and_left_as_they_are(study):
    before = (study.folder(0) / "experiment.toml").read_bytes()
    settings = (*study.overrides, "student.epochs=9")
    with pytest.raises(InputError, match=r"other settings \(student.epochs\)"):
        evidence.gather(Study(study.profile, study.seeds, settings, study.base))
    assert (study.folder(0) / "experiment.toml").read_bytes() == before


def test_an_unfinished_seed_is_named(study):
    longer = Study(study.profile, (0, 1, 5), study.overrides, study.base)
    with pytest.raises(InputError, match=r"seeds \[5\] of demo are not finished"):
        evidence.gather(longer)


def test_seeds_evaluated_on_other_recordings_are_refused(study, tmp_path):
    for seed in study.seeds:
        shutil.copytree(study.folder(seed), tmp_path / f"tiny-{seed}")
    moved = Study(study.profile, study.seeds, study.overrides, str(tmp_path / "tiny"))
    path = tmp_path / "tiny-1/predictions/student-dev.csv"
    path.write_text(path.read_text().replace(",0,", ",1,", 1))
    with pytest.raises(InputError, match="tiny-1 was evaluated on other dev recordings"):
        evidence.gather(moved)


def test_a_study_goes_on_in_the_precision_in_which_it_began(study, monkeypatch):
    """Trained in float32 where that was asked for, it must not begin anew on a machine of bf16."""
    monkeypatch.setattr("torch.cpu._is_amx_tile_supported", lambda: True)
    unasked = tuple(text for text in study.overrides if "precision" not in text)
    later = Study(study.profile, study.seeds, unasked, study.base)
    for variant in ("", "no-pretraining", "both-views"):
        assert later.look(0, variant).experiment.compute.precision == "32-true"
    assert later.look(7).experiment.compute.precision == "auto"
    asked = Study(study.profile, study.seeds, (*unasked, "compute.precision=16-mixed"), study.base)
    assert asked.look(0).experiment.compute.precision == "16-mixed"


def test_trainings_of_different_precision_are_not_compared(study, tmp_path):
    for seed in study.seeds:
        shutil.copytree(study.folder(seed), tmp_path / f"tiny-{seed}")
    mixed = Study(study.profile, study.seeds, study.overrides, str(tmp_path / "tiny"))
    path = tmp_path / "tiny-1/student.json"
    note = read_json(path)
    note["environment"]["precision"] = "bf16-mixed"
    write_json(path, note)
    with pytest.raises(InputError, match="bf16-mixed: demo seed 1"):
        evidence.gather(mixed)
