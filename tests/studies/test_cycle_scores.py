"""The linear model on mean cycles: what it may learn from, and that every class counts alike."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from hsutils.studies import cycle_scores
from hsutils.studies.cycle_scores import (
    STRENGTHS,
    USUAL,
    MeanCycle,
    by_database,
    chosen_strength,
    linear_model,
)
from hsutils.studies.finished import Finished, Model, recipes
from hsutils.audio.heart_cycles import BANDS, NAMES, PHASES
from hsutils.evaluation.metrics import auroc


def recordings(n: int = 200, groups: int = 100) -> pd.DataFrame:
    """Recordings of two databases; those of a group share a label."""
    group = np.arange(n) % groups
    return pd.DataFrame(
        {
            "record": [f"r{k:03d}" for k in range(n)],
            "database": np.where(group < groups * 0.7, "a", "b"),
            "group": group.astype(str),
            "label": group % 2,
            "seconds": 10.0,
        }
    )


@pytest.fixture
def planted(monkeypatch) -> np.ndarray:
    """Sixty numbers for `recordings()`, the first of which tells the label."""
    table = recordings()
    numbers = np.random.default_rng(0).standard_normal((len(table), len(NAMES)))
    numbers[:, 0] += 2 * table.label
    monkeypatch.setattr(cycle_scores, "numbers_of", lambda _: numbers)
    return numbers


def test_every_database_and_class_counts_alike():
    """As if each had been repeated until all are as many."""
    counts = {("a", 0): 8, ("a", 1): 4, ("b", 0): 2, ("b", 1): 8}
    rows = [key for key, count in counts.items() for _ in range(count)]
    learn = pd.DataFrame(rows, columns=["database", "label"])
    numbers = np.random.default_rng(0).standard_normal((len(learn), 5))
    model = linear_model(numbers, learn, strength=0.1)
    times = [8 // counts[key] for key in rows]
    repeated = np.repeat(numbers, times, axis=0)
    # Repetition makes 32 of 22 recordings: the penalty is to weigh as before.
    plain = LogisticRegression(C=0.1 * len(learn) / 32, max_iter=1000).fit(
        StandardScaler().fit_transform(repeated), np.repeat(learn.label, times)
    )
    assert model[-1].coef_ == pytest.approx(plain.coef_, abs=1e-3)


def test_hearts_without_a_rhythm_count_as_middling(planted):
    table, holes = recordings(), planted.copy()
    holes[3] = np.nan
    model = linear_model(holes, table, USUAL)
    middle = np.nanmedian(holes, axis=0)
    assert model.decision_function(holes[[3]]) == pytest.approx(
        model.decision_function(middle[None])
    )


def test_inside_a_database_a_planted_cue_is_found(planted):
    table = cycle_scores.inside(recordings())
    assert table.database.tolist() == ["a", "b"] and (table.auroc > 0.8).all()
    assert (table.low < table.auroc).all() and (table.auroc < table.high).all()


def test_what_a_group_has_in_common_does_not_leak(monkeypatch):
    """Copies of one recording, whose labels follow from nothing: known by heart or guessed."""
    table = recordings(400, groups=50)
    own = np.random.default_rng(1).standard_normal((50, len(NAMES)))
    numbers = own[table.group.astype(int)]
    monkeypatch.setattr(cycle_scores, "numbers_of", lambda _: numbers)
    part = table[table.database == "a"]
    model = linear_model(numbers[part.index], part, strength=0.1)
    assert auroc(part.label, model.decision_function(numbers[part.index])) > 0.9
    assert cycle_scores.inside(table).set_index("database").auroc["a"] < 0.75


def test_too_few_groups_are_not_asked(planted):
    table = recordings()
    table.loc[table.database == "b", "group"] = "one"
    assert cycle_scores.inside(table).database.tolist() == ["a"]


def test_cycles_are_means_over_the_recordings_of_a_class(planted):
    table = recordings()
    planted[5] = np.nan
    made = cycle_scores.mean_cycles(table)
    assert len(made) == 4 * len(PHASES) * BANDS
    row = made[(made.database == "a") & (made.label == 1) & (made.phase == "S2") & (made.band == 3)]
    mine = (table.database == "a") & (table.label == 1) & (table.index != 5)
    column = PHASES.index("S2") * BANDS + 2
    assert row.value.item() == pytest.approx(10 * planted[mine, column].mean(), abs=1e-4)
    assert row.recordings.item() == mine.sum()


def test_without_any_rhythm_there_is_no_cycle(monkeypatch):
    table = recordings(10, groups=10)
    monkeypatch.setattr(cycle_scores, "numbers_of", lambda _: np.full((10, len(NAMES)), np.nan))
    made = cycle_scores.mean_cycles(table)
    assert made.empty and tuple(made) == cycle_scores.CYCLES


class SomeRun:
    """A run whose first half is learned from, whose rest is tested."""

    class experiment:
        seed = 4

        class splits:
            leave_out, labeled, label_share = "", "all", 1.0


@pytest.fixture
def model(planted, monkeypatch) -> MeanCycle:
    table = recordings()
    parts = np.array(["pretrain", "finetune", "dev", "test"])[np.arange(len(table)) // 50]
    splits = pd.DataFrame({"record": table.record, "split": parts})
    monkeypatch.setattr(cycle_scores, "load_recordings", lambda _: table)
    monkeypatch.setattr(cycle_scores, "load_splits", lambda _: splits)
    return MeanCycle(SomeRun())


def test_it_learns_from_the_training_splits_alone(model, planted):
    table = recordings()
    known = linear_model(planted[:100], table[:100], USUAL)
    test = model.predictions("test")
    assert test.index.tolist() == table.record[150:].tolist()
    assert test.name == "mean-cycle/linear model/0"
    assert test.to_numpy() == pytest.approx(known.decision_function(planted[150:]))
    planted[100:] = 0  # what is not learned from has no say
    assert np.allclose(MeanCycle(SomeRun()).fitted[-1].coef_, known[-1].coef_)


def test_weights_are_named_and_the_planted_one_is_the_largest(model):
    table = cycle_scores.weights([model])
    assert table.loc[table.weight.idxmax(), ["phase", "band"]].tolist() == ["S1", 1]
    assert table.band[table.phase == "rhythm"].tolist() == list(NAMES[-4:])
    assert tuple(cycle_scores.weights([])) == cycle_scores.WEIGHTS


def test_it_answers_whatever_a_network_is_asked(model):
    asked = {*Model.__annotations__, *(name for name in vars(Model) if name[0] != "_")}
    assert {name for name in asked if not hasattr(model, name)} == set()


def test_it_costs_what_its_coefficients_and_a_typical_recording_do(model, monkeypatch):
    heard = set()
    monkeypatch.setattr(cycle_scores, "read_waveform", lambda path: heard.add(path) or np.ones(999))
    lengths = pd.DataFrame({"seconds": [1.0, 4.0, 9.0], "path": ["short", "typical", "long"]})
    recipe = recipes([model], lengths).iloc[0]
    assert heard == {"typical"} and recipe.milliseconds > 0 == recipe.train_seconds
    assert recipe.parameters == model.fitted[-1].coef_.size + model.fitted[-1].intercept_.size
    about = ["mean-cycle", "linear model", "true labels"]
    assert recipe[["profile", "model", "told"]].tolist() == about


def noisy_cue(each: int, at_home: float) -> tuple[pd.DataFrame, np.ndarray]:
    """A cue under noise, and each of three databases' own five copies of that noise.

    Copies are of this size where they are at home, elsewhere of size one. A weak penalty learns to
    subtract copies from the cue, a strong one hardly hears them: they do not go with the label.
    """
    rng, n = np.random.default_rng(0), 3 * each
    learn = pd.DataFrame({"database": np.repeat([*"abc"], each), "label": np.arange(n) % 2})
    learn["group"] = np.arange(n).astype(str)
    noise = np.repeat(rng.standard_normal(n // 2), 2)
    sizes = np.where(learn.database.to_numpy()[:, None] == np.repeat([*"abc"], 5), at_home, 1.0)
    cue = learn.label + 2 * noise + 0.5 * rng.standard_normal(n)
    return learn, np.column_stack([cue, sizes * noise[:, None]])


@pytest.mark.parametrize(("at_home", "best"), [(-3.0, min(STRENGTHS)), (1.0, max(STRENGTHS))])
def test_the_strength_is_chosen_by_databases_that_were_not_learned_from(at_home, best):
    """Where copies turn around in the database that is asked, only the strong penalty is safe.

    Of all three together the weak one would learn even that.
    """
    learn, numbers = noisy_cue(120, at_home)
    assert chosen_strength(numbers, learn, by_database(learn)) == best


def test_small_databases_have_no_say_in_the_strength():
    learn, _ = noisy_cue(cycle_scores.MANY, at_home=1.0)
    assert [set(learn.database[asked]) for _, asked in by_database(learn)] == [{"a"}, {"b"}, {"c"}]
    learn, numbers = noisy_cue(cycle_scores.MANY - 2, at_home=1.0)
    assert by_database(learn) == [] and chosen_strength(numbers, learn, []) == USUAL


def test_a_group_of_two_databases_is_not_learned_from_where_one_is_asked():
    learn = pd.DataFrame({"database": np.repeat([*"ab"], 100), "label": np.arange(200) % 2})
    learn["group"] = ["shared" if k in (0, 150) else str(k) for k in range(200)]
    (rows, asked), _ = by_database(learn)
    assert set(asked) == set(range(100)) and set(rows) == set(range(100, 200)) - {150}


def test_it_stands_beside_runs_with_all_labels_once_for_each_left_out():
    def finished(leave_out: str, labeled: str) -> Finished:
        class Run(SomeRun):
            class experiment:
                class splits:
                    label_share = 1.0

        Run.experiment.splits.leave_out, Run.experiment.splits.labeled = leave_out, labeled
        return Finished("native-all", "baseline", Run())

    models = [finished("a", "all"), finished("a", "all"), finished("b", "finetune")]
    (found,) = cycle_scores.beside(models)
    assert found == MeanCycle(models[0].run)
