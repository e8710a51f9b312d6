"""The paper in one file: one function per stage, one notebook per stage.

A stage reads what earlier stages left in the run folder and leaves its own results there. It first
runs whatever is missing before it. Results made from the same inputs are loaded, not made again;
inputs (data, settings, seed, earlier stages) are compared by fingerprint.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from IPython import get_ipython
from lightning_fabric import Fabric
from torch import nn

from hsutils.config import FITS, fingerprint
from hsutils.data.cache import identity
from hsutils.data.corpus import Corpus, load_corpus, load_recordings
from hsutils.environment import describe_environment
from hsutils.evaluation import tables
from hsutils.files import write_csv
from hsutils.models.build import MODELS, new_network
from hsutils.models.teacher_student import Teacher
from hsutils.run import Run
from hsutils.training.checkpoints import Checkpoint, history_table, load_weights, save_weights
from hsutils.training.datasets import ViewPairs, examples_of, labeled, synthetic_identity
from hsutils.training.devices import resolve_precision, seed_everything, seed_for, start_fabric
from hsutils.training.loop import Procedure, Trained, fit, predict, pretrain

EVALUATED = ("dev", "test")
Train = Callable[[Procedure, Fabric], Trained]


def pretrain_teacher(run: Run) -> tuple[Teacher, Trained]:
    """Notebook 03: encoder and projection head, pre-trained with NT-Xent, without any label."""
    corpus, teacher = load_corpus(run), _new(run, "teacher")

    def train(procedure: Procedure, fabric: Fabric) -> Trained:
        rows, settings = corpus.rows("pretrain"), run.profile.augment
        pairs = ViewPairs(corpus.cache, rows, settings, run.profile.seed, corpus.paths)
        return pretrain(teacher.projector, pairs, procedure, fabric)

    stamp = _pretrain_stamp(run, corpus)
    return teacher, _load_or_train(run, "encoder", "pretrain", teacher.projector, stamp, train)


def fine_tune_teacher(run: Run) -> tuple[Teacher, Trained]:
    """Notebook 04: the pre-trained teacher, fine-tuned on the few labels."""
    corpus, (teacher, _) = load_corpus(run), pretrain_teacher(run)
    labels, stamp = corpus.of("labeled").label, _teacher_stamp(run, corpus)
    return teacher, _train_classifier(run, corpus, "teacher", teacher, "labeled", labels, stamp)


def label_softly(run: Run) -> pd.DataFrame:
    """Notebook 05, first half: the teacher's probabilities for the unlabeled recordings.

    The teacher is frozen and its input is not augmented, so they are computed once.

    Returns:
        Table record, logit, soft_label.
    """
    corpus, (teacher, _) = load_corpus(run), fine_tune_teacher(run)

    def compute() -> pd.DataFrame:
        table = _predict(run, corpus, "unlabeled", teacher)[["record", "logit"]]
        return table.assign(soft_label=1 / (1 + np.exp(-table.logit)))

    weights = run.note("teacher.safetensors")["digest"]
    stamp = fingerprint(weights, identity(corpus.of("unlabeled")))
    _saved(run, "soft_labels.csv", stamp, compute)
    return _read(run.path("soft_labels.csv"))


def distill_student(run: Run) -> tuple[nn.Module, Trained]:
    """Notebook 05: the student, trained with the teacher's soft labels alone.

    `distillation.targets` replaces them with the teacher's decisions, or with the true labels of
    the fine-tune set, to see what the soft labels contribute.
    """
    targets = run.profile.distillation.targets
    if targets == "fine-tune labels":
        return _train_cnn(run, "student", "labeled", _true_labels(run))
    soft_labels = label_softly(run).set_index("record").soft_label
    hard = targets == "hard decisions"
    return _train_cnn(run, "student", "unlabeled", soft_labels > 0.5 if hard else soft_labels)


def train_baseline(run: Run) -> tuple[nn.Module, Trained]:
    """Notebook 06: the same CNN, trained with the true labels."""
    split = "labeled" if run.profile.splits.labeled == "all" else "pretrain"
    return _train_cnn(run, "baseline", split, _true_labels(run))


TRAIN = {"teacher": fine_tune_teacher, "student": distill_student, "baseline": train_baseline}
"""What trains each model, and whatever it needs before."""


def train_all(run: Run) -> None:
    """Every training, without notebooks: how several devices or nodes work on one run."""
    for train in TRAIN.values():
        train(run)


def load_predictions(run: Run, model: str, split: str) -> pd.DataFrame:
    """Saved predictions of one model on one split: record, label, logit and group."""
    saved = _read(run.path(f"predictions/{model}-{split}.csv"))
    groups = load_recordings(run)[["record", "group"]]
    return saved.merge(groups, on="record", validate="one_to_one")


def load_histories(run: Run) -> dict[str, pd.DataFrame]:
    """Histories (epoch, loss, dev_auroc, seconds) of the encoder and the three classifiers."""
    names = ("encoder", *MODELS)
    return {name: history_table(run.note(f"{name}.safetensors")["history"]) for name in names}


def write_results(run: Run) -> dict[str, pd.DataFrame]:
    """Notebook 07: every table of the paper, and those behind the figures, saved in `tables`.

    The paper's numbers stand beside ours only where recordings and splits are the paper's.

    Returns:
        Name -> table: table_1, table_2, table_3, summary and errors (test, most confident first)
        as in `evaluation.tables`; history, one row per model and epoch.
    """
    train_all(run)
    both = {(m, s): load_predictions(run, m, s) for m in MODELS for s in EVALUATED}
    dev, test = ({m: both[m, s] for m in MODELS} for s in EVALUATED)
    histories = [table.assign(model=model) for model, table in load_histories(run).items()]
    made = {
        "table_1": tables.table_1(dev).round(4),
        "table_2": tables.table_2(test),
        "table_3": tables.table_3(test).round(4),
        "summary": tables.summary(both),
        "errors": tables.errors(test),
        "history": pd.concat(histories, ignore_index=True),
    }
    if not run.profile.is_the_papers:
        made = {n: t.loc[:, ~t.columns.str.startswith("paper")] for n, t in made.items()}
    for name, table in made.items():
        write_csv(run.path(f"tables/{name}.csv"), table)
    return made


def embed(run: Run, corpus: Corpus, teacher: Teacher, split: str = "dev") -> np.ndarray:
    """The encoder's features of one split, shape (recordings, 512), in the order of the split.

    These are what the evaluator classifies; the projection head only serves the NT-Xent loss.
    """
    fabric = start_fabric(run.profile.compute)
    return predict(teacher.encoder, corpus.cache, corpus.rows(split), fabric)


def _train_cnn(run: Run, name: str, split: str, targets: pd.Series) -> tuple[nn.Module, Trained]:
    """Student and baseline: one network from the same initial weights; only targets differ."""
    corpus, model = load_corpus(run), _new(run, "student")
    wanted = targets.loc[corpus.of(split).record].to_numpy(float)
    parts = [wanted.tolist(), _labels(corpus, "dev"), run.profile.networks.model_dump()]
    stamp = _stamp(run, corpus, name, [split, "dev"], *parts)
    return model, _train_classifier(run, corpus, name, model, split, wanted, stamp)


def _train_classifier(
    run: Run,
    corpus: Corpus,
    name: str,
    model: nn.Module,
    split: str,
    targets: Sequence[float],
    stamp: str,
) -> Trained:
    """Train with the targets of one split, choose the epoch by dev, predict dev and test."""
    section, classifier = ("finetune", model.classifier) if name == "teacher" else (name, model)

    def train(procedure: Procedure, fabric: Fabric) -> Trained:
        examples = examples_of(run, corpus, section, split, targets)
        return fit(classifier, examples, labeled(corpus, "dev"), procedure, fabric)

    trained = _load_or_train(run, name, section, model, stamp, train)
    for part in EVALUATED:
        weights = run.note(f"{name}.safetensors")["digest"]
        made_from = fingerprint(weights, part, identity(corpus.of(part)), _labels(corpus, part))
        compute = partial(_predict, run, corpus, part, model)
        _saved(run, f"predictions/{name}-{part}.csv", made_from, compute, model=weights)
    return trained


def _load_or_train(
    run: Run, name: str, section: str, model: nn.Module, stamp: str, train: Train
) -> Trained:
    """Give the model what was trained from the same inputs; otherwise train, save and say so.

    With several devices every process trains, but only the first one writes.
    """
    file, compute = f"{name}.safetensors", run.profile.compute
    path, settings = run.path(file), getattr(run.profile, section)
    fabric = start_fabric(compute)
    first = fabric.is_global_zero
    with run.writing() if first else nullcontext():
        if fabric.broadcast(first and run.take_over(file, stamp)):
            _say(f"{name}: loaded from {path}")
            load_weights(model, path)
        else:
            checkpoint = Checkpoint(run.path("checkpoints", file), stamp)
            procedure = Procedure(section, settings, run.profile.seed, checkpoint, compute.workers)
            trained = train(procedure, fabric)

            def make(temporary: Path) -> dict:
                about = {"profile": run.profile.portable().to_toml(), "model": name}
                save_weights(temporary, model.state_dict(), about)
                environment = describe_environment(run.profile.seed, compute.threads)
                environment |= {"device": str(fabric.device), "processes": fabric.world_size}
                environment["precision"] = resolve_precision(compute)
                # JSON knows no NaN, such as the dev AUROC of pre-training.
                history = trained.history.astype(object).where(trained.history.notna(), None)
                return {"history": history.to_dict("records"), "environment": environment}

            if first:
                run.store(file, stamp, make)
                checkpoint.remove()
                _say(f"{name}: trained, saved in {path}")
            fabric.barrier()
    return Trained(history_table(run.note(file)["history"]), settings.keep)


def _say(text: str) -> None:
    """In a shell; a notebook shows what comes of it."""
    if get_ipython() is None:
        print(text)


def _true_labels(run: Run) -> pd.Series:
    return load_recordings(run).set_index("record").label


def _new(run: Run, model: str) -> nn.Module:
    seed_everything(seed_for(run.profile.seed, f"{model} weights"))
    return new_network(run.profile, model)


def _predict(run: Run, corpus: Corpus, split: str, model: nn.Module) -> pd.DataFrame:
    fabric = start_fabric(run.profile.compute)
    logits = predict(model, corpus.cache, corpus.rows(split), fabric)
    return corpus.of(split)[["record", "label"]].assign(logit=logits)


def _saved(run: Run, file: str, stamp: str, compute: Callable[[], pd.DataFrame], **note) -> None:
    """Save a table unless it is there; the first process computes it while the others wait."""
    fabric = start_fabric(run.profile.compute)
    if fabric.is_global_zero:
        run.cached(file, stamp, lambda path: write_csv(path, compute()) and note)
    fabric.barrier()


def _read(path: Path) -> pd.DataFrame:
    """A table by record; a recording may be called NA."""
    return pd.read_csv(path, dtype={"record": str}, keep_default_na=False, na_values={"logit": ""})


def _pretrain_stamp(run: Run, corpus: Corpus) -> str:
    return _stamp(run, corpus, "pretrain", ["pretrain"])


def _teacher_stamp(run: Run, corpus: Corpus) -> str:
    labels = [_labels(corpus, split) for split in ("labeled", "dev")]
    before = _pretrain_stamp(run, corpus)
    return _stamp(run, corpus, "finetune", ["labeled", "dev"], before, *labels)


def _stamp(run: Run, corpus: Corpus, section: str, splits: list[str], *parts: object) -> str:
    profile = run.profile
    numbers = [section, profile.seed, resolve_precision(profile.compute)]
    data, trained = [identity(corpus.of(split)) for split in splits], splits[0]
    synthetic = synthetic_identity(run, section) if section in FITS else []
    settings = getattr(profile, section)
    # How examples are drawn: evenly over databases, and at random by their row of the cache.
    drawn = [corpus.of(trained).database.tolist()] if settings.sampling == "even" else []
    drawn += [profile.augment.model_dump()] if settings.masks else []
    drawn += [corpus.rows(trained).tolist()] if settings.masks or settings.crop_seconds else []
    return fingerprint(settings, profile.front_end, numbers, data, *synthetic, *drawn, *parts)


def _labels(corpus: Corpus, split: str) -> list[int]:
    return corpus.of(split).label.tolist()
