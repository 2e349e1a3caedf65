"""Reads answers of Prometheus' HTTP API (/api/v1/query): range vectors, instant vectors and scalars.

An answer that is incomplete, of which a store warns, is not used: a part of the series would look like fewer units.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

from carbonbudget_core import jsons
from carbonbudget_operator.printable import printable
from carbonbudget_operator.units.counting import RawSeries, UnusableAnswer

_NOT_PROMETHEUS: Final = "the answer is not of Prometheus' HTTP API: check units.url"
_REMARKS: Final = ("PromQL info:", "PromQL warning:")  # about the query itself, in every answer to it


def result_of(body: bytes) -> tuple[str, Any]:
    """The type and the result of an answer. Raises UnusableAnswer."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise UnusableAnswer(_NOT_PROMETHEUS) from None
    data = jsons.at(answer, "data")
    kind = jsons.text(data.get("resultType"))
    if jsons.mapping(answer).get("status") != "success" or not kind:
        raise UnusableAnswer(_NOT_PROMETHEUS)
    warnings = [one for one in jsons.items(answer.get("warnings")) if not str(one).startswith(_REMARKS)]
    if warnings or answer.get("isPartial") is True:
        said = printable(str(warnings[0]), 200) if warnings else "isPartial"
        raise UnusableAnswer(f"the answer is incomplete ({said}): it is asked for again")
    return kind, data.get("result")


def raw_series(body: bytes) -> Iterator[RawSeries]:
    """The series of a range vector. Raises UnusableAnswer."""
    kind, result = result_of(body)
    if kind != "matrix":
        raise UnusableAnswer(_NOT_PROMETHEUS)
    for one in jsons.objects(result):
        samples = one.get("values")
        if samples is None and "histograms" in one:
            raise UnusableAnswer("the metric is a native histogram, which has no counter: use another metric", True)
        yield RawSeries(jsons.texts(one.get("metric")), jsons.items(samples))


def values_of(body: bytes) -> list[tuple[Mapping[str, str], str]]:
    """The labels and values of an instant vector, or of a scalar. Raises UnusableAnswer."""
    kind, result = result_of(body)
    try:
        if kind == "scalar":
            return [({}, str(result[1]))]
        if kind == "vector":
            return [(jsons.texts(one.get("metric")), str(one["value"][1])) for one in jsons.objects(result)]
    except (IndexError, KeyError, TypeError):
        told = "a series has no plain value: the query must give counts, not native histograms"
        raise UnusableAnswer(told, of_counter=True) from None
    raise UnusableAnswer(f"the query gives a {printable(kind, 20)}: it must give one value for each series", True)
