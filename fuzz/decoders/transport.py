"""What other nodes say over STOQ: openings of tunnels, transfers of files, parcels, proofs of
delivery. Signed things are made with real keys, so that what lies behind a signature is reached."""

from __future__ import annotations

import contextlib
from functools import cache
from typing import Any, cast

import msgspec
from fuzz.decoders.mutator import Lots
from fuzz.decoders.shapes import value_of

from hypermesh.crypto.encryption import QuantumEncryption
from hypermesh.crypto.keys import QuantumKeys
from hypermesh.stoq import delivery_document
from hypermesh.stoq.delivery import prove
from hypermesh.stoq.parcel import (
    check_key,
    check_signed,
    check_way,
    is_credible,
    opened,
    publish,
    report,
    reported,
    seal,
)
from hypermesh.stoq.stream import Stream
from hypermesh.stoq.transfer.frames import Frames
from hypermesh.stoq.transfer.manifest import KEEP, REPEAT, Chunk, chunks, plan
from hypermesh.stoq.transfer.store import checked_name
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.delivery import Delivery, DeliveryProof
from hypermesh.wire.errors import HyperMeshError
from hypermesh.wire.parcel import (
    HOPS_MAX,
    ParcelHeader,
    ParcelOffer,
    ParcelOutcome,
    SealingKey,
    SignedSealingKey,
)
from hypermesh.wire.transfer import ENTRY_BYTES, PAGE_CHUNKS_MAX, Message, Page
from hypermesh.wire.tunnel import Carriage, Opening, Place

GENESIS = bytes(range(32))
NOW_MS = 1_800_000_000_000
DIGESTS = 4
"""So few among the chunks of a page that some come twice."""
PAGE_HEAD_BYTES = 6


def openings(lots: Lots) -> list[bytes]:
    """Openings of tunnels, and places as their owner writes them."""
    made = [Opening(carriage, lots.data(16)).pack() for carriage in Carriage]
    places = ("tcp:[::1]:5432", "udp:127.0.0.1:53", "unix:/run/db.sock", "tcp:[fd00::1%1]:1")
    return [*made, *(place.encode() for place in places)]


def read_opening(content: bytes) -> None:
    """Both have one form."""
    with contextlib.suppress(HyperMeshError):
        assert Opening.unpack(content).pack() == content
    place = Place.parse(content.decode("utf-8", "surrogateescape"))
    assert Place.parse(str(place)) == place
    assert isinstance(place.is_local, bool)


class _Heard:
    """The bytes of a stream, in pieces of `step`."""

    def __init__(self, content: bytes, step: int) -> None:
        self._rest = memoryview(content)
        self._step = step

    def readinto(self, buffer: memoryview, *, timeout_ms: int) -> int:
        del timeout_ms
        piece = self._rest[: min(self._step, len(buffer))]
        buffer[: len(piece)] = piece
        self._rest = self._rest[len(piece) :]
        return len(piece)

    @property
    def left(self) -> int:
        return len(self._rest)


def conversations(lots: Lots) -> list[bytes]:
    """A message of each kind behind its length, alone and one after the other."""
    kinds = msgspec.inspect.type_info(Message)
    assert isinstance(kinds, msgspec.inspect.UnionType)
    made = []
    for kind in kinds.types:
        assert isinstance(kind, msgspec.inspect.StructType)
        message = encode(value_of(kind.cls, lots))
        made.append(bytes([lots.below(64)]) + len(message).to_bytes(4, "big") + message)
    return [*made, b"\x40" + b"".join(each[1:] for each in made)]


def read_conversation(content: bytes) -> None:
    """`step u8 | messages`. Each reads as it would be written, and not a byte behind it is taken:
    there the bytes of a file may begin."""
    if not content:
        return
    stream = _Heard(content[1:], 1 + content[0])
    frames = Frames(cast("Stream", stream))
    while True:
        before = stream.left
        message = frames.hear()
        assert 4 + len(encode(message)) == before - stream.left
        with contextlib.suppress(HyperMeshError):
            checked_name(getattr(message, "name", "file"))


def pages(lots: Lots) -> list[bytes]:
    """`offset u8 | size u32 | held u8 | chunks`."""
    made = []
    for count in (1, 3, 9):
        lengths = [1 + lots.below(9_000) for _ in range(count)]
        entries = [
            length.to_bytes(4, "big") + bytes([lots.below(DIGESTS)]) * 32 for length in lengths
        ]
        size = 7 + sum(lengths)
        made.append(b"\7" + size.to_bytes(4, "big") + bytes([lots.below(256)]) + b"".join(entries))
    return made


