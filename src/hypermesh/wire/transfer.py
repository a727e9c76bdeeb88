"""What two nodes say to each other about a file on its way, on a stream of service 4.

    sender                                   receiver
    Offer                              ->
                                       <-    Accepted, or Delivered where it has the file
    Page 0, Page 1, ...                ->                              (a list of chunks each)
                                       <-    Wants 0, Wants 1, ...     (which of them it lacks)
    Data 0 and their bytes, Data 1 ... ->
    End                                ->
                                       <-    Delivered                 (durable, signed)
    Countersigned                      ->
                                       <-    Settled                   (both signatures kept)

A message is its length (u32, big-endian) and its canonical encoding. Behind a `Data` follow the
bytes of the wanted chunks, in order, without any frame. Pages are answered in order, at most
`PAGES_AHEAD_MAX` before their data. Either side may say `Failed` and end.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from hypermesh.wire.delivery import NAME_BYTES_MAX, Delivery, TransferId
from hypermesh.wire.errors import Problem
from hypermesh.wire.ids import Hash
from hypermesh.wire.keys import PublicKeys, QuantumSignature

PAGE_CHUNKS_MAX = 1024
"""About 64 MiB of a file."""
PAGES_AHEAD_MAX = 2
ENTRY_BYTES = 36
"""Of a chunk in a list: its length (u32, big-endian) and its digest."""
CHUNK_BYTES_MAX = 256 * 1024
MESSAGE_BYTES_MAX = 64 * 1024


class Offer(msgspec.Struct, frozen=True, array_like=True, tag="offer"):
    """A file: `size` in bytes, `modified_ns` its time of modification. `keys` are the sender's."""

    transfer: TransferId
    name: Annotated[str, Meta(min_length=1, max_length=NAME_BYTES_MAX)]
    size: Annotated[int, Meta(ge=0, le=2**53)]
    modified_ns: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
    keys: PublicKeys


class Accepted(msgspec.Struct, frozen=True, array_like=True, tag="accepted"):
    """Send it. `held` bytes are here from an earlier attempt."""

    held: Annotated[int, Meta(ge=0, le=2**53)]


class Page(msgspec.Struct, frozen=True, array_like=True, tag="page"):
    """The next chunks of the file, in order."""

    number: int
    chunks: Annotated[bytes, Meta(min_length=ENTRY_BYTES, max_length=ENTRY_BYTES * PAGE_CHUNKS_MAX)]


class Wants(msgspec.Struct, frozen=True, array_like=True, tag="wants"):
    """A byte for each chunk of a page: 1 where it shall be sent, else 0."""

    number: int
    wanted: Annotated[bytes, Meta(max_length=PAGE_CHUNKS_MAX)]


class Data(msgspec.Struct, frozen=True, array_like=True, tag="data"):
    """The wanted chunks of a page follow."""

    number: int


class End(msgspec.Struct, frozen=True, array_like=True, tag="end"):
    """That was all of it. `root` is BLAKE3 of the file."""

    root: Hash


class Delivered(msgspec.Struct, frozen=True, array_like=True, tag="delivered"):
    """The file is there and durable. `keys` are the receiver's."""

    delivery: Delivery
    keys: PublicKeys
    signature: QuantumSignature


class Countersigned(msgspec.Struct, frozen=True, array_like=True, tag="countersigned"):
    """The sender's signature over the same delivery."""

    signature: QuantumSignature


class Settled(msgspec.Struct, frozen=True, array_like=True, tag="settled"):
    """The receiver keeps both signatures."""


class Failed(msgspec.Struct, frozen=True, array_like=True, tag="failed"):
    """Why the other side ends here."""

    problem: Problem


Message: TypeAlias = (
    Offer | Accepted | Page | Wants | Data | End | Delivered | Countersigned | Settled | Failed
)
