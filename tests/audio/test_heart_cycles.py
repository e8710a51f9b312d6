"""Beats found in a sound are those that made it; features follow the heart, not the device."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import lfilter

from hsutils.audio import beats as module
from hsutils.audio import heart_cycles as cycles
from hsutils.audio import heart_simulator as simulator
from hsutils.audio.beats import find_beats
from hsutils.audio.devices import room_noise
from hsutils.audio.heart_cycles import PHASES, heart_cycle_features, mean_cycle
from hsutils.audio.heart_simulator import Beats, Patient
from hsutils.config import RECORDED_RATE as RATE
from hsutils.studies.beats import matched

SECONDS = 12.0
SAMPLES = round(SECONDS * RATE)


def sounding(patient: Patient, rng: np.random.Generator) -> tuple[np.ndarray, Beats]:
    """The sound of a heart alone, and when it beats."""
    made = simulator.draw_beats(patient, SECONDS, rng)
    valves = simulator.valve_sounds(patient, made, SAMPLES, rng)
    return valves + simulator.murmur_sound(patient, made, SAMPLES, rng), made


def heart(number: int, noise_db: float = 15.0) -> tuple[np.ndarray, Beats, Patient]:
    """A random patient's heart in a room, and when it beats; every other one is ill."""
    rng = np.random.default_rng([3, number])
    patient = simulator.draw_patient(number % 2, rng)
    sound, made = sounding(patient, rng)
    room = room_noise(SAMPLES, patient.breaths, False, rng)
    return sound + sound.std() * 10 ** (-noise_db / 20) * room, made, patient


def whole_beats(made: Beats) -> np.ndarray:
    """Which beats lie inside the recording as a whole."""
    return (made.onset > 0.3) & (made.onset < SECONDS - 1)


# Beats


@pytest.mark.parametrize("number", range(16))
def test_every_first_sound_is_found_and_no_second_is_taken_for_one(number):
    waveform, made, _ = heart(number)
    found, inside = find_beats(waveform), whole_beats(made)
    first = made.onset[inside]
    second = first + made.systole[inside]
    assert np.abs(first[:, None] - found.onset).min(axis=1).max() < 0.06
    assert np.abs(second[:, None] - found.onset).min() > 0.06
    assert np.abs(second[:, None] - (found.onset + found.systole)).min(axis=1).max() < 0.08
    assert found.period == pytest.approx(np.diff(made.onset).mean(), rel=0.06)
    assert found.regularity > module.CLEAR_HEARTBEAT


def test_loudness_and_polarity_of_a_recording_do_not_matter():
    first, louder = (find_beats(gain * heart(0)[0]) for gain in (1, -7))
    assert np.array_equal([first.onset, first.systole], [louder.onset, louder.systole])


@pytest.mark.parametrize("waveform", [np.zeros(20_000), np.full(20_000, 0.3), np.ones(500)])
def test_silence_and_scraps_have_no_beats(waveform):
    found = find_beats(waveform)
    assert len(found.onset) == len(found.systole) == 0
    assert np.isnan(found.period) and found.regularity == 0


def test_a_knock_does_not_outweigh_the_heart():
    waveform, made, _ = heart(5)
    waveform[10_000:10_200] += 50 * waveform.std() * np.random.default_rng(0).standard_normal(200)
    first = made.onset[whole_beats(made)]
    away = np.abs(first[:, None] - find_beats(waveform).onset).min(axis=1)
    assert np.median(away) < 0.06


@pytest.mark.parametrize("rate", [48, 75, 100, 130, 160, 190])
def test_slow_and_fast_hearts_keep_their_period_and_the_order_of_their_sounds(rate):
    for number in range(4):
        rng = np.random.default_rng([7, rate, number])
        patient = replace(simulator.draw_patient(number % 2, rng), rate=float(rate))
        made = simulator.draw_beats(patient, SECONDS, rng)
        rr = made.systole + made.diastole
        # The simulator's line is that of adults at rest. Diastole takes most of what RR varies.
        systole = 0.33 * np.sqrt(60 / rate) * (rr * rate / 60) ** 0.3
        made = replace(made, systole=systole, diastole=rr - systole)
        sound = simulator.valve_sounds(patient, made, SAMPLES, rng)
        sound += simulator.murmur_sound(patient, made, SAMPLES, rng)
        sound += 0.15 * sound.std() * room_noise(SAMPLES, patient.breaths, False, rng)
        found, inside = find_beats(sound), whole_beats(made)
        assert found.period == pytest.approx(rr.mean(), rel=0.06)
        first, second = made.onset[inside], (made.onset + systole)[inside]
        assert matched(found.onset, first, 0.06) >= 0.9 * len(first)
        assert matched(found.onset + found.systole, second, 0.06) >= 0.9 * len(second)
        assert matched(found.onset, second, 0.06) == 0


