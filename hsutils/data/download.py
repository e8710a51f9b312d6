"""The Challenge recordings -> a verified folder on this computer; and the published split lists.

`python -m hsutils fetch --to data/challenge-2016` takes them from PhysioNet; with `--mirror DIR`
the same archives come from a folder instead. Archives are unpacked beside the
destination, every recording and label is verified, and only then does the folder get its name: it
is whole or absent. A fetch that was interrupted goes on where it stopped.
"""

import errno
import hashlib
import shutil
import time
import warnings
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pooch
import requests
import urllib3
from tqdm import tqdm

from hsutils.environment import usable_cores
from hsutils.errors import InputError
from hsutils.files import digest_of, require_space, write_text

PHYSIONET = "https://physionet.org/files/challenge-2016/1.0.0"
"""Open access, ODC-BY 1.0; cite Liu et al. 2016 and Goldberger et al. 2000."""

CONTENTS = {
    "training-a": "f3e902d57107c8e448a7d22f2606c8cddd332385cf2e76427690f5521ab8e80b",
    "training-b": "76be3c09142711876daa14d8dbb31744f3d7bfb95aa94eafaac23da4ee91327b",
    "training-c": "0f0de4657e08c3bd19e84f4e67a737bd87714b4c1ad75ca144d87e938a4ba2a8",
    "training-d": "9f0cbb79e4e54df200c4c906b415a79ee527e454d0b82a7ba706ff7903a0e686",
    "training-e": "ac902714a26fe609c48d364cca6e768b6e794eef7ba4412e1a951b510b6e11ab",
    "training-f": "9956c68376fdad57709e28d8f257b757fa9f6bbeb5c23f458e5008ffc374a06e",
}
"""SHA-256 of the lines `<SHA-256>  <name>` of a folder's .wav and .csv files, sorted by name."""

LISTS_URL = (
    "https://raw.githubusercontent.com/stanfordmlgroup/selfsupervised-lungandheartsounds/"
    "c704fc3/heart/splits/"
)
LISTS = {
    "pretrain-only.txt": "aa0f1a557cced80282dddb848052caafa5656fc20bee400f6e38de53095bc08c",
    "train.txt": "4bcb3cbdb45ec0e1359a128a460088d66d7bbe4aa951713b6db3066514fcea3e",
    "val.txt": "00adbfcb186e18541e1b8c90d81b8e4735a49805c2fd69b2dff34c93e96f9953",
    "test.txt": "54bf9811fb8757b3499aae0e78d287244ecf7df0a2b5eb73e8efe99c49a04088",
}
"""SHA-256 of the published lists of pretrain, finetune, dev and test, by the lab's names."""

_SUMS = "SHA256SUMS"
_READ = (".wav", ".csv")  # endings of what is verified; all but these and _SUMS stays packed
_LARGEST_BYTES = 600_000_000  # of a download, and of all that is unpacked; the Challenge has 320 MB
_ATTEMPTS = 10
_SLOWEST = 10_000  # bytes a second, over an attempt longer than ...
_PATIENCE_SECONDS = 60
_BACKOFF_SECONDS = 1.0
_TIMEOUT_SECONDS = 30  # without a byte
_BROKEN = (requests.RequestException, urllib3.exceptions.HTTPError)


class _Damaged(InputError):
    """What was fetched is not what was published."""


