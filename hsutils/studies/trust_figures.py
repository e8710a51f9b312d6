"""Every committed table and figure of trust, drawn from what is kept alone."""

from pathlib import Path

from matplotlib.figure import Figure

from hsutils import plots as figures
from hsutils.data.corpus import load_recordings
from hsutils.experiment import Run
from hsutils.files import write_csv
from hsutils.models.build import MODELS
from hsutils.plots.style import save_figure
from hsutils.studies.trust import Trust, stored_stretches
from hsutils.studies.trust_tables import tables


def draw(trust: Trust, folder: Path) -> list[Path]:
    """Write every table (CSV) and every figure (PNG and SVG) into a folder."""
    made = tables(trust)
    of_models = made["intervals"][made["intervals"].model.isin(MODELS)]
    written = [write_csv(folder / f"{name}.csv", table) for name, table in made.items()]
    pages = {
        "heart-or-stethoscope": figures.heart_or_stethoscope(made["heart_or_stethoscope"]),
        "intervals": figures.intervals(of_models),
        "paired": figures.paired_differences(made["paired"]),
        "leak-effect": figures.leak_effect(trust.leak_effect),
        "separation": figures.separation(made["separation"]),
        "prevalence": figures.prevalence_curves(made["prevalence"]),
        "thresholds": figures.threshold_rules(made["thresholds"]),
        "reliability": figures.reliability(made["reliability"], made["calibration"]),
        "decision": figures.decision_curves(made["decision"]),
        "quality": figures.quality(trust.quality, trust.length),
        "robustness": figures.robustness(trust.robustness),
    }
    if len(trust.probe):
        pages["probe"] = figures.database_probe(trust.probe)
    digest = trust.digest
    return written + [save_figure(page, folder, name, digest) for name, page in pages.items()]


def draw_storage(trust: Trust, run: Run, folder: Path) -> Path:
    """How the files of the largest database are stored; the one picture that needs recordings."""
    return save_figure(storage(trust, run), folder, "stored-levels", trust.digest)


def storage(trust: Trust, run: Run) -> Figure:
    """`figures.stored_levels` of the largest database of a run."""
    largest = trust.facts[trust.facts.database == trust.facts.database.mode()[0]]
    return figures.stored_levels(largest, stored_stretches(load_recordings(run)))
