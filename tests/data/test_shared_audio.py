"""Shared audio is found wherever it stands, exactly, and nothing else is taken for it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from hsutils.data.challenge import read_recordings
from hsutils.data.shared_audio import shared_audio

RATE = 2_000


def noise(samples: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-32_768, 32_768, samples).astype(np.int16)


@pytest.fixture
def table(tmp_path: Path):
    """Writes arrays as WAV files, int16 or float, and lists them."""

    def write(**recordings: np.ndarray) -> pd.DataFrame:
        rows = []
        for record, samples in recordings.items():
            path = tmp_path / f"{record}.wav"
            subtype = "PCM_16" if samples.dtype == np.int16 else "FLOAT"
            soundfile.write(path, samples, RATE, subtype=subtype)
            rows.append((record, str(path)))
        return pd.DataFrame(rows, columns=["record", "path"])

    return write


def test_a_shared_run_is_found_at_any_offset_with_its_exact_length_and_starts(table):
    run = noise(1_237, seed=0)
    a = np.concatenate([noise(3_001, seed=1), run, noise(77, seed=2)])
    b = np.concatenate([noise(40_123, seed=3), run, noise(5, seed=4)])
    pairs = shared_audio(table(a=a, b=b))
    assert pairs[["record_a", "record_b"]].to_numpy().tolist() == [["a", "b"]]
    found = pairs[["seconds", "start_a", "start_b"]].to_numpy() * RATE
    np.testing.assert_allclose(found, [[1_237, 3_001, 40_123]])


def test_of_several_shared_runs_the_longest_is_told(table):
    short, long = noise(1_100, seed=0), noise(2_200, seed=1)
    a = np.concatenate([short, noise(900, seed=2), long])
    b = np.concatenate([short, noise(900, seed=3), long])
    pairs = shared_audio(table(a=a, b=b))
    assert pairs["seconds"].tolist() == [1.1]
    assert pairs["start_b"].tolist() == [1.0]


def test_a_run_shorter_than_the_minimum_does_not_count(table):
    run = noise(999, seed=0)
    recordings = table(
        a=np.append(run, noise(4_000, seed=1)), b=np.append(noise(4_000, seed=2), run)
    )
    assert shared_audio(recordings).empty
    assert len(shared_audio(recordings, minimum_seconds=999 / RATE)) == 1


def test_unrelated_noise_shares_nothing(table):
    recordings = {f"r{seed}": noise(20_000, seed) for seed in range(8)}
    assert shared_audio(table(**recordings)).empty


@pytest.mark.parametrize(
    "filler",
    [
        pytest.param(np.zeros(6_000), id="silence"),
        pytest.param(np.full(6_000, 32_767), id="clipping"),
        pytest.param(9_000 * np.sin(2 * np.pi * 50 * np.arange(6_000) / RATE), id="50 Hz tone"),
        pytest.param(np.where(np.arange(6_000) % 81 == 0, 500, 0), id="sparse pulses"),
    ],
)
def test_what_any_two_recordings_may_have_in_common_is_no_leak(table, filler):
    filler = filler.astype(np.int16)
    a = np.concatenate([noise(3_000, seed=1), filler, noise(3_000, seed=2)])
    b = np.concatenate([noise(2_000, seed=3), filler, noise(4_000, seed=4)])
    assert shared_audio(table(a=a, b=b)).empty


def test_silence_does_not_hide_a_shorter_real_run_at_the_same_offset(table):
    run, silence = noise(1_300, seed=0), np.zeros(8_000, dtype=np.int16)
    a = np.concatenate([run, noise(500, seed=1), silence])
    b = np.concatenate([run, noise(500, seed=2), silence])
    assert shared_audio(table(a=a, b=b))["seconds"].tolist() == [0.65]


def test_a_copy_in_another_sample_format_or_in_two_channels_is_the_same_audio(table):
    samples = noise(5_000, seed=0)
    as_float = (samples / 32_768).astype(np.float32)
    stereo = np.stack([samples, samples], axis=1)
    pairs = shared_audio(table(a=samples, b=as_float, c=stereo))
    assert pairs["seconds"].tolist() == [2.5, 2.5, 2.5]


def test_many_copies_of_one_recording_stay_connected(table):
    samples = noise(3_000, seed=0)
    pairs = shared_audio(table(**{f"r{index:02}": samples for index in range(20)}))
    reached = {"r00"}
    for pair in pairs.sort_values(["record_a", "record_b"]).itertuples():
        if pair.record_a in reached:
            reached.add(pair.record_b)
    assert len(reached) == 20


def test_the_end_of_a_hashing_block_is_no_blind_spot(table, monkeypatch):
    monkeypatch.setattr("hsutils.data.shared_audio._BLOCK", 100)
    run = noise(1_000, seed=0)
    a = np.concatenate([noise(350, seed=1), run])
    b = np.concatenate([noise(13, seed=2), run, noise(900, seed=3)])
    pairs = shared_audio(table(a=a, b=b))
    assert (pairs["start_a"] * RATE).tolist() == [350]


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_recordings_share_nothing_but_keep_the_columns(table, count):
    recordings = table(a=noise(3_000, seed=0)).head(count)
    pairs = shared_audio(recordings)
    assert pairs.empty
    assert list(pairs) == ["record_a", "record_b", "seconds", "start_a", "start_b"]


@pytest.mark.real
def test_the_challenge_shares_audio_between_45_recordings_in_6_groups(real_data):
    recordings = read_recordings(real_data)
    pairs = shared_audio(recordings)
    assert len(pairs) == 39
    assert len({*pairs["record_a"], *pairs["record_b"]}) == 45
    group = recordings.set_index("record")["group"]
    assert (group[pairs["record_a"]].to_numpy() == group[pairs["record_b"]].to_numpy()).all()
    assert group[pairs["record_a"]].nunique() == 6
