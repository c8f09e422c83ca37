"""What real clients send, as seeds for the fuzzing: `python -m tests.stub.record` writes them
anew, a file a client, each with the bytes of its connections."""

import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from grpc_health.v1.health_pb2 import HealthCheckRequest

from protos.payment.v1.payment_pb2 import CreatePaymentRequest, GetPaymentRequest, Latency
from tests.fakes.http2 import PREFACE
from tests.stub.callers import CALLERS, Caller, Wish, caller
from tests.stub.process import DEADLINE_S, Stub, running

SEEDS = Path(__file__).parent / "seeds"
METADATA = {
    "x-request-id": "5f0c7a3e-0d3b-4b5e-8b65-9a0a4d4cf0b1",
    "traceparent": "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01",
    "x-meta-bin": "\x01\x02\x03",
}


def seeds() -> dict[str, list[bytes]]:
    """What each client sent, a connection an entry."""
    return {
        path.stem: [PREFACE + sent for sent in path.read_bytes().split(PREFACE)[1:]]
        for path in sorted(SEEDS.glob("*.bin"))
    }


class Recorder:
    """Passes connections on to a port and keeps what the clients send."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._server = socket.create_server(("127.0.0.1", 0))
        self.target = f"127.0.0.1:{self._server.getsockname()[1]}"
        self.sent: list[bytearray] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            kept = bytearray()
            self.sent.append(kept)
            stub = socket.create_connection(("127.0.0.1", self._port))
            threading.Thread(target=_pass_on, args=(client, stub, kept), daemon=True).start()
            threading.Thread(target=_pass_on, args=(stub, client, None), daemon=True).start()


def _pass_on(source: socket.socket, sink: socket.socket, kept: bytearray | None) -> None:
    try:
        while data := source.recv(1 << 16):
            if kept is not None:
                kept += data
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        return


@contextmanager
def _recorder(stub: Stub) -> Iterator[Recorder]:
    recorder = Recorder(stub.ports[0])
    try:
        yield recorder
    finally:
        recorder.close()


def _calls(call: Caller, stub: Stub, target: str) -> None:
    """What a client may want: calls of each method, refusals, a deadline, a cancel."""
    get = "/payment.v1.Payments/GetPayment"
    charge = CreatePaymentRequest(
        idempotency_key="att-1", invoice_id="inv-1", amount_cents=1200, currency="EUR"
    )
    asked = GetPaymentRequest(invoice_id="inv-1").SerializeToString()
    large = GetPaymentRequest(invoice_id="x" * 20_000).SerializeToString()
    check = HealthCheckRequest(service="").SerializeToString()
    for new in (False, True):
        call(Wish(target, get, asked, METADATA, count=3, new_channels=new))
    call(Wish(target, "/payment.v1.Payments/CreatePayment", charge.SerializeToString(), METADATA))
    call(Wish(target, "/grpc.health.v1.Health/Check", check))
    call(Wish(target, "/grpc.health.v1.Health/Watch", check, streaming=True))
    call(Wish(target, get, large, new_channels=True))
    stub.configure(latency=Latency(fixed_ms=DEADLINE_S * 1000))
    call(Wish(target, get, asked, timeout_s=0.1))
    call(Wish(target, get, asked, cancel_after_s=0.1))
    stub.configure()


def _main() -> None:
    SEEDS.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        running("wire", "--ledger", str(Path(folder, "ledger.sqlite"))) as stub,
    ):
        for name in CALLERS:
            with _recorder(stub) as recorder, caller(name) as call:
                _calls(call, stub, recorder.target)
            path = SEEDS / f"{name}.bin"
            path.write_bytes(b"".join(recorder.sent))
            print(f"{path.name}: {len(recorder.sent)} connections, {path.stat().st_size} bytes")


if __name__ == "__main__":
    _main()
