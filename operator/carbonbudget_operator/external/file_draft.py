"""What a parser has read so far of one file: its figures, and what is to be told of them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from carbonbudget_operator.external.file_amounts import micrograms
from carbonbudget_operator.external.file_rows import MAX_ROWS
from carbonbudget_operator.external.import_errors import ExternalFileError, shown
from carbonbudget_operator.ledger.external_figure import ExternalFigure

MAX_FIGURES: Final = 2 * MAX_ROWS
_VERSION: Final = re.compile(r"v?[0-9]{1,4}(\.[0-9]{1,4}){0,3}", re.ASCII)


@dataclass(slots=True)
class FileDraft:
    """The figures in the order of the file; `place` is what their numbers count: lines or rows."""

    place: str = "line"
    figures: list[ExternalFigure] = field(default_factory=list)
    rounded: int = 0
    superseded: int = 0

    def add(self, figure: ExternalFigure, rounded: bool) -> None:
        """Take one figure. Raises ExternalFileError where the file has too many."""
        if len(self.figures) >= MAX_FIGURES:
            raise ExternalFileError(
                f"{self.place} {figure.line}: the file has more than {MAX_FIGURES} figures: import it in parts"
            )
        self.figures.append(figure)
        self.rounded += rounded

    def check(self) -> None:
        """Raise ExternalFileError for an empty file, and for two figures of one series that overlap."""
        if not self.figures:
            raise ExternalFileError("the file has no figure: it has a header, or a frame, and nothing below it")
        last: dict[tuple[str, str, str, str], ExternalFigure] = {}
        for figure in sorted(self.figures, key=lambda one: (one.start, one.line)):
            former = last.get(figure.series)
            if former is not None and figure.start < former.end:
                first, second = sorted((former.line, figure.line))
                raise ExternalFileError(
                    f"{self.place}s {first} and {second} state the same emissions twice: {what_it_is(figure)}"
                )
            last[figure.series] = figure


@dataclass(frozen=True, slots=True)
class ScopedAmounts:
    """The amounts of one row by scope; `line` is its place with its number, such as `line 3`."""

    line: str
    unit: str

    def of(
        self, parts: Mapping[str, tuple[str, str]], totals: Mapping[str, tuple[str, str]]
    ) -> list[tuple[str, int, bool, str]]:
        """Scope, micrograms, whether rounded, and what is stated: of the parts, or of the totals where there is none.

        `parts` and `totals` give for each scope the column and its text; an empty text is no figure.

        Raises:
            ExternalFileError: an amount is none, or there is no amount at all.
        """
        found = []
        for group in (parts, totals):
            for scope, (column, text) in group.items():
                if text:
                    amount, rounded = micrograms(text, self.unit, f"{self.line}: {column}")
                    found.append((scope, amount, rounded, f"{text} {self.unit}"))
            if found:
                return found
        raise ExternalFileError(f"{self.line} has no amount of any scope")


def newest_versions(rows: Iterable[tuple[object, str, str]]) -> dict[object, tuple[int, ...]]:
    """The newest version of each key, as `version_number` gives it: a source lists models side by side.

    `rows` has keys, versions and places.

    Raises:
        ExternalFileError: a version is no dotted number, so that nothing says which one is the newest.
    """
    newest: dict[object, tuple[int, ...]] = {}
    for key, version, place in rows:
        newest[key] = max(newest.get(key, ()), version_number(version, place))
    return newest


def version_number(version: str, place: str) -> tuple[int, ...]:
    """A dotted version as numbers, without zeros at the end. Raises ExternalFileError."""
    if not _VERSION.fullmatch(version):
        raise ExternalFileError(f"{place}: the model's version is {shown(version)}, which is no number such as v3.0.0")
    parts = [int(part) for part in version.removeprefix("v").split(".")]
    while len(parts) > 1 and not parts[-1]:
        parts.pop()
    return tuple(parts)


def what_it_is(figure: ExternalFigure) -> str:
    """A figure's series in words."""
    return f"{figure.source}, scope {figure.scope}, {shown(figure.account)}, {shown(figure.item)}"
