"""Many runs of one experiment: its seeds, and the variants that ask what carries the result.

A variant changes one thing of the profile and trains one model, once for each seed. Whatever
the change does not reach is taken over from that seed's own run.
"""

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from hsutils import stations
from hsutils.errors import InputError
from hsutils.experiment import PROJECT, Experiment, Run, load_experiment, open_run
from hsutils.files import read_json

STATION = {
    "teacher": stations.fine_tune_teacher,
    "student": stations.distill_student,
    "baseline": stations.train_baseline,
}


@dataclass(frozen=True)
class Variant:
    """One change to a profile.

    Args:
        question: what it asks; variants with one question are compared with each other.
        recipe: what the paper does.
        option: what the variant does instead.
        model: the model whose dev AUROC answers.
        change: from the profile's experiment to overrides, as for `load_experiment`.
    """

    question: str
    recipe: str
    option: str
    model: str
    change: Callable[[Experiment], tuple[str, ...]]


PRETRAIN_OVER_FINETUNE = 2040 / 400
"""Recordings in the two splits, published or generated."""


def _few_labels(experiment: Experiment) -> tuple[str, ...]:
    """As many steps with the small split as the student makes with the large one."""
    epochs = round(experiment.student.epochs * PRETRAIN_OVER_FINETUNE)
    return ("distillation.targets=fine-tune labels", f"student.epochs={epochs}")


def _rate(factor: float) -> Callable[[Experiment], tuple[str, ...]]:
    return lambda experiment: (
        f"student.learning_rate={experiment.student.learning_rate * factor:.6g}",
    )


def _always(*overrides: str) -> Callable[[Experiment], tuple[str, ...]]:
    return lambda experiment: overrides


_RATE = ("Which learning rate suits the student?", "the paper's (1e-4)")

VARIANTS = {
    "few-labels": Variant(
        "Is the student better off with soft labels than with the true labels behind them?",
        "soft labels of the pre-train set",
        "true labels of the fine-tune set",
        "student",
        _few_labels,
    ),
    "hard-decisions": Variant(
        "Does the student need the teacher's doubts?",
        "teacher's probabilities",
        "teacher's decisions",
        "student",
        _always("distillation.targets=hard decisions"),
    ),
    "early-teacher": Variant(
        "What does a teacher learn to teach after its second epoch, the paper's?",
        "teacher of the best epoch",
        "teacher of two epochs",
        "student",
        _always("finetune.epochs=2"),
    ),
    "ten-times-the-rate": Variant(*_RATE, "ten times that", "student", _rate(10)),
    "a-tenth-of-the-rate": Variant(*_RATE, "a tenth of that", "student", _rate(0.1)),
    "no-pretraining": Variant(
        "Does contrastive pre-training help the teacher?",
        "pre-trained",
        "random weights",
        "teacher",
        _always("pretrain.epochs=0"),
    ),
    "both-views": Variant(
        "Which positive pair serves the teacher?",
        "original + augmented",
        "augmented + augmented",
        "teacher",
        _always("augment.both_views=true"),
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
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise InputError(f"seeds {self.seeds}: name at least one, and each once")

    @property
    def experiment(self) -> Experiment:
        """What all runs share."""
        return load_experiment(self.profile, self.overrides)

    def folder(self, what: int | str, variant: str = "") -> Path:
        """The folder of one seed, of a variant of it, or (`"seeds"`) of tables over all seeds."""
        base = PROJECT / (self.base or f"runs/{self.experiment.name}")
        return base.with_name("-".join(filter(None, [base.name, variant, str(what)])))

    def settings(self, seed: int, variant: str = "") -> list[str]:
        """Every override of one run.

        Unless a precision is asked for, a run goes on in the one in which it began, and so do its
        variants: on another machine `auto` may stand for another.
        """
        begun = _precision(self.folder(seed)) or _precision(self.folder(seed, variant))
        kept = [f"compute.precision={begun}"] if begun else []
        return [*kept, *self.overrides, f"seed={seed}", *_changes(self.experiment, variant)]

    def open(self, seed: int, variant: str = "") -> Run:
        """The run of one seed, or of a variant of it, ready to be trained."""
        parent = self.folder(seed) if variant else None
        settings = self.settings(seed, variant)
        return open_run(self.profile, self.folder(seed, variant), settings, parent)

    def look(self, seed: int, variant: str = "") -> Run:
        """The same run as it was left, or as it would be: nothing is written.

        Raises:
            InputError: if the folder holds a run with other settings.
        """
        settings = self.settings(seed, variant)
        run = Run(self.folder(seed, variant), load_experiment(self.profile, settings))
        if run.path("experiment.toml").exists():
            _refuse_other_settings(run)
        return run


def _precision(folder: Path) -> str:
    """The precision in which a run's first model was trained; "" where none is."""
    notes = [folder / f"{name}.json" for name in ("encoder", *STATION)]
    environments = [read_json(note).get("environment", {}) for note in notes if note.is_file()]
    return next((e["precision"] for e in environments if "precision" in e), "")


def _refuse_other_settings(run: Run) -> None:
    """Where data lie and what computes may differ; what is computed may not."""
    asked, found = (
        {f"{table}.{key}": value for table, part in settings.items() for key, value in part.items()}
        for settings in (
            _tables(run.experiment),
            _tables(load_experiment(run.path("experiment.toml"))),
        )
    )
    differing = [key for key in asked if asked[key] != found[key] and key not in PLACES]
    if differing:
        raise InputError(
            f"{run.folder} was made with other settings ({', '.join(differing)}): "
            "give the same ones, or another --run-dir"
        )


PLACES = {"data.folder", "splits.lists"}
LEFT_OUT = {f"without-{database}": database for database in "abcdef"}
"""Variants that train all three models without one database, which becomes the test split."""


def _changes(experiment: Experiment, variant: str) -> tuple[str, ...]:
    if variant in LEFT_OUT:
        return (f"splits.leave_out={LEFT_OUT[variant]}",)
    return VARIANTS[variant].change(experiment) if variant else ()


def _tables(experiment: Experiment) -> dict[str, dict]:
    values = dataclasses.asdict(experiment)
    return {k: v for k, v in values.items() if isinstance(v, dict) and k != "compute"}


def train_variants(
    study: Study, variants: Iterable[str], tell: Callable[[str], object] = print
) -> None:
    """Train each variant with each seed; what is trained already is loaded.

    Args:
        study: whose seeds are trained already.
        variants: names in `VARIANTS` or `LEFT_OUT`.
        tell: told what begins.

    Raises:
        InputError: naming every variant that there is not, and every seed not yet trained.
    """
    variants = list(variants)
    unknown = [v for v in variants if v not in VARIANTS and v not in LEFT_OUT]
    known = ", ".join([*VARIANTS, *LEFT_OUT])
    problems = [f"no variant {v!r}: use one of {known}" for v in unknown]
    problems += [
        f"seed {seed} is not trained ({study.folder(seed)}): run it first, with --seeds {seed}"
        for seed in study.seeds
        if not study.folder(seed).joinpath("teacher.safetensors").exists()
    ]
    if problems:
        raise InputError(problems)
    for variant in variants:
        for seed in study.seeds:
            run = study.open(seed, variant)
            tell(f"{variant}, seed {seed}: {run.folder}")
            train = STATION[VARIANTS[variant].model] if variant in VARIANTS else stations.run_all
            train(run)
