"""How far can the numbers be trusted? What is kept of that question, gathered from finished runs.

Every committed table and figure of trust is computed from these tables alone (`trust_tables`).
They name no recording.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
from torch import nn

from hsutils.evaluation import shortcuts
from hsutils import pipeline as stations
from hsutils.data.cache import identity
from hsutils.training.devices import start_fabric
from hsutils.data.corpus import Corpus, data_folder, load_corpus
from hsutils.errors import InputError
from hsutils.studies.evidence import finished
from hsutils.experiment import Run, fingerprint
from hsutils.files import read_json, write_csv
from hsutils.studies.kept import Kept
from hsutils.data.duplicates import find_leaks, summarize, without_leaks
from hsutils.evaluation.metrics import CLASSES
from hsutils.models.build import MODELS
from hsutils.audio.perturbations import PERTURBATIONS, Perturbations
from hsutils.evaluation.quality import by_length, by_quality, length_score
from hsutils.evaluation.robustness import perturbed_scores, robustness
from hsutils.data.splits import audit, leave_out
from hsutils.pipeline import EVALUATED
from hsutils.studies.study import LEFT_OUT, Study
from hsutils.training.loop import predict
from hsutils.audio.wav import read_samples

IDENTITY = ["database", "group", "label"]
ABOUT = [*IDENTITY, "quality", "seconds"]
STORED = [fact for fact in shortcuts.FACTS if fact not in ABOUT]
PROBED = ["recordings", "balanced_accuracy", "low", "high", "chance", "chance_high"]
ROBUSTNESS = "trust/robustness.csv"


@dataclass(frozen=True)
class Trust(Kept):
    """What is kept to judge runs by.

    Columns of logits are named `model/seed` for trained models, and by name for their rivals
    (`shortcuts.RIVALS`). Cases keep nothing that would tell which recordings are in a split;
    what needs more of them is answered while it is at hand, for the first run.

    Args:
        cases: a row a recording of dev and test: split, database, group, label, logits.
        left_out: a row a recording of a database that was left out of training: `ABOUT`, logits
            of models that never heard it; NaN where there is no such model.
        facts: a row a recording of any split: `ABOUT` and its format facts.
        leaks: pairs that stand in two splits and are not independent (`leaks.summarize`).
        leak_effect: test AUROC without the recordings that leak (`leaks.without_leaks`).
        quality, length, length_score: test AUROC by annotated quality and by duration, and the
            rank correlation of logit and duration (`hsutils.quality`).
        probe: how well the database can be read off features (`shortcuts.probe_database`).
        robustness: scores on worse recordings (`robustness`).
    """

    cases: pd.DataFrame
    left_out: pd.DataFrame
    facts: pd.DataFrame
    leaks: pd.DataFrame
    leak_effect: pd.DataFrame
    quality: pd.DataFrame
    length: pd.DataFrame
    length_score: pd.DataFrame
    probe: pd.DataFrame
    robustness: pd.DataFrame

    COLUMNS: ClassVar = {
        "cases": ("split", *IDENTITY),
        "left_out": tuple(ABOUT),
        "facts": (*ABOUT, *STORED),
        "length_score": ("model", "label", "spearman", "within"),
    }


def collect(runs: Sequence[Run], left_out: Mapping[str, Sequence[Run]] | None = None) -> Trust:
    """Ask runs of one experiment everything that trust depends on; what is missing is trained.

    Args:
        runs: one a seed, all of the same recordings and splits; the first also answers what one
            run can answer for all.
        left_out: database -> finished runs that left it out, one a seed; may lack databases.

    Raises:
        InputError: if there is no run, or runs were evaluated on different recordings.
    """
    if not runs:
        raise InputError("there is no run to judge: give at least one")
    for run in runs:
        stations.run_all(run)
    first, corpus = runs[0], load_corpus(runs[0])
    facts = shortcuts.format_facts(corpus.recordings)
    leaks = find_leaks(corpus.recordings, corpus.splits, data_folder(first))
    cases = _cases(runs, corpus)
    test = cases[cases.split == "test"].rename(columns=lambda name: name.split("/")[0])
    test = test.loc[:, ~test.columns.duplicated()]
    straddling = audit(corpus.recordings, corpus.splits).record
    return Trust(
        cases=_coded(cases)[["split", *IDENTITY, *cases.columns.drop(["split", "record", *ABOUT])]],
        left_out=_left_out(corpus, left_out or {}),
        facts=anonymous(corpus.recordings.merge(facts.drop(columns="seconds"), on="record")),
        leaks=summarize(leaks),
        leak_effect=without_leaks(test, straddling, [*MODELS, *shortcuts.RIVALS]).round(5),
        quality=by_quality(test, MODELS).round(5),
        length=by_length(test, MODELS).round(5),
        length_score=length_score(test, MODELS).round(5),
        probe=_probe(first, corpus, facts),
        robustness=_robustness(first, corpus),
    )


def collect_study(study: Study) -> Trust:
    """`collect` for all seeds of a study, with every database that was left out.

    Raises:
        InputError: if a seed is not finished, and as `collect`.
    """
    unfinished = [seed for seed in study.seeds if not finished(study.look(seed), MODELS)]
    if unfinished:
        raise InputError(f"seeds {unfinished} are not finished: run them first, with --seeds")
    found = {
        database: [r for r in (study.look(s, name) for s in study.seeds) if finished(r, MODELS)]
        for name, database in LEFT_OUT.items()
    }
    return collect([study.look(seed) for seed in study.seeds], found)


def load_models(run: Run) -> dict[str, nn.Module]:
    """The three trained models of a run, by name."""
    teacher, _ = stations.fine_tune_teacher(run)
    student, _ = stations.distill_student(run)
    baseline, _ = stations.train_baseline(run)
    return dict(zip(MODELS, (teacher, student, baseline), strict=True))


def stored_stretches(
    recordings: pd.DataFrame, seconds: float = 0.06
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """How two files of the largest database are stored: a usual one of each class.

    Args:
        recordings: the table of `read_recordings`.
        seconds: how much of each, from its middle.

    Returns:
        Class name -> (time in seconds, integer samples), each (n,).
    """
    largest = recordings[recordings.database == recordings.database.mode()[0]]
    facts = largest.merge(
        shortcuts.format_facts(largest)[["record", "levels_per_second"]], on="record"
    )
    stretches = {}
    for label, part in facts.groupby("label"):
        unusual = (part.levels_per_second - part.levels_per_second.median()).abs()
        samples, rate = read_samples(part.path[unusual.idxmin()])
        middle, length = len(samples) // 2, round(seconds * rate)
        stretches[CLASSES[label]] = (np.arange(length) / rate, samples[middle : middle + length])
    return stretches


def _cases(runs: Sequence[Run], corpus: Corpus) -> pd.DataFrame:
    rivals = shortcuts.rivals(corpus)
    parts = []
    for split in EVALUATED:
        logits = {
            f"{m}/{run.experiment.seed}": stations.saved_predictions(run, m, split)
            for run in runs
            for m in MODELS
        }
        logits |= {name: predictions[split] for name, predictions in rivals.items()}
        parts.append(_with_logits(corpus.of(split).assign(split=split), logits))
    columns = ["split", "record", *ABOUT, *logits]
    return pd.concat(parts, ignore_index=True)[columns]


def _left_out(corpus: Corpus, runs: Mapping[str, Sequence[Run]]) -> pd.DataFrame:
    parts = []
    for database in sorted(set(corpus.recordings.database)):
        try:
            splits = leave_out(corpus.splits, corpus.recordings, database)
        except InputError:
            continue  # In a small corpus one database may hold all that there is to learn from.
        held = dataclasses.replace(corpus, splits=splits)
        rivals = shortcuts.rivals(held, splits=["test"])
        logits = {name: predictions["test"] for name, predictions in rivals.items()}
        for run in runs.get(database, ()):
            logits |= {
                f"{m}/{run.experiment.seed}": stations.saved_predictions(run, m, "test")
                for m in MODELS
            }
        parts.append(_with_logits(held.of("test"), logits))
    if not parts:
        return pd.DataFrame(columns=ABOUT)
    table = pd.concat(parts, ignore_index=True)
    models = sorted(set(table.columns) - set(corpus.recordings.columns))
    return anonymous(table, models)


def _with_logits(part: pd.DataFrame, logits: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Recordings with one column of logits a model.

    Raises:
        InputError: if a model was evaluated on other recordings.
    """
    strangers = [m for m, p in logits.items() if set(p.record) != set(part.record)]
    if strangers:
        raise InputError(
            f"predictions of {', '.join(strangers)} are of other recordings than those of the "
            "first run: give all runs the same data and splits"
        )
    columns = {m: part.record.map(p.set_index("record").logit) for m, p in logits.items()}
    return part.assign(**{m: column.round(5) for m, column in columns.items()})


