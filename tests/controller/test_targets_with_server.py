"""The target loop on a real ledger: what the controller asks is what the server's figures answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.controller.target_bench import TargetBench
from tests.controller.target_statuses import conditions
from tests.databases import make_tables
from tests.ledger.reports import a_report, book

target_figures = pytest.importorskip("carbonbudget_operator.answers.target_figures")

from tests.answers.counted import a_counter, an_hour  # noqa: E402 - only where the server answers about targets

from carbonbudget_operator.answers.budget_use import BudgetUseQueries  # noqa: E402
from carbonbudget_operator.answers.selected_units import SelectedUnits  # noqa: E402
from carbonbudget_operator.api.target_query_bodies import TargetAnswers, TargetQuery  # noqa: E402
from carbonbudget_operator.api.wire_names import TARGET  # noqa: E402
from carbonbudget_operator.ledger.booking import Booker  # noqa: E402
from carbonbudget_operator.ledger.ledger_engine import open_ledger  # noqa: E402
from carbonbudget_operator.server.target_counters import digest_of  # noqa: E402
from carbonbudget_operator.settings import Settings  # noqa: E402
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader  # noqa: E402

HOUR, DAY = 3600, 86_400
FIRST = 1_793_491_200  # 2026-11-01T00:00:00Z
WATT_HOUR_UJ = 3_600_000_000
SOURCE = {"counter": {"metric": "requests_total"}}


class RealFigures:
    """The server's figures from a ledger, as a TargetSource. One pod draws 1 Wh in each hour, a second one 3 Wh."""

    def __init__(self, path: Path) -> None:
        self.engine: sa.Engine = open_ledger(f"sqlite:///{path}/ledger.db")
        make_tables(self.engine)
        self.counter = a_counter(self.engine, "team-a")
        self.pue, self.idle_uj = 1.0, 0
        self.settings: dict[str, Any] = {}  # more of them, by section

    def fill(self, first: int, hours: int, units: int | None) -> None:
        """Hours in which the first pod serves `units`, and another app more. None: Prometheus does not answer."""
        for hour in range(first, first + hours * HOUR, HOUR):
            energies = {"chat": WATT_HOUR_UJ, "other": 3 * WATT_HOUR_UJ}  # by uid, which is the label app too
            book(
                Booker(self.engine),
                a_report(hour + HOUR - 60, pods=energies, since=hour, idle_uj=self.idle_uj, system_uj=0),
            )
            counts = {("team-a", "chat"): units, ("team-a", "other"): 10**6} if units is not None else None
            an_hour(self.engine, self.counter, hour, counts)

    async def targets(self, queries: Sequence[TargetQuery]) -> TargetAnswers:
        """As ServerClient.targets."""
        carbon = {"zone": "DE", "pue": self.pue} | self.settings.get("carbon", {})
        settings = Settings.model_validate(self.settings | {"carbon": carbon})
        figures = target_figures.TargetFigures(
            BudgetUseQueries(ValuedReader(self.engine, settings)), SelectedUnits(settings.cluster, 90), digest_of
        )
        answers = figures.answers(list(queries))
        assert isinstance(answers, TargetAnswers)
        return answers


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[RealFigures]:
    made = RealFigures(tmp_path)
    yield made
    made.engine.dispose()


@pytest.fixture
def bench(targets: TargetBench, ledger: RealFigures) -> TargetBench:
    targets.server = ledger  # type: ignore[assignment] # plays the same part
    targets.new_loop()
    return targets


async def evaluate(bench: TargetBench, now: int) -> None:
    for body in bench.world.objects.values():
        bench.store.seen(TARGET, "MODIFIED", dict(body))
    bench.world.now = float(now)
    await bench.loop.evaluate()


def a_target(bench: TargetBench, **change: Any) -> dict[str, Any]:
    unit = {"name": "request", "per": 1000, "source": SOURCE}
    spec = {"selector": {"matchLabels": {"app": "chat"}}, "unit": unit, "include": ["Dynamic"]}
    return bench.add("chat", **spec | change)


