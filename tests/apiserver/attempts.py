"""What tests/apiserver/exceptions.yaml tries: one function for each `try`, all of them server-side dry runs.

`Field` is a namespace with objects that were made before a budget came to block there, and with accounts that may edit
it. A function takes the field, the kind and the account's kubectl flags, and returns whether the attempt was admitted
and what kubectl said.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.api_requests import Answer, api_requests
from tests.apiserver.chart_policies import OPERATOR, ChartPolicies
from tests.apiserver.manifests import OWNER, SELECT_X, a_template, work
from tests.e2e.conftest import SYSTEM, Manifest, wait_for

ENFORCED = ["Pod", "Job", "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "TrainJob"]
SCALED = ["Deployment", "StatefulSet", "ReplicaSet", "ReplicationController", "TrainJob"]
EXEMPT, SUSPENDED = {"carbonbudget.dev/exempt": "true"}, {"carbonbudget.dev/suspended": "true"}
OUTSIDE = {"project": "y"}
GATES = [{"name": "example.com/wait"}]
NODE = "exceptions-node"
MIRROR = {"kubernetes.io/config.mirror": "0"}
_TEMPLATES = {
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
    "TrainJob": ("spec", "worker", "template"),
    "Pod": (),
}
_COUNTS = {
    "Job": ("spec", "parallelism"),
    "CronJob": ("spec", "jobTemplate", "spec", "parallelism"),
    "TrainJob": ("spec", "worker", "count"),
}
Attempt = Callable[["Field", str, list[str]], Answer]
Write = Callable[["Field", Any, list[str]], Answer]
ATTEMPTS: dict[str, Attempt] = {}


def nested(path: tuple[str, ...], value: object) -> Any:
    for key in reversed(path):
        value = {key: value}
    return value


def template_path(kind: str) -> tuple[str, ...]:
    return _TEMPLATES.get(kind, ("spec", "template"))


def count(kind: str, number: int) -> Any:
    """A change of how many pods there are at a time."""
    return nested(_COUNTS.get(kind, ("spec", "replicas")), number)


def named(name: str, kind: str) -> str:
    return f"{name}-{kind.lower()}"


class Field:
    """See above. `accounts` are kubectl's flags by the names in exceptions.yaml."""

    def __init__(self, policies: ChartPolicies, namespace: str) -> None:
        self.policies, self.namespace = policies, namespace
        self._requests = api_requests(policies.cluster)
        kube_system = "--as=system:serviceaccount:kube-system:"
        self.accounts = {
            "dev": ["--as=dev"],
            "lead": ["--as=lead"],
            "masters": [],
            "operator": [f"--as={OPERATOR}"],
            "deployment-controller": [f"{kube_system}deployment-controller"],
            "cronjob-controller": [f"{kube_system}cronjob-controller"],
            "garbage-collector": [f"{kube_system}generic-garbage-collector"],
            "autoscaler": [f"{kube_system}horizontal-pod-autoscaler"],
            "false-controller": [f"--as=system:serviceaccount:{namespace}:job-controller"],
            "ours": [f"--as=system:serviceaccount:{SYSTEM}:carbonbudget-controller"],
            "node": [f"--as=system:node:{NODE}", "--as-group=system:nodes"],
        }

    def prepare(self) -> None:
        """Rights, and the objects; then the block."""
        self._grant()
        metadata = {"name": NODE, "labels": {"zone": "a"}}
        self.policies.apply({"apiVersion": "v1", "kind": "Node", "metadata": metadata})
        made: list[Manifest] = []
        for kind in [*ENFORCED, "CronJob"]:
            more = {"nodeSelector": {"zone": "a"}} if kind == "DaemonSet" else {}
            made.append(with_completions(with_pod_spec(kind, work(kind, self.namespace, named("plain", kind)), more)))
            made.append(work(kind, self.namespace, named("outside", kind), OUTSIDE))
        for kind in [*SCALED, "Job"]:
            exempt = {"metadata": {"labels": EXEMPT}}
            made.append(with_completions(work(kind, self.namespace, named("exempt", kind), **exempt)))
            made.append(with_completions(laid_over(work(kind, self.namespace, named("zero", kind)), count(kind, 0))))
        gated = {"schedulingGates": GATES}
        made += [
            work("Pod", self.namespace, "gated-pod", **gated),
            work("Pod", self.namespace, "gated-twice-pod", schedulingGates=[*GATES, {"name": "example.com/more"}]),
            work("Pod", self.namespace, "gated-outside-pod", OUTSIDE, **gated),
            work("Job", self.namespace, "paused-job", suspend=True, completions=9),
            work("CronJob", self.namespace, "paused-cronjob", suspend=True),
            work("Job", self.namespace, "paused-outside-job", OUTSIDE, suspend=True),
            work("Job", self.namespace, "indexed-job", completionMode="Indexed", parallelism=4, completions=2),
            with_pod_spec("Job", work("Job", self.namespace, "gated-job"), gated),
            with_pod_spec("Job", work("Job", self.namespace, "gated-exempt-job", {"project": "x"} | EXEMPT), gated),
        ]
        self.policies.apply(*made)
        for kind in [*SCALED, "Job"]:
            held = with_completions(work(kind, self.namespace, named("held", kind), metadata={"labels": SUSPENDED}))
            if kind == "Job":
                held = laid_over(held, {"spec": {"suspend": True}})
            fine, said = self.policies.create(held, *self.accounts["ours"])
            assert fine, said
        for app in ["plain-replicaset", "plain-job", "plain-replicationcontroller", "plain-statefulset", "gated-job",
                    "gated-exempt-job", "plain-daemonset"]:  # fmt: skip
            wait_for(f"the pod of {app}", lambda app=app: self.pods(app), 60)
        self.policies.block(self.namespace, "tight", selector=SELECT_X, enforce={"kinds": ENFORCED})
        self.policies.refusal(work("Pod", self.namespace))
        for kind in SCALED:  # each is watched by itself
            wait_for(f"{kind} to be watched", lambda kind=kind: not scale(self, kind, ["--as=dev"])[0], 20)
            wait_for(f"exempt {kind} to be known", lambda kind=kind: scale_exempt(self, kind, ["--as=dev"])[0], 20)

    def _grant(self) -> None:
        kubectl = self.policies.cluster.kubectl
        users = [flag.removeprefix("--as=") for flags in self.accounts.values() for flag in flags[:1]]
        more = ("create", "role", "more", "--verb=*", "--resource=trainjobs.train.example")
        kubectl("-n", self.namespace, *more, "--resource=trainjobs.train.example/scale")
        pods = ("create", "role", "pods", "--verb=*", "--resource=pods/resize", "--resource=pods/ephemeralcontainers")
        kubectl("-n", self.namespace, *pods, "--resource=pods/binding")
        exempt = ("create", "role", "exempt", "--verb=exempt", "--resource=carbonbudgets.carbonbudget.dev")
        kubectl("-n", self.namespace, *exempt)
        flags = [f"--user={user}" for user in users if not user.startswith("system:node:")]
        for name, role in (("edit", "--clusterrole=edit"), ("more", "--role=more"), ("pods", "--role=pods")):
            kubectl("-n", self.namespace, "create", "rolebinding", name, role, *flags)
        kubectl("-n", self.namespace, "create", "rolebinding", "exempt", "--role=exempt", "--user=lead")

    def remove(self) -> None:
        """What is not in the namespace."""
        self.policies.cluster.kubectl("delete", "node", NODE, "--ignore-not-found")

    def pods(self, app: str) -> list[str]:
        """Pods that a controller made, by their label app."""
        return self.get("pods", app)

    def get(self, resource: str, app: str) -> list[str]:
        """Names by the label app."""
        where = ("-n", self.namespace, "get", resource, "-l", f"app={app}", "-o", "jsonpath={.items[*].metadata.name}")
        return self.policies.cluster.kubectl(*where).stdout.split()

    def create(self, manifest: Manifest, flags: list[str]) -> Answer:
        """Create."""
        return self._requests.create(manifest, "--dry-run=server", *flags)

    def apply(self, manifest: Manifest, flags: list[str]) -> Answer:
        """Apply, on the server."""
        return self._requests.apply(manifest, "--dry-run=server", *flags)

    def patch(self, kind: str, name: str, change: Manifest, flags: list[str]) -> Answer:
        """Merge a change into an object."""
        version = work(kind, self.namespace)["apiVersion"]
        return self._requests.patch(version, kind, self.namespace, name, change, "--dry-run=server", *flags)

    def raw(self, method: str, path: str, body: object, flags: list[str]) -> Answer:
        """POST or PUT to a path below the namespace's pods."""
        where = f"/api/v1/namespaces/{self.namespace}/pods/{path}?dryRun=All"
        return self._requests.send(method, where, body, *flags)

    def read(self, kind: str, name: str) -> dict[str, Any]:
        """An object as it is."""
        return self.policies.cluster.get("-n", self.namespace, kind.lower(), name)


