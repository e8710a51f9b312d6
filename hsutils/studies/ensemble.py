"""A network and boosted trees as one classifier, from the logits that are kept of each."""

from dataclasses import replace

import pandas as pd

from hsutils.studies.band_scores import PARTNER, BandStatistics
from hsutils.studies.beyond import Beyond
from hsutils.errors import InputError

TREES = (BandStatistics.profile, BandStatistics.name)
ENSEMBLE = ("many-2khz-and-statistics", "mean of two logits")
"""Profile and name of the network `PARTNER` and the trees together."""


def with_ensemble(beyond: Beyond) -> Beyond:
    """The same evidence, with the mean logit of network and trees where both are known.

    Every seed of the network has the trees, which have one, beside it. Their logits spread
    wider than the network's, so that they have the larger say.

    Raises:
        InputError: if logits of a member are kept, and nothing of what it costs.
    """
    published, recipes = beyond.published, beyond.recipes
    trees = f"{'/'.join(TREES)}/0"
    networks = [column for column in published if column.startswith(f"{'/'.join(PARTNER)}/")]
    if trees not in published or not networks:
        return beyond
    means = {
        f"{'/'.join(ENSEMBLE)}/{network.rsplit('/', 1)[1]}": published[[network, trees]].mean(
            axis=1, skipna=False
        )
        for network in networks
    }
    return replace(
        beyond,
        published=published.assign(**means),
        recipes=pd.concat([recipes, _recipe(recipes)], ignore_index=True),
    )


def _recipe(recipes: pd.DataFrame) -> pd.DataFrame:
    """What both are told and how long both take; trees have no parameters to count."""
    known, members = recipes.set_index(["profile", "model"]), [PARTNER, TREES]
    for member in members:
        if member not in known.index:
            raise InputError(f"recipes: no row of {' '.join(member)}; gather into its folder again")
    known = known.loc[members]
    spent = {name: known[name].sum() for name in ("milliseconds", "train_seconds")}
    row = known.iloc[[-1]].reset_index()
    return row.assign(profile=ENSEMBLE[0], model=ENSEMBLE[1], **spent)
