"""Makes the answers of OpenCost's allocation API from valued rows. Runs in a worker process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from carbonbudget_operator.answers.emission_series import SeriesQuery, version_of
from carbonbudget_operator.answers.window_parser import Range
from carbonbudget_operator.budgets.price import Price
from carbonbudget_operator.carbon_price import Prices, priced_parts, prices_of
from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.ledger.fact_reader import node_spans
from carbonbudget_operator.ledger.ledger_engine import snapshot
from carbonbudget_operator.ledger.stored_units import APART
from carbonbudget_operator.ledger.valued_rows import ValuedRow
from carbonbudget_operator.opencost.allocation_body import allocations_json, summary_json
from carbonbudget_operator.opencost.allocation_sets import SetBuilder, TooManyAllocations
from carbonbudget_operator.opencost.filter_language import named_namespaces
from carbonbudget_operator.opencost.request_parameters import (
    MAX_ALLOCATIONS,
    AllocationRequest,
    RequestError,
    read_request,
)
from carbonbudget_operator.special_namespaces import is_special
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

PricedRange = tuple[int, int, Price | None]


def request_of(parameters: Mapping[str, str], now: int) -> AllocationRequest:
    """The question that a request's parameters are. Raises Refusal."""
    try:
        return read_request(parameters, now)
    except RequestError as error:
        raise Refusal(400, "malformed", str(error)) from None


def opencost_version(reader: ValuedReader, given: Mapping[str, Any]) -> bytes:
    """The answer's version: it changes whenever the answer may. Raises Refusal."""
    request, names = request_of(given["parameters"], given["now"]), given["namespaces"]
    shown = None if names is None else frozenset(names)
    asked = SeriesQuery(request.window, "all", (), (), shown, compare=False, after=None, limit=0)
    return version_of(reader, asked, f"opencost {given['summary']} {request!r}").encode()


def opencost_answer(reader: ValuedReader, given: Mapping[str, Any]) -> bytes:
    """The answer to one request. Raises Refusal."""
    request, names = request_of(given["parameters"], given["now"]), given["namespaces"]
    shown = None if names is None else frozenset(names)
    read = _read_namespaces(request, shown)
    builder = SetBuilder(request, reader.cluster, MAX_ALLOCATIONS)
    prices = prices_of(reader.terms.map(lambda terms: terms.carbon))
    sets = []
    with snapshot(reader.engine) as connection:
        latest = max((span.last_end for span in node_spans(connection, reader.cluster)), default=0)
        plans = reader.plans(connection, *request.window)

        def rows(part: PricedRange) -> Iterator[ValuedRow]:
            return reader.rows_in(
                connection, plans, *part[:2], request.by_node, read, column_sums=APART,
                by_namespace=request.by_namespace,
            )  # fmt: skip

        try:
            for step in request.steps:
                parts = [part for part in _parts(request, step) if part[0] < latest]
                priced = [one for part in parts for one in _priced(request, prices, part)]
                sets.append((step, builder.build(map(rows, priced), (price for *_, price in priced))))
        except TooManyAllocations:
            reason = f"the answer has more than {MAX_ALLOCATIONS} allocations: use a longer step, or aggregate by less"
            raise Refusal(422, "unanswerable", reason) from None
    if given["summary"]:
        return summary_json(sets, request.window, latest)
    return allocations_json(sets, latest, request.with_labels)


def _read_namespaces(request: AllocationRequest, shown: frozenset[str] | None) -> frozenset[str] | None:
    """The namespaces whose rows can be in the answer; None for all rows. Idle is shared out by all pods' energy."""
    named = named_namespaces(request.matching)
    if named is None or any(is_special(name) for name in named) or (request.share_idle and shown is None):
        return shown
    return named if shown is None else named & shown


def _parts(request: AllocationRequest, step: tuple[int, int]) -> list[tuple[int, int]]:
    """The ranges that a step is read in: one, unless the idle row is shared out by ranges of its own."""
    if not request.share_idle:
        return [step]
    return [part for part in request.shared_in if step[0] <= part[0] < step[1]]


def _priced(request: AllocationRequest, prices: Prices, part: Range) -> list[PricedRange]:
    """The range in parts of one price each. Where idle is shared out it stays whole, so that a price moves no gram."""
    return [(*part, prices.at(part[0]))] if request.share_idle else priced_parts(prices, *part)
