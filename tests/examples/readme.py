"""The commands that an example's README.md shows, each with the output that stands below it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import ROOT

EXAMPLES = ROOT / "examples"
_BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class ShownCommand:
    """One line behind `$ `, and the lines below it up to the next."""

    line: str
    output: str


def shown_commands(readme: Path) -> list[ShownCommand]:
    """The commands of all ```console blocks of a page, in order."""
    found = []
    for block in _BLOCK.findall(readme.read_text(encoding="utf-8")):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            line, _, output = part.partition("\n")
            found.append(ShownCommand(line.strip(), output.strip()))
    return found
