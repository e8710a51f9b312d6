"""A profile (TOML) becomes frozen dataclasses; a run becomes one folder.

Everything an experiment depends on stands in its profile, each key with the paper's section
beside it. `open_run` is the first call of every notebook: it resolves the profile and the
overrides, records versions, device, seed and commit, and hands out paths in the run folder.
"""

import dataclasses
import hashlib
import json
import shutil
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hsutils.environment import describe_environment
from hsutils.errors import InputError
from hsutils.fields import build, override, parse_overrides, toml_lines
from hsutils.files import atomic_path, read_json, write_json, write_text

PROJECT = Path(__file__).resolve().parents[1]
PROFILES = Path(__file__).resolve().parent / "profiles"
SMALLEST = 21
"""Mel bands and frames that the student's convolutions and poolings leave one cell of."""


@dataclass(frozen=True)
class Data:
    """Where the recordings come from. `seed` draws artificial corpora, subsets and splits.

    It is apart from the run's seed, so that runs with several seeds hear the same recordings.
    """

    source: str = "challenge"
    folder: str = ""
    recordings: int = 0
    seed: int = 0
    seconds_scale: float = 1.0
    snr_db: float = 9.0
    murmur_db: float = 0.0


@dataclass(frozen=True)
class Splits:
    """How recordings are divided (paper section 3)."""

    method: str = "published"
    lists: str = ""
    leave_out: str = ""


@dataclass(frozen=True)
class FrontEnd:
    """From waveform to log-mel spectrogram (paper section 3; details from the lab's code)."""

    clip_seconds: float = 57.0
    sample_rate: int = 22_050
    n_fft: int = 512
    hop: int = 448
    bins: int = 175
    mels: int = 50
    floor: float = 1e-11
    offset: float = 0.0035824
    scale: float = 0.0735521

    @property
    def frames(self) -> int:
        """Frames in one spectrogram: whole windows only, no centering."""
        samples = round(self.clip_seconds * self.sample_rate)
        return (samples - (self.n_fft - self.hop)) // self.hop

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one spectrogram: (1, mels, frames)."""
        return (1, self.mels, self.frames)


@dataclass(frozen=True)
class Augment:
    """SpecAugment without time warp (paper section 3; Park et al. 2019)."""

    frequency_masks: int = 2
    time_masks: int = 5
    masked_share: float = 0.5
    both_views: bool = False


@dataclass(frozen=True)
class Training:
    """One training procedure; the paper's four differ only in these values."""

    epochs: int = 15
    learning_rate: float = 1e-4
    weight_decay: float = 0.0
    batch_size: int = 16
    temperature: float = 0.07


@dataclass(frozen=True)
class Distillation:
    """What the student is told, which is all that the paper's comparison turns on (section 4)."""

    targets: str = "soft labels"


@dataclass(frozen=True)
class Compute:
    """Where and how the arithmetic runs; handed to Lightning Fabric."""

    accelerator: str = "auto"
    devices: int = 1
    nodes: int = 1
    precision: str = "auto"
    threads: int = 0
    workers: int = 0


@dataclass(frozen=True)
class Experiment:
    """One resolved profile."""

    name: str = "unnamed"
    seed: int = 0
    data: Data = field(default_factory=Data)
    splits: Splits = field(default_factory=Splits)
    front_end: FrontEnd = field(default_factory=FrontEnd)
    augment: Augment = field(default_factory=Augment)
    pretrain: Training = field(default_factory=Training)
    finetune: Training = field(default_factory=Training)
    student: Training = field(default_factory=Training)
    distillation: Distillation = field(default_factory=Distillation)
    baseline: Training = field(default_factory=Training)
    compute: Compute = field(default_factory=Compute)

    @property
    def is_the_papers(self) -> bool:
        """Whether the paper's numbers may stand beside these: the same recordings, split alike."""
        published = self.splits.method == "published" and not self.splits.leave_out
        return self.data.source == "challenge" and published and not self.data.recordings

    def to_toml(self) -> str:
        """The experiment as TOML, loadable again as a profile."""
        values = dataclasses.asdict(self)
        plain = {key: value for key, value in values.items() if not isinstance(value, dict)}
        tables = {key: value for key, value in values.items() if isinstance(value, dict)}
        blocks = [toml_lines(plain)]
        blocks += [f"[{name}]\n{toml_lines(table)}" for name, table in tables.items()]
        return "\n\n".join(blocks) + "\n"


