"""What profile `demo` must show: asked of the means over seeds, and of the tests' own run."""

import pandas as pd

from hsutils.evaluation.domains import ALL, UNSEEN, WITHIN
from hsutils.studies.lessons import GIVEN_AWAY, LEFT_OUT, RARE


def assert_lessons(answers: pd.DataFrame, clearly: float = 0.05) -> None:
    """`answers` are rows of `results.csv` of one seed, or of the mean; `clearly` is in AUROC."""
    keys = ["protocol", "database", "model", "metric"]
    texts = answers[keys].astype(object).fillna("")
    value = answers.assign(**texts).set_index(keys).value.sort_index()

    def auroc(model: str, protocol: str = ALL, database: str = "") -> float:
        return value[protocol, database, model, "auroc"]

    # The paper's story.
    assert min(auroc("teacher"), auroc("student")) > auroc("baseline")
    found = {m: value["logit 0", "", m, "sensitivity"] for m in ("student", "baseline")}
    assert found["student"] > 0.5 and found["student"] >= 2 * found["baseline"]
    # Its catch: database and format, without any sound, come near the networks ...
    assert auroc("format only") > auroc("teacher") - 0.03
    # ... whose score falls where the device is the same for all, and where it is new.
    for model in ("teacher", "student", "baseline"):
        assert auroc(model, WITHIN, f"not {GIVEN_AWAY}") < auroc(model) - clearly
    assert auroc("this run", UNSEEN, LEFT_OUT) < auroc("baseline") - clearly
    assert auroc("robust", UNSEEN, LEFT_OUT) > auroc("this run", UNSEEN, LEFT_OUT) + clearly
    # Where few are ill, most alarms are false.
    assert value[f"prevalence {RARE}", "", "student", "false alarms"] > 0.75
    groups = value["groups of recordings", "", ""]
    assert groups["related"] >= 4 and groups["in several splits of a random draw"] >= 1
