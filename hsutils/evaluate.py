"""How good is a model on your own recordings? A table with labels -> numbers, figures, a page."""

import base64
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from jinja2 import Template
from matplotlib.figure import Figure
from scipy.special import logit
from sklearn.linear_model import LogisticRegression

from hsutils import plots
from hsutils.data.challenge import COLUMNS
from hsutils.data.table import read_table
from hsutils.errors import InputError
from hsutils.evaluation import calibration, intervals, shortcuts
from hsutils.evaluation.metrics import CLASSES, choose_threshold
from hsutils.files import write_csv, write_text
from hsutils.predict import PACKAGED, Classifier, as_table

KEY = ["study", "model", "variant", "group", "part", "protocol", "cases", "abnormal"]
METRICS = ["auroc", "sensitivity", "specificity", "macc", "threshold"]
FOUND = ["file", "heart_rate", "heartbeat", "logit"]
FEW = (5, 10, 20)  # labeled cases of each class to choose a threshold on
LEAST, MOST = 5, 8  # patients of each class; values of a column that makes subgroups
INPUTS = ("predictions.csv",)
PAGE = Path(__file__).with_suffix(".html")
Parts = list[tuple[str, str, pd.DataFrame]]  # column, value, and the cases that have it


def evaluate(
    table: Path | str, folder: Path | str, model: Path | str = PACKAGED,
    threshold: float | None = None, groups: Sequence[str] = (),
) -> tuple[pd.DataFrame, list[str]]:  # fmt: skip
    """Evaluate a model on a table of labeled recordings (see `read_table`).

    Unless a patient has two recordings, there are no results by patient. A recording without a
    heartbeat gets no verdict and is left out of all numbers but those of the subgroup heartbeat.

    Args:
        table: a CSV file.
        model, threshold: see `Classifier`.
        folder: where results.csv, predictions.csv, figures and report.html are written.
        groups: columns whose values are evaluated apart; default: all that `subgroups` can use.

    Returns:
        `results`, and a line for each file without a logit.

    Raises:
        InputError: as `read_table` and `Classifier`; if a class has fewer than `LEAST` patients or
            a column makes no groups.
    """
    classifier, folder = Classifier(model, threshold), Path(folder)
    taken = [*FOUND, *shortcuts.CROSS_VALIDATED]
    recordings = read_table(table).rename(columns={name: f"{name} (table)" for name in taken})
    _require_patients(recordings, table)
    named = ["database", "quality", *recordings.columns.difference(COLUMNS, sort=False)]
    usable = list(dict.fromkeys(name for name, *_ in subgroups(recordings, named)))
    if lost := sorted({*groups} - {*usable}):
        can = ", ".join(usable) or "none"
        raise InputError(f"{table}: --groups {lost[0]} makes no groups; columns that do: {can}")
    folder.mkdir(parents=True, exist_ok=True)
    verdicts, problems = classifier.read_all(recordings.path)
    cases = recordings.merge(as_table(verdicts)[FOUND], left_on="path", right_on="file")
    judged = cases[cases.heartbeat].reset_index(drop=True)
    _require_patients(judged, table)
    judged = judged.join(shortcuts.cross_validated_controls(judged))
    parts = subgroups(judged, [*(groups or usable), "heart_rate", "seconds"])
    if len(every := cases.dropna(subset="logit")) > len(judged):
        parts.append(("heartbeat", "found or not", every))
    made = results(judged, parts, classifier.threshold)
    write_csv(folder / "results.csv", made)
    kept = ["record", "group", "label", "seconds", *FOUND[1:], *named]
    write_csv(folder / "predictions.csv", cases[kept].round(4))
    images = {
        name: base64.b64encode(plots.save_figure(draw(), folder, name).read_bytes()).decode()
        for name, draw in figures({"predictions": cases}, made).items()
    }
    about = {"table": Path(table).name, "model": Path(model).name, "problems": problems}
    about |= {"all": cases, "judged": judged, "images": images, "tables": tables(made)}
    page = Template(PAGE.read_text(encoding="utf-8"), autoescape=True)
    write_text(folder / "report.html", page.render(about))
    return made, problems


def by_patient(cases: pd.DataFrame) -> pd.DataFrame:
    """One row per group: its mean logits, and label 1 if any of its recordings has it."""
    groups = cases.groupby("group")
    return groups.mean(numeric_only=True).assign(label=groups.label.max()).reset_index()


