"""An even epoch: as many places for every stratum, none left out, another order each time."""

from collections import Counter

import numpy as np
import pytest

from hsutils.training.sampling import EvenSampler

STRATA = np.repeat(["a0", "a1", "b0", "b1"], [60, 3, 25, 12])


def places(epoch: int = 0) -> list[tuple[int, int]]:
    sampler = EvenSampler(STRATA)
    sampler.set_epoch(epoch)
    return list(sampler)


def order(epoch: int = 0, seed: int = 0, replicas: int = 1, rank: int = 0) -> list[int]:
    sampler = EvenSampler(STRATA, replicas, rank, seed)
    sampler.set_epoch(epoch)
    return [index for index, _ in sampler]


def test_a_place_says_how_often_its_recording_came_before():
    seen = Counter()
    for index, occurrence in places():
        assert occurrence == seen[index]
        seen[index] += 1
    assert max(seen.values()) > 5


def test_every_stratum_gets_the_same_number_of_places():
    drawn = order()
    assert len(drawn) == len(EvenSampler(STRATA)) == len(STRATA)
    assert Counter(STRATA[drawn]) == dict.fromkeys(np.unique(STRATA), 25)


def test_every_round_holds_every_stratum_once_in_an_order_of_its_own():
    rounds = STRATA[order()].reshape(-1, 4)
    assert all(len(set(taken)) == 4 for taken in rounds)
    assert len({tuple(taken) for taken in rounds}) > 10


def test_members_come_as_often_as_one_another():
    counts = Counter(order())
    small = [counts[i] for i in np.flatnonzero(STRATA == "a1")]
    assert sorted(small) == [8, 8, 9]
    large = [counts[i] for i in np.flatnonzero(STRATA == "a0")]
    assert max(large) == 1 and sum(large) == 25


def test_over_epochs_everybody_is_heard():
    assert {i for epoch in range(12) for i in order(epoch)} == set(range(len(STRATA)))


def test_the_order_is_that_of_seed_and_epoch():
    assert order(3, 1) == order(3, 1)
    assert order(3, 1) != order(4, 1) != order(4, 2)


@pytest.mark.parametrize("replicas", [2, 3])
def test_processes_share_an_epoch(replicas):
    shares = [order(replicas=replicas, rank=rank) for rank in range(replicas)]
    assert {len(share) for share in shares} == {-(-len(STRATA) // replicas)}
    whole = [shares[i % replicas][i // replicas] for i in range(len(STRATA))]
    rounds = STRATA[whole[: len(STRATA) // 4 * 4]].reshape(-1, 4)
    assert all(len(set(taken)) == 4 for taken in rounds)
