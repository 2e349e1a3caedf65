"""The root of a command line: the order of its help, and sentences for values that options refuse.

typer shows what pydantic says of a value ("Input should be greater than or equal to 1"), which is for programmers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

import typer
from pydantic import ValidationError
from typer.core import TyperGroup

from carbonbudget_operator.cli.formatted_values import listed

_CHOICES: Final = re.compile(r".* is not one of (.*)\.", re.DOTALL)  # of typer/_param_types.py
# What a value must be, by the type of pydantic's error and its context.
_RULES: Final[Mapping[str, Callable[[Mapping[str, Any]], str]]] = {
    "int_parsing": lambda _: "a whole number",
    "int_parsing_size": lambda _: "a whole number that is not so large",
    "float_parsing": lambda _: "a number",
    "greater_than_equal": lambda context: f"{context['ge']:g} or more",
    "less_than_equal": lambda context: f"{context['le']:g} or less",
    "value_error": lambda context: _choices(str(context["error"])),
}


class CommandGroup(TyperGroup):
    """Commands in the order of `first`, then those of neither tuple, then those of `last`."""

    first: ClassVar[tuple[str, ...]] = ()
    last: ClassVar[tuple[str, ...]] = ()

    def list_commands(self, ctx: Any) -> list[str]:
        """The names in the order in which `--help` shows them."""
        named = super().list_commands(ctx)
        rest = [name for name in named if name not in (*self.first, *self.last)]
        return [*(n for n in self.first if n in named), *rest, *(n for n in self.last if n in named)]

    def invoke(self, ctx: Any) -> Any:
        """Run the command. A value that an option refuses ends it with one sentence and exit code 2."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            sentence = _refusal(error)
            if not sentence:
                raise
            raise _RefusedValue(sentence, error.ctx, error.param) from None


class _RefusedValue(typer.BadParameter):
    def format_message(self) -> str:
        """The sentence alone: it names the option."""
        return self.message


def _refusal(error: typer.BadParameter) -> str:
    """ "--by must be run or model, not 'foo'"; empty where it is not known what the option takes."""
    if not isinstance(error.__cause__, ValidationError) or error.param is None:
        return ""
    first = error.__cause__.errors()[0]
    rule = _RULES.get(first["type"])
    wanted = rule(first.get("ctx", {})) if rule is not None else ""
    least, most = (getattr(error.param, bound, None) for bound in ("min", "max"))
    if wanted and least is not None and most is not None:
        wanted = f"a number from {least:g} to {most:g}"
    # `--output` of `--output, -o`; the name of an argument in capitals, as the help shows it.
    name = max(error.param.opts, key=len)
    name = name if name.startswith("-") else name.upper()
    return f"{name} must be {wanted}, not {first['input']!r}" if wanted else ""


def _choices(message: str) -> str:
    """ "table, json or csv" of typer's message; empty for any other."""
    match = _CHOICES.fullmatch(message)
    return listed([choice.strip("'") for choice in match[1].split(", ")], "or") if match is not None else ""
