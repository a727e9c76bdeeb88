"""A recorded log of mixed operations: every type that a network executes, refused ones among them.

Each operation is signed for the state that the ones before it lead to, so it is executed here once
while the log is made. Whatever draws lots follows from the operation's number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from hypermesh.assets import address
from hypermesh.consensus.attestation import expected
from hypermesh.consensus.prover.bundle import Attestor
from hypermesh.consensus.prover.time import evaluate
from hypermesh.crypto.digest import digest, digest_of
from hypermesh.crypto.signature import sign
from hypermesh.ledger.module import Refusal
from hypermesh.ledger.state import Overlay
from hypermesh.trustchain.ct.origin import origin
from hypermesh.trustchain.ct.tree import leaf_hash, root_of
from hypermesh.wire.amount import NANO
from hypermesh.wire.asset import (
    AssetKind,
    AssetState,
    Descriptor,
    Enforcement,
    Offer,
    Price,
    PrivacyLevel,
    Receipt,
)
from hypermesh.wire.block import Genesis
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.ids import ZERO_HASH
from hypermesh.wire.proof import Bundle, VdfOutput
from hypermesh.wire.transparency import PublicLog
from hypermesh.wire.tx import (
    ISSUER_GRACE_MS_MAX,
    AssetAccept,
    AssetOffer,
    AssetRegister,
    AssetSetPrivacy,
    AssetSetState,
    AssetSetTerms,
    AssetTransfer,
    AssetWithdraw,
    BankTransfer,
    Body,
    ConsensusAttest,
    FederationDrop,
    IdentityReplaceIssuer,
    IdentityRevoke,
    LeaseActivate,
    LeaseClaim,
    LeaseOpen,
    LeaseSettle,
    NameDrop,
    NameSet,
    SignedTransaction,
    StakeBond,
    StakeUnbond,
    TransparencyAnchor,
    TransparencyBegin,
    tag_of,
)

from .network import Chain, Network

OWNERS = {"alice": "founder", "bob": "bob-owner", "carol": "carol-owner"}
PRICE = Price(1, 1024, 1000)
AT_THE_DOOR = "refused at the door"


@dataclass
class Log:
    """The operations in order, what became of each while recording, and the VDF output that turns
    the first epoch."""

    entries: list[bytes] = field(default_factory=list)
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    vdf: VdfOutput | None = None


class Recorder:
    """Makes a log on a network whose plots lie in `plots`."""

    def __init__(self, network: Network, plots: Path) -> None:
        self._network = network
        self._plots = plots
        self._chain = Chain(network)
        self._bundles: dict[str, bytes] = {}
        self._assets: list[bytes] = []
        self.log = Log()

    def record(self, count: int) -> Log:
        """A log of `count` operations."""
        self._settle_in()
        # Seventeen, for each turn draws its lots from remainders of its number by 2, 3, 4 and 16.
        turns: list[Callable[[int], None]] = [
            self._pay,
            self._register,
            self._bond,
            self._lease,
            self._refused_payments,
            self._sell,
            self._unbond,
            self._change,
            self._refused_proofs,
            self._lease,
            self._identities,
            self._pay,
            self._forgeries,
            self._logs,
            self._bond,
            self._partners,
            self._issuer,
        ]
        number = 0
        while len(self.log.entries) < count:
            turns[number % len(turns)](number)
            number += 1
        del self.log.entries[count:]
        self.log.vdf = evaluate(self._network.genesis_id, self._network.genesis.proofs)
        return self.log

    def _settle_in(self) -> None:
        network = self._network
        for node, owner in OWNERS.items():
            if owner != "founder":
                self._add(network.own(owner))
            self._add(network.enrol(node, owner))
            self._add(network.faucet(node, 1))
            self._say(owner, StakeBond(network.id(node), 2 * NANO))
        for node in OWNERS:
            self._attest(node)

    def _attest(self, node: str) -> None:
        network = self._network
        genesis, identifier = network.genesis, network.id(node)
        attestor = Attestor(self._plots, network.genesis_id, identifier, genesis.proofs)
        statement = expected(self._chain.state, network.genesis_id, genesis, identifier)
        bundle = attestor.bundle(statement)
        self._say(node, ConsensusAttest(_corrupted(bundle)))
        self._say(node, ConsensusAttest(bundle))
        self._bundles[node] = digest_of("bundle", bundle)

    def _pay(self, number: int) -> None:
        owners = sorted(OWNERS.values())
        payer, payee = owners[number % 3], owners[(number + 1) % 3]
        body = BankTransfer(self._network.id(payee), 1 + number, f"payment {number}")
        self._say(payer if number % 2 else _node_of(payer), body)

    def _refused_payments(self, number: int) -> None:
        self._say("bob-owner", BankTransfer(self._network.id("founder"), 500 * NANO, ""))
        self._say("founder", BankTransfer(digest("test", b"nobody"), 1, ""))
        node = sorted(OWNERS)[number % 3]
        self._add(self._network.faucet(node, self._nonce(node)))

    def _bond(self, number: int) -> None:
        node = sorted(OWNERS)[number % 3]
        self._say(OWNERS[node], StakeBond(self._network.id(node), 1_000 + number))

    def _unbond(self, number: int) -> None:
        node = sorted(OWNERS)[number % 3]
        self._say(OWNERS[node], StakeUnbond(self._network.id(node), 1 + number))
        if number % 2:
            self._say(OWNERS[node], StakeUnbond(self._network.id(node), 90 * NANO))

    def _register(self, number: int) -> None:
        node = sorted(OWNERS)[number % 3]
        body = self._registration(node, number)
        self._say(node, body, attested=node)
        self._assets.append(body.asset)
        if number % 4 == 0:
            self._say(node, body, attested=node)

    def _registration(self, node: str, number: int) -> AssetRegister:
        public = number % 2 == 0
        descriptor = Descriptor(AssetKind.MEMORY, 1 << 20, Enforcement.ALLOCATION, [])
        salt = number.to_bytes(address.SALT_BYTES, "big")
        committed = address.commitment(salt, descriptor)
        owner = self._network.id(OWNERS[node])
        return AssetRegister(
            asset=address.asset_id(owner, AssetKind.MEMORY, committed, salt),
            kind=AssetKind.MEMORY,
            id_nonce=salt,
            level=PrivacyLevel.FULL_PUBLIC if public else PrivacyLevel.PRIVATE,
            commitment=committed,
            descriptor=descriptor if public else None,
            salt=salt if public else b"",
            price=PRICE if public else None,
            concurrent_max=2,
        )

    def _change(self, number: int) -> None:
        node = sorted(OWNERS)[number % 3]
        body = self._registration(node, number + 100_000)
        self._say(node, body, attested=node)
        for state in (AssetState.SUSPENDED, AssetState.AVAILABLE, AssetState.ALLOCATED):
            self._say(OWNERS[node], AssetSetState(body.asset, state), attested=node)
        private = AssetSetPrivacy(body.asset, PrivacyLevel.PRIVATE, ZERO_HASH, None, b"", None)
        self._say(node, private, attested=node)

    def _sell(self, number: int) -> None:
        """Terms, a gift, a sale, and an offer that is withdrawn or whose time runs out."""
        host = sorted(OWNERS)[number % 3]
        seller, buyer = OWNERS[host], OWNERS[sorted(OWNERS)[(number + 1) % 3]]
        registration = self._registration(host, 2 * (number + 400_000))
        asset = registration.asset
        self._say(host, registration, attested=host)
        self._say(seller, self._terms(registration, number), attested=host)
        self._say(seller, AssetTransfer(asset, self._network.id(buyer)), attested=host)
        self._say(seller, self._terms(registration, number), attested=host)
        self._say(buyer, AssetTransfer(asset, self._network.id(seller)), attested=host)
        price, later_ms = 1 + number, self._network.created_ms + 24 * 3_600_000
        offered = AssetOffer(asset, price, None, later_ms)
        sale = digest_of("tx", self._say(seller, offered, attested=host))
        self._say(seller, offered, attested=host)
        self._say(buyer, AssetAccept(asset, sale, price + 1), attested=host)
        self._say(buyer, AssetAccept(asset, sale, price), attested=host)
        self._say(buyer, AssetWithdraw(asset), attested=host)
        # Some of these are over before the log is sent, some end on the way, some outlast it.
        soon_ms = self._network.created_ms + 15_000 * (1 + number % 16)
        reserved = AssetOffer(asset, price, self._network.id(seller), soon_ms)
        self._say(buyer, reserved, attested=host)
        if number % 2:
            self._say(buyer, AssetWithdraw(asset), attested=host)

    def _terms(self, registered: AssetRegister, number: int) -> AssetSetTerms:
        return AssetSetTerms(
            asset=registered.asset,
            level=registered.level,
            audience_hash=ZERO_HASH,
            descriptor=registered.descriptor,
            salt=registered.salt,
            price=registered.price,
            terms=digest("test", registered.asset),
            concurrent_max=1 + number % 4,
            duration_ms_min=1 + number,
            region=f"region-{number}",
        )

    def _lease(self, number: int) -> None:
        """A life of a lease; every third stops early and is left to its deadline."""
        host = sorted(OWNERS)[number % 3]
        consumer = sorted(OWNERS)[(number + 1) % 3]
        registration = self._registration(host, 2 * (number + 200_000))
        self._say(host, registration, attested=host)
        offer = Offer(
            genesis=self._network.genesis_id,
            asset=registration.asset,
            provider=self._network.id(host),
            consumer=self._network.id(OWNERS[consumer]),
            revision=0,
            price=PRICE,
            amount_max=1 << 20,
            duration_ms_max=60_000,
            expires_ms=self._network.created_ms + 3_600_000,
        )
        body = LeaseOpen(
            offer=offer,
            offer_signature=self._sign(host, "offer", offer),
            amount=4096,
            duration_ms=10_000,
            escrow=100_000,
            session=digest("test-session", encode(offer)),
        )
        lease = digest_of("tx", self._say(consumer, body, attested=host))
        if number % 3 == 0:
            return
        self._say(host, LeaseActivate(lease), attested=host)
        receipt = Receipt(self._network.genesis_id, lease, 1, 0, 0, 0, 0, ZERO_HASH)
        signature = self._sign(host, "receipt", receipt)
        self._say(host, LeaseClaim(receipt, signature), attested=host)
        self._say(consumer, LeaseSettle(receipt, signature), attested=host)

    def _refused_proofs(self, number: int) -> None:
        node = sorted(OWNERS)[number % 3]
        other = sorted(OWNERS)[(number + 1) % 3]
        body = self._registration(node, number + 300_000)
        self._say(node, body)
        self._say(node, body, attested=other)

    def _identities(self, number: int) -> None:
        node = sorted(OWNERS)[number % 3]
        # A certificate counts from five minutes before it was made, so none of these is too new.
        self._add(self._network.enrol(node, OWNERS[node], self._nonce(node), serial=number // 4))
        self._say("founder", IdentityRevoke(digest("test", b"nobody"), "never seen"))
        spare, owner = f"spare {number}", f"guest {number}"
        self._add(self._network.own(owner))
        self._add(self._network.enrol(spare, owner))
        self._say(owner, NameSet(f"guest-{number}", self._network.id(spare), None))
        self._say("founder", NameDrop(f"guest-{number}"))
        self._say(owner, NameDrop(f"guest-{number}"))
        self._say(owner, IdentityRevoke(self._network.id(spare), "sold"))
        self._add(self._network.faucet(spare, 1))

    def _logs(self, number: int) -> None:
        """A log begins, grows, and is not taken where it shrinks or by whom it is not."""
        leaves = [leaf_hash(b"%d %d" % (number, each)) for each in range(8)]
        name = f"{origin(self._network.genesis_id, 1 + number)}/acts"
        begin = TransparencyBegin(PublicLog(name, b"k" * 32, b"k" * 1793, None))
        self._say("bob", begin)
        self._say("alice", begin)
        for size, proof in ((4, []), (8, [root_of(leaves[4:])]), (4, [])):
            self._say("alice", TransparencyAnchor(name, size, root_of(leaves[:size]), proof))

    def _partners(self, number: int) -> None:
        """A network is let in by who may, on other terms, and no more."""
        adding = self._network.partnership()
        self._say("bob-owner", adding)
        self._say("founder", adding)
        self._say("founder", msgspec.structs.replace(adding, services=[]))
        partner = digest_of("genesis", decode(Genesis, adding.document))
        if number % 2:
            self._say("founder", FederationDrop(partner, f"ended {number}"))
            self._say("founder", FederationDrop(partner, f"again {number}"))

    def _issuer(self, number: int) -> None:
        """Another issuing CA, once: nodes have certificates of the one before until they renew."""
        replace = IdentityReplaceIssuer(
            self._network.next_issuing(), ISSUER_GRACE_MS_MAX, f"stolen {number}"
        )
        self._say("bob-owner", replace)
        self._say("founder", replace)

    def _forgeries(self, number: int) -> None:
        body = BankTransfer(self._network.id("bob-owner"), 1 + number, "")
        nonce = self._nonce("founder")
        self._add(self._network.signed("founder", nonce, body, signing="bob-owner"))
        self._add(self._network.signed("founder", nonce + 7, body))
        self._add(self._network.signed("founder", nonce, body, genesis=digest("test", b"other")))

    def _say(self, name: str, body: Body, *, attested: str | None = None) -> object:
        attestation = self._bundles[attested] if attested else b""
        entry = self._network.signed(name, self._nonce(name), body, attestation=attestation)
        self._add(entry)
        return decode(SignedTransaction, entry).transaction

    def _nonce(self, name: str) -> int:
        return self._chain.nonce(self._network.id(name))

    def _sign(self, name: str, domain: str, value: object) -> object:
        return sign(self._network.keys(name), domain, self._network.genesis_id, encode(value))

    def _add(self, entry: bytes) -> None:
        """Append an operation, and execute it in a block of its own."""
        time_ms = self._network.created_ms + len(self.log.entries)
        kind = tag_of(decode(SignedTransaction, entry).transaction.body)
        try:
            self._chain.kernel.check(entry, Overlay(self._chain.base), time_ms)
        except Refusal:
            self.log.outcomes[kind, AT_THE_DOOR] += 1
        else:
            (code,) = self._chain.block(entry, time_ms=time_ms)
            self.log.outcomes[kind, code] += 1
        self.log.entries.append(entry)


def _node_of(owner: str) -> str:
    return next(node for node, its in OWNERS.items() if its == owner)


def _corrupted(bundle: Bundle) -> Bundle:
    assert bundle.work is not None
    work = msgspec.structs.replace(bundle.work, root=digest("test", bundle.work.root))
    return msgspec.structs.replace(bundle, work=work)
