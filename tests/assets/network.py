"""The rules of assets and leases over real accounts, bonds, identities and attestations, driven
like the kernel drives them: a refused transaction leaves no writes, every block ends with
`close_block` and `check`. Attestations are written as rows; how one is earned is tested with the
consensus."""

from __future__ import annotations

import functools
from dataclasses import replace

from hypermesh.assets.lease import Leases
from hypermesh.assets.registry import Registry
from hypermesh.assets.title import Titles
from hypermesh.caesar.economics.staking import Staking
from hypermesh.caesar.token.accounts import balance, balances
from hypermesh.caesar.token.bank import Bank
from hypermesh.consensus.record import ATTESTATIONS, EPOCH, PRESENT, Attestation, Epoch
from hypermesh.crypto.digest import digest
from hypermesh.crypto.keys import QuantumKeys
from hypermesh.crypto.signature import sign
from hypermesh.ledger import identity
from hypermesh.ledger.module import Call, Context, Event, Module, Refusal
from hypermesh.ledger.state import MemoryBase, Overlay
from hypermesh.wire.asset import Lease, Offer, Receipt
from hypermesh.wire.block import (
    EconomyParameters,
    Genesis,
    LeaseParameters,
    NetworkClass,
    ProofParameters,
)
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.ids import NodeId, OwnerId
from hypermesh.wire.keys import HYBRID_V1, PublicKeys, QuantumSignature
from hypermesh.wire.proof import VdfOutput
from hypermesh.wire.tx import (
    BankFaucet,
    BankTransfer,
    BlockOpening,
    Body,
    LeaseActivate,
    LeaseClaim,
    LeaseOpen,
    LeaseSettle,
    StakeBond,
    Transaction,
)

START_MS = 1_800_000_000_000
RESERVATION_MS = 5_000
CLAIM_MS = 60_000
DURATION_MS_MAX = 600_000
LEASE_FEE = 7
GRANT = 100_000
BOND = 1_000
GENESIS_ID = b"\x01" * 32


@functools.cache
def keys(name: str) -> QuantumKeys:
    """The keys of `name`, made once a session: FALCON keys take their time."""
    return QuantumKeys.generate()


@functools.cache
def offer_signature(signer: str, offer: Offer) -> QuantumSignature:
    return sign(keys(signer), "offer", GENESIS_ID, encode(offer))


def genesis() -> Genesis:
    nobody = PublicKeys(HYBRID_V1, bytes(1793), bytes(32))
    return Genesis(
        version=1,
        name="test",
        network_class=NetworkClass.TEST,
        created_ms=START_MS,
        root_certificate=b"root",
        issuing_certificate=b"issuing",
        founder=nobody,
        sequencer=nobody,
        proofs=ProofParameters(60_000, 18, 16, 3, 512, 1000, 64, 4, BOND),
        economy=EconomyParameters("none", 10_000_000, GRANT, LEASE_FEE, 60_000),
        leases=LeaseParameters(RESERVATION_MS, CLAIM_MS, DURATION_MS_MAX),
        vdf=None,
    )


