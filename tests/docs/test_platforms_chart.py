"""What the chart renders for clusters unlike ours: IPv6, meshes, OpenShift, private control planes, other labels.

None of it was run on such a cluster (docs/untested-hardware.md).
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest
import yaml
from tests.conftest import Cluster
from tests.docs.test_chart_values import RENDER
from tests.docs.test_workloads_chart import EVERYTHING, SECTIONS, of, rendered, templates

from carbonbudget_operator.api.wire_names import ENFORCEMENT_LABEL
from carbonbudget_operator.api_path import ApiPath
from carbonbudget_operator.cli.installed_enforcement import InstalledEnforcement, installed_enforcement
from carbonbudget_operator.enforcement.enforced_budgets import is_enforced_namespace
from carbonbudget_operator.settings import Settings, parse_settings

pytestmark = [pytest.mark.cluster, pytest.mark.control_plane]  # helm is the cluster's

OPENSHIFT = ("--api-versions", "security.openshift.io/v1")
NO_MESH = {"sidecar.istio.io/inject": "false", "istio.io/dataplane-mode": "none"}
Manifest = dict[str, Any]


def settings_of(objects: list[Manifest]) -> Settings:
    (config,) = [one for one in objects if one["metadata"]["name"] == "carbonbudget-config"]
    return parse_settings(config["data"]["config.yaml"].encode(), "values")


def containers(objects: list[Manifest]) -> dict[str, Manifest]:
    return {name: pod["spec"]["containers"][0] for name, pod in templates(objects).items()}


def test_no_program_of_the_chart_listens_on_one_family_alone(cluster: Cluster) -> None:
    objects = rendered(cluster, "--set", EVERYTHING)
    settings = settings_of(objects)
    listening = [settings.server.listen, settings.controller.listen, settings.admission.listen, settings.web.listen]
    listening += [settings.admission.metrics_listen, settings.web.metrics_listen]
    words = [word for one in containers(objects).values() for word in one["args"]]
    listening += [word.partition("=")[2] for word in words if re.match("--(metrics-)?listen=", word)]
    assert len(listening) == 9
    assert [one for one in listening if not one.startswith(":")] == []


def test_the_kubelet_is_asked_at_the_node_s_address_without_a_url_that_ipv6_would_break(cluster: Cluster) -> None:
    on = ("--set", "agent.podSource=Kubelet")
    agent = containers(rendered(cluster, *on))["carbonbudget-agent"]
    assert "--kubelet-port=10250" in agent["args"]
    assert {"name": "CARBONBUDGET_HOST_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}} in agent["env"]
    by_name = containers(rendered(cluster, *on, "--set", "agent.kubelet.url=https://$(CARBONBUDGET_NODE_NAME):10250"))
    args = by_name["carbonbudget-agent"]["args"]
    assert "--kubelet-url=https://$(CARBONBUDGET_NODE_NAME):10250" in args
    assert not any(word.startswith("--kubelet-port") for word in args)


def test_egress_of_every_pod_is_opened_if_the_values_ask_for_it(cluster: Cluster) -> None:
    objects = rendered(cluster, "--set", EVERYTHING, "--set", "networkPolicy.egress=true")
    opened = {}
    for one in objects:
        if one["kind"] == "NetworkPolicy" and "Egress" in one["spec"]["policyTypes"]:
            assert one["spec"]["egress"] == [{}]
            opened[one["metadata"]["namespace"]] = one["spec"]["podSelector"]["matchLabels"]
    for one in objects:
        if one["kind"] in ("Deployment", "DaemonSet", "Job"):
            labels = one["spec"]["template"]["metadata"]["labels"]
            assert opened[one["metadata"]["namespace"]].items() <= labels.items(), one["metadata"]["name"]
    assert of(rendered(cluster), "NetworkPolicy", "carbonbudget-egress") == []


def test_no_pod_is_in_a_service_mesh_unless_the_values_put_it_there(cluster: Cluster) -> None:
    plain = templates(rendered(cluster, "--set", EVERYTHING))
    assert plain.keys() == SECTIONS.keys()
    for name, pod in plain.items():
        assert pod["metadata"]["labels"].items() >= NO_MESH.items(), name
        assert pod["metadata"]["annotations"]["linkerd.io/inject"] == "disabled", name
    given = {"podLabels": {"istio.io/dataplane-mode": "ambient"}, "podAnnotations": {"linkerd.io/inject": "enabled"}}
    meshed = templates(rendered(cluster, "--set-json", f"server={json.dumps(given)}"))["carbonbudget-server"][
        "metadata"
    ]
    assert meshed["labels"]["istio.io/dataplane-mode"] == "ambient"
    assert meshed["labels"]["sidecar.istio.io/inject"] == "false"
    assert meshed["annotations"]["linkerd.io/inject"] == "enabled"


def test_every_pod_runs_on_linux_nodes_and_where_the_values_say(cluster: Cluster) -> None:
    sections = sorted(set(SECTIONS.values()))
    given = [word for one in sections for word in ("--set-json", f'{one}.nodeSelector={{"pool":"ops"}}')]
    for values, wanted in (((), {}), (given, {"pool": "ops"})):
        pods = templates(rendered(cluster, "--set", EVERYTHING, *values))
        assert pods.keys() == SECTIONS.keys()
        for name, pod in pods.items():
            assert pod["spec"]["nodeSelector"] == {"kubernetes.io/os": "linux"} | wanted, name


def test_without_openshift_nothing_is_of_openshift(cluster: Cluster) -> None:
    text = cluster.run(*RENDER, "--set", EVERYTHING).stdout
    assert "SecurityContextConstraints" not in text
    assert "seLinuxOptions" not in text


def test_on_openshift_every_account_may_use_constraints_that_its_pods_keep(cluster: Cluster) -> None:
    objects = rendered(cluster, *OPENSHIFT, "--set", EVERYTHING)
    allowed = {
        subject["name"]
        for one in objects
        if one["kind"] == "RoleBinding" and one["roleRef"]["name"] == "system:openshift:scc:nonroot-v2"
        for subject in one["subjects"]
        if subject["namespace"] == one["metadata"]["namespace"]
    }
    (ours,) = [one for one in objects if one["kind"] == "SecurityContextConstraints"]
    assert ours["users"] == ["system:serviceaccount:carbonbudget-agent:carbonbudget-agent"]
    for name, pod in templates(objects).items():
        spec = pod["spec"]
        if not name.startswith("carbonbudget-agent"):
            assert spec["serviceAccountName"] in allowed, name
            assert spec["securityContext"]["runAsNonRoot"] is True
            continue
        volumes = {next(kind for kind in one if kind != "name") for one in spec["volumes"]}
        assert volumes <= set(ours["volumes"])
        (container,) = spec["containers"]
        security = container["securityContext"]
        assert security["seLinuxOptions"] == {"type": "spc_t"}
        assert security["capabilities"]["drop"] == ours["requiredDropCapabilities"] == ["ALL"]
        assert security["readOnlyRootFilesystem"] is ours["readOnlyRootFilesystem"] is True
        assert (ours["allowPrivilegedContainer"], ours["allowHostPID"]) == (False, False)


def test_the_release_s_account_has_its_binding_while_the_hook_runs_and_no_longer(cluster: Cluster) -> None:
    for more in ((), ("--api-versions", "kueue.x-k8s.io/v1beta2")):
        objects = rendered(cluster, *OPENSHIFT, *more)
        marks = [one["metadata"]["annotations"] for one in objects if one["metadata"]["name"].endswith("release-scc")]
        accounts = [
            one["metadata"]["annotations"]
            for one in objects
            if (one["kind"], one["metadata"]["name"]) == ("ServiceAccount", "carbonbudget-release")
        ]
        assert marks == accounts
        assert len(marks) == 1


@pytest.mark.parametrize(("key", "field"), [("privileged", "allowPrivilegedContainer"), ("hostPID", "allowHostPID")])
def test_openshift_s_constraints_are_as_wide_as_the_values_of_gpus(cluster: Cluster, key: str, field: str) -> None:
    both = f"agent.gpu.enabled=true,agent.gpu.{key}=true"
    for values, wide in ((both, True), (f"agent.gpu.{key}=true", False)):
        objects = rendered(cluster, *OPENSHIFT, "--set", values)
        (ours,) = [one for one in objects if one["kind"] == "SecurityContextConstraints"]
        assert ours[field] is wide


def test_the_agent_s_selinux_type_is_the_value_s(cluster: Cluster) -> None:
    for more in ((), OPENSHIFT):
        objects = rendered(cluster, *more, "--set", "agent.seLinuxType=own_t")
        security = containers(objects)["carbonbudget-agent"]["securityContext"]
        assert security["seLinuxOptions"] == {"type": "own_t"}


NAMESPACES = [
    "kube-system", "kube-public", "openshift-monitoring", "openshift-", "openshift", "kubeflow", "kube", "team-a",
    "lab", "carbonbudget-system", "carbonbudget-agent", "my-kube-system", "lab-2",
]  # fmt: skip


def seen(objects: list[Manifest]) -> InstalledEnforcement:
    """What `carbonbudget check` reads of the rendered policy, or webhook."""
    kinds = {
        "validatingadmissionpolicies": "ValidatingAdmissionPolicy",
        "validatingwebhookconfigurations": "ValidatingWebhookConfiguration",
    }

    async def read(path: ApiPath) -> tuple[int, Manifest]:
        wanted = (kinds[path.resource], path.name)
        found = [one for one in objects if (one["kind"], one["metadata"]["name"]) == wanted]
        return (200, found[0]) if found else (404, {})

    return asyncio.run(installed_enforcement(read))


@pytest.mark.parametrize("mode", ["Enforce", "Warn"])
@pytest.mark.parametrize("prefixes", [None, [], ["cattle-", "kube-"]])
def test_policy_webhook_and_controller_exempt_the_same_namespaces(
    cluster: Cluster, mode: str, prefixes: list[str] | None
) -> None:
    given = [] if prefixes is None else ["--set-json", f"enforcement.exemptNamespacePrefixes={json.dumps(prefixes)}"]
    objects = rendered(cluster, "--set", f"enforcement.mode={mode},enforcement.exemptNamespaces={{lab}}", *given)
    exempt = frozenset(settings_of(objects).enforcement.exempt_namespaces)
    names = [*NAMESPACES, "cattle-system"]
    by_commands = {name for name in names if seen(objects).leaves_out(name, {})}
    by_controller = {name for name in names if not is_enforced_namespace(name, {}, exempt)}
    assert by_commands == by_controller
    wanted = {"kube-system", "carbonbudget-system", "carbonbudget-agent", "lab"}
    for prefix in ["kube-", "openshift-"] if prefixes is None else prefixes:
        wanted |= {name for name in names if name.startswith(prefix)}
    assert by_controller == wanted
    assert not is_enforced_namespace("team-a", {ENFORCEMENT_LABEL: "off"}, exempt)


def test_every_check_of_work_has_the_same_rule_of_reserved_namespaces(cluster: Cluster) -> None:
    """All that select by exempt names also leave out the prefixes, and with the same expression."""
    objects = rendered(cluster, "--set", "tracking.injector=webhook")
    found = []
    for one in objects:
        rules = one.get("webhooks") or [one["spec"]] if one["kind"].startswith(("Validating", "Mutating")) else []
        for rule in rules:
            selector = rule.get("namespaceSelector") or rule.get("matchConstraints", {}).get("namespaceSelector") or {}
            keys = [each["key"] for each in selector.get("matchExpressions", [])]
            if ENFORCEMENT_LABEL in keys:
                (expression,) = [
                    each["expression"]
                    for each in rule["matchConditions"]
                    if each["name"] == "not-in-a-reserved-namespace"
                ]
                found.append(expression)
    assert len(found) == 7  # four policies, three webhooks
    assert set(found) == {"!['kube-', 'openshift-'].exists(prefix, request.namespace.startsWith(prefix))"}


def test_the_webhook_s_port_is_the_same_everywhere(cluster: Cluster) -> None:
    objects = rendered(cluster, "--set", "admission.port=10250,admission.metricsPort=9100")
    settings = settings_of(objects).admission
    ports = {one["name"]: one["containerPort"] for one in containers(objects)["carbonbudget-admission"]["ports"]}
    (policy,) = of(objects, "NetworkPolicy", "carbonbudget-admission")
    (service,) = of(objects, "Service", "carbonbudget-admission")
    assert (settings.listen, settings.metrics_listen) == (":10250", ":9100")
    assert ports == {"https": 10250, "metrics": 9100}
    assert policy["ingress"][0]["ports"] == [{"protocol": "TCP", "port": 10250}]
    assert service["ports"] == [{"name": "https", "port": 443, "targetPort": "https"}]
    assert "9443" not in yaml.safe_dump(objects)


def test_the_webhook_can_be_in_the_node_s_network(cluster: Cluster) -> None:
    on = ("--set", "admission.hostNetwork=true,admission.port=9500")
    (deployment,) = of(rendered(cluster, *on), "Deployment", "carbonbudget-admission")
    spec = deployment["template"]["spec"]
    assert (spec["hostNetwork"], spec["dnsPolicy"]) == (True, "ClusterFirstWithHostNet")
    assert deployment["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}
    (plain,) = of(rendered(cluster), "Deployment", "carbonbudget-admission")
    assert "hostNetwork" not in plain["template"]["spec"]
    for given, sentence in (
        ("admission.hostNetwork=true,admission.port=10250", "needs other ports than 10250, which is the kubelet's"),
        ("admission.port=8081", "admission.port and admission.metricsPort are the same"),
    ):
        done = cluster.run(*RENDER, "--set", given, check=False)
        assert (done.returncode, sentence in done.stderr) == (1, True), done.stderr


def test_the_server_gets_variables_of_a_proxy_but_none_of_ours(cluster: Cluster) -> None:
    env = [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}, {"name": "NO_PROXY", "value": ".svc,.cluster.local"}]
    found = containers(rendered(cluster, "--set-json", f"server.env={json.dumps(env)}"))
    assert [one for one in found["carbonbudget-server"]["env"] if one in env] == env
    assert all(one not in env for one in found["carbonbudget-controller"]["env"])
    done = cluster.run(*RENDER, "--set-json", 'server.env=[{"name":"CARBONBUDGET_CONFIG","value":"x"}]', check=False)
    assert (done.returncode, "at '/server/env/0/name'" in done.stderr) == (1, True), done.stderr


def test_the_agents_namespace_may_be_one_that_exists(cluster: Cluster) -> None:
    def namespaces(*given: str) -> list[str]:
        return [one["metadata"]["name"] for one in rendered(cluster, *given) if one["kind"] == "Namespace"]

    assert namespaces() == ["carbonbudget-agent"]
    assert namespaces("--set", "agent.createNamespace=false,agent.namespace=agents") == []


@pytest.mark.parametrize(
    ("given", "with_gpu", "without"),
    [
        ("", {"operator": "In", "values": ["true"]}, {"operator": "NotIn", "values": ["true"]}),
        (
            ",agent.gpu.nodeLabelValue=nvidia",
            {"operator": "In", "values": ["nvidia"]},
            {"operator": "NotIn", "values": ["nvidia"]},
        ),
        (",agent.gpu.nodeLabelValue=", {"operator": "Exists"}, {"operator": "DoesNotExist"}),
    ],
)
def test_nodes_with_gpus_have_a_label_with_one_value_or_any(
    cluster: Cluster, given: str, with_gpu: Manifest, without: Manifest
) -> None:
    pods = templates(rendered(cluster, "--set", f"agent.gpu.enabled=true,agent.gpu.nodeLabel=x/gpu{given}"))
    for name, wanted in (("carbonbudget-agent-gpu", with_gpu), ("carbonbudget-agent", without)):
        required = pods[name]["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        for term in required["nodeSelectorTerms"]:
            assert [one for one in term["matchExpressions"] if one["key"] == "x/gpu"] == [{"key": "x/gpu"} | wanted]


def test_the_limits_of_spans_are_the_values_and_by_default_those_of_the_settings(cluster: Cluster) -> None:
    assert settings_of(rendered(cluster)).server.spans == Settings().server.spans
    given = {
        "windowDays": 10, "resultDays": 400, "podsPerNamespace": 0, "recordsPerDay": 2_000_000, "requestsPerMinute": 5,
        "namespaceRequestsPerMinute": 7,
    }  # fmt: skip
    spans = settings_of(rendered(cluster, "--set-json", f"server.spans={json.dumps(given)}")).server.spans
    assert list(spans.model_dump().values()) == list(given.values())
    one = settings_of(rendered(cluster, "--set", "server.spans.resultDays=800")).server.spans
    assert one.model_dump() == Settings().server.spans.model_dump() | {"result_days": 800}
