"""What the zones say of a ledger: the same however it came to stand where it stands."""

from __future__ import annotations

import random  # noqa: TID251 - seeded
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import msgspec
import pytest
from dns.rdatatype import RdataType

from hypermesh.assets import registry
from hypermesh.ledger import identity, names
from hypermesh.ledger.identity import EXPIRY_GRACE_MS, Node
from hypermesh.ledger.module import Event, State
from hypermesh.ledger.names import Name
from hypermesh.ledger.state import MemoryBase, Overlay
from hypermesh.node.names import export, layout
from hypermesh.node.names.export import Export, ZoneFull
from hypermesh.trustchain.dns.records import data_text, name
from hypermesh.trustchain.dns.resolution import SourceUnavailable
from hypermesh.wire.asset import Asset, AssetKind, AssetState, Locator, PrivacyLevel
from hypermesh.wire.codec import encode
from hypermesh.wire.keys import PublicKeys
from hypermesh.wire.rpc import LedgerStatus

GENESIS = bytes(range(32))
APEX = "0001020304.hm.internal"
OWNER = b"o" * 32
KEYS = PublicKeys(1, b"f" * 1793, b"e" * 32)
DAY_MS = 24 * 60 * 60 * 1000


@dataclass
class Committed:
    """As `feed.Commit`, as far as an export reads it."""

    events: tuple[Event, ...]


@dataclass
class Ledger:
    """Rows and a height; what an export reads of a ledger."""

    overlay: Overlay = field(default_factory=lambda: Overlay(MemoryBase()))
    height: int = 0
    time_ms: int = 1_000
    locators: dict[bytes, Locator] = field(default_factory=dict)

    @contextmanager
    def state_with_height(self) -> Iterator[tuple[int, State]]:
        yield self.height, self.overlay

    def status(self) -> LedgerStatus:
        return LedgerStatus(self.height, bytes([self.height % 256]) * 32, self.time_ms, "a test")

    def enrol(self, node: bytes, not_after_ms: int = DAY_MS, *, revoked: bool = False) -> Event:
        row = Node(KEYS, OWNER, bytes([node[-1]]) * 32, not_after_ms, revoked)
        identity._nodes.put(self.overlay, node, row)
        self.height += 1
        return Event("identity.revoked" if revoked else "identity.enrolled", node)

    def register(self, host: bytes, slot: int, level: PrivacyLevel) -> Event:
        asset = asset_of(host, slot, level)
        asset_id = id_of(host, slot)
        registry.ASSETS.put(self.overlay, asset_id, asset)
        key = host[:6] + slot.to_bytes(2, "big") + host[6:]
        registry._SLOTS.put(self.overlay, key, asset_id)
        self.height += 1
        return Event("asset.registered", asset_id)

    def call(
        self, label: str, node: bytes | None, asset: bytes | None, owner: bytes = OWNER
    ) -> Event:
        row = Name(owner, node, asset)
        names._labels.put(self.overlay, label.encode(), row)
        table = names._of_nodes if asset is None else names._of_assets
        table.put(self.overlay, (node or asset or b"") + label.encode(), True)
        self.height += 1
        return Event("name.set", label.encode(), encode(row))

    def uncall(self, label: str, node: bytes) -> Event:
        names._labels.delete(self.overlay, label.encode())
        names._of_nodes.delete(self.overlay, node + label.encode())
        self.height += 1
        return Event("name.dropped", label.encode(), encode(Name(OWNER, node, None)))

    def exported(self) -> Export:
        return Export(GENESIS, self, self.locators.get, ["::1"], lambda _: ())  # type: ignore[arg-type]


def node_of(number: int) -> bytes:
    return bytes([number]) * 31 + bytes([number])


def id_of(host: bytes, slot: int) -> bytes:
    return host[:8] + slot.to_bytes(8, "big")


def asset_of(host: bytes, slot: int, level: PrivacyLevel) -> Asset:
    return Asset(
        owner=OWNER,
        host=host,
        kind=AssetKind.MEMORY,
        level=level,
        state=AssetState.AVAILABLE,
        commitment=bytes(32),
        audience_hash=bytes(32),
        descriptor=None,
        salt=b"",
        price=None,
        concurrent_max=1,
        slot=slot,
        revision=0,
        epoch=0,
        leases=0,
        committed=0,
        registered_ms=0,
    )


def place(node: bytes, port: int, *hosts: str) -> Locator:
    return Locator(node, list(hosts), port, port, 10 * DAY_MS, "desk")


def said(here: Export, owner: str, kind: RdataType) -> list[str] | None:
    found = here.lookup(name(owner), kind)
    return None if found is None else [data_text(kind, each) for each in found.data]


def test_before_the_ledger_was_read_nobody_knows() -> None:
    with pytest.raises(SourceUnavailable):
        Ledger().exported().lookup(name(APEX), RdataType.NS)


