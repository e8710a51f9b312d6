"""The native recipe on any run's recordings, beside the run's own: what notebook 09 tries out."""

import dataclasses

import pandas as pd

from hsutils.data.cache import build_cache
from hsutils.data.corpus import data_folder, load_corpus, load_recordings
from hsutils.errors import InputError
from hsutils.experiment import Run, load_experiment, open_run
from hsutils.evaluation.metrics import threshold_at
from hsutils.evaluation.shortcuts import band_statistics, probe_database
from hsutils.pipeline import saved_predictions, train_baseline
from hsutils.studies.trust import PROBED
from hsutils.evaluation.domains import auroc_interval

NATIVE = "native-all"
RECIPES = {"own": "this run's recipe", "native": "native recipe"}
CHALLENGE = 3240


def native_on(run: Run, database: str = "") -> Run:
    """The native recipe with all labels on a run's recordings, in a folder inside the run's.

    Where there are fewer recordings than in the Challenge there are as much fewer artificial ones,
    in more epochs.

    Args:
        run: whose recordings, splits, seed and machine.
        database: a letter to leave out, or "".
    """
    own, native = run.experiment, load_experiment(NATIVE)
    share = min(1.0, len(load_recordings(run)) / CHALLENGE)
    overrides = {
        "name": f"{own.name}-native",
        "seed": own.seed,
        "data": dataclasses.asdict(own.data),
        "splits": _without(run, database),
        "compute": dataclasses.asdict(own.compute),
        "front_end.clip_seconds": min(own.front_end.clip_seconds, native.front_end.clip_seconds),
        "artificial.folder": str(run.path("beyond", "artificial")),
        "artificial.recordings": max(40, round(share * native.artificial.recordings)),
        "baseline.epochs": round(native.baseline.epochs * min(2.0, share**-0.5)),
    }
    return open_run(NATIVE, run.path("beyond", f"native-{database or 'all'}"), overrides)


def own_on(run: Run, database: str) -> Run:
    """A run's own recipe with all labels and a database left out, in a folder inside the run's."""
    settings = dataclasses.asdict(run.experiment) | {"splits": _without(run, database)}
    return open_run("paper", run.path("beyond", f"own-{database}"), settings)


def _without(run: Run, database: str) -> dict[str, object]:
    splits = dataclasses.asdict(run.experiment.splits)
    return splits | {"labeled": "all", "leave_out": database}


def rehearse(run: Run, database: str) -> pd.DataFrame:
    """Train the CNN of both recipes on the other databases' labels, and test it in this one.

    Returns:
        A row a recording of the database: record, path, label, group, then a column of logits for
        each of `RECIPES`.

    Raises:
        InputError: if the database is not there, or too little else is left.
    """
    logits = {}
    for key, trial in (("own", own_on(run, database)), ("native", native_on(run, database))):
        train_baseline(trial)
        table = saved_predictions(trial, "baseline", "test").set_index("record")
        logits[RECIPES[key]] = table.logit
    recordings = load_recordings(run).set_index("record")
    kept = recordings.loc[logits[RECIPES["own"]].index, ["path", "label", "group", "database"]]
    return kept.assign(**logits).reset_index()


def scores(rehearsed: pd.DataFrame) -> pd.DataFrame:
    """AUROC of each recipe in the database never heard, with its 95% interval over groups.

    Returns:
        Columns recipe, auroc, low, high.
    """
    rows = [
        {"recipe": name} | auroc_interval(rehearsed.label, rehearsed[name], rehearsed.group)
        for name in RECIPES.values()
    ]
    return pd.DataFrame(rows).round(3)


def newly_found(rehearsed: pd.DataFrame, specificity: float = 0.8) -> pd.DataFrame:
    """Abnormal recordings that the native recipe finds and the run's own misses.

    Each recipe is given the threshold at which it clears this share of the normal recordings, so
    that neither finds more by crying more often.

    Returns:
        Rows of `rehearsed`, the most clearly found first.
    """
    found = _alarms(rehearsed, specificity)
    gained = found[RECIPES["native"]] & ~found[RECIPES["own"]] & (rehearsed.label == 1)
    return rehearsed[gained].sort_values(RECIPES["native"], ascending=False, ignore_index=True)


def lesions(run: Run, rehearsed: pd.DataFrame, specificity: float = 0.8) -> pd.DataFrame:
    """The share of each lesion that each recipe finds, where the lesion is known.

    Returns:
        Columns lesion, recordings, and one for each of `RECIPES`; lesion is "abnormal" for all of
        them where the recordings tell no diagnosis.
    """
    abnormal = rehearsed[rehearsed.label == 1].assign(lesion="abnormal")
    if run.experiment.data.source == "synthetic":
        truth = pd.read_csv(data_folder(run) / "synthetic.csv").set_index("record").lesion
        abnormal = abnormal.assign(lesion=abnormal.record.map(truth))
    groups = _alarms(rehearsed, specificity).loc[abnormal.index].groupby(abnormal.lesion)
    table = groups.mean().round(2)
    table.insert(0, "recordings", groups.size())
    return table.reset_index()


def _alarms(rehearsed: pd.DataFrame, specificity: float) -> pd.DataFrame:
    """Which recordings each recipe calls abnormal where it clears this share of the normal."""
    thresholds = {
        name: threshold_at(rehearsed.label, rehearsed[name], specificity=specificity)
        for name in RECIPES.values()
    }
    return rehearsed[list(thresholds)] > pd.Series(thresholds)


def probe_recipes(run: Run) -> pd.DataFrame:
    """How well the database can be read off band statistics, in either recipe's spectrograms.

    Returns:
        Columns features, then `trust.PROBED` as `shortcuts.probe_database` gives them; no row where
        groups are too few.
    """
    corpus, native = load_corpus(run), native_on(run)
    asked = corpus.recordings[corpus.recordings.record.isin(corpus.splits.record)]
    caches = {
        RECIPES["own"]: corpus.cache,
        RECIPES["native"]: build_cache(corpus.recordings, native.experiment.front_end),
    }
    rows = []
    for name, cache in caches.items():
        features = band_statistics(cache, asked.record)
        try:
            found = probe_database(features, asked.database, asked.group)
        except InputError:
            break
        rows.append({"features": name} | {key: found[key] for key in PROBED})
    return pd.DataFrame(rows, columns=["features", *PROBED])
