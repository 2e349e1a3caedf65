"""OpenCost's filter language (version 2): a parser by recursive descent, and whether a filter matches. Pure.

    namespace:"a","b"+(controllerKind:"job"|label[app]~:"train")

`:` is equal, `~:` contains, `<~:` starts with, `~>:` ends with; `!` before one of them negates it. Several values are
alternatives, and after a negation none of them may match. `+` is and, `|` is or; both in one group need parentheses,
as in OpenCost. White space alone between two comparisons is `+`: an unescaped `+` in an address arrives as a space.
Source: opencost/opencost, core/pkg/filter/ast.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from carbonbudget_operator.opencost.allocation_properties import (
    ALIASES,
    IDLE,
    UNALLOCATED,
    AllocationProperties,
    sanitised,
)
from carbonbudget_operator.printable import printable

MAX_LENGTH: Final = 4_000
MAX_DEPTH: Final = 20
MAX_VALUES: Final = 500
_OPERATORS: Final = ("!<~:", "!~>:", "<~:", "~>:", "!~:", "~:", "!:", ":")  # the longest first
_MAPS: Final = ("label", "annotation", "nodelabel", "namespacelabel")
# By the field's name in lower case. `services`, `provider` and `account` are not in the ledger: nobody has them.
_FIELDS: Final[dict[str, Callable[[AllocationProperties], str]]] = {
    "cluster": lambda p: p.cluster,
    "node": lambda p: p.node,
    "namespace": lambda p: IDLE if p.idle else p.namespace,
    "controllerkind": lambda p: p.controller_kind,
    "controllername": lambda p: p.controller,
    "controller": lambda p: p.controller,
    "pod": lambda p: p.pod,
    "container": lambda _: "",
    "services": lambda _: "",
    "provider": lambda _: "",
    "account": lambda _: "",
}
_WORD: Final = re.compile(r"[\w.-]+")
_SPACE: Final = " \t\r\n"


class FilterError(ValueError):
    """The text is no filter. The message is one line that names the position, counted from 1."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One comparison of a field. `key` is the sanitised name in `label[NAME]`; `operator` is without its `!`."""

    field: str
    key: str
    operator: str
    negated: bool
    values: tuple[str, ...]

    def matches(self, properties: AllocationProperties) -> bool:
        """Whether the allocation is among those that are meant."""
        if self.field in _MAPS and not self.key:  # about the names of labels
            names = properties.labels if self.field == "label" else ()
            return self.negated != any(_compare(self.operator, name, self.values) for name in names)
        return self.negated != _compare(self.operator, self._value(properties), self.values)

    def _value(self, properties: AllocationProperties) -> str | None:
        """The value of the field, None where the allocation has none."""
        if self.field in _MAPS:
            return properties.labels.get(self.key) if self.field == "label" else None
        if self.field in ALIASES:
            return properties.labels.get(ALIASES[self.field])
        return _FIELDS[self.field](properties) or None


@dataclass(frozen=True, slots=True)
class Group:
    """Filters of which all must match, or any (`any_of`)."""

    any_of: bool
    parts: tuple[AllocationFilter, ...]

    def matches(self, properties: AllocationProperties) -> bool:
        """Whether the allocation is among those that are meant. An empty group of all matches."""
        return (any if self.any_of else all)(part.matches(properties) for part in self.parts)


AllocationFilter = Comparison | Group
EVERYTHING: Final = Group(False, ())


def parse_allocation_filter(text: str) -> AllocationFilter:
    """The filter that a text is; an empty one matches everything. Raises FilterError."""
    if len(text) > MAX_LENGTH:
        raise FilterError(f"filter: it has {len(text)} characters, at most {MAX_LENGTH} are read: filter by less")
    return _Parser(text).whole()


def comparison(field: str, key: str, operator: str, values: Sequence[str]) -> Comparison:
    """A comparison, for the parameters of version 1. `operator` may begin with `!`."""
    values = tuple(value.lower() for value in values) if field == "controllerkind" else tuple(values)
    return Comparison(field, sanitised(key), operator.removeprefix("!"), operator.startswith("!"), values)


def fields_of(found: AllocationFilter) -> Iterable[str]:
    """The names of the fields that a filter reads, in lower case."""
    if isinstance(found, Comparison):
        yield found.field
    else:
        for part in found.parts:
            yield from fields_of(part)


def named_namespaces(found: AllocationFilter) -> frozenset[str] | None:
    """The namespaces outside of which nothing can match; None where the filter does not say."""
    if isinstance(found, Comparison):
        named = found.field == "namespace" and found.operator == ":" and not found.negated
        return frozenset(found.values) if named else None
    each = [named_namespaces(part) for part in found.parts]
    known = [names for names in each if names is not None]
    if found.any_of:
        return frozenset().union(*known) if each and len(known) == len(each) else None
    return frozenset.intersection(*known) if known else None


