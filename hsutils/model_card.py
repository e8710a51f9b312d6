"""The model card: what a reader must know before trusting a model, under the headings of TRIPOD+AI.

The headings follow Collins et al. 2024, BMJ 385:e078378. Every number comes from kept evidence, so
the card cannot part from the figures.
"""

from pathlib import Path

import pandas as pd

from hsutils.evidence import Evidence
from hsutils.files import write_text
from hsutils.stations import MODELS
from hsutils.trust import Trust
from hsutils.trust_tables import tables


def write_model_card(evidence: Evidence, trust: Trust, path: Path) -> Path:
    """Write the card of a study's three models as Markdown."""
    return write_text(path, model_card(evidence, trust))


def model_card(evidence: Evidence, trust: Trust) -> str:
    """The card as Markdown.

    Args:
        evidence: what is kept of the study's trainings.
        trust: what is kept to judge them by.
    """
    made = tables(trust)
    facts = _about(evidence, trust) | {
        "performance": _performance(made["intervals"]),
        "databases": _by_database(made["heart_or_stethoscope"]),
        "protocols": _by_protocol(made["heart_or_stethoscope"]),
        "subgroups": _by_quality_and_length(made["quality"], made["length"]),
        "thresholds": _thresholds(made["thresholds"]),
        "predictive": _predictive(made["prevalence"]),
        "calibration": _calibration(made["calibration"]),
        "worst": _worst(trust.robustness),
        "trainings": _trainings(evidence),
    }
    return _CARD.format(**facts)


def _about(evidence: Evidence, trust: Trust) -> dict[str, object]:
    test = trust.cases[trust.cases.split == "test"]
    facts, seeds = trust.facts, evidence.trainings.query("profile == @evidence.profile").seed
    return {
        "recordings": f"{len(facts):,}",
        "abnormal": f"{int(facts.label.sum()):,}",
        "noisy": int((facts.quality == 0).sum()),
        "seeds": ", ".join(str(seed) for seed in sorted(set(seeds))),
        "test": len(test),
        "straddling": int(test.straddles.sum()),
    }


def _table(rows: list[dict[str, str]]) -> str:
    titles = list(rows[0])
    lines = ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]
    return "\n".join([*lines, *("| " + " | ".join(row.values()) + " |" for row in rows)])


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
    pooled = table[table.database == ""].set_index(["model", "protocol"])
    titles = {
        "all": "all pairs",
        "within": "pairs of one database",
        "left out": "databases never heard (mean)",
    }
    rows = []
    for model in dict.fromkeys(table.model):
        cells = {"": model}
        for protocol, title in titles.items():
            known = (model, protocol) in pooled.index
            row = pooled.loc[(model, protocol)] if known else None
            cells[title] = _value(row.auroc, row.low, row.high) if known else "not trained"
        rows.append(cells)
    return _table(rows)


def _by_database(table: pd.DataFrame) -> str:
    part = table[(table.database != "") & table.model.isin(MODELS)]
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
        rows.append(cells | {"seeds": f"{len(part)}", "hours on two cores": f"{hours:.1f}"})
    return _table(rows)


_CARD = """\
# Model card: teacher, student and baseline for heart sounds

Written by `python -m hsutils card` from `figures/reproduction` and `figures/trust`; headings after
TRIPOD+AI (Collins et al. 2024). Values in brackets are 95 % intervals of the recordings drawn,
by bootstrap of whole groups; values are means over the training seeds {seeds}.

## Title and summary

Three networks that call a heart sound recording *normal* or *abnormal*: a ResNet-18 *teacher*,
a CNN half its size distilled from it (*student*), and the same CNN trained on true labels
(*baseline*), after Sriram, *Teacher-Student Distillation for Heart Sound Classification*.
**For teaching and research. Not for clinical use: no decision about a patient may rest on them.**

## Background and objectives

To let readers check and study one published method on public recordings. Not to detect disease
in a clinic, and not to compare with physicians.

**Intended users**: students, teachers and researchers. **Out of scope**: diagnosis, screening,
triage, children, devices other than the six below, sounds other than recordings of the heart.

## Methods

**Data.** PhysioNet/CinC Challenge 2016 (Liu et al. 2016): {recordings} recordings from six
databases, each of one group of clinics, one kind of stethoscope and one population; {abnormal}
are abnormal. Only the published training set is used; its `validation` folder holds copies of it.

**Participants.** Age, sex, ethnicity and most subjects' identity are not published with the
recordings, so no result can be given for them. Some subjects were recorded several times.

**Data preparation.** First 57 s, log-mel spectrogram of 50 bands, scaled per recording.

**Outcome.** *Abnormal* is the Challenge's label: a confirmed cardiac diagnosis, of several kinds
that are not told apart (README of the Challenge).

**Predictors.** The recording alone. It also carries the device, the room and the file format,
and the networks can hear those (below).

**Sample size.** The paper's split lists: 2,040 to pre-train, 400 labeled, 400 dev, {test} test;
the last three are half abnormal.

**Missing data.** None. {noisy} recordings that the Challenge rated too noisy are kept.

**Analysis.** Contrastive pre-training without labels, fine-tuning, distillation in one phase; the
epoch with the best dev AUROC is kept; the test split is read once for each final model.

**Class imbalance.** The baseline learns from 65 abnormal recordings in 2,040; nothing is done
about it, as in the paper.

**Fairness.** Cannot be assessed: see participants.

**Output.** A logit; above 0 is *abnormal*. It is no calibrated probability.

**Training versus evaluation.** The published lists were drawn by recording. {straddling} of the
{test} test recordings share audio with recordings of other splits; where subjects are unknown,
nobody can say how many share a patient.

**Ethical approval.** Obtained by the collectors of each database; none was needed for this use.

## Open science

Code, figures, logits and this card are public under MIT; the recordings are PhysioNet's
(ODC-BY 1.0). No protocol was registered. No funding, no conflicts of interest. No patients or
public were involved.

## Results

### Model development

{trainings}

### Performance on the test split, at logit 0

{performance}

### What part of it is the heart?

{protocols}

The last three never hear a heart and learn from the same 400 labels. Database by database (AUROC):

{databases}

### Recordings of different quality and length (AUROC, first seed)

{subgroups}

### Thresholds

{thresholds}

### What a call of the student is worth (logit 0, first seed)

{predictive}

### Calibration

Expected calibration error on the test split, before and after temperature scaling fitted on dev:
{calibration}.

### Worse recordings

Student's AUROC at the worst level of each disturbance: {worst}.

## Discussion

**Interpretation.** Most of the score can be had without hearing a heart, because databases and
file formats go together with labels in this collection. What remains inside one database, or on a
database never heard, is what the models know of hearts, and it is modest.

**Limitations.** Six databases of one collection; few abnormal recordings outside two of them;
patients unknown; labels of one kind for many diseases; test split half abnormal.

**Known failures.** New devices and rooms; short and noisy recordings; a threshold chosen
elsewhere; any use of the logit as a probability.

**Usability.** `python -m hsutils predict FILE.wav` gives a logit. Before any use beyond a lesson:
evaluate on recordings of your own, by patient, with your own device.
"""
