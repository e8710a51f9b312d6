"""The runner's decisions; that it runs the notebooks is tested in tests/notebooks."""

import nbformat
import pytest

from hsutils import runner
from hsutils.errors import InputError
from hsutils.experiment import open_run

TINY = ["data.recordings=12", "data.seconds_scale=0.05"]


@pytest.fixture
def run(tmp_path):
    return open_run("small", tmp_path / "run", [*TINY, f"data.folder={tmp_path / 'data'}"])


def notebook(folder, name: str, source: str):
    cells = [nbformat.v4.new_code_cell("profile, run_dir, overrides = '', '', []")]
    cells[0].metadata["tags"] = ["parameters"]
    cells.append(nbformat.v4.new_code_cell(source))
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    path = folder / name
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), path)
    return path


def test_writing_the_artificial_corpus_does_not_make_the_run_look_changed(run):
    first = runner._source_fingerprint(run)
    assert runner._source_fingerprint(run) == first


def test_a_touched_recording_makes_the_run_look_changed(run):
    from hsutils.data.corpus import data_folder

    first = runner._source_fingerprint(run)
    wav = next(data_folder(run).rglob("*.wav"))
    wav.write_bytes(wav.read_bytes() + b"\0\0")
    assert runner._source_fingerprint(run) != first


def test_a_notebook_with_a_missing_result_is_not_done(run, tmp_path):
    path = notebook(tmp_path, "01_one.ipynb", "1")
    run.path("notebooks").mkdir()
    run.path("notebooks", path.name).write_bytes(path.read_bytes())
    run.path("result.csv").write_text("1\n")
    run.mark_done(f"notebooks/{path.name}", "stamp", files=["result.csv"])
    assert runner._is_done(run, path, "stamp")
    assert not runner._is_done(run, path, "another stamp")
    run.path("result.csv").unlink()
    assert not runner._is_done(run, path, "stamp")


def test_the_series_runs_in_order_and_stops_with_the_notebooks_own_line(
    run, tmp_path, monkeypatch, capsys
):
    folder = tmp_path / "notebooks"
    folder.mkdir()
    monkeypatch.setattr(runner, "NOTEBOOKS", folder)
    notebook(folder, "01_good.ipynb", "from pathlib import Path; Path(run_dir, 'a').write_text('')")
    notebook(
        folder,
        "02_bad.ipynb",
        "from hsutils.errors import InputError; raise InputError('mend the field')",
    )
    with pytest.raises(InputError, match=r"^mend the field$"):
        runner.run_series(run, "small", [])
    assert run.path("a").exists()
    assert run.path("notebooks/01_good.ipynb").exists()
    assert not run.path("notebooks/02_bad.ipynb").exists()
    notebook(folder, "02_bad.ipynb", "2")
    capsys.readouterr()
    runner.run_series(run, "small", [])
    said = capsys.readouterr().out
    assert "01_good: done before" in said and "02_bad: done before" not in said
    assert run.path("notebooks/02_bad.ipynb").exists()
