"""Every figure of the project: one function per figure, each returning a matplotlib Figure.

All share one look (`hsutils.plots.style`). In a notebook the returned figure shows itself;
`save_figure` writes PNG and SVG.
"""

# ruff: noqa: F401, I001
from hsutils.plots.data import beats_and_cycle, mean_cycles, recordings_overview
from hsutils.plots.data import split_composition, stored_levels
from hsutils.plots.diagrams import architecture, contrast, distillation, similarities
from hsutils.plots.diagrams import training_regime
from hsutils.plots.forest import ablations, changes, forest_plot, heart_or_stethoscope, intervals
from hsutils.plots.forest import leak_effect, paired_differences, quality, robustness, separation
from hsutils.plots.forest import database_probe, unseen_databases
from hsutils.plots.reliability import decisions, reliability, threshold_rules
from hsutils.plots.results import confusion_matrices, dev_auroc_by_epoch, embedding_map
from hsutils.plots.results import loss_by_epoch, roc_curves, score_histograms
from hsutils.plots.spectrograms import mel_filters, spectrogram_gallery, spectrogram_pair
from hsutils.plots.spectrograms import waveform_and_spectrogram, where_it_looked
from hsutils.plots.style import save_figure
