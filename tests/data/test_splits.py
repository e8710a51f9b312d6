"""Published lists are taken as they are or refused; generated splits do not leak."""

import functools
import http.server
import threading
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hsutils.data import download, splits
from hsutils.data.download import LISTS as PUBLISHED
from hsutils.data.splits import (
    SPLITS,
    audit,
    generated_splits,
    leave_out,
    list_files,
    published_splits,
)
from hsutils.errors import InputError
from hsutils.files import digest_of

pytestmark = pytest.mark.filterwarnings("ignore:split lists:UserWarning")

LISTS = {"pretrain": ["a0001", "a0002", "a0003"], "finetune": ["b0002", "b0001"]}
LISTS |= {"dev": ["c0001"], "test": ["d0001"]}
LISTED = sorted(record for records in LISTS.values() for record in records)
RECORDINGS = pd.DataFrame({"record": [*LISTED, "e00001"]})


def table(n: int, abnormal: int, largest_group: int = 1, seed: int = 0) -> pd.DataFrame:
    """Recordings with labels and groups drawn at random, independently."""
    generator = np.random.default_rng(seed)
    labels = generator.permutation(np.arange(n) < abnormal).astype(int)
    sizes = generator.integers(1, largest_group, size=n, endpoint=True)
    groups = generator.permutation(np.repeat(np.arange(n), sizes)[:n])
    columns = {"record": [f"e{i:05d}" for i in range(n)], "label": labels}
    columns |= {"group": [f"g{group}" for group in groups], "database": list("abcdef" * n)[:n]}
    return pd.DataFrame(columns)


@pytest.fixture
def lists(tmp_path):
    for split, records in LISTS.items():
        (tmp_path / f"{split}.txt").write_text("\n".join(records) + "\n")
    return tmp_path


def under_lab_names(folder: Path) -> None:
    # Ours and the lab's names overlap.
    contents = [(folder / f"{split}.txt").read_bytes() for split in SPLITS]
    for split, lab_name, content in zip(SPLITS, PUBLISHED, contents, strict=True):
        (folder / f"{split}.txt").unlink(missing_ok=True)
        (folder / lab_name).write_bytes(content)


def counts(recordings: pd.DataFrame, made: pd.DataFrame) -> pd.DataFrame:
    merged = recordings.merge(made, on="record", validate="one_to_one")
    return pd.crosstab(merged.split, merged.label).reindex(index=SPLITS, columns=[0, 1])


def problems(folder) -> list[str]:
    with pytest.raises(InputError) as caught:
        published_splits(RECORDINGS, folder)
    return caught.value.problems


# The published lists


def test_published_lists_become_one_row_a_recording_under_either_name(lists):
    made = published_splits(RECORDINGS, lists)
    assert list(made) == ["record", "split"] and made.record.tolist() == LISTED
    assert made.set_index("record").split["b0001"] == "finetune"
    under_lab_names(lists)
    assert {path.name for path in lists.iterdir()} == set(PUBLISHED)
    pd.testing.assert_frame_equal(published_splits(RECORDINGS, lists), made)


def test_all_missing_lists_and_wrong_records_are_named_at_once(lists):
    (lists / "dev.txt").write_text("c0001 a0001 f9999\n")
    twice, unknown = problems(lists)
    assert "(a0001): 1 records are listed twice" in twice
    assert "(f9999): 1 records are not in the data" in unknown
    (lists / "dev.txt").unlink()
    (lists / "pretrain.txt").unlink()
    first, second = problems(lists)
    assert "pretrain.txt: missing" in first and "dev.txt: missing" in second


def test_a_folder_of_lists_is_found_from_anywhere(lists, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(lists.parent))
    monkeypatch.chdir(tmp_path)
    assert list_files(f"~/{lists.name}") == list_files(lists)
    monkeypatch.setattr(splits, "PROJECT", lists.parent)
    assert list_files(lists.name) == list_files(lists)


