"""How far can the scores be trusted? Chance, leaks, shortcuts, prevalence, thresholds, recordings.

Where there are several seeds, values are means over them. An interval is the sampling error of the
recordings; the spread between seeds is shown apart.
"""

import contextlib
import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from torch import nn

from hsutils import pipeline, plots
from hsutils.audio.devices import PERTURBATIONS
from hsutils.config import fingerprint
from hsutils.data.cache import identity
from hsutils.data.challenge import validation_copies
from hsutils.data.corpus import Corpus, data_folder, load_corpus
from hsutils.data.duplicates import find_leaks, summarize
from hsutils.data.splits import audit, leave_out
from hsutils.errors import InputError
from hsutils.evaluation import calibration, domains, intervals, robustness, shortcuts
from hsutils.evaluation.metrics import choose_threshold
from hsutils.files import write_csv
from hsutils.models.build import MODELS
from hsutils.run import Run
from hsutils.studies.new_databases import runs as runs_without
from hsutils.studies.seeds import Pictures, Study, Tables, is_trained, tidy, with_logits
from hsutils.training.devices import start_fabric
from hsutils.training.loop import predict

INPUTS = ("cases.csv", "left_out.csv", "facts.csv", "leaks.csv", "leak_effect.csv", "quality.csv")
INPUTS += ("length.csv", "probe.csv", "robustness.csv")
IDENTITY = ["database", "group", "label"]
ABOUT = [*IDENTITY, "quality", "seconds"]
EVERY_MODEL = [*MODELS, *shortcuts.CONTROL_MODELS]
PAIRS = (("teacher", "student"), ("student", "baseline"), ("student", "format only"))
PREVALENCES = (0.02, 0.05, 0.2, 0.5)
RATES = ("sensitivity", "specificity", "accuracy")
RULES = {"logit 0": None, "Youden": {}, "sensitivity 0.95": {"sensitivity": 0.95}}
"""How a threshold is chosen on dev: the paper's is fixed, for the others see `choose_threshold`."""


def gather(runs: Sequence[Run]) -> Tables:
    """What notebook 08 computes from; what is missing is trained.

    Columns of logits are named `model/seed`, and by name for `shortcuts.CONTROL_MODELS`. No table
    names a recording, and none but `cases` says in which split one is.

    Args:
        runs: one per seed, of the same data and splits; one run's questions go to the first.

    Returns:
        cases (dev and test) and facts (of the file alone) have one row per recording. left_out is
        empty, since no database was. For robustness see `evaluation.robustness`.
    """
    for run in runs:
        pipeline.train_all(run)
    corpus, left_out = load_corpus(runs[0]), pd.DataFrame(columns=ABOUT)
    return _tables(runs[0], corpus, _cases(corpus, runs, pipeline.EVALUATED), left_out)


def _tables(run: Run, corpus: Corpus, cases: pd.DataFrame, left_out: pd.DataFrame) -> Tables:
    facts = shortcuts.format_facts(corpus.recordings).drop(columns="seconds")
    stored = corpus.recordings.merge(facts, on="record")
    columns = ["split", *IDENTITY, *cases.columns.drop(["split", *corpus.recordings])]
    return {
        "cases": cases.assign(group=pd.factorize(cases.group)[0])[columns],
        "left_out": left_out,
        "facts": _anonymous(stored, list(facts.columns.drop("record"))),
        "robustness": _robustness(run, corpus).round(5),
    }


def gather_study(study: Study) -> Tables:
    """`gather` for all (trained) seeds, with each database that `unseen` left out, and more.

    Returns:
        Also leaks, leak_effect, quality, length and probe; see `hsutils.data` and
        `hsutils.evaluation`.
    """
    runs = [study.run(seed) for seed in study.seeds]
    first, corpus = runs[0], load_corpus(runs[0])
    cases = _cases(corpus, runs, pipeline.EVALUATED)
    tables = _tables(first, corpus, cases, _left_out(study, corpus))
    test = first_seed(cases, "test")
    related = audit(corpus.recordings, corpus.splits).record
    copies = validation_copies(data_folder(first), corpus.recordings)
    return tables | {
        "leaks": summarize(find_leaks(corpus.recordings, corpus.splits, copies)),
        "leak_effect": robustness.without_leaks(test, related, EVERY_MODEL).round(5),
        "quality": robustness.by_quality(test, MODELS).round(5),
        "length": robustness.by_length(test, MODELS).round(5),
        "probe": _probe(first, corpus).round(5),
    }


