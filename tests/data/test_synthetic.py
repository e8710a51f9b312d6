"""The artificial corpus: laid out as the real one, honest hearts, neither trivial nor hopeless."""

import hashlib
from dataclasses import replace
from pathlib import Path

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

from hsutils.data import synthetic
from hsutils.errors import InputError
from hsutils.audio.heart_simulator import (
    FINDINGS,
    GRADES,
    LESIONS,
    RATE,
    Beats,
    Patient,
    draw_beats,
    murmur_sound,
    ring,
    systolic_interval,
    valve_sounds,
)
from hsutils.audio.stethoscope import Stethoscope, capture, room_noise
from hsutils.data.synthetic import DATABASES, allocate, plan, render, write_corpus

SMALL = {"n_recordings": 24, "seconds_scale": 0.2}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("data") / "corpus", **SMALL)


def digests(root: Path) -> dict[str, str]:
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }


def reference(root: Path) -> pd.DataFrame:
    lists = sorted(root.glob("training-?/REFERENCE-SQI.csv"))
    tables = [
        pd.read_csv(path, header=None, names=["record", "label", "quality"]).assign(
            path=lambda table, path=path: [path.parent / f"{r}.wav" for r in table.record]
        )
        for path in lists
    ]
    return pd.concat(tables, ignore_index=True)


# The layout


def test_every_listed_recording_is_16_bit_mono_2000_hz_and_as_long_as_its_header_says(corpus):
    listed = reference(corpus)
    assert len(listed) == len(list(corpus.rglob("*.wav"))) == 24
    for path in listed.path:
        wav = soundfile.info(path)
        assert (wav.samplerate, wav.channels, wav.subtype) == (2000, 1, "PCM_16")
        record, signals, rate, samples = path.with_suffix(".hea").read_text().split()[:4]
        assert (record, signals, rate, samples) == (path.stem, "1", "2000", str(wav.frames))


def test_all_lists_of_a_folder_agree(corpus):
    for folder in corpus.glob("training-?"):
        sqi = pd.read_csv(folder / "REFERENCE-SQI.csv", header=None)
        plain = pd.read_csv(folder / "REFERENCE.csv", header=None)
        pd.testing.assert_frame_equal(plain, sqi[[0, 1]])
        assert (folder / "RECORDS").read_text().split() == list(plain[0])
        for suffix, label in {"abnormal": 1, "normal": -1}.items():
            listed = (folder / f"RECORDS-{suffix}").read_text().split()
            assert listed == list(plain[0][plain[1] == label])
            for record in listed:
                header = (folder / f"{record}.hea").read_text()
                assert header.endswith(f"# {suffix.capitalize()}\n")


def test_checksums_cover_every_other_file_of_the_folder(corpus):
    for folder in corpus.glob("training-?"):
        lines = (folder / "SHA256SUMS").read_text().splitlines()
        sums = {name: digest for digest, name in (line.split("  ") for line in lines)}
        found = digests(folder)
        del found["SHA256SUMS"]
        assert sums == found


def test_the_truth_agrees_with_the_reference(corpus):
    truth = pd.read_csv(corpus / "synthetic.csv")
    listed = reference(corpus)
    assert list(truth.record) == list(listed.record)
    assert list(truth.label) == list((listed.label + 1) // 2)
    assert all(row.lesion in FINDINGS[row.label] for row in truth.itertuples())
    seconds = [soundfile.info(path).duration for path in listed.path]
    np.testing.assert_allclose(truth.seconds, seconds, atol=1 / RATE)


# Writing


def test_equal_seeds_give_equal_bytes_and_others_other_sounds(corpus, tmp_path):
    again = write_corpus(tmp_path / "again", **SMALL)
    other = write_corpus(tmp_path / "other", **SMALL, seed=1)
    assert digests(again) == digests(corpus)
    sounds = {path.read_bytes() for root in (corpus, other) for path in root.rglob("*.wav")}
    assert len(sounds) == 48


def test_a_corpus_already_there_is_left_alone(corpus):
    before = {path: path.stat().st_mtime_ns for path in corpus.rglob("*")}
    assert write_corpus(corpus, **SMALL) == corpus
    assert {path: path.stat().st_mtime_ns for path in corpus.rglob("*")} == before


def test_another_corpus_or_a_stranger_is_never_overwritten(corpus, tmp_path):
    before = digests(corpus)
    with pytest.raises(InputError, match="other parameters"):
        write_corpus(corpus, **SMALL, seed=1)
    assert digests(corpus) == before
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="other files"):
        write_corpus(tmp_path, **SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError])
