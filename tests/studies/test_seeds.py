"""Seeds and variants: what a variant changes, what is not trained again, and their tables."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from hsutils.errors import InputError
from hsutils.pipeline import load_predictions
from hsutils.studies import seeds as studies
from hsutils.studies.reproduction import VARIANTS
from hsutils.studies.seeds import gather, is_trained, read_tables, tidy, train, with_logits

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:split lists:UserWarning"),
]
MODELS = ("teacher", "student", "baseline")


def variant(study, name: str, seed: int = 0):
    return study.run(seed, name, VARIANTS[name][1](study.profile))


@pytest.fixture(scope="module")
def gathered(trained) -> dict[str, pd.DataFrame]:
    return gather(trained, VARIANTS)


def test_seeds_have_folders_and_weights_of_their_own(trained):
    first, second = (trained.folder(seed) / "student.safetensors" for seed in trained.seeds)
    assert first.read_bytes() != second.read_bytes()


def test_what_a_change_does_not_affect_is_not_trained_again(trained, capsys):
    own = {p: p.read_bytes() for p in trained.folder(0).rglob("*.safetensors")}
    for expected in (["student"], []):
        train(variant(trained, "ten-times-the-rate"), ["student"])
        lines = capsys.readouterr().out.splitlines()
        assert [x.split(":")[0] for x in lines if "trained, saved" in x] == expected
    assert {p: p.read_bytes() for p in own} == own


def test_a_teacher_variant_is_no_copy_of_the_teacher(trained):
    run = variant(trained, "no-pretraining")
    train(run, ["teacher"])
    for file in ("encoder.safetensors", "teacher.safetensors"):
        assert run.path(file).read_bytes() != (trained.folder(0) / file).read_bytes()


def test_a_run_made_with_other_settings_is_refused(trained):
    other = replace(trained, overrides=(*trained.overrides, "student.epochs=3"))
    with pytest.raises(InputError, match=r"made with other settings \(student\)"):
        other.run(0)
    moved = replace(trained, overrides=(*trained.overrides, "compute.workers=1"))
    assert moved.run(0).profile.compute.workers == 1


def test_a_run_is_trained_if_its_predictions_belong_to_its_weights(trained, tmp_path):
    run = trained.run(0)
    assert is_trained(run, MODELS)
    assert not is_trained(replace(run, folder=tmp_path), MODELS)
    note = run.path("predictions/student-dev.json")
    text = note.read_text()
    note.write_text(text.replace(run.note("student.safetensors")["digest"], "other"))
    assert not is_trained(run, MODELS) and is_trained(run, ["teacher"])
    note.write_text(text)


def test_predictions_are_gathered_as_they_were_saved(trained, gathered):
    table = gathered["predictions"]
    for seed in trained.seeds:
        for split in ("dev", "test"):
            saved = load_predictions(trained.run(seed), "student", split)
            kept = table[table.split == split]
            assert kept[f"demo/student/{seed}"].tolist() == pytest.approx(
                saved.logit.tolist(), abs=1e-5
            )
            assert kept.label.tolist() == saved.label.tolist()
    hard = load_predictions(variant(trained, "hard-decisions"), "student", "dev")
    kept = table[table.split == "dev"]["hard-decisions/student/0"]
    assert kept.tolist() == pytest.approx(hard.logit.tolist(), abs=1e-5)
    assert table[table.split == "test"]["hard-decisions/student/0"].isna().all()


def test_the_best_epoch_is_the_one_that_is_evaluated(gathered):
    dev = gathered["predictions"].query("split == 'dev'")
    for row in gathered["trainings"].query("model != 'encoder'").itertuples():
        keys = "variant == @row.variant and model == @row.model and seed == @row.seed"
        history = gathered["histories"].query(keys).set_index("epoch")
        logits = dev[f"{row.variant}/{row.model}/{row.seed}"]
        assert history.dev_auroc[row.best_epoch] == history.dev_auroc.max()
        assert roc_auc_score(dev.label, logits) == pytest.approx(history.dev_auroc.max(), abs=1e-3)


def test_no_recording_is_named(trained, gathered):
    records = pd.read_csv(trained.folder(0) / "recordings.csv").record
    text = "".join(table.to_csv() for table in gathered.values())
    assert not [record for record in records if record in text]


def test_trainings_of_different_precision_are_not_compared(trained, monkeypatch):
    original = studies._training

    def other(run, network):
        history, about = original(run, network)
        return history, about | {"precision": f"p{run.profile.seed}"}

    monkeypatch.setattr(studies, "_training", other)
    with pytest.raises(InputError, match=r"different precision \(p0, p1\)"):
        gather(trained, {})


def test_models_of_other_recordings_are_refused():
    recordings = pd.DataFrame({"record": list("abc")})
    one, two = (pd.DataFrame({"record": list(r), "logit": range(2)}) for r in ("ca", "ab"))
    table = with_logits(recordings, {"x": one})
    assert table.record.tolist() == ["c", "a"] and table.x.tolist() == [0, 1]
    with pytest.raises(InputError, match="y: evaluated on other recordings"):
        with_logits(recordings, {"x": one, "y": two})
    with pytest.raises(InputError, match="x: evaluated on other recordings"):
        with_logits(recordings[:1], {"x": one})


def test_every_number_is_one_row_with_its_interval():
    table = pd.DataFrame({"model": ["s"], "recordings": [9], "auroc": [0.7], "low": [0.6]})
    table = table.assign(high=0.8, ppv=0.5, ppv_low=0.4, ppv_high=np.nan, threshold=0.1)
    rows = tidy(table, study="x", protocol="test").set_index("metric")
    assert set(rows.study) == {"x"} and set(rows.database) == {""} and set(rows.model) == {"s"}
    assert rows.index.tolist() == ["auroc", "ppv", "threshold"]
    assert rows.loc["auroc", ["value", "low", "high"]].tolist() == [0.7, 0.6, 0.8]
    assert rows.loc["ppv", ["value", "low"]].tolist() == [0.5, 0.4]
    assert np.isnan(rows.loc["threshold", "low"])
    named = pd.DataFrame({"metric": ["auroc"], "value": [1], "p": [0.5], "sd": [np.nan]})
    assert tidy(named).metric.tolist() == ["auroc", "auroc, p"]
    assert tidy(named.assign(value=1e-9, p=1e-9)).value.tolist() == [0, 1e-9]


@pytest.mark.parametrize("content", [None, b"", b"\x1f\x8b cut", b"a\n1,2\n3,4,5\n"])
def test_a_missing_or_damaged_table_is_one_line(tmp_path, content):
    if content is not None:
        (tmp_path / "t.csv.gz").write_bytes(content)
    with pytest.raises(InputError, match=r"t\.csv\.gz: .*run the study that writes it"):
        read_tables(tmp_path, ["t.csv.gz"])
