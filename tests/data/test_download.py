"""What arrives is whole, verified and inside its folder, over whatever connection."""

import contextlib
import errno
import hashlib
import re
import shutil
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from hsutils.data import download
from hsutils.data.download import fetch
from hsutils.errors import InputError

AUDIO = np.random.default_rng(0).integers(0, 256, 1_000_000, dtype=np.uint8).tobytes()
ARCHIVE = "training.zip"
WITHOUT_SUBJECTS = pytest.mark.filterwarnings("ignore:no annotations:UserWarning")


def recordings(folder: str = "training-a", above: str = "") -> dict[str, bytes]:
    """Members of an archive with one folder."""
    files = {"REFERENCE.csv": b"a0001,-1\n", "a0001.wav": AUDIO}
    return {f"{above}{folder}/{name}": content for name, content in files.items()}


def write_zip(path: Path, members: dict[str, bytes], compression: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def times(folder: Path) -> dict[Path, int]:
    """Every file with the time it was written."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def refusal(to: Path, mirror: Path | str) -> str:
    with pytest.raises(InputError) as caught:
        fetch(to, mirror)
    return "\n".join(caught.value.problems)


@pytest.fixture(autouse=True)
def published(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if these were the Challenge's recordings and labels."""
    digests = {Path(name).name: hashlib.sha256(c).hexdigest() for name, c in recordings().items()}
    lines = "".join(f"{digest}  {name}\n" for name, digest in digests.items())
    folders = ("training-a", "training-e", "validation")
    contents = dict.fromkeys(folders, hashlib.sha256(lines.encode()).hexdigest())
    monkeypatch.setattr(download, "CONTENTS", contents)


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    """One folder in two archives, as training-e is, and another."""
    folder = tmp_path / "mirror"
    first, *others = recordings("training-e").items()
    write_zip(folder / "training-e-1.zip", dict([first]))
    write_zip(folder / "training-e-2.zip", {"training-e/": b"", **dict(others)})
    write_zip(folder / "validation.zip", recordings("validation"))
    return folder


class Server(ThreadingHTTPServer):
    """Serves `files`, with the faults that are asked for."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.asked = {}, []  # by name; names and first bytes, as they came
        self.breaks = 0  # how often it hangs up after half of what was asked for
        self.resumable = True
        self.shift = 0  # bytes by which it resumes too early
        self.says_so = True  # in Content-Range
        self.length = ""  # instead of the true Content-Length
        self.pause = 0.0  # seconds before every single byte
        self.address = f"http://127.0.0.1:{self.server_port}"

    def asked_for_recordings(self) -> list[int]:
        """The first byte of each request."""
        return [start for name, start in self.asked if name == ARCHIVE]


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        name, server = self.path.strip("/"), self.server
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        server.asked.append((name, start))
        start = start if server.resumable else 0
        if name not in server.files:
            return self.send_error(404)
        content = server.files[name]
        if start >= len(content):
            return self.answer(416, b"", f"bytes */{len(content)}")
        sent = max(0, start - server.shift)
        said = sent if server.says_so else start
        self.answer(206 if start else 200, content[sent:], f"bytes {said}-/{len(content)}")

    def answer(self, status: int, content: bytes, content_range: str) -> None:
        server = self.server
        self.send_response(status)
        self.send_header("Content-Length", server.length or str(len(content)))
        self.send_header("Content-Range", content_range)
        self.end_headers()
        breaks, server.breaks = server.breaks > 0, server.breaks - 1
        # The other side may have had enough.
        with contextlib.suppress(OSError):
            for start in range(0, len(content) if server.pause else 0):
                time.sleep(server.pause)
                self.wfile.write(content[start : start + 1])
            self.wfile.write(content[: len(content) // 2] if breaks else content)

    def log_message(self, *_):
        """Stay silent."""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(download, "_BACKOFF_SECONDS", 0)
    archive = write_zip(tmp_path / "served.zip", recordings(above="training/"))
    with Server() as served:
        served.files[ARCHIVE] = archive.read_bytes()
        threading.Thread(target=served.serve_forever, args=(0.01,), daemon=True).start()
        yield served
        served.shutdown()


# Archives


def test_of_the_archives_what_is_read_becomes_one_folder(tmp_path, mirror, capsys, monkeypatch):
    write_zip(mirror / "more.zip", {"training-e/RECORDS": b"e0001", "__MACOSX/x.wav": b"shadow"})
    to = tmp_path / "data" / "challenge"
    # As a killed fetch leaves it.
    to.mkdir(parents=True)
    (to.parent / ".challenge-unpacked" / "training-a").mkdir(parents=True)
    fetch(to, mirror)
    held = {str(path.relative_to(to)): path.read_bytes() for path in times(to)}
    assert held == recordings("training-e") | recordings("validation")
    assert [path.name for path in to.parent.iterdir()] == ["challenge"]
    said = capsys.readouterr().out
    assert "all recordings and labels verified" in said
    assert "a part of the Challenge, without training-a; to fetch all" in said
    (to / "training-a").mkdir()
    shutil.rmtree(to / "validation")
    monkeypatch.setattr(download, "CHALLENGE", download.CHALLENGE._replace(faults=lambda _: []))
    fetch(to, mirror)
    assert capsys.readouterr().out.endswith("verified, nothing to fetch\n")


@pytest.mark.parametrize("name", [*recordings("training-e"), *recordings("validation")])
def test_a_second_fetch_needs_no_source_and_names_the_folder_that_changed(tmp_path, mirror, name):
    to = fetch(tmp_path / "to", mirror)
    before = times(to)
    fetch(to, tmp_path / "gone")
    assert times(to) == before
    folder = name.split("/")[0]
    for damage in (lambda path: path.write_bytes(b"other"), Path.unlink):
        damage(to / name)
        assert re.fullmatch(f"{folder}: holds other recordings.* remove {to}.*", refusal(to, to))


CHANGED = {"a0001.wav": b"other", "REFERENCE.csv": b"a0001,1\n", "a0002.wav": AUDIO}


@pytest.mark.parametrize(("name", "content"), CHANGED.items())
def test_only_the_published_recordings_and_labels_are_installed(tmp_path, name, content):
    # A list of checksums in the archive proves nothing: who changes a file can change it too.
    changed = {f"training-a/{name}": content, "training-a/SHA256SUMS": b"\xff"}
    write_zip(tmp_path / "mirror" / "a.zip", recordings() | changed)
    found = refusal(tmp_path / "to", tmp_path / "mirror")
    assert found.startswith("training-a: holds other recordings or labels than PhysioNet's")
    assert "\n" not in found and [path.name for path in tmp_path.iterdir()] == ["mirror"]


OUTSIDE = ("../e.csv", "training-a/../../e.csv", "/e.csv", "C:/e.csv", "..\\e.csv")


@pytest.mark.parametrize("name", OUTSIDE)
def test_no_member_is_written_outside_the_folder(tmp_path, mirror, name):
    write_zip(mirror / "training-a.zip", recordings() | {name: b"evil"})
    # In a training folder, which is then not as published, it is refused.
    with contextlib.suppress(InputError):
        fetch(tmp_path / "data" / "to", mirror)
    outside = {path for path in times(tmp_path) if tmp_path / "data/to" not in path.parents}
    assert outside == set(mirror.iterdir()) and not Path("/e.csv").exists()


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("at", [0.02, 0.5])
def test_a_damaged_archive_is_named_in_one_line(tmp_path, method, at):
    members = {f"training-a/{n}.csv": str(n).encode() * 5_000 for n in range(50)}
    archive = write_zip(tmp_path / "mirror" / "a.zip", members, method)
    content = bytearray(archive.read_bytes())
    start = round(at * len(content))
    content[start : start + 400] = bytes(400)
    for damaged in (content, b"no archive"):
        archive.write_bytes(damaged)
        found = refusal(tmp_path / "to", tmp_path / "mirror")
        assert "a.zip: is a damaged archive" in found and "\n" not in found


def test_what_unpacks_to_more_than_the_challenge_or_the_disk_has_is_one_line(tmp_path, monkeypatch):
    for name in ("a", "b"):
        bomb = {f"training-{name}/a0001.wav": bytes(5_000_000)}
        write_zip(tmp_path / "mirror" / f"{name}.zip", bomb, zipfile.ZIP_DEFLATED)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Mock(free=1_500_000))
    found = refusal(tmp_path / "to", tmp_path / "mirror")
    assert "5.0 MB are needed and 1.5 MB are free; make room" in found and "\n" not in found
    monkeypatch.undo()
    monkeypatch.setattr(download, "_LARGEST_BYTES", 9_999_999)
    assert "hold more than 10 MB" in refusal(tmp_path / "to", tmp_path / "mirror")
    assert [path.name for path in tmp_path.iterdir()] == ["mirror"]


def test_a_mirror_without_archives_and_a_folder_in_use_are_refused(tmp_path):
    assert "no folder with .zip" in refusal(tmp_path / "to", tmp_path / "none")
    assert "no folder with .zip" in refusal(tmp_path / "to", tmp_path)
    (tmp_path / "letters.txt").write_text("mine")
    assert "name another folder" in refusal(tmp_path, tmp_path)
    assert (tmp_path / "letters.txt").read_text() == "mine"


# Connections


@WITHOUT_SUBJECTS
@pytest.mark.parametrize(
    ("faults", "starts"),
    [
        ({"breaks": 3}, [0, 1 / 2, 3 / 4, 7 / 8]),
        ({"length": "abc"}, [0]),
        ({"breaks": 1, "resumable": False}, [0, 1 / 2]),
        ({"breaks": 1, "shift": 1_000}, [0, 1 / 2, 0]),
    ],
)
def test_a_broken_connection_is_resumed_where_it_stopped_or_all_is_sent_again(
    tmp_path, server, faults, starts
):
    vars(server).update(faults)
    to = fetch(tmp_path / "to", server.address)
    assert (to / "training" / "training-a" / "a0001.wav").read_bytes() == AUDIO
    asked = np.divide(server.asked_for_recordings(), len(server.files[ARCHIVE]))
    assert asked == pytest.approx(starts, abs=1e-5)
    assert {path.name for path in tmp_path.iterdir()} == {"served.zip", "to"}


@WITHOUT_SUBJECTS
@pytest.mark.parametrize("resumed", [False, True])
def test_a_damaged_download_of_the_right_length_is_not_kept(tmp_path, server, resumed):
    whole = server.files[ARCHIVE]
    if resumed:
        server.breaks, server.shift, server.says_so = 1, 1_000, False
    else:
        server.files[ARCHIVE] = whole[:5_000] + bytes([whole[5_000] ^ 1]) + whole[5_001:]
    assert "training.zip: is a damaged archive" in refusal(tmp_path / "to", server.address)
    assert [path.name for path in tmp_path.iterdir()] == ["served.zip"]
    server.files[ARCHIVE] = whole
    assert fetch(tmp_path / "to", server.address).is_dir()


@WITHOUT_SUBJECTS
def test_a_killed_download_goes_on_in_the_next_fetch(tmp_path, server, monkeypatch):
    server.breaks = 1
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(time, "sleep", Mock(side_effect=KeyboardInterrupt))
        fetch(tmp_path / "to", server.address)
    kept = (tmp_path / ".to-downloads" / "training.zip.part").stat().st_size
    assert kept > 0
    fetch(tmp_path / "to", server.address)
    assert server.asked_for_recordings() == [0, kept]


@WITHOUT_SUBJECTS
@pytest.mark.parametrize(
    ("module", "name", "fault", "error"),
    [
        (zipfile.ZipFile, "extract", {"side_effect": OSError(errno.ENOSPC, "full")}, InputError),
        (zipfile.ZipFile, "extract", {"side_effect": KeyboardInterrupt}, KeyboardInterrupt),
        (shutil, "disk_usage", {"return_value": Mock(free=0)}, InputError),
    ],
)
def test_a_full_disk_or_ctrl_c_while_unpacking_keeps_the_download(
    tmp_path, server, monkeypatch, module, name, fault, error
):
    with monkeypatch.context() as patch, pytest.raises(error):
        patch.setattr(module, name, Mock(**fault))
        fetch(tmp_path / "to", server.address)
    assert {path.name for path in tmp_path.iterdir()} == {"served.zip", ".to-downloads"}
    fetch(tmp_path / "to", server.address)
    assert server.asked_for_recordings() == [0]
    assert {path.name for path in tmp_path.iterdir()} == {"served.zip", "to"}


@WITHOUT_SUBJECTS
def test_a_part_that_is_longer_than_the_archive_is_thrown_away(tmp_path, server):
    (tmp_path / ".to-downloads").mkdir()
    too_long = server.files[ARCHIVE] + b"\0"
    (tmp_path / ".to-downloads" / f"{ARCHIVE}.part").write_bytes(too_long)
    assert fetch(tmp_path / "to", server.address).is_dir()
    assert server.asked_for_recordings() == [len(too_long), 0]


def test_a_server_that_drips_or_has_nothing_or_is_gone_is_given_up(tmp_path, server, monkeypatch):
    monkeypatch.setattr(download, "_PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(download, "_ATTEMPTS", 2)
    server.pause, started = 0.02, time.monotonic()
    assert "slower than 10 kB a second" in refusal(tmp_path / "to", server.address)
    assert time.monotonic() - started < 5
    first, second = server.asked_for_recordings()
    assert first == 0 < second, "what has dripped is kept"
    server.files.clear()
    server.asked.clear()
    assert "404" in refusal(tmp_path / "to", server.address)
    assert len(server.asked) == 1
    server.shutdown()
    server.server_close()
    assert "--mirror" in refusal(tmp_path / "to", server.address)


@pytest.mark.parametrize("length", ["", "abc"])
def test_a_download_that_is_too_large_is_refused_at_once(tmp_path, server, monkeypatch, length):
    monkeypatch.setattr(download, "_LARGEST_BYTES", 100_000)
    server.length = length
    problem = f"{server.address}/training.zip: larger than 0.1 MB; use another mirror"
    assert refusal(tmp_path / "to", server.address) == problem
    assert server.asked_for_recordings() == [0]
    assert list((tmp_path / ".to-downloads").iterdir()) == []


def test_of_the_annotations_the_table_of_subjects_is_kept(tmp_path, server):
    members = {"annotations/subjects.csv": b"table", "annotations/a.mat": b"huge"}
    server.files["annotations.zip"] = write_zip(tmp_path / "a.zip", members).read_bytes()
    to = fetch(tmp_path / "to", server.address)
    assert [path.name for path in (to / "annotations").iterdir()] == ["subjects.csv"]


@pytest.mark.parametrize("answer", [{}, {"annotations.zip": b"<html>moved</html>"}])
def test_without_annotations_the_fetch_succeeds_and_says_so(tmp_path, server, answer):
    server.files |= answer
    with pytest.warns(UserWarning, match="no subjects are known"):
        to = fetch(tmp_path / "to", server.address)
    assert (to / "training" / "training-a").is_dir()


@pytest.mark.real
def test_the_real_folder_passes_and_is_left_as_it_is(real_data, monkeypatch):
    monkeypatch.undo()
    before = times(real_data)
    assert fetch(real_data) == real_data.absolute()
    assert times(real_data) == before
