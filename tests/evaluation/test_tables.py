"""Metrics against scikit-learn and closed forms; tables against the paper's printed numbers."""

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as oracle

from hsutils.evaluation import tables as ev
from hsutils.errors import InputError

PAPER_PRINTS = {
    "teacher": [[0.88, 0.77, 0.82], [0.80, 0.90, 0.84]],
    "student": [[0.95, 0.75, 0.84], [0.79, 0.96, 0.87]],
    "baseline": [[0.58, 0.99, 0.73], [0.96, 0.27, 0.42]],
}
PAPER_ACCURACY = {"teacher": 0.8325, "student": 0.855, "baseline": 0.63}


def scored(seed: int, n: int = 200, ties: bool = False) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    labels = np.r_[0, 1, rng.integers(0, 2, n - 2)]
    logits = labels + rng.normal(size=n)
    records = [f"a{i:04d}" for i in range(n)]
    logit = logits.round() if ties else logits
    return pd.DataFrame({"record": records, "label": labels, "logit": logit})


def from_matrix(matrix) -> pd.DataFrame:
    """Predictions whose confusion matrix is the given one."""
    cells = [(a, p) for a in (0, 1) for p in (0, 1) for _ in range(matrix[a][p])]
    labels, predicted = np.array(cells).T
    records = [f"e{i:05d}" for i in range(len(labels))]
    return pd.DataFrame({"record": records, "label": labels, "logit": predicted - 0.5})


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_auroc_agrees_with_scikit_learn(seed, ties):
    p = scored(seed, ties=ties)
    assert ev.auroc(p["label"], p["logit"]) == pytest.approx(
        oracle.roc_auc_score(p["label"], p["logit"]), abs=1e-12
    )


def test_auroc_of_constant_logits_is_one_half():
    assert ev.auroc([0, 1, 0, 1], [3.0] * 4) == 0.5


def test_auroc_depends_on_order_only_and_flips_with_the_sign():
    p = scored(1)
    area = ev.auroc(p["label"], p["logit"])
    assert ev.auroc(p["label"], np.exp(p["logit"])) == area
    assert ev.auroc(p["label"], -p["logit"]) == pytest.approx(1 - area)


@pytest.mark.parametrize("only", [0, 1])
def test_auroc_of_one_class_names_that_class(only):
    with pytest.raises(InputError, match=rf"are {ev.CLASSES[only]}, "):
        ev.auroc([only] * 3, [1.0, 2.0, 3.0])


def test_every_problem_with_predictions_is_reported_at_once():
    with pytest.raises(InputError) as caught:
        ev.confusion([0, 2, 1], [np.nan, 1.0])
    assert len(caught.value.problems) == 3


@pytest.mark.parametrize("ties", [False, True])
def test_roc_runs_from_corner_to_corner_and_encloses_the_auroc(ties):
    p = scored(2, ties=ties)
    x, y = ev.roc(p["label"], p["logit"])
    assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
    assert np.trapezoid(y, x) == pytest.approx(ev.auroc(p["label"], p["logit"]))


@pytest.mark.parametrize("seed", range(3))
def test_confusion_and_report_agree_with_scikit_learn(seed):
    p = scored(seed)
    called = p["logit"] > 0
    np.testing.assert_array_equal(
        ev.confusion(p["label"], p["logit"]), oracle.confusion_matrix(p["label"], called)
    )
    theirs = np.array(oracle.precision_recall_fscore_support(p["label"], called)[:3]).T
    np.testing.assert_allclose(ev.class_report(p["label"], p["logit"]), theirs)
    assert ev.accuracy(p["label"], p["logit"]) == oracle.accuracy_score(p["label"], called)


def test_a_logit_at_the_threshold_is_normal():
    np.testing.assert_array_equal(ev.confusion([0, 1], [0.0, 0.0]), [[1, 0], [1, 0]])
    np.testing.assert_array_equal(ev.confusion([0, 1], [1.0, 2.0], threshold=1), [[1, 0], [0, 1]])


def test_precision_of_a_class_never_predicted_is_undefined_not_zero():
    report = ev.confusion_report([[5, 0], [5, 0]])
    assert np.isnan(report.loc["abnormal", "precision"])
    assert report.loc["abnormal", "f1"] == 0


