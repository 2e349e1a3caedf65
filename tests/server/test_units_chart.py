"""Units in the chart and in the documentation are settings that the server takes."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml
from tests.conftest import ROOT, Cluster
from tests.examples.readme import shown_commands

from carbonbudget_operator.settings import Settings, SettingsError, parse_settings
from carbonbudget_operator.unit_settings import UnitSettings
from carbonbudget_operator.units.presets import PRESETS

CHART = str(ROOT / "charts/carbonbudget")
RENDER = ("helm", "template", "carbonbudget", CHART, "-n", "carbonbudget-system", "--kube-version", "1.34")
EXAMPLE = ROOT / "examples/23-units"
PAGE = (ROOT / "docs/units.md").read_text()
on_cluster, control_plane = pytest.mark.cluster, pytest.mark.control_plane  # helm is the cluster's


def documented() -> dict[str, Any]:
    (block,) = [
        yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) if "unitsSecret" in text
    ]
    return dict(block)


def test_the_units_of_the_documentation_are_settings() -> None:
    block = documented()
    assert block.pop("server") == {"unitsSecret": "carbonbudget-units"}
    settings = Settings.model_validate(block).units
    assert settings.url.startswith("https://")
    assert {str(file.parent) for file in (settings.ca, settings.token_file) if file} == {"/etc/carbonbudget/units"}


def test_the_page_has_every_preset_with_its_counter() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", PAGE, re.MULTILINE)

    def written(name: str) -> str:
        preset = PRESETS[name]
        labels = ",".join(f'{label}="{value}"' for label, value in preset.labels)
        return preset.metric + (f"{{{labels}}}" if labels else "")

    assert dict(rows) == {name: written(name) for name in PRESETS}


def test_helm_and_the_server_know_the_same_keys() -> None:
    schema = json.loads((ROOT / "charts/carbonbudget/values.schema.json").read_text())
    ours = Settings.model_json_schema()["$defs"]["UnitSettings"]["properties"]
    theirs = schema["properties"]["units"]["properties"]
    assert set(theirs) == set(ours)
    for name, its in theirs.items():
        bounds = {key: its[key] for key in ("minimum", "maximum") if key in its}
        assert bounds == {key: ours[name][key] for key in ("minimum", "maximum") if key in ours[name]}, name


@pytest.mark.parametrize(
    ("units", "words"),
    [
        ("url: prometheus:9090", "units.url"),
        ("url: 'https://u:p@x'", "because URLs are logged"),
        ("url: 'https://x/api/v1'", "leave out /api/v1"),
        ("url: 'https://x?a=b'", "has a ? or #"),
        ("url: 'https://x:99999'", "is no URL"),
        ("{namespace_label: pod}", "are the same label"),
        ("{namespace_label: 'a-b'}", "namespace_label"),
        ("{url: 'http://p', username: me}", "password_file"),
        ("{url: 'http://p', username: me, password_file: /p, token_file: /t}", "remove one"),
        ("headers: {Authorization: x}", "use token_file"),
        ("headers: {'A b': x}", "HTTP does not allow"),
        ('headers: {A: "x\\ny"}', "HTTP does not allow"),
        ("most_units_per_hour: 10000000000000", "most_units_per_hour"),
    ],
)
def test_settings_that_cannot_be_are_refused_with_a_sentence(units: str, words: str) -> None:
    given = units if units.startswith("{") else f"{{{units}}}"
    with pytest.raises(SettingsError) as refused:
        parse_settings(f"units: {given}".encode(), "config.yaml")
    assert words in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def rendered(cluster: Cluster, *values: str) -> tuple[UnitSettings, dict[str, Any]]:
    """The server's settings of units, and its pod."""
    objects = [one for one in yaml.safe_load_all(cluster.run(*RENDER, *values).stdout) if one]
    (config,) = [one for one in objects if one["metadata"]["name"] == "carbonbudget-config"]
    (server,) = [
        one for one in objects if (one["kind"], one["metadata"]["name"]) == ("Deployment", "carbonbudget-server")
    ]
    settings = parse_settings(config["data"]["config.yaml"].encode(), "chart").units
    return settings, server["spec"]["template"]["spec"]


@on_cluster
@control_plane
def test_the_example_gives_the_server_what_its_units_need(cluster: Cluster) -> None:
    settings, pod = rendered(cluster, "-f", str(EXAMPLE / "values.yaml"))
    (volume,) = [one for one in pod["volumes"] if one["name"] == "units"]
    (mount,) = [one for one in pod["containers"][0]["volumeMounts"] if one["name"] == "units"]
    assert settings.url.startswith("https://")
    shown = [one.line for one in shown_commands(EXAMPLE / "README.md") if "create secret" in one.line]
    assert shown == [
        f"kubectl create secret generic {volume['secret']['secretName']} -n carbonbudget-system "
        + " ".join(f"--from-file={file.name}" for file in (settings.ca, settings.token_file) if file)
    ]
    assert {str(file.parent) for file in (settings.ca, settings.token_file) if file} == {mount["mountPath"]}


def test_the_example_scrapes_the_pods_of_the_target_example_and_believes_no_label_of_theirs() -> None:
    monitor = yaml.safe_load((EXAMPLE / "podmonitor.yaml").read_text())
    target = yaml.safe_load((ROOT / "examples/24-target/target.yaml").read_text())
    assert monitor["spec"]["selector"] == target["spec"]["selector"]
    assert [one["honorLabels"] for one in monitor["spec"]["podMetricsEndpoints"]] == [False]


@on_cluster
@control_plane
def test_the_server_gets_what_the_chart_says_and_mounts_its_secret(cluster: Cluster) -> None:
    values = (
        "--set-json",
        f"units={json.dumps(documented()['units'])}",
        "--set",
        "server.unitsSecret=carbonbudget-units",
    )
    for given, has in ((values, True), ((), False), (("--set", "units=null"), False)):
        settings, pod = rendered(cluster, *given)
        mounts = {one["name"]: one["mountPath"] for one in pod["containers"][0]["volumeMounts"]}
        assert bool(settings.url) is has
        assert mounts.get("units") == ("/etc/carbonbudget/units" if has else None)
        assert ("units" in {one["name"] for one in pod["volumes"]}) is has
