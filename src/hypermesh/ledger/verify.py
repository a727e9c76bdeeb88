"""Light verification: what one can know of a network from its genesis alone, offline and purely.

Whoever holds the genesis document can check a header, and through it any row, without a ledger and
without trusting the node that answered. Under `solo` a header says what its sequencer says.
"""

from __future__ import annotations

from dataclasses import dataclass

from hypermesh.crypto.digest import digest_of
from hypermesh.crypto.keys import key_id
from hypermesh.crypto.merkle import path, verify_path
from hypermesh.crypto.signature import SignatureInvalid, verify
from hypermesh.ledger.errors import ProofInvalid
from hypermesh.ledger.kernel import Malformed, decode_entry, entries_root, results_root
from hypermesh.ledger.tree import check_proof
from hypermesh.wire.block import Block, BucketProof, Genesis, SignedHeader, TransactionProof
from hypermesh.wire.errors import NotAvailable, NotFound
from hypermesh.wire.ids import Hash, TxId
from hypermesh.wire.tx import SignedTransaction, TxResult

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


@dataclass(frozen=True, slots=True)
class Included:
    """A transaction that a signed block holds, and what became of it there."""

    tx: TxId
    signed: SignedTransaction
    result: TxResult
    height: int
    index: int
    time_ms: int


def prove_transaction(block: Block, index: int) -> TransactionProof:
    """What shows the entry `index` of `block` to anybody who has the genesis document.

    Raises `NotFound` for the opening and beyond the end, and `NotAvailable` under validators.
    """
    if block.signature is None:
        raise NotAvailable("Proofs under validators' commits do not exist yet")
    if not 1 <= index < len(block.entries):
        raise NotFound(f"Block {block.header.height} has no transaction {index}")
    return TransactionProof(
        SignedHeader(block.header, block.signature),
        index,
        block.entries[index],
        path(block.entries, index),
        block.results,
    )


def verify_transaction(genesis: Genesis, proof: TransactionProof) -> Included:
    """The transaction that `proof` shows in a block whose header the sequencer signed.

    Raises `ProofInvalid` and says what does not fit. The transaction's own signature is not
    checked: whose keys are the signer's is not in the block. That it was executed, the header says.
    """
    verify_header(genesis, proof.header)
    return included(proof)


def included(proof: TransactionProof) -> Included:
    """As `verify_transaction`, under the header as it is: whether it is signed, the caller checks.

    Raises `ProofInvalid`.
    """
    header = proof.header.header
    if results_root(proof.results) != header.results_root:
        raise ProofInvalid("The header commits to other results")
    count = len(proof.results)
    if not 1 <= proof.index < count:
        raise ProofInvalid(f"The block has {count} entries, and no transaction {proof.index}")
    if not verify_path(header.entries_root, proof.index, count, proof.entry, proof.path):
        raise ProofInvalid(
            "The header does not commit to this entry", why=f"as number {proof.index} of {count}"
        )
    try:
        signed = decode_entry(proof.entry)
    except Malformed as error:
        raise ProofInvalid("The entry is no transaction", why=error.why) from error
    if not isinstance(signed, SignedTransaction):
        raise ProofInvalid("The entry is no transaction", why="it opens a block")
    tx, result = digest_of("tx", signed.transaction), proof.results[proof.index]
    if result.tx != tx:
        raise ProofInvalid("The result is another transaction's", why=result.tx.hex())
    return Included(tx, signed, result, header.height, proof.index, header.time_ms)
