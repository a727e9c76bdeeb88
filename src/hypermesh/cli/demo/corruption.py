"""Bundles with one proof corrupted and everything else in order: what a liar would send."""

from __future__ import annotations

import msgspec

from hypermesh.crypto.digest import digest_of
from hypermesh.crypto.keys import QuantumKeys
from hypermesh.crypto.signature import sign
from hypermesh.wire.codec import encode
from hypermesh.wire.errors import InvalidInput
from hypermesh.wire.proof import Bundle, ProofKind
from hypermesh.wire.tx import ConsensusAttest, SignedTransaction, Transaction

replace = msgspec.structs.replace

WINDOW_MS = 60_000


def corrupted(bundle: Bundle, kind: ProofKind) -> Bundle:
    """`bundle` with one byte, or one unit, of the proof of `kind` changed."""
    space, stake, work, time = bundle.space, bundle.stake, bundle.work, bundle.time
    if space is None or stake is None or work is None or time is None:
        raise InvalidInput("Only a whole bundle can be corrupted in one place")
    match kind:
        case ProofKind.SPACE:
            first, *rest = space.draws
            first = replace(first, proof=_flipped(first.proof))
            return replace(bundle, space=replace(space, draws=[first, *rest]))
        case ProofKind.STAKE:
            return replace(bundle, stake=replace(stake, bonded=stake.bonded + 1))
        case ProofKind.WORK:
            row, *others = work.samples
            row = replace(row, row=_flipped(row.row))
            return replace(bundle, work=replace(work, samples=[row, *others]))
        case ProofKind.TIME:
            vdf = replace(time.vdf, output=_flipped(time.vdf.output))
            return replace(bundle, time=replace(time, vdf=vdf))


def signed(bundle: Bundle, keys: QuantumKeys, nonce: int, block_time_ms: int) -> bytes:
    """The bundle in a transaction under a valid signature of its node: only the proof is false."""
    transaction = Transaction(
        genesis=bundle.genesis,
        signer=keys.id,
        nonce=nonce,
        valid_from_ms=max(0, block_time_ms - WINDOW_MS),
        valid_until_ms=block_time_ms + WINDOW_MS,
        attestation=b"",
        body=ConsensusAttest(bundle),
    )
    signature = sign(keys, "tx", bundle.genesis, digest_of("tx", transaction))
    return encode(SignedTransaction(transaction, signature))


def _flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
