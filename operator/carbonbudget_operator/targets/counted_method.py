"""The method of a target's figures: the settings that share energy out and value it, and how two of them differ.

A fall that comes from another method is no saving. The GHG Protocol asks for a base year that is calculated again when
the method changes (Corporate Standard, chapter 5). Revised figures of a source and contracts of the electricity market
are data, so they are no part of a method.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Final

# Each setting as "KEY JSON", in order of the keys. Settings that hours of an earlier version did not state are missing.
Method = tuple[str, ...]
OF_IDLE, OF_OVERHEAD, OF_SHARING = "allocation.idle", "allocation.overhead", "allocation.shared"
OF_ALLOCATION: Final = (OF_IDLE, OF_OVERHEAD, OF_SHARING)
OF_ELECTRICITY: Final = ("carbon.basis", "carbon.pue", "carbon.zone", "carbon.intensity.sources")
OF_HARDWARE: Final = (
    "carbon.ownership", "carbon.embodied.server_kg", "carbon.embodied.gpu_kg", "carbon.embodied.host_threads",
    "carbon.embodied.life_years", "carbon.embodied.in_service",
)  # fmt: skip
OF_BOTH: Final = ("carbon.provider",)  # of a node: its PUE and its grid zone, and whether a host is shared with others
KEYS: Final = (*OF_ALLOCATION, *OF_ELECTRICITY, *OF_HARDWARE, *OF_BOTH)
MOST_CHARACTERS: Final = 120  # of one setting, as the status takes it
_SHOWN_CHANGES: Final = 3


def method_of(settings: Mapping[str, object]) -> Method:
    """The method of plain settings by their path; those that are not part of it are left out."""
    return settings_of({key: settings[key] for key in KEYS if key in settings})


def settings_of(settings: Mapping[str, object]) -> tuple[str, ...]:
    """Plain settings by their path, each as "KEY JSON", in order of the keys."""
    return tuple(f"{key} {_text(settings[key])}" for key in sorted(settings))


def counting(method: Method, efficiency: bool, include: Collection[str]) -> Method:
    """The part of a method that a target's figure depends on.

    At the baseline's grid (`efficiency`) the window's electricity is valued as that of the baseline. `include` are the
    components of emissions that the target counts: without Embodied the hardware counts for nothing. What others are
    charged of a shared namespace, its idle energy among it, is their overhead; the namespace itself has nothing then.
    """
    keys = {OF_SHARING}
    if "Idle" in include or "Overhead" in include:
        keys.add(OF_IDLE)
    if "Overhead" in include:
        keys.add(OF_OVERHEAD)
    if not efficiency:
        keys |= {*OF_ELECTRICITY, *OF_BOTH}
    if "Embodied" in include:
        keys |= {*OF_HARDWARE, *OF_BOTH}
    return tuple(one for one in method if one.partition(" ")[0] in keys)


def method_changes(before: Method, methods: Sequence[Method]) -> list[str]:
    """Which settings of `before` have another value in one of the methods: "carbon.pue 1.58 -> 1.2", each once.

    A setting that only one of the two has is no change: an earlier version did not have it.
    """
    was = dict(_parted(before))
    found: dict[str, str] = {}
    for method in methods:
        for key, value in _parted(method):
            if key in was and was[key] != value:
                found.setdefault(key, f"{key} {was[key]} -> {value}")
    return [found[key] for key in sorted(found)]


def shown_changes(changes: Sequence[str]) -> str:
    """The first three changes in words, and how many more there are."""
    more = f" and {len(changes) - _SHOWN_CHANGES} more" if len(changes) > _SHOWN_CHANGES else ""
    return ", ".join(changes[:_SHOWN_CHANGES]) + more


def _parted(method: Method) -> list[tuple[str, str]]:
    return [(key, value) for key, _, value in (one.partition(" ") for one in method)]


def _text(value: object) -> str:
    """JSON; of a long value its start with a digest, so that two long ones that differ are not taken for one."""
    text = json.dumps(value, sort_keys=True)
    if len(text) <= MOST_CHARACTERS - 40:
        return text
    return f"{text[:40]}... (sha256 {hashlib.sha256(text.encode()).hexdigest()[:12]})"
