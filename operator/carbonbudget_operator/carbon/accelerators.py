"""Finds the full power of an accelerator by a name that a person types, for estimates.

The figures are from the same table that the agent uses.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from carbonbudget_core.bundled_tables import accelerator_rows


class UnknownAccelerator(ValueError):
    """No accelerator has this name. The message is one line and lists known names."""


@dataclass(frozen=True, slots=True)
class Accelerator:
    """One accelerator model: full power in milliwatts, and the source of the figure."""

    name: str
    max_mw: int
    source: str


def find_accelerators(name: str) -> list[Accelerator]:
    """The accelerators whose names contain all words of `name`, the most powerful first. Raises UnknownAccelerator."""
    wanted = _words(name)
    rows = _table()
    found = [accelerator for accelerator in rows if wanted and wanted <= _words(accelerator.name)]
    if not found:
        close = sorted({row.name for row in rows if any(w in row.name.lower() for w in wanted)})
        known = ", ".join(close[:10] or sorted(row.name for row in rows))
        raise UnknownAccelerator(f"unknown accelerator {name!r}; known are: {known}")
    return sorted(found, key=lambda accelerator: (-accelerator.max_mw, accelerator.name))


def _table() -> list[Accelerator]:
    return [
        Accelerator(
            _name(row),
            int(row["max_mw"]),
            f"{row['source']}, {row['year']}",
        )
        for row in accelerator_rows()
        if row["max_mw"]
    ]


def _name(row: dict[str, str]) -> str:
    """Model, form factor and memory, without repeated words."""
    words = row["model"].split()
    for part in (row["form_factor"], f"{row['memory_gb']}GB"):
        words += [word for word in part.split() if word not in words]
    return " ".join(words)


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"[a-z0-9.]+", text.lower()))
