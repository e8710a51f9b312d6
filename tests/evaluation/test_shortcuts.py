"""Shortcuts that were planted are found, and none where none was planted."""

import dataclasses
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from scipy.special import expit
from sklearn.metrics import accuracy_score

from hsutils.config import RECORDED_RATE, Data
from hsutils.data.challenge import read_recordings
from hsutils.data.corpus import Corpus
from hsutils.data.splits import leave_out, published_splits
from hsutils.data.synthetic import write_corpus
from hsutils.errors import InputError
from hsutils.evaluation import shortcuts
from hsutils.evaluation.domains import within_database
from hsutils.evaluation.metrics import auroc
from hsutils.evaluation.shortcuts import (
    CONTROL_MODELS,
    FACTS,
    PERCENTILES,
    band_statistics,
    control_models,
    database_baseline,
    format_facts,
    probe_database,
    separation,
)

NOT_BANDS = CONTROL_MODELS[:2]


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> pd.DataFrame:
    """160 synthetic recordings of 2 s."""
    folder = str(tmp_path_factory.mktemp("shortcuts"))
    data = Data(folder=folder, recordings=160, seed=1, seconds_scale=0.01)
    return read_recordings(write_corpus(data))


@pytest.fixture(scope="module")
def planted(recordings, tmp_path_factory) -> pd.DataFrame:
    """The same recordings, but the normal ones of database e are stored in 16 levels."""
    folder, table = tmp_path_factory.mktemp("planted"), recordings.copy()
    chosen = table.index[(table.database == "e") & (table.label == 0)]
    for i in chosen:
        samples, rate = soundfile.read(table.path[i], dtype="int16")
        table.loc[i, "path"] = str(folder / f"{table.record[i]}.wav")
        soundfile.write(table.path[i], samples // 4096 * 4096, rate)
    return table


@pytest.fixture
def few_trees(monkeypatch):
    """Planted truth is plain to few trees too, and they are quicker."""
    monkeypatch.setattr(shortcuts, "_TREES", 60)


@pytest.fixture
def one_permutation(monkeypatch):
    """Where nothing is asked about chance."""
    monkeypatch.setattr(shortcuts, "_PERMUTATIONS", 1)


def alternating(recordings: pd.DataFrame) -> pd.DataFrame:
    """Every other recording of each database and label to finetune, and the rest to test."""
    odd = recordings.groupby(["database", "label"]).cumcount() % 2 == 1
    return recordings[["record"]].assign(split=np.where(odd, "test", "finetune"))


def predictions_of(model: str, *corpus) -> pd.DataFrame:
    """Of the test split by a control model of recordings, splits and cache."""
    return control_models(Corpus(*corpus), ["test"], [model])[model]["test"]


def score_of(recordings: pd.DataFrame, model: str) -> pd.DataFrame:
    """AUROC of a control model on the test half, by database ("" is within all of them)."""
    predicted = predictions_of(model, recordings, alternating(recordings), None)
    cases = recordings.merge(predicted[["record", "logit"]], on="record")
    table = within_database(cases, {model: ["logit"]})
    return table[table.protocol == "within one database"].set_index("database")


def with_facts(recordings: pd.DataFrame) -> pd.DataFrame:
    facts = format_facts(recordings)
    assert facts.record.tolist() == recordings.record.tolist()
    return recordings.merge(facts, on="record", suffixes=("_x", ""))


def write(path: Path, samples: np.ndarray, **kwargs) -> pd.DataFrame:
    soundfile.write(path, samples, RECORDED_RATE, **kwargs)
    return pd.DataFrame({"record": [path.stem], "path": [str(path)]})


def facts_of(path: Path, samples: np.ndarray, **kwargs) -> pd.Series:
    return format_facts(write(path, samples, **kwargs)).drop(columns="record").loc[0]


def test_facts_are_those_counted_by_hand(tmp_path):
    samples = np.array([0, 3, 3, 1, -5, -5, -5, 0, 3, 1] * 100, dtype=np.int16)
    facts = facts_of(tmp_path / "w.wav", samples)
    # Flat tops are 3 3 and -5 -5 -5; the 3 that stands alone is none.
    expected = {"seconds": 0.5, "levels": 4, "peak": 5, "clipped": 500, "levels_per_second": 8}
    assert facts.to_dict() == expected
    assert list(facts.index) == list(FACTS)
    full_scale = np.array([-32768, 100, 32767, 0] * 100, dtype=np.int16)
    assert facts_of(tmp_path / "f.wav", full_scale).peak == 32768


@pytest.mark.parametrize("gain", [1, 3])
def test_clipping_is_seen_at_any_gain_and_only_where_there_is_some(tmp_path, gain):
    wave = np.random.default_rng(0).normal(0, 3_000, 2_000)
    clipped = gain * np.clip(wave.astype(np.int16), -4_000, 4_000)
    flat = abs(clipped) == abs(clipped).max()
    beside = flat & (np.r_[0, clipped[:-1]] == clipped) | flat & (np.r_[clipped[1:], 0] == clipped)
    found = facts_of(tmp_path / "c.wav", clipped).clipped
    assert found == beside.sum() > 20
    assert facts_of(tmp_path / "u.wav", wave.astype(np.int16)).clipped == 0


def test_other_formats_and_two_channels_count_in_steps_of_16_bits(tmp_path):
    samples = np.random.default_rng(0).integers(-900, 900, (1_000, 1)).astype(np.int16)
    facts = facts_of(tmp_path / "w.wav", samples)
    as_float = facts_of(tmp_path / "f.wav", samples / 32_768, subtype="FLOAT")
    twice = facts_of(tmp_path / "t.wav", np.repeat(samples, 2, axis=1))
    assert as_float.equals(facts)
    assert twice.drop("clipped").equals(facts.drop("clipped"))


def test_band_statistics_are_those_of_the_occupied_frames(noise_cache):
    records = noise_cache.index.index[[7, 3]]
    found = band_statistics(noise_cache, records)
    assert found.shape == (2, 24 * (2 + len(PERCENTILES)))
    for record, row in zip(records, found, strict=True):
        first, last = noise_cache.index.loc[record, ["first_frame", "last_frame"]]
        bands = np.array(noise_cache.array[noise_cache.rows([record])[0]], dtype=float)
        occupied = bands[:, first:last]
        expected = [occupied.mean(axis=1), occupied.std(axis=1)]
        expected += [np.percentile(occupied, p, axis=1) for p in (10, 25, 50, 75, 90)]
        np.testing.assert_allclose(row, np.concatenate(expected), atol=1e-5)
    assert last - first < bands.shape[1]


def test_separation_finds_the_planted_levels_in_their_database_and_nothing_elsewhere(planted):
    table = separation(with_facts(planted)).set_index(["database", "fact"])
    assert table.auroc["e", "levels"] > 0.98
    assert table.low["e", "levels"] > 0.95
    others = table.drop(index="e").query("recordings > 10")
    assert len(others) == 2 * len(FACTS)
    assert ((others.low <= 0.5) & (others.high >= 0.5)).all()


def test_separation_keeps_which_class_has_more(recordings):
    table = with_facts(recordings.sample(frac=1, random_state=0))
    assert table.seconds.tolist() == table.seconds_x.tolist()
    found = separation(table.assign(levels=-table.label))
    levels = found[found.fact == "levels"]
    assert (levels.auroc == 0).all()
    assert levels.recordings.sum() == len(recordings)
    assert levels.abnormal.sum() == recordings.label.sum()
    assert found.fact.tolist() == [*FACTS] * 6


@pytest.mark.usefixtures("few_trees")
def test_format_alone_ranks_planted_levels_and_next_to_nothing_without(recordings, planted):
    before, after = (score_of(table, "format only") for table in (recordings, planted))
    assert after.auroc["e"] > 0.95 and after.auroc[""] > 0.8
    assert before.low[""] < 0.5 < before.high[""]


def test_the_database_is_its_share_among_the_labels_learned_from(recordings):
    splits = alternating(recordings)
    found = database_baseline(recordings, splits)
    learned = recordings[(splits.split == "finetune").to_numpy()].groupby("database").label
    share = (learned.sum() + 0.5) / (learned.count() + 1)
    np.testing.assert_allclose(expit(found.logit), share[found.record.str[0]])
    model = predictions_of("database only", recordings, splits, None)
    pd.testing.assert_frame_equal(model, found)
    without = splits.assign(split=splits.split.where(recordings.database != "b", "test"))
    asked = database_baseline(recordings, without)
    known = recordings[(without.split == "finetune").to_numpy()].label
    strangers = expit(asked.logit[asked.record.str[0] == "b"])
    np.testing.assert_allclose(strangers, (known.sum() + 0.5) / (len(known) + 1))


@pytest.mark.usefixtures("few_trees")
def test_control_models_predict_every_split_asked_and_not_from_its_labels(
    noise_recordings, noise_cache
):
    splits = noise_recordings[["record"]].assign(split=np.resize(["finetune", "dev", "test"], 40))
    noise = noise_recordings.assign(label=np.arange(40) // 3 % 2)
    flipped = noise.assign(label=noise.label.where(splits.split == "finetune", 1 - noise.label))
    one, other = (control_models(Corpus(table, splits, noise_cache)) for table in (noise, flipped))
    assert tuple(one) == CONTROL_MODELS
    for model, split in ((model, split) for model in one for split in ("dev", "test")):
        a, b = one[model][split], other[model][split]
        assert a.record.tolist() == splits.record[splits.split == split].tolist()
        assert a.logit.tolist() == b.logit.tolist() and np.isfinite(a.logit).all()
        assert (a.label == 1 - b.label).all()


@pytest.mark.usefixtures("few_trees")
def test_band_statistics_find_a_label_that_is_a_bands_loudness(noise_recordings, noise_cache):
    loudness = band_statistics(noise_cache, noise_recordings.record)[:, 3]
    splits = noise_recordings[["record"]].assign(split=np.resize(["finetune", "test"], 40))
    scores = {}
    labels = {"planted": loudness > np.median(loudness), "other": np.arange(40) // 2 % 2}
    for name, label in labels.items():
        table = noise_recordings.assign(label=label.astype(int))
        predicted = predictions_of("band statistics", table, splits, noise_cache)
        scores[name] = auroc(predicted.label, predicted.logit)
    assert scores["planted"] > 0.9
    assert 0.2 < scores["other"] < 0.8


@pytest.mark.usefixtures("few_trees")
def test_a_database_left_out_is_none_of_those_known(recordings):
    splits = alternating(recordings)
    splits.loc[::7, "split"] = "dev"
    splits.loc[::11, "split"] = "pretrain"
    held = Corpus(recordings, leave_out(splits, recordings, "b"), None)
    predicted = control_models(held, ["test"], NOT_BANDS)
    assert set(predicted["format only"]["test"].record.str[0]) == {"b"}
    assert predicted["database only"]["test"].logit.nunique() == 1
    renamed = recordings.assign(database=recordings.database.replace("b", "z"))
    again = control_models(dataclasses.replace(held, recordings=renamed), ["test"], NOT_BANDS)
    for model in NOT_BANDS:
        pd.testing.assert_frame_equal(again[model]["test"], predicted[model]["test"])


def test_control_models_need_both_classes_to_learn_from(recordings):
    normal = Corpus(recordings.assign(label=0), alternating(recordings), None)
    with pytest.raises(InputError, match="finetune lacks a class"):
        control_models(normal, ["test"], NOT_BANDS)


def deal(seed: int, n: int = 240) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Noise, databases and groups of three recordings."""
    rng = np.random.default_rng(seed)
    groups = np.arange(n) // 3
    databases = rng.choice([*"abe"], n // 3, p=[0.5, 0.3, 0.2])[groups]
    return rng.normal(size=(n, 8)), databases, groups


def test_probe_reads_a_planted_database_off_features_of_any_scale():
    features, databases, groups = deal(0)
    features[:, 0] += 6 * (databases == "b")
    features[:, 5] += 6 * (databases == "e")
    found = probe_database(features * np.logspace(-4, 3, 8), databases, groups)
    assert found["balanced_accuracy"] > 0.95
    assert found["chance_high"] < 0.6


@pytest.mark.parametrize("seed", range(3))
def test_probe_is_at_chance_on_noise(seed):
    found = probe_database(*deal(seed))
    assert found["low"] < 1 / 3 < found["high"]
    assert found["chance"] == pytest.approx(1 / 3, abs=0.06)
    assert found["balanced_accuracy"] < found["chance_high"] + 0.05


@pytest.mark.usefixtures("one_permutation")
def test_probe_never_recognizes_a_group_it_has_seen():
    _, databases, groups = deal(1)
    own = np.random.default_rng(2).normal(size=(groups.max() + 1, 100))
    noise = np.random.default_rng(3).normal(0, 0.01, (len(groups), 100))
    # Whoever splits a group between learning and testing recognizes it, and with it its database.
    assert probe_database(own[groups] + noise, databases, groups)["balanced_accuracy"] < 0.5
    alone = probe_database(own[groups] + noise, databases, np.arange(len(groups)))
    assert alone["balanced_accuracy"] > 0.95


@pytest.mark.usefixtures("one_permutation")
def test_probe_averages_over_databases_not_recordings():
    features, databases, groups = deal(4)
    features[:, 0] += 6 * (databases == "a")
    # Of b and e, which look alike, half is recognized on average; all of a.
    found = probe_database(features, databases, groups)
    assert found["recordings"] == len(databases)
    assert found["balanced_accuracy"] == pytest.approx(2 / 3, abs=0.08)
    assert found["low"] < found["balanced_accuracy"] < found["high"]


@pytest.mark.usefixtures("one_permutation")
def test_probe_leaves_out_databases_of_one_group_and_asks_for_two_others():
    features, databases, groups = deal(5)
    databases[groups == 7] = "d"
    assert probe_database(features, databases, groups)["recordings"] == len(databases) - 3
    with pytest.raises(InputError, match="a: 80"):
        probe_database(features, ["a"] * len(groups), groups)


@pytest.mark.real
def test_database_and_format_alone_go_far_on_the_published_lists(real_recordings):
    try:
        splits = published_splits(real_recordings, os.environ.get("HSUTILS_LISTS"))
    except InputError as error:
        pytest.skip(f"HSUTILS_LISTS names no folder with the four lists, and {error}")
    corpus = Corpus(real_recordings, splits, None)
    predicted = control_models(corpus, ["test"], NOT_BANDS)
    database, stored = (predicted[model]["test"] for model in NOT_BANDS)
    assert auroc(database.label, database.logit) == pytest.approx(0.80, abs=0.03)
    assert auroc(stored.label, stored.logit) == pytest.approx(0.913, abs=0.03)
    assert accuracy_score(stored.label, stored.logit > 0) == pytest.approx(0.853, abs=0.03)
    inside = real_recordings[real_recordings.database == "e"]
    table = separation(with_facts(inside)).set_index("fact")
    assert table.auroc["levels_per_second"] == pytest.approx(0.979, abs=0.02)
