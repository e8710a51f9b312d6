"""What a network is trained with: which recordings, how often, and how much of each.

Every view depends on nothing but seed, epoch and recording, so that it is the same with any
number of workers or devices, and after a restart.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from lightning_fabric import Fabric
from numpy.typing import ArrayLike
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler, Sampler

from hsutils.audio.augment import spec_augment
from hsutils.audio.devices import simulate_device
from hsutils.audio.spectrograms import Occupied, log_mel, standardize
from hsutils.audio.wav import read_waveform
from hsutils.config import RECORDED_RATE, Augment, Fit
from hsutils.data.cache import SpectrogramCache, build_cache
from hsutils.data.corpus import Corpus
from hsutils.data.synthetic import VERSION, write_training_recordings
from hsutils.run import Run

Place = tuple[int, int]  # a recording's index, and how often it came before in the epoch


@dataclass(eq=False)
class ViewPairs(Dataset):
    """Positive pairs for contrastive pre-training: two views of each recording (paper section 4).

    `settings.pair` "masked" gives the recording and its SpecAugment copy, or two copies with
    `both_views`; "crops" gives two stretches of the waveform.
    """

    cache: SpectrogramCache
    rows: np.ndarray  # of the cache, shape (N,)
    settings: Augment
    seed: int
    paths: Sequence[str] = ()  # by row of the cache; for views made from the waveform
    epoch: int = 1
    strata: None = None  # every recording is shown once

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """The two views, each of shape (1, mels, frames)."""
        row = int(self.rows[index])
        if self.settings.pair == "crops" or self.settings.simulate_devices:
            return self._stretch(row, 0), self._stretch(row, 1)
        original, occupied = self.cache.batch([row])[0], self.cache.occupied(row)
        generator = np.random.default_rng([self.seed, self.epoch, row])
        second = spec_augment(original, occupied, self.settings, generator)
        if not self.settings.both_views:
            return original, second
        return spec_augment(original, occupied, self.settings, generator), second

    def _stretch(self, row: int, number: int) -> Tensor:
        """A stretch of the waveform, through another device and the front end, then masked."""
        settings, front_end = self.settings, self.cache.front_end
        generator = np.random.default_rng([self.seed, self.epoch, row, number])
        waveform = read_waveform(self.paths[row])
        if settings.pair == "crops":
            front_end = front_end.model_copy(update={"clip_seconds": settings.crop_seconds})
            length = round(settings.crop_seconds * RECORDED_RATE)
            if length < len(waveform):
                start = int(generator.integers(len(waveform) - length + 1))
                waveform = waveform[start : start + length]
        if settings.simulate_devices:
            waveform = simulate_device(waveform, generator)
        scaled, occupied = log_mel(waveform, RECORDED_RATE, front_end)
        spectrogram = standardize(scaled, front_end)[None]
        return spec_augment(spectrogram, _inner(occupied), settings, generator)


@dataclass(frozen=True)
class Crops:
    """A crop of each recording, drawn anew in each epoch, and masked or not.

    It is drawn from the frames that the recording occupies; a shorter recording is repeated.
    """

    frames: int = 0  # of a crop; 0 gives the whole spectrogram
    masks: Augment | None = None  # SpecAugment's settings
    seed: int = 0

    def of(self, cache: SpectrogramCache, row: int, epoch: int, number: int = 0) -> Tensor:
        """Crop `number` of a row of the cache in an epoch, shape (1, mels, frames)."""
        generator = np.random.default_rng([self.seed, epoch, row, number])
        spectrogram, occupied = cache.batch([row])[0], cache.occupied(row)
        if self.frames:
            first, last = occupied.frames
            start = first + int(generator.integers(max(1, last - first - self.frames + 1)))
            whole = spectrogram[..., start : min(last, start + self.frames)]
            columns = torch.arange(self.frames) % whole.shape[-1]
            spectrogram = whole[..., columns]
            occupied = Occupied(occupied.rows, (0, self.frames))
        if self.masks is None:
            return spectrogram
        return spec_augment(spectrogram, _inner(occupied), self.masks, generator)


def _inner(occupied: Occupied) -> Occupied:
    """All but the first and last frame: masked, they would look like padding to a network."""
    first, last = occupied.frames
    return Occupied(occupied.rows, (first + 1, last - 1)) if last - first > 2 else occupied


@dataclass(eq=False)
class Labeled(Dataset):
    """Spectrograms with their targets: labels, or a teacher's soft labels."""

    cache: SpectrogramCache
    rows: np.ndarray  # of the cache, shape (N,)
    targets: ArrayLike  # probability of abnormal for each row, shape (N,); becomes a tensor
    strata: np.ndarray | None = None  # (N,) what an even sampling is even over: `EvenSampler`
    crops: Crops | None = None  # what is shown of them; by default all
    epoch: int = 1

    def __post_init__(self):
        self.targets = torch.tensor(np.asarray(self.targets, dtype=np.float32))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: int | Place) -> tuple[Tensor, Tensor]:
        """One spectrogram or crop (1, mels, frames), and its target, a scalar."""
        index, occurrence = place if isinstance(place, tuple) else (place, 0)
        row = int(self.rows[index])
        if self.crops is None:
            return self.cache.batch([row])[0], self.targets[index]
        return self.crops.of(self.cache, row, self.epoch, occurrence), self.targets[index]


