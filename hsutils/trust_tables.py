"""What the kept answers say: every table of trust, computed from `trust.Trust` alone.

Where there are several seeds, values are means over them. An interval is the sampling error of
one seed's value, averaged over seeds; the spread between seeds is shown apart.
"""

from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd

from hsutils import calibration, leaks, shortcuts
from hsutils.errors import InputError
from hsutils.evaluation import in_model_order
from hsutils.intervals import cluster_bootstrap, percentiles, resamples
from hsutils.paired import delong, mcnemar, paired_cluster_bootstrap
from hsutils.quality import by_length, by_quality, length_score
from hsutils.stations import MODELS
from hsutils.trust import ABOUT, Trust
from hsutils.within import POOLS, within_database

PAIRS = (("teacher", "student"), ("student", "baseline"), ("student", "format only"))
PREVALENCES = tuple(np.geomspace(0.005, 0.5, 25))
SHIFTED = "temperature and shift"
CLINICS = (0.5, 0.205, 0.05)
"""Shares of abnormal recordings: the test split, the collection, and a screening clinic."""


def tables(trust: Trust, *names: str) -> dict[str, pd.DataFrame]:
    """The tables of these names, or all of `TABLES`, rounded to 4 decimals (p: 2 digits)."""
    return {name: _rounded(TABLES[name](trust)) for name in names or TABLES}


def _rounded(table: pd.DataFrame) -> pd.DataFrame:
    return table.round(dict.fromkeys(table.columns.drop("p", errors="ignore"), 4))


def columns_of(table: pd.DataFrame) -> dict[str, list[str]]:
    """Model -> its columns of logits, one a seed; the paper's models first."""
    found: dict[str, list[str]] = {}
    for column in table.columns.drop([*ABOUT, "split", "straddles"], errors="ignore"):
        found.setdefault(column.split("/")[0], []).append(column)
    return in_model_order(found)


def one_seed(trust: Trust, split: str) -> pd.DataFrame:
    """Cases of one split with the first seed's logits, in columns named after the models."""
    part = trust.cases[trust.cases.split == split].reset_index(drop=True)
    firsts = {columns[0]: model for model, columns in columns_of(part).items()}
    about = part[[*ABOUT, "straddles"]].assign(record=part.index.astype(str))
    return about.join(part[list(firsts)].rename(columns=firsts))


def intervals(trust: Trust) -> pd.DataFrame:
    """Every metric on test: model, metric, seeds, value, low, high, seed_sd, seed_min, seed_max."""
    test, rows = trust.cases[trust.cases.split == "test"], []
    for model, columns in columns_of(test).items():
        parts = [cluster_bootstrap(test.label, test[c], test.group) for c in columns]
        for metric, part in pd.concat(parts).groupby("metric", sort=False):
            spread = {"seed_sd": part.value.std(), "seed_min": part.value.min()}
            spread["seed_max"] = part.value.max()
            mean = part[["value", "low", "high"]].mean().to_dict()
            rows.append({"model": model, "metric": metric, "seeds": len(part)} | mean | spread)
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


def leak_effect(trust: Trust) -> pd.DataFrame:
    """AUROC with and without test recordings that have kin in another split."""
    test = one_seed(trust, "test")
    straddling = test.record[test.straddles == 1]
    return leaks.without_leaks(test, straddling, list(columns_of(trust.cases)))


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
    if told := given_away(trust):
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
    """Databases in which one format fact alone ranks more than 95% of pairs right, or wrong."""
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
    parts = []
    for model, columns in columns_of(cases).items():
        for column in columns:
            known = cases[cases[column].notna()]
            if len(known):
                found = within_database(known, [column])
                parts.append(found.assign(model=model))
    table = pd.concat(parts, ignore_index=True)
    table = table[~table.database.isin(set(POOLS) - set(pools))]
    keys = ["model", "database", "recordings", "abnormal"]
    sums = table.groupby(keys, sort=False)[["auroc", "low", "high"]]
    mean = sums.mean().join(sums.size().rename("seeds")).reset_index()
    named = [pools.get(name, (protocol, name)) for name in mean.database]
    return mean.assign(**pd.DataFrame(named, columns=["protocol", "database"]))


def _mean_of_databases(cases: pd.DataFrame, by_database: pd.DataFrame) -> pd.DataFrame:
    """The mean of the databases' AUROCs; each database is resampled on its own."""
    rows = []
    for model, part in by_database.dropna(subset="auroc").groupby("model", sort=False):
        ends = []
        for column in columns_of(cases)[model]:
            asked = cases[cases.database.isin(part.database) & cases[column].notna()]
            draws = [
                resamples(known.label, known[column], known.group)["auroc"]
                for _, known in asked.groupby("database")
            ]
            ends.append(percentiles(np.mean(draws, axis=0), 0.95)[:2])
        row = {"model": model, "protocol": "left out", "database": "", "seeds": part.seeds.min()}
        row |= part[["recordings", "abnormal"]].sum().to_dict() | {"auroc": part.auroc.mean()}
        rows.append(row | dict(zip(("low", "high"), np.mean(ends, axis=0), strict=True)))
    return pd.DataFrame(rows)


def separation(trust: Trust) -> pd.DataFrame:
    """Which format fact tells the classes apart inside each database."""
    facts = trust.facts.assign(record=trust.facts.index.astype(str))
    table = shortcuts.separation(
        facts[["record", *shortcuts.FACTS]], facts[["record", "database", "label", "group"]]
    )
    return table


def prevalence(trust: Trust) -> pd.DataFrame:
    """PPV and NPV at logit 0, at `PREVALENCES`: model, prevalence, ppv, npv and their ends."""
    test, rows = one_seed(trust, "test"), []
    for model in MODELS:
        drawn = resamples(test.label, test[model], test.group)
        value = cluster_bootstrap(test.label, test[model], test.group, n_resamples=1)
        value = value.set_index("metric").value
        for share in PREVALENCES:
            at = calibration.ppv_npv(value["sensitivity"], value["specificity"], share)
            spread = calibration.ppv_npv(drawn["sensitivity"], drawn["specificity"], share)
            row = {"model": model, "prevalence": share}
            for name, middle, values in zip(("ppv", "npv"), at, spread, strict=True):
                low, high, _ = percentiles(values, 0.95)
                row |= {name: float(middle), f"{name}_low": low, f"{name}_high": high}
            rows.append(row)
    return pd.DataFrame(rows)


def thresholds(trust: Trust) -> pd.DataFrame:
    """Each rule's threshold, chosen on dev, and what it does on test, with intervals."""
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
        try:
            fits = {"temperature": (calibration.temperature(dev.label, dev[model]), 0.0)}
            fits[SHIFTED] = calibration.platt(dev.label, dev[model])
        except InputError:
            continue  # A model without a mistake on dev has no temperature.
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
    for share in CLINICS:
        for model, cases in best.items():
            moved = calibration.prevalence_shift(cases.logit, cases.label.mean(), share)
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
    "leak_effect": leak_effect,
    "heart_or_stethoscope": heart_or_stethoscope,
    "separation": separation,
    "prevalence": prevalence,
    "thresholds": thresholds,
    "reliability": reliability,
    "calibration": calibration_scores,
    "decision": decision,
    "quality": lambda trust: by_quality(one_seed(trust, "test"), MODELS),
    "length": lambda trust: by_length(one_seed(trust, "test"), MODELS),
    "length_score": lambda trust: length_score(one_seed(trust, "test"), MODELS),
}
"""Name -> the function whose docstring says what the table holds."""
