"""Credentials outside a cluster: kubeconfigs of the kinds that people have."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

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
