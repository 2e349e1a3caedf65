"""The tests' own control plane reads the cluster's kubeconfig as kubectl leaves it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from tests.control_plane import pointed

CONFIG = {"clusters": [{"name": "c", "cluster": {"server": "https://192.0.2.1:6443"}}], "current-context": "c"}


@pytest.mark.parametrize("write", [json.dumps, yaml.safe_dump])
def test_json_and_yaml_are_pointed_to_another_server(tmp_path: Path, write: object) -> None:
    """hack/cluster writes JSON; `kubectl config set-context` writes YAML in its place."""
    assert callable(write)
    kubeconfig, directory = tmp_path / "kubeconfig", tmp_path / "made"
    kubeconfig.write_text(write(CONFIG))
    directory.mkdir()
    made = yaml.safe_load(pointed(kubeconfig, "https://127.0.0.1:1", directory).read_text())
    assert made == {**CONFIG, "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}]}
