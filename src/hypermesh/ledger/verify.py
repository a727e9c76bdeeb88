"""Light verification: what one can know of a network from its genesis alone, offline and purely.

Whoever holds the genesis document can check a header, and through it any row, without a ledger and
without trusting the node that answered. Under `solo` a header says what its sequencer says.
"""

from __future__ import annotations

from hypermesh.crypto.digest import digest_of
from hypermesh.crypto.keys import key_id
from hypermesh.crypto.signature import SignatureInvalid, verify
from hypermesh.ledger.errors import ProofInvalid
from hypermesh.ledger.kernel import entries_root, results_root
from hypermesh.ledger.tree import check_proof
from hypermesh.wire.block import Block, BucketProof, Genesis, SignedHeader
from hypermesh.wire.ids import Hash

DOMAIN = "header"
"""The signature domain of block headers."""


def verify_header(genesis: Genesis, signed: SignedHeader) -> Hash:
    """The hash of a block whose header the sequencer of `genesis` signed.

    Raises `ProofInvalid` and says what does not fit.
    """
    header = signed.header
    genesis_id = digest_of("genesis", genesis)
    if header.genesis != genesis_id:
        raise ProofInvalid(
            "The header is of another network",
            why=f"it names {header.genesis.hex()}, this genesis is {genesis_id.hex()}",
        )
    if header.sequencer != key_id(genesis.sequencer):
        raise ProofInvalid("The header names a sequencer that genesis does not")
    block_hash = digest_of("header", header)
    try:
        verify(genesis.sequencer, DOMAIN, genesis_id, block_hash, signed.signature)
    except SignatureInvalid as error:
        raise ProofInvalid("The header is not signed by the sequencer", why=error.why) from error
    return block_hash


def verify_block(genesis: Genesis, block: Block) -> Hash:
    """The hash of a block whose header is signed and commits to its entries and results.

    Raises `ProofInvalid`. Whether the rules lead from one block to the next is for a follower, or
    a replay, to find out.
    """
    if block.signature is None:
        raise ProofInvalid("The block is not signed by a sequencer")
    block_hash = verify_header(genesis, SignedHeader(block.header, block.signature))
    if entries_root(block.entries) != block.header.entries_root:
        raise ProofInvalid("The header commits to other entries")
    if results_root(block.results) != block.header.results_root:
        raise ProofInvalid("The header commits to other results")
    return block_hash


def verify_row(
    genesis: Genesis, signed: SignedHeader, proof: BucketProof, value: bytes | None
) -> None:
    """Return where, after the signed block, the row `proof.key` has `value`, or none for None.

    Raises `ProofInvalid`.
    """
    verify_header(genesis, signed)
    check_proof(signed.header.app_hash, proof, value)
