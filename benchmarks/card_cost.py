"""What `carbonbudget card` costs on a ledger with a year of one model's pods, by the number of days.

Each hour has one report with a pod of each of four stages, one of another model and one of another namespace. `card_s`
is the command's CPU time, `again_s` that of the same once more, `peak_mb` the most memory of its process, `allocate_s`
the CPU time of `carbonbudget allocate` for all models. They read the ledger itself, whose hours nobody has valued
before, and store nothing. The card's sums must be those of `allocate`.
"""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.figures import Figures, arguments, show
from tests.ledger.reports import HOUR, a_report, arrival

from carbonbudget_core.node_report import NodeReport
from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.ledger.ledger_engine import open_ledger
from carbonbudget_operator.ledger.schema_migration import migrate
from carbonbudget_operator.run_labels import MODEL, RUN, STAGE

DAY = 24
BATCH = 240
PODS = (
    ("team-a", {MODEL: "chat", STAGE: "training", RUN: "exp-1"}), ("team-a", {MODEL: "chat", STAGE: "evaluation"}),
    ("team-a", {MODEL: "chat", STAGE: "inference"}), ("team-a", {MODEL: "chat"}), ("team-a", {MODEL: "other"}),
    ("team-b", {MODEL: "chat"}),
)  # fmt: skip

COMMAND = """
import resource, sys
from carbonbudget_operator.cli.main import app
try:
    app(sys.argv[1:])
finally:
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(used.ru_utime + used.ru_stime, used.ru_maxrss, file=sys.stderr)
"""


def hour_report(hour: int) -> NodeReport:
    """One minute of an hour."""
    made = a_report(HOUR + hour * 3600, pods={f"pod-{n}": 10**9 + hour for n in range(len(PODS))})
    pods = zip(made.pods, PODS, strict=True)
    return replace(made, pods=tuple(replace(its, namespace=space, labels=labels) for its, (space, labels) in pods))


def fill(url: str, days: int) -> None:
    engine = open_ledger(url)
    migrate(engine)
    booker = Booker(engine)
    for first in range(0, days * DAY, BATCH):
        booker.book([arrival(hour_report(hour)) for hour in range(first, min(first + BATCH, days * DAY))])
    engine.dispose()


def command(*args: str) -> tuple[str, float, float]:
    """Its output, seconds of CPU, megabytes at most."""
    done = subprocess.run([sys.executable, "-c", COMMAND, *args], check=True, capture_output=True, text=True)
    seconds, kilobytes = map(float, done.stderr.splitlines()[-1].split())
    return done.stdout, seconds, kilobytes / 1024


def measured(days: int) -> Figures:
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/ledger.db"
        fill(url, days)
        first, last = (dt.datetime.fromtimestamp(HOUR + day * 86_400, dt.UTC).isoformat() for day in (0, days))
        span = ("--from", first, "--to", last, "--ledger", url)
        card = ("card", "-n", "team-a", "--model", "chat", *span)
        out, first_s, peak_mb = command(*card)
        _, again_s, _ = command(*card)
        rows, allocate_s, _ = command("allocate", *span, "--group-by", "namespace,model", "-o", "json")
        total = json.loads(out)["total"]
        (row,) = (row for row in json.loads(rows)["rows"] if row["key"] == {"namespace": "team-a", "model": "chat"})
        assert {name: row[name] for name in total} == total, (total, row)
        return {
            "days": days, "card_s": round(first_s, 1), "again_s": round(again_s, 1), "peak_mb": round(peak_mb),
            "allocate_s": round(allocate_s, 1),
        }  # fmt: skip


if __name__ == "__main__":
    options = arguments(__doc__)
    show([measured(days) for days in ((2, 10) if options.quick else (10, 100, 365))], options.json)
