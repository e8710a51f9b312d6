"""What the paper would try next (section 6), told by dev alone.

Each change stands beside the recipe that the same machine trained from the same seed: another
machine rounds otherwise, which moves dev AUROC about as far as another seed does.
"""

from collections.abc import Iterable

import pandas as pd

from hsutils.studies.evidence import finished
from hsutils.files import read_json
from hsutils.studies.study import Study
from hsutils.studies.variants import BEYOND

FOCAL = ("focal-teacher", "focal-student", "focal")
LONGER = ("student-until-it-falls", "baseline-until-it-falls")
CHANGES = (*FOCAL, *LONGER)
"""Changes in `BEYOND`."""

COLUMNS = ("profile", "change", "model", "seed", "processor")
COLUMNS += ("recipe", "changed", "recipe_last", "changed_last", "recipe_epochs", "changed_epochs")


def tried(studies: Iterable[Study]) -> pd.DataFrame:
    """Dev AUROC of every recipe, and of each such change that is trained beside it.

    Returns:
        A row a profile, change and seed, columns `COLUMNS`: dev AUROC of the best epoch and of the
        last, and epochs trained, of recipe and change; and the processor of the latter.
    """
    rows = []
    for study in studies:
        for change in CHANGES:
            model = BEYOND[change].model
            for seed in study.seeds:
                runs = study.look(seed), study.look(seed, change)
                if all(finished(run, (model,)) for run in runs):
                    notes = [read_json(run.path(f"{model}.json")) for run in runs]
                    about = [study.experiment.name, change, model, seed]
                    about.append(notes[1].get("environment", {}).get("processor", ""))
                    rows.append(about + _scores(*(note["history"] for note in notes)))
    return pd.DataFrame(rows, columns=COLUMNS)


def _scores(recipe: list[dict], changed: list[dict]) -> list[float]:
    dev = [[epoch["dev_auroc"] for epoch in history] for history in (recipe, changed)]
    best, last, epochs = ([of(scores) for scores in dev] for of in (max, lambda s: s[-1], len))
    return [*(round(score, 6) for score in (*best, *last)), *epochs]
