"""What a small run must teach: the paper's story, and what is wrong with it.

`python -m hsutils.studies lessons --profile demo --seeds 0,1,2 --to figures/demo` asks three runs
on the clips of the package; the tests ask the run that they make.
"""

import re
from contextlib import suppress

import numpy as np
import pandas as pd

from hsutils.data.corpus import load_corpus, load_recordings, load_splits
from hsutils.data.splits import audit, leave_out
from hsutils.errors import InputError
from hsutils.evaluation import calibration, domains, intervals, shortcuts
from hsutils.models.build import MODELS
from hsutils.pipeline import load_predictions, train_baseline
from hsutils.run import Run, open_run
from hsutils.studies.seeds import COLUMNS, Study, Tables, tidy, with_logits

INPUTS = ("answers.csv",)
LEFT_OUT = "a"
"""`to_leave_out` of the clips."""
RARE = 0.02
"""A prevalence as in screening."""
CHALLENGE = 3240
"""Recordings of the Challenge, for which `robust` chooses how many are synthetic."""
GIVEN_AWAY = "e"
"""Its file format gives the label away (`trust.given_away`), so it is set aside."""


def to_leave_out(run: Run) -> str:
    """The database whose AUROC is the most certain: it has the most recordings of its rarer class.

    Enough must be left to train with; "" if there is no such database.
    """
    recordings, splits = load_recordings(run), load_splits(run)
    counts = pd.crosstab(recordings.database, recordings.label).min(axis=1)
    for database in counts.sort_values(ascending=False, kind="stable").index:
        with suppress(InputError):
            leave_out(splits, recordings, database, with_test=True)
            return database
    return ""


def left_out_runs(run: Run, database: str = LEFT_OUT) -> dict[str, Run]:
    """This run's CNN and that of `robust`, each for all labels of all databases but one.

    Fewer recordings than the Challenge's get fewer synthetic ones and shorter crops; eight epochs
    of this run's CNN are enough to compare. No clip is longer than those of `robust`.

    Returns:
        "this run" and "robust" -> a run in a folder of its own inside this one, not yet trained.
    """
    profile, name = run.profile.model_dump(), re.sub(r"\W+", "-", database)
    splits = profile["splits"] | {"labeled": "all", "leave_out": database}
    share = min(1.0, len(load_corpus(run).recordings) / CHALLENGE)
    own = profile | {"splits": splits}
    own["baseline"] = profile["baseline"] | {"epochs": min(8, run.profile.baseline.epochs)}
    robust = {name: profile[name] for name in ("seed", "data", "compute")} | {
        "splits": splits,
        "front_end.clip_seconds": min(run.profile.front_end.clip_seconds, 56.21),
        "synthetic.recordings": max(40, round(4000 * share)),
        "synthetic.folder": str(run.path("beyond", "synthetic")),
    }
    if share < 1:
        robust |= {"synthetic.seconds": 6.0, "baseline.crop_seconds": 4.0}
    return {
        "this run": open_run("paper", run.path("beyond", f"own-without-{name}"), own),
        "robust": open_run("robust", run.path("beyond", f"robust-without-{name}"), robust),
    }


def answers(run: Run) -> pd.DataFrame:
    """The answers of one finished run, as rows of `results.csv`; see `seeds.COLUMNS`."""
    corpus, seed = load_corpus(run), run.profile.seed
    logits = {model: load_predictions(run, model, "test") for model in MODELS}
    controls = shortcuts.control_models(corpus, ["test"], ["database only", "format only"])
    logits |= {name: found["test"] for name, found in controls.items()}
    test = with_logits(corpus.recordings, logits)
    models = {name: [name] for name in logits}
    parts = []
    for name, part in {"": test, f"not {GIVEN_AWAY}": test[test.database != GIVEN_AWAY]}.items():
        found = domains.within_database(part, models)
        found = found[found.database.eq("") & (found.protocol.eq(domains.WITHIN) | (name == ""))]
        parts.append(found.assign(database=name))
    for name, trial in left_out_runs(run).items():
        train_baseline(trial)
        left = load_predictions(trial, "baseline", "test")
        found = domains.counts_and_auroc(left, left.logit)
        about = {"model": name, "protocol": domains.UNSEEN, "database": LEFT_OUT}
        parts.append(pd.DataFrame([about | found]))
    ranked = pd.concat(parts)[["model", "protocol", "database", "auroc", "low", "high"]]
    decided = pd.DataFrame([intervals.evaluate(test.label, test[m]) for m in MODELS])
    decided = decided[["sensitivity", "specificity", "accuracy"]].assign(model=MODELS)
    right, _ = calibration.ppv_npv(decided.sensitivity, decided.specificity, RARE)
    alarms = pd.DataFrame({"model": MODELS, "false alarms": 1 - right})
    drawn = np.random.default_rng(seed).permutation(corpus.splits.split)
    crossing = audit(corpus.recordings, corpus.splits.assign(split=drawn)).group.nunique()
    related = int(corpus.recordings.groupby("group").size().gt(1).sum())
    groups = pd.DataFrame({"related": [related], "in several splits of a random draw": [crossing]})
    about = {"study": "lessons", "seed": seed}
    return pd.concat(
        [
            tidy(ranked, **about),
            tidy(decided, protocol="logit 0", **about),
            tidy(alarms, protocol=f"prevalence {RARE}", **about),
            tidy(groups, protocol="groups of recordings", **about),
        ],
        ignore_index=True,
    )


def gather_study(study: Study) -> Tables:
    """`answers` of all (trained) seeds."""
    found = [answers(study.run(seed)) for seed in study.seeds]
    return {"answers": pd.concat(found, ignore_index=True)}


def results(inputs: Tables) -> pd.DataFrame:
    """The answers of each seed, and their means: there the interval is from lowest to highest."""
    texts = dict.fromkeys(["model", "database", "variant"], "")
    every = inputs["answers"].astype(dict.fromkeys(texts, object)).fillna(texts)
    by = [column for column in COLUMNS if column != "seed"]
    spread = every.groupby(by, sort=False).value.agg(value="mean", low="min", high="max")
    means = spread.reset_index().assign(seed="mean").round(5)
    return pd.concat([every.astype({"seed": str}), means])[every.columns]
