"""What is read of an hour holds together, however much is booked meanwhile."""

from __future__ import annotations

import threading

import sqlalchemy as sa
from tests.ledger.reports import HOUR, a_report, book

from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.ledger.fact_reader import read_hour
from carbonbudget_operator.ledger.ledger_engine import snapshot

ROUNDS = 150


def test_an_hour_that_is_read_while_reports_come_in_still_adds_up(engine: sa.Engine) -> None:
    booker, done = Booker(engine), threading.Event()
    book(booker, a_report())

    def reports() -> None:
        part = 0
        while not done.is_set():
            part += 1
            pods = {f"p{part % 7}": 7, f"q{part % 5}": 9}
            book(booker, *(a_report(HOUR, f"n{node}", pods, part=part) for node in range(4)))

    writer = threading.Thread(target=reports)
    writer.start()
    try:
        for _ in range(ROUNDS):
            with snapshot(engine) as connection:
                for item in read_hour(connection, "default", HOUR):
                    domain = item.domains["cpu"]
                    pods = sum(group.energy_uj.get("cpu", 0) for group in item.groups)
                    assert domain.measured_uj == domain.idle_uj + domain.system_uj + domain.unseen_uj + pods
    finally:
        done.set()
        writer.join()
