"""Ledgers with hours to export, and exports of one target that tests take step by step."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from prometheus_client import CollectorRegistry
from tests.ledger.reports import a_report, book

from carbonbudget_operator.answers.allocation_groups import AllocationGroup, group_rows
from carbonbudget_operator.exports.export_loop import Exports
from carbonbudget_operator.exports.export_target_http import TargetHttp
from carbonbudget_operator.exports.export_target_sender import TargetSender
from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.ledger.valued_rows import COLUMNS, ValuedRow
from carbonbudget_operator.settings import Settings
from carbonbudget_operator.valued_hours.upkeep_steps import UpkeepSteps
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

HOUR = 3600


def full_hour_ago(hours: int) -> int:
    """The start of an hour in the past, by the machine's clock: Prometheus takes no samples of long ago."""
    return int(time.time()) // HOUR * HOUR - hours * HOUR


def settings_of(*targets: dict[str, object], allocation: dict[str, object] | None = None, **carbon: object) -> Settings:
    given = {"carbon": {"zone": "DE", "pue": 1.2, **carbon}, "allocation": allocation or {}, "exports": list(targets)}
    return Settings.model_validate(given)


def fill(
    engine: sa.Engine, first: int, hours: int, pods: dict[str, int] | None = None, namespace: str = "team-a",
    node: str = "node-1", labels: dict[str, str] | None = None, cluster: str = "default",
) -> None:  # fmt: skip
    """One window in each hour: a tenth of a kWh and an odd rest, a third of it idle."""
    pods = pods or {"p": 240 * 10**9 + 7, "q": 10**9 + 1}
    for n in range(hours):
        report = a_report(first + n * HOUR, node, pods, idle_uj=120 * 10**9 + 5, namespace=namespace, labels=labels)
        book(Booker(engine), replace(report, cluster=cluster))


def upkeep(engine: sa.Engine, settings: Settings, now: int) -> None:
    """Store all hours that are over, as the server's upkeep does."""
    steps = UpkeepSteps(ValuedReader(engine, settings), 35, 25)
    for _ in range(2):  # the second round sees that nothing changed
        steps.begin(now)
        while steps.step(now) is not None:
            pass


class Export:
    """The export of the settings' first target, from this ledger."""

    def __init__(self, engine: sa.Engine, settings: Settings, holder: str = "one") -> None:
        self.registry = CollectorRegistry()
        self.exports = Exports(
            settings.model_copy(update={"exports": []}), ValuedReader(engine, settings), self.registry
        )
        self.target = settings.exports[0]
        made: tuple[TargetHttp, TargetSender] = self.exports.sender(self.target, holder)
        self.http, self.sender = made

    async def step(self, now: int) -> bool:
        # All of it at once: how long the machine takes for it is not what these tests are about.
        return await self.sender.send_step(now, seconds=3600)

    async def close(self) -> None:
        await self.http.close()
        self.exports.close()

    def count(self, name: str) -> float:
        value = self.registry.get_sample_value(f"carbonbudget_export_{name}", {"target": self.target.name})
        assert value is not None, name
        return value


def allocated(engine: sa.Engine, settings: Settings, start: int, end: int) -> dict[tuple[str, str], AllocationGroup]:
    """The ledger's own answer (`carbonbudget allocate --by namespace,workload`) by namespace and workload."""
    rows = ValuedReader(engine, settings).rows(start, end)
    groups = group_rows(rows, ("namespace", "workload"), ())
    return {(group.key["namespace"], group.key["workload"]): group for group in groups}


def by_workload(rows: Iterable[dict[str, Any]], value: str) -> dict[tuple[str, str], int]:
    """Sums of an integer field by namespace and workload; a row of no pod has its namespace's name as workload."""
    found: dict[tuple[str, str], int] = {}
    for row in rows:
        key = (row["namespace"], row.get("workload") or row["namespace"])
        found[key] = found.get(key, 0) + row[value]
    return found


HOSTILE = (
    "a,b", "a b", "a=b", 'say "hi"', "back\\slash", "ends\\", "\\,", "line\nbreak", "tab\there", "\u202eright", "מימין",
    "x" * 253, "%41", "#comment", "'", "{a=\"b\"}", " lead", "trail ", "--", "\x00nul", "ü🌍", "\u2028",
)  # fmt: skip


def hour_rows(figures: Iterable[tuple[str, str, int]]) -> list[ValuedRow]:
    """Valued rows by namespace, workload and a number from which all its figures are made."""
    return [
        ValuedRow(0, HOUR, "", "", namespace, workload, {}, [number + n for n in range(COLUMNS)], frozenset())
        for namespace, workload, number in figures
    ]
