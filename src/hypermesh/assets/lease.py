"""The lease table: who holds how much of which asset until when, and where its escrow goes.

    lease.open                                                     no activation in time
        v                                                                   |
    RESERVED --lease.activate (host)--> ACTIVE --end--> ENDED --no claim--> EXPIRED, full refund
                                          |               |
                       lease.settle (consumer, host's receipt) -> SETTLED, metered use is paid
                                          lease.claim (host alone) -> CLAIMED, time held is paid

Rules that hold after every block:

- The leases of an asset that are RESERVED or ACTIVE are at most its `concurrent_max`, and their
  amounts together at most its capacity where the chain knows it. Elsewhere the host's offer and its
  activation bound them: what it does not activate frees itself.
- Every lease that is not final has one deadline, and the ledger itself acts on it: a reservation
  expires `reservation_ms` after it was opened, a running lease ends after its duration, and an
  ended one expires `claim_ms` after the block that ended it. So no lease and no escrow lasts for
  ever, whoever dies, and a ledger that stood still costs no provider its claim.
- An escrow is opened with the lease and closed once: paid + fee + refund = escrow.
- The epoch of an asset rises with every lease on it; a receipt names its own.

What a deadline means: a transaction in a block at or after it comes too late, an instant before it
is in time.

**A lapsed or revoked host.** Every `lease.*` needs the host's present attestation and a host that
is not revoked. Without either

- nothing new opens on its assets,
- a reservation cannot be activated and returns in full at its deadline,
- a running lease can be neither settled nor claimed. The clock goes on: when the host attests again
  before the end of the claim window, both work as before; otherwise, and always when it is revoked,
  the whole escrow returns to the consumer at that deadline. A key that may be stolen earns nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from hypermesh.assets import registry
from hypermesh.caesar.token import escrow
from hypermesh.consensus.attestation import require_attested
from hypermesh.crypto.signature import SignatureInvalid, verify
from hypermesh.ledger.module import Call, Context, Event, InvariantBroken, Refusal, State
from hypermesh.ledger.table import Table
from hypermesh.wire.amount import AMOUNT_MAX
from hypermesh.wire.asset import (
    Asset,
    AssetState,
    Capability,
    Lease,
    LeaseState,
    Offer,
    PrivacyLevel,
    Receipt,
)
from hypermesh.wire.codec import encode
from hypermesh.wire.errors import InvalidInput
from hypermesh.wire.ids import LeaseId
from hypermesh.wire.keys import PublicKeys, QuantumSignature
from hypermesh.wire.tx import BlockOpening, LeaseActivate, LeaseClaim, LeaseOpen, LeaseSettle

FINAL_KEPT_MS = 24 * 60 * 60 * 1000
"""How long the state shows a final lease; the blocks hold it for ever."""

WAIT_MS_MAX = 2**53

DUE_PER_BLOCK_MAX = 4096
"""Leases that one block ends or expires, and final ones that it drops; the next goes on."""

LIVE = frozenset({LeaseState.RESERVED, LeaseState.ACTIVE})
"""The states in which a lease takes up its asset."""

FINAL = frozenset({LeaseState.SETTLED, LeaseState.CLAIMED, LeaseState.EXPIRED})

LEASES: Table[Lease] = Table("lease/row/", Lease)
"""Lease id -> lease."""

_DUE: Table[bytes] = Table("lease/due/", bytes)
"""Deadline (u64, ms), lease id -> nothing. One row for each lease that is not final."""

_FINAL: Table[bytes] = Table("lease/final/", bytes)
"""Time to drop (u64, ms), lease id -> nothing. One row for each final lease."""


class UnknownLease(Refusal):
    """No lease has this id, or it became final long ago."""

    code = "HM-TX-LEASE-0001"
    status = 404
    exit_code = 5
    title = "There is no such lease"


class OfferMismatch(Refusal):
    """The offer is for someone or something else, or the asset has changed since it was made."""

    code = "HM-TX-LEASE-0002"
    title = "The offer does not fit this lease"
    remedy = "Ask the hosting node for a new offer"


class OfferExpired(Refusal):
    """The offer's time is over."""

    code = "HM-TX-LEASE-0003"
    title = "The offer has expired"
    remedy = "Ask the hosting node for a new offer"


class OfferForged(Refusal):
    """The offer's signature is not the hosting node's."""

    code = "HM-TX-LEASE-0004"
    status = 403
    exit_code = 4
    title = "The offer is not signed by the node that hosts the asset"


