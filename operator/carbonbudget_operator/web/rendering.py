"""Templates to HTML. Everything is escaped, and text of unknown origin is made printable first."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import Any, Final

import jinja2
from starlette.responses import HTMLResponse

from carbonbudget_operator.printable import printable

STATIC: Final = Path(__file__).with_name("static")


@functools.cache
def static_url(name: str) -> str:
    """The address of a static file, with a digest of its content: browsers keep it for as long as it is the same."""
    return f"/static/{name}?v={hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]}"


@functools.cache
def _environment() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    made.globals["static"] = static_url
    return made


def _shown(value: Any) -> Any:
    """Plain text without control characters and direction marks; `Markup` is our own and stays as it is."""
    return printable(value, 8_000) if type(value) is str else value


def render(template: str, **values: Any) -> str:
    """The HTML of a template. `values` are what it names; a name that is missing raises jinja2.UndefinedError."""
    return _environment().get_template(template).render(**values)


def page(template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """A page that extends `base.html`.

    It needs `title`. `caller` (a PageCaller or None), `here` (the name of the current tab) and `sign_out` are optional.
    """
    given = {"caller": None, "here": "", "sign_out": None, "address": "", **values}
    return HTMLResponse(render(template, **given), status)
