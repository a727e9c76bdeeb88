"""Arrays in leased memory.

A `RemoteArray` is a shape and a type over a region; its numbers are in another machine. Bytes move
when it is indexed, assigned to, iterated over, copied or given to NumPy, and at no other time:

- `array[index]` reads what `index` names and gives a NumPy array (or scalar) of its own: changing
  that changes nothing there.
- `array[index] = values` writes, and has written when it returns. Nothing is kept back here.
- an index is integers, then at most one slice without a step, then whole axes: one run of bytes.
  Any other index is refused, for it would move other bytes than it names: take the run that holds
  it and index the copy.
- `array += 1` and the like do not exist; `array[a:b] += 1` reads, adds here and writes, and is not
  atomic.
- `numpy.asarray(array)`, and so every NumPy function given the array, moves all of it here.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterator
from types import EllipsisType, TracebackType
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
import numpy as np

from hypermesh.wire.errors import InvalidInput

if TYPE_CHECKING:
    from hypermesh.sdk.region import AsyncLeasedRegion, LeasedRegion, Progress

CHUNK_BYTES = 16 << 20
"""How much iteration holds at a time; one row at least."""

Index: TypeAlias = "int | slice | EllipsisType | tuple[int | slice | EllipsisType, ...]"
Local: TypeAlias = "np.ndarray[Any, Any]"


class NotContiguous(InvalidInput):
    """An index into a remote array is not one run of bytes."""

    code = "HM-SDK-0005"
    title = "This index is not one run of bytes"
    remedy = "Take the run that holds it, then index the copy: `array[a:b][:, 0]`"


class Run(msgspec.Struct, frozen=True):
    """One run of bytes, and the shape of what is in it."""

    offset: int
    shape: tuple[int, ...]
    nbytes: int


class Layout:
    """Where the numbers of an array are in its region. Pure."""

    def __init__(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        self.dtype = dtype
        self.shape = shape

    @classmethod
    def of(cls, size: int, dtype: Any, shape: tuple[int, ...] | None) -> Layout:
        """`dtype` in `shape` (all in one dimension where None) over `size` bytes. Raises
        `InvalidInput` where they do not fit."""
        try:
            kind = np.dtype(dtype)
        except TypeError as error:
            raise InvalidInput(f"{dtype!r} is no type of number", why=str(error)) from error
        if kind.hasobject or kind.itemsize == 0:
            raise InvalidInput(
                f"{kind} cannot be in another machine's memory",
                why="its items are references or have no size",
                fix='Use a type of fixed size, such as "float64" or "S16"',
            )
        if shape is None:
            if size % kind.itemsize:
                raise InvalidInput(
                    f"{size} bytes are no whole number of {kind}", fix="Say the shape you want"
                )
            shape = (size // kind.itemsize,)
        if any(axis < 0 for axis in shape):
            raise InvalidInput(f"{shape} has a negative axis")
        needed = math.prod(shape) * kind.itemsize
        if needed > size:
            raise InvalidInput(
                f"{shape} of {kind} takes {needed} bytes", why=f"the region has {size}"
            )
        return cls(kind, tuple(shape))

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    def run(self, index: Index) -> Run:
        """The run of bytes that `index` names. Raises `IndexError` outside the array,
        `NotContiguous` where it is no run."""
        parts = self._whole(index)
        offset, shape = 0, list(self.shape)
        stride = self.nbytes
        kept: list[int] = []
        broken = ""
        for axis, part in enumerate(parts):
            count = shape[axis]
            stride = stride // count if count else 0
            if isinstance(part, slice):
                start, stop, step = part.indices(count)
                if step != 1:
                    broken = broken or f"axis {axis} has a step of {step}"
                length = len(range(start, stop, step))
                if math.prod(kept) > 1 and length != count:
                    broken = broken or f"axis {axis} is not whole, and one before it is several"
                kept.append(length)
                offset += start * stride
            else:
                position = part + count if part < 0 else part
                if not 0 <= position < count:
                    raise IndexError(f"{part} is out of range for axis {axis} of {count}")
                if math.prod(kept) > 1 and count > 1:
                    broken = broken or f"axis {axis} is one item, and one before it is several"
                offset += position * stride
        if broken and all(kept):
            raise NotContiguous(why=broken)
        return Run(offset, tuple(kept), math.prod(kept) * self.dtype.itemsize)

    def chunks(self, nbytes_max: int) -> Iterator[tuple[int, int]]:
        """(start, stop) of the rows that fit into `nbytes_max` bytes; one at least."""
        rows = self.shape[0]
        row = self.nbytes // rows if rows else 0
        step = max(1, nbytes_max // row) if row else max(1, rows)
        for start in range(0, rows, step):
            yield start, min(rows, start + step)

    def _whole(self, index: Index) -> list[int | slice]:
        """One part for each axis."""
        parts = list(index) if isinstance(index, tuple) else [index]
        dots = [place for place, part in enumerate(parts) if part is Ellipsis]
        if len(dots) > 1:
            raise IndexError("an index has at most one ellipsis")
        missing = len(self.shape) - len(parts) + len(dots)
        if missing < 0:
            raise IndexError(f"{len(parts)} indices for {len(self.shape)} axes")
        place = dots[0] if dots else len(parts)
        parts[place : place + len(dots)] = [slice(None)] * missing
        checked: list[int | slice] = []
        for part in parts:
            if isinstance(part, slice):
                checked.append(part)
            elif hasattr(part, "__index__") and not isinstance(part, (bool, np.bool_)):
                checked.append(part.__index__())
            else:
                raise NotContiguous(why=f"{part!r} is neither an integer nor a slice")
        return checked

    def read(self, run: Run, content: bytearray | memoryview) -> Any:
        """What was read of `run`: an array, or a scalar where it has no axis left."""
        array: Local = np.frombuffer(content, dtype=self.dtype).reshape(run.shape)
        return array if run.shape else array[()]

    def pieces(self, run: Run, values: Any) -> Iterator[tuple[int, Local]]:
        """(offset, contiguous array) of `values`, broadcast to `run`, in pieces of about
        `CHUNK_BYTES`, so that one number for a whole region is no region of numbers here."""
        given = np.asarray(values)
        if not _fits(given, self.dtype):
            raise InvalidInput(
                f"These {given.dtype} do not go into {self.dtype} without loss",
                fix="Convert them first, with `astype`",
            )
        try:
            whole = np.broadcast_to(given, run.shape)
        except ValueError as error:
            raise InvalidInput(
                f"Values of shape {given.shape} do not fit into {run.shape}"
            ) from error
        yield from self._blocks(run.offset, whole)

    def _blocks(self, offset: int, block: Local) -> Iterator[tuple[int, Local]]:
        nbytes = block.size * self.dtype.itemsize
        if block.ndim == 0 or nbytes <= CHUNK_BYTES:
            yield offset, np.ascontiguousarray(block, dtype=self.dtype)
            return
        row = nbytes // len(block)
        if row > CHUNK_BYTES:
            for place, part in enumerate(block):
                yield from self._blocks(offset + place * row, part)
            return
        step = CHUNK_BYTES // row
        for start in range(0, len(block), step):
            part = block[start : start + step]
            yield offset + start * row, np.ascontiguousarray(part, dtype=self.dtype)


class RemoteArray:
    """An array in leased memory; see the module for when bytes move. Closing it closes its region,
    and so settles the lease.

    with mesh.memory.lease("1GiB").numpy("float64") as array:
        array[0:3] = [1.0, 2.0, 3.0]
        print(array.shape, array[0:3].sum())
    """

    def __init__(self, region: LeasedRegion, layout: Layout) -> None:
        self.region = region
        self._layout = layout

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of its numbers."""
        return self._layout.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Its length along each axis."""
        return self._layout.shape

    @property
    def ndim(self) -> int:
        """How many axes it has."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """How many numbers it has."""
        return self._layout.size

    @property
    def nbytes(self) -> int:
        """How many bytes they take, there and on the way."""
        return self._layout.nbytes

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("an array without axes has no length")
        return self.shape[0]

    def __repr__(self) -> str:
        name = self.region.lease.provider_name or self.region.lease.provider[:16]
        return f"<RemoteArray {self.dtype} {self.shape} at {name}>"

    def read(self, index: Index = ..., *, progress: Progress | None = None) -> Any:
        """What `index` names, moved here: `array[index]`, with progress in bytes."""
        run = self._layout.run(index)
        content = bytearray(run.nbytes)
        if run.nbytes:
            self.region.readinto(run.offset, content, progress=progress)
        return self._layout.read(run, content)

    def write(self, index: Index, values: Any, *, progress: Progress | None = None) -> None:
        """`array[index] = values`, with progress in bytes. The values are broadcast, and cast
        where no kind of number is lost: a float into integers is refused."""
        run = self._layout.run(index)
        done = 0
        for offset, piece in self._layout.pieces(run, values):
            if piece.nbytes:
                self.region.write(offset, _bytes(piece))
            done += piece.nbytes
            if progress is not None:
                progress(done, run.nbytes)

    def __getitem__(self, index: Index) -> Any:
        return self.read(index)

    def __setitem__(self, index: Index, values: Any) -> None:
        self.write(index, values)

    def chunks(self) -> Iterator[Local]:
        """All of it in order, some rows at a time: what `CHUNK_BYTES` hold, one row at least."""
        for start, stop in self._layout.chunks(CHUNK_BYTES):
            yield self.read(slice(start, stop))

    def __iter__(self) -> Iterator[Any]:
        for chunk in self.chunks():
            yield from chunk

    def copy(self, *, progress: Progress | None = None) -> Local:
        """All of it, moved here."""
        whole: Local = np.asarray(self.read(progress=progress))
        return whole

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Local:
        if copy is False:
            raise ValueError("a remote array cannot be had without a copy")
        whole = self.copy()
        return whole if dtype is None else whole.astype(dtype, copy=False)

    def close(self) -> None:
        """Close the region: the lease is settled, unless it is kept."""
        self.region.close()

    def __enter__(self) -> RemoteArray:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.region.__exit__(kind, error, trace)


class AsyncRemoteArray:
    """As `RemoteArray`, for asyncio: `await array.read(index)` and `await array.write(index, …)`
    stand for the brackets."""

    def __init__(self, region: AsyncLeasedRegion, layout: Layout) -> None:
        self.region = region
        self._layout = layout

    @property
    def dtype(self) -> np.dtype[Any]:
        """As `RemoteArray.dtype`."""
        return self._layout.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """As `RemoteArray.shape`."""
        return self._layout.shape

    @property
    def ndim(self) -> int:
        """As `RemoteArray.ndim`."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """As `RemoteArray.size`."""
        return self._layout.size

    @property
    def nbytes(self) -> int:
        """As `RemoteArray.nbytes`."""
        return self._layout.nbytes

    async def read(self, index: Index = ..., *, progress: Progress | None = None) -> Any:
        """As `RemoteArray.read`."""
        run = self._layout.run(index)
        content = bytearray(run.nbytes)
        if run.nbytes:
            await self.region.readinto(run.offset, content, progress=progress)
        return self._layout.read(run, content)

    async def write(self, index: Index, values: Any, *, progress: Progress | None = None) -> None:
        """As `RemoteArray.write`."""
        run = self._layout.run(index)
        done = 0
        for offset, piece in self._layout.pieces(run, values):
            if piece.nbytes:
                await self.region.write(offset, _bytes(piece))
            done += piece.nbytes
            if progress is not None:
                progress(done, run.nbytes)

    async def chunks(self) -> AsyncIterator[Local]:
        """As `RemoteArray.chunks`."""
        for start, stop in self._layout.chunks(CHUNK_BYTES):
            yield await self.read(slice(start, stop))

    async def copy(self, *, progress: Progress | None = None) -> Local:
        """As `RemoteArray.copy`."""
        whole: Local = np.asarray(await self.read(progress=progress))
        return whole

    async def close(self) -> None:
        """As `RemoteArray.close`."""
        await self.region.close()

    async def __aenter__(self) -> AsyncRemoteArray:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.region.__aexit__(kind, error, trace)


def _fits(given: Local, dtype: np.dtype[Any]) -> bool:
    """Whether `given` goes into `dtype` as its own kind of number. Integers go by their values:
    Python's 5 is an int64, and fits a uint8; 300 does not."""
    if given.dtype.kind in "iu" and dtype.kind in "iu":
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
        return given.size == 0 or (low <= int(given.min()) and int(given.max()) <= high)
    return np.can_cast(given.dtype, dtype, casting="same_kind")


def _bytes(piece: Local) -> memoryview:
    return piece.reshape(-1).view(np.uint8).data
