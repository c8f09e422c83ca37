"""Engines of the stub in this process, with a servicer that plays what a call asks it to."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from protos.payment.v1.payment_pb2 import GetPaymentRequest, Payment
from stub_payment.ledger import Ledger, create_ledger
from stub_payment.process import ENGINES, Engine
from stub_payment.refusal import Refusal
from stub_payment.servicer import Servicer
from tests.running.background import Background


def refusal(code: int, message: str) -> str:
    """The invoice's id that asks for a status."""
    return json.dumps({"code": code, "message": message})


def sized(characters: int) -> str:
    """The invoice's id that asks for an answer of so many characters."""
    return json.dumps({"characters": characters})


class Actor(Servicer):
    """Does what the invoice's id says."""

    def get_payment(self, request: GetPaymentRequest, *_: Any, **__: Any) -> Payment:
        """Raises Refusal if that is asked for."""
        wish = json.loads(request.invoice_id.split("\n")[0])
        if "code" in wish:
            raise Refusal(wish["code"], wish["message"])
        return Payment(payment_id="x" * wish["characters"])


@contextmanager
def acting(engine: str, folder: Path) -> Iterator[int]:
    """The port of an engine with an actor."""
    path = folder / "ledger.sqlite"
    create_ledger(path)
    with Ledger(path) as ledger, Background() as background:
        servicer = Actor(ledger, 0)

        async def start() -> tuple[Engine, int]:
            made = ENGINES[engine](servicer)
            return made, await made.start("127.0.0.1", 0)

        made, port = background.run(start())
        try:
            yield port
        finally:
            background.run(made.drain(0))
            servicer.close()
