"""The chart's policies and webhook in the real API server, for namespaces of one's own.

They are what `helm template` renders, under names of their own and for labelled namespaces only, so that nothing
else in the cluster is checked by them. The webhook (webhook_process.py) is reached by a URL. The installed chart is
tried elsewhere (test_budget_effects.py); here statuses are written by hand, as the controller would.
"""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from tests.api_requests import api_requests
from tests.apiserver.webhook_process import Webhook
from tests.conftest import ROOT, Cluster
from tests.e2e.conftest import CHART, SYSTEM, Manifest, budget, wait_for

DENIED = " denied "  # as the API server tells of a policy and of a webhook


RUN_LABEL = "e2e.carbonbudget.dev/run"


OPERATOR = "system:serviceaccount:training:operator"


VALUES = {
    "enforcement": {
        "kinds": [
            {
                "kind": "TrainJob",
                "group": "train.example",
                "version": "v1",
                "resource": "trainjobs",
                "template": "spec.worker.template",
                "replicas": "spec.worker.count",
            }
        ],
        "controllerAccounts": [OPERATOR],
    }
}


_SCHEMA = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "x-kubernetes-preserve-unknown-fields": True,
            "properties": {
                "worker": {
                    "type": "object",
                    "x-kubernetes-preserve-unknown-fields": True,
                    "properties": {"count": {"type": "integer"}},
                }
            },
        },
        "status": {"type": "object", "properties": {"replicas": {"type": "integer"}}},
    },
}


TRAINJOBS = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "trainjobs.train.example"},
    "spec": {
        "group": "train.example",
        "scope": "Namespaced",
        "names": {"kind": "TrainJob", "plural": "trainjobs", "singular": "trainjob"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {
                    "scale": {"specReplicasPath": ".spec.worker.count", "statusReplicasPath": ".status.replicas"}
                },
                "schema": {"openAPIV3Schema": _SCHEMA},
            }
        ],
    },
}


def apply_crds(cluster: Cluster) -> None:
    """The chart's, established; they stay."""
    crds = str(ROOT / "charts" / "carbonbudget" / "files" / "crds")
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", crds)
    cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")


