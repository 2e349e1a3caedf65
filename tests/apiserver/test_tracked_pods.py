"""Pods with a run label get token, CA and variables, by the chart's policy and by its webhook alike."""

from __future__ import annotations

import copy
import datetime as dt
import json
import re
import shlex
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.apiserver.tracked_pods import CHANGED, LEFT, MODEL, PATH, Pod, pod
from tests.apiserver.webhook_process import Webhook
from tests.conftest import ROOT, Cluster
from tests.e2e.conftest import CHART, wait_for
from tests.examples.readme import EXAMPLES, shown_commands

from carbonbudget_operator.admission.tracking_patch import MOST_CA_CHARACTERS
from carbonbudget_operator.controller.certificates import make_ca

pytestmark = [pytest.mark.cluster, pytest.mark.control_plane]

SYSTEM = "tracking-system"
URL = f"https://carbonbudget-server.{SYSTEM}.svc:8443"
CA = make_ca(dt.datetime.now(dt.UTC)).certificate
GROUP = "admissionregistration.k8s.io"


class Tracking:
    """The chart's policy or webhook, for namespaces with a label of this run alone."""

    def __init__(self, cluster: Cluster, injector: str, directory: Path) -> None:
        self.cluster, self.injector = cluster, injector
        self.labels = {"carbonbudget.dev/track": f"{injector}-{uuid.uuid4().hex[:6]}"}
        self.space = self.labels["carbonbudget.dev/track"]
        (directory / "tracked-ca.crt").write_text(CA)
        arguments = (f"--server-url={URL}", f"--server-ca={directory / 'tracked-ca.crt'}")
        self.process = Webhook(cluster, directory, [], arguments, tracks_pods=True)
        self.made: list[str] = []

    def install(self) -> None:
        if self.injector == "webhook":
            self.process.start()
        for document in self._rendered():
            name = document["metadata"]["name"] = f"{document['metadata']['name']}-{self.space}"
            if document["kind"] == "MutatingAdmissionPolicyBinding":
                document["spec"]["policyName"] = name
            for hook in document.get("webhooks", []):
                url = self.process.url + hook["clientConfig"]["service"]["path"]
                hook["clientConfig"] = {"url": url, "caBundle": self.process.ca_bundle}
            self.made.append(f"{document['kind']}/{name}")
            self.cluster.kubectl("apply", "-f", "-", stdin=json.dumps(document))
        self.namespace(self.space)
        wait_for("the injector", lambda: self.is_tracked(self.created(pod("probe"))["probe"]), 30)

    @staticmethod
    def is_tracked(spec: Pod) -> bool:
        """Whether the pod got the token."""
        return bool(own_part(spec)["volumes"])

    def _rendered(self) -> list[dict[str, Any]]:
        command = ["helm", "template", "carbonbudget", CHART, "-n", SYSTEM, "--kube-version", "1.34"]
        command += ["--set", f"tracking.injector={self.injector},enforcement.mode=Observe"]
        command += ["--set-json", f"tracking.namespaceSelector={json.dumps({'matchLabels': self.labels})}"]
        listed = self.cluster.kubectl("api-resources", f"--api-group={GROUP}", "--no-headers").stdout
        for line in listed.splitlines():
            command += ["--api-versions", f"{line.split()[-3]}/{line.split()[-1]}"]
        wanted = ("MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding", "MutatingWebhookConfiguration")
        documents = [one for one in yaml.safe_load_all(self.cluster.run(*command).stdout) if one]
        return [one for one in documents if one["kind"] in wanted]

    def remove(self) -> None:
        self.cluster.kubectl("delete", "--ignore-not-found", *self.made, check=False)
        self.cluster.kubectl("delete", "namespace", self.space, "--wait=false", check=False)
        self.process.stop()

    def namespace(self, name: str, **labels: str) -> None:
        """A namespace in which pods are tracked, with its default account."""
        metadata = {"name": name, "labels": self.labels | labels}
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
        self.cluster.kubectl("apply", "-f", "-", stdin=json.dumps(body))
        account = ("-n", name, "get", "serviceaccount", "default")
        wait_for("the account", lambda: not self.cluster.kubectl(*account, check=False).returncode, 30)

    def created(self, *pods: Pod, space: str = "", real: bool = False) -> dict[str, Pod]:
        """The pods as the API server creates them, by name: in a dry run, unless `real`."""
        body = json.dumps({"apiVersion": "v1", "kind": "List", "items": pods})
        command = ["-n", space or self.space, "create", "-f", "-", "-o", "json"]
        shown = self.cluster.kubectl(*command, *([] if real else ["--dry-run=server"]), stdin=body).stdout
        made = json.loads("[" + shown.strip().replace("\n}\n{", "\n},\n{") + "]")  # kubectl prints one after the other
        return {one["metadata"]["name"]: without_accidents(one["spec"]) for one in made}


