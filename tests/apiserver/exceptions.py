"""The table of exceptions (exceptions.yaml) as cells."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

TABLE: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "exceptions.yaml").read_text())


@dataclass(frozen=True)
class Cell:
    """One kind of one line; `tried` and `answer` are empty where there is nothing to try."""

    exception: str
    kind: str
    action: str
    tried: str
    account: str
    answer: str
    because: str

    def __str__(self) -> str:
        return f"{self.exception}-{self.kind}-{self.action}-{self.tried}-by-{self.account}"


def kinds_of(line: dict[str, Any]) -> list[str]:
    """A list, or the name of a set."""
    found = line["kinds"]
    names: list[str] = TABLE["kinds" if found == "all" else found] if isinstance(found, str) else found
    return names


def cells() -> list[Cell]:
    """All cells."""
    return [
        Cell(
            exception["name"], kind, line["action"], line.get("try", ""), line.get("as", "dev"), line.get("answer", ""),
            line.get("because", ""),
        )
        for exception in TABLE["exceptions"]
        for line in [*exception["cells"], *exception.get("none", ())]
        for kind in kinds_of(line)
    ]  # fmt: skip
