"""A recording gets a verdict where it holds a heartbeat, and the reason where it does not."""

import subprocess
import sys
import tracemalloc

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

import hsutils
from hsutils.audio.beats import find_beats
from hsutils.audio.heart_cycles import LinearModel, heart_cycle_features
from hsutils.audio.spectrograms import log_mel, standardize
from hsutils.audio.wav import read_waveform
from hsutils.cli import main
from hsutils.config import CHECKOUT
from hsutils.config import RECORDED_RATE as RATE
from hsutils.errors import InputError
from hsutils.export import PACKAGED_WEIGHTS, load_model
from hsutils.predict import COLUMNS, WINDOW, Classifier, classify, no_heartbeat, patients_of, pool

pytestmark = pytest.mark.usefixtures("one_thread")
CLIPS = sorted((CHECKOUT / "hsutils" / "clips").glob("training-?/*.flac"))
CLIP = next(path for path in CLIPS if path.stem == "a0006")
TIME = np.arange(10 * RATE) / RATE


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier()


@pytest.fixture(scope="module")
def heart() -> np.ndarray:
    """8 s of a real heart at 2,000 Hz, int16."""
    return soundfile.read(CLIP, dtype="int16")[0]


@pytest.fixture(scope="module")
def window(classifier, heart) -> np.ndarray:
    """A window of that heart, from its first S1 to its last one again and again."""
    first, *_, last = np.round(classifier(heart, RATE).beats[:, 0] * RATE).astype(int)
    return np.resize(heart[first:last], round(WINDOW * RATE))


def noise(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=len(TIME))


def ticks(period: float, seed: int) -> np.ndarray:
    """Short knocks at equal intervals, each a little louder or softer, in weak noise."""
    knock = np.exp(-np.arange(200) / 20) * np.sin(2 * np.pi * 90 * np.arange(200) / RATE)
    found, loudness = 0.005 * noise(seed), np.random.default_rng(seed).uniform(0.4, 0.5, 99)
    for place, loud in zip(np.arange(0.3, 9.8, period), loudness, strict=False):
        found[round(place * RATE) :][:200] += loud * knock
    return found


def test_a_file_gets_the_models_own_logit_and_pytorch_gives_the_same():
    network, profile, metadata = load_model(PACKAGED_WEIGHTS)
    waveform = read_waveform(CLIP)
    spectrogram, _ = log_mel(waveform, RATE, profile.front_end)
    image = torch.from_numpy(standardize(spectrogram, profile.front_end))
    linear = LinearModel.from_json(metadata["heart_cycles"])
    logit = linear.together(network(image[None, None]).item(), heart_cycle_features(waveform))
    for model in ({}, {"model": PACKAGED_WEIGHTS}):
        table, problems = classify([CLIP], **model)
        (row,) = table.itertuples()
        assert not problems and table.columns.tolist() == COLUMNS
        assert row.logit == pytest.approx(logit, abs=1e-3) and row.file == str(CLIP)
        assert row.probability == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-3)
        assert (row.seconds, row.heartbeat, row.note) == (8, True, "")


def test_the_decision_is_that_of_the_threshold():
    (logit,) = classify([CLIP])[0].logit
    for threshold, decision in ((logit - 0.1, "abnormal"), (logit + 0.1, "normal")):
        assert Classifier(threshold=threshold).read(CLIP).decision == decision


# What holds no heartbeat

SILENT = {
    "silence": (np.zeros(len(TIME)), "no sound"),
    "a constant": (np.full(len(TIME), 0.25), "no sound"),
    "channels that cancel": (np.stack([noise(), -noise()], axis=1) / 9, "channels cancel"),
}
HEARTLESS = {
    "hum of 50 Hz": 0.3 * np.sin(2 * np.pi * 50 * TIME),
    "hum of 60 Hz and noise": 0.3 * np.sin(2 * np.pi * 60 * TIME) + 0.01 * noise(),
    "a tone": 0.3 * np.sin(2 * np.pi * 100 * TIME),
    "white noise": 0.1 * noise(),
    "rumble": np.cumsum(noise()) / 500,
    "breath": 0.1 * noise() * np.abs(np.sin(np.pi * 0.3 * TIME)),
    "a click": np.eye(1, len(TIME), 6_000)[0],
    "the last bit": (np.arange(len(TIME)) % 2) / 32_768,
}
CLOCKS = {f"ticks {period} s apart": ticks(period, 1) for period in (0.5, 0.75, 1.0, 1.2)}
CLOCKS |= {"single samples": 0.5 * (np.arange(len(TIME)) % RATE == 600)}
CLOCKS |= {"beeps": 0.3 * np.sin(2 * np.pi * 800 * TIME) * (TIME % 1 < 0.05)}
CLOCKS |= {"beats of two hums": sum(np.sin(2 * np.pi * hz * TIME) for hz in (50, 51.2)) / 4}
HEARTLESS = {name: (sound, "no regular heartbeat") for name, sound in HEARTLESS.items()}
HEARTLESS |= {name: (sound, "a clock") for name, sound in CLOCKS.items()}