def laid_over(under: Any, over: Any) -> Any:
    """A merge patch, applied."""
    if not isinstance(under, dict) or not isinstance(over, dict):
        return over
    return under | {key: laid_over(under.get(key), value) for key, value in over.items()}


def with_pod_spec(kind: str, manifest: Manifest, spec: dict[str, Any]) -> Manifest:
    made: Manifest = laid_over(manifest, nested((*template_path(kind), "spec"), spec))
    return made


def with_completions(manifest: Manifest) -> Manifest:
    """A Job that has enough to do for more pods at a time."""
    if manifest["kind"] != "Job":
        return manifest
    made: Manifest = laid_over(manifest, {"spec": {"completions": 9}})
    return made


def attempt(function: Attempt) -> Attempt:
    ATTEMPTS[function.__name__] = function
    return function


def creating(
    name: str, change: Callable[[Field, str, Manifest], Any], write: Write = Field.create, **given: Any
) -> Attempt:
    """An attempt to create a new object; `change` is laid over it."""

    def tries(field: Field, kind: str, flags: list[str]) -> Answer:
        manifest = work(kind, field.namespace, "new", **given)
        return write(field, laid_over(manifest, change(field, kind, manifest)), flags)

    ATTEMPTS[name] = tries
    return tries


def changing(name: str, of: str, change: Callable[[str], Any]) -> Attempt:
    """An attempt to change the object OF-KIND."""

    def tries(field: Field, kind: str, flags: list[str]) -> Answer:
        return field.patch(kind, named(of, kind), change(kind), flags)

    ATTEMPTS[name] = tries
    return tries


