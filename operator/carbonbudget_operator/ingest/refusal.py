"""Why a report is not taken: status, a class to count by, and one line for whoever reads it."""

from __future__ import annotations


class Refusal(Exception):
    """An answer other than 2xx. The agent sets 400, 409, 413 and 422 aside and retries the rest."""

    def __init__(self, status: int, kind: str, reason: str, retry_after_s: int = 0) -> None:
        super().__init__(reason)
        self.status, self.kind, self.reason, self.retry_after_s = status, kind, reason, retry_after_s
