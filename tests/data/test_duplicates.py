"""Planted leaks are found as what they are, nothing else is, and their worth is what they bring."""

import os
import shutil
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from sklearn.metrics import roc_auc_score

from hsutils.errors import InputError
from hsutils.evaluation.intervals import cluster_bootstrap
from hsutils.data.duplicates import find_leaks, summarize, validation_copies, without_leaks
from hsutils.data.challenge import read_recordings
from hsutils.data.splits import SPLITS, audit, generated_splits, published_splits
from hsutils.data.synthetic import write_corpus

RATE = 2_000
COLUMNS = ["kind", "record_a", "record_b", "split_a", "split_b", "seconds"]


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """36 artificial recordings of about 4 s."""
    return write_corpus(tmp_path_factory.mktemp("leaks") / "corpus", 36, seconds_scale=0.2)


@pytest.fixture(scope="module")
def splits(untouched: Path) -> pd.DataFrame:
    return generated_splits(read_recordings(untouched))


@pytest.fixture
def root(untouched: Path, tmp_path: Path) -> Path:
    """A corpus to plant in."""
    return Path(shutil.copytree(untouched, tmp_path / "corpus"))


def members(splits: pd.DataFrame, split: str) -> list[str]:
    return splits.record[splits.split == split].tolist()


def file(root: Path, record: str) -> Path:
    return root / f"training-{record[0]}" / f"{record}.wav"


def listen(root: Path, record: str) -> np.ndarray:
    return soundfile.read(file(root, record), dtype="int16")[0]


def record_over(root: Path, record: str, samples: np.ndarray) -> None:
    soundfile.write(file(root, record), samples, RATE, subtype="PCM_16")


def plant_copy(root: Path, source: str, target: str) -> float:
    """Make two recordings equal; their seconds."""
    shutil.copy(file(root, source), file(root, target))
    return len(listen(root, source)) / RATE


def plant_passage(root: Path, source: str, target: str, seconds: float) -> None:
    """Put the end of one recording before another."""
    passage = listen(root, source)[-round(seconds * RATE) :]
    record_over(root, target, np.append(passage, listen(root, target)))


def plant_subject(root: Path, *records: str) -> None:
    rows = "".join(f"{record},file {record},17\n" for record in records)
    header = "Challenge record name,Original record name,Subject ID\n"
    (root / "Online_Appendix_training_set.csv").write_text(header + rows)


def found(root: Path, splits: pd.DataFrame) -> list[list]:
    return find_leaks(read_recordings(root), splits).to_numpy().tolist()


# The audit


def test_nothing_leaks_in_an_untouched_corpus(untouched, splits):
    recordings = read_recordings(untouched)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        leaks = find_leaks(recordings, splits, untouched)
    assert leaks.empty and list(leaks) == COLUMNS
    assert summarize(leaks).empty
    assert validation_copies(untouched, recordings, splits).empty


def test_a_copied_recording_is_identical_audio_and_lasts_its_whole_length(root, splits):
    trained, tested = members(splits, "pretrain")[0], members(splits, "test")[0]
    seconds = plant_copy(root, tested, trained)
    expected = ["identical audio", trained, tested, "pretrain", "test", seconds]
    assert found(root, splits) == [expected]


def test_a_passage_of_another_recording_is_shared_audio_of_its_length(root, splits):
    tuned, tested = members(splits, "dev")[0], members(splits, "test")[0]
    plant_passage(root, tested, tuned, 1.75)
    assert found(root, splits) == [["shared audio", tuned, tested, "dev", "test", 1.75]]


def test_two_recordings_of_one_subject_leak_without_any_shared_second(root, splits):
    trained, tested = (
        next(record for record in members(splits, split) if record[0] == "e")
        for split in ("finetune", "test")
    )
    plant_subject(root, trained, tested)
    (row,) = found(root, splits)
    assert row[:5] == ["same subject", trained, tested, "finetune", "test"]
    assert np.isnan(row[5])


