"""Altering the past: a block of the ledger with something changed, shown to a follower."""

from __future__ import annotations

import msgspec

from hypermesh.crypto.digest import digest_of
from hypermesh.crypto.signature import sign
from hypermesh.ledger.errors import ProofInvalid
from hypermesh.ledger.kernel import entries_root
from hypermesh.ledger.verify import DOMAIN, verify_block
from hypermesh.node.attempts.attempt import Outcome, flipped
from hypermesh.node.attempts.ground import Ground
from hypermesh.wire.block import Block
from hypermesh.wire.codec import Undecodable, decode, encode
from hypermesh.wire.errors import HyperMeshError, NotAvailable

replace = msgspec.structs.replace

BLOCKS_SEEN = 256


class NotTheSameBlock(HyperMeshError):
    """The next block names another block of this height as the one before it."""

    code = "HM-LEDGER-0201"
    exit_code = 9
    title = "The next block does not follow from this one"


class TamperedBlock:
    """An old block with one entry altered. It is shown as it is, and once more sealed anew with
    this node's keys: on the sequencer the seal then is good, and the next block tells."""

    name = "tamper-block"
    title = "Tamper with a block"
    what = "alter an entry of an old block, then seal the block anew with this node's keys"
    rule = (
        "entries hash into a signed header, and every block names the one before: ledger/verify.py"
    )

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    def prepare(self) -> bytes:
        blocks = self._ground.recent(BLOCKS_SEEN)[1:]
        chosen = next((block for block in blocks if len(block.entries) > 1), None)
        if chosen is None:
            raise NotAvailable("No block in the newest ones holds a transaction")
        *before, last = chosen.entries
        return encode(replace(chosen, entries=[*before, flipped(last)]))

    def run(self, content: bytes) -> Outcome:
        genesis = self._ground.membership.genesis
        try:
            block = decode(Block, content)
        except Undecodable as error:
            return Outcome.refusal(error, "shown to a follower")
        facts = (
            f"block {block.header.height} so altered, shown to a follower under its old seal, and "
            "under a new one"
        )
        try:
            verify_block(genesis, block)
        except ProofInvalid as altered:
            return self._sealed_anew(block, altered, facts)
        return Outcome.through(facts)

    def _sealed_anew(self, block: Block, altered: ProofInvalid, facts: str) -> Outcome:
        ground = self._ground
        header = replace(block.header, entries_root=entries_root(block.entries))
        digest = digest_of("header", header)
        signature = sign(ground.membership.keys, DOMAIN, ground.membership.genesis_id, digest)
        sealed = replace(block, header=header, signature=signature)
        try:
            block_hash = verify_block(ground.membership.genesis, sealed)
        except ProofInvalid as error:
            both = f"{altered}; sealed anew: {error}"
            return Outcome(True, altered.code, both, facts)
        following = ground.chain.ledger.block(header.height + 1)
        if following.header.previous == block_hash:
            return Outcome.through(facts)
        link = NotTheSameBlock(why=f"block {header.height + 1} names another")
        return Outcome(True, altered.code, f"{altered}; sealed anew: {link}", facts)
