"""The exceptions a user is meant to read."""

from collections.abc import Sequence

GO_ON = "run the same command again to go on from here"
SHOWN = 20
"""Problems listed in a message; the rest are counted."""


class InputError(ValueError):
    """Something the user gave cannot be used; each problem is one line with its remedy.

    The command line and notebooks print the message without a traceback.

    Args:
        problems: one line, or all of them at once so that a user corrects everything in one go.
    """

    def __init__(self, problems: str | Sequence[str]):
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        count, lines = len(self.problems), self.problems
        if count > 1:
            lines = [f"{count} problems with the input:", *(f"  - {p}" for p in lines[:SHOWN])]
        if count > SHOWN:
            lines.append(f"  ... and {count - SHOWN:,} more")
        super().__init__("\n".join(lines))

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


class Interrupted(KeyboardInterrupt):
    """The user stopped work of which nothing that was finished is lost."""

    def _render_traceback_(self) -> list[str]:
        return ["Stopped. What was finished is saved: run the cell again to go on from there."]
