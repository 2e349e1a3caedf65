"""Exports in the chart and in the documentation are settings that the server takes."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml
from tests.conftest import ROOT, Cluster

from carbonbudget_operator.settings import Settings, parse_settings

CHART = str(ROOT / "charts/carbonbudget")
RENDER = ("helm", "template", "carbonbudget", CHART, "-n", "carbonbudget-system", "--kube-version", "1.34")
EXAMPLE = ROOT / "examples/19-exports/values.yaml"
PAGE = ROOT / "docs/exports.md"
on_cluster, control_plane = pytest.mark.cluster, pytest.mark.control_plane  # helm is the cluster's


def test_the_exports_of_the_documentation_are_settings() -> None:
    (block,) = [
        yaml.safe_load(text)
        for text in re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
        if "exports:" in text
    ]
    assert block.pop("server") == {"exportsSecret": "carbonbudget-exports"}
    assert [target.kind for target in Settings.model_validate(block).exports] == ["influx", "remoteWrite"]


def rendered(cluster: Cluster, *values: str) -> tuple[Settings, dict[str, Any]]:
    """The server's settings, and its pod."""
    objects = [one for one in yaml.safe_load_all(cluster.run(*RENDER, *values).stdout) if one]
    (config,) = [one for one in objects if one["metadata"]["name"] == "carbonbudget-config"]
    (server,) = [
        one for one in objects if (one["kind"], one["metadata"]["name"]) == ("Deployment", "carbonbudget-server")
    ]
    settings = parse_settings(config["data"]["config.yaml"].encode(), "chart")
    return settings, server["spec"]["template"]["spec"]


@on_cluster
@control_plane
def test_the_example_gives_the_server_what_its_targets_need(cluster: Cluster) -> None:
    settings, pod = rendered(cluster, "-f", str(EXAMPLE))
    (volume,) = [one for one in pod["volumes"] if one["name"] == "exports"]
    assert volume["secret"] == {"secretName": "carbonbudget-exports"}
    (mount,) = [one for one in pod["containers"][0]["volumeMounts"] if one["name"] == "exports"]
    files = [target.token_file or target.password_file for target in settings.exports]
    assert [str(file.parent) for file in files if file] == [mount["mountPath"]] * 2


@on_cluster
@control_plane
@pytest.mark.parametrize("values", [(), ("--set", "exports=null")])
def test_without_exports_the_server_gets_none(cluster: Cluster, values: tuple[str, ...]) -> None:
    settings, pod = rendered(cluster, *values)
    assert settings.exports == []
    assert "exports" not in {volume["name"] for volume in pod["volumes"]}


@on_cluster
@control_plane
@pytest.mark.parametrize(
    ("target", "place"),
    [
        ({"name": "a", "kind": "influx"}, "missing property 'url'"),
        ({"name": "a", "kind": "graphite", "url": "https://x"}, "exports/0/kind"),
        ({"name": "a", "kind": "influx", "url": "x"}, "exports/0/url"),
        ({"name": "a", "kind": "influx", "url": "https://u:p@x"}, "exports/0/url"),
        ({"name": "a", "kind": "influx", "url": "https://x", "token": "t"}, "'token'"),
        ({"name": "A", "kind": "influx", "url": "https://x"}, "exports/0/name"),
    ],
)
def test_a_target_with_which_the_server_would_not_start_is_refused(
    cluster: Cluster, target: dict[str, object], place: str
) -> None:
    done = cluster.run(*RENDER, "--set-json", f"exports={json.dumps([target])}", check=False)
    assert (done.returncode, place in done.stderr) == (1, True), done.stderr


def test_helm_and_the_server_know_the_same_keys() -> None:
    schema = json.loads((ROOT / "charts/carbonbudget/values.schema.json").read_text())
    known = set(schema["properties"]["exports"]["items"]["properties"])
    definitions = Settings.model_json_schema()["$defs"]
    ours = {name for kind in ("InfluxTargetSettings", "RemoteWriteTargetSettings")
            for name in definitions[kind]["properties"]}  # fmt: skip
    assert known == ours
