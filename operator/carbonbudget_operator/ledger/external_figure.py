"""Figures that others measured, as they are kept: one figure, and the file that it was read from. Pure.

These types are shared by the parsers of such files and by the table that holds them. They never meet our own energy.
"""

from __future__ import annotations

import json
from dataclasses import astuple, dataclass
from typing import Final

SOURCES: Final = ("codecarbon", "carbontracker", "aws", "gcp", "azure")
# By the GHG Protocol. `all-...` is a total whose scopes the file does not part, `all` one whose accounting is not told.
SCOPES: Final = {
    "1": "scope 1",
    "2-location": "scope 2, location-based",
    "2-market": "scope 2, market-based",
    "3": "scope 3",
    "3-location": "scope 3, location-based",
    "3-market": "scope 3, market-based",
    "all-location": "all scopes, location-based",
    "all-market": "all scopes, market-based",
    "all": "all scopes asked for",
}


@dataclass(frozen=True, slots=True)
class ExternalFigure:
    """One figure: what `account` emitted by `item` from `start` to `end`.

    `start` and `end` are UTC seconds, half-open. `account` is a cloud account, a project or a subscription; `item` a
    run, or a service and its place. `energy_uj` is None where the source states none. `method` is what made the
    figure, `line` where it stands in the file, `stated` the amount as it is written there.
    """

    source: str
    scope: str
    account: str
    item: str
    start: int
    end: int
    emissions_ug: int
    energy_uj: int | None
    method: str
    line: int
    stated: str

    @property
    def series(self) -> tuple[str, str, str, str]:
        """What may have one figure at a time."""
        return self.source, self.scope, self.account, self.item


@dataclass(frozen=True, slots=True)
class ExternalFile:
    """What one file holds.

    `sha256` is of its bytes. `rounded` counts the figures with digits below a microgram or a microjoule, `superseded`
    the rows that a later one of the same file replaces.
    """

    source: str
    sha256: str
    name: str
    figures: tuple[ExternalFigure, ...]
    rounded: int = 0
    superseded: int = 0

    @property
    def start(self) -> int:
        """The first figure's start, UTC seconds."""
        return min(figure.start for figure in self.figures)

    @property
    def end(self) -> int:
        """The last figure's end, UTC seconds."""
        return max(figure.end for figure in self.figures)


def pack_file(file: ExternalFile) -> bytes:
    """As JSON, from one process to another."""
    head = [file.source, file.sha256, file.name, file.rounded, file.superseded]
    return json.dumps([head, [astuple(figure) for figure in file.figures]]).encode()


def unpack_file(text: bytes) -> ExternalFile:
    """What `pack_file` made."""
    (source, sha256, name, rounded, superseded), figures = json.loads(text)
    return ExternalFile(
        source, sha256, name, tuple(ExternalFigure(*figure) for figure in figures), rounded, superseded
    )  # fmt: skip


def imported(file: ExternalFile) -> dict[str, object]:
    """What is told of a file that was imported."""
    return {
        "source": file.source, "sha256": file.sha256, "name": file.name, "figures": len(file.figures),
        "rounded": file.rounded, "superseded": file.superseded, "start": file.start, "end": file.end,
    }  # fmt: skip
