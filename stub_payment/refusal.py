"""How a call ends without a payment, and the gRPC status codes that the provider uses itself."""

OK = 0
UNKNOWN = 2
INVALID_ARGUMENT = 3
DEADLINE_EXCEEDED = 4
NOT_FOUND = 5
RESOURCE_EXHAUSTED = 8
UNIMPLEMENTED = 12
INTERNAL = 13
UNAVAILABLE = 14


class Refusal(Exception):
    """A call ends with this gRPC status instead of a payment."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class ResetConnection(Exception):
    """The fault `reset`: the engine closes the connection without an answer."""