def fetch(to: Path | str, mirror: Path | str | None = None) -> Path:
    """Put the Challenge recordings into `to`, verified file by file.

    Args:
        to: folder to make. If it is there already it is verified and left as it is.
        mirror: folder with the archives (`*.zip`), or the address (http, https) of one that serves
            `training.zip` and `annotations.zip`; PhysioNet when not given.

    Returns:
        `to`, which holds a `SHA256SUMS` of everything that was unpacked.

    Raises:
        InputError: if the source cannot be reached or holds no archive, an archive is damaged or
            too large, or a recording or label is not the published one.

    Warns:
        UserWarning: if no annotations can be had, which name the subjects.
    """
    to, again = Path(to).absolute(), "then run the same command again"
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        _verify(to, f"name another folder or remove {to}, {again}")
        print(f"{to}: verified, nothing to fetch")
        return to
    source = str(mirror or PHYSIONET).rstrip("/")
    downloads, unpacked = (to.with_name(f".{to.name}-{n}") for n in ("downloads", "unpacking"))
    if source.startswith(("http://", "https://")):
        archives = _download(source, downloads)
        remedy = "the download was discarded, run the same command again"
    else:
        archives = sorted(Path(source).glob("*.zip"))
        remedy = f"replace the archive in {source}, {again}"
    if not archives:
        raise InputError(f"{source}: no folder with .zip archives; name one with training-a.zip")
    try:
        _unpack(archives, unpacked, remedy)
        # With this list a later look at the folder covers every file.
        write_text(unpacked / _SUMS, _lines(_verify(unpacked, remedy)))
        if to.exists():
            to.rmdir()
        unpacked.rename(to)
    except _Damaged:
        shutil.rmtree(downloads, ignore_errors=True)
        raise
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)
    shutil.rmtree(downloads, ignore_errors=True)
    print(f"{to}: all recordings and labels verified")
    return to


def fetch_lists() -> list[Path]:
    """The published split `LISTS`, in their order, fetched once from the lab's repository.

    Raises:
        InputError: if a list cannot be had or is not the published one, by its SHA-256.
    """
    advice = "name a folder with the lists in splits.lists, or use splits.method=generated"
    folder = Path(pooch.os_cache("hsutils"))
    return [_retrieve(LISTS_URL + name, folder, advice, sha) for name, sha in LISTS.items()]


def _download(source: str, downloads: Path) -> list[Path]:
    advice = "check the connection and run the same command again, or name a folder with --mirror"
    archives = [_retrieve(f"{source}/training.zip", downloads, advice)]
    try:
        annotations = _retrieve(f"{source}/annotations.zip", downloads, advice)
        with _reading(annotations, "not used"):
            zipfile.ZipFile(annotations).close()
        archives.append(annotations)
    except InputError as error:
        warnings.warn(f"no annotations, so no subjects are known: {error}", stacklevel=3)
    return archives


def _retrieve(url: str, folder: Path, advice: str, sha256: str | None = None) -> Path:
    """The file at `url`, in `folder`; one that is there already is not fetched again."""
    folder.mkdir(parents=True, exist_ok=True)
    name, known_hash = url.rsplit("/", 1)[-1], sha256 and f"sha256:{sha256}"
    pooch.get_logger().setLevel("WARNING")
    downloader = partial(_resume, folder / f"{name}.part")
    try:
        return Path(pooch.retrieve(url, known_hash, name, folder, downloader=downloader))
    except InputError:
        raise
    except (*_BROKEN, ValueError) as error:
        raise InputError(f"{url}: could not be fetched ({error}); {advice}") from error


