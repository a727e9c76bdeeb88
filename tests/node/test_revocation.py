"""A node whose rights were ended: cut off at once, everywhere, and still after a restart."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hypermesh.ledger.errors import LedgerUnavailable
from hypermesh.ledger.identity import AlreadyRevoked, RevocationForbidden, SignerRevoked
from hypermesh.node.revoking import OwnerElsewhere
from hypermesh.stoq.endpoint import Endpoint
from hypermesh.stoq.errors import PeerRevoked
from hypermesh.wire.rpc import ALPN_ENROL, BlocksRequest
from hypermesh.wire.tx import BankTransfer, IdentityRevoke

from .network import Network, Node, call, dial, eventually, hm, problem, stoq


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    network = Network(tmp_path_factory.mktemp("r"))
    try:
        network.found("bob", "carol")
        yield network
    finally:
        network.end()


def revoke(network: Network, by: Node, target: Node) -> str:
    """What becomes of the revocation of `target` under the owner key of `by`."""
    return network.alice.submit(IdentityRevoke(target.id, "lost"), by.owner_keys).code


def test_strangers_and_node_keys_cannot_revoke(network: Network) -> None:
    assert revoke(network, network.bob, network.carol) == RevocationForbidden.code
    body = IdentityRevoke(network.carol.id, "with a node's key")
    assert network.alice.submit(body).code == RevocationForbidden.code


def test_a_revoked_node_is_cut_off_everywhere(network: Network) -> None:
    carol = network.carol
    first = BlocksRequest(1, 1, 0)
    with stoq(carol.membership) as endpoint:
        live = {name: dial(endpoint, network[name]) for name in ("alice", "bob")}
        for connection in live.values():
            assert call(connection, "ledger.blocks", first)

        assert revoke(network, carol, carol) == "ok"

        for name, connection in live.items():
            ended = eventually(lambda: connection.ended, f"{name} cuts carol off", 10)  # noqa: B023
            assert isinstance(ended, PeerRevoked), (name, ended)
            with pytest.raises(PeerRevoked):
                call(connection, "ledger.blocks", first)
            with pytest.raises(PeerRevoked):
                dial(endpoint, network[name])
            eventually(lambda: "The node is revoked" in network[name].log, "said there")  # noqa: B023

    # Her transactions are refused too, through whomever they come.
    with pytest.raises(SignerRevoked):
        network.bob.submit(BankTransfer(network.bob.membership.owner, 1, ""), carol.membership.keys)
    with pytest.raises(LedgerUnavailable) as cut:
        carol.submit(BankTransfer(network.bob.membership.owner, 1, ""))
    assert "revoked" in str(cut.value)
    assert revoke(network, carol, carol) == AlreadyRevoked.code


@pytest.mark.parametrize("name", ["alice", "bob"])
def test_its_certificate_is_shown_as_revoked(network: Network, name: str) -> None:
    """By the node with the authority, and by one that has only the ledger."""
    with network[name].mesh() as mesh:
        found = mesh.certificates.get(network.carol.id.hex())
        revoked = {each.name: each.revoked for each in mesh.certificates.list()}
    assert found.certificate.revoked
    assert found.revocation == "lost"
    assert (found.chain is None) == (name == "bob")
    assert revoked == {"alice": False, "bob": False, "carol": True}


def test_a_revoked_node_gets_no_certificate(network: Network) -> None:
    membership = network.carol.membership
    with stoq(membership, certified=False) as endpoint, pytest.raises(PeerRevoked):
        dial(endpoint, network.alice, ALPN_ENROL)


@pytest.mark.parametrize("name", ["alice", "bob"])
def test_a_restarted_node_remembers_who_is_revoked(network: Network, name: str) -> None:
    network[name].kill()
    network[name].start()
    with stoq(network.carol.membership) as endpoint, pytest.raises(PeerRevoked):
        dial(endpoint, network[name])


def test_the_others_go_on(network: Network) -> None:
    answer = network.bob.submit(BankTransfer(network.alice.membership.owner, 1, ""))
    assert answer.code == "ok"


def test_the_founder_revokes_by_command(network: Network) -> None:
    """And nobody who may not; a no is taken for a no."""
    alice, bob = network.alice, network.bob
    with bob.mesh() as mesh, pytest.raises(RevocationForbidden):
        mesh.certificates.revoke(alice.id.hex(), "mine now")
    words = ("cert", "revoke", "bob", "--reason", "sold")
    declined = hm(*words, data=alice.data, stdin=b"n\n")
    assert declined.returncode != 0
    with alice.mesh() as mesh:
        assert not mesh.certificates.get(bob.id.hex()).certificate.revoked

    done = hm(*words, "--yes", data=alice.data)
    assert done.returncode == 0, problem(done)
    assert b"bob is revoked" in done.stdout
    with alice.mesh() as mesh:
        assert mesh.certificates.get(bob.id.hex()).revocation == "sold"
    with stoq(bob.membership) as endpoint:
        eventually(lambda: _refused(endpoint, alice), "alice lets bob in no more")
    again = hm(*words, "--yes", data=alice.data)
    assert again.returncode != 0
    assert AlreadyRevoked.code in problem(again)


def _refused(endpoint: Endpoint, node: Node) -> bool:
    try:
        dial(endpoint, node).close()
    except PeerRevoked:
        return True
    return False


def test_a_node_without_its_owners_key_revokes_nobody(network: Network) -> None:
    dave = network.add("dave")
    dave.begin(network.invite(mine=True))
    dave.ready()
    with dave.mesh() as mesh, pytest.raises(OwnerElsewhere):
        mesh.certificates.revoke(network.alice.id.hex(), "lost")
    done = hm("cert", "revoke", "dave", "--reason", "lost", "--yes", data=network.alice.data)
    assert done.returncode == 0, problem(done)
