"""The node report: one node's window, the only thing agent and operator share.

Law of this module: plain dataclasses, parsing and checks, standard library only. It does no I/O and
reads no clock, so that a report means the same on the node that wrote it, in the server that
receives it and in the file that `carbonbudget ledger import` reads.

Units: energy in integer microjoules (``_uj``), time in whole UTC seconds or milliseconds (``_ms``),
CPU time in microseconds (``_us``). Windows are half-open: [window_start, window_end).

The wire form is JSON; fields may be added within version 1 and are ignored by older readers, never
renamed. A domain conserves when::

    measured_uj == idle_uj + system_uj + unseen_uj + sum over pods (energy_uj + idle_uj)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from carbonbudget_agent.jsons import parse_json

REPORT_VERSION: Final = 1
METHODS: Final = ("rapl", "hwmon", "nvml", "model")
BOUNDARIES: Final = ("package", "board", "wall")
WINDOW_SECONDS: Final = (10, 15, 20, 30, 60)
MAX_LABELS: Final = 64
MAX_TEXT: Final = 512
# As Kubernetes bounds a label's key: a name, and before a slash a domain.
MAX_LABEL_NAME: Final = 63
MAX_LABEL_PREFIX: Final = 253
# Far above any real figure (a year of a 1 GW node), and far enough below a database's 2**63 - 1.
MAX_INTEGER: Final = 2**60


class ReportError(ValueError):
    """A report that cannot be accepted; its message is one line that says what is wrong."""


@dataclass(frozen=True, slots=True)
class Allocatable:
    """What the node offers to pods: CPU in millicores, memory in bytes, whole GPUs."""

    cpu_millicores: int = 0
    memory_bytes: int = 0
    gpus: int = 0


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """What is known of the node; an empty string means not known. `threads` are logical CPUs."""

    provider_id: str = ""
    region: str = ""
    zone: str = ""
    instance_type: str = ""
    cpu_model: str = ""
    threads: int = 0
    memory_bytes: int = 0
    allocatable: Allocatable = field(default_factory=Allocatable)


@dataclass(frozen=True, slots=True)
class Domain:
    """One meter's energy over the window, and the parts of it that belong to no pod.

    `duration_ms` is the time the meter really covered. A modelled domain also carries its range
    (`low_uj` <= measured_uj <= `high_uj`); a measured one carries none.
    """

    name: str
    method: str
    boundary: str
    duration_ms: int
    measured_uj: int
    idle_uj: int
    system_uj: int
    unseen_uj: int
    low_uj: int | None = None
    high_uj: int | None = None


@dataclass(frozen=True, slots=True)
class Controller:
    """The pod's controlling owner as the pod itself names it (a ReplicaSet, not its Deployment)."""

    kind: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Requests:
    """What the pod reserves: CPU in millicores, memory in bytes, whole GPUs."""

    cpu_millicores: int = 0
    memory_bytes: int = 0
    gpus: int = 0


@dataclass(frozen=True, slots=True)
class PodUsage:
    """One pod's share of the window: energy and held idle per domain, and what it used.

    `duration_ms` is how long the pod was seen within the window; the request integrals of the ledger
    are `requests` times that.
    """

    uid: str
    namespace: str
    name: str
    controller: Controller | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    energy_uj: Mapping[str, int] = field(default_factory=dict)
    idle_uj: Mapping[str, int] = field(default_factory=dict)
    cpu_us: int = 0
    memory_byte_seconds: int = 0
    gpu_ms: int = 0
    requests: Requests = field(default_factory=Requests)
    duration_ms: int = 0