def test_one_pair_can_leak_in_two_ways(root, splits):
    trained, tested = (
        next(record for record in members(splits, split) if record[0] == "e")
        for split in ("pretrain", "test")
    )
    plant_copy(root, trained, tested)
    plant_subject(root, trained, tested)
    leaks = find_leaks(read_recordings(root), splits)
    assert leaks.kind.tolist() == ["identical audio", "same subject"]
    assert (leaks.record_a + leaks.record_b == trained + tested).all()


@pytest.mark.parametrize("split", SPLITS)
def test_within_one_split_nothing_leaks(root, splits, split):
    first, second, third = members(splits, split)[:3]
    plant_copy(root, first, second)
    plant_passage(root, first, third, 1.5)
    assert read_recordings(root).groupby("group").size().max() == 3
    assert found(root, splits) == []


def test_only_the_pairs_that_straddle_are_named_where_a_group_holds_others(root, splits):
    tested, also_tested = members(splits, "test")[:2]
    trained, also_trained = members(splits, "pretrain")[:2]
    for record in (also_tested, trained, also_trained):
        plant_copy(root, tested, record)
    pairs = {tuple(row[1:5]) for row in found(root, splits)}
    across = ("pretrain", "test")
    assert pairs == {
        (a, b, *across) for a in (trained, also_trained) for b in (tested, also_tested)
    }


def test_splits_made_by_group_leave_the_audit_nothing(root, splits):
    trained, tested = members(splits, "pretrain"), members(splits, "test")
    plant_copy(root, trained[0], tested[0])
    plant_passage(root, trained[1], tested[1], 1.5)
    recordings = read_recordings(root)
    assert len(find_leaks(recordings, splits)) == 2
    assert find_leaks(recordings, generated_splits(recordings)).empty


def test_the_summary_counts_pairs_and_each_recording_once(root, splits):
    tested, trained = members(splits, "test"), members(splits, "pretrain")
    seconds = plant_copy(root, tested[0], trained[0])
    plant_copy(root, tested[0], trained[1])
    plant_passage(root, tested[1], members(splits, "dev")[0], 1.5)
    summary = summarize(find_leaks(read_recordings(root), splits))
    assert list(summary) == ["kind", *COLUMNS[3:5], "pairs", "recordings", "longest_seconds"]
    assert summary.to_numpy().tolist() == [
        ["identical audio", "pretrain", "test", 2, 3, seconds],
        ["shared audio", "dev", "test", 1, 2, 1.5],
    ]


# Validation copies


def plant_validation(root: Path, **sources: str) -> Path:
    """Copies of recordings under other names, in a folder some way down."""
    folder = root / "training" / "validation"
    folder.mkdir(parents=True)
    for name, record in sources.items():
        shutil.copy(file(root, record), folder / f"{name}.wav")
    return folder


def test_each_validation_file_is_traced_to_its_recording_and_split(root, splits):
    trained, tested = members(splits, "pretrain")[0], members(splits, "test")[0]
    folder = plant_validation(root, a9998=tested, a9999=trained)
    stranger = np.random.default_rng(0).integers(-9_000, 9_000, 4_000).astype(np.int16)
    soundfile.write(folder / "x0001.wav", stranger, RATE)
    copies = validation_copies(root, read_recordings(root), splits)
    assert list(copies) == ["record", "copy_of", "split"]
    assert copies.to_numpy().tolist() == [
        ["a9998", tested, "test"],
        ["a9999", trained, "pretrain"],
        ["x0001", "", ""],
    ]


def test_the_copy_is_known_by_its_samples_whatever_its_header(root, splits):
    (record,) = members(splits, "dev")[:1]
    folder = plant_validation(root, copy=record)
    with soundfile.SoundFile(folder / "copy.wav", "w", RATE, 1, "PCM_16") as wav:
        wav.title = "another header"
        wav.write(listen(root, record))
    assert (folder / "copy.wav").read_bytes() != file(root, record).read_bytes()
    assert validation_copies(root, read_recordings(root), splits).copy_of.tolist() == [record]


