"""The Prometheus metrics of the web page. They contain no names of users or objects."""

from __future__ import annotations

from typing import Final, Literal

from prometheus_client import CollectorRegistry, Counter, Histogram

SignIn = Literal["signed_in", "refused", "limited", "forged", "failed"]
_SIGN_INS: Final[tuple[SignIn, ...]] = ("signed_in", "refused", "limited", "forged", "failed")
_SECONDS: Final = (0.005, 0.02, 0.05, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)


class WebMetrics:
    """The metrics of one process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._sign_ins = Counter("carbonbudget_web_sign_ins", "Sign-ins by outcome.", ("outcome",), registry=registry)
        self.sessions_refused = Counter(
            "carbonbudget_web_sessions_refused", "Cookies that were no session, or no longer.", registry=registry
        )
        self.hosts_refused = Counter(
            "carbonbudget_web_hosts_refused", "Requests for a host that is not in web.hosts.", registry=registry
        )
        self.questions = Counter(
            "carbonbudget_web_questions", "Requests to the server by the status of the answer.", ("code",),
            registry=registry,
        )  # fmt: skip
        self.question_seconds = Histogram(
            "carbonbudget_web_question_seconds", "One request to the server.", buckets=_SECONDS, registry=registry
        )
        for outcome in _SIGN_INS:
            self._sign_ins.labels(outcome)

    def sign_in(self, outcome: SignIn) -> None:
        """Count one."""
        self._sign_ins.labels(outcome).inc()
