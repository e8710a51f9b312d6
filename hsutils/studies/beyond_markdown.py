"""Tables of the kept evidence beyond the paper, as Markdown for the README."""

import pandas as pd

from hsutils.studies.beyond_tables import Tables, but_changes, in_new_databases
from hsutils.studies.findings_beyond import summary
from hsutils.studies.markdown import table as table_of

HOW = (
    "Drawn from the tables beside it by `python -m hsutils redraw figures/beyond`. AUROC with 95% "
    "intervals over recordings; what recipes and words mean is told in the README and in "
    "`notebooks/09_beyond_the_paper.ipynb`."
)


def page(made: Tables) -> str:
    """Everything that is known of the recipes, as a page to read beside the figures."""
    parts = ["# Beyond the paper: every recipe and what was found", HOW, "## In a new database"]
    parts += [recipe_table(made, every=True), "## On the published split", published_table(made)]
    return "\n\n".join(part.strip("\n") for part in (*parts, "## Findings", summary(made))) + "\n"


def recipe_table(made: Tables, every: bool = False) -> str:
    """The recipes that were asked in a new database, best first.

    Args:
        made: the tables of a folder such as `figures/beyond`, see `findings.read_tables`.
        every: with the changes of the native recipe beside those of `beyond_tables.SHOWN`.
    """
    asked = in_new_databases(made)
    shown = asked if every else but_changes(asked)
    shown = shown.sort_values("new_database", ascending=False, kind="stable")
    head = ["recipe", "seeds", "new database (95% interval)", "worst", "parameters"]
    rows = []
    for row in shown.itertuples():
        interval = f"{row.new_database:.3f} ({row.low:.3f} to {row.high:.3f})"
        cells = [f"`{row.profile}` {row.model}", f"{row.new_seeds:.0f}", interval]
        cells += [f"{row.worst:.3f} ({row.worst_database})", f"{row.parameters:,.0f}"]
        # The linear model's work is in finding the beats.
        work = "" if pd.isna(row.multiply_adds) else f"{row.multiply_adds / 1e6:,.0f} M"
        rows.append([*cells, work, f"{row.milliseconds:.1f}"])
    return table_of([*head, "multiply-adds", "ms"], rows) + "\n"


def published_table(made: Tables) -> str:
    """The models that were tested on the published split: all labels last, else best dev first."""
    shown = made["summary"].dropna(subset="test")
    shown = shown.assign(every=shown.labeled == "both")
    order = {"by": ["every", "dev"], "ascending": [True, False], "kind": "stable"}
    head = ["model", "labels of", "told", "seeds", "dev AUROC", "test AUROC"]
    head += ["test AUROC, pairs of one database", "test accuracy, threshold by dev", "at logit 0"]
    rows = []
    for row in shown.sort_values(**order).itertuples():
        scores = (row.dev, row.test, row.within, row.accuracy_by_dev, row.accuracy)
        known = row.labeled if row.every else f"*{row.labeled}*"
        cells = [f"`{row.profile}` {row.model}", known, row.told, f"{row.seeds:.0f}"]
        rows.append([*cells, *(f"{score:.3f}" for score in scores)])
    return table_of(head, rows) + "\n"
