"""The line of sight in one file: each function is one station, each notebook calls one.

A station reads what earlier stations left in the run folder and leaves its own. It first runs
whatever is missing before it; what is there and made from the same inputs is loaded, not made
again. Inputs are compared by fingerprint: data, settings, seed and the stations before.
"""

import numpy as np
import pandas as pd
from lightning_fabric import Fabric
from torch import nn

from hsutils.training.datasets import ViewPairs, WaveformViews
from hsutils.data.cache import identity
from hsutils.training.checkpoints import Checkpoint, history_table, load_weights, save_weights
from hsutils.training.devices import resolve_precision, seed_everything, seed_for, start_fabric
from hsutils.data.corpus import Corpus, load_corpus, load_recordings
from hsutils.environment import describe_environment
from hsutils.training.examples import artificial_identity, examples_of
from hsutils.experiment import Run, fingerprint
from hsutils.files import read_json, write_csv
from hsutils.models.teacher_student import Teacher
from hsutils.models.build import MODELS, new_network
from hsutils.settings import Networks
from hsutils.studies.teachers import mean_opinion, named_teachers, setting_of, stamp_of
from hsutils.training.loop import Procedure, Trained, fit, predict, pretrain

EVALUATED = ("dev", "test")


def pretrain_teacher(run: Run) -> tuple[Teacher, Trained]:
    """Station 03: encoder and projection head, pre-trained with NT-Xent, without any label."""
    corpus, teacher = load_corpus(run), _new_teacher(run)
    stamp = _pretrain_stamp(run, corpus)

    def train(procedure: Procedure, fabric: Fabric) -> Trained:
        settings, seed, views = run.experiment.augment, run.experiment.seed, None
        if settings.pair == "crops" or settings.sensor:
            seconds = settings.crop_seconds if settings.pair == "crops" else 0.0
            views = WaveformViews(corpus.paths, seconds, settings.sensor, settings, seed)
        pairs = ViewPairs(corpus.cache, corpus.rows("pretrain"), settings, seed, views)
        return pretrain(teacher.projector, pairs, procedure, fabric)

    return teacher, _trained(run, "encoder", "pretrain", teacher.projector, stamp, train)


def fine_tune_teacher(run: Run) -> tuple[Teacher, Trained]:
    """Station 04: the pre-trained teacher, fine-tuned on the few labels."""
    corpus = load_corpus(run)
    teacher, _ = pretrain_teacher(run)
    stamp = _teacher_stamp(run, corpus)

    def train(procedure: Procedure, fabric: Fabric) -> Trained:
        examples = examples_of(run, corpus, "finetune", "labeled", corpus.of("labeled").label)
        return fit(teacher.classifier, examples, corpus.labeled("dev"), procedure, fabric)

    trained = _trained(run, "teacher", "finetune", teacher, stamp, train)
    _save_predictions(run, corpus, "teacher", teacher, stamp)
    return teacher, trained


def label_softly(run: Run) -> pd.DataFrame:
    """Station 05, first half: probabilities for what the student hears, made once.

    They are the teacher's, or those of the teachers that `distillation.teachers` names. They are
    frozen and their input is not augmented, so that distillation never needs them again.

    Returns:
        Table record, logit, soft_label.

    Raises:
        InputError: if a teacher that is named cannot be asked (`teachers.named_teachers`).
    """
    corpus, others = load_corpus(run), named_teachers(run)
    made_from = stamp_of(run, others) if others else _teacher_stamp(run, corpus)
    more = others or _hears_all(run) or run.experiment.splits.softly == "both"
    told = [identity(corpus.of("unlabeled"))] if more else []
    stamp = fingerprint(made_from, "soft labels", *told)
    if not _found(run, "soft_labels.csv", stamp):
        table = _soft_labels(run, corpus, others)
        run.forget("soft_labels.csv")
        write_csv(run.path("soft_labels.csv"), table)
        run.mark_done("soft_labels.csv", stamp)
    return pd.read_csv(run.path("soft_labels.csv"), dtype={"record": str})


def _soft_labels(run: Run, corpus: Corpus, others: list[tuple]) -> pd.DataFrame:
    if others:
        soft = mean_opinion(run, others, "unlabeled").clip(1e-7, 1 - 1e-7)
        table = corpus.of("unlabeled")[["record"]]
        return table.assign(logit=np.log(soft / (1 - soft)), soft_label=soft)
    teacher, _ = fine_tune_teacher(run)
    table = _predict(run, corpus, "unlabeled", teacher)[["record", "logit"]]
    return table.assign(soft_label=_sigmoid(table.logit))


