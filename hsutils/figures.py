"""Every figure of the project: one function a figure, each returning a matplotlib Figure.

The same look everywhere (`hsutils.style`), and a title that states the finding, computed from
what is drawn. In a notebook the returned figure shows itself; `save_figure` writes PNG and SVG.
"""

from hsutils.figures_ablations import ablations
from hsutils.figures_beyond import changes, label_efficiency, new_databases, sizes
from hsutils.figures_calibration import (
    decision_curves,
    prevalence_curves,
    reliability,
    threshold_rules,
)
from hsutils.figures_clinic import thousand_people
from hsutils.figures_cycles import beats_and_cycle, mean_cycles
from hsutils.figures_data import leaks, recordings_overview, split_composition
from hsutils.figures_heart import heart_or_stethoscope
from hsutils.figures_results import (
    confusion_matrices,
    errors_by_model,
    logit_histograms,
    roc_curves,
)
from hsutils.figures_robustness import quality, robustness
from hsutils.figures_seeds import (
    confusion_over_seeds,
    dev_auroc_over_seeds,
    learning_rates,
    roc_over_seeds,
)
from hsutils.figures_shortcuts import database_probe, separation, stored_levels
from hsutils.figures_spectrograms import (
    error_gallery,
    mel_filters,
    spectrogram_pair,
    waveform_and_spectrogram,
)
from hsutils.figures_training import (
    dev_auroc_by_epoch,
    embedding_map,
    loss_by_epoch,
    soft_label_histogram,
)
from hsutils.figures_trust import intervals, leak_effect, paired_differences
from hsutils.style import apply_style, save_figure

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
