"""The provider's side while the ledger takes its time: nothing else waits for it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from tests.assets.network import GENESIS_ID, LEASE_FEE, Network, keys
from tests.assets.samples import memory
from tests.assets.test_adapters import RecordedRegions

from hypermesh.assets import lease as leases
from hypermesh.assets import provider, registry
from hypermesh.assets.adapters.adapter import NoCapacity
from hypermesh.assets.hosting import HostedAssets
from hypermesh.consensus.record import LAST_BUNDLES, LastBundle, Product
from hypermesh.ledger.errors import LedgerUnavailable
from hypermesh.ledger.module import State
from hypermesh.node.lending import Lending
from hypermesh.node.service import Peer
from hypermesh.wire.asset import Locator, Offer, Price, PrivacyLevel
from hypermesh.wire.errors import HyperMeshError
from hypermesh.wire.rpc import DescribeRequest, LeaseRequest, SetTermsRequest, TermsRequest

WAIT_S = 10.0
CAPACITY = 1000


class Ledger:
    """Alice's ledger, whose answers to her node can be held back."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.ledger = self
        self.feed = SimpleNamespace(wait=lambda *_: True, height=0)
        self.asked = threading.Event()
        self.answers = threading.Event()
        self.answers.set()
        self.submitted: list[object] = []
        self.reading = threading.local()

    @contextmanager
    def state(self) -> Iterator[State]:
        self.reading.depth = getattr(self.reading, "depth", 0) + 1
        try:
            yield self.network.state
        finally:
            self.reading.depth -= 1

    def now_ms(self) -> int:
        return self.network.now_ms

    def submit(self, body: Any, attestation: bytes) -> None:
        """The wallet's part."""
        self.submitted.append(body)
        self.asked.set()
        assert self.answers.wait(WAIT_S)
        self.network.execute(body, self.network.alice, attestation)


class Scene:
    def __init__(self, data: Path, share: int = 10_000) -> None:
        self.network = network = Network()
        bundle = LastBundle(network.bundle(network.alice), 5, Product(bytes(32), bytes(32)), None)
        LAST_BUNDLES.put(network.state, network.alice, bundle)
        self.record = provider.hosted(
            network.alice_owner, memory(CAPACITY), Price(1, 1, 1000),
            level=PrivacyLevel.FULL_PUBLIC, concurrent_max=8, duration_ms_max=60_000,
            randomness=bytes(range(48)),
        )  # fmt: skip
        network.execute(provider.registration(self.record), network.alice)
        if share != 10_000:
            lent = msgspec.structs.replace(self.record.sharing, share=share)
            self.record = provider.proposed(self.record, lent)
            assert self.record.pending is not None
            network.execute(
                provider.terms_change(
                    self.record.asset, self.record.pending, self.record.descriptor,
                    self.record.salt,
                ),
                network.alice,
            )  # fmt: skip
        HostedAssets(data / "hosted").put(self.record)
        self.ledger = Ledger(network)
        membership = SimpleNamespace(
            genesis_id=GENESIS_ID, keys=keys("alice"), owner=network.alice_owner
        )
        self.lending = Lending(
            membership,  # type: ignore[arg-type]
            self.ledger,  # type: ignore[arg-type]
            self.ledger,  # type: ignore[arg-type]
            RecordedRegions(),
            None,  # type: ignore[arg-type]
            None,  # type: ignore[arg-type]
            lambda: Locator(network.alice, ["::1"], 1, 1, 2**50, "alice"),
            data,
            SimpleNamespace(),  # type: ignore[arg-type]
        )
        for record in HostedAssets(data / "hosted"):
            self.lending._serve(record)
            self.lending._follow(record.asset)
        self.bob = Peer(network.bob, network.bob_owner, "hm/1", b"")

    def reserve(self, amount: int) -> bytes:
        network = self.network
        offer = Offer(
            GENESIS_ID, self.record.asset, network.alice, network.bob_owner,
            registry.existing(network.state, self.record.asset).revision,
            Price(1, 1, 1000), CAPACITY, 60_000, network.now_ms + 60_000,
        )  # fmt: skip
        return network.open(
            offer, network.bob, amount=amount, duration_ms=1_000, escrow=amount + LEASE_FEE
        )


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_nothing_waits_for_a_lease_that_waits_for_the_ledger(scene: Scene) -> None:
    lease = scene.reserve(400)
    scene.ledger.answers.clear()
    request = LeaseRequest(lease, 0)
    activating = threading.Thread(target=scene.lending.activate, args=(scene.bob, request))
    activating.start()
    try:
        assert scene.ledger.asked.wait(WAIT_S)
        answered: list[object] = []
        asset = DescribeRequest(scene.record.asset)

        def others() -> None:
            answered.append(scene.lending.inspect(scene.bob, asset).free)
            answered.append(scene.lending.describe(scene.bob, asset).offer.amount_max)
            answered.append(scene.lending.free(scene.record.asset))

        other = threading.Thread(target=others)
        other.start()
        other.join(WAIT_S)
        assert answered == [600, 600, 600]
    finally:
        scene.ledger.answers.set()
        activating.join(WAIT_S)
    assert leases.existing(scene.network.state, lease).state == "active"