def _hears_all(run: Run) -> bool:
    return run.experiment.splits.labeled == "all"


def distill_student(run: Run) -> tuple[nn.Module, Trained]:
    """Station 05: the student, trained on the teacher's soft labels alone.

    Artificial recordings, where it hears any, have their true labels: they need no teacher. With
    `distillation.targets` it is told something else instead: the teacher's decisions, or the true
    labels of the fine-tune set, without any teacher. With `distillation.then` a second phase
    follows; the student before it is "first-student".
    """
    then = run.experiment.distillation.then
    if then == "nothing":
        return _first_student(run, "student")
    first, _ = _first_student(run, "first-student")
    before = read_json(run.path("first-student.json"))["fingerprint"]
    if then == "labels":
        labels = _true_labels(run)
        return _train_cnn(run, "student", "labeled", labels, "finetune", first, before)
    own = _predict(run, load_corpus(run), "unlabeled", first).set_index("record").logit
    return _train_cnn(run, "student", "unlabeled", _sigmoid(own), before=before)


def _first_student(run: Run, name: str) -> tuple[nn.Module, Trained]:
    targets = run.experiment.distillation.targets
    if targets == "fine-tune labels":
        return _train_cnn(run, name, "labeled", _true_labels(run), "student")
    soft_labels = label_softly(run).set_index("record").soft_label
    hard = targets == "hard decisions"
    told = soft_labels > 0.5 if hard else soft_labels
    return _train_cnn(run, name, "unlabeled", told, "student")


def train_baseline(run: Run) -> tuple[nn.Module, Trained]:
    """Station 06: the same CNN, trained on the true labels."""
    learn_from = "labeled" if _hears_all(run) else "pretrain"
    return _train_cnn(run, "baseline", learn_from, _true_labels(run))


def load_predictions(run: Run, split: str) -> dict[str, pd.DataFrame]:
    """Station 07: predictions of the three models on one split, by model."""
    run_all(run)
    return {model: saved_predictions(run, model, split) for model in MODELS}


def saved_predictions(run: Run, model: str, split: str) -> pd.DataFrame:
    """What a run has saved of one model on one split: record, label, logit."""
    return pd.read_csv(run.path(f"predictions/{model}-{split}.csv"), dtype={"record": str})


def run_all(run: Run) -> None:
    """Every training, without notebooks: how several devices or nodes work on one run."""
    fine_tune_teacher(run)
    distill_student(run)
    train_baseline(run)


def is_first_process(run: Run) -> bool:
    """Whether this process may write; with several devices only the first does."""
    return start_fabric(run.experiment.compute).is_global_zero


def load_histories(run: Run) -> dict[str, pd.DataFrame]:
    """Histories of the three classifiers, by model."""
    return {m: history_table(read_json(run.path(f"{m}.json"))["history"]) for m in MODELS}


def _train_cnn(
    run: Run,
    name: str,
    split: str,
    targets: pd.Series,
    section: str = "",
    start: nn.Module | None = None,
    before: str = "",
) -> tuple[nn.Module, Trained]:
    """Student and baseline: one network from the same initial weights, told other targets.

    `section` of the profile is that of the name, unless another is given; `start` are weights to
    go on from, and `before` the fingerprint of what they or the targets come from.
    """
    section, corpus = section or name, load_corpus(run)
    seed_everything(seed_for(run.experiment.seed, "student weights"))
    model = start or new_network(run.experiment, "student")
    wanted = targets.loc[corpus.of(split).record].to_numpy(float)
    told = [wanted.tolist(), _labels(corpus, "dev")]
    # Runs from before there was a choice are recognized.
    networks = run.experiment.networks
    told += [networks] if networks != Networks() else []
    told += artificial_identity(run, section) + ([before] if before else [])
    stamp = _stamp(run, corpus, section, [split, "dev"], *told)

    def train(procedure: Procedure, fabric: Fabric) -> Trained:
        examples = examples_of(run, corpus, section, split, wanted)
        return fit(model, examples, corpus.labeled("dev"), procedure, fabric)

    trained = _trained(run, name, section, model, stamp, train)
    _save_predictions(run, corpus, name, model, stamp)
    return model, trained


