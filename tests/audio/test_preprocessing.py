"""Steps that take the device out of a waveform: each does what it says, and no more."""

import numpy as np
import pytest
import scipy.signal
from sklearn.metrics import roc_auc_score

from hsutils.audio import preprocessing
from hsutils.audio.devices import quantize
from hsutils.audio.preprocessing import clipped, dither, pass_band, remove_artifacts, repair_clips
from hsutils.config import RECORDED_RATE as RATE
from hsutils.config import FrontEnd

SECONDS = 4


def tone(hz: float, amplitude: float = 0.5) -> np.ndarray:
    return amplitude * np.sin(2 * np.pi * hz * np.arange(SECONDS * RATE) / RATE)


def noise(seed: int, seconds: float = SECONDS) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE))


def test_the_papers_front_end_leaves_the_waveform_alone():
    waveform = noise(0)
    assert remove_artifacts(waveform, RATE, FrontEnd()) is waveform


# Clipping


def test_flat_tops_are_found_at_any_height_and_single_peaks_are_not():
    samples = np.array([0, 3, 3, 1, 3, 0, -2, -2, -2, 0, 2, 2])
    assert clipped(samples).nonzero()[0].tolist() == [1, 2, 6, 7, 8]
    assert clipped(samples[:, None])[:, 0].tolist() == clipped(samples).tolist()


def test_a_parabola_that_was_cut_comes_back():
    time = np.linspace(-1, 1, 201)
    whole = 0.6 - 0.3 * time**2
    top = whole[80]
    repaired = repair_clips(np.minimum(whole, top))
    assert np.abs(repaired - whole).max() < 0.1 * (whole.max() - top)


@pytest.mark.parametrize("share", [0.9, 0.7])
def test_a_clipped_tone_comes_nearer_to_the_whole_one(share):
    whole = tone(40)
    cut = np.clip(whole, -share * 0.5, share * 0.5)
    before, after = (np.abs(w - whole).mean() for w in (cut, repair_clips(cut)))
    assert after < 0.5 * before
    assert np.array_equal(repair_clips(cut)[~clipped(cut)], cut[~clipped(cut)])


def test_no_peak_rises_beyond_bounds_and_ends_and_silence_are_no_trouble():
    square = 0.4 * np.sign(tone(5) + 1e-9)
    assert np.abs(repair_clips(square)).max() <= 0.6 + 1e-12
    assert np.isfinite(repair_clips(np.array([1.0, 1.0, 0.5, 0.2, -0.3, -0.3]))).all()
    assert np.array_equal(repair_clips(np.full(50, 0.25)), np.full(50, 0.25))


# Band


GAINS = {(25, 400): {8: 0, 100: 1, 900: 0}, (0, 400): {5: 1, 400: 0.5, 900: 0}}
GAINS |= {(25, 0): {5: 0, 25: 0.5, 900: 1}}


@pytest.mark.parametrize("band", GAINS)
def test_only_the_band_passes_and_its_edges_are_halved(band):
    for hz, gain in GAINS[band].items():
        passed = pass_band(tone(hz), RATE, *band)[RATE:-RATE]
        assert passed.std() / tone(hz).std() == pytest.approx(gain, rel=0.02, abs=0.01)
    assert pass_band(noise(0, 0.03), RATE, *band).shape == (60,), "the shortest recording"


# Level and bit depth


@pytest.mark.parametrize("gain", [0.01, 1.0, 3.0])
def test_every_recording_comes_to_one_level(gain):
    assert dither(gain * noise(1), 12).std() == pytest.approx(preprocessing.LEVEL, rel=0.01)


def test_samples_lie_on_common_steps_and_a_recording_always_gets_the_same():
    found = dither(noise(1), 9)
    assert np.array_equal(found, dither(noise(1), 9))
    assert not np.array_equal(found, dither(noise(2), 9))
    assert np.array_equal(found * 2**8, np.round(found * 2**8))


def test_the_error_is_white_and_independent_of_the_recording():
    waveform = noise(3, 60)
    step = 2.0**-8
    error = dither(waveform, 9) - waveform * preprocessing.LEVEL / waveform.std()
    # Triangular dither and rounding: the variances of three uniform steps add up.
    assert error.var() == pytest.approx(3 * step**2 / 12, rel=0.03)
    assert abs(np.corrcoef(error, waveform)[0, 1]) < 0.01
    _, density = scipy.signal.welch(error, nperseg=256)
    assert density[2:-2].std() < 0.1 * density.mean()


def test_silence_is_given_dither_alone():
    assert set(np.unique(dither(np.zeros(5000), 8) * 2**7)) <= {-1, 0, 1}


def test_steps_of_storage_no_longer_tell_the_classes_apart():
    """What gives training-e away: normal recordings stored in far fewer levels."""
    labels = [0, 1] * 30
    stored = [quantize(noise(n, 4 + n % 3), 12 if y else 7) for n, y in enumerate(labels)]

    def auroc(waveforms: list[np.ndarray]) -> float:
        return roc_auc_score(labels, [len(np.unique(w)) / len(w) for w in waveforms])

    assert auroc(stored) == 1
    assert 0.35 < auroc([dither(w, 9) for w in stored]) < 0.65


def test_all_steps_together_keep_the_waveform():
    front_end = FrontEnd(repair_clips=True, pass_low_hz=25, pass_high_hz=400, bits=10)
    waveform = tone(100) + tone(60, 0.2)
    found = remove_artifacts(waveform, RATE, front_end)
    assert np.corrcoef(found[2000:-2000], waveform[2000:-2000])[0, 1] > 0.99
