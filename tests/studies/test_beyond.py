"""Recipes side by side: what is gathered, what is computed, and who may choose."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import TINY_SETTINGS
from sklearn.metrics import roc_auc_score, roc_curve
from test_cycles import cycles, weights
from torch import nn

from hsutils.studies import beyond_tables, control_probe, finished, future_work
from hsutils import plots as figures, pipeline as stations
from hsutils.__main__ import main
from hsutils.studies.band_scores import NEW
from hsutils.studies.beyond import INNER, LEFT_OUT_DIGITS, Beyond, collect
from hsutils.models.compact import CompactCNN
from hsutils.studies.cost import cost
from hsutils.studies.cycle_scores import INSIDE
from hsutils.errors import InputError
from hsutils.files import read_json
from hsutils.studies.finished import Finished
from hsutils.studies.label_efficiency import COLUMNS, DRAWS
from hsutils.evaluation.metrics import auroc
from hsutils.models.teacher_student import StudentCNN, count_parameters
from hsutils.settings import FrontEnd
from hsutils.audio.spectrograms import padding_value
from hsutils.studies.study import Study, train_variants
from hsutils.plots.style import finding_of

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:split lists:UserWarning"),
]
STRENGTH = {"paper/teacher/0": 0.4, "native-all/compact baseline/0": 1.5}
STRENGTH["native-all/compact baseline/1"] = 1.5


def planted_beyond() -> Beyond:
    """Two recipes, one of which ranks better everywhere; its second seed lacks database f."""
    rng = np.random.default_rng(0)
    tables = {}
    for name, databases in (("published", "abe"), ("left_out", "abcdef")):
        database = np.repeat([*databases], 60)
        label = np.tile([0, 1], len(database) // 2)
        table = pd.DataFrame({"database": database, "group": np.arange(len(label)), "label": label})
        for column, strength in STRENGTH.items():
            table[column] = strength * label + rng.standard_normal(len(label))
        tables[name] = table
    tables["published"].insert(0, "split", np.tile(["dev", "dev", "test", "test"], 45))
    column = "native-all/compact baseline/1"
    tables["left_out"].loc[tables["left_out"].database == "f", column] = np.nan
    inner = [
        (profile, "compact baseline", 0, x + y, asked, score + 0.01 * number)
        for number, (x, y) in enumerate(["ab", "ae", "be", "bf"])
        for profile, score in (("native-all", 0.8), ("native-all-each-once", 0.7))
        for asked in (x, y)
    ]
    facts = {"milliseconds": 2.0, "train_seconds": 9}
    recipes = pd.DataFrame(
        [
            {"profile": "paper", "model": "teacher", "parameters": 11_827_905, **facts},
            {"profile": "native-all", "model": "compact baseline", "parameters": 59_109, **facts},
        ]
    ).assign(multiply_adds=lambda t: t.parameters * 100, labeled="finetune", told="true labels")
    return Beyond(
        **tables,
        inner=pd.DataFrame(inner, columns=INNER),
        recipes=recipes,
        frozen_features=planted_efficiency(),
        storage=planted_storage(),
        trees=pd.DataFrame([("a", 60, 30, 0.6, 0.5, 0.7)], columns=NEW),
        inside=pd.DataFrame([("a", 60, 30, 60, 0.8, 0.7, 0.9)], columns=INSIDE),
        cycles=cycles(),
        weights=weights(),
        future_work=planted_future_work(),
    )


def planted_future_work() -> pd.DataFrame:
    """Focal loss costs the paper's student .01; the baseline ends after its recipe's epochs."""
    rows = [
        ("paper", "focal-student", "student", 0, "AMD", 0.92, 0.91, 0.91, 0.9, 15, 15),
        ("paper", "baseline-until-it-falls", "baseline", 0, "AMD", 0.85, 0.88, 0.84, 0.8, 15, 40),
    ]
    return pd.DataFrame(rows, columns=future_work.COLUMNS)


@pytest.fixture(scope="module")
def planted() -> Beyond:
    return planted_beyond()


def planted_storage() -> pd.DataFrame:
    """Levels tell the class in the files of database e, and hardly so after control."""
    areas = {"levels": (0.98, 0.5), "peak": (0.93, 0.64), "clipped": (0.67, 0.5)}
    rows = [
        (waveform, facts, "e", 100, 20, score, score - 0.02, score + 0.02)
        for facts, scores in (areas | {"all": (0.99, 0.76)}).items()
        for waveform, score in zip(("stored", "controlled"), scores, strict=True)
    ]
    return pd.DataFrame(rows, columns=control_probe.COLUMNS)


def planted_efficiency() -> pd.DataFrame:
    """Of the paper's profile: two seeds on dev, and two databases left out."""
    rows = [
        ("paper", seed, left_out, kind, share, database, 400 * share, 5, score + 0.02 * seed, 0.01)
        for left_out, asked in (("", ("all", "within")), ("a", ("a",)), ("b", ("b",)))
        for seed in ((0, 1) if not left_out else (0,))
        for kind, score in (("pre-trained", 0.7), ("random", 0.6), ("bands", 0.8))
        for share in DRAWS
        for database in asked
    ]
    table = pd.DataFrame(rows, columns=["profile", *COLUMNS])
    return table.assign(auroc=table.auroc - 0.1 * (table.database == "b"))


