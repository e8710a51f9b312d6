"""The heart cycle of a recording, seven phases by eight bands: its mean, its scatter, its rhythm.

Every beat is cut into phases. How much louder a band is in one phase than in the whole recording
owes little to the device. Windows of 128 ms are as long as a phase: compare a phase between hearts,
not with its neighbor.
"""

import json
from dataclasses import dataclass

import numpy as np

from hsutils.audio.beats import STEP, Rhythm, find_beats
from hsutils.audio.spectrograms import log_mel, mel_edges
from hsutils.config import RECORDED_RATE, load_profile

PHASES = ("S1", "early systole", "late systole", "S2")
PHASES += ("early diastole", "mid diastole", "late diastole")
BANDS = 8
LIMIT = 3.0  # deviations, beyond which a feature counts no more
LEAST = 0.1  # factors of ten of power, added to the differences between phases
FRONT_END = load_profile("robust").front_end.model_copy(update={"mels": BANDS, "hop": STEP})
_CYCLE = [f"{phase}, band {band + 1}" for phase in PHASES for band in range(BANDS)]
FEATURES = (*_CYCLE, *(f"scatter of {name}" for name in _CYCLE))
FEATURES += ("period", "systole's share", "scatter of the period", "scatter of systole")
FEATURES += ("regularity",)


@dataclass(frozen=True)
class LinearModel:
    """A linear model of `FEATURES`: arrays with one number per feature, and a bias."""

    usual: np.ndarray  # in place of a missing one
    mean: np.ndarray
    deviation: np.ndarray
    weights: np.ndarray  # per deviation
    bias: float
    share: float = 1.0  # of its logit beside one of a network, so that both spread alike

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Logits (n,) of features (n, 117), none of which counts beyond `LIMIT` deviations."""
        known = np.where(np.isnan(features), self.usual, features)
        steps = np.clip((known - self.mean) / self.deviation, -LIMIT, LIMIT)
        return steps @ self.weights + self.bias

    def together(self, network: float, features: np.ndarray) -> float:
        """The mean of a network's logit and this model's, of one recording (117,)."""
        return float(network + self.share * self.logits(features[None])[0]) / 2

    def to_json(self) -> str:
        """As text, for `from_json`."""
        return json.dumps({name: np.round(x, 6).tolist() for name, x in vars(self).items()})

    @classmethod
    def from_json(cls, text: str) -> "LinearModel":
        """What `to_json` wrote; a ValueError or TypeError where it is not."""
        model = cls(**{name: np.asarray(value, float) for name, value in json.loads(text).items()})
        if model.weights.shape != (len(FEATURES),):
            raise ValueError(f"{model.weights.size} features instead of {len(FEATURES)}")
        return model


def band_edges() -> np.ndarray:
    """The edges of the bands in Hz, shape (BANDS + 2,): band k runs from k to k + 2."""
    return mel_edges(FRONT_END)


def mean_cycle(waveform: np.ndarray) -> tuple[np.ndarray, Rhythm]:
    """How loud each band is in each phase of a waveform (samples,) at `RECORDED_RATE`.

    Returns:
        Factors of ten of power over each band's mean, shape (7, 8), the median over beats, NaN
        where there are fewer than two; and the beats.
    """
    rhythm = find_beats(_clip(waveform))
    cycle = heart_cycle_features(waveform, rhythm)[: len(_CYCLE)]
    return cycle.reshape(len(PHASES), BANDS), rhythm


def heart_cycle_features(waveform: np.ndarray, rhythm: Rhythm | None = None) -> np.ndarray:
    """`FEATURES` of a waveform (samples,) at `RECORDED_RATE`, shape (117,), NaN without two beats.

    First comes the mean cycle, then its scatter from beat to beat: the interquartile range over
    the spread between phases in that band. The rhythm is last; it is found unless it is given.
    """
    clip = _clip(waveform)
    rhythm = find_beats(clip) if rhythm is None else rhythm
    if len(rhythm.onset) < 2:
        return np.full(len(FEATURES), np.nan)
    levels = _levels(clip, rhythm)
    low, middle, high = np.quantile(levels, (0.25, 0.5, 0.75), axis=0)
    scatter = (high - low) / (middle.std(axis=0) + LEAST)
    # The last S2 may lie behind the recording's end.
    gaps, systole = np.diff(rhythm.onset), rhythm.systole[:-1]
    beats = np.median(systole) / rhythm.period, gaps.std() / rhythm.period, systole.std()
    return np.concatenate(
        [middle.ravel(), scatter.ravel(), [rhythm.period, *beats, rhythm.regularity]]
    )


def _clip(waveform: np.ndarray) -> np.ndarray:
    return waveform[: round(FRONT_END.clip_seconds * RECORDED_RATE)]


def _levels(clip: np.ndarray, rhythm: Rhythm) -> np.ndarray:
    """Mean level of each band over each phase of each beat, shape (beats - 1, 7, 8)."""
    unpadded = FRONT_END.model_copy(update={"clip_seconds": len(clip) / RECORDED_RATE})
    bands, _ = log_mel(clip, RECORDED_RATE, unpadded)
    middle = FRONT_END.n_fft / 2 / RECORDED_RATE  # of a frame, for which it stands
    count = bands.shape[1]
    frames = np.round((_edges(rhythm) - middle) * RECORDED_RATE / STEP).astype(int).clip(0, count)
    starts = np.minimum(frames[:, :-1], count - 1)
    stops = np.maximum(frames[:, 1:], starts + 1)
    sums = np.vstack([np.zeros(BANDS), np.cumsum(bands.T, axis=0, dtype=float)])
    return (sums[stops] - sums[starts]) / (stops - starts)[..., None]


def _edges(rhythm: Rhythm) -> np.ndarray:
    """Where the phases of each beat begin and the last one ends, s, shape (beats - 1, 8)."""
    first, following = rhythm.onset[:-1], rhythm.onset[1:]
    second = first + rhythm.systole[:-1]
    # A heart sound lasts about 0.06 s to either side of its loudest moment.
    opened, closed = first + 0.06, second - 0.04
    systole = opened, (opened + closed) / 2, closed
    diastole = np.linspace(second + 0.06, following - 0.06, 4)
    return np.stack([first - 0.06, *systole, *diastole], axis=1)
