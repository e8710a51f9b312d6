"""Tables as Markdown, for the README, the model card and the pages beside the figures."""

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are already text, without a newline at its end."""
    first, *others = ("| " + " | ".join(cells) + " |" for cells in (head, *rows))
    return "\n".join([first, "|" + "---|" * len(head), *others])
