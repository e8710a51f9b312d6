"""Synthetic corpora are laid out as the real one, neither trivial nor hopeless, and heal."""

import hashlib
import shutil
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
import soundfile
from scipy.signal import spectrogram
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from hsutils.audio.heart_simulator import FINDINGS, LESIONS
from hsutils.audio.wav import read_samples
from hsutils.config import Data, Synthetic
from hsutils.data import synthetic
from hsutils.data.challenge import read_recordings
from hsutils.data.synthetic import corpus_folder, corpus_recording, plan, write_corpus
from hsutils.errors import InputError


@pytest.fixture(scope="module")
def settings(tmp_path_factory, corpus_of) -> Data:
    return corpus_of(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def corpus(settings) -> Path:
    return write_corpus(settings)


def digests(root: Path) -> dict[str, str]:
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


# The corpus


def test_the_corpus_reads_as_the_challenge_does(corpus, settings):
    recordings = read_recordings(corpus)
    planned = plan(24, 0, 0.1)
    columns = ["record", "database", "label", "quality"]
    pd.testing.assert_frame_equal(recordings[columns], planned[columns], check_dtype=False)
    np.testing.assert_allclose(recordings.seconds, planned.seconds, atol=1 / 2000)
    assert (recordings.group == recordings.record).all()
    for path in recordings.path:
        wav = soundfile.info(path)
        assert (wav.samplerate, wav.channels, wav.subtype) == (2000, 1, "PCM_16")


def test_what_was_drawn_agrees_with_the_labels_and_the_files(corpus, settings):
    truth = pd.read_csv(corpus / "synthetic.csv")
    assert all(row.lesion in FINDINGS[row.label] for row in truth.itertuples())
    snr = truth.groupby("quality").snr_db.median()
    assert snr[0] < snr[1] - 8
    for row in truth[::7].itertuples():
        samples, drawn = corpus_recording(row, settings)
        np.testing.assert_array_equal(soundfile.read(corpus / row.file, dtype="int16")[0], samples)
        assert drawn["snr_db"] == row.snr_db and row.digest == digests(corpus)[row.file]


def test_equal_seeds_give_equal_bytes_and_others_other_sounds(corpus, corpus_of, tmp_path):
    again, other = (write_corpus(corpus_of(tmp_path / str(s), seed=s)) for s in (0, 1))
    wavs = [{p.name: p.read_bytes() for p in r.rglob("*.wav")} for r in (corpus, again, other)]
    assert wavs[0] == wavs[1] and len({*wavs[0].values(), *wavs[2].values()}) == 48
    before = {path: path.stat().st_mtime_ns for path in again.rglob("*.*")}
    write_corpus(corpus_of(tmp_path / "0"))
    assert {path: path.stat().st_mtime_ns for path in again.rglob("*.*")} == before


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


FILES = ("training-b/b0001.wav", "training-e/REFERENCE.csv", "synthetic.csv", "synthetic.json")


@pytest.mark.parametrize(
    ("name", "damage"), [*((name, flip) for name in FILES), (FILES[0], Path.unlink)]
)
def test_a_damaged_corpus_heals(corpus, corpus_of, tmp_path, name, damage):
    asked = corpus_of(tmp_path)
    copy = Path(shutil.copytree(corpus, corpus_folder(asked)))
    damage(copy / name)
    assert digests(copy) != digests(corpus)
    assert digests(write_corpus(asked)) == digests(corpus)


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError])
def test_an_interrupted_writing_leaves_nothing_but_the_corpus_to_the_next(
    corpus, corpus_of, tmp_path, monkeypatch, stop
):
    rendered = [corpus_recording(row, Data()) for row in plan(5, 0, 0.1).itertuples()]
    with monkeypatch.context() as patch, pytest.raises(stop):
        patch.setattr(synthetic, "corpus_recording", Mock(side_effect=[*rendered, stop]))
        write_corpus(corpus_of(tmp_path))
    half = corpus_folder(corpus_of(tmp_path))
    assert len(list(half.rglob("*.wav"))) == 5 and not (half / "synthetic.csv").exists()
    assert digests(write_corpus(corpus_of(tmp_path))) == digests(corpus)
    assert list(tmp_path.iterdir()) == [half]


