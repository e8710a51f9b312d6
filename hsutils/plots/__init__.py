"""Every figure of the project: one function a figure, each returning a matplotlib Figure.

The same look everywhere (`hsutils.style`), and a title that states the finding, computed from
what is drawn. In a notebook the returned figure shows itself; `save_figure` writes PNG and SVG.
"""

from hsutils.plots.ablations import ablations
from hsutils.plots.beyond import changes, label_efficiency, new_databases, sizes
from hsutils.plots.reliability import (
    decision_curves,
    prevalence_curves,
    reliability,
    threshold_rules,
)
from hsutils.plots.clinic import thousand_people
from hsutils.plots.cycles import beats_and_cycle, mean_cycles
from hsutils.plots.data import leaks, recordings_overview, split_composition
from hsutils.plots.heart import heart_or_stethoscope
from hsutils.plots.results import (
    confusion_matrices,
    errors_by_model,
    logit_histograms,
    roc_curves,
)
from hsutils.plots.robustness import quality, robustness
from hsutils.plots.seeds import (
    confusion_over_seeds,
    dev_auroc_over_seeds,
    learning_rates,
    roc_over_seeds,
)
from hsutils.plots.shortcuts import database_probe, separation, stored_levels
from hsutils.plots.spectrograms import (
    error_gallery,
    mel_filters,
    spectrogram_pair,
    waveform_and_spectrogram,
)
from hsutils.plots.training import (
    dev_auroc_by_epoch,
    embedding_map,
    loss_by_epoch,
    soft_label_histogram,
)
from hsutils.plots.trust import intervals, leak_effect, paired_differences
from hsutils.plots.style import apply_style, save_figure

__all__ = [
    "ablations",
    "apply_style",
    "beats_and_cycle",
    "changes",
    "confusion_matrices",
    "confusion_over_seeds",
    "database_probe",
    "decision_curves",
    "dev_auroc_by_epoch",
    "dev_auroc_over_seeds",
    "embedding_map",
    "error_gallery",
    "errors_by_model",
    "heart_or_stethoscope",
    "intervals",
    "label_efficiency",
    "leak_effect",
    "leaks",
    "learning_rates",
    "logit_histograms",
    "loss_by_epoch",
    "mean_cycles",
    "mel_filters",
    "new_databases",
    "paired_differences",
    "prevalence_curves",
    "quality",
    "recordings_overview",
    "reliability",
    "robustness",
    "roc_curves",
    "roc_over_seeds",
    "save_figure",
    "separation",
    "sizes",
    "soft_label_histogram",
    "spectrogram_pair",
    "split_composition",
    "stored_levels",
    "thousand_people",
    "threshold_rules",
    "waveform_and_spectrogram",
]