def _cases(corpus: Corpus, runs: Iterable[Run], splits: Sequence[str]) -> pd.DataFrame:
    """Recordings of some splits with the logits of runs and control models."""
    controls, parts = shortcuts.control_models(corpus, splits), []
    for split in splits:
        logits = {
            f"{model}/{run.profile.seed}": pipeline.load_predictions(run, model, split)
            for run in runs
            for model in MODELS
        }
        logits |= {name: found[split] for name, found in controls.items()}
        parts.append(with_logits(corpus.recordings, logits).assign(split=split))
    return pd.concat(parts, ignore_index=True)


def _left_out(study: Study, corpus: Corpus) -> pd.DataFrame:
    """Recordings of every database, with the logits of the models trained without it."""
    without, parts = defaultdict(list), []
    for _, database, run in runs_without(study, ["paper"]):
        if is_trained(run, MODELS):
            without[database].append(run)
    for database in sorted(set(corpus.recordings.database)):
        # In a small corpus one database may hold all that there is to train with.
        with contextlib.suppress(InputError):
            splits = leave_out(corpus.splits, corpus.recordings, database)
            held = dataclasses.replace(corpus, splits=splits)
            parts.append(_cases(held, without[database], ["test"]))
    if not parts:
        return pd.DataFrame(columns=ABOUT)
    table = pd.concat(parts, ignore_index=True)
    return _anonymous(table, sorted(set(table) - {"split", *corpus.recordings}))


