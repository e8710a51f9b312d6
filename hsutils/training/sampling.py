"""In which order a training hears its recordings: each once, or every stratum as often.

A recording that is heard more than once in an epoch must be shown anew each time, so that a place
in an even epoch is a recording and how often it came before.
"""

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

Place = tuple[int, int]
"""Index of a recording, and how many times it came before in the epoch."""


class EvenSampler(Sampler[Place]):
    """An epoch in which every stratum gets the same number of places, taken in turn.

    A stratum is a database and a class, say: drawn evenly over them, the database tells nothing of
    the class. Small strata are heard several times in an epoch, large ones in part; which part is
    drawn anew. Every stretch of as many places as there are strata holds each of them once.

    Args:
        strata: (n,) codes or names, one a recording.
        replicas, rank: number of processes and which of them this is; they share the epoch.
        seed: with the epoch (`set_epoch`), the only source of chance.
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
        rounds = -(-total // count)
        members = [np.flatnonzero(self.codes == code) for code in range(count)]
        columns = [_repeated(generator, rows, rounds) for rows in members]
        order = generator.permuted(np.column_stack(columns), axis=1).ravel()[:total]
        places = np.column_stack([order, _occurrences(order)])
        return map(tuple, places[self.rank :: self.replicas].tolist())


def _occurrences(order: np.ndarray) -> np.ndarray:
    """How many times each value came before: (5, 7, 5, 5) -> (0, 0, 1, 2)."""
    by_value = np.argsort(order, kind="stable")
    _, starts = np.unique(order[by_value], return_index=True)
    counts = np.empty_like(order)
    counts[by_value] = np.arange(len(order)) - np.repeat(starts, np.diff([*starts, len(order)]))
    return counts


def _repeated(generator: np.random.Generator, rows: np.ndarray, count: int) -> np.ndarray:
    """`count` of the rows, shuffled; all of them once before any a second time."""
    passes = [generator.permutation(rows) for _ in range(-(-count // len(rows)))]
    return np.concatenate(passes)[:count]