def test_validation_copies_join_the_leaks_when_the_folder_is_named(root, splits):
    trained = members(splits, "pretrain")[0]
    plant_validation(root, a0001=trained)
    recordings, seconds = read_recordings(root), len(listen(root, trained)) / RATE
    row = ["validation copy", trained, "validation/a0001", "pretrain", "validation"]
    leaks = find_leaks(recordings, splits, root)
    assert leaks.to_numpy().tolist() == [[*row, seconds]]
    assert summarize(leaks)[["pairs", "recordings"]].to_numpy().tolist() == [[1, 1]]
    assert find_leaks(recordings, splits).empty


def test_all_unreadable_copies_and_a_wrong_folder_are_named(root, splits):
    recordings = read_recordings(root)
    folder = plant_validation(root)
    for name in ("b1", "b2"):
        (folder / f"{name}.wav").write_text("no audio")
    with pytest.raises(InputError, match=r"b1\.wav[^\n]*\n.*b2\.wav"):
        validation_copies(root, recordings, splits)
    with pytest.raises(InputError, match="no such folder"):
        validation_copies(root / "nowhere", recordings, splits)


# What leaks are worth


def some_cases(leaking: int = 20, n: int = 120, seed: int = 0) -> pd.DataFrame:
    """The first of each class leak. One model knows only them, the other knows a little of all."""
    rng = np.random.default_rng(seed)
    labels = np.tile([0, 1], n // 2)
    cases = pd.DataFrame({"record": [f"r{i:03}" for i in range(n)], "label": labels})
    cases["group"] = [f"g{i // 4}" for i in range(n)]
    cases["memory"] = np.where(np.arange(n) < leaking, 2 * labels - 1.0, 0)
    cases["skill"] = rng.normal(labels, 1)
    return cases


def test_what_is_only_remembered_is_lost_with_the_leaks():
    cases = some_cases(leaking=20, n=120)
    row = without_leaks(cases, cases.record[:20], ["memory"]).loc[0]
    # Pairs with a remembered recording are ranked right, the other 50 x 50 are ties.
    assert row.auroc == pytest.approx(1 - 0.5 * 50 * 50 / (60 * 60))
    assert row.auroc == pytest.approx(roc_auc_score(cases.label, cases.memory))
    assert row.auroc_kept == row.low_kept == row.high_kept == 0.5
    assert row.change == row.auroc_kept - row.auroc
    assert row.low_change < row.change < row.high_change < 0
    assert (row.n, row.dropped) == (120, 20)


def test_all_scores_and_intervals_are_those_of_the_two_sets_of_recordings():
    cases = some_cases()
    table = without_leaks(cases, cases.record[:20], ["memory", "skill"], n_resamples=300, seed=4)
    assert table.model.tolist() == ["memory", "skill"]
    for part, ending in ((cases, ""), (cases[20:], "_kept")):
        names = [f"{name}{ending}" for name in ("auroc", "low", "high")]
        alone = cluster_bootstrap(part.label, part.skill, part.group, n_resamples=300, seed=4)
        assert table.loc[1, names].tolist() == alone.loc[0, ["value", "low", "high"]].tolist()


def test_no_score_changes_if_none_leaks():
    table = without_leaks(some_cases(), ["a0001"], ["memory", "skill"], n_resamples=50)
    assert (table.dropped == 0).all()
    assert (table[["change", "low_change", "high_change"]] == 0).all(axis=None)
    assert table.auroc.equals(table.auroc_kept) and table.low.equals(table.low_kept)


def test_the_change_is_paired_and_so_known_better_than_the_scores():
    cases = some_cases()
    row = without_leaks(cases, cases.record[:8], ["skill"], n_resamples=500).loc[0]
    assert row.low_change < row.change < row.high_change
    assert row.high_change - row.low_change < (row.high_kept - row.low_kept) / 2


def test_the_interval_is_that_of_both_scores_on_the_very_same_resamples():
    cases, drop = some_cases(), np.arange(120) < 10

    def change(labels: np.ndarray, rows: np.ndarray) -> float:
        rows, stay = rows.astype(int), ~drop[rows.astype(int)]
        logits = cases.skill.to_numpy()[rows]
        return roc_auc_score(labels[stay], logits[stay]) - roc_auc_score(labels, logits)

    # Rows in place of logits: a resample then tells which recordings it holds, and how often.
    slow = cluster_bootstrap(
        cases.label, np.arange(120), cases.group, {"change": change}, n_resamples=60
    )
    row = without_leaks(cases, cases.record[drop], ["skill"], n_resamples=60).loc[0]
    ours = row[["change", "low_change", "high_change"]].astype(float)
    np.testing.assert_allclose(ours, slow.loc[0, ["value", "low", "high"]].astype(float))


def test_the_interval_holds_the_change_that_more_recordings_would_show():
    def draw(n: int, seed: int) -> pd.DataFrame:
        """A tenth of the recordings leak, and the model tells their classes apart better."""
        rng = np.random.default_rng(seed)
        leaks, labels = rng.random(n) < 0.1, np.tile([0, 1], n // 2)
        logits = rng.normal(labels * np.where(leaks, 4, 1), 1)
        return pd.DataFrame({"label": labels, "skill": logits, "leaks": leaks})

    many = draw(400_000, seed=0)
    fewer = many[~many.leaks]
    truth = roc_auc_score(fewer.label, fewer.skill) - roc_auc_score(many.label, many.skill)
    held = []
    for seed in range(40):
        cases = draw(120, seed + 1).reset_index(names="record")
        cases["group"] = cases.record
        leaking = cases.record[cases.leaks]
        row = without_leaks(cases, leaking, ["skill"], n_resamples=80, seed=seed).loc[0]
        held.append(row.low_change <= truth <= row.high_change)
    assert np.mean(held) > 0.85


def test_missing_models_and_classes_are_named_together():
    cases = some_cases()
    with pytest.raises(InputError) as caught:
        without_leaks(cases, cases.record[cases.label == 1], ["skill", "rumor"])
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        "models",
        "leaking_records",
    ]
    assert "rumor" in caught.value.problems[0] and "abnormal" in caught.value.problems[1]


# The Challenge


@pytest.mark.real
def test_the_published_lists_hold_26_straddling_pairs(real_data, real_recordings):
    try:
        lists = published_splits(real_recordings, os.environ.get("HSUTILS_LISTS"))
    except InputError as error:
        pytest.skip(f"HSUTILS_LISTS names no folder with the four lists, and {error}")
    sharing = real_recordings[real_recordings.groupby("group").record.transform("size") > 1]
    assert (len(sharing), sharing.group.nunique()) == (45, 6)
    copies = validation_copies(real_data, real_recordings, lists)
    assert len(copies) == 301
    assert (copies.record == copies.copy_of).all() and copies.split.isin(SPLITS).all()
    leaks = find_leaks(real_recordings, lists, real_data)
    assert leaks.groupby("kind").size().to_dict() == {"shared audio": 26, "validation copy": 301}
    shared = summarize(leaks).query("kind == 'shared audio'").set_index(["split_a", "split_b"])
    assert shared.pairs.to_dict() == {
        ("pretrain", "finetune"): 11,
        ("pretrain", "dev"): 3,
        ("pretrain", "test"): 5,
        ("finetune", "test"): 3,
        ("dev", "test"): 4,
    }
    affected = audit(real_recordings, lists)
    tested = set(affected.record[affected.split == "test"])
    assert len(tested) == 7
    assert tested == set(leaks.record_b[leaks.split_b == "test"])
    made = generated_splits(real_recordings)
    assert set(find_leaks(real_recordings, made, real_data).kind) == {"validation copy"}
