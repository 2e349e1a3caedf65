"""The Grafana dashboards: each panel shows something that our real exporters expose, and each is described."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import ROOT
from tests.dashboards.exposed import a_server, exporters, served, use
from tests.prometheus import Prometheus, free_port, tool, until

sys.path.insert(0, str(ROOT / "hack"))

from grafana.boards import BOARDS
from grafana.panels import Board

FILES = ROOT / "charts" / "carbonbudget" / "files" / "dashboards"
REFERENCE = (ROOT / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8")
# What Grafana puts in place of its variables: all values, a label and an accounting, half a minute.
VARIABLES = {
    "namespace": ".+", "name": ".+", "emitter": ".+", "instance": ".+", "label": "team", "accounting": "LocationBased",
    "__rate_interval": "30s", "__interval": "1s", "__interval_ms": "1000", "__range": "1h",
}  # fmt: skip


def expressions(board: Board) -> Iterator[tuple[str, str]]:
    for panel in board.panels:
        for query in panel.queries:
            yield panel.title, query.expr


def filled_in(expr: str) -> str:
    return re.sub(r"\$(\w+)", lambda found: VARIABLES[found[1]], expr)


def loaded(board: Board) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FILES / f"{board.name}.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_a_dashboard_can_be_installed_by_a_sidecar_and_read_without_help(board: Board) -> None:
    made = loaded(board)
    assert made["uid"] == f"carbonbudget-{board.name}"
    assert made["editable"] is False
    assert "carbonbudget" in made["tags"]
    assert "__inputs" not in made  # a sidecar resolves none
    variables = {variable["name"]: variable for variable in made["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    source = {"type": "prometheus", "uid": "${datasource}"}
    assert all(its["datasource"] == source for its in variables.values() if its["type"] == "query")
    numbers = [panel["id"] for panel in made["panels"]]
    assert len(set(numbers)) == len(numbers)
    for panel in made["panels"]:
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]
        for target in (panel, *panel["targets"]):
            assert target["datasource"] == source, panel["title"]
    used = set(
        re.findall(
            r"\$(\w+)",
            " ".join(expr for _, expr in expressions(board)) + " ".join(variable.query for variable in board.variables),
        )
    )
    assert used - VARIABLES.keys() == set()
    assert used - {"__rate_interval", "__range", "__interval", "__interval_ms"} == variables.keys() - {"datasource"}


def test_each_metric_of_a_dashboard_is_in_the_reference() -> None:
    texts = [expr for board in BOARDS for _, expr in expressions(board)]
    texts += [variable.query for board in BOARDS for variable in board.variables]
    names = {name for text in texts for name in re.findall(r"carbonbudget_[a-z_]+", text)}
    assert len(names) > 30
    ends = r"_(total|bucket|count|sum)$"
    assert {
        name for name in names if f"`{re.sub(ends, '', name)}`" not in REFERENCE and f"`{name}`" not in REFERENCE
    } == set()


def test_a_counter_is_read_as_a_rate_and_an_hours_figure_is_not() -> None:
    for board in BOARDS:
        for title, expr in expressions(board):
            for name in re.findall(r"carbonbudget_\w+", expr):
                before = expr[: expr.index(name)]
                if name.endswith(("_total", "_bucket", "_sum", "_count")):
                    assert before.endswith(("rate(", "count(")), (board.name, title)
                else:
                    assert not before.endswith("rate("), (board.name, title)


OTHERS = ("agent", "controller", "admission")


def scrape_configs(server: int, others: int) -> list[dict[str, object]]:
    """The server by TLS and with a token, the other exporters on one port."""

    def job(name: str, target: str, **more: object) -> dict[str, object]:
        return {"job_name": name, "static_configs": [{"targets": [target]}], "honor_labels": True, **more}

    return [
        job("server", f"localhost:{server}", scheme="https", authorization={"credentials": "prometheus"},
            tls_config={"insecure_skip_verify": True}),
        *(job(name, f"127.0.0.1:{others}", metrics_path=f"/{name}") for name in OTHERS),
    ]  # fmt: skip


async def test_each_expression_has_series_in_a_prometheus_that_scraped_the_exporters(tmp_path: Path) -> None:
    tool("prometheus")
    port = free_port()
    (tmp_path / "outbox").mkdir()
    async with a_server(tmp_path, port) as server:
        with served(exporters(tmp_path / "outbox")) as others:
            scraper = Prometheus(tmp_path, scrape_configs(port, others))
            try:
                await asyncio.to_thread(
                    until, "a scrape of the server",
                    lambda: scraper.ask('count_over_time(up{job="server"}[1m]) and up{job="server"} == 1'),
                )  # fmt: skip
                await use(server, port)
                await asyncio.to_thread(
                    until, "the emissions", lambda: scraper.ask("carbonbudget_emissions_rate_grams_per_hour")
                )
                wanted = [(board.name, title, expr) for board in BOARDS for title, expr in expressions(board)]
                empty = wanted

                def all_there() -> bool:
                    nonlocal empty
                    empty = [one for one in empty if not scraper.ask(filled_in(one[2]))]
                    return not empty

                try:
                    await asyncio.to_thread(until, "each panel's series", all_there)
                except AssertionError:
                    assert empty == [], "panels without a series"
                for board in BOARDS:
                    for variable in board.variables:
                        query = filled_in(re.sub(r"label_values\((.*), \w+\)", r"\1", variable.query))
                        assert await asyncio.to_thread(scraper.ask, query), (board.name, variable.name)
            finally:
                scraper.stop()
