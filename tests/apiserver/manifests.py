"""Workloads that nobody runs: checked at creation, mostly as dry runs."""

from __future__ import annotations

from typing import Any

from tests.e2e.conftest import Manifest

X = {"project": "x"}
SELECT_X = {"matchLabels": X}
OWNER = {"apiVersion": "batch/v1", "kind": "Job", "name": "x", "uid": "0" * 8, "controller": True}
ALL = ["Job", "Pod", "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "TrainJob"]


def a_template(labels: dict[str, str], restart: str = "Never", command: str = "true") -> dict[str, Any]:
    container = {
        "name": "c",
        "image": "busybox:dev",
        "command": ["sh", "-c", command],
        "resources": {"requests": {"cpu": "10m"}},
    }
    spec = {"restartPolicy": restart, "terminationGracePeriodSeconds": 1, "containers": [container]}
    return {"metadata": {"labels": labels}, "spec": spec}


def work(kind: str, namespace: str, name: str = "w", labels: dict[str, str] | None = None, **spec: Any) -> Manifest:
    """An object of a checked kind whose pods carry `labels` (project=x unless told) and app=NAME."""
    pods = {"app": name} | (X if labels is None else labels)
    metadata: dict[str, Any] = {"name": name, "namespace": namespace} | spec.pop("metadata", {})
    if kind == "Pod":
        template = a_template(pods)
        return {
            "apiVersion": "v1",
            "kind": kind,
            "metadata": {"labels": pods} | metadata,
            "spec": template["spec"] | spec,
        }
    if kind == "Job":
        body = {"template": a_template(pods, command=spec.pop("command", "true"))}
        return {"apiVersion": "batch/v1", "kind": kind, "metadata": metadata, "spec": body | spec}
    if kind == "CronJob":
        body = {"template": a_template(pods)}
        job: dict[str, Any] = {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": body}}
        return {"apiVersion": "batch/v1", "kind": kind, "metadata": metadata, "spec": job | spec}
    if kind == "TrainJob":
        worker = {"count": 2, "template": a_template(pods)} | spec
        return {"apiVersion": "train.example/v1", "kind": kind, "metadata": metadata, "spec": {"worker": worker}}
    body = {
        "selector": {"matchLabels": {"app": name}},
        "template": a_template(pods, "Always", spec.pop("command", "sleep 600")),
    }
    if kind == "ReplicationController":
        body["selector"] = {"app": name}
        return {"apiVersion": "v1", "kind": kind, "metadata": metadata, "spec": body | spec}
    if kind == "StatefulSet":
        body["serviceName"] = name
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": body | spec}
