"""The cache holds what the front end computes, once, whole, and without filling memory."""

import errno
import os
import pickle
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from hsutils.audio.spectrograms import log_mel, standardize
from hsutils.audio.wav import read_waveform
from hsutils.config import RECORDED_RATE, FrontEnd
from hsutils.data import cache as module
from hsutils.data.cache import build_cache, cache_key
from hsutils.data.splits import stratified_subset
from hsutils.errors import InputError

pytestmark = pytest.mark.usefixtures("one_thread")

FILES = ("spectrograms.npy", "index.csv", "note.json")
SHORT = FrontEnd(clip_seconds=1.5, mels=24)


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """An empty folder of caches."""
    monkeypatch.setenv("HSUTILS_CACHE", str(tmp_path))
    return tmp_path


def noting_calls(monkeypatch, name: str, fail_after: int = 1_000) -> list:
    """The calls of a function of the module, which is interrupted after some."""
    function, calls = getattr(module, name), []

    def noting(*arguments):
        calls.append(arguments)
        if len(calls) > fail_after:
            raise KeyboardInterrupt
        return function(*arguments)

    monkeypatch.setattr(module, name, noting)
    return calls


def test_every_row_is_its_recordings_spectrogram_to_half_precision(noise_cache, noise_recordings):
    assert isinstance(noise_cache.array, np.memmap) and not noise_cache.array.flags.writeable
    assert noise_cache.array.shape == (40, *noise_cache.shape[1:]) == (40, 24, 73)
    for row, recording in enumerate(noise_recordings.itertuples()):
        expected, occupied = log_mel(read_waveform(recording.path), RECORDED_RATE, SHORT)
        assert noise_cache.rows([recording.record]) == [row]
        np.testing.assert_allclose(noise_cache.array[row], expected, rtol=2**-11, atol=2**-25)
        assert noise_cache.occupied(row) == occupied


def test_a_recording_may_be_called_na(empty, noise_recordings):
    named = noise_recordings[:2].assign(record=["NA", "nan"])
    assert build_cache(named, SHORT).rows(["nan", "NA"]).tolist() == [1, 0]


def test_batches_are_standardized_float32_in_the_order_asked_for_and_unknown_records_named(
    noise_cache,
):
    batch = noise_cache.batch([7, 2, 7])
    assert batch.shape == (3, 1, 24, 73) and batch.dtype == torch.float32
    stored = torch.tensor(noise_cache.array[[7, 2, 7]]).float()
    assert torch.equal(batch[:, 0], standardize(stored, SHORT))
    with pytest.raises(InputError, match=r"2 records have no spectrogram \(x1, x2\)"):
        noise_cache.rows([noise_cache.index.index[0], "x1", "x2"])


def test_a_cache_travels_to_another_process_as_its_address(noise_cache):
    parcel = pickle.dumps(noise_cache)
    assert len(parcel) < 1_000
    np.testing.assert_array_equal(pickle.loads(parcel).array, noise_cache.array)


@pytest.mark.parametrize(
    ("name", "calls"), [("read_log_mel", 0), ("read_log_mel", 38), ("write_json", 0)]
)
def test_an_interrupted_build_leaves_nothing_that_looks_whole(
    empty, noise_recordings, noise_cache, monkeypatch, name, calls
):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        noting_calls(patch, name, calls)
        build_cache(noise_recordings, SHORT)
    folder = empty / cache_key(noise_recordings, SHORT)
    assert not (folder / "note.json").exists()
    # A killed process cannot clean up.
    (folder / ".spectrograms-x.npy").write_bytes(bytes(100))
    built = build_cache(noise_recordings, SHORT)
    np.testing.assert_array_equal(built.array, noise_cache.array)
    assert {path.name for path in folder.iterdir()} <= {*FILES, "lock"}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["a bit", "cut", "empty", "deleted"])
