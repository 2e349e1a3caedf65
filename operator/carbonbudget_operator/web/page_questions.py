"""The questions that one page asks `/api/v1`, and what it shows where there is no answer."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from carbonbudget_core.jsons import JsonObject, parse_object
from carbonbudget_operator.web.gateway import AnswerTooLarge, ApiAnswer, Gateway, GatewayError, PageCaller
from carbonbudget_operator.web.views.answer_figures import word

Query = Sequence[tuple[str, str]]
Question = tuple[str, Query]
_MOST_TAG: Final = 2_000


class NotShown(Exception):
    """What a page, or a part of it, cannot show. The message is a sentence for the reader: why, and what to do."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status

    @property
    def title(self) -> str:
        """The heading above the sentence."""
        titles = {
            401: "Sign in again",
            403: "A right is missing",
            404: "Not found",
            400: "Not understood",
            422: "Too much",
        }
        return titles.get(self.status, "No answer")


class Unchanged(Exception):
    """The browser has the page already: no answer changed since."""


@dataclass(slots=True)
class Questions:
    """Asks for one request. `known` is the request's If-None-Match, `tag` the ETag of the page made of the answers.
    `largest_bytes` is the length of the largest of these.

    The page's tag holds the tags of its answers. So a refresh without change costs no more than the server's 304.
    """

    gateway: Gateway
    caller: PageCaller
    known: str = ""
    tag: str = ""
    largest_bytes: int = 0

    async def ask(self, *questions: Question, most_bytes: int | None = None) -> list[JsonObject | NotShown]:
        """The answers, in order; a refusal stands in the place of an answer.

        Raises Unchanged where `known` names all of the answers, and AnswerTooLarge where one has more than
        `most_bytes`. The page is made of the answers to the last call.
        """
        tags = _unpacked(self.known, len(questions))
        sent = [
            asyncio.ensure_future(self._send(question, tag, most_bytes))
            for question, tag in zip(questions, tags, strict=True)
        ]
        try:
            found = await asyncio.gather(*sent)  # the first that is too large ends it
        finally:
            for asking in sent:
                asking.cancel()
            await asyncio.gather(*sent, return_exceptions=True)
        if questions and all(isinstance(one, ApiAnswer) and one.status == 304 for one in found):
            raise Unchanged
        for place, one in enumerate(found):
            if isinstance(one, ApiAnswer) and one.status == 304:
                found[place] = await self._send(questions[place], None, most_bytes)
        self.tag = _packed(found)
        self.largest_bytes = max((len(one.body) for one in found if isinstance(one, ApiAnswer)), default=0)
        # In a thread: the answers of large pages have megabytes.
        return await asyncio.to_thread(lambda: [_object(one) if isinstance(one, ApiAnswer) else one for one in found])

    async def _send(self, question: Question, tag: str | None, most_bytes: int | None) -> ApiAnswer | NotShown:
        try:
            return await self.gateway.get(question[0], question[1], self.caller, tag, most_bytes)
        except AnswerTooLarge as error:
            if most_bytes is not None:
                raise
            return NotShown(error.status, str(error))
        except GatewayError as error:
            return NotShown(error.status, str(error))


def refusal(answer: ApiAnswer) -> NotShown:
    """What the server says about a question that it does not answer (RFC 9457)."""
    try:
        said = word(parse_object(answer.body), "detail")
    except ValueError:
        said = ""
    if answer.status == 429 or answer.status >= 500:
        seconds = answer.headers.get("retry-after", "")
        said = f"{said or 'The server is busy'}. Try again{f' in {seconds} s' if seconds.isdecimal() else ''}."
    return NotShown(answer.status, said or f"The server answered {answer.status} and gave no reason.")


def _object(answer: ApiAnswer) -> JsonObject | NotShown:
    if answer.status != 200:
        return refusal(answer)
    try:
        return parse_object(answer.body)
    except ValueError:
        return NotShown(502, "The server's answer cannot be read. Do server and page have the same version?")


def _packed(found: Sequence[ApiAnswer | NotShown]) -> str:
    tags = [one.headers.get("etag", "") if isinstance(one, ApiAnswer) and one.status == 200 else "" for one in found]
    return f'"{base64.urlsafe_b64encode(json.dumps(tags).encode()).decode()}"' if tags and all(tags) else ""


def _unpacked(tag: str, count: int) -> Sequence[str | None]:
    nothing = [None] * count
    if not tag or len(tag) > _MOST_TAG:
        return nothing
    try:
        tags = json.loads(base64.urlsafe_b64decode(tag.removeprefix("W/").strip('"')))
    except (ValueError, binascii.Error, RecursionError):
        return nothing
    good = isinstance(tags, list) and len(tags) == count and all(isinstance(one, str) and _is_tag(one) for one in tags)
    return tags if good else nothing


def _is_tag(text: str) -> bool:
    """Whether it may be sent as a header: it came back from a browser."""
    return 0 < len(text) <= 200 and text.isascii() and text.isprintable()
