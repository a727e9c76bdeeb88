"""A receipt as a document: what was agreed, measured and paid, composed from proofs. Pure.

Whoever holds the document needs no node and no network. All that people read in it is derived here
from the bytes of its proofs; `assets.receipt_check` derives it again and compares, so that no
member stands on its own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from hypermesh.assets.lease import charged_ms
from hypermesh.caesar.token.escrow import split
from hypermesh.crypto.digest import digest_of
from hypermesh.crypto.keys import key_id
from hypermesh.ledger.errors import ProofInvalid
from hypermesh.ledger.identity import EXPIRY_GRACE_MS
from hypermesh.ledger.ledger import ASSURANCE_SOLO
from hypermesh.ledger.shown import (
    RowProof,
    show_row,
    show_transaction,
)
from hypermesh.ledger.verify import Included, included
from hypermesh.trustchain.verify import Anchors, CertificateExpired, check_node
from hypermesh.wire.api.asset import PriceView
from hypermesh.wire.api.receipt import (
    RECEIPT_BYTES_MAX,
    ReceiptDocument,
    ReceiptFigures,
    ReceiptGenesis,
    ReceiptJob,
    ReceiptParty,
    ReceiptProof,
    ReceiptTerms,
    ReceiptUse,
)
from hypermesh.wire.asset import Lease, Receipt
from hypermesh.wire.block import Genesis, TransactionProof
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.errors import HyperMeshError, InvalidInput
from hypermesh.wire.ids import OwnerId
from hypermesh.wire.keys import PublicKeys
from hypermesh.wire.reading import JobOutcome, MeterReading
from hypermesh.wire.tx import LeaseActivate, LeaseClaim, LeaseOpen, LeaseSettle

Step = Literal["open", "activate", "settle", "claim"]


class ReceiptInvalid(HyperMeshError):
    """The document is no receipt at all: nothing in it can be checked."""

    code = "HM-ASSET-0020"
    status = 422
    exit_code = 9
    title = "This is not a receipt"
    remedy = "Ask for it again: hm lease receipt LEASE > receipt.json"


@dataclass(frozen=True, slots=True)
class Party:
    """A signer as the document shows it: a node by its certificate, or an owner by its keys.
    `issuing` is the certificate above a node's, where it is not that of genesis."""

    certificate: bytes | None
    keys: PublicKeys | None = None
    issuing: bytes | None = None


@dataclass(frozen=True, slots=True)
class Signed:
    """One step of the lease, with what shows it."""

    step: Step
    party: Party
    proof: TransactionProof


def compose(
    genesis: Genesis,
    steps: Sequence[Signed],
    reading: bytes | None,
    row: RowProof | None,
) -> ReceiptDocument:
    """The document of a lease that was settled or claimed, from its three steps.

    Nothing is verified. Raises `ProofInvalid` where the steps are not those of one lease.
    """
    story = story_of(steps)
    genesis_id = digest_of("genesis", genesis)
    return ReceiptDocument(
        schema_version=1,
        kind="hypermesh.receipt",
        lease=story.opened.tx.hex(),
        assurance=ASSURANCE_SOLO,
        genesis=ReceiptGenesis(genesis_id.hex(), genesis.name, encode(genesis).hex()),
        terms=_terms(story, _owner(genesis, steps[1])),
        use=_use(story, reading),
        figures=figures_of(genesis, story, row),
        jobs=[] if reading is None else [_job(each) for each in reading_in(reading).jobs],
        proofs=[_proof(genesis, step) for step in steps],
        row=None if row is None else show_row(row),
    )


def read(text: bytes) -> ReceiptDocument:
    """The document in `text`, JSON. Raises `ReceiptInvalid`."""
    if len(text) > RECEIPT_BYTES_MAX:
        raise ReceiptInvalid(why=f"it has {len(text)} bytes, at most {RECEIPT_BYTES_MAX} are read")
    try:
        document = msgspec.json.decode(text, type=ReceiptDocument)
        plain = json.loads(text, object_pairs_hook=_without_repetition)
    except (ValueError, RecursionError) as error:
        raise ReceiptInvalid(why=str(error)) from error
    if plain != msgspec.to_builtins(document):
        raise ReceiptInvalid(why="it has members that a receipt does not have")
    return document


def _without_repetition(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object in which no name comes twice: of two values a reader could take either."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name comes twice in one object")
    return found


# -- the story of a lease --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Story:
    """The three steps, as far as their blocks say; `end` settles or claims."""

    opened: Included
    opening: LeaseOpen
    activated: Included
    activation: LeaseActivate
    ended: Included
    end: LeaseSettle | LeaseClaim
    step: Step

    @property
    def receipt(self) -> Receipt:
        return self.end.receipt


def story_of(steps: Sequence[Signed]) -> Story:
    names = [step.step for step in steps]
    if names not in (["open", "activate", "settle"], ["open", "activate", "claim"]):
        raise ProofInvalid(f"The steps are {', '.join(names) or 'none'}")
    found = [included(step.proof) for step in steps]
    opened, activated, ended = found
    opening, activation, end = (each.signed.transaction.body for each in found)
    if not isinstance(opening, LeaseOpen):
        raise ProofInvalid("The first step opens no lease")
    if not isinstance(activation, LeaseActivate):
        raise ProofInvalid("The second step activates no lease")
    wanted = LeaseSettle if names[2] == "settle" else LeaseClaim
    if not isinstance(end, wanted) or not isinstance(end, LeaseSettle | LeaseClaim):
        raise ProofInvalid(f"The last step is no lease.{names[2]}")
    return Story(opened, opening, activated, activation, ended, end, names[2])