def test_a_node_and_its_asset() -> None:
    ledger, node = Ledger(), node_of(0xAB)
    ledger.enrol(node)
    ledger.register(node, 1, PrivacyLevel.FULL_PUBLIC)
    ledger.locators[node] = place(node, 4433, "2001:db8::7", "::ffff:192.0.2.9", "::1")
    here = ledger.exported()
    standing = here.read()
    own = f"{'ab' * 8}.{APEX}"
    asset = f"{id_of(node, 1).hex()}.{own}"
    view = "fd00:102:304:0:abab:abab:abab:1"
    assert said(here, own, RdataType.AAAA) == ["fd00:102:304:0:abab:abab:abab:0"]
    assert said(here, asset, RdataType.AAAA) == [view]
    [text] = said(here, asset, RdataType.TXT) or []
    for port in (1, 2):
        shown = f"hm://fd00010203040000.{'ab' * 8}.{id_of(node, 1).hex()}:{port}"
        assert f'"{shown}"' in text
    assert '"kind=memory"' in text
    to = f"endpoint.{own}."
    assert said(here, asset, RdataType.SVCB) == [f'1 {to} alpn="hm/1" port="4433"']
    assert said(here, f"_stoq._udp.{asset}", RdataType.SRV) == [f"0 0 4433 {to}"]
    # Loopback is for nodes of the same machine, and nothing else was said of it here.
    assert said(here, to, RdataType.AAAA) == ["2001:db8::7"]
    assert said(here, to, RdataType.A) == ["192.0.2.9"]
    tlsa = said(here, f"_4433._udp.{to}", RdataType.TLSA) or [""]
    assert tlsa[0].replace(" ", "").lower() == "301" + "ab" * 32
    reverse = "1.0.0.0.b.a.b.a.b.a.b.a.b.a.b.a.0.0.0.0.4.0.3.0.2.0.1.0.0.0.d.f.ip6.arpa"
    assert said(here, reverse, RdataType.PTR) == [f"{asset}."]
    assert standing.forward.serial == standing.reverse.serial == 2
    assert said(here, f"_ledger.{APEX}", RdataType.TXT) == [
        f'"height=2" "app_hash={"02" * 32}" "genesis={GENESIS.hex()}"'
    ]
    # Names in between are there and have nothing (RFC 8020); others are not.
    assert said(here, f"_udp.{asset}", RdataType.AAAA) == []
    assert said(here, f"nobody.{APEX}", RdataType.AAAA) is None
    assert said(here, "nobody.example", RdataType.AAAA) is None
    assert said(here, APEX, RdataType.SOA) is not None


@pytest.mark.parametrize("level", PrivacyLevel)
def test_a_stranger_sees_of_assets_only_what_is_public(level: PrivacyLevel) -> None:
    ledger, node = Ledger(), node_of(7)
    ledger.enrol(node)
    ledger.register(node, 1, level)
    here = ledger.exported()
    standing = here.read()
    asset = f"{id_of(node, 1).hex()}.{'07' * 8}.{APEX}"
    is_there = level is PrivacyLevel.FULL_PUBLIC
    assert (said(here, asset, RdataType.AAAA) is not None) == is_there
    shown = [key[0] for key in (*standing.forward.sets, *standing.reverse.sets)]
    assert any(id_of(node, 1).hex().encode() in owner for owner in shown) == is_there
    data = b"".join(b"".join(each.data) for each in standing.reverse.sets.values())
    assert (id_of(node, 1).hex().encode() in data) == is_there


def test_revoked_and_expired_nodes_have_no_names() -> None:
    ledger = Ledger()
    one, two = node_of(1), node_of(2)
    ledger.enrol(one)
    ledger.enrol(two)
    here = ledger.exported()
    here.read()
    first, second = f"{'01' * 8}.{APEX}", f"{'02' * 8}.{APEX}"
    assert said(here, first, RdataType.TXT)
    here.follow(Committed((ledger.enrol(one, revoked=True),)))  # type: ignore[arg-type]
    assert said(here, first, RdataType.TXT) is None
    assert said(here, second, RdataType.TXT)
    ledger.time_ms = DAY_MS + EXPIRY_GRACE_MS - 1
    here.follow(None)
    assert said(here, second, RdataType.TXT)
    ledger.time_ms += 1
    here.follow(None)
    assert said(here, second, RdataType.TXT) is None
    here.follow(Committed((ledger.enrol(two, 3 * DAY_MS),)))  # type: ignore[arg-type]
    assert said(here, second, RdataType.TXT)


def test_a_node_that_moved_is_found_where_it_is() -> None:
    ledger, node = Ledger(), node_of(3)
    ledger.enrol(node)
    here = ledger.exported()
    here.read()
    own = f"{'03' * 8}.{APEX}"
    assert said(here, own, RdataType.SVCB) == []
    for port in (4433, 4434):
        ledger.locators[node] = place(node, port, "2001:db8::7")
        before = here.standing
        assert here.follow(None) is not before
        assert said(here, own, RdataType.SVCB) == [f'1 endpoint.{own}. alpn="hm/1" port="{port}"']
    assert here.follow(None) is here.standing
    assert said(here, f"_4433._udp.endpoint.{own}", RdataType.TLSA) is None


