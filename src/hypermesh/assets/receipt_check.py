"""The verification of a receipt, from the document alone: no node and no network is asked. Pure.

What a good receipt shows: the network's sequencer signed blocks in which the consumer opened this
lease, the provider activated it, and one of the two settled it, each with its own keys; what the
provider measured, under its signature; and that the amounts follow from that by the network's
rules. What it cannot show: that the provider's meter was right (the consumer's signature says that
it agreed), that no signer was revoked (the sequencer's word), and, without a pinned genesis, that
the network is the one you mean.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from hypermesh.assets.lease import LEASES, escrow_needed
from hypermesh.assets.receipt import (
    Party,
    Signed,
    Story,
    compose,
    figures_of,
    identified,
    lease_in,
    reading_in,
    require,
    story_of,
)
from hypermesh.crypto.digest import digest_of
from hypermesh.crypto.keys import key_id
from hypermesh.crypto.signature import verify
from hypermesh.ledger.kernel import OK
from hypermesh.ledger.shown import (
    RowProof,
    octets,
    read_genesis,
    read_row,
    read_transaction,
    require_same,
    value,
)
from hypermesh.ledger.verify import included, verify_header, verify_row
from hypermesh.wire.api.receipt import (
    ReceiptDocument,
    ReceiptParty,
    ReceiptProof,
)
from hypermesh.wire.asset import LeaseState
from hypermesh.wire.block import Genesis
from hypermesh.wire.codec import encode
from hypermesh.wire.errors import HyperMeshError
from hypermesh.wire.ids import GenesisId, OwnerId
from hypermesh.wire.keys import PublicKeys

T = TypeVar("T")

FINAL_OF: dict[str, LeaseState] = {"settle": LeaseState.SETTLED, "claim": LeaseState.CLAIMED}


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was checked: what, whether it holds, by which rule, and if not, why not."""

    what: str
    ok: bool
    rule: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the verification of a document found. `trust` says on what it all rests."""

    genesis: str
    trust: str
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether everything holds."""
        return all(check.ok for check in self.checks)


def verify_receipt(document: ReceiptDocument, pinned: GenesisId | None = None) -> Verdict:
    """Check all of a document, and say of each thing what it is and by which rule it was judged.

    With `pinned` the network must be that one.
    """
    checks = _Checks()
    trust = "as stated in the document"
    genesis = checks.run(
        "genesis document",
        "its digest is the network's id",
        lambda: _genesis_of(document),
    )
    if pinned is not None:
        trust = f"genesis {pinned.hex()}, pinned by you"
        checks.run(
            "network",
            "its id is the one that you pinned",
            lambda: require(
                document.genesis.id == pinned.hex(), f"the document is of {document.genesis.id}"
            ),
        )
    if genesis is not None:
        _verify_story(checks, document, genesis)
    return Verdict(document.genesis.id, trust, tuple(checks.done))


@dataclass(slots=True)
class _Checks:
    """What was checked so far."""

    done: list[Check] = field(default_factory=list)

    def run(self, what: str, rule: str, act: Callable[[], T]) -> T | None:
        """What `act` gives, or None where it finds a fault."""
        try:
            found = act()
        except HyperMeshError as error:
            why = f"{error.what}: {error.why}" if error.why else error.what
            self.done.append(Check(what, False, rule, f"{why} [{error.code}]"))
            return None
        self.done.append(Check(what, True, rule))
        return found


def _verify_story(checks: _Checks, document: ReceiptDocument, genesis: Genesis) -> None:
    steps: list[Signed] = []
    signers: list[tuple[PublicKeys, OwnerId]] = []
    for shown in document.proofs:
        step = _verify_step(checks, genesis, shown)
        if step is None:
            return
        steps.append(step[0])
        signers.append(step[1])
    story = checks.run(
        "story",
        "opened, then activated, then settled or claimed",
        lambda: story_of(steps),
    )
    if story is None:
        return
    checks.run(
        "lease",
        "all three steps are of one lease, which has the id of the opening, and were executed",
        lambda: _require_one_lease(story, document.lease),
    )
    _verify_terms(checks, genesis, story, signers)
    _verify_use(checks, genesis, document, story, signers)
    _verify_figures(checks, genesis, document, story)
    _verify_rest(checks, genesis, document, steps)


