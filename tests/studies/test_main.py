"""The command of the studies: it trains what is missing, and draws again from what it wrote."""

import pytest

from hsutils.errors import GO_ON
from hsutils.studies.__main__ import main
from hsutils.studies.seeds import train

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:split lists:UserWarning"),
]


def command(study, name: str, folder, *more: str) -> list[str]:
    settings = [part for text in study.overrides for part in ("--set", text)]
    common = ["--profile", "demo", "--run-dir", study.base, "--to", str(folder), *settings]
    return [name, *common, *more]


@pytest.mark.parametrize(
    ("name", "more", "pictures"),
    [
        ("ablations", ["--seeds", "0,0", "--only", "few-labels"], {"roc", "ablations"}),
        ("heart-cycles", ["--seeds", "0"], set()),
    ],
)
def test_what_is_written_is_drawn_again(
    trained, tmp_path, name, more, pictures, capsys, monkeypatch
):
    # In this process; `test_cluster` starts others.
    monkeypatch.setattr(
        "hsutils.studies.__main__.train_all",
        lambda trainings, _: [train(*training) for training in trainings],
    )
    assert main(command(trained, name, tmp_path, *more)) == 0
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    assert {"results.csv"} | {f"{p}.png" for p in pictures} <= set(before)
    for path in tmp_path.iterdir():
        if path.suffix in (".png", ".svg") or path.name == "results.csv":
            path.unlink()
    assert main([name, "--to", str(tmp_path), "--redraw"]) == 0
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
    assert str(tmp_path / "results.csv") in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trust", "--redraw"], "cases.csv"),
        (["ablations", "--only", "few,x"], "--only: no few, x; use some of few-labels"),
        (["unseen", "--only", "robbust"], "--only: no robbust; use some of paper, robust"),
        (["trust", "--only", "few-labels"], "--only: no few-labels; leave it out"),
        (["reproduction", "--seeds", "0;1"], "--seeds 0;1"),
        (["reproduction", "--set", "student.epochs=x"], "student.epochs"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, capsys, arguments, message):
    assert main([*arguments, "--to", str(tmp_path), "--run-dir", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert message in error and error.startswith("hsutils.studies: ") and error.count("\n") == 1


def test_a_study_that_is_stopped_says_how_to_go_on(tmp_path, capsys, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("hsutils.studies.__main__.train_all", stopped)
    assert main(["trust", "--to", str(tmp_path), "--run-dir", str(tmp_path / "run")]) == 130
    assert capsys.readouterr().err == f"hsutils.studies: stopped; {GO_ON}\n"
