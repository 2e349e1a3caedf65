"""The table of which budget covers which pods, on the admission policies of a real API server.

Every budget blocks at the same time, so that each has namespaces of its own. A ClusterCarbonBudget is held apart by one
more label: of its namespaces where it selects some, else of its pods.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import pytest
from tests.api_requests import api_requests
from tests.apiserver.chart_policies import ChartPolicies
from tests.apiserver.manifests import work
from tests.budgets.coverage_cases import CASES, OWN, Budget, Case
from tests.e2e.conftest import wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.control_plane]

TRIED = [case for case in CASES if case.tried]
APART = "coverage"


class Field:
    """Each budget of the table, blocking, with its namespaces and the pods whose labels change."""

    def __init__(self, policies: ChartPolicies, stack: ExitStack) -> None:
        self.policies = policies
        self._budgets = _unlike(TRIED)
        self._spaces: dict[tuple[int, str, str], str] = {}
        for case in TRIED:
            if self._key(case) not in self._spaces:
                labels = dict(case.where or {}) | {APART: str(self._number(case))}
                self._spaces[self._key(case)] = stack.enter_context(policies.namespace(**labels))

    def prepare(self) -> None:
        """Pods first, since they would be refused; the budgets; and wait until both policies know the last of them."""
        for case in TRIED:
            if case.before is not None:
                pod = work("Pod", self.space(case), _name(case), labels=dict(case.before) | self._mark(case))
                wait_for("the namespace's account", lambda pod=pod: self.policies.create(pod)[0], 30)
        for number, budget in enumerate(self._budgets):
            self._block(number, budget)
        sentinel = {"matchLabels": {APART: "sentinel"}}
        with self.policies.namespace(**{APART: "sentinel"}) as space:
            self.policies.block("", self.policies.named("sentinel"), namespaceSelector=sentinel)
            self.policies.refusal(work("Job", space))
            self.policies.unblock("", self.policies.named("sentinel"))
            self.policies.block(space, "sentinel")
            self.policies.refusal(work("Job", space))

    def space(self, case: Case) -> str:
        """The namespace that stands for the case's."""
        return self._spaces[self._key(case)]

    def budget(self, case: Case) -> str:
        """The name of the case's budget."""
        return self._named(self._number(case))

    def attempt(self, case: Case) -> tuple[bool, str]:
        """Whether the pods are let in, and what was said."""
        labels = dict(case.labels) | self._mark(case)
        if case.before is None:
            return self.policies.try_out(work("Job", self.space(case), labels=labels))
        change: Mapping[str, Any] = dict.fromkeys(case.before) | labels
        patch = {"metadata": {"labels": change}}
        requests = api_requests(self.policies.cluster)
        return requests.patch("v1", "Pod", self.space(case), _name(case), patch, "--dry-run=server")

    def _block(self, number: int, budget: Budget) -> None:
        homes = [space for (which, name, _), space in self._spaces.items() if which == number and name == OWN]
        spec: dict[str, Any] = {"per": budget.per}
        mark = {APART: str(number)}
        if budget.selector is not None:
            spec["selector"] = budget.selector
        if budget.namespace_selector is not None:
            text = json.dumps(_marked(budget.namespace_selector, mark))
            spec["namespaceSelector"] = json.loads(text.replace(f'"{OWN}"', json.dumps(homes[0])))
        elif budget.cluster:
            spec["selector"] = _marked(budget.selector or {}, mark)
        for home in [""] if budget.cluster else homes:
            self.policies.block(home, self._named(number), **spec)

    def _mark(self, case: Case) -> dict[str, str]:
        apart = case.budget.cluster and case.budget.namespace_selector is None
        return {APART: str(self._number(case))} if apart else {}

    def _number(self, case: Case) -> int:
        return self._budgets.index(case.budget)

    def _named(self, number: int) -> str:
        return self.policies.named(f"covers-{number}")

    def _key(self, case: Case) -> tuple[int, str, str]:
        return self._number(case), case.namespace, json.dumps(case.where, sort_keys=True)


@pytest.fixture(scope="module")
def field(policies: ChartPolicies) -> Iterator[Field]:
    with ExitStack() as stack:
        made = Field(policies, stack)
        made.prepare()
        yield made


@pytest.mark.parametrize("case", TRIED, ids=str)
def test_the_policies_refuse_what_the_rule_says_is_covered(field: Field, case: Case) -> None:
    admitted, said = field.attempt(case)
    assert admitted != case.refused, said
    if case.refused:
        assert f"carbon budget {field.budget(case)}: used 110 %" in said


def _name(case: Case) -> str:
    return f"pod-{TRIED.index(case)}"


def _unlike(cases: list[Case]) -> list[Budget]:
    """The budgets of these cases, each once: a manifest cannot be hashed."""
    found: list[Budget] = []
    for case in cases:
        if case.budget not in found:
            found.append(case.budget)
    return found


def _marked(selector: Mapping[str, Any], mark: Mapping[str, str]) -> dict[str, Any]:
    return dict(selector) | {"matchLabels": dict(selector.get("matchLabels", {})) | dict(mark)}