def without_accidents(spec: Pod) -> Pod:
    """The specification with the random name of the default token's volume replaced."""
    text = json.dumps(spec)
    for volume in spec.get("volumes", []):
        if volume["name"].startswith("kube-api-access-"):
            text = text.replace(volume["name"], "kube-api-access")
    value: Pod = json.loads(text)
    return value


def own_part(spec: Pod) -> Pod:
    """What is ours in a specification: the volume, and per container the mount and the variables."""
    containers = [*spec["containers"], *spec.get("initContainers", [])]
    return {
        "volumes": [v for v in spec.get("volumes", []) if v["name"] == "carbonbudget-token"],
        "mounts": {
            c["name"]: [m for m in c.get("volumeMounts", []) if m["name"] == "carbonbudget-token"] for c in containers
        },
        "env": {c["name"]: {e["name"]: e["value"] for e in c.get("env", [])} for c in containers},
    }


@pytest.fixture(scope="module")
def parameter(cluster: Cluster) -> Iterator[None]:
    """The CA where the controller writes it, in a release namespace of these tests."""
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}}
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(body))
    write_ca(cluster, CA)
    yield
    cluster.kubectl("delete", "namespace", SYSTEM, "--wait=false")


def write_ca(cluster: Cluster, text: str) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "carbonbudget-ca", "namespace": SYSTEM}}
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(body | {"data": {"ca.crt": text}}))


@pytest.fixture(scope="module")
def both(
    cluster: Cluster, parameter: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Tracking, Tracking]]:
    """Policy and webhook, each for namespaces of its own."""
    if "mutatingadmissionpolicies" not in cluster.kubectl("api-resources", "-o", "name").stdout:
        pytest.skip("this API server does not serve MutatingAdmissionPolicy")
    policy, webhook = (Tracking(cluster, one, tmp_path_factory.mktemp(one)) for one in ("policy", "webhook"))
    try:
        policy.install()
        webhook.install()
        yield policy, webhook
    finally:
        policy.remove()
        webhook.remove()


@pytest.fixture(params=["policy", "webhook"])
def tracking(request: pytest.FixtureRequest, both: tuple[Tracking, Tracking]) -> Tracking:
    return both[request.param == "webhook"]


@pytest.fixture(scope="module")
def specs(cluster: Cluster, both: tuple[Tracking, Tracking]) -> dict[str, dict[str, Pod]]:
    """The specifications of the whole table: by policy, by webhook, and where pods are not tracked."""
    policy, webhook = both
    (lines,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "tracking.md").read_text(encoding="utf-8"), re.DOTALL)
    pods = [*CHANGED, *LEFT, pod("from-the-page") | {"spec": yaml.safe_load(lines)}]
    return {
        "policy": policy.created(*pods),
        "webhook": webhook.created(*pods),
        "untracked": policy.created(*pods, space="default"),
    }


@pytest.mark.parametrize("name", [one["metadata"]["name"] for one in CHANGED])
def test_policy_and_webhook_make_the_same_pod(specs: dict[str, dict[str, Pod]], name: str) -> None:
    assert specs["policy"][name] == specs["webhook"][name]
    assert specs["policy"][name] != specs["untracked"][name]


@pytest.mark.parametrize("name", [one["metadata"]["name"] for one in LEFT])
def test_a_pod_without_a_run_or_with_a_mount_of_its_own_stays_as_it_is(
    specs: dict[str, dict[str, Pod]], name: str
) -> None:
    assert specs["policy"][name] == specs["webhook"][name] == specs["untracked"][name]


