"""Every setting with every kind of wrong value: one line with the key and a sentence, in our words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import pytest
import yaml
from pydantic import BaseModel

from carbonbudget_operator.printable import is_printable
from carbonbudget_operator.settings import Settings, SettingsError, parse_settings
from carbonbudget_operator.settings_sections import sections_in
from carbonbudget_operator.unit_settings import UnitSettings

BAD: Final = [
    None, True, -1, 0, 10**30, 1.5, float("nan"), float("inf"), -0.0001, "", "x", "\n", " ", "x" * 5000, "{a}", "%s",
    "\x7f\u202e", "https://u:p@h/", "http://h:99999", "2026-02-30", [], [None], ["x"] * 100, [{}], [[1]], {}, {"a": 1},
    {"a": {"b": [1]}}, {"x\n": None}, {1: 2}, [{"value": 1}, {"valid_from": "x", "value": []}],
    [{"value": {}}, {"valid_from": "2026-07-01", "value": -5}],
]  # fmt: skip
PYDANTIC = re.compile(
    r"Input should|Value error|Assertion|Field required|Extra inputs|[Vv]alidation|pydantic|[Uu]nable to|should have at"
    r"|should match|valid (string|integer|number|dict|list|boolean)|\bNone\b|<class|Decimal|NoneType|constrained|"
    r"literal\[|dict\[|list\[|ctx"
)


def keys(model: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of each setting. An entry of a list has `*` and the name of its section."""
    for name, field in model.model_fields.items():
        here = (*path, name)
        yield here
        for below in sections_in(field.annotation):
            yield from keys(below, (*here, f"*{below.__name__}") if "list[" in str(field.annotation) else here)


ALL = sorted(set(keys(Settings)))


def _entry_tag(section: type[BaseModel]) -> dict[str, Any]:
    return {
        name: field.default for name, field in section.model_fields.items()
        if name in ("type", "kind") and isinstance(field.default, str)
    }  # fmt: skip


def _sections_by_name(model: type[BaseModel]) -> dict[str, type[BaseModel]]:
    found = {}
    for field in model.model_fields.values():
        for below in sections_in(field.annotation):
            found[below.__name__] = below
            found |= _sections_by_name(below)
    return found


BY_NAME = _sections_by_name(Settings)


def values_with(path: tuple[str, ...], bad: object) -> dict[str, Any]:
    """A settings file in which one setting is wrong."""
    value: object = bad
    for number in range(len(path) - 1, -1, -1):
        part = path[number]
        if part.startswith("*"):
            value = [value]
            continue
        tag = _entry_tag(BY_NAME[path[number - 1][1:]]) if number and path[number - 1].startswith("*") else {}
        value = tag | {part: value}
    assert isinstance(value, dict)
    return value


def lines_of(values: dict[Any, Any]) -> list[str]:
    try:
        parse_settings(yaml.safe_dump(values).encode(), "f")
    except SettingsError as error:
        return str(error).split("\n")
    return []


@pytest.mark.parametrize("section", sorted({path[0] for path in ALL}))
def test_every_wrong_value_of_every_setting_is_answered_in_our_words(section: str) -> None:
    for path in (one for one in ALL if one[0] == section):
        refused = 0
        for bad in BAD:
            lines = lines_of(values_with(path, bad))
            refused += bool(lines)
            for line in lines:
                assert line.startswith("f: "), (path, bad, line)
                words = re.sub(r"\^\S+", "", line)  # a pattern
                assert not PYDANTIC.search(words), (path, bad, line)
                assert is_printable(line), (path, bad, line)
                assert len(line) < 700, (path, bad, line)
                assert line.count(": ") >= 1, (path, bad, line)
        assert refused >= 3, path


def test_the_walk_reaches_sections_in_lists_and_dated_ones() -> None:
    assert len(ALL) > 120
    for path in (
        ("exports", "*InfluxTargetSettings", "url"), ("carbon", "intensity", "sources", "*NesoSettings", "name"),
        ("carbon", "market", "residual_mixes", "*ResidualMix", "zone"), ("units", "url"),
        ("server", "spans", "window_days"),
    ):  # fmt: skip
        assert path in ALL, path


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"server": {"pod_days": "many"}}, "f: server.pod_days: must be a whole number"),
        ({"server": {"pod_days": 1}}, "f: server.pod_days: must be at least 2"),
        ({"server": {"user_tokens": "perhaps"}}, "f: server.user_tokens: must be true or false"),
        ({"web": {"hosts": []}}, "f: web.hosts: must have at least 1 entries"),
        (
            {"exports": [{"name": "x", "kind": "influx"}]},
            "f: exports.0.influx.url: is missing: Start of the URL: /write is added for a database, /api/v2/write for "
            "a bucket",
        ),
        (
            {"units": {"pod_label": "a-b"}},
            "f: units.pod_label: must match ^[a-zA-Z_][a-zA-Z0-9_]{0,126}$: Label of a pod's name, which Prometheus "
            "itself must set",
        ),
        ({"units": {"headers": {"list-id": 5}}}, "f: units.headers.list-id: must be text: put it in quotes"),
        ({"units": {"headers": {"function-x": 5}}}, "f: units.headers.function-x: must be text: put it in quotes"),
        ({1: 2}, "f: 1: keys must be text: put this one in quotes"),
        ({"exports": [{"name": "x"}]}, "f: exports.0: 'kind' is missing: it says which kind of entry this is"),
        (
            {"allocation": {"shared": {"a": "no"}}},
            "f: allocation.shared.a: must be 'proportional', 'even' or 'separate', or must be a mapping of settings",
        ),
    ],
)  # fmt: skip
def test_a_sentence_says_what_to_do(values: dict[Any, Any], line: str) -> None:
    assert lines_of(values) == [line]


@pytest.mark.parametrize(
    ("given", "more"),
    [
        ({"token_file": "/t"}, ""), ({"ca": "/c"}, ""), ({"tenant": "a"}, ""), ({"headers": {"X-A": "b"}}, ""),
        ({"username": "u", "password_file": "/p"}, " and password_file"),
    ],
)  # fmt: skip
def test_what_a_store_needs_is_refused_without_its_url(given: dict[str, Any], more: str) -> None:
    first = next(iter(given))
    line = f"f: units: {first} is set and url is not: set url, or remove {first}{more}"
    assert lines_of({"units": given}) == [line]
    assert lines_of({"units": given | {"url": "https://prometheus:9090"}}) == []


def test_each_setting_of_units_is_of_the_store_or_has_a_default_of_its_own() -> None:
    """A new setting that does nothing without a store, and is empty by default, belongs to those that need its url."""
    empty = {name for name, field in UnitSettings.model_fields.items() if not field.default and name != "url"}
    for name in empty:
        given = {"ca": "/c", "headers": {"X-A": "b"}, "username": "u", "password_file": "/p"}.get(name, "t")
        assert any("url is not" in line or "belong together" in line for line in lines_of({"units": {name: given}})), (
            name
        )
