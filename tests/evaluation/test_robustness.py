"""Perturbations against the physics they claim, models against what they are known to hear."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from scipy.signal import butter, hilbert, periodogram, sosfiltfilt, welch
from sklearn.metrics import roc_auc_score
from torch import nn

from hsutils.evaluation import robustness as module
from hsutils.data.cache import build_cache
from hsutils.training.devices import start_fabric
from hsutils.errors import InputError
from hsutils.experiment import Run, load_experiment
from hsutils.models.teacher_student import StudentCNN, Teacher
from hsutils.audio.perturbations import PERTURBATIONS, SPEECH_DB, SPEECH_HZ, speech_noise
from hsutils.data.challenge import read_recordings, read_waveform
from hsutils.evaluation.robustness import perturbed_scores, robustness
from hsutils.audio.spectrograms import mel_edges
from hsutils.training.loop import predict

pytestmark = pytest.mark.usefixtures("one_thread")

RATE = 2_000
NOISES = ("white noise", "speech-like noise")
HUMS = ("hum 50 Hz", "hum 60 Hz")
SETTINGS = {
    **{"front_end.clip_seconds": 2.2, "compute.threads": 1},
    **{"compute.accelerator": "cpu", "compute.precision": "32-true"},
}


def worse(name: str, waveform: np.ndarray, level: float, seed: int = 0) -> np.ndarray:
    return PERTURBATIONS[name].apply(waveform, level, np.random.default_rng(seed))


def decibels(ratio: float) -> float:
    return 10 * np.log10(ratio)


@pytest.fixture(scope="module")
def beats() -> np.ndarray:
    """20 s of soft thuds of noise in steps of 16 bits, three in 2 s."""
    time = np.arange(20 * RATE) / RATE
    waveform = np.random.default_rng(9).normal(size=len(time)) * np.exp(-10 * (time % (2 / 3)))
    waveform *= 0.05 / np.abs(waveform).max()
    return (np.round(waveform * 32_768) / 32_768).astype(np.float32)


# What a perturbation does


@pytest.mark.parametrize("name", NOISES)
@pytest.mark.parametrize("snr", PERTURBATIONS["white noise"].levels)
def test_noise_lies_as_far_below_the_recording_as_asked(beats, name, snr):
    noise = worse(name, beats, snr) - beats
    assert decibels(beats.var() / noise.var()) == pytest.approx(snr, abs=0.1)


@pytest.mark.parametrize("name", HUMS)
@pytest.mark.parametrize("level", PERTURBATIONS["hum 50 Hz"].levels)
def test_hum_lies_as_far_above_the_recording_as_asked(beats, name, level):
    hum = worse(name, beats, level) - beats
    assert decibels(hum.var() / beats.var()) == pytest.approx(level, abs=0.1)


@pytest.mark.parametrize("name", [*NOISES, *HUMS])
def test_a_loud_recording_is_turned_down_not_clipped(beats, name):
    level = 10.0 if name in HUMS else -10.0
    soft, loud = (worse(name, gain * beats, level) for gain in (1, 20))
    assert np.abs(soft).max() < 0.5 and np.abs(loud).max() == pytest.approx(1, abs=1e-4)
    assert np.corrcoef(soft, loud)[0, 1] > 0.99999


def test_white_noise_is_as_strong_everywhere(beats):
    _, density = welch(worse("white noise", beats, 10) - beats, RATE, nperseg=128)
    assert np.ptp(10 * np.log10(density[1:-1])) < 2


def test_speech_noise_has_the_average_talkers_third_octaves():
    noise = speech_noise(200 * RATE, np.random.default_rng(0))
    hz, density = welch(noise, RATE, nperseg=8192)
    centers = np.array(SPEECH_HZ[:-1])  # half the band at 1 kHz lies beyond the recording
    bands = (centers * 2 ** (-1 / 6), centers * 2 ** (1 / 6))
    inside = [(hz >= low) & (hz < high) for low, high in zip(*bands, strict=True)]
    levels = 10 * np.log10([density[band].sum() for band in inside])
    off = levels - SPEECH_DB[:-1]
    # The two lowest are 20 dB softer, and the slope between them is steep.
    assert np.abs(off - np.median(off))[2:].max() < 1 and np.ptp(off) < 2.5
    assert density[hz < 50].sum() < 1e-4 * density.sum()


def test_speech_noise_swells_four_times_a_second():
    noise = speech_noise(200 * RATE, np.random.default_rng(0))
    hz, modulation = welch(np.abs(hilbert(noise)), RATE, nperseg=4 * RATE)
    assert 3 <= hz[np.argmax(modulation)] <= 5
    syllables, faster = (hz >= 3) & (hz <= 5), (hz >= 10) & (hz <= 12)
    assert modulation[syllables].sum() > 10 * modulation[faster].sum()


def test_speech_noise_never_stops_speaking():
    noise = speech_noise(60 * RATE, np.random.default_rng(3))
    loudness = noise.reshape(-1, RATE // 2).std(axis=1)
    assert loudness.min() > loudness.max() / 4


@pytest.mark.parametrize(("name", "fundamental"), [("hum 50 Hz", 50), ("hum 60 Hz", 60)])
def test_hum_is_lines_at_the_mains_and_its_harmonics(beats, name, fundamental):
    hz, power = periodogram(worse(name, beats, 10) - beats, RATE)
    lines = np.isin(hz, fundamental * np.arange(1, 6))
    assert lines.sum() == 5 and power[~lines].sum() < 1e-4 * power.sum()
    amplitudes = np.sqrt(power[lines] / power[lines][0])
    np.testing.assert_allclose(amplitudes, 1 / np.arange(1, 6), rtol=1e-2)


def test_gain_is_a_factor_until_it_clips(beats):
    np.testing.assert_allclose(worse("gain", beats, 10), beats * 10**0.5, atol=1 / 65_536)
    loud = worse("gain", 8 * beats, 20)
    assert loud.max() == 32_767 / 32_768 and loud.min() == -1
    np.testing.assert_array_equal(np.abs(loud) >= 32_767 / 32_768, np.abs(80 * beats) >= 1)


def test_a_soft_recording_drowns_in_steps(beats):
    soft = worse("gain", beats, -60)
    assert set(np.unique(soft * 32_768)) <= {-2, -1, 0, 1, 2}


@pytest.mark.parametrize("share", PERTURBATIONS["clipping"].levels)
def test_clipping_cuts_at_its_share_of_the_peak_and_nothing_else(beats, share):
    clipped, limit = worse("clipping", beats, share), share * np.abs(beats).max()
    assert np.abs(clipped).max() == pytest.approx(limit, abs=1 / 65_536)
    inside = np.abs(beats) < limit - 1 / 32_768
    np.testing.assert_array_equal(clipped[inside], beats[inside])


def test_shortening_keeps_the_beginning_of_longer_recordings(beats):
    np.testing.assert_array_equal(worse("shortened", beats, 5), beats[: 5 * RATE])
    np.testing.assert_array_equal(worse("shortened", beats[:RATE], 3), beats[:RATE])


@pytest.mark.parametrize("name", set(PERTURBATIONS) - {"shortened"})
def test_what_comes_out_fits_a_16_bit_file(beats, name):
    for level in PERTURBATIONS[name].levels:
        stored = worse(name, beats, level) * 32_768
        assert (stored == np.round(stored)).all()
        assert stored.min() >= -32_768 and stored.max() <= 32_767


@pytest.mark.parametrize("name", [*NOISES, *HUMS])
def test_chance_follows_the_seed(beats, name):
    first, again, other = (worse(name, beats, 10, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.5


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_silence_and_a_single_frame_are_borne(name):
    assert not worse(name, np.zeros(RATE, np.float32), 0.5).any()
    shortest = np.random.default_rng(0).uniform(-1, 1, 47).astype(np.float32)
    assert np.isfinite(worse(name, shortest, 0.5)).all()


# Models of which it is known what they hear


class Contrast(nn.Module):
    """Abnormal where one frequency is louder than another, mean over the middle of the clip."""

    def __init__(self, front_end, hz: float, than: float, margin: float = 0.0):
        super().__init__()
        centers = mel_edges(front_end)[1:-1]
        self.rows = [int(np.abs(centers - f).argmin()) for f in (hz, than)]
        self.margin = margin
        self.middle = slice(front_end.frames // 4, -front_end.frames // 4)

    def forward(self, spectrograms):
        loudness = spectrograms[:, 0, self.rows, self.middle].mean(dim=2)
        return loudness[:, 0] - loudness[:, 1] - self.margin


class Deaf(nn.Module):
    def forward(self, spectrograms):
        return spectrograms.new_full((len(spectrograms),), 0.3)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    return Run(tmp_path_factory.mktemp("run"), load_experiment("demo", SETTINGS))


@pytest.fixture(scope="module")
def corpus(tiny_data) -> pd.DataFrame:
    """The first recording of each database."""
    table = read_recordings(tiny_data / "recordings")
    return table.groupby("database").head(1).reset_index(drop=True)


@pytest.fixture(scope="module")
def whistling(tiny_data, tmp_path_factory) -> pd.DataFrame:
    """Artificial hearts between 100 and 300 Hz; the abnormal whistle at 650 Hz, 30 dB softer."""
    folder, rng = tmp_path_factory.mktemp("whistling"), np.random.default_rng(0)
    table = read_recordings(tiny_data / "recordings").iloc[::2].reset_index(drop=True)
    table["label"] = np.arange(len(table)) % 2
    table["group"] = table.record
    band = butter(6, (100, 300), "bandpass", fs=RATE, output="sos")
    for row in table.itertuples():
        heart = sosfiltfilt(band, read_waveform(row.path))
        heart *= 0.05 / np.abs(heart).max()
        turns = 650 * np.arange(len(heart)) / RATE + rng.uniform()
        whistle = np.sqrt(2) * heart.std() * 10 ** (-30 / 20) * np.sin(2 * np.pi * turns)
        path = folder / f"{row.record}.wav"
        soundfile.write(path, heart + row.label * whistle, RATE, subtype="PCM_16")
        table.loc[row.Index, "path"] = str(path)
    return table


@pytest.fixture(scope="module")
def planted(run, whistling) -> pd.DataFrame:
    """What perturbations cost three models whose ears are known."""
    front_end = run.experiment.front_end
    models = {
        "whistle": Contrast(front_end, 650, than=850, margin=0.5),
        "hum": Contrast(front_end, 50, than=200),
        "deaf": Deaf(),
    }
    table = robustness(perturbed_scores(run, whistling, models), whistling)
    return table.set_index(["model", "perturbation", "level"]).sort_index()


def test_noise_costs_a_model_the_band_it_drowns(planted):
    clean, drowned = planted.loc["whistle", "none"].iloc[0], planted.loc["whistle", "white noise"]
    assert clean.auroc == clean.sensitivity == clean.specificity == 1
    assert drowned.loc[0.0].change < -0.2 and drowned.loc[0.0].change_high < 0
    assert drowned.loc[0.0].auroc < 0.8 and drowned.loc[0.0].flips > 0.3
    assert drowned.loc[20.0].change == 0


def test_a_contrast_of_two_bands_survives_gain_and_hum(planted):
    for name in ("gain", *HUMS):
        rows = planted.loc["whistle", name]
        assert len(rows) == 4 and (rows.change == 0).all() and (rows.flips == 0).all()


def test_a_model_that_answers_by_hum_flips_under_hum(planted):
    clean, hum = planted.loc["hum", "none"].iloc[0], planted.loc["hum", "hum 50 Hz"].loc[10.0]
    assert clean.specificity == 1 and clean.sensitivity == 0
    assert hum.flips == 1 and hum.specificity == 0 and hum.sensitivity == 1
    assert (planted.loc["hum", "gain"].flips == 0).all()


def test_a_deaf_model_changes_nowhere(planted):
    rows = planted.loc["deaf"]
    assert len(rows) == 1 + sum(len(p.levels) for p in PERTURBATIONS.values())
    assert (rows.auroc == 0.5).all()
    assert not rows[["change", "change_low", "change_high", "flips"]].any(axis=None)


def test_cutting_off_what_is_not_there_changes_nothing(planted):
    for model in ("whistle", "hum", "deaf"):
        rows = planted.loc[model, "shortened"]
        assert (rows.flips == 0).all() and (rows.change == 0).all()


# How scores are made


@pytest.fixture(scope="module")
def networks(run) -> dict[str, nn.Module]:
    torch.manual_seed(0)
    return {"teacher": Teacher(), "student": StudentCNN(run.experiment.front_end.shape)}


FEW = {
    name: dataclasses.replace(PERTURBATIONS[name], levels=PERTURBATIONS[name].levels[-1:])
    for name in ("white noise", "gain")
}


@pytest.fixture(scope="module")
def scores(run, corpus, networks) -> pd.DataFrame:
    return perturbed_scores(run, corpus, networks, FEW)


def test_clean_scores_are_the_predictions(run, corpus, networks, scores):
    cache = build_cache(corpus, run.experiment.front_end)
    fabric = start_fabric(run.experiment.compute)
    clean = scores[scores.perturbation == "none"]
    assert clean.level.isna().all() and (clean.unit == "").all()
    for name, network in networks.items():
        logits = predict(fabric.setup(network), cache, cache.rows(corpus.record), fabric)
        ours = clean[clean.model == name].set_index("record").logit.loc[corpus.record]
        np.testing.assert_allclose(ours, logits, rtol=1e-4, atol=1e-6)


def test_scores_have_one_row_a_condition_record_and_model(corpus, scores):
    assert list(scores) == ["perturbation", "unit", "level", "model", "record", "logit"]
    assert list(scores.perturbation.unique()) == ["none", *FEW]
    assert len(scores) == 3 * 2 * len(corpus)
    assert not scores.duplicated(["perturbation", "level", "model", "record"]).any()


def test_a_recordings_scores_depend_on_itself_and_the_seed(run, corpus, networks, scores):
    keys = ["perturbation", "model", "record"]
    backwards = corpus.iloc[[5, 2]]
    ours = scores.set_index(keys).logit

    def logits(seed: int) -> pd.Series:
        return perturbed_scores(run, backwards, networks, FEW, seed).set_index(keys).logit

    same, other = logits(0), logits(1)
    np.testing.assert_allclose(same, ours.loc[same.index], rtol=1e-5)
    changed = (other - same).abs().groupby("perturbation").min()
    assert changed["white noise"] > 0 and changed["gain"] == changed["none"] == 0


def test_the_front_end_serves_all_models_at_once(run, corpus, networks, monkeypatch):
    calls, log_mel = [], module.log_mel
    monkeypatch.setattr(module, "log_mel", lambda *a: calls.append(1) or log_mel(*a))
    perturbed_scores(run, corpus.head(2), networks, FEW)
    assert len(calls) == 2 * (1 + len(FEW))


def test_only_what_the_front_end_hears_is_worsened(run, corpus, networks, tmp_path):
    """Noise follows the power of the clip, not of what comes after."""
    clip = read_waveform(corpus.path[0])[:4_000]
    whole = np.concatenate([np.resize(clip, round(2.2 * RATE)), np.ones(4_000)])
    logits = []
    for name, waveform in (("cut", whole[: round(2.2 * RATE)]), ("whole", whole)):
        folder = tmp_path / name
        folder.mkdir()
        soundfile.write(folder / "a0001.wav", waveform, RATE, subtype="PCM_16")
        table = corpus.head(1).assign(path=str(folder / "a0001.wav"))
        logits.append(perturbed_scores(run, table, networks, FEW).logit)
    np.testing.assert_array_equal(*logits)


def test_all_that_is_wrong_is_named_before_anything_is_scored(run, corpus):
    absent = corpus.assign(path=corpus.path.where(corpus.index > 1, "absent.wav"))
    with pytest.raises(InputError) as error:
        perturbed_scores(run, absent, {}, seed=-1)
    for said in ("absent.wav: missing", "at least one recording and one model", "seed is -1"):
        assert said in str(error.value)


# What the table says


def hand_made(clean, noisy) -> tuple[pd.DataFrame, pd.DataFrame]:
    records = [f"a{i:04d}" for i in range(len(clean))]
    cases = pd.DataFrame({"record": records, "label": [0, 0, 0, 1, 1, 1], "group": records})
    parts = [
        pd.DataFrame({"record": records, "logit": logits}).assign(
            perturbation=name, unit=unit, level=level, model="student"
        )
        for (name, unit, level), logits in (
            (module.CLEAN, clean),
            (("white noise", "dB SNR", 5.0), noisy),
        )
    ]
    return pd.concat(parts, ignore_index=True), cases


CALM, SHAKEN = [-2.0, -1, 1, -1.5, 2, 3], [-2.0, 3, 1, -1, -2.5, 3]


def test_the_table_is_what_an_independent_library_says():
    scores, cases = hand_made(CALM, SHAKEN)
    shuffled = scores.sample(frac=1, random_state=0)
    table = robustness(shuffled, cases).set_index("perturbation")
    before, after = (roc_auc_score(cases.label, logits) for logits in (CALM, SHAKEN))
    noisy = table.loc["white noise"]
    assert table.auroc["none"] == pytest.approx(before) and noisy.auroc == pytest.approx(after)
    assert noisy.change == pytest.approx(after - before)
    assert noisy.flips == 2 / 6 and table.flips["none"] == 0
    assert noisy.sensitivity == 1 / 3 and noisy.specificity == 1 / 3
    assert noisy.change_low <= noisy.change <= noisy.change_high
    assert noisy.low <= noisy.auroc <= noisy.high


def test_scores_without_their_clean_ones_and_unknown_records_are_refused():
    scores, cases = hand_made(CALM, SHAKEN)
    lacking = scores.drop(scores.index[scores.perturbation == "none"][:1])
    with pytest.raises(InputError) as error:
        robustness(lacking, cases.iloc[:-1])
    assert "no clean score" in str(error.value) and "1 records (a0005)" in str(error.value)
