"""Names of unknown origin as Markdown text, and tables. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from carbonbudget_operator.printable import printable

_SPECIAL = frozenset("\\`*_{}[]()<>#+-.!|~&")


def markdown_text(text: str) -> str:
    """The text as it is, whatever Markdown's signs it has."""
    return "".join(f"\\{sign}" if sign in _SPECIAL else sign for sign in printable(text, 300))


def markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table; the first column is text, the others are figures."""
    ruler = ["---", *["---:"] * (len(headings) - 1)]
    return [f"| {' | '.join(cells)} |" for cells in (headings, ruler, *rows)]
