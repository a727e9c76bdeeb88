"""Spending twice and spending what is not there."""

from __future__ import annotations

import msgspec

from hypermesh.caesar.token import accounts
from hypermesh.crypto.digest import digest_of
from hypermesh.crypto.signature import sign
from hypermesh.ledger import identity
from hypermesh.node.attempts.attempt import Outcome
from hypermesh.node.attempts.ground import Ground, outcome
from hypermesh.wire.amount import AMOUNT_MAX, format_caes
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.errors import HyperMeshError, NotAvailable
from hypermesh.wire.tx import BankTransfer, SignedTransaction, StakeBond

WINDOW_MS = 60_000


class Spending(msgspec.Struct, frozen=True, array_like=True):
    """What moves money out of an account."""

    body: BankTransfer | StakeBond


class Replay:
    """A transaction of this node that the ledger has executed, sent once more: as it was, and with
    its spent nonce under a new signature."""

    name = "replay"
    title = "Replay a transaction"
    what = "send a transaction that was executed before, to have it executed again"
    rule = "every nonce is spent once, in order: ledger/identity.py"

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    def prepare(self) -> bytes:
        entries = self._ground.own_entries()
        if not entries:
            raise NotAvailable("This node has signed no transaction in the newest blocks")
        return entries[0]

    def run(self, content: bytes) -> Outcome:
        chain = self._ground.chain
        before = chain.ledger.status().height
        facts = "sent to the ledger again, with its valid signature"
        try:
            answer = chain.submit(content)
        except HyperMeshError as error:
            return Outcome.refusal(error, facts)
        if answer.height > before:
            return outcome(answer, facts)
        # The sequencer repeats its first answer, so that a sender who missed it may ask again.
        facts += f" (the answer was that of block {answer.height}, and nothing was executed), and "
        facts += "with its nonce under a new one"
        try:
            return outcome(chain.submit(self._signed_anew(content)), facts)
        except HyperMeshError as error:
            return Outcome.refusal(error, facts)

    def _signed_anew(self, content: bytes) -> bytes:
        """The same wish with the same nonce, valid now: another transaction."""
        membership, now_ms = self._ground.membership, self._ground.chain.now_ms()
        new = msgspec.structs.replace(
            decode(SignedTransaction, content).transaction,
            valid_from_ms=max(0, now_ms - WINDOW_MS),
            valid_until_ms=now_ms + WINDOW_MS,
        )
        digest = digest_of("tx", new)
        return encode(
            SignedTransaction(new, sign(membership.keys, "tx", membership.genesis_id, digest))
        )


class Overspend:
    """A payment of more than the account holds; where nobody else could be paid, a bond."""

    name = "overspend"
    title = "Spend more than there is"
    what = "pay another owner, or bond, one unit more than this owner's balance"
    rule = "no account falls below zero: caesar/token/accounts.py"

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    def prepare(self) -> bytes:
        membership = self._ground.membership
        with self._ground.chain.ledger.state() as state:
            balance = accounts.balance(state, membership.owner)
            others = {row.owner for _, row in identity.nodes(state)} - {membership.owner}
        amount = min(balance + 1, AMOUNT_MAX)
        if not others:
            return encode(Spending(StakeBond(membership.keys.id, amount)))
        return encode(Spending(BankTransfer(min(others), amount, "overspend")))

    def run(self, content: bytes) -> Outcome:
        spending = decode(Spending, content)
        facts = f"{format_caes(spending.body.amount)} CAES to be moved, well signed"
        return self._ground.place(spending.body, facts)