def test_nothing_is_left_behind_by_an_interrupted_writing(tmp_path, monkeypatch, stop):
    write, written = soundfile.write, []

    def interrupted(path, *args, **kwargs):
        if len(written) == 5:
            raise stop
        written.append(path)
        write(path, *args, **kwargs)

    monkeypatch.setattr(synthetic.soundfile, "write", interrupted)
    with pytest.raises(stop):
        write_corpus(tmp_path / "corpus", **SMALL)
    assert len(written) == 5 and list(tmp_path.iterdir()) == []


def test_all_bad_parameters_are_named_at_once(tmp_path):
    with pytest.raises(InputError) as caught:
        write_corpus(tmp_path / "corpus", n_recordings=5, seed=-1, seconds_scale=0)
    assert [line.split()[0] for line in caught.value.problems] == [
        "n_recordings",
        "seed",
        "seconds_scale",
    ]
    assert list(tmp_path.iterdir()) == []


# Proportions


def test_a_plan_of_the_real_size_has_the_real_counts():
    counts = plan(3240, seed=0).groupby("database")
    for database in DATABASES:
        rows = counts.get_group(database.letter)
        found = len(rows), rows.label.sum(), (1 - rows.quality).sum()
        assert found == (database.recordings, database.abnormal, database.noisy)
        np.testing.assert_allclose(rows.seconds.median(), database.seconds[3], rtol=0.02)


@pytest.mark.parametrize("size", [6, 7, 19, 60, 300, 1001])
def test_every_size_is_exact_has_all_databases_and_a_fifth_abnormal(size):
    recordings = plan(size, seed=3)
    assert len(recordings) == size and recordings.record.is_unique
    assert set(recordings.database) == set("abcdef")
    assert recordings.label.sum() == round(size * 665 / 3240)
    assert (1 - recordings.quality).sum() == round(size * 364 / 3240)


def test_durations_scale():
    full, half = plan(300, seed=0), plan(300, seed=0, seconds_scale=0.5)
    assert 20 < full.seconds.mean() < 25
    np.testing.assert_allclose(half.seconds, full.seconds / 2, atol=1e-3)


def test_the_folder_letter_alone_tells_much_of_the_label_as_in_the_real_data():
    recordings = plan(3240, seed=0)
    base_rate = recordings.groupby("database").label.transform("mean")
    assert 0.75 < roc_auc_score(recordings.label, base_rate) < 0.82


def test_allocation_gives_the_largest_remainder_the_odd_one():
    assert list(allocate(10, np.array([4.6, 4.4, 1.0]))) == [5, 4, 1]
    assert list(allocate(10, np.array([98.0, 1.0, 1.0]), floor=2)) == [6, 2, 2]


# Hearts


def test_odds_of_findings_and_grades_sum_to_one():
    for label in (0, 1):
        assert sum(FINDINGS[label].values()) == pytest.approx(1)
        assert sum(GRADES[label]) == pytest.approx(1)


def test_systole_takes_a_greater_share_of_a_faster_heart():
    shares = []
    for rate in (50, 65, 80, 95, 110):
        beats = draw_beats(Patient("none", 0, rate), 60, np.random.default_rng(0))
        shares.append(np.mean(beats.systole / (beats.systole + beats.diastole)))
    assert np.all(np.diff(shares) > 0)
    assert systolic_interval(110) < systolic_interval(50)


