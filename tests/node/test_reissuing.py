"""A compromised issuing CA, replaced by one command in a network of real nodes under traffic.

The tests follow one another: the second ends the grace of what the first began with.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_private_key

from hypermesh.assets.receipt_check import verify_receipt
from hypermesh.crypto.falcon import FalconKey
from hypermesh.crypto.keys import QuantumKeys
from hypermesh.crypto.keystore import KeyStore
from hypermesh.ledger.identity import EnrolmentRefused, IssuerForbidden, IssuerRefused
from hypermesh.node.authority_logs import IssuerAct
from hypermesh.sdk.mesh import Mesh
from hypermesh.sdk.region import _issuers
from hypermesh.stoq.connection import Connection
from hypermesh.stoq.endpoint import Endpoint
from hypermesh.stoq.errors import UnknownIssuer
from hypermesh.stoq.trust import Identity
from hypermesh.trustchain.ca.authority import CLOCK_SKEW_S, NODE_LIFETIME_S, StoredAuthority
from hypermesh.trustchain.certificate import (
    Authority,
    AuthorityKeys,
    Validity,
    node_certificate,
    serial_number,
)
from hypermesh.trustchain.verify import fingerprint
from hypermesh.wire.address import GlobalAddress
from hypermesh.wire.api.lease import TrustView
from hypermesh.wire.asset import AssetKind
from hypermesh.wire.codec import decode
from hypermesh.wire.errors import HyperMeshError, NotAvailable, NotFound
from hypermesh.wire.rpc import ALPN_NODE, SERVICE_ECHO
from hypermesh.wire.tx import BankTransfer, IdentityEnrol, IdentityReplaceIssuer

from .acts import acts
from .network import Network, Node, dial, eventually, hm, output, stoq

NAMES = ("alice", "bob")


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """Carol is down while all of this happens."""
    network = Network(tmp_path_factory.mktemp("i"))
    try:
        network.found("bob", "carol")
        network.carol.stop()
        yield network
    finally:
        network.end()


def replacements(founder: Node) -> list[str]:
    """The issuing CAs that the log of acts tells of, by their SHA-256."""
    documents = (each.document for each in acts(founder) if each.kind == IssuerAct.kind)
    return [decode(IssuerAct, each).certificate_sha256.hex() for each in documents]


class Thief:
    """Who has the key of the first issuing CA, and makes nodes with it."""

    def __init__(self, network: Network) -> None:
        membership = network.alice.membership
        stored = decode(StoredAuthority, KeyStore(network.alice.data / "keys").get("ca-issuing"))
        outer = load_der_private_key(stored.outer, None)
        assert isinstance(outer, ec.EllipticCurvePrivateKey)
        self._keys = AuthorityKeys(outer, FalconKey.from_secret_bytes(stored.inner))
        self._membership = membership
        self._owner = network.alice.membership.owner

    def node(self) -> tuple[QuantumKeys, list[bytes]]:
        keys, now_s = QuantumKeys.generate(), int(time.time())
        genesis = self._membership.genesis
        issuing = Authority(genesis.issuing_certificate, self._keys)
        validity = Validity(now_s - CLOCK_SKEW_S, now_s + NODE_LIFETIME_S)
        leaf = node_certificate(
            keys.public,
            self._owner,
            self._membership.genesis_id,
            issuing,
            validity,
            serial_number(b"t" * 19),
        )
        return keys, [leaf, genesis.issuing_certificate, genesis.root_certificate]


class Traffic:
    """Requests on connections until it is stopped; what failed of them."""

    def __init__(self, connections: list[Connection]) -> None:
        self.connections = connections
        self.answered = 0
        self.failures: list[HyperMeshError] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._talk)
        self._thread.start()

    def _talk(self) -> None:
        while not self._stop.is_set():
            for connection in self.connections:
                try:
                    assert connection.request(SERVICE_ECHO, b"still", timeout_ms=30_000) == b"still"
                except HyperMeshError as error:
                    self.failures.append(error)
                    return
                self.answered += 1

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive()


def links(node: Node, others: set[str]) -> set[int]:
    """The connections of a node with those nodes."""
    with node.mesh() as mesh:
        return {
            each.key
            for each in mesh.stoq.connections()
            if each.alpn == ALPN_NODE and each.node in others
        }


def is_by(network: Network, name: str, issuing: str) -> bool:
    """Whether the node has a certificate of the issuing CA, which the ledger knows it by."""
    membership = network[name].membership
    if fingerprint(membership.chain[1]).hex() != issuing:
        return False
    with network[name].mesh() as mesh:
        try:
            found = mesh.certificates.get(fingerprint(membership.chain[0]).hex())
        except NotFound:
            # It is on its disk a moment before the process shows it.
            return False
    return found.certificate.current


def test_nobody_but_the_founder_replaces_it(network: Network) -> None:
    with network.bob.mesh() as mesh, pytest.raises(NotAvailable, match="founder"):
        mesh.certificates.replace_issuer("mine now", 0)
    issuing = network.bob.membership.chain[1]
    body = IdentityReplaceIssuer(issuing, 0, "mine now")
    for signer in (network.bob.owner_keys, network.alice.membership.keys):
        assert network.bob.submit(body, signer).code == IssuerForbidden.code
    assert network.alice.submit(body, network.alice.owner_keys).code == IssuerRefused.code
    declined = hm(
        "cert", "rotate-issuer", "--reason", "stolen", data=network.alice.data, stdin=b"n\n"
    )
    assert declined.returncode != 0


def test_nodes_renew_at_once_and_no_connection_is_dropped(network: Network) -> None:
    alice, bob = network.alice, network.bob
    first = fingerprint(alice.membership.chain[1]).hex()
    others = {network[name].id.hex() for name in NAMES}
    before = {name: links(network[name], others) for name in NAMES}
    memory = alice.asset(AssetKind.MEMORY).address
    with (
        stoq(bob.membership) as endpoint,
        bob.mesh() as mesh,
        mesh.memory.lease("64KiB", address=memory) as region,
    ):
        region[0:5] = b"hello"
        traffic = Traffic([dial(endpoint, alice) for _ in range(20)])
        try:
            eventually(lambda: traffic.answered > 100 or traffic.failures, "traffic")
            # Of two that were made at the same time one is closed; what is left here stays.
            before = {name: before[name] & links(network[name], others) for name in NAMES}
            assert all(before.values())
            words = ("cert", "rotate-issuer", "--reason", "its key was copied", "--yes")
            done = output(hm(*words, "--grace", "1h", "--output", "json", data=alice.data))
            issuing = done["sha256"]
            assert issuing != first
            for name in NAMES:
                eventually(lambda: is_by(network, name, issuing), f"{name} renews", 60)  # noqa: B023
            eventually(lambda: issuing in replacements(alice), "it is in the log of acts")
            answered = traffic.answered
            eventually(
                lambda: traffic.answered > answered + 100 or traffic.failures, "traffic goes on"
            )
        finally:
            traffic.stop()
        assert traffic.failures == []
        assert all(connection.ended is None for connection in traffic.connections)
        assert bytes(region[0:5]) == b"hello"
        for name in NAMES:
            assert before[name] <= links(network[name], others)
    # The receipt has signers from before and after, and each with the issuer that it had.
    with bob.mesh() as mesh:
        receipt = mesh.receipts.get(region.lease.lease)
    assert verify_receipt(receipt).ok
    parties = [each.party for each in receipt.proofs]
    assert [party.issuing is None for party in parties] == [True, True, False]
    # And with the new one there are new connections.
    with stoq(bob.membership) as endpoint, dial(endpoint, alice) as connection:
        assert connection.request(SERVICE_ECHO, b"x") == b"x"
    assert bob.submit(BankTransfer(alice.membership.owner, 1, "")).code == "ok"
    with alice.mesh() as mesh:
        block = next(block for block in mesh.ledger.blocks() if block.height == done["height"])
        seen = mesh.certificates.authority()
    assert (seen.issuing_sha256, seen.replaced, seen.here) == (issuing, 1, True)
    assert seen.believed_until_ms == done["believed_until_ms"]
    assert "replaces the network's issuing CA: its key was copied" in block.operations[-1].words


def test_the_grace_lets_the_old_ones_in_and_enrols_nobody(network: Network) -> None:
    keys, chain = Thief(network).node()
    policy = network.bob.membership.policy(frozenset())
    identity = Identity(chain, keys)
    with (
        Endpoint.bind("::1", policy=policy, identity=identity) as endpoint,
        dial(endpoint, network.alice) as connection,
    ):
        assert connection.request(SERVICE_ECHO, b"x") == b"x"
    with pytest.raises(EnrolmentRefused):
        network.bob.submit(IdentityEnrol(chain[0]), keys)


def test_after_the_grace_the_one_before_is_worth_nothing(network: Network) -> None:
    alice = network.alice
    second = fingerprint(alice.membership.chain[1]).hex()
    keys, chain = Thief(network).node()
    policy = network.bob.membership.policy(frozenset())
    with Endpoint.bind("::1", policy=policy, identity=Identity(chain, keys)) as endpoint:
        connection = dial(endpoint, alice)
        # A second replacement, with a short grace, ends that of the first as well.
        with alice.mesh() as mesh:
            done = mesh.certificates.replace_issuer("again", 1_000)
        eventually(lambda: connection.ended, "the thief's connection is cut", 60)
        # This end believes alice's new certificate, so that it is alice who refuses.
        eventually(lambda: is_by(network, "alice", done.sha256), "alice renews", 60)
        endpoint.set_policy(alice.membership.policy(frozenset()))
        with pytest.raises(UnknownIssuer):
            dial(endpoint, alice)
    assert done.sha256 != second
    for name in NAMES:
        eventually(lambda: is_by(network, name, done.sha256), f"{name} renews", 60)  # noqa: B023


def test_who_was_down_meanwhile_comes_back_by_itself(network: Network) -> None:
    """Its copy of the ledger names an issuing CA that nobody believes any more."""
    alice, carol = network.alice, network.carol
    present = fingerprint(alice.membership.chain[1]).hex()
    assert fingerprint(carol.membership.chain[1]).hex() != present
    carol.start()
    eventually(lambda: is_by(network, "carol", present), "carol renews", 60)
    assert carol.submit(BankTransfer(alice.membership.owner, 1, "")).code == "ok"
    network.await_agreed(60)


def test_it_stays_so_after_restarts(network: Network) -> None:
    present = fingerprint(network.alice.membership.chain[1]).hex()
    for name in NAMES:
        network[name].kill()
        network[name].start()
    for name in NAMES:
        assert is_by(network, name, present)


def test_who_joins_later_gets_the_present_one(network: Network) -> None:
    present = fingerprint(network.alice.membership.chain[1]).hex()
    dave = network.add("dave")
    dave.begin(network.invite())
    dave.ready()
    assert fingerprint(dave.membership.chain[1]).hex() == present
    assert is_by(network, "dave", present)


def knows(node: Node, issuing: str) -> bool:
    """Whether the node's copy of the ledger names this issuing CA."""
    with node.mesh() as mesh:
        return mesh.certificates.authority().issuing_sha256 == issuing