def test_a_damaged_cache_heals(empty, noise_recordings, noise_cache, name, damage):
    some = noise_recordings[:5]
    path = build_cache(some, SHORT).folder / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    left = {"a bit": content, "cut": content[: len(content) // 2], "empty": b""}
    path.unlink()
    if damage in left:
        path.write_bytes(left[damage])
    again = build_cache(some, SHORT)
    np.testing.assert_array_equal(again.array, noise_cache.array[:5])
    assert again.index.equals(noise_cache.index[:5])


def test_too_little_room_is_one_line_that_names_the_setting(empty, noise_recordings, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Mock(free=80_000))
    with pytest.raises(InputError) as caught:
        build_cache(noise_recordings, SHORT)
    problem = "0.1 MB are needed and 0.1 MB are free; make room or name another folder in"
    assert caught.value.problems == [f"HSUTILS_CACHE={empty}: {problem} HSUTILS_CACHE"]
    assert [path.name for path in empty.rglob("*") if path.is_file()] in ([], ["lock"])


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system cannot allocate")
def test_the_map_has_its_blocks_before_a_spectrogram_is_made(empty, noise_recordings, monkeypatch):
    noting_calls(monkeypatch, "read_log_mel", fail_after=0)
    asked, give = [], os.posix_fallocate
    monkeypatch.setattr(os, "posix_fallocate", lambda *a: asked.append(a[1:]) or give(*a))
    with pytest.raises(KeyboardInterrupt):
        build_cache(noise_recordings, SHORT)
    assert asked == [(0, 128 + 40 * 24 * 73 * 2)]
    monkeypatch.setattr(os, "posix_fallocate", Mock(side_effect=OSError(errno.ENOSPC, "full")))
    with pytest.raises(InputError, match=f"HSUTILS_CACHE={empty}: .* MB are needed"):
        build_cache(noise_recordings, SHORT)


def test_threads_are_as_many_as_cores_may_be_used(empty, noise_recordings, monkeypatch):
    pools, pool = [], module.ThreadPoolExecutor
    monkeypatch.setattr(module, "ThreadPoolExecutor", lambda n: pools.append(n) or pool(n))
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    torch.set_num_threads(2)
    build_cache(noise_recordings[:2], SHORT)
    assert (pools, torch.get_num_threads()) == ([3], 2), "PyTorch has its threads back"
    torch.set_num_threads(1)


def test_two_builders_at_once_compute_once(empty, noise_recordings, monkeypatch):
    computed = noting_calls(monkeypatch, "read_log_mel")
    with ThreadPoolExecutor(2) as builders:
        list(builders.map(build_cache, [noise_recordings] * 2, [SHORT] * 2))
    assert len(computed) == len(noise_recordings)


def test_the_key_follows_samples_and_settings_and_nothing_else(noise_recordings):
    key = cache_key(noise_recordings, SHORT)
    elsewhere = noise_recordings.assign(path="elsewhere", label=1, group="g", quality=0)
    assert cache_key(elsewhere, SHORT) == key
    other = {"digest": "00" * 16, "sample_rate": 4_000, "record": "a9999"}
    changed = [noise_recordings.assign(**{column: value}) for column, value in other.items()]
    keys = [cache_key(table, SHORT) for table in (*changed, noise_recordings[1:])]
    settings = ({"floor": 1e-10}, {"offset": 0.0}, {"clip_seconds": 1.6}, {"mels": 25})
    keys += [cache_key(noise_recordings, SHORT.model_copy(update=setting)) for setting in settings]
    assert len({key, *keys}) == 1 + 4 + 4


def test_a_slow_disk_does_not_fill_memory(empty, noise_recordings, monkeypatch):
    made, ahead = noting_calls(monkeypatch, "read_log_mel"), []

    def slowly(items, total, description):
        for number, item in enumerate(items):
            ahead.append(len(made) - number)
            time.sleep(0.002)
            yield item

    monkeypatch.setattr(module, "progress", slowly)
    build_cache(noise_recordings, SHORT)
    assert len(made) == len(ahead) == len(noise_recordings)
    assert max(ahead) <= 18


def test_the_cache_lies_where_the_user_says_or_beside_the_package(
    empty, noise_recordings, monkeypatch
):
    assert build_cache(noise_recordings[:1], SHORT).folder.parent == empty
    monkeypatch.delenv("HSUTILS_CACHE")
    monkeypatch.setattr(module, "PROJECT", empty / "project")
    assert build_cache(noise_recordings[:1], SHORT).folder.parent == empty / "project" / "cache"


@pytest.mark.real
def test_real_recordings_of_every_database_have_finite_spectrograms(empty, real_recordings):
    sample = stratified_subset(real_recordings, 40)
    assert set(sample.database) == set("abcdef")
    array = build_cache(sample, FrontEnd()).array
    assert array.shape == (len(sample), 50, 2805)
    assert (array.min(axis=(1, 2)) == 0).all() and (array.max(axis=(1, 2)) == 1).all()
