"""STOQ over bad networks: what arrives is what was sent, and connections say what limits them."""

from __future__ import annotations

import contextlib
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path as FilePath

import pytest
from benches.impairment import Relay

from hypermesh.crypto.digest import digest
from hypermesh.crypto.keys import QuantumKeys
from hypermesh.stoq.connection import Connection
from hypermesh.stoq.endpoint import Endpoint, LiveConnection
from hypermesh.stoq.path import BOUNDS, Path, PathSettings
from hypermesh.wire.errors import HyperMeshError
from hypermesh.wire.rpc import SERVICE_ECHO

from .network import DEADLINE_S, eventually

PATIENCE_S = 60
ACCOUNTED_US = 1_000_000
OWN_ADDRESS = "2001:db8::7"
ROOT = FilePath(__file__).resolve().parents[2]
CHUNK = bytes(64 << 10)
LOOPBACK_DATAGRAM_BYTES = 65_487


@contextmanager
def over(
    alice: Endpoint, bob: Endpoint, alice_keys: QuantumKeys, *lines: str
) -> Iterator[tuple[Connection, Relay]]:
    """A connection from bob to alice through a relay that does `lines`."""
    with (
        Relay(*alice.address, *lines) as relay,
        bob.connect(*relay.address, peer=alice_keys.id) as connection,
    ):
        yield connection, relay


def there_and_back(connection: Connection, data: bytes) -> bytes:
    """`data` through the echo of the other end."""
    stream = connection.open_stream(SERVICE_ECHO)

    def send() -> None:
        stream.write(data)
        stream.finish()

    sender = threading.Thread(target=send)
    sender.start()
    received = bytearray()
    while part := stream.read():
        received += part
    sender.join(PATIENCE_S)
    return bytes(received)