@dataclass(frozen=True, slots=True)
class NodeReport:
    """One node's window. (cluster, node, boot_id, window_start, part) names it for ever."""

    cluster: str
    node: str
    boot_id: str
    window_start: int
    window_end: int
    domains: tuple[Domain, ...]
    pods: tuple[PodUsage, ...]
    node_info: NodeInfo = field(default_factory=NodeInfo)
    part: int = 0
    since: int = -1  # -1: same as window_start, that is, no gap before it
    version: int = REPORT_VERSION

    def __post_init__(self) -> None:
        """`since` left out means that the report covers its own window only."""
        if self.since < 0:
            object.__setattr__(self, "since", self.window_start)

    @property
    def key(self) -> tuple[str, str, str, int, int]:
        """What makes a report count once, however often it arrives."""
        return (self.cluster, self.node, self.boot_id, self.window_start, self.part)


def check_report(report: NodeReport) -> None:
    """Raise `ReportError` unless times are aligned, names known and every domain conserves."""
    length = report.window_end - report.window_start
    if length not in WINDOW_SECONDS or report.window_start % length:
        raise ReportError(
            f"window [{report.window_start}, {report.window_end}) is not one of "
            f"{', '.join(map(str, WINDOW_SECONDS))} seconds aligned to UTC"
        )
    if report.since > report.window_start:
        raise ReportError(f"since {report.since} lies after window_start {report.window_start}")
    shares: dict[str, int] = {}
    for domain in report.domains:
        if domain.name in shares:
            raise ReportError(f"domain {domain.name!r} appears twice")
        shares[domain.name] = domain.idle_uj + domain.system_uj + domain.unseen_uj
        if domain.low_uj is not None and domain.low_uj > domain.measured_uj:
            raise ReportError(f"domain {domain.name!r}: low_uj is above measured_uj")
        if domain.high_uj is not None and domain.high_uj < domain.measured_uj:
            raise ReportError(f"domain {domain.name!r}: high_uj is below measured_uj")
    seen: set[str] = set()
    for pod in report.pods:
        if pod.uid in seen:
            raise ReportError(f"pod uid {pod.uid!r} appears twice")
        seen.add(pod.uid)
        for part in (pod.energy_uj, pod.idle_uj):
            for name, energy_uj in part.items():
                if name not in shares:
                    raise ReportError(f"pod {pod.uid!r} has energy in domain {name!r}, which the report lacks")
                shares[name] += energy_uj
    for domain in report.domains:
        if shares[domain.name] != domain.measured_uj:
            raise ReportError(
                f"domain {domain.name!r} does not conserve: measured_uj {domain.measured_uj}, "
                f"but idle, system, unseen and pods add up to {shares[domain.name]}"
            )


def encode_report(report: NodeReport) -> str:
    """The report as one line of compact JSON; `decode_report` reads it back to an equal value."""
    return json.dumps(_to_json(report), separators=(",", ":"))


def decode_report(text: str | bytes) -> NodeReport:
    """Parse and check one report; every defect is a `ReportError` of one line."""
    try:
        value = parse_json(text)
    except ValueError as error:
        raise ReportError(f"not JSON: {error}") from None
    return report_of_json(value)


def report_of_json(value: object) -> NodeReport:
    """The report that a JSON value is; every defect is a `ReportError` of one line."""
    report = _parse(value)
    check_report(report)
    return report


def _to_json(report: NodeReport) -> dict[str, object]:
    info, allocatable = report.node_info, report.node_info.allocatable
    return {
        "version": report.version,
        "cluster": report.cluster,
        "node": report.node,
        "boot_id": report.boot_id,
        "window_start": report.window_start,
        "window_end": report.window_end,
        "part": report.part,
        "since": report.since,
        "node_info": {
            "provider_id": info.provider_id,
            "region": info.region,
            "zone": info.zone,
            "instance_type": info.instance_type,
            "cpu_model": info.cpu_model,
            "threads": info.threads,
            "memory_bytes": info.memory_bytes,
            "allocatable": _resources(allocatable),
        },
        "domains": [_domain_json(domain) for domain in report.domains],
        "pods": [_pod_json(pod) for pod in report.pods],
    }


def _resources(value: Allocatable | Requests) -> dict[str, int]:
    return {"cpu_millicores": value.cpu_millicores, "memory_bytes": value.memory_bytes, "gpus": value.gpus}


