"""The cache holds what the front end computes, once, whole, and without filling memory."""

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from hsutils.data import cache as module
from hsutils.data.cache import SpectrogramCache, build_cache, cache_key, cache_root
from hsutils.errors import InputError
from hsutils.experiment import PROJECT
from hsutils.settings import FrontEnd
from hsutils.audio.spectrograms import log_mel, standardize
from hsutils.data.splits import stratified_subset
from hsutils.audio.wav import SAMPLE_RATE, read_waveform

pytestmark = pytest.mark.usefixtures("one_thread")

SHORT = FrontEnd(clip_seconds=1.5, mels=24)


class Killed(Exception):
    """Stands for whatever may stop a process."""


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """An empty folder of caches."""
    monkeypatch.setenv("HSUTILS_CACHE", str(tmp_path))
    return tmp_path


def fail_after(monkeypatch, name: str, calls: int) -> None:
    """Let a function of the module raise after some calls."""
    function, done = getattr(module, name), []

    def failing(*arguments):
        done.append(1)
        if len(done) > calls:
            raise Killed
        return function(*arguments)

    monkeypatch.setattr(module, name, failing)


def test_the_cache_is_a_read_only_half_precision_map(noise_cache, noise_recordings):
    assert isinstance(noise_cache.array, np.memmap)
    assert noise_cache.array.dtype == np.float16
    assert not noise_cache.array.flags.writeable
    assert noise_cache.array.shape == (len(noise_recordings), 24, 73)
    assert noise_cache.shape == (1, 24, 73)


def test_every_row_is_its_recordings_spectrogram_to_half_precision(noise_cache, noise_recordings):
    for row, recording in enumerate(noise_recordings.itertuples()):
        expected, occupied = log_mel(read_waveform(recording.path), SAMPLE_RATE, SHORT)
        assert noise_cache.rows([recording.record]) == [row]
        np.testing.assert_allclose(noise_cache.array[row], expected, rtol=2**-11, atol=2**-25)
        assert noise_cache.occupied(row) == occupied


def test_batches_are_standardized_float32_in_the_order_asked_for(noise_cache):
    batch = noise_cache.batch([7, 2, 7])
    assert batch.shape == (3, 1, 24, 73)
    assert batch.dtype == torch.float32
    expected = standardize(torch.tensor(np.array(noise_cache.array[2])).float(), SHORT)
    assert torch.equal(batch[1, 0], expected)
    assert torch.equal(batch[0], batch[2])
    record = noise_cache.index.index[7]
    assert torch.equal(noise_cache.spectrogram(record), batch[0])


def test_changing_a_batch_does_not_change_the_cache(noise_cache):
    before = noise_cache.batch([3])
    noise_cache.batch([3]).zero_()
    assert torch.equal(noise_cache.batch([3]), before)


def test_a_cache_travels_to_another_process_as_its_address(noise_cache):
    parcel = pickle.dumps(noise_cache)
    assert len(parcel) < 1_000
    np.testing.assert_array_equal(pickle.loads(parcel).array, noise_cache.array)


def test_unknown_records_are_named(noise_cache):
    with pytest.raises(InputError, match=r"2 records have no spectrogram \(x1, x2\)"):
        noise_cache.rows([noise_cache.index.index[0], "x1", "x2"])


def test_a_second_call_computes_nothing(noise_cache, noise_recordings, monkeypatch):
    fail_after(monkeypatch, "log_mel", 0)
    again = build_cache(noise_recordings, SHORT)
    assert again.folder == noise_cache.folder
    np.testing.assert_array_equal(again.array, noise_cache.array)


@pytest.mark.parametrize(("name", "calls"), [("log_mel", 3), ("log_mel", 38), ("write_csv", 0)])
def test_an_interrupted_build_leaves_nothing_that_looks_whole(
    empty, noise_recordings, noise_cache, monkeypatch, name, calls
):
    with monkeypatch.context() as patch, pytest.raises(Killed):
        fail_after(patch, name, calls)
        build_cache(noise_recordings, SHORT)
    folder = empty / cache_key(noise_recordings, SHORT)
    with pytest.raises(FileNotFoundError):
        SpectrogramCache(folder, SHORT)
    built = build_cache(noise_recordings, SHORT)
    np.testing.assert_array_equal(built.array, noise_cache.array)
    assert {p.name for p in folder.iterdir()} <= {"spectrograms.npy", "index.csv", "lock"}


