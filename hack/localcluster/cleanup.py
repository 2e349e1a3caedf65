"""Removes everything that a cluster created, in an order in which nothing is created again.

Works from what is there, not from what should be there: after a kill, a reboot or half a start alike.
Each function returns what it removed in a few words, or nothing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from . import cgroups, machine, netfilter, processes
from .components import ORDER
from .machine import Before
from .say import ClusterError
from .settings import MARK, NODE_VM, Settings


def end_processes(settings: Settings) -> str:
    """Components and the second node first (all at once), then our containerd's shims and what runs under them."""
    files = processes.PidFiles(settings.run / "pids")
    known = [(name, files.read(name)) for name in (NODE_VM, *reversed(ORDER))]
    identities = [identity for _, identity in known if identity]
    # The kubelet and containerd need no orderly end, because their data is deleted anyway.
    count = len(processes.end(identities, patience_s=3.0))
    for name, _ in known:
        files.remove(name)
    shims = processes.shims(settings.containerd_socket)
    pids = {*shims, *processes.descendants(shims)}
    for tree in cgroups.here():  # containers whose shim was killed are children of init by now
        pids |= cgroups.members(tree)
    containers = [identity for pid in pids if (identity := processes.identify(pid))]
    count += len(processes.end(containers, patience_s=5.0, kill=True))
    return f"{count} processes" if count else ""


def unmount(settings: Settings) -> str:
    """Everything mounted below our two directories, the deepest first."""
    below = (f"{settings.state}/", f"{settings.run}/")
    points = [p for p in _mount_points() if p.startswith(below)]
    for point in sorted(points, key=len, reverse=True):
        if subprocess.run(["umount", point], capture_output=True).returncode != 0:
            subprocess.run(["umount", "--lazy", point], capture_output=True)
    return f"{len(points)} mounts" if points else ""


def _mount_points() -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line.split()[4].replace("\\040", " ") for line in lines]


def remove_namespaces(before: Before) -> str:
    """The pods' network namespaces (cni-*), and with each its end of the veth pair."""
    directory = Path("/run/netns")
    found = _remove_names(directory, before)
    if str(directory) not in before.places:
        # The directory is a mount of its own (shared); other tools' namespaces would keep it. An `ip netns add` laid it
        # over itself: each name that was there is mounted once more, below.
        while str(directory) in _mount_points() and _unmount(directory):
            found |= _remove_names(directory, before)
    left = sorted(name for name in found if (directory / name).exists())
    done = f"{len(found) - len(left)} network namespaces" if len(found) > len(left) else ""
    return done + (f" (NOT removed, still mounted: {', '.join(left)} in {directory})" if left else "")


def _remove_names(directory: Path, before: Before) -> set[str]:
    """Unmounts and removes our names; returns them, those that could not be removed among them."""
    names = {e.name for e in directory.iterdir()} if directory.is_dir() else set()
    ours = {name for name in names if name.startswith("cni-") and name not in before.netns}
    for name in ours:
        _unmount(directory / name)
        try:
            (directory / name).unlink(missing_ok=True)
        except OSError:
            pass  # mounted once more
    return ours


def _unmount(point: Path) -> bool:
    return subprocess.run(["umount", "--lazy", str(point)], capture_output=True).returncode == 0


def remove_interfaces(settings: Settings) -> str:
    """The kernel removes a pair some moments after its namespace; what stays is removed by name."""
    first = machine.our_veths(settings)
    deadline = time.monotonic() + 3.0
    while (left := machine.our_veths(settings)) and time.monotonic() < deadline:
        time.sleep(0.1)
    for name in left:
        subprocess.run(["ip", "link", "delete", name], capture_output=True)
    return f"{len(first)} interfaces" if first else ""


def remove_cgroups(_: Settings) -> str:
    trees = cgroups.here()
    left = [str(tree) for tree in trees if not cgroups.remove(tree)]
    done = f"kubepods cgroups in {len(trees) - len(left)} hierarchies" if len(trees) > len(left) else ""
    return done + (f" (NOT removed, still busy: {', '.join(left)})" if left else "")


