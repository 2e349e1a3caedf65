"""What waits for the server: encoded records in order, bounded, cut into requests of one run each."""

from __future__ import annotations

import json
from collections import deque

_MOST_WAITING = 5_000
_MOST_RECORDS = 1_000  # of a request, as the server accepts them
_MOST_BYTES = 200_000  # of a request; the server accepts 256 KiB


class OutgoingRecords:
    """Records of one kind (`spans` or `units`). When it is full the oldest record makes room.

    `dropped` is how many spans or units were given up; a record of units is worth as many as it counts.
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._waiting: deque[tuple[str | None, bytes, int]] = deque(maxlen=_MOST_WAITING)
        self._most_records = _MOST_RECORDS
        self.dropped = 0

    def add(self, run: str | None, text: str, worth: int = 1) -> None:
        """Put a record, as JSON, into line."""
        if len(self._waiting) == _MOST_WAITING:
            self.dropped += self._waiting[0][2]
        self._waiting.append((run, text.encode(), worth))

    @property
    def full_request(self) -> bool:
        """Whether as many wait as a request may have."""
        return len(self._waiting) >= _MOST_RECORDS

    @property
    def empty(self) -> bool:
        """Whether nothing waits."""
        return not self._waiting

    def next_request(self) -> tuple[int, bytes]:
        """The number of records of the next request, and its body."""
        run = self._waiting[0][0]
        records: list[bytes] = []
        size = 0
        for of_run, record, _ in self._waiting:
            size += len(record) + 1
            if of_run != run or len(records) == self._most_records or (records and size > _MOST_BYTES):
                break
            records.append(record)
        head = b"{" if run is None else b'{"run":' + json.dumps(run, ensure_ascii=False).encode() + b","
        return len(records), head + b'"' + self._kind.encode() + b'":[' + b",".join(records) + b"]}"

    def sent(self, number: int) -> None:
        """The request with this number of records was accepted."""
        self._leave(number)

    def refused(self, number: int, too_big: bool) -> bool:
        """Halve the next request, if this one was too big; else drop its records. Whether they are dropped."""
        if too_big and number > 1:
            self._most_records = number // 2
            return False
        self.dropped += self._leave(number)
        return True

    def drop(self) -> None:
        """Give up all that waits."""
        self.dropped += self._leave(len(self._waiting))

    def _leave(self, number: int) -> int:
        self._most_records = _MOST_RECORDS
        return sum(self._waiting.popleft()[2] for _ in range(number))
