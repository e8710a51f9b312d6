"""What arrives is whole, checked and inside its folder, over whatever connection."""

import hashlib
import re
import stat
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from hsutils.errors import InputError
from hsutils.data.download import fetch

AUDIO = np.random.default_rng(0).integers(0, 256, 1_000_000, dtype=np.uint8).tobytes()


def training_files(letter: str = "a", above: str = "") -> dict[str, bytes]:
    """Members of an archive with one folder and its checksums; the ECG is listed, not held."""
    files = {f"{letter}0001.wav": AUDIO, "REFERENCE.csv": f"{letter}0001,-1\n".encode()}
    sums = [f"{hashlib.sha256(content).hexdigest()}  {name}" for name, content in files.items()]
    files["SHA256SUMS"] = "\n".join([*sums, f"{'0' * 64}  {letter}0001.dat", ""]).encode()
    return {f"{above}training-{letter}/{name}": content for name, content in files.items()}


def write_zip(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def tree(folder: Path) -> dict[str, int]:
    """Every file with the time it was written."""
    return {
        str(path.relative_to(folder)): path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_file()
    }


def refusal(to: Path, mirror: Path | str) -> str:
    with pytest.raises(InputError) as caught:
        fetch(to, mirror, annotations=False)
    return "\n".join(caught.value.problems)


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
    """Serves `files`; hangs up after half of what was asked for while `breaks` last."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.breaks = 0
        self.resumable = True
        self.asked: list[tuple[str, int]] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.strip("/")
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        self.server.asked.append((name, start))
        start = start if self.server.resumable else 0
        if name not in self.server.files:
            return self.send_error(404)
        content = self.server.files[name]
        if start >= len(content):
            return self.answer(416, b"", f"bytes */{len(content)}")
        content = content[start:]
        self.answer(206 if start else 200, content, f"bytes {start}-/{len(content)}")

    def answer(self, status: int, content: bytes, content_range: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Range", content_range)
        self.end_headers()
        breaks, self.server.breaks = self.server.breaks > 0, self.server.breaks - 1
        self.wfile.write(content[: len(content) // 2] if breaks else content)

    def log_message(self, *_):
        """Stay silent."""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("hsutils.data.download._BACKOFF_SECONDS", 0)
    served = Server()
    archive = write_zip(tmp_path / "served.zip", training_files("a", above="training/"))
    served.files["training.zip"] = archive.read_bytes()
    threading.Thread(target=served.serve_forever, args=(0.01,), daemon=True).start()
    yield served
    served.shutdown()
    served.server_close()


def test_archives_of_a_mirror_become_one_folder(tmp_path, mirror):
    to = fetch(tmp_path / "data" / "challenge", mirror)
    held = {"REFERENCE.csv", "SHA256SUMS", "e0001.wav"}
    assert {path.name for path in (to / "training-e").iterdir()} == held
    assert (to / "validation" / "e0001.wav").read_bytes() == AUDIO
    assert [path.name for path in to.parent.iterdir()] == ["challenge"]


def test_a_second_fetch_changes_nothing_and_needs_no_source(tmp_path, mirror):
    to = fetch(tmp_path / "to", mirror)
    before = tree(to)
    fetch(to, tmp_path / "gone")
    assert tree(to) == before


@pytest.mark.parametrize("name", ["training-e/e0001.wav", "validation/e0001.wav"])
def test_a_second_fetch_names_a_file_that_changed_or_vanished(tmp_path, mirror, name):
    to = fetch(tmp_path / "to", mirror)
    (to / name).write_bytes(b"other")
    assert re.search(rf"{name}: differs .* remove {to}", refusal(to, mirror))
    (to / name).unlink()
    assert f"{name}: is missing" in refusal(to, mirror)


@pytest.mark.parametrize("name", ["training-a/a0001.wav", "training-a/REFERENCE.csv"])
def test_a_file_that_fails_its_checksum_or_is_left_out_installs_nothing(tmp_path, name):
    files = training_files("a")
    write_zip(tmp_path / "mirror" / "a.zip", files | {name: b"damaged"})
    assert f"{name}: differs" in refusal(tmp_path / "to", tmp_path / "mirror")
    del files[name]
    write_zip(tmp_path / "mirror" / "a.zip", files)
    assert f"{name}: is missing" in refusal(tmp_path / "to", tmp_path / "mirror")
    assert [path.name for path in tmp_path.iterdir()] == ["mirror"]


@pytest.mark.parametrize(
    "name", ["../evil", "training-a/../../evil", "/evil", "C:/evil", "C:evil", "..\\evil"]
)
def test_a_member_that_climbs_out_stops_everything(tmp_path, mirror, name):
    write_zip(mirror / "training-a.zip", training_files("a") | {name: b"evil"})
    told = refusal(tmp_path / "to", mirror)
    assert "training-a.zip" in told
    assert repr(name) in told
    assert [path.name for path in tmp_path.iterdir()] == ["mirror"]
    assert not Path("/evil").exists()


def test_a_member_that_is_a_link_stops_everything(tmp_path, mirror):
    link = zipfile.ZipInfo("training-a/a0002.wav")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(mirror / "training-a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    assert "a0002.wav' is a link" in refusal(tmp_path / "to", mirror)
    assert not (tmp_path / "to").exists()


def test_a_damaged_archive_is_named(tmp_path, mirror):
    archive = mirror / "training-e-1.zip"
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 0xFF
    archive.write_bytes(content)
    (mirror / "training-e-2.zip").write_bytes(b"no archive")
    assert "training-e-2.zip: is not a readable archive" in refusal(tmp_path / "to", mirror)
    (mirror / "training-e-2.zip").unlink()
    assert "training-e-1.zip: is damaged" in refusal(tmp_path / "to", mirror)


def test_a_mirror_without_archives_and_a_folder_in_use_are_refused(tmp_path):
    assert "no such folder" in refusal(tmp_path / "to", tmp_path / "none")
    assert "holds no .zip" in refusal(tmp_path / "to", tmp_path)
    (tmp_path / "letters.txt").write_text("mine")
    assert "name another folder" in refusal(tmp_path, tmp_path)
    assert (tmp_path / "letters.txt").read_text() == "mine"


def test_an_empty_destination_and_the_remains_of_a_killed_fetch_are_used_up(tmp_path, mirror):
    (tmp_path / "to").mkdir()
    (tmp_path / ".to-unpacking" / "training-a").mkdir(parents=True)
    to = fetch(tmp_path / "to", mirror)
    assert not (to / "training-a").exists()
    assert not (tmp_path / ".to-unpacking").exists()


def test_a_broken_connection_is_resumed_where_it_stopped(tmp_path, server):
    server.breaks = 3
    to = fetch(tmp_path / "to", server.address, annotations=False)
    assert (to / "training" / "training-a" / "a0001.wav").read_bytes() == AUDIO
    starts = [start for _, start in server.asked]
    assert len(starts) == 4
    assert starts == sorted(set(starts))
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_server_that_cannot_resume_sends_all_of_it_and_nothing_is_kept_twice(tmp_path, server):
    server.breaks, server.resumable = 2, False
    fetch(tmp_path / "to", server.address, annotations=False)
    (_, start), (_, half), (_, half_again) = server.asked
    assert start == 0
    assert half == half_again > 0


def test_a_killed_download_goes_on_in_the_next_fetch(tmp_path, server, monkeypatch):
    server.breaks = 1
    monkeypatch.setattr("time.sleep", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        fetch(tmp_path / "to", server.address, annotations=False)
    kept = (tmp_path / ".to-downloads" / "training.zip.part").stat().st_size
    assert kept > 0
    fetch(tmp_path / "to", server.address, annotations=False)
    assert server.asked[-1] == ("training.zip", kept)


def test_a_download_killed_before_its_last_rename_is_not_fetched_again(tmp_path, server):
    (tmp_path / ".to-downloads").mkdir()
    part = tmp_path / ".to-downloads" / "training.zip.part"
    part.write_bytes(server.files["training.zip"])
    assert fetch(tmp_path / "to", server.address, annotations=False).is_dir()
    assert len(server.asked) == 1


def test_a_longer_leftover_of_another_download_is_thrown_away(tmp_path, server):
    (tmp_path / ".to-downloads").mkdir()
    part = tmp_path / ".to-downloads" / "training.zip.part"
    part.write_bytes(bytes(len(server.files["training.zip"]) + 1))
    assert fetch(tmp_path / "to", server.address, annotations=False).is_dir()


def test_a_connection_that_never_yields_anything_is_given_up_with_advice(tmp_path, server):
    address = server.address
    server.shutdown()
    server.server_close()
    assert "--mirror" in refusal(tmp_path / "to", address)


def test_a_page_that_is_not_there_is_not_asked_for_twice(tmp_path, server):
    server.files.clear()
    assert "404" in refusal(tmp_path / "to", server.address)
    assert len(server.asked) == 1


def test_a_damaged_download_is_discarded_so_that_the_next_fetch_starts_afresh(tmp_path, server):
    good = server.files["training.zip"]
    server.files["training.zip"] = good[:500_000] + b"\xff\x00" + good[500_002:]
    assert "run the same command again" in refusal(tmp_path / "to", server.address)
    server.files["training.zip"] = good
    assert fetch(tmp_path / "to", server.address, annotations=False).is_dir()


def test_of_the_annotations_only_the_table_of_subjects_is_kept(tmp_path, server):
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
def test_the_real_folder_passes_and_is_left_as_it_is(real_data):
    before = tree(real_data)
    assert fetch(real_data) == real_data.absolute()
    assert tree(real_data) == before
