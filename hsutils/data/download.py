"""PhysioNet's recordings -> a verified folder on this computer; and the published split lists.

`python -m hsutils fetch --to data/challenge-2016` takes them from PhysioNet; with `--mirror DIR`
the same archives come from a folder instead. They are unpacked beside the destination, which gets
its name when every recording and label is verified: it is whole or absent. A fetch that was
interrupted, or for which the disk was too small, goes on where it stopped.
"""

import errno
import hashlib
import shutil
import time
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pooch
import requests
import urllib3

from hsutils.errors import InputError
from hsutils.files import digest_of, require_space
from hsutils.progress import progress

PHYSIONET = "https://physionet.org/files/challenge-2016/1.0.0"
"""Open access, ODC-BY 1.0; cite Liu et al. 2016 and Goldberger et al. 2000."""

CONTENTS = {
    "training-a": "f3e902d57107c8e448a7d22f2606c8cddd332385cf2e76427690f5521ab8e80b",
    "training-b": "76be3c09142711876daa14d8dbb31744f3d7bfb95aa94eafaac23da4ee91327b",
    "training-c": "0f0de4657e08c3bd19e84f4e67a737bd87714b4c1ad75ca144d87e938a4ba2a8",
    "training-d": "9f0cbb79e4e54df200c4c906b415a79ee527e454d0b82a7ba706ff7903a0e686",
    "training-e": "ac902714a26fe609c48d364cca6e768b6e794eef7ba4412e1a951b510b6e11ab",
    "training-f": "9956c68376fdad57709e28d8f257b757fa9f6bbeb5c23f458e5008ffc374a06e",
    "validation": "038ea3b14bb298534308f74849e8989aa81b2c851f86c439613e8805e808b1a5",
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

_READ, _VERIFIED = (".wav", ".csv"), ("training-", "validation")  # ends of files, starts of folders
_LARGEST_BYTES = 10**9  # of a download, and of all that is unpacked; CirCor has about 600 MB
_ATTEMPTS, _BACKOFF_SECONDS = 10, 1.0
_SLOWEST, _PATIENCE_SECONDS = 10_000, 60  # bytes a second, over a longer attempt than this


class Source(NamedTuple):
    """A corpus to fetch."""

    address: str
    archives: tuple[str, ...]  # there; the first is needed
    place: Callable[[str], str]  # a file of an archive -> its place in the folder, "" if not used
    faults: Callable[[Path], list[str]]  # what is wrong with a folder, if anything is
    loose: bool = False  # whether a mirror may hold the files themselves, too


def fetch(to: Path | str, mirror: Path | str | None = None, corpus: Source | None = None) -> Path:
    """Put the recordings of a corpus, the Challenge's by default, into the folder `to`, verified.

    Args:
        to: folder to make, and to return. If it is there already it is verified and left as it is.
        mirror: folder with the archives (`*.zip`), or the address (http, https) of one that serves
            the same archives; PhysioNet when not given.

    Raises:
        InputError: if the source cannot be reached or holds no archive, an archive is damaged or
            too large, a folder is not as published, or the disk is full.

    Warns:
        UserWarning: if the annotations, which name the Challenge's subjects, cannot be fetched.
    """
    corpus = corpus or CHALLENGE
    to, source = Path(to).absolute(), str(mirror or corpus.address)
    again = "run the same command again"
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        _refuse(corpus.faults(to), f"name another folder or remove {to}, then {again}")
        print(f"{to}: verified, nothing to fetch")
        _say_what_is_absent(to, corpus)
        return to
    downloads, unpacked = (to.with_name(f".{to.name}-{n}") for n in ("downloads", "unpacked"))
    if source.startswith(("http://", "https://")):
        sources = _download(source.rstrip("/"), downloads, *corpus.archives)
        remedy = f"it was discarded, {again}"
    else:
        sources, remedy = sorted(Path(source).glob("*.zip")), f"replace it, then {again}"
        if corpus.loose:
            sources = [p for p in sorted(Path(source).rglob("*")) if corpus.place(str(p))] + sources
    if not sources:
        raise InputError(f"{source}: no folder with .zip archives; name one that holds them")
    try:
        faults = _unpack(sources, unpacked, corpus) or corpus.faults(unpacked)
        if not faults:
            unpacked.rename(to)
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)
    # Neither a full disk nor Ctrl-C gets here: the next fetch needs these again.
    shutil.rmtree(downloads, ignore_errors=True)
    _refuse(faults, remedy)
    print(f"{to}: all recordings and labels verified")
    _say_what_is_absent(to, corpus)
    return to


def fetch_lists() -> list[Path]:
    """The published split `LISTS`, in their order, fetched once from the lab's repository.

    Raises:
        InputError: if a list cannot be had or is not the published one, by its SHA-256.
    """
    folder = pooch.os_cache("hsutils")
    pooch.get_logger().setLevel("WARNING")
    try:
        return [
            Path(pooch.retrieve(LISTS_URL + name, f"sha256:{sha256}", name, folder))
            for name, sha256 in LISTS.items()
        ]
    except (requests.RequestException, ValueError) as error:
        advice = "name a folder with the lists in splits.lists, or use splits.method=generated"
        raise InputError(f"{LISTS_URL}: could not be fetched ({error}); {advice}") from error


