"""What a target counts units by: a counter's name with labels, or a whole query. Checked when it is made.

A target is written by a tenant. So a counter is a name and labels with values, never a piece of a query, and it cannot
say whose series are read: the namespace is added when the query is built (`promql.py`).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from carbonbudget_operator.printable import printable
from carbonbudget_operator.units.presets import PRESETS

MOST_LABELS: Final = 16
MOST_VALUE_CHARACTERS: Final = 1024
MOST_NAME_CHARACTERS: Final = 128
MOST_QUERY_CHARACTERS: Final = 1024
# Prometheus' data model. \Z and not $: that would allow a line break at the end.
_METRIC: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*\Z")
_LABEL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")
_ALWAYS_RESERVED: Final = frozenset({"namespace", "pod"})


class InvalidCounter(ValueError):
    """A counter cannot be asked for. The message is a sentence with what to do."""


class _Counter(Protocol):
    @property
    def metric(self) -> str: ...
    @property
    def match_labels(self) -> Mapping[str, str]: ...


class CounterSource(Protocol):
    """The source of a target's units, as in the object's spec: one of the fields is set."""

    @property
    def preset(self) -> str | None:
        """The name of a counter in `PRESETS`."""

    @property
    def counter(self) -> _Counter | None:
        """A counter's name and labels."""

    @property
    def query(self) -> str | None:
        """A whole query, of ClusterCarbonTargets alone."""


@dataclass(frozen=True, slots=True)
class CounterExpression:
    """A counter with the labels of its series in order of their names, or a query. Never both.

    `check` is not called by the constructor: what the ledger holds was checked before.
    """

    metric: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    query: str = ""

    def to_json(self) -> str:
        """The one way in which it is written: equal expressions have equal text."""
        value: dict[str, Any] = {"query": self.query}
        if not self.query:
            value = {"metric": self.metric, "matchLabels": dict(self.labels)}
        return json.dumps(value, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> CounterExpression:
        """What `to_json` wrote. Raises ValueError, KeyError or TypeError for other text."""
        value = json.loads(text)
        if "query" in value:
            return cls(query=value["query"])
        return cls(value["metric"], tuple(sorted(value["matchLabels"].items())))

    @property
    def digest(self) -> str:
        """SHA-256 of its text, by which it is stored."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()


def expression_of(source: CounterSource, reserved: Collection[str] = ()) -> CounterExpression:
    """The checked expression of a target's source. `reserved`: the labels of namespace and pod by the settings.

    Raises:
        InvalidCounter: it is none, or the units are counted by the client library and not by a counter.
    """
    if source.preset is not None:
        preset = PRESETS.get(source.preset)
        if preset is None:
            raise InvalidCounter(f"there is no preset {printable(source.preset, 64)}: docs/units.md lists them")
        return CounterExpression(preset.metric, preset.labels)
    if source.counter is not None:
        labels = tuple(sorted(source.counter.match_labels.items()))
        made = CounterExpression(source.counter.metric, labels)
    elif source.query is not None:
        made = CounterExpression(query=source.query)
    else:
        raise InvalidCounter("no counter is given: set preset or counter, or query in a ClusterCarbonTarget")
    check(made, reserved)
    return made


def check(expression: CounterExpression, reserved: Collection[str] = ()) -> None:
    """Raise InvalidCounter unless a query can be built of it that reads what it may read."""
    if expression.query:
        if len(expression.query) > MOST_QUERY_CHARACTERS:
            raise InvalidCounter(f"the query is longer than {MOST_QUERY_CHARACTERS} characters: use a recording rule")
        _require_utf8("the query", expression.query)
        return
    metric = expression.metric
    if len(metric) > MOST_NAME_CHARACTERS or not _METRIC.match(metric):
        raise InvalidCounter(
            f"{printable(metric, 64)!r} is no name of a metric: use letters, digits, _ and :, for example "
            "http_requests_total"
        )
    if len(expression.labels) > MOST_LABELS:
        raise InvalidCounter(f"matchLabels has {len(expression.labels)} labels: give at most {MOST_LABELS}")
    for name, value in expression.labels:
        _check_label(name, value, reserved)


def _check_label(name: str, value: str, reserved: Collection[str]) -> None:
    shown = printable(name, 64)
    if len(name) > MOST_NAME_CHARACTERS or not _LABEL.match(name):
        raise InvalidCounter(f"matchLabels: {shown!r} is no label of Prometheus: use letters, digits and _")
    if name in _ALWAYS_RESERVED or name in reserved or name.startswith(("exported_", "__")):
        raise InvalidCounter(
            f"matchLabels cannot have {shown}: carbonbudget itself chooses namespace and pods, so remove it"
        )
    if len(value) > MOST_VALUE_CHARACTERS:
        raise InvalidCounter(f"matchLabels: the value of {shown} is longer than {MOST_VALUE_CHARACTERS} characters")
    _require_utf8(f"matchLabels: the value of {shown}", value)


def _require_utf8(what: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidCounter(f"{what} has half of a surrogate pair in it, which is no character: remove it") from None
