"""A patient's heart as a sum of sounds: its beats, the closing of its valves, its murmurs.

Times are seconds from the start, waveforms have `RECORDED_RATE`, and the first heart sound (S1) of
an average beat peaks near 1. Rooms and devices follow in `devices`.
"""

from dataclasses import dataclass

import numpy as np
from scipy.signal import butter, sosfilt

from hsutils.config import RECORDED_RATE

Rng = np.random.Generator
MURMUR_DB = {1: -33.0, 2: -26.0, 3: -20.0, 4: -14.0}
"""RMS of a murmur where it is loudest, relative to the peak of S1, for each grade."""

SHAPES = {  # gain (0 to 1) of a murmur against the position in it (0 to 1)
    "diamond": lambda u: np.sin(np.pi * u),
    "plateau": lambda u: np.minimum(1, np.minimum(u, 1 - u) / 0.08),
    "decrescendo": lambda u: np.minimum(1, u / 0.05) * (1 - u) ** 1.5,
    "crescendo": lambda u: u**1.5 * np.minimum(1, (1 - u) / 0.05),
}


@dataclass(frozen=True)
class Murmur:
    """Band-limited turbulence with a place and a shape in the cardiac cycle."""

    phase: str  # systole or diastole
    start: float  # as a fraction of that phase
    stop: float
    shape: str  # of SHAPES
    low: float  # Hz, band edges
    high: float


@dataclass(frozen=True)
class Lesion:
    """What a diagnosis does to the sounds: its murmur, and gains relative to a normal S1."""

    murmur: Murmur | None = None
    s1: float = 1.0  # factors on the first and second heart sound
    s2: float = 1.0
    s3: float = 0.0  # gains of the extra sounds
    s4: float = 0.0
    click: float = 0.0
    snap: float = 0.0  # of a stiff mitral valve that opens
    split: float = 0.0  # s, from A2 to P2 at all times; 0 for a split that breathing moves


# Timing and shape: Leatham 1958, "Systolic murmurs", Circulation 17:601 (ejection murmurs are
# diamonds ending before S2, regurgitant ones fill systole); Barlow and Bosman 1966, Am. Heart J.
# 71:166 (click and late murmur of mitral prolapse); Wood 1954, Br. Med. J. 1:1051 (loud S1, opening
# snap about 0.08 s after S2 and rumble of mitral stenosis); Leatham and Weitzman 1957, Br. Heart J.
# 19:303 (late P2 of pulmonary stenosis); Leatham and Segal 1962, Circulation 25:318 (ventricular
# septal defect); Leatham and Gray 1956, Br. Heart J. 18:193 (fixed split of S2 and ejection murmur
# of atrial septal defect). Bands and gains are ours: typical, not fitted.
LESIONS = {
    "none": Lesion(),
    "innocent": Lesion(Murmur("systole", 0.15, 0.65, "diamond", 70, 220)),
    "physiological_s3": Lesion(s3=0.2),
    "aortic_stenosis": Lesion(Murmur("systole", 0.12, 0.92, "diamond", 80, 400), s2=0.7),
    "mitral_regurgitation": Lesion(Murmur("systole", 0.02, 1.0, "plateau", 120, 500), s1=0.8),
    "aortic_regurgitation": Lesion(Murmur("diastole", 0.0, 0.65, "decrescendo", 130, 600)),
    "mitral_prolapse": Lesion(Murmur("systole", 0.5, 1.0, "crescendo", 120, 450), click=0.35),
    "gallop": Lesion(s1=0.8, s3=0.4, s4=0.3),
    "mitral_stenosis": Lesion(Murmur("diastole", 0.25, 1, "plateau", 35, 120), s1=1.5, snap=0.35),
    "tricuspid_regurgitation": Lesion(Murmur("systole", 0.02, 1.0, "plateau", 90, 350)),
    "pulmonary_stenosis": Lesion(Murmur("systole", 0.1, 1, "diamond", 90, 400), split=0.07),
    "pulmonary_regurgitation": Lesion(Murmur("diastole", 0.1, 0.7, "decrescendo", 80, 300)),
    "ventricular_septal_defect": Lesion(Murmur("systole", 0.02, 1.0, "plateau", 100, 450)),
    "atrial_septal_defect": Lesion(Murmur("systole", 0.15, 0.8, "diamond", 80, 300), split=0.05),
}
# The odds of each finding among normal (0) and abnormal (1) recordings, and of its grade on the
# scale of Freeman and Levine 1933, Ann. Intern. Med. 6:1371. Grade 1 is nearly hidden by noise.
FINDINGS = {0: {"none": 0.68, "innocent": 0.26, "physiological_s3": 0.06}}
FINDINGS[1] = {"aortic_stenosis": 0.25, "mitral_regurgitation": 0.27, "aortic_regurgitation": 0.2}
FINDINGS[1] |= {"mitral_prolapse": 0.2, "gallop": 0.08}
GRADES = {0: (0.5, 0.4, 0.1, 0.0), 1: (0.13, 0.32, 0.35, 0.2)}
# At all ages: children often have an innocent murmur, and are born with defects.
OF_ALL_AGES = {0: {"none": 0.6, "innocent": 0.34, "physiological_s3": 0.06}}
OF_ALL_AGES[1] = {"aortic_stenosis": 0.17, "mitral_regurgitation": 0.17, "mitral_stenosis": 0.12}
OF_ALL_AGES[1] |= {"aortic_regurgitation": 0.12, "mitral_prolapse": 0.12, "gallop": 0.05}
OF_ALL_AGES[1] |= {"tricuspid_regurgitation": 0.05, "pulmonary_stenosis": 0.06}
OF_ALL_AGES[1] |= {"pulmonary_regurgitation": 0.03, "ventricular_septal_defect": 0.06}
OF_ALL_AGES[1] |= {"atrial_septal_defect": 0.05}


