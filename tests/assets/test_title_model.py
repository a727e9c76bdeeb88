"""Random sequences of gifts, offers, sales and time against a model written apart from the rules:
one owner for each asset at any instant, one open offer at most, and no unit made or lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import pytest

from hypermesh.assets import provider, registry, title
from hypermesh.crypto.digest import digest
from hypermesh.ledger.module import Refusal
from hypermesh.wire.asset import Price, PrivacyLevel
from hypermesh.wire.tx import AssetAccept, AssetOffer, AssetTransfer, AssetWithdraw

from .network import GRANT, Network
from .samples import memory

STEPS = 400
ASSETS = 3
MS = 1_000


T = TypeVar("T")


@dataclass
class Dice:
    """The same throws for the same seed, in every Python."""

    seed: int
    thrown: int = 0

    def range(self, first: int, end: int) -> int:
        self.thrown += 1
        throw = digest("test-dice", f"{self.seed} {self.thrown}".encode())
        return first + int.from_bytes(throw[:8], "big") % (end - first)

    def choice(self, among: Sequence[T]) -> T:
        return among[self.range(0, len(among))]


@dataclass
class Open:
    """An offer as the model has it."""

    id: bytes
    price: int
    to: str | None
    end: int


@dataclass
class Model:
    """What should be, by names."""

    owner: dict[bytes, str] = field(default_factory=dict)
    offers: dict[bytes, Open] = field(default_factory=dict)
    gain: dict[str, int] = field(default_factory=dict)

    def may_transfer(self, who: str, asset: bytes, to: str) -> bool:
        return self.owner[asset] == who and to != who and asset not in self.offers

    def may_offer(self, who: str, asset: bytes, to: str | None) -> bool:
        return self.owner[asset] == who and to != who and asset not in self.offers

    def may_accept(self, who: str, asset: bytes, price: int, now: int, funds: int) -> bool:
        offer = self.offers.get(asset)
        return (
            offer is not None
            and self.owner[asset] != who
            and offer.to in (None, who)
            and offer.price == price
            and now < offer.end
            and funds >= price
        )


@pytest.mark.parametrize("seed", range(8))
def test_random_sales(seed: int) -> None:
    dice = Dice(seed)
    network, model = Network(), Model()
    ids = {"alice": network.alice_owner, "bob": network.bob_owner, "carol": network.carol_owner}
    signers = {"alice": network.alice, "bob": network.bob, "carol": network.carol_owner}
    names = {identifier: name for name, identifier in ids.items()}
    for number in range(ASSETS):
        record = provider.hosted(
            network.alice_owner, memory(10), Price(1, 1, 1), level=PrivacyLevel.FULL_PUBLIC,
            concurrent_max=1, duration_ms_max=1, randomness=bytes([number]) * 48,
        )  # fmt: skip
        network.execute(provider.registration(record), network.alice)
        model.owner[record.asset] = "alice"
    assets = sorted(model.owner)
    start = {name: network.balance(identifier) for name, identifier in ids.items()}
    model.gain = dict.fromkeys(ids, 0)
    total = network.total()
    outcomes = {"done": 0, "refused": 0}
    for _ in range(STEPS):
        who, asset = dice.choice(sorted(ids)), dice.choice(assets)
        to = dice.choice(sorted(ids))
        offer = model.offers.get(asset)
        match dice.range(0, 6):
            case 0:
                body: object = AssetTransfer(asset, ids[to])
                expected = model.may_transfer(who, asset, to)
            case 1:
                named = dice.choice([None, to])
                price = dice.choice([1, 500, GRANT * 9])
                end = network.now_ms + dice.range(1, 5) * MS
                buyer = None if named is None else ids[named]
                body = AssetOffer(asset, price, buyer, end)
                expected = model.may_offer(who, asset, named)
            case 2:
                body = AssetWithdraw(asset)
                expected = model.owner[asset] == who and offer is not None
            case 3 | 4:
                price = offer.price + dice.choice([0, 0, 0, 1]) if offer else 5
                named_offer = offer.id if offer else bytes(32)
                body = AssetAccept(asset, named_offer, price)
                funds = network.balance(ids[who])
                expected = model.may_accept(who, asset, price, network.now_ms, funds)
            case _:
                network.advance(dice.range(0, 3) * MS)
                # A block lets go of what was due when it ended; the next block has begun already.
                held = dict(title.OFFERS.rows(network.state))
                for each in [each for each in model.offers if each not in held]:
                    assert model.offers.pop(each).end <= network.now_ms
                continue
        try:
            tx = network.execute(body, signers[who])  # type: ignore[arg-type]
        except Refusal:
            assert not expected, (who, body)
            outcomes["refused"] += 1
        else:
            assert expected, (who, body)
            outcomes["done"] += 1
            _apply(model, names, who, body, tx)
        for each, name in model.owner.items():
            assert registry.existing(network.state, each).owner == ids[name]
        assert set(model.offers) == {key for key, _ in title.OFFERS.rows(network.state)}
        for name, identifier in ids.items():
            assert network.balance(identifier) == start[name] + model.gain[name]
            owned = sum(owner == name for owner in model.owner.values())
            assert registry.owned(network.state, identifier) == owned
    network.advance()
    assert network.total() == total
    assert min(outcomes.values()) > STEPS // 20, outcomes


def _apply(model: Model, names: dict[bytes, str], who: str, body: object, tx: bytes) -> None:
    match body:
        case AssetTransfer():
            model.owner[body.asset] = names[body.to]
        case AssetOffer():
            to = None if body.to is None else names[body.to]
            model.offers[body.asset] = Open(tx, body.price, to, body.expires_ms)
        case AssetWithdraw():
            del model.offers[body.asset]
        case AssetAccept():
            price = model.offers.pop(body.asset).price
            model.gain[model.owner[body.asset]] += price
            model.gain[who] -= price
            model.owner[body.asset] = who
