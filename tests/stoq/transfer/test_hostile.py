"""Senders that do not keep to the protocol, and a receiver without room."""

from __future__ import annotations

from collections import deque
from pathlib import Path

import pytest

from hypermesh import _native
from hypermesh.crypto.digest import digest
from hypermesh.crypto.keys import QuantumKeys
from hypermesh.stoq import errors
from hypermesh.stoq.delivery import DeliveryInvalid
from hypermesh.stoq.transfer import store as stores
from hypermesh.stoq.transfer.errors import ProtocolBroken
from hypermesh.stoq.transfer.frames import Frames
from hypermesh.wire.errors import HyperMeshError, InvalidInput
from hypermesh.wire.rpc import SERVICE_TRANSFER
from hypermesh.wire.transfer import (
    CHUNK_BYTES_MAX,
    ENTRY_BYTES,
    Accepted,
    Data,
    End,
    Message,
    Offer,
    Page,
    Settled,
    Wants,
)

from .ends import STALL_MS, TRANSFER, Giving, Taking

DATA = b"what was announced"


def entry(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + digest("chunk", data)


def offer(giving: Giving, name: str = "data.bin", size: int = len(DATA)) -> Offer:
    return Offer(TRANSFER, name, size, 0, giving.keys.public)


def begun(giving: Giving, offered: Offer) -> Frames:
    frames = Frames(giving.connection.open_stream(SERVICE_TRANSFER), stall_ms=STALL_MS)
    frames.say(offered)
    return frames


def refused(frames: Frames, kind: type[HyperMeshError], *messages: Message) -> None:
    """The receiver answers `messages` with an error of this class and no other."""
    for message in messages:
        frames.say(message)
    with pytest.raises(kind):
        deque(iter(frames.hear, None), maxlen=0)


def nothing_is_there(taking: Taking) -> None:
    assert {each.name for each in taking.store.directory.iterdir()} == {".arriving"}
    assert not taking.store.newest(1 << 60, 10)


def test_bytes_that_are_not_the_announced_ones(giving: Giving, taking: Taking) -> None:
    frames = begun(giving, offer(giving))
    frames.expect(Accepted)
    frames.say(Page(0, entry(DATA)))
    assert frames.expect(Wants).wanted == b"\x01"
    frames.say(Data(0))
    frames.stream.write(DATA[::-1])
    with pytest.raises(errors.ChunkMismatch):
        frames.hear()
    nothing_is_there(taking)


def test_a_whole_that_is_not_the_announced_one(giving: Giving, taking: Taking) -> None:
    frames = begun(giving, offer(giving))
    frames.expect(Accepted)
    frames.say(Page(0, entry(DATA)))
    frames.expect(Wants)
    frames.say(Data(0))
    frames.stream.write(DATA)
    refused(frames, errors.ChunkMismatch, End(bytes(32)))
    nothing_is_there(taking)


@pytest.mark.parametrize(
    "messages",
    [
        [Page(1, entry(DATA))],
        [Page(0, entry(DATA) + entry(b"more"))],
        [Page(0, entry(DATA)[:-1] + entry(DATA))],
        [Page(0, bytes(36))],
        [Data(0)],
        [Page(0, entry(DATA)), Data(1)],
        [End(bytes(32))],
        [Page(0, entry(DATA)), End(bytes(32))],
        [Settled()],
    ],
    ids=["number", "size", "cut", "empty", "data", "turn", "early", "without data", "foreign"],
)
def test_what_is_out_of_turn(giving: Giving, taking: Taking, messages: list[Message]) -> None:
    frames = begun(giving, offer(giving))
    frames.expect(Accepted)
    refused(frames, (ProtocolBroken, InvalidInput), *messages)  # type: ignore[arg-type]
    nothing_is_there(taking)


def test_more_pages_than_may_be_ahead(giving: Giving, taking: Taking) -> None:
    frames = begun(giving, offer(giving, size=3))
    frames.expect(Accepted)
    refused(frames, ProtocolBroken, *(Page(number, entry(b"x")) for number in range(3)))
    nothing_is_there(taking)


@pytest.mark.parametrize("name", ["../x", "a/b", ".hidden", "x\ny", "\x1b[2J", "x\u202ey", "\0"])
def test_names_that_lead_elsewhere(giving: Giving, taking: Taking, name: str) -> None:
    refused(begun(giving, offer(giving, name)), InvalidInput)
    nothing_is_there(taking)


def test_keys_of_another(giving: Giving, taking: Taking, alice_keys: QuantumKeys) -> None:
    others = Offer(TRANSFER, "data.bin", 1, 0, alice_keys.public)
    refused(begun(giving, others), DeliveryInvalid)
    nothing_is_there(taking)


def test_a_message_too_long(giving: Giving, taking: Taking) -> None:
    frames = Frames(giving.connection.open_stream(SERVICE_TRANSFER), stall_ms=STALL_MS)
    frames.stream.write((1 << 31).to_bytes(4, "big"))
    refused(frames, ProtocolBroken)
    nothing_is_there(taking)


def test_both_sides_have_the_same_bounds() -> None:
    limits = dict(_native.chunk_limits())
    assert limits["chunk_bytes_max"] == CHUNK_BYTES_MAX
    assert limits["entry_bytes"] == ENTRY_BYTES


def test_no_room(
    giving: Giving, taking: Taking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = tmp_path / "data.bin"
    sent.write_bytes(DATA)
    with monkeypatch.context() as full:
        full.setattr(stores, "SPARE_BYTES", 1 << 62)
        with pytest.raises(errors.NoSpace):
            giving.send(sent)
    nothing_is_there(taking)
    giving.send(sent)