def load_experiment(
    profile: str | Path, overrides: Iterable[str] | Mapping[str, Any] = ()
) -> Experiment:
    """The experiment of a profile, with overrides such as `pretrain.epochs=1` applied.

    Args:
        profile: name of a file in `hsutils/profiles` (demo, paper, ...) or path of a TOML file.
        overrides: `key=value` texts (value in TOML syntax; bare words are text) or a mapping,
            in which a table replaces only the fields it names.

    Raises:
        InputError: naming every unknown, mistyped or out-of-range field at once.
    """
    values, problems = _read_profile(profile), []
    for key, value in parse_overrides(overrides, problems).items():
        override(values, key, value, problems)
    experiment = build(Experiment, values, "", problems)
    if not experiment.data.folder:
        problems.append("'data.folder' is empty: name the folder of the recordings")
    problems = problems or _contradictions(experiment.front_end)
    if problems:
        raise InputError([f"profile {profile}: {problem}" for problem in problems])
    return experiment


def _read_profile(profile: str | Path) -> dict[str, Any]:
    path = Path(profile)
    if path.suffix != ".toml":
        path = PROFILES / f"{profile}.toml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in PROFILES.glob("*.toml")))
        raise InputError(f"no profile {profile}: use one of {known}, or the path of a .toml file")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid TOML ({error}): mend that line") from error


def _contradictions(front_end: FrontEnd) -> list[str]:
    most, (_, mels, frames) = front_end.n_fft // 2 + 1, front_end.shape
    problems = []
    if front_end.bins > most:
        problems.append(f"'front_end.bins' must be at most n_fft // 2 + 1 = {most}")
    if min(mels, frames) < SMALLEST:
        problems.append(
            f"'front_end' makes spectrograms of {mels} mels x {frames} frames, but the student "
            f"needs {SMALLEST} of each: raise mels or clip_seconds"
        )
    return problems


def fingerprint(*parts: Any) -> str:
    """A short hash of what a result depends on; dataclasses and JSON values only."""
    plain = [dataclasses.asdict(p) if dataclasses.is_dataclass(p) else p for p in parts]
    text = json.dumps(plain, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Run:
    """One run folder and the experiment it belongs to.

    Args:
        folder: the run folder.
        experiment: what it holds.
        parent: another run folder, whose results are taken over where they fit.
    """

    folder: Path
    experiment: Experiment
    parent: Path | None = None

    def path(self, *parts: str) -> Path:
        """A path inside the run folder."""
        return self.folder.joinpath(*parts)

    def is_done(self, file: str, stamp: str) -> bool:
        """Whether `file` exists and was made from inputs with this fingerprint."""
        note = self.path(file).with_suffix(".json")
        whole = self.path(file).exists() and note.exists()
        return whole and read_json(note)["fingerprint"] == stamp

    def inherit(self, file: str, stamp: str) -> None:
        """Copy `file` from the parent run if it was made there from inputs of this fingerprint."""
        if self.parent is None or self.is_done(file, stamp):
            return
        source = Run(self.parent, self.experiment)
        if not source.is_done(file, stamp):
            return
        note = read_json(source.path(file).with_suffix(".json"))
        self.forget(file)
        with atomic_path(self.path(file)) as temporary:
            shutil.copyfile(source.path(file), temporary)
        # Made anew while it was copied, it may not be what its note said.
        if source.is_done(file, stamp):
            write_json(self.path(file).with_suffix(".json"), note)

    def forget(self, file: str) -> None:
        """Forget what `file` was made from, before it is made anew: a note never outlives it."""
        self.path(file).with_suffix(".json").unlink(missing_ok=True)

    def mark_done(self, file: str, stamp: str, **facts: Any) -> None:
        """Remember what `file` was made from, and any facts about its making."""
        write_json(self.path(file).with_suffix(".json"), {"fingerprint": stamp, **facts})


def open_run(
    profile: str | Path = "demo",
    run_dir: str | Path | None = None,
    overrides: Iterable[str] | Mapping[str, Any] = (),
    parent: Path | None = None,
) -> Run:
    """Resolve the profile and open (or make) its run folder.

    Args:
        profile: see `load_experiment`.
        run_dir: the run folder; relative paths start at the project, so that notebooks and
            command line mean the same folder. Default `runs/<profile name>`.
        overrides: see `load_experiment`.
        parent: see `Run`.

    Raises:
        InputError: as `load_experiment`.
    """
    experiment = load_experiment(profile, overrides)
    folder = PROJECT / (run_dir or f"runs/{experiment.name}")
    run = Run(folder, experiment, parent)
    write_text(run.path("experiment.toml"), experiment.to_toml())
    note = describe_environment(experiment.seed)
    if run.path("environment.json").exists():
        note["started"] = read_json(run.path("environment.json")).get("started", note["started"])
    write_json(run.path("environment.json"), note)
    return run
