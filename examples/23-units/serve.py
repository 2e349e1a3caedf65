"""A model server that counts its own units. It needs nothing but carbonbudget-client; the model is two numbers."""

import json
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import carbonbudget as cb


class Handler(BaseHTTPRequestHandler):
    """`POST /` with a list of numbers answers as many predictions."""

    def do_POST(self) -> None:
        """Each element is an inference. The client adds up the calls and sends one count each 30 s."""
        numbers = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer = json.dumps([3 * number + 1 for number in numbers]).encode()
        cb.units(inferences=len(numbers), requests=1)  # now that it has succeeded: what fails is no unit
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


if __name__ == "__main__":
    # Kubernetes ends a pod by SIGTERM. By default Python ends at once then, and the units of the last 30 s are lost.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server = ThreadingHTTPServer(("", int(sys.argv[1])), Handler)
    print(f"listening on port {server.server_port}", flush=True)
    server.serve_forever()
