"""A table of pods: those that get token, CA and variables, and those that stay as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PATH = "/var/run/secrets/carbonbudget.dev"
RUN = {"carbonbudget.dev/run": "exp-42"}
MODEL = RUN | {"carbonbudget.dev/model": "org.net", "carbonbudget.dev/model-version": "1.2"}
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
Pod = dict[str, Any]


def container(name: str = "train", **more: Any) -> Pod:
    return {"name": name, "image": "busybox:dev", "securityContext": RESTRICTED, **more}


def pod(name: str, labels: Mapping[str, str] = RUN, *containers: Pod, **spec: Any) -> Pod:
    annotations = spec.pop("annotations", {})
    body = {"containers": list(containers) or [container()], **spec}
    metadata = {"name": name, "labels": dict(labels), "annotations": annotations}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": body}


def mount(path: str, volume: str = "own") -> Pod:
    return {"name": volume, "mountPath": path}


OWN = {"name": "own", "emptyDir": {}}
BY_HAND = {
    "name": "carbonbudget-token",
    "projected": {"sources": [{"serviceAccountToken": {"audience": "carbonbudget-server", "path": "token"}}]},
}
CHANGED = [
    pod("plain"),
    pod("named-model", MODEL),
    pod("empty-names", RUN | {"carbonbudget.dev/model": "", "carbonbudget.dev/model-version": ""}),
    pod("several", MODEL, container("a"), container("b"), initContainers=[container("i"), container("j")]),
    pod("side-car", RUN, initContainers=[container("side", restartPolicy="Always")]),
    pod("empty-lists", RUN, container(env=[], volumeMounts=[]), volumes=[], initContainers=[]),
    pod("own-lists", RUN, container(env=[{"name": "A", "value": "b"}], volumeMounts=[mount("/data")]), volumes=[OWN]),
    pod("no-default-token", RUN, automountServiceAccountToken=False),
    pod("no-default-token-own", RUN, container(volumeMounts=[mount("/x")]), volumes=[OWN],
        automountServiceAccountToken=False),
    pod("windows", RUN, {"name": "train", "image": "x"}, os={"name": "windows"},
        nodeSelector={"kubernetes.io/os": "windows"}),
    pod("own-url", RUN, container(env=[{"name": "CARBONBUDGET_SERVER_URL", "value": "https://other"}])),
    pod("own-run", MODEL, container(env=[{"name": "CARBONBUDGET_RUN", "value": "mine"}])),
    pod("own-ca", RUN, container(env=[{"name": "CARBONBUDGET_CA", "value": "mine"}])),
    pod("own-ca-file", RUN, container(env=[{"name": "CARBONBUDGET_CA_FILE", "value": "/ca"}])),
    pod("own-token-file", RUN, container("a", env=[{"name": "CARBONBUDGET_TOKEN_FILE", "value": "/t"}]),
        container("b")),
    pod("only-own-token-file", RUN, container(env=[{"name": "CARBONBUDGET_TOKEN_FILE", "value": "/t"}])),
    pod("mount-above", RUN, container(volumeMounts=[mount("/var/run/secrets")]), container("b"), volumes=[OWN]),
    pod("mount-at-run", RUN, container(volumeMounts=[mount("/run/")]), volumes=[OWN]),
    pod("mount-below", RUN, container(volumeMounts=[mount(f"{PATH}/x")]), volumes=[OWN]),
    pod("mount-by-the-link", RUN, container(volumeMounts=[mount("/run/secrets/carbonbudget.dev")]), volumes=[OWN]),
    pod("mount-beside", RUN, container(volumeMounts=[mount(f"{PATH}ices"), mount("/var/runs")]), volumes=[OWN]),
    pod("large", MODEL, *(container(f"c{i}", env=[{"name": f"V{n}", "value": "v"} for n in range(100)])
        for i in range(30))),
    pod("projected-own", RUN, container(volumeMounts=[mount("/x")]), volumes=[
        {"name": "own", "projected": {"sources": [{"serviceAccountToken": {"audience": "a", "path": "b"}}]}}]),
]  # fmt: skip
LEFT = [
    pod("no-label", {}),
    pod("only-model", {"carbonbudget.dev/model": "m"}),
    pod("empty-run", {"carbonbudget.dev/run": ""}),
    pod("volume-of-that-name", RUN, volumes=[{"name": "carbonbudget-token", "emptyDir": {}}]),
    pod("by-hand", RUN, container(volumeMounts=[mount(PATH, "carbonbudget-token")]), volumes=[BY_HAND]),
    pod("mounted-there", RUN, container(volumeMounts=[mount(PATH)]), volumes=[OWN]),
    pod("mounted-there-by-one", RUN, container(), initContainers=[container("i", volumeMounts=[mount(f"{PATH}/")])],
        volumes=[OWN]),
]  # fmt: skip
