"""Progress bars: in a terminal, in JupyterLab, and nowhere else."""

import os
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TextIO

from tqdm.auto import tqdm as notebook_or_text
from tqdm.std import tqdm as text

TERMINAL = "HSUTILS_TERMINAL"
"""Names the terminal of the command that executes notebooks in other processes."""

FRONT_ENDS = ("JPY_SESSION_NAME", "VSCODE_PID")
"""Variables in the environment of a kernel that somebody opened in JupyterLab or VS Code."""


def progress(
    items: Iterable | None, total: int, description: str, done: int = 0, quiet: bool = False
) -> text:
    """A progress bar over `items`, or one to be advanced by `update` where they are None.

    Of the `total`, `done` were finished before.
    """
    options = {"total": total, "desc": description, "initial": done, "leave": False}
    if quiet:
        return text(items, disable=True, **options)
    if terminal := _terminal(os.environ.get(TERMINAL)):
        return text(items, file=terminal, **options)
    in_kernel = "ipykernel" in sys.modules
    if in_kernel and any(name in os.environ for name in FRONT_ENDS):
        return notebook_or_text(items, **options)
    return text(items, disable=in_kernel or not sys.stderr.isatty(), **options)


@cache
def _terminal(name: str | None) -> TextIO | None:
    """The terminal of that name, or None when there is none any more."""
    try:
        return Path(name).open("w") if name else None
    except OSError:
        return None
