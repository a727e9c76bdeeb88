"""Parcels between nodes that are seldom up together: kept, passed on, delivered once, reported."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hypermesh.crypto.encryption import QuantumEncryption
from hypermesh.crypto.keys import QuantumKeys
from hypermesh.crypto.signature import sign
from hypermesh.node import parcels_kept
from hypermesh.node.parcels_kept import KeptParcels, ParcelsNotKept
from hypermesh.stoq import custody
from hypermesh.stoq.custody import Carry
from hypermesh.stoq.errors import ConnectionLost
from hypermesh.stoq.parcel import parcel_id, publish, report, seal
from hypermesh.wire.api.parcel import Box
from hypermesh.wire.codec import encode
from hypermesh.wire.errors import HyperMeshError, InvalidInput
from hypermesh.wire.parcel import (
    CLOCK_TOLERANCE_MS,
    CustodyDeclined,
    Parcel,
    ParcelExpired,
    ParcelForged,
    ParcelHeader,
    ParcelMisdated,
    ParcelOffer,
    ParcelOutcome,
    ParcelSeen,
    ParcelsFull,
    ParcelSourceUnknown,
    ParcelUnderWay,
    SealingKey,
    SealingKeyUnknown,
    UnknownParcel,
)

from .parcel_world import GENESIS, PowerCut, Station, World

HOUR = 60
HOUR_MS = 3_600_000


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Relay sequences and carries for everybody; alice and bob are of other owners. Each has told
    the relay how to seal for it, alice knows how to seal for bob, and all are down."""
    made = World(tmp_path)
    made.add("relay", carry=Carry.NETWORK)
    made.add("alice")
    made.add("bob")
    made.only("relay", "alice", "bob")
    made["alice"].parcels._sealing_key(made["bob"].neighbour)
    made.only()
    yield made
    made.only()


def delivered(world: World, body: bytes = b"hello") -> str:
    """A parcel of alice's on its whole way, and its report back; only alice is up at the end."""
    world.only("relay", "alice")
    parcel = world["alice"].send(world["bob"], body).parcel
    world.turn()
    world.only("relay")
    world.turn(3 * HOUR)
    world.only("relay", "bob")
    world.only("relay")
    world.turn(3 * HOUR)
    world.only("relay", "alice")
    world.only("alice")
    return parcel


def test_ends_that_are_never_up_together_reach_each_other(world: World) -> None:
    parcel = delivered(world)
    assert world["alice"].state_of(parcel) == "delivered"
    view = world["alice"].parcels.get(parcel).parcel
    assert view.custodian_name == "relay"
    assert view.ended_ms is not None
    world.only("bob", "relay")
    assert world["bob"].bodies() == [b"hello"]
    assert world["relay"].post.kept.load().parcels == 0
    assert world["bob"].post.kept.load().parcels == 0
    ends = {("alice", "bob", "parcel.take"), ("bob", "alice", "parcel.take")}
    assert not ends & set(world.calls)


def test_what_the_relay_keeps_does_not_hold_the_message(world: World) -> None:
    world.only("relay", "alice")
    world["alice"].send(world["bob"], b"the attack is at dawn")
    world.turn()
    world.only()
    kept = world["relay"].file.read_bytes()
    kept += (
        world["relay"].file.with_name("relay.sqlite-wal").read_bytes()
        if (world["relay"].file.with_name("relay.sqlite-wal").exists())
        else b""
    )
    assert b"at dawn" not in kept
    world.only("relay", "bob")
    assert b"at dawn" in (world["bob"].bodies()[0] or b"")


def test_both_up_go_without_a_relay(world: World) -> None:
    world.only("alice", "bob", "relay")
    parcel = world["alice"].send(world["bob"]).parcel
    world.turn()
    assert ("alice", "bob", "parcel.take") in world.calls
    assert ("relay", "bob", "parcel.take") not in world.calls
    assert world["alice"].state_of(parcel) == "delivered"


