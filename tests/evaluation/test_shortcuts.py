"""Shortcuts that were planted are found, and none where none was planted."""

import dataclasses
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from scipy.special import expit

from hsutils.evaluation import shortcuts
from hsutils.config import Data
from hsutils.data.corpus import Corpus
from hsutils.errors import InputError
from hsutils.evaluation.metrics import accuracy, auroc
from hsutils.data.challenge import read_recordings
from hsutils.evaluation.shortcuts import (
    FACTS,
    PERCENTILES,
    RIVALS,
    band_statistics,
    format_facts,
    probe_database,
    rivals,
    separation,
)
from hsutils.data.splits import leave_out, published_splits
from hsutils.data.synthetic import write_corpus
from hsutils.evaluation.domains import within_database

RATE = 2_000
NOT_BANDS = RIVALS[:2]


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> pd.DataFrame:
    """160 artificial recordings of 2 s."""
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


def alternating(recordings: pd.DataFrame) -> pd.DataFrame:
    """Every other recording of each database and label to finetune, and the rest to test."""
    odd = recordings.groupby(["database", "label"]).cumcount() % 2 == 1
    return recordings[["record"]].assign(split=np.where(odd, "test", "finetune"))


def score_of(recordings: pd.DataFrame, rival: str) -> pd.DataFrame:
    """AUROC of a rival on the test half, by database and pooled."""
    corpus = Corpus(recordings, alternating(recordings), None)
    predicted = rivals(corpus, splits=["test"], names=[rival])[rival]["test"]
    cases = recordings.merge(predicted[["record", "logit"]], on="record")
    table = within_database(cases.rename(columns={"logit": rival}), [rival])
    return table.set_index("database")


def write(path: Path, samples: np.ndarray, **kwargs) -> pd.DataFrame:
    soundfile.write(path, samples, RATE, **kwargs)
    return pd.DataFrame({"record": [path.stem], "path": [str(path)]})


def facts_of(path: Path, samples: np.ndarray, **kwargs) -> pd.Series:
    return format_facts(write(path, samples, **kwargs)).drop(columns="record").loc[0]


def test_facts_are_those_counted_by_hand(tmp_path):
    samples = np.array([0, 3, 3, 1, -5, -5, -5, 0, 3, 1] * 100, dtype=np.int16)
    facts = facts_of(tmp_path / "w.wav", samples)
    # Flat tops are 3 3 and -5 -5 -5; the 3 that stands alone is none.
    expected = {"seconds": 0.5, "levels": 4, "peak": 5, "clipped": 500, "levels_per_second": 8}
    assert facts.to_dict() == expected
    assert list(facts.index.sort_values()) == sorted(FACTS)


@pytest.mark.parametrize("gain", [1, 3])
def test_clipping_is_seen_at_any_gain_and_only_where_there_is_some(tmp_path, gain):
    wave = np.random.default_rng(0).normal(0, 3_000, 2_000)
    clipped = gain * np.clip(wave.astype(np.int16), -4_000, 4_000)
    flat = abs(clipped) == abs(clipped).max()
    beside = flat & (np.r_[0, clipped[:-1]] == clipped) | flat & (np.r_[clipped[1:], 0] == clipped)
    found = facts_of(tmp_path / "c.wav", clipped).clipped
    assert found == beside.sum() > 20
    assert facts_of(tmp_path / "u.wav", wave.astype(np.int16)).clipped == 0


def test_full_scale_is_a_peak_like_any_other(tmp_path):
    samples = np.array([-32768, 100, 32767, 0] * 100, dtype=np.int16)
    assert facts_of(tmp_path / "w.wav", samples).peak == 32768


def test_other_formats_and_two_channels_count_in_steps_of_16_bits(tmp_path):
    samples = np.random.default_rng(0).integers(-900, 900, (1_000, 1)).astype(np.int16)
    facts = facts_of(tmp_path / "w.wav", samples)
    as_float = facts_of(tmp_path / "f.wav", samples / 32_768, subtype="FLOAT")
    twice = facts_of(tmp_path / "t.wav", np.repeat(samples, 2, axis=1))
    assert as_float.equals(facts)
    assert twice.drop("clipped").equals(facts.drop("clipped"))


def test_facts_keep_the_order_of_the_recordings(recordings):
    shuffled = recordings.sample(frac=1, random_state=0)
    facts = format_facts(shuffled)
    assert facts.record.tolist() == shuffled.record.tolist()
    assert facts.seconds.tolist() == shuffled.seconds.tolist()