def _download(source: str, folder: Path, needed: str, *wanted: str) -> list[Path]:
    """The archive of recordings, and that of subjects where it can be had, in `folder`."""
    archives = [_retrieve(f"{source}/{needed}", folder)]
    for name in wanted:
        try:
            archives.append(_retrieve(f"{source}/{name}", folder))
            if not zipfile.is_zipfile(archives[-1]):
                raise InputError(f"{archives.pop()} is a damaged archive")
        except InputError as error:
            warnings.warn(f"no annotations, so no subjects are known: {error}", stacklevel=3)
    return archives


def _retrieve(url: str, folder: Path) -> Path:
    """The file at `url`, in `folder`: what an earlier attempt left there is not fetched again."""
    file, attempts = folder / Path(url).name, 0
    part = folder / f"{file.name}.part"
    folder.mkdir(parents=True, exist_ok=True)
    while not file.exists():
        try:
            _receive(url, part)
            part.rename(file)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            attempts += 1
            status = getattr(getattr(error, "response", None), "status_code", 500)
            if status in (206, 416):
                part.unlink(missing_ok=True)
            final = 400 <= status < 500 and status not in (408, 416, 429)
            if final or attempts == _ATTEMPTS:
                advice = "check the connection and run the same command again, or use --mirror"
                raise InputError(f"{url}: could not be fetched ({error}); {advice}") from error
            time.sleep(_BACKOFF_SECONDS * attempts)
    return file


def _receive(url: str, part: Path) -> None:
    """One attempt to append to `part` what it lacks; an answer unlike the question is an error."""
    have, started = part.stat().st_size if part.exists() else 0, time.monotonic()
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    with requests.get(url, headers=headers, stream=True, timeout=30) as response:
        response.raise_for_status()
        if response.status_code != 206:
            have = 0
        elif not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            problem = f"the server does not go on from byte {have}"
            raise requests.HTTPError(problem, response=response)
        first, total = have, have + (response.raw.length_remaining or 0)
        bar = progress(None, total, part.stem, have)
        bar.unit, bar.unit_scale = "B", True
        with bar, part.open("ab" if have else "wb") as file:
            # Whatever has come so far, instead of waiting for a whole block from a slow server.
            while chunk := response.raw.read1(1 << 16):
                have += file.write(chunk)
                bar.update(len(chunk))
                if max(have, total) > _LARGEST_BYTES:
                    part.unlink()
                    limit = f"{_LARGEST_BYTES / 1e6:g} MB"
                    raise InputError(f"{url}: larger than {limit}; use another mirror")
                seconds = time.monotonic() - started
                if seconds > _PATIENCE_SECONDS and have - first < _SLOWEST * seconds:
                    raise requests.Timeout(f"slower than {_SLOWEST / 1000:g} kB a second")


def _unpack(sources: list[Path], folder: Path, corpus: Source) -> list[str]:
    """Put what is read here into a new folder; what is wrong with an archive, if anything is.

    Sources are archives and, where they may be loose, the files themselves.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    left = _LARGEST_BYTES
    for source in sources:
        try:
            if source.suffix.lower() != ".zip":
                target = folder / corpus.place(str(source))
                target.parent.mkdir(exist_ok=True)
                shutil.copyfile(source, target)
                continue
            with zipfile.ZipFile(source) as file:
                members = [member for member in file.infolist() if corpus.place(member.filename)]
                needed = sum(member.file_size for member in members)
                left -= needed
                if left < 0:
                    raise ValueError(f"archives hold more than {_LARGEST_BYTES / 1e6:g} MB")
                require_space(folder.parent, needed, "--to")
                for member in members:
                    member.filename = corpus.place(member.filename)
                    file.extract(member, folder)  # which writes nothing outside that folder
        except InputError:
            raise
        except Exception as error:  # a dozen kinds, by what is damaged
            if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
                remedy = "make room and run the same command again"
                raise InputError(f"--to={folder.parent}: the disk is full; {remedy}") from error
            return [f"{source}: is a damaged archive ({error})"]
    return []


def _place(name: str) -> str:
    """Of the Challenge's archives recordings and lists are read; macOS adds shadows of files."""
    return name if name.endswith(_READ) and "__MACOSX" not in name else ""


def _differences(root: Path) -> list[str]:
    """The folders at any depth that do not hold what `CONTENTS` says, each with its fault."""
    folders = [path for path in sorted(root.rglob("*/")) if path.name.startswith(_VERIFIED)]
    faults = [] if folders else [f"{root.name}: holds no folder training-a to training-f"]
    for folder in folders:
        files = sorted(path for path in folder.iterdir() if path.suffix in _READ)
        lines = "".join(f"{digest_of(path)}  {path.name}\n" for path in files)
        if hashlib.sha256(lines.encode()).hexdigest() != CONTENTS.get(folder.name):
            name = folder.relative_to(root).as_posix()
            faults.append(f"{name}: holds other recordings or labels than PhysioNet's")
    return faults


def _say_what_is_absent(root: Path, corpus: Source) -> None:
    needed = {name for name in CONTENTS if name.startswith(_VERIFIED[0])}
    absent = sorted(needed - {path.name for path in root.rglob("*/")})
    if corpus is CHALLENGE and absent:
        remedy = "to fetch all, name another folder and an archive that holds them"
        print(f"{root}: a part of the Challenge, without {', '.join(absent)}; {remedy}")


CHALLENGE = Source(PHYSIONET, ("training.zip", "annotations.zip"), _place, _differences)


def _refuse(faults: list[str], remedy: str) -> None:
    if faults:
        raise InputError([f"{fault}; {remedy}" for fault in faults])
