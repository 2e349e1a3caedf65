"""What the renderers of `carbonbudget export` get: one group in one step of time, and what they raise. Pure."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

MOST_HELD_ROWS: Final = 200_000  # of formats whose order is another than time; some 1 KB each
LABEL: Final = "label:"
_NOT_IN_A_NAME: Final = re.compile(r"[^A-Za-z0-9_]")


class ExportError(ValueError):
    """The rows cannot be written in the format. The message is one line: why, and what to do."""


@dataclass(frozen=True, slots=True)
class ExportedGroup:
    """One row of an allocation over [start, end), UTC seconds.

    `key` is by grouping field: namespace, workload, node or label:KEY. `energy_uj` is microjoules of IT energy, the
    others are micrograms of CO2e. `factors` are sentences.
    """

    start: int
    end: int
    key: Mapping[str, str]
    energy_uj: int
    location_ug: int
    market_ug: int
    embodied_ug: int
    measured_percent: int
    factors: Sequence[str]

    @property
    def name(self) -> str:
        """The values of its key as one text; a row of no pod has the same name in each field."""
        values = list(self.key.values())
        if len(set(values)) == 1 and values[0].startswith("__"):
            return values[0]
        return "/".join(values)


@dataclass(frozen=True, slots=True)
class ExportedCluster:
    """What all rows of an export have in common: the cluster's name, grouping fields, the currency of costs."""

    name: str
    fields: Sequence[str]
    currency: str = "USD"


def instant_text(seconds: int) -> str:
    """UTC seconds, ISO 8601 with Z."""
    return f"{dt.datetime.fromtimestamp(seconds, dt.UTC):%Y-%m-%dT%H:%M:%SZ}"


def series_names(fields: Sequence[str]) -> dict[str, str]:
    """Names of tags for grouping fields: letters, digits and underscores.

    Raises:
        ExportError: two fields would have one name.
    """
    found: dict[str, str] = {}
    for field in fields:
        plain = f"label_{field.removeprefix(LABEL)}" if field.startswith(LABEL) else field
        found[field] = _NOT_IN_A_NAME.sub("_", plain)
        for other in found:
            if other != field and found[other] == found[field]:
                raise ExportError(f"{other} and {field} have one name in this format, {found[field]}: leave one out")
    return found


def hold(rows: list[ExportedGroup], row: ExportedGroup) -> None:
    """Add a row to those that are held in memory. Raises ExportError where they are too many."""
    if len(rows) >= MOST_HELD_ROWS:
        raise ExportError(
            f"the export has more than {MOST_HELD_ROWS:,} rows, and this format needs them all at once: export a "
            "shorter window, a longer --step, or another --format"
        )
    rows.append(row)
