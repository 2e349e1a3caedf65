"""The HTTP server of tests that answer for another program."""

from __future__ import annotations

import socket
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FakeHttpServer(ThreadingHTTPServer):
    """Listens on a free port of this machine; a thread for each connection, and none outlives the tests.

    A client that goes away is what many tests want. The base class writes a traceback of it into the output of
    whichever test runs then; other errors of a handler it still writes.
    """

    daemon_threads = True

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)

    def handle_error(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)