class Network:
    """Alice and Bob have a node each, Carol is an account without one. Alice's `second` node is
    hers too. All nodes are bonded and attested. Each of `more` is one more owner with a node."""

    def __init__(self, *more: str) -> None:
        self.alice, self.bob, self.second = (keys(n).id for n in ("alice", "bob", "second"))
        self.alice_owner, self.bob_owner, self.carol_owner = (
            digest("test", name) for name in (b"alice", b"bob", b"carol")
        )
        self.known_owners = {self.alice_owner, self.bob_owner, self.carol_owner}
        self.owner_of = {
            self.alice: self.alice_owner,
            self.bob: self.bob_owner,
            self.second: self.alice_owner,
        }
        self.names = {keys(name).id: name for name in ("alice", "bob", "second")}
        for name in more:
            self.names[keys(name).id] = name
            self.owner_of[keys(name).id] = digest("test", name.encode())
            self.known_owners.add(digest("test", name.encode()))
        self.state = Overlay(MemoryBase())
        self.modules: list[Module] = [
            Bank(lambda _state, _owner: True),
            Staking(lambda _state, node: node in self.owner_of),
            Registry(),
            Titles(lambda _state, owner: owner in self.known_owners),
            Leases(),
        ]
        self._transactions = 0
        self.context = Context(self.state, GENESIS_ID, genesis(), 0, START_MS, GENESIS_ID)
        for module in self.modules:
            module.begin(self.context)
        vdf = VdfOutput("test", 1, b"y")
        EPOCH.put(self.state, PRESENT, Epoch(5, bytes(32), bytes(32), vdf, START_MS, 0))
        for node, owner in self.owner_of.items():
            self._enrol(node, owner)
            self.execute(BankFaucet(), node)
            self.execute(StakeBond(node, BOND), node)
            self.attest(node)
        self.execute(BankTransfer(self.carol_owner, 50_000, ""), self.alice)

    def _enrol(self, node: NodeId, owner: OwnerId, *, revoked: bool = False) -> None:
        public = keys(self.names[node]).public
        row = identity.Node(public, owner, bytes(32), 2**52, revoked)
        identity._nodes.put(self.state, node, row)

    # -- standing of a node ------------------------------------------------------------------------

    def bundle(self, node: NodeId) -> bytes:
        return digest("test-bundle", node)

    def attest(self, node: NodeId, epoch: int = 5) -> None:
        ATTESTATIONS.put(self.state, self.bundle(node), Attestation(node, epoch, 1))

    def lapse(self, node: NodeId) -> None:
        ATTESTATIONS.delete(self.state, self.bundle(node))

    def revoke(self, node: NodeId) -> None:
        self._enrol(node, self.owner_of[node], revoked=True)

    # -- blocks ------------------------------------------------------------------------------------

    @property
    def now_ms(self) -> int:
        return self.context.time_ms

    def execute(self, body: Body, signer: bytes, attestation: bytes | None = None) -> bytes:
        """One transaction; its id, or its `Refusal` with every write undone. It refers to Alice's
        bundle, who hosts most of what is tested, unless told otherwise."""
        self._transactions += 1
        if attestation is None:
            attestation = self.bundle(self.alice)
        transaction = Transaction(GENESIS_ID, signer, 0, 0, 2**53, attestation, body)
        call = Call(
            tx_id=digest("test-tx", self._transactions.to_bytes(8, "big")),
            transaction=transaction,
            owner=self.owner_of.get(signer, signer),
            signer_is_node=signer in self.owner_of,
        )
        [module] = [module for module in self.modules if type(body) in module.bodies]
        savepoint, events = self.state.savepoint(), len(self.context.events)
        try:
            module.execute(self.context, call)
        except Refusal:
            self.state.roll_back(savepoint)
            del self.context.events[events:]
            raise
        return call.tx_id

    def advance(self, milliseconds: int = 1) -> list[Event]:
        """End the present block and open the next that much later; what the end brought about."""
        before = len(self.context.events)
        for module in self.modules:
            module.close_block(self.context)
        for module in self.modules:
            module.check(self.context)
        ended = self.context.events[before:]
        self.context = replace(
            self.context,
            height=self.context.height + 1,
            time_ms=self.context.time_ms + milliseconds,
            events=[],
        )
        for module in self.modules:
            module.open_block(self.context, BlockOpening(self.context.time_ms, None))
        return ended

    def deadline(self) -> int | None:
        return self.modules[-1].next_deadline(self.state)

    def deadline_of(self, name: str) -> int | None:
        """The next deadline of one module."""
        [module] = [each for each in self.modules if each.name == name]
        return module.next_deadline(self.state)

    def balance(self, account: bytes) -> int:
        return balance(self.state, account)

    def total(self) -> int:
        """All money in existence, from the balances alone."""
        return sum(amount for _, amount in balances(self.state))

    # -- the steps of a lease ----------------------------------------------------------------------

    def open(
        self,
        offer: Offer,
        signer: bytes,
        *,
        amount: int,
        duration_ms: int,
        escrow: int,
        signature: QuantumSignature | None = None,
        attestation: bytes | None = None,
    ) -> bytes:
        """`lease.open`; the lease id. The offer is signed by the provider it names."""
        signed = signature or offer_signature(self.names.get(offer.provider, "alice"), offer)
        body = LeaseOpen(offer, signed, amount, duration_ms, escrow, b"s" * 32)
        return self.execute(body, signer, attestation)

    def activate(self, lease: bytes, signer: bytes | None = None) -> None:
        self.execute(LeaseActivate(lease), signer or self.alice)

    def receipt(self, lease: bytes, held_ms: int, epoch: int) -> Receipt:
        return Receipt(GENESIS_ID, lease, epoch, held_ms, 0, 0, 0, bytes(32))

    def settle(self, receipt: Receipt, signer: bytes, host: str = "alice") -> None:
        signature = sign(keys(host), "receipt", GENESIS_ID, encode(receipt))
        self.execute(LeaseSettle(receipt, signature), signer)

    def claim(self, receipt: Receipt, signer: bytes | None = None, host: str = "alice") -> None:
        signature = sign(keys(host), "receipt", GENESIS_ID, encode(receipt))
        self.execute(LeaseClaim(receipt, signature), signer or self.alice)


def lease_of(event: Event) -> Lease:
    """The lease that an event shows."""
    return decode(Lease, event.data)
