"""A file is whole or absent, whatever happens while it is written."""

import hashlib
import os

import pandas as pd
import pytest

from hsutils.errors import InputError
from hsutils.files import (
    atomic_path,
    digest_of,
    read_json,
    write_csv,
    write_json,
    write_text,
)


def test_an_error_while_writing_leaves_the_old_file_and_nothing_else(tmp_path):
    path = write_text(tmp_path / "note.txt", "old")
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half of the ne")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_is_seen_under_the_name_before_the_file_is_whole(tmp_path):
    path = tmp_path / "deep" / "er" / "weights.safetensors"
    with atomic_path(path) as temporary:
        temporary.write_bytes(b"whole")
        assert not path.exists()
        assert temporary.parent == path.parent, "a rename across disks is no rename"
        assert temporary.suffix == path.suffix
    assert path.read_bytes() == b"whole"


def test_written_files_have_the_permissions_of_any_other_file(tmp_path):
    before = os.umask(0o027)
    try:
        mode = write_text(tmp_path / "shared.txt", "").stat().st_mode
        assert os.umask(0o027) == 0o027, "the process keeps its mask"
    finally:
        os.umask(before)
    assert mode & 0o777 == 0o640


def test_json_and_csv_come_back_as_they_went(tmp_path):
    value = {"ä": [1, 2.5, None, True], "z": {"y": "text"}}
    assert read_json(write_json(tmp_path / "value.json", value)) == value
    table = pd.DataFrame({"record": ["a0001", "b0002"], "logit": [0.1 + 0.2, -1e-300]})
    for name in ("table.csv", "table.csv.gz"):
        pd.testing.assert_frame_equal(pd.read_csv(write_csv(tmp_path / name, table)), table)


def test_equal_tables_make_equal_files_whatever_their_names(tmp_path):
    table = pd.DataFrame({"logit": range(1000)})
    sizes = {}
    for suffix in (".csv", ".csv.gz"):
        one, other = (write_csv(tmp_path / f"{name}{suffix}", table) for name in "ab")
        assert one.read_bytes() == other.read_bytes()
        sizes[suffix] = one.stat().st_size
    assert sizes[".csv.gz"] < sizes[".csv"] / 2


def test_one_problem_is_one_line_and_several_are_a_list():
    assert str(InputError("a.csv: empty; write it")) == "a.csv: empty; write it"
    several = InputError(["first", "second"])
    assert several.problems == ["first", "second"]
    assert str(several).splitlines() == ["2 problems with the input:", "  - first", "  - second"]


def test_thousands_of_problems_are_counted_and_not_listed():
    lines = str(InputError([f"problem {n}" for n in range(3_250)])).splitlines()
    assert len(lines) == 22 and lines[0] == "3250 problems with the input:"
    assert lines[-1] == "  ... and 3,230 more"


def test_content_reaches_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    order, fsync = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: order.append("sync") or fsync(handle))
    path = tmp_path / "a.txt"
    with atomic_path(path) as temporary:
        temporary.write_text("x")
        assert order == []
    assert order == ["sync"] and path.read_text() == "x"


def test_a_digest_is_that_of_the_content(tmp_path):
    path = write_text(tmp_path / "a.txt", "content")
    assert digest_of(path) == hashlib.sha256(b"content").hexdigest()
