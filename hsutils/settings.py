"""What can be set, table by table: every field of a profile, with the paper's value as default."""

from dataclasses import dataclass, field
from typing import Any, ClassVar


def later(default: Any) -> Any:
    """A field that came after runs were made: while it holds its default, they are recognized."""
    return field(default=default, metadata={"later": True})


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
    """How recordings are divided (paper section 3), and whose labels may be learned from.

    `labeled` "finetune" is the paper's: teacher and rivals learn from the labels of *finetune*, the
    baseline from those of *pretrain*. "all" lets all of them learn from both and, where databases
    are left out, from the others' test recordings too, which nothing is tested on then.
    `softly` says whose recordings a student hears with soft labels: those of *pretrain* as in the
    paper, or of "both". `label_share` keeps that share of the teacher's labels, of every database
    and class alike.

    `leave_out` names one database, or two: what is chosen for a test in one is chosen by the other.
    """

    method: str = "published"
    lists: str = ""
    leave_out: str = ""
    labeled: str = later("finetune")
    label_share: float = later(1.0)
    softly: str = later("pretrain")


@dataclass(frozen=True)
class FrontEnd:
    """From waveform to log-mel spectrogram (paper section 3; details from the lab's code).

    The last six fields take away what tells of device and file (`artefacts`, `spectrograms`); as
    they stand here they do nothing, as in the paper.
    """

    clip_seconds: float = 57.0
    sample_rate: int = 22_050
    n_fft: int = 512
    hop: int = 448
    bins: int = 175
    mels: int = 50
    floor: float = 1e-11
    offset: float = 0.0035824
    scale: float = 0.0735521
    low_hz: float = later(0.0)
    scaling: str = later("min-max")
    repair_clips: bool = later(False)
    pass_low_hz: float = later(0.0)
    pass_high_hz: float = later(0.0)
    bits: int = later(0)

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
    """SpecAugment without time warp (paper section 3; Park et al. 2019), and what makes a pair.

    Beyond the paper, `pair` "crops" takes two stretches of `crop_seconds` of one recording for the
    positive pair instead of the recording and its masked copy, and with `sensor` each view is what
    another stethoscope might have kept (`sensors`), so that the device is no cue.
    """

    frequency_masks: int = 2
    time_masks: int = 5
    masked_share: float = 0.5
    both_views: bool = False
    pair: str = later("masked")
    crop_seconds: float = later(8.0)
    sensor: bool = later(False)


@dataclass(frozen=True)
class Training:
    """One training procedure; the paper's four differ only in these values.

    Only `Fit` makes fields of the constants: a contrastive training has these values.
    """

    patience: ClassVar[int] = 0
    keep: ClassVar[str] = "best"
    schedule: ClassVar[str] = "constant"

    epochs: int = 15
    learning_rate: float = 1e-4
    weight_decay: float = 0.0
    batch_size: int = 16
    temperature: float = 0.07


@dataclass(frozen=True)
class Fit(Training):
    """A training of a classifier. What follows goes beyond the paper and does nothing as it stands.

    `patience` ends a training after so many epochs of falling dev AUROC in a row. `focal_gamma`
    weighs recordings by how far the model is from their target. `sampling` "even" gives every
    database and class the same number of places in an epoch. `crop_seconds` shows that much of a
    recording, drawn anew in each epoch, `masks` hides some of it as SpecAugment does, and `sensor`
    lets it sound as from another stethoscope (`sensors`). `mixup` mixes each recording with another
    of its batch, in shares of which a beta distribution with both parameters at this value is
    drawn. `schedule` "cosine" lets the learning rate fall along half a cosine. `keep` "last"
    keeps the last epoch, whatever dev says: dev is of the databases that were trained on, and its
    best epoch need not be the best in another. `artificial` adds
    artificial recordings (`artificial`), which count as so many databases more; where not `real`,
    they are all that is learned from.
    """

    patience: int = later(0)
    focal_gamma: float = later(0.0)
    sampling: str = later("each once")
    crop_seconds: float = later(0.0)
    masks: bool = later(False)
    sensor: bool = later(False)
    mixup: float = later(0.0)
    schedule: str = later("constant")
    keep: str = later("best")
    artificial: int = later(0)
    real: bool = later(True)


@dataclass(frozen=True)
class Artificial:
    """Artificial recordings that trainings may hear besides the real ones (`artificial`)."""

    recordings: int = 4000
    seconds: float = 10.0
    seed: int = 0
    folder: str = "data/artificial"


@dataclass(frozen=True)
class Networks:
    """Which CNN is student and baseline: "paper" (figure 1), or "compact" (`compact.CompactCNN`).

    `width` is the number of channels of the compact one's first convolution.
    """

    cnn: str = "paper"
    width: int = 24


@dataclass(frozen=True)
class Distillation:
    """What the student is told, which is all that the paper's comparison turns on (section 4).

    `then` names a second phase, which the paper leaves to future work: "labels" goes on with the
    true labels the teacher has, in the teacher's epochs and at its rate; "own opinions" trains a
    student anew on the first one's (self-distillation: Chen et al. 2020, SimCLRv2).

    `teachers` names models of other runs, `folder/model` with commas between, whose mean
    probability stands for the own teacher's (`teachers`). In a folder's name {seed} stands for this
    run's seed, and {without} for "without-a-" where database a is left out here, else for nothing.
    """

    targets: str = "soft labels"
    then: str = later("nothing")
    teachers: str = later("")


@dataclass(frozen=True)
class Compute:
    """Where and how the arithmetic runs; handed to Lightning Fabric."""

    accelerator: str = "auto"
    devices: int = 1
    nodes: int = 1
    precision: str = "auto"
    threads: int = 0
    workers: int = 0
