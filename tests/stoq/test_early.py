"""Requests that go out with the first packets: what changes nothing, between acquainted peers.

Attacks on them are tested next to the code (`crates/stoq/src/hostile/early.rs`).
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest

from hypermesh.crypto.keys import QuantumKeys
from hypermesh.stoq import errors
from hypermesh.stoq.connection import Connection
from hypermesh.stoq.endpoint import Endpoint
from hypermesh.wire.rpc import ALPN_ENROL, SERVICE_CONTROL, SERVICE_ECHO

from .network import DEADLINE_S, HOUR_S, Network, eventually, refusal_of
from .service import serving
from .test_resumption import acquainted
from .wire import Wire, wire

T = TypeVar("T")


def early(path: Wire, alice: Endpoint, ask: Callable[[], T]) -> T:
    """What `ask` gives, where nothing comes back to it before alice has served it. On loopback a
    handshake is faster than the signature of a first flight."""
    served = alice.stats().early
    path.answers.clear()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask)
        try:
            eventually(lambda: alice.stats().early > served or None, "an early answer")
        finally:
            path.answers.set()
        return asked.result(DEADLINE_S)


def test_strangers_ask_after_the_handshake_and_acquaintances_with_it(
    alice: Endpoint, bob: Endpoint, alice_keys: QuantumKeys
) -> None:
    with wire(alice.address) as path:

        def ask() -> tuple[Connection, bytes]:
            return bob.connect_and_request(
                *path.address, SERVICE_ECHO, b"hello", peer=alice_keys.id
            )

        for known in (False, True, True):
            connection, answer = early(path, alice, ask) if known else ask()
            with connection:
                assert answer == b"hello"
                assert connection.early is known
                assert connection.resumed is known
                assert connection.peer_id == alice_keys.id
                assert connection.request(SERVICE_ECHO, b"more") == b"more"
                eventually(lambda: bob.stats().tickets_held or None, "a ticket")
    assert (alice.stats().accepted, alice.stats().early) == (3, 2)


def test_a_read_of_memory_is_early(alice: Endpoint, bob: Endpoint, bob_keys: QuantumKeys) -> None:
    region, content = secrets.token_bytes(16), secrets.token_bytes(5000)
    alice.regions.create(region, len(content))
    alice.regions.grant(
        region,
        bob_keys.id,
        offset=0,
        length=len(content),
        can_write=True,
        expires_unix_ms=int(time.time() + HOUR_S) * 1000,
        epoch=1,
    )
    with wire(alice.address) as path:
        with bob.connect(*path.address) as first:
            first.region(region, 1).write(0, content)
            eventually(lambda: bob.stats().tickets_held or None, "a ticket")
        connection, read = early(
            path, alice, lambda: bob.connect_and_read(*path.address, region, 1, slice(7, 4321))
        )
        with connection:
            assert connection.early
            assert read == content[7:4321]


def test_what_may_change_something_is_asked_after_the_handshake(
    alice: Endpoint, bob: Endpoint
) -> None:
    acquainted(bob, alice)
    with serving(alice, lambda request: request.reply(b"done")):
        connection, answer = bob.connect_and_request(*alice.address, SERVICE_CONTROL, b"do")
    with connection:
        assert answer == b"done"
        assert not connection.early
        assert connection.resumed
    assert alice.stats().early == 0


def test_a_server_that_has_forgotten_is_asked_again(
    network: Network, alice: Endpoint, bob: Endpoint, alice_keys: QuantumKeys
) -> None:
    acquainted(bob, alice)
    alice.set_identity(network.identity(alice_keys))
    connection, answer = bob.connect_and_request(*alice.address, SERVICE_ECHO, b"x")
    with connection:
        assert answer == b"x"
        assert not connection.early
        assert not connection.resumed
    assert alice.stats().early == 0


def test_a_revoked_peer_is_refused_whatever_it_asks(
    network: Network, alice: Endpoint, bob: Endpoint, bob_keys: QuantumKeys
) -> None:
    acquainted(bob, alice)
    alice.set_policy(network.policy.with_revoked([bob_keys.id]))
    with pytest.raises(errors.PeerRevoked):
        bob.connect_and_request(*alice.address, SERVICE_ECHO, b"x")
    assert isinstance(refusal_of(alice).error, errors.PeerRevoked)
    assert alice.stats().early == 0


def test_a_stranger_never_asks_early(network: Network, alice: Endpoint) -> None:
    with Endpoint.bind(policy=network.policy, identity=None) as stranger:
        for _ in range(2):
            with serving(alice, lambda _request: None), pytest.raises(errors.Unanswered):
                stranger.connect_and_request(*alice.address, SERVICE_ECHO, b"x", alpn=ALPN_ENROL)
    assert alice.stats().early == 0
