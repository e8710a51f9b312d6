"""Many runs of one experiment: its seeds, and the variants that ask what carries the result.

A variant changes one thing of the profile and trains one model, once for each seed. It starts
from a copy of that seed's own run, so that only what the change reaches is trained again.
"""

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from hsutils import stations
from hsutils.errors import InputError
from hsutils.experiment import PROJECT, Experiment, Run, load_experiment, open_run

STATION = {
    "teacher": stations.fine_tune_teacher,
    "student": stations.distill_student,
    "baseline": stations.train_baseline,
}
UPSTREAM = ("encoder.*", "teacher.*", "soft_labels.*", "predictions/teacher-*")


@dataclass(frozen=True)
class Variant:
    """One change to a profile.

    Args:
        question: what it asks; variants with one question are compared with each other.
        recipe: what the paper does.
        option: what the variant does instead.
        model: the model whose dev AUROC answers.
        overrides: the change, as for `load_experiment`.
    """

    question: str
    recipe: str
    option: str
    model: str
    overrides: tuple[str, ...]


_RATE = ("Which learning rate suits the student?", "1e-4")

VARIANTS = {
    "few-labels": Variant(
        "Is the student better off with soft labels than with the true labels behind them?",
        "soft labels of the pre-train set",
        "true labels of the fine-tune set",
        "student",
        # As many steps with 400 recordings as 15 epochs take with 2,040.
        ("distillation.targets=fine-tune labels", "student.epochs=75"),
    ),
    "hard-decisions": Variant(
        "Does the student need the teacher's doubts?",
        "teacher's probabilities",
        "teacher's decisions",
        "student",
        ("distillation.targets=hard decisions",),
    ),
    "rate-1e-3": Variant(*_RATE, "1e-3", "student", ("student.learning_rate=1e-3",)),
    "rate-1e-5": Variant(*_RATE, "1e-5", "student", ("student.learning_rate=1e-5",)),
    "no-pretraining": Variant(
        "Does contrastive pre-training help the teacher?",
        "pre-trained",
        "random weights",
        "teacher",
        ("pretrain.epochs=0",),
    ),
    "both-views": Variant(
        "Which positive pair serves the teacher?",
        "original + augmented",
        "augmented + augmented",
        "teacher",
        ("augment.both_views=true",),
    ),
}


@dataclass(frozen=True)
class Study:
    """One profile run with several seeds, each in a folder of its own.

    Args:
        profile: see `load_experiment`.
        seeds: the seeds, in the order in which they run.
        overrides: `key=value` texts for every run.
        base: folders are `base-<seed>` and `base-<variant>-<seed>`; default `runs/<profile name>`.
    """

    profile: str
    seeds: tuple[int, ...]
    overrides: tuple[str, ...] = ()
    base: str = ""

    def __post_init__(self) -> None:
        if len(set(self.seeds)) < len(self.seeds):
            raise InputError(f"seeds {self.seeds} name one twice: give each once")

    @property
    def experiment(self) -> Experiment:
        """What all runs share."""
        return load_experiment(self.profile, self.overrides)

    def folder(self, seed: int, variant: str = "") -> Path:
        """The run folder of one seed, or of a variant of it."""
        names = [self.base or f"runs/{self.experiment.name}", variant, str(seed)]
        return PROJECT / "-".join(filter(None, names))

    @property
    def folder_of_all(self) -> Path:
        """Where tables and figures over all seeds are written by default."""
        return PROJECT / f"{self.base or f'runs/{self.experiment.name}'}-seeds"

    def settings(self, seed: int, variant: str = "") -> list[str]:
        """Every override of one run.

        Raises:
            InputError: if there is no such variant.
        """
        if variant and variant not in VARIANTS:
            raise InputError(f"no variant {variant}: use one of {', '.join(VARIANTS)}")
        changes = VARIANTS[variant].overrides if variant else ()
        return [*self.overrides, f"seed={seed}", *changes]

    def open(self, seed: int, variant: str = "") -> Run:
        """The run of one seed, or of a variant of it."""
        return open_run(self.profile, self.folder(seed, variant), self.settings(seed, variant))


def train_variants(
    study: Study, variants: Iterable[str], tell: Callable[[str], object] = print
) -> None:
    """Train each variant with each seed; what is trained already is loaded.

    Raises:
        InputError: if there is no such variant.
    """
    for variant in variants:
        for seed in study.seeds:
            run = study.open(seed, variant)
            tell(f"{variant}, seed {seed}: {run.folder}")
            _adopt(study.folder(seed), run)
            STATION[VARIANTS[variant].model](run)


def _adopt(source: Path, run: Run) -> None:
    """Copy trained stages of another run; stations compare fingerprints and use what fits."""
    for path in (path for pattern in UPSTREAM for path in source.glob(pattern)):
        copy = run.path(str(path.relative_to(source)))
        if not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, copy)
