"""Names on the ledger: who comes first has one, for as long as it names something of his."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from hypermesh.ledger import identity, names
from hypermesh.ledger.identity import Node
from hypermesh.ledger.module import Call, Context, Event, Refusal
from hypermesh.ledger.names import (
    LAPSE_MS,
    NAMES_PER_OWNER_MAX,
    RESERVED,
    Holding,
    Name,
    Names,
)
from hypermesh.ledger.state import MemoryBase, Overlay
from hypermesh.wire.codec import Undecodable, decode, encode
from hypermesh.wire.keys import PublicKeys
from hypermesh.wire.tx import NameDrop, NameSet, Transaction

OK = "ok"
KEYS = PublicKeys(1, b"f" * 1793, b"e" * 32)
ANN, BEN = b"a" * 32, b"b" * 32
DESK, LAP, BENS = b"\x01" * 32, b"\x02" * 32, b"\x03" * 32
CPU, DISK = b"\x11" * 16, b"\x12" * 16
END_MS = 1_000_000


@dataclass
class World:
    """A state with Ann's two nodes and Ben's one, and the module over it."""

    state: Overlay = field(default_factory=lambda: Overlay(MemoryBase()))
    assets: dict[bytes, Holding] = field(default_factory=dict)
    time_ms: int = 1_000
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.module = Names(lambda _, asset: self.assets.get(asset))
        for node, owner in ((DESK, ANN), (LAP, ANN), (BENS, BEN)):
            self.enrol(node, owner)

    def enrol(self, node: bytes, owner: bytes, *, revoked: bool = False) -> None:
        identity._nodes.put(self.state, node, Node(KEYS, owner, bytes(32), END_MS, revoked))

    def does(self, owner: bytes, body: NameSet | NameDrop) -> str:
        """The code of `body`; what is refused leaves nothing behind, as the kernel sees to."""
        transaction = Transaction(bytes(32), owner, 0, 0, 0, b"", body)
        call = Call(bytes(32), transaction, owner, signer_is_node=False)
        context = Context(self.state, bytes(32), None, 1, self.time_ms, bytes(32))  # type: ignore[arg-type]
        before = self.state.savepoint()
        try:
            self.module.execute(context, call)
        except Refusal as refusal:
            self.state.roll_back(before)
            self.events = []
            return refusal.code
        self.events = context.events
        return OK

    def sets(self, owner: bytes, label: str, node: bytes | None, asset: bytes | None = None) -> str:
        return self.does(owner, NameSet(label, node, asset))

    def all(self) -> Iterator[str]:
        return (label for label, _ in names.names(self.state))


@pytest.fixture
def world() -> World:
    return World()


def test_a_name_is_set_moved_and_dropped(world: World) -> None:
    assert world.sets(ANN, "desk", DESK) == OK
    row = Name(ANN, DESK, None)
    assert names.named(world.state, "desk") == row
    assert names.of_node(world.state, DESK) == ["desk"]
    assert world.events == [Event("name.set", b"desk", encode(row))]
    assert world.sets(ANN, "desk", DESK) == OK
    assert world.events == []
    assert world.sets(ANN, "desk", LAP) == OK
    assert [each.name for each in world.events] == ["name.dropped", "name.set"]
    assert names.of_node(world.state, DESK) == []
    assert names.of_node(world.state, LAP) == ["desk"]
    assert world.does(ANN, NameDrop("desk")) == OK
    assert list(world.all()) == []
    assert list(world.state.scan(b"name/")) == []


def test_an_asset_is_named_by_its_owner(world: World) -> None:
    world.assets[CPU] = Holding(ANN, DESK)
    assert world.sets(ANN, "big", None, CPU) == OK
    assert names.of_asset(world.state, CPU) == ["big"]
    assert world.sets(BEN, "mine", None, CPU) == "HM-TX-NAME-0003"
    assert world.sets(ANN, "none", None, DISK) == "HM-TX-NAME-0004"
    assert world.sets(ANN, "both", DESK, CPU) == "HM-TX-NAME-0004"
    assert world.sets(ANN, "nothing", None) == "HM-TX-NAME-0004"
    assert list(world.all()) == ["big"]


def test_who_comes_first_has_it(world: World) -> None:
    assert world.sets(ANN, "desk", DESK) == OK
    assert world.sets(BEN, "desk", BENS) == "HM-TX-NAME-0002"
    assert world.sets(BEN, "bens", DESK) == "HM-TX-NAME-0003"
    assert world.sets(BEN, "bens", b"\x09" * 32) == "HM-TX-NAME-0004"
    assert world.does(BEN, NameDrop("desk")) == "HM-TX-NAME-0007"
    assert world.does(BEN, NameDrop("bens")) == "HM-TX-NAME-0006"
    assert names.named(world.state, "desk") == Name(ANN, DESK, None)


def test_a_name_of_what_is_gone_is_free(world: World) -> None:
    world.assets[CPU] = Holding(ANN, DESK)
    world.assets[DISK] = Holding(ANN, LAP)
    for label, node, asset in (
        ("revoked", DESK, None),
        ("expired", LAP, None),
        ("sold", None, DISK),
        ("hosted", None, CPU),
    ):
        assert world.sets(ANN, label, node, asset) == OK
        assert world.sets(BEN, label, BENS) == "HM-TX-NAME-0002"
    world.enrol(DESK, ANN, revoked=True)
    world.assets[DISK] = Holding(BEN, LAP)
    for label in ("revoked", "hosted", "sold"):
        assert world.sets(BEN, label, BENS) == OK, label
    assert world.sets(ANN, "again", DESK) == "HM-TX-NAME-0004"
    assert world.sets(ANN, "again", None, CPU) == "HM-TX-NAME-0004"
    world.time_ms = END_MS + LAPSE_MS
    world.enrol(BENS, BEN)
    assert world.sets(BEN, "expired", BENS) == "HM-TX-NAME-0002"
    world.time_ms += 1
    assert world.sets(BEN, "expired", BENS) == OK
    # Ann's count went down with each name that was taken from her.
    assert [key for key, _ in world.state.scan(b"name/owner/")] == [b"name/owner/" + BEN]


@pytest.mark.parametrize(
    "label",
    [
        *("-desk", "desk-", "9desk", "xn--desk", "ab--cd", "a" * 64, ""),
        *("abcdef0123", "f" * 16, "f" * 32, "f" * 64),
        *sorted(RESERVED),
    ],
)
def test_labels_that_nobody_has(world: World, label: str) -> None:
    assert world.sets(ANN, label, DESK) == "HM-TX-NAME-0001"


@pytest.mark.parametrize("label", ["a", "a1", "my-desk", "a" * 63, "abcdefg", "fff"])
def test_labels_that_are_free(world: World, label: str) -> None:
    assert world.sets(ANN, label, DESK) == OK


@pytest.mark.parametrize("label", ["", "a" * 64, "Desk", "a.b", "a_b", "ä", "a b", "a\n"])
def test_labels_that_no_transaction_carries(label: str) -> None:
    body = NameSet("desk", DESK, None)
    assert decode(NameSet, encode(body)) == body
    with pytest.raises(Undecodable):
        decode(NameSet, encode(replace_label(body, label)))


def replace_label(body: NameSet, label: str) -> NameSet:
    return NameSet(label, body.node, body.asset)


def test_an_owner_has_so_many_and_no_more(world: World) -> None:
    for number in range(NAMES_PER_OWNER_MAX):
        assert world.sets(ANN, f"n-{number}", DESK) == OK
    assert world.sets(ANN, "one-more", DESK) == "HM-TX-NAME-0005"
    assert world.sets(ANN, "n-1", LAP) == OK
    assert world.sets(BEN, "one-more", BENS) == OK
    assert world.does(ANN, NameDrop("n-1")) == OK
    assert world.sets(ANN, "again", DESK) == OK
    assert world.sets(ANN, "one-again", DESK) == "HM-TX-NAME-0005"


def test_labels_of_one_asset_are_not_those_of_another(world: World) -> None:
    """Ids have a fixed length, so no id with a label looks like another id with another."""
    world.assets = {CPU: Holding(ANN, DESK), DISK: Holding(ANN, DESK)}
    assert world.sets(ANN, "one", None, CPU) == OK
    assert world.sets(ANN, "two", None, DISK) == OK
    assert world.sets(ANN, "three", DESK) == OK
    assert names.of_asset(world.state, CPU) == ["one"]
    assert names.of_asset(world.state, DISK) == ["two"]
    assert names.of_node(world.state, DESK) == ["three"]
