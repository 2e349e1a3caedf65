"""The report as one HTML file: self-contained, without scripts, printable, and hostile names are text."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from tests.databases import make_tables
from tests.ledger.reports import a_report, book
from typer.testing import CliRunner

from carbonbudget_operator.cli.main import app
from carbonbudget_operator.cli.report_charts import energy_chart, namespace_chart
from carbonbudget_operator.cli.report_html import MOST_ROWS, _cells, _changes
from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.ledger.ledger_engine import open_ledger

JUNE, JULY = 1_748_736_000, 1_751_328_000  # 2025
HOSTILE = '"><script>alert(1)</script><img src=//x.example onerror=alert(2)>{{ 7*7 }}'
Run = Callable[..., str]
VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """Elements with attributes, text, and whether each element is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def tags(self) -> set[str]:
        return {tag for tag, _ in self.elements}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    url = f"sqlite:///{tmp_path}/ledger.db"
    engine = open_ledger(url)
    make_tables(engine)
    for month in (JUNE, JULY):
        for hour in (0, 30):
            labels = {"team": HOSTILE}
            book(
                Booker(engine),
                a_report(month + 3600 * hour, pods={"p": 10**12 + month}, labels=labels, namespace="ns-a"),
            )
    engine.dispose()
    config = tmp_path / "settings.yaml"
    config.write_text("cluster: default\ncarbon: {zone: DE}\nreports: {required_labels: [team, project]}\n")
    monkeypatch.setattr("time.time", lambda: JULY + 40 * 86_400.0)

    def made(*args: str) -> str:
        done = CliRunner().invoke(app, [*args, "--ledger", url, "--config", str(config)])
        assert done.exit_code == 0, done.output
        return done.stdout

    return made


def test_the_page_loads_nothing_and_has_no_script(run: Run) -> None:
    text = run("report", "--period", "2025-07", "--compare", "-o", "html")
    page = Page(text[text.index("<!DOCTYPE html>") :])
    assert not page.tags() & {"script", "img", "link", "iframe", "object", "embed", "form", "base"}
    attributes = [name for _, attrs in page.elements for name in attrs]
    assert not [name for name in attributes if name.startswith("on") or name in ("src", "href", "style", "xlink:href")]
    assert "url(" not in text
    assert "@import" not in text
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    (policy,) = [attrs["content"] for tag, attrs in page.elements if "http-equiv" in attrs and tag == "meta"]
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'"


def test_hostile_labels_are_text(run: Run) -> None:
    text = run("report", "--period", "2025-07", "--compare", "-o", "html")
    page = Page(text[text.index("<!DOCTYPE html>") :])
    assert HOSTILE in page.text
    assert "<script" not in text
    assert "49" not in "".join(page.text).replace(HOSTILE, "").split()


def test_tables_have_captions_and_scoped_heads_and_charts_have_titles(run: Run) -> None:
    text = run("report", "--period", "2025-07", "-o", "html")
    tables = re.findall(r"<table>.*?</table>", text, re.DOTALL)
    assert len(tables) >= 5
    for table in tables:
        assert "<caption>" in table
        assert re.search(r"<thead><tr>.*</tr></thead>", table, re.DOTALL)
        assert "<th>" not in table
    charts = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert len(charts) == 2
    for chart in charts:
        ElementTree.fromstring(chart)
        assert 'role="img"' in chart
        assert "<title" in chart
    assert '<html lang="en">' in text
    assert len(re.findall("<h1", text)) == 1


def test_it_prints_on_a4_with_the_heads_of_tables_on_each_page(run: Run) -> None:
    text = run("report", "--period", "2025-07", "-o", "html")
    assert re.search(r"@page \{[^}]*size: A4", text)
    assert "display: table-header-group" in text
    assert "break-inside: avoid" in text
    assert "color-scheme: light;" in text


def test_the_figures_are_those_of_the_table(run: Run) -> None:
    text = run("report", "--period", "2025-07", "-o", "html")
    table = run("report", "--period", "2025-07")
    total = re.search(r"^ *total +([\d.,]+) +([\d.,]+) +([\d.,]+)", table, re.MULTILINE)
    assert total is not None
    for figure in total.groups():
        assert figure in text


def test_a_closed_report_is_printed_as_it_was_closed(run: Run) -> None:
    run("report", "close", "2025-07", "--incomplete")
    text = run("report", "show", "2025-07", "-o", "html")
    (row,) = [line for line in run("report", "list").splitlines() if line.startswith("2025-07")]
    assert f"As it was closed: sha256 {row.split()[-1]}" in text
    assert text == run("report", "show", "2025-07", "-o", "html")


def test_a_period_without_data_in_the_one_before_says_so(run: Run) -> None:
    assert "It has no data: there is nothing to compare with." in run(
        "report", "--period", "2025-06", "--compare", "-o", "html"
    )


def test_columns_and_bars_are_within_their_charts() -> None:
    hours = {
        f"2025-07-{day:02d}T0{hour}:00Z": [1, None, day * 1000 + hour, 1] for day in range(1, 31) for hour in range(5)
    }
    factors = {f"f{n}": {"zone": f"Z{n}", "hours": hours} for n in range(7)}
    made = energy_chart(factors, 31 * 86_400)
    assert made is not None
    assert (made.step, len(made.columns), len(made.series)) == ("day", 30, 5)
    assert max(block.bottom + block.height for column in made.columns for block in column.blocks) == 1000
    assert energy_chart(factors, 86_400).step == "hour"  # type: ignore[union-attr]
    assert energy_chart(factors, 366 * 86_400).step == "month"  # type: ignore[union-attr]
    assert energy_chart({}, 86_400) is None
    assert namespace_chart({"n": {"location_ug": 0, "location_g": "0"}}) == []


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Debian's chromium")
def test_chromium_prints_it_and_its_policy_allows_all_that_is_in_it(run: Run, tmp_path: Path) -> None:
    text = run("report", "--period", "2025-07", "--compare", "-o", "html")
    file = tmp_path / "report.html"
    file.write_text(text, encoding="utf-8")
    pdf = tmp_path / "report.pdf"
    done = subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0",
         f"--user-data-dir={tmp_path}/profile", "--no-pdf-header-footer", f"--print-to-pdf={pdf}", file.as_uri()],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert pdf.read_bytes().startswith(b"%PDF"), done.stderr
    assert "Content Security Policy" not in done.stderr
    assert b"595" in pdf.read_bytes()  # A4 is 595 points wide


def test_a_namespace_that_ended_is_among_the_largest_changes_and_the_rest_are_summed() -> None:
    def change(new: int, old: int) -> dict[str, str | None]:
        found: dict[str, str | None] = {}
        for figure in ("energy_kwh", "location_g"):
            found |= {
                figure: str(new), f"{figure}_before": str(old), f"{figure}_change": str(new - old),
                f"{figure}_change_percent": f"{(new - old) * 100 / old:.1f}" if old else None,
            }  # fmt: skip
        return found

    names = {f"n{number:03d}": change(2, 1) for number in range(MOST_ROWS + 2)} | {"ended": change(0, 900)}
    ((_, rows),) = _changes({"total": change(404, 1102), "namespaces": names, "labels": {}})
    assert [rows[0][0], rows[1][0], rows[-1][0]] == ["total", "ended", "3 more"]
    assert len(rows) == MOST_ROWS + 2
    assert rows[-1][1] == _cells(change(6, 3))
