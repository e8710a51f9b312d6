"""A map finds simulated murmurs, beyond chance and loudness; a map of noise does not."""

import numpy as np
import pytest
import torch
from scipy.stats import ttest_1samp
from torch import nn

from hsutils.audio.spectrograms import Occupied
from hsutils.evaluation import attribution
from hsutils.export import PACKAGED_WEIGHTS, load_model
from hsutils.models.build import new_network

pytestmark = pytest.mark.usefixtures("one_thread")


class Weighted(nn.Module):
    """A network whose logit is a weighted sum, so that every contribution is known."""

    weights = torch.linspace(-1, 1, 60).reshape(6, 10)

    def forward(self, spectrograms):
        return (spectrograms[:, 0] * self.weights).sum(dim=(1, 2))


def test_contributions_of_a_weighted_sum_are_its_terms_over_the_quiet_and_padding_has_none():
    image, occupied = torch.rand(6, 10), Occupied((0, 6), (2, 9))
    found = attribution.contributions(Weighted(), image, occupied)
    quiet = image[:, 2:9].quantile(attribution.QUIET, dim=1, keepdim=True)
    inside = (torch.arange(10) >= 2) & (torch.arange(10) < 9)
    np.testing.assert_allclose(found, Weighted.weights * (image - quiet) * inside, atol=1e-5)


def test_chance_is_the_share_over_all_shifts_in_time():
    rng = np.random.default_rng(0)
    contributed, inside = rng.normal(size=(6, 40)), rng.random((6, 40)) < 0.3
    shifted = [np.roll(contributed, shift, axis=1) for shift in range(40)]
    shares = [attribution.share_inside(each, inside)[0] for each in shifted]
    share, chance = attribution.share_inside(contributed, inside)
    assert share == shares[0] and chance == pytest.approx(np.mean(shares))
    assert attribution.share_inside(-inside.astype(float), inside) == (0, 0)


def test_the_mask_holds_the_loudest_of_a_murmur_and_follows_its_phase():
    front_end = load_model(PACKAGED_WEIGHTS)[1].front_end
    share = {}
    for lesion in attribution.LESIONS:
        waveform, inside = attribution.simulated_murmur(lesion, 1, front_end)
        image, occupied = attribution.log_mel(waveform, 2_000, front_end)
        image = image[:, slice(*occupied.frames)]
        assert image.shape == inside.shape and np.abs(waveform).max() == 1
        assert image[inside].mean() > image[~inside].mean() + 0.3
        share[lesion] = inside.any(axis=0).mean()
    assert share["mitral_prolapse"] < share["aortic_stenosis"] < share["mitral_regurgitation"]


@pytest.fixture(scope="module")
def checks():
    """Gain over chance of each simulated heart, for the packaged network and one untrained."""
    network, profile, _ = load_model(PACKAGED_WEIGHTS)
    torch.manual_seed(0)
    networks = {"packaged": network, "untrained": new_network(profile, "baseline").eval()}
    tables = {n: attribution.murmur_check(m, profile.front_end) for n, m in networks.items()}
    return {name: table.inside / table.chance for name, table in tables.items()}


def significance(gains) -> float:
    return ttest_1samp(gains, 0, alternative="greater").pvalue


def test_the_map_finds_murmurs_beyond_chance_and_beyond_their_loudness(checks):
    gain, loudness = checks["packaged"], checks["untrained"]
    assert len(gain) == 16 and gain.median() > 1.8 and (gain > 1.3).all()
    assert significance(np.log(gain)) < 1e-6
    # An untrained network's map follows the murmur because it is loud.
    assert (gain > loudness).mean() > 0.9 and significance(np.log(gain / loudness)) < 1e-4


def test_a_map_of_noise_does_not_pass_this_check(monkeypatch):
    rng, (network, profile, _) = np.random.default_rng(0), load_model(PACKAGED_WEIGHTS)
    monkeypatch.setattr(
        attribution, "contributions", lambda network, image, _: rng.normal(size=image.shape)
    )
    table = attribution.murmur_check(network, profile.front_end, 2)
    gain = table.inside / table.chance
    assert gain.between(0.9, 1.1).all() and significance(np.log(gain)) > 1e-3
