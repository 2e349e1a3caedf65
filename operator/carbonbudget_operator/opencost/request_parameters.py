"""The parameters of OpenCost's allocation requests, read into one question. Pure; the current time is an argument.

Parameters that this server does not have are ignored, as OpenCost ignores them, and are named in the answer's header.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from carbonbudget_operator.answers.time_ranges import covered_range
from carbonbudget_operator.answers.window_parser import Range, WindowError, check_window
from carbonbudget_operator.opencost.allocation_properties import ALIASES, AggregateError, parse_aggregate
from carbonbudget_operator.opencost.filter_language import (
    AllocationFilter,
    Comparison,
    FilterError,
    Group,
    comparison,
    fields_of,
    parse_allocation_filter,
)
from carbonbudget_operator.opencost.request_window import CALENDAR, Calendar, request_window, step_seconds, steps_within
from carbonbudget_operator.printable import printable

MAX_ALLOCATIONS: Final = 20_000  # of one answer, all its steps together: some 28 MiB of JSON, of 32 MiB at most
_LARGEST: Final = 10**9
_TRUE: Final = ("1", "t", "true")  # as Go's strconv.ParseBool, in any case
_FALSE: Final = ("0", "f", "false")
# The filters of version 1: comma lists, in which a value that ends in `*` is a prefix.
_FILTERS_V1: Final[Mapping[str, str]] = {
    "filterclusters": "cluster",
    "filternodes": "node",
    "filternamespaces": "namespace",
    "filtercontrollerkinds": "controllerkind",
    "filtercontrollers": "controllername",
    "filterpods": "pod",
    "filterlabels": "label",
    "filterdepartments": "department",
    "filterenvironments": "environment",
    "filterowners": "owner",
    "filterproducts": "product",
    "filterteams": "team",
}
_KNOWN: Final = frozenset(
    ("window", "aggregate", "accumulate", "accumulateby", "step", "includeidle", "idle", "shareidle", "filter",
     "includeaggregatedmetadata", "offset", "limit", *_FILTERS_V1)
)  # fmt: skip
_ANY_END: Final = "*"  # at the end of a value of the older filters


class RequestError(ValueError):
    """The parameters are no question. The message is one line with what to write."""


@dataclass(frozen=True, slots=True)
class AllocationRequest:
    """One question. `steps` are the ranges of the answer's sets, of whole hours, in order; they add up to `window`.

    `shared_in` are the ranges in which the idle row is shared out, where `share_idle` is asked for; each is within one
    of `steps`. `keys` is what allocations are grouped by; none of them: all are one. `offset` and `limit` are of each
    set; without a limit it has all. `ignored` are names of parameters without effect, and no part of the question.
    """

    window: Range
    steps: tuple[Range, ...]
    shared_in: tuple[Range, ...]
    keys: tuple[str, ...]
    matching: AllocationFilter
    include_idle: bool
    share_idle: bool
    with_labels: bool
    offset: int
    limit: int | None
    ignored: tuple[str, ...] = field(compare=False, repr=False)

    @property
    def by_node(self) -> bool:
        """Whether the answer depends on which node a pod ran on."""
        return "node" in self.keys or "node" in fields_of(self.matching)

    @property
    def by_namespace(self) -> bool:
        """Whether sums of namespaces are enough. Idle energy is shared out by workload, so that is not."""
        read = {*self.keys, *fields_of(self.matching)}
        return bool(self.keys) and read <= {"cluster", "namespace"} and not (self.share_idle or self.with_labels)

    @property
    def by_label(self) -> bool:
        """Whether the answer depends on labels."""
        read = {*self.keys, *fields_of(self.matching)}
        return any(one.startswith("label") or one in ALIASES for one in read)


def read_request(parameters: Mapping[str, str], now: int) -> AllocationRequest:
    """The question that the parameters are at the UTC second `now`. Names of parameters count in any case.

    Raises:
        RequestError: one of them cannot be read, or the window is too long for its steps.
    """
    given = {name.lower(): value for name, value in parameters.items() if value}
    if "window" not in given:
        raise RequestError("window is missing: write window=7d, window=today or window=FROM,TO")
    try:
        window = covered_range(*request_window(given["window"], now))
        sets, shared_in = _steps(given, window)
        keys = parse_aggregate(given.get("aggregate", ""))
        matching = _filter(given)
    except (WindowError, AggregateError, FilterError) as error:
        raise RequestError(str(error)) from None
    limit = _number(given, "limit")
    request = AllocationRequest(
        window, tuple(sets), tuple(shared_in), keys, matching,
        include_idle=_truth(given, "includeidle") or _truth(given, "idle"),
        share_idle=_truth(given, "shareidle", ("weighted",)),
        with_labels=_truth(given, "includeaggregatedmetadata") or "aggregate" not in given,
        offset=_number(given, "offset") or 0,
        limit=limit,
        ignored=tuple(sorted(name for name in parameters if name.lower() not in _KNOWN)),
    )  # fmt: skip
    if request.by_node:
        try:
            check_window(window, "hour")
        except WindowError:
            raise RequestError("an answer by node has a window of at most 35 days: ask about a shorter one") from None
    return request


def _steps(given: Mapping[str, str], window: Range) -> tuple[list[Range], list[Range]]:
    """The ranges of the sets, and those in which idle is shared out. Raises WindowError and RequestError."""
    accumulated = _accumulated(given)
    if accumulated in CALENDAR:
        calendar = steps_within(window, accumulated)
        return calendar, calendar
    step = step_seconds(given["step"]) if "step" in given else None
    steps = steps_within(window, step)
    return ([window] if accumulated == "all" else steps), steps


def _accumulated(given: Mapping[str, str]) -> Calendar | str:
    """A calendar unit, "all", or "" for the steps as they are. Raises RequestError."""
    text = given.get("accumulateby", given.get("accumulate", "")).strip().lower()
    if text in (*CALENDAR, "all"):
        return text
    if text in _TRUE:
        return "all"
    if text in ("", "none", *_FALSE):
        return ""
    there = ", ".join(("true", "false", *CALENDAR, "all"))
    raise RequestError(f"accumulate: {printable(text, 60)!r} is unknown: write one of {there}")


def _filter(given: Mapping[str, str]) -> AllocationFilter:
    """All filters that the request has, of both versions. Raises FilterError and RequestError."""
    parts = [parse_allocation_filter(given.get("filter", ""))]
    parts += [_filter_v1(field, given[name]) for name, field in _FILTERS_V1.items() if name in given]
    return parts[0] if len(parts) == 1 else Group(False, tuple(parts))


def _filter_v1(field: str, text: str) -> AllocationFilter:
    values = [value.strip() for value in text.split(",") if value.strip()]
    if not values or len(text) > 4_000:
        raise RequestError(f"a filter for {field} has no value, or more than 4000 characters")
    return Group(True, tuple(_value_v1(field, value) for value in values))


def _value_v1(field: str, value: str) -> AllocationFilter:
    key = ""
    if field == "label":
        key, separator, value = value.partition(":")
        if not separator or not key:
            raise RequestError("filterLabels: write NAME:VALUE, joined by commas")
    kind, separator, name = value.partition(":")
    if field == "controllername" and separator:
        return Group(False, (comparison("controllerkind", "", ":", [kind]), _plain(field, "", name)))
    return _plain(field, key, value)


def _plain(field: str, key: str, value: str) -> Comparison:
    return comparison(field, key, "<~:" if value.endswith(_ANY_END) else ":", [value.removesuffix(_ANY_END)])


def _truth(given: Mapping[str, str], name: str, also_true: Iterable[str] = ()) -> bool:
    text = given.get(name, "").lower()
    if text in _TRUE or text in also_true:
        return True
    if text in ("", *_FALSE):
        return False
    raise RequestError(f"{name}: {printable(text, 60)!r} is unknown: write true or false")


def _number(given: Mapping[str, str], name: str) -> int | None:
    text = given.get(name)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or int(text[:10]) > _LARGEST:
        raise RequestError(f"{name}: {printable(text, 60)!r} is no number from 0 to {_LARGEST}")
    return int(text[:10])