async def test_grams_of_the_selected_pods_for_their_own_units_and_the_path_down(
    bench: TargetBench, ledger: RealFigures
) -> None:
    ledger.fill(FIRST, 25, units=100)
    body = a_target(bench)
    await evaluate(bench, FIRST + 25 * HOUR)
    first = body["status"]["baseline"]["measured"]
    assert (first["units"], first["energyMicrojoules"]) == ("2400", 24 * WATT_HOUR_UJ)
    per_unit_ug = first["emissionsMicrograms"] * 1000 // 2400
    assert body["status"]["baseline"]["perUnitMicrograms"] == per_unit_ug
    await evaluate(bench, FIRST + 25 * HOUR + 60)
    assert body["status"]["state"] == "Behind"  # the path has begun to fall, the figure has not

    ledger.fill(FIRST + 25 * HOUR, 48, units=125)  # a quarter more for the same energy: 20 % less for each
    await evaluate(bench, FIRST + 73 * HOUR)
    status = body["status"]
    assert (status["state"], status["change"]) == ("Achieved", "-20.0")
    day = status["history"][0]
    assert day["figure"]["units"] == "3000"
    assert day["savings"]["micrograms"] == first["emissionsMicrograms"] // 4
    assert day["savings"]["absoluteFallMicrograms"] == 0


async def test_a_dirtier_grid_is_shown_and_does_not_count_for_efficiency(
    bench: TargetBench, ledger: RealFigures
) -> None:
    ledger.fill(FIRST, 49, units=100)
    body = a_target(bench, basis="Efficiency", target={"reduction": 20, "by": "2026-12-02T00:00:00Z", "path": "AtEnd"})
    await evaluate(bench, FIRST + 49 * HOUR)
    ledger.pue = 2.0
    ledger.fill(FIRST + 49 * HOUR, 1, units=100)
    await evaluate(bench, FIRST + 50 * HOUR)
    status = body["status"]
    assert status["state"] == "OnTrack"
    assert status["current"]["perUnitMicrograms"] in range(
        2 * status["baseline"]["perUnitMicrograms"] - 3, 2 * status["baseline"]["perUnitMicrograms"] + 3
    )


async def test_prometheus_away_for_a_day_is_no_data_and_the_hours_that_come_later_count(
    bench: TargetBench, ledger: RealFigures
) -> None:
    ledger.fill(FIRST, 25, units=100)
    ledger.fill(FIRST + 25 * HOUR, 24, units=None)
    body = a_target(bench, target={"reduction": 20, "by": "2026-12-02T00:00:00Z", "path": "AtEnd"})
    for minute in range(2):
        await evaluate(bench, FIRST + 49 * HOUR + 60 * minute)
    assert body["status"]["state"] == "NoData"
    assert "Prometheus does not answer: the server's log says why" in body["status"]["message"]
    for hour in range(FIRST + 25 * HOUR, FIRST + 49 * HOUR, HOUR):
        an_hour(ledger.engine, ledger.counter, hour, {("team-a", "chat"): 100})
    await evaluate(bench, FIRST + 49 * HOUR + 800)
    assert (body["status"]["state"], body["status"]["current"]["units"]) == ("OnTrack", "2400")


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"allocation": {"idle": "separate"}}, 'allocation.idle "byRequest" -> "separate"'),
        ({"carbon": {"embodied": {"life_years": 6}}}, "carbon.embodied.life_years 4 -> 6"),
    ],
)
async def test_another_method_saves_nothing_although_the_same_hours_emit_less(
    bench: TargetBench, ledger: RealFigures, changed: dict[str, Any], sentence: str
) -> None:
    ledger.idle_uj = 10 * WATT_HOUR_UJ
    ledger.fill(FIRST, 25, units=100)
    body = a_target(
        bench, include=["Dynamic", "Idle", "Embodied"], target={"reduction": 5, "by": "2026-12-02T00:00:00Z"}
    )
    await evaluate(bench, FIRST + 25 * HOUR)
    baseline = body["status"]["baseline"]["perUnitMicrograms"]
    ledger.settings = changed
    ledger.fill(FIRST + 25 * HOUR, 48, units=100)
    await evaluate(bench, FIRST + 73 * HOUR)
    status = body["status"]
    assert status["current"]["perUnitMicrograms"] < baseline * 95 // 100  # the whole reduction, by the figure alone
    assert (status["state"], status.get("change")) == ("NoData", None)
    assert [one.get("savings") for one in status["history"]] == [None] * len(status["history"])
    assert conditions(body)["BaselineComparable"] == ("False", "MethodChanged")
    said = next(one["message"] for one in status["conditions"] if one["type"] == "BaselineComparable")
    assert said.endswith(f"write a baseline of hours after the change ({sentence})")

    ledger.settings = {}  # taken back: the same method again
    await evaluate(bench, FIRST + 73 * HOUR + 60)
    bench.new_loop()
    await evaluate(bench, FIRST + 73 * HOUR + 120)
    assert (status["state"], conditions(body)["BaselineComparable"]) == ("Behind", ("True", "SameMethod"))
