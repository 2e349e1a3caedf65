"""What the tests of the target loop read from statuses, and a target with a frozen baseline."""

from __future__ import annotations

from typing import Any

from tests.controller.target_bench import TargetBench


def conditions(body: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {c["type"]: (c["status"], c["reason"]) for c in body["status"]["conditions"]}


AT_END = {"reduction": 20, "by": "2026-12-02T00:00:00Z", "path": "AtEnd"}


async def frozen(targets: TargetBench, **spec: Any) -> dict[str, Any]:
    """A target whose baseline of 100 g per 1000 units is frozen on November 2 at midnight."""
    body = targets.add("chatbot", **spec)
    await targets.evaluate("2026-11-02")
    assert body["status"]["baseline"]["perUnit"] == "100g"
    targets.world.events.clear()
    return body
