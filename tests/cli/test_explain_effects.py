"""Each sentence of `explain` against what acts: the webhook's decision, enforcement's, and the policy's rules."""

from __future__ import annotations

import datetime as dt
import itertools
import re
from typing import Any

import pytest
from tests.admission.given import HOUR, NOW, RESOURCES, Bench, a_budget, instant
from tests.enforcement.worlds import a_job

from carbonbudget_operator.admission.admission_decision import Mode
from carbonbudget_operator.admission.workload_growth import GROWTH
from carbonbudget_operator.api.carbonbudget import CarbonBudget
from carbonbudget_operator.api.wire_names import ENFORCED_KINDS
from carbonbudget_operator.api_path import ApiPath
from carbonbudget_operator.cli.budget_effects import ReaderContext, budget_effects
from carbonbudget_operator.cli.explain import explain
from carbonbudget_operator.cli.installed_enforcement import InstalledEnforcement, installed_enforcement, limited_kinds
from carbonbudget_operator.enforcement.enforced_budgets import parse_budget
from carbonbudget_operator.enforcement.suspension_actions import Suspend
from carbonbudget_operator.enforcement.suspension_decisions import decide_suspensions

AT = dt.datetime.fromtimestamp(NOW, dt.UTC)
KINDS = sorted(RESOURCES)  # all of Kubernetes' own, and one of the settings
LIMITED = frozenset(KINDS)
MODES: tuple[Mode, ...] = ("Enforce", "Warn", "Observe")
PROJECTED = [{"at": 100, "action": "Block", "basis": "Projected"}]
STATED = {"name": "train", "annotations": {"carbonbudget.dev/expected-duration": "2h"}}


def body(**more: Any) -> dict[str, Any]:
    made = a_budget(**more)
    made["metadata"]["generation"] = 1
    made["status"] |= {"evaluatedGeneration": 1, "used": "1.1kg", "message": "carbon budget tight: used up"}
    return made


def read(made: dict[str, Any]) -> CarbonBudget:
    return CarbonBudget.model_validate(made)


def section(made: dict[str, Any], heading: str, beside: ReaderContext, now: dt.datetime = AT) -> str:
    return " ".join(dict(explain(read(made), now, beside)).get(heading, []))


STATES: dict[str, dict[str, Any]] = {
    "blocks": {"until": NOW + HOUR, "used_g": 1100},
    "lapsed": {"until": NOW - 1, "used_g": 1100},
    "warns": {"state": "Warning", "percent": 85, "used_g": 850},
    "within": {"state": "WithinBudget", "percent": 10, "used_g": 100},
    "unknown": {"state": "Unknown", "percent": 0},
    "ended": {"until": NOW - 1, "used_g": 1100, "begins": NOW - 9 * HOUR, "ends": NOW - 1},
    "not begun": {"state": "WithinBudget", "percent": 0, "begins": NOW + HOUR},
    "run blocks": {"until": NOW + HOUR, "used_g": 1100, "per": "Workload"},
    "projects": {"state": "WithinBudget", "percent": 10, "used_g": 100, "thresholds": PROJECTED},
    "projects a run": {"percent": 10, "used_g": 100, "thresholds": PROJECTED, "per": "Workload"},
    "projects without data": {"state": "Unknown", "percent": 0, "thresholds": PROJECTED},
}
ENFORCED = ([], ["Job"], ["Deployment", "Pod"], ["DaemonSet", "TrainJob"], KINDS)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("state", sorted(STATES))
@pytest.mark.parametrize("kinds", ENFORCED, ids=lambda kinds: "-".join(kinds) or "default")
def test_what_is_said_of_each_kind_is_what_the_webhook_answers(mode: Mode, state: str, kinds: list[str]) -> None:
    made = body(**STATES[state], **({"enforce": {"kinds": kinds}} if kinds else {}))
    found = budget_effects(read(made), AT, ReaderContext(None, mode, limited_kinds=LIMITED))
    said = section(made, "Refused now", ReaderContext(None, mode, limited_kinds=LIMITED))
    small = Bench(made, mode=mode).knows(core_hour_ug=1)
    large = Bench(made, mode=mode).knows(core_hour_ug=10**10)
    for kind in KINDS:
        answered = small.creates(kind, metadata=STATED)
        assert (kind in found.refused) == (answered.outcome == "refused"), kind
        assert (kind in found.warned) == (answered.outcome == "warned"), kind
        projected = large.creates(kind, metadata=STATED).basis == "Projected"
        assert (kind in found.projected) == projected, kind
        shown = "bare Pod" if kind == "Pod" else kind
        assert bool(re.search(rf"\b{shown}\b", said)) == (answered.outcome == "refused" or projected), (kind, said)


