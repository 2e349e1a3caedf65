"""Writes a container image as a docker-archive, from files alone: no builder, no registry.

The same content gives the same bytes (no times, sorted names), so an image's id says what is in it.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def architecture(machine: str | None = None) -> str:
    """Go's and OCI's name of this machine's architecture."""
    machine = machine or platform.machine()
    return ARCHITECTURES.get(machine, machine)


@dataclass(frozen=True)
class Entry:
    """One thing in the image's file system: a directory, a file (`content`) or a link (`link`)."""

    content: bytes | Path | None = None
    link: str | None = None
    mode: int = 0o755


def _info(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.mtime = kind, mode, 0
    return info


def layer(entries: Mapping[str, Entry]) -> bytes:
    """A layer's tar; paths without a leading slash, parents are made as needed."""
    wanted = dict(entries)
    for path in entries:
        for parent in list(Path(path).parents)[:-1]:
            wanted.setdefault(str(parent), Entry())
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path in sorted(wanted):
            entry = wanted[path]
            if entry.link is not None:
                info = _info(path, tarfile.SYMTYPE, 0o777)
                info.linkname = entry.link
                tar.addfile(info)
            elif entry.content is None:
                tar.addfile(_info(path, tarfile.DIRTYPE, entry.mode))
            else:
                data = entry.content if isinstance(entry.content, bytes) else entry.content.read_bytes()
                info = _info(path, tarfile.REGTYPE, entry.mode)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def write(
    target: Path,
    name: str,
    entries: Mapping[str, Entry],
    entrypoint: Sequence[str],
    user: str = "",
    command: Sequence[str] = (),
) -> str:
    """Writes the image `name` (with its tag) to `target`; returns its id, `sha256:...`."""
    content = layer(entries)
    digest = hashlib.sha256(content).hexdigest()
    run: dict[str, object] = {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]}
    run |= {k: v for k, v in {"Entrypoint": list(entrypoint), "Cmd": list(command), "User": user}.items() if v}
    config = json.dumps(
        {
            "architecture": architecture(),
            "os": "linux",
            "created": "1970-01-01T00:00:00Z",
            "config": run,
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        },
        sort_keys=True,
    ).encode()
    image_id = hashlib.sha256(config).hexdigest()
    manifest = [{"Config": f"{image_id}.json", "RepoTags": [name], "Layers": [f"{digest}.tar"]}]
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".partial")
    with tarfile.open(partial, "w", format=tarfile.USTAR_FORMAT) as tar:
        for path, data in (
            (f"{digest}.tar", content),
            (f"{image_id}.json", config),
            ("manifest.json", json.dumps(manifest).encode()),
        ):
            info = _info(path, tarfile.REGTYPE, 0o644)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    partial.rename(target)
    return f"sha256:{image_id}"