class OutOfService(Refusal):
    """The owner has taken the asset out of service."""

    code = "HM-TX-LEASE-0005"
    title = "The asset is out of service"


class NoRoom(Refusal):
    """Other leases take the asset up."""

    code = "HM-TX-LEASE-0006"
    exit_code = 8
    title = "The asset has no room for this lease"
    remedy = "Ask for less, wait for a lease to end, or take another asset"


class BeyondOffer(Refusal):
    """More units or more time than the offer or the network allows."""

    code = "HM-TX-LEASE-0007"
    exit_code = 8
    title = "The lease asks for more than it may have"


class EscrowTooSmall(Refusal):
    """The escrow does not cover the price of the whole time and the fee."""

    code = "HM-TX-LEASE-0008"
    status = 402
    exit_code = 8
    title = "The escrow does not cover this lease"


class PrivateAsset(Refusal):
    """At Private only the asset's owner leases it, whatever an offer says."""

    code = "HM-TX-LEASE-0009"
    status = 403
    exit_code = 4
    title = "The asset is private to its owner"


class NotAParty(Refusal):
    """Activation and claim belong to the host, settlement to the consumer."""

    code = "HM-TX-LEASE-0010"
    status = 403
    exit_code = 4
    title = "The signer has no such part in this lease"


class WrongState(Refusal):
    """The lease is at another point of its life."""

    code = "HM-TX-LEASE-0011"
    title = "The lease is not in a state that allows this"


class TooEarly(Refusal):
    """A claim before the lease's end; until then the consumer settles."""

    code = "HM-TX-LEASE-0012"
    title = "The lease has not ended yet"


class TooLate(Refusal):
    """The deadline has passed."""

    code = "HM-TX-LEASE-0013"
    title = "The deadline of this lease has passed"


class ReceiptMismatch(Refusal):
    """The receipt is of another epoch or network, or says more than the lease's length."""

    code = "HM-TX-LEASE-0014"
    title = "The receipt does not fit this lease"


class ReceiptForged(Refusal):
    """The receipt's signature is not the hosting node's."""

    code = "HM-TX-LEASE-0015"
    status = 403
    exit_code = 4
    title = "The receipt is not signed by the node that hosts the asset"


class BelowTerms(Refusal):
    """The owner does not lend for so short a time."""

    code = "HM-TX-LEASE-0016"
    exit_code = 8
    title = "The lease is shorter than its owner lends for"


