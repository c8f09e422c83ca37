"""Mutated frames of real clients, drawn from a seed."""

import itertools
import random
import struct
from collections.abc import Sequence

from tests.fakes.http2 import PREFACE
from tests.stub.record import seeds

# Values at which programs go wrong.
_NUMBERS = (0, 1, 2, 3, 5, 4096, 16_383, 16_384, 16_385, 65_535, 2**24 - 1, 2**31 - 1, 2**32 - 1)
_BYTES = (0x00, 0x20, 0x3F, 0x40, 0x7F, 0x80, 0x82, 0xBE, 0xFF)
_KINDS = 12


def cut_frames(sent: bytes) -> list[bytes]:
    """The frames of a connection, without its preface."""
    frames, rest = [], sent.removeprefix(PREFACE)
    while len(rest) >= 9:
        end = 9 + int.from_bytes(rest[:3], "big")
        frames.append(rest[:end])
        rest = rest[end:]
    return frames


class Mutants:
    """Draws what a broken client sends on a connection."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._seeds = [cut_frames(sent) for sents in seeds().values() for sent in sents]
        self._all = [frame for frames in self._seeds for frame in frames]
        # Frames that were mutated so far.
        self.count = 0

    def connection(self) -> list[bytes]:
        """Segments."""
        draw = self._random
        frames = list(draw.choice(self._seeds))
        # What comes first is left alone often enough to get on.
        kept = draw.randrange(len(frames) + 1) if draw.random() < 0.5 else 1
        sent = frames[:kept] + self._mutated(frames[kept:] or frames)
        whole = (PREFACE if draw.random() < 0.99 else self._bytes(PREFACE)) + b"".join(sent)
        return _segments(draw, whole)

    def _mutated(self, frames: Sequence[bytes]) -> list[bytes]:
        """As many mutated frames, some of them again or of elsewhere."""
        draw, made = self._random, []
        for frame in frames:
            match draw.randrange(8):
                case 0:
                    made.append(self._random_frame())
                case 1:
                    made += [self._frame(frame)] * draw.randrange(1, 20)
                case 2:
                    made.append(draw.choice(self._all))
                case _:
                    made.append(self._frame(frame))
        self.count += len(made)
        return made

    def _frame(self, frame: bytes) -> bytes:
        draw = self._random
        head, payload = bytearray(frame[:9]), frame[9:]
        for _ in range(draw.choice((1, 1, 1, 2, 4))):
            match draw.randrange(9):
                case 0:
                    head[3] = draw.randrange(_KINDS)
                case 1:
                    head[4] ^= 1 << draw.randrange(8)
                case 2:
                    head[5:9] = struct.pack(">I", draw.choice((0, 1, 2, 3, 7, 101, *_NUMBERS[-2:])))
                case 3:
                    stream = int.from_bytes(head[5:9], "big") + draw.choice((-2, 2, 4, 40))
                    head[5:9] = struct.pack(">I", stream & 0xFFFF_FFFF)
                case 4:
                    payload = payload[: draw.randrange(len(payload) + 1)]
                case 5:
                    at = draw.randrange(len(payload) + 1)
                    more = bytes(draw.choices(_BYTES, k=draw.randrange(1, 40)))
                    payload = payload[:at] + more + payload[at:]
                case 6:
                    payload = payload[:4][: draw.randrange(5)] + struct.pack(
                        ">I", draw.choice(_NUMBERS)
                    )
                case _:
                    payload = self._bytes(payload)
        if draw.random() < 0.97:
            head[:3] = len(payload).to_bytes(3, "big")
        return bytes(head) + payload

    def _bytes(self, payload: bytes) -> bytes:
        """With one byte, or a few, that are others."""
        draw, changed = self._random, bytearray(payload)
        for _ in range(draw.choice((1, 1, 2, 5)) if changed else 0):
            at = draw.randrange(len(changed))
            if draw.random() < 0.5:
                changed[at] ^= 1 << draw.randrange(8)
            else:
                changed[at] = draw.choice(_BYTES)
        return bytes(changed)

    def _random_frame(self) -> bytes:
        draw = self._random
        payload = draw.randbytes(draw.choice((0, 4, 5, 6, 8, draw.randrange(200))))
        stream = draw.choice((0, 1, 3, 5, 7, 9, draw.randrange(2**31)))
        head = struct.pack(">BBI", draw.randrange(_KINDS), draw.randrange(256), stream)
        return len(payload).to_bytes(3, "big") + head + payload


def _segments(draw: random.Random, sent: bytes) -> list[bytes]:
    cuts = draw.choice((0, 1, 3, 10, 60))
    places = sorted({0, len(sent), *(draw.randrange(len(sent) + 1) for _ in range(cuts))})
    return [sent[start:end] for start, end in itertools.pairwise(places)]
