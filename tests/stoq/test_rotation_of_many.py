"""All identities of a network renewed while everybody talks: nothing is dropped, nothing refused.

Each identity has an endpoint of its own and a connection to the next one, in a ring. They are
certified and renewed by the network's authority; at last its issuing CA is replaced as well.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from hypermesh.crypto.keys import QuantumKeys
from hypermesh.crypto.keystore import KeyStore
from hypermesh.stoq.connection import Connection
from hypermesh.stoq.endpoint import Endpoint
from hypermesh.stoq.errors import UnknownIssuer
from hypermesh.stoq.trust import Identity, TrustPolicy
from hypermesh.trustchain.ca.authority import (
    RENEWAL_AGE_MIN_S,
    CertificateAuthority,
    CertificateOrder,
)
from hypermesh.wire.errors import HyperMeshError
from hypermesh.wire.rpc import SERVICE_ECHO

GENESIS, OWNER = bytes(range(32)), bytes(32)
TALKERS = 2
TIMEOUT_MS = 60_000


class Ring:
    """`count` identities; of one authority, with one endpoint and one connection each."""

    def __init__(self, directory: Path, count: int, stack: ExitStack) -> None:
        self.now_s = int(time.time())
        keys = KeyStore(directory / "keys")
        self.authority = CertificateAuthority.found(
            directory, keys, "ring", self.now_s - 2 * RENEWAL_AGE_MIN_S
        )
        stack.callback(self.authority.close)
        with ThreadPoolExecutor(2) as pool:
            self.keys = [
                each.result() for each in [pool.submit(QuantumKeys.generate) for _ in range(count)]
            ]
        first_s = self.now_s - RENEWAL_AGE_MIN_S - 1
        self.certificates = [
            self.authority.certify(
                CertificateOrder(each.id, GENESIS, each.public, OWNER), first_s
            ).certificate
            for each in self.keys
        ]
        policy = self.policy(self.authority.issuing)
        self.endpoints = [
            stack.enter_context(Endpoint.bind("::1", policy=policy, identity=self._identity(place)))
            for place in range(count)
        ]
        self.connections = [
            stack.enter_context(self.dial(place, (place + 1) % count)) for place in range(count)
        ]

    def policy(self, *issuers: bytes) -> TrustPolicy:
        return TrustPolicy(network=GENESIS, roots=[self.authority.root], issuers=issuers)

    def dial(self, source: int, target: int) -> Connection:
        address = self.endpoints[target].address
        return self.endpoints[source].connect(
            *address, peer=self.keys[target].id, timeout_ms=TIMEOUT_MS
        )

    def renew(self, place: int) -> None:
        """Another certificate for one identity, set on its live endpoint."""
        issued = self.authority.renew(self.keys[place].public, GENESIS, self.now_s)
        assert issued.certificate != self.certificates[place]
        self.certificates[place] = issued.certificate
        self.endpoints[place].set_identity(self._identity(place))

    def obey(self, *issuers: bytes) -> None:
        policy = self.policy(*issuers)
        for endpoint in self.endpoints:
            endpoint.set_policy(policy)

    def _identity(self, place: int) -> Identity:
        chain = [self.certificates[place], self.authority.issuing, self.authority.root]
        return Identity(chain, self.keys[place])


class Talk:
    """Requests on every connection of a ring, over and over; the first failure ends it."""

    def __init__(self, ring: Ring) -> None:
        self.failures: list[BaseException] = []
        self.answered = 0
        self._ring = ring
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._talk, args=(first,)) for first in range(TALKERS)
        ]

    def _talk(self, first: int) -> None:
        while not self._stop.is_set():
            for connection in self._ring.connections[first::TALKERS]:
                try:
                    answer = connection.request(SERVICE_ECHO, b"still", timeout_ms=TIMEOUT_MS)
                    assert answer == b"still"
                except (HyperMeshError, AssertionError) as error:
                    self.failures.append(error)
                    return
                self.answered += 1
                if self._stop.is_set():
                    return

    def __enter__(self) -> Talk:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(2 * TIMEOUT_MS / 1000)

    def await_more(self) -> None:
        """Until there was traffic since."""
        before = self.answered
        while self.answered == before and not self.failures:
            self._stop.wait(0.001)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.mark.parametrize(
    "count",
    [
        pytest.param(24, id="24"),
        pytest.param(1000, id="1000", marks=[pytest.mark.long, pytest.mark.timeout(1800)]),
    ],
)
def test_every_identity_is_renewed_and_no_connection_is_dropped(
    tmp_path: Path, stack: ExitStack, count: int
) -> None:
    ring = Ring(tmp_path, count, stack)
    first = ring.authority.issuing
    handshakes = count
    with Talk(ring) as talk:
        talk.await_more()
        for place in range(count):
            ring.renew(place)
            # Who comes new meets the new certificate, in the midst of the traffic.
            with ring.dial((place + count // 2) % count, place) as newcomer:
                assert newcomer.request(SERVICE_ECHO, b"new", timeout_ms=TIMEOUT_MS) == b"new"
            handshakes += 1
            if place % 8 == 0:
                talk.await_more()

        # The issuing CA is replaced: both are believed while everybody renews once more.
        second = ring.authority.prepare_issuing("ring", ring.now_s)
        ring.obey(second, first)
        ring.authority.use_issuing(second)
        for place in range(count):
            ring.renew(place)
            if place % 8 == 0:
                talk.await_more()
        ring.obey(second)
        for place in range(0, count, 8):
            with ring.dial((place + count // 2) % count, place) as newcomer:
                assert newcomer.request(SERVICE_ECHO, b"new", timeout_ms=TIMEOUT_MS) == b"new"
            handshakes += 1
        talk.await_more()
    assert talk.failures == []
    assert [each.ended for each in ring.connections if each.ended is not None] == []
    for connection in ring.connections:
        assert connection.request(SERVICE_ECHO, b"still", timeout_ms=TIMEOUT_MS) == b"still"
    stats = [endpoint.stats() for endpoint in ring.endpoints]
    assert sum(each.refused for each in stats) == 0
    assert sum(each.accepted for each in stats) == handshakes


def test_an_identity_that_is_left_out_is_noticed(tmp_path: Path, stack: ExitStack) -> None:
    """The ring would show it: who has the old issuer's certificate is refused after the grace."""
    ring = Ring(tmp_path, 3, stack)
    old = ring.authority.issuing
    second = ring.authority.prepare_issuing("ring", ring.now_s)
    ring.authority.use_issuing(second)
    ring.renew(0)
    ring.renew(1)
    ring.obey(second)
    with ring.dial(0, 1) as connection:
        assert connection.request(SERVICE_ECHO, b"x") == b"x"
    with pytest.raises(UnknownIssuer):
        ring.dial(0, 2)
    # With its keys alone nobody makes up for it: the chain is of the issuer that signed.
    chain = [ring.certificates[2], second, ring.authority.root]
    ring.endpoints[2].set_identity(Identity(chain, ring.keys[2]))
    with pytest.raises(HyperMeshError):
        ring.dial(0, 2)
    ring.obey(second, old)
    ring.renew(2)
    ring.obey(second)
    with ring.dial(0, 2) as connection:
        assert connection.request(SERVICE_ECHO, b"x") == b"x"
