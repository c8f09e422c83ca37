"""What the two ends of a host say to each other: JSON messages, one a line.

A request has an `op` and an `id`; the far end answers with the same `id`, or reports an event of
its own. A line is at most MESSAGE_LIMIT_BYTES long. What is no message ends the conversation;
what is a message but will not do is refused by name, and the conversation goes on.
"""

from importlib.metadata import version

import msgspec

from bakeoff.hosts.records import CoreRow, OtherRow, ProcessSpec, SampleRow, Spent

MESSAGE_LIMIT_BYTES = 1 << 20
# Of file content in one message, which travels as base64.
CHUNK_BYTES = 512 * 1024
VERSION = version("bakeoff")

# In the environment of all that a run starts, so that nothing of it can hide.
RUN_ID_VARIABLE = "BAKEOFF_RUN_ID"
# In the environment of all that one far end starts: "<far end>/<process>".
PROCESS_VARIABLE = "BAKEOFF_PROCESS"

# First words of a command that the far end replaces by its own programs.
PYTHON = "python"
POSTGRES_PROGRAMS = ("initdb", "postgres")


class ProtocolError(Exception):
    """Bytes on the pipe that are no message."""


class Request(msgspec.Struct, forbid_unknown_fields=True, tag_field="op"):
    """The base of all requests."""

    id: int


class Hello(Request, tag="hello"):
    """The first request: both ends must be of one version. The far end ends everything when it
    has heard nothing for `lease_s`."""

    version: str
    run_id: str
    lease_s: float


class Beat(Request, tag="beat"):
    """Renews the lease; answered with the far end's monotonic clock in seconds."""


class Facts(Request, tag="facts"):
    """Answered with HostFacts."""


class Start(Request, tag="start"):
    """Starts a process, which this side numbers: a number is good once. Answered with its pid."""

    process: int
    spec: ProcessSpec


class Signal(Request, tag="signal"):
    """Sends a signal to a process, none if it has ended."""

    process: int
    signal: int


class Stop(Request, tag="stop"):
    """The stop signal, and SIGKILL for the whole tree after the grace period."""

    process: int


class WaitForLine(Request, tag="wait_for_line"):
    """Answered with Found when the log of a process has a whole line with `needle` in it."""

    process: int
    needle: str
    within_s: float


class StartWatch(Request, tag="watch"):
    """Samples parts, given by their root processes, every `interval_s`."""

    watch: int
    parts: dict[str, list[int]]
    interval_s: float


class AddToWatch(Request, tag="watch_add"):
    """Takes more root processes into a part."""

    watch: int
    part: str
    pids: list[int]


class ReadNow(Request, tag="read_now"):
    """Answered with a SampleRow of this moment."""

    watch: int
    part: str


class ResetPeak(Request, tag="reset_peak"):
    """Sets the kernel's high-water marks of a part to its present memory."""

    watch: int
    part: str


class EndWatch(Request, tag="watch_end"):
    """Stops sampling."""

    watch: int


class FileSize(Request, tag="file_size"):
    """Answered with the size of a file in bytes."""

    path: str


class CountLines(Request, tag="count_lines"):
    """Answered with how many lines between two offsets have `needle` in them."""

    path: str
    needle: str
    start: int
    end: int


class ReadFile(Request, tag="read_file"):
    """Answered with up to CHUNK_BYTES from an offset."""

    path: str
    offset: int
    size: int


class MakeFolder(Request, tag="make_folder"):
    """Makes a folder below the far end's own; answered with its path."""

    name: str
    user: str | None = None


class WriteFile(Request, tag="write_file"):
    """Writes a new file, readable by its user alone, below the far end's own folder; `append`
    adds to one that was begun."""

    name: str
    content: bytes
    user: str | None = None
    append: bool = False


class RemoveTree(Request, tag="remove_tree"):
    """Removes a file or folder below the far end's own."""

    path: str


AnyRequest = (
    Hello
    | Beat
    | Facts
    | Start
    | Signal
    | Stop
    | WaitForLine
    | StartWatch
    | AddToWatch
    | ReadNow
    | ResetPeak
    | EndWatch
    | FileSize
    | CountLines
    | ReadFile
    | MakeFolder
    | WriteFile
    | RemoveTree
)


class Found(msgspec.Struct, frozen=True):
    """The line that was waited for, or None: the process ended, or the deadline passed."""

    line: str | None
    ended: bool = False


class FarMessage(msgspec.Struct, tag_field="event"):
    """The base of what the far end says."""


class Answer(FarMessage, tag="answer"):
    """To a request; `error` says why it was refused. Without an id: the last words."""

    id: int | None
    ok: msgspec.Raw = msgspec.Raw(b"null")
    error: str | None = None


class Ended(FarMessage, tag="ended"):
    """A process ended: its exit code, or minus the signal; `because` where we ended it."""

    process: int
    code: int
    spent: Spent
    because: str | None = None


class Samples(FarMessage, tag="samples"):
    """One tick of a watch."""

    watch: int
    rows: list[SampleRow]
    cores: list[CoreRow]
    others: list[OtherRow]


AnyFarMessage = Answer | Ended | Samples

decode_request = msgspec.json.Decoder(AnyRequest).decode
decode_far_message = msgspec.json.Decoder(AnyFarMessage).decode
encoder = msgspec.json.Encoder()


def line_of(message: Request | FarMessage) -> bytes:
    """A message as a line; ProtocolError if it is over the limit."""
    line = encoder.encode(message) + b"\n"
    if len(line) > MESSAGE_LIMIT_BYTES:
        raise ProtocolError(f"a message of {len(line)} bytes; {MESSAGE_LIMIT_BYTES} are allowed")
    return line


class Lines:
    """Bytes to lines, none longer than the limit."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes; ProtocolError if one is too long."""
        self._rest += data
        *lines, rest = self._rest.split(b"\n")
        self._rest = rest
        if max(map(len, lines), default=0) >= MESSAGE_LIMIT_BYTES or self._too_long():
            raise ProtocolError(f"a message over {MESSAGE_LIMIT_BYTES} bytes")
        return [bytes(line) for line in lines]

    @property
    def half(self) -> bool:
        """Whether a message has begun and not ended."""
        return bool(self._rest)

    def _too_long(self) -> bool:
        return len(self._rest) >= MESSAGE_LIMIT_BYTES