def _terms(story: Story, provider_owner: OwnerId) -> ReceiptTerms:
    opening, offer = story.opening, story.opening.offer
    price = offer.price
    return ReceiptTerms(
        asset=offer.asset.hex(),
        provider=offer.provider.hex(),
        provider_owner=provider_owner.hex(),
        consumer=offer.consumer.hex(),
        amount=opening.amount,
        price=PriceView(price.amount, price.per_units, price.per_ms),
        duration_ms=opening.duration_ms,
        escrow=opening.escrow,
        session=opening.session.hex(),
    )


def _use(story: Story, reading: bytes | None) -> ReceiptUse:
    receipt = story.receipt
    return ReceiptUse(
        epoch=receipt.epoch,
        held_ms=receipt.held_ms,
        cpu_us=receipt.cpu_us,
        bytes_read=receipt.bytes_read,
        bytes_written=receipt.bytes_written,
        evidence=receipt.evidence.hex(),
        reading=None if reading is None else reading.hex(),
        provider_signature=encode(story.end.provider_signature).hex(),
    )


def figures_of(genesis: Genesis, story: Story, row: RowProof | None) -> ReceiptFigures:
    opening, fee = story.opening, genesis.economy.lease_fee
    starts_ms, settled_ms = story.activated.time_ms, story.ended.time_ms
    charged = charged_ms(story.receipt.held_ms, starts_ms, settled_ms)
    cost = opening.offer.price.cost(opening.amount, charged)
    moved = split(opening.escrow, cost, fee)
    return ReceiptFigures(
        starts_ms=starts_ms,
        settled_ms=settled_ms,
        charged_ms=charged,
        cost=cost,
        fee_due=fee,
        escrow=opening.escrow,
        paid=moved.paid,
        fee=moved.fee,
        refund=moved.refund,
        payee=None if row is None else lease_in(row).payee.hex(),
    )


def _job(outcome: JobOutcome) -> ReceiptJob:
    return ReceiptJob(
        job=outcome.job.hex(),
        engine=outcome.engine,
        exit_code=outcome.exit_code,
        reason=outcome.reason,
        isolation=outcome.isolation,
        enforced_cpu=outcome.enforced_cpu,
        enforced_memory=outcome.enforced_memory,
        wall_us=outcome.wall_us,
        cpu_us=outcome.cpu_us,
        memory_peak_bytes=outcome.memory_peak_bytes,
        program=outcome.program.hex(),
        stdout=outcome.stdout.hex(),
        stderr=outcome.stderr.hex(),
        result=outcome.result.hex(),
    )


def _proof(genesis: Genesis, step: Signed) -> ReceiptProof:
    shown = show_transaction(step.proof)
    party = step.party
    signer = included(step.proof).signed.transaction.signer
    return ReceiptProof(
        step=step.step,
        party=ReceiptParty(
            signer=signer.hex(),
            owner=_owner(genesis, step).hex(),
            certificate=None if party.certificate is None else party.certificate.hex(),
            keys=None if party.keys is None else encode(party.keys).hex(),
            issuing=None if party.issuing is None else party.issuing.hex(),
        ),
        transaction=shown,
    )


def reading_in(data: bytes) -> MeterReading:
    try:
        return decode(MeterReading, data)
    except InvalidInput as error:
        raise ProofInvalid("The reading is no meter's", why=str(error)) from error


def lease_in(row: RowProof) -> Lease:
    if row.value is None:
        raise ProofInvalid("The row is empty")
    try:
        return decode(Lease, row.value)
    except InvalidInput as error:
        raise ProofInvalid("The row is no lease", why=str(error)) from error


# -- signers ---------------------------------------------------------------------------------------


def identified(genesis: Genesis, step: Signed) -> tuple[PublicKeys, OwnerId]:
    """Keys and owner of who signed a step, believed as of its block. Raises what `check_node`
    raises, and `ProofInvalid`."""
    found = included(step.proof)
    signer, party = found.signed.transaction.signer, step.party
    if (party.certificate is None) == (party.keys is None):
        raise ProofInvalid("A signer has either a certificate or keys")
    if party.certificate is None and party.issuing is not None:
        raise ProofInvalid("An issuing certificate stands above a certificate alone")
    if party.keys is not None:
        require(key_id(party.keys) == signer, "the keys are not the signer's")
        return party.keys, signer
    certificate = party.certificate or b""
    issuing = party.issuing or genesis.issuing_certificate
    anchors = Anchors(digest_of("genesis", genesis), genesis.root_certificate, issuing)
    now_s = found.time_ms // 1000
    try:
        node = check_node(certificate, anchors, now_s=now_s)
    except CertificateExpired:
        node = check_node(certificate, anchors, now_s=now_s - EXPIRY_GRACE_MS // 1000)
    require(node.id == signer, "the certificate is another node's")
    return node.keys, node.owner


def _owner(genesis: Genesis, step: Signed) -> OwnerId:
    return identified(genesis, step)[1]


def require(holds: bool, why: str) -> None:
    if not holds:
        raise ProofInvalid("It does not hold", why=why)