def _anonymous(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """`ABOUT` and these columns, sorted by what they say and not by record."""
    table = table.assign(group=pd.factorize(table.group)[0], seconds=table.seconds.round(1))
    table = table[[*ABOUT, *columns]]
    return table.sort_values([c for c in table if c != "group"], ignore_index=True)


def _probe(run: Run, corpus: Corpus) -> pd.DataFrame:
    cases = pd.concat([corpus.of(split) for split in pipeline.EVALUATED], ignore_index=True)
    stored, rows = shortcuts.format_facts(cases)[[*shortcuts.FACTS]], []
    features = {"format facts": stored.to_numpy()}
    features["band statistics"] = shortcuts.band_statistics(corpus.cache, cases.record)
    teacher, student = (pipeline.TRAIN[model](run)[0] for model in MODELS[:2])
    parts = {"teacher": teacher.encoder}
    parts["student"] = nn.Sequential(student.features, *student.head[:2])
    asked, fabric = corpus.cache.rows(cases.record), start_fabric(run.profile.compute)
    for name, part in parts.items():
        features[name] = predict(fabric.setup(part), corpus.cache, asked, fabric)
    for name, values in features.items():
        # A corpus of a few dozen recordings has too few groups.
        with contextlib.suppress(InputError):
            found = shortcuts.probe_database(values, cases.database, cases.group)
            rows.append({"features": name, **found})
    columns = ["recordings", "balanced_accuracy", "low", "high", "chance", "chance_high"]
    return pd.DataFrame(rows, columns=["features", *columns])


def _robustness(run: Run, corpus: Corpus) -> pd.DataFrame:
    """Costs more than all else together, so it is kept in the run's folder."""
    asked, names, test = PERTURBATIONS, MODELS, corpus.of("test")
    if run.profile.data.source != "challenge":
        # A quick look: the CNNs, with each perturbation at its mildest and its worst level.
        names = MODELS[1:]
        asked = {n: p._replace(levels=(p.levels[0], p.levels[-1])) for n, p in asked.items()}

    def make(path: Path) -> None:
        models = {model: pipeline.TRAIN[model](run)[0] for model in names}
        scores = robustness.perturbed_scores(run, test, models, asked)
        write_csv(path, robustness.robustness(scores, test))

    questions = [(p.name, p.unit, p.levels) for p in asked.values()]
    weights = [run.note(f"{model}.safetensors")["digest"] for model in names]
    facts = [identity(test), test[["label", "group"]].to_numpy().tolist()]
    stamp = fingerprint(questions, weights, run.profile.front_end, facts)
    return pd.read_csv(run.cached("trust/degraded.csv", stamp, make))


def columns_of(table: pd.DataFrame) -> dict[str, list[str]]:
    """Model -> its columns of logits, one per seed."""
    columns = {model: [c for c in table if c.split("/")[0] == model] for model in EVERY_MODEL}
    return {model: found for model, found in columns.items() if found}


def first_seed(cases: pd.DataFrame, split: str) -> pd.DataFrame:
    """Cases of one split with the first seed's logits, in columns named after the models."""
    part = cases[cases.split == split].reset_index(drop=True)
    part = part.rename(columns=lambda name: name.partition("/")[0])
    return part.loc[:, ~part.columns.duplicated()]


def metrics(inputs: Tables) -> pd.DataFrame:
    """Every metric on test: model, metric, value, low, high, seed_min, seed_max.

    The interval is that of the mean over seeds: in every resample the mean is taken.
    """
    test, rows = inputs["cases"].query("split == 'test'"), []
    wider = intervals.expansion(test.label, test.group)
    for model, columns in columns_of(test).items():
        values = pd.DataFrame([intervals.evaluate(test.label, test[c]) for c in columns])
        drawn = [intervals.resamples(test.label, test[c], test.group) for c in columns]
        for metric, part in values.items():
            ends = intervals.percentiles(np.mean([d[metric] for d in drawn], axis=0), wider)
            rows.append((model, metric, part.mean(), *ends, part.min(), part.max()))
    columns = ["model", "metric", "value", "low", "high", "seed_min", "seed_max"]
    return pd.DataFrame(rows, columns=columns)


def paired(inputs: Tables) -> pd.DataFrame:
    """Each of `PAIRS` for each seed: a, b, seed, metric, difference, low, high, p.

    p is that of McNemar's exact test of accuracy, which takes recordings for independent. The
    intervals do not.
    """
    test, parts = inputs["cases"].query("split == 'test'"), []
    columns = columns_of(test)
    for a, b in PAIRS:
        for ours in columns[a]:
            seed = ours.partition("/")[2]
            logits = test[ours], test[f"{b}/{seed}" if b in MODELS else columns[b][0]]
            pair = intervals.paired_cluster_bootstrap(test.label, *logits, test.group)
            pair = pair[pair.metric.isin(["auroc", "accuracy"])]
            p = {"accuracy": float(f"{intervals.mcnemar(test.label, *logits):.2g}")}
            parts.append(pair.assign(a=a, b=b, seed=seed, p=pair.metric.map(p)))
    columns = ["a", "b", "seed", "metric", "difference", "low", "high", "p"]
    return pd.concat(parts, ignore_index=True)[columns]


def heart_or_stethoscope(inputs: Tables) -> pd.DataFrame:
    """AUROC over all test pairs, pairs within one database, and in unseen databases.

    Returns:
        model, protocol, database, recordings, abnormal, seeds, auroc, low, high. Database "" is all
        of them, or their mean; "not e" is all but those that `given_away` names.
    """
    test, unseen = inputs["cases"].query("split == 'test'"), inputs["left_out"]
    parts, given = [domains.within_database(test, columns_of(test))], given_away(inputs)
    if 0 < len(given) < test.database.nunique():
        others = test[~test.database.isin(given)]
        part = domains.within_database(others, columns_of(others)).query("database == ''")
        parts.append(part.assign(database=f"not {', '.join(given)}"))
    if len(unseen):
        parts.append(domains.unseen_databases(unseen, columns_of(unseen)))
    return pd.concat(parts, ignore_index=True)


def given_away(inputs: Tables) -> list[str]:
    """Databases in which one format fact alone ranks more than 95% of all pairs right, or wrong.

    The interval must leave no doubt that it is more than 90%. Labels of all splits are counted, as
    this describes how the collection is stored and chooses no model.
    """
    table = shortcuts.separation(inputs["facts"])
    clear = (abs(table.auroc - 0.5) > 0.45) & (np.fmax(table.low, 1 - table.high) > 0.9)
    return sorted(set(table.database[clear]))


def prevalence(inputs: Tables) -> pd.DataFrame:
    """PPV and NPV at logit 0, at `PREVALENCES`: model, prevalence, ppv, npv and their ends."""
    test, rows = first_seed(inputs["cases"], "test"), []
    wider = intervals.expansion(test.label, test.group)
    for model in MODELS:
        drawn = intervals.resamples(test.label, test[model], test.group)
        value = intervals.evaluate(test.label, test[model])
        rates = [np.r_[value[rate], drawn[rate]] for rate in ("sensitivity", "specificity")]
        for share in PREVALENCES:
            row = [model, share]
            for chance in calibration.ppv_npv(*rates, share):
                row += [chance[0], *intervals.percentiles(chance[1:], wider)]
            rows.append(row)
    columns = ["model", "prevalence", "ppv", "ppv_low", "ppv_high", "npv", "npv_low", "npv_high"]
    return pd.DataFrame(rows, columns=columns)


def thresholds(inputs: Tables) -> pd.DataFrame:
    """The threshold by each of `RULES`, and what it does on test; intervals hold it fixed."""
    dev, test = (first_seed(inputs["cases"], split) for split in ("dev", "test"))
    rows = []
    for model in MODELS:
        for rule, asked in RULES.items():
            fixed = asked is None
            threshold = 0.0 if fixed else choose_threshold(dev.label, dev[model], **asked)
            found = intervals.cluster_bootstrap(test.label, test[model] - threshold, test.group)
            found = found.set_index("metric").loc[[*RATES], ["value", "low", "high"]]
            rows.append((model, rule, threshold, *found.to_numpy().ravel()))
    ends = [f"{rate}{end}" for rate in RATES for end in ("", "_low", "_high")]
    return pd.DataFrame(rows, columns=["model", "rule", "threshold", *ends])


def calibrated(inputs: Tables) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The models as trained, and with logits divided by the temperature that suits dev.

    Returns:
        `calibration.reliability` of both on test; and model, calibration, temperature, ece, brier.
    """
    dev, test = (first_seed(inputs["cases"], split) for split in ("dev", "test"))
    curves, scores = [], []
    for model in MODELS:
        fits = {"as trained": 1.0}
        # A model without a mistake on dev, or without any skill, has no temperature.
        with contextlib.suppress(InputError):
            fits["temperature"] = calibration.temperature(dev.label, dev[model])
        for name, fit in fits.items():
            about = {"model": model, "calibration": name, "temperature": fit}
            scored = test.label, test[model] / fit
            curves.append(calibration.reliability(*scored).assign(**about))
            about |= {"ece": calibration.ece(*scored), "brier": calibration.brier(*scored)}
            scores.append(about)
    return pd.concat(curves, ignore_index=True), pd.DataFrame(scores)


def results(inputs: Tables) -> pd.DataFrame:
    """The rows of `results.csv`: all of the tables above but the curves.

    Seed is each (pairs), the "mean" of all, or "first". Variant is the other model of a pair.
    """
    shares = prevalence(inputs)
    shares = shares.assign(prevalence=[f"prevalence {share:.3g}" for share in shares.prevalence])
    names = {"a": "model", "b": "variant", "fact": "variant", "rule": "protocol"}
    names |= {"prevalence": "protocol", "calibration": "protocol"}
    parts = [
        tidy(table.rename(columns=names), study="trust", **about)
        for table, about in (
            (metrics(inputs), {"protocol": "test", "seed": "mean"}),
            (paired(inputs), {"protocol": "test"}),
            (heart_or_stethoscope(inputs), {"seed": "mean"}),
            (shortcuts.separation(inputs["facts"]), {"protocol": "format fact"}),
            (shares, {"seed": "first"}),
            (thresholds(inputs), {"seed": "first"}),
            (calibrated(inputs)[1], {"seed": "first"}),
        )
    ]
    return pd.concat(parts, ignore_index=True)


def figures(inputs: Tables, found: pd.DataFrame) -> Pictures:
    """How every picture is drawn, by name; `found` are the rows of `results`."""
    areas = found[found.protocol.isin(domains.PROTOCOLS)].rename(columns={"value": "auroc"})
    return {
        "heart-or-stethoscope": lambda: plots.heart_or_stethoscope(areas),
        "intervals": lambda: plots.intervals(metrics(inputs).query("model in @MODELS")),
        "paired": lambda: plots.paired_differences(paired(inputs)),
        "leak-effect": lambda: plots.leak_effect(inputs["leak_effect"]),
        "separation": lambda: plots.separation(shortcuts.separation(inputs["facts"])),
        "thresholds": lambda: plots.threshold_rules(thresholds(inputs)),
        "reliability": lambda: plots.reliability(*calibrated(inputs)),
        "quality": lambda: plots.quality(inputs["quality"], inputs["length"]),
        "robustness": lambda: plots.robustness(inputs["robustness"]),
        "probe": lambda: plots.database_probe(inputs["probe"]),
        "stored-levels": lambda: plots.stored_levels(inputs["facts"]),
    }
