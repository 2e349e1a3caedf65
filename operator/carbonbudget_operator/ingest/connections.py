"""How the server's connections end."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_FAREWELL_SECONDS = 0.5


class Connection(HttpToolsProtocol):
    """One that does not wait for its client when the server ends.

    Closed TLS connections wait up to 30 s for the client's own farewell, and an agent reads none before it has its
    next report: a server that was told to end would be away for most of a window.
    """

    def shutdown(self) -> None:
        """As uvicorn has it: at once where nothing is asked, else after the answer; but then for good."""
        super().shutdown()
        if self.transport.is_closing():
            asyncio.get_running_loop().call_later(_FAREWELL_SECONDS, self.transport.abort)
