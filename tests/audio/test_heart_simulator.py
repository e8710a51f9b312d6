"""Simulated hearts keep to physiology: when they beat, how valves ring, where murmurs are."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.random import default_rng

from hsutils.audio import heart_simulator as simulator
from hsutils.audio.heart_simulator import LESIONS, Beats, Patient, draw_beats, murmur_sound, ring
from hsutils.config import RECORDED_RATE as RATE


def even_beats(count: int) -> Beats:
    """Beats of 1 s, of which systole takes 0.4 s."""
    ones = np.ones(count)
    return Beats(np.arange(count) * 1.0, 0.4 * ones, 0.6 * ones, 0 * ones)


def murmur(lesion: str, grade: int = 4) -> np.ndarray:
    """The murmur alone in 200 even beats, shape (samples,)."""
    return murmur_sound(Patient(lesion, grade, 60), even_beats(200), 200 * RATE, default_rng(0))


def beat_profile(lesion: str) -> np.ndarray:
    """Its mean power in each of 50 fiftieths of a beat."""
    return (murmur(lesion) ** 2).reshape(200, 50, RATE // 50).mean(axis=(0, 2))


def valves(lesion: str, breath: float = 0.0) -> np.ndarray:
    """The valves in 20 even beats, at one phase of breathing, shape (beats, samples)."""
    beats = replace(even_beats(20), breath=np.full(20, breath))
    patient = Patient(lesion, 1, 60)
    return simulator.valve_sounds(patient, beats, 20 * RATE, default_rng(0)).reshape(20, RATE)


def extra(lesion: str) -> np.ndarray:
    """What a lesion adds to the valves of a normal heart, mean over the beats."""
    return np.abs(valves(lesion) - valves("none")).mean(axis=0)


def test_odds_of_findings_and_grades_sum_to_one():
    for odds in (simulator.FINDINGS, simulator.OF_ALL_AGES):
        for label in (0, 1):
            assert sum(odds[label].values()) == pytest.approx(1) == sum(simulator.GRADES[label])
            assert set(odds[label]) <= set(LESIONS)
    assert set(simulator.OF_ALL_AGES[0]) | set(simulator.OF_ALL_AGES[1]) == set(LESIONS)


def test_systole_takes_a_greater_share_of_a_faster_heart():
    rates = (50, 65, 80, 95, 110)
    hearts = [draw_beats(Patient("none", 0, rate), 60, default_rng(0)) for rate in rates]
    systole, diastole = ([getattr(b, of).mean() for b in hearts] for of in ("systole", "diastole"))
    assert np.all(np.diff(systole) < 0) and np.all(np.diff(np.divide(systole, diastole)) > 0)


def test_beats_follow_each_other_without_gap_and_cover_the_recording():
    for seed in range(20):
        beats = draw_beats(Patient("none", 0, 72), 30, default_rng(seed))
        length = beats.systole + beats.diastole
        np.testing.assert_allclose(np.diff(beats.onset), length[:-1])
        assert beats.onset[0] <= 0 and beats.onset[-1] + length[-1] >= 30
        assert 60 / np.mean(length) == pytest.approx(72, rel=0.03)


def test_the_heart_quickens_while_breathing_in():
    beats = draw_beats(Patient("none", 0, 70, respiratory=0.06, mayer=0.0), 120, default_rng(0))
    rr = beats.systole + beats.diastole
    assert np.corrcoef(rr, np.sin(beats.breath))[0, 1] < -0.8


def test_a_ring_starts_at_its_onset_peaks_one_decay_later_and_is_cut_not_wrapped():
    sound = ring(np.array([0.5]), np.array([2.0]), 200.0, 0.02, RATE)
    assert not sound[: RATE // 2].any()
    assert np.argmax(np.abs(sound)) / RATE == pytest.approx(0.52, abs=0.004)
    assert np.abs(sound).max() == pytest.approx(2, rel=0.05)
    more = ring(np.array([-3.0, 0.5, 1.5]), np.full(3, 2.0), 200.0, 0.02, RATE)
    np.testing.assert_array_equal(sound, more)


@pytest.mark.parametrize("lesion", [name for name, it in LESIONS.items() if it.murmur])
def test_a_murmur_keeps_to_its_phase(lesion):
    power = beat_profile(lesion)
    share = power[:20].sum() / power.sum()
    assert share > 0.999 if LESIONS[lesion].murmur.phase == "systole" else share < 1e-9


def test_a_murmur_has_the_shape_of_its_lesion():
    stenosis = beat_profile("aortic_stenosis")[:20]
    assert 8 <= stenosis.argmax() <= 12, "a diamond"
    assert stenosis[3:9].mean() > 3 * stenosis[:3].mean()
    assert stenosis[9:12].mean() > 3 * stenosis[16:].mean()
    regurgitation = beat_profile("mitral_regurgitation")[2:18]
    assert regurgitation.max() / regurgitation.min() < 1.3, "level"
    falling = beat_profile("aortic_regurgitation")
    assert falling.argmax() in (20, 21, 22)
    thirds = falling[21:39].reshape(3, 6).mean(axis=1)
    assert thirds[0] > 3 * thirds[1] > 9 * thirds[2]


def test_mitral_prolapse_clicks_in_mid_systole_and_murmurs_late():
    power = beat_profile("mitral_prolapse")[:20]
    assert power[:10].sum() == 0 and power[10:15].mean() < power[15:19].mean() / 3
    assert extra("mitral_prolapse").argmax() / RATE == pytest.approx(0.2, abs=0.01)


def test_a_grade_is_louder_than_the_one_below():
    loudness = [murmur("mitral_regurgitation", grade).std() for grade in (1, 2, 3, 4)]
    assert np.all(np.diff(loudness) > 0)


def test_breathing_in_splits_the_second_sound():
    def width_of_s2(breath: float) -> float:
        energy = valves("none", breath)[1, 780:1000] ** 2
        time = np.arange(energy.size) / RATE
        center = np.average(time, weights=energy)
        return float(np.sqrt(np.average((time - center) ** 2, weights=energy)))

    assert width_of_s2(np.pi / 2) > 1.2 * width_of_s2(-np.pi / 2)


def test_mitral_stenosis_has_a_loud_first_sound_a_snap_and_a_low_rumble():
    added = extra("mitral_stenosis")
    assert added[: RATE // 10].max() > 0.3, "S1"
    snap = added[int(0.41 * RATE) : int(0.6 * RATE)]
    assert 0.41 + snap.argmax() / RATE == pytest.approx(0.4 + 0.08, abs=0.01)
    power = beat_profile("mitral_stenosis")
    assert power[:27].sum() == 0 < power[30:48].min(), "from mid-diastole to the next beat"
    sound = murmur("mitral_stenosis")
    spectrum = np.abs(np.fft.rfft(sound)) ** 2
    hz = np.fft.rfftfreq(len(sound), 1 / RATE)
    assert spectrum[hz < 150].sum() > 0.9 * spectrum.sum()


@pytest.mark.parametrize(
    ("lesion", "seconds"), [("atrial_septal_defect", 0.05), ("pulmonary_stenosis", 0.07)]
)
def test_a_fixed_split_does_not_follow_breathing(lesion, seconds):
    phases = np.pi / 2, -np.pi / 2
    inspiration, expiration = (valves(lesion, breath)[1, 800:1100] for breath in phases)
    # Breathing in moves the heart away from the chest, but moves no sound in time.
    assert np.corrcoef(inspiration, expiration)[0, 1] > 0.999
    moving = [valves("none", breath)[1, 800:1100] for breath in phases]
    assert np.corrcoef(*moving)[0, 1] < 0.99
    assert LESIONS[lesion].split == seconds


def test_hearts_of_all_ages_beat_as_fast_as_newborns_and_have_room_for_their_sounds():
    drawn = [simulator.draw_patient(number % 2, default_rng(number), True) for number in range(400)]
    rates = np.array([patient.rate for patient in drawn])
    assert rates.min() >= 48 and 180 < rates.max() <= 190
    assert 0.4 < np.mean([patient.child for patient in drawn]) < 0.6
    assert {patient.lesion for patient in drawn} == set(LESIONS)
    for rate in (80, 120, 190):
        beats = draw_beats(Patient("none", 0, rate, child=True), 30, default_rng(0))
        # What the table of beats of 778 recordings of children says, see `draw_beats`.
        expected = {80: 0.287, 120: 0.228, 190: 0.175}[rate]
        assert beats.systole.mean() == pytest.approx(expected, abs=0.01)
        assert beats.diastole.min() > 0.08


def test_adults_are_drawn_as_before_there_were_children():
    patient = simulator.draw_patient(1, default_rng(3))
    assert (patient.lesion, patient.grade, patient.child) == ("aortic_stenosis", 2, False)
    assert max(simulator.draw_patient(n % 2, default_rng(n)).rate for n in range(200)) <= 110
