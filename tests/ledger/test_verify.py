"""Light verification from genesis alone: every altered field is noticed."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from hypermesh.crypto.digest import digest_of
from hypermesh.crypto.signature import sign
from hypermesh.ledger.errors import ProofInvalid
from hypermesh.ledger.store import Store
from hypermesh.ledger.verify import verify_block, verify_header, verify_row
from hypermesh.wire.block import Block, BucketProof, SignedHeader
from hypermesh.wire.codec import encode
from hypermesh.wire.tx import TxResult

from .toys import BALANCES, GRANT, START_MS, faucet, genesis, keys, own

Extend = Callable[..., Block]
replace = msgspec.structs.replace


@pytest.fixture
def block(chain: Extend) -> Block:
    return chain(own("alice"), faucet("alice", 1))


def test_an_honest_block_verifies(block: Block) -> None:
    assert verify_block(genesis(), block) == digest_of("header", block.header)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("genesis", bytes(32)),
        ("height", 2),
        ("time_ms", START_MS + 1),
        ("previous", bytes(32)),
        ("entries_root", bytes(32)),
        ("results_root", bytes(32)),
        ("app_hash", bytes(32)),
        ("sequencer", bytes(32)),
    ],
)
def test_every_field_of_a_header_is_signed(block: Block, field: str, value: object) -> None:
    altered = replace(block, header=replace(block.header, **{field: value}))
    with pytest.raises(ProofInvalid):
        verify_block(genesis(), altered)


def test_a_header_has_no_field_that_the_test_above_forgot(block: Block) -> None:
    assert len(block.header.__struct_fields__) == 8


@pytest.mark.parametrize("half", ["falcon", "ed25519"])
def test_both_halves_of_the_signature_count(block: Block, half: str) -> None:
    assert block.signature is not None
    data = bytearray(getattr(block.signature, half))
    data[45] ^= 1
    altered = replace(block, signature=replace(block.signature, **{half: bytes(data)}))
    with pytest.raises(ProofInvalid, match="not signed by the sequencer"):
        verify_block(genesis(), altered)


def test_an_unsigned_block_or_one_signed_by_someone_else_is_refused(block: Block) -> None:
    with pytest.raises(ProofInvalid):
        verify_block(genesis(), replace(block, signature=None))
    header = block.header
    other = sign(keys("alice"), "header", header.genesis, digest_of("header", header))
    with pytest.raises(ProofInvalid):
        verify_block(genesis(), replace(block, signature=other))
    domain = sign(keys("sequencer"), "tx", header.genesis, digest_of("header", header))
    with pytest.raises(ProofInvalid):
        verify_block(genesis(), replace(block, signature=domain))


@pytest.mark.parametrize(
    "alter",
    [
        lambda block: replace(block, entries=block.entries[:-1]),
        lambda block: replace(block, entries=[*block.entries, b"more"]),
        lambda block: replace(block, entries=block.entries[::-1]),
        lambda block: replace(block, results=block.results[:-1]),
        lambda block: replace(
            block, results=[*block.results[:-1], TxResult(block.results[-1].tx, "other", [])]
        ),
        lambda block: replace(
            block, results=[*block.results[:-1], replace(block.results[-1], failures=["space"])]
        ),
    ],
)
def test_entries_and_results_are_committed_to(
    block: Block, alter: Callable[[Block], Block]
) -> None:
    with pytest.raises(ProofInvalid, match="commits to other"):
        verify_block(genesis(), alter(block))


def test_the_sequencer_cannot_sign_in_another_name(block: Block) -> None:
    header = replace(block.header, sequencer=keys("alice").id)
    signature = sign(keys("sequencer"), "header", header.genesis, digest_of("header", header))
    with pytest.raises(ProofInvalid, match="names a sequencer"):
        verify_block(genesis(), replace(block, header=header, signature=signature))


def test_a_row_is_shown_offline(block: Block, store: Store) -> None:
    assert block.signature is not None
    header = SignedHeader(block.header, block.signature)
    key = BALANCES.key(keys("alice").id)
    _, value, proof = store.prove(key)
    assert value == encode([GRANT])
    verify_row(genesis(), header, proof, value)
    with pytest.raises(ProofInvalid):
        verify_row(genesis(), header, proof, encode([GRANT + 1]))
    with pytest.raises(ProofInvalid):
        verify_row(genesis(), header, BucketProof(key, [], proof.siblings), None)
    with pytest.raises(ProofInvalid, match="another network"):
        verify_header(genesis(START_MS + 1), header)
