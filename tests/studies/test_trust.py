"""What is kept of trust: gathered from runs, named after no recording, drawn again from itself."""

import pytest
from conftest import TINY_SETTINGS

from hsutils.evaluation import robustness
from hsutils import pipeline as stations
from hsutils.studies import trust
from hsutils.__main__ import main
from hsutils.errors import InputError
from hsutils.evaluation.metrics import auroc
from hsutils.evaluation.shortcuts import RIVALS
from hsutils.studies.study import Study, train_variants

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:split lists:UserWarning"),
]
FEW = {name: robustness.PERTURBATIONS[name] for name in ("white noise", "shortened")}


@pytest.fixture(scope="module")
def study(tiny_data, tmp_path_factory) -> Study:
    """One seed, finished, and the same without database b."""
    where = {"data.folder": str(tiny_data / "recordings"), "splits.lists": str(tiny_data)}
    settings = tuple(f"{key}={value}" for key, value in (TINY_SETTINGS | where).items())
    study = Study("demo", (0,), settings, str(tmp_path_factory.mktemp("trust") / "tiny"))
    stations.run_all(study.open(0))
    train_variants(study, ["without-b"], tell=lambda _: None)
    return study


@pytest.fixture(scope="module")
def collected(study) -> trust.Trust:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trust, "PERTURBATIONS", FEW)
        return trust.collect_study(study)


def test_every_case_keeps_the_logits_that_the_run_saved(study, collected):
    run = study.look(0)
    for split in stations.EVALUATED:
        kept = collected.cases[collected.cases.split == split]
        for model, saved in stations.load_predictions(run, split).items():
            assert kept[f"{model}/0"].tolist() == pytest.approx(saved.logit.tolist(), abs=1e-4)
            assert auroc(kept.label, kept[f"{model}/0"]) == pytest.approx(
                auroc(saved.label, saved.logit), abs=1e-4
            )
    assert set(RIVALS) <= set(collected.cases)


def test_databases_left_out_are_judged_by_those_who_never_heard_them(study, collected):
    recordings = stations.load_recordings(study.look(0))
    held = collected.left_out.query("database == 'b'")
    assert len(held) == (recordings.database == "b").sum()
    saved = stations.load_predictions(study.look(0, "without-b"), "test")["teacher"]
    assert sorted(held["teacher/0"]) == pytest.approx(sorted(saved.logit), abs=1e-4)
    others = collected.left_out.query("database != 'b'")
    assert others["teacher/0"].isna().all() and others["format only"].notna().all()


def test_no_recording_is_named_and_no_split_given_away(study, collected, tmp_path):
    collected.save(tmp_path)
    records = stations.load_recordings(study.look(0)).record
    text = "".join(path.read_text() for path in tmp_path.iterdir())
    assert not [record for record in records if record in text]
    assert len(collected.facts) == len(records)
    # Where a row says in which split it is, it says nothing that only one recording has.
    logits = set(RIVALS) | {f"{model}/0" for model in stations.MODELS}
    assert set(collected.cases) - logits == {"split", "database", "group", "label"}
    assert not {"split", "record"} & {*collected.facts, *collected.left_out}


def test_answers_that_cost_most_are_kept_and_asked_again_when_the_question_changes(
    study, collected, monkeypatch
):
    def fail(*_):
        raise AssertionError("asked again")

    run = study.look(0)
    corpus = stations.load_corpus(run)
    monkeypatch.setattr(trust, "PERTURBATIONS", FEW)
    monkeypatch.setattr(trust, "perturbed_scores", fail)
    assert trust._robustness(run, corpus).equals(collected.robustness)
    monkeypatch.setattr(trust, "PERTURBATIONS", {"shortened": FEW["shortened"]})
    with pytest.raises(AssertionError, match="asked again"):
        trust._robustness(run, corpus)


def test_nothing_to_judge_and_runs_of_other_recordings_are_refused(study):
    with pytest.raises(InputError, match="no run to judge"):
        trust.collect([])
    more = Study(study.profile, (0, 1), study.overrides, study.base)
    with pytest.raises(InputError, match=r"seeds \[1\] are not finished"):
        trust.collect_study(more)
    with pytest.raises(InputError, match="other recordings"):
        trust.collect([study.look(0), study.look(0, "without-b")])


def test_stretches_show_the_usual_file_of_each_class(study):
    recordings = stations.load_recordings(study.look(0))
    stretches = trust.stored_stretches(recordings, seconds=0.05)
    assert list(stretches) == ["normal", "abnormal"]
    for time, samples in stretches.values():
        assert len(time) == len(samples) == 100 and samples.dtype.kind == "i"


def test_one_command_collects_and_draws_and_another_draws_again(study, tmp_path, monkeypatch):
    monkeypatch.setattr(trust, "PERTURBATIONS", FEW)
    settings = [part for text in study.overrides for part in ("--set", text)]
    command = ["trust", "--profile", "demo", "--seeds", "0", "--run-dir", study.base, *settings]
    assert main([*command, "--to", str(tmp_path)]) == 0
    drawn = {path: path.read_bytes() for path in tmp_path.iterdir()}
    kept = {f"{part}.csv" for part in trust.Trust.parts()}
    assert {path.suffix for path in drawn} == {".csv", ".png", ".svg"}
    for path in drawn:
        # How files are stored can be seen in the recordings only.
        if path.name not in kept and path.stem != "stored-levels":
            path.unlink()
    assert main(["redraw", str(tmp_path)]) == 0
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == drawn
