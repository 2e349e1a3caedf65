"""The chart's web page: an account without any right, and settings by which the command starts."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from tests.conftest import Cluster
from tests.docs.test_chart_values import RENDER

from carbonbudget_operator.settings import parse_settings

pytestmark = [pytest.mark.cluster, pytest.mark.control_plane]  # helm is the cluster's


def rendered(cluster: Cluster, *values: str) -> list[dict[str, Any]]:
    given = [part for value in values for part in ("--set", value)]
    return [one for one in yaml.safe_load_all(cluster.run(*RENDER, *given).stdout) if one]


def of_web(objects: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {one["kind"]: one for one in objects if one["metadata"]["name"] == "carbonbudget-web"}


def settings_of(objects: list[dict[str, Any]]) -> str:
    (found,) = [one for one in objects if one["metadata"]["name"] == "carbonbudget-config"]
    return str(found["data"]["config.yaml"])


def test_there_is_no_page_unless_it_is_switched_on(cluster: Cluster) -> None:
    objects = rendered(cluster)
    assert of_web(objects) == {}
    assert "carbonbudget-web" not in yaml.safe_dump(objects)
    assert not parse_settings(settings_of(objects).encode(), "chart").controller.web_certificate


def test_the_account_of_the_page_has_no_right_and_its_pod_no_token(cluster: Cluster) -> None:
    objects = rendered(cluster, "web.enabled=true")
    found = of_web(objects)
    assert set(found) == {"ServiceAccount", "Service", "PodDisruptionBudget", "Deployment", "NetworkPolicy"}
    bindings = [one for one in objects if one["kind"].endswith("RoleBinding")]
    subjects = [subject["name"] for one in bindings for subject in one["subjects"]]
    assert len(subjects) > 3
    assert "carbonbudget-web" not in subjects
    pod = found["Deployment"]["spec"]["template"]["spec"]
    assert found["ServiceAccount"]["automountServiceAccountToken"] is False
    assert pod["automountServiceAccountToken"] is False
    assert pod["serviceAccountName"] == "carbonbudget-web"
    assert "serviceAccountToken" not in yaml.safe_dump(pod)
    (container,) = pod["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert pod["securityContext"]["runAsNonRoot"] is True


def test_the_settings_are_those_of_the_values(cluster: Cluster) -> None:
    given = ("web.enabled=true", "web.hosts={carbon.example.org}", "web.sessionHours=2", "web.cookieKeysSecret=keys",
             "web.failedSignIns=50", "web.failedSignInsEach=50", "web.replicas=3")  # fmt: skip
    objects = rendered(cluster, *given)
    settings = parse_settings(settings_of(objects).encode(), "chart")
    web = settings.web
    assert web.hosts == [
        "localhost",
        "127.0.0.1",
        "[::1]",
        "carbonbudget-web.carbonbudget-system.svc",
        "carbon.example.org",
    ]
    assert (web.session_seconds, web.failed_sign_ins, web.failed_sign_ins_each) == (7_200, 50, 50)
    assert web.server_url == "https://carbonbudget-server.carbonbudget-system.svc:8443"
    assert settings.controller.web_certificate
    spec = of_web(objects)["Deployment"]["spec"]
    pod = spec["template"]["spec"]
    mounts = {one["mountPath"]: one["name"] for one in pod["containers"][0]["volumeMounts"]}
    volumes = {one["name"]: one for one in pod["volumes"]}
    assert spec["replicas"] == 3
    for path in (web.tls_cert, web.tls_key, web.server_ca, web.cookie_keys):
        assert path is not None
        assert mounts[str(path.parent)] in volumes
    assert volumes["cookie"]["secret"]["secretName"] == "keys"
    assert volumes["tls"]["secret"]["secretName"] == "carbonbudget-web-tls"


def test_several_replicas_need_a_shared_key(cluster: Cluster) -> None:
    done = cluster.run(*RENDER, "--set", "web.enabled=true", "--set", "web.replicas=2", check=False)
    assert (done.returncode, "needs web.cookieKeysSecret" in done.stderr) == (1, True)


@pytest.mark.parametrize(
    "value", ["web.hosts={https://x.example}", "web.hosts={x:443}", "web.sessionHours=0", "web.x=1"]
)
def test_a_value_that_is_none_is_refused_by_helm(cluster: Cluster, value: str) -> None:
    done = cluster.run(*RENDER, "--set", "web.enabled=true", "--set", value, check=False)
    assert (done.returncode, "web" in done.stderr) == (1, True)


def test_the_controller_may_write_the_page_s_certificate_only_where_there_is_a_page(cluster: Cluster) -> None:
    for values, expected in (((), False), (("web.enabled=true",), True)):
        roles = [one for one in rendered(cluster, *values) if one["kind"] == "Role"]
        named = [name for role in roles for rule in role["rules"] for name in rule.get("resourceNames", [])]
        assert ("carbonbudget-web-tls" in named) is expected


def test_the_page_s_port_is_open_to_whom_the_values_name_and_its_metrics_to_prometheus_alone(cluster: Cluster) -> None:
    policy = of_web(rendered(cluster, "web.enabled=true"))["NetworkPolicy"]["spec"]
    assert policy["ingress"] == [{"ports": [{"protocol": "TCP", "port": 8443}]}]
    peer = "[0].namespaceSelector.matchLabels.name"
    given = ("web.enabled=true", f"networkPolicy.webFrom{peer}=ingress", f"networkPolicy.metricsFrom{peer}=prometheus")
    rules = of_web(rendered(cluster, *given))["NetworkPolicy"]["spec"]["ingress"]
    peers = {rule["ports"][0]["port"]: rule["from"][0]["namespaceSelector"]["matchLabels"]["name"] for rule in rules}
    assert peers == {8443: "ingress", 8082: "prometheus"}


def test_without_a_trusted_proxy_nobody_states_a_user(cluster: Cluster) -> None:
    settings = parse_settings(settings_of(rendered(cluster, "web.enabled=true")).encode(), "chart")
    assert (settings.server.request_header_ca, settings.server.request_header_names) == (None, [])
    assert (settings.web.proxy_ca, settings.web.client_cert) == (None, None)


def test_a_trusted_proxy_is_known_to_the_page_and_the_page_to_the_server(cluster: Cluster) -> None:
    given = ("web.enabled=true", "web.trustedProxy.caConfigMap=proxy-ca", "web.trustedProxy.names={proxy}")
    objects = rendered(cluster, *given)
    settings = parse_settings(settings_of(objects).encode(), "chart")
    web, server = settings.web, settings.server
    assert (web.proxy_names, web.client_cert, web.client_key) == (["proxy"], web.tls_cert, web.tls_key)
    assert server.request_header_names == ["carbonbudget-web.carbonbudget-system.svc"]
    (own,) = [
        one for one in objects if one["kind"] == "Deployment" and one["metadata"]["name"] == "carbonbudget-server"
    ]
    for deployment, path in ((of_web(objects)["Deployment"], web.proxy_ca), (own, server.request_header_ca)):
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        assert path is not None
        assert str(path.parent) in {one["mountPath"] for one in container["volumeMounts"]}


def test_a_trusted_proxy_without_a_name_is_refused(cluster: Cluster) -> None:
    given = ("--set", "web.enabled=true", "--set", "web.trustedProxy.caConfigMap=proxy-ca")
    done = cluster.run(*RENDER, *given, check=False)
    assert (done.returncode, "needs web.trustedProxy.names" in done.stderr) == (1, True)
