"""Limits the present requests of the server: their number, and the bytes of their bodies and answers.

Each kind of request (reports, the controller's questions, other people's) has a share of its own, so that none of them
can take the memory of another. Within a share each caller has a limit too. Only the event loop's thread uses it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from carbonbudget_operator.ingest.refusal import Refusal

_COME_AGAIN_SECONDS = 2


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """`requests` and `bytes` in all; `requests_each` and `bytes_each` of one caller; `body`: bytes of one body."""

    requests: int
    requests_each: int
    bytes: int
    bytes_each: int
    body: int


class RequestShare:
    """The requests of one kind; `name` is what they are called in a refusal."""

    def __init__(self, name: str, limits: RequestLimits) -> None:
        self.name, self.limits = name, limits
        self.bytes = self.under_way = 0
        self.requests: Counter[str] = Counter()
        self.bytes_of: Counter[str] = Counter()

    @contextmanager
    def request(self, who: str) -> Iterator[RequestBytes]:
        """Count one request of a caller until it is answered.

        Raises:
            Refusal: 503 if the caller, or all callers together, have too many under way.
        """
        if self.requests[who] >= self.limits.requests_each:
            raise _busy(f"{who} has {self.limits.requests_each} {self.name} under way, which is the limit")
        if self.under_way >= self.limits.requests:
            raise _busy(f"{self.limits.requests} {self.name} are under way, which is the limit")
        hold = RequestBytes(self, who)
        self.under_way += 1
        self.requests[who] += 1
        try:
            yield hold
        finally:
            self.under_way -= 1
            _subtract(self.requests, who, 1)
            self.bytes -= hold.bytes
            _subtract(self.bytes_of, who, hold.bytes)


class RequestBytes:
    """The bytes of one request."""

    def __init__(self, share: RequestShare, who: str) -> None:
        self._share, self._who = share, who
        self.bytes = 0

    def add(self, size: int) -> None:
        """Hold `size` bytes more. Raises Refusal 503 where they would exceed the caller's limit or the share's."""
        share = self._share
        limits = share.limits
        if share.bytes_of[self._who] + size > limits.bytes_each:
            raise _busy(f"the {share.name} of {self._who} would hold more than {limits.bytes_each} bytes at once")
        if share.bytes + size > limits.bytes:
            raise _busy(f"the {share.name} under way would hold more than {limits.bytes} bytes")
        self.bytes += size
        share.bytes += size
        share.bytes_of[self._who] += size


def _busy(reason: str) -> Refusal:
    return Refusal(503, "busy", f"{reason}: try again later", _COME_AGAIN_SECONDS)


def _subtract(counter: Counter[str], who: str, number: int) -> None:
    counter[who] -= number
    if not counter[who]:
        del counter[who]