TIME = np.arange(10 * RATE) / RATE
NO_HEART = {
    "hum": 0.5 * np.sin(2 * np.pi * 50 * TIME),
    "a tone out of the band": 4e-4 * np.sin(2 * np.pi * 990 * TIME),
    "one click": (np.abs(TIME - 5) < 1e-3).astype(float),
    "the last bit": np.arange(len(TIME)) % 2 / 32_768,
    "a slope": TIME,
}


@pytest.mark.parametrize("name", NO_HEART)
def test_what_holds_no_heart_is_not_regular(name):
    assert find_beats(NO_HEART[name]).regularity < module.CLEAR_HEARTBEAT


def test_noise_is_hardly_ever_regular():
    rng = np.random.default_rng(0)
    noise = [find_beats(rng.standard_normal(SAMPLES)).regularity for _ in range(50)]
    assert np.mean(np.array(noise) > module.CLEAR_HEARTBEAT) <= 0.02


def test_the_autocorrelation_is_that_of_its_definition():
    values = np.random.default_rng(0).standard_normal(300)
    plain = [np.mean(values[: 300 - lag] * values[lag:]) for lag in range(300)]
    assert module._autocorrelation(values) == pytest.approx(np.array(plain) / plain[0])


def test_the_best_chain_is_that_of_trying_step_by_step():
    score, period = np.random.default_rng(1).standard_normal(500), 40
    shortest, longest = (int(factor * period) for factor in module.GAPS)
    best, before = score.copy(), {}
    for step in range(len(score)):
        for gap in range(shortest, longest + 1):
            if step >= gap:
                value = best[step - gap] - module.TIGHTNESS * np.log(gap / period) ** 2
                if value > 0 and score[step] + value > best[step]:
                    best[step], before[step] = score[step] + value, step - gap
    step = max(range(len(score) - longest, len(score)), key=lambda s: best[s])
    chain = [step]
    while step in before:
        step = before[step]
        chain.append(step)
    assert module._chain(score, period).tolist() == chain[::-1]


def test_the_envelope_follows_the_heart_sounds_in_steps_of_ten_milliseconds():
    waveform, made, _ = heart(2, noise_db=30.0)
    loudness = module.envelope(waveform)
    assert len(loudness) == SAMPLES // module.STEP
    assert loudness.mean() == pytest.approx(0, abs=1e-9) and loudness.std() == pytest.approx(1)
    inside = (made.onset > 0) & (made.onset < SECONDS - 1.5)
    onset, systole, diastole = (x[inside] for x in (made.onset, made.systole, made.diastole))
    first, quiet = (
        np.interp(times * RATE / module.STEP, np.arange(len(loudness)), loudness)
        for times in (onset + 0.02, onset + systole + 0.6 * diastole)
    )
    assert first.min() > quiet.max()


# The mean cycle and its features


def with_lesion(lesion: str) -> np.ndarray:
    """One patient's mean cycle, in decibels, with this lesion at grade 3."""
    rng, grade = np.random.default_rng(5), 3 if simulator.LESIONS[lesion].murmur else 0
    patient = replace(simulator.draw_patient(0, rng), lesion=lesion, grade=grade)
    sound, _ = sounding(patient, rng)
    return 10 * mean_cycle(sound + 1e-3 * np.random.default_rng(8).standard_normal(SAMPLES))[0]


LOUD = {"mitral_regurgitation": ["early systole", "late systole"]}
LOUD |= {"mitral_prolapse": ["late systole"], "aortic_regurgitation": ["early diastole"]}


@pytest.mark.parametrize(("lesion", "loud"), LOUD.items())
def test_a_murmur_is_where_it_belongs(lesion, loud):
    gain = (with_lesion(lesion) - with_lesion("none"))[:, 3:].mean(axis=1)
    gain = dict(zip(PHASES, gain, strict=True))
    others = {"early systole", "late systole", "mid diastole", "late diastole"} - set(loud)
    assert min(gain[phase] for phase in loud) > 5 + max(gain[phase] for phase in others)


def test_heart_sounds_are_louder_than_what_is_between_them():
    page = mean_cycle(heart(0, noise_db=25.0)[0])[0].mean(axis=1)
    sounds = page[[PHASES.index("S1"), PHASES.index("S2")]]
    assert sounds.min() > np.delete(page, [0, 3]).max()


