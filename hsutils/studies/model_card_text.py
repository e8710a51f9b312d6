"""The words of the model card; `model_card` fills in the numbers."""

CARD = """\
# Model card: teacher, student and baseline for heart sounds

Written by `python -m hsutils card` from `figures/reproduction` and `figures/trust`; headings after
TRIPOD+AI (Collins et al. 2024). Values are means over the training seeds {seeds}; in brackets
stands the 95 % interval of that mean, by bootstrap of whole groups of recordings. It holds no
spread between seeds.

## Title and summary

Three networks that call a heart sound recording *normal* or *abnormal*: a ResNet-18 *teacher*,
a CNN half its size distilled from it (*student*), and the same CNN trained on true labels
(*baseline*), after Sriram, *Teacher-Student Distillation for Heart Sound Classification*.
**For teaching and research. Not for clinical use: no decision about a patient may rest on them.**
The compact CNN of `predict --pretrained` is another network, of another recipe: what is known of it
is in the README, "Beyond the paper", and in `figures/beyond/findings.md` (`native-all-narrow`).

## Background and objectives

To let readers check and study one published method on public recordings. Not to detect disease
in a clinic, and not to compare with physicians.

**Intended users**: students, teachers and researchers. **Out of scope**: diagnosis, screening,
triage, children, devices other than the six below, sounds other than recordings of the heart.

## Methods

**Data.** PhysioNet/CinC Challenge 2016 (Liu et al. 2016): {recordings} recordings from six
databases, each with clinics, devices and a population of its own; {abnormal} are abnormal. Only the
published training set is used; its `validation` folder holds copies of it.

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
epoch with the best dev AUROC is kept; nothing is chosen by the test split.

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
(ODC-BY 1.0). No protocol was registered. Funding and conflicts of interest: none declared. No
patients or public were involved.

## Results

### Model development

{trainings}

### Performance on the test split, at logit 0

{performance}

### What part of it is the heart?

{protocols}

The last three are no networks and learn from the same 400 labels (for databases never heard, from
those of the other databases): *database letter* and *format only* hear no sound at all, *band
statistics* hears no order in time. Database by database (AUROC):

{databases}

### Recordings of different quality and length (AUROC, first seed)

{subgroups}

### Thresholds (first seed)

{thresholds}

### What a call of the student is worth (logit 0, first seed)

{predictive}

### Calibration (first seed)

Expected calibration error on the test split, before and after temperature scaling fitted on dev:
{calibration}.

### Worse recordings (first seed)

Student's AUROC at the worst level of each disturbance: {worst}.

## Discussion

**Interpretation.** Most of the score can be had without hearing a heart, because databases and
file formats go together with labels in this collection. A score inside one database proves no
hearing of hearts either: {told} What a model ranks right where neither database nor format helps
may be hearing; whether it is more than what the rivals reach there, the table above shows.

**Limitations.** Six databases of one collection; few abnormal recordings outside {rich};
patients unknown; labels of one kind for many diseases; test split half abnormal.

**Known failures.** New devices and rooms; noise, hum and clipping that the training recordings do
not have (above); a threshold chosen elsewhere; any use of the logit as a probability.

**Usability.** `python -m hsutils predict FILE.wav` gives a logit. Before any use beyond a lesson:
evaluate on recordings of your own, by patient, with your own device.
"""
