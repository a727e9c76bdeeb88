"""Founding a network: owner, node and CA keys, the genesis document, the first certificate.

A crash at any point is harmless: keys and CA are kept where they are there, and the network exists
from the moment its genesis is written, which is the last step.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from hypermesh.consensus.parameters import parameters_of
from hypermesh.consensus.prover.time import founded
from hypermesh.crypto.digest import digest_of
from hypermesh.node.authority_logs import DIRECTORY, AuthorityLogs
from hypermesh.node.membership import (
    NODE_SECRET,
    OWNER_SECRET,
    Membership,
    key_store,
    keys_of,
)
from hypermesh.trustchain.ca.authority import CertificateAuthority, CertificateOrder
from hypermesh.wire.amount import NANO
from hypermesh.wire.block import (
    EconomyParameters,
    Genesis,
    LeaseParameters,
    NetworkClass,
)

ECONOMY = EconomyParameters(
    anchor="none",
    faucet_supply=1_000_000 * NANO,
    faucet_grant=100 * NANO,
    lease_fee=1_000,
    unbonding_ms=10 * 60 * 1000,
)
LEASES = LeaseParameters(
    # As long as a consumer waits for its provider, which sets aside and clears the bytes meanwhile.
    reservation_ms=20_000,
    claim_ms=60_000,
    duration_ms_max=24 * 60 * 60 * 1000,
)


def found(data: Path, network: str, now_ms: int) -> Membership:
    """A network called `network`, with this node as its founder and sequencer."""
    store = key_store(data)
    node = keys_of(store, NODE_SECRET)
    owner = keys_of(store, OWNER_SECRET)
    now_s = now_ms // 1000
    authority = CertificateAuthority.found(data, store, network, now_s)
    network_class = NetworkClass.TEST
    genesis = founded(
        Genesis(
            version=1,
            name=network,
            network_class=network_class,
            created_ms=now_ms,
            root_certificate=authority.root,
            issuing_certificate=authority.issuing,
            founder=owner.public,
            sequencer=node.public,
            proofs=parameters_of(network_class),
            economy=ECONOMY,
            leases=LEASES,
            vdf=None,
        )
    )
    genesis_id = digest_of("genesis", genesis)
    request = digest_of("founding", (genesis_id, node.public))
    # A log of a founding that was never finished: nobody saw it, and its origin may be another.
    shutil.rmtree(data / DIRECTORY, ignore_errors=True)
    authority.forget_recordings()
    logs = AuthorityLogs(data, store, node, genesis_id)
    try:
        logs.serve(authority)
        order = CertificateOrder(request, genesis_id, node.public, owner.id)
        issued = authority.certify(order, now_s)
        chain, logged = authority.chain(issued), logs.logged(authority, issued)
    finally:
        logs.close()
        authority.close()
    return Membership.create(data, genesis, chain, [], now_s, logged)
