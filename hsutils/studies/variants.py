"""What a variant of a profile changes: one thing, to ask what carries the result."""

from collections.abc import Callable
from dataclasses import dataclass

from hsutils.experiment import Experiment


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
"""Changes to the paper's recipe (paper sections 4 and 5)."""

_SHOWN = ("What must a small CNN be shown, to hear a database it never heard?", "the native recipe")


def _shown(option: str, *overrides: str) -> Variant:
    """A change of what the CNN trained on true labels sees, told by the databases left out."""
    return Variant(*_SHOWN, option, "baseline", _always(*overrides))


_UNTIL = ("When should a training end?", "after the paper's epochs")
_UNTIL += ("when dev AUROC has fallen three epochs running, or after 60",)
_FOCAL = ("Does it serve to dwell on what is hard?", "cross entropy", "focal loss")
_AFTER = ("Does a second phase serve the student?", "soft labels alone")
TAUGHT = "Whom should a small CNN learn from?"
"""Here a student is compared with the baseline: one network, told other targets."""


def _taught(option: str, *teachers: str, also: tuple[str, ...] = ()) -> Variant:
    """A student of other runs' models, which lie where `run` and `variants` leave them."""

    def change(experiment: Experiment) -> tuple[str, ...]:
        names = [f"runs/{teacher.format(experiment.name)}" for teacher in teachers]
        return (f"distillation.teachers={','.join(names)}", *also)

    return Variant(TAUGHT, "the true labels", option, "student", change)


def _sized(width: int) -> Variant:
    """A student of another size."""
    question, option = "How small may the student be?", f"{width} channels"
    return Variant(question, "12 channels", option, "student", _always(f"networks.width={width}"))


def _three(change: str = "") -> tuple[str, ...]:
    """The CNNs of three seeds of the recipe, or of a change of it."""
    return tuple(f"{{}}-{change}{{{{without}}}}{seed}/baseline" for seed in range(3))


_THREE, _NARROW_THREE = _three(), _three("narrow-")
_OTHERS = tuple(f"{{}}-{n}-{{{{without}}}}0/baseline" for n in ("artificial-only", "no-artificial"))
_FEW = tuple(f"{few}-{{{{without}}}}{n}/student" for few in ("few", "few-2khz") for n in range(3))
_REAL = ("baseline.artificial=0", "baseline.epochs=12")
"""Real recordings alone, in more epochs, since artificial ones are most of an epoch."""
_CLIPS, _BITS = ("front_end.repair_clips=true",), ("front_end.bits=10",)
_BAND = ("front_end.pass_low_hz=25", "front_end.pass_high_hz=400")
_CONTROLLED = (*_CLIPS, *_BAND, *_BITS)
_BELOW = ("front_end.bins=54",)
"""Above 400 Hz control leaves dither alone; the bands are then of one to three bins each."""
_NARROW = (*_CONTROLLED, *_BELOW)

BEYOND = {
    "no-artificial": _shown("no artificial hearts", *_REAL),
    "no-artificial-each-once": _shown(
        "no artificial hearts, and every recording once an epoch",
        *_REAL,
        "baseline.sampling=each once",
    ),
    "artificial-only": _shown(
        "artificial hearts alone", "baseline.real=false", "baseline.epochs=8"
    ),
    "min-max": _shown("scaled by minimum and maximum", "front_end.scaling=min-max"),
    "no-masks": _shown("no masks", "baseline.masks=false"),
    "no-mixup": _shown("no mixtures of recordings", "baseline.mixup=0"),
    "other-sensors": _shown("as from other sensors", "baseline.sensor=true"),
    "controlled": _shown("controlled: clips repaired, band limited, bits dithered", *_CONTROLLED),
    "narrow": _shown("narrow: controlled, and all mel bands below 414 Hz", *_NARROW),
    "clips-repaired": _shown("clips repaired", *_CLIPS),
    "band-limited": _shown("band limited to 25 to 400 Hz", *_BAND),
    "dithered": _shown("brought to one level and ten dithered bits", *_BITS),
    "focal": _shown("focal loss", "baseline.focal_gamma=2"),
    "focal-teacher": Variant(*_FOCAL, "teacher", _always("finetune.focal_gamma=2")),
    "focal-student": Variant(*_FOCAL, "student", _always("student.focal_gamma=2")),
    **{
        f"{model}-until-it-falls": Variant(
            *_UNTIL, model, _always(f"{model}.epochs=60", f"{model}.patience=3")
        )
        for model in ("student", "baseline")
    },
    "best-dev-epoch": _shown("the epoch with the best dev AUROC", "baseline.keep=best"),
    "early-stopping": _shown(
        "three times the epochs, or to the third fall of dev AUROC running",
        *("baseline.epochs=15", "baseline.patience=3"),
    ),
    "labels-after": Variant(
        *_AFTER, "then the true labels", "student", _always("distillation.then=labels")
    ),
    "own-opinions-after": Variant(
        *_AFTER, "then its own opinions", "student", _always("distillation.then=own opinions")
    ),
    "papers-teacher": _taught("taught by the paper's teacher", "paper-{{without}}{{seed}}/teacher"),
    "few-teachers": _taught("taught by six CNNs of its own size", *_FEW),
    "three-seeds": _taught("taught by the recipe's three seeds together", *_THREE),
    "five-teachers": _taught("taught by five CNNs of three recipes", *_THREE, *_OTHERS),
    "narrow-three-seeds": _taught("narrow: three seeds together", *_NARROW_THREE, also=_NARROW),
    "narrow-labels-after": _taught(
        "narrow: three seeds, then the true labels",
        *_NARROW_THREE,
        also=(*_NARROW, "distillation.then=labels"),
    ),
    "narrow-own-opinions-after": _taught(
        "narrow: three seeds, then its own opinions",
        *_NARROW_THREE,
        also=(*_NARROW, "distillation.then=own opinions"),
    ),
    **{f"width-{width}": _sized(width) for width in (4, 8, 24)},
    "wide": _shown("twice the channels", "networks.width=24"),
}
"""Changes to the native recipe, or to others beyond the paper: what takes the device away, and what
the paper leaves to future work (section 6)."""