def test_two_nodes_may_share_an_ipv6_form() -> None:
    ledger = Ledger()
    one, two = b"\x09" * 6 + b"\x01" * 26, b"\x09" * 6 + b"\x02" * 26
    for node in (one, two):
        ledger.enrol(node)
    here = ledger.exported()
    standing = here.read()
    [pointer] = [each for each in standing.reverse.sets.values() if each.kind == RdataType.PTR]
    assert len(pointer.data) == 2
    here.follow(Committed((ledger.enrol(one, revoked=True),)))  # type: ignore[arg-type]
    [pointer] = [each for each in here.standing.reverse.sets.values() if each.kind == RdataType.PTR]
    assert len(pointer.data) == 1


@pytest.mark.parametrize("seed", range(5))
def test_what_was_followed_is_what_is_read_anew(seed: int) -> None:
    """The export changes by what events are about; a fresh one reads all of the state."""
    draw = random.Random(seed)  # noqa: S311
    ledger = Ledger()
    here = ledger.exported()
    here.read()
    nodes = [node_of(number) for number in range(1, 7)]
    nodes.append(nodes[0][:6] + b"\xee" * 26)
    for _ in range(60):
        node, what = draw.choice(nodes), draw.randrange(5)
        events: tuple[Event, ...] = ()
        if what == 0:
            end_ms = ledger.time_ms + draw.randrange(1, 3) * DAY_MS
            events = (ledger.enrol(node, end_ms, revoked=draw.random() < 0.2),)
        elif what in (1, 2):
            level = draw.choice(list(PrivacyLevel))
            events = (ledger.register(node, draw.randrange(1, 4), level),)
        elif what == 3:
            ledger.locators[node] = place(node, draw.randrange(1, 5), "2001:db8::1")
        else:
            ledger.time_ms += DAY_MS // 2
        followed = here.follow(Committed(events))  # type: ignore[arg-type]
        fresh = ledger.exported().read()
        assert followed == fresh


def test_labels_lead_to_what_a_stranger_may_see() -> None:
    ledger, node = Ledger(), node_of(4)
    ledger.enrol(node)
    ledger.register(node, 1, PrivacyLevel.FULL_PUBLIC)
    ledger.register(node, 2, PrivacyLevel.PRIVATE)
    here = ledger.exported()
    here.read()
    own = f"{'04' * 8}.{APEX}"
    public, private = id_of(node, 1), id_of(node, 2)
    for label, event in (
        ("desk", ledger.call("desk", node, None)),
        ("big", ledger.call("big", None, public)),
        ("hidden", ledger.call("hidden", None, private)),
        ("sold", ledger.call("sold", None, public, owner=b"x" * 32)),
    ):
        here.follow(Committed((event,)))  # type: ignore[arg-type]
        assert here.standing == ledger.exported().read(), label
    assert said(here, f"desk.{APEX}", RdataType.CNAME) == [f"{own}."]
    assert said(here, f"desk.{APEX}", RdataType.AAAA) == said(here, own, RdataType.AAAA)
    assert said(here, f"big.{APEX}", RdataType.TXT) == said(
        here, f"{public.hex()}.{own}", RdataType.TXT
    )
    assert said(here, f"hidden.{APEX}", RdataType.CNAME) is None
    assert said(here, f"sold.{APEX}", RdataType.CNAME) is None
    here.follow(Committed((ledger.register(node, 1, PrivacyLevel.P2P),)))  # type: ignore[arg-type]
    assert said(here, f"big.{APEX}", RdataType.CNAME) is None
    here.follow(Committed((ledger.uncall("desk", node),)))  # type: ignore[arg-type]
    assert said(here, f"desk.{APEX}", RdataType.CNAME) is None


def test_a_full_zone_keeps_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger()
    ledger.enrol(node_of(1))
    here = ledger.exported()
    standing = here.read()
    monkeypatch.setattr(export, "SETS_MAX", len(standing.forward.sets))
    event = ledger.enrol(node_of(2))
    with pytest.raises(ZoneFull):
        here.follow(Committed((event,)))  # type: ignore[arg-type]
    assert here.standing is standing
    monkeypatch.undo()
    assert here.read() == ledger.exported().read()
    assert said(here, f"{'02' * 8}.{APEX}", RdataType.TXT)


def test_serials_count_heights() -> None:
    assert [layout.serial(each) for each in (0, 1, 2**32, 2**32 + 5)] == [1, 1, 1, 5]


def test_the_export_sees_a_row_that_is_another() -> None:
    """What `followed == fresh` rests on: standings are compared by what they hold."""
    ledger = Ledger()
    ledger.enrol(node_of(1))
    standing = ledger.exported().read()
    key, held = next(iter(standing.forward.sets.items()))
    other = {**standing.forward.sets, key: msgspec.structs.replace(held, ttl=held.ttl + 1)}
    changed = type(standing.forward)(
        standing.forward.apex, standing.forward.start, standing.forward.serial, other
    )
    assert changed != standing.forward
