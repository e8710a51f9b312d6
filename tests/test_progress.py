import io
import sys

import psutil
import pytest

from hsutils import progress as module
from hsutils.progress import in_live_notebook, progress


class Parent:
    def __init__(self, command: str | Exception):
        self.command = command

    def parent(self):
        return self

    def cmdline(self):
        if isinstance(self.command, Exception):
            raise self.command
        return self.command.split()


@pytest.mark.parametrize(
    ("command", "live"),
    [
        ("python .venv/bin/jupyter-lab notebooks", True),
        ("python /home/me/hsutils-copy/.venv/bin/jupyter-lab", True),
        (psutil.AccessDenied(), True),
        ("python .venv/bin/papermill in.ipynb out.ipynb", False),
        ("python -m hsutils run --profile demo", False),
        ("python -m pytest", False),
    ],
)
def test_bars_show_only_where_somebody_looks_on(command, live, monkeypatch):
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    monkeypatch.setattr(psutil, "Process", lambda: Parent(command))
    assert in_live_notebook() is live


def test_a_script_is_no_notebook(monkeypatch):
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    assert not in_live_notebook()


def test_without_a_terminal_nothing_is_shown(monkeypatch, capsys):
    monkeypatch.delenv(module.TERMINAL, raising=False)
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert list(progress(range(3), 3, "work")) == [0, 1, 2]
    assert sys.stderr.getvalue() == ""


def test_the_runners_terminal_is_used_and_may_be_gone(monkeypatch, tmp_path):
    terminal = tmp_path / "tty"
    monkeypatch.setenv(module.TERMINAL, str(terminal))
    module._terminal.cache_clear()
    list(progress(range(3), 3, "work"))
    assert "work" in terminal.read_text()
    monkeypatch.setenv(module.TERMINAL, str(tmp_path / "no" / "tty"))
    module._terminal.cache_clear()
    assert list(progress(range(3), 3, "work")) == [0, 1, 2]


def test_only_the_first_process_shows_bars(monkeypatch, tmp_path):
    terminal = tmp_path / "tty"
    monkeypatch.setenv(module.TERMINAL, str(terminal))
    module._terminal.cache_clear()
    assert list(progress(range(3), 3, "work", quiet=True)) == [0, 1, 2]
    assert not terminal.exists()