def test_an_own_machine_carries_without_being_asked_to(tmp_path: Path) -> None:
    world = World(tmp_path)
    for name, owner in (("seq", "seq"), ("desk", "me"), ("shelf", "me"), ("laptop", "me")):
        world.add(name, owner)
    world.only("seq", "desk", "shelf", "laptop")
    world.only("shelf", "laptop")
    parcel = world["laptop"].send(world["desk"]).parcel
    world.turn()
    assert world["laptop"].parcels.get(parcel).parcel.custodian_name == "shelf"
    world.only("shelf")
    world.only("shelf", "desk")
    assert world["desk"].bodies() == [b"hello"]
    world.only()


def test_nobody_carries_for_strangers_unless_told_to(world: World) -> None:
    world["relay"].carry = Carry.OWN
    world.only("relay", "alice")
    parcel = world["alice"].send(world["bob"]).parcel
    world.turn(30)
    assert world["alice"].state_of(parcel) == "waiting"
    assert world["relay"].post.kept.load().parcels == 0
    with pytest.raises(CustodyDeclined):
        take(world, "alice", "relay", own_parcel(world["alice"], world["bob"]))


# What is refused


def own_parcel(source: Station, to: Station, **more: Any) -> Parcel:
    times = {"now_ms": source.world.now_ms, "lifetime_ms": HOUR_MS} | more
    key = SealingKey(to.keys.id, to.encryption.public, 1)
    return seal(source.keys, GENESIS, key, 9, b"hello", **times)


def take(world: World, giver: str, to: str, parcel: Parcel, hops: int = 0) -> None:
    offer = ParcelOffer(parcel, hops)
    world.handle(world[giver], world[to], "parcel.take", offer)


def with_header(parcel: Parcel, **fields: Any) -> Parcel:
    header = msgspec.structs.replace(parcel.header, **fields)
    return msgspec.structs.replace(parcel, header=header)


ALTERATIONS: dict[str, Callable[[Parcel], Parcel]] = {
    "content": lambda p: msgspec.structs.replace(p, content=p.content[:-1] + b"\x00"),
    "no content": lambda p: msgspec.structs.replace(p, content=b""),
    "service": lambda p: with_header(p, service=10),
    "lifetime": lambda p: with_header(p, expires_ms=p.header.expires_ms + 1),
    "hops": lambda p: with_header(p, hops_max=1),
    "signature": lambda p: msgspec.structs.replace(
        p, signature=msgspec.structs.replace(p.signature, ed25519=bytes(64))
    ),
    "half a signature": lambda p: msgspec.structs.replace(
        p, signature=msgspec.structs.replace(p.signature, falcon=bytes(1280))
    ),
}


@pytest.mark.parametrize("alteration", ALTERATIONS)
@pytest.mark.parametrize("to", ["relay", "bob"])
def test_an_altered_parcel_is_refused(world: World, to: str, alteration: str) -> None:
    world.only("relay", "bob", "alice")
    parcel = ALTERATIONS[alteration](own_parcel(world["alice"], world["bob"]))
    with pytest.raises(ParcelForged):
        take(world, "alice", to, parcel)
    assert world["bob"].bodies() == []
    assert world["relay"].post.kept.load().parcels == 0


def test_a_parcel_in_another_name_is_refused(world: World) -> None:
    world.only("relay", "bob", "alice")
    parcel = own_parcel(world["alice"], world["bob"])
    with pytest.raises(ParcelForged):
        take(world, "alice", "bob", with_header(parcel, source=world["relay"].keys.id))
    with pytest.raises(ParcelSourceUnknown):
        take(world, "alice", "bob", with_header(parcel, source=b"x" * 32))
    world.revoked.add(world["alice"].keys.id)
    with pytest.raises(ParcelSourceUnknown):
        take(world, "relay", "bob", parcel)


