"""A profile: everything an experiment depends on, read from TOML and checked at once.

Every field has the paper's value as its default. The files in `hsutils/profiles` name the section
of the paper beside each value; a profile may start from another one with `like = "paper"`.
"""

import hashlib
import json
import tomllib
from collections.abc import Iterable, Mapping
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
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Seconds = Annotated[float, Field(gt=0, le=3_600)]


class Section(BaseModel):
    """A table of a profile: frozen, strict about types, without unknown fields."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class Data(Section):
    """Where the recordings come from.

    `seed` draws synthetic corpora, subsets and splits. It is apart from the run's seed, so that
    runs with several seeds use the same recordings.
    """

    source: Literal["challenge", "synthetic"] = "challenge"
    folder: Annotated[str, Field(min_length=1)] = "data/challenge-2016"
    recordings: Count = 0
    seed: Seed = 0
    seconds_scale: Annotated[float, Field(gt=0, le=100)] = 1.0
    snr_db: Finite = 9.0
    murmur_db: Finite = 0.0


class Splits(Section):
    """How recordings are divided (paper section 3), and whose labels are used.

    `labeled` "finetune" is the paper's: the teacher is trained with the labels of *finetune*, the
    baseline with those of *pretrain*. "all" uses both for each of them and, where a database is
    left out, the others' test recordings too, since nothing is tested on those then.
    """

    method: Literal["published", "generated"] = "published"
    lists: str = ""
    leave_out: str = ""
    labeled: Literal["finetune", "all"] = "finetune"


class FrontEnd(Section):
    """From waveform to log-mel spectrogram (paper section 3; details from the lab's code).

    The last six fields remove what tells of device and file (`audio.preprocessing`,
    `audio.spectrograms`); their defaults do nothing, as in the paper.
    """

    clip_seconds: Seconds = 57.0
    sample_rate: Annotated[int, Field(ge=100, le=200_000)] = 22_050
    n_fft: AtLeastOne = 512
    hop: AtLeastOne = 448
    bins: AtLeastOne = 175
    mels: AtLeastOne = 50
    floor: Positive = 1e-11
    offset: Finite = 0.0035824
    scale: Positive = 0.0735521
    low_hz: NotNegative = 0.0
    scaling: Literal["min-max", "band mean"] = "min-max"
    repair_clips: bool = False
    pass_low_hz: NotNegative = 0.0
    pass_high_hz: NotNegative = 0.0
    bits: Annotated[int, Field(ge=0, le=24)] = 0

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
    """SpecAugment without time warp (paper section 3; Park et al. 2019), and what makes a pair.

    Beyond the paper, `pair` "crops" takes two stretches of `crop_seconds` of one recording as the
    positive pair instead of the recording and its masked copy. With `simulate_devices` each view
    is filtered as another stethoscope might have done (`audio.devices`).
    """

    frequency_masks: Count = 2
    time_masks: Count = 5
    masked_share: Annotated[float, Field(ge=0, le=1)] = 0.5
    both_views: bool = False
    pair: Literal["masked", "crops"] = "masked"
    crop_seconds: Seconds = 8.0
    simulate_devices: bool = False


class Training(Section):
    """What every training has."""

    epochs: AtLeastOne = 15
    learning_rate: Positive = 1e-4
    weight_decay: NotNegative = 0.0
    # Neither batch normalization nor NT-Xent can use a batch of one recording.
    batch_size: Annotated[int, Field(ge=2, le=100_000)] = 16


class Pretrain(Training):
    """Contrastive pre-training; no epochs leave the encoder as it was drawn.

    What `Fit` adds to a training is constant here.
    """

    patience: ClassVar[int] = 0
    keep: ClassVar[str] = "best"
    schedule: ClassVar[str] = "constant"

    epochs: Count = 3
    temperature: Positive = 0.07


class Fit(Training):
    """Training of a classifier. The fields below go beyond the paper; their defaults do nothing.

    - `patience` ends a training after this many epochs of falling dev AUROC in a row.
    - `focal_gamma` weights recordings by their distance from the target (focal loss).
    - `sampling` "even" gives every database and class the same number of places in an epoch.
    - `crop_seconds` shows a crop of each recording, drawn anew in each epoch; 0 shows all of it.
    - `masks` applies SpecAugment; `mixup` is the parameter of its beta distribution.
    - `schedule` "cosine" lets the learning rate fall along half a cosine.
    - `keep` "last" keeps the last epoch. Dev holds the databases that were trained on, and its
      best epoch need not be the best in an unseen database.
    - `synthetic` adds synthetic recordings, which count as this many databases.
    """

    patience: Count = 0
    focal_gamma: NotNegative = 0.0
    sampling: Literal["each once", "even"] = "each once"
    crop_seconds: Annotated[float, Field(ge=0, le=3_600)] = 0.0
    masks: bool = False
    mixup: NotNegative = 0.0
    schedule: Literal["constant", "cosine"] = "constant"
    keep: Literal["best", "last"] = "best"
    synthetic: Count = 0


class Synthetic(Section):
    """Synthetic recordings that trainings may use besides the real ones (`data.synthetic`)."""

    recordings: Annotated[int, Field(ge=2, le=1_000_000)] = 4_000
    seconds: Seconds = 10.0
    seed: Seed = 0
    folder: Annotated[str, Field(min_length=1)] = "data/synthetic-training"


class Networks(Section):
    """The CNN of student and baseline: "paper" (figure 1) or "compact" (`models.compact`).

    `width` is the number of channels of the compact CNN's first convolution.
    """

    cnn: Literal["paper", "compact"] = "paper"
    width: Annotated[int, Field(ge=1, le=4_096)] = 24


class Distillation(Section):
    """What the student is trained with, which is all that the paper compares (section 4)."""

    targets: Literal["soft labels", "hard decisions", "fine-tune labels"] = "soft labels"


class Compute(Section):
    """Where and how the arithmetic runs; handed to Lightning Fabric. `threads` 0 takes all."""

    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"] = "auto"
    devices: Annotated[int, Field(ge=1, le=4_096)] = 1
    nodes: Annotated[int, Field(ge=1, le=4_096)] = 1
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed", "64-true"] = "auto"
    threads: Annotated[int, Field(ge=0, le=1_024)] = 0
    workers: Annotated[int, Field(ge=0, le=1_024)] = 0


class Profile(Section):
    """One resolved profile."""

    # It names a folder, so it must not lead out of one.
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$")] = "unnamed"
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
        return self.data.source == "challenge" and published and not self.data.recordings

    def portable(self) -> "Profile":
        """The same profile without the folders of this machine."""
        folder = "data/synthetic" if self.data.source == "synthetic" else Data().folder
        data = self.data.model_copy(update={"folder": folder})
        splits = self.splits.model_copy(update={"lists": ""})
        synthetic = self.synthetic.model_copy(update={"folder": Synthetic().folder})
        return self.model_copy(update={"data": data, "splits": splits, "synthetic": synthetic})

    def to_toml(self) -> str:
        """The profile as TOML, loadable again."""
        return tomli_w.dumps(self.model_dump())


FITS = ("finetune", "student", "baseline")
"""The sections of a profile that train a classifier."""


def load_profile(profile: str | Path, overrides: Iterable[str] | Mapping[str, Any] = ()) -> Profile:
    """The profile with overrides such as `pretrain.epochs=1` applied.

    Args:
        profile: name of a file in `hsutils/profiles` (demo, paper, ...) or path of a TOML file.
        overrides: `key=value` texts (value in TOML syntax; bare words are text) or a mapping,
            in which a table replaces only the fields it names.

    Raises:
        InputError: naming every unknown, mistyped or out-of-range field at once.
    """
    values, problems = _read(profile), []
    if isinstance(overrides, str):
        overrides = overrides.split()
    pairs = overrides.items() if isinstance(overrides, Mapping) else map(_parsed, overrides)
    for key, value in pairs:
        if value is None:
            problems.append(f"override '{key}' is not key=value; write e.g. pretrain.epochs=1")
        else:
            for name in reversed(key.split(".")):
                value = {name: value}
            values = _merged(values, value)
    return _checked(values, f"profile {profile}", problems)


def parse_profile(text: str, source: str) -> Profile:
    """A profile from TOML text, such as the one kept with weights.

    Args:
        text: TOML.
        source: what to name in an error.

    Raises:
        InputError: as `load_profile`.
    """
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{source}: its profile is not valid TOML ({error})") from error
    return _checked(values, source, [])


def fingerprint(*parts: Any) -> str:
    """A short hash of what a result depends on: JSON values and sections of a profile."""
    plain = [part.model_dump() if isinstance(part, BaseModel) else part for part in parts]
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]


def _read(profile: str | Path) -> dict[str, Any]:
    path = Path(profile)
    if path.suffix != ".toml":
        path = PROFILES / f"{profile}.toml"
    if not path.is_file():
        raise InputError(f"no profile {profile}: use {_known()}, or the path of a .toml file")
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise InputError(f"{path} is not valid TOML ({error}): correct that line") from error
    if "like" not in values:
        return values
    like = values.pop("like")
    if like == path.stem or not (isinstance(like, str) and (PROFILES / f"{like}.toml").is_file()):
        raise InputError(f"{path}: 'like' must name another profile ({_known()}), not {like!r}")
    return _merged(_read(like), values)


def _known() -> str:
    return ", ".join(sorted(path.stem for path in PROFILES.glob("*.toml")))


def _parsed(text: str) -> tuple[str, Any]:
    """Key and value of `key=value`; no value where the text is nothing of the kind."""
    key, equals, value = (part.strip() for part in text.partition("="))
    if not equals:
        return text, None
    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError, ValueError):
        return key, value


def _merged(below: dict[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Values of one table with those of another over them; tables in them are merged as well."""
    both = dict(below)
    for key, value in above.items():
        old = both.get(key)
        inner = isinstance(value, Mapping) and isinstance(old, dict)
        both[key] = _merged(old, value) if inner else value
    return both


def _checked(values: Mapping[str, Any], source: str, problems: list[str]) -> Profile:
    profile = None
    try:
        profile = Profile.model_validate(values)
    except ValidationError as error:
        problems = problems + [_in_words(details) for details in error.errors()]
    if not problems:
        problems = _contradictions(profile)
    if problems:
        raise InputError([f"{source}: {problem}" for problem in problems])
    return profile


def _in_words(details: Mapping[str, Any]) -> str:
    name = ".".join(str(part) for part in details["loc"])
    if details["type"] == "extra_forbidden":
        section = Profile
        for part in details["loc"][:-1]:
            section = section.model_fields[part].annotation
        return f"unknown field '{name}'; known here: {', '.join(section.model_fields)}"
    if details["type"] == "string_pattern_mismatch":
        details = details | {"msg": "made of letters, digits, '_', '.' and '-'"}
    given = repr(details["input"])
    given = given if len(given) <= 60 else given[:60] + "..."
    message = details["msg"].removeprefix("Input should be ").removeprefix("String should ")
    return f"'{name}' must be {message}, not {given}"


def _contradictions(profile: Profile) -> list[str]:
    front_end, problems = profile.front_end, []
    most, (_, mels, frames) = front_end.n_fft // 2 + 1, front_end.shape
    if front_end.bins > most:
        problems.append(f"'front_end.bins' must be at most n_fft // 2 + 1 = {most}")
    top_hz = (front_end.bins - 1) * front_end.sample_rate / front_end.n_fft
    if front_end.low_hz >= top_hz:
        problems.append(f"'front_end.low_hz' must be below the highest bin, {top_hz:g} Hz")
    low, high, nyquist = front_end.pass_low_hz, front_end.pass_high_hz, RECORDED_RATE // 2
    if max(low, high) >= nyquist or (high and low >= high):
        problems.append(
            "'front_end.pass_low_hz' and 'front_end.pass_high_hz' must rise and lie below "
            f"{nyquist} Hz, half the recordings' sample rate"
        )
    if min(mels, frames) < SMALLEST:
        problems.append(
            f"'front_end' makes spectrograms of {mels} mels x {frames} frames, but the student "
            f"needs {SMALLEST} of each: raise mels or clip_seconds"
        )
    for name in FITS:
        fit: Fit = getattr(profile, name)
        # Synthetic recordings are shorter than the rest, and of no database.
        if fit.synthetic and not (fit.crop_seconds and fit.sampling == "even"):
            needs = f"'{name}.crop_seconds' above 0 and '{name}.sampling' \"even\""
            problems.append(f"'{name}.synthetic' needs {needs}")
        crop = fit.crop_seconds * front_end.sample_rate / front_end.hop
        if 0 < crop < SMALLEST:
            problems.append(f"'{name}.crop_seconds' makes crops of fewer than {SMALLEST} frames")
        if fit.synthetic and profile.synthetic.seconds < fit.crop_seconds:
            problems.append(f"'synthetic.seconds' must be at least '{name}.crop_seconds'")
        if fit.crop_seconds and name != "finetune" and profile.networks.cnn == "paper":
            problems.append(f"'{name}.crop_seconds' needs 'networks.cnn' \"compact\"")
    return problems
