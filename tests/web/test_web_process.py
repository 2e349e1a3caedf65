"""`carbonbudget web` as a process: over TLS, with a server over TLS behind it."""

from __future__ import annotations

import asyncio
import signal
import ssl
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import httpx
import pytest
from tests.web.web_process import asked_server, web_process


async def test_a_user_signs_in_and_the_server_gets_the_user_s_token_and_nothing_else(tmp_path: Path) -> None:
    async with asked_server(tmp_path) as server, web_process(tmp_path, server.port) as web:
        assert (await web.browser.get("/grid")).status_code == 401
        assert server.asked == []
        assert (await web.sign_in("token-ann")).status_code == 303
        assert (await web.browser.get("/grid")).status_code == 200
        for request in server.asked:
            assert request.headers["Authorization"] == "Bearer token-ann"
            assert "Cookie" not in request.headers
        async with httpx.AsyncClient(trust_env=False) as scraper:
            shown = await scraper.get(f"http://127.0.0.1:{web.metrics_port}/metrics")
        assert 'carbonbudget_web_sign_ins_total{outcome="signed_in"} 1.0' in shown.text
        assert "ann" not in shown.text.replace("cannot", "")
        assert (await web.browser.get("/metrics")).status_code == 404


async def test_it_ends_with_exit_code_0_and_logs_no_token(tmp_path: Path) -> None:
    async with asked_server(tmp_path) as server, web_process(tmp_path, server.port) as web:
        await web.sign_in("token-ann")
        await web.sign_in("wrong-token")
        web.process.send_signal(signal.SIGTERM)
        _, logged = await asyncio.wait_for(web.process.communicate(), 15)
        assert web.process.returncode == 0, logged.decode()
        assert b"token-ann" not in logged
        assert b"wrong-token" not in logged
        assert b"Traceback" not in logged


async def test_a_server_with_a_certificate_of_another_ca_gets_no_token(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    async with asked_server(tmp_path), asked_server(other) as impostor, web_process(tmp_path, impostor.port) as web:
        answer = await web.sign_in("token-ann")
        assert answer.status_code == 503
        assert "does not answer" in answer.text
        assert impostor.asked == []


async def test_a_form_that_does_not_arrive_is_ended_and_others_are_answered_meanwhile(tmp_path: Path) -> None:
    async with asked_server(tmp_path) as server, web_process(tmp_path, server.port) as web:
        context = ssl.create_default_context(cafile=str(tmp_path / "ca.crt"))
        reader, writer = await asyncio.open_connection("localhost", web.port, ssl=context)
        host = f"localhost:{web.port}"
        writer.write(
            f"POST /signin HTTP/1.1\r\nHost: {host}\r\nOrigin: https://{host}\r\nContent-Length: 100\r\n"
            "Content-Type: application/x-www-form-urlencoded\r\n\r\ntoken=".encode()
        )
        await writer.drain()
        assert (await web.sign_in("token-ann")).status_code == 303
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n"), 20)
        assert answer.startswith(b"HTTP/1.1 408 ")
        writer.transport.abort()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "tls_cert and tls_key are needed"),
        (["--tls-cert", "tls.crt", "--tls-key", "tls.key"], "web.server_ca is needed"),
        (
            ["--tls-cert", "tls.crt", "--tls-key", "tls.key", "--server-ca", "ca.crt", "--cookie-keys", "tls.crt"],
            "has 13 keys: write 1 to 8",
        ),
        (
            ["--tls-cert", "tls.crt", "--tls-key", "tls.key", "--server-ca", "ca.crt", "--cookie-keys", "none"],
            "none cannot be read",
        ),
    ],
)
async def test_what_it_cannot_start_with_is_named_in_one_line(
    tmp_path: Path, arguments: list[str], reason: str
) -> None:
    async with asked_server(tmp_path):
        command = [Path(sys.executable).with_name("carbonbudget"), "web", *arguments]
        done = await asyncio.to_thread(
            subprocess.run, command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
    assert (done.returncode, reason in done.stderr) == (2, True), done.stderr
    assert "Traceback" not in done.stderr


async def test_a_request_that_waits_when_the_process_ends_is_answered_and_leaves_no_stack_in_the_log(
    tmp_path: Path,
) -> None:
    async with asked_server(tmp_path) as server, web_process(tmp_path, server.port) as web:
        await web.sign_in("token-ann")
        asked = asyncio.Event()

        async def silent(_: object) -> NoReturn:
            asked.set()
            await asyncio.Event().wait()
            raise AssertionError

        server.answer = silent
        waiting = asyncio.create_task(web.browser.get("/grid", timeout=30))
        await asyncio.wait_for(asked.wait(), 10)
        web.process.send_signal(signal.SIGTERM)
        answer = await asyncio.wait_for(waiting, 20)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        _, logged = await asyncio.wait_for(web.process.communicate(), 10)
        assert (web.process.returncode, b"Traceback" in logged) == (0, False), logged.decode()