def test_beats_follow_each_other_without_gap_and_cover_the_recording():
    for seed in range(20):
        beats = draw_beats(Patient("none", 0, 72), 30, np.random.default_rng(seed))
        length = beats.systole + beats.diastole
        np.testing.assert_allclose(np.diff(beats.onset), length[:-1])
        assert beats.onset[0] <= 0 and beats.onset[-1] + length[-1] >= 30
        assert 60 / np.mean(length) == pytest.approx(72, rel=0.03)


def test_the_heart_quickens_while_breathing_in():
    patient = Patient("none", 0, 70, respiratory=0.06, mayer=0.0)
    beats = draw_beats(patient, 120, np.random.default_rng(0))
    rr = beats.systole + beats.diastole
    assert np.corrcoef(rr, np.sin(beats.breath))[0, 1] < -0.8


def test_a_ring_starts_at_its_onset_and_peaks_one_decay_later():
    sound = ring(np.array([0.5]), np.array([2.0]), 200.0, 0.02, 2 * RATE)
    assert not sound[: RATE // 2].any()
    assert np.argmax(np.abs(sound)) / RATE == pytest.approx(0.52, abs=0.004)
    assert np.abs(sound).max() == pytest.approx(2, rel=0.05)


def test_rings_outside_the_recording_are_cut_not_wrapped():
    inside = ring(np.array([0.5]), np.ones(1), 50, 0.02, RATE)
    more = ring(np.array([-3.0, 0.5, 1.5]), np.ones(3), 50, 0.02, RATE)
    np.testing.assert_array_equal(inside, more)


def even_beats(count: int = 400) -> Beats:
    ones = np.ones(count)
    return Beats(np.arange(count) * 1.0, 0.4 * ones, 0.6 * ones, 0 * ones)


def beat_profile(lesion: str) -> np.ndarray:
    """Mean power of the murmur alone in each of 50 twentieths of a second of an even beat."""
    patient = Patient(lesion, 4, 60)
    sound = murmur_sound(patient, even_beats(), 400 * RATE, np.random.default_rng(0))
    return (sound**2).reshape(400, 50, RATE // 50).mean(axis=(0, 2))


@pytest.mark.parametrize("lesion", [name for name, it in LESIONS.items() if it.murmur])
def test_a_murmur_keeps_to_its_phase(lesion):
    power, systole = beat_profile(lesion), slice(0, 20)
    share = power[systole].sum() / power.sum()
    assert share > 0.999 if LESIONS[lesion].murmur.phase == "systole" else share < 1e-9


def test_aortic_stenosis_rises_to_mid_systole_and_falls():
    power = beat_profile("aortic_stenosis")[:20]
    assert 8 <= power.argmax() <= 12
    assert power[3:9].mean() > 3 * power[:3].mean() and power[9:12].mean() > 3 * power[16:].mean()


def test_mitral_regurgitation_is_level_through_systole():
    power = beat_profile("mitral_regurgitation")[2:18]
    assert power.max() / power.min() < 1.3


def test_aortic_regurgitation_is_loudest_after_s2_and_dies():
    power = beat_profile("aortic_regurgitation")
    assert power.argmax() in (20, 21, 22)
    thirds = power[21:39].reshape(3, 6).mean(axis=1)
    assert thirds[0] > 3 * thirds[1] > 9 * thirds[2]


def test_mitral_prolapse_clicks_in_mid_systole_and_murmurs_late():
    power = beat_profile("mitral_prolapse")[:20]
    assert power[:10].sum() == 0 and power[10:15].mean() < power[15:19].mean() / 3
    beats = even_beats(20)
    silent = valve_sounds(Patient("none", 0, 60), beats, 20 * RATE, np.random.default_rng(0))
    clicks = valve_sounds(
        Patient("mitral_prolapse", 1, 60), beats, 20 * RATE, np.random.default_rng(0)
    )
    added = np.abs(clicks - silent).reshape(20, RATE).mean(axis=0)
    assert added.argmax() / RATE == pytest.approx(0.2, abs=0.01)


def test_a_grade_is_louder_than_the_one_below():
    levels = [
        murmur_sound(
            Patient("mitral_regurgitation", grade, 60),
            even_beats(20),
            20 * RATE,
            np.random.default_rng(0),
        ).std()
        for grade in (1, 2, 3, 4)
    ]
    assert np.all(np.diff(levels) > 0)


def test_breathing_in_splits_the_second_sound():
    def width_of_s2(breath: float) -> float:
        beats = replace(even_beats(5), breath=np.full(5, breath))
        sound = valve_sounds(Patient("none", 0, 60), beats, 5 * RATE, np.random.default_rng(0))
        energy = sound.reshape(5, RATE)[1, 780:1000] ** 2
        time = np.arange(energy.size) / RATE
        center = np.average(time, weights=energy)
        return float(np.sqrt(np.average((time - center) ** 2, weights=energy)))

    assert width_of_s2(np.pi / 2) > 1.2 * width_of_s2(-np.pi / 2)


# Rooms and stethoscopes


def test_room_noise_has_unit_rms_and_bumps_when_noisy():
    for noisy in (False, True):
        noise = room_noise(20 * RATE, 15.0, noisy, np.random.default_rng(0))
        assert noise.std() == pytest.approx(1)


def test_a_stethoscope_clips_and_stores_in_steps():
    sound = np.random.default_rng(0).standard_normal(4 * RATE)
    device = Stethoscope(low=20, high=200, floor=-40, hum=0, peak=2.0, step=64)
    stored = capture(sound, device, np.random.default_rng(0))
    clipped = stored == stored.max()
    assert stored.dtype == np.int16 and 0.001 < clipped.mean() < 0.2
    assert not (stored[~clipped & (stored > stored.min())] % 64).any()


# Difficulty


def test_recordings_of_quality_0_lie_deeper_in_noise(corpus):
    truth = pd.read_csv(corpus / "synthetic.csv")
    snr = truth.groupby("quality").snr_db.median()
    assert snr[0] < snr[1] - 8


def test_louder_murmurs_leave_hearts_without_one_untouched():
    rows = [row for row in plan(60, seed=0, seconds_scale=0.2).itertuples() if row.quality]
    for row in rows[:20]:
        soft, truth = render(row, 9.0, -60.0, seed=0)
        loud, _ = render(row, 9.0, 6.0, seed=0)
        assert np.array_equal(soft, loud) == (truth["murmur_grade"] == 0)


def band_features(path: Path) -> np.ndarray:
    """Quantiles over time of the log energy in ten bands, relative to the median of the second."""
    waveform, rate = soundfile.read(path)
    frequency, _, power = spectrogram(waveform, rate, nperseg=128, noverlap=64)
    edges = [20, 45, 80, 120, 180, 250, 350, 500, 700, 1001]
    bands = np.digitize(frequency, edges)
    energy = [np.log10(power[bands == band].mean(axis=0) + 1e-12) for band in range(1, 10)]
    quantiles = np.quantile(energy, [0.05, 0.25, 0.5, 0.75, 0.95], axis=1)
    return (quantiles - quantiles[2, 1]).ravel()


def test_a_simple_classifier_is_neither_lost_nor_perfect(tmp_path):
    listed = reference(write_corpus(tmp_path / "corpus", n_recordings=300, seconds_scale=0.5))
    label = (listed.label + 1) // 2
    features = np.array([band_features(path) for path in listed.path])
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.03, class_weight="balanced"))
    logit = cross_val_predict(model, features, label, cv=5, method="decision_function")
    assert 0.6 < roc_auc_score(label, logit) < 0.97
