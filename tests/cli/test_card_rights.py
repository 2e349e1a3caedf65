"""`carbonbudget card` by a server: a token gets the cards of the namespaces that it may read, and no others."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from tests.ledger.reports import HOUR, a_report
from tests.server.server_face import Face, a_face
from typer.testing import CliRunner, Result

from carbonbudget_operator.cli.answer_source_options import SourceOptions
from carbonbudget_operator.cli.answers_from_server import ServerRequest, ServerSource
from carbonbudget_operator.cli.main import app
from carbonbudget_operator.run_labels import MODEL, RUN, STAGE

FROM = ("--from", "2025-11-24T16:00:00Z", "--to", "2025-11-24T18:00:00Z")
SHARER = "user:sharer@*"


class FaceTransport:
    """Sends the command's questions to the tested server, with a token."""

    def __init__(self, face: Face, token: str) -> None:
        self._face, self._token, self._loop = face, token, asyncio.get_running_loop()
        self.asked = 0

    def send(self, question: ServerRequest) -> tuple[int, bytes]:
        """Called in the command's thread."""
        self.asked += 1
        answer = asyncio.run_coroutine_threadsafe(self._send(question), self._loop).result(60)
        return answer.status_code, answer.content

    async def _send(self, question: ServerRequest) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self._token}"}
        return await self._face.client.request(
            question.method, question.path, params=dict(question.params), headers=headers
        )


@pytest.fixture
async def face(tmp_path: Path) -> AsyncIterator[Face]:
    async with a_face(f"sqlite:///{tmp_path}/ledger.db") as made:
        made.api.namespaces = {"team-a", "team-b"}
        for number, namespace in enumerate(("team-a", "team-a", "team-b")):
            labels = {MODEL: "chat", RUN: f"exp-{number}"} | ({STAGE: "training"} if number else {})
            report = a_report(HOUR, f"node-{number}", {f"pod-{number}": 10**12}, labels=labels, namespace=namespace)
            assert (await made.report(report, f"node:node-{number}")).status_code == 200
        yield made


async def card(
    face: Face, monkeypatch: pytest.MonkeyPatch, token: str, namespace: str, *more: str
) -> tuple[Result, int]:
    """The command's result, and how many questions it asked."""
    transport = FaceTransport(face, token)
    monkeypatch.setattr(SourceOptions, "source", lambda *_, **__: ServerSource(transport))
    args = ["card", "-n", namespace, "--model", "chat", *FROM, *more]
    return await asyncio.to_thread(CliRunner().invoke, app, args), transport.asked


async def tokens(face: Face) -> list[str]:
    """A tenant's own, and a read token for its namespace."""
    body = {"namespaces": ["team-a"], "seconds": 86_400, "name": "cards"}
    made = await face.client.post("/v1/tokens", json=body, headers={"Authorization": f"Bearer {SHARER}"})
    return ["user:dev@team-a", made.json()["token"]]


async def test_a_tenants_token_gets_a_card_of_its_own_namespace_only(
    face: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = await card(face, monkeypatch, "user:lead@*", "team-a")
    for token in await tokens(face):
        own, asked = await card(face, monkeypatch, token, "team-a")
        assert (own.exit_code, asked) == (0, 1), own.output
        found = json.loads(own.stdout)
        assert [found[key] for key in ("stages", "total")] == [
            json.loads(whole.stdout)[key] for key in ("stages", "total")
        ]
        assert list(found["stages"]) == ["training", "without-stage"]
        # That a namespace, or a model in it, exists is not told either.
        for namespace in ("team-b", "nowhere"):
            other, _ = await card(face, monkeypatch, token, namespace)
            assert (other.exit_code, other.stdout) == (1, "")
            assert "Traceback" not in other.stderr
            assert namespace in other.stderr


@pytest.mark.parametrize("form", ["csv", "hf", "cyclonedx", "spdx", "sci", "gpai"])
async def test_no_form_of_a_card_shows_another_namespace(
    face: Face, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    for token in await tokens(face):
        other, asked = await card(face, monkeypatch, token, "team-b", "--format", form, "--provider-units", "5 token")
        assert (other.exit_code, other.stdout, asked) == (1, "", 1)


async def test_a_server_without_stages_in_its_answer_makes_no_card(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    earlier = FaceTransport.send

    def send(transport: FaceTransport, question: ServerRequest) -> tuple[int, bytes]:
        status, text = earlier(transport, question)
        value = json.loads(text)
        del value["stages"]
        return status, json.dumps(value).encode()

    monkeypatch.setattr(FaceTransport, "send", send)
    done, _ = await card(face, monkeypatch, "user:lead@*", "team-a")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "Upgrade the server" in done.stderr
