"""The control service: one for all serving processes, in the parent."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, NoReturn, Protocol

import grpc
import grpc.aio
from google.protobuf.empty_pb2 import Empty

from bakeoff.errors import PartDiedError
from protos.payment.v1 import payment_pb2_grpc
from protos.payment.v1.payment_pb2 import Behaviour, Counters
from stub_payment.behaviour import check_behaviour
from stub_payment.engine_grpcio import SERVER_OPTIONS, bind
from stub_payment.faults import InvalidBehaviourError
from stub_payment.ledger import Ledger
from stub_payment.link import Kind
from stub_payment.tally import summed

# What an engine cannot do to the connection under a call; `wire` can do all.
UNABLE = {"grpcio": {"reset": "close", "goaway": "send GOAWAY on"}}
Context = grpc.aio.ServicerContext[Any, Any]


class Steered(Protocol):
    """A serving process that answers questions."""

    async def ask(self, kind: Kind, payload: bytes = b"") -> bytes: ...


@asynccontextmanager
async def control_server(
    host: str, engine: str, serving: Sequence[Steered], ledger: Ledger
) -> AsyncIterator[int]:
    """Serves the control service on a free port, which it yields."""
    server = grpc.aio.server(options=SERVER_OPTIONS)
    payment_pb2_grpc.add_ControlServicer_to_server(_Control(engine, serving, ledger), server)
    port = bind(server, host, 0)
    await server.start()
    try:
        yield port
    finally:
        await server.stop(None)


class _Control(payment_pb2_grpc.ControlServicer):
    def __init__(self, engine: str, serving: Sequence[Steered], ledger: Ledger) -> None:
        self._engine = engine
        self._serving = serving
        self._ledger = ledger
        self._one_at_a_time = asyncio.Lock()  # all processes see one order of changes

    async def Configure(self, request: Behaviour, context: Context) -> Empty:
        await self._check(request, context)
        await self._ask_all(context, Kind.CONFIGURE, request.SerializeToString())
        return Empty()

    async def Snapshot(self, request: Empty, context: Context) -> Counters:
        replies = await self._ask_all(context, Kind.SNAPSHOT)
        return summed(map(Counters.FromString, replies), self._ledger.count())

    async def Reset(self, request: Empty, context: Context) -> Empty:
        await self._ask_all(context, Kind.RESET)
        return Empty()

    async def _check(self, behaviour: Behaviour, context: Context) -> None:
        try:
            check_behaviour(behaviour)
        except InvalidBehaviourError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        unable = UNABLE.get(self._engine, {})
        for index, fault in enumerate(behaviour.faults):
            kind = fault.WhichOneof("kind")
            if kind in unable:
                await context.abort(
                    grpc.StatusCode.UNIMPLEMENTED,
                    f"faults[{index}].{kind}: the engine {self._engine} cannot {unable[kind]} a"
                    " connection under a call; the engine wire can",
                )

    async def _ask_all(self, context: Context, kind: Kind, payload: bytes = b"") -> list[bytes]:
        try:
            async with self._one_at_a_time:
                return await asyncio.gather(*(child.ask(kind, payload) for child in self._serving))
        except PartDiedError as error:
            await _abort_unavailable(context, error)


async def _abort_unavailable(context: Context, error: PartDiedError) -> NoReturn:
    await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
    raise AssertionError("unreachable: abort raises")
