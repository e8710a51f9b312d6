"""Laws of the figures beyond the paper: what is drawn is what the tables hold, and readable."""

import numpy as np
import pandas as pd
import pytest
import test_cycles
from test_shortcuts import assert_drawn, assert_readable, svg

from hsutils.plots import beyond as figures_beyond
from hsutils.studies.new_databases import CHANGES, CHOSEN
from hsutils.plots.style import finding_of
from hsutils.studies.variants import BEYOND


def tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Summary and results of the paper's models, the native recipe and two changes of it."""
    rng = np.random.default_rng(0)
    recipes = [("paper", model) for model in ("teacher", "student", "baseline")]
    names = ("native-all", "native-all-narrow", "native-all-artificial-only")
    recipes += [(name, "compact baseline") for name in names]
    summary = pd.DataFrame(recipes, columns=["profile", "model"])
    score = np.array([0.55, 0.52, 0.58, 0.74, 0.70, 0.68])
    summary = summary.assign(
        **{"new_database": score, "low": score - 0.04, "high": score + 0.04},
        **{"worst": score - 0.1, "test": [0.93, 0.92, 0.87, 0.9, np.nan, np.nan]},
        **{"dev": [0.935, 0.93, 0.86, 0.88, np.nan, np.nan]},
        **{"within": [0.9, 0.89, 0.82, 0.92, np.nan, np.nan]},
        labeled=["finetune"] * 2 + ["pretrain"] + ["both"] * 3,
        parameters=[11_827_905, 5_838_465, 5_838_465, 59_109, 59_109, 59_109],
        multiply_adds=[5.7e9, 7.6e8, 7.6e8, 1.1e8, 1.1e8, 1.1e8],
    )
    letters = summary[["profile", "model", "new_database"]].merge(
        pd.DataFrame({"database": [*"abcdef"]}), how="cross"
    )
    letters["auroc"] = letters.pop("new_database") + rng.normal(0, 0.08, len(letters))
    return summary, letters.assign(protocol="leave-one-database-out")