def _domain_json(domain: Domain) -> dict[str, object]:
    value: dict[str, object] = {
        "name": domain.name,
        "method": domain.method,
        "boundary": domain.boundary,
        "duration_ms": domain.duration_ms,
        "measured_uj": domain.measured_uj,
        "idle_uj": domain.idle_uj,
        "system_uj": domain.system_uj,
        "unseen_uj": domain.unseen_uj,
    }
    if domain.low_uj is not None:
        value["low_uj"] = domain.low_uj
    if domain.high_uj is not None:
        value["high_uj"] = domain.high_uj
    return value


def _pod_json(pod: PodUsage) -> dict[str, object]:
    value: dict[str, object] = {"uid": pod.uid, "namespace": pod.namespace, "name": pod.name}
    if pod.controller is not None:
        value["controller"] = {
            "kind": pod.controller.kind,
            "name": pod.controller.name,
            "uid": pod.controller.uid,
        }
    return value | {
        "labels": dict(pod.labels),
        "energy_uj": dict(pod.energy_uj),
        "idle_uj": dict(pod.idle_uj),
        "cpu_us": pod.cpu_us,
        "memory_byte_seconds": pod.memory_byte_seconds,
        "gpu_ms": pod.gpu_ms,
        "requests": _resources(pod.requests),
        "duration_ms": pod.duration_ms,
    }


# The parser below is written out, not derived: it runs once per node and window in the server, where
# a model library costs ten times as much, and its sentences are what an operator reads in a 400.


def _parse(value: object) -> NodeReport:
    top = _object(value, "the report")
    version = _integer(top, "version", "")
    if version != REPORT_VERSION:
        raise ReportError(f"version {version} is not supported, this reader knows {REPORT_VERSION}")
    window_start = _integer(top, "window_start", "")
    since = _integer(top, "since", "", default=window_start)
    return NodeReport(
        cluster=_text(top, "cluster", ""),
        node=_text(top, "node", ""),
        boot_id=_text(top, "boot_id", ""),
        window_start=window_start,
        window_end=_integer(top, "window_end", ""),
        part=_integer(top, "part", "", default=0),
        since=since,
        node_info=_parse_node_info(_object(top.get("node_info", {}), "node_info")),
        domains=tuple(
            _parse_domain(_object(item, f"domains[{i}]"), f"domains[{i}].")
            for i, item in enumerate(_array(top, "domains"))
        ),
        pods=tuple(
            _parse_pod(_object(item, f"pods[{i}]"), f"pods[{i}].") for i, item in enumerate(_array(top, "pods"))
        ),
    )


def _parse_node_info(value: Mapping[str, object]) -> NodeInfo:
    where = "node_info."
    resources = _object(value.get("allocatable", {}), where + "allocatable")
    return NodeInfo(
        provider_id=_text(value, "provider_id", where, default=""),
        region=_text(value, "region", where, default=""),
        zone=_text(value, "zone", where, default=""),
        instance_type=_text(value, "instance_type", where, default=""),
        cpu_model=_text(value, "cpu_model", where, default=""),
        threads=_integer(value, "threads", where, default=0),
        memory_bytes=_integer(value, "memory_bytes", where, default=0),
        allocatable=Allocatable(*_three(resources, where + "allocatable.")),
    )


def _parse_domain(value: Mapping[str, object], where: str) -> Domain:
    method, boundary = _text(value, "method", where), _text(value, "boundary", where)
    if method not in METHODS:
        raise ReportError(f"{where}method {method!r} is none of {', '.join(METHODS)}")
    if boundary not in BOUNDARIES:
        raise ReportError(f"{where}boundary {boundary!r} is none of {', '.join(BOUNDARIES)}")
    return Domain(
        name=_text(value, "name", where),
        method=method,
        boundary=boundary,
        duration_ms=_integer(value, "duration_ms", where),
        measured_uj=_integer(value, "measured_uj", where),
        idle_uj=_integer(value, "idle_uj", where),
        system_uj=_integer(value, "system_uj", where),
        unseen_uj=_integer(value, "unseen_uj", where),
        low_uj=_integer(value, "low_uj", where) if "low_uj" in value else None,
        high_uj=_integer(value, "high_uj", where) if "high_uj" in value else None,
    )


