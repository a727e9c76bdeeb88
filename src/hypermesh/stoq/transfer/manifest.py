"""Lists of chunks: what they say, and where a receiver has each chunk from. Pure."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from hypermesh.stoq.transfer.errors import ProtocolBroken
from hypermesh.wire.ids import Hash
from hypermesh.wire.transfer import CHUNK_BYTES_MAX, ENTRY_BYTES, Page

_ENTRY = struct.Struct(">I32s")

RECEIVE, KEEP, REPEAT = b"r"[0], b"k"[0], b"c"[0]
"""Steps of `Stream.receive_chunks`."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk of a file: `length` bytes from `offset` on."""

    offset: int
    length: int
    digest: Hash


@dataclass(frozen=True, slots=True)
class Steps:
    """How each chunk of a page comes; `repeats` are the places of those marked so."""

    steps: bytes
    repeats: list[int]

    @property
    def wanted(self) -> bytes:
        """As `Wants` has it."""
        return bytes(step == RECEIVE for step in self.steps)


def chunks(page: Page, offset: int, size: int) -> list[Chunk]:
    """The chunks of a page that begins at `offset` of a file of `size` bytes. Raises
    `ProtocolBroken`."""
    if len(page.chunks) % ENTRY_BYTES:
        raise ProtocolBroken(why="a list ends within a chunk")
    found = []
    for length, digest in _ENTRY.iter_unpack(page.chunks):
        if not 1 <= length <= CHUNK_BYTES_MAX:
            raise ProtocolBroken(why=f"a chunk of {length} bytes")
        found.append(Chunk(offset, length, digest))
        offset += length
    if offset > size:
        raise ProtocolBroken(why=f"the chunks have more than the file's {size} bytes")
    return found


def plan(found: list[Chunk], held: set[int], coming: Mapping[Hash, int]) -> Steps:
    """How the chunks of a page come: those at the places `held` are there, those in `coming`
    (digest and offset, of chunks before this page) or earlier in the page are repeated, and the
    others are wanted."""
    steps = bytearray()
    repeats = []
    first: dict[Hash, int] = {}
    for place, chunk in enumerate(found):
        if place in held:
            steps.append(KEEP)
            continue
        before = coming.get(chunk.digest, first.get(chunk.digest))
        if before is None:
            first[chunk.digest] = chunk.offset
            steps.append(RECEIVE)
        else:
            steps.append(REPEAT)
            repeats.append(before)
    return Steps(bytes(steps), repeats)