def scaling(name: str, of: str) -> Attempt:
    """An attempt to scale the object OF-KIND up."""

    def tries(field: Field, kind: str, flags: list[str]) -> Answer:
        return field.patch(kind, named(of, kind), {"spec": {"replicas": 4}}, ["--subresource=scale", *flags])

    ATTEMPTS[name] = tries
    return tries


def labels(value: dict[str, str | None]) -> dict[str, Any]:
    return {"metadata": {"labels": value}}


def template_labels(kind: str, value: dict[str, str]) -> Any:
    return nested((*template_path(kind), "metadata", "labels"), value)


def owned(kind: str = "Job", api_version: str = "batch/v1") -> dict[str, object]:
    return {"metadata": {"ownerReferences": [OWNER | {"kind": kind, "apiVersion": api_version}]}}


def paused(kind: str) -> dict[str, object]:
    return {"spec": {"suspend": kind != ""}}


def image(kind: str) -> Any:
    containers = a_template({}, "Always", "sleep 600")["spec"]["containers"]
    return nested((*template_path(kind), "spec"), {"containers": [containers[0] | {"image": "busybox:other"}]})


# New objects.
creating("create", lambda _f, _k, _m: {})
creating("create_by_apply", lambda _f, _k, _m: {}, Field.apply)
creating("create_managed_elsewhere", lambda _f, _k, _m: {"spec": {"managedBy": "example.com/other"}})
creating("create_exempt", lambda _f, _k, _m: labels({**EXEMPT, **OUTSIDE}), labels=OUTSIDE)
creating("create_exempt_selected", lambda _f, _k, _m: labels({**EXEMPT}))
creating("create_exempt_template", lambda _f, k, _m: _passed_on(k), labels=OUTSIDE)
creating("create_exempt_pod_template", lambda _f, k, _m: template_labels(k, EXEMPT), labels=OUTSIDE)
creating(  # a Job without labels of its own gets its template's
    "create_labelled_with_exempt_template",
    lambda _f, k, _m: laid_over(labels({"a": "b"}), template_labels(k, EXEMPT)),
    labels=OUTSIDE,
)
creating("create_exempt_owned", lambda _f, _k, _m: laid_over(owned("Deployment", "apps/v1"), labels({**EXEMPT})))
creating(
    "create_exempt_owned_by_other",
    lambda _f, _k, _m: laid_over(owned("Database", "example.com/v1"), labels({**EXEMPT})),
)
creating("create_suspended_outside", lambda _f, _k, _m: labels({**SUSPENDED}), labels=OUTSIDE)
creating("create_owned", lambda _f, _k, _m: owned())
creating(
    "create_mirror",
    lambda _f, k, _m: {"metadata": {"annotations": MIRROR}, "spec": {"nodeName": NODE} if k == "Pod" else {}},
)
creating("create_gated", lambda _f, k, _m: nested((*template_path(k), "spec"), {"schedulingGates": GATES}))
creating("create_paused", lambda _f, k, _m: paused(k))
creating("create_with_zero", lambda _f, k, _m: count(k, 0))


