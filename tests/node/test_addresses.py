"""Which addresses a node publishes, and how others choose among them."""

from __future__ import annotations

import pytest

from hypermesh.node.addresses import HOSTS_MAX, published
from hypermesh.node.dialling import dial
from hypermesh.stoq.errors import HandshakeTimeout, PeerRevoked, WrongPeer
from hypermesh.wire.asset import Locator
from hypermesh.wire.errors import HyperMeshError

LINES = {
    "::1": "00000000000000000000000000000001 01 80 10 80 lo",
    "fe80::1": "fe800000000000000000000000000001 02 40 20 80 eth0",
    "fd00:1::2": "fd000001000000000000000000000002 02 40 00 80 eth0",
    "2a00:1::3": "2a000001000000000000000000000003 02 40 00 80 eth0",
    "2a00:1::4, temporary": "2a000001000000000000000000000004 02 40 00 01 eth0",
    "2a00:1::5, deprecated": "2a000001000000000000000000000005 02 40 00 a0 eth0",
    "2a00:1::6, tentative": "2a000001000000000000000000000006 02 40 00 c0 eth0",
    "2a00:1::7, failed": "2a000001000000000000000000000007 02 40 00 88 eth0",
}


def test_lasting_addresses_the_most_widely_reachable_first() -> None:
    assert published("::", "\n".join(LINES.values())) == ["2a00:1::3", "fd00:1::2", "::1"]


def test_a_machine_without_a_network_is_on_loopback() -> None:
    assert published("::", LINES["::1"]) == ["::1"]
    assert published("::", "") == ["::1"]


def test_what_the_operator_says_is_all_there_is() -> None:
    assert published("fd00:9::9", "\n".join(LINES.values())) == ["fd00:9::9"]


def test_no_more_addresses_than_a_locator_holds() -> None:
    lines = [f"2a0000010000000000000000000000{n:02x} 02 40 00 80 eth{n}" for n in range(16, 32)]
    hosts = published("::", "\n".join(lines))
    assert len(hosts) == HOSTS_MAX
    assert hosts[-1] == "::1"


class Places:
    """An endpoint for which each address does what the table says."""

    def __init__(self, answers: dict[str, HyperMeshError | None]) -> None:
        self.answers = answers
        self.tried: list[str] = []

    def connect(self, host: str, *_: object, **__: object) -> object:
        self.tried.append(host)
        if (refusal := self.answers[host]) is not None:
            raise refusal
        return host


def locator(*hosts: str) -> Locator:
    return Locator(bytes(32), list(hosts), 1, 1, 1)


def test_the_first_address_that_answers_is_tried_first_next_time() -> None:
    places = Places({"a1": HandshakeTimeout(), "b2": None, "c3": None})
    connection, found = dial(places, locator("a1", "b2", "c3"), "hm/1")  # type: ignore[arg-type]
    assert (connection, found.hosts) == ("b2", ["b2", "a1", "c3"])
    dial(places, found, "hm/1")  # type: ignore[arg-type]
    assert places.tried == ["a1", "b2", "b2"]


@pytest.mark.parametrize(
    ("first", "second", "raised"),
    [
        (HandshakeTimeout(), WrongPeer(), HandshakeTimeout),
        (HandshakeTimeout(), PeerRevoked(), PeerRevoked),
        (PeerRevoked(), HandshakeTimeout(), PeerRevoked),
    ],
)
def test_the_failure_that_is_told_is_the_node_s_own(
    first: HyperMeshError, second: HyperMeshError, raised: type[HyperMeshError]
) -> None:
    places = Places({"a1": first, "b2": second})
    with pytest.raises(raised):
        dial(places, locator("a1", "b2"), "hm/1")  # type: ignore[arg-type]