def test_band_statistics_are_those_of_the_occupied_frames(noise_cache):
    records = noise_cache.index.index[[7, 3]]
    found = band_statistics(noise_cache, records)
    assert found.shape == (2, 24 * (2 + len(PERCENTILES)))
    for record, row in zip(records, found, strict=True):
        first, last = noise_cache.index.loc[record, ["first_frame", "last_frame"]]
        bands = np.array(noise_cache.array[noise_cache.rows([record])[0]], dtype=float)
        heard = bands[:, first:last]
        expected = [heard.mean(axis=1), heard.std(axis=1)]
        expected += [np.percentile(heard, p, axis=1) for p in (10, 25, 50, 75, 90)]
        np.testing.assert_allclose(row, np.concatenate(expected), atol=1e-5)
    assert last - first < bands.shape[1]


def test_separation_finds_the_planted_levels_in_their_database_and_nothing_elsewhere(planted):
    table = separation(format_facts(planted), planted).set_index(["database", "fact"])
    assert table.auroc["e", "levels"] > 0.98
    assert table.low["e", "levels"] > 0.95
    others = table.drop(index="e").query("n > 10")
    assert len(others) == 2 * len(FACTS)
    assert ((others.low <= 0.5) & (others.high >= 0.5)).all()


def test_separation_keeps_which_class_has_more_and_how_far_apart_they_are(recordings):
    facts = format_facts(recordings).assign(levels=-recordings.label.astype(float))
    table = separation(facts, recordings)
    levels = table[table.fact == "levels"].set_index("database")
    assert (levels[["auroc", "distance"]] == [0, 0.5]).all(axis=None)
    assert levels.n.sum() == len(recordings)
    assert levels.abnormal.sum() == recordings.label.sum()
    assert table.fact.tolist() == [*FACTS] * 6


@pytest.mark.usefixtures("few_trees")
def test_format_alone_ranks_planted_levels_and_next_to_nothing_without(recordings, planted):
    before, after = (score_of(table, "format only") for table in (recordings, planted))
    assert after.auroc["e"] > 0.95
    assert after.auroc["pooled"] > 0.8
    assert before.low["pooled"] < 0.5 < before.high["pooled"]


def test_the_letter_is_the_share_among_the_labels_learned_from(recordings):
    splits = alternating(recordings)
    predicted = rivals(Corpus(recordings, splits, None), splits=["test"], names=RIVALS[:1])
    learned = recordings[(splits.split == "finetune").to_numpy()].groupby("database").label
    share = (learned.sum() + 0.5) / (learned.count() + 1)
    test = predicted["database letter"]["test"]
    np.testing.assert_allclose(expit(test.logit), share[test.record.str[0]])


