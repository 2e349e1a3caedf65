"""Whom controller and webhook believe to be the server: whoever the cluster's own CA says, and nobody else."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable
from pathlib import Path

import pytest

from carbonbudget_operator.controller.certificates import make_ca
from carbonbudget_operator.server_client import ServerClient, ServerUnavailable
from carbonbudget_operator.tls import trust_in

CA = make_ca(dt.datetime.now(dt.UTC)).certificate
NOBODY = "the server's CA is not available yet"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return tmp_path / "ca.crt"


async def refused(trust: Callable[[], str | None], token_file: Path | None = None) -> str:
    """Why there is no projection from a server that nobody could reach anyway."""
    with pytest.raises(ServerUnavailable) as error:
        await ServerClient("https://127.0.0.1:1", token_file, trust).projection()
    return str(error.value)


@pytest.mark.parametrize("content", [None, b"", b"\n \n", "é".encode("latin-1"), "é".encode(), b"\xff\xfe"])
def test_a_bundle_that_is_absent_empty_or_no_text_is_none_and_the_systems_cas_are_not_taken_for_it(
    bundle: Path, content: bytes | None
) -> None:
    if content is not None:
        bundle.write_bytes(content)
    assert trust_in(bundle)() is None


@pytest.mark.parametrize("given", ["", " \n", None])
async def test_an_empty_bundle_from_wherever_trusts_nobody(given: str | None) -> None:
    assert await refused(lambda: given) == NOBODY


@pytest.mark.parametrize(
    "given", ["no certificate", "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n", "é"]
)
async def test_a_bundle_that_is_none_is_a_sentence_and_no_failure(given: str) -> None:
    assert await refused(lambda: given) == "the server's CA bundle cannot be read: is it PEM?"


def test_a_bundle_is_read_each_time_as_it_is_renewed(bundle: Path) -> None:
    trust = trust_in(bundle)
    assert trust() is None
    bundle.write_text("one")
    assert trust() == "one"
    bundle.write_text("two")
    assert trust() == "two"


@pytest.mark.parametrize("content", [b"\xff\xfe", b"to\nken", None])
async def test_a_token_that_cannot_be_sent_is_no_answer_and_no_failure(tmp_path: Path, content: bytes | None) -> None:
    token = tmp_path / "token"
    if content is not None:
        await asyncio.to_thread(token.write_bytes, content)
    assert "the server does not answer" in await refused(lambda: CA, token)


async def test_the_reason_is_the_same_for_each_process_and_names_no_object_of_python() -> None:
    said = await refused(lambda: CA)
    assert said.startswith("the server does not answer: Cannot connect to host 127.0.0.1:1 [")
    assert "ssl" not in said
    assert "0x" not in said
