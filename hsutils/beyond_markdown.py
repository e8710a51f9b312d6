"""Tables of the kept evidence beyond the paper, as Markdown for the README."""

from collections.abc import Mapping, Sequence

import pandas as pd

Tables = Mapping[str, pd.DataFrame]


def in_new_databases(made: Tables) -> pd.DataFrame:
    """The rows of the summary that were asked in new databases."""
    return made["summary"].dropna(subset="new_database").reset_index(drop=True)


def recipe_table(made: Tables) -> str:
    """The recipes that were asked in a new database, best first."""
    shown = in_new_databases(made).sort_values("new_database", ascending=False, kind="stable")
    head = ["recipe", "seeds", "new database (95% interval)", "worst", "parameters"]
    rows = []
    for row in shown.itertuples():
        interval = f"{row.new_database:.3f} ({row.low:.3f} to {row.high:.3f})"
        cells = [f"`{row.profile}` {row.model}", f"{row.new_seeds:.0f}", interval]
        cells += [f"{row.worst:.3f} ({row.worst_database})", f"{row.parameters:,.0f}"]
        rows.append([*cells, f"{row.multiply_adds / 1e6:,.0f} M", f"{row.milliseconds:.1f}"])
    return _markdown([*head, "multiply-adds", "ms"], rows)


def published_table(made: Tables) -> str:
    """The models that were tested on the published split, fewest labels and best dev first."""
    shown = made["summary"].dropna(subset="test")
    # The paper's baseline has more labels than its teacher, of which few are abnormal.
    shown = shown.assign(all_labels=shown.labels >= shown.labels.max())
    order = {"by": ["all_labels", "dev"], "ascending": [True, False], "kind": "stable"}
    head = ["model", "labels", "seeds", "dev", "test", "pairs of one database"]
    head += ["accuracy, threshold by dev", "at logit 0", "parameters"]
    rows = []
    for row in shown.sort_values(**order).itertuples():
        scores = (row.dev, row.test, row.within, row.accuracy_by_dev, row.accuracy)
        cells = [f"`{row.profile}` {row.model}", f"{row.labels:,.0f}", f"{row.seeds:.0f}"]
        rows.append([*cells, *(f"{score:.3f}" for score in scores), f"{row.parameters:,.0f}"])
    return _markdown(head, rows)


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(cells) + " |" for cells in (head, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:]]) + "\n"