@pytest.mark.parametrize("one", CHANGED, ids=lambda one: one["metadata"]["name"])
def test_nothing_but_the_volume_the_mounts_and_the_variables_is_added(
    specs: dict[str, dict[str, Pod]], one: Pod
) -> None:
    name = one["metadata"]["name"]
    spec = copy.deepcopy(specs["policy"][name])
    before = specs["untracked"][name]
    known = {c["name"]: c for c in [*before["containers"], *before.get("initContainers", [])]}
    for each in [*spec["containers"], *spec.get("initContainers", [])]:
        old = known[each["name"]]
        for key, ours in (("env", "CARBONBUDGET_"), ("volumeMounts", "carbonbudget-token")):
            kept = [e for e in each.get(key, []) if e in old.get(key, []) or not e["name"].startswith(ours)]
            each[key] = kept
            if key not in old:
                del each[key]
    spec["volumes"] = [v for v in spec.get("volumes", []) if v["name"] != "carbonbudget-token"]
    if "volumes" not in before:
        assert spec.pop("volumes") == []
    assert spec == before


def test_every_container_gets_token_ca_and_the_names_of_its_labels(specs: dict[str, dict[str, Pod]]) -> None:
    found = own_part(specs["policy"]["several"])
    token = {"audience": "carbonbudget-server", "expirationSeconds": 3600, "path": "token"}
    projected = {"defaultMode": 420, "sources": [{"serviceAccountToken": token}]}
    assert found["volumes"] == [{"name": "carbonbudget-token", "projected": projected}]
    assert set(found["env"]) == {"a", "b", "i", "j"}
    for name, env in found["env"].items():
        assert env == {
            "CARBONBUDGET_SERVER_URL": URL,
            "CARBONBUDGET_TOKEN_FILE": f"{PATH}/token",
            "CARBONBUDGET_CA": CA,
            "CARBONBUDGET_RUN": "exp-42",
            "CARBONBUDGET_MODEL": "org.net",
            "CARBONBUDGET_MODEL_VERSION": "1.2",
        }
        assert found["mounts"][name] == [{"name": "carbonbudget-token", "mountPath": PATH, "readOnly": True}]


@pytest.mark.parametrize(
    ("name", "variable", "value"),
    [
        ("own-url", "CARBONBUDGET_SERVER_URL", "https://other"),
        ("own-run", "CARBONBUDGET_RUN", "mine"),
        ("own-ca", "CARBONBUDGET_CA", "mine"),
        ("own-ca-file", "CARBONBUDGET_CA", None),
        ("only-own-token-file", "CARBONBUDGET_TOKEN_FILE", "/t"),
        ("mount-at-run", "CARBONBUDGET_TOKEN_FILE", None),
        ("mount-below", "CARBONBUDGET_TOKEN_FILE", None),
        ("mount-by-the-link", "CARBONBUDGET_TOKEN_FILE", None),
        ("mount-beside", "CARBONBUDGET_TOKEN_FILE", f"{PATH}/token"),
        ("empty-names", "CARBONBUDGET_MODEL", None),
    ],
)
def test_what_a_container_has_is_not_replaced(
    specs: dict[str, dict[str, Pod]], name: str, variable: str, value: str | None
) -> None:
    assert own_part(specs["policy"][name])["env"]["train"].get(variable) == value


def test_a_pod_of_which_no_container_gets_the_token_gets_no_volume(specs: dict[str, dict[str, Pod]]) -> None:
    for name in ("only-own-token-file", "mount-at-run", "mount-below", "mount-by-the-link"):
        assert own_part(specs["policy"][name])["volumes"] == []
    mixed = own_part(specs["policy"]["mount-above"])
    assert (mixed["mounts"]["train"], len(mixed["mounts"]["b"]), len(mixed["volumes"])) == ([], 1, 1)


def test_the_token_is_never_the_account_s_default_one(specs: dict[str, dict[str, Pod]]) -> None:
    spec = specs["policy"]["no-default-token"]
    assert [volume["name"] for volume in spec["volumes"]] == ["carbonbudget-token"]
    assert [mount["mountPath"] for mount in spec["containers"][0]["volumeMounts"]] == [PATH]


