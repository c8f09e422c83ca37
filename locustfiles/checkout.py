"""Checkouts: an invoice is issued and paid. Now and then the same payment is sent once more, as by
a client that has lost the answer; such replays are labelled apart."""

from locust import task

import uuid
from typing import ClassVar

from bakeoff.load import OpenModelUser, Subscriptions

# Of so many checkouts one is sent again.
REPLAYED = 10


class Checkout(OpenModelUser):
    """Each arrival pays an invoice of its own, with an idempotency key of its own."""

    subscriptions: ClassVar[Subscriptions]

    @classmethod
    def setup(cls) -> None:
        cls.subscriptions = Subscriptions.from_environment()

    @task  # type: ignore[type-var]
    async def checkout(self) -> None:
        subscription = self.subscriptions.pick(self.draw)
        issued = await self.client.post(
            "/v1/invoices",
            name="POST /v1/invoices",
            headers=subscription.headers,
            json={
                "subscription_id": subscription.id,
                "status": "open",
                "amount_cents": 4900,
                "currency": "EUR",
            },
            expect=201,
        )
        path = f"/v1/invoices/{issued.json()['id']}/pay"
        headers = subscription.with_headers({"Idempotency-Key": str(uuid.uuid4())})
        name = "POST /v1/invoices/{id}/pay"
        await self.client.post(path, name=name, headers=headers, json={}, expect=200)
        if self.arrival % REPLAYED == 0:
            name = "POST /v1/invoices/{id}/pay (replay)"
            await self.client.post(path, name=name, headers=headers, json={}, expect=200)