REPLICATED = ("Deployment", "StatefulSet", "ReplicaSet", "ReplicationController")


def test_new_work_is_said_to_be_refused_where_the_policy_alone_refuses_it() -> None:
    """It reads status.enforcement, and no period."""
    made = body(**STATES["blocks"])
    del made["status"]["period"]
    said = section(made, "Refused now", ReaderContext(None, "Enforce", limited_kinds=LIMITED))
    assert said.startswith("New Job or bare Pod until ")
    assert GROWTH["Job"] not in said


GROWN: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "Job": ({"parallelism": 1}, {"parallelism": 2}),
    "Pod": ({"schedulingGates": [{"name": "g"}]}, {}),
    "DaemonSet": ({"pod": {"nodeSelector": {"a": "b"}}}, {}),
} | {kind: ({"replicas": 1}, {"replicas": 2}) for kind in REPLICATED}


def test_there_is_a_sentence_of_growth_for_each_kind_of_kubernetes_own() -> None:
    assert set(GROWTH) == set(GROWN) == set(ENFORCED_KINDS)


@pytest.mark.parametrize("kind", sorted(GROWN))
@pytest.mark.parametrize("state", ["blocks", "lapsed", "within", "run blocks", "ended"])
@pytest.mark.parametrize("mode", MODES)
def test_growth_is_said_to_be_refused_where_the_webhook_refuses_it(kind: str, state: str, mode: Mode) -> None:
    made = body(**STATES[state], enforce={"kinds": [kind]})
    answered = Bench(made, mode=mode).changes(kind, *GROWN[kind])
    said = section(made, "Refused now", ReaderContext(None, mode, limited_kinds=LIMITED))
    assert (GROWTH[kind] in said) == (answered.outcome == "refused")


@pytest.mark.parametrize(
    ("kind", "before", "after", "words"),
    [
        ("Deployment", {"pod": {"terminationGracePeriodSeconds": 601}}, {}, "a rollout of one whose pods may take"),
        ("StatefulSet", {}, {"ordinals": {"start": 5}}, "another first ordinal"),
        ("ReplicationController", {"selector": {"a": "b"}}, {"selector": {"a": "c"}}, "another selector"),
    ],
)
def test_growth_without_more_replicas_is_said_too(
    kind: str, before: dict[str, Any], after: dict[str, Any], words: str
) -> None:
    made = body(**STATES["blocks"], enforce={"kinds": [kind]})
    assert Bench(made).changes(kind, before, after, replicas=1).outcome == "refused"
    assert words in section(made, "Refused now", ReaderContext(None, "Enforce", limited_kinds=LIMITED))


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"Job"}))
def test_a_kind_that_is_not_limited_is_not_said_to_be_refused(kind: str) -> None:
    made = body(
        until=NOW + HOUR, used_g=1100, enforce={"kinds": ["Job", kind]}, thresholds=[{"at": 100, "action": "Block"}]
    )
    shown = "bare Pod" if kind == "Pod" else kind
    beside = ReaderContext(None, "Enforce", limited_kinds=frozenset({"Job"}))
    assert shown not in section(made, "Refused now", beside)
    assert f"Budgets do not apply to {shown} of enforce.kinds in this cluster" in section(made, "Thresholds", beside)
    assert (
        "At 100 % it refuses a new Job, and growth (a Job that is resumed or runs more pods at a time) (reached)."
        in section(made, "Thresholds", beside)
    )
    # Where the policy cannot be seen, the budget's status says it.
    made["status"]["kindsNotEnforced"] = [kind]
    assert shown not in section(made, "Refused now", ReaderContext(None, None))