@attempt
def create_with_generated_name(field: Field, kind: str, flags: list[str]) -> Answer:
    manifest = work(kind, field.namespace, "new")
    manifest["metadata"] = {key: value for key, value in manifest["metadata"].items() if key != "name"}
    return field.create(laid_over(manifest, {"metadata": {"generateName": "new-"}}), flags)


@attempt
def create_mirror_of_node(field: Field, kind: str, flags: list[str]) -> Answer:
    uid = field.policies.cluster.get("node", NODE)["metadata"]["uid"]  # type: ignore[index] # as the API has it
    reference = {"apiVersion": "v1", "kind": "Node", "name": NODE, "uid": uid, "controller": True}
    metadata = {"annotations": MIRROR, "ownerReferences": [reference]}
    return field.create(work(kind, field.namespace, "new", metadata=metadata, nodeName=NODE), flags)


def _passed_on(kind: str) -> Any:
    """The label where a controller takes it from: a CronJob's in jobTemplate, else the pod template's."""
    return nested(("spec", "jobTemplate"), labels({**EXEMPT})) if kind == "CronJob" else template_labels(kind, EXEMPT)


# Objects from before the block.
changing("grow", "plain", lambda k: count(k, 4))
changing("grow_exempt", "exempt", lambda k: count(k, 4))
changing("grow_suspended", "held", lambda k: count(k, 4))
changing("grow_from_zero", "zero", lambda k: count(k, 4))
changing("grow_paused", "paused", lambda k: count(k, 4))
changing("complete_more", "indexed", lambda _: {"spec": {"completions": 4}})
changing("resume", "paused", lambda _: {"spec": {"suspend": False}})
changing("resume_suspended", "held", lambda _: {"spec": {"suspend": False}})
changing("resume_suspended_and_grow", "held", lambda k: laid_over(count(k, 4), {"spec": {"suspend": False}}))
changing(
    "unmark_and_resume",
    "held",
    lambda _: {"metadata": {"labels": dict.fromkeys(SUSPENDED)}, "spec": {"suspend": False}},
)
changing("widen", "plain", lambda k: nested((*template_path(k), "spec"), {"nodeSelector": None}))
changing("tolerate", "plain", lambda k: nested((*template_path(k), "spec"), {"tolerations": [{"operator": "Exists"}]}))
changing("select_others", "plain", lambda k: {"spec": {"selector": {"app": named("plain", k), "project": "x"}}})
changing("change_image", "plain", image)
changing("change_image_and_grow", "plain", lambda k: laid_over(image(k), count(k, 4)))
changing("name_pods_anew", "plain", lambda _: {"spec": {"ordinals": {"start": 5}}})
changing("exempt_template", "plain", _passed_on)
changing("become_mirror", "plain", lambda _: {"metadata": {"annotations": MIRROR}})
changing("release_gated", "gated", lambda _: {"spec": {"schedulingGates": None}})
changing("remove_one_of_two_gates", "gated-twice", lambda _: {"spec": {"schedulingGates": GATES}})
changing("label", "plain", lambda _: labels({"example.com/note": "a"}))
changing("label_exempt", "plain", lambda _: labels({**EXEMPT}))
changing("label_suspended", "plain", lambda _: labels({**SUSPENDED}))
changing("label_into_the_budget", "outside", lambda _: labels({"project": "x"}))
changing("label_out_of_the_budget", "plain", lambda _: labels({"project": "y"}))
changing("label_gated_into_the_budget", "gated-outside", lambda _: labels({"project": "x"}))
changing("relabel_template_into_the_budget", "outside", lambda k: template_labels(k, {"project": "x"}))
changing("relabel_template_out_of_the_budget", "plain", lambda k: template_labels(k, {"project": "y"}))
changing("relabel_paused_template", "paused-outside", lambda k: template_labels(k, {"project": "x"}))
scale = scaling("scale", "plain")
scale_exempt = scaling("scale_exempt", "exempt")
scaling("scale_suspended", "held")
scaling("scale_from_zero", "zero")