@pytest.fixture(scope="module")
def made(planted) -> dict[str, pd.DataFrame]:
    return beyond_tables.tables(planted)


def test_scores_are_scikit_learns_in_each_database_and_overall(planted, made):
    table = made["results"].set_index(["profile", "model", "seed", "protocol", "split", "database"])
    for column in STRENGTH:
        profile, model, seed = column.split("/")
        for letter, part in planted.left_out.groupby("database"):
            if part[column].isna().any():
                continue
            key = (profile, model, int(seed), beyond_tables.LEFT_OUT, "test", letter)
            expected = roc_auc_score(part.label, part[column])
            assert table.auroc[key] == pytest.approx(expected, abs=1e-5)
            assert table.low[key] < table.auroc[key] < table.high[key]
        for split, part in planted.published.groupby("split"):
            key = (profile, model, int(seed), beyond_tables.PUBLISHED, split, "all")
            expected = roc_auc_score(part.label, part[column])
            assert table.auroc[key] == pytest.approx(expected, abs=1e-5)
            assert table.accuracy[key] == pytest.approx(
                ((part[column] > 0) == part.label).mean(), abs=1e-5
            )


def test_dev_chooses_the_threshold_of_the_second_accuracy(planted, made):
    table = made["results"].set_index(["profile", "model", "seed", "split", "database"])
    published = planted.published
    dev, test = (published[published.split == split] for split in ("dev", "test"))
    for column in STRENGTH:
        profile, model, seed = column.split("/")
        points = roc_curve(dev.label, dev[column], drop_intermediate=False)
        gain = np.round(points[1] - points[0], 9)
        best = points[2][np.flatnonzero(gain == gain.max())[-1]]
        expected = ((test[column] >= best) == test.label).mean()
        found = table.accuracy_by_dev[profile, model, int(seed), "test", "all"]
        assert found == pytest.approx(expected, abs=1 / len(test)), "a recording at the threshold"
        for split, database in (("test", "within"), ("dev", "all")):
            assert np.isnan(table.accuracy_by_dev[profile, model, int(seed), split, database])


def test_mean_and_worst_are_those_of_six_databases_or_not_given(made):
    left_out = made["results"].query("protocol == 'leave-one-database-out'")
    for (_, _, seed), part in left_out.groupby(["profile", "model", "seed"]):
        letters = part[part.database.str.len() == 1].auroc
        pools = part.set_index("database").auroc
        if seed == 1:
            assert len(letters) == 5 and not {"mean", "worst"} & set(pools.index)
        else:
            assert pools["mean"] == pytest.approx(letters.mean(), abs=1e-5)
            assert pools["worst"] == letters.min()


