"""A reverse proxy that serves another server below a path, as nginx does: it removes the path and forwards the rest."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextmanager
def below(path: str, port: int) -> Iterator[str]:
    """The address at which the server on the loopback `port` is seen, which ends in `path`."""

    class Handler(BaseHTTPRequestHandler):
        def forward(self) -> None:
            if not self.path.startswith(f"{path}/"):
                return self.send_error(404)
            self.close_connection = True
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            hop = {} if self.headers.get("upgrade") else {"connection": "close"}
            lines = [f"{self.command} {self.path.removeprefix(path)} HTTP/1.1"]
            lines += [f"{name}: {value}" for name, value in self.headers.items() if name.lower() not in hop]
            lines += [f"{name}: {value}" for name, value in hop.items()]
            with socket.create_connection(("127.0.0.1", port)) as upstream:
                upstream.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
                up = threading.Thread(target=_pump, args=(self.connection, upstream), daemon=True)
                up.start()
                _pump(upstream, self.connection)

        do_GET = do_POST = do_HEAD = forward

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}{path}"
        server.shutdown()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    """Copies bytes until the source ends."""
    with suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
