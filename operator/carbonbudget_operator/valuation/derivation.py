"""The derivation: a text that states all that valued rows depend on beside the facts. Pure.

Rows are stored under this text, so that other settings or other bundled figures make other rows. `differences` lists
the settings by which two such texts differ.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from itertools import pairwise
from typing import Final

from carbonbudget_operator.settings import AllocationSettings, CarbonSettings, Settings
from carbonbudget_operator.timeline import merge

_RULES: Final = 8  # raised whenever the same facts and settings would give other rows
_TABLES: Final = (
    "cloud_regions.csv", "embodied.csv", "grid_intensity.csv", "provider_ids.csv", "region_names.csv",
)  # fmt: skip
# Sources of intensities have a text of their own; prices value no row.
_NO_FIGURES: Final = {"intensity", "price", "tariff", "currency"}
_OF_SOURCES: Final = {"figures", "other_figures", "both_bases"}
_HEAD: Final = re.compile(r"rules (\d+); cluster (.*?); figures (\w+); (?=carbon \{)", re.DOTALL)
_FROM: Final = re.compile(r"; from (\d+): ")
_WHOLE: Final = ("allocation.shared", "carbon.market.supplier")
BUNDLED: Final = "the bundled tables and rules of this version"


def describe(settings: Settings) -> str:
    """All that a row depends on beside the facts. Settings without dates have the same text as in earlier versions."""
    first, *later = _valuing(settings)
    text = f"rules {_RULES}; cluster {settings.cluster}; figures {_figures()}; {_terms(*first[1])}"
    return text + "".join(f"; from {start}: {_terms(*pair)}" for start, pair in later)


def differences(previous: str, present: str) -> list[str]:
    """What two texts of `describe` differ by: "carbon.pue 1.4 -> 1.2", or BUNDLED; empty if they cannot be read."""
    before, after = read_description(previous), read_description(present)
    if before is None or after is None:
        return []
    found = [] if before[0] == after[0] else [BUNDLED]
    named: dict[str, str] = {}  # by key, the earliest difference
    for start in sorted(before[1].keys() | after[1].keys()):
        for key, words in _changed(_at(before[1], start), _at(after[1], start)).items():
            named.setdefault(key, words)
    return [*found, *named.values()]


def changes(settings: Settings, start: int, end: int) -> list[tuple[int, list[str]]]:
    """Which settings change inside [start, end), by the UTC second from which they are in force."""
    spans = [(since, _settings(*pair)) for since, pair in _valuing(settings)]
    return [
        (since, list(_changed(previous, present).values()))
        for (_, previous), (since, present) in pairwise(spans)
        if start < since < end
    ]


def _valuing(settings: Settings) -> list[tuple[int, tuple[CarbonSettings, AllocationSettings]]]:
    """The settings by the UTC second from which they are in force, without the times at which only a price changes.

    So a price can be added or changed, and no row is valued again.
    """
    found: list[tuple[int, tuple[CarbonSettings, AllocationSettings]]] = []
    before: tuple[CarbonSettings, AllocationSettings] | None = None
    for since, pair in merge(settings.carbon, settings.allocation):
        unpriced = pair[0].model_copy(update={"price": None, "tariff": None}), pair[1]
        if before is None or before == pair or found[-1][1] != unpriced:
            found.append((since, unpriced))
        before = pair
    return found


def _changed(one: Mapping[str, object], other: Mapping[str, object]) -> dict[str, str]:
    return {
        key: f"{key} {_short(one.get(key))} -> {_short(other.get(key))}"
        for key in sorted(one.keys() | other.keys())
        if one.get(key) != other.get(key)
    }


def _settings(carbon: CarbonSettings, allocation: AllocationSettings) -> dict[str, object]:
    """Plain settings by their path, as `_read` gives them."""
    given = json.loads(carbon.model_dump_json(exclude=_NO_FIGURES))
    shares = json.loads(allocation.model_dump_json())
    return {**_flat("carbon", given), **_flat("allocation", shares), "carbon.intensity": _sources(carbon)}


def _terms(carbon: CarbonSettings, allocation: AllocationSettings) -> str:
    return (
        f"carbon {carbon.model_dump_json(exclude=_NO_FIGURES)}; sources {_sources(carbon)}; "
        f"allocation {allocation.model_dump_json()}"
    )


def _sources(carbon: CarbonSettings) -> str:
    """The sources of intensities. Their answers are in the revisions of hours; how they are asked changes no row."""
    intensity = carbon.intensity
    sources = [f"{source.words} {source.model_dump_json(include=_OF_SOURCES)}" for source in intensity.sources]
    return f"{sources}, {intensity.max_age_hours} h"


@cache
def _figures() -> str:
    digest = hashlib.sha256()
    folder = resources.files("carbonbudget_operator") / "carbon" / "data"
    for name in _TABLES:
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()[:16]


def read_description(text: str) -> tuple[tuple[str, str], dict[int, dict[str, object]]] | None:
    """Rules and figures, and the settings by the UTC second from which they are in force; None if that fails."""
    head = _HEAD.match(text)
    if head is None:
        return None
    found: dict[int, dict[str, object]] = {}
    start, at = 0, head.end()
    try:
        while True:
            carbon, at = _json_after(text, "carbon ", at)
            sources = text[at : text.index("; allocation {", at)]
            allocation, at = _json_after(text, "; allocation ", at + len(sources))
            flat = {**_flat("carbon", carbon), **_flat("allocation", allocation)}
            found[start] = flat | {"carbon.intensity": sources.removeprefix("; sources ")}
            later = _FROM.match(text, at)
            if later is None:
                return (head[1], head[3]), found
            start, at = int(later[1]), later.end()
    except ValueError:
        return None


def _json_after(text: str, name: str, at: int) -> tuple[object, int]:
    if not text.startswith(name, at):
        raise ValueError(name)
    found: tuple[object, int] = json.JSONDecoder().raw_decode(text, at + len(name))
    return found


def _flat(path: str, value: object) -> dict[str, object]:
    """The keys of nested sections by their path; lists, and mappings by name, are one value."""
    if not isinstance(value, dict) or path in _WHOLE:
        return {path: value}
    return {name: leaf for key, inner in value.items() for name, leaf in _flat(f"{path}.{key}", inner).items()}


def _at(settings: Mapping[int, dict[str, object]], instant: int) -> dict[str, object]:
    return settings[max(start for start in settings if start <= instant)]


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."
