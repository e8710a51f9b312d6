"""Where a network looks: what each cell of a spectrogram contributes to the logit, and a check.

Integrated gradients (Sundararajan et al. 2017, ICML, PMLR 70:3319) compare a recording with a quiet
copy of itself. A map can look right and still say little about the network (Adebayo et al. 2018,
NeurIPS 31:9505), so it is checked where the truth is known: on simulated murmurs.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from captum.attr import IntegratedGradients
from torch import Tensor, nn

from hsutils.audio import heart_simulator as simulator
from hsutils.audio.devices import room_noise
from hsutils.audio.spectrograms import Occupied, log_mel, mel_edges, standardize
from hsutils.config import RECORDED_RATE, FrontEnd

STEPS = 8  # from the quiet copy to the recording
QUIET = 0.1  # share of the frames in which a band is no louder than in the quiet copy
LESIONS = ("aortic_stenosis", "mitral_regurgitation", "aortic_regurgitation", "mitral_prolapse")
SECONDS, SNR_DB = 8.0, 15.0  # of simulated murmurs, all of the loudest grade


def contributions(network: nn.Module, spectrogram: Tensor, occupied: Occupied) -> np.ndarray:
    """What each cell adds to the logit (above 0) or takes from it, shape (mels, frames).

    In the quiet copy each band stays at the level of its quietest tenth. The contributions sum to
    the difference between the logits of the recording and of that copy, but for the coarseness of
    `STEPS`; padding contributes nothing.

    Args:
        network: gives logits (N,) of spectrograms (N, 1, mels, frames), in evaluation mode.
        spectrogram: standardized, shape (mels, frames).
        occupied: the frames that the recording fills.
    """
    quiet, (first, last) = spectrogram.clone(), occupied.frames
    quiet[:, first:last] = spectrogram[:, first:last].quantile(QUIET, dim=1, keepdim=True)
    images = spectrogram[None, None], quiet[None, None]
    return IntegratedGradients(network).attribute(*images, n_steps=STEPS)[0, 0].numpy()


def simulated_murmur(lesion: str, seed: int, front_end: FrontEnd) -> tuple[np.ndarray, np.ndarray]:
    """A simulated heart in a quiet room, and where its murmur lies.

    Returns:
        Waveform (samples,) at `RECORDED_RATE` of peak 1, and a mask (mels, frames) of the frames
        that it fills: true where the middle of a band and of a frame lie in the murmur.
    """
    rng, samples = np.random.default_rng(seed), round(SECONDS * RECORDED_RATE)
    patient = replace(simulator.draw_patient(0, rng), lesion=lesion, grade=4)
    beats = simulator.draw_beats(patient, SECONDS, rng)
    valves = simulator.valve_sounds(patient, beats, samples, rng)
    noise = room_noise(samples, patient.breaths, False, rng) * valves.std() * 10 ** (-SNR_DB / 20)
    waveform = valves + noise + simulator.murmur_sound(patient, beats, samples, rng)
    murmur = simulator.LESIONS[lesion].murmur
    hz, middle = mel_edges(front_end)[1:-1], np.arange(front_end.frames) * front_end.hop
    seconds = (middle + front_end.n_fft / 2) / front_end.sample_rate
    seconds -= (front_end.clip_seconds - SECONDS) / 2
    gain = simulator.murmur_gain(murmur, beats, samples)
    sounds = np.interp(seconds * RECORDED_RATE, np.arange(samples), gain, left=0, right=0) > 0
    waveform /= np.abs(waveform).max()
    filled = slice(*log_mel(waveform, RECORDED_RATE, front_end)[1].frames)
    return waveform, np.outer((hz > murmur.low) & (hz < murmur.high), sounds[filled])


def share_inside(contributed: np.ndarray, inside: np.ndarray) -> tuple[float, float]:
    """The share of all that speaks for abnormal (above 0) that lies inside, and what chance gives.

    Chance is the mean share over all circular shifts of the map in time. So the comparison is about
    when the map is positive, not about its bands.

    Args:
        contributed, inside: a map and a mask of the same occupied frames, shape (mels, frames).
    """
    toward = np.clip(contributed, 0, None)
    total = max(toward.sum(), 1e-12)
    return (toward * inside).sum() / total, toward.sum(axis=1) @ inside.mean(axis=1) / total


def murmur_check(network: nn.Module, front_end: FrontEnd, hearts: int = 4) -> pd.DataFrame:
    """`share_inside` of simulated murmurs: lesion, logit, inside, chance."""
    rows = []
    for lesion in LESIONS:
        for seed in range(hearts):
            waveform, inside = simulated_murmur(lesion, seed, front_end)
            spectrogram, occupied = log_mel(waveform, RECORDED_RATE, front_end)
            image = torch.from_numpy(standardize(spectrogram, front_end))
            filled = slice(*occupied.frames)
            found = contributions(network, image, occupied)[:, filled]
            logit = network(image[None, None]).item()
            rows.append((lesion, logit, *share_inside(found, inside)))
    return pd.DataFrame(rows, columns=["lesion", "logit", "inside", "chance"])
