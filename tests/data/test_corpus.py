"""Stages 01 and 02 of a run: made once, healed when damaged, divided as the profile says."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from hsutils.config import Profile, load_profile
from hsutils.data import corpus as module
from hsutils.data.corpus import Corpus, data_folder, load_corpus, load_recordings
from hsutils.errors import InputError
from hsutils.run import Run

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:split lists:UserWarning"),
]


@pytest.fixture(scope="module")
def profile(tmp_path_factory) -> Profile:
    changes = {"data.folder": str(tmp_path_factory.mktemp("data")), "data.recordings": 40}
    changes |= {"data.seconds_scale": 0.01, "front_end.clip_seconds": 2.2, "front_end.mels": 24}
    return load_profile("small", changes)


@pytest.fixture(scope="module")
def made(profile, tmp_path_factory) -> Run:
    """A run with its tables."""
    run = Run(tmp_path_factory.mktemp("made"), profile)
    load_corpus(run)
    return run


@pytest.fixture(scope="module")
def before(made) -> Corpus:
    """What was made."""
    return load_corpus(made)


@pytest.fixture
def run(made, tmp_path) -> Run:
    """A copy of it."""
    return Run(Path(shutil.copytree(made.folder, tmp_path / "run")), made.profile)


def changed(run: Run, **splits: str) -> Run:
    settings = run.profile.splits.model_copy(update=splits)
    return Run(run.folder, run.profile.model_copy(update={"splits": settings}))


def assert_equal(after: Corpus, before: Corpus) -> None:
    pd.testing.assert_frame_equal(after.recordings, before.recordings)
    pd.testing.assert_frame_equal(after.splits, before.splits)
    np.testing.assert_array_equal(after.cache.array, before.cache.array)
    assert after.cache.folder == before.cache.folder


def test_rows_of_a_split_are_those_of_its_recordings(run):
    corpus = load_corpus(run)
    for split in ("pretrain", "finetune", "dev", "test"):
        listed = set(corpus.splits.record[corpus.splits.split == split])
        part, rows = corpus.of(split), corpus.rows(split)
        assert set(part.record) == listed != set()
        assert corpus.cache.index.index[rows].tolist() == part.record.tolist()
        assert [corpus.paths[row] for row in rows] == part.path.tolist()


def test_what_is_there_is_not_made_again(run, before, monkeypatch):
    for name in ("read_recordings", "generated_splits"):
        monkeypatch.setattr(module, name, lambda *_: pytest.fail("made again"))
    assert_equal(load_corpus(run), before)


@pytest.mark.parametrize("name", ["recordings.csv", "splits.csv", "recordings.json", "splits.json"])
@pytest.mark.parametrize("damage", ["cut", "empty"])
def test_damaged_tables_heal(run, before, name, damage):
    path = run.path(name)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] if damage == "cut" else b"")
    assert_equal(load_corpus(run), before)


def test_a_bit_of_a_synthetic_recording_that_flips_changes_no_number(run, before):
    path = Path(before.paths[5])
    content = bytearray(path.read_bytes())
    content[-7] ^= 1
    path.write_bytes(content)
    assert_equal(load_corpus(run), before)


def test_a_subset_of_real_recordings_is_drawn_as_asked(tiny_data, tmp_path):
    changes = {"data.folder": str(tiny_data / "recordings"), "data.recordings": 20}
    run = Run(tmp_path / "run", load_profile("paper", changes))
    assert 18 <= len(load_recordings(run)) <= 22
    assert data_folder(run) == tiny_data / "recordings"


@pytest.fixture
def with_more(run, tmp_path) -> Run:
    """The run with three recordings of another corpus: one has the name of none of ours."""
    rng, rows = np.random.default_rng(0), []
    for name in ("x1", "x2", "x3"):
        soundfile.write(tmp_path / f"{name}.wav", rng.uniform(-1, 1, 4000), 2000)
        rows.append((f"{name}.wav", len(rows) % 2, "elsewhere"))
    table = pd.DataFrame(rows, columns=["path", "label", "database"])
    table.to_csv(tmp_path / "more.csv", index=False)
    data = run.profile.data.model_copy(update={"more": str(tmp_path / "more.csv")})
    return Run(tmp_path / "with-more", run.profile.model_copy(update={"data": data}))


def test_further_recordings_are_trained_on_with_all_labels_and_tested_on_never(run, with_more):
    plain, more = load_corpus(run), load_corpus(with_more)
    for split in ("pretrain", "finetune", "dev", "test"):
        assert more.of(split).record.tolist() == plain.of(split).record.tolist()
    assert set(more.of("labeled").record) == set(plain.of("labeled").record)
    both = load_corpus(changed(with_more, labeled="all", leave_out="b"))
    alone = load_corpus(changed(run, labeled="all", leave_out="b"))
    for name in ("labeled", "unlabeled"):
        assert set(both.of(name).record) == {*alone.of(name).record, "x1", "x2", "x3"}
    assert both.of("test").record.tolist() == alone.of("test").record.tolist()


def test_further_recordings_have_names_of_their_own(run, with_more, tmp_path):
    taken = load_recordings(run).record[0]
    table = pd.read_csv(tmp_path / "more.csv").assign(record=[taken, "x2", "x3"])
    table.to_csv(tmp_path / "more.csv", index=False)
    with pytest.raises(InputError, match=f"1 recordings are named as others.* \\({taken}"):
        load_recordings(with_more)


def test_a_recording_of_the_data_and_a_part_of_one_are_no_further_ones(run, with_more, tmp_path):
    longest = load_recordings(run).sort_values("seconds").path.iloc[-1]
    samples, rate = soundfile.read(longest, dtype="int16")
    assert len(samples) > 1.5 * rate
    for name, part in {"x2": samples[rate // 2 :], "x3": samples}.items():
        soundfile.write(tmp_path / f"{name}.wav", part, rate)
    with pytest.raises(InputError, match=r"2 recordings share audio or a patient.* \(x2, x3\)"):
        load_recordings(with_more)


def test_a_patient_of_the_data_has_no_further_recordings(with_more, tmp_path, monkeypatch):
    read = module.read_recordings
    monkeypatch.setattr(module, "read_recordings", lambda folder: read(folder).assign(subject="p1"))
    table = pd.read_csv(tmp_path / "more.csv").assign(patient=["", "p2", "p1"])
    table.to_csv(tmp_path / "more.csv", index=False)
    with pytest.raises(InputError, match=r"1 recordings share audio or a patient.* \(x3\)"):
        load_recordings(with_more)


def test_further_recordings_of_the_database_left_out_do_not_train(with_more, tmp_path):
    table = pd.read_csv(tmp_path / "more.csv").assign(database=["b", "elsewhere", "elsewhere"])
    table.to_csv(tmp_path / "more.csv", index=False)
    corpus = load_corpus(changed(with_more, labeled="all", leave_out="b"))
    assert {"x2", "x3"} == set(corpus.of("labeled").record) & {"x1", "x2", "x3"}
