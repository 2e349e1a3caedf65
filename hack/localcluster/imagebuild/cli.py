"""The command line of hack/images."""

from __future__ import annotations

import argparse
import re
import sys
import time
from pathlib import Path

from .. import existing, imports, machine, packages, settings, static_images
from ..lifecycle import Cluster
from ..say import ClusterError, line, run_main, step
from ..settings import REPO
from . import builder, inputs

IMAGES = ("carbonbudget-agent", "carbonbudget-operator")


def _version() -> str:
    found = re.search(r'^version = "([^"]+)"', (REPO / "pyproject.toml").read_text(), re.MULTILINE)
    return found[1] if found else "dev"


def build(tag: str, output: Path, force: bool) -> list[Path]:
    """Builds both images where their inputs changed; returns their archives."""
    for needed in ("Dockerfile", "pyproject.toml", "requirements/agent.txt", "requirements/operator.txt"):
        if not (REPO / needed).is_file():
            raise ClusterError(f"{needed} is missing in {REPO}: the images are built from it (see `make lock`)")
    archives = [output / f"{name}.tar" for name in IMAGES]
    wanted = inputs.digest(REPO, inputs.sources(REPO), _version())
    notes = [inputs.built(archive) for archive in archives]
    current = [n is not None and n.inputs == wanted and n.image.endswith(f":{tag}") for n in notes]
    if all(current) and not force:
        line("  carbonbudget-agent and carbonbudget-operator are up to date")
        return archives
    machine.check_root()
    packages.ensure(packages.IMAGES)
    base = builder.base_of((REPO / "Dockerfile").read_text())
    with builder.Builder() as buildah:
        buildah.ensure_base(base)
        output.mkdir(parents=True, exist_ok=True)
        for name, archive in zip(IMAGES, archives, strict=True):
            image = f"{name}:{tag}"
            with step(f"building {image}", heartbeat=True):
                image_id = buildah.build(name, image, _version(), output / f"{name}.log")
                note = inputs.built(archive)
                if note is None or note.id != image_id or note.image != image:
                    buildah.export(image_id, image, archive)
                inputs.Built(image, image_id, wanted).save(archive)
        buildah.prune()
    return archives


def _load(archives: list[Path]) -> None:
    if existing.current():
        line("  not loaded: your own cluster gets images through its registry; push them there and set the "
             "chart's image values")  # fmt: skip
        return
    conf = settings.load()
    machine.check_root()
    if "containerd" not in Cluster(conf).alive():
        raise ClusterError("the cluster is down: start it with `hack/cluster up`, then load again")
    with step("loading the images into the cluster"):
        imports.load(conf, archives)


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="hack/images",
        description="Builds carbonbudget-agent and carbonbudget-operator from the Dockerfile with buildah, "
        "and the small images of the local cluster (busybox, pause, coredns), as docker-archives. Needs "
        "root. What did not change is not built again.",
    )
    top.add_argument("--load", action="store_true", help="import them into the cluster of hack/cluster")
    top.add_argument("--tag", default="dev", help="tag of our two images (dev)")
    top.add_argument("--output", type=Path, default=static_images.OUTPUT, help="directory (build/images)")
    top.add_argument("--force", action="store_true", help="build even if nothing changed")
    return top


def main(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    began = time.monotonic()
    line("images")
    output: Path = args.output.absolute()
    archives = build(args.tag, output, args.force) + static_images.all_of(output)
    if args.load:
        _load(archives)
    for archive in archives:
        note = inputs.built(archive)
        line(f"  {archive}" + (f"  {note.image}  {note.id[:19]}" if note else ""))
    line(f"done in {time.monotonic() - began:.1f} s")
    return 0


def entry() -> None:
    sys.exit(run_main(main, sys.argv[1:]))
