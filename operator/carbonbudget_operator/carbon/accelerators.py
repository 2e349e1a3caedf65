"""Full power of accelerators by a name that a person types. The figures are the agent's own table."""

from __future__ import annotations

import re
from dataclasses import dataclass

from carbonbudget_core.tables import accelerator_rows


class UnknownAccelerator(ValueError):
    """No accelerator has that name; one line says which there are."""


@dataclass(frozen=True, slots=True)
class Accelerator:
    """One kind: full power in milliwatts, with its source."""

    name: str
    max_mw: int
    source: str


def find_accelerators(name: str) -> list[Accelerator]:
    """Those whose words hold all words of `name`, the most powerful first. Raises UnknownAccelerator."""
    wanted = _words(name)
    rows = _table()
    found = [accelerator for accelerator in rows if wanted and wanted <= _words(accelerator.name)]
    if not found:
        close = sorted({row.name for row in rows if any(w in row.name.lower() for w in wanted)})
        known = ", ".join(close[:10] or sorted(row.name for row in rows))
        raise UnknownAccelerator(f"no accelerator is named {name!r}; there are: {known}")
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
    """Model, form factor and memory; what the former say already is not said again."""
    words = row["model"].split()
    for part in (row["form_factor"], f"{row['memory_gb']}GB"):
        words += [word for word in part.split() if word not in words]
    return " ".join(words)


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"[a-z0-9.]+", text.lower()))
