"""The Challenge recordings -> a checked folder on this computer.

`python -m hsutils fetch --to data/challenge-2016` takes them from PhysioNet; with `--mirror DIR`
the same archives come from a folder instead. Either way the archives are unpacked beside the
destination, every file is checked, and only then does the folder get its name: it is whole or
absent. A fetch that was interrupted goes on where it stopped.
"""

import hashlib
import re
import shutil
import stat
import time
import warnings
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pooch
import requests
from tqdm import tqdm

from hsutils.errors import InputError
from hsutils.files import write_text
from hsutils.data.challenge import ANNOTATION_FILES

PHYSIONET = "https://physionet.org/files/challenge-2016/1.0.0"
"""Open access, ODC-BY 1.0; cite Liu et al. 2016 and Goldberger et al. 2000."""

_SUMS = "SHA256SUMS"
_ATTEMPTS = 5  # in a row without a new byte
_BACKOFF_SECONDS = 1.0
_TIMEOUT_SECONDS = 30
_CHUNK_BYTES = 1 << 16
_THREADS = 4


def fetch(to: Path | str, mirror: Path | str | None = None, annotations: bool = True) -> Path:
    """Put the Challenge recordings into `to`, verified file by file.

    Args:
        to: folder to make. If it is there already it is verified and left as it is.
        mirror: folder with the archives (`*.zip`), or the address (http, https) of one that
            serves `training.zip`; PhysioNet when not given.
        annotations: also get `Online_Appendix_training_set.csv`, which names the subjects; if
            it cannot be had that is a warning, not an error.

    Returns:
        `to`, which holds an additional `SHA256SUMS` of everything that was unpacked.

    Raises:
        InputError: if the source cannot be reached or holds no archive, a member of an archive
            would be written outside the folder, or a file is missing or fails its checksum.
    """
    to = Path(to).absolute()
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        return _verified(to)
    source = str(mirror or PHYSIONET).rstrip("/")
    if not source.startswith(("http://", "https://")):
        remedy = "replace the archive in the mirror and run the same command again"
        return _install(_mirror_archives(Path(source), annotations), to, remedy)
    downloads = to.with_name(f".{to.name}-downloads")
    archives = _download_archives(source, downloads, annotations)
    try:
        _install(archives, to, "the download was discarded, run the same command again")
    except InputError:
        shutil.rmtree(downloads)
        raise
    shutil.rmtree(downloads, ignore_errors=True)
    return to


def _verified(to: Path) -> Path:
    digests = _check(to, f"name another folder or remove {to}, then run the same command again")
    print(f"{to}: {len(digests):,} files verified, nothing to fetch")
    return to


def _install(archives: list[Path], to: Path, remedy: str) -> Path:
    """Unpack beside `to`, check, and rename."""
    unpacked = to.with_name(f".{to.name}-unpacking")
    try:
        _unpack(archives, unpacked, remedy)
        digests = _check(unpacked, remedy)
        # PhysioNet's lists leave some files out; this one makes a later check complete.
        lines = [f"{sha}  {path.relative_to(unpacked).as_posix()}" for path, sha in digests.items()]
        write_text(unpacked / _SUMS, "\n".join(lines) + "\n")
        if to.exists():
            to.rmdir()
        unpacked.rename(to)
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)
    print(f"{to}: {len(digests):,} files, all verified")
    return to


def _mirror_archives(mirror: Path, annotations: bool) -> list[Path]:
    if not mirror.is_dir():
        raise InputError(f"{mirror}: no such folder; name the one with training-a.zip and so on")
    archives = sorted(mirror.glob("*.zip"))
    if not archives:
        raise InputError(f"{mirror}: holds no .zip archives; name the folder with training-a.zip")
    return [path for path in archives if annotations or not _is_annotations(path)]


def _is_annotations(archive: Path) -> bool:
    return archive.name.startswith("annotations")


def _download_archives(source: str, downloads: Path, annotations: bool) -> list[Path]:
    downloads.mkdir(parents=True, exist_ok=True)
    archives = [_download(f"{source}/training.zip", downloads)]
    if annotations:
        try:
            archive = _download(f"{source}/annotations.zip", downloads)
            if not zipfile.is_zipfile(archive):
                raise InputError(f"{source}/annotations.zip is not an archive")
            archives.append(archive)
        except InputError as error:
            warnings.warn(f"no annotations, so no subjects are known: {error}", stacklevel=3)
    return archives


def _download(url: str, downloads: Path) -> Path:
    """The file at `url`, in `downloads`; one that is there already is not fetched again."""
    name = url.rsplit("/", 1)[-1]
    pooch.get_logger().setLevel("WARNING")
    downloader = partial(_resume, downloads / f"{name}.part")
    return Path(pooch.retrieve(url, None, fname=name, path=downloads, downloader=downloader))