def remove_rules(before: Before) -> str:
    count, failed = netfilter.remove(before.chains)
    done = f"{count} iptables chains" if count else ""
    return done + (f" (NOT removed: {'; '.join(failed)})" if failed else "")


def restore_sysctls(before: Before) -> str:
    changed = []
    for name, value in before.sysctls.items():
        path = Path("/proc/sys") / name
        try:
            if path.read_text().strip() != value:
                path.write_text(value)
                changed.append(name.replace("/", "."))
        except OSError:
            continue  # gone with its kernel module
    return f"the changes of the sysctls {', '.join(changed)}" if changed else ""


def remove_places(settings: Settings, before: Before) -> str:
    """Directories of fixed names, where `up` did not find them; in the others only what is surely ours."""
    sockets = []
    for address in (settings.run / "containerd").glob("io.containerd.runtime.v2.task/*/*/address"):
        try:
            sockets.append(Path(address.read_text().removeprefix("unix://")))
        except OSError:
            continue
    for socket in sockets:
        socket.unlink(missing_ok=True)
    removed = []
    mounted = _mount_points()
    for place in machine.FIXED_PLACES:
        path = Path(place)
        used = any(point == place or point.startswith(f"{place}/") for point in mounted)
        if place not in before.places and path.is_dir() and not used:
            shutil.rmtree(path, ignore_errors=True)
            removed.append(place)
    link = Path("/var/lib/kubelet/pod-resources")
    if link.is_symlink() and os.readlink(link).startswith(str(settings.state)):
        link.unlink()
    return f"directories {', '.join(removed)}" if removed else ""


def remove_state(settings: Settings, logs_too: bool) -> str:
    """Our own directories. Never follows a mount: what cannot be unmounted is left and reported."""
    still = [p for p in _mount_points() if p.startswith((f"{settings.state}/", f"{settings.run}/"))]
    if still:
        return f"(state directory NOT removed, still mounted: {', '.join(still)})"
    shutil.rmtree(settings.run, ignore_errors=True)
    if logs_too:
        shutil.rmtree(settings.state, ignore_errors=True)
        return f"{settings.run} and {settings.state}"
    if settings.state.is_dir():
        used = []
        for entry in settings.state.iterdir():
            if entry.name not in ("logs", "logs.previous", MARK):
                try:
                    shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
                except FileNotFoundError:  # removed meanwhile
                    continue
                except OSError as error:  # most often a program that `up` did not start writes there
                    used.append(f"{entry}: {error.strerror}")
        done = f"{settings.run} and all of {settings.state} but logs/"
        return done + (f" (NOT removed: {'; '.join(used)})" if used else "")
    return str(settings.run)


def require_removed(texts: Iterable[str]) -> None:
    """Raise ClusterError if one of these, as `everything` returns them, names a part that was left."""
    if any("NOT removed" in text for text in texts):
        raise ClusterError("some parts named above could not be removed: find what uses them, then run `down` again")


def everything(settings: Settings, logs_too: bool = False) -> list[str]:
    """Remove everything. Without a record of the machine before `up`, remove only what is certainly ours."""
    before = machine.remembered(settings)
    steps: list[Callable[[], str]] = [lambda: unmount(settings)]
    if before is not None and before.boot != processes.boot_id():
        # After a reboot, objects in the kernel with our names belong to another program. Files are still ours.
        steps.append(lambda: remove_places(settings, before))
    elif before is not None:
        steps = [
            lambda: end_processes(settings),
            lambda: unmount(settings),
            lambda: remove_namespaces(before),
            lambda: remove_interfaces(settings),
            lambda: remove_cgroups(settings),
            lambda: remove_rules(before),
            lambda: restore_sysctls(before),
            lambda: remove_places(settings, before),
        ]
    steps.append(lambda: remove_state(settings, logs_too))
    return [text for step in steps if (text := step())]
