"""What shows that a block holds a transaction: no count, index or result can be claimed."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypermesh.crypto.digest import digest_of
from hypermesh.crypto.merkle import path, root, verify_path
from hypermesh.ledger.errors import ProofInvalid
from hypermesh.ledger.verify import prove_transaction, verify_transaction
from hypermesh.wire.block import Block
from hypermesh.wire.errors import NotAvailable, NotFound

from .toys import faucet, genesis, own, pay

Extend = Callable[..., Block]
replace = msgspec.structs.replace


@pytest.fixture
def block(chain: Extend) -> Block:
    return chain(own("alice"), faucet("alice", 1), own("bob"), pay("alice", 2, "bob", 5))


def test_every_transaction_of_a_block_is_proven(block: Block) -> None:
    for index in range(1, len(block.entries)):
        found = verify_transaction(genesis(), prove_transaction(block, index))
        assert (found.height, found.index) == (block.header.height, index)
        assert found.tx == digest_of("tx", found.signed.transaction) == block.results[index].tx
        assert found.result == block.results[index]


def test_the_opening_and_what_is_not_there_have_no_proof(block: Block) -> None:
    for index in (0, len(block.entries), -1):
        with pytest.raises(NotFound):
            prove_transaction(block, index)
    with pytest.raises(NotAvailable):
        prove_transaction(replace(block, signature=None), 1)


def test_no_other_index_or_count_fits(block: Block) -> None:
    """A Merkle path alone would fit other counts, and some other indices: the results pin both."""
    for index in range(1, len(block.entries)):
        proof = prove_transaction(block, index)
        for other in range(len(block.entries) + 1):
            if other != index:
                with pytest.raises(ProofInvalid):
                    verify_transaction(genesis(), replace(proof, index=other))
        for results in (proof.results[:-1], [*proof.results, proof.results[-1]]):
            with pytest.raises(ProofInvalid):
                verify_transaction(genesis(), replace(proof, results=results))


@given(index=st.integers(0, 3), count=st.integers(5, 8))
def test_a_path_alone_does_not_say_how_many_leaves_there_are(index: int, count: int) -> None:
    """Why the proof carries all results."""
    leaves = [bytes([number]) for number in range(count)]
    siblings = path(leaves, index)
    fitting = [
        claimed
        for claimed in range(5, 9)
        if verify_path(root(leaves), index, claimed, leaves[index], siblings)
    ]
    assert fitting == [5, 6, 7, 8]


def test_another_result_or_signature_is_noticed(block: Block) -> None:
    proof = prove_transaction(block, 2)
    results = list(proof.results)
    results[2] = replace(results[2], code="HM-TX-0001")
    for lie in (
        replace(proof, results=results),
        replace(proof, entry=proof.entry[:-1] + bytes([proof.entry[-1] ^ 1])),
        replace(proof, entry=block.entries[1]),
        replace(proof, path=proof.path[:-1]),
        replace(proof, path=[]),
    ):
        with pytest.raises(ProofInvalid):
            verify_transaction(genesis(), lie)