@pytest.mark.parametrize(
    ("suspend_from", "until", "mode"),
    list(itertools.product((NOW - 60, NOW + 600), (NOW + HOUR, NOW - 1), MODES)),
)
@pytest.mark.parametrize("per", ["Selection", "Workload"])
def test_what_is_said_of_running_jobs_is_what_enforcement_does(
    suspend_from: int, until: int, mode: Mode, per: str
) -> None:
    made = body(until=until, used_g=1100, per=per, thresholds=[{"at": 100, "action": "Suspend"}])
    made["status"]["action"] = "Suspend"
    made["status"]["enforcement"] = {"action": "Suspend", "until": instant(until), "suspendFrom": instant(suspend_from)}
    made["status"]["topWorkloads"] = [{"kind": "Job", "name": "train", "emissions": "1.1kg", "percent": 110}]
    budget = parse_budget(made)
    assert budget is not None
    job = a_job(annotations={"carbonbudget.dev/suspend-at": instant(suspend_from)})
    decision = decide_suspensions([budget], [job], {}, NOW, 0, mode == "Enforce", frozenset(), NOW - HOUR)
    suspends = any(isinstance(action, Suspend) for action in decision.actions)
    said = section(made, "Refused now", ReaderContext(None, mode, limited_kinds=LIMITED))
    assert ("are suspended from" in said) == suspends, said
    assert ("suspended from" in said) == (mode == "Enforce" and until > NOW)


@pytest.mark.parametrize(("used_g", "word"), [(1100, "was reached"), (500, "was not reached")])
def test_of_a_budget_that_ended_nothing_is_said_to_act(used_g: int, word: str) -> None:
    made = body(**STATES["ended"] | {"used_g": used_g}, thresholds=[{"at": 100, "action": "Block"}])
    beside = ReaderContext(None, "Enforce", limited_kinds=LIMITED)
    thresholds = section(made, "Thresholds", beside)
    assert f"({word}; its period ended " in thresholds
    assert "does nothing now" in thresholds
    assert section(made, "Refused now", beside).startswith("Nothing: its period ended ")
    assert section(made, "Forecast", beside).startswith("None: the period ended ")
    assert "Ask before creating" not in section(made, "Next", beside)


def test_a_limit_that_was_reached_is_not_said_to_be_reached_one_day() -> None:
    made = body(used_g=1100)
    made["status"] |= {"forecast": "2kg", "exhaustedAt": instant(NOW - HOUR)}
    assert "the limit was reached on" in section(made, "Forecast", ReaderContext(None, "Enforce"))
    made["status"]["exhaustedAt"] = instant(NOW + HOUR)
    assert "the limit is reached on" in section(made, "Forecast", ReaderContext(None, "Enforce"))


def test_a_threshold_that_is_reached_while_nothing_acts_says_so() -> None:
    made = body(state="Unknown", used_g=1100, thresholds=[{"at": 100, "action": "Block"}])
    made["status"]["action"] = ""
    assert "it does nothing now, since there are no data" in section(made, "Thresholds", ReaderContext(None, "Enforce"))


@pytest.mark.parametrize(
    ("conditions", "words"),
    [
        ([], "nothing was valued yet"),
        ([{"type": "FiguresExact", "status": "True", "reason": "Exact"}], "contracts, supplier's factors or claims"),
        ([{"type": "FiguresExact", "status": "Unknown", "reason": "BadSpec"}], "Energy is valued market-based;"),
        ([{"type": "FiguresExact", "status": "False", "reason": "LocationStandsIn"}], "the grid's figure is used"),
    ],
)
def test_contracts_are_said_to_value_only_where_the_server_found_some(
    conditions: list[dict[str, str]], words: str
) -> None:
    made = body(used_g=100, accounting="MarketBased")
    made["status"]["conditions"] = conditions
    assert words in section(made, "Counts", ReaderContext(None, "Enforce"))
    assert "Market-based" in section(made, "Used", ReaderContext(None, "Enforce"))


