"""Imports image archives into the cluster's containerd, which the kubelet uses."""

from __future__ import annotations

import json
import subprocess
import tarfile
from collections.abc import Iterable
from pathlib import Path

from .say import ClusterError
from .settings import NAMESPACE, Settings


def ctr(settings: Settings, *args: str) -> subprocess.CompletedProcess[str]:
    command = ["ctr", "--address", str(settings.containerd_socket), "--namespace", NAMESPACE, *args]
    return subprocess.run(command, capture_output=True, text=True)


def in_archive(archive: Path) -> dict[str, str]:
    """Image name -> id (the digest of its configuration) in a docker-archive; empty for other tars."""
    try:
        with tarfile.open(archive) as tar:
            member = tar.extractfile("manifest.json")
            images = json.load(member) if member else []
        return {
            name: "sha256:" + Path(image["Config"]).name.removesuffix(".json")
            for image in images
            for name in image.get("RepoTags") or []
        }
    except (tarfile.TarError, KeyError, ValueError, OSError):
        return {}


def _in_cluster(settings: Settings, name: str) -> str | None:
    """The id of the image that a name stands for in the cluster, where that is known."""
    listed = ctr(settings, "images", "ls", f"name=={full_name(name)}").stdout.splitlines()[1:]
    digest = listed[0].split()[2] if listed else ""
    if not digest.startswith("sha256:"):
        return None
    try:
        return str(json.loads(ctr(settings, "content", "get", digest).stdout)["config"]["digest"])
    except (ValueError, KeyError):
        return None  # an index: imported by somebody else


def full_name(name: str) -> str:
    """A short name as containerd stores it; a first part with a dot, colon or `localhost` is a registry."""
    first, slash, _ = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return name
    return f"docker.io/{name}" if slash else f"docker.io/library/{name}"


def load(settings: Settings, archives: Iterable[Path]) -> list[str]:
    """Imports docker-archive or OCI tars; returns the names of the images in them.

    An image that the cluster has under the same name and id is not imported again.
    """
    names: list[str] = []
    for archive in archives:
        if not archive.is_file():
            raise ClusterError(f"{archive} is not a file: build the images first with hack/images")
        there = in_archive(archive)
        if there and all(_in_cluster(settings, name) == image_id for name, image_id in there.items()):
            names += [f"{name} (there already)" for name in there]
            continue
        done = ctr(settings, "images", "import", str(archive))
        if done.returncode != 0:
            why = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise ClusterError(f"importing {archive} failed: {why}")
        for text in done.stdout.splitlines():
            if text.startswith("unpacking "):
                names.append(text.split()[1])
    return names