def test_another_node_cannot_sign_the_envelope_of_the_first(world: World) -> None:
    """It cannot read it, and neither may it be said to have written it."""
    world.only("relay", "bob", "alice")
    stolen = own_parcel(world["alice"], world["bob"])
    header = msgspec.structs.replace(stolen.header, source=world["relay"].keys.id)
    signature = sign(world["relay"].keys, "parcel", GENESIS, encode(header))
    take(world, "relay", "bob", Parcel(header, stolen.content, signature))
    assert world["bob"].bodies() == []
    world.turn()
    take(world, "alice", "bob", stolen)
    assert world["bob"].bodies() == [b"hello"]


def test_a_replayed_parcel_is_delivered_once(world: World) -> None:
    world.only("relay", "bob", "alice")
    parcel = own_parcel(world["alice"], world["bob"])
    take(world, "alice", "bob", parcel)
    take(world, "alice", "bob", parcel)
    with pytest.raises(ParcelSeen):
        take(world, "relay", "bob", parcel)
    # The same header under a fresh signature is the same parcel.
    again = sign(world["alice"].keys, "parcel", GENESIS, encode(parcel.header))
    take(world, "alice", "bob", msgspec.structs.replace(parcel, signature=again))
    assert world["bob"].bodies() == [b"hello"]
    world.turn(20 * HOUR)
    with pytest.raises(ParcelExpired):
        take(world, "alice", "bob", parcel)
    assert world["bob"].bodies() == [b"hello"]


def test_times_that_cannot_be_are_refused(world: World) -> None:
    world.only("relay", "bob", "alice")
    alice, bob, now_ms = world["alice"], world["bob"], world.now_ms
    old = own_parcel(alice, bob, now_ms=now_ms - 2 * HOUR_MS)
    with pytest.raises(ParcelExpired):
        take(world, "alice", "relay", old)
    ahead = own_parcel(alice, bob, now_ms=now_ms + CLOCK_TOLERANCE_MS + 1)
    with pytest.raises(ParcelMisdated):
        take(world, "alice", "bob", ahead)
    for lifetime_ms in (0, 999, custody.RETRY_MS_MAX * 10**6):
        with pytest.raises(InvalidInput):
            own_parcel(alice, bob, lifetime_ms=lifetime_ms)
    with pytest.raises(InvalidInput):
        alice.send(alice)


def test_the_hops_have_an_end(world: World) -> None:
    world.only("relay", "bob", "alice")
    with pytest.raises(HyperMeshError) as refused:
        take(world, "alice", "relay", own_parcel(world["alice"], world["bob"]), hops=8)
    assert refused.value.code == "HM-PARCEL-0008"


def test_only_the_destination_is_believed_to_have_it(world: World) -> None:
    world.only("alice")
    parcel = world["alice"].send(world["bob"]).parcel
    world.only("alice", "relay")
    world.turn(1)
    header = world["alice"].post.kept.sent_header(bytes.fromhex(parcel))
    assert header is not None
    lie = report(world["relay"].keys, GENESIS, header, ParcelOutcome.DELIVERED, world.now_ms)
    with pytest.raises(ParcelForged):
        take(world, "relay", "alice", lie)
    assert world["alice"].state_of(parcel) == "forwarded"


def test_a_sealing_key_is_its_nodes_own(world: World) -> None:
    world.only("relay", "alice", "bob")
    forged = publish(world["alice"].keys, GENESIS, world["alice"].encryption.public, 5)
    forged = msgspec.structs.replace(
        forged, key=msgspec.structs.replace(forged.key, node=world["bob"].keys.id)
    )
    with pytest.raises(InvalidInput):
        world.handle(world["alice"], world["relay"], "parcel.greet", forged)
    with pytest.raises(HyperMeshError):
        world.handle(world["bob"], world["relay"], "parcel.greet", forged)


def test_own_machines_learn_how_to_seal_for_each_other_in_advance(tmp_path: Path) -> None:
    """So that a laptop can send while it is alone."""
    world = World(tmp_path)
    for name, owner in (("seq", "seq"), ("desk", "me"), ("laptop", "me")):
        world.add(name, owner)
    world.only("seq", "desk")
    world.only("seq", "laptop")
    world.only("laptop")
    parcel = world["laptop"].send(world["desk"]).parcel
    world.only("laptop", "desk")
    assert world["desk"].bodies() == [b"hello"]
    assert world["laptop"].state_of(parcel) == "delivered"
    world.only()