def test_the_summary_averages_seeds_that_know_every_database(planted, made):
    table = made["summary"].set_index("profile")
    assert table.new_seeds.to_dict() == {"native-all": 1, "paper": 1}
    assert table.seeds.to_dict() == {"native-all": 2, "paper": 1}
    assert (table.low < table.new_database).all() and (table.new_database < table.high).all()
    assert table.low["native-all"] > table.high["paper"], "a planted difference is clear"
    areas = {
        letter: roc_auc_score(part.label, part["paper/teacher/0"])
        for letter, part in planted.left_out.groupby("database")
    }
    assert table.new_database["paper"] == pytest.approx(np.mean([*areas.values()]), abs=1e-5)
    assert table.worst["paper"] == pytest.approx(min(areas.values()), abs=1e-5)
    assert table.worst_database["paper"] == min(areas, key=areas.get)
    assert table.parameters["native-all"] == 59_109


def test_the_interval_of_the_mean_is_that_of_a_plain_bootstrap(planted, made):
    generator, means = np.random.default_rng(5), []
    parts = [part for _, part in planted.left_out.groupby("database")]
    for _ in range(1500):
        drawn = [part.sample(len(part), replace=True, random_state=generator) for part in parts]
        means.append(np.mean([roc_auc_score(p.label, p["paper/teacher/0"]) for p in drawn]))
    row = made["summary"].set_index("profile").loc["paper"]
    low, high = np.percentile(means, [2.5, 97.5])
    # Thirty groups a class: the correction for few of them widens by about a twentieth.
    assert row.high - row.low == pytest.approx(1.05 * (high - low), rel=0.12)
    assert (row.high + row.low) / 2 == pytest.approx((high + low) / 2, abs=0.01)


def test_a_database_has_no_say_in_what_it_is_tested_with(planted, made):
    table = made["choices"].set_index(["test_database", "profile"])
    assert set(table.index[table.chosen].get_level_values(1)) == {"native-all"}
    # Without a: ab asks b (.80), ae asks e (.81); be and bf trained on a and ask nothing for it.
    assert table.inner_auroc["a", "native-all"] == pytest.approx((0.80 + 0.81) / 2)
    assert table.pairs["a", "native-all"] == 2
    # Without b: a (.80), e (.82), f (.83).
    assert table.inner_auroc["b", "native-all"] == pytest.approx((0.80 + 0.82 + 0.83) / 3, abs=1e-5)
    assert ("c", "native-all") not in table.index
    tested = planted.left_out[planted.left_out.database == "a"]
    columns = [c for c in STRENGTH if c.startswith("native")]
    outer = np.mean([roc_auc_score(tested.label, tested[column]) for column in columns])
    assert table.auroc["a", "native-all"] == pytest.approx(outer, abs=1e-5)


def test_a_recipe_asked_less_often_is_not_chosen(planted):
    lucky = pd.DataFrame([("lucky", "compact baseline", 0, "ab", "b", 0.99)], columns=INNER)
    table = beyond_tables.choices(pd.concat([planted.inner, lucky]), beyond_tables.results(planted))
    assert "lucky" in set(table.profile) and "lucky" not in set(table[table.chosen].profile)


def test_label_efficiency_is_over_seeds_and_every_database_counts_alike(made):
    table = made["label_efficiency"].set_index(["asked", "features", "share"])
    whole = table.loc["all", "pre-trained", 0.1]
    assert (whole.auroc, whole.low, whole.high) == pytest.approx((0.71, 0.7, 0.72))
    assert whole.labels == pytest.approx(40)
    new = table.loc["new", "bands", 1.0]
    assert (new.auroc, new.low, new.high) == pytest.approx((0.75, 0.7, 0.8))
    words = finding_of(figures.label_efficiency(made["label_efficiency"]))
    assert "of the profile paper reaches 0.71" in words and "0.81" in words


def test_figures_tell_the_gain_and_the_size(made):
    page = figures.new_databases(made["summary"], made["results"])
    scores = made["summary"].set_index("profile").new_database
    assert f"the native recipe's mean AUROC is {scores['native-all']:.2f}" in finding_of(page)
    assert f"with fewer, is at {scores['paper']:.2f}" in finding_of(page)
    assert "59,109 parameters, 200 times fewer" in finding_of(figures.sizes(made["summary"]))


