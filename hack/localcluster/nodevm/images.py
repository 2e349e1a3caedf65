"""The node's images, unpacked here: under emulation the import of one alone takes minutes.

A containerd of its own, in a mount namespace of its own, fills the directory that becomes the node's containerd's.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from .. import components, health, imports
from ..say import ClusterError
from ..settings import NAMESPACE, Settings

# What runs on this node, from the cluster's containerd: the same content as on the first node.
NAMES = ("pause:dev", "busybox:dev", "carbonbudget-agent:dev")


def fill(here: Settings, root: Path) -> list[str]:
    """Fills `root` (containerd's) with those of the images that the cluster has; returns their names."""
    there = imports.ctr(here, "images", "ls", "-q").stdout.split()
    names = [full for name in NAMES if (full := imports.full_name(name)) in there]
    # A socket's path is short, and what the kernel ends with us leaves its files only here.
    with tempfile.TemporaryDirectory(prefix="images-", dir=here.run) as name:
        run = Path(name)
        archive = here.state / "node-vm" / "images.tar"
        _ctr(here.containerd_socket, "images", "export", str(archive), *names)
        server = _start(root, run, here.logs / "node-vm.images.log")
        try:
            socket = run / "sock"
            if not health.wait(lambda: health.containerd_ok(socket, NAMESPACE), 30.0):
                raise ClusterError("containerd for the node's images did not start: see node-vm.images.log in the logs")
            _ctr(socket, "images", "import", str(archive))
        finally:
            server.terminate()
            server.wait(20.0)
            archive.unlink(missing_ok=True)
    for leftover in ("tmpmounts", "io.containerd.grpc.v1.introspection"):
        shutil.rmtree(root / leftover, ignore_errors=True)
    return names


def _start(root: Path, run: Path, log: Path) -> subprocess.Popen[bytes]:
    config = run / "config.toml"
    config.write_text(
        f'version = 2\nroot = "{root}"\nstate = "{run}/state"\n'
        'disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]\n'
        f'[grpc]\n  address = "{run}/sock"\n'
    )
    command = ("setpriv", "--pdeathsig=KILL", "unshare", "--mount", "containerd", f"--config={config}")
    env = components.environment({"TMPDIR": str(run)})
    with log.open("wb") as out:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env)


def _ctr(socket: Path, *words: str) -> None:
    command = ["ctr", "--address", str(socket), "--namespace", NAMESPACE, *words]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        why = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ClusterError(f"ctr {' '.join(words[:2])} failed: {why}")