def _resume(part: Path, url: str, output_file: str, _registry: object) -> None:
    """A pooch downloader that goes on from `part` when the connection breaks."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            _receive(url, part)
            break
        except _BROKEN as error:
            status = getattr(getattr(error, "response", None), "status_code", 500)
            final = 400 <= status < 500 and status not in (408, 416, 429)
            if final or attempt == _ATTEMPTS:
                raise
            time.sleep(_BACKOFF_SECONDS * attempt)
    part.replace(output_file)


def _receive(url: str, part: Path) -> None:
    """One attempt to append to `part` what it still lacks."""
    have, started = part.stat().st_size if part.exists() else 0, time.monotonic()
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT_SECONDS) as response:
        place, resumes = response.headers.get("Content-Range", ""), response.status_code == 206
        if place == f"bytes */{have}":
            return
        if response.status_code == 416 or (resumes and not place.startswith(f"bytes {have}-")):
            part.unlink()
            raise requests.ConnectionError("the server cannot go on from there", response=response)
        response.raise_for_status()
        first = have = have if resumes else 0
        length = response.headers.get("Content-Length", "")
        total = have + (int(length) if length.isdecimal() else 0)
        bar = tqdm(
            desc=part.stem, total=total, initial=have, unit="B", unit_scale=True, disable=None
        )
        with bar, part.open("ab" if have else "wb") as file:
            # Whatever has come so far, instead of waiting for a whole block from a slow server.
            while chunk := response.raw.read1(1 << 16):
                have += file.write(chunk)
                bar.update(len(chunk))
                seconds = time.monotonic() - started
                if seconds > _PATIENCE_SECONDS and have - first < _SLOWEST * seconds:
                    raise requests.Timeout(f"slower than {_SLOWEST / 1000:g} kB a second")
                if have > _LARGEST_BYTES:
                    part.unlink()
                    raise InputError(f"{url}: larger than {_LARGEST_BYTES / 1e6:g} MB; do not use")
    if have < total:
        raise requests.ConnectionError("the connection closed early")


def _unpack(archives: list[Path], unpacked: Path, remedy: str) -> None:
    """Unpack into a new folder what is read here; `zipfile` writes nothing outside that folder."""
    wanted, ends = {}, (*_READ, _SUMS)
    for archive in archives:
        with _reading(archive, remedy), zipfile.ZipFile(archive) as file:
            members = [member for member in file.infolist() if member.filename.endswith(ends)]
            # macOS adds shadows of files.
            wanted[archive] = [member for member in members if "__MACOSX" not in member.filename]
    needed = sum(member.file_size for members in wanted.values() for member in members)
    if needed > _LARGEST_BYTES:
        raise _Damaged(f"{archives[0].parent}: archives hold {needed / 1e6:,.0f} MB; do not use")
    shutil.rmtree(unpacked, ignore_errors=True)
    unpacked.mkdir(parents=True)
    require_space(unpacked.parent, needed, "--to")
    for archive, members in tqdm(wanted.items(), desc="unpack", unit="archive", disable=None):
        with _reading(archive, remedy), zipfile.ZipFile(archive) as file:
            file.extractall(unpacked, members)


@contextmanager
def _reading(archive: Path, remedy: str) -> Iterator[None]:
    """Turn any failure to read an archive into one line."""
    try:
        yield
    except Exception as error:  # a dozen kinds, by what is damaged
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise _Damaged(f"{archive}: is a damaged archive ({error}); {remedy}") from error


def _verify(root: Path, remedy: str) -> dict[str, str]:
    """SHA-256 of every file; `CONTENTS` decides, lists of checksums tell which file differs."""
    files = sorted(path for path in root.rglob("*") if path.is_file() and path != root / _SUMS)
    with ThreadPoolExecutor(usable_cores()) as threads:
        digests = dict(zip(files, threads.map(digest_of, files), strict=True))
    faults = {}
    for sums in sorted(root.rglob(_SUMS)):
        for line in sums.read_text("utf-8", "replace").splitlines():
            expected, _, name = line.partition(" ")
            path = sums.parent / name.strip().lstrip("*")
            if path.suffix in _READ and digests.get(path) != expected:
                fault = "differs from" if path in digests else "is missing, but listed in"
                name = path.as_posix().removeprefix(f"{root.as_posix()}/")
                faults[name] = f"{fault} {_SUMS}"
    folders = sorted(path for path in root.rglob("training-*") if path.is_dir())
    for folder in folders if not faults else []:
        held = [path for path in files if path.parent == folder and path.suffix in _READ]
        lines = _lines({path.name: digests[path] for path in held})
        if hashlib.sha256(lines.encode()).hexdigest() != CONTENTS.get(folder.name):
            faults[folder.name] = "holds other recordings or labels than PhysioNet's"
    if not folders:
        faults[root.name] = "holds no folder training-a to training-f"
    if faults:
        raise _Damaged([f"{name}: {fault}; {remedy}" for name, fault in faults.items()])
    return {path.relative_to(root).as_posix(): digest for path, digest in digests.items()}


def _lines(digests: dict[str, str]) -> str:
    """A line `<SHA-256>  <name>` a file."""
    return "".join(f"{digest}  {name}\n" for name, digest in digests.items())