def test_a_host_that_could_not_renew_is_believed_during_the_grace_alone(network: Network) -> None:
    """Bob cannot write his next certificate down, so he goes on with the one that he has."""
    alice, bob = network.alice, network.bob
    renewal = bob.data / "certificate.new"
    renewal.mkdir()
    try:
        old = fingerprint(bob.membership.chain[1]).hex()
        with alice.mesh() as mesh:
            done = mesh.certificates.replace_issuer("once more", 3_600_000)
            eventually(lambda: knows(bob, done.sha256), "bob knows of it")
            memory = bob.asset(AssetKind.MEMORY).address
            with mesh.memory.lease("64KiB", address=memory, keep=True) as region:
                region[0:5] = b"still"
            address = region.address
            with mesh.memory.open(address) as again:
                assert bytes(again[0:5]) == b"still"
            assert fingerprint(bob.membership.chain[1]).hex() == old
            mesh.certificates.replace_issuer("and at once", 0)
            eventually(lambda: is_refused(mesh, address), "bob's certificate is worth nothing")
    finally:
        renewal.rmdir()


def is_refused(mesh: Mesh, address: GlobalAddress) -> bool:
    """Whether the client does not believe who has the region."""
    try:
        mesh.memory.open(address).close()
    except UnknownIssuer:
        return True
    return False


def test_a_grace_counts_at_the_client_too() -> None:
    trust = TrustView(
        genesis="00" * 32, root="aa", issuing="bb", replaced=["cc"], replaced_until_ms=1_000
    )
    assert _issuers(trust, 1_000) == [b"\xbb", b"\xcc"]
    assert _issuers(trust, 1_001) == [b"\xbb"]