def test_the_figure_is_about_the_recipe_declared_and_not_the_luckiest(made):
    lucky = made["summary"].assign(profile=lambda t: t.profile.replace("paper", "lucky"))
    lucky.loc[lucky.profile == "lucky", "new_database"] = 0.99
    results = made["results"].assign(profile=lambda t: t.profile.replace("paper", "lucky"))
    assert "0.99" not in finding_of(figures.new_databases(lucky, results))


def test_what_is_kept_is_read_back_and_drawn_again(planted, tmp_path, capsys):
    planted.save(tmp_path)
    assert main(["redraw", str(tmp_path)]) == 0
    names = {path.name for path in tmp_path.iterdir()}
    assert {"results.csv", "summary.csv", "choices.csv", "new-databases.png"} <= names


# Gathering finished runs

SMALL = {
    **{"splits.labeled": "all", "networks.cnn": "compact", "networks.width": 4},
    **{"front_end.scaling": "band mean", "front_end.offset": 0.0, "front_end.scale": 1.0},
}


@pytest.fixture(scope="module")
def study(tiny_data, tmp_path_factory) -> Study:
    """A compact baseline of one seed, and the same without b, with each recording once."""
    where = {"data.folder": str(tiny_data / "recordings"), "splits.lists": str(tiny_data)}
    settings = tuple(f"{k}={v}" for k, v in (TINY_SETTINGS | where | SMALL).items())
    study = Study("demo", (0,), settings, str(tmp_path_factory.mktemp("beyond") / "tiny-demo"))
    with pytest.MonkeyPatch.context():
        stations.train_baseline(study.open(0))
        train_variants(study, ["without-b", "focal-without-b"], str, models=["baseline"])
    return study


def test_everything_finished_is_gathered_and_nothing_is_named(study):
    kept = collect([study])
    column, linear = "demo/compact baseline/0", "mean-cycle/linear model/0"
    networks = {column, "demo-focal/compact baseline/0"}
    assert {c for c in kept.left_out if "/" in c} == {*networks, linear}
    assert set(kept.left_out.database) == {"b"} and not {"record", "path"} & set(kept.left_out)
    saved = stations.saved_predictions(study.look(0, "without-b"), "baseline", "test")
    assert sorted(kept.left_out[column]) == sorted(saved.logit.round(LEFT_OUT_DIGITS))
    assert kept.published.split.unique().tolist() == ["dev", "test"]
    assert kept.inner.empty
    sizes = kept.recipes.set_index("model").parameters.groupby(level=0).unique()
    assert {model: len(found) for model, found in sizes.items()} == {
        **{"compact baseline": 1, "linear model": 1},
    }
    assert sizes["linear model"].item() == 61
    assert set(kept.recipes.labeled) == {"both"} and set(kept.recipes.told) == {"true labels"}


@pytest.mark.parametrize(
    ("model", "targets", "told"),
    [
        *(("student", "soft labels", "soft labels"), ("teacher", "soft labels", "true labels")),
        *(("student", "fine-tune labels", "true labels"), ("baseline", "", "true labels")),
    ],
)
def test_a_student_was_told_soft_labels_unless_it_needed_no_teacher(study, model, targets, told):
    run = study.look(0)
    change = dataclasses.replace(run.experiment.distillation, targets=targets)
    run = dataclasses.replace(
        run, experiment=dataclasses.replace(run.experiment, distillation=change)
    )
    assert Finished("demo", model, run).told == told


@pytest.mark.parametrize(
    ("model", "labeled", "known"),
    [
        *(("baseline", "finetune", "pretrain"), ("student", "finetune", "finetune")),
        *(("teacher", "finetune", "finetune"), ("baseline", "all", "both")),
    ],
)
def test_the_paper_s_baseline_knows_other_labels_than_its_teacher(study, model, labeled, known):
    run = study.look(0)
    splits = dataclasses.replace(run.experiment.splits, labeled=labeled)
    run = dataclasses.replace(run, experiment=dataclasses.replace(run.experiment, splits=splits))
    assert Finished("demo", model, run).labeled == known


