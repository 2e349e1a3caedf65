"""Every command with a cluster or a server that cannot be asked: it ends with a sentence."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import yaml
from tests.cli.api_server import Asked, Said, api_server, kubeconfig, status
from tests.cli.bad_world import ALONE, FIGURES, PLUGIN, Run, World, assert_refused
from tests.cli.bad_world import run as run
from tests.cli.bad_world import world as world

BAD_KUBECONFIGS = [("none", ""), ("directory", ""), ("unreadable", ""), ("text", ""), ("scalar", ""), ("list", "")]
KUBE_USERS = [*[("carbonbudget", name, args) for name, args in [*FIGURES.items(), ("check", ALONE["check"])]],
              *[("kubectl carbon", name, args) for name, args in PLUGIN.items()]]  # fmt: skip


@pytest.mark.parametrize(("file", "sentence"), BAD_KUBECONFIGS)
@pytest.mark.parametrize(("program", "name", "args"), KUBE_USERS, ids=[name for _, name, _ in KUBE_USERS])
def test_a_kubeconfig_that_is_none(
    run: Run, program: str, name: str, args: list[str], file: str, sentence: str
) -> None:
    assert_refused(run([*args, "--kubeconfig", f"{{{file}}}"], program), "no Kubernetes credentials")


@pytest.mark.parametrize(("program", "name", "args"), KUBE_USERS, ids=[name for _, name, _ in KUBE_USERS])
def test_nothing_that_names_a_cluster_or_a_ledger(run: Run, program: str, name: str, args: list[str]) -> None:
    done = run(args, program)
    assert_refused(done, "no Kubernetes credentials")
    if name in FIGURES:
        assert "--ledger" in done.err


@pytest.mark.parametrize(("program", "name", "args"), KUBE_USERS, ids=[name for _, name, _ in KUBE_USERS])
def test_a_context_that_is_none(run: Run, world: World, program: str, name: str, args: list[str]) -> None:
    kubeconfig(world.directory, "http://127.0.0.1:1")
    assert_refused(run([*args, "--kubeconfig", "{kubeconfig}", "--context", "of-nobody"], program), "of-nobody")


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "https://127.0.0.1:1", "https://no such host", "nonsense"])
@pytest.mark.parametrize(("program", "name", "args"), KUBE_USERS, ids=[name for _, name, _ in KUBE_USERS])
def test_an_api_server_that_cannot_be_reached(
    run: Run, world: World, program: str, name: str, args: list[str], url: str
) -> None:
    kubeconfig(world.directory, url)
    done = run([*args, "--kubeconfig", "{kubeconfig}", "--timeout", "5"], program)
    if name == "check":  # its answer is a verdict
        assert (done.code, "unanswerable" in done.out) == (5, True)
        return
    assert_refused(done)


@pytest.mark.parametrize(
    ("refusal", "sentence"),
    [
        (status(401, "Unauthorized", "Unauthorized"), "who you are"),
        (status(403, "Forbidden", 'User "u" cannot do it'), "right"),
        (Said(raw=b"<html>", status=502), ""),
        (Said(raw=b"[" * 100_000), ""),
        (Said(raw=b"null"), ""),
        (Said({"kind": "Status", "status": 7, "message": {"a": 1}}, 500), ""),
    ],
    ids=["401", "403", "a proxy's page", "nested", "null", "a strange Status"],
)
@pytest.mark.parametrize(("program", "name", "args"), KUBE_USERS, ids=[name for _, name, _ in KUBE_USERS])
def test_an_api_server_that_refuses_or_is_none(
    run: Run, world: World, program: str, name: str, args: list[str], refusal: Said, sentence: str
) -> None:
    def answer(_: Asked) -> Said:
        return refusal

    with api_server(answer, world.directory):
        done = run([*args, "--kubeconfig", "{kubeconfig}"], program)
    if name == "check":
        assert done.code == 5
        assert "Traceback" not in done.out + done.err
        return
    assert_refused(done, sentence)


@contextmanager
def silent() -> Iterator[int]:
    """A port that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        held: list[socket.socket] = []

        def take() -> None:
            try:
                while True:
                    held.append(listening.accept()[0])
            except OSError:
                pass

        thread = threading.Thread(target=take)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()
            for one in held:
                one.close()


