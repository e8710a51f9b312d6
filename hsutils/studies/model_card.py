"""The model card: what a reader must know before trusting a model, under the headings of TRIPOD+AI.

The headings follow Collins et al. 2024, BMJ 385:e078378. Every measured number comes from kept
evidence, so the card cannot part from the figures; sizes of the paper's lists stand in the text.
"""

from pathlib import Path

import pandas as pd

from hsutils.errors import InputError
from hsutils.studies.evidence import Evidence
from hsutils.files import write_text
from hsutils.studies.markdown import table as table_of
from hsutils.studies.model_card_text import CARD
from hsutils.models.build import MODELS
from hsutils.studies.trust import Trust
from hsutils.studies.trust_tables import columns_of, given_away, tables

FEW = 100
"""Abnormal recordings below which a database counts as having few."""


def write_model_card(evidence: Evidence, trust: Trust, path: Path) -> Path:
    """Write the card of a study's three models as Markdown."""
    return write_text(path, model_card(evidence, trust))


def model_card(evidence: Evidence, trust: Trust) -> str:
    """The card as Markdown.

    Args:
        evidence: what is kept of the study's trainings.
        trust: what is kept to judge them by.

    Raises:
        InputError: if the study is not the paper's experiment.
    """
    if not evidence.is_the_papers:
        raise InputError(
            "the model card describes the paper's experiment on the real recordings, and this "
            "evidence is of another: give folders gathered from profile paper"
        )
    made = tables(trust)
    facts = _about(evidence, trust) | {
        "performance": _performance(made["intervals"]),
        "databases": _by_database(made["heart_or_stethoscope"]),
        "protocols": _by_protocol(made["heart_or_stethoscope"]),
        "subgroups": _by_quality_and_length(trust.quality, trust.length),
        "thresholds": _thresholds(made["thresholds"]),
        "predictive": _predictive(made["prevalence"]),
        "calibration": _calibration(made["calibration"]),
        "worst": _worst(trust.robustness),
        "trainings": _trainings(evidence),
    }
    return CARD.format(**facts)


def _about(evidence: Evidence, trust: Trust) -> dict[str, object]:
    test = trust.cases[trust.cases.split == "test"]
    facts, columns = trust.facts, columns_of(trust.cases)["teacher"]
    counts = facts.groupby("database").label.sum()
    return {
        "recordings": f"{len(facts):,}",
        "abnormal": f"{int(facts.label.sum()):,}",
        "noisy": int((facts.quality == 0).sum()),
        "seeds": ", ".join(column.partition("/")[2] for column in columns),
        "test": len(test),
        "straddling": int(trust.leak_effect.dropped.iloc[0]),
        "told": _told(given_away(trust)),
        "rich": _listed(sorted(counts.index[counts >= FEW])),
    }


def _told(databases: list[str]) -> str:
    if not databases:
        return "other things than the heart may differ between the classes there too."
    return f"in {_listed(databases)} the file format alone gives the label away."


def _listed(names: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]])) or "none"


def _table(rows: list[dict[str, str]]) -> str:
    return table_of([*rows[0]], [[*row.values()] for row in rows])


def _value(value: float, low: float, high: float) -> str:
    if pd.isna(value):
        return "–"
    return f"{value:.3f}" + (f" ({low:.3f} to {high:.3f})" if pd.notna(low) else "")


def _performance(table: pd.DataFrame) -> str:
    names = {"auroc": "AUROC", "macc": "mean of both"}
    rows = []
    for model in MODELS:
        part = table[table.model == model].set_index("metric")
        cells = {"model": model}
        for metric in ("auroc", "sensitivity", "specificity", "macc", "accuracy"):
            row = part.loc[metric]
            cells[names.get(metric, metric)] = _value(row["value"], row.low, row.high)
        rows.append(cells)
    return _table(rows)