def read_page(content: bytes) -> None:
    """The chunks of a page lie one behind the other within the file, and whatever is repeated is
    the same bytes and comes before."""
    head, entries = content[:PAGE_HEAD_BYTES], content[PAGE_HEAD_BYTES:]
    if len(head) < PAGE_HEAD_BYTES or len(entries) > ENTRY_BYTES * PAGE_CHUNKS_MAX:
        return
    offset, size, marks = head[0], int.from_bytes(head[1:5], "big"), head[5]
    found = chunks(Page(0, entries), offset, size)
    held = {place for place in range(len(found)) if marks >> (place % 8) & 1}
    coming = {bytes([0]) * 32: 0} if offset else {}
    steps = plan(found, held, coming)
    repeats = iter(steps.repeats)
    at = offset
    for chunk, step in zip(found, steps.steps, strict=True):
        assert chunk.offset == at
        at += chunk.length
        if step == REPEAT:
            _is_before(next(repeats), chunk, found, coming)
        assert (step == KEEP) == (found.index(chunk) in held)
    assert next(repeats, None) is None
    assert at <= size
    assert len(steps.wanted) == len(found)


def _is_before(place: int, chunk: Chunk, found: list[Chunk], coming: dict[bytes, int]) -> None:
    assert place < chunk.offset
    sources = [each.offset for each in found if each.digest == chunk.digest]
    assert place in sources or coming.get(chunk.digest) == place


@cache
def _ends() -> tuple[QuantumKeys, QuantumKeys, QuantumEncryption]:
    return QuantumKeys.generate(), QuantumKeys.generate(), QuantumEncryption.generate()


@cache
def _parcels() -> tuple[bytes, ...]:
    """A message from the first end to the second, its report, and the second's sealing key."""
    first, second, sealing = _ends()
    to = SealingKey(second.id, sealing.public, NOW_MS)
    sent = seal(first, GENESIS, to, 9, b"hello", now_ms=NOW_MS, lifetime_ms=60_000)
    said = report(first, GENESIS, sent.header, ParcelOutcome.DELIVERED, NOW_MS)
    record = publish(first, GENESIS, sealing.public, NOW_MS)
    return encode(ParcelOffer(sent, 0)), encode(ParcelOffer(said, 1)), encode(record)


def parcels(lots: Lots) -> list[bytes]:
    del lots
    return list(_parcels())


def read_parcel(content: bytes) -> None:
    """None passes but what was signed, and no message opens but under the header it was sealed
    with."""
    first, _, sealing = _ends()
    signed = [decode(ParcelOffer, each).parcel for each in _parcels()[:2]]
    with contextlib.suppress(HyperMeshError):
        record = decode(SignedSealingKey, content)
        check_key(record, first.public, GENESIS)
        assert content == _parcels()[2]
    offer = decode(ParcelOffer, content)
    with contextlib.suppress(HyperMeshError):
        check_way(offer, NOW_MS)
        assert offer.hops < HOPS_MAX
    with contextlib.suppress(HyperMeshError):
        check_signed(offer.parcel, first.public, GENESIS)
        assert offer.parcel in signed
    with contextlib.suppress(HyperMeshError):
        assert opened(offer.parcel, sealing) == b"hello"
        assert _sealed_under(offer.parcel.header) == _sealed_under(signed[0].header)
    said = reported(offer.parcel)
    about: ParcelHeader = signed[0].header
    assert is_credible(said, about.destination, about)


def _sealed_under(header: ParcelHeader) -> tuple[Any, ...]:
    """All of a header but the digest of its content, to which the content cannot be bound."""
    return msgspec.structs.astuple(header)[:-1]


@cache
def _proof() -> bytes:
    first, second, _ = _ends()
    said = Delivery(GENESIS, b"t" * 16, first.id, second.id, "a.bin", 5, b"r" * 32, NOW_MS)
    signatures = prove(first, said), prove(second, said)
    return encode(DeliveryProof(said, first.public, second.public, *signatures))


def deliveries(lots: Lots) -> list[bytes]:
    del lots
    return [msgspec.json.encode(delivery_document.document(decode(DeliveryProof, _proof())))]


def read_delivery(content: bytes) -> None:
    """No document holds but that of what both ends have signed."""
    delivery_document.is_document(content)
    found = delivery_document.read(content)
    verdict = delivery_document.verify_document(found, GENESIS, b"r" * 32)
    assert not verdict.ok or bytes.fromhex(found.proof) == _proof()
