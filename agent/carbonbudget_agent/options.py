"""The agent's options: from the command line, else the environment (CARBONBUDGET_<OPTION>), else the default."""

from __future__ import annotations

import argparse
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from carbonbudget_agent.meters.calibration import Calibration, parse_calibration
from carbonbudget_core.node_report import MAX_TEXT, WINDOW_SECONDS

_SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line. Ends the process with exit code 2 and a sentence for a bad option."""
    parser = argparse.ArgumentParser(
        prog="carbonbudget-agent",
        description="Measures this node's energy, attributes it to pods exactly, sends node reports.",
        epilog="Each option can be set as CARBONBUDGET_<OPTION> too, e.g. CARBONBUDGET_SERVER_URL.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="measure and send", description="Measure and send node reports.")
    meters = commands.add_parser(
        "meters", help="list what was detected, what was not, and why", description="List power sources."
    )
    for command in (run, meters):
        _add(command, "--sysfs", Path("/sys"), "root of sysfs", type=Path)
        _add(command, "--procfs", Path("/proc"), "root of procfs", type=Path)
        _add(command, "--instance-type", "", "the cloud's type of this machine; empty: as the API server says")
        _add(command, "--calibration", "", "factors on the CPU model's power: MACHINE=FACTOR,...; MACHINE is an "
             "instance type, a microarchitecture or *", type=_calibration)  # fmt: skip
    _add_run(run)
    options = parser.parse_args(arguments)
    if options.command == "run":
        _check(parser, options)
    return options


def _add_run(run: argparse.ArgumentParser) -> None:
    _switch(run, "--dry-run", "print each node report as one JSON line; store and send nothing")
    _add(run, "--windows", 0, "stop after this many windows; 0: never", type=int)
    _add(run, "--interval", 5, "seconds between samples, 1 to 30", type=int)
    _add(run, "--window", 60, f"seconds a report covers: {', '.join(map(str, WINDOW_SECONDS))}", type=int)
    _add(run, "--cluster", "default", "name of the cluster")
    _add(run, "--node-name", socket.gethostname(), "name of this node")
    _add(run, "--cgroup-root", Path("/sys/fs/cgroup"), "root of the cgroup file systems", type=Path)
    _add(run, "--pods-file", None, "a PodList in JSON, instead of asking for pods", type=Path)
    _add(run, "--kubelet-url", "", "ask the kubelet for pods instead of the API server")
    _add(run, "--host-ip", "", "this node's address; with --kubelet-port the kubelet's URL")
    _add(run, "--kubelet-port", 0, "ask the kubelet at --host-ip and this port; 0: not", type=int)
    _add(run, "--kubelet-ca", _existing(Path(_SERVICE_ACCOUNT, "ca.crt")), "CA of the kubelet's certificate", type=Path)
    _add(run, "--kubelet-token-file", Path(_SERVICE_ACCOUNT, "token"), "token for the kubelet", type=Path)
    _switch(run, "--kubelet-insecure-skip-verify", "send the token to whoever answers there; only for a trial")
    _add(run, "--api-url", _api_url(), "API server to watch this node's pods at")
    _add(run, "--api-ca", _existing(Path(_SERVICE_ACCOUNT, "ca.crt")), "CA of the API server", type=Path)
    _add(run, "--api-token-file", _existing(Path(_SERVICE_ACCOUNT, "token")), "token for it", type=Path)
    _add(run, "--pod-resources-socket", Path("/var/lib/kubelet/pod-resources/kubelet.sock"),
         "the kubelet's socket that lists the GPUs of containers", type=Path)  # fmt: skip
    _add(run, "--outbox", None, "directory of the durable queue and the checkpoint", type=Path)
    _add(run, "--server-url", "", "the carbonbudget server")
    _add(run, "--server-ca", None, "CA of its certificate", type=Path)
    _add(run, "--server-token-file", None, "token with the server's audience", type=Path)
    _add(run, "--metrics-listen", "", "ADDRESS:PORT of /metrics, or :PORT for all addresses; empty: none", type=_listen)
    _add(run, "--log-level", "info", "debug, info, warning or error")
    _add(run, "--log-format", "text", "text or json: one object a line")


def _add(parser: argparse.ArgumentParser, flag: str, default: object, text: str, **more: Any) -> None:
    variable = "CARBONBUDGET_" + flag[2:].replace("-", "_").upper()
    shown = f"; default: {default}" if default not in (None, "") else ""
    # A string default passes through `type` like a given value, so that a bad variable is a usage error.
    parser.add_argument(flag, default=os.environ.get(variable, default), help=text + shown, **more)


def _switch(parser: argparse.ArgumentParser, flag: str, text: str) -> None:
    given = os.environ.get("CARBONBUDGET_" + flag[2:].replace("-", "_").upper(), "") in ("1", "true")
    parser.add_argument(flag, action="store_true", default=given, help=text)


def _check(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    if options.window not in WINDOW_SECONDS:
        parser.error(f"--window must be one of {', '.join(map(str, WINDOW_SECONDS))}, not {options.window}")
    if not 1 <= options.interval <= 30:
        parser.error(f"--interval must be 1 to 30 seconds, not {options.interval}")
    if options.windows < 0:
        parser.error("--windows must be 0 or more")
    for name in ("cluster", "node_name"):
        text = getattr(options, name)
        if not text or not text.isprintable() or len(text) > MAX_TEXT:
            parser.error(f"--{name.replace('_', '-')} must be a name of 1 to {MAX_TEXT} printable characters")
    if options.log_format not in ("text", "json"):
        parser.error(f"--log-format must be text or json, not {options.log_format!r}")
    if options.log_level not in ("debug", "info", "warning", "error"):
        parser.error(f"--log-level must be debug, info, warning or error, not {options.log_level!r}")
    if not options.dry_run and not (options.server_url and options.outbox):
        parser.error("--server-url and --outbox are needed, or --dry-run to print the reports")
    if options.kubelet_port and not options.kubelet_url:
        options.kubelet_url = _https_url(options.host_ip, options.kubelet_port)
        if not _is_url(options.kubelet_url):
            parser.error("--kubelet-port needs --host-ip, this node's address, and must be 1 to 65535")
    for name in ("server_url", "kubelet_url", "api_url"):
        if (url := getattr(options, name)) and not _is_url(url):
            parser.error(f"--{name.replace('_', '-')} must be an http or https URL, not {url!r}")
    if not (options.pods_file or options.kubelet_url or options.api_url):
        parser.error("no source of pods: give --pods-file, --kubelet-url or --api-url")


def _listen(text: str) -> tuple[str, int] | None:
    """Host and port; an empty host means all addresses, IPv4 and IPv6. `[::1]:9109` has the host `::1`."""
    if not text:
        return None
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or len(port) > 5 or not 0 < int(port) < 65536:
        raise argparse.ArgumentTypeError(f"must be ADDRESS:PORT, or :PORT for all addresses, not {text!r}")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number
        return False


def _calibration(text: str) -> Calibration:
    try:
        return parse_calibration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _api_url() -> str:
    host = os.environ.get("KUBERNETES_SERVICE_HOST", "")
    return _https_url(host, os.environ.get("KUBERNETES_SERVICE_PORT", "443")) if host else ""


def _https_url(host: str, port: object) -> str:
    return f"https://{f'[{host}]' if ':' in host else host}:{port}"


def _existing(path: Path) -> Path | None:
    return path if path.exists() else None
