"""One run is one folder: its profile, its environment, and every result with a note beside it.

A note (`student.json` beside `student.safetensors`) holds a fingerprint of the inputs a file was
made from and a digest of its content. A file is made again when either differs, so a rerun skips
what has not changed, and a damaged file is noticed.
"""

import os
import platform
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from hsutils.config import PROJECT, Profile, load_profile
from hsutils.environment import describe_environment
from hsutils.errors import Interrupted
from hsutils.files import atomic_path, digest_of, read_json, write_json, write_text

WRITER = ".writer.json"
Make = Callable[[Path], Mapping[str, Any] | None]
"""Writes a file under the name it is given; returns facts for the note, if any."""


@dataclass(frozen=True)
class Run:
    """One run folder and the profile it belongs to."""

    folder: Path
    profile: Profile
    # Another run folder, whose results are copied where their inputs are the same.
    parent: Path | None = None

    def path(self, *parts: str) -> Path:
        """A path inside the run folder."""
        return self.folder.joinpath(*parts)

    def cached(self, file: str, stamp: str, make: Make) -> Path:
        """The path of `file`, which `make` writes unless it is there, whole and up to date.

        Args:
            file: a name inside the run folder.
            stamp: fingerprint of everything that the file is made from.
            make: called with a temporary path, which is renamed when it returns.
        """
        if not self.is_done(file, stamp):
            with self.writing():
                if not self.take_over(file, stamp):
                    self.store(file, stamp, make)
        return self.path(file)

    def is_done(self, file: str, stamp: str) -> bool:
        """Whether `file` is there, undamaged and made from inputs with this fingerprint."""
        note = self.note(file)
        if note.get("fingerprint") != stamp or not self.path(file).is_file():
            return False
        return note.get("digest") == digest_of(self.path(file))

    def take_over(self, file: str, stamp: str) -> bool:
        """Like `is_done`, after copying the file from the parent run if it is done there."""
        if self.is_done(file, stamp):
            return True
        source = Run(self.parent, self.profile) if self.parent else None
        if source is None or not source.is_done(file, stamp):
            return False
        note = source.note(file)
        with atomic_path(self.path(file)) as temporary:
            shutil.copyfile(source.path(file), temporary)
        # The digest is the parent's: it differs if the file was made anew while it was copied.
        self._write_note(file, note)
        return self.is_done(file, stamp)

    def store(self, file: str, stamp: str, make: Make) -> None:
        """Make `file` and its note, whatever is there."""
        # A note never outlives its file.
        self._note_path(file).unlink(missing_ok=True)
        with atomic_path(self.path(file)) as temporary:
            facts = make(temporary) or {}
            digest = digest_of(temporary)
        self._write_note(file, {"fingerprint": stamp, "digest": digest, **facts})

    def note(self, file: str) -> dict[str, Any]:
        """What is noted about the making of `file`; empty where nothing readable is."""
        try:
            note = read_json(self._note_path(file))
        except (OSError, ValueError):
            return {}
        return note if isinstance(note, dict) else {}

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Be the only process that writes into this folder; wait while another one does.

        Raises:
            Interrupted: in place of KeyboardInterrupt, so that a notebook says how to go on.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path(".lock"), is_singleton=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            note = self.note(WRITER)
            who = f"process {note.get('pid', '?')} on {note.get('host', '?')}"
            print(f"{self.folder}: waiting for {who}, which is writing there", flush=True)
            lock.acquire()
        try:
            write_json(self.path(WRITER), {"pid": os.getpid(), "host": platform.node()})
            yield
        except KeyboardInterrupt as interrupt:
            raise Interrupted from interrupt
        finally:
            lock.release()

    def _write_note(self, file: str, note: Mapping[str, Any]) -> None:
        write_json(self._note_path(file), note)

    def _note_path(self, file: str) -> Path:
        return self.path(file).with_suffix(".json")


def open_run(
    profile: str | Path = "demo",
    run_dir: str | Path | None = None,
    overrides: Iterable[str] | Mapping[str, Any] = (),
    parent: Path | None = None,
) -> Run:
    """Resolve the profile and open (or make) its run folder: the first call of every notebook.

    Args:
        profile, overrides: see `load_profile`, which raises InputError.
        run_dir: the run folder, by default `runs/<profile name>`. Relative paths start at the
            project, so that notebooks and command line mean the same folder.
        parent: see `Run`.
    """
    resolved = load_profile(profile, overrides)
    run = Run(PROJECT / (run_dir or f"runs/{resolved.name}"), resolved, parent)
    write_text(run.path("experiment.toml"), resolved.to_toml())
    environment = describe_environment(resolved.seed, resolved.compute.threads)
    started = run.note("environment.json").get("started", environment["started"])
    write_json(run.path("environment.json"), environment | {"started": started})
    return run