def publish(folder: Path, monkeypatch) -> None:
    """As if the lists in this folder were the published ones."""
    ours = [folder / f"{split}.txt" for split in SPLITS]
    published = {name: digest_of(path) for name, path in zip(PUBLISHED, ours, strict=True)}
    for module in (download, splits):
        monkeypatch.setattr(module, "LISTS", published)


def test_lists_that_are_not_the_published_ones_are_noticed_by_name(lists, monkeypatch):
    publish(lists, monkeypatch)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        published_splits(RECORDINGS, lists)
    (lists / "dev.txt").write_text("c0001")
    with pytest.warns(UserWarning, match=r"split lists dev\.txt are not the published ones"):
        published_splits(RECORDINGS, lists)


@pytest.fixture
def site(lists, tmp_path_factory, monkeypatch):
    """The lists under the lab's names, fetched from this machine into an empty download cache."""
    downloads = tmp_path_factory.mktemp("downloads")
    monkeypatch.setattr(download.pooch, "os_cache", lambda _: downloads)
    publish(lists, monkeypatch)
    under_lab_names(lists)
    quiet = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    handler = functools.partial(quiet, directory=lists)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        monkeypatch.setattr(download, "LISTS_URL", f"http://127.0.0.1:{server.server_port}/")
        yield lists
        server.shutdown()


def test_lists_are_fetched_when_no_folder_is_named_and_only_the_published_ones(site):
    made = published_splits(RECORDINGS, "")
    assert made.split.value_counts().to_dict() == {s: len(r) for s, r in LISTS.items()}
    (Path(download.pooch.os_cache("")) / "val.txt").unlink()
    (site / "val.txt").write_text("c0001\n\n")
    (found,) = problems("")
    assert "val.txt" in found and "splits.lists" in found
    assert not list(Path(download.pooch.os_cache("")).glob("*val.txt")), "nothing of it is kept"
    (site / "val.txt").unlink()
    (found,) = problems(None)
    assert "splits.lists" in found and "generated" in found


# Generated splits


def test_at_the_challenges_counts_evaluated_splits_are_the_papers_size_within_one_percent():
    made = counts(table(3240, 665), generated_splits(table(3240, 665)))
    evaluated = made.loc[["finetune", "dev", "test"]]
    assert evaluated.isin(range(198, 201)).all(axis=None)
    assert (evaluated[0] == evaluated[1]).all() and made.loc["pretrain", 1] >= 65


@pytest.mark.parametrize("seed", range(8))
def test_no_group_crosses_splits_and_none_outgrows_its_share(seed):
    recordings = table(400, 100, largest_group=6, seed=seed)
    large = recordings.index[recordings.label == 0][:60]
    recordings.loc[large, "group"] = "large"
    made = generated_splits(recordings, seed)
    assert made.record.tolist() == recordings.record.tolist()
    assert recordings.merge(made).groupby("group").split.nunique().max() == 1
    assert set(made.split[large]) == {"pretrain"} and audit(recordings, made).empty
    assert counts(recordings, made).iloc[1:].max(axis=None) <= round(400 * 200 / 3240)


@pytest.mark.parametrize("seed", range(8))
def test_patients_with_several_recordings_do_not_unbalance_the_splits(seed):
    recordings = table(400, 110, seed=seed)
    patient = recordings.groupby("label").cumcount() // 2
    several = patient < 20
    recordings.loc[several, "group"] = recordings.label.astype(str) + "-" + patient.astype(str)
    evaluated = counts(recordings, generated_splits(recordings, seed)).iloc[1:]
    assert (evaluated == round(400 * 200 / 3240)).all(axis=None)


