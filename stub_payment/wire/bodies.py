"""Bodies that do not come in one frame, and how much of them is held."""

from stub_payment.refusal import RESOURCE_EXHAUSTED, UNIMPLEMENTED, Refusal
from stub_payment.wire import limits
from stub_payment.wire.frames import END_STREAM, PADDED, ConnectionFault, ErrorCode, unpadded
from stub_payment.wire.limits import Allowance, Budget
from stub_payment.wire.messages import PREFIX_BYTES, check_prefix, whole_message
from stub_payment.wire.stream import Stream


class Bodies:
    """The bodies of one connection; `held` is the budget of all connections."""

    def __init__(self, held: Budget, chatter: Allowance) -> None:
        self._held = held
        self._chatter = chatter
        self.empty_in_a_row = 0

    def add(self, stream: Stream, flags: int, payload: bytes) -> None:
        """A DATA frame. Raises ConnectionFault, or Refusal for a call that is not to be."""
        stream.received_bytes += len(payload)
        if stream.received_bytes > limits.STREAM_WINDOW_BYTES:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "more data than the window")
        if flags & PADDED:
            payload = unpadded(flags, payload)
        stream.length_bytes += len(payload)
        if stream.content_length is not None and stream.length_bytes > stream.content_length:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "more data than content-length")
        if not flags & END_STREAM:
            self._count_small(payload)
        if stream.route.method is not None:
            self._keep(stream, payload)

    def message(self, stream: Stream) -> bytes:
        """The one message of a body that has ended. Raises Refusal where it is not one."""
        body, stream.body = stream.body or b"", None
        return whole_message(body, stream.route.compressed_with)

    def drop(self, stream: Stream) -> None:
        """Gives back what a stream held, now that it has ended."""
        self._held.give_back(stream.held_bytes)
        stream.held_bytes = 0

    def _count_small(self, payload: bytes) -> None:
        if len(payload) < limits.SMALL_DATA_BYTES:
            self._chatter.take()
        self.empty_in_a_row = 0 if payload else self.empty_in_a_row + 1
        if self.empty_in_a_row > limits.MAXIMUM_EMPTY_DATA:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many empty DATA frames")

    def _keep(self, stream: Stream, payload: bytes) -> None:
        if stream.body is None:
            stream.body = bytearray()
        body = stream.body
        body += payload
        # What stands is a stream's own beyond its first bytes, until it ends: a call may last.
        held_bytes = max(0, len(body) - limits.UNCOUNTED_BODY_BYTES)
        if not self._held.take(held_bytes - stream.held_bytes):
            raise Refusal(RESOURCE_EXHAUSTED, "too many bytes of messages at once")
        stream.held_bytes = held_bytes
        if len(body) < PREFIX_BYTES:
            return
        if len(body) > PREFIX_BYTES + check_prefix(body, stream.route.compressed_with):
            raise Refusal(UNIMPLEMENTED, "more than one message in a unary call")
