"""A reverse proxy that makes a good service a broken one, in one chosen way."""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

DEADLINE_S = 30.0
METHODS = ("GET", "HEAD", "POST", "PATCH", "DELETE", "OPTIONS")


@dataclass(frozen=True)
class Request:
    """A request as it came."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """The first value of a header."""
        return next((value for found, value in self.headers if found.lower() == name), None)

    def with_header(self, name: str, value: str) -> "Request":
        """The same with another value of a header."""
        changed = tuple((n, value if n.lower() == name else v) for n, v in self.headers)
        return replace(self, headers=changed)


@dataclass(frozen=True)
class Answer:
    """An answer as it came."""

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


Forward = Callable[[Request], Answer]
# What is done with a request, given the way to the service.
Handling = Callable[[Request, Forward], Answer]


@contextmanager
def proxy(base_url: str, handling: Handling) -> Iterator[str]:
    """Serves in front of the service at `base_url`; yields the base URL of its own."""
    address = urlsplit(base_url).netloc

    def forward(request: Request) -> Answer:
        with closing(HTTPConnection(address, timeout=DEADLINE_S)) as connection:
            connection.putrequest(
                request.method, request.path, skip_host=True, skip_accept_encoding=True
            )
            for name, value in request.headers:
                connection.putheader(name, value.encode("latin-1"))
            connection.endheaders(request.body or None)
            response = connection.getresponse()
            headers = tuple(response.getheaders())
            return Answer(response.status, response.reason, headers, response.read())

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = DEADLINE_S

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            request = Request(self.command, self.path, tuple(self.headers.items()), body)
            answer = handling(request, forward)
            self.send_response_only(answer.status, answer.reason)
            for name, value in answer.headers:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)
            self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    for method in METHODS:
        setattr(Handler, f"do_{method}", Handler.handle_any)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join(DEADLINE_S)
        server.server_close()
