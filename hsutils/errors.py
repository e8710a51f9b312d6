"""The one exception a user is meant to read."""

from collections.abc import Sequence

SHOWN = 20
"""Problems listed in a message; the rest are counted."""


class InputError(ValueError):
    """Something the user gave cannot be used; each problem is one line with its remedy.

    The command line prints the message without a traceback.

    Args:
        problems: one line, or all of them at once so that a user corrects everything in one go.
    """

    def __init__(self, problems: str | Sequence[str]):
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__(self._message())

    def _message(self) -> str:
        if len(self.problems) == 1:
            return self.problems[0]
        lines = "\n".join(f"  - {problem}" for problem in self.problems[:SHOWN])
        if len(self.problems) > SHOWN:
            lines += f"\n  ... and {len(self.problems) - SHOWN:,} more"
        return f"{len(self.problems)} problems with the input:\n{lines}"
