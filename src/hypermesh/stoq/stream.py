"""Byte streams: raw bytes both ways, each direction ended by its sender."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from hypermesh import _native
from hypermesh.stoq import completion

if TYPE_CHECKING:
    from collections.abc import Sequence

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

    __slots__ = ("__weakref__", "_native")

    def __init__(self, native: _native.StoqStream) -> None:
        self._native = native

    def write(self, data: ReadableBuffer, *, timeout_ms: int = TIMEOUT_MS) -> int:
        """Send all of `data` (contiguous, unchanged meanwhile). Returns its number of bytes when
        the connection has taken them, which is how a slow reader holds back its writer. A write
        that fails or times out ends this direction.

        `bytes` of more than 8 KiB, and views of them, are not copied: the connection keeps them
        until the peer has acknowledged them. Any other buffer may change once this returns, so it
        is copied, once, as the connection takes it.
        """
        return self._native.write(data, timeout_ms)

    def writev(self, buffers: Sequence[ReadableBuffer], *, timeout_ms: int = TIMEOUT_MS) -> int:
        """Send all `buffers`, one behind the other, as `write` would. How many bytes. Small ones
        are copied together, so that many cost no more than one."""
        return self._native.writev(buffers, timeout_ms)

    def read(self, count: int = READ_BYTES_MAX, *, timeout_ms: int = TIMEOUT_MS) -> bytes:
        """The next bytes, 1 to `count` of them; none where the other side has finished."""
        return self._native.read(count, timeout_ms)

    def readinto(self, buffer: WriteableBuffer, *, timeout_ms: int = TIMEOUT_MS) -> int:
        """Fill the front of `buffer`. How many bytes; 0 where the other side has finished."""
        return self._native.readinto(buffer, timeout_ms)

    def fill(self, buffer: WriteableBuffer, *, timeout_ms: int = TIMEOUT_MS) -> int:
        """Fill all of `buffer`. How many bytes: fewer where the other side has finished, or where
        the time ran out after some had come. Raises `TimedOut` where none came."""
        return self._native.fill(buffer, timeout_ms)

    def set_priority(self, priority: int) -> None:
        """Among the streams of the connection, those of a higher priority are sent first; all begin
        at 0 (-2^31 to 2^31 - 1). While a write is under way, this holds from the next one on."""
        self._native.set_priority(priority)

    def finish(self, *, timeout_ms: int = TIMEOUT_MS) -> None:
        """Say that no more bytes follow from here."""
        self._native.finish(timeout_ms)

    def send_chunks(
        self,
        descriptor: int,
        chunks: bytes,
        wanted: bytes,
        offset: int,
        *,
        timeout_ms: int = TIMEOUT_MS,
    ) -> int:
        """Send the wanted ones of a list of chunks (`wire.transfer`) that begins at `offset` of an
        open file; `timeout_ms` is for each. How many bytes. Raises `FileChanged`."""
        return _native.send_chunks(self._native, descriptor, chunks, wanted, offset, timeout_ms)

    def receive_chunks(
        self,
        assembly: _native.ChunkAssembly,
        chunks: bytes,
        steps: bytes,
        repeats: list[int],
        *,
        timeout_ms: int = TIMEOUT_MS,
    ) -> None:
        """Continue a file by a list of chunks, of which each comes as its step says: `r` it is
        received, `k` it is at its place, `c` it is where the next of `repeats` says. `timeout_ms`
        is for each. Raises `ChunkMismatch`, `NoSpace`, `FileFailed`."""
        _native.receive_chunks(self._native, assembly, chunks, steps, repeats, timeout_ms)

    async def write_async(self, data: ReadableBuffer, *, timeout_ms: int = TIMEOUT_MS) -> int:
        """Like `write`; what has to be copied is copied before this first waits."""
        return await self.writev_async([data], timeout_ms=timeout_ms)

    async def writev_async(
        self, buffers: Sequence[ReadableBuffer], *, timeout_ms: int = TIMEOUT_MS
    ) -> int:
        """Like `writev`; what has to be copied is copied before this first waits."""
        return await completion.of_running_loop().count(
            lambda calls: self._native.start_writev(calls, buffers, timeout_ms)
        )

    async def read_async(
        self, count: int = READ_BYTES_MAX, *, timeout_ms: int = TIMEOUT_MS
    ) -> bytes:
        """Like `read`."""
        data: bytes = await completion.of_running_loop().call(
            lambda completions: self._native.start_read(completions, count, timeout_ms)
        )
        return data

    async def readinto_async(self, buffer: WriteableBuffer, *, timeout_ms: int = TIMEOUT_MS) -> int:
        """Like `readinto`. Leave the buffer alone until then; a cancelled task's may be in use for
        a moment longer, and what had arrived for it is lost."""
        return await completion.of_running_loop().count(
            lambda calls: self._native.start_readinto(calls, buffer, timeout_ms)
        )

    async def fill_async(self, buffer: WriteableBuffer, *, timeout_ms: int = TIMEOUT_MS) -> int:
        """Like `fill`, with the rules of `readinto_async`."""
        return await completion.of_running_loop().count(
            lambda calls: self._native.start_fill(calls, buffer, timeout_ms)
        )

    async def finish_async(self, *, timeout_ms: int = TIMEOUT_MS) -> None:
        """Like `finish`."""
        await completion.of_running_loop().call(
            lambda completions: self._native.start_finish(completions, timeout_ms)
        )