def _verify_step(
    checks: _Checks, genesis: Genesis, shown: ReceiptProof
) -> tuple[Signed, tuple[PublicKeys, OwnerId]] | None:
    name, place = shown.step, f"block {shown.transaction.height}"
    proof = checks.run(f"{name}: bytes", "they say what stands beside them", lambda: _read(shown))
    if proof is None:
        return None
    header = checks.run(
        f"{name}: header of {place}",
        "the sequencer that genesis names signed it, with FALCON-1024 and Ed25519",
        lambda: verify_header(genesis, proof.proof.header),
    )
    found = checks.run(
        f"{name}: transaction {shown.transaction.index} of {place}",
        "the header commits to its bytes, to its index and to its result",
        lambda: included(proof.proof),
    )
    if header is None or found is None:
        return None
    signer = checks.run(
        f"{name}: signer",
        "its certificate leads to the root in genesis and held at the time of the block",
        lambda: _signer(genesis, proof, shown.party),
    )
    if signer is None:
        return None
    checks.run(
        f"{name}: signature",
        "both halves verify over the transaction's id under the signer's keys",
        lambda: verify(
            signer[0], "tx", digest_of("genesis", genesis), found.tx, found.signed.signature
        ),
    )
    return proof, signer


def _read(shown: ReceiptProof) -> Signed:
    party = shown.party
    return Signed(
        shown.step,
        Party(
            None if party.certificate is None else octets(party.certificate, "certificate"),
            None if party.keys is None else value(PublicKeys, party.keys, "signer's keys"),
            None if party.issuing is None else octets(party.issuing, "issuing certificate"),
        ),
        read_transaction(shown.transaction),
    )


def _signer(genesis: Genesis, step: Signed, stated: ReceiptParty) -> tuple[PublicKeys, OwnerId]:
    keys, owner = identified(genesis, step)
    require(stated.owner == owner.hex(), f"its owner is {owner.hex()}")
    require(stated.signer == key_id(keys).hex(), f"it is {key_id(keys).hex()}")
    return keys, owner


def _verify_terms(
    checks: _Checks,
    genesis: Genesis,
    story: Story,
    signers: Sequence[tuple[PublicKeys, OwnerId]],
) -> None:
    offer, genesis_id = story.opening.offer, digest_of("genesis", genesis)

    def offered() -> None:
        require(offer.genesis == genesis_id, "the offer is for another network")
        host = story.activated.signed.transaction.signer
        require(offer.provider == host, "the offer is of another node than activated the lease")
        verify(signers[1][0], "offer", genesis_id, encode(offer), story.opening.offer_signature)

    def accepted() -> None:
        require(offer.consumer == signers[0][1], "the offer was made to another consumer")
        require(story.opening.amount <= offer.amount_max, "more units than were offered")
        require(story.opening.duration_ms <= offer.duration_ms_max, "longer than was offered")
        require(story.opened.time_ms < offer.expires_ms, "the offer had expired")
        needed = escrow_needed(
            offer, story.opening.amount, story.opening.duration_ms, genesis.economy.lease_fee
        )
        require(story.opening.escrow >= needed, f"the escrow had to be {needed} nCAES")

    checks.run("offer", "the provider signed asset, price and bounds for this consumer", offered)
    checks.run("opening", "within the offer, by the consumer's owner, escrow covers it", accepted)


def _verify_use(
    checks: _Checks,
    genesis: Genesis,
    document: ReceiptDocument,
    story: Story,
    signers: Sequence[tuple[PublicKeys, OwnerId]],
) -> None:
    receipt, genesis_id = story.receipt, digest_of("genesis", genesis)

    def measured() -> None:
        require(receipt.genesis == genesis_id, "the receipt is for another network")
        require(receipt.held_ms <= story.opening.duration_ms, "held for longer than was leased")
        verify(signers[1][0], "receipt", genesis_id, encode(receipt), story.end.provider_signature)

    def agreed() -> None:
        if story.step == "settle":
            consumer = story.opening.offer.consumer
            require(signers[2][1] == consumer, "another owner than the consumer settled it")
        else:
            provider = story.opening.offer.provider
            require(
                story.ended.signed.transaction.signer == provider, "not the provider claimed it"
            )
            over_ms = story.activated.time_ms + story.opening.duration_ms
            require(story.ended.time_ms >= over_ms, "claimed before the lease was over")

    def evident() -> None:
        reading = reading_in(octets(document.use.reading or "", "reading"))
        require(digest_of("meter", reading) == receipt.evidence, "its digest is another")
        require(
            (reading.held_ms, reading.cpu_us, reading.bytes_read, reading.bytes_written)
            == (receipt.held_ms, receipt.cpu_us, receipt.bytes_read, receipt.bytes_written),
            "the receipt has other figures",
        )

    checks.run("measured use", "the provider's keys signed the receipt (first signature)", measured)
    rule = (
        "the consumer's transaction carries it (second signature)"
        if story.step == "settle"
        else "the provider alone claimed it, after the lease's end: one signature"
    )
    checks.run("agreement", rule, agreed)
    if document.use.reading is not None:
        checks.run("evidence", "the digest of the meter's reading is the receipt's", evident)


