"""Makes the answers to GET /api/v1/nodes and /api/v1/reports. Runs in a worker process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from carbonbudget_operator.answers import report_closing
from carbonbudget_operator.answers.node_energy import ReportingNode, node_energy
from carbonbudget_operator.answers.window_parser import WindowError, check_window
from carbonbudget_operator.api.node_bodies import NodeRow
from carbonbudget_operator.api.report_bodies import ReportRow
from carbonbudget_operator.energy_units import UJ_PER_KWH
from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.server.public.paging import cut, make_cursor, read_cursor
from carbonbudget_operator.server.public.row_formats import Cell, instant, render
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

_OPEN = 2**62  # a report that is still closed comes after those of its period that were reopened


def nodes_answer(book: ValuedReader, given: Mapping[str, Any]) -> bytes:
    """The nodes in the format that was asked for. All rows of a node are on one page. Raises Refusal."""
    window = given["start"], given["end"]
    try:
        check_window(window, "hour")
    except WindowError as error:
        raise Refusal(400, "malformed", str(error)) from None
    after = read_cursor(given["cursor"], (str,))
    page = node_energy(book, window, None if after is None else str(after[0]), given["limit"])
    around = {
        "data_through": instant(page.data_through) if page.data_through else None,
        "start": instant(page.covers[0]),
        "end": instant(page.covers[1]),
        "next": None if page.last is None else make_cursor([page.last]),
    }
    rows = [row for node in page.nodes for row in _rows(node)]
    return render(given["format"], list(NodeRow.model_fields), rows, around)


def reports_answer(book: ValuedReader, given: Mapping[str, Any]) -> bytes:
    """The closed and reopened reports, in order of period and time, in the format that was asked for.

    Raises Refusal.
    """
    after = read_cursor(given["cursor"], (str, int, int, int))
    found = report_closing.closures(book.engine, book.cluster)
    reports: list[Mapping[str, Any]] = [*found["items"], *found["reopened"]]
    placed = [
        ((one["period"], one["closed_at"], one.get("reopened_at", _OPEN), number), _report(one))
        for number, one in enumerate(reports)
    ]
    rows, following = cut(sorted(placed, key=lambda pair: pair[0]), after, given["limit"])
    return render(given["format"], list(ReportRow.model_fields), rows, {"next": following})


def _rows(node: ReportingNode) -> Iterator[dict[str, Cell]]:
    for one in node.energy or (None,):
        energy_uj = 0 if one is None else one.energy_uj
        yield {
            "node": node.name,
            "zone": node.zone,
            "region": node.region,
            "instance_type": node.instance_type,
            "domain": None if one is None else one.domain,
            "method": None if one is None else one.method,
            "energy_kwh": energy_uj / UJ_PER_KWH,
            "energy_uj": str(energy_uj),
            "measured_percent": node.measured_percent,
            "first_report": None if node.first_report is None else instant(node.first_report),
            "last_report": None if node.last_report is None else instant(node.last_report),
            "coverage_percent": node.coverage_percent,
        }


def _report(one: Mapping[str, Any]) -> dict[str, Cell]:
    reopened_at = one.get("reopened_at")
    return {
        "period": one["period"],
        "state": "closed" if reopened_at is None else "reopened",
        "closed_at": instant(one["closed_at"]),
        "sha256": one["sha256"],
        "reopened_at": None if reopened_at is None else instant(reopened_at),
        "reason": one.get("reason"),
    }
