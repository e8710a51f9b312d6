"""Helpers of the notebooks, and the form every committed notebook keeps."""

import ast
import html
import inspect
import re
import textwrap

import nbformat
import numpy as np
import pandas as pd
import pytest
import soundfile

from hsutils import notebook, plots
from hsutils.config import PROJECT, load_profile
from hsutils.models.losses import nt_xent
from hsutils.run import Run
from hsutils.training.checkpoints import Checkpoint

NOTEBOOKS = sorted((PROJECT / "notebooks").glob("[0-9]*.ipynb"))
NAMES = [path.stem for path in NOTEBOOKS]


@pytest.fixture
def run(tmp_path) -> Run:
    return Run(tmp_path, load_profile("small"))


@pytest.fixture
def recordings(tmp_path) -> pd.DataFrame:
    """Four short recordings of two databases, beats of a low tone."""
    rows = []
    for i, (record, label) in enumerate((("a0001", 0), ("b0001", 0), ("b0002", 1), ("b0003", 1))):
        seconds = 1.0 + i
        time = np.arange(round(2000 * seconds)) / 2000
        soundfile.write(
            tmp_path / f"{record}.wav", 0.1 * np.sin(300 * time) * (time % 1 < 0.1), 2000
        )
        rows.append((record, record[0], str(tmp_path / f"{record}.wav"), label, 1, seconds))
    columns = ["record", "database", "path", "label", "quality", "seconds"]
    return pd.DataFrame(rows, columns=columns)


def test_a_kept_figure_lies_in_the_run_as_png_and_svg_and_is_shown(run):
    figure = plots.loss_by_epoch(pd.DataFrame({"epoch": [1, 2], "loss": [2.0, 1.0]}))
    shown = notebook.keep(run, figure, "99-test")
    assert shown.data == run.path("figures/99-test.png").read_bytes()
    assert shown.alt == figure.get_suptitle()
    assert sorted(p.name for p in run.path("figures").iterdir()) == ["99-test.png", "99-test.svg"]
    assert notebook.shown(PROJECT / "runs" / "demo") == "runs/demo"


def test_saved_files_are_named_in_one_line_that_unfolds(run, monkeypatch):
    said = []
    monkeypatch.setattr(notebook, "display", said.append)
    notebook.say_saved(run, "a.csv", "tables/b.csv")
    (page,) = (html.data for html in said)
    assert page.count("<summary>") == 1 and "a.csv" not in page.partition("</summary>")[0]
    assert all(str(run.path(name)) in page for name in ("a.csv", "tables/b.csv"))


def test_shown_source_is_folded_named_and_whole():
    page = notebook.show_source(Checkpoint.save, nt_xent).data
    assert page.count("<details>") == 2 and "<details open" not in page
    assert "<code>nt_xent</code> in hsutils/models/losses.py" in page
    found = re.findall("</style>(.*?)</details>", page, re.DOTALL)
    code = [re.sub("<[^>]+>", "", part) for part in found]
    texts = [textwrap.dedent(inspect.getsource(part)) for part in (Checkpoint.save, nt_xent)]
    assert [html.unescape(part).strip() for part in code] == [text.strip() for text in texts]
    assert 'class="k">def' in page
    decorated = notebook.show_source(plots.similarities).data
    assert "<code>similarities</code> in hsutils/plots/diagrams.py" in decorated


def test_whether_numbers_may_stand_beside_the_papers_is_said(run, tmp_path):
    whole = Run(tmp_path, load_profile("paper"))
    part = Run(tmp_path, load_profile("paper", {"data.recordings": 80}))
    own = Run(tmp_path, load_profile("demo", {"data.source": "table"}))
    said = [notebook.announce(each).data for each in (run, whole, part, own)]
    lines = ("recordings are synthetic", "other recordings", "Your own recordings")
    found = [[line in text for line in lines] for text in said]
    assert found == [[True, False, False], [False] * 3, [False, True, False], [False, False, True]]
    assert all(line.startswith(">") for text in said for line in text.splitlines())


def test_examples_are_a_normal_and_an_abnormal_of_one_database(recordings):
    pair = notebook.examples(recordings)
    assert pair.label.tolist() == [0, 1]
    assert pair.database.tolist() == ["b", "b"]
    noisy = recordings.assign(quality=[1, 1, 0, 1])
    assert notebook.examples(noisy).record.tolist() == ["b0001", "b0003"]


