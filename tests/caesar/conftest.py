"""A state in memory, and a network of one block after another, for the modules of the economy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from hypermesh.caesar.audit import audit
from hypermesh.caesar.economics.staking import Staking
from hypermesh.caesar.token.bank import Bank
from hypermesh.ledger.module import Call, Context, Event, Module, Refusal, State
from hypermesh.wire.block import (
    EconomyParameters,
    Genesis,
    LeaseParameters,
    NetworkClass,
    ProofParameters,
)
from hypermesh.wire.keys import HYBRID_V1, PublicKeys
from hypermesh.wire.tx import BlockOpening, Body, Transaction

SUPPLY = 1_000_000
GRANT = 1_000
LEASE_FEE = 7
UNBONDING_MS = 60_000
START_MS = 1_000_000

GENESIS_ID = b"\x01" * 32
_KEYS = PublicKeys(HYBRID_V1, bytes(1793), bytes(32))


def identifier(kind: str, number: int) -> bytes:
    """A readable 32-byte id: `owner`, 3."""
    return f"{kind}-{number}".encode().ljust(32, b".")


def economy(**changes: object) -> EconomyParameters:
    parameters = {
        "anchor": "none",
        "faucet_supply": SUPPLY,
        "faucet_grant": GRANT,
        "lease_fee": LEASE_FEE,
        "unbonding_ms": UNBONDING_MS,
    }
    return EconomyParameters(**(parameters | changes))  # type: ignore[arg-type]


def genesis(parameters: EconomyParameters) -> Genesis:
    return Genesis(
        version=1,
        name="test",
        network_class=NetworkClass.TEST,
        created_ms=START_MS,
        root_certificate=b"root",
        issuing_certificate=b"issuing",
        founder=_KEYS,
        sequencer=_KEYS,
        proofs=ProofParameters(60_000, 18, 16, 3, 512, 1000, 64, 4, 10),
        economy=parameters,
        leases=LeaseParameters(5_000, 60_000, 3_600_000),
        vdf=None,
    )


class MemoryState:
    """`ledger.module.State` over a dict."""

    def __init__(self, rows: dict[bytes, bytes] | None = None) -> None:
        self.rows = dict(rows or {})

    def get(self, key: bytes) -> bytes | None:
        return self.rows.get(key)

    def put(self, key: bytes, value: bytes) -> None:
        self.rows[key] = value

    def delete(self, key: bytes) -> None:
        self.rows.pop(key, None)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        found = sorted(item for item in self.rows.items() if item[0].startswith(prefix))
        yield from found


class Network:
    """Bank and staking over one state, driven like the kernel drives them: a refused transaction
    leaves no writes, every block ends with `close_block` and `check`."""

    def __init__(
        self,
        parameters: EconomyParameters | None = None,
        nodes: int = 4,
        owners: int = 3,
    ) -> None:
        self.nodes = [identifier("node", number) for number in range(nodes)]
        self.owners = [identifier("owner", number) for number in range(owners)]
        self.revoked: set[bytes] = set()
        self.state: State = MemoryState()
        self.bank = Bank(lambda _state, owner: owner in self.owners)
        self.staking = Staking(lambda _state, node: node in self.nodes and node not in self.revoked)
        self.modules: list[Module] = [self.bank, self.staking]
        self._transactions = 0
        self.context = Context(
            state=self.state,
            genesis_id=GENESIS_ID,
            genesis=genesis(parameters or economy()),
            height=0,
            time_ms=START_MS,
            previous=GENESIS_ID,
        )
        for module in self.modules:
            module.begin(self.context)

    def owner_of(self, node: bytes) -> bytes:
        return self.owners[self.nodes.index(node) % len(self.owners)]

    def execute(self, body: Body, signer: bytes) -> list[Event]:
        """One transaction signed by a node or an owner; returns its events, or raises its
        `Refusal` with every write undone."""
        self._transactions += 1
        is_node = signer in self.nodes
        transaction = Transaction(GENESIS_ID, signer, 0, 0, 2**53, b"", body)
        call = Call(
            tx_id=self._transactions.to_bytes(32, "big"),
            transaction=transaction,
            owner=self.owner_of(signer) if is_node else signer,
            signer_is_node=is_node,
        )
        [module] = [module for module in self.modules if type(body) in module.bodies]
        assert isinstance(self.state, MemoryState)
        rows, events = dict(self.state.rows), len(self.context.events)
        try:
            module.execute(self.context, call)
        except Refusal:
            self.state.rows = rows
            del self.context.events[events:]
            raise
        return self.context.events[events:]

    def block(self, advance_ms: int = 0) -> list[Event]:
        """End a block `advance_ms` after the last; returns the events of its end."""
        self.context = replace(
            self.context,
            height=self.context.height + 1,
            time_ms=self.context.time_ms + advance_ms,
            events=[],
        )
        for module in self.modules:
            module.open_block(self.context, BlockOpening(self.context.time_ms, None))
        for module in self.modules:
            module.close_block(self.context)
        for module in self.modules:
            module.check(self.context)
        audit(self.state)
        return self.context.events

    def deadline(self) -> int | None:
        """The earliest deadline of all modules."""
        known = [module.next_deadline(self.state) for module in self.modules]
        return min((due for due in known if due is not None), default=None)


@pytest.fixture
def network() -> Network:
    return Network()