def test_recordings_of_a_database_are_in_the_order_of_their_samples(study):
    kept, run = collect([study]).left_out, study.look(0, "without-b")
    recordings = pd.read_csv(run.path("recordings.csv"), dtype={"digest": str})
    recordings = recordings[recordings.database == "b"].sort_values("digest")
    assert kept.label.tolist() == recordings.label.tolist()
    saved = stations.saved_predictions(run, "baseline", "test").set_index("record").logit
    logits = saved[recordings.record].round(LEFT_OUT_DIGITS)
    assert kept["demo/compact baseline/0"].tolist() == logits.tolist()
    assert logits.to_numpy() == pytest.approx(saved[recordings.record].to_numpy(), abs=5.1e-4)


def test_of_a_change_there_is_the_model_that_it_is_about(study, tmp_path):
    run = study.look(0, "focal-without-b")
    copied = shutil.copytree(run.folder, tmp_path / run.folder.name)
    for path in [*copied.glob("baseline.*"), *copied.glob("predictions/baseline*")]:
        shutil.copy(path, path.with_name(path.name.replace("baseline", "teacher")))
    elsewhere = dataclasses.replace(study, base=str(tmp_path / Path(study.base).name))
    found = finished.everything_finished([elsewhere], ["b"])
    assert [model.model for model in found] == ["baseline"]
    assert not list(finished.everything_finished([elsewhere], ["b"], but=["focal"]))


def test_what_the_paper_would_try_stands_beside_the_recipe_of_the_same_machine(study, tmp_path):
    assert future_work.tried([study]).empty
    elsewhere = dataclasses.replace(study, base=str(tmp_path / Path(study.base).name))
    shutil.copytree(study.folder(0), elsewhere.folder(0))
    train_variants(elsewhere, ["focal"], str)
    row = future_work.tried([elsewhere]).iloc[0]
    assert [row.profile, row.change, row.model, row.seed] == ["demo", "focal", "baseline", 0]
    for name, variant in (("recipe", ""), ("changed", "focal")):
        run = elsewhere.look(0, variant)
        dev = [epoch["dev_auroc"] for epoch in read_json(run.path("baseline.json"))["history"]]
        assert row[name] == pytest.approx(max(dev)) and row[f"{name}_last"] == pytest.approx(
            dev[-1]
        )
        assert row[f"{name}_epochs"] == len(dev) == 2
    assert "demo-focal/compact baseline/0" not in collect([elsewhere]).published, "kept once"


def test_the_command_gathers_and_draws_what_there_is(study, tmp_path, capsys):
    settings = [word for text in study.overrides for word in ("--set", text)]
    base = study.base.removesuffix("-demo")
    command = ["beyond", "--profile", "demo", "--run-dir", base, "--to", str(tmp_path), *settings]
    assert main(command) == 0
    kept = Beyond.read(tmp_path)
    assert len(kept.left_out) and len(pd.read_csv(tmp_path / "results.csv"))


def test_the_command_adds_to_what_the_folder_holds(study, tmp_path, capsys):
    settings = [word for text in study.overrides for word in ("--set", text)]
    base = study.base.removesuffix("-demo")
    command = ["beyond", "--profile", "demo", "--run-dir", base, "--to", str(tmp_path), *settings]
    kept, column, other = collect([study]), "demo/compact baseline/0", "here/compact baseline/0"
    renamed = {
        name: getattr(kept, name).rename(columns={column: other})
        for name in ("published", "left_out")
    }
    recipes = kept.recipes.replace({"profile": {"demo": "here"}})
    dataclasses.replace(kept, **renamed, recipes=recipes).save(tmp_path)
    assert main([*command, "--add"]) == 0
    both = Beyond.read(tmp_path)
    assert both.left_out[other].equals(both.left_out[column])
    assert {"demo", "here"} <= set(both.recipes.profile)
    assert main(command) == 0
    assert other not in Beyond.read(tmp_path).left_out


def test_runs_without_anything_left_out_are_drawn_too(study, tmp_path):
    kept = collect([study])
    alone = dataclasses.replace(kept, left_out=kept.left_out.head(0))
    made = beyond_tables.tables(alone)
    assert set(made["results"].protocol) == {beyond_tables.PUBLISHED}
    assert made["summary"].seeds.tolist() == [1, 1]


