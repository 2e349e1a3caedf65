"""What must hold before a report is stored, beyond its own shape. Pure: the time is an argument."""

from __future__ import annotations

from hashlib import blake2b

import orjson

from carbonbudget_agent.report import NodeReport, ReportError, report_of_json
from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.ledger.book import Arrival

_FUTURE_SECONDS = 30
_MAX_STORED = 2**62  # a database's integer, with room to add


def parse(text: bytes) -> Arrival:
    """The report, whole and conserving. Raises Refusal 400 with the sentence that says what is wrong."""
    try:
        value = orjson.loads(text)
        report = report_of_json(value)
    except orjson.JSONDecodeError as error:
        raise Refusal(400, "malformed", f"not JSON: {error}") from None
    except ReportError as error:
        raise Refusal(400, "malformed", str(error)) from None
    # Of what it says, not of how it is written: order of keys and white space are no other content.
    content = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    return Arrival(report, blake2b(content, digest_size=8).digest())


def check(report: NodeReport, cluster: str, max_node_watts: int, now: int, oldest_days: int = 35) -> None:
    """Raise Refusal for another cluster's name (422), an impossible time (425, 422) or power (422)."""
    if report.cluster != cluster:
        raise Refusal(422, "cluster", f"the report is of cluster {report.cluster!r}, this is {cluster!r}")
    if report.window_end > now + _FUTURE_SECONDS:
        raise Refusal(425, "future", f"the window ends {report.window_end - now} s in the future: check the clocks", 5)
    if report.since < now - oldest_days * 86_400:
        raise Refusal(422, "too_old", f"the window is older than {oldest_days} days")
    check_power(report, max_node_watts)


def check_power(report: NodeReport, max_node_watts: int) -> None:
    """Raise Refusal 422 for more than a node can be or draw; the time is the meters' own, by domain."""
    span_ms = (report.window_end - report.since) * 1000
    total_uj = 0
    for domain in report.domains:
        # A tick that ends a window may come a little late, never by a whole window.
        if domain.duration_ms > 2 * span_ms:
            raise Refusal(422, "impossible", f"domain {domain.name!r} covers {domain.duration_ms} ms of {span_ms} ms")
        total_uj += domain.measured_uj
    for pod in report.pods:
        integrals = (pod.requests.cpu_millicores, pod.requests.memory_bytes // 1000, pod.requests.gpus)
        if pod.duration_ms > 2 * span_ms or any(value * pod.duration_ms > _MAX_STORED for value in integrals):
            raise Refusal(422, "impossible", f"pod {pod.uid!r} has a duration or requests that cannot be")
    longest_ms = max((domain.duration_ms for domain in report.domains), default=0)
    if total_uj > max_node_watts * 1000 * longest_ms:  # W x ms x 1000 = uJ
        watts = total_uj // (1000 * longest_ms) if longest_ms else "infinitely many"
        raise Refusal(422, "impossible", f"{watts} W is above the limit of {max_node_watts} W for a node")
