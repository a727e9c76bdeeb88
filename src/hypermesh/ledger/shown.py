"""Proofs as JSON: the bytes as hex, and beside them what they say, for people.

`read_*` takes a document apart and refuses it where a readable member is not what the bytes say; so
whoever has read one may use its members. The proofs themselves are `ledger.verify`'s to check.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from hypermesh.crypto.digest import digest_of
from hypermesh.ledger.errors import ProofInvalid
from hypermesh.ledger.kernel import Malformed, decode_entry
from hypermesh.wire.api.ledger import ProvenRow, ProvenTransaction
from hypermesh.wire.block import BucketProof, Genesis, SignedHeader, TransactionProof
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.errors import InvalidInput
from hypermesh.wire.ids import hex_bytes
from hypermesh.wire.tx import SignedTransaction, TxResult, tag_of

T = TypeVar("T")


def show_transaction(proof: TransactionProof) -> ProvenTransaction:
    """`proof` as JSON. Raises `ProofInvalid` where its entry is no transaction of the block."""
    try:
        signed = decode_entry(proof.entry)
    except Malformed as error:
        raise ProofInvalid("The entry is no transaction", why=error.why) from error
    if not isinstance(signed, SignedTransaction) or proof.index >= len(proof.results):
        raise ProofInvalid("The entry is no transaction of its block")
    header = proof.header.header
    return ProvenTransaction(
        tx=digest_of("tx", signed.transaction).hex(),
        type=tag_of(signed.transaction.body),
        height=header.height,
        index=proof.index,
        time_ms=header.time_ms,
        code=proof.results[proof.index].code,
        transaction=proof.entry.hex(),
        path=[step.hex() for step in proof.path],
        results=encode(proof.results).hex(),
        header=encode(proof.header).hex(),
    )


def read_transaction(shown: ProvenTransaction) -> TransactionProof:
    """The proof in `shown`. Raises `ProofInvalid`, naming the member that is not what the bytes
    say."""
    proof = TransactionProof(
        value(SignedHeader, shown.header, "header"),
        shown.index,
        octets(shown.transaction, "transaction"),
        [octets(step, "path") for step in shown.path],
        value(list[TxResult], shown.results, "results"),
    )
    require_same(shown, show_transaction(proof))
    return proof


class RowProof(msgspec.Struct, frozen=True):
    """A row (None: there is none) under a signed header."""

    key: bytes
    value: bytes | None
    proof: BucketProof
    header: SignedHeader


def show_row(row: RowProof) -> ProvenRow:
    """`row` as JSON."""
    return ProvenRow(
        height=row.header.header.height,
        key=row.key.hex(),
        value=None if row.value is None else row.value.hex(),
        proof=encode(row.proof).hex(),
        header=encode(row.header).hex(),
    )


def read_row(shown: ProvenRow) -> RowProof:
    """The row in `shown`. Raises `ProofInvalid`."""
    row = RowProof(
        octets(shown.key, "key"),
        None if shown.value is None else octets(shown.value, "value"),
        value(BucketProof, shown.proof, "proof"),
        value(SignedHeader, shown.header, "header"),
    )
    require_same(shown, show_row(row))
    if row.proof.key != row.key:
        raise ProofInvalid("The proof is of another key", why=row.proof.key.hex())
    return row


def read_genesis(document: str) -> Genesis:
    """The genesis document in hex. Raises `ProofInvalid`."""
    return value(Genesis, document, "genesis document")


def value(kind: type[T], text: str, what: str) -> T:
    """The value that hex digits encode. Raises `ProofInvalid`."""
    try:
        return decode(kind, octets(text, what))
    except InvalidInput as error:
        raise ProofInvalid(f"The {what} is not what it should be", why=str(error)) from error


def octets(text: str, what: str) -> bytes:
    """The bytes in lower-case hex digits. Raises `ProofInvalid`."""
    try:
        found = hex_bytes(text, what)
    except InvalidInput as error:
        raise ProofInvalid(f"The {what} is not hex", why=error.why) from error
    if found.hex() != text:
        raise ProofInvalid(f"The {what} is not in lower-case hex")
    return found


def require_same(shown: msgspec.Struct, meant: msgspec.Struct) -> None:
    """Raise `ProofInvalid` for the first member of `shown` that is not that of `meant`."""
    for name in shown.__struct_fields__:
        if getattr(shown, name) != getattr(meant, name):
            raise ProofInvalid(
                f"The member `{name}` is not what the bytes say",
                why=f"they say {str(getattr(meant, name))[:80]}",
            )
