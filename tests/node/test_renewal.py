"""Certificates that ended, or are about to, while their nodes were down."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hypermesh.node.membership import NODE_SECRET, OWNER_SECRET, Membership, key_store, keys_of
from hypermesh.trustchain.ca.authority import CertificateAuthority, CertificateOrder
from hypermesh.wire.asset import Locator
from hypermesh.wire.tx import StakeBond

from .network import Network, Node, eventually, ready
from .test_startup import DAY_MS, founded_at

DAY_S = DAY_MS // 1000
HOUR_S = 60 * 60


@pytest.mark.parametrize("days", [pytest.param(3, marks=pytest.mark.long), 40])
def test_after_days_the_operator_says_that_the_clock_is_right(tmp_path: Path, days: int) -> None:
    """The founder's certificate ended as well. Its node holds the authority, so it gets the next
    one however late."""
    node = founded_at(tmp_path, -days * DAY_MS)
    assert node.membership.not_after_s < time.time()
    try:
        node.begin(clock_is_right=True)
        node.ready()
        status = node.ask(lambda m: m.network.status())
        assert status.certificate_expires_ms > (time.time() + 23 * HOUR_S) * 1000
        assert abs(status.block_time_ms - time.time() * 1000) < 60_000
        assert node.submit(StakeBond(node.id, 1)).code == "ok"
        node.stop()
        node.start()
        assert ready(node)
    finally:
        node.end()


@pytest.fixture(scope="module")
def old_network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """Alice alone, whose network is 41 days old."""
    network = Network(tmp_path_factory.mktemp("o"))
    alice = founded_at(network.directory, -41 * DAY_MS)
    network.nodes["alice"] = alice
    try:
        alice.begin(clock_is_right=True)
        alice.ready()
        yield network
    finally:
        network.end()


def joined(node: Node, founder: Node, now_s: int) -> None:
    """Make `node` one that joined the founder's network at `now_s` and was never seen again."""
    node.data.mkdir(mode=0o700)
    store = key_store(node.data)
    keys, owner = keys_of(store, NODE_SECRET), keys_of(store, OWNER_SECRET)
    membership = founder.membership
    authority = CertificateAuthority.open(founder.data, membership.store)
    order = CertificateOrder(secrets.token_bytes(32), membership.genesis_id, keys.public, owner.id)
    chain = authority.chain(authority.certify(order, now_s))
    authority.close()
    port = founder.configuration.settings.stoq_port
    seeds = [Locator(founder.id, ["::1"], port, 1, 2**52, founder.name)]
    Membership.create(node.data, membership.genesis, chain, seeds, now_s)


@pytest.mark.parametrize(
    ("age_s", "ready_again"),
    [
        pytest.param(20 * HOUR_S, True, id="ends-soon", marks=pytest.mark.long),
        pytest.param(3 * DAY_S, True, id="ended"),
        pytest.param(30 * DAY_S, True, id="ended-29-days-ago", marks=pytest.mark.long),
        pytest.param(40 * DAY_S, False, id="ended-too-long-ago"),
    ],
)
def test_a_follower_renews_by_its_keys_when_it_comes_back(
    old_network: Network, age_s: int, ready_again: bool
) -> None:
    node = old_network.add(f"n{age_s}")
    try:
        joined(node, old_network.alice, int(time.time()) - age_s)
        before = node.membership.not_after_s
        node.begin()
        if not ready_again:
            eventually(lambda: "ended too long ago" in node.log, "the reason is said")
            assert "hm invite" in node.log
            assert node.running
            return
        node.ready()
        assert node.membership.not_after_s > max(before, time.time() + 23 * HOUR_S)
        assert node.submit(StakeBond(node.id, 1)).code == "ok"
        old_network.await_agreed()
    finally:
        node.end()
        del old_network.nodes[node.name]
