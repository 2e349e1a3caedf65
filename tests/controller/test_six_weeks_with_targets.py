"""Six weeks from a target's hours to a budget's limit: target loop, credit loop and evaluation loop together."""

from __future__ import annotations

import copy
import random
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from tests.controller.evaluation_bench import HOUR
from tests.controller.played_budgets import DAY, Played, played
from tests.controller.target_bench import SPEC, PlayedServer
from tests.controller.test_adjustments_together import WEEK_S
from tests.controller.test_credit_loop import WEEK

from carbonbudget_operator.api.times import format_time
from carbonbudget_operator.api.wire_names import TARGET
from carbonbudget_operator.controller.credit_loop import CreditLoop
from carbonbudget_operator.controller.target_loop import TargetLoop
from carbonbudget_operator.controller.target_metrics import TargetMetrics
from carbonbudget_operator.controller.target_store import TargetStore

GRAM = 10**6
PATH = "namespaces/team-a/carbontargets/chatbot"


class WithTargets:
    """The play with a target that the loop evaluates, in place of a history that the test writes."""

    def __init__(self, play: Played) -> None:
        self.play, self.source = play, PlayedServer(energy_j=None, grams={0: 100})
        baseline = {"start": format_time(WEEK - WEEK_S), "end": format_time(WEEK)}
        created = format_time(WEEK - DAY)
        metadata = {"name": "chatbot", "namespace": "team-a", "uid": "chatbot", "generation": 1}
        play.world.objects[PATH] = {
            "metadata": metadata | {"creationTimestamp": created},
            "spec": copy.deepcopy(SPEC) | {"window": "Week", "baseline": baseline},
        }
        play.budget("first", limit="10kg", credits=[{"target": "chatbot", "cap": 50}])
        self.restart()

    def restart(self) -> None:
        """Another process: it knows what the objects and the ledger have."""
        play = self.play
        play.restart()
        self.store, metrics = TargetStore(), TargetMetrics(CollectorRegistry())
        self.loop = TargetLoop(
            play.client, self.source, self.store, play.seen.namespaces, metrics, now=lambda: play.world.now
        )
        play.credits = CreditLoop(
            play.server, lambda: play.seen.budgets.snapshot().values(),
            lambda: [one.body for one in self.store.snapshot().values()],
            now=lambda: play.world.now, client=play.client,
        )  # fmt: skip

    def target(self) -> dict[str, Any]:
        return self.play.world.objects[PATH]

    async def run(self, times: int = 1) -> None:
        self.source.through, self.source.up = int(self.play.world.now), self.play.world.up
        for _ in range(times):
            self.store.seen(TARGET, "MODIFIED", copy.deepcopy(self.target()))
            await self.loop.evaluate()
            self.store.seen(TARGET, "MODIFIED", copy.deepcopy(self.target()))
            await self.play.run()


@pytest.mark.parametrize("seed", range(3))
async def test_what_the_hours_saved_is_in_the_limit_of_the_next_period_once(tmp_path: Path, seed: int) -> None:
    """Restarts, outages and lost answers; the first week began before the baseline was computed and earns nothing."""
    chance, weeks = random.Random(seed), 6
    async with played(tmp_path) as play:
        both, world = WithTargets(play), play.world
        grams = [chance.choice([80, 90, 95, 110]) for _ in range(weeks)]
        for week in range(weeks + 1):
            both.source.grams[WEEK + week * WEEK_S] = grams[week] if week < weeks else 100
            for step in range(7):
                world.now = WEEK + week * WEEK_S + step * DAY + HOUR + 1_200
                is_last = step == 6
                world.up = is_last or chance.random() > 0.2
                world.books = is_last or chance.random() > 0.2
                world.loses = not is_last and chance.random() < 0.2
                if chance.random() < 0.2:
                    both.restart()
                await both.run(3)
        assert both.target()["status"]["baseline"]["perUnit"] == "100g"
        for week in range(weeks):
            saved = max(0, 100 - grams[week]) * 168 * GRAM if week else 0
            assert play.booked("first", WEEK + (week + 1) * WEEK_S, "Credit") == saved, week
        last = play.status("first")
        assert last["effectiveLimitMicrograms"] == 10**10 + max(0, 100 - grams[-1]) * 168 * GRAM
        credits = [message for message in world.messages if message.startswith("the limit of the period")]
        rows = [row for row in play.rows("first") if row.reason == "Credit"]
        assert 0 < len(credits) <= len(rows)
        assert {"Achieved", "Violated"} & {window["state"] for window in both.target()["status"]["history"]}
