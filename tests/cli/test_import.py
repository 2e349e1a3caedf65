"""`carbonbudget ledger import` books as a server does."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import sqlalchemy as sa
from tests.databases import make_tables
from tests.ledger.reports import HOUR, a_report

from carbonbudget_core.node_report_json import encode_report
from carbonbudget_operator.ledger.ledger_engine import open_ledger
from carbonbudget_operator.ledger.writer import LedgerWriter


def test_a_value_that_a_budget_names_is_kept_beyond_the_bound_on_labels(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    engine = open_ledger(url)
    make_tables(engine)
    writer = LedgerWriter(engine)
    writer.select_labels([(["team-a"], "project", ["x"])], int(time.time()))
    writer.close()
    reports = [a_report(HOUR, f"n{n}", {f"p{n}": 7}, labels={"project": value}) for n, value in enumerate("ayx")]
    (tmp_path / "reports").write_text("\n".join(map(encode_report, reports)))
    (tmp_path / "config").write_text(json.dumps({"server": {"max_label_values": 1}}))
    command = [Path(sys.executable).with_name("carbonbudget"), "ledger", "import", tmp_path / "reports", "--any-age"]
    options = ["--ledger", url, "--config", tmp_path / "config"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=True)
    assert "3 stored" in done.stdout
    with engine.connect() as connection:
        found = connection.scalars(sa.text("SELECT labels FROM label_set")).all()
    engine.dispose()
    assert {json.loads(labels)["project"] for labels in found} == {"a", "__other__", "x"}