@pytest.mark.parametrize("name", FIGURES)
def test_a_server_that_never_answers_is_given_up_after_the_timeout(run: Run, name: str) -> None:
    with silent() as port:
        done = run([*FIGURES[name], "--server-url", f"http://127.0.0.1:{port}", "--timeout", "0.3"])
    assert_refused(done, "cannot be asked")


_CLOSURE = {"period": "2025-01", "sha256": "d", "report": "{}"}


@pytest.mark.parametrize("name", [name for name in FIGURES if name != "report export"])
@pytest.mark.parametrize("more", [{}, {"closed_at": "x"}, {"closed_at": None}, {"settings": {"a": 1}}])
def test_a_server_of_another_version(run: Run, world: World, name: str, more: dict[str, object]) -> None:
    """What it says is none of the answers that the command knows."""
    said = _CLOSURE | {"items": [_CLOSURE | more], "total": {}, "rows": [{}], "namespaces": {}} | more

    def answer(_: Asked) -> Said:
        return Said(said)

    with api_server(answer, world.directory) as config:
        url = json.loads(config.read_text())["clusters"][0]["cluster"]["server"]
        done = run([*FIGURES[name], "--server-url", url])
    assert done.code not in (0, None)
    assert "Traceback" not in done.err
    assert "are versions mixed?" in done.err or "is that the carbonbudget server?" in done.err, done.err


@pytest.mark.parametrize("name", FIGURES)
def test_a_file_that_holds_no_token_is_not_shown(run: Run, world: World, name: str) -> None:
    """It may be a private key, given by mistake."""
    (world.directory / "key").write_text("-----BEGIN KEY-----\nAAAAtopsecret\n-----END KEY-----\n")
    token_file = str(world.directory / "key")
    done = run([*FIGURES[name], "--server-url", "http://127.0.0.1:1", "--server-token-file", token_file])
    assert_refused(done, "holds no token")
    assert "topsecret" not in done.out + done.err


@pytest.mark.parametrize("name", FIGURES)
def test_a_token_of_the_kubeconfig_that_is_none_is_not_shown(run: Run, world: World, name: str) -> None:
    text = kubeconfig(world.directory, "http://127.0.0.1:1").read_text()
    document = yaml.safe_load(text)
    document["users"][0]["user"] = {"token": "AAAA\ntopsecret"}
    (world.directory / "config").write_text(yaml.safe_dump(document))
    done = run([*FIGURES[name], "--kubeconfig", str(world.directory / "config")])
    assert_refused(done, "token")
    assert "topsecret" not in done.out + done.err


@pytest.mark.parametrize(
    "more",
    [
        ["--server-url", "https://127.0.0.1:1"], ["--server-url", "nonsense"], ["--server-url", "ftp://h"],
        ["--server-url", "https://127.0.0.1:1", "--server-ca", "{none}"],
        ["--server-url", "https://127.0.0.1:1", "--server-ca", "{text}"],
        ["--server-url", "https://127.0.0.1:1", "--server-ca", "{directory}"],
        ["--server-url", "https://127.0.0.1:1", "--server-token-file", "{none}"],
        ["--server-url", "https://127.0.0.1:1", "--server-token-file", "{binary}"],
        ["--server-url", "https://127.0.0.1:1", "--server-token-file", "{unreadable}"],
        ["--server-url", "https://127.0.0.1:1", "--ledger", "sqlite:///{ledger}"],
        ["--server-url", "https://127.0.0.1:1", "--config", "{config}"],
        ["--ledger", "sqlite:///{ledger}", "--context", "x"],
        ["--timeout", "0"], ["--timeout", "-1"], ["--timeout", "soon"],
        ["--server-namespace", "No/Name", "--kubeconfig", "{kubeconfig}"],
    ],
    ids=" ".join,
)  # fmt: skip
@pytest.mark.parametrize("name", FIGURES)
def test_options_of_a_server_that_cannot_be_right(run: Run, world: World, name: str, more: list[str]) -> None:
    kubeconfig(world.directory, "http://127.0.0.1:1")
    assert_refused(run([*FIGURES[name], *more]))
