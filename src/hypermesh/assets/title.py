"""Who owns an asset: given away, offered for sale, bought.

    asset.transfer (owner)            the asset is the receiver's
    asset.offer (owner)               open until accepted, withdrawn, or its time is over
    asset.withdraw (owner)            no longer open
    asset.accept (buyer)              price paid and asset passed on, in one transaction

An offer binds nothing but itself: the asset is leased and lent meanwhile as before. It is open once
at a time and is not changed; who wants another price withdraws it first. A buyer names the offer by
the transaction that made it, so a second offer at the same price is not the one that was seen.

The price goes through an escrow that opens and settles within the transaction, so there is no
instant at which one side has both or neither. A change of owner makes the asset Private to its new
owner (`registry.pass_on`); its host serves on, and leases that run pay whom they named at their
opening. Like every `asset.*`, all of these need the attestation of the host, so an asset whose
host has no rights is not sold.
"""

from __future__ import annotations

from collections.abc import Iterator

from hypermesh.assets import registry
from hypermesh.caesar.token import escrow
from hypermesh.caesar.token.bank import OwnerKnown
from hypermesh.ledger.module import Call, Context, Event, InvariantBroken, Refusal, State
from hypermesh.ledger.table import Table
from hypermesh.wire.asset import TitleOffer
from hypermesh.wire.codec import encode
from hypermesh.wire.ids import AssetId, OwnerId
from hypermesh.wire.tx import AssetAccept, AssetOffer, AssetTransfer, AssetWithdraw, BlockOpening

OFFER_MS_MAX = 30 * 24 * 60 * 60 * 1000
"""How long an offer may be open at most."""

DUE_PER_BLOCK_MAX = 4096
"""Offers that one block lets go; the next goes on."""

GIVEN_MAX = registry.ASSETS_PER_OWNER_MAX // 2
"""An owner who has so many assets is given no more. Nobody is asked before being given one, so the
other half stays free for what an owner registers or buys."""

OFFERS: Table[TitleOffer] = Table("title/offer/", TitleOffer)
"""Asset id -> the open offer."""

_DUE: Table[bytes] = Table("title/due/", bytes)
"""End of an offer (u64, ms), asset id -> nothing. One row for each open offer."""


class ReceiverUnknown(Refusal):
    """Nobody with this id has made keys known, so the asset would be lost."""

    code = "HM-TX-TITLE-0001"
    status = 404
    exit_code = 5
    title = "The receiver is unknown on this network"
    remedy = "Check the owner's id; a receiver joins with `hm join`"


class OwnedAlready(Refusal):
    """The asset is that owner's."""

    code = "HM-TX-TITLE-0002"
    title = "The asset belongs to that owner already"
    remedy = "Nothing need be done; `hm asset ls --mine` shows what is yours"


class OfferOpen(Refusal):
    """The asset is for sale; first that ends."""

    code = "HM-TX-TITLE-0003"
    title = "The asset is offered for sale"
    remedy = "Withdraw the offer first: `hm asset withdraw ID`"


class NotForSale(Refusal):
    """There is no open offer: none was made, or it was accepted, withdrawn or has expired."""

    code = "HM-TX-TITLE-0004"
    status = 404
    exit_code = 5
    title = "The asset is not for sale"
    remedy = "Ask its owner, whom `hm asset show` names, to offer it: hm asset offer"


class OfferedToAnother(Refusal):
    """The offer names another buyer."""

    code = "HM-TX-TITLE-0005"
    status = 403
    exit_code = 4
    title = "The asset is offered to somebody else"


class OfferChanged(Refusal):
    """The open offer is not the one that the buyer saw."""

    code = "HM-TX-TITLE-0006"
    title = "The offer is not the one that you accept"
    remedy = "Look at the asset again, then accept the present offer"


class OfferTimeRefused(Refusal):
    """The end of the offer is in the past, or too far away."""

    code = "HM-TX-TITLE-0007"
    status = 400
    exit_code = 2
    title = "An offer cannot end then"


