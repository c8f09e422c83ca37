"""A billing service in a page of Python that keeps the measured part of the contract.

Slow and plain: it stands in for a real service where the harness is under test. FAKE_FAULT in its
environment makes it one of the services that a harness must survive.
"""

import json
import os
import queue
import re
import signal
import sys
import threading
import time
import uuid
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
import jwt
import psycopg

from protos.payment.v1 import payment_pb2, payment_pb2_grpc

FAULT = os.environ.get("FAKE_FAULT", "")
# "extra-query": a third statement. "wrong-body": another body. "dies:N": exits at request N.
# "never-ready": not ready for good. "dies-at-start". "ignores-term". "errors": 500 to the measured.
DIES_AT = int(FAULT.partition(":")[2]) if FAULT.startswith("dies:") else None
_INVOICE = (
    "SELECT id, subscription_id, status, amount_cents, currency, created_at FROM invoices"
    " WHERE id = %s AND account_id = %s"
)
_SUBSCRIPTION = "SELECT id, plan, status FROM subscriptions WHERE id = %s AND account_id = %s"
_PATH = re.compile(r"/v1/invoices/([^/?]*)/payment")
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_STATUSES = {
    payment_pb2.PAYMENT_STATUS_PENDING: "pending",
    payment_pb2.PAYMENT_STATUS_SUCCEEDED: "succeeded",
    payment_pb2.PAYMENT_STATUS_DECLINED: "declined",
}


def log(message: str, **fields: Any) -> None:
    """One JSON line."""
    now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    line = {"timestamp": now, "level": "INFO", "message": message, **fields}
    os.write(1, (json.dumps(line, separators=(",", ":")) + "\n").encode())


class Store:
    """A fixed set of connections and a channel."""

    def __init__(self) -> None:
        self.connections: queue.Queue[psycopg.Connection] = queue.Queue()
        for _ in range(int(os.environ.get("DATABASE_MAX_CONNECTIONS", "4"))):
            connection = psycopg.connect(
                os.environ["DATABASE_URL"], autocommit=True, prepare_threshold=0
            )
            self.connections.put(connection)
        target = os.environ["PAYMENT_TARGETS"].split(",")[0]
        self.payments = payment_pb2_grpc.PaymentsStub(grpc.insecure_channel(target))

    def invoice(self, invoice: str, account: str) -> tuple[Any, Any] | None:
        """The caller's invoice and its subscription, or None."""
        connection = self.connections.get()
        try:
            found = connection.execute(_INVOICE, (invoice, account)).fetchone()
            if found is None:
                return None
            if FAULT == "extra-query":
                connection.execute("SELECT count(*) FROM accounts WHERE id = %s", (account,))
            return found, connection.execute(_SUBSCRIPTION, (found[1], account)).fetchone()
        finally:
            self.connections.put(connection)


class Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version = "HTTP/1.1"
    store: Store
    served = 0

    def log_message(self, format: str, *args: Any) -> None:
        """Its own log has another form."""

    def do_GET(self) -> None:
        began = time.monotonic()
        request_id = self.headers.get("X-Request-Id") or str(uuid.uuid4())
        status, body = self.answer(request_id)
        content = json.dumps(body, separators=(",", ":")).encode()
        kind = "application/json" if status < 400 else "application/problem+json"
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("X-Request-Id", request_id)
        if status == 401:
            self.send_header("WWW-Authenticate", "Bearer")
        self.end_headers()
        self.wfile.write(content)
        if not self.path.startswith(("/livez", "/readyz")):
            log(
                "request",
                request_id=request_id,
                method="GET",
                route="/v1/invoices/{id}/payment",
                status=status,
                latency_us=int((time.monotonic() - began) * 1e6),
                bytes=len(content),
            )

    def answer(self, request_id: str) -> tuple[int, Any]:
        """Status and body for the request's path."""
        if self.path == "/livez":
            return 200, {"status": "ok"}
        if self.path == "/readyz":
            if FAULT == "never-ready":
                return 503, {"status": "not_ready"}
            return 200, {"status": "ready", "database": "ok", "payments": "ok"}
        found = _PATH.fullmatch(self.path)
        if found is None:
            return self.problem("not_found", 404, request_id)
        account = self.account()
        if account is None:
            return self.problem("unauthenticated", 401, request_id)
        if not _ID.fullmatch(found[1]):
            return self.problem("malformed", 400, request_id)
        return self.payment(found[1], account, request_id)

    def payment(self, invoice: str, account: str, request_id: str) -> tuple[int, Any]:
        """The measured request."""
        Handler.served += 1
        if DIES_AT is not None and Handler.served >= DIES_AT:
            os._exit(17)
        if FAULT == "errors" and Handler.served > 60:
            return self.problem("internal", 500, request_id)
        rows = self.store.invoice(invoice, account)
        if rows is None:
            return self.problem("not_found", 404, request_id)
        row, subscription = rows
        payment = self.store.payments.GetPayment(
            payment_pb2.GetPaymentRequest(invoice_id=invoice),
            timeout=5,
            metadata=(("x-request-id", request_id),),
        )
        updated = datetime.fromtimestamp(payment.updated_at_unix_ms / 1000, UTC)
        return 200, {
            "invoice_id": str(row[0]) if FAULT != "wrong-body" else "another",
            "status": row[2],
            "amount_cents": row[3],
            "currency": row[4],
            "created_at": row[5].astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "subscription": {
                "id": str(subscription[0]),
                "plan": subscription[1],
                "status": subscription[2],
            },
            "payment": {
                "id": payment.payment_id,
                "status": _STATUSES.get(payment.status, "unspecified"),
                "amount_cents": payment.amount_cents,
                "currency": payment.currency,
                "updated_at": updated.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z",
            },
        }

    def account(self) -> str | None:
        """The account of a valid bearer token."""
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        try:
            claims = jwt.decode(
                token,
                os.environ["AUTH_JWT_SECRET"],
                algorithms=["HS256"],
                issuer=os.environ["AUTH_JWT_ISSUER"],
                audience=os.environ["AUTH_JWT_AUDIENCE"],
            )
        except jwt.InvalidTokenError:
            return None
        return str(claims["sub"])

    def problem(self, name: str, status: int, request_id: str) -> tuple[int, Any]:
        """A problem document."""
        kind = f"https://bakeoff.invalid/problems/{name}"
        return status, {"type": kind, "status": status, "request_id": request_id}


class Server(ThreadingHTTPServer):
    """With room for the connections of a closed model that all come at once."""

    daemon_threads = True
    request_queue_size = 512


def main() -> None:
    """Serves until SIGTERM."""
    if FAULT == "dies-at-start":
        sys.exit("the fake was told to die at its start")
    Handler.store = Store()
    host, _, port = os.environ["LISTEN_ADDR"].rpartition(":")
    server = Server((host, int(port)), Handler)
    if FAULT == "ignores-term":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    log("listening", address=f"{host}:{server.server_address[1]}")
    threading.current_thread().name = "accept"
    server.serve_forever()


if __name__ == "__main__":
    main()
