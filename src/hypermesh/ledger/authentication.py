"""Who signs a transaction: what the kernel asks of the module that knows the keys.

The kernel knows neither nodes nor owners nor certificates. It asks an `Authenticator` for the keys
that a transaction must be signed with, verifies the signature itself, and tells the authenticator
when the signer's nonce is spent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from hypermesh.ledger.module import State
from hypermesh.wire.ids import Hash, OwnerId
from hypermesh.wire.keys import PublicKeys
from hypermesh.wire.tx import Transaction


@dataclass(frozen=True, slots=True)
class Signer:
    """The signer of one transaction, as the state knows it at that moment.

    `key_id(keys)` is the transaction's `signer`. `owner` is the account behind it: itself for an
    owner, its owner for a node. `nonce` counts the transactions it has spent so far, so it is the
    one that its next transaction must carry.
    """

    keys: PublicKeys
    owner: OwnerId
    is_node: bool
    nonce: int


class Authenticator(Protocol):
    """Deterministic, and keeps nothing between calls: the answer follows from the state alone."""

    def signer(self, state: State, transaction: Transaction, time_ms: int) -> Signer:
        """The signer of `transaction` in a block of `time_ms`.

        A transaction that introduces its signer (`identity.own`, `identity.enrol`) carries the keys
        itself; those keys must digest to `transaction.signer`. Raises a `Refusal` for a signer that
        is unknown, revoked or expired. Nothing is verified or spent yet when this is called.
        """
        ...

    def spend_nonce(self, state: State, signer: Hash) -> None:
        """Count one more transaction of `signer`.

        Called after both signature halves verified and the nonce was the next, and before the body
        executes; it outlasts a refusal of the body. `signer` may be unknown yet, when this is the
        transaction that introduces it, so the count must not depend on the signer's own row.
        """
        ...