def _parse_pod(value: Mapping[str, object], where: str) -> PodUsage:
    owner = value.get("controller")
    controller = None
    if owner is not None:
        fields = _object(owner, where + "controller")
        at = where + "controller."
        controller = Controller(_text(fields, "kind", at), _text(fields, "name", at), _text(fields, "uid", at))
    labels = _object(value.get("labels", {}), where + "labels")
    requests = _object(value.get("requests", {}), where + "requests")
    if len(labels) > MAX_LABELS:
        raise ReportError(f"{where}labels has {len(labels)} entries, {MAX_LABELS} are allowed")
    for key in labels:
        if len(key) > MAX_LABEL_NAME or not key.isprintable():
            _check_label_key(key, where)
    return PodUsage(
        uid=_text(value, "uid", where),
        namespace=_text(value, "namespace", where),
        name=_text(value, "name", where),
        controller=controller,
        labels={key: _text(labels, key, where + "labels.", default="") for key in labels},
        energy_uj=_energies(value, "energy_uj", where),
        idle_uj=_energies(value, "idle_uj", where),
        cpu_us=_integer(value, "cpu_us", where, default=0),
        memory_byte_seconds=_integer(value, "memory_byte_seconds", where, default=0),
        gpu_ms=_integer(value, "gpu_ms", where, default=0),
        requests=Requests(*_three(requests, where + "requests.")),
        duration_ms=_integer(value, "duration_ms", where, default=0),
    )


def _check_label_key(key: str, where: str) -> None:
    prefix, _, name = key.rpartition("/")
    if len(prefix) > MAX_LABEL_PREFIX or len(name) > MAX_LABEL_NAME or not key.isprintable():
        raise ReportError(
            f"{where}labels has a key that is longer than {MAX_LABEL_PREFIX} and, after a slash, {MAX_LABEL_NAME} "
            "characters, or holds unprintable ones"
        )


def _energies(value: Mapping[str, object], key: str, where: str) -> dict[str, int]:
    energies = _object(value.get(key, {}), where + key)
    return {domain: _integer(energies, domain, f"{where}{key}.") for domain in energies}


def _three(value: Mapping[str, object], where: str) -> tuple[int, int, int]:
    return (
        _integer(value, "cpu_millicores", where, default=0),
        _integer(value, "memory_bytes", where, default=0),
        _integer(value, "gpus", where, default=0),
    )


def _object(value: object, where: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise ReportError(f"{where} is not a JSON object")
    return value


def _array(value: Mapping[str, object], key: str) -> list[object]:
    found = value.get(key)
    if not isinstance(found, list):
        raise ReportError(f"{key} is missing or not a list")
    return found


def _integer(value: Mapping[str, object], key: str, where: str, default: int | None = None) -> int:
    found = value.get(key, default)
    # bool is an int in Python, but `true` is not a number of microjoules.
    if type(found) is not int:
        raise ReportError(f"{where}{key} is missing or not an integer")
    if not 0 <= found <= MAX_INTEGER:
        raise ReportError(f"{where}{key} is {found}, outside 0 to {MAX_INTEGER}")
    return found


def _text(value: Mapping[str, object], key: str, where: str, default: str | None = None) -> str:
    found = value.get(key, default)
    if not isinstance(found, str) or (default is None and not found):
        raise ReportError(f"{where}{key} is missing or not a text")
    if len(found) > MAX_TEXT or not found.isprintable():
        raise ReportError(f"{where}{key} is longer than {MAX_TEXT} characters or holds unprintable ones")
    return found
