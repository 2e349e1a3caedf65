"""Builds the queries that are sent to Prometheus. This is the only place where one is made.

A value is always quoted, and names are checked against Prometheus' grammar, so that nothing that a tenant writes leaves
its quotes. The namespace is one of the matchers of every counter: series of other namespaces are never read.
"""

from __future__ import annotations

from typing import Final

from carbonbudget_operator.units.counter_expression import CounterExpression, InvalidCounter, check

HOUR_SECONDS: Final = 3600
_ESCAPES: Final = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def quoted(value: str) -> str:
    """A string literal of PromQL, in double quotes, with Go's escapes.

    Control characters are escaped too: a line break inside of double quotes is an error in PromQL.
    """
    return f'"{"".join(map(_escaped, value))}"'


def _escaped(character: str) -> str:
    if (known := _ESCAPES.get(character)) is not None:
        return known
    if character < " " or character == "\x7f":
        return f"\\x{ord(character):02x}"
    return character


def counter_query(
    expression: CounterExpression, namespace: str, lookback_seconds: int, namespace_label: str, pod_label: str
) -> str:
    """The query for one hour, to be evaluated at its end: raw samples of the hour and of the lookback before it.

    `namespace` is empty for a raw query alone, which is returned as it was written.

    Raises:
        InvalidCounter: a name is none, a label is reserved, or namespace and expression do not belong together.
    """
    check(expression, (namespace_label, pod_label))
    if expression.query:
        if namespace:
            raise InvalidCounter("a query of PromQL is for ClusterCarbonTargets alone: use a counter or a preset")
        return expression.query
    if not namespace:
        raise InvalidCounter("a counter needs a namespace: without one it would read the series of all tenants")
    matchers = [(namespace_label, namespace), *expression.labels]
    inside = ",".join(f"{name}={quoted(value)}" for name, value in matchers)
    return f"{expression.metric}{{{inside}}}[{lookback_seconds + HOUR_SECONDS}s]"


def scraped_query(query: str) -> str:
    """How many minutes of the hour before the evaluation `query` had a value in. `query` is of the settings."""
    return f"count_over_time(({query})[{HOUR_SECONDS}s:60s])"