def test_splits_and_subsets_follow_the_seed_and_splits_not_the_order_of_the_table():
    recordings = table(200, 60, largest_group=2)
    shuffled = recordings.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(generated_splits(recordings, 1), generated_splits(shuffled, 1))
    assert not generated_splits(recordings, 1).equals(generated_splits(recordings, 2))
    first, again, other = (splits.stratified_subset(recordings, 60, seed) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(first, again)
    assert not first.record.equals(other.record)


@pytest.mark.parametrize(("n", "abnormal"), [(3240, 300), (800, 700), (25, 7), (60, 12)])
def test_some_of_each_class_stays_for_pretrain(n, abnormal):
    made = counts(table(n, abnormal), generated_splits(table(n, abnormal)))
    assert made.to_numpy().min() > 0
    assert made.iloc[1:].nunique(axis=1).eq(1).all()


@pytest.mark.parametrize(("n", "abnormal"), [(24, 7), (100, 6), (100, 93), (100, 0), (100, 100)])
def test_too_few_recordings_are_refused_with_their_counts(n, abnormal):
    with pytest.raises(InputError, match=f"{n - abnormal} normal and {abnormal} abnormal"):
        generated_splits(table(n, abnormal))


# Subsets and audit


@pytest.mark.parametrize("n", [12, 30, 99, 250])
def test_a_subset_keeps_every_database_and_label_and_their_shares(n):
    recordings = table(500, 150).replace({"database": {"f": "e"}})
    recordings.loc[7, "database"] = "rare"
    subset = splits.stratified_subset(recordings, n)
    keys = ["database", "label"]
    sizes, whole = subset.groupby(keys).size(), recordings.groupby(keys).size()
    assert sizes.index.equals(whole.index)
    assert (sizes - np.maximum(whole * n / 500, 1)).abs().max() <= 0.5
    assert subset.record.is_monotonic_increasing and subset.record.isin(recordings.record).all()
    for none_or_many in (0, 500, 600):
        assert splits.stratified_subset(recordings, none_or_many).equals(recordings)


@pytest.mark.parametrize("database", ["a", "b", "c", "d", "e", "clinic2"])
def test_a_database_left_out_is_in_no_training(database):
    recordings = table(400, 150, largest_group=4).replace({"database": {"f": "clinic2"}})
    before = generated_splits(recordings)
    made = leave_out(before, recordings, database).merge(recordings, on="record")
    trained, tested = made[made.split != "test"], made[made.split == "test"]
    assert set(tested.record) == set(recordings.record[recordings.database == database])
    assert database not in set(trained.database)
    assert not set(trained.group) & set(tested.group)


def test_the_others_keep_their_place_or_their_test_recordings_are_trained_on():
    recordings = table(400, 150, largest_group=4)
    before = generated_splits(recordings)
    related = recordings.group[recordings.database == "c"]
    places = before[~recordings.group.isin(related)].set_index("record").split
    assert (places == "test").any()
    for with_test in (False, True):
        made = leave_out(before, recordings, "c", with_test).set_index("record").split
        expected = places.replace("test", "finetune") if with_test else places[places != "test"]
        pd.testing.assert_series_equal(made[made != "test"], expected)


def test_leaving_out_nothing_or_everything_is_refused():
    recordings = table(100, 40).assign(database="a")
    with pytest.raises(InputError) as caught:
        leave_out(generated_splits(recordings), recordings, "xy")
    assert caught.value.problems == ["splits.leave_out=xy: no such database; there are a"]
    with pytest.raises(InputError, match="too little is left for pretrain, finetune, dev"):
        leave_out(generated_splits(recordings), recordings, "a")


def test_the_audit_finds_exactly_the_planted_leaks():
    recordings = table(400, 100, largest_group=3)
    made = generated_splits(recordings).set_index("record").split
    sizes = recordings.groupby("group").record.agg(list)
    pair, triple = (next(r for r in sizes if len(r) == size) for size in (2, 3))
    made[pair[0]], made[pair[1]] = "dev", "test"
    made[triple[2]] = "dev" if made[triple[2]] != "dev" else "test"
    found = audit(recordings, made.reset_index())
    assert set(found.record) == {*pair, *triple}
    assert list(found) == ["group", "record", "split"]


@pytest.mark.real
def test_the_published_lists_have_the_papers_sizes(real_recordings, real_lists):
    sizes = counts(real_recordings, real_lists)
    assert sizes.loc["pretrain"].tolist() == [1975, 65]
    assert (sizes.iloc[1:] == 200).all(axis=None)
