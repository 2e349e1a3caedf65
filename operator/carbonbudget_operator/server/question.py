"""One question of a caller, as the pools pass it to a thread or a worker process, and how much it may ask for."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from pydantic import BaseModel

from carbonbudget_operator.ingest.refusal import Refusal

VERSION_BYTES: Final = 100  # at most, of a version and its line break


@dataclass(frozen=True, slots=True)
class QueryAllowance:
    """How much one request may ask for, summed over its questions; more is refused with 422.

    `workloads`: how many its answers may name. `answer_bytes`: how long its answer may be.
    """

    questions: int
    spans: int
    workloads: int
    hours: int  # 8 bytes each, and as many digits in the answer
    answer_bytes: int

    def check(self, what: Literal["questions", "spans", "hours"], number: int) -> None:
        """Raise Refusal 422 if `number` of them are too many."""
        most: int = getattr(self, what)
        if number > most:
            reason = f"{number} {what} in one request, at most {most} for this caller: ask in parts"
            raise Refusal(422, "unanswerable", reason)


@dataclass(frozen=True, slots=True)
class Question:
    """One question, as it also travels to a worker process. `kind` is the name of its function in
    `server/ledger_answers.py`.

    `body` is what the caller sent, `parsed` the same where this process has parsed it, `given` what else the function
    takes. `now` is the UTC second, `seconds` the limit of the answer in a worker process, `is_long` whether it may take
    minutes, `others_wait` whether more questions wait for a worker. `asked_at` is when it was asked, by
    time.monotonic(): its answer has all that was stored before.

    `known`: the versions of the answer that the caller has. Then an answer begins with its version; a line break and
    the text follow unless the caller has it. None: without a version.
    """

    kind: str
    now: int
    allowance: QueryAllowance
    body: bytes = b""
    given: Mapping[str, Any] = field(default_factory=dict)
    parsed: BaseModel | None = None
    seconds: int = 0
    is_long: bool = False
    others_wait: bool = False
    asked_at: float = field(default_factory=time.monotonic)
    known: frozenset[str] | None = None