def _verify_figures(
    checks: _Checks, genesis: Genesis, document: ReceiptDocument, story: Story
) -> None:
    stated = document.figures
    derived = figures_of(genesis, story, None)
    price, opening = story.opening.offer.price, story.opening

    def same(name: str) -> Callable[[], None]:
        return lambda: require(
            getattr(stated, name) == getattr(derived, name),
            f"{getattr(stated, name)} is stated, {getattr(derived, name)} follows",
        )

    rules = {
        "starts_ms": "time of the block that activated it",
        "settled_ms": f"time of the block with the {story.step}",
        "charged_ms": f"the smaller of {story.receipt.held_ms} ms in the receipt and "
        f"{derived.settled_ms - derived.starts_ms} ms of block time",
        "cost": f"{price.amount} nCAES x {opening.amount} units x {derived.charged_ms} ms / "
        f"({price.per_units} units x {price.per_ms} ms), rounded up",
        "fee_due": "the lease fee in genesis",
        "escrow": "what the opening set aside",
        "fee": "the lease fee, at most the escrow",
        "paid": "the cost, at most the escrow less the fee",
        "refund": "escrow less fee less paid",
    }
    for name, rule in rules.items():
        checks.run(f"figure {name} = {getattr(stated, name)}", rule, same(name))
    checks.run(
        "sum",
        f"paid {stated.paid} + fee {stated.fee} + refund {stated.refund} = escrow {stated.escrow}",
        lambda: require(
            stated.paid + stated.fee + stated.refund == stated.escrow, "the sum is another"
        ),
    )


def _verify_rest(
    checks: _Checks, genesis: Genesis, document: ReceiptDocument, steps: Sequence[Signed]
) -> None:
    row = None
    if document.row is not None:
        shown = document.row
        row = checks.run("row: bytes", "they say what stands beside them", lambda: read_row(shown))
        if row is None:
            return
        proven: RowProof = row
        checks.run(
            f"row of the lease after block {shown.height}",
            "every follower's state hash covers it, and it has the same figures",
            lambda: _verify_row(genesis, document, steps, proven),
        )
    checks.run(
        "readable members",
        "each is what the proofs say",
        lambda: _compare(genesis, document, steps, row),
    )


def _verify_row(
    genesis: Genesis, document: ReceiptDocument, steps: Sequence[Signed], row: RowProof
) -> None:
    story = story_of(steps)
    require(row.key == LEASES.key(story.opened.tx), "the row is of another lease")
    verify_row(genesis, row.header, row.proof, row.value)
    require(row.header.header.height >= story.ended.height, "the row is older than the end")
    lease, figures = lease_in(row), document.figures
    opening, offer = story.opening, story.opening.offer
    found = (lease.paid, lease.fee, lease.refund, lease.escrow, lease.starts_ms)
    wanted = (figures.paid, figures.fee, figures.refund, figures.escrow, figures.starts_ms)
    named = zip(("paid", "fee", "refund", "escrow", "starts_ms"), found, strict=True)
    require(found == wanted, "it says " + ", ".join(f"{name} {value}" for name, value in named))
    require(lease.state is FINAL_OF[story.step], f"it says {lease.state.value}")
    require(
        (lease.asset, lease.host, lease.consumer, lease.amount, lease.price, lease.epoch)
        == (
            offer.asset,
            offer.provider,
            offer.consumer,
            opening.amount,
            offer.price,
            story.receipt.epoch,
        ),
        "it has other terms",
    )


def _compare(
    genesis: Genesis, document: ReceiptDocument, steps: Sequence[Signed], row: RowProof | None
) -> None:
    reading = None if document.use.reading is None else octets(document.use.reading, "reading")
    meant = compose(genesis, steps, reading, row)
    for name in ("genesis", "terms", "use", "figures"):
        require_same(getattr(document, name), getattr(meant, name))
    require_same(document, meant)


def _require_one_lease(story: Story, stated: str) -> None:
    lease = story.opened.tx
    require(lease.hex() == stated, f"the opening made lease {lease.hex()}")
    require(story.activation.lease == lease, "another lease was activated")
    require(story.receipt.lease == lease, "the receipt is of another lease")
    places = [(each.height, each.index) for each in (story.opened, story.activated, story.ended)]
    require(places == sorted(set(places)), "its steps are not in this order in the blocks")
    for each in (story.opened, story.activated, story.ended):
        require(each.result.code == OK, f"a step was refused: {each.result.code}")


def _genesis_of(document: ReceiptDocument) -> Genesis:
    genesis = read_genesis(document.genesis.document)
    require(digest_of("genesis", genesis).hex() == document.genesis.id, "its digest is another")
    return genesis
