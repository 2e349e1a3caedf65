"""How the page reads `/api/v1`: one GET at a time, with the rights of the person who looks at the page.

The page has no rights of its own. `kubectl carbon ui` and `carbonbudget web` each have a gateway.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


class GatewayError(Exception):
    """The server could not be asked. The message is one sentence: what happened and what to do.

    `status` is what the page answers: 403 where a right is missing on the way to the server.
    """

    def __init__(self, sentence: str, status: int = 503) -> None:
        super().__init__(sentence)
        self.status = status


class AnswerTooLarge(GatewayError):
    """The answer has more bytes than it was asked to have."""

    def __init__(self, most_bytes: int) -> None:
        most = f"{most_bytes >> 20} MiB" if most_bytes >= 2**20 else f"{most_bytes >> 10} KiB"
        super().__init__(f"The answer is larger than {most}: ask for a shorter window or fewer rows.")


@dataclass(frozen=True, slots=True)
class PageCaller:
    """Who looks at the page. `name` is shown; the rest goes to the server with each question.

    `token` is theirs, for the server's audience. `user` and `groups` are set in its place where a trusted proxy
    signed the person in.
    """

    name: str
    token: str | None = field(default=None, repr=False)
    user: str = ""
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ApiAnswer:
    """An answer of `/api/v1`. The names of `headers` are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Gateway(Protocol):
    """Forwards questions to the server."""

    async def get(
        self,
        path: str,
        query: Sequence[tuple[str, str]],
        caller: PageCaller,
        etag: str | None = None,
        most_bytes: int | None = None,
    ) -> ApiAnswer:
        """The answer to one GET. `path` begins with `/api/v1/`; `etag` becomes If-None-Match, quotes included.

        Raises AnswerTooLarge where it has more than `most_bytes`, before they are received if the server says so.
        None is as many as the gateway takes at all.
        Refusals (401, 403, 422, 503) are answers. Raises GatewayError where there is none.
        """


def told_bytes(content_length: str) -> int:
    """What the header Content-Length says; 0 where it says nothing."""
    return int(content_length) if content_length.isdecimal() and len(content_length) < 20 else 0
