"""The runner's decisions and the report; that it runs the real series is in tests/notebooks."""

import base64
import io
import re
from html.parser import HTMLParser

import nbformat
import papermill
import pytest
from jupyter_client.kernelspec import NoSuchKernel
from matplotlib.figure import Figure
from nbclient.exceptions import CellTimeoutError
from papermill.exceptions import PapermillExecutionError

from hsutils import runner
from hsutils.data.corpus import data_folder
from hsutils.errors import InputError
from hsutils.run import open_run

TINY = ["data.recordings=12", "data.seconds_scale=0.05"]
STOPPED = "stopped with ZeroDivisionError: by zero"


@pytest.fixture
def run(tmp_path):
    return open_run("small", tmp_path / "run", [*TINY, f"data.folder={tmp_path / 'data'}"])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of a series that a test writes itself."""
    monkeypatch.setattr(runner, "NOTEBOOKS", tmp_path / "notebooks")
    (tmp_path / "notebooks").mkdir()
    return tmp_path / "notebooks"


def notebook(path, *sources: str) -> None:
    cells = [nbformat.v4.new_code_cell("profile, run_dir, overrides = '', '', []")]
    cells[0].metadata["tags"] = ["parameters"]
    cells += [nbformat.v4.new_code_cell(source) for source in sources]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), path)


def write(file: str) -> str:
    return f"from pathlib import Path; Path(run_dir, '{file}').write_text('1')"


def test_the_inputs_are_the_same_until_a_recording_changes(run):
    first = runner._source_fingerprint(run)
    assert runner._source_fingerprint(run) == first, "though it wrote the synthetic recordings"
    wav = next(data_folder(run).rglob("*.wav"))
    wav.write_bytes(wav.read_bytes() + b"\0\0")
    assert runner._source_fingerprint(run) != first


def test_the_series_runs_in_order_and_goes_on_after_a_failure(run, folder, capsys):
    notebook(folder / "01_good.ipynb", write("a.csv"))
    wrong = "from hsutils.errors import InputError; raise InputError('correct the field')"
    notebook(folder / "02_bad.ipynb", wrong)
    with pytest.raises(InputError, match=r"^correct the field$"):
        runner.run_series(run, "small", [])
    failed = nbformat.read(run.path("notebooks/02_bad.failed.ipynb"), as_version=4)
    error = failed.cells[-1].outputs[-1]
    assert (error.ename, error.traceback) == ("InputError", ["correct the field"])
    assert run.path("a.csv").exists() and run.path("notebooks/01_good.ipynb").exists()
    assert not run.path("notebooks/02_bad.ipynb").exists()
    # What a process that was killed while it saved leaves behind.
    run.path("figures").mkdir()
    run.path("figures/.a-x.png").write_bytes(b"")
    notebook(folder / "02_bad.ipynb", write("b.csv"))
    capsys.readouterr()
    assert runner.run_series(run, "small", []).name == "report.html"
    said = capsys.readouterr().out
    assert "01_good: done before" in said and "02_bad: done before" not in said
    assert not run.path("notebooks/02_bad.failed.ipynb").exists()
    run.path("figures/.a-x.png").unlink()
    runner.run_series(run, "small", [])
    assert capsys.readouterr().out.count("done before") == 2


@pytest.fixture
def executed(run, folder, monkeypatch, capsys):
    """Runs a finished series again, without a report, and tells what was executed anew."""
    notebook(folder / "01_one.ipynb")
    notebook(folder / "02_two.ipynb")

    def execute(source, result, *_, **__):
        notebook(result)
        if source.name.startswith("02"):
            run.store("result.csv", "stamp", lambda path: path.write_text("1") and None)

    monkeypatch.setattr(papermill, "execute_notebook", execute)
    monkeypatch.setattr(runner, "write_report", lambda run: None)
    runner.run_series(run, "small", [])

    def again() -> list[str]:
        capsys.readouterr()
        runner.run_series(run, "small", [])
        return re.findall(r"\] (\w+) \.\.\.", capsys.readouterr().out)

    return again


@pytest.mark.parametrize(
    ("file", "content", "anew"),
    [
        ("result.csv", None, ["02_two"]),
        ("result.csv", "2", ["02_two"]),
        ("result.json", "", ["02_two"]),
        ("notebooks/01_one.json", "", ["01_one"]),
        ("notebooks/01_one.json", '{"fingerp', ["01_one"]),
        ("notebooks/01_one.ipynb", "{}", ["01_one"]),
        ("environment.json", "", []),
        ("tables/.x.csv", "", []),
    ],
)
def test_what_is_missing_or_damaged_is_made_again(run, executed, file, content, anew):
    assert executed() == []
    run.path(file).parent.mkdir(exist_ok=True)
    run.path(file).unlink(missing_ok=True)
    if content is not None:
        run.path(file).write_text(content)
    assert executed() == anew
    assert executed() == []


def test_a_notebook_may_replace_what_it_left_with_other_settings(run, executed, folder):
    notebook(folder / "01_one.ipynb", "changed")
    assert executed() == ["01_one", "02_two"]
    run.store("result.csv", "stamp of 1", lambda path: path.write_text("1") and None)
    assert executed() == ["01_one", "02_two"], "both left it as it was before"
    assert executed() == []


def test_a_stage_made_again_with_other_settings_is_made_again(run, executed):
    run.store("result.csv", "another stamp", lambda path: path.write_text("1") and None)
    assert executed() == ["02_two"]
    assert executed() == []


def test_a_kernel_that_is_killed_is_one_line(run, folder):
    notebook(folder / "01_one.ipynb", "1", "import os; os.kill(os.getpid(), 9)")
    failed = run.path("notebooks/01_one.failed.ipynb")
    said = "01_one.ipynb: its kernel died, most often for want of memory "
    said += f"(see {failed}); run the same command again to go on from here"
    with pytest.raises(InputError, match=f"^{re.escape(said)}$"):
        runner.run_series(run, "small", [])
    assert failed.exists()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("Kernel died before replying to kernel_info"), "its kernel died"),
        (RuntimeError("Kernel didn't respond in 60 seconds"), "Kernel didn't respond"),
        (CellTimeoutError("A cell timed out"), "A cell timed out"),
        (NoSuchKernel("python3"), "No such kernel named python3"),
        (PapermillExecutionError(1, 1, "1 / 0", "ZeroDivisionError", "by zero", []), STOPPED),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_notebook_or_kernel_that_does_not_work_is_one_line(run, folder, monkeypatch, error, said):
    notebook(folder / "01_one.ipynb", "1")

    def fail(*_, **__):
        raise error

    monkeypatch.setattr(papermill, "execute_notebook", fail)
    expected = rf"^01_one.ipynb:? {said}.*\(see .*failed\.ipynb"
    with pytest.raises(InputError, match=expected) as raised:
        runner.run_series(run, "small", [])
    assert "\n" not in str(raised.value)


class Elements(HTMLParser):
    """Collects the start tags of a page with their attributes, and its text."""

    def __init__(self, page: str):
        super().__init__()
        self.found, self.text = [], ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def all(self, tag: str, attribute: str) -> list[str]:
        return [a[attribute] for name, a in self.found if name == tag and attribute in a]


@pytest.fixture
def page(run, folder) -> Elements:
    """The report of two executed notebooks."""
    png = io.BytesIO()
    Figure().savefig(png)
    bundles = [
        {"image/png": base64.b64encode(png.getvalue()).decode()},
        {"text/html": "<table><tr><td>0.93</td></tr></table>", "text/plain": "0.93"},
        {"application/vnd.jupyter.widget-view+json": {"model_id": "x"}, "text/plain": "VBox(...)"},
    ]
    outputs = [nbformat.v4.new_output("display_data", data) for data in bundles]
    texts = [
        "# 01 · One\n\n[next](02_two.ipynb) [code](../hsutils/run.py)",
        "## Why $x_i^2$?\n\n$$\\frac{a_1}{b}$$\n\n<b>&</b> [curve](glossary.ipynb#ROC-curve)",
    ]
    cells = [nbformat.v4.new_markdown_cell(text) for text in texts]
    cells.append(nbformat.v4.new_code_cell("keep(figure)", outputs=outputs))
    second = [nbformat.v4.new_markdown_cell("# 02 · Two")]
    run.path("notebooks").mkdir()
    for name, story in (("01_one", cells), ("02_two", second)):
        notebook(folder / f"{name}.ipynb")
        nbformat.write(nbformat.v4.new_notebook(cells=story), run.path(f"notebooks/{name}.ipynb"))
    terms = nbformat.v4.new_markdown_cell("# Glossary\n\n## ROC curve\nOf every threshold.")
    nbformat.write(nbformat.v4.new_notebook(cells=[terms]), folder / "glossary.ipynb")
    return Elements(runner.write_report(run).read_text(encoding="utf-8"))


def test_the_report_stands_alone(page):
    assert not page.all("script", "src") and "script" not in [tag for tag, _ in page.found]
    assert not page.all("link", "href")
    assert [source[:22] for source in page.all("img", "src")] == ["data:image/png;base64,"]
    assert not any("/" in link for link in page.all("a", "href")) and "code" in page.text


def test_the_report_tells_the_notebooks_as_one_story(page):
    links, anchors = page.all("a", "href"), page.all("a", "id")
    inner = [link[1:] for link in links if link.startswith("#")]
    assert inner[1:5] == anchors[:4], "the contents list leads to every heading"
    assert set(inner) <= {*anchors, *page.all("h1", "id"), *page.all("h2", "id")}
    assert {"#02_two.ipynb", "#ROC-curve"} <= set(links[5:]), "other pages are on this page"
    assert "git_commit" in page.text and "clip_seconds = 4.0" in page.text
    assert page.text.index("01 · One") < page.text.index("0.93") < page.text.rindex("02 · Two")
    assert "keep(figure)" not in page.text and "VBox" not in page.text
    assert "$" not in page.text and {"math", "mfrac", "msub"} <= {tag for tag, _ in page.found}
