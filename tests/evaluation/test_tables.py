"""Tables against the paper's printed numbers and against predictions made to order."""

import numpy as np
import pandas as pd
import pytest

from hsutils.errors import InputError
from hsutils.evaluation import tables
from hsutils.evaluation.metrics import CLASSES, auroc
from hsutils.evaluation.tables import PAPER


def scored(seed: int, n: int = 200) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    labels = np.r_[0, 1, rng.integers(0, 2, n - 2)]
    records = [f"a{i:04d}" for i in range(n)]
    return pd.DataFrame({"record": records, "label": labels, "logit": labels + rng.normal(size=n)})


def from_matrix(matrix) -> pd.DataFrame:
    """Predictions whose confusion matrix is the given one."""
    cells = [(a, p) for a in (0, 1) for p in (0, 1) for _ in range(matrix[a][p])]
    labels, predicted = np.array(cells).T
    records = [f"e{i:05d}" for i in range(len(labels))]
    return pd.DataFrame({"record": records, "label": labels, "logit": predicted - 0.5})


def four(**logits: list[float]) -> dict[str, pd.DataFrame]:
    frame = pd.DataFrame({"record": [*"abcd"], "label": [0, 1, 1, 0]})
    return {model: frame.assign(logit=values) for model, values in logits.items()}


def test_auroc_interval_is_as_wide_as_hanley_and_mcneil_say():
    p = scored(3, n=400)
    low, high = tables.auroc_interval(p)
    area, pairs = auroc(p["label"], p["logit"]), np.bincount(p["label"])
    # Hanley and McNeil 1982: standard error from the area and the two class sizes.
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    spread = (pairs[1] - 1) * (q1 - area**2) + (pairs[0] - 1) * (q2 - area**2)
    error = np.sqrt((area * (1 - area) + spread) / pairs.prod())
    assert low < area < high
    assert (high - low) == pytest.approx(2 * 1.96 * error, rel=0.15)


def test_copies_in_one_group_add_nothing():
    p = scored(3, n=100).assign(group=range(100))
    copied = pd.concat([p, p], ignore_index=True)
    assert tables.auroc_interval(copied) == pytest.approx(tables.auroc_interval(p))
    assert tables.auroc_interval(copied)[0] < tables.auroc_interval(copied.drop(columns="group"))[0]


def test_tables_put_equal_numbers_side_by_side_when_ours_equal_the_papers():
    test = {model: from_matrix(result.confusion) for model, result in PAPER.items()}
    two, three = tables.table_2(test), tables.table_3(test)
    for name in CLASSES:
        assert (two[f"predicted_{name}"] == two[f"paper_{name}"]).all()
    for name in ("precision", "recall", "f1"):
        assert (three[name] == three[f"paper_{name}"]).all()
    assert list(three["model"].unique()) == list(PAPER)
    assert two.actual.tolist() == three["class"].tolist() == [*CLASSES] * 3


def test_dev_auroc_stands_beside_the_papers_table_1():
    dev = {model: scored(seed) for seed, model in enumerate(PAPER)}
    table = tables.table_1(dev).set_index("model")
    assert table.paper.to_dict() == {"teacher": 0.926, "student": 0.907, "baseline": 0.82}
    for model, p in dev.items():
        row = table.loc[model]
        assert row.auroc == auroc(p.label, p.logit) and row.recordings == 200
        assert (row.auroc_low, row.auroc_high) == tables.auroc_interval(p)


def test_summary_counts_abnormal_as_the_class_to_be_found():
    matrix = np.array(PAPER["student"].confusion)
    row = tables.summary({("student", "test"): from_matrix(matrix)}).iloc[0]
    assert (row["model"], row["split"], row["n"]) == ("student", "test", 400)
    assert row["sensitivity"] == 192 / 200 and row["specificity"] == 150 / 200
    assert row["ppv"] == 192 / 242 and row["npv"] == 150 / 158
    assert row["auroc_low"] <= row["auroc"] <= row["auroc_high"]


def test_errors_lists_exactly_the_misses_most_confident_first():
    test = four(student=[-9.0, -1.0, -5.0, 2.0], teacher=[-9.0, 9.0, -2.0, 7.0])
    table = tables.errors(test)
    assert list(table["record"]) == ["d", "c", "b"]
    assert list(table["wrong_by"]) == ["student, teacher", "student, teacher", "student"]
    assert list(table["n_wrong"]) == [2, 2, 1]
    assert list(table.columns[:4]) == ["record", "label", "student", "teacher"]


def test_models_are_paired_by_record_not_by_position_and_on_the_same_recordings():
    p = scored(7)
    shuffled = p.sample(frac=1, random_state=0)
    paired, plain = (tables.errors({"teacher": p, "student": q}) for q in (shuffled, p))
    pd.testing.assert_frame_equal(paired, plain)
    table = tables.side_by_side({"teacher": shuffled, "student": p})
    assert (table.teacher == table.student).all()
    with pytest.raises(InputError, match="same split"):
        tables.errors({"teacher": p, "student": p.iloc[1:]})


def test_shared_errors_are_counted_recording_by_recording():
    table = tables.shared_errors(four(teacher=[1, 1, -1, -1], student=[1, -1, -1, -1]))
    assert table.to_dict() == {
        "teacher": {"teacher": 2, "student": 2},
        "student": {"teacher": 2, "student": 3},
    }


def test_the_hardest_are_those_farthest_on_the_wrong_side_or_nearest_to_it():
    test = four(teacher=[-9.0, 3.0, -4.0, 2.0], student=[-1.0, 5.0, 4.0, -3.0])
    assert tables.hardest(test, each=1).record.tolist() == ["c", "a"]
    assert tables.hardest(test, each=2).record.tolist() == ["c", "d", "a"]
