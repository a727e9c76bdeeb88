"""What the kernel asks of a module, and what a module may see.

A module owns the rows under its own prefix and the transaction types it names in `bodies`. It is a
set of functions over `State`: it keeps nothing between calls, and reads no clock, no file and no
random number, so that every node computes the same. Time is `Context.time_ms`, block time.

A module refuses by raising a `Refusal`: the writes of that transaction are dropped, its nonce is
spent, and the refusal's `code` (and named `failures`) go into the block's results. `InvalidInput`
(an amount out of range) and `SignatureInvalid` out of `execute` are refusals, too, for they follow
from the input alone. Any other exception is a bug and stops the node.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from hypermesh.wire.block import Genesis
from hypermesh.wire.errors import HyperMeshError
from hypermesh.wire.ids import GenesisId, Hash, OwnerId, TxId
from hypermesh.wire.tx import BlockOpening, Transaction


class Refusal(HyperMeshError):
    """The rules refuse a transaction. Subclasses have a stable code, hashed into the block; texts
    are for people and are not."""

    code = "HM-TX-0000"
    status = 409
    exit_code = 6
    title = "The ledger refuses this transaction"

    failures: tuple[str, ...] = ()
    """Names of the proofs refused, in the order space, stake, work, time."""


class InvariantBroken(HyperMeshError):
    """A rule that must hold after every block does not. A bug, or a damaged database."""

    code = "HM-LEDGER-0001"
    exit_code = 9
    title = "An invariant of the ledger is broken"


class State(Protocol):
    """Rows of bytes. Reads see the writes made earlier in the same block."""

    def get(self, key: bytes) -> bytes | None: ...

    def put(self, key: bytes, value: bytes) -> None: ...

    def delete(self, key: bytes) -> None: ...

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """All rows whose key begins with `prefix`, by ascending key. Rows may be changed meanwhile;
        the scan shows those that were there when it began."""
        ...


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, for the node and its users; never read by the rules.

    `name` is like a transaction type (`lease.opened`), `subject` the id it is about. `entry` is the
    index in its block of the transaction that did it, as the kernel notes; None for what fell due.
    """

    name: str
    subject: bytes
    data: bytes = b""
    entry: int | None = None


@dataclass(frozen=True, slots=True)
class Context:
    """Where a module stands: the state before it, the block it is in."""

    state: State
    genesis_id: GenesisId
    genesis: Genesis
    height: int
    time_ms: int
    previous: Hash
    """Hash of the block before; the genesis id at height 1."""
    events: list[Event] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Call:
    """One transaction that has passed the kernel: signatures valid, nonce next, window open.

    `owner` is the account behind the signer: itself for an owner, its owner for a node.
    """

    tx_id: TxId
    transaction: Transaction
    owner: OwnerId
    signer_is_node: bool

    @property
    def body(self) -> Any:
        return self.transaction.body


class Module(Protocol):
    """One set of rules. All methods are deterministic."""

    name: str
    bodies: tuple[type, ...]
    """The transaction types it executes; each type belongs to exactly one module."""

    def begin(self, context: Context) -> None:
        """Write the rows of genesis (height 0)."""
        ...

    def open_block(self, context: Context, opening: BlockOpening) -> None:
        """Before the transactions of a block. A `Refusal` here refuses the whole block."""
        ...

    def execute(self, context: Context, call: Call) -> None:
        """One transaction of a type in `bodies`."""
        ...

    def close_block(self, context: Context) -> None:
        """After the transactions of a block: what fell due."""
        ...

    def next_deadline(self, state: State) -> int | None:
        """Block time in milliseconds at which `close_block` next has something to do."""
        ...

    def check(self, context: Context) -> None:
        """Raise `InvariantBroken` where the module's invariants do not hold."""
        ...