class ChartPolicies:
    """Rendered objects applied for one run; `webhook()` adds the process."""

    def __init__(self, cluster: Cluster, directory: Path) -> None:
        self.cluster, self.directory = cluster, directory
        self.run = uuid.uuid4().hex[:6]
        self.current: Webhook | None = None
        self._made: list[tuple[str, str]] = []
        (directory / "values.yaml").write_text(yaml.safe_dump(VALUES))

    def render(self, template: str) -> list[dict[str, Any]]:
        """One template's objects."""
        command = ("helm", "template", "carbonbudget", CHART, "-n", SYSTEM, "--kube-version", "1.34")
        text = self.cluster.run(
            *command, "-f", str(self.directory / "values.yaml"), "-s", f"templates/{template}"
        ).stdout
        return [document for document in yaml.safe_load_all(text) if document]

    def install(self) -> None:
        """The custom kind and the policies."""
        self._apply(TRAINJOBS)
        self.cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
        for document in self.render("admission-policy.yaml"):
            document["metadata"]["name"] = self.named(document["metadata"]["name"])
            if document["kind"] == "ValidatingAdmissionPolicy":
                self._limit(document["spec"]["matchConstraints"])
            else:
                document["spec"]["policyName"] = self.named(document["spec"]["policyName"])
            self._apply(document)

    def named(self, name: str) -> str:
        """A rendered object's name in this run."""
        return f"{name}-{self.run}"

    def remove(self) -> None:
        """Everything cluster-wide that was made, newest first."""
        for kind, name in reversed(self._made):
            self.cluster.kubectl("delete", kind, name, "--ignore-not-found", "--timeout=60s", check=False)

    @contextmanager
    def namespace(self, **labels: str) -> Iterator[str]:
        """A namespace that is checked."""
        name = f"e2e-{uuid.uuid4().hex[:8]}"
        metadata = {"name": name, "labels": {RUN_LABEL: self.run} | labels}
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        try:
            yield name
        finally:
            self.cluster.kubectl("delete", "namespace", name, "--wait=false")

    @contextmanager
    def webhook(self, *arguments: str) -> Iterator[Webhook]:
        """The webhook, running and registered."""
        process = self.current = Webhook(self.cluster, self.directory, VALUES["enforcement"]["kinds"], arguments)
        try:
            process.start()
            for document in self.render("admission.yaml"):
                if document["kind"] not in ("ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"):
                    continue
                document["metadata"]["name"] = self.named(document["metadata"]["name"])
                for hook in document["webhooks"]:
                    hook["clientConfig"] = {"url": f"{process.url}/validate", "caBundle": process.ca_bundle}
                    self._limit(hook)
                self._apply(document)
            yield process
        finally:
            process.stop()
            kinds = "validatingwebhookconfiguration,mutatingwebhookconfiguration"
            self.cluster.kubectl("delete", kinds, self.named("carbonbudget"), "--ignore-not-found")

    def apply(self, *manifests: Mapping[str, object]) -> None:
        """Apply objects."""
        self.cluster.kubectl("apply", "-f", "-", stdin="\n---\n".join(map(json.dumps, manifests)))

    def create(self, manifest: Manifest, *more: str) -> tuple[bool, str]:
        """Create an object as a person would: whether it was admitted, and what kubectl would write on stderr."""
        return api_requests(self.cluster).create(manifest, *more)

    def try_out(self, manifest: Manifest, *more: str) -> tuple[bool, str]:
        """The same as a server-side dry run, which is checked as the real one."""
        return self.create(manifest, "--dry-run=server", *more)

    def admitted(self, manifest: Manifest, *more: str) -> bool:
        """Whether it would be admitted now."""
        fine, said = self.try_out(manifest, *more)
        assert fine or DENIED in said, said  # refused by whom is asked for, not for a fault of its own
        return fine

    def refusal(self, manifest: Manifest, *more: str) -> str:
        """What it is refused with; waits for the API server to follow what was written."""

        def refused() -> str | None:
            fine, said = self.try_out(manifest, *more)
            return None if fine or DENIED not in said else said

        return wait_for("a refusal", refused, seconds=15)

    def wait_admitted(self, manifest: Manifest, *more: str, seconds: float = 15) -> None:
        """Wait for the API server to follow what was written."""
        wait_for("it to be admitted", lambda: self.admitted(manifest, *more), seconds)

    def block(
        self, namespace: str, name: str, percent: int = 110, until: dt.timedelta = dt.timedelta(hours=1), **spec: Any
    ) -> None:
        """A budget that blocks: a CarbonBudget, or a ClusterCarbonBudget where `namespace` is empty."""
        self.stand(namespace, name, percent, until, **{"limit": "1kg", "period": "Month"} | spec)

    def stand(
        self, namespace: str, name: str, percent: int, until: dt.timedelta | None, state: str = "", **spec: Any
    ) -> None:
        """A budget, and the status that the controller would write."""
        made = budget(namespace, name, **{"limit": "1kg", "period": "Month"} | spec)
        if not namespace:
            made |= {"kind": "ClusterCarbonBudget", "metadata": {"name": name}}
            self._made.append(("clustercarbonbudget", name))
        self.apply(made)
        now = dt.datetime.now(dt.UTC)
        status: dict[str, Any] = {
            "state": state or ("Exceeded" if percent >= 100 else "WithinBudget"),
            "action": "Block" if until else "Warn" if percent >= 80 else "",
            "percentUsed": percent,
            "usedMicrograms": percent * 10**7,
            "message": f"carbon budget {name}: used {percent} %",
            "period": {"start": instant(now - dt.timedelta(days=1)), "end": instant(now + dt.timedelta(days=1))},
            "enforcement": {"action": "Block", "until": instant(now + until)} if until else None,
        }
        self.patch(namespace, name, {"status": status}, "--subresource=status")
        self.patch(namespace, name, {"metadata": {"labels": {"carbonbudget.dev/blocking": "true" if until else None}}})

    def patch(self, namespace: str, name: str, change: Mapping[str, object], *more: str) -> None:
        """Merge a change into a budget."""
        where = ("-n", namespace, "patch", "carbonbudget") if namespace else ("patch", "clustercarbonbudget")
        self.cluster.kubectl(*where, name, "--type=merge", "-p", json.dumps(change), *more)

    def unblock(self, namespace: str, name: str) -> None:
        """Delete a budget."""
        where = ("-n", namespace, "delete", "carbonbudget") if namespace else ("delete", "clustercarbonbudget")
        self.cluster.kubectl(*where, name)

    def roll_out(self, namespace: str, deployment: str) -> None:
        """Wait until its pods are ready. Where no node is, they are said to be."""
        kubectl = self.cluster.kubectl
        ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
        patch = ("--subresource=status", "--type=merge", "-p", json.dumps({"status": ready}))

        def complete() -> bool:
            pods = (
                kubectl("-n", namespace, "get", "pods", "-o", "name").stdout.split() if not self.cluster.nodes else ()
            )
            for pod in pods:  # it may have gone since
                kubectl("-n", namespace, "patch", pod, *patch, check=False)
            status = kubectl("-n", namespace, "rollout", "status", f"deploy/{deployment}", "--watch=false").stdout
            return "successfully rolled out" in status

        wait_for(f"{deployment} to roll out", complete, 90)

    def schedule(self, space: str, name: str, job: Mapping[str, Any]) -> None:
        """A CronJob whose last minute was missed: its controller makes up for that at once, the next may be far."""
        spec = {"schedule": "* * * * *", "jobTemplate": {"spec": job["spec"]}}
        metadata = {"name": name, "namespace": space}
        self.apply({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": metadata, "spec": spec})
        missed = (dt.datetime.now(dt.UTC) - dt.timedelta(minutes=2)).strftime("%Y-%m-%dT%H:%M:%SZ")
        patch = json.dumps({"status": {"lastScheduleTime": missed}})
        write = ("-n", space, "patch", "cronjob", name, "--subresource=status", "--type=merge", "-p", patch)
        self.cluster.kubectl(*write)

    def events(self, namespace: str, reason: str) -> list[dict[str, Any]]:
        """Events of a namespace with this reason."""
        items = self.cluster.get("-n", namespace, "events")["items"]
        assert isinstance(items, list)
        return [event for event in items if event["reason"] == reason]

    def _apply(self, document: Mapping[str, Any]) -> None:
        self.apply(document)
        self._made.append((document["kind"].lower(), document["metadata"]["name"]))

    def _limit(self, holder: dict[str, Any]) -> None:
        holder["namespaceSelector"]["matchExpressions"].append(
            {"key": RUN_LABEL, "operator": "In", "values": [self.run]}
        )


def instant(at: dt.datetime) -> str:
    """As the API has it."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


@contextmanager
def chart_away(cluster: Cluster) -> Iterator[None]:
    """If the chart is installed, these are at 0 meanwhile: its controller would write the statuses itself, its
    webhook would check beside the one that is tried here."""
    away: dict[str, str] = {}
    for component in ("controller", "admission"):
        where = ("-n", SYSTEM, f"deploy/carbonbudget-{component}")
        replicas = cluster.kubectl(
            "get", *where[:2], where[2], "--ignore-not-found", "-o", "jsonpath={.spec.replicas}"
        ).stdout.strip()
        if replicas:
            away[component] = replicas
            cluster.kubectl("scale", "--replicas=0", *where)
    for component in away:
        pods = ("-n", SYSTEM, "get", "pods", "-l", f"app.kubernetes.io/component={component}", "-o", "name")
        wait_for(f"the {component} to end", lambda pods=pods: not cluster.kubectl(*pods).stdout.strip())
    try:
        yield
    finally:
        for component, replicas in away.items():
            cluster.kubectl("-n", SYSTEM, "scale", f"--replicas={replicas}", f"deploy/carbonbudget-{component}")