def _resume(part: Path, url: str, output_file: str, _registry: object) -> None:
    """A pooch downloader that goes on from `part`, however often the connection breaks."""
    furthest, failures = 0, 0
    while True:
        try:
            _receive(url, part)
            break
        except requests.RequestException as error:
            status = getattr(error.response, "status_code", 500)
            size = part.stat().st_size if part.exists() else 0
            failures = 1 if size > furthest else failures + 1
            furthest = max(size, furthest)
            final = 400 <= status < 500 and status not in (408, 416, 429)
            if final or failures == _ATTEMPTS:
                raise InputError(
                    f"{url}: could not be fetched ({error}); check the connection and run the "
                    "same command again, or name a folder of archives with --mirror"
                ) from error
            time.sleep(_BACKOFF_SECONDS * 2 ** (failures - 1))
    part.replace(output_file)


def _receive(url: str, part: Path) -> None:
    """One attempt to append to `part` what it still lacks."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT_SECONDS) as response:
        if response.status_code == 416:
            if response.headers.get("Content-Range") == f"bytes */{have}":
                return
            part.unlink()
        response.raise_for_status()
        if response.status_code != 206:
            have = 0
        total = have + int(response.headers.get("Content-Length", 0))
        bar = tqdm(
            desc=part.stem, total=total, initial=have, unit="B", unit_scale=True, disable=None
        )
        with bar, part.open("ab" if have else "wb") as file:
            for chunk in response.iter_content(_CHUNK_BYTES):
                file.write(chunk)
                bar.update(len(chunk))
    if part.stat().st_size < total:
        raise requests.ConnectionError("the connection closed early")


def _unpack(archives: list[Path], unpacked: Path, remedy: str) -> None:
    """Unpack all archives into a new folder, or none if any member of any is unsafe."""
    problems, members = [], {}
    for archive in archives:
        try:
            with zipfile.ZipFile(archive) as file:
                members[archive] = _wanted(archive, file.infolist())
        except (zipfile.BadZipFile, OSError) as error:
            problems.append(f"{archive}: is not a readable archive ({error}); {remedy}")
            continue
        problems += [
            f"{archive}: member {member.filename!r} {fault}; do not use this archive"
            for member in members[archive]
            if (fault := _fault_of_member(member))
        ]
    if problems:
        raise InputError(problems)
    _require_space(unpacked.parent, sum(m.file_size for group in members.values() for m in group))
    shutil.rmtree(unpacked, ignore_errors=True)
    unpacked.mkdir(parents=True)
    for archive, group in tqdm(members.items(), desc="unpack", unit="archive", disable=None):
        try:
            with zipfile.ZipFile(archive) as file:
                file.extractall(unpacked, group)
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
            raise InputError(f"{archive}: is damaged ({error}); {remedy}") from error


def _wanted(archive: Path, members: list[zipfile.ZipInfo]) -> list[zipfile.ZipInfo]:
    # Of the annotations only one table is used; the rest would double the disk space.
    if not _is_annotations(archive):
        return members
    return [member for member in members if Path(member.filename).name in ANNOTATION_FILES]


def _fault_of_member(member: zipfile.ZipInfo) -> str:
    """What makes a member unsafe to write, or "" if nothing does."""
    name = member.filename.replace("\\", "/")
    if name.startswith("/") or re.match("[A-Za-z]:", name) or ".." in name.split("/"):
        return "would be written outside the folder"
    if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a device, not a file"
    return ""


def _require_space(folder: Path, needed: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise InputError(
            f"{folder}: {needed / 1e9:.1f} GB are needed and {free / 1e9:.1f} GB are free; "
            "make room or choose another folder"
        )


def _check(root: Path, remedy: str) -> dict[Path, str]:
    """Compare all files with the lists of checksums among them; return their digests."""
    if not any(root.rglob("training-[a-f]")):
        raise InputError(f"{root.name}: holds no folder training-a to training-f; {remedy}")
    files = sorted(path for path in root.rglob("*") if path.is_file() and path != root / _SUMS)
    with ThreadPoolExecutor(_THREADS) as threads:
        digests = dict(zip(files, threads.map(_sha256, files), strict=True))
    problems = {
        f"{path.relative_to(root)}: {fault}; {remedy}": None
        for sums in sorted(root.rglob(_SUMS))
        for expected, path in _listed(sums)
        if (fault := _fault_of_file(path, expected, digests))
    }
    if problems:
        raise InputError(list(problems))
    return digests


def _listed(sums: Path) -> list[tuple[str, Path]]:
    """The checksums and files a list names; lines look like `<sha256>  <file>`."""
    rows = [line.partition(" ") for line in sums.read_text("utf-8").splitlines()]
    return [(digest, sums.parent / name.strip().lstrip("*")) for digest, _, name in rows]


def _fault_of_file(path: Path, expected: str, digests: dict[Path, str]) -> str:
    if path in digests:
        return "" if digests[path] == expected else f"differs from what {_SUMS} says"
    # Archives may leave out what nothing here reads, such as the ECG (.dat) of training-a.
    return f"is missing, but {_SUMS} lists it" if path.suffix in (".wav", ".csv") else ""


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
