"""The HTTP listener of the agent's metrics: a bounded number of scrapes at once, and an incomplete one is ended."""

from __future__ import annotations

import contextlib
import socket
import threading
from http.server import ThreadingHTTPServer

from prometheus_client import MetricsHandler
from prometheus_client.registry import CollectorRegistry

_AT_ONCE = 8  # scrapes; a thread each


class _MetricsRequest(MetricsHandler):
    timeout = 5.0  # an incomplete request is ended


class MetricsListener(ThreadingHTTPServer):
    """Sleeps until a request arrives. `serve_forever` would check twice a second whether to end: 8 ms a minute."""

    def __init__(self, address: str, port: int, registry: CollectorRegistry) -> None:
        found = socket.getaddrinfo(address or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        self.address_family = found[0][0]
        self._stopped, self._free = False, threading.Semaphore(_AT_ONCE)
        super().__init__((address, port), _MetricsRequest.factory(registry))

    def answer_until_stopped(self) -> None:
        """Answer requests, each in a thread, until `stop` is called."""
        while not self._stopped:
            self.handle_request()

    # Ignored twice: the typeshed allows datagrams here, which a stream server never gets.
    def process_request(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override] # socketserver types the request as socket or tuple
        """Answer in a thread, or close the connection if there are as many as there may be."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread was started, so none releases the semaphore
            self._free.release()
            raise

    # As above: no datagram comes here.
    def process_request_thread(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override] # socketserver types the request as socket or tuple
        """Answer, and leave the thread's place to another request."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def stop(self) -> None:
        """End `answer_until_stopped`."""
        self._stopped = True
        with contextlib.suppress(OSError):  # a last connection ends its wait
            socket.create_connection((str(self.server_address[0]), self.server_port), timeout=1).close()