def test_a_second_mutation_changes_nothing(tracking: Tracking, specs: dict[str, dict[str, Pod]]) -> None:
    once = specs[tracking.injector]
    again = [
        pod(one["metadata"]["name"], one["metadata"]["labels"], **once[one["metadata"]["name"]]) for one in CHANGED
    ]
    assert tracking.created(*again) == {name: once[name] for name in (one["metadata"]["name"] for one in CHANGED)}


def test_a_created_pod_is_what_the_dry_run_showed(tracking: Tracking, specs: dict[str, dict[str, Pod]]) -> None:
    (plain,) = [one for one in CHANGED if one["metadata"]["name"] == "plain"]
    assert tracking.created(plain, real=True)["plain"] == specs[tracking.injector]["plain"]


def test_a_token_as_the_kubelet_requests_it_identifies_the_pod_to_one_audience_alone(
    tracking: Tracking, cluster: Cluster
) -> None:
    spec = tracking.created(pod("bearer"), real=True)["bearer"]
    (source,) = own_part(spec)["volumes"][0]["projected"]["sources"]
    audience = source["serviceAccountToken"]["audience"]
    bound = (f"--audience={audience}", "--bound-object-kind=Pod", "--bound-object-name=bearer")
    token = cluster.kubectl("-n", tracking.space, "create", "token", spec["serviceAccountName"], *bound).stdout.strip()

    def reviewed(*audiences: str) -> dict[str, Any]:
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview"}
        body |= {"spec": {"token": token, "audiences": audiences}}
        shown = cluster.kubectl("create", "-f", "-", "-o", "json", stdin=json.dumps(body)).stdout
        status: dict[str, Any] = json.loads(shown)["status"]
        return status

    user = reviewed("carbonbudget-server")["user"]
    uid = cluster.get("-n", tracking.space, "pod", "bearer")["metadata"]["uid"]  # type: ignore[index] # JSON
    assert user["username"] == f"system:serviceaccount:{tracking.space}:default"
    assert user["extra"]["authentication.kubernetes.io/pod-uid"] == [uid]
    for others in ((), ("carbonbudget",), ("https://kubernetes.default.svc.cluster.local",)):
        assert not reviewed(*others).get("authenticated", False)


def test_an_ephemeral_container_that_is_added_later_gets_nothing(tracking: Tracking, cluster: Cluster) -> None:
    tracking.created(pod("debugged"), real=True)
    patch = {"spec": {"ephemeralContainers": [{"name": "debug", "image": "busybox:dev"}]}}
    command = ("-n", tracking.space, "patch", "pod", "debugged", "--subresource=ephemeralcontainers", "-o", "json")
    spec = json.loads(cluster.kubectl(*command, "-p", json.dumps(patch)).stdout)["spec"]
    (debug,) = spec["ephemeralContainers"]
    assert "env" not in debug
    assert "volumeMounts" not in debug


def test_the_pods_of_a_job_are_tracked_by_the_template_s_label(tracking: Tracking, cluster: Cluster) -> None:
    template = {"metadata": {"labels": MODEL}, "spec": pod("x", restartPolicy="Never")["spec"]}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "by-template"}, "spec": {"template": template}}
    cluster.kubectl("-n", tracking.space, "create", "-f", "-", stdin=json.dumps(job))
    listing = ("-n", tracking.space, "pods", "-l", "batch.kubernetes.io/job-name=by-template")
    items: Any = wait_for("the Job's pod", lambda: cluster.get(*listing)["items"] or None, 30)
    assert own_part(items[0]["spec"])["env"]["train"]["CARBONBUDGET_MODEL"] == "org.net"


def test_the_example_prints_what_its_readme_shows(tracking: Tracking, cluster: Cluster) -> None:
    label, *others = shown_commands(EXAMPLES / "22-tracked-job" / "README.md")
    assert label.line == "kubectl label namespace team-a carbonbudget.dev/track=enabled"  # the chart's own selector
    for shown in others:
        program, *words = shlex.split(shown.line)
        assert program == "kubectl"
        words = [str(ROOT / word) if word.startswith("examples/") else word for word in words]

        def printed(words: list[str] = words, output: str = shown.output) -> bool:
            done = cluster.kubectl("-n", tracking.space, *words, check=False)
            return (done.stdout + done.stderr).replace(tracking.space, "team-a").split() == output.split()

        wait_for(shown.line, printed, 30)


