"""The chart's proxy for OpenCost: off by default, closed to everybody, without rights, and with its own token alone."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from tests.conftest import ROOT, Cluster
from tests.e2e.conftest import CHART
from typer.main import get_command

from carbonbudget_operator.cli.main import app

pytestmark = [pytest.mark.cluster, pytest.mark.control_plane]  # helm is the cluster's

EXAMPLE = ROOT / "examples" / "17-opencost"
ON = ("--set", "server.opencost.proxy.enabled=true")


def rendered(cluster: Cluster, *options: str) -> dict[str, Any]:
    """The objects that are about OpenCost, by kind."""
    shown = cluster.run(
        "helm", "template", "carbonbudget", CHART, "-n", "carbonbudget-system", "--kube-version", "1.34", *options
    ).stdout
    objects = [one for one in yaml.safe_load_all(shown) if one]
    return {one["kind"]: one for one in objects if one["metadata"]["name"] == "carbonbudget-opencost"}


def test_it_is_off_by_default(cluster: Cluster) -> None:
    assert rendered(cluster) == {}


def test_it_is_closed_to_everybody_until_somebody_is_named(cluster: Cluster) -> None:
    assert rendered(cluster, *ON)["NetworkPolicy"]["spec"]["ingress"] == []
    opened = rendered(cluster, *ON, "--set", "server.opencost.proxy.from=everybody")["NetworkPolicy"]["spec"]["ingress"]
    assert opened == [{"ports": [{"protocol": "TCP", "port": 9003}]}]
    assert rendered(cluster, *ON, "--set", "server.opencost.proxy.from=null")["NetworkPolicy"]["spec"]["ingress"] == []


def test_its_account_has_no_right_and_no_token_for_the_api_server(cluster: Cluster) -> None:
    found = rendered(cluster, *ON)
    assert set(found) == {"ServiceAccount", "Service", "Deployment", "NetworkPolicy"}
    pod = found["Deployment"]["spec"]["template"]["spec"]
    assert found["ServiceAccount"]["automountServiceAccountToken"] is pod["automountServiceAccountToken"] is False
    tokens = [
        source["serviceAccountToken"]["audience"]
        for volume in pod["volumes"]
        for source in volume.get("projected", {}).get("sources", ())
    ]
    assert tokens == ["carbonbudget-server"]
    assert pod["securityContext"]["runAsNonRoot"] is True


def test_its_arguments_are_options_of_the_command(cluster: Cluster) -> None:
    (container,) = rendered(cluster, *ON)["Deployment"]["spec"]["template"]["spec"]["containers"]
    command = get_command(app).commands[container["args"][0]]  # type: ignore[attr-defined] # it is a group
    options = {name for parameter in command.params for name in parameter.opts}
    assert {argument.partition("=")[0] for argument in container["args"][1:]} <= options


def test_headlamps_plugin_finds_its_service(cluster: Cluster) -> None:
    """By opencost/src/request.tsx of headlamp-k8s/plugins: the label, and the name of a port."""
    service = rendered(cluster, *ON)["Service"]
    assert service["metadata"]["labels"]["app.kubernetes.io/name"] == "opencost"
    assert [port["name"] for port in service["spec"]["ports"]] == ["http-ui"]


def test_the_example_opens_the_proxy_to_opencost_ui_alone(cluster: Cluster) -> None:
    found = rendered(cluster, "-f", str(EXAMPLE / "values.yaml"))
    (rule,) = found["NetworkPolicy"]["spec"]["ingress"]
    page = next(yaml.safe_load_all((EXAMPLE / "opencost-ui.yaml").read_text(encoding="utf-8")))
    names = {peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] for peer in rule["from"]}
    assert names == {page["metadata"]["namespace"]}
    (port,) = found["Service"]["spec"]["ports"]
    env = {one["name"]: one["value"] for one in page["spec"]["template"]["spec"]["containers"][0]["env"]}
    place = found["Service"]["metadata"]
    assert env["API_SERVER"] == f"{place['name']}.{place['namespace']}.svc"
    assert env["API_PORT"] == str(port["port"])
    _, binding = yaml.safe_load_all((EXAMPLE / "rights.yaml").read_text(encoding="utf-8"))
    account = found["ServiceAccount"]["metadata"]
    assert [(one["namespace"], one["name"]) for one in binding["subjects"]] == [(account["namespace"], account["name"])]
