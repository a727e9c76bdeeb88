"""Messages of a transfer on a stream. Never a byte is read beyond a message, since what follows may
be the bytes of a file."""

from __future__ import annotations

import struct
from typing import TypeVar

from hypermesh.stoq.stream import Stream
from hypermesh.stoq.transfer.errors import ProtocolBroken
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.errors import HyperMeshError, error_from
from hypermesh.wire.transfer import MESSAGE_BYTES_MAX, Failed, Message

_LENGTH = struct.Struct(">I")

STALL_MS = 30_000
"""How long one chunk or message may take before the other side counts as gone."""

M = TypeVar("M")


class Frames:
    """One end's view of the stream. One thread."""

    def __init__(self, stream: Stream, *, stall_ms: int = STALL_MS) -> None:
        self.stream = stream
        self.stall_ms = stall_ms

    def say(self, message: Message) -> None:
        data = encode(message)
        self.stream.write(_LENGTH.pack(len(data)) + data, timeout_ms=self.stall_ms)

    def hear(self, *, within_ms: int | None = None) -> Message:
        """The next message. Raises what the other side failed by; `ProtocolBroken`."""
        within_ms = within_ms or self.stall_ms
        (length,) = _LENGTH.unpack(self._exactly(_LENGTH.size, within_ms))
        if length > MESSAGE_BYTES_MAX:
            raise ProtocolBroken(why=f"a message of {length} bytes")
        message: Message = decode(Message, self._exactly(length, within_ms))  # type: ignore[arg-type]
        if isinstance(message, Failed):
            raise error_from(message.problem)
        return message

    def expect(self, kind: type[M], *, within_ms: int | None = None) -> M:
        """The next message, which is a `kind`."""
        message = self.hear(within_ms=within_ms)
        if not isinstance(message, kind):
            raise ProtocolBroken(why=f"{type(message).__name__} in place of {kind.__name__}")
        return message

    def fail(self, error: HyperMeshError) -> None:
        """Say why this side ends, where the other side still listens."""
        try:
            self.say(Failed(error.problem))
            self.stream.finish(timeout_ms=self.stall_ms)
        except HyperMeshError:
            return

    def _exactly(self, count: int, within_ms: int) -> bytes:
        data = bytearray(count)
        view, filled = memoryview(data), 0
        while filled < count:
            read = self.stream.readinto(view[filled:], timeout_ms=within_ms)
            if not read:
                raise ProtocolBroken(why="the stream ended between messages")
            filled += read
        return bytes(data)