@dataclass(frozen=True)
class Patient:
    """One heart: its rhythm, the pitch of its valves, and its lesion."""

    lesion: str  # of LESIONS
    grade: int  # loudness of the murmur, 1 to 4; 0 without a murmur
    rate: float  # mean heart rate, beats a minute
    breaths: float = 15.0  # a minute
    respiratory: float = 0.03  # depth of two rhythms in the RR interval, fraction of its mean
    mayer: float = 0.02
    systole_offset: float = 0.0  # s, from the mean systolic interval at this rate
    pitch: float = 1.0  # factor on the frequency of every valve
    s2: float = 0.8  # second heart sound relative to the first, at this place on the chest
    child: bool = False


@dataclass(frozen=True)
class Beats:
    """The timetable of a recording; every array has shape (beats,)."""

    onset: np.ndarray  # S1, s; the first beat starts at or before 0
    systole: np.ndarray  # from S1 to S2, s
    diastole: np.ndarray  # from S2 to the next S1, s
    breath: np.ndarray  # phase of breathing at S1, rad; its sine is positive while breathing in


def draw_patient(label: int, rng: Rng, all_ages: bool = False) -> Patient:
    """A random patient at rest, normal (label 0) or abnormal (1); only findings differ.

    An adult, or at `all_ages` a child in half of the cases, with the heart rates of newborns to
    adolescents (Fleming et al. 2011, Lancet 377:1011).
    """
    odds = (OF_ALL_AGES if all_ages else FINDINGS)[label]
    lesion = str(rng.choice(list(odds), p=list(odds.values())))
    grade = int(rng.choice(4, p=GRADES[label])) + 1 if LESIONS[lesion].murmur else 0
    child = all_ages and rng.random() < 0.5
    rate = rng.uniform(70, 190) if child else float(np.clip(rng.normal(76, 13), 48, 110))
    return Patient(
        lesion=lesion,
        grade=grade,
        child=child,
        rate=rate,
        breaths=rng.uniform(11, 20) * (rate / 76 if child else 1),
        respiratory=rng.uniform(0.01, 0.06),
        mayer=rng.uniform(0.01, 0.03),
        systole_offset=rng.normal(0, 0.014),
        pitch=rng.lognormal(0, 0.15),
        s2=rng.lognormal(np.log(0.75), 0.35),
    )


def draw_beats(patient: Patient, seconds: float, rng: Rng) -> Beats:
    """Beats that cover a recording of `seconds`.

    RR intervals carry a respiratory rhythm, a Mayer wave at 0.1 Hz (McSharry et al. 2003, ECGSYN,
    IEEE Trans. Biomed. Eng. 50:289), and jitter.
    """
    mean = 60 / patient.rate
    nominal = mean * np.arange(int(np.ceil(seconds / (0.75 * mean))) + 2)
    breath = 2 * np.pi * (patient.breaths / 60 * nominal + rng.uniform())
    mayer = 2 * np.pi * (0.1 * nominal + rng.uniform())
    jitter = np.clip(rng.normal(0, 0.012, nominal.size), -0.04, 0.04)
    rr = mean * (1 - patient.respiratory * np.sin(breath) + patient.mayer * np.sin(mayer) + jitter)
    onset = np.cumsum(rr) - rr - rng.uniform() * rr[0]
    # Electromechanical systole QS2 = 546 - 2.1 rate ms (Weissler, Harris and Schoenfeld 1968,
    # Circulation 37:149, men), less about 60 ms from the Q wave to S1: diastole gives way first.
    systole = (546 - 2.1 * (60 / rr) - 60) / 1000
    if patient.child:  # fitted to the S1 and S2 that CirCor's table of beats has of 778 recordings
        systole = 0.338 * rr**0.57
    systole = systole + patient.systole_offset
    systole = np.clip(systole, 0.15, 0.6 * rr)
    return Beats(onset, systole, rr - systole, breath)


