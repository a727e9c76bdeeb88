"""Byte streams: raw bytes both ways, each direction ended by its sender."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from hypermesh import _native
from hypermesh.stoq import completion

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

TIMEOUT_MS = 30_000
"""How long one step of a stream may take."""

READ_BYTES_MAX = 256 * 1024
"""Bytes; the most that one `read` returns unless asked otherwise."""


@final
class Stream:
    """One stream. One thread may read while another writes; two readers take turns.

    A service may refuse a stream: then the first read of the opening side raises its error. A
    direction that is dropped unfinished is reset, so that a part is never taken for the whole.
    """

    __slots__ = ("_native",)

    def __init__(self, native: _native.StoqStream) -> None:
        self._native = native

    def write(self, data: ReadableBuffer, *, timeout_ms: int = TIMEOUT_MS) -> int:
        """Send all of `data` (contiguous, unchanged meanwhile). Returns its number of bytes when
        the connection has taken them. A write that fails or times out ends this direction."""
        return self._native.write(data, timeout_ms)

    def read(self, count: int = READ_BYTES_MAX, *, timeout_ms: int = TIMEOUT_MS) -> bytes:
        """The next bytes, 1 to `count` of them; none where the other side has finished."""
        return self._native.read(count, timeout_ms)

    def readinto(self, buffer: WriteableBuffer, *, timeout_ms: int = TIMEOUT_MS) -> int:
        """Fill the front of `buffer`. How many bytes; 0 where the other side has finished."""
        return self._native.readinto(buffer, timeout_ms)

    def finish(self, *, timeout_ms: int = TIMEOUT_MS) -> None:
        """Say that no more bytes follow from here."""
        self._native.finish(timeout_ms)

    async def write_async(self, data: ReadableBuffer, *, timeout_ms: int = TIMEOUT_MS) -> None:
        """Like `write`; `data` is copied before this first waits."""
        await completion.of_running_loop().call(
            lambda completions: self._native.start_write(completions, data, timeout_ms)
        )

    async def read_async(
        self, count: int = READ_BYTES_MAX, *, timeout_ms: int = TIMEOUT_MS
    ) -> bytes:
        """Like `read`."""
        data: bytes = await completion.of_running_loop().call(
            lambda completions: self._native.start_read(completions, count, timeout_ms)
        )
        return data

    async def finish_async(self, *, timeout_ms: int = TIMEOUT_MS) -> None:
        """Like `finish`."""
        await completion.of_running_loop().call(
            lambda completions: self._native.start_finish(completions, timeout_ms)
        )
