"""People who ask a server, in a process of their own: beside them a benchmark measures what others get.

People, agents and controllers are on other machines than the server. Here all share the processors, so the process that
measures has precedence (`take_precedence`) and the people's gives way, as if each had a machine: what is left is what
the server itself does to one of them for the sake of the others.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import aiohttp
from aiohttp import web

_MEASURING_NICE, _PEOPLE_NICE = -10, 10
_AFTER_REFUSAL_SECONDS = 0.5
_COMING_SECONDS = 2.0  # they come one after the other
_SETTLED_SECONDS = 4.0  # after which what is measured begins: all have connections, which they keep


@dataclass(frozen=True, slots=True)
class Person:
    """What somebody asks, in turn and again from the start: addresses, headers, and a body (None: GET)."""

    places: Sequence[str]
    headers: dict[str, str] = field(default_factory=dict)
    body: str | None = None
    first: int = 0


@dataclass(slots=True)
class PeopleAnswers:
    """Seconds of each answer, how many there were of each status (0: none came), which were no 200, and their bytes."""

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    bytes: int = 0

    def clear(self) -> None:
        """Forget the answers so far."""
        self.bytes = 0
        for found in (self.seconds, self.statuses, self.refused):
            found.clear()


def take_precedence() -> None:
    """The calling thread goes before other processes, where the user may say so."""
    try:
        os.setpriority(os.PRIO_PROCESS, 0, _MEASURING_NICE)
    except PermissionError:
        print(".. not root: the process that measures waits for processors as any other", file=sys.stderr)


@asynccontextmanager
async def people_beside(
    people: Sequence[Person], ca: Path, thinking_seconds: float, stub: tuple[float, int] | None = None
) -> AsyncIterator[PeopleAnswers]:
    """They ask until the block ends; then their answers in it are known. All have begun to ask before it begins.

    `ca` is the server's certificate. `stub`: they ask a server of their own process instead, which answers after so
    many seconds with so many bytes, so that phases with and without their load pay for the same process.
    """
    given = {
        "people": [asdict(person) for person in people],
        "ca": str(ca),
        "thinking_seconds": thinking_seconds,
        "stub": stub,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=2**26,
        preexec_fn=partial(os.setpriority, os.PRIO_PROCESS, 0, _PEOPLE_NICE),
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    answers = PeopleAnswers()
    try:
        process.stdin.write(json.dumps(given).encode() + b"\n")
        await process.stdin.drain()
        if not await process.stdout.readline():
            raise RuntimeError("the process of the people ended before they came: its lines above say why")
        yield answers
        process.stdin.close()
        found = json.loads(await process.stdout.read())
        answers.seconds, answers.bytes = found["seconds"], found["bytes"]
        answers.statuses = Counter({int(status): number for status, number in found["statuses"].items()})
        answers.refused = Counter(found["refused"])
    except BaseException:
        with suppress(ProcessLookupError):
            process.terminate()
        raise
    finally:
        await process.wait()


async def _ask(
    person: Person, comes_in: float, trust: ssl.SSLContext, thinking_seconds: float, answers: PeopleAnswers
) -> None:
    await asyncio.sleep(comes_in)
    connector, timeout = aiohttp.TCPConnector(ssl=trust), aiohttp.ClientTimeout(total=120)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, headers=person.headers) as session:
        turn = person.first
        while True:
            place = person.places[turn % len(person.places)]
            method, turn = ("GET" if person.body is None else "POST"), turn + 1
            began, status = time.perf_counter(), 0
            try:
                async with session.request(method, place, data=person.body, allow_redirects=False) as answer:
                    answers.bytes += len(await answer.read())
                    status = answer.status
            except aiohttp.ClientError:
                pass
            answers.seconds.append(time.perf_counter() - began)
            answers.statuses[status] += 1
            if status != 200:
                answers.refused[f"{status} {place.partition('?')[0]}"] += 1
            await asyncio.sleep(thinking_seconds if status == 200 else max(thinking_seconds, _AFTER_REFUSAL_SECONDS))


async def _stub(seconds: float, size: int) -> str:
    """Serve it; its address."""

    async def answer(_: web.Request) -> web.Response:
        await asyncio.sleep(seconds)
        return web.Response(body=b" " * size)

    app = web.Application()
    app.router.add_route("*", "/", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return f"http://127.0.0.1:{runner.addresses[0][1]}/"


async def main() -> None:
    """Ask from the first line of the standard input on until it ends."""
    given: dict[str, Any] = json.loads(sys.stdin.readline())
    trust = ssl.create_default_context(cafile=given["ca"])
    people = [Person(**person) for person in given["people"]]
    if given["stub"] is not None:
        place = await _stub(*given["stub"])
        people = [Person([place]) for _ in people]
    answers = PeopleAnswers()
    asking = [
        asyncio.create_task(_ask(one, at * _COMING_SECONDS / len(people), trust, given["thinking_seconds"], answers))
        for at, one in enumerate(people)
    ]
    await asyncio.sleep(_SETTLED_SECONDS)
    answers.clear()
    print("asking", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for task in asking:
        task.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    print(json.dumps({name: getattr(answers, name) for name in answers.__slots__}))


if __name__ == "__main__":
    asyncio.run(main())
