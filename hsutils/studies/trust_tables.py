"""What the kept answers say: every table of trust, computed from `trust.Trust` alone.

Where there are several seeds, values are means over them. An interval is the sampling error of
one seed's value, averaged over seeds; the spread between seeds is shown apart.
"""

import contextlib
from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd

from hsutils.evaluation import calibration, shortcuts
from hsutils.errors import InputError
from hsutils.evaluation.tables import in_model_order
from hsutils.evaluation.intervals import (
    cluster_bootstrap,
    evaluate,
    expanded_level,
    percentiles,
    resamples,
)
from hsutils.models.build import MODELS
from hsutils.evaluation.paired import delong, mcnemar, paired_cluster_bootstrap
from hsutils.studies.trust import ABOUT, IDENTITY, Trust
from hsutils.evaluation.domains import POOLS, within_database

PAIRS = (("teacher", "student"), ("student", "baseline"), ("student", "format only"))
PREVALENCES = tuple(sorted({0.02, 0.2, *np.geomspace(0.005, 0.5, 23)}))
SHIFTED = "temperature and shift"
CLINICS = (0.5, 0.205, 0.05)
"""Shares of abnormal recordings: the test split, the collection, and a screening clinic."""


def tables(trust: Trust, *names: str) -> dict[str, pd.DataFrame]:
    """The tables of these names, or all of `TABLES`, rounded to 5 decimals (p: 2 digits)."""
    return {name: _rounded(TABLES[name](trust)) for name in names or TABLES}


def _rounded(table: pd.DataFrame) -> pd.DataFrame:
    return table.round(dict.fromkeys(table.columns.drop("p", errors="ignore"), 5))


def columns_of(table: pd.DataFrame) -> dict[str, list[str]]:
    """Model -> its columns of logits, one a seed; the paper's models first."""
    found: dict[str, list[str]] = {}
    for column in table.columns.drop([*ABOUT, "split"], errors="ignore"):
        found.setdefault(column.split("/")[0], []).append(column)
    return in_model_order(found)


def one_seed(trust: Trust, split: str) -> pd.DataFrame:
    """Cases of one split with the first seed's logits, in columns named after the models."""
    part = trust.cases[trust.cases.split == split].reset_index(drop=True)
    firsts = {columns[0]: model for model, columns in columns_of(part).items()}
    return part[IDENTITY].join(part[list(firsts)].rename(columns=firsts))


def intervals(trust: Trust) -> pd.DataFrame:
    """Every metric on test: model, metric, seeds, value, low, high, seed_sd, seed_min, seed_max.

    The interval is that of the mean over seeds: in every resample the mean is taken. It holds no
    spread between seeds, which stands beside it.
    """
    test, rows = trust.cases[trust.cases.split == "test"], []
    level = expanded_level(test.label, test.group, 0.95)
    for model, columns in columns_of(test).items():
        values = pd.DataFrame([evaluate(test.label, test[column]) for column in columns])
        drawn = [resamples(test.label, test[column], test.group) for column in columns]
        for metric, part in values.items():
            low, high, _ = percentiles(np.mean([d[metric] for d in drawn], axis=0), level)
            row = {"model": model, "metric": metric, "seeds": len(columns), "value": part.mean()}
            row |= {"low": low, "high": high, "seed_sd": part.std()}
            rows.append(row | {"seed_min": part.min(), "seed_max": part.max()})
    return pd.DataFrame(rows)


def paired(trust: Trust) -> pd.DataFrame:
    """Each of `PAIRS` for each seed: a, b, seed, metric, difference, low, high, p.

    AUROC by DeLong's test with groups; accuracy by the exact test of McNemar, which takes
    recordings for independent, with an interval that does not.
    """
    test, rows = trust.cases[trust.cases.split == "test"], []
    columns = columns_of(test)
    for a, b in PAIRS:
        for ours in columns[a]:
            seed = ours.partition("/")[2]
            theirs = f"{b}/{seed}" if b in MODELS else columns[b][0]
            logits = test[ours], test[theirs]
            ranks = delong(test.label, *logits, groups=test.group)
            calls = paired_cluster_bootstrap(test.label, *logits, test.group)
            call = calls.set_index("metric").loc["accuracy"]
            about = {"a": a, "b": b, "seed": seed}
            rows.append(about | {"metric": "auroc"} | _differing(ranks, ranks.p))
            p = mcnemar(test.label, *logits).p
            rows.append(about | {"metric": "accuracy"} | _differing(call, p))
    return pd.DataFrame(rows)


