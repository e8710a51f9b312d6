"""The checker's verdicts, and that notebooks and its table hold the same exercises."""

import re

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch

from hsutils import exercises
from hsutils.errors import InputError
from hsutils.exercises import EXERCISES, Exercise, checker
from hsutils.runner import NOTEBOOKS

CHECKED = re.compile(r'check\("(\d\d\.\d)", (\.\.\.|\w+)')
TABLE = {
    "00.1": Exercise(lambda run: run["auroc"], "Look at the curve.", 0.01),
    "00.2": Exercise(lambda run: {"a", "E"}, "Look at the databases."),
    "00.3": Exercise(lambda run: (1, 50), "Look at the shape."),
}


@pytest.fixture
def verdict(monkeypatch):
    """What a check displays: its verdict and its Markdown."""
    shown = []
    monkeypatch.setattr(exercises, "EXERCISES", TABLE)
    monkeypatch.setattr(exercises, "display", lambda data, raw: shown.append(data))
    check = checker({"auroc": np.float64(0.8)})

    def see(number, answer):
        check(number, answer)
        return shown[-1]["text/plain"].removeprefix(f"{number}: "), shown[-1]["text/markdown"]

    return see


@pytest.mark.parametrize(
    ("number", "answer", "expected"),
    [
        ("00.1", 0.8, "right"),
        ("00.1", 0.809, "right"),
        ("00.1", 0.811, "wrong"),
        ("00.1", np.float32(0.8), "right"),
        ("00.1", pd.Series([0.8]), "right"),
        ("00.1", torch.tensor(0.8, requires_grad=True), "right"),
        ("00.1", float("nan"), "wrong"),
        ("00.1", [0.8, 0.8], "wrong"),
        ("00.2", ["e", " A "], "right"),
        ("00.2", pd.Series(["a", "e", "e"]), "right"),
        ("00.2", pd.Index(["a"]), "wrong"),
        ("00.2", "a", "wrong"),
        ("00.3", [1, 50], "right"),
        ("00.3", torch.Size([1, 50]), "right"),
        ("00.3", (50, 1), "wrong"),
    ],
    ids=repr,
)
def test_a_number_is_compared_within_its_tolerance_and_words_without_case_or_order(
    verdict, number, answer, expected
):
    said, text = verdict(number, answer)
    assert said == expected
    assert (TABLE[number].hint in text) == (expected == "wrong")


@pytest.mark.parametrize("answer", ["0.8", None, print, [[1], [1, 2]], {1: 2}, {"a"}], ids=repr)
def test_a_wrong_kind_of_answer_is_a_sentence(verdict, answer):
    assert verdict("00.1", answer) == ("wrong", f"00.1: {exercises.WRONG} {exercises.NUMBERS}")


def test_a_number_is_no_name(verdict):
    assert verdict("00.2", 0.8) == ("wrong", f"00.2: {exercises.WRONG} {exercises.WORDS}")


def test_an_open_question_shows_its_hint(verdict):
    assert verdict("00.1", ...) == ("open", f"00.1: {exercises.OPEN} Look at the curve.")


def test_an_unknown_number_is_one_line(verdict):
    with pytest.raises(InputError, match=r"^there is no exercise 9; there are 00.1, 00.2, 00.3$"):
        verdict("9", 1)


def test_every_exercise_is_in_a_notebook_with_a_cell_to_answer_and_a_folded_solution():
    asked, solved = [], []
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type != "code":
                continue
            is_solution = "solution" in cell.metadata.get("tags", [])
            for number, answer in CHECKED.findall(cell.source):
                (solved if is_solution else asked).append(number)
                assert number.startswith(path.name[:2]), f"{path.name} checks {number}"
                assert (answer == "...") <= (not is_solution)
            if is_solution:
                assert CHECKED.search(cell.source) and cell.metadata["jupyter"]["source_hidden"]
    assert asked == solved == sorted(EXERCISES), "in the same order, each once"
