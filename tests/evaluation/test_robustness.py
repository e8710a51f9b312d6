"""What recordings do to scores: planted effects are found, and none where none was planted."""

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from scipy.signal import butter, sosfiltfilt
from sklearn.metrics import roc_auc_score
from torch import nn

from hsutils.audio.devices import PERTURBATIONS
from hsutils.audio.spectrograms import mel_edges
from hsutils.audio.wav import read_waveform
from hsutils.config import RECORDED_RATE, load_profile
from hsutils.data.cache import build_cache
from hsutils.data.challenge import read_recordings
from hsutils.errors import InputError
from hsutils.evaluation import robustness as module
from hsutils.evaluation.intervals import cluster_bootstrap, expansion, multiplicities, percentiles
from hsutils.evaluation.robustness import (
    by_length,
    by_quality,
    perturbed_scores,
    robustness,
    without_leaks,
)
from hsutils.models.teacher_student import StudentCNN, Teacher
from hsutils.run import Run
from hsutils.training.devices import start_fabric
from hsutils.training.loop import predict

pytestmark = pytest.mark.usefixtures("one_thread")

SETTINGS = {
    **{"front_end.clip_seconds": 2.2, "compute.threads": 1},
    **{"compute.accelerator": "cpu", "compute.precision": "32-true"},
}
FEW = {
    name: PERTURBATIONS[name]._replace(levels=PERTURBATIONS[name].levels[-1:])
    for name in ("white noise", "gain")
}


# Degraded recordings, and models of which it is known what they use


