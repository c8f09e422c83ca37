"""The part of bakeoff that runs inside Locust: an open-model user, its recorder and its page.

Importing it adds bakeoff's arguments, engine and books to the Locust process.
"""

from bakeoff.load import plugin as plugin
from bakeoff.load.engine.client import EncodedHeaders, RequestFailed, Response, encode_headers
from bakeoff.load.owned import Invoices, Owned, Subscriptions
from bakeoff.load.user import OpenModelUser

__all__ = [
    "EncodedHeaders",
    "Invoices",
    "OpenModelUser",
    "Owned",
    "RequestFailed",
    "Response",
    "Subscriptions",
    "encode_headers",
]
