"""Clients of gRPC that make calls as they are told: the real grpcio, grpc-go and tonic."""

import base64
import json
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol, cast

import grpc

from bakeoff import toolchains
from tests.stub.process import DEADLINE_S, ROOT

GO = ROOT / "services" / "go"
RUST = ROOT / "services" / "rust"
BUILD_DEADLINE_S = 1800
# Neither serializer nor deserializer: messages are bytes.
_RAW: tuple[Any, Any] = (None, None)
CALLERS = ("grpcio", "grpc-go", "tonic")


@dataclass(frozen=True)
class Wish:
    """A call, or `count` of them one after the other, on channels of their own if `new_channels`.
    A `streaming` call sends its message and never ends its side."""

    target: str
    path: str
    body: bytes = b""
    metadata: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = DEADLINE_S
    cancel_after_s: float = 0.0
    streaming: bool = False
    count: int = 1
    new_channels: bool = False


@dataclass(frozen=True)
class Outcome:
    """How often each status came; the last call's message and body."""

    codes: dict[int, int]
    message: str
    body: bytes


class Caller(Protocol):
    """Makes calls."""

    def __call__(self, wish: Wish) -> Outcome: ...


@contextmanager
def caller(name: str) -> Iterator[Caller]:
    """One of CALLERS, built if need be."""
    if name == "grpcio":
        with closing(_Grpcio()) as made:
            yield made
        return
    program = _go() if name == "grpc-go" else _rust()
    process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        yield _Driver(process)
    finally:
        cast(IO[bytes], process.stdin).close()
        process.wait(DEADLINE_S)


class _Driver:
    """A program that takes a wish a line and answers with an outcome."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def __call__(self, wish: Wish) -> Outcome:
        asked = {
            "target": wish.target,
            "path": wish.path,
            "body": base64.b64encode(wish.body).decode(),
            "metadata": list(wish.metadata.items()),
            "timeout_ms": round(wish.timeout_s * 1000),
            "cancel_after_ms": round(wish.cancel_after_s * 1000),
            "streaming": wish.streaming,
            "count": wish.count,
            "new_channels": wish.new_channels,
        }
        given, said = cast(IO[bytes], self._process.stdin), cast(IO[bytes], self._process.stdout)
        given.write(json.dumps(asked).encode() + b"\n")
        given.flush()
        line = said.readline()
        assert line, f"{self._process.args!r} ended"
        found = json.loads(line)
        codes = {int(code): int(count) for code, count in found["codes"].items()}
        return Outcome(codes, found["message"], base64.b64decode(found["body"] or ""))


class _Grpcio:
    """grpcio in this process."""

    def __init__(self) -> None:
        self._channels: dict[str, grpc.Channel] = {}

    def __call__(self, wish: Wish) -> Outcome:
        codes: Counter[int] = Counter()
        message, body = "", b""
        for _ in range(wish.count):
            if wish.new_channels:
                with _open(wish.target) as channel:
                    code, message, body = _call(channel, wish)
            else:
                if wish.target not in self._channels:
                    self._channels[wish.target] = _open(wish.target)
                code, message, body = _call(self._channels[wish.target], wish)
            codes[code] += 1
        return Outcome(dict(codes), message, body)

    def close(self) -> None:
        for channel in self._channels.values():
            channel.close()


def _open(target: str) -> grpc.Channel:
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
    return grpc.insecure_channel(target, options)


def _call(channel: grpc.Channel, wish: Wish) -> tuple[int, str, bytes]:
    metadata = tuple(
        (name, value.encode() if name.endswith("-bin") else value)
        for name, value in wish.metadata.items()
    )
    over = threading.Event()
    made: Any
    if wish.streaming:
        made = channel.stream_stream(wish.path, *_RAW)(
            _endless(wish.body, over), timeout=wish.timeout_s, metadata=metadata
        )
    else:
        made = channel.unary_unary(wish.path, *_RAW).future(
            wish.body, timeout=wish.timeout_s, metadata=metadata
        )
    timer = threading.Timer(wish.cancel_after_s, made.cancel)
    if wish.cancel_after_s:
        timer.start()
    try:
        body = next(iter(made)) if wish.streaming else made.result()
    except (grpc.RpcError, grpc.FutureCancelledError, StopIteration):
        body = b""
    finally:
        timer.cancel()
        over.set()
    code = cast(tuple[int, str], made.code().value)[0]
    return code, made.details() or "", body


def _endless(body: bytes, over: threading.Event) -> Iterator[bytes]:
    yield body
    over.wait(DEADLINE_S)


def _go() -> Path:
    program = ROOT / ".toolchains" / "interop" / "interop-go"
    _build("go", ["build", "-o", str(program), "./internal/testkit/interop"], GO)
    return program


def _rust() -> Path:
    _build("cargo", ["build", "--quiet", "--locked", "--example", "interop"], RUST)
    return RUST / "target" / "debug" / "examples" / "interop"


def _build(program: str, arguments: list[str], folder: Path) -> None:
    subprocess.run(
        [str(toolchains.find(program)), *arguments],
        cwd=folder,
        env=toolchains.environment(program) | {"CARGO_TARGET_DIR": str(RUST / "target")},
        timeout=BUILD_DEADLINE_S,
        check=True,
    )
