"""Budgets with adjustments on the bench of evaluations: what was booked, what is given, a process that starts again."""

from __future__ import annotations

from typing import Any

from tests.controller.evaluation_bench import Bench
from tests.controller.objects import NOVEMBER

from carbonbudget_operator.api.adjustment_bodies import Adjustment, BudgetPeriod
from carbonbudget_operator.controller.evaluation_loop import EvaluationLoop

G = 10**6
DAY = 86_400
CARRY = {"max": 20, "periods": 1}
KEY = "team-a/monthly"


async def evaluate(bench: Bench, at: int | None = None, times: int = 2) -> dict[str, Any]:
    """Evaluated twice: what one evaluation books, the next one goes by."""
    if at is not None:
        bench.world.now = float(at)
    for _ in range(times):
        await bench.evaluate()
    status: dict[str, Any] = bench.world.objects["namespaces/team-a/carbonbudgets/monthly"]["status"]
    return status


def adjustments(status: dict[str, Any]) -> list[tuple[str, str]]:
    return [(each["reason"], each["amount"]) for each in status.get("adjustments", ())]


def booked(bench: Bench, start: int, *reasons: str) -> int:
    return sum(
        each.micrograms
        for each in bench.world.booked
        if each.budget.period_start == start and (not reasons or each.reason in reasons)
    )


def given(
    bench: Bench, micrograms: int, reason: str = "TransferIn", start: int = NOVEMBER, name: str = "monthly"
) -> None:
    """As a transfer or a credit would book it."""
    period = BudgetPeriod(namespace="team-a", name=name, period_start=start, period_end=start + 30 * DAY)
    made = {"budget": period, "reason": reason, "source": f"uid-{len(bench.world.booked)}", "micrograms": micrograms}
    bench.world.booked.append(Adjustment.model_validate(made))


def restarted(bench: Bench) -> None:
    """A new process with the same servers and objects."""
    old = bench.loop
    bench.loop = EvaluationLoop(
        bench.client,
        old._questions._server,  # the same address
        bench.seen,
        old._metrics,
        60,
        old._terms,
        now=lambda: bench.world.now,
    )
