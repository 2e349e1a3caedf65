"""External figures of a report's time: sums by source, scope and method, to be shown beside ours.

Nothing here is added to a figure of ours, and no two scopes, sources or methods are added to each other. A figure that
only reaches into the time is counted apart with its whole amount: nobody knows how much of it lies inside.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import sqlalchemy as sa

from carbonbudget_operator.decimal_text import grams, kilowatt_hours
from carbonbudget_operator.ledger.external_figure import SCOPES, ExternalFigure
from carbonbudget_operator.ledger.external_figure_store import figures_touching


@dataclass(slots=True)
class _Sum:
    figures: int = 0
    emissions_ug: int = 0
    energy_uj: int | None = None
    start: int = 2**62
    end: int = 0
    accounts: set[str] = field(default_factory=set)
    files: set[str] = field(default_factory=set)
    partly: int = 0
    partly_ug: int = 0

    def add(self, figure: ExternalFigure, sha256: str, whole: bool) -> None:
        self.files.add(sha256)
        if not whole:
            self.partly += 1
            self.partly_ug += figure.emissions_ug
            return
        self.figures += 1
        self.emissions_ug += figure.emissions_ug
        if figure.energy_uj is not None:
            self.energy_uj = (self.energy_uj or 0) + figure.energy_uj
        self.start, self.end = min(self.start, figure.start), max(self.end, figure.end)
        self.accounts.add(figure.account)


def external_summary(connection: sa.Connection, cluster: str, start: int, end: int) -> list[dict[str, object]]:
    """One object for each source, scope and method that has a figure in [start, end), or one that reaches into it."""
    sums: dict[tuple[str, str, str], _Sum] = {}
    for sha256, _, figure in figures_touching(connection, cluster, start, end):
        found = sums.setdefault((figure.source, figure.scope, figure.method), _Sum())
        found.add(figure, sha256, start <= figure.start and figure.end <= end)
    return [_row(key, sums[key]) for key in sorted(sums)]


def _row(key: tuple[str, str, str], found: _Sum) -> dict[str, object]:
    source, scope, method = key
    energy = found.energy_uj
    return {
        "source": source, "scope": scope, "scope_name": SCOPES[scope], "method": method, "figures": found.figures,
        "accounts": len(found.accounts), "emissions_g": grams(found.emissions_ug),
        "emissions_ug": found.emissions_ug,
        "energy_kwh": None if energy is None else kilowatt_hours(energy), "energy_uj": energy,
        "from": found.start if found.figures else None, "to": found.end if found.figures else None,
        "partly_figures": found.partly, "partly_g": grams(found.partly_ug), "partly_ug": found.partly_ug,
        "files": sorted(found.files),
    }  # fmt: skip
