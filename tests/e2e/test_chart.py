"""The chart: rendered, upgraded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from tests.conftest import Cluster
from tests.e2e.conftest import CHART, Release

from carbonbudget_agent.meters.calibration import parse_calibration
from carbonbudget_operator.allocation.policy import AllocationPolicy, IdleRule, OverheadRule
from carbonbudget_operator.settings import Settings, load_settings

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).resolve().parents[2]

RENDER = ("helm", "template", "carbonbudget", CHART, "-n", "carbonbudget-system", "--kube-version", "1.34")
WEBHOOK = (
    "get",
    "validatingwebhookconfiguration",
    "carbonbudget",
    "-o",
    "jsonpath={.webhooks[0].clientConfig.caBundle}",
)


def test_two_renderings_are_byte_equal(cluster: Cluster) -> None:
    assert cluster.run(*RENDER).stdout == cluster.run(*RENDER).stdout


def test_helm_lint_is_clean(cluster: Cluster) -> None:
    assert "0 chart(s) failed" in cluster.run("helm", "lint", "--strict", CHART).stdout


def test_an_unknown_value_is_refused(cluster: Cluster) -> None:
    done = cluster.run(*RENDER, "--set", "sever.replicas=2", check=False)
    assert done.returncode == 1
    assert "sever" in done.stderr


def test_no_workload_takes_service_links_or_privileges(cluster: Cluster) -> None:
    found = 0
    for document in yaml.safe_load_all(cluster.run(*RENDER).stdout):
        if document["kind"] not in ("Deployment", "DaemonSet"):
            continue
        found += 1
        spec = document["spec"]["template"]["spec"]
        assert spec["enableServiceLinks"] is False
        for container in spec["containers"]:
            security = container["securityContext"]
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert security["readOnlyRootFilesystem"] is True
            assert security["allowPrivilegeEscalation"] is False
    assert found == 4


def test_calibration_factors_reach_the_agent_as_its_option_reads_them(cluster: Cluster) -> None:
    given = {"m6a.large": 0.93, "AMD EPYC Milan (Zen 3)": 1.05, "*": 1}
    text = cluster.run(*RENDER, "--set-json", f"agent.calibration={json.dumps(given)}").stdout
    (agent,) = [document for document in yaml.safe_load_all(text) if document["kind"] == "DaemonSet"]
    (container,) = agent["spec"]["template"]["spec"]["containers"]
    (value,) = [entry["value"] for entry in container["env"] if entry["name"] == "CARBONBUDGET_CALIBRATION"]
    assert parse_calibration(value) == {machine: round(factor * 1000) for machine, factor in given.items()}


REFUSING = {"carbonbudget", "carbonbudget-cluster"}
# These check nobody's work: what our own accounts write, how large a budget is, who may transfer between budgets.
OF_OUR_OWN = {
    "carbonbudget-own-writes", "carbonbudget-budget-size", "carbonbudget-transfers", "carbonbudget-transfer-status",
}  # fmt: skip


@pytest.mark.parametrize(
    ("mode", "refusing", "webhooks"), [("Enforce", REFUSING, 1), ("Warn", (), 1), ("Observe", (), 0)]
)
def test_the_mode_is_the_switch(cluster: Cluster, mode: str, refusing: set[str], webhooks: int) -> None:
    documents = list(yaml.safe_load_all(cluster.run(*RENDER, "--set", f"enforcement.mode={mode}").stdout))
    kinds = [document["kind"] for document in documents]
    policies = {d["metadata"]["name"] for d in documents if d["kind"] == "ValidatingAdmissionPolicy"}
    assert policies - OF_OUR_OWN == {"carbonbudget-exempt", "carbonbudget-suspended", *refusing}
    assert kinds.count("ValidatingWebhookConfiguration") == webhooks
    assert kinds.count("MutatingWebhookConfiguration") == webhooks


def test_a_configured_kind_reaches_policies_webhook_rights_and_settings(cluster: Cluster, tmp_path: Path) -> None:
    kind = {
        "kind": "TrainJob",
        "group": "train.example",
        "version": "v1",
        "resource": "trainjobs",
        "template": "spec.worker.template",
        "replicas": "spec.worker.count",
    }
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump({"enforcement": {"kinds": [kind]}}))
    documents = [d for d in yaml.safe_load_all(cluster.run(*RENDER, "-f", str(file)).stdout) if d]

    def resources(rules: list[dict[str, list[str]]]) -> set[str]:
        return {name for rule in rules if rule["apiGroups"] == ["train.example"] for name in rule["resources"]}

    for document in documents:
        name = document["metadata"]["name"]
        if document["kind"] == "ValidatingAdmissionPolicy" and name not in OF_OUR_OWN:
            assert resources(document["spec"]["matchConstraints"]["resourceRules"]) == {"trainjobs"}
        elif document["kind"] == "ValidatingWebhookConfiguration":
            assert [resources(hook["rules"]) for hook in document["webhooks"]] == [
                {"trainjobs"},
                {"trainjobs", "trainjobs/scale"},
            ]
        elif document["kind"] == "MutatingWebhookConfiguration":
            assert [resources(hook["rules"]) for hook in document["webhooks"]] == [{"trainjobs"}]
        elif (document["kind"], name) == ("ClusterRole", "carbonbudget-admission"):
            assert resources(document["rules"]) == {"trainjobs"}
        elif (document["kind"], name) == ("ConfigMap", "carbonbudget-config"):
            config = tmp_path / "config.yaml"
            config.write_text(document["data"]["config.yaml"])
            assert [checked.model_dump() for checked in load_settings(config, {}).enforcement.kinds] == [kind]


def test_several_servers_need_a_database(cluster: Cluster) -> None:
    done = cluster.run(*RENDER, "--set", "server.replicas=2", check=False)
    assert done.returncode == 1
    assert "server.replicas above 1 needs server.database" in done.stderr
    text = cluster.run(*RENDER, "--set", "server.replicas=2", "--set", "server.database.secretName=ledger").stdout
    documents = list(yaml.safe_load_all(text))
    assert "PersistentVolumeClaim" not in {document["kind"] for document in documents}
    (server,) = [d for d in documents if d["kind"] == "Deployment" and d["metadata"]["name"] == "carbonbudget-server"]
    assert server["spec"]["replicas"] == 2
    variables = {one["name"]: one for one in server["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert variables.keys() == {"CARBONBUDGET_CONFIG", "CARBONBUDGET_LEDGER"}
    assert variables["CARBONBUDGET_LEDGER"]["valueFrom"]["secretKeyRef"] == {"name": "ledger", "key": "url"}


def test_carbon_settings_reach_the_server_as_they_are(cluster: Cluster, tmp_path: Path) -> None:
    values = {
        "carbon": {
            "zone": "DE", "ownership": "owned", "embodied": {"server_kg": 1200},
            "market": {"supplier": {"g_per_kwh": 120, "source": "bill", "year": 2026}},
        },
        "allocation": {"idle": "even", "shared": {"kube-system": "proportional", "mon": {"a": 2}}},
    }  # fmt: skip
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(values))
    text = cluster.run(*RENDER, "-f", str(tmp_path / "values.yaml")).stdout
    (config,) = [d for d in yaml.safe_load_all(text) if d["metadata"]["name"] == "carbonbudget-config"]
    (tmp_path / "config.yaml").write_text(config["data"]["config.yaml"])
    settings = load_settings(tmp_path / "config.yaml", {})
    (carbon,), (allocation,) = settings.carbon.values, settings.allocation.values
    assert carbon.embodied.server_kg == 1200
    assert carbon.market.supplier is not None
    assert allocation.policy() == AllocationPolicy(
        IdleRule.EVEN, OverheadRule.PROPORTIONAL, {"kube-system": "proportional", "mon": {"a": 2}}
    )


def test_dated_values_reach_the_server_as_they_are(cluster: Cluster, tmp_path: Path) -> None:
    text = cluster.run(*RENDER, "-f", str(ROOT / "examples/13-dated-values/values.yaml")).stdout
    (config,) = [d for d in yaml.safe_load_all(text) if d["metadata"]["name"] == "carbonbudget-config"]
    (tmp_path / "config.yaml").write_text(config["data"]["config.yaml"])
    carbon = load_settings(tmp_path / "config.yaml", {}).carbon
    given = Settings.model_validate(yaml.safe_load((ROOT / "examples/13-dated-values/values.yaml").read_text()))
    assert carbon == given.carbon
    done = cluster.run(*RENDER, "--set-json", 'carbon.pue=[{"value":1.4},{"value":1.2}]', check=False)
    assert done.returncode == 1
    assert "valid_from" in done.stderr


def test_policies_webhook_and_controller_leave_the_same_namespaces_alone(cluster: Cluster, tmp_path: Path) -> None:
    more = ("--set", "enforcement.exemptNamespaces={lab,kube-system}", "--set", "agent.namespace=agents")
    documents = [d for d in yaml.safe_load_all(cluster.run(*RENDER, *more).stdout) if d]
    selectors = [
        rule["namespaceSelector"]
        for document in documents
        if document["metadata"]["name"] not in OF_OUR_OWN
        for rule in (*document.get("webhooks", ()), document.get("spec", {}).get("matchConstraints"))
        if rule
    ]
    assert len(selectors) == 7  # four policies, three webhooks
    by_name = [
        expression["values"]
        for selector in selectors
        for expression in selector["matchExpressions"]
        if (expression["key"], expression["operator"]) == ("kubernetes.io/metadata.name", "NotIn")
    ]
    (config,) = [d for d in documents if d["metadata"]["name"] == "carbonbudget-config"]
    (tmp_path / "config.yaml").write_text(config["data"]["config.yaml"])
    told = load_settings(tmp_path / "config.yaml", {}).enforcement.exempt_namespaces
    names = ["kube-system", "carbonbudget-system", "agents", "lab"]
    assert told == [*names, "kube-*", "openshift-*"]
    assert by_name == [names] * len(selectors)


def test_an_upgrade_rolls_what_changed_and_keeps_the_certificates(release: Release) -> None:
    bundle = release.cluster.kubectl(*WEBHOOK).stdout
    assert bundle
    release.helm("--set", "controller.freshForSeconds=7200")
    assert release.cluster.kubectl(*WEBHOOK).stdout == bundle
    config = release.cluster.get("-n", "carbonbudget-system", "configmap", "carbonbudget-config")
    assert "fresh_for_seconds: 7200" in config["data"]["config.yaml"]  # type: ignore[index] # JSON
    release.helm()


@pytest.mark.parametrize(("verb", "answer"), [("get", "yes"), ("create", "no"), ("update", "no")])
def test_whoever_may_edit_a_namespace_reads_its_budgets_and_does_not_raise_them(
    release: Release, namespace: str, verb: str, answer: str
) -> None:
    release.cluster.kubectl("-n", namespace, "create", "rolebinding", "dev", "--clusterrole=edit", "--user=dev")
    ask = ("-n", namespace, "auth", "can-i", verb, "carbonbudgets", "--as=dev")
    assert release.cluster.kubectl(*ask, check=False).stdout.strip() == answer
