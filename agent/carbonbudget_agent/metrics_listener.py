"""The HTTP listener of the agent's metrics and probe: a few requests at once, each ended if incomplete."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from http.server import ThreadingHTTPServer

from prometheus_client import MetricsHandler
from prometheus_client.registry import CollectorRegistry

_AT_ONCE = 8  # requests; a thread each
_PROBE = "/healthz"
_HASTE_SECONDS = 0.1  # a probe sends its request at once


class _MetricsRequest(MetricsHandler):
    timeout = 5.0  # an incomplete request is ended
    server: MetricsListener

    def do_GET(self) -> None:  # noqa: N802 - http.server's name
        """The metrics, or the answer to the liveness probe."""
        if self.path != _PROBE:
            super().do_GET()
            return
        self.wfile.write(self.server.probe_answer())


class MetricsListener(ThreadingHTTPServer):
    """Sleeps until a request arrives. `serve_forever` would check twice a second whether to end: 8 ms a minute."""

    def __init__(
        self, address: str, port: int, registry: CollectorRegistry, alive: Callable[[], bool] = lambda: True
    ) -> None:
        """An empty `address` means all, of both families: one socket, or an IPv4 one if the kernel has no IPv6."""
        self._both = not address and socket.has_dualstack_ipv6()
        if self._both:
            self.address_family = socket.AF_INET6
        elif address:
            self.address_family = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0][0]
        self._stopped, self._free, self._alive = False, threading.Semaphore(_AT_ONCE), alive
        super().__init__((address, port), _MetricsRequest.factory(registry))

    def server_bind(self) -> None:
        """Bind, with both families if they are wanted: a system's default may be IPv6 alone."""
        if self._both:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def answer_until_stopped(self) -> None:
        """Answer requests, each in a thread, until `stop` is called."""
        while not self._stopped:
            self.handle_request()

    # Ignored twice: the typeshed allows datagrams here, which a stream server never gets.
    def process_request(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override] # socketserver types the request as socket or tuple
        """Answer in a thread, or close the connection if there are as many as there may be.

        A probe is answered even then: who keeps connections open must not be able to have the agent restarted.
        """
        if not self._free.acquire(blocking=False):
            with contextlib.suppress(OSError):
                request.settimeout(_HASTE_SECONDS)
                if request.recv(1024).startswith(f"GET {_PROBE} ".encode()):
                    request.sendall(self.probe_answer())
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

    def probe_answer(self) -> bytes:
        """200 while samples are taken, else 503."""
        status, body = ("200 OK", "ok\n") if self._alive() else ("503 Service Unavailable", "no sample for minutes\n")
        head = f"HTTP/1.0 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n"
        return (head + body).encode()

    def stop(self) -> None:
        """End `answer_until_stopped`."""
        self._stopped = True
        host = "127.0.0.1" if self._both else str(self.server_address[0])
        with contextlib.suppress(OSError):  # a last connection ends its wait
            socket.create_connection((host, self.server_port), timeout=1).close()
