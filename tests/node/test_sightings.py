"""What other hosts show: asked side by side, once a revision, and not again while silent."""

from __future__ import annotations

import threading
from typing import Any

import msgspec
import pytest

from hypermesh.assets import address
from hypermesh.node import sightings
from hypermesh.node.sightings import Sightings
from hypermesh.wire.asset import (
    Asset,
    AssetKind,
    AssetState,
    Descriptor,
    Enforcement,
    PrivacyLevel,
)
from hypermesh.wire.errors import Forbidden, Unreachable
from hypermesh.wire.rpc import AssetView, DescribeRequest

WAIT_S = 10.0
SALT = b"s" * 16
DESCRIPTOR = Descriptor(AssetKind.MEMORY, 100, Enforcement.ALLOCATION, [])


def asset(host: int, revision: int = 0) -> Asset:
    return Asset(
        owner=b"o" * 32,
        host=bytes([host]) * 32,
        kind=AssetKind.MEMORY,
        level=PrivacyLevel.P2P,
        state=AssetState.AVAILABLE,
        commitment=address.commitment(SALT, DESCRIPTOR),
        audience_hash=b"a" * 32,
        descriptor=None,
        salt=b"",
        price=None,
        concurrent_max=1,
        slot=1,
        revision=revision,
        epoch=0,
        leases=0,
        committed=0,
        registered_ms=0,
    )


class Hosts:
    """Other nodes: each says what it is told to, and what it was asked is written down."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.refusing: set[bytes] = set()
        self.silent: set[bytes] = set()
        self.lies: dict[str, object] = {}
        self.meeting: threading.Barrier | None = None

    def call(self, host: bytes, _method: str, request: DescribeRequest, *_: Any, **__: Any) -> Any:
        self.asked.append(host)
        if self.meeting is not None:
            self.meeting.wait(WAIT_S)
        if host in self.refusing:
            raise Forbidden
        if host in self.silent:
            raise Unreachable
        row = asset(host[0])
        view = AssetView(
            request.asset, row.owner, host, row.kind, row.level, row.state, DESCRIPTOR,
            False, 7, 10_000, "", SALT,
        )  # fmt: skip
        return msgspec.structs.replace(view, **self.lies)


@pytest.fixture
def hosts() -> Hosts:
    return Hosts()


@pytest.fixture
def seen(hosts: Hosts) -> Sightings:
    return Sightings(hosts)  # type: ignore[arg-type]


def pair(number: int, host: int, revision: int = 0) -> tuple[bytes, Asset]:
    return bytes([number]) * 16, asset(host, revision)


def test_hosts_are_asked_side_by_side(hosts: Hosts, seen: Sightings) -> None:
    """Each answers only when all have been asked: one after another would break the barrier."""
    hosts.meeting = threading.Barrier(5)
    found = seen.views([pair(number, number) for number in range(1, 6)])
    assert len(found) == 5


def test_no_more_hosts_are_asked_at_once_than_the_bound(
    hosts: Hosts, seen: Sightings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sightings, "HOSTS_AT_ONCE", 2)
    busy, most, lock = 0, 0, threading.Lock()
    real = hosts.call

    def counted(*arguments: Any, **named: Any) -> Any:
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        try:
            return real(*arguments, **named)
        finally:
            with lock:
                busy -= 1

    monkeypatch.setattr(hosts, "call", counted)
    assert len(seen.views([pair(number, number) for number in range(1, 9)])) == 8
    assert most <= 2


def test_an_answer_holds_for_a_revision_yes_or_no(hosts: Hosts, seen: Sightings) -> None:
    hosts.refusing.add(bytes([2]) * 32)
    for _ in range(3):
        assert set(seen.views([pair(1, 1), pair(2, 2)])) == {bytes([1]) * 16}
    assert sorted(hosts.asked) == [bytes([1]) * 32, bytes([2]) * 32]
    assert seen.remembered(*pair(1, 1)) == DESCRIPTOR
    assert seen.remembered(*pair(2, 2)) is None
    assert seen.remembered(*pair(1, 1, revision=1)) is None
    hosts.refusing.clear()
    assert set(seen.views([pair(2, 2, revision=1)])) == {bytes([2]) * 16}


@pytest.mark.parametrize(
    "lie",
    [
        {"descriptor": Descriptor(AssetKind.MEMORY, 1 << 40, Enforcement.ALLOCATION, [])},
        {"salt": b"t" * 16},
        {"asset": b"another asset..."},
    ],
)
def test_what_the_ledger_refutes_is_not_shown(
    hosts: Hosts, seen: Sightings, lie: dict[str, object]
) -> None:
    """Whoever buys or leases below FullPublic has only the host's word and the commitment."""
    hosts.lies = lie
    assert seen.views([pair(1, 1)]) == {}
    assert seen.remembered(*pair(1, 1)) is None


def test_a_silent_host_is_asked_once_for_all_its_assets_and_left_alone(
    hosts: Hosts, seen: Sightings, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts.silent.add(bytes([3]) * 32)
    wanted = [pair(number, 3) for number in range(1, 9)] + [pair(9, 1)]
    assert set(seen.views(wanted)) == {bytes([9]) * 16}
    assert hosts.asked.count(bytes([3]) * 32) == 1
    seen.views(wanted)
    assert hosts.asked.count(bytes([3]) * 32) == 1
    hosts.silent.clear()
    monkeypatch.setattr(sightings.time, "monotonic", lambda: 10**9)
    assert len(seen.views(wanted)) == 9