def test_without_a_sealing_key_nothing_is_accepted(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.add("seq")
    world.add("alice")
    world.add("bob")
    world.only("seq", "alice")
    with pytest.raises(SealingKeyUnknown):
        world["alice"].send(world["bob"])
    assert world["alice"].box(Box.SENT) == []
    world.only()


def test_a_message_for_a_key_that_is_gone_is_reported(world: World) -> None:
    world.only("alice", "relay")
    parcel = world["alice"].send(world["bob"]).parcel
    world.turn()
    world.only("relay")
    world["bob"].encryption = QuantumEncryption.generate()
    world.only("relay", "bob")
    world.turn()
    world.only("relay", "alice")
    assert world["alice"].state_of(parcel) == "unreadable"


# Time


def test_what_expires_is_reported_by_whoever_has_it(world: World) -> None:
    world.only("relay", "alice")
    parcel = world["alice"].send(world["bob"], lifetime_ms=2 * HOUR_MS).parcel
    world.turn()
    world.only("relay")
    world.turn(3 * HOUR)
    assert world["relay"].post.kept.load().parcels == 1, "the report"
    world.only("relay", "bob")
    assert world["bob"].bodies() == []
    world.only("relay", "alice")
    assert world["alice"].state_of(parcel) == "expired"
    assert world["relay"].post.kept.load().parcels == 0


def test_what_nobody_took_expires_at_home(world: World) -> None:
    world.only("relay", "alice")
    world.only("alice")
    parcel = world["alice"].send(world["bob"], lifetime_ms=HOUR_MS).parcel
    world.turn(HOUR + 4)
    assert world["alice"].state_of(parcel) == "waiting", "within what clocks may differ"
    world.turn(10)
    assert world["alice"].state_of(parcel) == "expired"
    with pytest.raises(UnknownParcel):
        world["alice"].parcels.get("00" * 32)
    world["alice"].parcels.remove(parcel)
    assert world["alice"].box(Box.SENT) == []


def test_without_a_report_the_end_is_called_unconfirmed(world: World) -> None:
    world.only("relay", "alice")
    parcel = world["alice"].send(world["bob"], lifetime_ms=HOUR_MS).parcel
    world.turn()
    with pytest.raises(ParcelUnderWay):
        world["alice"].parcels.remove(parcel)
    world.only("alice")
    world.turn(2 * HOUR)
    assert world["alice"].state_of(parcel) == "unconfirmed"
    world.only("relay", "alice")
    assert world["alice"].state_of(parcel) == "expired"


@pytest.mark.parametrize("off_min", [-2, 2])
def test_clocks_may_be_minutes_apart(world: World, off_min: int) -> None:
    """Four minutes between relay and bob."""
    world["relay"].clock_off_ms = off_min * 60_000
    world["bob"].clock_off_ms = -off_min * 60_000
    parcel = delivered(world)
    assert world["alice"].state_of(parcel) == "delivered"


def test_a_clock_that_is_put_back_brings_nothing_back(world: World) -> None:
    world.only("relay", "bob", "alice")
    parcel = own_parcel(world["alice"], world["bob"])
    take(world, "alice", "bob", parcel)
    world.turn(2 * HOUR)
    assert world["bob"].post.kept.giver_of(b"") is None
    world["bob"].clock_off_ms = -2 * HOUR_MS
    with pytest.raises(ParcelExpired):
        take(world, "relay", "bob", parcel)
    assert world["bob"].bodies() == [b"hello"]


def test_tries_become_rarer_and_a_node_that_comes_up_is_served_at_once(world: World) -> None:
    world.only("relay", "alice")
    world["alice"].send(world["bob"])
    world.turn()
    world.only("relay")
    tries: list[int] = []
    for _ in range(60):
        before = world["relay"].post.kept.next_due_ms()
        world.turn(1)
        if world["relay"].post.kept.next_due_ms() != before:
            tries.append(world.now_ms)
    gaps = [later - earlier for earlier, later in itertools.pairwise(tries)]
    assert gaps[-1] >= 4 * 60_000 > gaps[0]
    world.calls.clear()
    world["bob"].up()
    world["bob"].passing.round()
    world["relay"].passing.round()
    assert world["bob"].bodies() == [b"hello"]


# Room


def test_what_does_not_fit_is_refused_and_what_was_accepted_stays(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.only("relay", "alice", "bob")
    world.only("relay", "alice")
    monkeypatch.setattr(custody, "PARCELS_OF_ONE_MAX", 3)
    monkeypatch.setattr(custody, "PARCELS_MAX", 4)
    parcels = [own_parcel(world["alice"], world["bob"]) for _ in range(5)]
    for parcel in parcels[:3]:
        take(world, "alice", "relay", parcel)
    with pytest.raises(ParcelsFull, match="from the node"):
        take(world, "alice", "relay", parcels[3])
    take(world, "bob", "relay", own_parcel(world["bob"], world["alice"], lifetime_ms=1000))
    with pytest.raises(ParcelsFull, match="in all"):
        take(world, "bob", "relay", own_parcel(world["bob"], world["alice"]))
    assert world["relay"].post.kept.load().parcels == 4
    take(world, "alice", "relay", parcels[0])


def test_a_full_inbox_keeps_the_message_with_its_custodian(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parcels_kept, "INBOX_PARCELS_MAX", 1)
    world.only("relay", "alice", "bob")
    first = world["alice"].send(world["bob"], b"first").parcel
    world.turn()
    second = world["alice"].send(world["bob"], b"second").parcel
    world.turn()
    assert world["bob"].bodies() == [b"first"]
    assert world["alice"].state_of(second) != "delivered"
    world["bob"].parcels.remove(first)
    world.turn(10)
    assert world["bob"].bodies() == [b"second"]
    world.turn(10)
    assert world["alice"].state_of(second) == "delivered"


def test_pages_go_on_where_the_last_ended(world: World) -> None:
    world.only("relay", "alice")
    sent = [world["alice"].send(world["bob"], service=n).parcel for n in range(5)]
    parcels = world["alice"].parcels
    first = parcels.page(Box.SENT, None, None, 2)
    second = parcels.page(Box.SENT, None, first.next_cursor, 2)
    last = parcels.page(Box.SENT, None, second.next_cursor, 2)
    shown = [each.parcel for page in (first, second, last) for each in page.items]
    assert shown == sent[::-1]
    assert last.next_cursor is None
    with pytest.raises(InvalidInput):
        parcels.page(Box.SENT, None, "x", 2)
    world.turn()
    world.only("relay", "bob")
    received = world["bob"].parcels.page(Box.RECEIVED, 3, None, 10).items
    assert [each.service for each in received] == [3]


def test_the_file_is_private_and_a_damaged_one_is_named(world: World, tmp_path: Path) -> None:
    assert world["relay"].file.stat().st_mode & 0o777 == 0o600
    broken = tmp_path / "broken.sqlite"
    broken.write_bytes(b"no database at all" * 100)
    with pytest.raises(ParcelsNotKept):
        KeptParcels(broken, bytes(32))


# Power cuts

INSTANTS = ["asked", "answered"]
PAIRS = [("alice", "relay"), ("relay", "bob"), ("bob", "relay"), ("relay", "alice")]


@pytest.mark.parametrize("instant", INSTANTS)
@pytest.mark.parametrize("victim", ["giver", "taker"])
@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_a_cut_at_a_handover_loses_nothing_and_doubles_nothing(
    world: World, pair: tuple[str, str], victim: str, instant: str
) -> None:
    """The one who hands over, or the one who takes, is gone at this instant, once."""
    cuts = []

    def disturb(caller: Station, other: Station, method: str, now: str) -> None:
        if cuts or method != "parcel.take" or (caller.name, other.name, now) != (*pair, instant):
            return
        gone = caller if victim == "giver" else other
        cuts.append(gone.name)
        gone.down()
        gone.up()
        raise PowerCut

    world.disturb = disturb
    survive(world, lambda: world.only("relay", "alice"))
    parcel = world["alice"].send(world["bob"]).parcel
    survive(world, world.turn)
    for _ in range(3):
        survive(world, lambda: world.only("relay", "bob"))
        survive(world, lambda: world.turn(HOUR))
        survive(world, lambda: world.only("relay", "alice"))
        survive(world, lambda: world.turn(HOUR))
    assert cuts
    assert world["alice"].state_of(parcel) == "delivered"
    world.only("relay", "bob")
    assert world["bob"].bodies() == [b"hello"]
    assert world["relay"].post.kept.load().parcels == 0


def survive(world: World, act: Callable[[], None]) -> None:
    while True:
        try:
            act()
        except PowerCut:
            continue
        return


steps = st.lists(
    st.tuples(
        st.sampled_from(["relay", "alice", "bob", "shelf"]),
        st.sampled_from(["up", "down", "send", "wait", "flaky"]),
        st.integers(0, 200),
    ),
    max_size=30,
)


@settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps)
def test_whatever_happens_each_message_ends_once(
    tmp_path_factory: pytest.TempPathFactory, plan: list[tuple[str, str, int]]
) -> None:
    """Nodes come and go, answers get lost: what was accepted is delivered once or expires, and its
    source hears the truth where it hears anything."""
    world = World(tmp_path_factory.mktemp("world"))
    world.add("relay", carry=Carry.NETWORK)
    world.add("alice")
    world.add("bob", "bob")
    world.add("shelf", "bob")
    world.only("relay", "alice", "bob", "shelf")
    world["alice"].parcels._sealing_key(world["bob"].neighbour)
    lossy = [0]

    def disturb(caller: Station, other: Station, method: str, now: str) -> None:
        if lossy[0] and now == "answered":
            lossy[0] -= 1
            raise ConnectionLost

    world.disturb = disturb
    sent: dict[str, bytes] = {}
    for name, what, number in plan:
        station = world[name]
        if what == "up" and not station.is_up:
            station.up()
        elif what == "down" and station.is_up:
            station.down()
        elif what == "flaky":
            lossy[0] = number % 4
        elif what == "wait":
            world.turn(number)
        elif what == "send" and world["alice"].is_up:
            body = f"message {len(sent)}".encode()
            view = world["alice"].send(world["bob"], body, lifetime_ms=(number + 1) * 120_000)
            sent[view.parcel] = body
        world.turn()
    lossy[0] = 0
    for _ in range(3):
        world.only("relay", "alice", "bob", "shelf")
        world.turn(6 * HOUR)
    arrived = [body for body in world["bob"].bodies() if body is not None]
    assert len(arrived) == len(set(arrived))
    for parcel, body in sent.items():
        state = world["alice"].state_of(parcel)
        assert state == ("delivered" if body in arrived else "expired")
    for each in world.stations.values():
        assert each.post.kept.load().parcels == 0, each.name
    world.only()


def test_headers_keep_their_place_in_an_id() -> None:
    """The id covers every member of the header."""
    keys = QuantumKeys.generate()
    key = SealingKey(b"b" * 32, QuantumEncryption.generate().public, 1)
    parcel = seal(keys, GENESIS, key, 1, b"", now_ms=10_000, lifetime_ms=1000)
    ids = {parcel_id(parcel.header)}
    for name in ParcelHeader.__struct_fields__:
        value = getattr(parcel.header, name)
        other = value + 1 if isinstance(value, int) else value[::-1] or b"x"
        if name == "kind":
            continue
        if isinstance(value, bytes) and other == value:
            other = b"y" * 32
        ids.add(parcel_id(msgspec.structs.replace(parcel.header, **{name: other})))
    assert len(ids) == len(ParcelHeader.__struct_fields__)
