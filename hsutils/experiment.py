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
from hsutils.fields import FITS, build, override, parse_overrides, toml_lines
from hsutils.files import atomic_path, read_json, write_json, write_text
from hsutils.settings import (
    Artificial,
    Augment,
    Compute,
    Data,
    Distillation,
    Fit,
    FrontEnd,
    Networks,
    Splits,
    Training,
)

PROJECT = Path(__file__).resolve().parents[1]
PROFILES = Path(__file__).resolve().parent / "profiles"
NYQUIST = 1000
"""Hz: recordings are read at 2,000 a second (`wav.SAMPLE_RATE`)."""

SMALLEST = 21
"""Mel bands and frames that the student's convolutions and poolings leave one cell of."""


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
    finetune: Fit = field(default_factory=Fit)
    student: Fit = field(default_factory=Fit)
    artificial: Artificial = field(default_factory=Artificial)
    networks: Networks = field(default_factory=Networks)
    distillation: Distillation = field(default_factory=Distillation)
    baseline: Fit = field(default_factory=Fit)
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
    problems = problems or _contradictions(experiment.front_end) + _unshowable(experiment)
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
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid TOML ({error}): mend that line") from error
    like = values.pop("like", None)
    return values if like is None else _merged(path, like, values)


def _merged(path: Path, like: object, values: dict[str, Any]) -> dict[str, Any]:
    """The fields of a profile of the package, replaced by those that another one names."""
    if like == path.stem or not (isinstance(like, str) and (PROFILES / f"{like}.toml").is_file()):
        known = ", ".join(sorted(p.stem for p in PROFILES.glob("*.toml")))
        raise InputError(f"{path}: 'like' must name another profile ({known}), not {like!r}")
    merged, problems = _read_profile(like), []
    for key, value in values.items():
        override(merged, key, value, problems)
    if problems:
        raise InputError([f"profile {path}: {problem}" for problem in problems])
    return merged


def _contradictions(front_end: FrontEnd) -> list[str]:
    most, (_, mels, frames) = front_end.n_fft // 2 + 1, front_end.shape
    problems = []
    if front_end.bins > most:
        problems.append(f"'front_end.bins' must be at most n_fft // 2 + 1 = {most}")
    top_hz = (front_end.bins - 1) * front_end.sample_rate / front_end.n_fft
    if front_end.low_hz >= top_hz:
        problems.append(f"'front_end.low_hz' must be below the highest bin, {top_hz:g} Hz")
    low, high = front_end.pass_low_hz, front_end.pass_high_hz
    if max(low, high) >= NYQUIST or (high and low >= high):
        problems.append(
            "'front_end.pass_low_hz' and 'front_end.pass_high_hz' must rise and lie below "
            f"{NYQUIST} Hz, half the recordings' sample rate"
        )
    if min(mels, frames) < SMALLEST:
        problems.append(
            f"'front_end' makes spectrograms of {mels} mels x {frames} frames, but the student "
            f"needs {SMALLEST} of each: raise mels or clip_seconds"
        )
    return problems


def _unshowable(experiment: Experiment) -> list[str]:
    problems = []
    for name, fit in ((name, getattr(experiment, name)) for name in FITS):
        # They are shorter than the rest, and of no database.
        if fit.artificial and not (fit.crop_seconds and fit.sampling == "even"):
            needs = f"'{name}.crop_seconds' above 0 and '{name}.sampling' \"even\""
            problems.append(f"'{name}.artificial' needs {needs}")
        if not fit.real and not fit.artificial:
            problems.append(f"'{name}.real' is false: '{name}.artificial' must be above 0")
        frames = fit.crop_seconds * experiment.front_end.sample_rate / experiment.front_end.hop
        if 0 < frames < SMALLEST:
            problems.append(f"'{name}.crop_seconds' makes crops of fewer than {SMALLEST} frames")
        if fit.artificial and experiment.artificial.seconds < fit.crop_seconds:
            problems.append(f"'artificial.seconds' must be at least '{name}.crop_seconds'")
        if fit.crop_seconds and name != "finetune" and experiment.networks.cnn == "paper":
            problems.append(f"'{name}.crop_seconds' needs 'networks.cnn' \"compact\"")
    return problems


def fingerprint(*parts: Any) -> str:
    """A short hash of what a result depends on; dataclasses and JSON values only."""
    text = json.dumps([_plain(part) for part in parts], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _plain(part: Any) -> Any:
    """A dataclass as a dict without later fields that hold their default; all else as it is."""
    if not dataclasses.is_dataclass(part):
        return part
    values = {field: getattr(part, field.name) for field in dataclasses.fields(part)}
    return {
        field.name: _plain(value)
        for field, value in values.items()
        if not (field.metadata.get("later") and value == field.default)
    }


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
