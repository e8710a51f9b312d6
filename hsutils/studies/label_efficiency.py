"""How many labels does a pre-trained encoder save? Frozen features and a linear classifier.

The linear evaluation of SimCLR (Chen et al. 2020, section 4): the encoder is not trained further,
so that nothing but what contrastive pre-training taught it can help. Beside it stand the same
encoder before any training, and no network at all: each mel band's mean and deviation over time.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from hsutils.data.cache import identity
from hsutils.training.checkpoints import load_weights
from hsutils.training.devices import resolve_precision, seed_everything, seed_for, start_fabric
from hsutils.data.corpus import Corpus, load_corpus
from hsutils.experiment import Run, fingerprint
from hsutils.files import read_json, write_csv
from hsutils.evaluation.metrics import auroc
from hsutils.models.build import new_network
from hsutils.evaluation.shortcuts import band_statistics
from hsutils.data.splits import stratified_subset
from hsutils.training.loop import predict
from hsutils.evaluation.domains import auroc_within

DRAWS = {0.01: 20, 0.05: 20, 0.1: 10, 0.25: 5, 1.0: 1}
"""Share of the fine-tune labels -> how many subsets of that size are drawn.

A subset keeps a recording of every database and class, so that the smallest has one of each.
"""
STRENGTH = 0.01
"""Of the classifier's regularization (inverse, as scikit-learn's C), the same everywhere."""

COLUMNS = ("seed", "left_out", "features", "share", "database", "labels", "draws", "auroc", "sd")
FILE = "frozen_features.csv"


def label_efficiency(run: Run) -> pd.DataFrame:
    """AUROC of linear classifiers on frozen features, by the share of labels; made once a run.

    Asked is dev, or the database that the run leaves out.

    Args:
        run: with a pre-trained encoder.

    Returns:
        Columns `COLUMNS`: features are "pre-trained", "random" or "bands"; database is "all",
        "within" (pairs of one database) or, where one is left out, its letter; labels, auroc and
        sd are mean and standard deviation over the draws.
    """
    corpus, asked = load_corpus(run), "test" if run.experiment.splits.leave_out else "dev"
    learn, ask = corpus.of("finetune"), corpus.of(asked)
    stamp = _stamp(run, learn, ask)
    if not run.is_done(FILE, stamp):
        pages = {part: _features(run, corpus, part) for part in ("finetune", asked)}
        rows = []
        for kind, known in pages["finetune"].items():
            for row in evaluate(known, learn, pages[asked][kind], ask):
                rows.append({"features": kind} | row)
        about = {"seed": run.experiment.seed, "left_out": run.experiment.splits.leave_out}
        run.forget(FILE)
        write_csv(run.path(FILE), _over_draws(pd.DataFrame(rows).assign(**about)))
        run.mark_done(FILE, stamp)
    return pd.read_csv(run.path(FILE), dtype={"left_out": str}).fillna({"left_out": ""})


def _stamp(run: Run, learn: pd.DataFrame, ask: pd.DataFrame) -> str:
    heard = [identity(part) for part in (learn, ask)]
    told = [part[["database", "label"]].to_numpy().tolist() for part in (learn, ask)]
    encoder = read_json(run.path("encoder.json"))["fingerprint"]
    how = [STRENGTH, list(DRAWS.items()), resolve_precision(run.experiment.compute)]
    return fingerprint(encoder, run.experiment.front_end, heard, told, how)


def _over_draws(rows: pd.DataFrame) -> pd.DataFrame:
    groups = rows.groupby(list(COLUMNS[:5]), sort=False)
    table = groups.agg(
        labels=("labels", "mean"),
        draws=("draw", "size"),
        auroc=("auroc", "mean"),
        sd=("auroc", "std"),
    )
    return table.round(5).reset_index()


def evaluate(
    features: np.ndarray, learn: pd.DataFrame, asked: np.ndarray, ask: pd.DataFrame
) -> Iterator[dict[str, object]]:
    """Linear classifiers of few to all labels, each asked about other recordings.

    Args:
        features, asked: shapes (n, D) and (m, D).
        learn, ask: columns record, database, label of the same recordings.

    Yields:
        share, labels (how many), draw, database and auroc, see `label_efficiency`.
    """
    rows = pd.Series(range(len(learn)), learn.record)
    for share, draws in DRAWS.items():
        for draw in range(draws):
            known = stratified_subset(learn, max(1, round(share * len(learn))), draw)
            classifier = make_pipeline(StandardScaler(), LogisticRegression(C=STRENGTH))
            classifier.fit(features[rows[known.record]], known.label)
            scores = classifier.decision_function(asked)
            about = {"share": share, "labels": len(known), "draw": draw}
            for database, value in _areas(ask, scores).items():
                yield about | {"database": database, "auroc": value}


def _areas(ask: pd.DataFrame, scores: np.ndarray) -> Mapping[str, float]:
    """AUROC of all pairs and of those of one database; of the only database, where there is one."""
    databases = ask.database.unique()
    if len(databases) == 1:
        return {databases[0]: auroc(ask.label, scores)}
    within = auroc_within(ask.label, scores, ask.database)
    return {"all": auroc(ask.label, scores), "within": within}


def _features(run: Run, corpus: Corpus, split: str) -> dict[str, np.ndarray]:
    """Features of one split by kind, each (n, D)."""
    rows, fabric = corpus.rows(split), start_fabric(run.experiment.compute)
    made = {}
    for kind in ("pre-trained", "random"):
        seed_everything(seed_for(run.experiment.seed, "teacher weights"))
        teacher = new_network(run.experiment, "teacher")
        if kind == "pre-trained":
            load_weights(teacher.projector, run.path("encoder.safetensors"))
        encoder = fabric.setup(teacher.encoder)
        made[kind] = predict(encoder, corpus.cache, rows, fabric).astype(float)
    statistics = band_statistics(corpus.cache, corpus.of(split).record)
    # Means and deviations come first, then percentiles.
    return made | {"bands": statistics[:, : 2 * run.experiment.front_end.mels]}