def _differing(result, p: float) -> dict[str, float]:
    ends = {"difference": result.difference, "low": result.low, "high": result.high}
    return ends | {"p": float(f"{p:.2g}")}


def heart_or_stethoscope(trust: Trust) -> pd.DataFrame:
    """What is left of each score when it cannot be had from the stethoscope.

    Returns:
        model, protocol, database, recordings, abnormal, seeds, auroc, low, high. Protocol "all" is
        the ordinary test AUROC, "within" that of pairs of one database (database "" pools them,
        "not e" pools all but those whose format alone gives the label away), "left out" that of
        databases never heard in training (database "" is their mean).
    """
    test = trust.cases[trust.cases.split == "test"]
    parts = [_areas(test, {"all": ("all", ""), "pooled": ("within", "")}, "within")]
    told = given_away(trust)
    if 0 < len(told) < test.database.nunique():
        others, name = test[~test.database.isin(told)], f"not {', '.join(told)}"
        pooled = _areas(others, {"pooled": ("within", name)}, "within")
        parts.append(pooled[pooled.database == name])
    if len(trust.left_out):
        left_out = _areas(trust.left_out, {}, "left out")
        parts += [left_out, _mean_of_databases(trust.left_out, left_out)]
    table = pd.concat(parts, ignore_index=True)
    order = ["model", "protocol", "database", "recordings", "abnormal", "seeds"]
    return table[[*order, "auroc", "low", "high"]]


def given_away(trust: Trust) -> list[str]:
    """Databases in which one format fact alone ranks more than 95% of all pairs right, or wrong.

    The interval must leave no doubt that it is more than 90%. Labels of all splits are counted, as
    this describes how the collection is stored and chooses no model.
    """
    table = separation(trust)
    told = table[(table.distance > 0.45) & (np.fmax(table.low, 1 - table.high) > 0.9)]
    return sorted(set(told.database))


def _areas(cases: pd.DataFrame, pools: dict[str, tuple[str, str]], protocol: str) -> pd.DataFrame:
    """Rows of `within_database`, averaged over seeds; of its pools only those named.

    Args:
        cases: logits by model and seed.
        pools: name there -> protocol and database here.
        protocol: of the single databases.
    """
    table = within_database(cases, columns_of(cases))
    table = table[~table.database.isin(set(POOLS) - set(pools))].reset_index(drop=True)
    named = [pools.get(name, (protocol, name)) for name in table.database]
    return table.assign(**pd.DataFrame(named, columns=["protocol", "database"]))


def _mean_of_databases(cases: pd.DataFrame, by_database: pd.DataFrame) -> pd.DataFrame:
    """The mean of the databases' AUROCs, for models that left out every one of them in turn."""
    known = by_database.dropna(subset="auroc")
    every, rows = set(known.database), []
    for model, part in known.groupby("model", sort=False):
        if set(part.database) != every:
            continue
        # A database without an interval of its own leaves the mean without one.
        ends = (np.nan, np.nan)
        if part.low.notna().all():
            ends = _interval_of_mean(cases, columns_of(cases)[model], every)
        row = {"model": model, "protocol": "left out", "database": "", "seeds": part.seeds.min()}
        row |= part[["recordings", "abnormal"]].sum().to_dict() | {"auroc": part.auroc.mean()}
        rows.append(row | dict(zip(("low", "high"), ends, strict=True)))
    return pd.DataFrame(rows)


def _interval_of_mean(
    cases: pd.DataFrame, columns: list[str], databases: set[str]
) -> tuple[float, float]:
    """Each database is resampled on its own, and the widest of their levels serves the mean."""
    draws, levels = [], []
    for seed, name in enumerate(sorted(databases)):
        part = cases[cases.database == name]
        known = [column for column in columns if part[column].notna().all()]
        drawn = [resamples(part.label, part[c], part.group, seed=seed)["auroc"] for c in known]
        draws.append(np.mean(drawn, axis=0))
        levels.append(expanded_level(part.label, part.group, 0.95))
    return percentiles(np.mean(draws, axis=0), max(levels))[:2]


def separation(trust: Trust) -> pd.DataFrame:
    """Which format fact tells the classes apart inside each database."""
    facts = trust.facts.assign(record=trust.facts.index.astype(str))
    return shortcuts.separation(facts[["record", *shortcuts.FACTS]], facts[["record", *IDENTITY]])


