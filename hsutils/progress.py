"""Progress bars: in a terminal, in JupyterLab, and silent when nobody watches."""

import os
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TextIO

import psutil
from tqdm.auto import tqdm as notebook_or_text
from tqdm.std import tqdm as text

TERMINAL = "HSUTILS_TERMINAL"
"""Names the terminal of the runner, whose notebooks run in another process."""


def progress(
    items: Iterable | None, total: int, description: str, done: int = 0, quiet: bool = False
) -> text:
    """A progress bar over `items` (or to be advanced by `update`), with seconds left.

    Args:
        items: what to iterate, or None.
        total: number of items.
        description: what is being done, a few words.
        done: items finished in an earlier, interrupted run.
        quiet: show nothing, as every process but the first does.
    """
    options = {"total": total, "desc": description, "initial": done, "leave": False}
    if quiet:
        return text(items, disable=True, **options)
    if terminal := _terminal(os.environ.get(TERMINAL)):
        return text(items, file=terminal, **options)
    if sys.stderr.isatty():
        return text(items, **options)
    return notebook_or_text(items, disable=not in_live_notebook(), **options)


@cache
def _terminal(name: str | None) -> TextIO | None:
    """The runner's terminal, or None when there is none any more."""
    try:
        return Path(name).open("w") if name else None
    except OSError:
        return None


def in_live_notebook() -> bool:
    """Whether a person looks on in JupyterLab, and no papermill, nbconvert or test drives."""
    if "ipykernel" not in sys.modules:
        return False
    try:
        parent = psutil.Process().parent()
        command = " ".join(parent.cmdline()) if parent else ""
    except psutil.Error:  # macOS does not tell about another user's processes
        command = ""
    return not any(word in command for word in ("papermill", "nbconvert", "-m hsutils", "pytest"))
