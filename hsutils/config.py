"""A profile: everything an experiment depends on, read from TOML and checked at once.

Fields have the paper's values as defaults, whose sections `hsutils/profiles/paper.toml` names.
A profile may start from another one there with `like = "paper"`.
"""

import hashlib
import json
import reprlib
import tomllib
from collections.abc import Iterable, Mapping
from functools import reduce
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hsutils.errors import InputError

CHECKOUT = Path(__file__).resolve().parents[1]
PROJECT = CHECKOUT if (CHECKOUT / "notebooks").is_dir() else Path.cwd()
"""Where relative paths start; an installed package must not write beside itself."""
PROFILES = Path(__file__).resolve().parent / "profiles"
RECORDED_RATE = 2_000
"""Hz: the sample rate of the recordings; whatever is read is brought to it."""
SMALLEST = 21
"""Mel bands and frames that the student's convolutions and poolings leave one cell of."""

Count = Annotated[int, Field(ge=0, le=1_000_000)]
AtLeastOne = Annotated[int, Field(ge=1, le=1_000_000)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Seconds = Annotated[float, Field(gt=0, le=3_600)]


class Section(BaseModel):
    """A table of a profile: frozen, strict about types, without unknown fields."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class Data(Section):
    """Where the recordings come from."""

    # "clips" are those that come with the package; `folder` is for the others. With "table" it is
    # a CSV file (`hsutils.data.table`).
    source: Literal["challenge", "clips", "synthetic", "table"] = "challenge"
    folder: str = Field("data/challenge-2016", min_length=1)
    # A table of further recordings: every training with all labels uses them, nothing else does.
    more: str = ""
    recordings: Count = 0
    # Apart from the run's seed: runs with several seeds use the same recordings.
    seed: Seed = 0
    seconds_scale: float = Field(1.0, gt=0, le=100)
    snr_db: float = 9.0
    murmur_db: float = 0.0


class Splits(Section):
    """How recordings are divided (paper section 3), and whose labels are used."""

    # Only the Challenge's recordings have published lists. A table's own column `split` comes
    # first; without one its splits are generated.
    method: Literal["published", "generated"] = "published"
    lists: str = ""
    leave_out: str = ""
    # The paper trains its teacher with *finetune*, its baseline with *pretrain*. "all" is both for
    # each and, where a database is left out, the others' test recordings: none is tested on.
    labeled: Literal["finetune", "all"] = "finetune"


class FrontEnd(Section):
    """From waveform to log-mel spectrogram (paper section 3; details from the lab's code)."""

    clip_seconds: Seconds = 57.0
    sample_rate: int = Field(22_050, ge=100, le=200_000)
    n_fft: AtLeastOne = 512
    hop: AtLeastOne = 448
    bins: AtLeastOne = 175
    mels: AtLeastOne = 50
    floor: Positive = 1e-11
    offset: float = 0.0035824
    scale: Positive = 0.0735521
    # The rest removes what tells of device and file; the defaults do nothing, as in the paper.
    low_hz: NotNegative = 0.0
    scaling: Literal["min-max", "band mean"] = "min-max"
    repair_clips: bool = False
    pass_low_hz: NotNegative = 0.0
    pass_high_hz: NotNegative = 0.0
    bits: int = Field(0, ge=0, le=24)
    heart_rate: float = Field(0.0, ge=0, le=200)  # a minute, to which faster hearts are slowed

    @property
    def frames(self) -> int:
        """Frames in one spectrogram: whole windows only, no centering."""
        samples = round(self.clip_seconds * self.sample_rate)
        return (samples - (self.n_fft - self.hop)) // self.hop

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one spectrogram: (1, mels, frames)."""
        return (1, self.mels, self.frames)


class Augment(Section):
    """SpecAugment without time warp (paper section 3; Park et al. 2019), and what makes a pair."""

    frequency_masks: Count = 2
    time_masks: Count = 5
    masked_share: float = Field(0.5, ge=0, le=1)
    both_views: bool = False
    # Beyond the paper: two stretches of one recording, in place of it and its masked copy.
    pair: Literal["masked", "crops"] = "masked"
    crop_seconds: Seconds = 8.0
    simulate_devices: bool = False  # each view filtered as by another stethoscope


class Training(Section):
    """What every training has."""

    epochs: AtLeastOne = 15
    learning_rate: Positive = 1e-4
    weight_decay: NotNegative = 0.0
    # Neither batch normalization nor NT-Xent can use a batch of one recording.
    batch_size: int = Field(16, ge=2, le=100_000)


class Pretrain(Training):
    """Contrastive pre-training; what `Fit` adds to a training is constant here."""

    patience: ClassVar[int] = 0
    keep: ClassVar[str] = "best"
    schedule: ClassVar[str] = "constant"
    sampling: ClassVar[str] = "each once"
    masks: ClassVar[bool] = True

    epochs: Count = 3
    temperature: Positive = 0.07


class Fit(Training):
    """Training of a classifier. These fields go beyond the paper; their defaults do nothing."""

    patience: Count = 0  # epochs of falling dev AUROC in a row that end the training
    focal_gamma: NotNegative = 0.0  # weighs recordings by their distance from the target
    # "even" gives every database and class the same number of places in an epoch.
    sampling: Literal["each once", "even"] = "each once"
    crop_seconds: float = Field(0.0, ge=0, le=3_600)  # a crop drawn anew in each epoch; 0 is all
    tempo: float = Field(1.0, ge=1, le=4)  # 7 crops of 10 are played .85 to so many times as fast
    masks: bool = False  # SpecAugment
    mixup: NotNegative = 0.0  # parameter of its beta distribution
    schedule: Literal["constant", "cosine"] = "constant"
    # The best on dev, which holds known databases, need not be the best in an unseen one.
    keep: Literal["best", "last"] = "best"
    synthetic: Count = 0  # as how many databases synthetic recordings count


class Synthetic(Section):
    """Synthetic recordings that trainings may use besides the real ones (`data.synthetic`)."""

    recordings: int = Field(4_000, ge=2, le=1_000_000)
    seconds: Seconds = 10.0
    hearts: Literal["adults", "all ages"] = "adults"  # the second with more lesions, too
    seed: Seed = 0
    folder: str = Field("data/synthetic-training", min_length=1)


class Networks(Section):
    """The CNN of student and baseline: the paper's, or a compact one of this first width."""

    cnn: Literal["paper", "compact"] = "paper"
    width: int = Field(24, ge=1, le=4_096)


class Distillation(Section):
    """What the student is trained with, which is all that the paper compares (section 4)."""

    targets: Literal["soft labels", "hard decisions", "fine-tune labels"] = "soft labels"


class Compute(Section):
    """Where and how the arithmetic runs; handed to Lightning Fabric. `threads` 0 takes all."""

    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"] = "auto"
    devices: int = Field(1, ge=1, le=4_096)
    nodes: int = Field(1, ge=1, le=4_096)
    precision: Literal["auto", "32-true", "bf16-mixed", "64-true"] = "auto"
    threads: int = Field(0, ge=0, le=1_024)
    workers: int = Field(0, ge=0, le=1_024)


class Profile(Section):
    """One resolved profile."""

    # It names a folder, so it must not lead out of one.
    name: str = Field("unnamed", pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$")
    seed: Seed = 0
    data: Data = Data()
    splits: Splits = Splits()
    front_end: FrontEnd = FrontEnd()
    augment: Augment = Augment()
    pretrain: Pretrain = Pretrain()
    finetune: Fit = Fit()
    student: Fit = Fit()
    baseline: Fit = Fit()
    synthetic: Synthetic = Synthetic()
    networks: Networks = Networks()
    distillation: Distillation = Distillation()
    compute: Compute = Compute()

    @property
    def is_the_papers(self) -> bool:
        """Whether the paper's numbers may stand beside these: same recordings, same splits."""
        published = self.splits.method == "published" and not self.splits.leave_out
        own = self.data.recordings or self.data.more
        return self.data.source == "challenge" and published and not own

    def portable(self) -> "Profile":
        """The same profile without the folders of this machine."""
        folder = "data/synthetic" if self.data.source == "synthetic" else Data().folder
        folders = {"data.folder": folder, "synthetic.folder": Synthetic().folder}
        more = Path(self.data.more)
        folders["data.more"] = f"data/{more.parent.name}/{more.name}" if self.data.more else ""
        return Profile(**_merged(self.model_dump(), folders | {"splits.lists": ""}))

    def to_toml(self) -> str:
        """The profile as TOML, loadable again."""
        return tomli_w.dumps(self.model_dump())


FITS = ("finetune", "student", "baseline")
"""The sections of a profile that train a classifier."""


def load_profile(profile: str | Path, overrides: Iterable[str] | Mapping[str, Any] = ()) -> Profile:
    """The profile with overrides such as `pretrain.epochs=1` applied.

    Args:
        profile: name of a file in `hsutils/profiles` (demo, paper, ...) or path of a TOML file.
        overrides: `key=value` texts (value in TOML syntax; bare words are text), one text of
            several such words, or a mapping, in which a table replaces only the fields it names.

    Raises:
        InputError: naming every unknown, mistyped or out-of-range field at once.

    >>> load_profile("paper", ["pretrain.epochs=1"]).pretrain.epochs
    1
    """
    if isinstance(overrides, str):
        overrides = overrides.split()
    changes = [overrides] if isinstance(overrides, Mapping) else map(_parsed, overrides)
    return _checked(reduce(_merged, changes, _read(profile)), f"profile {profile}")


def parse_profile(text: str, source: str) -> Profile:
    """A profile from TOML text, such as the one kept with weights; errors name its `source`.

    Raises:
        InputError: as `load_profile`.
    """
    return _checked(_toml(text.encode(), source), source)


def fingerprint(*parts: Any) -> str:
    """A short hash of what a result depends on: JSON values and sections of a profile."""
    plain = [part.model_dump() if isinstance(part, BaseModel) else part for part in parts]
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]


def _read(profile: str | Path) -> dict[str, Any]:
    known = sorted(file.stem for file in PROFILES.glob("*.toml"))
    path = Path(profile)
    if path.suffix != ".toml":
        path = PROFILES / f"{profile}.toml"
    if not path.is_file():
        use = f"use {', '.join(known)}, or the path of a .toml file"
        raise InputError(f"no profile {profile}: {use}")
    values = _toml(path.read_bytes(), str(path))
    if "like" not in values:
        return values
    if (like := values.pop("like")) not in known:
        raise InputError(f"{path}: 'like' must name one of {', '.join(known)}, not {like!r}")
    return _merged(_read(like), values)


def _toml(content: bytes, source: str) -> dict[str, Any]:
    try:
        return tomllib.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{source}: not valid TOML ({error}): correct that line") from error


def _parsed(text: str) -> dict[str, Any]:
    """`key=value` as a mapping: a value in TOML or else a bare word; None without one."""
    key, equals, value = (part.strip() for part in text.partition("="))
    try:
        return {key: tomllib.loads(f"value = {value}")["value"] if equals else None}
    except (ValueError, RecursionError):
        return {key: value}


def _merged(below: dict[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Values of one table with those of another over them, whose keys may be dotted."""
    both = dict(below)
    for key, value in above.items():
        name, _, rest = key.partition(".")
        value, old = {rest: value} if rest else value, both.get(name)
        inner = isinstance(value, Mapping) and isinstance(old, dict)
        both[name] = _merged(old, value) if inner else value
    return both


def _checked(values: Mapping[str, Any], source: str) -> Profile:
    try:
        profile = Profile.model_validate(values)
        problems = _contradictions(profile)
    except ValidationError as error:
        problems = [_in_words(details) for details in error.errors()]
    if problems:
        raise InputError([f"{source}: {problem}" for problem in problems])
    return profile


def _in_words(details: Mapping[str, Any]) -> str:
    name, table = ".".join(map(str, details["loc"])), details["loc"][:-1]
    if details["input"] is None:
        return f"override '{name}' is not key=value; write e.g. pretrain.epochs=1"
    if details["type"] == "extra_forbidden":
        section = Profile.model_fields[table[0]].annotation if table else Profile
        return f"unknown field '{name}'; known here: {', '.join(section.model_fields)}"
    message = details["msg"].removeprefix("Input should ").removeprefix("String should ")
    if details["type"] == "string_pattern_mismatch":
        message = "be made of letters, digits, '_', '.' and '-'"
    return f"'{name}' must {message}, not {reprlib.repr(details['input'])}"


def _contradictions(profile: Profile) -> list[str]:
    front_end, (_, mels, frames) = profile.front_end, profile.front_end.shape
    most, nyquist = front_end.n_fft // 2 + 1, RECORDED_RATE // 2
    top = (front_end.bins - 1) * front_end.sample_rate / front_end.n_fft
    low, high = front_end.pass_low_hz, front_end.pass_high_hz
    views = profile.augment.pair == "crops" and profile.augment.crop_seconds
    no_band = high >= nyquist or low >= (high or nyquist)
    band = f"'front_end.pass_low_hz' < 'front_end.pass_high_hz' < {nyquist} Hz must hold; 0 is off"
    size = f"{mels} mels x {frames} frames are too few: the student needs {SMALLEST} of each"
    own_folder = profile.data.source == "clips" and profile.data.folder != Data().folder
    own_lists = profile.splits.lists and profile.data.source == "table"
    rules = [
        (own_folder, '\'data.folder\' needs \'data.source\' "challenge", "synthetic" or "table"'),
        (own_lists, "'splits.lists' are the Challenge's; give a table a column split instead"),
        (front_end.bins > most, f"'front_end.bins' must be at most n_fft // 2 + 1 = {most}"),
        (front_end.low_hz >= top, f"'front_end.low_hz' must be below {top:g} Hz, the highest bin"),
        (no_band, band),
        (min(mels, frames) < SMALLEST, f"'front_end': {size}; raise mels or clip_seconds"),
    ]
    rules.append(_too_short("augment.crop_seconds", views, front_end))
    for name in FITS:
        fit, crop = getattr(profile, name), f"'{name}.crop_seconds'"
        seconds, synthetic = fit.crop_seconds, fit.synthetic > 0
        # Synthetic recordings are shorter than the rest, and of no database.
        uneven = synthetic and not (seconds and fit.sampling == "even")
        too_long = synthetic and profile.synthetic.seconds < seconds
        fixed = seconds and name != "finetune" and profile.networks.cnn == "paper"
        rules += [
            (uneven, f"'{name}.synthetic' needs {crop} above 0 and '{name}.sampling' \"even\""),
            (too_long, f"'synthetic.seconds' must be at least {crop}"),
            _too_short(f"{name}.crop_seconds", seconds, front_end),
            (fixed, f"{crop} needs 'networks.cnn' \"compact\""),
            (fit.tempo > 1 and not seconds, f"'{name}.tempo' needs {crop} above 0"),
        ]
    return [problem for broken, problem in rules if broken]


def _too_short(name: str, seconds: float, front_end: FrontEnd) -> tuple[bool, str]:
    broken = 0 < seconds * front_end.sample_rate / front_end.hop < SMALLEST
    return broken, f"'{name}' makes crops of fewer than {SMALLEST} frames"