def test_too_few_recordings_and_too_little_room_are_one_line(corpus_of, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="recordings=5: use 6 or more"):
        write_corpus(corpus_of(tmp_path, recordings=5))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Mock(free=100_000))
    with pytest.raises(InputError, match=r"^data\.folder=.*0.1 MB are free; make room.*$"):
        write_corpus(corpus_of(tmp_path))


def test_synthetic_recordings_are_not_put_among_real_ones(corpus_of, tmp_path, write_folder):
    write_folder(tmp_path / "challenge" / "training-a", {"a0001": 1})
    for folder in (tmp_path, tmp_path / "challenge"):
        with pytest.raises(InputError, match="holds real recordings"):
            write_corpus(corpus_of(folder))
    assert [path.name for path in tmp_path.iterdir()] == ["challenge"]


# Proportions


def test_a_plan_of_the_real_size_has_the_real_counts_and_confounds_as_the_real_data():
    planned = plan(3240, seed=0)
    for database in synthetic.REAL.itertuples():
        rows = planned[planned.database == database.Index]
        found = len(rows), rows.label.sum(), (1 - rows.quality).sum()
        assert found == (database.recordings, database.abnormal, database.noisy)
        np.testing.assert_allclose(rows.seconds.median(), database.seconds[3], rtol=0.02)
    base_rate = planned.groupby("database").label.transform("mean")
    assert 0.75 < roc_auc_score(planned.label, base_rate) < 0.82
    halves = plan(3240, seed=0, seconds_scale=0.5).seconds
    np.testing.assert_allclose(halves, planned.seconds / 2, atol=1e-3)


@pytest.mark.parametrize("size", [6, 7, 19, 60, 300, 1001])
def test_every_size_is_exact_has_all_databases_and_a_fifth_abnormal(size):
    recordings = plan(size, seed=3)
    assert len(recordings) == size and recordings.record.is_unique
    assert set(recordings.database) == set("abcdef")
    assert recordings.label.sum() == round(size * 665 / 3240)
    assert (1 - recordings.quality).sum() == round(size * 364 / 3240)


def test_allocation_gives_the_largest_remainder_the_odd_one():
    assert list(synthetic.allocate(10, np.array([4.6, 4.4, 1.0]))) == [5, 4, 1]
    assert list(synthetic.allocate(10, np.array([98.0, 1.0, 1.0]), floor=2)) == [6, 2, 2]


# Difficulty


def test_louder_murmurs_leave_hearts_without_one_untouched():
    rows = [row for row in plan(60, seed=0, seconds_scale=0.1).itertuples() if row.quality]
    for row in rows[:20]:
        soft, drawn = corpus_recording(row, Data(murmur_db=-60.0))
        loud, _ = corpus_recording(row, Data(murmur_db=6.0))
        assert np.array_equal(soft, loud) == (drawn["murmur_grade"] == 0)


def test_a_simple_classifier_is_neither_lost_nor_perfect(corpus_of, tmp_path):
    corpus = write_corpus(corpus_of(tmp_path, recordings=150, seconds_scale=0.2))
    recordings = read_recordings(corpus)
    powers = [spectrogram(*soundfile.read(path), nperseg=128)[2] for path in recordings.path]
    # Of the power in each band, what is common and what is rare within a recording.
    features = [np.quantile(np.log10(p + 1e-12), [0.1, 0.5, 0.9], axis=1).ravel() for p in powers]
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.03, class_weight="balanced"))
    logit = cross_val_predict(model, features, recordings.label, cv=5, method="decision_function")
    assert 0.6 < roc_auc_score(recordings.label, logit) < 0.97


