"""What the webhook takes and how it answers while somebody who reaches its port tries to switch it off.

The process is the real command with 100 budgets; the attack comes from a process of its own. Beside it go good reviews,
25 a second: `p50_ms`, `p99_ms` and `unanswered` (within the second that the API server waits) are of those. `peak_mib`
is the most resident memory of the webhook since its start, `after_mib` what is left two seconds later. Attacker and
good caller have one address here, which is the worst case. The last two rows are of objects that the API server has:
budgets older than the CRD's bounds, and Deployments at etcd's limit while a budget blocks their growth.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import resource
import socket
import ssl
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import aiohttp
from benchmarks.figures import Figures, arguments, rss_mib, show
from benchmarks.webhook_cost import FAR, a_webhook, bodies, budgets
from tests.admission.given import a_budget, an_object

MIB = 2**20
BUDGETS = 100
RATE = 25
_HEAD = b"POST /validate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
Port = int


def _repeated(item: bytes, size: int) -> bytes:
    return b'{"a":[' + item * ((size - 20) // len(item)) + b"1]}"


def padded(size: int) -> bytes:
    """A review whose Job is padded with what JSON writes six bytes for."""
    head = (
        b'{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u","kind":{"group":"batch",'
        b'"version":"v1","kind":"Job"},"resource":{"group":"batch","version":"v1","resource":"jobs"},"name":"train",'
        b'"namespace":"team-0","operation":"CREATE","userInfo":{},"object":{"metadata":{"annotations":{"a":"'
    )
    return head + rb"\u003c" * (size // 6) + b'"}}}}}'


_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
_TLS.check_hostname, _TLS.verify_mode = False, ssl.CERT_NONE


def _tls(port: Port) -> ssl.SSLSocket:
    return _TLS.wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=5))


def posts(body: Callable[[], bytes]) -> Callable[[Port, float], None]:
    """One after the other, as fast as they are answered."""

    def attack(port: Port, seconds: float) -> None:
        text, end = body(), time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                with _tls(port) as sock:
                    sock.settimeout(5)
                    sock.sendall(_HEAD + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(text) + text)
                    while sock.recv(65_536):
                        pass
            except OSError:
                pass

    return attack


def holds(count: int, said: bytes, tls: bool = True) -> Callable[[Port, float], None]:
    """So many connections that say `said` and no more; those that are ended are opened again."""

    def attack(port: Port, seconds: float) -> None:
        end, held = time.monotonic() + seconds, []
        while time.monotonic() < end:
            try:
                sock: socket.socket = _tls(port) if tls else socket.create_connection(("127.0.0.1", port), timeout=5)
                sock.settimeout(1)
                held.append(sock)
                sock.sendall(said)
            except OSError:
                time.sleep(0.001)
            while len(held) >= count:
                held.pop(0).close()

    return attack


ATTACKS: dict[str, Callable[[Port, float], None]] = {
    "none": lambda _, seconds: time.sleep(seconds),
    "lists, 3 MiB": posts(lambda: _repeated(b"[],", 3 * MIB)),
    "maps, 3 MiB": posts(lambda: _repeated(b"{},", 3 * MIB)),
    "maps, 8 MiB": posts(lambda: _repeated(b"{},", 8 * MIB)),
    "numbers, 3 MiB": posts(lambda: _repeated(b"1.5,", 3 * MIB)),
    "maps, just read": posts(lambda: _repeated(b"{},", 400_000)),
    "deep": posts(lambda: b"[" * MIB),
    "padded, 36 MiB": posts(lambda: padded(36 * MIB)),
    "280 half said": holds(280, _HEAD + b"Content-Length: 1000\r\n\r\n{"),
    "1500 half said": holds(1_500, _HEAD + b"Content-Length: 1000\r\n\r\n{"),
    "1500 without TLS": holds(1_500, b"", tls=False),
    "long heads": holds(300, _HEAD + b"".join(b"X-%d: %s\r\n" % (n, b"x" * 4_000) for n in range(12))),
    "bodies held back": holds(300, _HEAD + b"Content-Length: 3000000\r\n\r\n" + b"{" * 2_500_000),
    "12 budgets of 1.3 MB": lambda _, seconds: time.sleep(seconds),
    "40 Deployments of {}": lambda _, seconds: time.sleep(seconds),
}


def large_objects(name: str) -> dict[str, list[dict[str, Any]]]:
    """What the API server has for the attacks that have no caller."""
    if name == "12 budgets of 1.3 MB":
        labels = {"x" * 1_300_000: "y"}
        found = [
            a_budget(f"x{n}", ends=FAR, until=FAR, namespace="x", selector={"matchLabels": labels}) for n in range(12)
        ]
        return {"carbonbudgets": [*budgets(BUDGETS), *found]}
    if name == "40 Deployments of {}":
        one = an_object("Deployment", {"a": "b"}, pod={"imagePullSecrets": [{}] * 700_000})
        blocks = a_budget("x", ends=FAR, until=FAR, namespace="x", enforce={"kinds": ["Deployment"]})
        found = [one | {"metadata": {"name": f"x{n}", "namespace": "x"}} for n in range(40)]
        return {"carbonbudgets": [*budgets(BUDGETS), blocks], "deployments": found}
    return {}


async def good(url: str, context: ssl.SSLContext, until: float, made: list[bytes]) -> tuple[list[float], int]:
    """Seconds of each answer, and how many did not come in time."""
    times: list[float] = []
    unanswered = 0

    async def one(session: aiohttp.ClientSession, body: bytes) -> None:
        nonlocal unanswered
        began = time.perf_counter()
        try:
            async with session.post(f"{url}/validate", data=body, ssl=context) as answer:
                assert (await answer.json())["response"]["allowed"]
            times.append(time.perf_counter() - began)
        except (aiohttp.ClientError, TimeoutError):
            unanswered += 1

    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=1)) as session:
        waiting = []
        while time.monotonic() < until:
            waiting.append(asyncio.create_task(one(session, made[len(waiting) % len(made)])))
            await asyncio.sleep(1 / RATE)
        await asyncio.gather(*waiting)
    return sorted(times), unanswered


def measure(directory: Path, name: str, seconds: float) -> Figures:
    """One webhook under one attack."""
    with a_webhook(directory, budgets(BUDGETS), large_objects(name)) as webhook:
        before = rss_mib(webhook.pid)
        attacker = multiprocessing.get_context("fork").Process(
            target=ATTACKS[name], args=(urlsplit(webhook.url).port, seconds), daemon=True
        )
        attacker.start()
        os.sched_setaffinity(int(attacker.pid or 0), {min(os.sched_getaffinity(0))})
        times, unanswered = asyncio.run(good(webhook.url, webhook.context, time.monotonic() + seconds, bodies(BUDGETS)))
        attacker.join()
        time.sleep(2)
        status = Path(f"/proc/{webhook.pid}/status").read_text()
        peak = next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM"))
        after = rss_mib(webhook.pid)
    return {
        "attack": name,
        "before_mib": before,
        "peak_mib": round(peak, 1),
        "after_mib": after,
        "answered": len(times),
        "unanswered": unanswered,
        "p50_ms": round(times[len(times) // 2] * 1000, 1) if times else "-",
        "p99_ms": round(times[len(times) * 99 // 100] * 1000, 1) if times else "-",
    }


def main() -> None:
    """Each attack against a webhook of its own."""
    given = arguments(__doc__ or "")
    resource.setrlimit(resource.RLIMIT_NOFILE, (4_096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    found: list[Figures] = []
    with tempfile.TemporaryDirectory() as directory:
        for name in ATTACKS:
            found.append(measure(Path(directory), name, 4 if given.quick else 15))
            print(f".. {found[-1]}", file=sys.stderr, flush=True)
    show(found, given.json)


if __name__ == "__main__":
    main()