class Contrast(nn.Module):
    """Abnormal where one frequency is louder than another, mean over the middle of the clip."""

    def __init__(self, front_end, hz: float, than: float, margin: float = 0.0):
        super().__init__()
        centers = mel_edges(front_end)[1:-1]
        self.rows = [int(np.abs(centers - f).argmin()) for f in (hz, than)]
        self.margin = margin
        self.middle = slice(front_end.frames // 4, -front_end.frames // 4)

    def forward(self, spectrograms):
        loudness = spectrograms[:, 0, self.rows, self.middle].mean(dim=2)
        return loudness[:, 0] - loudness[:, 1] - self.margin


class Constant(nn.Module):
    def forward(self, spectrograms):
        return spectrograms.new_full((len(spectrograms),), 0.3)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    return Run(tmp_path_factory.mktemp("run"), load_profile("demo", SETTINGS))


@pytest.fixture(scope="module")
def corpus(tiny_data) -> pd.DataFrame:
    """The first recording of each database."""
    table = read_recordings(tiny_data / "recordings")
    return table.groupby("database").head(1).reset_index(drop=True)


@pytest.fixture(scope="module")
def whistling(tiny_data, tmp_path_factory) -> pd.DataFrame:
    """Synthetic hearts between 100 and 300 Hz; the abnormal whistle at 650 Hz, 30 dB softer."""
    folder, rng = tmp_path_factory.mktemp("whistling"), np.random.default_rng(0)
    table = read_recordings(tiny_data / "recordings").iloc[::2].reset_index(drop=True)
    table["label"] = np.arange(len(table)) % 2
    table["group"] = table.record
    band = butter(6, (100, 300), "bandpass", fs=RECORDED_RATE, output="sos")
    for row in table.itertuples():
        heart = sosfiltfilt(band, read_waveform(row.path))
        heart *= 0.05 / np.abs(heart).max()
        turns = 650 * np.arange(len(heart)) / RECORDED_RATE + rng.uniform()
        whistle = np.sqrt(2) * heart.std() * 10 ** (-30 / 20) * np.sin(2 * np.pi * turns)
        path = folder / f"{row.record}.wav"
        soundfile.write(path, heart + row.label * whistle, RECORDED_RATE, subtype="PCM_16")
        table.loc[row.Index, "path"] = str(path)
    return table


@pytest.fixture(scope="module")
def planted(run, whistling) -> pd.DataFrame:
    """What perturbations cost three models."""
    front_end = run.profile.front_end
    models = {
        "whistle": Contrast(front_end, 650, than=850, margin=0.375),
        "hum": Contrast(front_end, 50, than=200),
        "constant": Constant(),
    }
    table = robustness(perturbed_scores(run, whistling, models), whistling)
    return table.set_index(["model", "perturbation", "level"]).sort_index()


def test_noise_costs_a_model_the_band_it_drowns_and_gain_and_hum_cost_nothing(planted):
    clean, drowned = planted.loc["whistle", "none"].iloc[0], planted.loc["whistle", "white noise"]
    assert clean.auroc == clean.sensitivity == clean.specificity == 1
    assert drowned.loc[0.0].change < -0.2 and drowned.loc[0.0].change_high < 0
    assert drowned.loc[0.0].auroc < 0.8 and drowned.loc[0.0].flips > 0.3
    assert drowned.loc[20.0].change == 0
    for name in ("gain", "hum 50 Hz", "hum 60 Hz"):
        rows = planted.loc["whistle", name]
        assert len(rows) == 4 and (rows.change == 0).all() and (rows.flips == 0).all()


def test_a_model_that_answers_by_hum_flips_under_hum(planted):
    clean, hum = planted.loc["hum", "none"].iloc[0], planted.loc["hum", "hum 50 Hz"].loc[10.0]
    assert clean.specificity == 1 and clean.sensitivity == 0
    assert hum.flips == 1 and hum.specificity == 0 and hum.sensitivity == 1


def test_a_constant_changes_nowhere_and_cutting_off_what_is_not_there_changes_nothing(planted):
    rows = planted.loc["constant"]
    assert len(rows) == 1 + sum(len(p.levels) for p in PERTURBATIONS.values())
    assert (rows.auroc == 0.5).all()
    assert not rows[["change", "change_low", "change_high", "flips"]].any(axis=None)
    shortened = planted.xs("shortened", level="perturbation")
    assert (shortened.flips == 0).all() and (shortened.change == 0).all()


@pytest.fixture(scope="module")
def networks(run) -> dict[str, nn.Module]:
    torch.manual_seed(0)
    return {"teacher": Teacher(), "student": StudentCNN(run.profile.front_end.shape)}


@pytest.fixture(scope="module")
def scores(run, corpus, networks) -> pd.DataFrame:
    return perturbed_scores(run, corpus, networks, FEW)


def test_clean_scores_are_the_predictions(run, corpus, networks, scores):
    cache = build_cache(corpus, run.profile.front_end)
    fabric = start_fabric(run.profile.compute)
    clean = scores[scores.perturbation == "none"]
    assert list(scores.perturbation.unique()) == ["none", *FEW]
    assert len(scores) == 3 * 2 * len(corpus)
    assert clean.level.isna().all() and (clean.unit == "").all()
    for name, network in networks.items():
        logits = predict(fabric.setup(network), cache, cache.rows(corpus.record), fabric)
        ours = clean[clean.model == name].set_index("record").logit.loc[corpus.record]
        np.testing.assert_allclose(ours, logits, rtol=1e-4, atol=1e-6)


def test_a_recordings_scores_depend_on_nothing_but_itself(run, corpus, networks, scores):
    keys = ["perturbation", "model", "record"]
    alone = perturbed_scores(run, corpus.iloc[[5, 2]], networks, FEW).set_index(keys).logit
    np.testing.assert_allclose(alone, scores.set_index(keys).logit.loc[alone.index], rtol=1e-5)


def test_the_front_end_serves_all_models_at_once(run, corpus, networks, monkeypatch):
    calls, log_mel = [], module.log_mel
    monkeypatch.setattr(module, "log_mel", lambda *a: calls.append(1) or log_mel(*a))
    perturbed_scores(run, corpus.head(2), networks, FEW)
    assert len(calls) == 2 * (1 + len(FEW))


def test_noise_follows_the_power_of_the_clip_not_of_what_comes_after(
    run, corpus, networks, tmp_path
):
    clip = np.resize(read_waveform(corpus.path[0])[:4_000], round(2.2 * RECORDED_RATE))
    logits = []
    for name, waveform in (("cut", clip), ("whole", np.concatenate([clip, np.ones(4_000)]))):
        path = tmp_path / name / "a0001.wav"
        path.parent.mkdir()
        soundfile.write(path, waveform, RECORDED_RATE, subtype="PCM_16")
        table = corpus.head(1).assign(path=str(path))
        logits.append(perturbed_scores(run, table, networks, FEW).logit)
    np.testing.assert_array_equal(*logits)


CALM, SHAKEN = [-2.0, -1, 1, -1.5, 2, 3], [-2.0, 3, 1, -1, -2.5, 3]


def test_the_table_is_what_an_independent_library_says_and_needs_every_clean_score():
    cases = pd.DataFrame({"record": [*"abcdef"], "label": [0, 0, 0, 1, 1, 1], "group": range(6)})
    conditions = (module.CLEAN, CALM), (("white noise", "dB SNR", 5.0), SHAKEN)
    parts = [
        cases[["record"]].assign(
            logit=logits, perturbation=name, unit=unit, level=level, model="student"
        )
        for (name, unit, level), logits in conditions
    ]
    scores = pd.concat(parts, ignore_index=True).sample(frac=1, random_state=0)
    table = robustness(scores, cases).set_index("perturbation")
    before, after = (roc_auc_score(cases.label, logits) for logits in (CALM, SHAKEN))
    noisy = table.loc["white noise"]
    assert table.auroc["none"] == pytest.approx(before) and noisy.auroc == pytest.approx(after)
    assert noisy.change == pytest.approx(after - before)
    assert noisy.flips == 2 / 6 and table.flips["none"] == 0
    assert noisy.sensitivity == 1 / 3 and noisy.specificity == 1 / 3
    assert noisy.change_low <= noisy.change <= noisy.change_high
    lacking = scores[(scores.perturbation != "none") | (scores.record != "a")]
    with pytest.raises(InputError, match="1 are NaN"):
        robustness(lacking, cases)


# Quality and length


@pytest.fixture(scope="module")
def cases() -> pd.DataFrame:
    """400 recordings, two of each group; abnormal ones last longer, as in the Challenge."""
    rng = np.random.default_rng(0)
    label = np.repeat(np.arange(200) % 2, 2)
    quality = (rng.uniform(size=400) > 0.3).astype(int)
    seconds = rng.gamma(4, 4, size=400) + 5 + 8 * label
    heart = 2 * label - 1 + rng.normal(size=400)
    columns = {"label": label, "quality": quality, "seconds": seconds}
    columns |= {"group": np.arange(400) // 2, "uses the heart": heart}
    columns["lost in noise"] = np.where(quality == 1, heart, rng.normal(size=400))
    return pd.DataFrame(columns)


def test_a_model_lost_in_noise_is_found_and_a_sound_one_is_not(cases):
    table = by_quality(cases, ["uses the heart", "lost in noise"]).set_index(["model", "subset"])
    lost, sound = table.loc["lost in noise"], table.loc["uses the heart"]
    assert lost.low["usable"] > lost.high["too noisy"]
    assert lost.low["too noisy"] < 0.5 < lost.high["too noisy"]
    assert sound.low["usable"] < sound.auroc["too noisy"] < sound.high["usable"]
    for subset, part in (("all", cases), ("usable", cases[cases.quality == 1])):
        expected = roc_auc_score(part.label, part["lost in noise"])
        assert lost.auroc[subset] == pytest.approx(expected)
        assert lost.abnormal[subset] == part.label.sum()
    assert lost.recordings[["usable", "too noisy"]].sum() == lost.recordings["all"] == 400


def test_where_a_class_is_missing_nothing_is_claimed(cases):
    few = cases[(cases.quality == 1) | (cases.label == 0)]
    noisy = by_quality(few, ["uses the heart"]).set_index("subset").loc["too noisy"]
    assert noisy.abnormal == 0 and noisy.recordings > 0
    assert noisy[["auroc", "low", "high"]].isna().all()
    none = by_quality(cases[cases.quality == 1], ["uses the heart"]).set_index("subset")
    assert none.recordings["too noisy"] == 0 and np.isnan(none.auroc["too noisy"])


def test_bins_of_length_are_equally_filled_and_in_order(cases):
    table = by_length(cases, ["uses the heart"])
    assert table.recordings.tolist() == [100] * 4
    assert (table.longest[:-1].to_numpy() < table.shortest[1:].to_numpy()).all()
    assert table.shortest[0] == cases.seconds.min() and table.longest[3] == cases.seconds.max()
    shortest = cases.sort_values("seconds").iloc[:100]
    expected = roc_auc_score(shortest.label, shortest["uses the heart"])
    assert table.auroc[0] == pytest.approx(expected)
    equal = by_length(cases.assign(seconds=8.0), ["uses the heart"])
    assert equal.recordings.tolist() == [400]


# Related recordings


def related(n: int = 120) -> pd.DataFrame:
    """The first 20 leak. One model knows only them, the other knows a little of all."""
    labels = np.tile([0, 1], n // 2)
    table = pd.DataFrame({"record": [f"r{i:03}" for i in range(n)], "label": labels})
    table["group"] = np.arange(n) // 4
    table["memory"] = np.where(np.arange(n) < 20, 2 * labels - 1.0, 0)
    return table.assign(skill=np.random.default_rng(0).normal(labels, 1))


def test_what_is_only_remembered_is_lost_with_the_leaks():
    table = related()
    row = without_leaks(table, table.record[:20], ["memory"]).loc[0]
    # Pairs with a remembered recording are ranked right, the other 50 x 50 are ties.
    assert row.auroc == pytest.approx(1 - 0.5 * 50 * 50 / (60 * 60))
    assert row.auroc_kept == row.low_kept == row.high_kept == 0.5
    assert row.change == row.auroc_kept - row.auroc
    assert row.low_change < row.change < row.high_change < 0
    assert (row.n, row.dropped) == (120, 20)


def test_scores_are_those_of_the_two_sets_and_the_change_is_paired():
    table, drop = related(), np.arange(120) < 8
    row = without_leaks(table, table.record[drop], ["memory", "skill"]).loc[1]
    for part, ending in ((table, ""), (table[~drop], "_kept")):
        alone = cluster_bootstrap(part.label, part.skill, part.group).loc[0]
        ours = row[[f"{name}{ending}" for name in ("auroc", "low", "high")]].tolist()
        assert ours == pytest.approx([alone.value, alone.low, alone.high])
    (times,) = multiplicities(table.label.to_numpy(), table.group.to_numpy())
    sick = (table.label == 1).to_numpy()
    wins = table.skill[sick].to_numpy()[:, None] > table.skill[~sick].to_numpy()

    def area(w: np.ndarray) -> float:
        return w[sick] @ wins @ w[~sick] / (w[sick].sum() * w[~sick].sum())

    changes = [area(weights * ~drop) - area(weights) for weights in times]
    ends = percentiles(np.array(changes), expansion(table.label, table.group))
    assert (row.low_change, row.high_change) == pytest.approx(ends)
    assert row.high_change - row.low_change < (row.high_kept - row.low_kept) / 2


def test_no_score_changes_if_none_leaks_and_none_is_left_if_a_class_is_dropped():
    table = related()
    same = without_leaks(table, ["a0001"], ["skill"]).loc[0]
    assert same.dropped == same.change == same.low_change == same.high_change == 0
    assert same.auroc == same.auroc_kept and same.low == same.low_kept
    gone = without_leaks(table, table.record[table.label == 1], ["skill"]).loc[0]
    assert np.isnan([gone.auroc_kept, gone.change, gone.low_change]).all() and gone.auroc > 0.5