def _by_protocol(table: pd.DataFrame) -> str:
    pooled = table[table.database.str.len() != 1].set_index(["model", "protocol", "database"])
    titles = {("all", ""): "all pairs", ("within", ""): "pairs of one database"}
    others = [name for name in dict.fromkeys(table.database) if name.startswith("not ")]
    titles |= {("within", name): f"the same, {name}" for name in others}
    titles |= {("left out", ""): "databases never heard (mean)"}
    rows = []
    for model in dict.fromkeys(table.model):
        cells = {"": model}
        for protocol, title in titles.items():
            known = (model, *protocol) in pooled.index
            row = pooled.loc[(model, *protocol)] if known else None
            cells[title] = _value(row.auroc, row.low, row.high) if known else "not trained"
        rows.append(cells)
    return _table(rows)


def _by_database(table: pd.DataFrame) -> str:
    part = table[(table.database.str.len() == 1) & table.model.isin(MODELS)]
    rows = []
    for (protocol, database), group in part.groupby(["protocol", "database"], sort=False):
        where = "in the test split" if protocol == "within" else "left out of training"
        first = group.iloc[0]
        cells = {"database": f"{database}, {where}", "recordings": f"{first.recordings}"}
        cells |= {"abnormal": f"{first.abnormal}"} | dict.fromkeys(MODELS, "not trained")
        cells |= {row.model: _value(row.auroc, row.low, row.high) for row in group.itertuples()}
        rows.append(cells)
    return _table(rows)


def _by_quality_and_length(quality: pd.DataFrame, length: pd.DataFrame) -> str:
    spans = length.shortest.map("{:.0f}".format) + " to " + length.longest.map("{:.0f} s".format)
    both = pd.concat([quality[quality.subset != "all"], length.assign(subset=spans)])
    rows = []
    for subset, group in both.groupby("subset", sort=False):
        first = group.iloc[0]
        cells = {"recordings that are": str(subset), "number": f"{first.recordings}"}
        cells |= {row.model: _value(row.auroc, row.low, row.high) for row in group.itertuples()}
        rows.append(cells)
    return _table(rows)


def _thresholds(table: pd.DataFrame) -> str:
    rows = [
        {
            "model": row.model,
            "rule (chosen on dev)": row.rule,
            "logit": f"{row.threshold:+.2f}",
            "sensitivity": _value(row.sensitivity, row.sensitivity_low, row.sensitivity_high),
            "specificity": _value(row.specificity, row.specificity_low, row.specificity_high),
        }
        for row in table.itertuples()
    ]
    return _table(rows)


def _predictive(table: pd.DataFrame) -> str:
    student, rows = table[table.model == "student"], []
    for share in (0.02, 0.2, 0.5):
        row = student.iloc[(student.prevalence - share).abs().argmin()]
        cells = {"abnormal where it is used": f"{row.prevalence:.1%}"}
        cells["an abnormal call is right"] = _value(row.ppv, row.ppv_low, row.ppv_high)
        cells["a normal call is right"] = _value(row.npv, row.npv_low, row.npv_high)
        rows.append(cells)
    return _table(rows)


def _calibration(table: pd.DataFrame) -> str:
    parts = []
    for model, part in table.groupby("model", sort=False):
        ece = part.set_index("calibration").ece
        after = f", {ece['temperature']:.3f} after" if "temperature" in ece else ""
        parts.append(f"{model} {ece['as trained']:.3f}{after}")
    return "; ".join(parts)


def _worst(table: pd.DataFrame) -> str:
    worse = table[(table.perturbation != "none") & (table.model == "student")]
    parts = []
    for name, part in worse.groupby("perturbation", sort=False):
        row = part.loc[part.auroc.idxmin()]
        parts.append(f"{name} at {row.level:g} {row.unit}: {row.auroc:.3f}")
    return "; ".join(parts)


def _trainings(evidence: Evidence) -> str:
    own = evidence.trainings[evidence.trainings.profile == evidence.profile]
    rows = []
    for model, part in own.groupby("model", sort=False):
        best, hours = sorted(part.best_epoch.dropna().astype(int)), part.seconds.sum() / 3600
        epochs = ", ".join(map(str, best)) if model != "encoder" else "last"
        cells = {"part": str(model), "epochs": f"{part.epochs.iloc[0]}", "epoch kept": epochs}
        rows.append(cells | {"seeds": f"{len(part)}", "hours, all seeds": f"{hours:.1f}"})
    return _table(rows)