def subgroups(cases: pd.DataFrame, names: Sequence[str]) -> Parts:
    """The cases of every value of the columns that have 2 to `MOST`.

    Numbers of more values are cut into quarters; "" is no value. In a column that parts the
    classes, such as the grade of a murmur, all normal cases join those of each value.
    """
    parts = []
    for name in names:
        values = cases[name].replace("", np.nan)
        if values.nunique() > MOST:
            numbers = pd.to_numeric(values, errors="coerce")
            edges = np.unique(numbers.dropna().quantile([0, 0.25, 0.5, 0.75, 1]))
            spans = [f"{low:.10g} to {high:.10g}" for low, high in pairwise(edges.round(2))]
            look = {"labels": spans, "include_lowest": True, "ordered": False}
            values = pd.cut(numbers, edges, **look) if spans else values
        classes = pd.crosstab(values, cases.label).reindex(columns=[0, 1], fill_value=0)
        if 2 <= len(classes) <= MOST:
            apart = not classes.all(axis=1).any()
            for value in classes.index[classes[1] > 0] if apart else classes.index:
                some = cases[(values == value) | (apart & (cases.label == 0))]
                parts += [(name, str(value), some)] if len(some) < len(cases) else []
    return parts


def results(cases: pd.DataFrame, parts: Parts, threshold: float = 0.0) -> pd.DataFrame:
    """Every number, per recording and per patient.

    Args:
        cases: columns label, group, logit, and those of `shortcuts.cross_validated_controls`.
        parts: see `subgroups`.
        threshold: as shipped.

    Returns:
        `KEY`, metric, value, low, high. `variant` is the rule of the threshold, `part` a value of
        the column `group`. Intervals are 95% intervals over patients; for thresholds from few
        labels, 95% of the draws.
    """
    rows = []
    for protocol, pool in (("recordings", pd.DataFrame), ("patients", by_patient)):
        table = pool(cases)
        classes = _patients(table)
        if protocol == "patients" and (len(table) == len(cases) or classes.min() < LEAST):
            continue
        logits = {"model": table.logit, **table[[*shortcuts.CROSS_VALIDATED]]}
        scores = {name: _scores(table.assign(logit=x), 0.0) for name, x in logits.items()}
        found = [("ranking", n, "", "", "", table, s.loc[["auroc"]]) for n, s in scores.items()]
        rules = {"as shipped": threshold, "median": np.median(table.logit)}
        rules["best in hindsight"] = choose_threshold(table.label, table.logit)
        scores = {rule: _scores(table, at).drop("auroc") for rule, at in rules.items()}
        for k in FEW:
            if classes.min() >= 2 * k:
                scores[f"{k} + {k} labeled"] = few_labels(table, k, threshold)
        found += [("thresholds", "model", n, "", "", table, s) for n, s in scores.items()]
        found.append(("calibration", "model", "", "", "", table, _calibration(table)))
        for group, part, some in parts:
            some = pool(some)
            scores = _scores(some, threshold).drop("threshold")
            found.append(("subgroups", "model", "as shipped", group, part, some, scores))
        for *about, some, scores in found:
            key = zip(KEY, [*about, protocol, len(some), some.label.sum()], strict=True)
            rows.append(scores.assign(**dict(key)))
    return pd.concat(rows).reset_index()[[*KEY, "metric", "value", "low", "high"]].round(4)


def few_labels(table: pd.DataFrame, each: int, shipped: float, draws: int = 200) -> pd.DataFrame:
    """What a threshold is worth that was chosen on `each` labeled cases of both classes.

    It lies halfway between the mean logits of the classes. A draw takes its cases from different
    patients, and is evaluated on all cases (columns label, group, logit) of the others. Draws in
    which a class has too few cases, or none to evaluate, do not count.

    Returns:
        By metric: value (mean), low, high (95% of the draws). `gain` is by how much macc is larger
        than at the threshold as shipped, on the same cases.
    """
    labels, logits = table.label.to_numpy(), table.logit.to_numpy()
    codes = intervals.group_codes(table.group, len(table))
    rng, found = np.random.default_rng(0), []
    for _ in range(draws):
        order = rng.permutation(len(table))
        one = order[np.sort(np.unique(codes[order], return_index=True)[1])]
        drawn = [one[labels[one] == label][:each] for label in (0, 1)]
        rest = ~np.isin(codes, codes[np.concatenate(drawn)])
        if min(map(len, drawn)) < each or len(np.unique(labels[rest])) < 2:
            continue
        at = np.mean([logits[some].mean() for some in drawn])
        called = logits[rest, None] > [at, shipped]
        hits, alarms = (called[labels[rest] == label].mean(axis=0) for label in (1, 0))
        macc = (hits + 1 - alarms) / 2
        found.append([hits[0], 1 - alarms[0], macc[0], at, macc[0] - macc[1]])
    found = found or [[np.nan] * len(METRICS)]
    ends = np.quantile(found, [0.025, 0.975], axis=0)
    return _by_metric([*METRICS[1:], "gain"], np.mean(found, axis=0), *ends)


