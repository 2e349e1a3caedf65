"""Which nodes report, made of `/api/v1/nodes`. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from carbonbudget_core.jsons import JsonObject, objects
from carbonbudget_operator.budgets.quantity import format_energy
from carbonbudget_operator.web.views.answer_figures import amount, percent, second, utc_text, word

_SILENT_SECONDS: Final = 300  # the server counts a node that was silent for so long as not reported


@dataclass(frozen=True, slots=True)
class PageNode:
    """A node. `state` is `reports`, `silent` or `never`."""

    name: str
    zone: str
    instance_type: str
    state: str
    last_report: str
    coverage: int | None
    measured: int | None
    energy: str
    domains: Sequence[str]

    @property
    def state_word(self) -> str:
        """The node's state for people."""
        return {"reports": "Reports", "silent": "Silent", "never": "Never reported"}[self.state]


def nodes(answer: JsonObject, now: int) -> list[PageNode]:
    """The nodes, those that do not report first."""
    rows: dict[str, list[JsonObject]] = {}
    for row in objects(answer.get("rows")):
        rows.setdefault(word(row, "node"), []).append(row)
    found = [_node(name, of_node, now) for name, of_node in rows.items()]
    return sorted(found, key=lambda one: (("never", "silent", "reports").index(one.state), one.name))


def _node(name: str, rows: Sequence[JsonObject], now: int) -> PageNode:
    first, last = rows[0], second(rows[0], "last_report")
    state = "never" if last is None else "silent" if now - last > _SILENT_SECONDS else "reports"
    domains = sorted({f"{word(row, 'domain')}: {word(row, 'method')}" for row in rows if word(row, "domain")})
    return PageNode(
        name, word(first, "zone"), word(first, "instance_type"), state, utc_text(last),
        percent(first, "coverage_percent"), percent(first, "measured_percent"),
        format_energy(sum(amount(row, "energy_uj") or 0 for row in rows)), domains,
    )  # fmt: skip
