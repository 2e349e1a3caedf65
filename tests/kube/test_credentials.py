"""Credentials outside a cluster: kubeconfigs of the kinds that people have."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from types import SimpleNamespace

import pytest

from carbonbudget_operator.kube import credentials as module
from carbonbudget_operator.kube.credentials import Credentials, find_credentials

EXEC = """#!/bin/sh
echo '{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "from-a-plugin"}}'
"""


def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user: dict[str, object]) -> Credentials:
    config = {
        "apiVersion": "v1", "kind": "Config", "current-context": "x",
        "clusters": [{"name": "c", "cluster": {"server": "https://192.0.2.1:6443"}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
    }  # fmt: skip
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(config))
    monkeypatch.setenv("KUBECONFIG", str(path))
    return find_credentials()


def test_a_token_in_a_kubeconfig_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    credentials = found(tmp_path, monkeypatch, {"token": "plain"})
    assert (credentials.url, credentials.token()) == ("https://192.0.2.1:6443", "plain")


def test_a_plugins_token_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = tmp_path / "plugin"
    plugin.write_text(EXEC)
    plugin.chmod(plugin.stat().st_mode | stat.S_IXUSR)
    command = {"apiVersion": "client.authentication.k8s.io/v1", "command": str(plugin), "interactiveMode": "Never"}
    assert found(tmp_path, monkeypatch, {"exec": command}).token() == "from-a-plugin"


def test_a_plugin_whose_token_has_expired_is_asked_again_after_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, answer, plugin = [1_000.0], tmp_path / "answer", tmp_path / "plugin"
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def answers(token: str) -> None:
        status = {"token": token, "expirationTimestamp": "2020-01-01T00:00:00Z"}
        credential = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}
        answer.write_text(json.dumps(credential))

    answers("first")
    plugin.write_text(f"#!/bin/sh\ncat {answer}\n")
    plugin.chmod(plugin.stat().st_mode | stat.S_IXUSR)
    command = {"apiVersion": "client.authentication.k8s.io/v1", "command": str(plugin), "interactiveMode": "Never"}
    credentials = found(tmp_path, monkeypatch, {"exec": command})
    assert credentials.token() == "first"
    answers("second")
    now[0] += 0.9
    assert credentials.token() == "first"
    now[0] += 0.2
    assert credentials.token() == "second"
