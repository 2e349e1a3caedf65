"""The filled ledger."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from tests.ledger.reports import book
from tests.valued_hours.filled_ledger import some_reports

from carbonbudget_operator.ledger.booking import Booker


@pytest.fixture
def filled(engine: sa.Engine) -> sa.Engine:
    book(Booker(engine), *some_reports())
    return engine
