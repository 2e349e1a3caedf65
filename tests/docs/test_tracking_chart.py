"""The chart's tracking.injector: which objects each value makes, and that none of them brings a right."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from tests.conftest import Cluster
from tests.docs.test_chart_values import RENDER

from carbonbudget_operator.admission import tracking_patch
from carbonbudget_operator.settings import parse_settings

pytestmark = [pytest.mark.cluster, pytest.mark.control_plane]  # helm is the cluster's

V1, BETA = (
    f"--api-versions=admissionregistration.k8s.io/{version}/MutatingAdmissionPolicy" for version in ("v1", "v1beta1")
)
KINDS = ("MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding", "MutatingWebhookConfiguration")
OWN = {
    "key": "kubernetes.io/metadata.name",
    "operator": "NotIn",
    "values": ["kube-system", "carbonbudget-system", "carbonbudget-agent"],
}


def rendered(cluster: Cluster, *given: str) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all(cluster.run(*RENDER, *given).stdout) if one]


def mutating(objects: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {one["kind"]: one for one in objects if one["kind"] in KINDS}


def tracks_pods(objects: list[dict[str, Any]]) -> bool:
    (config,) = [one for one in objects if one["metadata"]["name"] == "carbonbudget-config"]
    return parse_settings(config["data"]["config.yaml"].encode(), "chart").admission.track_pods


@pytest.mark.parametrize("given", [(), ("--set-json", "tracking.injector=false"), ("--set", "tracking.injector=off")])
def test_nothing_is_injected_unless_it_is_switched_on(cluster: Cluster, given: tuple[str, ...]) -> None:
    objects = rendered(cluster, *given, V1)
    found = mutating(objects)
    assert list(found) == ["MutatingWebhookConfiguration"]
    assert [hook["name"] for hook in found["MutatingWebhookConfiguration"]["webhooks"]] == ["accounts.carbonbudget.dev"]
    assert not tracks_pods(objects)


@pytest.mark.parametrize(("served", "version"), [((V1, BETA), "v1"), ((V1,), "v1"), ((BETA,), "v1beta1")])
def test_the_policy_has_the_newest_version_that_the_api_server_serves(
    cluster: Cluster, served: tuple[str, ...], version: str
) -> None:
    objects = rendered(cluster, "--set", "tracking.injector=policy", *served)
    found = mutating(objects)
    for kind in KINDS[:2]:
        assert found[kind]["apiVersion"] == f"admissionregistration.k8s.io/{version}"
    assert found[KINDS[0]]["spec"]["failurePolicy"] == "Ignore"
    assert found[KINDS[1]]["spec"]["paramRef"] == {
        "name": "carbonbudget-ca", "namespace": "carbonbudget-system", "parameterNotFoundAction": "Allow"
    }  # fmt: skip
    assert not tracks_pods(objects)


def test_the_policy_is_refused_in_a_sentence_where_the_api_server_has_none(cluster: Cluster) -> None:
    done = cluster.run(*RENDER, "--set", "tracking.injector=policy", check=False)
    assert done.returncode == 1
    assert "does not serve MutatingAdmissionPolicy" in done.stderr
    assert "use tracking.injector=webhook" in done.stderr


@pytest.mark.parametrize("mode", ["Enforce", "Observe"])
def test_the_webhook_fails_open_after_a_second_and_gets_labelled_pods_alone(cluster: Cluster, mode: str) -> None:
    objects = rendered(
        cluster, "--set", f"tracking.injector=webhook,enforcement.mode={mode},admission.timeoutSeconds=9"
    )
    hooks = {hook["name"]: hook for hook in mutating(objects)["MutatingWebhookConfiguration"]["webhooks"]}
    hook = hooks["tracking.carbonbudget.dev"]
    assert ("accounts.carbonbudget.dev" in hooks) is (mode == "Enforce")
    assert (hook["failurePolicy"], hook["timeoutSeconds"], hook["sideEffects"]) == ("Ignore", 1, "None")
    (rule,) = hook["rules"]
    assert (rule["resources"], rule["operations"]) == (["pods"], ["CREATE"])
    assert [one["key"] for one in hook["objectSelector"]["matchExpressions"]] == ["carbonbudget.dev/run"] * 2
    assert hook["namespaceSelector"] == {
        "matchLabels": {"carbonbudget.dev/track": "enabled"}, "matchExpressions": [OWN]
    }  # fmt: skip
    assert tracks_pods(objects)


@pytest.mark.parametrize("injector", ["policy", "webhook"])
def test_namespaces_are_chosen_by_the_value_and_carbonbudget_s_own_never(cluster: Cluster, injector: str) -> None:
    chosen = '{"matchExpressions": [{"key": "team", "operator": "Exists"}]}'
    given = ("--set", f"tracking.injector={injector}", "--set-json", f"tracking.namespaceSelector={chosen}")
    found = mutating(rendered(cluster, *given, BETA))
    if injector == "policy":
        selector = found["MutatingAdmissionPolicy"]["spec"]["matchConstraints"]["namespaceSelector"]
    else:
        selector = found["MutatingWebhookConfiguration"]["webhooks"][-1]["namespaceSelector"]
    assert selector == {"matchExpressions": [{"key": "team", "operator": "Exists"}, OWN]}


@pytest.mark.parametrize("injector", ["policy", "webhook"])
def test_no_account_gets_a_right_by_it(cluster: Cluster, injector: str) -> None:
    def rights(*given: str) -> list[Any]:
        kinds = ("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding")
        return [one for one in rendered(cluster, *given, V1) if one["kind"] in kinds]

    assert rights("--set", f"tracking.injector={injector}") == rights()


def test_policy_and_webhook_have_the_same_names_and_bounds(cluster: Cluster) -> None:
    policy = mutating(rendered(cluster, "--set", "tracking.injector=policy", V1))["MutatingAdmissionPolicy"]
    text = yaml.safe_dump(policy, width=10**6)
    for value in (tracking_patch.MOUNT_PATH, tracking_patch.TOKEN_FILE, tracking_patch.VOLUME, tracking_patch.AUDIENCE):
        assert f"'{value}'" in text.replace("''", "'")
    assert f"<= {tracking_patch.MOST_CA_CHARACTERS} " in text


@pytest.mark.parametrize("value", ["tracking.injector=on", "tracking.x=1", "tracking.namespaceSelector.x=1"])
def test_a_value_that_is_none_is_refused_by_helm(cluster: Cluster, value: str) -> None:
    done = cluster.run(*RENDER, "--set", value, check=False)
    assert (done.returncode, "tracking" in done.stderr) == (1, True)
