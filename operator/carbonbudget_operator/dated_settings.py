"""Reads dated settings: a key has either one value for all times, or a list of values with the times they begin.

    pue: 1.4                                      # at all times
    pue: [{value: 1.4}, {valid_from: 2026-07-01, value: 1.2}]

A model marks the keys that may be dated with `DATED`. A section is validated once for each span between two changes, so
the models and their users have plain values only. Pure.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, TypeVar, get_args, get_origin

from pydantic import BaseModel, PlainValidator, ValidationError
from pydantic.config import ExtraValues
from pydantic_core import InitErrorDetails, PydanticCustomError

from carbonbudget_operator.settings_sentences import IN_WORDS, sentence_of
from carbonbudget_operator.timeline import HOUR, Timeline, starts_of

M = TypeVar("M", bound=BaseModel)
_Path = tuple[str, ...]
_KEYS: Final = {"valid_from", "value"}
# The context of a validation with extra="ignore", which does not reach the sections that are validated here.
IGNORE_UNKNOWN: Final = "ignore unknown keys"


class _Dated:
    """Type of the mark `DATED`."""


DATED: Final = _Dated()


class _Wrong(Exception):
    """A list of dated values is invalid."""

    def __init__(self, path: _Path, reason: str) -> None:
        super().__init__(reason)
        self.path = path


def dated(model: type[M]) -> PlainValidator:
    """A validator that turns a section with dated keys into a timeline of plain sections."""
    return PlainValidator(lambda given, info: _read(model, given, info.context))


def is_dated(model: type[BaseModel], key: str) -> bool:
    """Whether a key of a section is marked with `DATED`."""
    return DATED in model.model_fields[key].metadata


def utc(instant: int) -> str:
    """A UTC second as text with minutes: 2026-07-01T00:00Z."""
    return f"{dt.datetime.fromtimestamp(instant, dt.UTC):%Y-%m-%dT%H:%MZ}"


def _read(model: type[M], given: object, context: object) -> Timeline[M]:
    ignored: ExtraValues | None = "ignore" if context == IGNORE_UNKNOWN else None
    if isinstance(given, Timeline):
        return given
    if isinstance(given, model) or not isinstance(given, Mapping):
        return Timeline.always(model.model_validate(given))
    found: dict[_Path, list[tuple[int, object]]] = {}
    wrong: dict[tuple[Any, ...], InitErrorDetails] = {}
    for path, values, may_be_dated in _lists(model, given, ()):
        try:
            found[path] = _entries(path, values, may_be_dated)
        except _Wrong as error:
            wrong[error.path] = _detail(error.path, str(error), values)
    if wrong:
        raise ValidationError.from_exception_data(model.__name__, list(wrong.values()))
    starts = starts_of(start for entries in found.values() for start, _ in entries)
    sections: list[M] = []
    for start in starts:
        try:
            sections.append(model.model_validate(_plain(given, found, start), extra=ignored))
        except ValidationError as error:
            since = f" (in force from {utc(start)})" if start else ""
            for item in error.errors(include_url=False):
                is_unknown = item["type"] == "extra_forbidden"
                reason = item["msg"] if is_unknown else sentence_of(model, item)
                detail = _detail(item["loc"], reason + since, item["input"], item["type"] if is_unknown else IN_WORDS)
                wrong.setdefault((item["loc"], reason), detail)
    if wrong:
        raise ValidationError.from_exception_data(model.__name__, list(wrong.values()))
    return Timeline(starts, tuple(sections))


def _detail(path: tuple[int | str, ...], reason: str, given: object, kind: str = IN_WORDS) -> InitErrorDetails:
    # The message is passed as a value, because pydantic would interpret braces in a template.
    return InitErrorDetails(
        type=PydanticCustomError(kind, "{reason}", {"reason": reason}), loc=path, input=given
    )  # fmt: skip


def _lists(model: type[BaseModel], given: Mapping[Any, Any], path: _Path) -> Iterator[tuple[_Path, list[Any], bool]]:
    """Yield the lists of dated values in a section and its subsections, and whether their key may be dated."""
    for key, field in model.model_fields.items():
        value, here = given.get(key), (*path, key)
        if is_dated(model, key) and isinstance(value, list):
            plain_list = list in (get_origin(field.annotation), field.annotation)
            if not plain_list or any(map(_is_entry, value)):
                yield here, value, True
        elif isinstance(value, list) and any(isinstance(item, Mapping) and "valid_from" in item for item in value):
            yield here, value, False
        elif isinstance(value, Mapping):
            for inner in _sections(field.annotation):
                yield from _lists(inner, value, here)


def _is_entry(item: object) -> bool:
    """Whether an item of a list is a dated value. Items of plain lists may have a key `value` too."""
    return isinstance(item, Mapping) and ("valid_from" in item or item.keys() == {"value"})


def _sections(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) is Annotated:
        return _sections(get_args(annotation)[0])
    return []


def _entries(path: _Path, given: list[Any], may_be_dated: bool) -> list[tuple[int, object]]:
    """Each value with the UTC second from which it is in force, in order. Raises _Wrong."""
    if not may_be_dated:
        raise _Wrong(path, "this key cannot be dated: give one value")
    found: list[tuple[int, object]] = []
    for number, entry in enumerate(given, 1):
        if not isinstance(entry, Mapping) or "value" not in entry or entry.keys() - _KEYS:
            raise _Wrong(
                path,
                f"entry {number} must be {{value: ...}} if it is the first, else {{valid_from: ..., value: ...}}, "
                "without other keys",
            )
        if number == 1:
            if "valid_from" in entry:
                raise _Wrong(path, "the first entry must have no valid_from: its value is in force before all others")
            found.append((0, entry["value"]))
            continue
        if "valid_from" not in entry:
            raise _Wrong(path, f"entry {number} needs valid_from, the time from which its value is in force")
        start = _instant(path, entry["valid_from"])
        if start <= found[-1][0]:
            raise _Wrong(path, f"entry {number}: valid_from {utc(start)} must be later than that of the entry before")
        found.append((start, entry["value"]))
    if not found:
        raise _Wrong(path, "the list has no entry: give a value, or entries with value and valid_from")
    return found


def _instant(path: _Path, given: object) -> int:
    """UTC seconds of a date or time; without a zone it is UTC. Raises _Wrong."""
    value = given
    if isinstance(value, str):
        try:
            value = dt.datetime.fromisoformat(value)
        except ValueError:
            value = None
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        value = dt.datetime(value.year, value.month, value.day, tzinfo=dt.UTC)
    if not isinstance(value, dt.datetime):
        raise _Wrong(path, f"valid_from must be a date or an instant such as 2026-07-01T00:00:00Z, not {given!r:.60}")
    if not 1971 <= value.year < 2200:
        raise _Wrong(path, f"valid_from {given} is not between the years 1971 and 2199: check the date")
    instant = (value if value.tzinfo else value.replace(tzinfo=dt.UTC)).timestamp()
    if instant % HOUR:
        earlier = int(instant // HOUR) * HOUR
        raise _Wrong(
            path,
            f"valid_from {given} is inside an hour of UTC, and hours are valued as a whole: give {utc(earlier)} or "
            f"{utc(earlier + HOUR)}",
        )
    return int(instant)


def _plain(given: object, found: Mapping[_Path, list[tuple[int, object]]], at: int, path: _Path = ()) -> object:
    """The section with each list replaced by the value in force at the UTC second `at`."""
    if path in found:
        return next(value for start, value in reversed(found[path]) if start <= at)
    if isinstance(given, Mapping):
        return {key: _plain(value, found, at, (*path, key)) for key, value in given.items()}
    return given
