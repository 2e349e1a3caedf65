"""Requests with many questions: each is bounded, and a question that the server refuses fails alone.

The questions of one namespace must not be why those of all others have no answer. So no request is larger than the
server reads, and one that is refused all the same is divided until the question that it is refused for is alone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Protocol, TypeVar

from pydantic import BaseModel

from carbonbudget_operator.server_client import QuestionRefused, UnknownField

MOST_BYTES: Final = 2 * 2**20  # of one request: a quarter of what the server reads by default
_MOST_DIVISIONS: Final = 64  # in one evaluation: a server that refuses all is not asked for each question
# The server's sentence about several questions may name what is in another namespace's.
NOT_ASKED_ALONE: Final = (
    "too many questions are refused for each to be asked alone, and this one was among them: see whether controller "
    "and server have one version"
)
_UPDATE_SERVER: Final = (
    "the server is of an earlier version than the controller, and does not know a field of this question: update the "
    "server"
)


class _Question(Protocol):
    """What has an id by which the answer is found, and can be dumped as it is sent."""

    @property
    def id(self) -> str:
        """The question's id."""

    def model_dump(self, *, by_alias: bool) -> dict[str, Any]:
        """As it is sent; a field that is not sent is not in it."""


_Q = TypeVar("_Q", bound=_Question)
_A = TypeVar("_A")
_M = TypeVar("_M", bound=BaseModel)


def question_bytes(question: BaseModel) -> int:
    """What it adds to a request."""
    return len(question.model_dump_json(by_alias=True).encode()) + 1


def refused_sentence(reason: str) -> str:
    """What the status of the object says whose question is refused."""
    return f"the server does not answer the question about this object, and the last figures stand: {reason}"


@dataclass(slots=True)
class AskedApart(Generic[_A]):
    """Answers to parts of one request, in the order of its questions, and the sentences of the refused by id."""

    answers: list[_A] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)


class BatchQuestions:
    """Asks batches in one evaluation. `_MOST_DIVISIONS` holds for all of them together."""

    def __init__(self) -> None:
        self._divisions = _MOST_DIVISIONS

    async def ask(self, batch: Sequence[_Q], send: Callable[[Sequence[_Q]], Awaitable[_A]]) -> AskedApart[_A]:
        """The answers to a batch. Raises ServerUnavailable: there is no answer, but it is not refused."""
        made: AskedApart[_A] = AskedApart()
        waiting: list[Sequence[_Q]] = [batch]
        while waiting:
            part = waiting.pop()
            try:
                made.answers.append(await send(part))
            except UnknownField as error:
                if not part:
                    raise
                # All questions with the field are refused for it, and only they: dividing would find nothing else.
                having = [question for question in part if _has(question, error.field)] or part
                made.refused |= {question.id: _UPDATE_SERVER for question in having}
                if rest := [question for question in part if question.id not in made.refused]:
                    waiting.append(rest)
            except QuestionRefused as error:
                if not part:
                    raise
                if len(part) == 1 or not self._divisions:
                    reason = str(error) if len(part) == 1 else NOT_ASKED_ALONE
                    made.refused |= {question.id: reason for question in part}
                    continue
                self._divisions -= 1
                half = len(part) // 2
                waiting += [part[half:], part[:half]]
        return made


def _has(question: _Question, field: str) -> bool:
    """Whether a question has the field, whose path begins with the list of questions and a number in it."""
    path = field.split(".")[2:]
    found: object = question.model_dump(by_alias=True)
    for key in path:
        if isinstance(found, dict) and key in found:
            found = found[key]
        elif isinstance(found, list) and key.isdecimal() and int(key) < len(found):
            found = found[int(key)]
        else:
            return False
    return bool(path)


def batches_by_size(questions: Iterable[_M], most: int) -> list[list[_M]]:
    """The questions in their order, in requests of at most `most` and of `MOST_BYTES`; one may be larger alone."""
    batches: list[list[_M]] = []
    size = 0
    for question in questions:
        its = question_bytes(question)
        if not batches or len(batches[-1]) >= most or size + its > MOST_BYTES:
            batches.append([])
            size = 0
        batches[-1].append(question)
        size += its
    return batches
