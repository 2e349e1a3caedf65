"""The pages of every resource of /api/v1 add up to its whole answer, with names that no tool should trust."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ledger.reports import HOUR, a_report, book

from carbonbudget_operator.intensity_settings import HttpJsonSettings, IntensitySettings
from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.ledger.intensity_store import store_intensities
from carbonbudget_operator.server.public.cluster_answers import nodes_answer, reports_answer
from carbonbudget_operator.server.public.emission_answer import emission_answer
from carbonbudget_operator.server.public.grid_answers import factors_answer, intensity_answer
from carbonbudget_operator.settings import CarbonSettings, Settings
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

HOSTILE = ('<b onclick="x()">', "=1+1", "\u202edrowssap", "n" * 253, "a\r\nb,\"c'", "+\u0000null")
LAST = HOUR + 4 * 3600
WHOLE = {"start": HOUR, "end": LAST, "limit": 10_000, "cursor": "", "format": "json", "wide": True, "zone": "DE,FR"}
EMISSIONS = {
    "accounting": "Both",
    "filter": "",
    "compare": False,
    "namespaces": None,
    "include": "Dynamic,Idle,Overhead",
}


@cache
def a_book() -> ValuedReader:
    """Six nodes with pods of six namespaces in four hours, and reports that were closed. The names are hostile."""
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    schema.metadata.create_all(engine)
    numbers = range(len(HOSTILE))
    for hour in range(4):
        for n in numbers:
            report = a_report(
                HOUR + 3600 * hour, f"n{n}", {f"p{n}": 10**9 * (n + 1)}, namespace=f"ns-{n}", labels={"t": f"{n}"}
            )
            book(Booker(engine), report)
    source = HttpJsonSettings(name=HOSTILE[0], url="https://x/{zone}", value="v", time="t", basis="lifecycle")
    store_intensities(engine, source.name, "DE", "lifecycle", {HOUR: (10, False), HOUR + 7200: (20, True)}, HOUR, 2)
    c, label = schema.closed_report.c, schema.label_set.c
    with engine.begin() as connection:
        for n, text in enumerate(HOSTILE):
            connection.execute(
                sa.update(schema.node).where(schema.node.c.name == f"n{n}").values(name=text, region=text)
            )
            connection.execute(
                sa.update(schema.pod).where(schema.pod.c.namespace == f"ns-{n}").values(namespace=text, name=text)
            )
            connection.execute(
                sa.update(schema.label_set).where(label.labels == json.dumps({"t": f"{n}"}, separators=(",", ":")))
                .values(labels=json.dumps({"t": text}))
            )  # fmt: skip
            closed = {
                c.cluster: "default",
                c.period: f"2025-0{n % 3 + 1}",
                c.closed_at: HOUR,
                c.digest: text,
                c.report: "",
            }
            known = {column.name: value for column, value in closed.items()}
            connection.execute(sa.insert(schema.reopened_report).values(**known, reopened_at=HOUR + n % 2, reason=text))
            if n < 3:
                connection.execute(sa.insert(schema.closed_report).values(**known))
    carbon = CarbonSettings(zone="DE", intensity=IntensitySettings(sources=[source], max_age_hours=1))
    return ValuedReader(engine, Settings(carbon=carbon))


Answer = Callable[[Mapping[str, Any]], bytes]
RESOURCES: dict[str, Answer] = {
    "emissions": lambda asked: emission_answer(a_book(), asked),
    "intensity": lambda asked: intensity_answer(a_book(), asked, LAST),
    "factors": lambda asked: factors_answer(a_book(), asked, LAST, "settings"),
    "nodes": lambda asked: nodes_answer(a_book(), asked),
    "reports": lambda asked: reports_answer(a_book(), asked),
}  # fmt: skip


@settings(max_examples=120)
@given(
    st.sampled_from(sorted(RESOURCES)), st.integers(1, 40), st.sampled_from(["all", "hour", "day"]),
    st.sampled_from(["namespace", "workload", "node", "label:t", "label:t,namespace", "label:none"]),
    st.integers(0, 3), st.integers(1, 4), st.booleans(),
)  # fmt: skip
def test_pages_add_up_to_the_whole(
    name: str, limit: int, step: str, by: str, first: int, hours: int, wide: bool
) -> None:
    start = HOUR + 3600 * first
    asked = WHOLE | EMISSIONS | {"step": step, "by": by, "start": start, "end": start + 3600 * hours, "wide": wide}
    whole = json.loads(RESOURCES[name](asked))
    assert whole["next"] is None
    assert whole["rows"]
    found: list[object] = []
    cursor: str | None = ""
    while cursor is not None:
        page = json.loads(RESOURCES[name](asked | {"limit": limit, "cursor": cursor}))
        assert page["rows"]
        assert {key: value for key, value in page.items() if key not in ("rows", "next")} == {
            key: value for key, value in whole.items() if key not in ("rows", "next")
        }
        found, cursor = found + page["rows"], page["next"]
    assert found == whole["rows"]


def test_every_hostile_text_comes_back_as_it_is_and_begins_no_cell_of_a_spreadsheet() -> None:
    for name, fields in (
        ("emissions", ("namespace", "label:t")), ("nodes", ("node", "region")), ("factors", ("node",)),
        ("reports", ("reason", "sha256")),
    ):  # fmt: skip
        asked = WHOLE | EMISSIONS | {"step": "all", "by": "namespace,label:t"}
        rows = json.loads(RESOURCES[name](asked))["rows"]
        for field in fields:
            assert set(HOSTILE) <= {row[field] for row in rows}, (name, field)
        text = RESOURCES[name](asked | {"format": "csv"}).decode()
        table = list(csv.reader(io.StringIO(text, newline="")))
        assert len(table) == len(rows) + 1
        assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) for line in table for cell in line)
        lines = RESOURCES[name](asked | {"format": "ndjson"}).decode().splitlines()
        assert [json.loads(line) for line in lines] == rows
