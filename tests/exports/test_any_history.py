"""Whatever happens in whatever order, a target ends with the ledger's own figures, each once."""

from __future__ import annotations

import asyncio
import gzip
import tempfile
from pathlib import Path
from typing import ClassVar

import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from line_protocol_parser import parse_line
from tests.databases import make_tables
from tests.exports.exporting import HOUR, Export, allocated, fill, settings_of, upkeep
from tests.exports.test_encoders import series_of

from carbonbudget_operator.exports.export_target_http import RowsRefused, TargetAway
from carbonbudget_operator.ledger.ledger_engine import open_ledger
from carbonbudget_operator.settings import Settings

FIRST = 1_764_000_000
HOURS = 2
START = FIRST + HOURS * HOUR + 1000


class Model:
    """A receiver that keeps what it gets, and fails as it is told: before or after it has kept a request."""

    kind: ClassVar[dict[str, object]]

    def __init__(self) -> None:
        self.failures: list[str] = []

    async def send(self, body: bytes) -> RowsRefused | None:
        fate = self.failures.pop(0) if self.failures else ""
        if fate == "before":
            raise TargetAway("it answers 503")
        self.keep(body)
        if fate == "after":
            raise TargetAway("no answer within 1 s")
        return None

    def keep(self, body: bytes) -> None:
        raise NotImplementedError

    def location_ug(self, hour: int) -> float:
        raise NotImplementedError


class InfluxModel(Model):
    """The last point of the same tags and time stands."""

    kind: ClassVar = {"kind": "influx", "url": "http://x.example.org", "database": "d"}

    def __init__(self) -> None:
        super().__init__()
        self.points: dict[tuple[object, ...], int] = {}

    def keep(self, body: bytes) -> None:
        for line in gzip.decompress(body).decode().split("\n"):
            point = parse_line(line)
            if point["tags"].get("accounting") == "LocationBased":
                key = (point["time"], *sorted(point["tags"].items()))
                self.points[key] = point["fields"]["micrograms"]

    def location_ug(self, hour: int) -> float:
        return sum(ug for (at, *_), ug in self.points.items() if at == hour)


class PrometheusModel(Model):
    """The first sample of a series at an instant stands; a query takes those of the latest revision."""

    kind: ClassVar = {"kind": "remoteWrite", "url": "http://x.example.org"}

    def __init__(self) -> None:
        super().__init__()
        self.samples: dict[tuple[object, ...], float] = {}

    def keep(self, body: bytes) -> None:
        for labels, value, at in series_of(body):
            self.samples.setdefault((at // 1000 - HOUR, *labels), value)

    def location_ug(self, hour: int) -> float:
        at = {key[1:]: value for key, value in self.samples.items() if key[0] == hour}
        latest = [value for labels, value in at.items() if ("__name__", "carbonbudget_hour_revision") in labels]
        if not latest:
            return 0
        wanted = {("accounting", "LocationBased"), ("revision", f"{max(latest):.0f}")}
        return sum(value for labels, value in at.items() if wanted <= set(labels)) * 1_000_000


events = st.one_of(
    st.tuples(st.just("report"), st.integers(0, HOURS - 1)),
    st.tuples(st.just("pue"), st.sampled_from([1.2, 1.5])),
    st.tuples(st.just("shared"), st.booleans()),
    st.tuples(st.just("step"), st.lists(st.sampled_from(["", "before", "after"]), max_size=4)),
    st.tuples(st.just("another server"), st.none()),
)


@settings(max_examples=20)
@given(st.sampled_from([InfluxModel, PrometheusModel]), st.lists(events, max_size=8))
def test_a_target_ends_with_each_figure_once(kind: type[Model], history: list[tuple[str, object]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        engine = open_ledger(f"sqlite:///{Path(directory)}/ledger.db")
        make_tables(engine)
        asyncio.run(play(engine, kind(), history))
        engine.dispose()


async def play(engine: sa.Engine, model: Model, history: list[tuple[str, object]]) -> None:
    now, reports, servers = START, 0, 0
    pue: object = 1.2
    is_shared: object = False

    def present() -> Settings:
        allocation: dict[str, object] = {"shared": {"kube-system": "proportional"}} if is_shared else {}
        target = {"name": "m", "backfill_days": 2600, "batch_rows": 100, **model.kind}
        return settings_of(target, allocation=allocation, pue=pue)

    def server() -> Export:
        made = Export(engine, present(), holder=f"server-{servers}")
        made.sender._target = model
        return made

    fill(engine, FIRST, HOURS)
    fill(engine, FIRST, HOURS, {"s": 5 * 10**9}, namespace="kube-system", node="node-2")
    export = server()
    for what, value in [*history, ("another server", None), ("step", [])]:
        now += 60
        if what == "report":
            reports += 1
            fill(engine, FIRST + int(str(value)) * HOUR, 1, {f"late-{reports}": 70 + reports}, node=f"late-{reports}")
        elif what == "pue":
            pue = value
        elif what == "shared":
            is_shared = value
        elif what == "another server":
            await export.close()
            now, servers = now + 200, servers + 1
        if what in ("pue", "shared"):
            await export.close()
            servers, now = servers + 1, now + 200
        if what in ("pue", "shared", "another server"):
            export = server()
        upkeep(engine, present(), now)
        if what == "step":
            model.failures = list(value)  # type: ignore[call-overload]
            try:
                await export.step(now)
            except TargetAway:
                pass
    await export.close()
    assert export.count("hours_waiting") == 0
    for hour in range(FIRST, FIRST + HOURS * HOUR, HOUR):
        own = sum(group.location_ug for group in allocated(engine, present(), hour, hour + HOUR).values())
        assert round(model.location_ug(hour)) == own