class Leases:
    """The ledger module of `lease.*`."""

    name = "leases"
    bodies: tuple[type, ...] = (LeaseOpen, LeaseActivate, LeaseSettle, LeaseClaim)

    def begin(self, context: Context) -> None:
        """A network begins without leases. Raises `InvalidInput` for a genesis whose waits are so
        long that a deadline could not be written."""
        waits = context.genesis.leases
        longest = max(waits.reservation_ms, waits.claim_ms, waits.duration_ms_max)
        if longest > WAIT_MS_MAX:
            raise InvalidInput(
                f"The genesis has a wait of {longest} ms", why=f"at most {WAIT_MS_MAX} ms can be"
            )

    def open_block(self, context: Context, opening: BlockOpening) -> None:
        """What falls due is done at the end of the block."""

    def execute(self, context: Context, call: Call) -> None:
        match call.body:
            case LeaseOpen() as body:
                self._open(context, call, body)
            case LeaseActivate() as body:
                self._activate(context, call, body)
            case LeaseSettle() as body:
                self._settle(context, call, body)
            case LeaseClaim() as body:
                self._claim(context, call, body)

    def close_block(self, context: Context) -> None:
        """End and expire what is due, drop what has been final for long."""
        state = context.state
        for lease_id in list(_until(_DUE, state, context.time_ms)):
            lease = existing(state, lease_id)
            if lease.state is LeaseState.ACTIVE:
                _end(context, lease_id, lease)
            else:
                _expire(context, lease_id, lease)
        for lease_id in list(_until(_FINAL, state, context.time_ms)):
            lease = existing(state, lease_id)
            _FINAL.delete(state, _at(lease.deadline_ms, lease_id))
            LEASES.delete(state, lease_id)

    def next_deadline(self, state: State) -> int | None:
        """The earliest deadline of a lease that is not final; nobody waits for a row to be
        dropped."""
        for key, _ in _DUE.rows(state):
            return int.from_bytes(key[:8], "big")
        return None

    def check(self, context: Context) -> None:
        """The next deadline is that of a lease which is not final. One row at every block; that the
        escrows are covered is the bank's to check."""
        for key, _ in _DUE.rows(context.state):
            lease = LEASES.get(context.state, key[8:])
            if lease is None or lease.state in FINAL or key != _at(lease.deadline_ms, key[8:]):
                raise InvariantBroken(
                    "A deadline of the lease table belongs to no lease that waits for it",
                    why=f"lease {key[8:].hex()}",
                )
            return

    def _open(self, context: Context, call: Call, body: LeaseOpen) -> None:
        state, offer = context.state, body.offer
        asset = registry.existing(state, offer.asset)
        keys = registry.host_keys(state, asset.host)
        require_attested(context, call.transaction.attestation, asset.host)
        _check_offer(context, call, offer, asset)
        _check_room(asset, body.amount)
        _check_bounds(context, body)
        _check_escrow(context, body)
        _check_offer_signature(context, keys, body)
        escrow.open(state, call.tx_id, call.owner, body.escrow)
        taken = registry.take(state, offer.asset, body.amount)
        lease = Lease(
            asset=offer.asset,
            host=asset.host,
            payee=asset.owner,
            consumer=call.owner,
            session=body.session,
            level=asset.level,
            price=offer.price,
            amount=body.amount,
            duration_ms=body.duration_ms,
            escrow=body.escrow,
            epoch=taken.epoch,
            state=LeaseState.RESERVED,
            opened_ms=context.time_ms,
            starts_ms=0,
            ends_ms=0,
            deadline_ms=context.time_ms + context.genesis.leases.reservation_ms,
        )
        _DUE.put(state, _at(lease.deadline_ms, call.tx_id), b"")
        _record(context, "lease.opened", call.tx_id, lease)

    def _activate(self, context: Context, call: Call, body: LeaseActivate) -> None:
        lease = existing(context.state, body.lease)
        _require_host(context, call, lease)
        if call.transaction.signer != lease.host:
            raise NotAParty(why="only the hosting node activates a lease")
        if lease.state is not LeaseState.RESERVED:
            raise WrongState(f"The lease is {lease.state}, not reserved")
        _require_in_time(context, lease)
        ends_ms = context.time_ms + lease.duration_ms
        active = msgspec.structs.replace(
            lease, state=LeaseState.ACTIVE, starts_ms=context.time_ms, ends_ms=ends_ms
        )
        _record(
            context, "lease.activated", body.lease, _postponed(context, body.lease, active, ends_ms)
        )

    def _settle(self, context: Context, call: Call, body: LeaseSettle) -> None:
        lease_id, receipt = body.receipt.lease, body.receipt
        lease = existing(context.state, lease_id)
        keys = _require_host(context, call, lease)
        if call.owner != lease.consumer:
            raise NotAParty(why="only the consumer settles a lease")
        _require_begun(context, lease)
        _check_receipt(context, keys, lease_id, lease, receipt, body.provider_signature)
        _pay(context, lease_id, lease, receipt, LeaseState.SETTLED)

    def _claim(self, context: Context, call: Call, body: LeaseClaim) -> None:
        lease_id, receipt = body.receipt.lease, body.receipt
        lease = existing(context.state, lease_id)
        keys = _require_host(context, call, lease)
        if call.transaction.signer != lease.host:
            raise NotAParty(why="only the hosting node claims a lease")
        _require_begun(context, lease)
        if context.time_ms < lease.ends_ms:
            raise TooEarly(why=f"it ends at {lease.ends_ms} ms, this block is {context.time_ms} ms")
        _check_receipt(context, keys, lease_id, lease, receipt, body.provider_signature)
        _pay(context, lease_id, lease, receipt, LeaseState.CLAIMED)


def existing(state: State, lease_id: LeaseId) -> Lease:
    """The lease, or `UnknownLease`."""
    lease = LEASES.get(state, lease_id)
    if lease is None:
        raise UnknownLease(f"There is no lease {lease_id.hex()} on this network")
    return lease


def unfinished(state: State) -> Iterator[tuple[LeaseId, Lease]]:
    """Every lease that is not final, by its deadline. Far fewer than the rows, which keep a day of
    leases that are over."""
    for key, _ in _DUE.rows(state):
        lease_id = key[8:]
        yield lease_id, existing(state, lease_id)


