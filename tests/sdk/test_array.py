"""Arrays in remote memory: the same numbers as a NumPy array of this process, or a refusal."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from hypermesh.sdk import array as arrays
from hypermesh.sdk.array import AsyncRemoteArray, Layout, NotContiguous, RemoteArray
from hypermesh.wire.errors import InvalidInput


class Plain:
    """A region that is here, and counts."""

    def __init__(self, size: int) -> None:
        self.content = bytearray(size)
        self.moved = 0
        self.largest = 0

    def readinto(self, offset: int, buffer: Any, *, progress: Any = None) -> int:
        view = memoryview(buffer).cast("B")
        view[:] = self.content[offset : offset + view.nbytes]
        return self._count(view.nbytes, progress)

    def write(self, offset: int, data: Any, *, progress: Any = None) -> int:
        view = memoryview(data).cast("B")
        assert offset + view.nbytes <= len(self.content)
        self.content[offset : offset + view.nbytes] = view
        return self._count(view.nbytes, progress)

    def _count(self, nbytes: int, progress: Any) -> int:
        self.moved += nbytes
        self.largest = max(self.largest, nbytes)
        if progress:
            progress(nbytes, nbytes)
        return nbytes


def remote(shape: tuple[int, ...] | None, dtype: str = "int32", size: int | None = None) -> Any:
    if size is None:
        size = int(np.prod(shape or (1,), dtype=int)) * np.dtype(dtype).itemsize
    region: Any = Plain(size)
    return RemoteArray(region, Layout.of(size, dtype, shape))


def filled(shape: tuple[int, ...], dtype: str = "int32") -> tuple[Any, Any]:
    here = np.arange(int(np.prod(shape, dtype=int)), dtype=dtype).reshape(shape)
    there = remote(shape, dtype)
    there.region.content[:] = here.tobytes()
    return here, there


shapes = npst.array_shapes(min_dims=1, max_dims=3, max_side=5)


@given(st.data(), shapes)
def test_reading_and_writing_are_those_of_numpy_or_refused(
    data: st.DataObject, shape: tuple[int, ...]
) -> None:
    index = data.draw(npst.basic_indices(shape, allow_newaxis=False))
    here, there = filled(shape)
    wanted = here[index]
    is_run = wanted.size <= 1 or _is_run(here, wanted)
    try:
        found = there[index]
    except NotContiguous:
        # One item in a reversed or stepped slice may be refused; a plain run may not.
        stepped = any(
            isinstance(part, slice) and part.step not in (None, 1)
            for part in (index if isinstance(index, tuple) else (index,))
        )
        assert stepped or not is_run
        return
    assert np.array_equal(found, wanted)
    assert there.region.moved == wanted.nbytes
    here[index] = -5
    there[index] = -5
    assert there.region.content == here.tobytes()


def _is_run(whole: Any, part: Any) -> bool:
    return bool(part.flags.c_contiguous and part.base is not None)


def test_nothing_moves_before_it_is_asked_for() -> None:
    here, there = filled((100, 10))
    assert (there.shape, there.dtype, there.ndim, there.size, there.nbytes, len(there)) == (
        (100, 10),
        np.dtype("int32"),
        2,
        1000,
        4000,
        100,
    )
    assert there.region.moved == 0
    row = there[3]
    assert there.region.moved == 40
    row[:] = 0
    assert np.array_equal(there[3], here[3])
    assert there.region.moved == 80


def test_numpy_itself_takes_all_of_it() -> None:
    here, there = filled((10, 10))
    assert np.asarray(there).sum() == here.sum()
    assert there.region.moved == 400
    assert np.asarray(there, dtype="float64").dtype == np.dtype("float64")
    with pytest.raises(ValueError, match="without a copy"):
        np.asarray(there, copy=False)


def test_an_index_that_is_no_run_is_refused_and_says_what_to_do() -> None:
    _, there = filled((10, 10))
    for index in [
        (slice(None), 0),
        slice(None, None, 2),
        slice(None, None, -1),
        [1, 2],
        None,
        True,
        (slice(0, 2), slice(0, 5)),
    ]:
        with pytest.raises(NotContiguous, match="index the copy"):
            there[index]
    for index in [10, -11, (0, 10), (0, 0, 0), (..., ...)]:
        with pytest.raises(IndexError):
            there[index]
    assert there.region.moved == 0


def test_a_number_for_a_whole_region_is_no_region_of_numbers_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(arrays, "CHUNK_BYTES", 64)
    _, there = filled((10, 100))
    done: list[tuple[int, int]] = []
    there.write(..., 7, progress=lambda now, total: done.append((now, total)))
    assert there.region.largest <= 64
    assert there.region.moved == 4000
    assert done[-1] == (4000, 4000)
    assert [now for now, _ in done] == sorted(now for now, _ in done)
    assert np.all(there.copy() == 7)


def test_iteration_moves_chunks_and_gives_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "CHUNK_BYTES", 100)
    here, there = filled((10, 10))
    assert [len(chunk) for chunk in there.chunks()] == [2] * 5
    assert np.array_equal(np.concatenate(list(there.chunks())), here)
    assert [int(row.sum()) for row in there] == [int(row.sum()) for row in here]
    monkeypatch.setattr(arrays, "CHUNK_BYTES", 8)
    assert [len(chunk) for chunk in there.chunks()] == [1] * 10
    assert list(remote((0,)).chunks()) == []


def test_values_that_would_change_on_the_way_are_refused() -> None:
    there = remote((4,), "uint8")
    there[0] = 255
    there[1:3] = [1, 2]
    assert there[:].tolist() == [255, 1, 2, 0]
    for wrong in (256, -1, 1.5, [0, 300]):
        with pytest.raises(InvalidInput, match="without loss"):
            there[0:2] = wrong
    with pytest.raises(InvalidInput, match="do not fit"):
        there[0:3] = [1, 2]
    floats = remote((2,), "float32")
    floats[:] = [1, 2.5]
    assert floats[:].tolist() == [1.0, 2.5]


def test_shapes_that_a_region_has_no_room_for() -> None:
    assert remote(None, "int64", 1000).shape == (125,)
    assert remote((3, 5), "uint8", 1000).nbytes == 15
    for dtype, shape, why in [
        ("int64", None, "no whole number"),
        ("uint8", (1002,), "takes 1002 bytes"),
        ("uint8", (-1,), "negative"),
        ("object", None, "references"),
        ("frob", None, "no type"),
    ]:
        with pytest.raises(InvalidInput, match=why):
            Layout.of(1001, dtype, shape)


def test_the_twin_moves_the_same() -> None:
    class Waiting(Plain):
        async def readinto(self, *args: Any, **kwargs: Any) -> int:  # type: ignore[override]
            return Plain.readinto(self, *args, **kwargs)

        async def write(self, *args: Any, **kwargs: Any) -> int:  # type: ignore[override]
            return Plain.write(self, *args, **kwargs)

    region: Any = Waiting(40)
    there = AsyncRemoteArray(region, Layout.of(40, "int32", (5, 2)))

    async def work() -> None:
        await there.write(slice(1, 3), [[1, 2], [3, 4]])
        assert (await there.read((2, 1))) == 4
        assert (await there.copy()).sum() == 10
        assert [chunk.shape async for chunk in there.chunks()] == [(5, 2)]

    asyncio.run(work())
    assert (there.shape, there.ndim, there.size, there.nbytes) == ((5, 2), 2, 10, 40)