def _coded(table: pd.DataFrame) -> pd.DataFrame:
    """Groups as numbers: their names are those of records."""
    return table.assign(group=pd.factorize(table.group)[0])


def anonymous(table: pd.DataFrame, columns: Sequence[str] = STORED) -> pd.DataFrame:
    """`ABOUT` and these columns, sorted by what they say and not by record; groups are numbers."""
    coded = _coded(table.assign(seconds=table.seconds.round(1)))[[*ABOUT, *columns]]
    return coded.sort_values([*ABOUT[:1], *ABOUT[2:], *columns], ignore_index=True)


def _probe(run: Run, corpus: Corpus, facts: pd.DataFrame) -> pd.DataFrame:
    """From what, of dev and test, the database can be told."""
    asked = pd.concat([corpus.of(split) for split in EVALUATED], ignore_index=True)
    stored = facts.set_index("record").loc[asked.record, list(shortcuts.FACTS)]
    teacher, student, _ = load_models(run).values()
    features = {
        "format facts": stored.to_numpy(),
        "band statistics": shortcuts.band_statistics(corpus.cache, asked.record),
        "teacher": _features(run, corpus, asked, teacher.encoder),
        "student": _features(
            run, corpus, asked, nn.Sequential(student.features, *student.head[:2])
        ),
    }
    rows = []
    for name, values in features.items():
        try:
            found = shortcuts.probe_database(values, asked.database, asked.group)
        except InputError:
            break  # A corpus of a few dozen has too few groups, whatever the features.
        rows.append({"features": name} | {key: found[key] for key in PROBED})
    return pd.DataFrame(rows, columns=["features", *PROBED]).round(5)


