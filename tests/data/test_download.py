"""What arrives is whole, verified and inside its folder, over whatever connection."""

import hashlib
import re
import shutil
import threading
import time
import zipfile
from collections import namedtuple
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from hsutils.data import download
from hsutils.data.download import fetch
from hsutils.errors import InputError

AUDIO = np.random.default_rng(0).integers(0, 256, 1_000_000, dtype=np.uint8).tobytes()
ARCHIVE = "training.zip"
WITHOUT_SUBJECTS = pytest.mark.filterwarnings("ignore:no annotations:UserWarning")


def training_files(letter: str = "a", above: str = "") -> dict[str, bytes]:
    """Members of an archive with one folder and its checksums; the ECG is listed, not held."""
    files = {f"{letter}0001.wav": AUDIO, "REFERENCE.csv": f"{letter}0001,-1\n".encode()}
    sums = [f"{hashlib.sha256(content).hexdigest()}  {name}" for name, content in files.items()]
    files["SHA256SUMS"] = "\n".join([*sums, f"{'0' * 64}  {letter}0001.dat", ""]).encode()
    return {f"{above}training-{letter}/{name}": content for name, content in files.items()}


def write_zip(path: Path, members: dict[str, bytes], compression: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def tree(folder: Path) -> dict[str, int]:
    """Every file with the time it was written."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in files}


def refusal(to: Path, mirror: Path | str) -> str:
    with pytest.raises(InputError) as caught:
        fetch(to, mirror)
    return "\n".join(caught.value.problems)


@pytest.fixture(autouse=True)
def published(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if these were the Challenge's recordings and labels."""
    contents = {}
    for letter in "ae":
        # Their names in order: REFERENCE.csv comes before the recording.
        files = {Path(name).name: held for name, held in training_files(letter).items()}
        names = ["REFERENCE.csv", f"{letter}0001.wav"]
        lines = [f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in names]
        contents[f"training-{letter}"] = hashlib.sha256("".join(lines).encode()).hexdigest()
    monkeypatch.setattr(download, "CONTENTS", contents)


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    """One folder in two archives, as training-e is, and another."""
    folder = tmp_path / "mirror"
    first, *others = training_files("e").items()
    write_zip(folder / "training-e-1.zip", dict([first]))
    write_zip(folder / "training-e-2.zip", {"training-e/": b"", **dict(others)})
    write_zip(folder / "validation.zip", {"validation/e0001.wav": AUDIO})
    return folder


class Server(ThreadingHTTPServer):
    """Serves `files`, with the faults that are asked for."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.breaks = 0  # how often it hangs up after half of what was asked for
        self.resumable = True
        self.shift = 0  # bytes by which it resumes too early
        self.says_so = True  # in Content-Range
        self.length = ""  # instead of the true Content-Length
        self.pause = 0.0  # seconds before every single byte
        self.asked: list[tuple[str, int]] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


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
        try:
            for start in range(0, len(content) if server.pause else 0):
                time.sleep(server.pause)
                self.wfile.write(content[start : start + 1])
            self.wfile.write(content[: len(content) // 2] if breaks else content)
        except OSError:
            """The other side had enough."""

    def log_message(self, *_):
        """Stay silent."""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(download, "_BACKOFF_SECONDS", 0)
    served = Server()
    archive = write_zip(tmp_path / "served.zip", training_files("a", above="training/"))
    served.files[ARCHIVE] = archive.read_bytes()
    threading.Thread(target=served.serve_forever, args=(0.01,), daemon=True).start()
    yield served
    served.shutdown()
    served.server_close()


# Archives


def test_of_the_archives_what_is_read_becomes_one_folder(tmp_path, mirror, capsys):
    write_zip(mirror / "more.zip", {"training-e/RECORDS": b"e0001", "__MACOSX/x.wav": b"shadow"})
    to = tmp_path / "data" / "challenge"
    # As a killed fetch leaves it.
    to.mkdir(parents=True)
    (to.parent / ".challenge-unpacking" / "training-a").mkdir(parents=True)
    fetch(to, mirror)
    held = {"REFERENCE.csv", "SHA256SUMS", "e0001.wav"}
    assert {path.name for path in (to / "training-e").iterdir()} == held
    assert (to / "validation" / "e0001.wav").read_bytes() == AUDIO
    assert {path.name for path in to.iterdir()} == {"SHA256SUMS", "training-e", "validation"}
    assert [path.name for path in to.parent.iterdir()] == ["challenge"]
    assert "all recordings and labels verified" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["training-e/e0001.wav", "validation/e0001.wav"])
def test_a_second_fetch_needs_no_source_and_names_a_file_that_changed_or_vanished(
    tmp_path, mirror, name
):
    to = fetch(tmp_path / "to", mirror)
    before = tree(to)
    fetch(to, tmp_path / "gone")
    assert tree(to) == before
    (to / name).write_bytes(b"other")
    assert re.search(rf"{name}: differs .* remove {to}", refusal(to, mirror))
    (to / name).unlink()
    assert f"{name}: is missing" in refusal(to, mirror)


@pytest.mark.parametrize("name", ["training-a/a0001.wav", "training-a/REFERENCE.csv"])
def test_a_file_that_fails_its_checksum_or_is_left_out_installs_nothing(tmp_path, name):
    files = training_files("a")
    not_text = {"training-a/SHA256SUMS": f"\xff {Path(name).name}\n".encode("latin-1")}
    for other in ({name: b"damaged"}, not_text):
        write_zip(tmp_path / "mirror" / "a.zip", files | other)
        told = refusal(tmp_path / "to", tmp_path / "mirror")
        assert told.startswith(f"{name}: differs") and "\n" not in told
    del files[name]
    write_zip(tmp_path / "mirror" / "a.zip", files)
    assert f"{name}: is missing" in refusal(tmp_path / "to", tmp_path / "mirror")
    assert [path.name for path in tmp_path.iterdir()] == ["mirror"]


@pytest.mark.parametrize("change", [{"a0001.wav": b"other"}, {"a0002.wav": AUDIO}])
def test_without_a_list_of_checksums_only_the_published_recordings_pass(tmp_path, change):
    files = training_files("a")
    del files["training-a/SHA256SUMS"]
    write_zip(tmp_path / "mirror" / "a.zip", files)
    fetch(tmp_path / "to", tmp_path / "mirror")
    other = {f"training-a/{name}": content for name, content in change.items()}
    write_zip(tmp_path / "mirror" / "a.zip", files | other)
    told = refusal(tmp_path / "again", tmp_path / "mirror")
    assert told.startswith("training-a: holds other recordings or labels than PhysioNet's")
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize(
    "name", ["../e.csv", "training-a/../../e.csv", "/e.csv", "C:/e.csv", "..\\e.csv"]
)
def test_no_member_is_written_outside_the_folder(tmp_path, mirror, name):
    write_zip(mirror / "training-a.zip", training_files("a") | {name: b"evil"})
    try:
        fetch(tmp_path / "data" / "to", mirror)
    except InputError:
        """It is in a training folder, which is then not as published."""
    outside = [
        path for path in tmp_path.rglob("*e.csv") if tmp_path / "data/to" not in path.parents
    ]
    assert outside == [] and not Path("/e.csv").exists()


@pytest.mark.parametrize(
    "compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA]
)
@pytest.mark.parametrize("at", [0.02, 0.5])
def test_a_damaged_archive_is_named_in_one_line(tmp_path, compression, at):
    members = {f"training-a/{n}.csv": str(n).encode() * 5_000 for n in range(200)}
    archive = write_zip(tmp_path / "mirror" / "a.zip", members, compression)
    content = bytearray(archive.read_bytes())
    start = round(at * len(content))
    content[start : start + 400] = bytes(400)
    archive.write_bytes(content)
    told = refusal(tmp_path / "to", tmp_path / "mirror")
    assert "a.zip: is a damaged archive" in told and "\n" not in told
    archive.write_bytes(b"no archive")
    assert "a.zip: is a damaged archive" in refusal(tmp_path / "to", tmp_path / "mirror")


def test_what_unpacks_to_more_than_the_challenge_or_the_disk_has_is_one_line(tmp_path, monkeypatch):
    bomb = {"training-a/a0001.wav": bytes(10_000_000)}
    write_zip(tmp_path / "mirror" / "a.zip", bomb, zipfile.ZIP_DEFLATED)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 1_500_000))
    told = refusal(tmp_path / "to", tmp_path / "mirror")
    assert "10.0 MB are needed and 1.5 MB are free; make room" in told and "\n" not in told
    monkeypatch.setattr(download, "_LARGEST_BYTES", 9_999_999)
    assert "archives hold 10 MB; do not use" in refusal(tmp_path / "to", tmp_path / "mirror")
    assert [path.name for path in tmp_path.iterdir()] == ["mirror"]


def test_a_mirror_without_archives_and_a_folder_in_use_are_refused(tmp_path):
    assert "no folder with .zip" in refusal(tmp_path / "to", tmp_path / "none")
    assert "no folder with .zip" in refusal(tmp_path / "to", tmp_path)
    (tmp_path / "letters.txt").write_text("mine")
    assert "name another folder" in refusal(tmp_path, tmp_path)
    assert (tmp_path / "letters.txt").read_text() == "mine"


# Connections


@WITHOUT_SUBJECTS
@pytest.mark.parametrize("length", ["", "abc"])
def test_a_broken_connection_is_resumed_where_it_stopped(tmp_path, server, length):
    server.breaks, server.length = (0, length) if length else (3, "")
    to = fetch(tmp_path / "to", server.address)
    assert (to / "training" / "training-a" / "a0001.wav").read_bytes() == AUDIO
    starts = [start for name, start in server.asked if name == ARCHIVE]
    assert len(starts) == (1 if length else 4)
    assert starts == sorted(set(starts))
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@WITHOUT_SUBJECTS
@pytest.mark.parametrize("fault", [{"resumable": False}, {"shift": 1_000}])
def test_a_server_that_does_not_resume_sends_all_of_it_again(tmp_path, server, fault):
    server.breaks = 1
    for name, value in fault.items():
        setattr(server, name, value)
    to = fetch(tmp_path / "to", server.address)
    assert (to / "training" / "training-a" / "a0001.wav").read_bytes() == AUDIO


@WITHOUT_SUBJECTS
def test_what_a_server_resumed_wrongly_and_says_nothing_of_is_not_kept(tmp_path, server):
    server.breaks, server.shift, server.says_so = 1, 1_000, False
    assert "training.zip: is a damaged archive" in refusal(tmp_path / "to", server.address)
    assert [path.name for path in tmp_path.iterdir()] == ["served.zip"]
    assert fetch(tmp_path / "to", server.address).is_dir()


@WITHOUT_SUBJECTS
def test_a_killed_download_goes_on_in_the_next_fetch(tmp_path, server, monkeypatch):
    server.breaks = 1
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(time, "sleep", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        fetch(tmp_path / "to", server.address)
    kept = (tmp_path / ".to-downloads" / "training.zip.part").stat().st_size
    assert kept > 0
    fetch(tmp_path / "to", server.address)
    assert (ARCHIVE, kept) in server.asked


@WITHOUT_SUBJECTS
@pytest.mark.parametrize("more", [0, 1])
def test_a_whole_download_is_not_fetched_again_and_a_longer_one_thrown_away(tmp_path, server, more):
    (tmp_path / ".to-downloads").mkdir()
    part = tmp_path / ".to-downloads" / "training.zip.part"
    part.write_bytes(server.files[ARCHIVE] + bytes(more))
    assert fetch(tmp_path / "to", server.address).is_dir()
    assert [name for name, _ in server.asked].count(ARCHIVE) == 1 + more


def test_a_server_that_drips_or_has_nothing_or_is_gone_is_given_up(tmp_path, server, monkeypatch):
    monkeypatch.setattr(download, "_PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(download, "_ATTEMPTS", 2)
    server.pause, started = 0.02, time.monotonic()
    assert "slower than 10 kB a second" in refusal(tmp_path / "to", server.address)
    assert time.monotonic() - started < 5
    server.files.clear()
    server.asked.clear()
    assert "404" in refusal(tmp_path / "to", server.address)
    assert len(server.asked) == 1
    server.shutdown()
    server.server_close()
    assert "--mirror" in refusal(tmp_path / "to", server.address)


def test_a_download_without_end_is_refused_and_not_kept(tmp_path, server, monkeypatch):
    monkeypatch.setattr(download, "_LARGEST_BYTES", 100_000)
    told = f"{server.address}/training.zip: larger than 0.1 MB; do not use"
    assert refusal(tmp_path / "to", server.address) == told
    assert list((tmp_path / ".to-downloads").iterdir()) == []


def test_of_the_annotations_the_table_of_subjects_is_kept(tmp_path, server):
    name = "annotations/Online_Appendix_training_set.csv"
    archive = write_zip(tmp_path / "notes.zip", {name: b"table", "annotations/a.mat": b"huge"})
    server.files["annotations.zip"] = archive.read_bytes()
    to = fetch(tmp_path / "to", server.address)
    assert [path.name for path in (to / "annotations").iterdir()] == [Path(name).name]


@pytest.mark.parametrize("answer", [None, b"<html>moved</html>"])
def test_without_annotations_the_fetch_succeeds_and_says_so(tmp_path, server, answer):
    if answer:
        server.files["annotations.zip"] = answer
    with pytest.warns(UserWarning, match="no subjects are known"):
        to = fetch(tmp_path / "to", server.address)
    assert (to / "training" / "training-a").is_dir()


@pytest.mark.real
def test_the_real_folder_passes_and_is_left_as_it_is(real_data, monkeypatch):
    monkeypatch.undo()
    before = tree(real_data)
    assert fetch(real_data) == real_data.absolute()
    assert tree(real_data) == before
