"""What a network is trained with: which recordings, how often, and how much of each.

Every view depends on nothing but seed, epoch, recording and its row of the cache, so that it is
the same with any number of workers or devices, and after a restart.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from lightning_fabric import Fabric
from numpy.typing import ArrayLike
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler

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
SLOWEST, CHANGED = 0.85, 0.7  # tempo of a crop, at least; and the share of crops that are changed


@dataclass(eq=False)
class ViewPairs(Dataset):
    """Positive pairs for contrastive pre-training: two views of each recording (paper section 4).

    They are the recording and its SpecAugment copy, or whatever `Augment` asks for.
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
        row, settings = int(self.rows[index]), self.settings
        if settings.pair == "crops" or settings.simulate_devices:
            return self._stretch(row, 0), self._stretch(row, 1)
        first, occupied = self.cache.batch([row])[0], self.cache.occupied(row)
        generator = np.random.default_rng([self.seed, self.epoch, row])
        second = spec_augment(first, occupied, settings, generator)
        if settings.both_views:
            first = spec_augment(first, occupied, settings, generator)
        return first, second

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
        spectrogram = torch.from_numpy(standardize(scaled, front_end))[None]
        return spec_augment(spectrogram, _inner(occupied), settings, generator)


def _inner(occupied: Occupied) -> Occupied:
    """All but the first and last frame: masked, they would look like padding to a network."""
    first, last = occupied.frames
    return Occupied(occupied.rows, (first + 1, last - 1)) if last - first > 2 else occupied


@dataclass(eq=False)
class Labeled(Dataset):
    """Spectrograms with their targets: labels, or a teacher's soft labels.

    With `crop_frames`, a crop of what each recording occupies, drawn anew in each epoch; a shorter
    recording is repeated.
    """

    cache: SpectrogramCache
    rows: np.ndarray  # of the cache, shape (N,)
    targets: ArrayLike  # probability of abnormal for each row, shape (N,); becomes a tensor
    strata: np.ndarray | None = None  # what an even sampling is even over: `EvenSampler`
    crop_frames: int = 0  # 0 shows the whole spectrogram
    tempo: float = 1.0  # the fastest; 1 leaves crops as they are
    masks: Augment | None = None  # SpecAugment's settings
    seed: int = 0  # of crops and masks
    more: "Labeled | None" = None  # of another cache, numbered on after the rows
    epoch: int = 1

    def __post_init__(self):
        self.targets = torch.tensor(np.asarray(self.targets, dtype=np.float32))

    def __len__(self) -> int:
        return len(self.rows) + (len(self.more) if self.more else 0)

    def __getitem__(self, place: int | Place) -> tuple[Tensor, Tensor]:
        """One spectrogram or crop (1, mels, frames), and its target, a scalar."""
        index, occurrence = place if isinstance(place, tuple) else (place, 0)
        if self.more and index >= len(self.rows):
            self.more.epoch = self.epoch
            return self.more[index - len(self.rows), occurrence]
        row = int(self.rows[index])
        generator = np.random.default_rng([self.seed, self.epoch, row, occurrence])
        spectrogram, occupied = self.cache.batch([row])[0], self.cache.occupied(row)
        if self.crop_frames:
            spectrogram = self._crop(spectrogram, *occupied.frames, generator)
            occupied = Occupied(occupied.rows, (0, self.crop_frames))
        if self.masks:
            spectrogram = spec_augment(spectrogram, _inner(occupied), self.masks, generator)
        return spectrogram, self.targets[index]

    def _crop(
        self, spectrogram: Tensor, first: int, last: int, generator: np.random.Generator
    ) -> Tensor:
        """`crop_frames` frames from between `first` and `last`, often played faster or slower."""
        tempo, length = 1.0, self.crop_frames
        if self.tempo != 1 and generator.random() < CHANGED:
            # In equal steps of its logarithm.
            tempo = float(np.exp(generator.uniform(*np.log([SLOWEST, self.tempo]))))
        frames = math.ceil(tempo * length)
        start = first + int(generator.integers(max(1, last - first - frames + 1)))
        whole = spectrogram[..., start : min(last, start + frames)]
        # Between two frames, where the tempo asks for it; the last is followed by the first.
        time = torch.arange(length) * tempo % whole.shape[-1]
        before, after = time.long(), (time.long() + 1) % whole.shape[-1]
        return whole[..., before].lerp(whole[..., after], time - before)


