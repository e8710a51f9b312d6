"""Shared audio is found wherever it lies, exactly; planted leaks are found as what they are."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from hsutils.data.challenge import read_recordings, validation_copies
from hsutils.data.duplicates import find_leaks, group_related, shared_audio, summarize
from hsutils.data.splits import SPLITS, audit, generated_splits
from hsutils.data.synthetic import write_corpus

RATE = 2_000
COLUMNS = ["kind", "record_a", "record_b", "split_a", "split_b", "seconds"]


# Shared audio


@pytest.fixture
def table(tmp_path: Path):
    """Writes arrays as WAV files, int16 or float, and lists them."""

    def write(**recordings: np.ndarray) -> pd.DataFrame:
        paths = [str(tmp_path / f"{record}.wav") for record in recordings]
        for path, samples in zip(paths, recordings.values(), strict=True):
            subtype = "PCM_16" if samples.dtype == np.int16 else "FLOAT"
            soundfile.write(path, samples, RATE, subtype=subtype)
        return pd.DataFrame({"record": [*recordings], "path": paths})

    return write


def test_of_shared_runs_the_longest_is_told_with_its_exact_length_and_starts(table, noise):
    short, long = noise(1_100, seed=0), noise(1_237, seed=9)
    a = np.concatenate([short, noise(1_901, seed=1), long, noise(77, seed=2)])
    b = np.concatenate([noise(40_123, seed=3), long, short])
    pairs = shared_audio(table(a=a, b=b, c=noise(20_000, seed=5)))
    assert pairs.to_numpy().tolist() == [["a", "b", *np.array([1_237, 3_001, 40_123]) / RATE]]


@pytest.mark.parametrize(("length", "count"), [(999, 0), (1_000, 1)])
def test_a_run_counts_from_half_a_second_on(table, noise, length, count):
    run = noise(length, seed=0)
    a, b = np.append(run, noise(4_000, seed=1)), np.append(noise(4_000, seed=2), run)
    assert len(shared_audio(table(a=a, b=b))) == count


PLACES = np.arange(6_000)
COMMON = {
    "silence": 0 * PLACES,
    "clipping": 0 * PLACES + 32_767,
    "50 Hz tone": 9_000 * np.sin(2 * np.pi * 50 * PLACES / RATE),
    "sparse pulses": np.where(PLACES % 81 == 0, 500, 0),
}


@pytest.mark.parametrize("name", COMMON)
def test_what_any_two_recordings_may_have_in_common_is_no_leak(table, name, noise):
    filler = COMMON[name].astype(np.int16)
    a = np.concatenate([noise(3_000, seed=1), filler, noise(3_000, seed=2)])
    b = np.concatenate([noise(2_000, seed=3), filler, noise(4_000, seed=4)])
    assert shared_audio(table(a=a, b=b)).empty


def test_silence_does_not_hide_a_shorter_real_run_at_the_same_offset(table, noise):
    run, silence = noise(1_300, seed=0), np.zeros(8_000, dtype=np.int16)
    a = np.concatenate([run, noise(500, seed=1), silence])
    b = np.concatenate([run, noise(500, seed=2), silence])
    assert shared_audio(table(a=a, b=b))["seconds"].tolist() == [0.65]


def test_a_copy_in_another_sample_format_or_in_two_channels_is_the_same_audio(table, noise):
    samples = noise(5_000, seed=0)
    as_float = (samples / 32_768).astype(np.float32)
    pairs = shared_audio(table(a=samples, b=as_float, c=np.stack([samples, samples], axis=1)))
    assert pairs["seconds"].tolist() == [2.5, 2.5, 2.5]


def test_many_copies_of_one_recording_stay_connected(table, noise):
    samples = noise(3_000, seed=0)
    copies = table(**{f"r{index:02}": samples for index in range(20)})
    facts = {"seconds": 1.5, "subject": "", "digest": copies.record}
    assert set(group_related(copies.assign(**facts))) == {"r00"}


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_recordings_share_nothing_but_keep_the_columns(table, count, noise):
    pairs = shared_audio(table(a=noise(3_000, seed=0)).head(count))
    assert pairs.empty
    assert list(pairs) == ["record_a", "record_b", "seconds", "start_a", "start_b"]


# Leaks


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory, corpus_of) -> Path:
    """36 synthetic recordings of about 2 s."""
    return write_corpus(corpus_of(tmp_path_factory.mktemp("leaks"), recordings=36))


@pytest.fixture(scope="module")
def splits(untouched: Path) -> pd.DataFrame:
    return generated_splits(read_recordings(untouched))


@pytest.fixture
def members(splits: pd.DataFrame) -> dict[str, list[str]]:
    """Split -> its records."""
    return splits.groupby("split").record.agg(list).to_dict()


@pytest.fixture
def root(untouched: Path, tmp_path: Path) -> Path:
    """A corpus to plant in."""
    return Path(shutil.copytree(untouched, tmp_path / "corpus"))


def file(root: Path, record: str) -> Path:
    return root / f"training-{record[0]}" / f"{record}.wav"


def plant_copy(root: Path, source: str, target: str) -> float:
    """Make two recordings equal; their seconds."""
    shutil.copy(file(root, source), file(root, target))
    return soundfile.info(file(root, source)).duration


def plant_passage(root: Path, source: str, target: str, seconds: float) -> None:
    """Put the end of one recording before another."""
    passage, samples = (soundfile.read(file(root, r), dtype="int16")[0] for r in (source, target))
    samples = np.append(passage[-round(seconds * RATE) :], samples)
    soundfile.write(file(root, target), samples, RATE, subtype="PCM_16")


def leaks_of(root: Path, splits: pd.DataFrame) -> pd.DataFrame:
    recordings = read_recordings(root)
    return find_leaks(recordings, splits, validation_copies(root, recordings))


def rows_of(leaks: pd.DataFrame) -> list[list]:
    return leaks[COLUMNS].to_numpy().tolist()


def test_nothing_leaks_in_an_untouched_corpus(untouched, splits):
    leaks = leaks_of(untouched, splits)
    assert leaks.empty and set(leaks) == set(COLUMNS)
    assert summarize(leaks).empty


def test_two_recordings_of_one_subject_leak_without_any_shared_second(root, splits, members):
    trained = next(record for record in members["finetune"] if record[0] == "e")
    tested = next(record for record in members["test"] if record[0] == "e")
    header = "Challenge record name,Original record name,Subject ID"
    rows = f"{header}\n{trained},x,17\n{tested},y,17\n"
    (root / "Online_Appendix_training_set.csv").write_text(rows)
    (row,) = rows_of(leaks_of(root, splits))
    assert row[:5] == ["same subject", trained, tested, "finetune", "test"]
    assert np.isnan(row[5])
    plant_copy(root, trained, tested)
    assert leaks_of(root, splits).kind.tolist() == ["identical audio", "same subject"]


def test_within_one_split_nothing_leaks(root, splits, members):
    for split in SPLITS:
        first, second, third = members[split][:3]
        plant_copy(root, first, second)
        plant_passage(root, first, third, 1.5)
    groups = read_recordings(root).groupby("group").size()
    assert (groups == 3).sum() == len(SPLITS)
    assert leaks_of(root, splits).empty


def test_copies_and_passages_are_told_apart_each_recording_counts_once_and_groups_leave_nothing(
    root, splits, members
):
    tested, trained, tuned = members["test"], members["pretrain"], members["dev"][0]
    seconds = plant_copy(root, tested[0], trained[0])
    plant_copy(root, tested[0], trained[1])
    plant_passage(root, tested[1], tuned, 1.5)
    leaks = leaks_of(root, splits)
    assert rows_of(leaks) == [
        ["identical audio", trained[0], tested[0], "pretrain", "test", seconds],
        ["identical audio", trained[1], tested[0], "pretrain", "test", seconds],
        ["shared audio", tuned, tested[1], "dev", "test", 1.5],
    ]
    summary = summarize(leaks)
    assert list(summary) == ["kind", *COLUMNS[3:5], "pairs", "recordings", "longest_seconds"]
    assert summary.to_numpy().tolist() == [
        ["identical audio", "pretrain", "test", 2, 3, seconds],
        ["shared audio", "dev", "test", 1, 2, 1.5],
    ]
    assert leaks_of(root, generated_splits(read_recordings(root))).empty


def test_validation_copies_join_the_leaks(root, splits, members):
    trained = members["pretrain"][0]
    (root / "validation").mkdir()
    shutil.copy(file(root, trained), root / "validation" / "a0001.wav")
    seconds = len(soundfile.read(file(root, trained))[0]) / RATE
    row = ["validation copy", trained, "validation/a0001", "pretrain", "validation", seconds]
    leaks = leaks_of(root, splits)
    assert rows_of(leaks) == [row]
    assert summarize(leaks)[["pairs", "recordings"]].to_numpy().tolist() == [[1, 1]]


@pytest.mark.real
def test_the_challenge_shares_audio_between_45_recordings_in_6_groups(real_recordings):
    pairs = shared_audio(real_recordings)
    assert (len(pairs), len({*pairs.record_a, *pairs.record_b})) == (39, 45)
    group = real_recordings.set_index("record").group
    assert (group[pairs.record_a].to_numpy() == group[pairs.record_b].to_numpy()).all()
    assert group[pairs.record_a].nunique() == 6


@pytest.mark.real
def test_26_pairs_cross_the_published_lists(real_data, real_recordings, real_lists):
    copies = validation_copies(real_data, real_recordings)
    assert len(copies) == 301
    assert (copies.record_b == "validation/" + copies.record_a).all()
    leaks = find_leaks(real_recordings, real_lists, copies)
    assert leaks.groupby("kind").size().to_dict() == {"shared audio": 26, "validation copy": 301}
    shared = summarize(leaks).query("kind == 'shared audio'").set_index(["split_a", "split_b"])
    assert shared.pairs.to_dict() == {
        ("pretrain", "finetune"): 11,
        ("pretrain", "dev"): 3,
        ("pretrain", "test"): 5,
        ("finetune", "test"): 3,
        ("dev", "test"): 4,
    }
    tested = set(audit(real_recordings, real_lists).query("split == 'test'").record)
    assert len(tested) == 7 and tested == set(leaks.record_b[leaks.split_b == "test"])
    assert audit(real_recordings, generated_splits(real_recordings)).empty
