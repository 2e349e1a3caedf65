"""Reports that no agent sends: mutated, cut off, of the wrong type, far too deep; the same ones for the same seed."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from tests.ledger.reports import HOUR, a_report

from carbonbudget_core.node_report_json import encode_report

NASTY: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**53 + 1, 2**62, 2**63 - 1, 2**63, -(2**63), 2**64, 10**30, 0.5, 1e308, -0.0,
    "", " ", "\0", "a\0b", "a\nb", "\u202e", "\ud7ff", "\U0001f4a9", "'; DROP TABLE pod; --", "../../etc/passwd",
    "x" * 600, "x" * 100_000, [], {}, [[]], [None], {"": ""}, {"\0": "\0"}, "1", "NaN", "node-1",
]  # fmt: skip
ENCODINGS = ["", "", "", "gzip", "br", "zstd", "identity", "\u00ff"]
TOKENS = ["node:node-1"] * 6 + ["node:node-2", "node:", "user:eve@*", "junk", "", "node:foreign", "x" * 5_000]


@dataclass
class Hostile:
    """One request."""

    body: bytes
    token: str = "node:node-1"
    headers: dict[str, str] = field(default_factory=dict)


def hostile(seed: int, count: int) -> Iterator[Hostile]:
    """So many of them."""
    chance = random.Random(seed)
    for _ in range(count):
        yield _one(chance)


def _one(chance: random.Random) -> Hostile:
    value = json.loads(encode_report(a_report(HOUR, pods={"pod-1": 300, "pod-2": 7})))
    for _ in range(chance.choice([1, 1, 1, 2, 4])):
        _spoil(chance, value)
    body = json.dumps(value).encode("utf-8", "surrogatepass")
    how = chance.randrange(12)
    if how == 0:
        body = body[: chance.randrange(len(body))]
    elif how == 1:
        at = chance.randrange(len(body))
        body = body[:at] + bytes([chance.randrange(256)]) + body[at + 1 :]
    elif how == 2:
        body = chance.randbytes(chance.randrange(2_000))
    elif how == 3:
        body = chance.choice([b"[", b'{"a":', b'"', b"[1,"]) * chance.choice([1, 1_000, 50_000])
    elif how == 4:
        body = body.replace(b'"version": 1', b'"version": 1, "version": 2')
    encoding = chance.choice(ENCODINGS)
    if encoding == "gzip" and chance.random() < 0.7:
        body = gzip.compress(body, 1)
        if chance.random() < 0.3:
            body = body[: chance.randrange(len(body))]
    headers = {"Content-Encoding": encoding} if encoding.isascii() and encoding else {}
    return Hostile(body, chance.choice(TOKENS), headers)


def _spoil(chance: random.Random, value: Any) -> None:
    """Change one place somewhere in it."""
    places = list(_places(value))
    parent, key = chance.choice(places)
    how = chance.randrange(5)
    if how == 0:
        del parent[key]
    elif how == 1 and isinstance(parent, list):
        parent.extend([parent[key]] * chance.choice([1, 3, 300]))
    elif how == 2 and isinstance(parent, dict):
        parent[chance.choice(["", "x", "constructor", "\0", "version"])] = deepcopy(chance.choice(NASTY))
    elif how == 3 and isinstance(parent[key], int):
        parent[key] = parent[key] * chance.choice([-1, 10, 10**9, 10**18]) + chance.choice([0, 1, -1])
    else:
        parent[key] = deepcopy(chance.choice(NASTY))


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    keys = value.keys() if isinstance(value, dict) else range(len(value))
    for key in keys:
        yield value, key
        if isinstance(value[key], dict | list):
            yield from _places(value[key])
