"""The part of bakeoff that runs inside Locust: an open-model user, its recorder and its page.

Importing it adds bakeoff's arguments, engine and books to the Locust process.
"""

from bakeoff.load import plugin as plugin
from bakeoff.load.engine.client import RequestFailed, Response
from bakeoff.load.engine.requests import EncodedHeaders, Request, encode_headers
from bakeoff.load.owned import Invoices, Owned, Subscriptions
from bakeoff.load.user import OpenModelUser

__all__ = [
    "EncodedHeaders",
    "Invoices",
    "OpenModelUser",
    "Owned",
    "Request",
    "RequestFailed",
    "Response",
    "Subscriptions",
    "encode_headers",
]
