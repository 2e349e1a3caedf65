"""What a question of people is answered by: whole known parts of time, and the answer says which."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.answers.runs import a_job_report
from tests.databases import make_tables
from tests.ledger.reports import a_report, book
from tests.server.server_face import HOUR as SERVED
from tests.server.server_face import Face, a_face
from typer.testing import CliRunner

from carbonbudget_operator.answers.runs_by_owner import RunQueriesAnswerer
from carbonbudget_operator.answers.time_ranges import covered_range
from carbonbudget_operator.api.budget_query_bodies import RunQuery
from carbonbudget_operator.cli.covered_span import covers_line, csv_covers
from carbonbudget_operator.cli.main import app
from carbonbudget_operator.csv_text import csv_list
from carbonbudget_operator.decimal_text import grams
from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.ledger.ledger_engine import open_ledger
from carbonbudget_operator.ledger.time_slices import HOUR, slice_start
from carbonbudget_operator.ledger.writer import LedgerWriter
from carbonbudget_operator.settings import Settings
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

DAY = 1_751_328_000  # 2025-07-01
MINUTE = 60
SRE = {"Authorization": "Bearer user:sre@*"}


class Asked:
    """The ledger of one hour: team-a from its start, team-b only from its 45th minute on."""

    def __init__(self, url: str) -> None:
        self.url = url

    def run(self, command: str, start: int, end: int, *args: str, code: int = 0) -> str:
        times = [dt.datetime.fromtimestamp(at, dt.UTC).isoformat() for at in (start, end)]
        done = CliRunner().invoke(
            app, [command, "--from", times[0], "--to", times[1], "--ledger", self.url, *args], catch_exceptions=False
        )
        assert done.exit_code == code, done.output
        return done.stdout

    def command(self, *args: str) -> str:
        done = CliRunner().invoke(app, [*args, "--ledger", self.url], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    def json(self, command: str, start: int, end: int) -> dict[str, Any]:
        return dict(json.loads(self.run(command, start, end, "-o", "json")))


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[Asked]:
    url = f"sqlite:///{tmp_path}/ledger.db"
    engine = open_ledger(url)
    make_tables(engine)
    starts = range(DAY, DAY + HOUR, MINUTE)
    first = [a_report(start, "node-1", {"a": 3_000_000}) for start in starts]
    second = [a_report(start, "node-2", {"b": 9_000_000}, namespace="team-b") for start in starts[45:]]
    book(Booker(engine), *first, *second)
    yield Asked(url)
    engine.dispose()


instants = st.integers(0, 2**40)
cut_lists = st.lists(st.integers(0, 20 * HOUR), max_size=8).map(lambda some: sorted(set(some)))


@given(instants, st.integers(1, 10**7))
def test_without_cuts_it_is_the_fewest_whole_hours_that_hold_the_span(start: int, length: int) -> None:
    first, last = covered_range(start, start + length)
    assert first % HOUR == last % HOUR == 0
    assert start - HOUR < first <= start < start + length <= last < start + length + HOUR
    assert covered_range(first, last) == (first, last)


@given(st.integers(0, 20 * HOUR), st.integers(1, 5 * HOUR), cut_lists)
def test_with_cuts_it_is_the_fewest_parts_that_hold_the_span(start: int, length: int, cuts: list[int]) -> None:
    first, last = covered_range(start, start + length, cuts)
    assert first <= start < start + length <= last
    assert covered_range(first, last, cuts) == (first, last)
    for at in (first, last):
        assert slice_start(at, cuts) == at
    known = [at for at in cuts if at % HOUR] + list(range(0, 30 * HOUR, HOUR))
    assert first == max(at for at in known if at <= start)
    assert last == min(at for at in known if at >= start + length)


def location_ug(command: str, answer: dict[str, Any], namespace: str) -> int:
    if command == "report":
        return int(answer["namespaces"][namespace]["location_ug"])
    return next(int(row["location_ug"]) for row in answer["rows"] if row["key"]["namespace"] == namespace)


@pytest.mark.parametrize("command", ["allocate", "report"])
def test_a_span_below_an_hour_is_answered_by_the_hour_and_says_so(asked: Asked, command: str) -> None:
    """Team-b did not exist in the first half hour: no grams are invented for it in a span that the answer names."""
    whole = asked.json(command, DAY, DAY + HOUR)
    part = asked.json(command, DAY + 10 * MINUTE, DAY + 20 * MINUTE)
    assert part["covers"] == whole["covers"] == {"from": DAY, "to": DAY + HOUR}
    assert part["total"] == whole["total"]
    for namespace in ("team-a", "team-b"):
        assert location_ug(command, part, namespace) == location_ug(command, whole, namespace) > 0


@pytest.mark.parametrize("command", ["allocate", "report"])
def test_a_span_within_two_hours_covers_both(asked: Asked, command: str) -> None:
    answer = asked.json(command, DAY - 1, DAY + 1)
    assert answer["covers"] == {"from": DAY - HOUR, "to": DAY + HOUR}
    assert answer["total"] == asked.json(command, DAY, DAY + HOUR)["total"]


@pytest.mark.parametrize("command", ["allocate", "report"])
def test_the_text_says_what_it_covers_and_why_that_is_more_than_was_asked_for(asked: Asked, command: str) -> None:
    whole = "covers 2025-07-01 00:00 UTC to 2025-07-01 01:00 UTC"
    said = asked.run(command, DAY + 600, DAY + 1200)
    assert f"{whole}: the span asked for, 2025-07-01 00:10 UTC to 2025-07-01 00:20 UTC, is rounded outward" in said
    said = asked.run(command, DAY, DAY + HOUR)
    assert whole in said
    assert "rounded outward" not in said


@pytest.mark.parametrize("command", ["allocate", "report"])
def test_each_line_of_the_csv_says_what_it_covers(asked: Asked, command: str) -> None:
    lines = list(csv.DictReader(io.StringIO(asked.run(command, DAY + 600, DAY + 1200, "-o", "csv"))))
    assert len(lines) > 1
    assert {(line["covers_from"], line["covers_to"]) for line in lines} == {
        ("2025-07-01T00:00:00Z", "2025-07-01T01:00:00Z")
    }


def test_a_line_of_an_allocations_csv_is_whole_by_itself(asked: Asked) -> None:
    answer = asked.json("allocate", DAY, DAY + HOUR)
    text = asked.run("allocate", DAY, DAY + HOUR, "-o", "csv")
    assert text.startswith("namespace,energy_kwh,location_g,market_g,embodied_g,covers_from,covers_to,embodied_low_g,")
    lines = list(csv.DictReader(io.StringIO(text)))
    assert [line["namespace"] for line in lines] == [row["key"]["namespace"] for row in answer["rows"]]
    for line, row in zip(lines, answer["rows"], strict=True):
        assert line["factors"] == "; ".join(answer["factors"][place] for place in row["factors"]) != ""
        assert float(line["embodied_low_g"]) <= float(line["embodied_g"]) <= float(line["embodied_high_g"])
        assert line["embodied_high_g"] == grams(row["embodied_high_ug"])
        assert line["measured_percent"] == str(row["measured_percent"])
        for figure in ("energy_kwh", "location_g", "market_g", "embodied_g"):
            assert line[f"total_{figure}"] == answer["total"][figure]
        assert line["settings"] == answer["settings"]


def test_a_line_of_a_reports_csv_is_whole_by_itself(asked: Asked) -> None:
    sha256 = asked.command("report", "close", "2025-07-01", "--incomplete").rpartition("sha256 ")[2].strip()
    answer = asked.json("report", DAY, DAY + 24 * HOUR)
    text = asked.command("report", "--period", "2025-07-01", "-o", "csv")
    assert text.startswith(
        "kind,name,it_energy_kwh,facility_energy_kwh,location_g,market_g,embodied_g,measured_percent,embodied_low_g,"
        "embodied_high_g,covers_from,covers_to,emissions_g,note,it_energy_low_kwh,"
    )
    for shown in (text, asked.command("report", "show", "2025-07-01", "-o", "csv")):
        lines = list(csv.DictReader(io.StringIO(shown)))
        assert {line["kind"] for line in lines} == {"total", "ownership", "namespace", "inventory", "energy"}
        for line in lines:
            assert line["factors"] == "; ".join(answer["factors"]) != ""
            assert line["coverage_percent"] == str(answer["coverage_percent"])
            assert (line["cluster"], line["basis"]) == (answer["cluster"], answer["basis"])
            assert line["closed_sha256"] == sha256
        energy = [line for line in lines if line["kind"] == "energy"]
        assert [(line["it_energy_low_kwh"], line["it_energy_kwh"], line["it_energy_high_kwh"]) for line in energy] == [
            (row["low_kwh"], row["kwh"], row["high_kwh"]) for row in answer["energy"]
        ]


def test_a_cell_of_many_factors_is_not_cut() -> None:
    factors = [f"factor {number} " + "x" * 500 for number in range(40)]
    assert csv_list(factors).split("; ") == factors


@given(st.integers(-(2**70), 2**70), st.integers(-(2**70), 2**70))
def test_any_span_that_an_answer_states_is_shown(start: int, end: int) -> None:
    answer = {"covers": {"from": start, "to": end}}
    assert covers_line(answer, (start, end)).startswith("covers ")
    assert all(csv_covers(answer))


@pytest.mark.parametrize("covers", [None, {}, [1, 2], {"from": "0", "to": "1"}, {"from": True, "to": 3600}])
def test_a_server_of_a_former_version_that_states_none_is_named(covers: object) -> None:
    assert "earlier version" in covers_line({"covers": covers}, (0, 60))
    assert csv_covers({"covers": covers}) == ("", "")


@pytest.mark.parametrize("command", ["allocate", "report"])
def test_a_span_up_to_the_end_of_all_calendars_is_answered(asked: Asked, command: str) -> None:
    said = asked.run(command, DAY, 253_402_300_799)  # 9999-12-31T23:59:59
    assert "covers 2025-07-01 00:00 UTC to 253402300800 s after 1970-01-01 UTC" in said


def test_the_coverage_of_a_report_is_that_of_what_it_covers(asked: Asked) -> None:
    whole = asked.json("report", DAY, DAY + HOUR)
    part = asked.json("report", DAY + 50 * MINUTE, DAY + 55 * MINUTE)
    assert part["coverage_percent"] == whole["coverage_percent"]
    assert part["energy"] == whole["energy"]


@pytest.fixture
async def face(tmp_path: Path) -> AsyncIterator[Face]:
    async with a_face(f"sqlite:///{tmp_path}/server.db") as made:
        yield made


async def allocation(face: Face, start: int, end: int) -> Any:
    return await face.client.get("/v1/allocation", params={"from": start, "to": end}, headers=SRE)


async def test_the_servers_allocation_is_rounded_by_the_same_rule(face: Face) -> None:
    await face.report(a_report(SERVED + 300))
    whole = (await allocation(face, SERVED, SERVED + HOUR)).json()
    part = (await allocation(face, SERVED + 60, SERVED + 120)).json()
    assert part == whole
    assert part["covers"] == {"from": SERVED, "to": SERVED + HOUR}
    assert part["total"]["energy_uj"] == 1000


@pytest.mark.parametrize("end", [SERVED, SERVED - 60])
async def test_an_allocation_of_no_time_is_refused_and_not_rounded_to_an_hour(face: Face, end: int) -> None:
    refused = await allocation(face, SERVED, end)
    assert (refused.status_code, refused.json()["reason"]) == (422, "to must be after from")


async def test_a_budget_is_not_rounded_and_names_the_instants_that_it_counts_pro_rata(face: Face) -> None:
    await face.report(a_report(SERVED))
    await face.report(a_report(SERVED + 60))
    within = await face.answer(start=SERVED + 30, end=SERVED + HOUR)
    assert within["pro_rata"] == [SERVED + 30]
    assert within["energy_uj"] < (await face.answer(start=SERVED, end=SERVED + HOUR))["energy_uj"]


def test_a_run_is_answered_by_whole_parts_of_hours_and_says_which(tmp_path: Path) -> None:
    engine = open_ledger(f"sqlite:///{tmp_path}/runs.db")
    make_tables(engine)
    writer = LedgerWriter(engine)
    writer.add_cuts([("team-a", DAY + 1200)], DAY)
    writer.close()
    starts = range(DAY, DAY + HOUR, MINUTE)
    book(Booker(engine), *(a_job_report(start, {"p": ("train", 1_000_000)}) for start in starts))

    def run(start: int, end: int) -> tuple[int, int, int]:
        query = RunQuery(id="r", namespace="team-a", kind="Job", name="train", start=start, end=end)
        _, (answer,) = RunQueriesAnswerer(ValuedReader(engine, Settings())).answers([query])
        return answer.covers_from, answer.covers_to, answer.energy_uj

    first, second = run(DAY + 60, DAY + 120), run(DAY + 1300, DAY + 1400)
    assert first[:2] == (DAY, DAY + 1200)
    assert second[:2] == (DAY + 1200, DAY + HOUR)
    assert first[2] + second[2] == run(DAY, DAY + HOUR)[2] > 0
    engine.dispose()