def figures(inputs: dict[str, pd.DataFrame], made: pd.DataFrame) -> dict[str, Callable[[], Figure]]:
    """Name -> what draws it, of `results` and of what predictions.csv holds."""
    cases = inputs["predictions"].query("heartbeat")
    made = made.dropna(subset="value").replace({"metric": plots.forest.METRICS})
    study = {name: made[made.study == name] for name in (*made.study.unique(), "subgroups")}
    rules = study["thresholds"].query("metric not in ('threshold', 'gain')")
    parts = study["subgroups"].query("protocol == 'recordings' and metric != 'balanced accuracy'")
    counts = " (" + parts.abnormal.astype(str) + " of " + parts.cases.astype(str) + ")"
    parts = parts.assign(part=parts.part + counts, group=parts.group.str.replace("_", " "))
    scores = study["calibration"].pivot(index="protocol", columns="metric", values="value")
    pools = {"recordings": cases, "patients": by_patient(cases)}
    pools = {name: pool for name, pool in pools.items() if name in scores.index}
    curves = [calibration.reliability(p.label, p.logit).assign(model=n) for n, p in pools.items()]
    named = {"model": scores.index, "calibration": "as trained"}
    curves = pd.concat(curves).assign(calibration=named["calibration"])
    rank = {"panel": "protocol", "xlabel": "AUROC", "reference": {"guessing": 0.5}}
    rate = {"panel": "metric", "xlabel": "", "digits": 2}
    rank["title"] = "Does the model rank abnormal above normal?"
    rule = rate | {"group": "protocol", "title": "Which threshold suits these recordings?"}
    part = rate | {"group": "group", "title": "Where does the model do well, and where not?"}
    return {
        "ranking": lambda: plots.forest_plot(study["ranking"], row="model", **rank),
        "logits": lambda: plots.score_histograms({"recordings": cases}),
        "thresholds": lambda: plots.forest_plot(rules, row="variant", **rule),
        "calibration": lambda: plots.reliability(curves, scores.assign(**named)),
    } | ({"subgroups": lambda: plots.forest_plot(parts, row="part", **part)} if len(parts) else {})


def tables(made: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """`results` to be read, by study: a column per metric, the interval beside each number."""
    made = made.assign(**(made[["value", "low", "high"]].round(2) + 0))  # no "-0.00"
    made = made.dropna(subset="value")
    ends = made.low.map(" ({:.2f} to ".format) + made.high.map("{:.2f})".format)
    text = (made.value.map("{:.2f}".format) + ends.where(made.low.notna(), "")).replace("nan", "")
    counts, shown = made.abnormal.astype(str) + " of " + made.cases.astype(str), {}
    for study, part in made.assign(text=text, abnormal=counts).groupby("study", sort=False):
        keys = [key for key in KEY[1:5] if part[key].nunique() > 1] + ["protocol", "abnormal"]
        wide = part.pivot_table("text", keys, "metric", "first", sort=False)
        wide = wide.fillna("").rename(columns=plots.forest.METRICS)
        shown[study] = wide.reset_index().rename_axis(columns=None)
    return shown


def _patients(cases: pd.DataFrame) -> pd.Series:
    """The number of patients of each label."""
    return cases.groupby("label").group.nunique().reindex([0, 1], fill_value=0)


def _require_patients(cases: pd.DataFrame, table: Path | str) -> None:
    counts = _patients(cases)
    if counts.min() < LEAST:
        has = " and ".join(f"{n} {name}" for name, n in zip(CLASSES, counts, strict=True))
        raise InputError(f"{table}: {has} patients to evaluate; each class needs {LEAST}")


def _scores(part: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """By metric (`METRICS`): value, low, high; NaN where a class has too few patients."""
    if _patients(part).min() < LEAST:
        return _by_metric(METRICS, np.nan)
    found = intervals.cluster_bootstrap(part.label, part.logit - threshold, part.group)
    return pd.concat([found.set_index("metric"), _by_metric(METRICS[-1:], threshold)]).loc[METRICS]


def _calibration(table: pd.DataFrame) -> pd.DataFrame:
    labels, share = table.label, np.full(len(table), logit(table.label.mean()))
    scores = [calibration.brier(labels, logits) for logits in (table.logit, share)]
    line = LogisticRegression(C=1e6).fit(table[["logit"]], labels)
    scores += [calibration.ece(labels, table.logit), line.coef_[0, 0], line.intercept_[0]]
    return _by_metric(["brier", "brier of the share", "ece", "slope", "intercept"], scores)


def _by_metric(metrics: Sequence[str], value, low=np.nan, high=np.nan) -> pd.DataFrame:
    index = pd.Index(metrics, name="metric")
    return pd.DataFrame({"value": value, "low": low, "high": high}, index)