def prevalence(trust: Trust) -> pd.DataFrame:
    """PPV and NPV at logit 0, at `PREVALENCES`: model, prevalence, ppv, npv and their ends."""
    test, rows = one_seed(trust, "test"), []
    level = expanded_level(test.label, test.group, 0.95)
    for model in MODELS:
        drawn = resamples(test.label, test[model], test.group)
        value = evaluate(test.label, test[model])
        for share in PREVALENCES:
            at = calibration.ppv_npv(value["sensitivity"], value["specificity"], share)
            spread = calibration.ppv_npv(drawn["sensitivity"], drawn["specificity"], share)
            row = {"model": model, "prevalence": share}
            for name, middle, values in zip(("ppv", "npv"), at, spread, strict=True):
                low, high, _ = percentiles(values, level)
                row |= {name: float(middle), f"{name}_low": low, f"{name}_high": high}
            rows.append(row)
    return pd.DataFrame(rows)


def thresholds(trust: Trust) -> pd.DataFrame:
    """Each rule's threshold, chosen on dev, and what it does on test; intervals hold it fixed."""
    dev, test, rows = one_seed(trust, "dev"), one_seed(trust, "test"), []
    for model in MODELS:
        for rule in calibration.RULES:
            threshold = calibration.choose_threshold(dev.label, dev[model], rule)
            found = cluster_bootstrap(test.label, test[model] - threshold, test.group)
            found = found.set_index("metric")
            row = {"model": model, "rule": rule, "threshold": threshold}
            for metric in ("sensitivity", "specificity", "accuracy"):
                value, low, high = found.loc[metric, ["value", "low", "high"]]
                row |= {metric: value, f"{metric}_low": low, f"{metric}_high": high}
            rows.append(row)
    return pd.DataFrame(rows)


def _calibrated(trust: Trust) -> Iterable[tuple[str, str, float, pd.DataFrame]]:
    """(model, calibration, temperature, test cases with column logit), the best fitted last."""
    dev, test = one_seed(trust, "dev"), one_seed(trust, "test")
    for model in MODELS:
        yield model, "as trained", 1.0, test.assign(logit=test[model])
        fits = {}
        # A model without a mistake on dev, or without any skill, has no temperature.
        with contextlib.suppress(InputError):
            fits["temperature"] = (calibration.temperature(dev.label, dev[model]), 0.0)
        with contextlib.suppress(InputError):
            fits[SHIFTED] = calibration.platt(dev.label, dev[model])
        for name, fit in fits.items():
            calibrated = test.assign(logit=calibration.recalibrate(test[model], *fit))
            yield model, name, fit[0], calibrated


def reliability(trust: Trust) -> pd.DataFrame:
    """Observed share of abnormal recordings by predicted probability, before and after."""
    parts = [
        calibration.reliability(cases.label, cases.logit).assign(model=model, calibration=name)
        for model, name, _, cases in _calibrated(trust)
        if name != SHIFTED
    ]
    table = pd.concat(parts, ignore_index=True)
    return table[["model", "calibration", *table.columns.drop(["model", "calibration"])]]


def calibration_scores(trust: Trust) -> pd.DataFrame:
    """model, calibration, temperature, ece, brier."""
    rows = [
        {
            **{"model": model, "calibration": name, "temperature": heat},
            "ece": calibration.ece(cases.label, cases.logit),
            "brier": calibration.brier(cases.label, cases.logit),
        }
        for model, name, heat, cases in _calibrated(trust)
    ]
    return pd.DataFrame(rows)


def decision(trust: Trust) -> pd.DataFrame:
    """Net benefit by threshold in each of `CLINICS`: prevalence, model, threshold, net_benefit."""
    best = {model: cases for model, _, _, cases in _calibrated(trust)}
    at, parts = np.linspace(0.01, 0.6, 60), []
    fitted_at = one_seed(trust, "dev").label.mean()
    for share in CLINICS:
        for model, cases in best.items():
            moved = calibration.prevalence_shift(cases.logit, fitted_at, share)
            curves = calibration.net_benefit(cases.label, moved, at, share)
            curves = curves.rename(columns={"model": model})
            wanted = [model, "all", "none"] if model == MODELS[0] else [model]
            long = curves.melt("threshold", wanted, "model", "net_benefit")
            parts.append(long.assign(prevalence=share))
    table = pd.concat(parts, ignore_index=True)
    return table[["prevalence", "model", "threshold", "net_benefit"]]


TABLES: dict[str, Callable[[Trust], pd.DataFrame]] = {
    "intervals": intervals,
    "paired": paired,
    "heart_or_stethoscope": heart_or_stethoscope,
    "separation": separation,
    "prevalence": prevalence,
    "thresholds": thresholds,
    "reliability": reliability,
    "calibration": calibration_scores,
    "decision": decision,
}
"""Name -> the function whose docstring says what the table holds."""