@pytest.mark.usefixtures("few_trees")
def test_rivals_predict_every_split_asked_and_never_see_its_labels(noise_recordings, noise_cache):
    splits = noise_recordings[["record"]].assign(split=np.resize(["finetune", "dev", "test"], 40))
    noise = noise_recordings.assign(label=np.arange(40) // 3 % 2)
    flipped = noise.assign(label=noise.label.where(splits.split == "finetune", 1 - noise.label))
    seen, unseen = (rivals(Corpus(table, splits, noise_cache)) for table in (noise, flipped))
    assert tuple(seen) == RIVALS
    for rival, split in ((rival, split) for rival in RIVALS for split in ("dev", "test")):
        one, other = seen[rival][split], unseen[rival][split]
        assert one.record.tolist() == splits.record[splits.split == split].tolist()
        assert one.logit.tolist() == other.logit.tolist()
        assert (one.label == 1 - other.label).all()
        assert np.isfinite(one.logit).all()


@pytest.mark.usefixtures("few_trees")
def test_band_statistics_find_a_label_that_is_a_bands_loudness(noise_recordings, noise_cache):
    loudness = band_statistics(noise_cache, noise_recordings.record)[:, 3]
    splits = noise_recordings[["record"]].assign(split=np.resize(["finetune", "test"], 40))
    scores = {}
    labels = {"planted": loudness > np.median(loudness), "other": np.arange(40) // 2 % 2}
    for name, label in labels.items():
        corpus = Corpus(noise_recordings.assign(label=label.astype(int)), splits, noise_cache)
        predicted = rivals(corpus, splits=["test"], names=RIVALS[2:])["band statistics"]["test"]
        scores[name] = auroc(predicted.label, predicted.logit)
    assert scores["planted"] > 0.9
    assert 0.2 < scores["other"] < 0.8


@pytest.mark.usefixtures("few_trees")
def test_a_database_left_out_is_none_of_those_known(recordings):
    splits = alternating(recordings)
    splits.loc[::7, "split"] = "dev"
    splits.loc[::11, "split"] = "pretrain"
    held = Corpus(recordings, leave_out(splits, recordings, "b"), None)
    predicted = rivals(held, splits=["test"], names=NOT_BANDS)
    assert set(predicted["format only"]["test"].record.str[0]) == {"b"}
    assert predicted["database letter"]["test"].logit.nunique() == 1
    renamed = recordings.assign(database=recordings.database.replace("b", "z"))
    again = rivals(dataclasses.replace(held, recordings=renamed), splits=["test"], names=NOT_BANDS)
    for rival in NOT_BANDS:
        pd.testing.assert_frame_equal(again[rival]["test"], predicted[rival]["test"])


def test_rivals_say_what_they_cannot_learn_from(recordings):
    corpus = Corpus(recordings, alternating(recordings), None)
    with pytest.raises(InputError) as problems:
        rivals(corpus, names=["stethoscope"])
    assert "no recording is in dev" in str(problems.value)
    assert "stethoscope is unknown" in str(problems.value)
    normal = dataclasses.replace(corpus, recordings=recordings.assign(label=0))
    with pytest.raises(InputError, match="finetune holds one class only"):
        rivals(normal, splits=["test"])


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


def test_probe_never_recognizes_a_group_it_has_seen():
    _, databases, groups = deal(1)
    own = np.random.default_rng(2).normal(size=(groups.max() + 1, 100))
    noise = np.random.default_rng(3).normal(0, 0.01, (len(groups), 100))
    # Whoever splits a group between learning and testing recognizes it, and with it its database.
    assert probe_database(own[groups] + noise, databases, groups)["balanced_accuracy"] < 0.5
    alone = probe_database(own[groups] + noise, databases, np.arange(len(groups)))
    assert alone["balanced_accuracy"] > 0.95


def test_probe_counts_every_recording_once_and_averages_over_databases():
    features, databases, groups = deal(4)
    features[:, 0] += 2 * (databases == "a")
    found = probe_database(features, databases, groups)
    counts = found["confusion"]
    assert counts.sum(axis=1).to_dict() == pd.Series(databases).value_counts().to_dict()
    shares = np.diag(counts) / counts.sum(axis=1)
    assert found["balanced_accuracy"] == pytest.approx(shares.mean())
    assert found["low"] < found["balanced_accuracy"] < found["high"]


def test_probe_leaves_out_databases_of_one_group_and_asks_for_two_others():
    features, databases, groups = deal(5)
    databases[groups == 7] = "d"
    found = probe_database(features, databases, groups)
    assert found["recordings"] == len(databases) - 3
    assert list(found["confusion"]) == [*"abe"]
    with pytest.raises(InputError, match="a: 80"):
        probe_database(features, ["a"] * len(groups), groups)
    with pytest.raises(InputError, match="folds: 1"):
        probe_database(features, databases, groups, folds=1)


@pytest.mark.real
def test_letter_and_format_alone_go_far_on_the_published_lists(real_recordings):
    try:
        splits = published_splits(real_recordings, os.environ.get("HSUTILS_LISTS"))
    except InputError as error:
        pytest.skip(f"HSUTILS_LISTS names no folder with the four lists, and {error}")
    corpus = Corpus(real_recordings, splits, None)
    predicted = rivals(corpus, splits=["test"], names=NOT_BANDS)
    letter, stored = (predicted[rival]["test"] for rival in NOT_BANDS)
    assert auroc(letter.label, letter.logit) == pytest.approx(0.80, abs=0.03)
    assert auroc(stored.label, stored.logit) == pytest.approx(0.913, abs=0.03)
    assert accuracy(stored.label, stored.logit) == pytest.approx(0.853, abs=0.03)
    inside = real_recordings[real_recordings.database == "e"]
    table = separation(format_facts(inside), inside).set_index("fact")
    assert table.auroc["levels_per_second"] == pytest.approx(0.979, abs=0.02)
