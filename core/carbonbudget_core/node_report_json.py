"""Encodes and decodes the JSON of node reports, for the agent, the server and `ledger import`.

Within version 1, fields may be added, which older readers ignore; none is renamed. Standard library only, no I/O.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TypeVar, cast

from carbonbudget_core.jsons import parse_json
from carbonbudget_core.node_report import (
    BOUNDARIES,
    MAX_INTEGER,
    MAX_LABEL_NAME,
    MAX_LABEL_PREFIX,
    MAX_LABELS,
    MAX_TEXT,
    METHODS,
    REPORT_VERSION,
    Allocatable,
    DomainUse,
    NodeInfo,
    NodeReport,
    PodController,
    PodRequests,
    PodUsage,
    ReportError,
    check_report,
)

T = TypeVar("T")


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
    """Parse and check the report in a decoded JSON value; every defect is a `ReportError` of one line."""
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


def _resources(value: Allocatable | PodRequests) -> dict[str, int]:
    return {"cpu_millicores": value.cpu_millicores, "memory_bytes": value.memory_bytes, "gpus": value.gpus}


def _domain_json(domain: DomainUse) -> dict[str, object]:
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


# The parser is written by hand. It runs once for each node and window in the server, where a model library costs ten
# times as much, and an operator reads its error messages. `where` is the text before a field's name in them. It is
# always a constant, because composing it for each pod took a tenth of the time.


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
        domains=_each(top, "domains", _parse_domain),
        pods=_each(top, "pods", _parse_pod),
    )


def _each(top: Mapping[str, object], key: str, parse: Callable[[Mapping[str, object]], T]) -> tuple[T, ...]:
    """The items of a list; a defect's sentence begins with where it is."""
    items = top.get(key)
    if not isinstance(items, list):
        raise ReportError(f"{key} is missing or not a list")
    parsed: list[T] = []
    try:
        for item in items:
            parsed.append(parse(_object(item, "")))
    except ReportError as error:
        raise ReportError(f"{key}[{len(parsed)}]{error}") from None
    return tuple(parsed)


def _parse_node_info(value: Mapping[str, object]) -> NodeInfo:
    where = "node_info."
    resources = _object(value.get("allocatable", {}), "node_info.allocatable")
    return NodeInfo(
        provider_id=_text(value, "provider_id", where, default=""),
        region=_text(value, "region", where, default=""),
        zone=_text(value, "zone", where, default=""),
        instance_type=_text(value, "instance_type", where, default=""),
        cpu_model=_text(value, "cpu_model", where, default=""),
        threads=_integer(value, "threads", where, default=0),
        memory_bytes=_integer(value, "memory_bytes", where, default=0),
        allocatable=Allocatable(*_counts(resources, _RESOURCES, "node_info.allocatable.")),
    )


def _parse_domain(value: Mapping[str, object]) -> DomainUse:
    method, boundary = _text(value, "method", "."), _text(value, "boundary", ".")
    if method not in METHODS:
        raise ReportError(f".method {method!r} is none of {', '.join(METHODS)}")
    if boundary not in BOUNDARIES:
        raise ReportError(f".boundary {boundary!r} is none of {', '.join(BOUNDARIES)}")
    return DomainUse(
        name=_text(value, "name", "."),
        method=method,
        boundary=boundary,
        duration_ms=_integer(value, "duration_ms", "."),
        measured_uj=_integer(value, "measured_uj", "."),
        idle_uj=_integer(value, "idle_uj", "."),
        system_uj=_integer(value, "system_uj", "."),
        unseen_uj=_integer(value, "unseen_uj", "."),
        low_uj=_integer(value, "low_uj", ".") if "low_uj" in value else None,
        high_uj=_integer(value, "high_uj", ".") if "high_uj" in value else None,
    )


def _parse_pod(value: Mapping[str, object]) -> PodUsage:
    owner = value.get("controller")
    controller = None
    if owner is not None:
        fields, at = _object(owner, ".controller"), ".controller."
        controller = PodController(_text(fields, "kind", at), _text(fields, "name", at), _text(fields, "uid", at))
    labels = _object(value.get("labels", {}), ".labels")
    requests = _object(value.get("requests", {}), ".requests")
    uid, namespace, name = _text(value, "uid", "."), _text(value, "namespace", "."), _text(value, "name", ".")
    labelled = _labels(labels)
    energy_uj = _energies(_object(value.get("energy_uj", {}), ".energy_uj"), ".energy_uj.")
    idle_uj = _energies(_object(value.get("idle_uj", {}), ".idle_uj"), ".idle_uj.")
    cpu_us, memory_byte_seconds, gpu_ms, duration_ms = _counts(value, _USAGE, ".")
    return PodUsage(
        uid=uid,
        namespace=namespace,
        name=name,
        controller=controller,
        labels=labelled,
        energy_uj=energy_uj,
        idle_uj=idle_uj,
        cpu_us=cpu_us,
        memory_byte_seconds=memory_byte_seconds,
        gpu_ms=gpu_ms,
        requests=PodRequests(*_counts(requests, _RESOURCES, ".requests.")),
        duration_ms=duration_ms,
    )


def _labels(labels: Mapping[str, object]) -> Mapping[str, str]:
    if len(labels) > MAX_LABELS:
        raise ReportError(f".labels has {len(labels)} entries, {MAX_LABELS} are allowed")
    for key, text in labels.items():
        if len(key) > MAX_LABEL_NAME or not key.isprintable():
            _check_label_key(key)
        if not isinstance(text, str) or len(text) > MAX_TEXT or not text.isprintable():
            _text(labels, key, ".labels.", default="")  # raises with the reason
    return cast("Mapping[str, str]", labels)


def _check_label_key(key: str) -> None:
    prefix, _, name = key.rpartition("/")
    if len(prefix) > MAX_LABEL_PREFIX or len(name) > MAX_LABEL_NAME or not key.isprintable():
        raise ReportError(
            f".labels has a key that is longer than {MAX_LABEL_PREFIX} and, after a slash, {MAX_LABEL_NAME} "
            "characters, or holds unprintable ones"
        )


def _energies(value: Mapping[str, object], where: str) -> Mapping[str, int]:
    for domain, energy_uj in value.items():
        if type(energy_uj) is not int or not 0 <= energy_uj <= MAX_INTEGER:
            _integer(value, domain, where)  # raises with the reason
    return cast("Mapping[str, int]", value)


_RESOURCES = ("cpu_millicores", "memory_bytes", "gpus")
_USAGE = ("cpu_us", "memory_byte_seconds", "gpu_ms", "duration_ms")


def _counts(value: Mapping[str, object], keys: tuple[str, ...], where: str) -> list[int]:
    """Several integers, 0 for a missing one. Two of three numbers of a report are read here."""
    found: list[int] = []
    for key in keys:
        number = value.get(key, 0)
        if type(number) is not int or not 0 <= number <= MAX_INTEGER:
            number = _integer(value, key, where)  # raises with the reason
        found.append(number)
    return found


def _object(value: object, where: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise ReportError(f"{where} is not a JSON object")
    return value


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
