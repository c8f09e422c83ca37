"""Statements of subscriptions: an aggregate over all invoices of an account, so that the database
does most of the work."""

from locust import task

from typing import ClassVar

from bakeoff.load import OpenModelUser, Request, Subscriptions


class Statements(OpenModelUser):
    """Each arrival asks for the statement of a subscription that it draws."""

    subscriptions: ClassVar[Subscriptions]

    @classmethod
    def setup(cls) -> None:
        cls.subscriptions = Subscriptions.from_environment()

    @task  # type: ignore[type-var]
    def statement(self) -> Request:
        subscription = self.subscriptions.pick(self.draw)
        return self.request.get(
            f"/v1/subscriptions/{subscription.id}/statement",
            name="GET /v1/subscriptions/{id}/statement",
            headers=subscription.headers,
            expect=200,
        )
