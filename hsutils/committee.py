"""A network and boosted trees as one classifier, from the logits that are kept of each."""

from dataclasses import replace

import pandas as pd

from hsutils.band_scores import BESIDE, BandStatistics
from hsutils.beyond import Beyond

TOGETHER = ("many-2khz-and-statistics", "mean of two logits")
"""Profile and name of the compact student of `BESIDE` and the trees together."""


def with_committee(beyond: Beyond) -> Beyond:
    """The same evidence, with the mean logit of both members where both are known.

    Of several seeds of the network the first is taken: the trees have one, and are to weigh alike.
    """
    published, recipes = beyond.published, beyond.recipes
    trees = (BandStatistics.profile, BandStatistics.name)
    members = [_first(published, *member) for member in (BESIDE, trees)]
    if None in members:
        return beyond
    column = f"{'/'.join(TOGETHER)}/{members[0].rsplit('/', 1)[1]}"
    logits = published[members].mean(axis=1, skipna=False)
    return replace(
        beyond,
        published=published.assign(**{column: logits}),
        recipes=pd.concat([recipes, _recipe(recipes, [BESIDE, trees])], ignore_index=True),
    )


def _first(published: pd.DataFrame, profile: str, model: str) -> str | None:
    found = [column for column in published if column.startswith(f"{profile}/{model}/")]
    return min(found, default=None)


def _recipe(recipes: pd.DataFrame, members: list[tuple[str, str]]) -> pd.DataFrame:
    """What they are told and how long both take; trees have no parameters to count."""
    known = recipes.set_index(["profile", "model"]).loc[members]
    spent = {name: known[name].sum() for name in ("milliseconds", "train_seconds")}
    row = known.iloc[[-1]].reset_index()
    return row.assign(profile=TOGETHER[0], model=TOGETHER[1], **spent)
