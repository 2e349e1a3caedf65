"""What is enforced in a cluster: the chart's enforcement.mode, and the kinds and namespaces that budgets limit.

Read from the policy and the webhook's configuration themselves, since these decide, whatever settings say.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

from carbonbudget_core.jsons import JsonObject, at, items, mapping, objects
from carbonbudget_operator.admission.admission_decision import Mode
from carbonbudget_operator.admission.workload_kinds import workload_kinds
from carbonbudget_operator.api.selector import LabelSelector
from carbonbudget_operator.api_path import ApiPath
from carbonbudget_operator.budgets.coverage import Covers, selects_namespace

# Everybody may read these two by name (the chart's ClusterRole carbonbudget-check), and nothing else of their kinds.
_GROUP: Final = "admissionregistration.k8s.io"
_POLICY: Final = ApiPath(_GROUP, "v1", "validatingadmissionpolicies", name="carbonbudget")
_WEBHOOK: Final = ApiPath(_GROUP, "v1", "validatingwebhookconfigurations", name="carbonbudget")
_RESERVED: Final = "not-in-a-reserved-namespace"  # the name of a condition (carbonbudget.notReserved)
_TEXT: Final = re.compile("'([a-z0-9-]+)'")
_OWN: Final = {(group, resource): shape.kind for (group, resource), shape in workload_kinds(()).items()}

# The HTTP status of reading a path, and the object; empty where there is none.
Read = Callable[[ApiPath], Awaitable[tuple[int, JsonObject]]]


@dataclass(frozen=True, slots=True)
class InstalledEnforcement:
    """`mode` is None where it cannot be seen.

    `resources` are the (API group, version, plural) whose creation budgets limit, and `namespaces` selects where; None
    for what cannot be seen. `exempt_prefixes`: in namespaces whose names begin so budgets do not apply.
    """

    mode: Mode | None
    resources: frozenset[tuple[str, str, str]] | None = None
    namespaces: LabelSelector | None = None
    exempt_prefixes: tuple[str, ...] = ()

    def leaves_out(self, namespace: str, labels: Mapping[str, str] | None) -> bool:
        """Whether budgets do not apply in a namespace, as far as can be seen; `labels` is None if they cannot be."""
        if namespace.startswith(self.exempt_prefixes):
            return True
        if self.namespaces is None or not namespace:
            return False
        return selects_namespace(self.namespaces, namespace, labels) is Covers.NO

    def limits(self, group: str, plural: str) -> bool | None:
        """Whether budgets limit the creation of such objects; None where that cannot be seen."""
        if self.resources is None:
            return None
        return (group, plural) in {(group, plural) for group, _, plural in self.resources}


async def installed_enforcement(read: Read) -> InstalledEnforcement:
    """What the chart installed."""
    status, policy = await read(_POLICY)
    if status == 200:
        rules = at(policy, "spec", "matchConstraints")
        matched = _matched(rules.get("resourceRules"), rules.get("namespaceSelector"))
        return InstalledEnforcement("Enforce", *matched, _prefixes(at(policy, "spec").get("matchConditions")))
    if status != 404:
        return InstalledEnforcement(None)
    status, webhook = await read(_WEBHOOK)
    if status == 200:
        first = mapping(next(iter(items(webhook.get("webhooks"))), None))
        matched = _matched(first.get("rules"), first.get("namespaceSelector"))
        return InstalledEnforcement("Warn", *matched, _prefixes(first.get("matchConditions")))
    return InstalledEnforcement("Observe" if status == 404 else None)


async def limited_kinds(found: InstalledEnforcement, read: Read) -> frozenset[str] | None:
    """The kinds whose creation budgets limit; None where that cannot be seen."""
    if found.resources is None:
        return None
    kinds: set[str] = set()
    for group, version, plural in found.resources:
        if (group, plural) in _OWN:
            kinds.add(_OWN[group, plural])
            continue
        status, listed = await read(ApiPath(group, version))
        if status == 404:  # a kind whose CRD is not installed
            continue
        names = list(objects(listed.get("resources")))
        kind = next((str(one.get("kind")) for one in names if one.get("name") == plural), "")
        if status != 200 or not kind:
            return None
        kinds.add(kind)
    return frozenset(kinds)


def _matched(rules: object, selector: object) -> tuple[frozenset[tuple[str, str, str]] | None, LabelSelector | None]:
    found = frozenset(
        (group, version, plural)
        for rule in objects(rules)
        if "CREATE" in items(rule.get("operations"))
        for group in _texts(rule.get("apiGroups"))
        for version in _texts(rule.get("apiVersions"))
        for plural in _texts(rule.get("resources"))
        if "/" not in plural  # an eviction, a Scale: no new work
    )
    try:
        namespaces = LabelSelector.model_validate(selector) if isinstance(selector, dict) else None
    except ValidationError:
        namespaces = None
    return found or None, namespaces


def _prefixes(conditions: object) -> tuple[str, ...]:
    """The texts of the chart's expression `!['kube-', ...].exists(prefix, request.namespace.startsWith(prefix))`."""
    reserved = next((str(one.get("expression")) for one in objects(conditions) if one.get("name") == _RESERVED), "")
    return tuple(_TEXT.findall(reserved))


def _texts(value: object) -> Iterable[str]:
    return [one for one in items(value) if isinstance(one, str)]
