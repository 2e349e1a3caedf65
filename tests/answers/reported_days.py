"""A ledger on disk with an hour of two nodes, and the command over it."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.databases import make_tables
from tests.ledger.reports import book
from typer.testing import CliRunner

from carbonbudget_core.node_report import NodeReport
from carbonbudget_operator.cli.main import app
from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.ledger.ledger_engine import open_ledger

DAY = 1_751_328_000  # 2025-07-01


def sha256_of(said: str) -> str:
    (found,) = re.findall(r"sha256 ([0-9a-f]{64})", said)
    return str(found)


class Ledger:
    """A ledger on disk, and the command over it."""

    def __init__(self, path: Path) -> None:
        self.url = f"sqlite:///{path}/ledger.db"
        self.engine = open_ledger(self.url)
        make_tables(self.engine)

    def book(self, *reports: NodeReport) -> None:
        book(Booker(self.engine), *reports)

    def run(self, *args: str, code: int = 0) -> str:
        done = CliRunner().invoke(app, [*args, "--ledger", self.url])
        assert done.exit_code == code, done.output
        assert "Traceback" not in done.output
        return re.sub(r"(?m)^settings: .*\n", "", done.output)

    def report(self, *args: str) -> dict[str, object]:
        return json.loads(self.run("report", *args, "-o", "json"))
