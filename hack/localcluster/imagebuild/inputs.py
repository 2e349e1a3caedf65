"""Computes one hash of everything that an image is built from. An image with an unchanged hash is not built."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

FILES = ("Dockerfile", ".dockerignore", "pyproject.toml", "README.md", "LICENSE")
TREES = ("requirements", "core", "agent", "operator")


def sources(repo: Path) -> list[Path]:
    """Every file that the Dockerfile copies, and the Dockerfile; sorted."""
    found = [repo / name for name in FILES if (repo / name).is_file()]
    for tree in TREES:
        found += [
            path
            for path in (repo / tree).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
        ]
    return sorted(found)


def digest(repo: Path, paths: Iterable[Path], *also: str) -> str:
    """A hash of names, contents and executable bits, and of the given words."""
    total = hashlib.sha256(json.dumps(also).encode())
    for path in paths:
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        total.update(f"\n{path.relative_to(repo)} {path.stat().st_mode & 0o111} {content}".encode())
    return total.hexdigest()


@dataclass(frozen=True)
class Built:
    """The note beside an archive: of what it was made and what came of it."""

    image: str  # name and tag
    id: str  # sha256:... of the image's configuration: the same id is the same image
    inputs: str

    def save(self, archive: Path) -> None:
        archive.with_suffix(".json").write_text(json.dumps(asdict(self), indent=1) + "\n")


def built(archive: Path) -> Built | None:
    """The note of an archive that is there, if it is readable."""
    try:
        return Built(**json.loads(archive.with_suffix(".json").read_text())) if archive.is_file() else None
    except (OSError, ValueError, TypeError):
        return None