# Recordings to train with


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> pd.DataFrame:
    folder = str(tmp_path_factory.mktemp("z"))
    asked = Synthetic(recordings=160, seconds=1.5, seed=4, folder=folder)
    return synthetic.write_training_recordings(asked)


def test_half_of_them_are_abnormal_and_only_those_have_a_lesion_of_the_sick(recordings):
    assert recordings.label.tolist() == [0, 1] * 80
    for label, part in recordings.groupby("label"):
        assert set(part.lesion) <= set(FINDINGS[label])
        murmurs = part.lesion.map(lambda lesion: LESIONS[lesion].murmur is not None)
        assert ((part.murmur_grade > 0) == murmurs).all()


def test_files_hold_what_the_table_says(recordings):
    for row in recordings.loc[[0, 7, 159]].itertuples():
        samples, rate = read_samples(row.path)
        expected, _ = synthetic.training_recording(row.label, 1.5, [4, row.Index])
        assert rate == row.sample_rate == 2000
        np.testing.assert_array_equal(samples[:, 0], expected)
    assert recordings.digest.is_unique


def test_they_are_written_once_and_again_where_damaged_or_settings_differ(tmp_path, monkeypatch):
    asked = Synthetic(recordings=4, seconds=1.0, folder=str(tmp_path))
    made = synthetic.write_training_recordings(asked)
    with monkeypatch.context() as patch:
        patch.setattr(synthetic, "training_recording", lambda *_: pytest.fail("written again"))
        assert synthetic.write_training_recordings(asked).equals(made)
    path = Path(made.path[3])
    before = path.read_bytes()
    flip(path)
    assert synthetic.write_training_recordings(asked).equals(made)
    assert path.read_bytes() == before
    other = synthetic.write_training_recordings(asked.model_copy(update={"seed": 5}))
    assert len(other) == 4 and not set(other.digest) & set(made.digest)


def test_the_file_does_not_betray_the_label(recordings):
    samples = [read_samples(path)[0] for path in recordings.path]
    facts = {
        "levels": [len(np.unique(found)) for found in samples],
        "peak": [np.abs(found.astype(float)).max() for found in samples],
        "clipped": [np.mean(np.abs(found) == np.abs(found).max()) for found in samples],
    }
    for name, values in facts.items():
        assert 0.35 < roc_auc_score(recordings.label, values) < 0.65, name


def test_noise_beside_the_valves_is_as_loud_for_both_labels(monkeypatch):
    simulator = synthetic.simulator
    monkeypatch.setattr(synthetic, "capture", lambda sound, *_: sound)
    monkeypatch.setattr(synthetic, "SECOND_DEVICE", 0.0)
    monkeypatch.setattr(simulator, "valve_sounds", lambda _, __, n, rng: rng.standard_normal(n))
    # A constant in place of the murmur leaves the deviation to valves and room alone.
    monkeypatch.setattr(simulator, "murmur_sound", lambda _, __, n, ___: np.full(n, 9.0))
    made = synthetic.training_recording
    means = [np.mean([np.log(made(y, 2.0, [0, n])[0].std()) for n in range(30)]) for y in (0, 1)]
    assert abs(means[0] - means[1]) < 0.2


def test_devices_differ_as_widely_as_they_may():
    drawn = [synthetic.any_device(np.random.default_rng(seed)) for seed in range(300)]
    for name in ("LOW_HZ", "HIGH_HZ", "FLOOR_DB", "PEAK"):
        ends = getattr(synthetic, name)
        values = [getattr(device, name.split("_")[0].lower()) for device in drawn]
        assert ends[0] <= min(values) and max(values) <= ends[1]
        assert max(values) - min(values) > 0.9 * (ends[1] - ends[0])
    assert {device.hum for device in drawn} == set(synthetic.HUM_HZ)