def test_a_consumer_that_asks_twice_is_served_once(scene: Scene) -> None:
    lease = scene.reserve(400)
    scene.ledger.answers.clear()
    outcomes: list[object] = []

    def activate() -> None:
        try:
            outcomes.append(scene.lending.activate(scene.bob, LeaseRequest(lease, 0)).capability)
        except HyperMeshError as error:
            outcomes.append(error)

    askers = [threading.Thread(target=activate) for _ in range(3)]
    for each in askers:
        each.start()
    assert scene.ledger.asked.wait(WAIT_S)
    scene.ledger.answers.set()
    for each in askers:
        each.join(WAIT_S)
    row = leases.existing(scene.network.state, lease)
    assert outcomes == [leases.capability(lease, row)] * 3
    assert len(scene.ledger.submitted) == 1
    assert scene.lending.free(scene.record.asset) == 600


def test_a_refused_activation_gives_back_what_was_set_aside(scene: Scene) -> None:
    lease = scene.reserve(400)
    scene.network.lapse(scene.network.alice)
    with pytest.raises(HyperMeshError):
        scene.lending.activate(scene.bob, LeaseRequest(lease, 0))
    assert scene.lending.free(scene.record.asset) == CAPACITY


def test_the_share_is_kept_where_the_ledger_knows_nothing_of_it(tmp_path: Path) -> None:
    """Offers that are out together may promise more than is lent; the host activates no more."""
    scene = Scene(tmp_path, share=5_000)
    assert scene.lending.free(scene.record.asset) == 500
    first, second = scene.reserve(400), scene.reserve(400)
    scene.lending.activate(scene.bob, LeaseRequest(first, 0))
    with pytest.raises(NoCapacity, match="100 are free"):
        scene.lending.activate(scene.bob, LeaseRequest(second, 0))


class Watched:
    """The lock of the books, which nobody may wait for with a state in hand."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        assert not getattr(self._ledger.reading, "depth", 0), "waits for the books with a state"
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def test_nobody_waits_for_the_books_while_reading_a_state(scene: Scene) -> None:
    """Whoever follows the ledger reads a state with the lock held; there are few places to read
    one from, so the other way round both would wait for ever."""
    watched = Watched(scene.ledger)
    scene.lending._lock = watched  # type: ignore[assignment]
    asset = scene.record.asset
    alice = Peer(scene.network.alice, scene.network.alice_owner, "hm/1", b"")
    scene.lending.inspect(scene.bob, DescribeRequest(asset))
    scene.lending.describe(scene.bob, DescribeRequest(asset))
    scene.lending.terms(alice, TermsRequest(asset, 0))
    scene.lending.set_terms(alice, SetTermsRequest(asset, scene.record.sharing, 0))
    with scene.ledger.state(), pytest.raises(AssertionError, match="with a state"):
        scene.lending.free(asset)


def test_a_lease_whose_end_was_missed_is_claimed_and_freed(scene: Scene) -> None:
    """The instant: the block that ended a lease went by unseen, or its claim found no sequencer."""
    network, lending = scene.network, scene.lending
    lending._readings = SimpleNamespace(put=lambda *_: None)  # type: ignore[assignment]
    claimed = scene.reserve(400)
    lending.activate(scene.bob, LeaseRequest(claimed, 0))
    network.advance(2_000)
    network.advance()
    assert dict(leases.unfinished(network.state)).keys() == {claimed}
    assert lending.free(scene.record.asset) == CAPACITY - 400

    submit, scene.ledger.submit = scene.ledger.submit, _unavailable  # type: ignore[method-assign]
    assert not lending.catch_up()
    scene.ledger.submit = submit  # type: ignore[method-assign]
    assert lending.catch_up()
    assert leases.existing(network.state, claimed).state == "claimed"
    assert not dict(leases.unfinished(network.state))
    assert lending.free(scene.record.asset) == CAPACITY
    before = len(scene.ledger.submitted)
    assert lending.catch_up()
    assert len(scene.ledger.submitted) == before


def _unavailable(*_: object) -> None:
    raise LedgerUnavailable
