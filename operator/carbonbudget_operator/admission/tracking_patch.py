"""The JSON patch that gives a pod with a run label the token, the CA and the variables of carbonbudget's client. Pure.

The same rules are in CEL in the chart's templates/_tracking.tpl, for clusters with MutatingAdmissionPolicy.
tests/apiserver/test_tracked_pods.py creates the same pods by both and compares them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from carbonbudget_core.jsons import JsonObject, at, items, text
from carbonbudget_operator.run_labels import MODEL, MODEL_VERSION, RUN

MOUNT_PATH: Final = "/var/run/secrets/carbonbudget.dev"
TOKEN_FILE: Final = f"{MOUNT_PATH}/token"
VOLUME: Final = "carbonbudget-token"
AUDIENCE: Final = "carbonbudget-server"
TOKEN_SECONDS: Final = 3600
# Linux starts no process with a variable of 128 KiB. A CA bundle that is longer than this is not injected.
MOST_CA_CHARACTERS: Final = 32 * 2**10
_MIRROR: Final = "kubernetes.io/config.mirror"
# A runtime cannot make our folder in a read-only volume that is mounted at one of these. In most images /var/run is a
# link to /run.
_ABOVE: Final = frozenset(("/var/", "/var/run/", "/var/run/secrets/", "/run/", "/run/secrets/"))
_AT_OR_BELOW: Final = (f"{MOUNT_PATH}/", f"{MOUNT_PATH.removeprefix('/var')}/")
_VARIABLES: Final = (
    ("CARBONBUDGET_RUN", RUN),
    ("CARBONBUDGET_MODEL", MODEL),
    ("CARBONBUDGET_MODEL_VERSION", MODEL_VERSION),
)

Operation = dict[str, object]


def tracking_patch(pod: JsonObject, server_url: str, ca: str) -> list[Operation]:
    """Returns the operations of a JSON patch (RFC 6902, `add` alone) for a pod that is being created.

    The list is empty for a pod that must stay as it is: without a run label, a mirror pod (the API server refuses
    tokens in it), and a pod that mounts something at MOUNT_PATH or has a volume called VOLUME, so that a second call
    changes nothing. `ca` is PEM; it is left out if it is empty or longer than MOST_CA_CHARACTERS.
    """
    metadata, spec = at(pod, "metadata"), at(pod, "spec")
    labels = at(metadata, "labels")
    volumes = items(spec.get("volumes"))
    containers = [
        (f"/spec/{kind}/{index}", container)
        for kind in ("containers", "initContainers")
        for index, container in enumerate(items(spec.get(kind)))
    ]
    if (
        not text(labels.get(RUN))
        or _MIRROR in at(metadata, "annotations")
        or any(text(at(volume).get("name")) == VOLUME for volume in volumes)
        or any(path == f"{MOUNT_PATH}/" for _, container in containers for path in _mount_paths(container))
    ):
        return []

    patch: list[Operation] = []
    mounted = False
    for where, container in containers:
        names = {text(at(one).get("name")) for one in items(at(container).get("env"))}
        gets_token = "CARBONBUDGET_TOKEN_FILE" not in names and not any(map(_occupies, _mount_paths(container)))
        wanted = {"CARBONBUDGET_SERVER_URL": server_url}
        if gets_token:
            wanted["CARBONBUDGET_TOKEN_FILE"] = TOKEN_FILE
        if 0 < len(ca) <= MOST_CA_CHARACTERS and "CARBONBUDGET_CA_FILE" not in names:
            wanted["CARBONBUDGET_CA"] = ca
        wanted |= {name: value for name, label in _VARIABLES if (value := text(labels.get(label)))}
        missing = [{"name": name, "value": value} for name, value in wanted.items() if name not in names]
        patch += _appended(container, where, "env", missing)
        if gets_token:
            mounted = True
            mount = {"name": VOLUME, "mountPath": MOUNT_PATH, "readOnly": True}
            patch += _appended(container, where, "volumeMounts", [mount])
    if mounted:
        token = {"audience": AUDIENCE, "expirationSeconds": TOKEN_SECONDS, "path": "token"}
        volume = {"name": VOLUME, "projected": {"sources": [{"serviceAccountToken": token}]}}
        patch += _appended(spec, "/spec", "volumes", [volume])
    return patch


def _appended(holder: object, where: str, name: str, values: Sequence[Mapping[str, object]]) -> list[Operation]:
    """Operations that append values to a list that may be absent."""
    path = f"{where}/{name}"
    made: list[Operation] = []
    if values and not items(at(holder).get(name)):
        made.append({"op": "add", "path": path, "value": []})
    made += ({"op": "add", "path": f"{path}/-", "value": value} for value in values)
    return made


def _mount_paths(container: object) -> list[str]:
    """The container's mount paths, each with one slash at its end."""
    mounts = items(at(container).get("volumeMounts"))
    return [(text(at(mount).get("mountPath")) + "/").replace("//", "/") for mount in mounts]


def _occupies(path: str) -> bool:
    """Whether a mount at this path could keep the runtime from mounting at MOUNT_PATH, or would be hidden by it."""
    return path in _ABOVE or path.startswith(_AT_OR_BELOW)