def _compare(operator: str, value: str | None, wanted: Iterable[str]) -> bool:
    if operator == ":":
        return (UNALLOCATED if value is None else value) in wanted
    if value is None:
        return False
    if operator == "~:":
        return any(part in value for part in wanted)
    if operator == "<~:":
        return any(value.startswith(part) for part in wanted)
    return any(value.endswith(part) for part in wanted)


class _Parser:
    """Reads one text from left to right; `_at` is the index of the next character."""

    def __init__(self, text: str) -> None:
        self._text, self._at, self._values = text, 0, 0

    def whole(self) -> AllocationFilter:
        self._skip()
        if self._at == len(self._text):
            return EVERYTHING
        found = self._group(0)
        if self._at < len(self._text):
            raise self._error("this ')' closes nothing")
        return found

    def _group(self, depth: int) -> AllocationFilter:
        """Filters up to a closing parenthesis or the end, joined by one kind of operator."""
        parts, joined = [self._element(depth)], ""
        while True:
            self._skip()
            sign = self._text[self._at : self._at + 1]
            if sign in ("", ")"):
                break
            this = sign if sign in "+|" else "+"
            if joined not in ("", this):
                raise self._error("'+' and '|' stand beside each other: put one of the groups in parentheses")
            joined = this
            self._at += sign in "+|"
            parts.append(self._element(depth))
        return parts[0] if len(parts) == 1 else Group(joined == "|", tuple(parts))

    def _element(self, depth: int) -> AllocationFilter:
        self._skip()
        if not self._text.startswith("(", self._at):
            return self._comparison()
        if depth == MAX_DEPTH:
            raise self._error(f"parentheses are nested more than {MAX_DEPTH} deep")
        opened = self._at
        self._at += 1
        found = self._group(depth + 1)
        if not self._text.startswith(")", self._at):
            self._at = opened
            raise self._error("this '(' is not closed")
        self._at += 1
        return found

    def _comparison(self) -> Comparison:
        began, word = self._at, _WORD.match(self._text, self._at)
        field = word[0].lower() if word else ""
        if field not in _FIELDS and field not in _MAPS and field not in ALIASES:
            known = "cluster, node, namespace, controllerKind, controllerName, pod, label[NAME] or team"
            raise self._error(f"a field is expected, such as {known}")
        self._at = began + len(field)
        key = self._key() if field in _MAPS else ""
        self._skip()
        sign = next((one for one in _OPERATORS if self._text.startswith(one, self._at)), "")
        if not sign:
            raise self._error("an operator is expected: : !: ~: !~: <~: !<~: ~>: or !~>:")
        self._at += len(sign)
        values = [self._value()]
        while self._text.startswith(",", self._at):
            self._at += 1
            values.append(self._value())
        return comparison(field, key, sign, values)

    def _key(self) -> str:
        if not self._text.startswith("[", self._at):
            return ""
        end = self._text.find("]", self._at)
        if end < 0:
            raise self._error("this '[' is not closed")
        key = self._text[self._at + 1 : end].strip()
        if not key:
            raise self._error("a label's name is expected between '[' and ']'")
        self._at = end + 1
        return key

    def _value(self) -> str:
        """A value in quotes, in which a backslash takes the next character as it is; or a word without quotes."""
        self._skip()
        self._values += 1
        if self._values > MAX_VALUES:
            raise self._error(f"there are more than {MAX_VALUES} values: filter by fewer")
        if not self._text.startswith('"', self._at):
            word = _WORD.match(self._text, self._at)
            if word is None:
                raise self._error('a value in quotes is expected, such as "team-a"')
            self._at = word.end()
            self._skip_before_comma()
            return word[0]
        opened, found = self._at, list[str]()
        self._at += 1
        while self._at < len(self._text):
            sign = self._text[self._at]
            self._at += 1
            if sign == '"':
                self._skip_before_comma()
                return "".join(found)
            if sign == "\\":
                sign = self._text[self._at : self._at + 1]
                self._at += 1
            found.append(sign)
        self._at = opened
        raise self._error("this '\"' is not closed")

    def _skip_before_comma(self) -> None:
        end = len(self._text) - len(self._text[self._at :].lstrip(_SPACE))
        if self._text.startswith(",", end):
            self._at = end

    def _skip(self) -> None:
        while self._at < len(self._text) and self._text[self._at] in _SPACE:
            self._at += 1

    def _error(self, what: str) -> FilterError:
        there = self._text[self._at : self._at + 20]
        shown = f"at {printable(there, 30)!r}" if there else "at the end"
        return FilterError(f"filter, position {self._at + 1}, {shown}: {what}")
