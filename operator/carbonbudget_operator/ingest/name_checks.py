"""Checks the names in a report against the rules of Kubernetes, before anything is stored. Pure.

The API server has checked every pod's namespace, name, uid and labels. A report with invalid ones does not come from an
agent and is rejected. A pod's controller is not checked here: the creator of a pod writes it, and must not be able to
have the node's report rejected. `ledger/id_cache.py` leaves out an invalid controller.
"""

from __future__ import annotations

import re
from typing import Final

from carbonbudget_core.node_report import NodeReport, PodUsage
from carbonbudget_operator.api_path import is_label, is_subdomain
from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.name_rules import is_label_key, is_label_value, is_uid
from carbonbudget_operator.printable import printable

# Namespace, name and uid of ordinary pods, all of a report in one match: 150,000 arrive in a minute. If it does not
# match, they are checked one by one. No text of a report contains a newline: the parser rejects it.
_PODS: Final = re.compile(
    r"(?:[a-z0-9][-a-z0-9]{0,61}[a-z0-9]?(?<!-)/[a-z0-9][-a-z0-9]{0,250}(?<!-)/[A-Za-z0-9][-A-Za-z0-9]{0,63}\n)*+"
)
_MAX_DOMAIN: Final = 128
_MAX_PART: Final = 1_000  # an agent makes a part for each of its restarts inside a window
_MAX_KNOWN: Final = 50_000


class NameChecks:
    """Checks names, and remembers valid labels, because the same ones arrive each minute."""

    def __init__(self) -> None:
        self._keys: set[str] = set()
        self._values: set[str] = set()

    def check(self, report: NodeReport) -> None:
        """Raise Refusal 422 for what no object in Kubernetes can be called."""
        if report.part > _MAX_PART:
            raise _refusal("the report", "part", str(report.part))
        for domain in report.domains:
            if len(domain.name) > _MAX_DOMAIN:
                raise _refusal("the report", "domain", domain.name)
        if not _PODS.fullmatch("".join([f"{pod.namespace}/{pod.name}/{pod.uid}\n" for pod in report.pods])):
            for pod in report.pods:
                _check_pod(pod)
        keys, values = self._keys, self._values
        for pod in report.pods:
            for key, value in pod.labels.items():
                if key not in keys or value not in values:
                    self._check_label(pod, key, value)

    def _check_label(self, pod: PodUsage, key: str, value: str) -> None:
        if not is_label_key(key):
            raise _refusal(f"pod {pod.uid}", "label", key)
        if not is_label_value(value):
            raise _refusal(f"pod {pod.uid}", f"value of label {key}", value)
        for known, text in ((self._keys, key), (self._values, value)):
            if len(known) >= _MAX_KNOWN:
                known.clear()
            known.add(text)


def _check_pod(pod: PodUsage) -> None:
    if not is_uid(pod.uid):
        raise _refusal("the report", "uid of a pod", pod.uid)
    if not is_label(pod.namespace):
        raise _refusal(f"pod {pod.uid}", "namespace", pod.namespace)
    if not is_subdomain(pod.name):
        raise _refusal(f"pod {pod.uid}", "name", pod.name)


def _refusal(who: str, what: str, text: str) -> Refusal:
    return Refusal(422, "name", f"{who} has a {what} that cannot be in Kubernetes: {printable(text, 80)!r}")