def efficiency() -> pd.DataFrame:
    """Two profiles, the second of which was not asked in new databases."""
    rows = [
        (profile, asked, kind, share, 400 * share, score, score - 0.02, score + 0.02)
        for profile, questions in (("native", ("all",)), ("paper", ("all", "within", "new")))
        for asked in questions
        for number, kind in enumerate(("pre-trained", "random", "bands"))
        for share, score in zip(
            (0.01, 0.05, 0.1, 0.25, 1.0),
            (0.55 if profile == "paper" else 0.5) + 0.05 * number + np.linspace(0, 0.3, 5),
            strict=True,
        )
    ]
    columns = ["profile", "asked", "features", "share", "labels", "auroc", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def gains() -> pd.DataFrame:
    """Two changes that are clear, one that is not, and one that is held against another."""
    rows = [
        ("native-all-narrow", "compact baseline", "native-all", 3, 0.05, 0.02, 0.08, 0.01),
        ("native-all-three-seeds", "compact student", "native-all", 1, 0.01, 0.001, 0.04, 0.3),
        ("native-all-narrow-labels-after", "student", "native-all-narrow", 1, 0.2, 0.1, 0.3, 0.0),
        ("native-all-no-masks", "compact baseline", "native-all", 2, -0.03, -0.06, -0.01, 0.04),
    ]
    return pd.DataFrame(rows, columns=CHANGES)


EVERY_FIGURE = {
    "changes": lambda: figures_beyond.changes(gains()),
    "label_efficiency": lambda: figures_beyond.label_efficiency(efficiency()),
    "new_databases": lambda: figures_beyond.new_databases(*tables()),
    "sizes": lambda: figures_beyond.sizes(tables()[0]),
    **test_cycles.EVERY_FIGURE,
}


@pytest.mark.parametrize("name", EVERY_FIGURE)
def test_words_lie_on_the_page_and_not_on_one_another(name):
    assert_readable(EVERY_FIGURE[name]())


@pytest.mark.parametrize("name", EVERY_FIGURE)
def test_equal_tables_give_equal_bytes(name):
    assert svg(EVERY_FIGURE[name]()) == svg(EVERY_FIGURE[name]())


def test_every_score_and_its_interval_is_drawn():
    summary, letters = tables()
    tested = summary[["test", "within"]].stack().dropna()
    page = EVERY_FIGURE["new_databases"]()
    ends = [summary[c] for c in ("new_database", "low", "high")]
    assert_drawn(page, letters["auroc"], tested, *ends)
    assert_drawn(EVERY_FIGURE["sizes"](), summary["new_database"], summary["dev"].dropna())


def test_changes_have_a_figure_of_their_own():
    summary, letters = tables()
    more = {"profile": "native-all-no-masks", "model": "compact baseline"}
    longer = pd.concat([summary, summary.iloc[[3]].assign(**more)], ignore_index=True)
    page = figures_beyond.new_databases(longer, pd.concat([letters, letters.assign(**more)]))
    assert len(page.axes[0].get_yticklabels()) == len(summary)
    assert svg(figures_beyond.sizes(longer)) == svg(EVERY_FIGURE["sizes"]())
    page, shown = EVERY_FIGURE["changes"](), gains().drop(2)
    assert_drawn(page, *(shown[column] for column in ("difference", "low", "high")))
    names = [text.get_text() for text in page.axes[0].get_yticklabels()]
    options = [BEYOND[name].option for name in ("narrow", "three-seeds", "no-masks")]
    assert names == [f"{o} ({n})" for o, n in zip(options, (3, 1, 2), strict=True)]
    assert "3 changes" in finding_of(page) and "1 clear gain of AUROC" in finding_of(page)
    assert "1 clear drop (p" in finding_of(page)


def test_who_knew_all_labels_is_hollow_on_dev():
    axes, (summary, _) = EVERY_FIGURE["sizes"]().axes[0], tables()
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    known = summary.dropna(subset="dev").set_index("dev").labeled.to_dict()
    hollow = {float(dot.get_ydata()[0]): dot.get_markerfacecolor() == "white" for dot in dots}
    assert hollow == {score: labeled == "both" for score, labeled in known.items()}


def test_what_has_no_parameters_has_no_place_among_sizes():
    summary, _ = tables()
    trees = summary.iloc[3].to_dict() | {"profile": "band-statistics", "model": "boosted trees"}
    trees |= {"dev": 0.97, "new_database": np.nan, "parameters": pd.NA, "multiply_adds": pd.NA}
    counts = {"parameters": "Int64", "multiply_adds": "Int64"}
    more = pd.concat([summary.astype(object), pd.DataFrame([trees], dtype=object)])
    more = more.infer_objects().astype(counts)
    assert svg(figures_beyond.sizes(more)) == svg(figures_beyond.sizes(summary))


def test_panels_are_those_that_were_asked():
    page = EVERY_FIGURE["label_efficiency"]()
    assert len(page.axes) == 4
    assert_drawn(page, efficiency()["auroc"], efficiency()["labels"])
    assert "With 40 labels" in finding_of(page) and "profile paper reaches 0.70" in finding_of(page)
    assert "a mel band 0.80" in finding_of(page)


def test_a_compact_student_is_put_beside_the_papers_teacher():
    summary, _ = tables()
    own = summary.iloc[3].to_dict() | {"profile": "compact", "model": "compact student"}
    own |= {"dev": 0.94, "new_database": np.nan, "parameters": 59_139.525}
    more = pd.concat([summary, pd.DataFrame([own])], ignore_index=True)
    words = finding_of(figures_beyond.sizes(more.astype({"parameters": int})))
    assert "reaches 0.940 on dev" in words and "200 times as large, 0.935" in words


def test_the_headline_tells_of_the_recipes_that_the_others_chose():
    chosen = pd.DataFrame([(2, 0.77, 0.73, 0.81, 0.62, "f")], columns=CHOSEN)
    words = finding_of(figures_beyond.new_databases(*tables(), chosen))
    assert "Chosen by the other databases" in words and "is 0.77 (0.73 to 0.81)" in words
    alone = finding_of(figures_beyond.new_databases(*tables(), chosen.head(0)))
    assert "the native recipe's mean AUROC is 0.74" in alone


def test_a_change_is_named_by_what_it_is_and_its_test_score_is_owned_up_to():
    first = EVERY_FIGURE["new_databases"]().axes[0]
    names = [text.get_text() for text in first.get_yticklabels()]
    assert names[0] == "native recipe: compact baseline" and names[3] == "paper: baseline"
    assert names[1] == BEYOND["narrow"].option, "the best first"
    assert [text.get_text() for text in first.texts] == ["not read for changes"] * 2