def _true_labels(run: Run) -> pd.Series:
    return load_recordings(run).set_index("record").label


def _new_teacher(run: Run) -> Teacher:
    seed_everything(seed_for(run.experiment.seed, "teacher weights"))
    return new_network(run.experiment, "teacher")


def _trained(run: Run, name: str, section: str, model: nn.Module, stamp: str, train) -> Trained:
    """Load what was trained from the same inputs; otherwise train, save and say so."""
    file, settings = f"{name}.safetensors", getattr(run.experiment, section)
    if _found(run, file, stamp):
        print(f"{name}: loaded from {run.path(file)}")
        load_weights(model, run.path(file))
    else:
        compute = run.experiment.compute
        checkpoint = Checkpoint(run.path("checkpoints", file), stamp)
        procedure = Procedure(section, settings, run.experiment.seed, checkpoint, compute.workers)
        if is_first_process(run):
            # Or weights of other settings would pass for these, were the training interrupted.
            run.forget(file)
        trained = train(procedure, start_fabric(compute))
        if is_first_process(run):
            save_weights(run.path(file), model.state_dict())
            facts = _provenance(run) | {"setting": setting_of(run.experiment)}
            run.mark_done(file, stamp, **facts, history=_rows(trained.history))
            checkpoint.remove()
            print(f"{name}: trained, saved in {run.path(file)}")
        start_fabric(compute).barrier()
    facts = read_json(run.path(file).with_suffix(".json"))
    return Trained(history_table(facts["history"]), settings.keep)


def _found(run: Run, file: str, stamp: str) -> bool:
    """Whether a file made from these inputs is in the run folder, once the parent's is taken over.

    Every process waits here until the first has copied what there was to take over.
    """
    if is_first_process(run):
        run.inherit(file, stamp)
    start_fabric(run.experiment.compute).barrier()
    return run.is_done(file, stamp)


def _provenance(run: Run) -> dict[str, object]:
    fabric, seed = start_fabric(run.experiment.compute), run.experiment.seed
    precision = resolve_precision(run.experiment.compute)
    device = {"device": str(fabric.device), "processes": fabric.world_size, "precision": precision}
    facts = describe_environment(seed) | device
    facts["ended"] = facts.pop("last_opened")
    del facts["started"]
    return {"environment": facts}


def _rows(table: pd.DataFrame) -> list[dict]:
    return table.astype(object).where(table.notna(), None).to_dict("records")


def _predict(run: Run, corpus: Corpus, split: str, model: nn.Module) -> pd.DataFrame:
    fabric = start_fabric(run.experiment.compute)
    logits = predict(fabric.setup(model), corpus.cache, corpus.rows(split), fabric)
    return corpus.of(split)[["record", "label"]].assign(logit=logits)


def _save_predictions(run: Run, corpus: Corpus, name: str, model: nn.Module, stamp: str) -> None:
    for split in EVALUATED:
        file = f"predictions/{name}-{split}.csv"
        made_from = fingerprint(stamp, split, identity(corpus.of(split)), _labels(corpus, split))
        if not _found(run, file, made_from):
            run.forget(file)
            write_csv(run.path(file), _predict(run, corpus, split, model))
            run.mark_done(file, made_from, model=stamp)


def _pretrain_stamp(run: Run, corpus: Corpus) -> str:
    return _stamp(run, corpus, "pretrain", ["pretrain"], run.experiment.augment)


def _teacher_stamp(run: Run, corpus: Corpus) -> str:
    labels = [_labels(corpus, split) for split in ("labeled", "dev")]
    before = _pretrain_stamp(run, corpus)
    heard = artificial_identity(run, "finetune")
    return _stamp(run, corpus, "finetune", ["labeled", "dev"], before, *labels, *heard)


def _stamp(run: Run, corpus: Corpus, section: str, splits: list[str], *parts: object) -> str:
    experiment = run.experiment
    numbers = [section, experiment.seed, resolve_precision(experiment.compute)]
    data = [identity(corpus.of(split)) for split in splits]
    return fingerprint(getattr(experiment, section), experiment.front_end, numbers, data, *parts)


def _labels(corpus: Corpus, split: str) -> list[int]:
    return corpus.of(split).label.tolist()


def _sigmoid(logits: pd.Series) -> pd.Series:
    return 1 / (1 + np.exp(-logits))
