"""Callers name a height and wait for it: how many, how far ahead, and never the owner itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hypermesh.assets.privacy import AccessRefused
from hypermesh.ledger.errors import LedgerStopped
from hypermesh.ledger.feed import Feed
from hypermesh.node.lending import WAITS_MAX, WAITS_OF_ONE_MAX
from hypermesh.node.service import WORKERS, Peer
from hypermesh.node.waits import AHEAD_MAX, FarBehind, Waits
from hypermesh.wire.errors import HyperMeshError, Overloaded
from hypermesh.wire.rpc import LeaseRequest, SetTermsRequest, TermsRequest

from .test_lending import WAIT_S, Scene

SOON = 1
NEVER = 2**53


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    made = Scene(tmp_path)
    made.ledger.feed = Feed(0)
    return made


def calls(scene: Scene, peer: Peer, height: int) -> list[Callable[[], object]]:
    asset, sharing, lending = scene.record.asset, scene.record.sharing, scene.lending
    return [
        lambda: lending.terms(peer, TermsRequest(asset, height)),
        lambda: lending.set_terms(peer, SetTermsRequest(asset, sharing, height)),
        lambda: lending.activate(peer, LeaseRequest(b"?" * 32, height)),
    ]


@pytest.mark.parametrize("height", [AHEAD_MAX + 1, NEVER])
def test_for_a_height_that_will_not_come_soon_nobody_waits(scene: Scene, height: int) -> None:
    for call in calls(scene, scene.bob, height):
        with pytest.raises(FarBehind):
            call()


def test_a_caller_that_waits_leaves_room_for_others(scene: Scene) -> None:
    """Bob asks for what is not his, of a block that does not come."""
    feed = scene.ledger.feed
    outcomes: list[HyperMeshError] = []

    def ask(call: Callable[[], object]) -> None:
        with pytest.raises(HyperMeshError) as refused:
            call()
        outcomes.append(refused.value)

    asked = calls(scene, scene.bob, SOON) * WAITS_OF_ONE_MAX
    askers = [threading.Thread(target=ask, args=(call,)) for call in asked]
    for each in askers:
        each.start()
    refused = len(asked) - WAITS_OF_ONE_MAX
    deadline = time.monotonic() + WAIT_S
    while len(outcomes) < refused:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    assert {type(each) for each in outcomes} == {Overloaded}
    # The owner is known to the ledger here, so its calls wait for nothing.
    own = Peer(scene.network.alice, scene.network.alice_owner, "hm/1", b"")
    for call in calls(scene, own, SOON)[:2]:
        call()
    assert len(outcomes) == refused
    feed.close(LedgerStopped("the test is over"))
    for each in askers:
        each.join(WAIT_S)
    assert sum(isinstance(each, LedgerStopped) for each in outcomes) == WAITS_OF_ONE_MAX


def test_what_is_here_already_is_decided_without_waiting(scene: Scene) -> None:
    for call in calls(scene, scene.bob, 0)[:2]:
        with pytest.raises(AccessRefused):
            call()


def test_all_callers_together_leave_threads_for_other_calls() -> None:
    assert WAITS_OF_ONE_MAX < WAITS_MAX < WORKERS
    waits = Waits(at_once=3, of_one=2)
    with waits.one(b"a"), waits.one(b"a"):
        with pytest.raises(Overloaded), waits.one(b"a"):
            pass
        with waits.one(b"b"), pytest.raises(Overloaded), waits.one(b"c"):
            pass
    with waits.one(b"a"), waits.one(b"b"), waits.one(b"c"):
        pass
