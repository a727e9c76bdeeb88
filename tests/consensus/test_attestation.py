"""What an operation's reference to a bundle gives, and when it stops giving it."""

from __future__ import annotations

from typing import Any

import pytest

from hypermesh.consensus.attestation import (
    ProofsRefused,
    attested_nodes,
    bundle_of,
    require_attested,
)
from hypermesh.consensus.record import ATTESTATIONS, LAST_BUNDLES
from hypermesh.crypto.digest import digest_of

ALL = ("space", "stake", "work", "time")


def failures(network: Any, bundle_id: bytes, node: bytes) -> tuple[str, ...]:
    """The proofs named when an operation on an asset of `node` refers to `bundle_id`."""
    try:
        require_attested(network.context(), bundle_id, node)
    except ProofsRefused as refusal:
        return refusal.failures
    return ()


@pytest.fixture
def bundle_id(history: Any) -> bytes:
    """Alice's bundle of epoch 0, which is on the ledger."""
    return digest_of("bundle", history.first)


def test_a_bundle_gives_rights_in_its_epoch_and_the_next(history: Any, bundle_id: bytes) -> None:
    network = history.attested.copy()
    assert failures(network, bundle_id, network.ALICE) == ()
    network.turn()
    assert failures(network, bundle_id, network.ALICE) == ()
    attestation = require_attested(network.context(), bundle_id, network.ALICE)
    assert (attestation.node, attestation.epoch, attestation.height) == (network.ALICE, 0, 1)


def test_a_lapsed_bundle_names_time(history: Any, bundle_id: bytes) -> None:
    network = history.network()
    network.turn()
    assert failures(network, bundle_id, network.ALICE) == ("time",)


def test_a_lapsed_bundle_that_was_followed_by_another_is_unknown(
    history: Any, bundle_id: bytes
) -> None:
    network = history.network()
    network.attest(history.honest)
    network.turn()
    assert failures(network, bundle_id, network.ALICE) == ALL
    assert failures(network, digest_of("bundle", history.honest), network.ALICE) == ()


def test_a_missing_reference_names_all_four(history: Any) -> None:
    assert failures(history.network(), b"", history.start.ALICE) == ALL


@pytest.mark.parametrize("reference", [bytes(32), bytes(31), b"\xff"])
def test_an_unknown_reference_names_all_four(history: Any, reference: bytes) -> None:
    assert failures(history.network(), reference, history.start.ALICE) == ALL


def test_the_bundle_of_another_node_gives_no_rights(history: Any, bundle_id: bytes) -> None:
    network = history.network()
    assert failures(network, bundle_id, network.BOB) == ("space", "stake", "work")


def test_the_bond_is_read_at_every_operation(history: Any, bundle_id: bytes) -> None:
    network = history.network()
    network.unbond(network.ALICE, network.BOND - network.genesis.proofs.bond_min)
    assert failures(network, bundle_id, network.ALICE) == ()
    network.unbond(network.ALICE, 1)
    assert failures(network, bundle_id, network.ALICE) == ("stake",)


def test_a_revoked_node_has_no_rights(history: Any, bundle_id: bytes) -> None:
    network = history.network()
    network.revoke(network.ALICE)
    assert failures(network, bundle_id, network.ALICE) == ("stake",)


def test_every_failing_proof_is_named_at_once(history: Any, bundle_id: bytes) -> None:
    network = history.network()
    network.revoke(network.ALICE)
    network.turn()
    with pytest.raises(ProofsRefused) as caught:
        require_attested(network.context(), bundle_id, network.ALICE)
    assert caught.value.failures == ("stake", "time")
    assert "stake: the node is revoked; time: the bundle is of epoch 0" in caught.value.why


def test_a_refused_bundle_leaves_the_earlier_rights(history: Any, bundle_id: bytes) -> None:
    network = history.network()
    with pytest.raises(ProofsRefused):
        network.attest(history.first)
    assert failures(network, bundle_id, network.ALICE) == ()


def test_bundle_of_is_what_an_operation_may_refer_to(history: Any, bundle_id: bytes) -> None:
    network = history.network()
    assert bundle_of(network.state, network.BOB) is None
    assert bundle_of(network.state, network.ALICE) == bundle_id
    network.attest(history.honest)
    assert bundle_of(network.state, network.ALICE) == digest_of("bundle", history.honest)
    network.turn()
    network.turn()
    assert bundle_of(network.state, network.ALICE) is None


def test_what_is_kept_of_bundles_is_bounded(history: Any) -> None:
    network = history.network()
    network.attest(history.honest)
    assert len(list(ATTESTATIONS.rows(network.state))) == 2
    assert attested_nodes(network.state) == 1
    network.turn()
    assert len(list(ATTESTATIONS.rows(network.state))) == 1
    network.turn()
    assert list(ATTESTATIONS.rows(network.state)) == []
    assert len(list(LAST_BUNDLES.rows(network.state))) == 1


def test_a_node_that_was_away_opens_the_product_of_its_last_bundle(history: Any) -> None:
    network = history.network()
    network.turn()
    network.turn()
    statement = network.expected()
    before = LAST_BUNDLES.get(network.state, network.ALICE)
    assert before is not None
    assert before.epoch == 0
    assert statement.work.before.root == history.first.work.root
    bundle = history.attestor.bundle(statement)
    network.attest(bundle)
    assert failures(network, digest_of("bundle", bundle), network.ALICE) == ()
