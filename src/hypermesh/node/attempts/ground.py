"""What all attempts stand on: this node's keys, its view of the ledger, and its way to submit."""

from __future__ import annotations

from typing import TypeVar

from hypermesh.crypto.keys import QuantumKeys
from hypermesh.ledger.kernel import decode_entry
from hypermesh.node.attempts.attempt import Outcome
from hypermesh.node.chain import Chain
from hypermesh.node.membership import Membership
from hypermesh.node.wallet import Wallet
from hypermesh.wire.block import Block
from hypermesh.wire.codec import decode
from hypermesh.wire.errors import HyperMeshError, Problem, error_from
from hypermesh.wire.rpc import BlocksRequest, SubmitResponse
from hypermesh.wire.tx import SignedTransaction

B = TypeVar("B")

BLOCKS_LOOKED_THROUGH_MAX = 2_048
BLOCKS_A_READ = 64


class Ground:
    """The node that attacks."""

    def __init__(self, membership: Membership, chain: Chain, wallet: Wallet) -> None:
        self.membership = membership
        self.chain = chain
        self.wallet = wallet

    def recent(self, count_max: int = BLOCKS_LOOKED_THROUGH_MAX) -> list[Block]:
        """The newest blocks, newest first."""
        found: list[Block] = []
        top = self.chain.ledger.status().height
        while top >= 1 and len(found) < count_max:
            first = max(1, top - BLOCKS_A_READ + 1)
            read = self.chain.ledger.blocks(BlocksRequest(first, top - first + 1, 0)).blocks
            found += [decode(Block, each) for each in reversed(read)]
            top = first - 1
        return found

    def own_entries(self) -> list[bytes]:
        """Accepted transactions of this node's keys in the newest blocks, newest first."""
        own = self.membership.keys.id
        return [
            entry
            for block in self.recent()
            for entry, result in zip(block.entries, block.results, strict=True)
            if result.code == "ok" and _signer(entry) == own
        ]

    def last_own(self, kind: type[B]) -> B | None:
        """The body of this node's last accepted transaction of `kind`."""
        for entry in self.own_entries():
            signed = decode_entry(entry)
            if isinstance(signed, SignedTransaction):
                body = signed.transaction.body
                if isinstance(body, kind):
                    return body
        return None

    def place(self, body: object, facts: str, keys: QuantumKeys | None = None) -> Outcome:
        """Submit `body` in order, signed by this node or by `keys`, and say what became of it."""
        wallet = self.wallet
        if keys is not None:
            wallet = Wallet(keys, self.membership.genesis_id, self.chain)
        try:
            answer = wallet.place(body)
        except HyperMeshError as error:
            return Outcome.refusal(error, facts)
        return outcome(answer, facts)


def outcome(answer: SubmitResponse, facts: str) -> Outcome:
    """What the ledger's answer says of an attempt."""
    result = answer.result
    if result.code == "ok":
        return Outcome.through(facts, answer.height)
    problem = answer.problem or Problem(result.code, "The ledger refused it", "", "")
    error = error_from(problem)
    error.failures = tuple(result.failures)  # type: ignore[attr-defined]
    return Outcome.refusal(error, facts, answer.height)


def _signer(entry: bytes) -> bytes:
    signed = decode_entry(entry)
    return signed.transaction.signer if isinstance(signed, SignedTransaction) else b""
