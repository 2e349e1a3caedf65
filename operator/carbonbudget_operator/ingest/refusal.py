"""Refusal: an answer other than 2xx to a request, with the reason. One type, which all parts of the server raise.

The agent rejects a report after 409, sends it again each hour after 400, 413 and 422, and soon after any other status.
"""

from __future__ import annotations


class Refusal(Exception):
    """HTTP status, the kind that a metric counts, one sentence for the reader, and Retry-After (0: none).

    `field`: the path of a field that is not known, with points, for the kind `unknown_field`; otherwise empty.
    """

    def __init__(self, status: int, kind: str, reason: str, retry_after_s: int = 0, field: str = "") -> None:
        super().__init__(reason)
        self.status, self.kind, self.reason, self.retry_after_s = status, kind, reason, retry_after_s
        self.field = field