KILLED_BUILD = """
import sys, time
import pandas as pd
from hsutils.data import cache
from hsutils.settings import FrontEnd

compute, calls = cache.log_mel, []

def log_mel(*arguments):
    calls.append(1)
    if len(calls) > 5:
        print("halfway", flush=True)
        time.sleep(60)
    return compute(*arguments)

cache.log_mel = log_mel
table = pd.read_csv(sys.argv[1], dtype={"digest": str})
cache.build_cache(table, FrontEnd(clip_seconds=1.5, mels=24))
"""


def test_a_killed_build_is_swept_away_by_the_next(empty, noise_recordings, noise_cache, tmp_path):
    table = tmp_path / "recordings.csv"
    noise_recordings.to_csv(table, index=False)
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED_BUILD, table], stdout=subprocess.PIPE, cwd=PROJECT
    )
    # Two threads may get there at once, and their words run together.
    assert process.stdout.readline().startswith(b"halfway")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    folder = empty / cache_key(noise_recordings, SHORT)
    assert list(folder.glob(".spectrograms-*")), "a kill cannot tidy up after itself"
    built = build_cache(noise_recordings, SHORT)
    np.testing.assert_array_equal(built.array, noise_cache.array)
    assert not list(folder.glob(".spectrograms-*"))


def test_two_builders_at_once_compute_once(empty, noise_recordings, monkeypatch):
    computed, compute = [], module.log_mel
    monkeypatch.setattr(module, "log_mel", lambda *a: computed.append(1) or compute(*a))
    builders = [
        threading.Thread(target=build_cache, args=(noise_recordings, SHORT)) for _ in range(2)
    ]
    for builder in builders:
        builder.start()
    for builder in builders:
        builder.join()
    assert len(computed) == len(noise_recordings)


def test_the_key_follows_samples_and_settings_and_nothing_else(noise_recordings):
    key = cache_key(noise_recordings, SHORT)
    elsewhere = noise_recordings.assign(path="elsewhere", label=1, group="g", quality=0)
    assert cache_key(elsewhere, SHORT) == key
    other = {"digest": "00" * 16, "sample_rate": 4_000, "record": "a9999"}
    changed = [noise_recordings.copy() for _ in other]
    for table, (column, value) in zip(changed, other.items(), strict=True):
        table.loc[0, column] = value
    keys = [cache_key(table, SHORT) for table in (*changed, noise_recordings[1:])]
    settings = ({"floor": 1e-10}, {"offset": 0.0}, {"clip_seconds": 1.6}, {"mels": 25})
    keys += [cache_key(noise_recordings, replace(SHORT, **setting)) for setting in settings]
    assert len({key, *keys}) == 1 + 4 + 4


def test_a_slow_disk_does_not_fill_memory(empty, noise_recordings, monkeypatch):
    made, read, ahead = [], [], []
    compute = module.log_mel

    def slowly(items, total, description):
        for item in items:
            ahead.append(len(made) - len(read))
            read.append(1)
            time.sleep(0.002)
            yield item

    monkeypatch.setattr(module, "log_mel", lambda *a: made.append(1) or compute(*a))
    monkeypatch.setattr(module, "progress", slowly)
    build_cache(noise_recordings, SHORT)
    assert len(made) == len(read) == len(noise_recordings)
    assert max(ahead) <= 18


def test_results_come_in_order_and_only_a_few_ahead_of_the_reader():
    started = []

    def square(x):
        started.append(x)
        return x * x

    with module.ThreadPoolExecutor(3) as pool:
        squares = module._map_ahead(pool, square, range(100), ahead=4)
        assert next(squares) == 0
        time.sleep(0.05)
        assert len(started) <= 6
        assert list(squares) == [x * x for x in range(1, 100)]


def test_the_cache_lies_where_the_user_says_or_beside_the_package(monkeypatch, tmp_path):
    monkeypatch.setenv("HSUTILS_CACHE", str(tmp_path))
    assert cache_root() == tmp_path
    monkeypatch.delenv("HSUTILS_CACHE")
    assert cache_root() == PROJECT / "cache"


def test_computing_leaves_pytorchs_threads_as_they_were(empty, noise_recordings):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        build_cache(noise_recordings[:3], SHORT)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.real
def test_real_recordings_of_every_database_have_finite_spectrograms(empty, real_recordings):
    sample = stratified_subset(real_recordings, 40)
    assert set(sample.database) == set("abcdef")
    cache = build_cache(sample, FrontEnd())
    assert cache.array.shape == (len(sample), 50, 2805)
    assert np.isfinite(cache.array).all()
    extremes = cache.array.min(axis=(1, 2)), cache.array.max(axis=(1, 2))
    assert (extremes[0] == 0).all() and (extremes[1] == 1).all()
    assert os.environ["HSUTILS_CACHE"] in str(cache.folder)