@pytest.mark.parametrize("name", [*SILENT, *HEARTLESS])
def test_what_holds_no_heartbeat_gets_no_verdict_but_the_reason(classifier, tmp_path, name):
    sound, reason = (SILENT | HEARTLESS)[name]
    soundfile.write(tmp_path / "a.wav", sound, RATE)
    verdict = classifier.read(tmp_path / "a.wav")
    assert reason in verdict.note
    assert verdict.decision == "" and not verdict.heartbeat and np.isnan(verdict.heart_rate)
    assert np.isnan(verdict.logit) == (name in SILENT)
    assert verdict.seconds == (0 if name in SILENT else 10)


def test_a_recording_too_short_for_a_rhythm_says_so(classifier, heart):
    for seconds in (0.05, 1, 2.9):
        verdict = classifier(heart[: round(seconds * RATE)], RATE)
        assert (verdict.decision, verdict.note) == ("", "too short to find a heartbeat")


@pytest.mark.parametrize("seconds", [4, 6, 10])
def test_noise_of_any_length_is_told_from_a_heart(seconds):
    sounds = 0.1 * np.random.default_rng(0).standard_normal((40, seconds * RATE))
    assert np.mean([no_heartbeat(sound, find_beats(sound)) == "" for sound in sounds]) <= 0.05


def test_nearly_all_real_clips_get_a_verdict():
    table, problems = classify(CLIPS[::8])
    assert not problems and len(table) > 60
    assert (table.decision != "").mean() > 0.92
    assert table.heart_rate.dropna().between(40, 200).all()
    assert (table.note != "").eq(table.decision == "").all()


@pytest.mark.real
def test_nearly_all_real_recordings_get_a_verdict(real_recordings):
    table, problems = classify(real_recordings.path[::20])
    assert not problems and (table.decision != "").mean() > 0.94
    assert not table.note.str.contains("clock").any()


# Any length, rate and number of channels


def test_windows_of_the_same_sound_have_the_verdict_of_one(classifier, window):
    once, thrice = classifier(window, RATE), classifier(np.tile(window, 3), RATE)
    assert thrice.logit == pytest.approx(once.logit, rel=1e-12)
    assert (thrice.seconds, thrice.heart_rate) == (3 * once.seconds, once.heart_rate)
    expected = np.concatenate([once.beats + k * WINDOW for k in range(3)])
    assert len(once.beats) > 50
    np.testing.assert_allclose(thrice.beats, expected)


def test_a_window_without_a_heartbeat_is_left_out_and_told(classifier, window):
    hiss = np.random.default_rng(0).integers(-9_000, 9_000, len(window)).astype(np.int16)
    once, both = classifier(window, RATE), classifier(np.append(window, hiss), RATE)
    assert (both.logit, both.seconds) == (once.logit, WINDOW)
    assert both.note == "no heartbeat in 56 of 112 s"


def test_a_heart_sounds_the_same_in_floats_two_channels_and_at_another_rate(classifier, heart):
    plain = classifier(heart, RATE)
    for same in (heart / 32_768, np.stack([heart, heart], axis=1)):
        found = classifier(same, RATE)
        assert found.logit == pytest.approx(plain.logit, abs=1e-6)
        np.testing.assert_array_equal(found.beats, plain.beats)
    twice = np.interp(np.arange(2 * len(heart)) / 2, np.arange(len(heart)), heart) / 32_768
    found = classifier(twice, 2 * RATE)
    assert found.heart_rate == pytest.approx(plain.heart_rate, rel=0.02)
    assert found.decision == plain.decision and found.seconds == plain.seconds


@pytest.mark.parametrize(
    "wrong",
    [[], [np.nan] * 9_000, [0, 1.6] * 9_000, np.zeros((2, 2, 2)), np.zeros((2, 9_000)), 3.0],
)
def test_a_waveform_that_is_none_is_refused(classifier, wrong):
    with pytest.raises(InputError, match="waveform: give"):
        classifier(wrong, RATE)
    for rate in (499, 1e9, 2_000.5, np.nan):
        with pytest.raises(InputError, match="sample_rate: give whole Hz, 500 to 384,000"):
            classifier(np.ones(9_000), rate)


def test_peaks_beyond_full_scale_are_clipped_with_a_note(classifier, heart):
    loud = heart * (1.3 / np.abs(heart).max())
    assert classifier(loud, RATE).note == "clipped: peaks at 1.3 times full scale"


def test_memory_does_not_grow_with_the_recording(classifier, window, tmp_path):
    peaks = []
    for windows in (1, 4):
        with soundfile.SoundFile(tmp_path / "long.wav", "w", RATE, 2, "PCM_16") as file:
            for _ in range(windows):
                file.write(np.stack([window, window], axis=1))
        tracemalloc.start()
        classifier.read(tmp_path / "long.wav")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


