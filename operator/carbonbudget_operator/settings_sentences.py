"""What is wrong with a setting, as a sentence with what to do. Pure.

Pydantic words its errors for programmers ("Input should be a valid integer, unable to parse string as an integer").
None of its words reaches a person: an error of a type that is not known here gets a sentence that names the reference.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Final

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from carbonbudget_operator.printable import printable
from carbonbudget_operator.settings_sections import sections_in, tags_of

IN_WORDS: Final = "in_words"  # type of an error whose message is such a sentence already
_MOST_KEY: Final = 200
# Names that pydantic gives to the choices of a union. They are no keys; a key such as list-id is.
_CHOICE: Final = re.compile(
    r"(literal|dict|list|function-[a-z]+|is-instance|union|tagged-union|lax-or-strict|nullable)\[.*\Z"
    r"|constrained-[a-z]+\Z", re.DOTALL,
)  # fmt: skip
_NUMBER: Final = "must be a number"
_WHOLE: Final = "must be a whole number"
_SWITCH: Final = "must be true or false"
_TEXT: Final = "must be text: put it in quotes"
_MAPPING: Final = "must be a mapping of settings"
_LIST: Final = "must be a list"
_DATE: Final = "must be a date, for example 2026-07-01"
_SENTENCES: Final[Mapping[str, str]] = {
    "int_type": _WHOLE, "int_parsing": _WHOLE, "int_from_float": _WHOLE, "int_parsing_size": _WHOLE,
    "float_type": _NUMBER, "float_parsing": _NUMBER, "finite_number": _NUMBER, "decimal_type": _NUMBER,
    "decimal_parsing": _NUMBER, "is_instance_of": _NUMBER,
    "bool_type": _SWITCH, "bool_parsing": _SWITCH,
    "string_type": _TEXT, "string_unicode": _TEXT, "string_sub_type": _TEXT, "path_type": "must be the path of a file",
    "dict_type": _MAPPING, "mapping_type": _MAPPING, "model_type": _MAPPING, "model_attributes_type": _MAPPING,
    "list_type": _LIST, "tuple_type": _LIST, "set_type": _LIST, "iterable_type": _LIST,
    "date_type": _DATE, "date_parsing": _DATE, "date_from_datetime_parsing": _DATE,
    "date_from_datetime_inexact": _DATE,
    "greater_than": "must be greater than {gt}", "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}", "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}", "enum": "must be {expected}",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must have at least {min_length} entries", "too_long": "must have at most {max_length} entries",
    "decimal_max_places": "must have at most {decimal_places} digits after the decimal point",
    "decimal_max_digits": "must have at most {max_digits} digits",
    "decimal_whole_digits": "must have at most {whole_digits} digits before the decimal point",
    "invalid_key": "keys must be text: put this one in quotes",
    "union_tag_invalid": "{discriminator} must be one of {expected_tags}",
    "union_tag_not_found": "{discriminator} is missing: it says which kind of entry this is",
}  # fmt: skip
_REFERENCE: Final = "is not valid: docs/reference/settings.md says what it may be"

_Path = tuple[int | str, ...]


def key_of(path: _Path) -> str:
    """The key as in the file, with the place in lists."""
    parts = [str(part) for part in path if not (isinstance(part, str) and _CHOICE.match(part))]
    return printable(".".join(parts), _MOST_KEY) or "file"


def sentence_of(model: type[BaseModel], error: ErrorDetails) -> str:
    """What is wrong with the value at the error's path in the model."""
    kind, values = error["type"], error.get("ctx", {})
    if kind == IN_WORDS:
        return error["msg"]
    if kind in ("value_error", "assertion_error"):
        return str(values.get("error", _REFERENCE))
    if kind == "missing":
        return f"is missing{_what_it_is(model, error['loc'])}"
    if kind == "string_pattern_mismatch":
        return f"must match {values['pattern']}{_what_it_is(model, error['loc'])}"
    text = _SENTENCES.get(kind)
    if text is None:
        return _REFERENCE
    return text.format_map({name: _shown(value) for name, value in values.items()})


def _shown(value: object) -> str:
    if isinstance(value, Decimal | float) and value == int(value):
        return str(int(value))
    return str(value)


def _what_it_is(model: type[BaseModel], path: _Path) -> str:
    """The description of the setting, after a colon; empty without one."""
    described = [field.description for field in _fields_at(model, path) if field.description]
    return f": {described[0].rstrip('.')}" if described else ""


def _fields_at(model: type[BaseModel], path: Iterable[int | str]) -> list[FieldInfo]:
    """The settings at a path. For a list of several kinds, that of the kind in the path."""
    sections, fields = [model], list[FieldInfo]()
    for part in path:
        if isinstance(part, int) or _CHOICE.match(part):
            continue
        found = [one.model_fields[part] for one in sections if part in one.model_fields]
        if found:
            fields, sections = found, [below for one in found for below in sections_in(one.annotation)]
            continue
        tagged = [one for one in sections if part in tags_of(one)]
        if tagged:
            sections = tagged
        else:
            return fields
    return fields