def test_the_lines_to_write_by_hand_are_accepted_and_stay_as_they_are(specs: dict[str, dict[str, Pod]]) -> None:
    assert specs["policy"]["from-the-page"] == specs["webhook"]["from-the-page"] == specs["untracked"]["from-the-page"]
    (written,) = specs["untracked"]["from-the-page"]["containers"]
    injected = own_part(specs["policy"]["plain"])["env"]["train"]
    for variable in written["env"]:
        if variable["name"] != "CARBONBUDGET_CA_FILE":
            value = variable["value"].replace("carbonbudget-system", SYSTEM)
            assert injected[variable["name"]] == value


def test_a_namespace_with_restricted_pod_security_accepts_the_pod(tracking: Tracking) -> None:
    space = f"{tracking.space}-restricted"
    tracking.namespace(space, **{"pod-security.kubernetes.io/enforce": "restricted"})
    try:
        assert tracking.is_tracked(tracking.created(pod("r", MODEL), space=space)["r"])
    finally:
        tracking.cluster.kubectl("delete", "namespace", space, "--wait=false")


def test_pods_of_carbonbudget_s_own_namespace_and_of_kube_system_are_never_changed(
    tracking: Tracking, cluster: Cluster
) -> None:
    for space in (SYSTEM, "kube-system"):
        tracking.namespace(space)
        assert not tracking.is_tracked(tracking.created(pod("own"), space=space)["own"])
        cluster.kubectl("label", "namespace", space, "carbonbudget.dev/track-")


def test_a_mirror_pod_is_created_unchanged(tracking: Tracking) -> None:
    made = tracking.created(pod("mirror", annotations={"kubernetes.io/config.mirror": "x"}, nodeName="node"))
    assert not tracking.is_tracked(made["mirror"])


def test_a_ca_that_fits_into_no_variable_is_left_out_and_a_new_one_reaches_new_pods(
    both: tuple[Tracking, Tracking], cluster: Cluster
) -> None:
    policy, _ = both

    def ca() -> str | None:
        spec = policy.created(pod("ca"))["ca"]
        assert policy.is_tracked(spec)
        return own_part(spec)["env"]["train"].get("CARBONBUDGET_CA")

    try:
        write_ca(cluster, "x" * (MOST_CA_CHARACTERS + 1))
        wait_for("a pod without CA", lambda: ca() is None, 30)
        write_ca(cluster, CA + CA)
        wait_for("the next CA", lambda: ca() == CA + CA, 30)
    finally:
        write_ca(cluster, CA)
        wait_for("the CA of before", lambda: ca() == CA, 30)


def test_without_the_parameter_pods_are_created_unchanged(both: tuple[Tracking, Tracking], cluster: Cluster) -> None:
    policy, _ = both
    try:
        cluster.kubectl("-n", SYSTEM, "delete", "configmap", "carbonbudget-ca")
        wait_for("an unchanged pod", lambda: not policy.is_tracked(policy.created(pod("p"))["p"]), 30)
    finally:
        write_ca(cluster, CA)
        wait_for("a changed pod", lambda: policy.is_tracked(policy.created(pod("p"))["p"]), 30)


def test_while_the_webhook_is_away_pods_are_created_unchanged(both: tuple[Tracking, Tracking]) -> None:
    _, webhook = both
    assert webhook.process.figure('carbonbudget_admission_tracked_pods_total{outcome="patched"}') > 0
    webhook.process.stop()
    try:
        assert not webhook.is_tracked(webhook.created(pod("alone"), real=True)["alone"])
    finally:
        webhook.process.start()


def test_after_an_uninstall_pods_are_created_unchanged(tracking: Tracking) -> None:
    tracking.cluster.kubectl("delete", "--ignore-not-found", *tracking.made)
    wait_for("an unchanged pod", lambda: not tracking.is_tracked(tracking.created(pod("later"))["later"]), 30)
