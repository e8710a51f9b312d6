"""Many runs of one experiment: its seeds, the variants of them, and databases left out.

A variant changes one thing of the profile and trains one model, once for each seed. Whatever
the change does not reach is taken over from that seed's own run.
"""

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from hsutils import pipeline as stations
from hsutils.errors import InputError
from hsutils.experiment import PROJECT, Experiment, Run, load_experiment, open_run
from hsutils.fields import CHOICES
from hsutils.files import read_json
from hsutils.studies.variants import BEYOND, VARIANTS

KNOWN = VARIANTS | BEYOND
STATION = {
    "teacher": stations.fine_tune_teacher,
    "student": stations.distill_student,
    "baseline": stations.train_baseline,
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
        folders = [self.folder(seed), self.folder(seed, self._parent(variant))]
        folders += [self.folder(seed, variant)]
        begun = next(filter(None, map(_precision, folders)), "")
        kept = [f"compute.precision={begun}"] if begun else []
        return [*kept, *self.overrides, f"seed={seed}", *_changes(self.experiment, variant)]

    def open(self, seed: int, variant: str = "") -> Run:
        """The run of one seed, or of a variant of it, ready to be trained."""
        parent = self.folder(seed, self._parent(variant)) if variant else None
        settings = self.settings(seed, variant)
        return open_run(self.profile, self.folder(seed, variant), settings, parent)

    def _parent(self, variant: str) -> str:
        """The variant from which another takes over what it does not change."""
        change, databases = parts(variant)
        return f"without-{databases}" if change and databases else ""

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


PLACES = {"data.folder", "splits.lists", "artificial.folder"}
LEFT_OUT = {f"without-{database}": database for database in "abcdef"}
"""Variants without one database, which becomes the test split; "without-ab" leaves two out, and
"focal-without-a" is the variant "focal" without one."""


def parts(variant: str) -> tuple[str, str]:
    """What a variant changes and which databases it leaves out: ("focal", "a")."""
    change, _, databases = variant.rpartition("without-")
    if not databases or databases not in CHOICES["splits.leave_out"]:
        return variant, ""
    return change.removesuffix("-"), databases


def _is_known(variant: str) -> bool:
    change, databases = parts(variant)
    return change in KNOWN or (not change and bool(databases))


def _changes(experiment: Experiment, variant: str) -> tuple[str, ...]:
    change, databases = parts(variant)
    changes = KNOWN[change].change(experiment) if change else ()
    return (*changes, f"splits.leave_out={databases}") if databases else changes


def _tables(experiment: Experiment) -> dict[str, dict]:
    values = dataclasses.asdict(experiment)
    return {k: v for k, v in values.items() if isinstance(v, dict) and k != "compute"}


def train_variants(
    study: Study,
    variants: Iterable[str],
    tell: Callable[[str], object] = print,
    models: Iterable[str] = STATION,
) -> None:
    """Train each variant with each seed; what is trained already is loaded.

    Args:
        study: whose seeds are trained already, where a variant takes something over from them.
        variants: names in `VARIANTS`, `BEYOND` or `LEFT_OUT`, or both kinds joined.
        tell: told what begins.
        models: which of teacher, student and baseline to train where only databases are left out;
            a change trains the one that it is about, which must be among them.

    Raises:
        InputError: naming every variant that there is not or whose model was not asked for, and
            every seed not yet trained.
    """
    variants, models = list(variants), list(models)
    if problems := _problems(study, variants, models):
        raise InputError(problems)
    for variant in variants:
        for seed in study.seeds:
            run = study.open(seed, variant)
            tell(f"{variant}, seed {seed}: {run.folder}")
            change, _ = parts(variant)
            for model in [KNOWN[change].model] if change else models:
                STATION[model](run)


def _problems(study: Study, variants: list[str], models: list[str]) -> list[str]:
    known = ", ".join([*KNOWN, *LEFT_OUT])
    problems = [f"no variant {v!r}: use one of {known}" for v in variants if not _is_known(v)]
    own = {v: KNOWN[change].model for v in variants if (change := parts(v)[0]) in KNOWN}
    problems += [
        f"{variant} changes the {model}: name {model} among --models, or leave --models out"
        for variant, model in own.items()
        if model not in models
    ]
    taken_over = [v for v in variants if v in VARIANTS]
    return problems + [
        f"seed {seed} is not trained ({study.folder(seed)}): run it first, with --seeds {seed}"
        for seed in study.seeds
        if taken_over and not study.folder(seed).joinpath("teacher.safetensors").exists()
    ]
