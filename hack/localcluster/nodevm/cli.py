"""The command line of `hack/cluster node-vm`."""

from __future__ import annotations

import argparse

from .. import existing, lock, machine, settings, tools
from ..say import ClusterError, line
from . import address, node

HELP = "a second node in a virtual machine (cgroup v2, systemd driver), beside the cluster that runs"


def add_arguments(verb: argparse.ArgumentParser) -> None:
    verb.set_defaults(run=run)
    actions = verb.add_subparsers(dest="action", required=True, metavar="ACTION")
    up = actions.add_parser("up", help="start it and wait until it is Ready")
    up.add_argument("--labels", default="", metavar="KEY=VALUE,...", help="labels with which the node registers")
    actions.add_parser("down", help="end it and remove it from the cluster")
    actions.add_parser("status", help="whether it is Ready; exit code 0 yes, 1 not, 3 down")
    inside = actions.add_parser("run", help="run a command on it as root")
    inside.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND")


def state(conf: settings.Settings) -> str:
    """`node NAME: Ready`, `NOT Ready` or `down`."""
    found = node.Node(conf)
    word = "down" if not found.alive() else "Ready" if found.ready() else "NOT Ready"
    return f"node {address.NAME}: {word}"


def run(args: argparse.Namespace) -> int:
    if existing.current():
        raise ClusterError("the cluster in use is your own: a node can be added to the local one only")
    conf = settings.load()
    machine.check_root()
    if args.action == "run":
        return node.shell(conf, args.command)
    if args.action == "status":
        text = state(conf)
        line(text)
        return {"down": 3, "Ready": 0}.get(text.partition(": ")[2], 1)
    with lock.exclusive(conf.run.with_suffix(".lock")):
        if args.action == "up":
            node.up(conf, args.labels)
        else:
            removed = node.down(conf, tools.bin_dir() / "kubectl")
            line("\n".join(f"  removed {text}" for text in removed) or "the node is down already: nothing to remove")
    return 0