def capability(lease_id: LeaseId, lease: Lease) -> Capability:
    """What the bearer of the lease's session keys may do once it is ACTIVE. The provider serves it
    until the lease ends, and under no other epoch."""
    return Capability(lease_id, lease.asset, lease.session, lease.epoch, lease.ends_ms)


def escrow_needed(offer: Offer, amount: int, duration_ms: int, fee: int) -> int:
    """nCAES that a lease must set aside: the price of the whole time, rounded up, and the fee. May
    exceed 2^63 - 1, and is refused then."""
    return offer.price.cost(amount, duration_ms) + fee


def charged_ms(held_ms: int, starts_ms: int, settled_ms: int) -> int:
    """Milliseconds that are paid for: what the receipt says, never more than the block time since
    activation. Two clocks may differ, and the ledger's decides."""
    return min(held_ms, settled_ms - starts_ms)


def _require_host(context: Context, call: Call, lease: Lease) -> PublicKeys:
    keys = registry.host_keys(context.state, lease.host)
    require_attested(context, call.transaction.attestation, lease.host)
    return keys


def _check_offer(context: Context, call: Call, offer: Offer, asset: Asset) -> None:
    if offer.genesis != context.genesis_id:
        raise OfferMismatch(why="it is for another network")
    if offer.provider != asset.host:
        raise OfferMismatch(why="it names a node that does not host the asset")
    if offer.consumer != call.owner:
        raise OfferMismatch(why="it was made to another consumer")
    if offer.revision != asset.revision:
        raise OfferMismatch(
            why=f"it was made at revision {offer.revision} of the asset, now {asset.revision}"
        )
    if context.time_ms >= offer.expires_ms:
        raise OfferExpired(
            why=f"its time ended at {offer.expires_ms} ms, this block is {context.time_ms} ms"
        )
    if asset.level is PrivacyLevel.PRIVATE and call.owner != asset.owner:
        raise PrivateAsset
    if asset.price is not None and offer.price != asset.price:
        raise OfferMismatch(why="its price is not the one that the asset is registered with")


def _check_room(asset: Asset, amount: int) -> None:
    if asset.state not in (AssetState.AVAILABLE, AssetState.ALLOCATED):
        raise OutOfService(why=f"its state is {asset.state}")
    if asset.leases >= asset.concurrent_max:
        raise NoRoom(why=f"{asset.leases} leases are on it, as many as it allows")
    units = registry.capacity(asset)
    if asset.committed + amount > units:
        free = max(0, units - asset.committed)
        raise NoRoom(why=f"{free} of {units} units are free, not {amount}")


def _check_bounds(context: Context, body: LeaseOpen) -> None:
    offer, longest = body.offer, context.genesis.leases.duration_ms_max
    if body.amount > offer.amount_max:
        raise BeyondOffer(why=f"{body.amount} units, and {offer.amount_max} are offered")
    if body.duration_ms > min(offer.duration_ms_max, longest):
        raise BeyondOffer(
            why=f"{body.duration_ms} ms; the offer allows {offer.duration_ms_max} ms and the "
            f"network {longest} ms"
        )
    terms = registry.TERMS.get(context.state, offer.asset)
    if terms is not None and body.duration_ms < terms.duration_ms_min:
        raise BelowTerms(
            why=f"it is for {body.duration_ms} ms, and the owner wants {terms.duration_ms_min} ms",
            fix=f"Lease it for at least {terms.duration_ms_min} ms; what is not used returns",
        )


def _check_escrow(context: Context, body: LeaseOpen) -> None:
    needed = escrow_needed(
        body.offer, body.amount, body.duration_ms, context.genesis.economy.lease_fee
    )
    if needed > AMOUNT_MAX:
        raise EscrowTooSmall(why=f"the lease costs {needed} nCAES, more than an amount can be")
    if body.escrow < needed:
        raise EscrowTooSmall(
            why=f"it is {body.escrow} nCAES; price and fee are {needed}",
            fix=f"Escrow at least {needed} nCAES",
        )


def _check_offer_signature(context: Context, keys: PublicKeys, body: LeaseOpen) -> None:
    try:
        verify(keys, "offer", context.genesis_id, encode(body.offer), body.offer_signature)
    except SignatureInvalid as error:
        raise OfferForged(why=str(error)) from error