def the_policy() -> dict[str, Any]:
    """Its rules as the chart's template writes them for a cluster with one configured kind."""
    rules = [
        ("batch", "v1", ["jobs"]), ("", "v1", ["pods"]), ("", "v1", ["replicationcontrollers"]),
        ("apps", "v1", ["deployments", "statefulsets", "daemonsets", "replicasets"]),
        ("train.example", "v1", ["trainjobs"]),
    ]  # fmt: skip
    return {
        "spec": {
            "matchConstraints": {
                "resourceRules": [
                    {"apiGroups": [group], "apiVersions": [version], "operations": ["CREATE"], "resources": names}
                    for group, version, names in rules
                ],
                "namespaceSelector": {
                    "matchExpressions": [
                        {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system"]},
                        {"key": "carbonbudget.dev/enforcement", "operator": "NotIn", "values": ["off"]},
                    ]
                },
            }
        }
    }


async def seen(
    policy: tuple[int, Any], discovered: tuple[int, Any]
) -> tuple[InstalledEnforcement, frozenset[str] | None]:
    async def reading(path: ApiPath) -> tuple[int, Any]:
        return policy if path.group == "admissionregistration.k8s.io" else discovered

    found = await installed_enforcement(reading)
    return found, await limited_kinds(found, reading)


async def test_limited_kinds_are_those_of_the_policys_rules() -> None:
    kinds = {"resources": [{"name": "trainjobs", "kind": "TrainJob"}, {"name": "trainjobs/scale", "kind": "Scale"}]}
    found, limited = await seen((200, the_policy()), (200, kinds))
    assert limited == LIMITED
    assert found.leaves_out("kube-system", None)
    assert found.leaves_out("team-a", {"carbonbudget.dev/enforcement": "off"})
    assert not found.leaves_out("team-a", None)
    assert (found.limits("batch", "jobs"), found.limits("ray.io", "rayjobs")) == (True, False)
    assert (await seen((200, the_policy()), (404, {})))[1] == LIMITED - {"TrainJob"}, "its CRD is not installed"


async def test_a_namespace_whose_labels_cannot_be_read_is_left_out_by_its_name_alone() -> None:
    made = the_policy()
    selector = made["spec"]["matchConstraints"]["namespaceSelector"]
    selector["matchExpressions"].append({"key": "dept", "operator": "Exists"})
    found, _ = await seen((200, made), (404, {}))
    assert not found.leaves_out("team-a", None)
    assert found.leaves_out("team-a", {})
    assert found.leaves_out("kube-system", None)


async def test_an_eviction_that_the_policy_matches_is_no_kind_of_work() -> None:
    made = the_policy()
    rules = made["spec"]["matchConstraints"]["resourceRules"]
    rules.append({"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods/eviction"]})
    kinds = {"resources": [{"name": "trainjobs", "kind": "TrainJob"}, {"name": "pods/eviction", "kind": "Eviction"}]}
    assert (await seen((200, made), (200, kinds)))[1] == LIMITED


@pytest.mark.parametrize("policy", [(403, {}), (200, {"kind": "ValidatingAdmissionPolicy"}), (200, {"spec": []})])
async def test_where_the_policy_cannot_be_read_nothing_is_claimed_of_kinds(policy: tuple[int, Any]) -> None:
    assert (await seen(policy, (200, {})))[1] is None
    assert (await seen((200, the_policy()), (403, {})))[1] is None


@pytest.mark.parametrize(
    ("runs", "words"), [(1, "reached by 1 run)"), (3, "reached by 3 runs)"), (100, "by at least 100 runs)")]
)
def test_a_runs_threshold_says_how_many_runs_reached_it(runs: int, words: str) -> None:
    made = body(used_g=1100, per="Workload", thresholds=[{"at": 100, "action": "Warn"}])
    tops = [{"kind": "Job", "name": f"over-{n}", "emissions": "1.1kg", "percent": 110} for n in range(runs)]
    below = [] if runs == 100 else [{"kind": "Job", "name": "below", "emissions": "1g", "percent": 0}]
    made["status"]["topWorkloads"] = tops + below
    assert words in section(made, "Thresholds", ReaderContext(None, "Enforce"))
