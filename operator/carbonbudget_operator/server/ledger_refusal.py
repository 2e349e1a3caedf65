"""The refusal of a question while the ledger cannot be asked.

The database's own words name its address and user. They are for the server's log; whoever asked may be a tenant.
"""

from __future__ import annotations

import logging
import time
from typing import Final

from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.ledger.ledger_engine import LedgerError, LedgerReplaced
from carbonbudget_operator.logs import LogRateLimit

_COME_AGAIN_SECONDS: Final = 10
_log = logging.getLogger(__name__)
_lines = LogRateLimit(1)


def ledger_away(error: LedgerError) -> Refusal:
    """The refusal of a question that failed by this error; it is logged, at most once a second.

    A schema of another version is logged by `background_steps.py`, once.
    """
    if isinstance(error, LedgerReplaced):
        return Refusal(503, "ledger", str(error), _COME_AGAIN_SECONDS)
    if _lines.admit(time.monotonic()) is not None:
        _log.warning("a question is refused with 503: %s", error)
    reason = "the ledger does not answer: try again later; the server's log says why"
    return Refusal(503, "ledger", reason, _COME_AGAIN_SECONDS)
