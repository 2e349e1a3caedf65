"""What must hold before a report is stored, beyond its own shape. Pure: the time is an argument."""

from __future__ import annotations

from hashlib import blake2b

import orjson

from carbonbudget_core.node_report import NodeReport, ReportError
from carbonbudget_core.node_report_json import report_of_json
from carbonbudget_operator.ingest.name_checks import NameChecks
from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.ingest.report_limits import check_physical
from carbonbudget_operator.ledger.booking import CheckedReport

_FUTURE_SECONDS = 30
# Kubernetes is made for 110 pods a node, and few go beyond 500; with those that came and went in a minute.
_MAX_PODS = 4_000
_MAX_DOMAINS = 256
_names = NameChecks()


def parse(text: bytes) -> CheckedReport:
    """The report, whole and conserving. Raises Refusal 400 with the sentence that says what is wrong."""
    try:
        value = orjson.loads(text)
        report = report_of_json(value)
    except orjson.JSONDecodeError as error:
        raise Refusal(400, "malformed", f"not JSON: {error}") from None
    except ReportError as error:
        raise Refusal(400, "malformed", str(error)) from None
    # Of what it says, not of how it is written: order of keys and white space are no other content.
    try:
        content = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:  # what the parser takes, the writer may not: 254 levels
        raise Refusal(400, "malformed", "the JSON has too many levels of lists and objects") from None
    return CheckedReport(report, blake2b(content, digest_size=8).digest())


def check(report: NodeReport, cluster: str, max_node_watts: int, now: int, oldest_days: int = 35) -> None:
    """Raise Refusal for another cluster's name (422), for a time (425, 422), a number (413), a name, power or use (422)
    that cannot be.
    """
    if report.cluster != cluster:
        raise Refusal(422, "cluster", f"the report is of cluster {report.cluster!r}, this is {cluster!r}")
    if report.window_end > now + _FUTURE_SECONDS:
        # An agent that is stopped closes the minute that has begun, and its successor sends it at once.
        seconds = report.window_end - now
        reason = f"the window ends {seconds} s in the future and is taken then; if that goes on, check the clocks"
        raise Refusal(425, "future", reason, 5)
    if report.since < now - oldest_days * 86_400:
        raise Refusal(422, "too_old", f"the window is older than {oldest_days} days")
    for what, number, most in (("pods", len(report.pods), _MAX_PODS), ("domains", len(report.domains), _MAX_DOMAINS)):
        if number > most:
            raise Refusal(413, "too_large", f"the report has {number} {what}, {most} are allowed")
    _names.check(report)
    check_power(report, max_node_watts)
    check_physical(report)


def check_power(report: NodeReport, max_node_watts: int) -> None:
    """Raise Refusal 422 for more time or power than a node can have; the time is the meters' own, by domain."""
    span_ms = (report.window_end - report.since) * 1000
    total_uj = 0
    for domain in report.domains:
        # A tick that ends a window may come a little late, never by a whole window.
        if domain.duration_ms > 2 * span_ms:
            raise Refusal(422, "impossible", f"domain {domain.name!r} covers {domain.duration_ms} ms of {span_ms} ms")
        total_uj += domain.measured_uj
    for pod in report.pods:
        if pod.duration_ms > 2 * span_ms:
            raise Refusal(422, "impossible", f"pod {pod.uid!r} was there for {pod.duration_ms} ms of {span_ms} ms")
    longest_ms = max((domain.duration_ms for domain in report.domains), default=0)
    if total_uj > max_node_watts * 1000 * longest_ms:  # W x ms x 1000 = uJ
        watts = total_uj // (1000 * longest_ms) if longest_ms else "infinitely many"
        raise Refusal(422, "impossible", f"{watts} W is above the limit of {max_node_watts} W for a node")