def ring(
    onset: np.ndarray, gain: np.ndarray, frequency: float, decay: float, samples: int
) -> np.ndarray:
    """Valve closures, shape (samples,), cut at the ends of the recording.

    Each is a decaying chirp (Xu, Durand and Pibarot 2000, IEEE Trans. Biomed. Eng. 47:1328).

    Args:
        onset, gain: start of each closure, s, and peak of its envelope, shapes (beats,).
        frequency: pitch after the fall, Hz; it starts half as high again.
        decay: time constant, s; the envelope peaks one constant after the onset.
    """
    first = np.ceil(onset * RECORDED_RATE).astype(int)
    place = first[:, None] + np.arange(int(10 * decay * RECORDED_RATE))
    t = place / RECORDED_RATE - onset[:, None]
    envelope = t / decay * np.exp(1 - t / decay)
    phase = 2 * np.pi * frequency * (t + 0.5 * decay * (1 - np.exp(-t / decay)))
    sound = gain[:, None] * envelope * np.sin(phase)
    inside = (place >= 0) & (place < samples)
    return np.bincount(place[inside], sound[inside], minlength=samples)


def valve_sounds(patient: Patient, beats: Beats, samples: int, rng: Rng) -> np.ndarray:
    """S1 (mitral, tricuspid), S2 (aortic, pulmonary) and the lesion's extra sounds, (samples,).

    Breathing in delays P2, so S2 splits, and moves the heart away from the chest wall (Leatham
    1954, Lancet 267:607).
    """
    lesion, inspiration = LESIONS[patient.lesion], np.sin(beats.breath)
    hurry = min(1, 110 / patient.rate)  # diastole is short in the fastest hearts
    loudness = (1 - 0.12 * inspiration) * rng.lognormal(0, 0.08, beats.onset.size)
    s2, s2_gain = beats.onset + beats.systole, lesion.s2 * patient.s2
    split = lesion.split or 0.012 + 0.03 * np.maximum(0, inspiration)
    # Two short sharp parts, of 110 and 130 Hz, give S1 and S2 their energy above 100 Hz.
    components = (  # onset (s), gain, frequency (Hz), decay (s)
        (beats.onset, lesion.s1, 30, 0.016),
        (beats.onset + 0.024, 0.6 * lesion.s1, 45, 0.012),
        (beats.onset + 0.012, 0.3 * lesion.s1, 110, 0.005),
        (s2, s2_gain, 42, 0.011),
        (s2 + split, 0.5 * s2_gain, 35, 0.012),
        (s2 + 0.004, 0.3 * s2_gain, 130, 0.004),
        (s2 + 0.15 * hurry, lesion.s3, 26, 0.018),
        (beats.onset - 0.1 * hurry, lesion.s4, 22, 0.018),
        (s2 + 0.08 * hurry, lesion.snap, 100, 0.006),
        (beats.onset + 0.5 * beats.systole, lesion.click, 120, 0.004),
    )
    return sum(
        ring(onset, gain * loudness, frequency * patient.pitch, decay, samples)
        for onset, gain, frequency, decay in components
        if gain
    )


def murmur_sound(patient: Patient, beats: Beats, samples: int, rng: Rng) -> np.ndarray:
    """The patient's murmur alone, shape (samples,): white noise, filtered and shaped; or zeros."""
    murmur = LESIONS[patient.lesion].murmur
    if murmur is None:
        return np.zeros(samples)
    band = butter(2, (murmur.low, murmur.high), "bandpass", fs=RECORDED_RATE, output="sos")
    noise = sosfilt(band, rng.standard_normal(samples))
    level = 10 ** (MURMUR_DB[patient.grade] / 20)
    return level * noise / noise.std() * murmur_gain(murmur, beats, samples)


def murmur_gain(murmur: Murmur, beats: Beats, samples: int) -> np.ndarray:
    """How loud a murmur is at each sample, from 0 outside its phase to 1, shape (samples,)."""
    time = np.arange(samples) / RECORDED_RATE
    beat = np.searchsorted(beats.onset, time, side="right") - 1
    start, length = beats.onset, beats.systole
    if murmur.phase == "diastole":
        start, length = start + beats.systole, beats.diastole
    position = (time - start[beat]) / length[beat]
    u = (position - murmur.start) / (murmur.stop - murmur.start)
    return np.where((u >= 0) & (u <= 1), SHAPES[murmur.shape](np.clip(u, 0, 1)), 0)
