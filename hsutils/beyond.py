"""Beyond the paper: what is kept of every recipe, on the published split and in new databases.

The published protocol tests in the databases that were trained on. Leaving one database out tests
in one that no training heard, neither its subjects nor its device; a choice between recipes is made
by leaving out two, training on four, and asking one of the two which recipe the other should get.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar

import numpy as np
import pandas as pd
from torch import nn

from hsutils import control_probe, label_efficiency
from hsutils.corpus import load_recordings
from hsutils.cost import cost
from hsutils.errors import InputError
from hsutils.evidence import STAGES, finished
from hsutils.experiment import Run, load_experiment
from hsutils.files import read_json
from hsutils.kept import Kept
from hsutils.metrics import auroc
from hsutils.networks import MODELS, new_network
from hsutils.settings import FrontEnd
from hsutils.stations import EVALUATED, saved_predictions
from hsutils.study import LEFT_OUT, Study
from hsutils.trust import IDENTITY, anonymous
from hsutils.variants import BEYOND

DATABASES = "abcdef"
RECIPE = ("native-all", "compact baseline")
"""The recipe that words and figures are about, whichever scores best: profile and model."""

INNER = ("profile", "model", "seed", "left_out", "database", "auroc")


@dataclass(frozen=True)
class Beyond(Kept):
    """What is kept of several recipes.

    Columns of logits are named `profile/model/seed`; a changed profile is `profile-change`, and
    names of compact networks begin with "compact".

    Args:
        published: a row a recording of dev and test: split, database, group, label, logits; those
            of changed profiles on dev alone.
        left_out: a row a recording of any database: database, group, label, quality, seconds,
            logits of models trained on the other databases; NaN where there is none.
        inner: AUROC in each of two databases left out together, by which recipes are chosen:
            profile, model, seed, left_out, database, auroc.
        recipes: profile, model, labeled (the field of the profile), told ("true labels" or "soft
            labels"), parameters, multiply_adds and milliseconds a recording, and where these were
            measured.
        frozen_features: AUROC of linear classifiers on frozen features by the share of labels:
            profile and the columns of `label_efficiency`.
        storage: what facts of storage tell of the class, in the files and after the control of the
            change "controlled" (`control_probe.format_probe`).
    """

    published: pd.DataFrame
    left_out: pd.DataFrame
    inner: pd.DataFrame
    recipes: pd.DataFrame
    frozen_features: pd.DataFrame
    storage: pd.DataFrame

    COLUMNS: ClassVar = {
        "published": ("split", *IDENTITY),
        "left_out": tuple(IDENTITY),
        "inner": INNER,
        "recipes": (
            *("profile", "model", "labeled", "told"),
            *("parameters", "multiply_adds", "milliseconds"),
        ),
        "frozen_features": ("profile", *label_efficiency.COLUMNS),
        "storage": control_probe.COLUMNS,
    }


@dataclass(frozen=True)
class Finished:
    """One trained model: the profile (with its change), its name, and the run that holds it."""

    profile: str
    model: str
    run: Run

    @property
    def name(self) -> str:
        """The model's name; networks of the compact kind are told apart."""
        small = self.run.experiment.networks.cnn == "compact" and self.model != "teacher"
        return f"compact {self.model}" if small else self.model

    @property
    def column(self) -> str:
        """Name of its column of logits."""
        return f"{self.profile}/{self.name}/{self.run.experiment.seed}"

    @property
    def told(self) -> str:
        """What its training was told of a recording: "true labels" or "soft labels"."""
        targets = self.run.experiment.distillation.targets
        softly = self.model == "student" and targets != "fine-tune labels"
        return "soft labels" if softly else "true labels"

    def predictions(self, split: str) -> pd.Series:
        """Its logits on one split, by record."""
        table = saved_predictions(self.run, self.model, split)
        return table.set_index("record").logit.rename(self.column)

    def network(self) -> nn.Module:
        """Its architecture, with random weights."""
        return new_network(self.run.experiment, self.model)


def collect(studies: Sequence[Study]) -> Beyond:
    """Gather whatever is finished of these studies, of their changes and databases left out.

    Args:
        studies: one a profile, all of the same recordings.

    Raises:
        InputError: if nothing is finished, or runs are of different recordings.
    """
    whole = list(_finished(studies, [""]))
    single = {d: list(_finished(studies, [d])) for d in DATABASES}
    pairs = ["".join(pair) for pair in combinations(DATABASES, 2)]
    everything = [*whole, *(model for found in single.values() for model in found)]
    if not everything:
        names = ", ".join(study.experiment.name for study in studies)
        raise InputError(f"nothing of {names} is finished: train with `run` or `variants` first")
    recordings = load_recordings(everything[0].run).set_index("record")
    return Beyond(
        published=_published(whole, recordings),
        left_out=_left_out(single, recordings),
        inner=_inner(_finished(studies, pairs), single),
        recipes=_recipes(everything, recordings),
        frozen_features=_frozen_features(studies),
        storage=control_probe.format_probe(recordings, _controlled()),
    )


def _finished(studies: Iterable[Study], left_out: Iterable[str]) -> Iterable[Finished]:
    """Every model that is trained without these databases ("" for none)."""
    databases = list(left_out)
    for study in studies:
        for change in ("", *BEYOND):
            profile = "-".join(filter(None, [study.experiment.name, change]))
            for letters in databases:
                without = f"without-{letters}" if letters else ""
                variant = "-".join(filter(None, [change, without]))
                for seed in study.seeds:
                    if study.folder(seed, variant).exists():
                        run = study.look(seed, variant)
                        yield from (
                            Finished(profile, m, run) for m in MODELS if finished(run, (m,))
                        )


def _published(models: Sequence[Finished], recordings: pd.DataFrame) -> pd.DataFrame:
    parts = []
    for split in EVALUATED:
        # A change is chosen or dropped by dev or databases left out: its test is not read.
        asked = [m for m in models if split == "dev" or m.profile == m.run.experiment.name]
        logits = pd.DataFrame({m.column: m.predictions(split) for m in asked})
        parts.append(_about(logits, recordings).assign(split=split))
    table = pd.concat(parts, ignore_index=True)
    table = table.assign(group=pd.factorize(table.group)[0])
    return table[["split", *IDENTITY, *(m.column for m in models)]].round(5)


def _left_out(single: dict[str, Sequence[Finished]], recordings: pd.DataFrame) -> pd.DataFrame:
    parts = []
    for models in single.values():
        logits = pd.DataFrame({m.column: m.predictions("test") for m in models})
        parts.append(_about(logits, recordings))
    table = pd.concat(parts, ignore_index=True)
    columns = sorted(set(table) - set(recordings))
    return anonymous(table, columns).round(5)


def _about(logits: pd.DataFrame, recordings: pd.DataFrame) -> pd.DataFrame:
    """Logits by record with what is known of each recording.

    Raises:
        InputError: if models were evaluated on different recordings.
    """
    if logits.isna().any(axis=None) or not logits.index.isin(recordings.index).all():
        lacking = ", ".join(logits.columns[logits.isna().any()])
        raise InputError(f"{lacking or 'runs'}: of other recordings than the rest; give all one")
    return recordings.loc[logits.index].join(logits).reset_index(drop=True)


def _inner(models: Iterable[Finished], single: Mapping[str, Sequence[Finished]]) -> pd.DataFrame:
    rows = []
    # One that heard no real recording is the same network, whichever databases are left out.
    for asked, found in single.items():
        for model in found:
            if not getattr(model.run.experiment, STAGES[model.model]).real:
                test = saved_predictions(model.run, model.model, "test")
                score = round(auroc(test.label, test.logit), 5)
                about = [model.profile, model.name, model.run.experiment.seed]
                others = (other for other in DATABASES if other != asked)
                rows += [[*about, "".join(sorted(asked + o)), asked, score] for o in others]
    for model in models:
        test = saved_predictions(model.run, model.model, "test")
        databases = load_recordings(model.run).set_index("record").database
        about = [model.profile, model.name, model.run.experiment.seed]
        for database, part in test.groupby(test.record.map(databases)):
            score = round(auroc(part.label, part.logit), 5)
            rows.append([*about, model.run.experiment.splits.leave_out, database, score])
    return pd.DataFrame(rows, columns=INNER)


def _controlled() -> FrontEnd:
    experiment = load_experiment(RECIPE[0])
    return load_experiment(RECIPE[0], BEYOND["controlled"].change(experiment)).front_end


def _frozen_features(studies: Iterable[Study]) -> pd.DataFrame:
    parts = []
    for study in studies:
        for left_out in ("", *LEFT_OUT):
            for seed in study.seeds:
                run = study.look(seed, left_out)
                if run.path("encoder.json").is_file() and run.experiment.pretrain.epochs:
                    table = label_efficiency.label_efficiency(run)
                    parts.append(table.assign(profile=study.experiment.name))
    columns = ["profile", *label_efficiency.COLUMNS]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def _recipes(models: Iterable[Finished], recordings: pd.DataFrame) -> pd.DataFrame:
    """What each recipe costs; every architecture is measured once."""
    rows, known = {}, {}
    for model in models:
        experiment = model.run.experiment
        of = (model.name, experiment.front_end, experiment.networks)
        if of not in known:
            known[of] = cost(
                model.network(), experiment.front_end, float(recordings.seconds.mean())
            )
        facts = read_json(model.run.path(f"{model.model}.json"))
        seconds = sum(row["seconds"] for row in facts["history"])
        about = {"profile": model.profile, "model": model.name} | known[of]
        about |= {"labeled": experiment.splits.labeled, "told": model.told}
        rows.setdefault((model.profile, model.name), about | {"train_seconds": []})
        rows[model.profile, model.name]["train_seconds"].append(seconds)
    table = pd.DataFrame(rows.values())
    return table.assign(train_seconds=[round(np.mean(s)) for s in table.train_seconds])