@contextmanager
def busy(connection: Connection) -> Iterator[None]:
    """Sends and reads without pause, and ends by closing the connection: what is under way then
    would take seconds to arrive."""
    stream = connection.open_stream(SERVICE_ECHO)

    def send() -> None:
        with contextlib.suppress(HyperMeshError):
            while True:
                stream.write(CHUNK)

    def read() -> None:
        with contextlib.suppress(HyperMeshError):
            while stream.read():
                pass

    threads = [threading.Thread(target=send), threading.Thread(target=read)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        connection.close()
        for thread in threads:
            thread.join(PATIENCE_S)
        assert not any(thread.is_alive() for thread in threads)


def of_bob(alice: Endpoint) -> LiveConnection:
    """The one connection that alice has."""
    (connection,) = alice.connections()
    return connection


def test_nothing_is_damaged_by_a_network_that_damages(
    alice: Endpoint, bob: Endpoint, alice_keys: QuantumKeys
) -> None:
    lines = ("corrupt 0.05", "reorder 0.05", "duplicate 0.05", "loss 0.05", "delay 2ms")
    data = secrets.token_bytes(16 << 20)
    with over(alice, bob, alice_keys, *lines) as (connection, relay):
        assert digest("test", there_and_back(connection, data)) == digest("test", data)
    counts = relay.report["up"]
    assert min(counts[what] for what in ("corrupted", "reordered", "duplicated", "lost")) > 0


def test_a_client_whose_nat_forgets_goes_on(
    alice: Endpoint, bob: Endpoint, alice_keys: QuantumKeys
) -> None:
    with over(alice, bob, alice_keys) as (connection, relay):
        assert there_and_back(connection, b"before") == b"before"
        before = of_bob(alice).remote
        relay.rebind()
        data = secrets.token_bytes(2 << 20)
        assert there_and_back(connection, data) == data
        assert of_bob(alice).remote != before
        assert connection.native.ended() is None


def test_a_black_hole_for_large_datagrams_is_left_behind(
    alice: Endpoint, bob: Endpoint, alice_keys: QuantumKeys
) -> None:
    data = secrets.token_bytes(2 << 20)
    with over(alice, bob, alice_keys) as (connection, relay):
        assert there_and_back(connection, data) == data
        large = connection.stats().datagram_bytes
        relay.set("mtu 1300")
        assert there_and_back(connection, data) == data
        assert connection.stats().datagram_bytes <= 1300 < large
    assert relay.report["up"]["too_large"] > 0


def test_a_black_hole_that_is_gone_is_not_believed_in_for_long(
    alice: Endpoint, bob: Endpoint, alice_keys: QuantumKeys
) -> None:
    data = secrets.token_bytes(2 << 20)
    with over(alice, bob, alice_keys) as (connection, relay):

        def large() -> bool | None:
            assert there_and_back(connection, CHUNK) == CHUNK
            return connection.stats().datagram_bytes == LOOPBACK_DATAGRAM_BYTES or None

        eventually(large, "the whole of the path", PATIENCE_S)
        relay.set("mtu 1300")
        assert there_and_back(connection, data) == data
        assert connection.stats().datagram_bytes <= 1300
        relay.set("mtu none")
        eventually(large, "the whole of the path again", PATIENCE_S)
        assert there_and_back(connection, data) == data


def test_datagrams_start_small_and_grow_to_what_loopback_takes(connection: Connection) -> None:
    def grown() -> bool | None:
        assert there_and_back(connection, CHUNK) == CHUNK
        return connection.stats().datagram_bytes == LOOPBACK_DATAGRAM_BYTES or None

    eventually(grown, "the whole of the path")


def test_a_path_may_carry_less_than_its_first_link(
    alice: Endpoint, bob: Endpoint, alice_keys: QuantumKeys
) -> None:
    """The route says 65,536 bytes, and what lies behind it takes no more than Ethernet, from the
    first packet on."""
    data = secrets.token_bytes(4 << 20)
    with over(alice, bob, alice_keys, "mtu 1452") as (connection, relay):
        assert there_and_back(connection, data) == data
        assert connection.stats().datagram_bytes <= 1452
    assert relay.report["up"]["too_large"] > 0


def test_a_faster_link_is_another_tier_and_says_why(
    alice: Endpoint, bob: Endpoint, alice_keys: QuantumKeys
) -> None:
    lines = ("delay 10ms", "rate 50M", "queue 1M", "mtu 1452")
    with over(alice, bob, alice_keys, *lines) as (connection, relay), busy(connection):

        def tier(wanted: str) -> str:
            def look() -> str | None:
                path = connection.why()
                return path.reason if path.tier == wanted else None

            return eventually(look, wanted, within_s=PATIENCE_S)

        assert tier("100 Mbit/s, high delay").startswith("delivers ")
        relay.set("rate 300M")
        assert tier("1 Gbit/s, high delay").startswith("delivers ")


def test_what_a_connection_waits_for(
    alice: Endpoint, bob: Endpoint, alice_keys: QuantumKeys
) -> None:
    lines = ("delay 10ms", "rate 100M", "queue 1M")
    with over(alice, bob, alice_keys, *lines) as (connection, relay):
        relay.set("mtu 1452")
        # Until the datagrams are as small as this network wants them.
        data = bytes(1 << 20)
        assert there_and_back(connection, data) == data
        eventually(lambda: connection.why().waits_for == "idle" or None, "it rests")
        rested = connection.why().waited_us
        with busy(connection):
            eventually(lambda: connection.why().waits_for == "path" or None, "it fills the path")
            before = connection.why().waited_us

            def accounted() -> tuple[Path, list[int]] | None:
                """A second of it, which the machine has not spent on others."""
                nonlocal before
                path = connection.why()
                spent = [now - then for now, then in zip(path.waited_us, before, strict=True)]
                if sum(spent) <= ACCOUNTED_US:
                    return None
                before = path.waited_us
                return (path, spent) if spent[BOUNDS.index("path")] > sum(spent) / 2 else None

            path, spent = eventually(accounted, "a second that it waited for the path", PATIENCE_S)
        assert spent[BOUNDS.index("path")] > sum(spent) / 2, spent
        assert path.waited_us[BOUNDS.index("idle")] >= rested[BOUNDS.index("idle")]
        assert set(path.shares) == set(BOUNDS)
        assert abs(sum(path.shares.values()) - 1) < 1e-6


def test_a_path_shows_what_was_made_of_it(
    alice: Endpoint, bob: Endpoint, alice_keys: QuantumKeys
) -> None:
    lines = ("delay 10ms", "rate 50M", "queue 1M")
    with over(alice, bob, alice_keys, *lines) as (connection, _):
        first = connection.why().settings
        assert min(first.window_bytes, first.ack_packets, first.batch_datagrams) > 0
        with busy(connection):

            def settled() -> PathSettings | None:
                path = connection.why()
                return path.settings if path.tier == "100 Mbit/s, high delay" else None

            made = eventually(settled, "a tier", within_s=PATIENCE_S)
        # Twice what is in flight at the rate of the class, and never less than it begins with.
        assert made.receive_window_bytes == made.send_window_bytes < first.receive_window_bytes
        assert made.pace > 0
        assert made.stream_window_bytes == first.stream_window_bytes


def test_marks_of_a_router_are_echoed_and_answered_with_a_smaller_window(
    alice: Endpoint, bob: Endpoint, alice_keys: QuantumKeys
) -> None:
    """Every datagram towards alice says that it met congestion (RFC 3168): bob hears it from her
    acknowledgements, and waits for that and not for a loss."""
    lines = ("delay 10ms", "rate 50M", "queue 1M", "mtu 1452")
    with over(alice, bob, alice_keys, *lines) as (connection, relay), busy(connection):

        def filled() -> int | None:
            """Once the path is known: the window that a connection begins with is none of it."""
            path = connection.why()
            known = path.tier == "100 Mbit/s, high delay" and path.waits_for == "path"
            return path.settings.window_bytes if known else None

        before = eventually(filled, "it fills the path", PATIENCE_S)
        relay.set("up mark 1")

        def yielding() -> Path | None:
            path = connection.why()
            smaller = path.settings.window_bytes < before * 3 // 4
            return path if smaller and path.waits_for == "loss" else None

        small = eventually(yielding, "a smaller window", PATIENCE_S).settings.window_bytes
        relay.set("up mark 0")
        eventually(
            lambda: connection.why().settings.window_bytes > small * 5 // 4 or None,
            "it grows again",
            PATIENCE_S,
        )
    assert relay.report["up"]["marked"] > 0


def test_both_ends_tell_of_one_connection(
    connection: Connection, alice: Endpoint, bob: Endpoint, bob_keys: QuantumKeys
) -> None:
    assert there_and_back(connection, b"x") == b"x"
    (theirs,), (ours,) = alice.connections(), bob.connections()
    assert (theirs.peer, theirs.opened) == (bob_keys.id, False)
    assert ours.opened
    assert ours.remote == alice.address
    assert ours.negotiated_group == theirs.negotiated_group == "X25519MLKEM768"
    assert ours.path is not None
    assert ours.path.tier == "loopback"
    assert alice.connections(after=theirs.key) == []
    connection.close()
    eventually(lambda: alice.connections() == [] or None, f"closed within {DEADLINE_S} s")


def test_a_peer_at_an_address_of_this_host_is_within_it() -> None:
    """Whatever the address looks like. In a network namespace of its own, which has it."""
    inside = f"""
        ip link set lo up && ip address add {OWN_ADDRESS}/128 dev lo nodad
        exec {sys.executable} -m tests.stoq.same_host {OWN_ADDRESS}
    """
    command = ["unshare", "--user", "--map-root-user", "--net", "sh", "-ec", inside]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    except FileNotFoundError:
        pytest.skip("there is no unshare(1)")
    if "unshare:" in done.stderr:
        pytest.skip(f"no namespace can be made: {done.stderr.strip()}")
    assert done.stdout == "loopback loopback\n", done.stderr