def test_auroc_interval_is_as_wide_as_hanley_and_mcneil_say():
    p = scored(3, n=400)
    low, high = ev.auroc_interval(p)
    area, pairs = ev.auroc(p["label"], p["logit"]), np.bincount(p["label"])
    # Hanley and McNeil 1982: standard error from the area and the two class sizes.
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    spread = (pairs[1] - 1) * (q1 - area**2) + (pairs[0] - 1) * (q2 - area**2)
    error = np.sqrt((area * (1 - area) + spread) / pairs.prod())
    assert low < area < high
    assert (high - low) == pytest.approx(2 * 1.96 * error, rel=0.15)


def test_copies_of_one_recording_tell_nothing_new():
    p = scored(3, n=100).assign(group=range(100))
    copied = pd.concat([p, p], ignore_index=True)
    assert ev.auroc_interval(copied) == pytest.approx(ev.auroc_interval(p))
    low, high = ev.auroc_interval(copied.drop(columns="group"))
    wide_low, wide_high = ev.auroc_interval(copied)
    assert wide_low < low < high < wide_high


@pytest.mark.parametrize("model", ev.PAPER)
def test_paper_matrices_give_the_numbers_the_paper_prints(model):
    report = ev.confusion_report(ev.PAPER[model].confusion)
    np.testing.assert_allclose(report, PAPER_PRINTS[model], atol=0.005 + 1e-9)
    p = from_matrix(ev.PAPER[model].confusion)
    assert ev.accuracy(p["label"], p["logit"]) == PAPER_ACCURACY[model]


def test_tables_put_equal_numbers_side_by_side_when_ours_equal_the_papers():
    test = {model: from_matrix(result.confusion) for model, result in ev.PAPER.items()}
    two, three = ev.table_2(test), ev.table_3(test)
    for name in ev.CLASSES:
        assert (two[f"predicted_{name}"] == two[f"paper_{name}"]).all()
    for name in ("precision", "recall", "f1"):
        assert (three[name] == three[f"paper_{name}"]).all()
    assert list(three["model"].unique()) == list(ev.PAPER)


def test_models_stand_in_the_papers_order_and_strangers_have_no_paper_value():
    table = ev.table_1({m: scored(6) for m in ("focal", "student", "teacher")})
    assert list(table["model"]) == ["teacher", "student", "focal"]
    assert list(table["paper"].isna()) == [False, False, True]
    assert ev.table_2({"focal": scored(6)})["paper_normal"].isna().all()
    assert ev.table_3({"focal": scored(6)})["paper_f1"].isna().all()


def test_summary_counts_abnormal_as_the_class_to_be_found():
    matrix = np.array(ev.PAPER["student"].confusion)
    row = ev.summary({("student", "test"): from_matrix(matrix)}).iloc[0]
    assert (row["model"], row["split"], row["n"]) == ("student", "test", 400)
    assert row["sensitivity"] == 192 / 200 and row["specificity"] == 150 / 200
    assert row["ppv"] == 192 / 242 and row["npv"] == 150 / 158
    assert row["auroc_low"] <= row["auroc"] <= row["auroc_high"]


def test_errors_lists_exactly_the_misses_most_confident_first():
    frame = pd.DataFrame({"record": ["a", "b", "c", "d"], "label": [0, 1, 1, 0]})
    test = {
        "student": frame.assign(logit=[-9.0, -1.0, -5.0, 2.0]),
        "teacher": frame.assign(logit=[-9.0, 9.0, -2.0, 7.0]),
    }
    table = ev.errors(test)
    assert list(table["record"]) == ["d", "c", "b"]
    assert list(table["wrong_by"]) == ["teacher, student", "teacher, student", "student"]
    assert list(table["n_wrong"]) == [2, 2, 1]
    assert list(table.columns[:4]) == ["record", "label", "teacher", "student"]


def test_errors_pairs_models_by_record_not_by_position():
    p = scored(7)
    pd.testing.assert_frame_equal(
        ev.errors({"teacher": p, "student": p}),
        ev.errors({"teacher": p, "student": p.sample(frac=1, random_state=0)}),
    )


def test_models_evaluated_on_different_recordings_are_refused():
    p = scored(8)
    with pytest.raises(InputError, match="same split"):
        ev.errors({"teacher": p, "student": p.iloc[1:]})


def test_shared_errors_are_counted_recording_by_recording():
    records, label = list("pqrs"), [0, 0, 1, 1]
    logits = {"teacher": [1, -1, -1, 1], "student": [1, 1, -1, 1]}
    table = ev.shared_errors(
        {
            m: pd.DataFrame({"record": records, "label": label, "logit": v})
            for m, v in logits.items()
        }
    )
    assert table.to_dict() == {
        "teacher": {"teacher": 2, "student": 2},
        "student": {"teacher": 2, "student": 3},
    }
