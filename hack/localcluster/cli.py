"""The command line of hack/cluster."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

from . import cleanup, existing, health, imports, lifecycle, lock, machine, packages, settings, tools
from .components import ORDER
from .lifecycle import Cluster
from .nodevm import cli as node_vm
from .say import ClusterError, line, step
from .settings import NODE_VM

ENVIRONMENT = """environment:
  CARBONBUDGET_CLUSTER_DIR           data, certificates, logs (/var/lib/carbonbudget-cluster)
  CARBONBUDGET_CLUSTER_RUN_DIR       sockets and pid files (/run/carbonbudget-cluster)
  CARBONBUDGET_CLUSTER_NODE          the node's name (node-1)
  CARBONBUDGET_CLUSTER_KUBELET_CERT  cluster: the kubelet's certificate is signed by the cluster's CA;
                                     self: it signs its own, as many clusters have it (cluster)
  KUBEBUILDER_ASSETS, PATH           where fitting programs are used instead of building them
  XDG_CACHE_HOME                     built programs lie in carbonbudget/tools below it (~/.cache)

exit codes of status: 0 healthy, 1 not healthy, 3 down"""


def _own(args: argparse.Namespace) -> settings.Settings:
    if existing.current():
        raise ClusterError(
            f"the cluster in use is your own ({existing.current()}): `hack/cluster down` forgets it, "
            "then this command works on the local one"
        )
    return settings.load()


def _up(args: argparse.Namespace) -> int:
    if existing.current():
        existing.check(existing.current() or "")
        line(f"using your own cluster ({existing.current()}): nothing to start")
        return 0
    conf = _own(args)
    machine.check_root()
    with lock.exclusive(conf.run.with_suffix(".lock")):
        lifecycle.up(conf)
    line(f"  export KUBECONFIG={conf.kubeconfig}")
    line(f"  export PATH={tools.bin_dir()}:$PATH")
    return 0


def _down(args: argparse.Namespace) -> int:
    if existing.current():
        existing.forget()
        line("your own cluster is forgotten; nothing in it was touched")
        return 0
    conf = settings.load()
    machine.check_root()
    if not conf.state.exists() and not conf.run.exists():
        line("the cluster is down already: nothing to remove")
        return 0
    for directory in (conf.state, conf.run):
        if directory.exists():
            lifecycle.claim(directory)
    with lock.exclusive(conf.run.with_suffix(".lock")):
        began = time.monotonic()
        texts = cleanup.everything(conf, logs_too=args.purge)
        for text in texts:
            line(f"  removed {text}")
    cleanup.require_removed(texts)
    line(f"the cluster is down ({time.monotonic() - began:.1f} s)")
    if not args.purge and conf.logs.is_dir():
        line(f"  logs are kept in {conf.logs} (`hack/cluster down --purge` removes them)")
    return 0


def _status(args: argparse.Namespace) -> int:
    if existing.current():
        line(f"your own cluster: {existing.current()}")
        return 0
    conf = settings.load()
    cluster = Cluster(conf)
    if not cluster.alive():
        line("the cluster is down")
        return 3
    parts = cluster.parts({name: Path(name) for name in ORDER})
    fine = True
    line(f"{'COMPONENT':<26}{'PID':>8}  HEALTHY")
    for name in ORDER:
        identity = cluster.pids.alive(name)
        healthy = identity is not None and parts[name].healthy()
        fine &= healthy
        line(f"{name:<26}{identity.pid if identity else '-':>8}  {'yes' if healthy else 'NO'}")
    node, dns = health.node_ready(conf), health.dns_ready(conf)
    line(f"{'coredns (pod)':<26}{'-':>8}  {'yes' if dns else 'NO'}")
    version = (health.api(conf, "/version") or {}).get("gitVersion", "unknown")
    ready = "Ready" if node else "NOT Ready"
    line(f"node {conf.node_name}: {ready}; version {version}; address {cluster.node_ip()}")
    if cluster.pids.alive(NODE_VM):
        line(f"{node_vm.state(conf)} (virtual machine)")
    line(f"kubeconfig: {conf.kubeconfig}")
    return 0 if fine and node and dns else 1


def _existing(args: argparse.Namespace) -> int:
    existing.use()
    return 0


def _kubeconfig(args: argparse.Namespace) -> int:
    path = existing.current() or str(settings.load().kubeconfig)
    if not existing.current() and not Path(path).exists():
        raise ClusterError("there is no cluster: start one with `hack/cluster up`")
    print(path)
    return 0


def _load(args: argparse.Namespace) -> int:
    if existing.current():
        raise ClusterError(
            "images get into a cluster of your own through its registry: push them there "
            "and set the chart's image values"
        )
    conf = settings.load()
    machine.check_root()
    if "containerd" not in Cluster(conf).alive():
        raise ClusterError("the cluster is down: start it with `hack/cluster up`")
    for archive in args.archives:
        with step(f"loading {archive.name}"):
            for name in imports.load(conf, [archive]):
                line(f"    {name}")
    return 0


def _bin(args: argparse.Namespace) -> int:
    print(tools.bin_dir())
    return 0


def _build(args: argparse.Namespace) -> int:
    packages.ensure(packages.CLUSTER)
    tools.ensure([*tools.TOOLS, "coredns"])
    return 0


def _one(args: argparse.Namespace) -> int:
    """stop, start and restart of one component."""
    conf = _own(args)
    machine.check_root()
    with lock.exclusive(conf.run.with_suffix(".lock")):
        cluster = Cluster(conf)
        if cluster.node_ip() is None:
            raise ClusterError("there is no cluster: start one with `hack/cluster up`")
        if args.verb in ("stop", "restart"):
            with step(f"stopping {args.component}"):
                if not cluster.stop(args.component, kill=args.kill):
                    line("    it was not running")
        if args.verb in ("start", "restart"):
            if cluster.pids.alive(args.component):
                line(f"{args.component} runs already")
                return 0
            part = cluster.parts(lifecycle.programs())[args.component]
            with step(f"starting {args.component}"):
                cluster.start(part)
                cluster.await_healthy(part)
    return 0


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="hack/cluster",
        epilog=ENVIRONMENT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=f"A whole Kubernetes {settings.KUBERNETES_VERSION} with one node on this Linux machine, "
        "without Docker: for demo, tests and benchmarks. Needs root; one cluster a machine.",
    )
    verbs = top.add_subparsers(dest="verb", required=True, metavar="COMMAND")

    def add(name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        verb = verbs.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        verb.set_defaults(run=run)
        return verb

    add("up", _up, "start the cluster, or repair or reuse the one that runs")
    add("down", _down, "end it and remove all it brought but its logs").add_argument(
        "--purge", action="store_true", help="remove the logs too"
    )
    add("status", _status, "show each component, the node and the kubeconfig")
    add("existing", _existing, "use the cluster of $KUBECONFIG instead (Kubernetes 1.30 or later)")
    add("kubeconfig", _kubeconfig, "print the path of the kubeconfig in use")
    add("load", _load, "import image archives (docker-archive or OCI tars) into the cluster").add_argument(
        "archives", nargs="+", type=Path, metavar="IMAGE.tar"
    )
    add("bin", _bin, "print the directory of kubectl, helm and the other programs, for PATH")
    add("build", _build, "install and build what `up` needs, start nothing")
    for name, text in (
        ("stop", "end one component, to see what the others do"),
        ("start", "start one component that was stopped"),
        ("restart", "stop and start one component"),
    ):
        verb = add(name, _one, text)
        verb.add_argument("component", choices=ORDER, metavar="COMPONENT", help=", ".join(ORDER))
        if name != "start":
            verb.add_argument("--kill", action="store_true", help="by SIGKILL instead of SIGTERM")
    node_vm.add_arguments(verbs.add_parser("node-vm", help=node_vm.HELP, description=node_vm.HELP + "."))
    top.set_defaults(kill=False, purge=False)
    return top


def main(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    run: Callable[[argparse.Namespace], int] = args.run
    return run(args)


def entry() -> None:
    from .say import run_main

    sys.exit(run_main(main, sys.argv[1:]))