def labeled(corpus: Corpus, split: str) -> Labeled:
    """Whole spectrograms of one split with their true labels."""
    return Labeled(corpus.cache, corpus.rows(split), corpus.of(split).label)


def examples_of(run: Run, corpus: Corpus, section: str, split: str, targets: ArrayLike) -> Labeled:
    """What a classifier is trained with, sampled and shown as the profile's section says.

    `section` is finetune, student or baseline; `targets` (n,) lie in [0, 1].
    """
    settings: Fit = getattr(run.profile, section)
    front_end, recordings, strata = run.profile.front_end, corpus.of(split), None
    shown = {
        "crop_frames": round(settings.crop_seconds * front_end.sample_rate / front_end.hop),
        "tempo": settings.tempo,
        "masks": run.profile.augment if settings.masks else None,
        "seed": run.profile.seed,
    }
    if settings.sampling == "even":
        # By the targets, not the labels: a student must not learn the labels through its sampling.
        positive = pd.Series(np.asarray(targets) > 0.5, recordings.index)
        strata = (recordings.database + positive.astype(str)).to_numpy()
    if settings.synthetic:
        shown["more"] = _synthetic(run, settings.synthetic, shown)
        strata = np.concatenate([strata, shown["more"].strata])
    return Labeled(corpus.cache, corpus.rows(split), targets, strata, **shown)


def _synthetic(run: Run, databases: int, shown: dict) -> Labeled:
    """Synthetic recordings, shown as the real ones, as so many databases of their own."""
    asked = run.profile.synthetic
    recordings = write_training_recordings(asked)
    front_end = run.profile.front_end.model_copy(update={"clip_seconds": asked.seconds})
    cache = build_cache(recordings, front_end)
    # Where the names of strata sort decides the order of an epoch: these follow database a.
    database = [f"artificial {n // 2 % databases}" for n in range(len(recordings))]
    strata = np.char.add(database, recordings.label.astype(bool).astype(str).to_numpy(str))
    return Labeled(cache, np.arange(len(recordings)), recordings.label, strata, **shown)


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
        sampler = EvenSampler(examples, *place, seed=seed)
    # Neither batch normalization nor NT-Xent can use a last batch of one recording.
    options = {"sampler": sampler, "drop_last": len(sampler) % batch_size == 1}
    options |= {"num_workers": workers, "pin_memory": fabric.device.type == "cuda"}
    return DataLoader(examples, batch_size, **options)


class EvenSampler(DistributedSampler):
    """An epoch in which every stratum gets the same number of places, taken in turn.

    With an even draw over databases and classes, the database says nothing about the class. Small
    strata are shown several times in an epoch, large ones in part; the part is drawn anew. Of n
    strata, each occurs once in every n places.
    """

    def __iter__(self) -> Iterator[Place]:
        generator = np.random.default_rng([self.seed, self.epoch])
        _, codes = np.unique(self.dataset.strata, return_inverse=True)
        count = codes.max() + 1
        rounds, columns = -(-self.total_size // count), []
        for code in range(count):
            rows = np.flatnonzero(codes == code)
            # All of them once before any a second time.
            passes = [generator.permutation(rows) for _ in range(-(-rounds // len(rows)))]
            columns.append(np.concatenate(passes)[:rounds])
        order = generator.permuted(np.column_stack(columns), axis=1).ravel()[: self.total_size]
        occurrence = pd.Series(order).groupby(order).cumcount()
        places = np.column_stack([order, occurrence])
        return map(tuple, places[self.rank :: self.num_replicas].tolist())