def _check_receipt(
    context: Context,
    keys: PublicKeys,
    lease_id: LeaseId,
    lease: Lease,
    receipt: Receipt,
    signature: QuantumSignature,
) -> None:
    if receipt.genesis != context.genesis_id:
        raise ReceiptMismatch(why=f"it is for another network than that of lease {lease_id.hex()}")
    if receipt.epoch != lease.epoch:
        raise ReceiptMismatch(why=f"it is of epoch {receipt.epoch}, the lease of {lease.epoch}")
    if receipt.held_ms > lease.duration_ms:
        raise ReceiptMismatch(
            why=f"it says {receipt.held_ms} ms, the lease was for {lease.duration_ms} ms"
        )
    try:
        verify(keys, "receipt", context.genesis_id, encode(receipt), signature)
    except SignatureInvalid as error:
        raise ReceiptForged(why=str(error)) from error


def _require_in_time(context: Context, lease: Lease) -> None:
    if context.time_ms >= lease.deadline_ms:
        raise TooLate(
            why=f"it was {lease.deadline_ms} ms, this block is {context.time_ms} ms",
            fix="Nothing is lost: the escrow has returned to the consumer",
        )


def _require_begun(context: Context, lease: Lease) -> None:
    """Settling and claiming need a lease that was activated and is not final. The end of a running
    lease is no deadline for either; that of the claim window is."""
    if lease.state is LeaseState.ENDED:
        _require_in_time(context, lease)
    elif lease.state is not LeaseState.ACTIVE:
        raise WrongState(f"The lease is {lease.state}, neither active nor ended")


def _pay(
    context: Context, lease_id: LeaseId, lease: Lease, receipt: Receipt, final: LeaseState
) -> None:
    """Pay for the time held."""
    held_ms = charged_ms(receipt.held_ms, lease.starts_ms, context.time_ms)
    moved = escrow.settle(
        context.state,
        lease_id,
        lease.payee,
        lease.price.cost(lease.amount, held_ms),
        context.genesis.economy.lease_fee,
    )
    paid = msgspec.structs.replace(
        lease, state=final, paid=moved.paid, fee=moved.fee, refund=moved.refund
    )
    _finish(context, lease_id, lease, paid)


def _end(context: Context, lease_id: LeaseId, lease: Lease) -> None:
    """The time is over: the asset is free again, and the claim window begins."""
    registry.give_back(context.state, lease.asset, lease.amount)
    ended = msgspec.structs.replace(lease, state=LeaseState.ENDED)
    until_ms = context.time_ms + context.genesis.leases.claim_ms
    _record(context, "lease.ended", lease_id, _postponed(context, lease_id, ended, until_ms))


def _expire(context: Context, lease_id: LeaseId, lease: Lease) -> None:
    """Nobody came in time: everything returns."""
    refund = escrow.refund(context.state, lease_id)
    expired = msgspec.structs.replace(lease, state=LeaseState.EXPIRED, refund=refund)
    _finish(context, lease_id, lease, expired)


def _finish(context: Context, lease_id: LeaseId, before: Lease, after: Lease) -> None:
    state = context.state
    if before.state in LIVE:
        registry.give_back(state, before.asset, before.amount)
    _DUE.delete(state, _at(before.deadline_ms, lease_id))
    kept = msgspec.structs.replace(after, deadline_ms=context.time_ms + FINAL_KEPT_MS)
    _FINAL.put(state, _at(kept.deadline_ms, lease_id), b"")
    _record(context, f"lease.{after.state}", lease_id, kept)


def _postponed(context: Context, lease_id: LeaseId, lease: Lease, deadline_ms: int) -> Lease:
    _DUE.delete(context.state, _at(lease.deadline_ms, lease_id))
    _DUE.put(context.state, _at(deadline_ms, lease_id), b"")
    return msgspec.structs.replace(lease, deadline_ms=deadline_ms)


def _record(context: Context, event: str, lease_id: LeaseId, lease: Lease) -> None:
    LEASES.put(context.state, lease_id, lease)
    context.events.append(Event(event, lease_id, encode(lease)))


def _at(time_ms: int, lease_id: LeaseId) -> bytes:
    return time_ms.to_bytes(8, "big") + lease_id


def _until(table: Table[bytes], state: State, time_ms: int) -> Iterator[LeaseId]:
    """The leases due at `time_ms` or before, the earliest first, at most `DUE_PER_BLOCK_MAX`."""
    for count, (key, _) in enumerate(table.rows(state)):
        if count == DUE_PER_BLOCK_MAX or int.from_bytes(key[:8], "big") > time_ms:
            return
        yield key[8:]