def test_a_device_that_filters_and_amplifies_changes_little():
    waveform = 0.05 * heart(0)[0]
    duller = 3 * lfilter([0.4, 0.35, 0.25], [1.0], waveform)
    first, second = (10 * mean_cycle(w)[0] for w in (waveform, duller))
    assert np.abs(second - first).mean() < 1.0 < 2.5 < np.abs(first).mean()


def test_phases_follow_one_another_from_beat_to_beat():
    rhythm = mean_cycle(heart(3)[0])[1]
    edges = cycles._edges(rhythm)
    assert edges.shape == (len(rhythm.onset) - 1, len(PHASES) + 1)
    assert (np.diff(edges, axis=1) > 0).all()
    assert edges[1:, 0] == pytest.approx(edges[:-1, -1])


def test_a_knock_in_one_beat_changes_nothing_but_that_beat():
    waveform = heart(3)[0]
    knocked = waveform.copy()
    knocked[9_000:9_400] += 0.3 * waveform.max() * np.random.default_rng(0).standard_normal(400)
    before, after = (10 * mean_cycle(w)[0] for w in (waveform, knocked))
    assert np.abs(after - before).max() < 1.0


def test_the_end_of_a_recording_does_not_scatter_systole():
    waveform, made, _ = heart(0)
    cut = round((made.onset[6] + 0.1) * RATE)  # inside systole
    scatter = cycles.FEATURES.index("scatter of systole")
    whole, short = (heart_cycle_features(w)[scatter] for w in (waveform, waveform[:cut]))
    assert short < 1.5 * whole


def test_the_rhythm_is_that_of_the_beats():
    waveform, made, patient = heart(4)
    period, share, scatter, _, _ = heart_cycle_features(waveform)[-5:]
    gaps = np.diff(made.onset)
    assert period == pytest.approx(60 / patient.rate, rel=0.06)
    assert share == pytest.approx(made.systole.mean() / gaps.mean(), abs=0.05)
    assert scatter == pytest.approx(gaps.std() / gaps.mean(), abs=0.02)


def test_features_are_the_mean_cycle_its_scatter_and_the_rhythm():
    cells = len(PHASES) * cycles.BANDS
    assert len(cycles.FEATURES) == len(set(cycles.FEATURES)) == 2 * cells + 5 == 117
    assert np.isnan(heart_cycle_features(np.zeros(9_000))).all()
    waveform = heart(0)[0]
    (cycle, rhythm), features = mean_cycle(waveform), heart_cycle_features(waveform)
    assert np.isfinite(features).all()
    assert features[cycles.FEATURES.index("S2, band 3")] == cycle[PHASES.index("S2"), 2]
    assert heart_cycle_features(waveform, rhythm).tolist() == features.tolist()
    assert features[-1] == rhythm.regularity


def test_beats_that_differ_scatter_where_they_differ():
    steady, made, _ = heart(3)
    uneven, rng = steady.copy(), np.random.default_rng(0)
    for onset, systole in zip(made.onset[::2], made.systole[::2], strict=True):
        first = max(0, round((onset + 0.45 * systole) * RATE))
        part = uneven[first : first + round(0.4 * systole * RATE)]
        part += 0.5 * steady.std() * rng.standard_normal(len(part))
    names = np.array(cycles.FEATURES)[:112].reshape(2, len(PHASES), cycles.BANDS)
    assert names[1, 2, 7] == "scatter of late systole, band 8"
    before, after = (heart_cycle_features(w)[56:112].reshape(7, 8)[:, 4:] for w in (steady, uneven))
    gain = (after - before).mean(axis=1)
    assert gain.argmax() == PHASES.index("late systole")


def test_a_linear_model_is_what_its_text_says_and_votes_with_a_network():
    rng = np.random.default_rng(0)
    arrays = [rng.uniform(0.5, 1, 117).round(3) for _ in range(4)]
    model = cycles.LinearModel(*arrays, bias=0.25, share=2.0)
    features = rng.normal(0, 1, (5, 117))
    features[1, 7], features[2, 3] = np.nan, 1e9
    expected = [
        0.25
        + sum(
            weight * max(-3, min(3, ((usual if np.isnan(x) else x) - mean) / deviation))
            for x, usual, mean, deviation, weight in zip(row, *arrays, strict=True)
        )
        for row in features
    ]
    again = cycles.LinearModel.from_json(model.to_json())
    assert again.logits(features) == pytest.approx(expected)
    assert again.together(-1.0, features[2]) == pytest.approx((-1 + 2 * expected[2]) / 2)