def test_of_a_change_dev_is_read_and_the_test_split_is_not(study, monkeypatch):
    stations.train_baseline(study.open(0, "other-sensors"))
    read = finished.saved_predictions

    def refusing(run, model, split):
        whole = not run.experiment.splits.leave_out
        assert not (whole and run.experiment.baseline.sensor and split == "test")
        return read(run, model, split)

    monkeypatch.setattr(finished, "saved_predictions", refusing)
    kept, column = collect([study]), "demo-other-sensors/compact baseline/0"
    known = kept.published[column].notna()
    assert (known == (kept.published.split == "dev")).all() and known.any()
    made = beyond_tables.tables(kept)["summary"].set_index("profile")
    # Focal loss was asked without b alone.
    assert made.index[made.dev.isna()].tolist() == ["demo-focal"]
    assert np.isnan(made.test["demo-other-sensors"])


def test_who_hears_no_real_recording_needs_no_pair_to_be_asked(study, tmp_path):
    hearts = {"artificial.recordings": 8, "artificial.seconds": 2.0, "baseline.artificial": 1}
    hearts |= {"baseline.sampling": "even", "baseline.crop_seconds": 1.5}
    hearts |= {"artificial.folder": str(tmp_path)}
    settings = (*study.overrides, *(f"{key}={value}" for key, value in hearts.items()))
    unreal = dataclasses.replace(study, overrides=settings, base=str(tmp_path / "tiny-demo"))
    train_variants(unreal, ["artificial-only-without-a"], str, models=["baseline"])
    inner = collect([unreal]).inner
    assert set(inner.profile) == {"demo-artificial-only"} and set(inner.database) == {"a"}
    assert inner.left_out.tolist() == ["ab", "ac", "ad", "ae", "af"]
    run = unreal.look(0, "artificial-only-without-a")
    assert Finished("demo", "baseline", run).labeled == "none"
    table = stations.saved_predictions(run, "baseline", "test")
    (score,) = inner.auroc.unique()
    assert score == pytest.approx(auroc(table.label, table.logit), abs=1e-5)


def test_runs_of_other_recordings_are_told_by_their_columns(study, monkeypatch):
    read = finished.saved_predictions

    def of_fewer(run, model, split):
        table = read(run, model, split)
        return table[1:] if run.experiment.baseline.focal_gamma else table

    monkeypatch.setattr(finished, "saved_predictions", of_fewer)
    remedy = "evaluated on other recordings than the rest: give every profile the same --data"
    with pytest.raises(InputError, match=f"^demo-focal/compact baseline/0 were {remedy}"):
        collect([study])


def test_nothing_finished_is_told(study, tmp_path):
    nowhere = Study(study.profile, (0,), study.overrides, str(tmp_path / "none"))
    with pytest.raises(InputError, match="nothing of demo is finished"):
        collect([nowhere])


# What models cost


def test_a_linear_layer_costs_what_it_multiplies():
    front_end = FrontEnd(clip_seconds=1.0, sample_rate=2000, n_fft=256, hop=40, bins=129, mels=20)
    network = nn.Sequential(nn.Flatten(), nn.Linear(20 * front_end.frames, 3))
    found = cost(network, front_end, 0.5)
    assert found["multiply_adds"] == 3 * 20 * front_end.frames
    assert found["parameters"] == count_parameters(network)
    assert found["milliseconds"] > 0


def test_a_compact_network_pays_for_what_it_hears_alone():
    front_end = FrontEnd(
        **{"clip_seconds": 20.0, "sample_rate": 2000, "n_fft": 256, "hop": 40, "bins": 129},
        **{"mels": 50, "scaling": "band mean", "offset": 0.0, "scale": 1.0},
    )
    torch.manual_seed(0)
    compact = CompactCNN(50, 4, padding_value(front_end))
    costs = [cost(compact, front_end, seconds)["multiply_adds"] for seconds in (4.0, 8.0)]
    assert costs[1] == pytest.approx(2 * costs[0], rel=0.05)
    papers = cost(StudentCNN(front_end.shape), front_end, 4.0)
    assert papers["multiply_adds"] > 3 * costs[0]
