"""Lists settings for people: each key that differs from its default, with all values that it has over time. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Final

from pydantic import BaseModel

from carbonbudget_operator.dated_settings import utc
from carbonbudget_operator.intensity_settings import SourceSettings
from carbonbudget_operator.settings import Settings
from carbonbudget_operator.timeline import Timeline

_MAY_HOLD_A_KEY: Final = {"url", "params", "headers", "login_url"}


def differences(settings: Settings) -> Iterator[tuple[str, str]]:
    """Key and value of what differs from the defaults, in the order of the file.

    A key with several values has a line for each, also for one that equals the default: `key`, `key from INSTANT`.
    """
    usual = {path: values[0][1] for path, values in _by_time(Settings())}
    for path, values in _by_time(settings):
        if len(values) == 1 and values[0][1] == usual[path]:
            continue
        for start, value in values:
            note = " (the default)" if value == usual[path] else ""
            yield f"{path} from {utc(start)}" if start else path, in_words(value) + note


def _by_time(settings: Settings) -> Iterator[tuple[str, list[tuple[int, object]]]]:
    """Each key with its values by the UTC second from which they are in force; what stays the same is there once."""
    for name in Settings.model_fields:
        value = getattr(settings, name)
        sections = list(value) if isinstance(value, Timeline) else [(0, value)]
        for path, _ in _leaves(sections[0][1], name):
            values: list[tuple[int, object]] = []
            for start, section in sections:
                its = _at(section, path.split(".")[1:])
                if not values or values[-1][1] != its:
                    values.append((start, its))
            yield path, values


def _leaves(value: object, path: str) -> Iterator[tuple[str, object]]:
    """Each key below a section; a section that may be left out altogether (a supplier) is a value, not a section."""
    if not isinstance(value, BaseModel):
        yield path, value
        return
    for key, field in type(value).model_fields.items():
        its = getattr(value, key)
        if isinstance(its, BaseModel) and field.annotation is type(its):
            yield from _leaves(its, f"{path}.{key}")
        else:
            yield f"{path}.{key}", its


def _at(section: object, path: Iterable[str]) -> object:
    for key in path:
        section = getattr(section, key)
    return section


def in_words(value: object) -> str:
    """A value on one line. What may hold a key of a source of intensities is only said to be set."""
    if value is None or value in ("", [], {}):
        return "empty"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, SourceSettings):
        return in_words(_of_source(value))
    if isinstance(value, BaseModel):
        return in_words({key: getattr(value, key) for key in type(value).model_fields})
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {in_words(one)}" for key, one in value.items()) + "}"
    return ", ".join(map(in_words, value)) if isinstance(value, list) else str(value)


def _of_source(source: SourceSettings) -> dict[str, object]:
    """What is given of a source; type and name always."""
    return {
        key: "set" if key in _MAY_HOLD_A_KEY else getattr(source, key)
        for key in type(source).model_fields
        if key in ("type", "name") or getattr(source, key) != type(source).model_fields[key].default
    }