def of_a_pod(name: str, app: str, change: Manifest) -> None:
    """An attempt to change a pod that a controller made."""

    def tries(field: Field, kind: str, flags: list[str]) -> Answer:
        return field.patch(kind, field.pods(app)[0], change, flags)

    ATTEMPTS[name] = tries


NO_APP = labels({"app": None})
of_a_pod("leave_controller", "plain-replicaset", NO_APP)
of_a_pod("leave_replica_set", "plain-replicaset", NO_APP)
of_a_pod("leave_replication_controller", "plain-replicationcontroller", NO_APP)
of_a_pod("leave_daemon_set", "plain-daemonset", NO_APP)
of_a_pod("leave_stateful_set", "plain-statefulset", NO_APP)
of_a_pod("leave_job", "plain-job", labels({"batch.kubernetes.io/controller-uid": None}))
of_a_pod("drop_owner", "plain-replicaset", {"metadata": {"ownerReferences": None}})
of_a_pod("let_go", "plain-replicaset", {"metadata": {"ownerReferences": None}})
of_a_pod("release_gated_owned", "gated-job", {"spec": {"schedulingGates": None}})
of_a_pod("release_exempt_gated", "gated-exempt-job", {"spec": {"schedulingGates": None}})


@attempt
def grow_owned(field: Field, kind: str, flags: list[str]) -> Answer:
    """The ReplicaSet that the deployment controller made."""
    return field.patch(kind, field.get("replicasets", "plain-deployment")[0], count(kind, 4), flags)


@attempt
def leave_deployment(field: Field, kind: str, flags: list[str]) -> Answer:
    """The ReplicaSet that the deployment controller made."""
    return field.patch(kind, field.get("replicasets", "plain-deployment")[0], NO_APP, flags)


@attempt
def change_image_of_pod(field: Field, kind: str, flags: list[str]) -> Answer:
    container = field.read(kind, "plain-pod")["spec"]["containers"][0]
    return field.patch(kind, "plain-pod", {"spec": {"containers": [container | {"image": "busybox:other"}]}}, flags)


@attempt
def add_ephemeral_container(field: Field, kind: str, flags: list[str]) -> Answer:
    pod = field.read(kind, "plain-pod")
    pod["spec"]["ephemeralContainers"] = [{"name": "debug", "image": "busybox:dev"}]
    return field.raw("PUT", "plain-pod/ephemeralcontainers", pod, flags)


@attempt
def resize(field: Field, kind: str, flags: list[str]) -> Answer:
    pod = field.read(kind, "plain-pod")
    pod["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "20m"}}
    return field.raw("PUT", "plain-pod/resize", pod, flags)


@attempt
def bind_gated(field: Field, kind: str, flags: list[str]) -> Answer:
    target = {"apiVersion": "v1", "kind": "Node", "name": NODE}
    body = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "gated-pod"}, "target": target}
    return field.raw("POST", "gated-pod/binding", body, flags)