def test_players_use_the_whole_range_under_escaped_captions(recordings, monkeypatch):
    played, audio = [], notebook.Audio
    monkeypatch.setattr(
        notebook, "Audio", lambda data, **o: played.append(data) or audio(data, **o)
    )
    page = notebook.players(recordings.tail(2), ["x < y", "second"], seconds=2).data
    assert page.count("<audio") == 2
    assert page.index("x &lt; y") < page.index("second")
    assert [np.abs(data).max() for data in played] == [1, 1]
    assert [len(data) for data in played] == [2 * notebook.PLAYED_RATE] * 2
    assert "b0003: abnormal, database b, 4.0 s" in notebook.players(recordings.tail(1)).data


def test_verdicts_name_label_and_every_model():
    table = pd.DataFrame({"record": ["a1"], "label": [1], "teacher": [2.04], "student": [-0.3]})
    assert notebook.verdicts(table) == ["a1, abnormal: teacher +2.04, student −0.30"]


def test_excerpt_is_the_start_of_the_recording_with_padding_behind(recordings, run):
    front_end = run.profile.front_end
    short, long = (notebook.excerpt(recordings.iloc[1], front_end, s) for s in (1, 9))
    assert np.array_equal(long[:, : short.shape[1]], short)
    assert long.shape == (front_end.mels, round(9 * front_end.sample_rate / front_end.hop))
    assert np.ptp(long[:, -10:]) == 0


@pytest.mark.parametrize("seconds", [None, 1.0])
def test_waveform_and_spectrogram_share_their_time_axis(recordings, run, seconds):
    above, below, *_ = notebook.look(run, recordings.iloc[2], seconds).axes
    start, stop = above.lines[0].get_xdata()[[0, -1]]
    middle = (start + stop) / 2
    assert middle == pytest.approx(sum(below.images[0].get_extent()[:2]) / 2, abs=0.05)


def cells(path, kind: str) -> list:
    return [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == kind]


def code_of(path) -> ast.Module:
    return ast.parse("\n".join(cell.source for cell in cells(path, "code")))


every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def test_the_series_is_complete_and_in_order():
    assert [name[:3] for name in NAMES] == [f"{number:02}_" for number in range(1, 11)]


@every_notebook
def test_versions_come_first_and_parameters_are_profile_run_dir_and_overrides(path):
    assert cells(path, "code")[0].source.endswith("show_versions()")
    (tagged,) = [c for c in cells(path, "code") if "parameters" in c.metadata.get("tags", [])]
    assignments = ast.parse(tagged.source).body
    values = {node.targets[0].id: ast.literal_eval(node.value) for node in assignments}
    assert values == {"profile": "demo", "run_dir": "", "overrides": []}


@every_notebook
def test_title_and_every_heading_but_it_ask_or_name(path):
    first, *others = (cell.source for cell in cells(path, "markdown"))
    assert first.startswith(f"# {path.stem[:2]} · ")
    headings = [s.splitlines()[0] for s in others if s.startswith("#")]
    assert headings
    assert all(h.startswith("## ") and h.endswith("?") for h in headings)


@every_notebook
def test_links_point_to_notebooks_that_exist(path):
    first, *_, last = (cell.source for cell in cells(path, "markdown"))
    others = [name for name in NAMES if name != path.stem]
    assert [first.count(f"({name}.ipynb)") for name in others] == [1] * len(others)
    following = NAMES[NAMES.index(path.stem) + 1 :][:1]
    assert all(f"({name}.ipynb)" in last for name in following)


@every_notebook
def test_no_notebook_defines_functions_or_runs_another(path):
    defined = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
    assert not [node for node in ast.walk(code_of(path)) if isinstance(node, defined)]
    source = "\n".join(cell.source for cell in cells(path, "code"))
    assert "%" not in {line[:1] for line in source.splitlines()}
    assert not [name for name in NAMES if name in source]


def test_the_first_notebook_imports_no_study():
    """Nor does anything that it imports: that is a contract of import-linter."""
    imports = [
        n for n in ast.walk(code_of(NOTEBOOKS[0])) if isinstance(n, ast.Import | ast.ImportFrom)
    ]
    module = {
        each: f"{each.module}." if isinstance(each, ast.ImportFrom) else "" for each in imports
    }
    names = {module[each] + part.name for each in imports for part in each.names}
    assert "hsutils.notebook.keep" in names
    assert not [name for name in names if name.startswith("hsutils.studies")]


def test_no_two_figures_of_the_series_have_the_same_name():
    calls = [node for path in NOTEBOOKS for node in ast.walk(code_of(path))]
    kept = [
        node.args[2].value
        for node in calls
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "keep"
    ]
    assert len(kept) == len(set(kept))
    assert {f"paper-figure-{n}" for n in (1, 3, 4, 5)} <= set(kept)
