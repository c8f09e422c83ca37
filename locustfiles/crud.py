"""Reads and writes of subscriptions and invoices, as a back office sends them: mostly reads.

What is written is made anew and deleted again, so that the tables stay as they are and two
writers never meet.
"""

from locust import task

from typing import Any, ClassVar

from bakeoff.load import Invoices, OpenModelUser, Owned, Subscriptions

PAGE = 20


class Crud(OpenModelUser):
    """Each arrival does one of the tasks, as often as their weights say."""

    invoices: ClassVar[Invoices]
    subscriptions: ClassVar[Subscriptions]

    @classmethod
    def setup(cls) -> None:
        cls.invoices = Invoices.from_environment()
        cls.subscriptions = Subscriptions.from_environment()

    @task(4)  # type: ignore[type-var]
    async def read_an_invoice(self) -> None:
        await self.read("/v1/invoices", self.invoices.pick(self.draw))

    @task(3)  # type: ignore[type-var]
    async def read_a_subscription(self) -> None:
        await self.read("/v1/subscriptions", self.subscriptions.pick(self.draw))

    @task(2)  # type: ignore[type-var]
    async def page_through_invoices(self) -> None:
        await self.page("/v1/invoices", self.invoices.pick(self.draw))

    @task(1)  # type: ignore[type-var]
    async def page_through_subscriptions(self) -> None:
        await self.page("/v1/subscriptions", self.subscriptions.pick(self.draw))

    @task(1)  # type: ignore[type-var]
    async def draft_an_invoice(self) -> None:
        subscription = self.subscriptions.pick(self.draw)
        draft = {"subscription_id": subscription.id, "amount_cents": 4900, "currency": "EUR"}
        await self.write("/v1/invoices", subscription, draft, {"amount_cents": 5900})

    @task(1)  # type: ignore[type-var]
    async def try_a_subscription(self) -> None:
        anyone = self.subscriptions.pick(self.draw)
        trial = {"plan": "starter", "price_cents": 900, "currency": "EUR"}
        await self.write("/v1/subscriptions", anyone, trial, {"plan": "team"})

    async def read(self, path: str, owned: Owned) -> None:
        """Gets one."""
        await self.client.get(
            f"{path}/{owned.id}", name=f"GET {path}/{{id}}", headers=owned.headers, expect=200
        )

    async def page(self, path: str, owned: Owned) -> None:
        """Gets the first two pages of the account's."""
        headers = owned.headers
        first = await self.client.get(
            f"{path}?limit={PAGE}", name=f"GET {path}", headers=headers, expect=200
        )
        await self.client.get(
            f"{path}?limit={PAGE}&after={first.json()['next']}",
            name=f"GET {path}?after",
            headers=headers,
            expect=200,
        )

    async def write(self, path: str, owner: Owned, new: Any, change: Any) -> None:
        """Creates one, changes it as long as it is as it was created, and deletes it again."""
        created = await self.client.post(
            path, name=f"POST {path}", headers=owner.headers, json=new, expect=201
        )
        one = f"{path}/{created.json()['id']}"
        changed = await self.client.patch(
            one,
            name=f"PATCH {path}/{{id}}",
            headers=owner.with_headers({"If-Match": created.headers["etag"]}),
            json=change,
            expect=200,
        )
        await self.client.delete(
            one,
            name=f"DELETE {path}/{{id}}",
            headers=owner.with_headers({"If-Match": changed.headers["etag"]}),
            expect=204,
        )
