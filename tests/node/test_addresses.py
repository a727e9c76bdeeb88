"""Which addresses a node publishes, and how others choose among them."""

from __future__ import annotations

import pytest

from hypermesh.node.addresses import HOSTS_MAX, dialable, published
from hypermesh.node.dialling import dial
from hypermesh.stoq.errors import HandshakeTimeout, PeerRevoked, WrongPeer
from hypermesh.stoq.stack import Stack
from hypermesh.wire.asset import Locator
from hypermesh.wire.errors import HyperMeshError, Unreachable

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

    def __init__(
        self, answers: dict[str, HyperMeshError | None], stack: Stack = Stack.IPV6
    ) -> None:
        self.answers = answers
        self.stack = stack
        self.tried: list[str] = []

    def connect(self, host: str, *_: object, **__: object) -> object:
        self.tried.append(host)
        if (refusal := self.answers[host]) is not None:
            raise refusal
        return host


def locator(*hosts: str) -> Locator:
    return Locator(bytes(32), list(hosts), 1, 1, 1)


def test_the_first_address_that_answers_is_tried_first_next_time() -> None:
    places = Places({"fd00::a1": HandshakeTimeout(), "fd00::b2": None, "fd00::c3": None})
    connection, found = dial(places, locator("fd00::a1", "fd00::b2", "fd00::c3"), "hm/1")  # type: ignore[arg-type]
    assert (connection, found.hosts) == ("fd00::b2", ["fd00::b2", "fd00::a1", "fd00::c3"])
    dial(places, found, "hm/1")  # type: ignore[arg-type]
    assert places.tried == ["fd00::a1", "fd00::b2", "fd00::b2"]


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
    places = Places({"fd00::a1": first, "fd00::b2": second})
    with pytest.raises(raised):
        dial(places, locator("fd00::a1", "fd00::b2"), "hm/1")  # type: ignore[arg-type]


STRANGE = [
    "victim.example",
    "localhost",
    "ff02::1",
    "ff0e::1",
    "::",
    "::ffff:192.0.2.1",
    "fe80::1",
    "fe80::1%eth0",
    "192.0.2.1",
    "2a00:1::3 ",
    "",
]
"""What a node may write into its locator and no other is to send anything to: a name would be
looked up, a group answers many times, and the rest is not one machine on IPv6."""


@pytest.mark.parametrize("host", STRANGE)
def test_only_plain_addresses_of_one_machine_are_dialled(host: str) -> None:
    assert not dialable([host])
    places = Places({"fd00::b2": None})
    connection, found = dial(places, locator(host, "fd00::b2"), "hm/1")  # type: ignore[arg-type]
    assert (connection, found.hosts) == ("fd00::b2", ["fd00::b2"])
    with pytest.raises(Unreachable):
        dial(places, locator(host), "hm/1")  # type: ignore[arg-type]
    assert places.tried == ["fd00::b2"]


def test_what_a_node_publishes_may_be_dialled() -> None:
    hosts = published("::", "\n".join(LINES.values()))
    assert dialable(hosts) == hosts


def test_an_address_is_tried_once_however_often_it_is_named() -> None:
    places = Places({"fd00::a1": HandshakeTimeout()})
    named = locator("fd00::a1", "fd00:0::a1", "FD00::A1", "fd00::a1")
    with pytest.raises(HandshakeTimeout):
        dial(places, named, "hm/1")  # type: ignore[arg-type]
    assert places.tried == ["fd00::a1"]


FIB_TRIE = """\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 127.0.0.0/8 2 0 2
        |-- 127.0.0.1
           /32 host LOCAL
     +-- 10.1.0.0/16 2 0 2
        |-- 10.1.0.0
           /16 link UNICAST
        |-- 10.1.2.3
           /32 host LOCAL
        |-- 10.1.255.255
           /32 link BROADCAST
     |-- 169.254.7.7
        /32 host LOCAL
Local:
  |-- 10.1.2.3
     /32 host LOCAL
"""
PUBLIC = "  |-- 9.9.9.9\n     /32 host LOCAL\n"


def test_a_dual_stack_is_at_its_first_ipv4_address_too() -> None:
    lines = "\n".join(LINES.values())
    hosts = published("::", lines, FIB_TRIE)
    assert hosts == ["2a00:1::3", "fd00:1::2", "::ffff:10.1.2.3", "::1"]
    assert published("::", "", FIB_TRIE + PUBLIC) == ["::ffff:9.9.9.9", "::1"]
    assert published("fd00:9::9", lines, FIB_TRIE) == ["fd00:9::9"]
    many = [f"2a0000010000000000000000000000{n:02x} 02 40 00 80 eth{n}" for n in range(16, 32)]
    full = published("::", "\n".join(many), FIB_TRIE)
    assert (len(full), full[-2:]) == (HOSTS_MAX, ["::ffff:10.1.2.3", "::1"])
    assert dialable(hosts, Stack.DUAL) == hosts
    assert dialable(hosts) == ["2a00:1::3", "fd00:1::2", "::1"]


@pytest.mark.parametrize(
    "host",
    [
        *(each for each in STRANGE if each != "::ffff:192.0.2.1"),
        "::ffff:127.0.0.1",
        "::ffff:0.0.0.0",
        "::ffff:0.1.2.3",
        "::ffff:169.254.169.254",
        "::ffff:224.0.0.1",
        "::ffff:255.255.255.255",
        "::ffff:240.0.0.1",
    ],
)
def test_a_dual_stack_dials_no_other_address_than_of_one_machine(host: str) -> None:
    assert not dialable([host], Stack.DUAL)


def test_an_ipv4_address_is_dialled_by_a_dual_stack_alone_and_once() -> None:
    named = locator("::ffff:192.0.2.1", "::ffff:c000:201", "fd00::b2")
    dual = Places({"::ffff:192.0.2.1": HandshakeTimeout(), "fd00::b2": None}, Stack.DUAL)
    dial(dual, named, "hm/1")  # type: ignore[arg-type]
    assert dual.tried == ["::ffff:192.0.2.1", "fd00::b2"]
    places = Places({"fd00::b2": None})
    dial(places, named, "hm/1")  # type: ignore[arg-type]
    assert places.tried == ["fd00::b2"]
