"""The first start of a restored node.

The ledger of a backup is older than the network. A follower fetches what it lacks, as ever. The
sequencer must not go on from there: it would sign other blocks of heights that its followers have.
So it first asks every node that its ledger knows for the blocks that it signed itself, and applies
them as a follower does; then the nodes that these blocks tell of. A node that does not answer may
have the newest of them; that the operator alone can rule out.

And nobody goes on while the node that was backed up still runs: two nodes of one identity would
contradict each other.
"""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path
from typing import TypeVar

from hypermesh.crypto.files import sync
from hypermesh.ledger import identity
from hypermesh.ledger.errors import DiskFull, Diverged
from hypermesh.ledger.feed import Feed
from hypermesh.ledger.follower import Follower
from hypermesh.ledger.state import Overlay
from hypermesh.ledger.store import Store
from hypermesh.node.admitting import renew_own
from hypermesh.node.authority_logs import AuthorityLogs
from hypermesh.node.backup import RESTORED, pending
from hypermesh.node.chain import open_store
from hypermesh.node.dialling import dial
from hypermesh.node.locators import Locators
from hypermesh.node.membership import Membership
from hypermesh.node.rules import kernel
from hypermesh.stoq.connection import Connection
from hypermesh.stoq.endpoint import Endpoint
from hypermesh.stoq.errors import CertificateExpired
from hypermesh.stoq.trust import Identity
from hypermesh.trustchain.ca.authority import CertificateAuthority
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.errors import Conflict, HyperMeshError, Unreachable
from hypermesh.wire.ids import NodeId
from hypermesh.wire.rpc import (
    ALPN_NODE,
    SERVICE_CONTROL,
    BlocksRequest,
    BlocksResponse,
    Call,
    ResolveRequest,
    SignedLocator,
)

T = TypeVar("T")

BLOCKS_A_FETCH = 64
FETCH_TIMEOUT_MS = 20_000

log = logging.getLogger(__name__)


class StillRunning(Conflict):
    """The node that was backed up answers at its old place."""

    code = "HM-NODE-0033"
    title = "The node that was backed up still runs"
    remedy = "Stop it there with `hm down` for good, then start this one"


class NodesSilent(Unreachable):
    """Nodes that may have newer blocks do not answer."""

    code = "HM-NODE-0034"
    title = "Nodes that may have newer blocks do not answer"
    remedy = (
        "Start them and try again. If they are gone for good: hm up --without-silent-nodes "
        "(blocks that they alone have are lost then)"
    )


def catch_up(data: Path, membership: Membership, now_s: int) -> None:
    """Do what a restored node owes before it may take part; nothing where it was not restored.

    Raises `StillRunning` or `NodesSilent`.
    """
    restored = pending(data)
    if restored is None:
        return
    locators = Locators(data / "locators", membership.genesis_id)
    if membership.is_founder:
        authority = CertificateAuthority.open(data, membership.store)
        logs = AuthorityLogs(data, membership.store, membership.keys, membership.genesis_id)
        try:
            logs.serve(authority)
            renew_own(authority, logs, membership, now_s)
        finally:
            logs.close()
            authority.close()
    with Endpoint.bind(
        "::",
        policy=membership.policy(frozenset()),
        identity=Identity(membership.chain, membership.keys),
    ) as endpoint:
        _require_alone(endpoint, locators, membership.keys.id)
        if membership.is_founder:
            silent = _fetch_own_blocks(data, membership, endpoint, locators)
            if silent and not restored.without_silent:
                raise NodesSilent(why="; ".join(silent))
    (data / RESTORED).unlink()
    sync(data)


def _require_alone(endpoint: Endpoint, locators: Locators, own: NodeId) -> None:
    if own not in locators:
        return
    try:
        connection, place = dial(endpoint, locators.of(own).locator, ALPN_NODE)
    except CertificateExpired as error:
        # One that answers and does not know us: our certificate is as old as the backup.
        raise StillRunning(why="it answers, and refuses the certificate of the backup") from error
    except HyperMeshError:
        return
    connection.close()
    raise StillRunning(why=f"it answers at [{place.hosts[0]}]:{place.port}")


def _fetch_own_blocks(
    data: Path, membership: Membership, endpoint: Endpoint, locators: Locators
) -> list[str]:
    """Apply what the others have; who of them did not answer, in words."""
    rules = kernel(membership.genesis)
    store = open_store(data / "ledger", membership.genesis)
    try:
        follower = Follower(rules, store, Feed(store.height))
        asked: set[NodeId] = {membership.keys.id}
        silent: list[str] = []
        # Blocks that come tell of nodes that came after the backup, and may have newer ones.
        while others := _others(store, asked):
            for node in others:
                asked.add(node)
                try:
                    connection, _ = dial(endpoint, locators.of(node).locator, ALPN_NODE)
                    with connection:
                        _fetch(connection, follower)
                        _learn_places(connection, store, locators)
                except (Diverged, DiskFull):
                    raise
                except HyperMeshError as error:
                    silent.append(f"{locators.name(node)} ({error.what})")
        answered = len(asked) - 1 - len(silent)
        log.info("caught up to height %d from %d nodes", store.height, answered)
    finally:
        store.close()
    return silent


def _others(store: Store, asked: set[NodeId]) -> list[NodeId]:
    """Nodes in good standing that nobody has asked yet."""
    nodes = identity.nodes(Overlay(store))
    return [node for node, row in nodes if node not in asked and not row.revoked]


def _learn_places(connection: Connection, store: Store, locators: Locators) -> None:
    """Where nodes are that came after the backup, as far as the other side knows it."""
    for node, row in identity.nodes(Overlay(store)):
        if node in locators or row.revoked:
            continue
        # One that does not know, or says what the node has not signed, is no hindrance.
        with contextlib.suppress(HyperMeshError):
            record = _asked(connection, "locator.resolve", ResolveRequest(node), SignedLocator)
            locators.admit(record, row.keys)


def _fetch(connection: Connection, follower: Follower) -> None:
    """Every block that the other side has and we do not."""
    while True:
        height = follower.height
        request = BlocksRequest(height + 1, BLOCKS_A_FETCH, 0)
        for encoded in _asked(connection, "ledger.blocks", request, BlocksResponse).blocks:
            follower.apply(encoded)
        if follower.height == height:
            # It has no more, or says what we have again and again.
            return


def _asked(connection: Connection, method: str, argument: object, kind: type[T]) -> T:
    call = encode(Call(method, encode(argument)))
    return decode(kind, connection.request(SERVICE_CONTROL, call, timeout_ms=FETCH_TIMEOUT_MS))
