"""What share of a report's time was reported. Pure.

Where the ledger has a list of the cluster's nodes, the nodes say what should have been reported. Before the first list,
and in a ledger that has none (imported reports), only nodes that reported are known. There time counts too: as long as
no node reports, as many nodes are missing as there are otherwise.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from carbonbudget_operator.ledger.node_coverage import ExpectedNodeTime, expected_ms


@dataclass(frozen=True, slots=True)
class Coverage:
    """Node-milliseconds that were reported and that should have been; None: no node is known for that time.

    `listed_from`: where part of the time lies before the first list of nodes, the UTC second of that list, and the end
    of the time where there is none. Else None.
    """

    reported_ms: int
    expected_ms: int | None
    listed_from: int | None

    @property
    def percent(self) -> int | None:
        """Rounded down; None where it is not known."""
        return None if not self.expected_ms else min(100, self.reported_ms * 100 // self.expected_ms)

    def to_json(self) -> dict[str, object]:
        """As a report has it. `nodes_listed_from` is there only where part of the time has no list of nodes."""
        found: dict[str, object] = {
            "coverage_percent": self.percent,
            "coverage_reported_ms": self.reported_ms,
            "coverage_expected_ms": self.expected_ms,
        }
        return found if self.listed_from is None else found | {"nodes_listed_from": self.listed_from}


def coverage(
    expected: Sequence[ExpectedNodeTime], reported_ms: int, start: int, until: int, listed_from: int | None
) -> Coverage:
    """The coverage of [start, until), in UTC seconds; `listed_from` is None where there is no list of nodes."""
    border = until if listed_from is None else min(listed_from, until)
    wanted_ms = expected_ms(expected, start, until)
    if border > start and wanted_ms:
        stretches = _together(expected, start, until)
        known_seconds = sum(end - begin for begin, end in stretches)
        inside = sum(max(0, min(end, border) - begin) for begin, end in stretches)
        missing_seconds = border - start - inside
        wanted_ms = wanted_ms * (known_seconds + missing_seconds) // known_seconds
    return Coverage(reported_ms, wanted_ms or None, border if border > start else None)


def nodes_with_gaps(
    expected: Sequence[ExpectedNodeTime], reported_ms: Mapping[str, int], start: int, end: int, tolerated_s: int
) -> list[str]:
    """The nodes that lack more than `tolerated_s` of the time in [start, end) in which they should have reported.

    `reported_ms`: by name. A share of all nodes' time would hide one node among many that was silent for days.
    """
    wanted_ms: defaultdict[str, int] = defaultdict(int)
    for one in expected:
        wanted_ms[one.name] += expected_ms([one], start, end)
    return sorted(name for name, ms in wanted_ms.items() if ms - reported_ms.get(name, 0) > tolerated_s * 1000)


def _together(expected: Sequence[ExpectedNodeTime], start: int, until: int) -> list[tuple[int, int]]:
    """The stretches of [start, until) in which any node should report, in order, none touching another."""
    clipped = sorted(
        (max(start, one.start), until if one.end is None else min(until, one.end)) for one in expected
    )  # fmt: skip
    found: list[tuple[int, int]] = []
    for begin, end in clipped:
        if end <= begin:
            continue
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((begin, end))
    return found
