"""The measured request: the payment of one invoice after another, over all accounts."""

from locust import task

from typing import ClassVar

from bakeoff.load import Invoices, OpenModelUser, Request


class PaymentStatus(OpenModelUser):
    """Each arrival asks for the payment of an invoice that it draws."""

    invoices: ClassVar[Invoices]

    @classmethod
    def setup(cls) -> None:
        cls.invoices = Invoices.from_environment()

    @task  # type: ignore[type-var]
    def payment_status(self) -> Request:
        invoice = self.invoices.pick(self.draw)
        return self.request.get(
            f"/v1/invoices/{invoice.id}/payment",
            name="GET /v1/invoices/{id}/payment",
            headers=invoice.headers,
            expect=200,
        )
