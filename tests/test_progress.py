"""Progress bars show where somebody looks on, and nowhere else."""

import io
import sys

import pytest

from hsutils import progress as module
from hsutils.progress import progress


@pytest.fixture(autouse=True)
def nobody_looks_on(monkeypatch):
    for name in (module.TERMINAL, *module.FRONT_ENDS):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    module._terminal.cache_clear()


@pytest.mark.parametrize(
    ("is_terminal", "in_kernel", "seen"),
    [(True, False, True), (False, False, False), (True, True, False), (False, True, False)],
)
def test_without_front_end_a_bar_shows_in_a_terminal_alone(
    monkeypatch, is_terminal, in_kernel, seen
):
    stderr = io.StringIO()
    stderr.isatty = lambda: is_terminal
    monkeypatch.setattr(sys, "stderr", stderr)
    if in_kernel:
        monkeypatch.setitem(sys.modules, "ipykernel", sys)
    assert list(progress(range(3), 3, "work", done=1)) == [0, 1, 2]
    assert ("work" in stderr.getvalue()) is seen


@pytest.mark.parametrize("variable", module.FRONT_ENDS)
def test_a_kernel_that_somebody_opened_has_a_bar(monkeypatch, variable):
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    monkeypatch.setenv(variable, "1")
    shown = []
    monkeypatch.setattr(module, "notebook_or_text", lambda items, **_: shown.append(items) or items)
    assert list(progress(range(3), 3, "work")) == [0, 1, 2]
    assert shown


def test_the_runners_terminal_is_used_and_may_be_gone(monkeypatch, tmp_path):
    terminal = tmp_path / "tty"
    monkeypatch.setenv(module.TERMINAL, str(terminal))
    list(progress(range(3), 3, "work"))
    assert "work" in terminal.read_text()
    monkeypatch.setenv(module.TERMINAL, str(tmp_path / "no" / "tty"))
    assert list(progress(range(3), 3, "work")) == [0, 1, 2]


def test_only_the_first_process_shows_bars(monkeypatch, tmp_path):
    monkeypatch.setenv(module.TERMINAL, str(tmp_path / "tty"))
    assert list(progress(range(3), 3, "work", quiet=True)) == [0, 1, 2]
    assert not (tmp_path / "tty").exists()