class Together(Dataset):
    """Real and synthetic recordings as one dataset; crops give them one shape."""

    def __init__(self, real: Labeled, synthetic: Labeled):
        self.real, self.synthetic, self.epoch = real, synthetic, 1
        self.strata = np.concatenate([real.strata, synthetic.strata])

    def __len__(self) -> int:
        return len(self.strata)

    def __getitem__(self, place: Place) -> tuple[Tensor, Tensor]:
        """One crop (1, mels, frames), and its target, a scalar."""
        index, occurrence = place
        beyond = index - len(self.real)
        part, index = (self.real, index) if beyond < 0 else (self.synthetic, beyond)
        part.epoch = self.epoch
        return part[index, occurrence]


def labeled(corpus: Corpus, split: str) -> Labeled:
    """Whole spectrograms of one split with their true labels."""
    return Labeled(corpus.cache, corpus.rows(split), corpus.of(split).label)


def examples_of(
    run: Run, corpus: Corpus, section: str, split: str, targets: ArrayLike
) -> Labeled | Together:
    """What a classifier is trained with, sampled and shown as the profile's section says.

    `section` is finetune, student or baseline; `targets` (n,) of the split's recordings are in
    [0, 1].
    """
    settings: Fit = getattr(run.profile, section)
    front_end, recordings, strata = run.profile.front_end, corpus.of(split), None
    if settings.sampling == "even":
        # By the targets, not the labels: a student must not learn the labels through its sampling.
        positive = pd.Series(np.asarray(targets) > 0.5, recordings.index)
        strata = (recordings.database + positive.astype(str)).to_numpy()
    frames = round(settings.crop_seconds * front_end.sample_rate / front_end.hop)
    masks = run.profile.augment if settings.masks else None
    crops = Crops(frames, masks, run.profile.seed) if frames or masks else None
    real = Labeled(corpus.cache, corpus.rows(split), targets, strata, crops)
    return Together(real, _synthetic(run, settings, crops)) if settings.synthetic else real


def _synthetic(run: Run, settings: Fit, crops: Crops) -> Labeled:
    """Synthetic recordings, shown as the real ones are, as so many databases of their own."""
    asked = run.profile.synthetic
    recordings = write_training_recordings(asked)
    front_end = run.profile.front_end.model_copy(update={"clip_seconds": asked.seconds})
    cache = build_cache(recordings, front_end)
    # Where the names of strata sort decides the order of an epoch: these follow database a.
    database = [f"artificial {n // 2 % settings.synthetic}" for n in range(len(recordings))]
    strata = np.char.add(database, recordings.label.astype(bool).astype(str).to_numpy(str))
    return Labeled(cache, np.arange(len(recordings)), recordings.label, strata, crops)


def synthetic_identity(run: Run, section: str) -> list[object]:
    """What a fingerprint must know of synthetic recordings: nothing, where none are used."""
    asked = run.profile.synthetic.model_copy(update={"folder": ""})
    return [asked, VERSION] if getattr(run.profile, section).synthetic else []


def loader(
    examples: Dataset, batch_size: int, seed: int, workers: int, fabric: Fabric
) -> DataLoader:
    """Shuffled batches, of which every process gets its share."""
    # Not by `fabric.setup_dataloaders`, which counts epochs itself, anew after every restart.
    place = fabric.world_size, fabric.global_rank
    if examples.strata is None:
        # It shuffles by seed + epoch: neighboring seeds would share most of their orders.
        sampler = DistributedSampler(examples, *place, seed=1000 * seed)
    else:
        sampler = EvenSampler(examples.strata, *place, seed=seed)
    return DataLoader(
        examples,
        batch_size=batch_size,
        sampler=sampler,
        # Neither batch normalization nor NT-Xent can use a last batch of one recording.
        drop_last=len(sampler) % batch_size == 1,
        num_workers=workers,
        pin_memory=fabric.device.type == "cuda",
    )


class EvenSampler(Sampler[Place]):
    """An epoch in which every stratum gets the same number of places, taken in turn.

    A stratum is a database and a class, say: drawn evenly over them, the database tells nothing of
    the class. Small strata are shown several times in an epoch, large ones in part; the part is
    drawn anew. Every stretch of as many places as there are strata holds each of them once.
    `strata` holds a name for each recording, shape (n,); `replicas` processes share the epoch.
    """

    def __init__(self, strata: np.ndarray, replicas: int = 1, rank: int = 0, seed: int = 0):
        _, self.codes = np.unique(strata, return_inverse=True)
        self.replicas, self.rank, self.seed, self.epoch = replicas, rank, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-len(self.codes) // self.replicas)

    def __iter__(self) -> Iterator[Place]:
        generator = np.random.default_rng([self.seed, self.epoch])
        count, total = self.codes.max() + 1, len(self) * self.replicas
        rounds, columns = -(-total // count), []
        for code in range(count):
            rows = np.flatnonzero(self.codes == code)
            # All of them once before any a second time.
            passes = [generator.permutation(rows) for _ in range(-(-rounds // len(rows)))]
            columns.append(np.concatenate(passes)[:rounds])
        order = generator.permuted(np.column_stack(columns), axis=1).ravel()[:total]
        occurrence = pd.Series(order).groupby(order).cumcount()
        places = np.column_stack([order, occurrence])
        return map(tuple, places[self.rank :: self.replicas].tolist())
