"""The native recipe on any run's recordings, beside the run's own."""

import numpy as np
import pandas as pd
import pytest
from conftest import TINY_SETTINGS

from hsutils import plots as figures, pipeline as stations
from hsutils.studies import rehearsal
from hsutils.errors import InputError
from hsutils.experiment import Run, load_experiment, open_run
from hsutils.evaluation.metrics import auroc
from hsutils.plots.style import finding_of

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:split lists:UserWarning"),
]
OWN, NATIVE = rehearsal.RECIPES.values()


@pytest.fixture(scope="module")
def run(tiny_data, tmp_path_factory) -> Run:
    where = {"data.folder": str(tiny_data / "recordings"), "splits.lists": str(tiny_data)}
    return open_run("demo", tmp_path_factory.mktemp("rehearsal"), TINY_SETTINGS | where)


@pytest.fixture(scope="module")
def rehearsed(run) -> pd.DataFrame:
    return rehearsal.rehearse(run, "b")


def test_the_native_recipe_is_that_of_the_profile_on_this_runs_recordings(run):
    native, profile = rehearsal.native_on(run, "b").experiment, load_experiment("native-all")
    assert native.data == run.experiment.data and native.compute == run.experiment.compute
    assert native.splits.leave_out == "b" and native.splits.labeled == "all"
    assert native.networks == profile.networks and native.seed == run.experiment.seed
    for name in ("sampling", "crop_seconds", "mixup", "artificial", "learning_rate"):
        assert getattr(native.baseline, name) == getattr(profile.baseline, name)
    assert native.front_end.scaling == "band mean" and native.front_end.sample_rate == 2000
    assert native.artificial.recordings < profile.artificial.recordings


def test_the_runs_own_recipe_changes_in_its_splits_alone(run):
    own = rehearsal.own_on(run, "b").experiment
    assert own.splits.leave_out == "b" and own.splits.labeled == "all"
    for table in ("front_end", "baseline", "networks", "data", "compute", "artificial"):
        assert getattr(own, table) == getattr(run.experiment, table)


def test_both_are_tested_in_what_neither_heard(run, rehearsed):
    recordings = stations.load_recordings(run)
    assert set(rehearsed.record) == set(recordings.record[recordings.database == "b"])
    for trial in (rehearsal.own_on(run, "b"), rehearsal.native_on(run, "b")):
        assert "b" not in set(stations.load_corpus(trial).of("labeled").database)
    table = rehearsal.scores(rehearsed).set_index("recipe")
    for name in (OWN, NATIVE):
        assert table.auroc[name] == pytest.approx(auroc(rehearsed.label, rehearsed[name]), abs=1e-3)


def test_it_is_not_trained_twice(run, rehearsed, monkeypatch):
    monkeypatch.setattr(stations, "fit", lambda *_: pytest.fail("trained again"))
    pd.testing.assert_frame_equal(rehearsal.rehearse(run, "b"), rehearsed)


@pytest.fixture
def planted(run) -> pd.DataFrame:
    """Ten normal and four abnormal; the native recipe finds r11 and r13, its rival only r12."""
    label = np.repeat([0, 1], [10, 4])
    own = [*np.linspace(-2, -1, 10), -3.0, -3.0, 3.0, -3.0]
    native = [*np.linspace(8, 9, 10), 0.0, 10.0, 0.0, 11.0]
    table = pd.DataFrame({"record": [f"r{n}" for n in range(14)], "label": label, "group": label})
    return table.assign(**{OWN: own, NATIVE: native, "path": "", "database": "b"})


def test_only_what_one_finds_and_the_other_misses_is_new(planted):
    assert rehearsal.newly_found(planted).record.tolist() == ["r13", "r11"]


def test_the_share_found_is_told_for_each_lesion_where_they_are_known(run, planted):
    table = rehearsal.lesions(run, planted)
    assert table.to_dict("records") == [
        {"lesion": "abnormal", "recordings": 4, OWN: 0.25, NATIVE: 0.5}
    ]


def test_lesions_of_artificial_corpora_are_on_record(tmp_path):
    run = open_run("demo", tmp_path, {"data.folder": str(tmp_path / "data"), "data.recordings": 60})
    recordings = stations.load_recordings(run)
    scored = recordings.assign(**{OWN: recordings.label - 0.5, NATIVE: 0.5 - recordings.label})
    table = rehearsal.lesions(run, scored)
    assert table.recordings.sum() == recordings.label.sum() and len(table) > 2
    assert (table[OWN] == 1).all() and (table[NATIVE] == 0).all()
    assert "none" not in set(table.lesion)


def test_too_few_groups_to_probe_give_an_empty_table(run, monkeypatch):
    def refuse(*_):
        raise InputError("too few")

    monkeypatch.setattr(rehearsal, "probe_database", refuse)
    table = rehearsal.probe_recipes(run)
    assert table.empty and "Too few recordings" in finding_of(figures.database_probe(table))


def test_databases_are_probed_in_both_recipes_spectrograms(tmp_path):
    run = open_run(
        "demo",
        tmp_path,
        {"data.folder": str(tmp_path / "data"), "data.recordings": 200, "data.seconds_scale": 0.2},
    )
    table = rehearsal.probe_recipes(run).set_index("features")
    own, native = table.balanced_accuracy[OWN], table.balanced_accuracy[NATIVE]
    assert native < own, "what a device does to a band at all times is gone"
    assert own > table.chance_high[OWN]
    assert native > table.chance_high[NATIVE], "noise and bandwidth remain"
