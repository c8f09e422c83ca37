"""Statements of subscriptions: an aggregate over all invoices of an account, so that the database
does most of the work."""

from locust import task

from typing import ClassVar

from bakeoff.load import OpenModelUser, Subscriptions


class Statements(OpenModelUser):
    """Each arrival asks for the statement of a subscription that it draws."""

    subscriptions: ClassVar[Subscriptions]

    @classmethod
    def setup(cls) -> None:
        cls.subscriptions = Subscriptions.from_environment()

    @task  # type: ignore[type-var]
    async def statement(self) -> None:
        subscription = self.subscriptions.pick(self.draw)
        await self.client.get(
            f"/v1/subscriptions/{subscription.id}/statement",
            name="GET /v1/subscriptions/{id}/statement",
            headers=subscription.headers,
            expect=200,
        )