class Titles:
    """The ledger module of `asset.transfer`, `offer`, `withdraw` and `accept`."""

    name = "titles"
    bodies: tuple[type, ...] = (AssetTransfer, AssetOffer, AssetWithdraw, AssetAccept)

    def __init__(self, owner_known: OwnerKnown) -> None:
        self._owner_known = owner_known

    def begin(self, context: Context) -> None:
        """A network begins with nothing for sale."""

    def open_block(self, context: Context, opening: BlockOpening) -> None:
        """What falls due is done at the end of the block."""

    def execute(self, context: Context, call: Call) -> None:
        match call.body:
            case AssetTransfer() as body:
                self._transfer(context, call, body)
            case AssetOffer() as body:
                self._offer(context, call, body)
            case AssetWithdraw() as body:
                _withdraw(context, call, body)
            case AssetAccept() as body:
                _accept(context, call, body)

    def close_block(self, context: Context) -> None:
        """Let go of the offers whose time is over."""
        for asset_id in list(_until(context.state, context.time_ms)):
            _close(context.state, asset_id)
            asset = registry.existing(context.state, asset_id)
            context.events.append(Event("asset.offer_expired", asset_id, encode(asset)))

    def next_deadline(self, state: State) -> int | None:
        """The earliest end of an open offer."""
        for key, _ in _DUE.rows(state):
            return int.from_bytes(key[:8], "big")
        return None

    def check(self, context: Context) -> None:
        """The next end is that of an open offer, which its asset's owner made. One row a block."""
        for key, _ in _DUE.rows(context.state):
            offer = OFFERS.get(context.state, key[8:])
            asset = registry.ASSETS.get(context.state, key[8:])
            if (
                offer is None
                or asset is None
                or offer.seller != asset.owner
                or key != _at(offer.expires_ms, key[8:])
            ):
                raise InvariantBroken(
                    "The end of an offer belongs to no open offer of the asset's owner",
                    why=f"asset {key[8:].hex()}",
                )
            return

    def _transfer(self, context: Context, call: Call, body: AssetTransfer) -> None:
        asset = registry.changeable(context, call, body.asset)
        self._require_receiver(context.state, asset.owner, body.to)
        if OFFERS.get(context.state, body.asset) is not None:
            raise OfferOpen
        if registry.owned(context.state, body.to) >= GIVEN_MAX:
            raise registry.TooManyAssets(why=f"an owner who has {GIVEN_MAX} is given no more")
        passed = registry.pass_on(context.state, body.asset, body.to)
        context.events.append(Event("asset.transferred", body.asset, encode(passed)))

    def _offer(self, context: Context, call: Call, body: AssetOffer) -> None:
        asset = registry.changeable(context, call, body.asset)
        if body.to is not None:
            self._require_receiver(context.state, asset.owner, body.to)
        if OFFERS.get(context.state, body.asset) is not None:
            raise OfferOpen
        if not 0 < body.expires_ms - context.time_ms <= OFFER_MS_MAX:
            raise OfferTimeRefused(
                why=f"it would end at {body.expires_ms} ms, this block is {context.time_ms} ms, "
                f"and an offer lasts at most {OFFER_MS_MAX} ms"
            )
        offer = TitleOffer(call.tx_id, asset.owner, body.price, body.to, body.expires_ms)
        OFFERS.put(context.state, body.asset, offer)
        _DUE.put(context.state, _at(body.expires_ms, body.asset), b"")
        context.events.append(Event("asset.offered", body.asset, encode(asset)))

    def _require_receiver(self, state: State, owner: OwnerId, to: OwnerId) -> None:
        if to == owner:
            raise OwnedAlready
        if not self._owner_known(state, to):
            raise ReceiverUnknown(why=f"no owner has the id {to.hex()}")


def open_offer(state: State, asset_id: AssetId, now_ms: int) -> TitleOffer | None:
    """The offer that may be accepted at `now_ms`, block time."""
    offer = OFFERS.get(state, asset_id)
    return None if offer is None or now_ms >= offer.expires_ms else offer


def _withdraw(context: Context, call: Call, body: AssetWithdraw) -> None:
    asset = registry.changeable(context, call, body.asset)
    if OFFERS.get(context.state, body.asset) is None:
        raise NotForSale
    _close(context.state, body.asset)
    context.events.append(Event("asset.withdrawn", body.asset, encode(asset)))


def _accept(context: Context, call: Call, body: AssetAccept) -> None:
    state = context.state
    asset = registry.existing(state, body.asset)
    if call.owner == asset.owner:
        raise OwnedAlready
    registry.require_serving(context, call, asset)
    offer = open_offer(state, body.asset, context.time_ms)
    if offer is None:
        raise NotForSale
    if offer.buyer is not None and offer.buyer != call.owner:
        raise OfferedToAnother
    if (offer.offer, offer.price) != (body.offer, body.price):
        raise OfferChanged(why=f"its price is {offer.price} nCAES, its id {offer.offer.hex()}")
    escrow.open(state, call.tx_id, call.owner, offer.price)
    escrow.settle(state, call.tx_id, offer.seller, offer.price, fee=0)
    _close(state, body.asset)
    passed = registry.pass_on(state, body.asset, call.owner)
    paid = (call.owner, offer.seller, offer.price)
    context.events.append(Event("title.paid", body.asset, encode(paid)))
    context.events.append(Event("asset.sold", body.asset, encode(passed)))


def _close(state: State, asset_id: AssetId) -> None:
    offer = OFFERS.get(state, asset_id)
    if offer is None:
        raise InvariantBroken("An offer that falls due is not there", why=asset_id.hex())
    OFFERS.delete(state, asset_id)
    _DUE.delete(state, _at(offer.expires_ms, asset_id))


def _at(time_ms: int, asset_id: AssetId) -> bytes:
    return time_ms.to_bytes(8, "big") + asset_id


def _until(state: State, time_ms: int) -> Iterator[AssetId]:
    """The assets whose offers end at `time_ms` or before, the earliest first, at most
    `DUE_PER_BLOCK_MAX`."""
    for count, (key, _) in enumerate(_DUE.rows(state)):
        if count == DUE_PER_BLOCK_MAX or int.from_bytes(key[:8], "big") > time_ms:
            return
        yield key[8:]
