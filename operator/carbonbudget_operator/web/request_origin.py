"""Where a request comes from: the checks of Host, Origin and Sec-Fetch-Site. Pure.

Host: a page of another site whose DNS name was pointed at our address (DNS rebinding) has that name as Host.
Origin: a form of another site that is sent to us would sign a user in or out. Browsers set it, pages cannot.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

_HOST: Final = re.compile(r"(\[[0-9a-fA-F:.]{2,45}\]|[a-zA-Z0-9._-]{1,253})(:[0-9]{1,5})?")


def host_refusal(host: str, allowed: Sequence[str]) -> str:
    """Why the header Host is refused, in one line; empty if its name is one of `allowed`. Ports are not compared."""
    found = _HOST.fullmatch(host)
    name = found[1].lower().rstrip(".") if found else ""
    if name and name in {one.lower() for one in allowed}:
        return ""
    return f"this page is not served for the host {name or 'of the request'}: add it to web.hosts if it should be"


def origin_refusal(origin: str | None, fetch_site: str | None, host: str) -> str:
    """Why a POST is refused, in one line; empty if a page of this very host sent it. None: the header is missing.

    A browser that sends no Sec-Fetch-Site must send an Origin. One that does may send the Origin `null`,
    as from a page with the Referrer-Policy `no-referrer`.
    """
    own = origin is not None and origin.lower() == f"https://{host}".lower()
    if fetch_site is None and own:
        return ""
    if fetch_site == "same-origin" and (own or origin in (None, "null")):
        return ""
    return "the form was not sent by this page: open the page and try again"