def _features(run: Run, corpus: Corpus, asked: pd.DataFrame, part: nn.Module) -> np.ndarray:
    fabric = start_fabric(run.experiment.compute)
    return predict(fabric.setup(part), corpus.cache, corpus.cache.rows(asked.record), fabric)


def _robustness(run: Run, corpus: Corpus) -> pd.DataFrame:
    """Costs more than all else together, so it is kept in the run's folder."""
    real = run.experiment.data.source == "challenge"
    asked = PERTURBATIONS if real else mildest_and_worst(PERTURBATIONS)
    models = [read_json(run.path(f"{m}.json"))["fingerprint"] for m in MODELS]
    test = corpus.of("test")
    questions = [(p.name, p.unit, p.levels) for p in asked.values()]
    stamp = fingerprint(questions, models, run.experiment.front_end, identity(test))
    if not run.is_done(ROBUSTNESS, stamp):
        scores = perturbed_scores(run, test, load_models(run), asked)
        run.forget(ROBUSTNESS)
        write_csv(run.path(ROBUSTNESS), robustness(scores, test).round(5))
        run.mark_done(ROBUSTNESS, stamp)
    return pd.read_csv(run.path(ROBUSTNESS))


def mildest_and_worst(perturbations: Perturbations) -> Perturbations:
    """The same perturbations, each at its first and last level only: a quick look."""
    ends = {name: (p.levels[0], p.levels[-1]) for name, p in perturbations.items()}
    return {name: dataclasses.replace(p, levels=ends[name]) for name, p in perturbations.items()}