def test_the_beats_are_the_hearts_and_their_rate_is_told(classifier, heart):
    verdict = classifier(heart, RATE)
    (s1, s2), gaps = verdict.beats.T, np.diff(verdict.beats[:, 0])
    assert (s1 > 0).all() and (s1 < s2).all() and (s2[:-1] < s1[1:]).all() and s1[-1] < 8
    assert verdict.heart_rate == pytest.approx(60 / np.median(gaps), rel=0.05)


# Patients


TABLE = pd.DataFrame({"file": list("abcd"), "heartbeat": [True, True, False, False]})
TABLE = TABLE.assign(logit=[1.0, -2.0, 9.0, 9.0], heart_rate=[60, 80, np.nan, np.nan])


def test_the_logits_of_a_patients_recordings_with_a_heartbeat_are_averaged():
    pooled = pool(TABLE, ["one", "one", "one", "two"], threshold=-1).set_index("patient")
    assert pooled.loc["one", ["recordings", "heartbeats", "heart_rate"]].tolist() == [3, 2, 70]
    assert pooled.logit["one"] == -0.5 and pooled.decision.tolist() == ["abnormal", ""]
    assert pooled.probability["one"] == pytest.approx(1 / (1 + np.exp(0.5)), abs=1e-4)
    assert pooled.loc["two", ["logit", "probability", "heart_rate"]].isna().all()


def test_where_no_recording_can_be_read_the_table_of_patients_is_empty(tmp_path, capsys):
    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    assert main(["predict", str(tmp_path), "--by", "folder"]) == 2
    printed = capsys.readouterr()
    assert printed.out.startswith("patient,recordings,") and printed.out.count("\n") == 1
    assert "bad.wav: not a readable audio file" in printed.err


def test_patients_are_folders_parts_of_names_or_rows_of_a_table(tmp_path):
    files = [str(tmp_path / "7" / "9_AV.wav"), str(tmp_path / "7" / "10_MV.wav")]
    table = pd.DataFrame({"path": ["7/10_MV.wav", "7/9_AV.wav"], "patient": ["x", "y"]})
    table.to_csv(tmp_path / "of.csv", index=False)
    assert patients_of(files, "folder") == ["7", "7"]
    assert patients_of(files, r"^(\d+)_") == ["9", "10"]
    assert patients_of(files, str(tmp_path / "of.csv")) == ["y", "x"]
    wrong = {"(": "no regular expression", "9": "one group", str(tmp_path / "no.csv"): "no CSV"}
    wrong |= dict.fromkeys(("(a){99999999999}", "(" * 5_000), "no regular expression")
    for by, problem in (wrong | {"(A)V": "10_MV.wav: --by (A)V gives it no patient"}).items():
        with pytest.raises(InputError) as caught:
            patients_of(files, by)
        assert problem in str(caught.value) and "\n" not in str(caught.value)


def test_a_table_of_patients_is_read_as_it_is_meant(tmp_path):
    files, by = [str(tmp_path / "a.wav"), str(tmp_path / "b.wav")], tmp_path / "of.csv"
    by.write_text("Path, Patient ,note\na.wav, NA,\n b.wav,y,\n./a.wav,NA,again\na.wav,,\n")
    assert patients_of(files, str(by)) == ["NA", "y"]
    wrong = {
        "path,patient\na.wav,x\nb.wav,y\na.wav,y\n": f"{files[0]} is given two patients",
        "Path,who\na.wav,x\n": "line 1 names no column patient",
        "file;patient\n": "line 1 names no column path and no patient",
    }
    for text, problem in wrong.items():
        by.write_text(text)
        with pytest.raises(InputError) as caught:
            patients_of(files, str(by))
        assert str(caught.value).startswith(f"--by {by}: {problem}")
        assert "\n" not in str(caught.value)


# Without PyTorch


def test_the_first_answer_needs_no_pytorch_and_importing_the_package_nothing():
    code = "import sys, hsutils; before = set(sys.modules)\n"
    code += "from hsutils.predict import classify; print(classify(sys.argv[1:])[0].decision[0])\n"
    code += "print({'numpy', 'scipy', 'pandas', 'onnxruntime'} & before, 'torch' in sys.modules)\n"
    command = [sys.executable, "-c", code, str(CLIP)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=CHECKOUT)
    assert done.stdout.splitlines() == [Classifier().read(CLIP).decision, "set() False"]
    assert hsutils.load_classifier(threshold=99)(np.zeros(9_000), RATE).decision == ""


@pytest.mark.parametrize("content", [b"", b"no graph", "cut", None])
def test_a_damaged_or_absent_model_is_one_line(tmp_path, content):
    path = tmp_path / "model.onnx"
    if content is not None:
        whole = (CHECKOUT / "hsutils/pretrained/compact.onnx").read_bytes()
        path.write_bytes(whole[:-9_000] if content == "cut" else content)
    with pytest.raises(InputError) as caught:
        Classifier(path)
    assert str(caught.value).startswith(f"{path}: no") and "\n" not in str(caught.value)
