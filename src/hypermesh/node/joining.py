"""Joining a network by token, and staying in it: enrolment and renewal, the node's side."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from hypermesh.node.dialling import dial
from hypermesh.node.membership import (
    NODE_SECRET,
    OWNER_SECRET,
    Membership,
    key_store,
    keys_of,
)
from hypermesh.stoq.connection import Connection
from hypermesh.stoq.endpoint import Endpoint
from hypermesh.stoq.trust import Identity, TrustPolicy
from hypermesh.trustchain.enrolment import check_response, enrol_request, renewal_request
from hypermesh.trustchain.invitation import parse
from hypermesh.trustchain.verify import fingerprint
from hypermesh.wire.asset import Locator
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.errors import HyperMeshError, Unreachable
from hypermesh.wire.ids import Hash
from hypermesh.wire.rpc import (
    ALPN_ENROL,
    SERVICE_CONTROL,
    Call,
    EnrolRequest,
    EnrolResponse,
)

ANSWER_TIMEOUT_MS = 15_000
REACH_S = 10.0
REACH_PAUSE_S = 0.5


def join(data: Path, token: str, now_s: int) -> Membership:
    """Enrol by `token`.

    Safe to repeat with the same token: the invitation is bound to this machine's keys.
    """
    invitation = parse(token)
    invitation.check_time(now_s)
    store = key_store(data)
    node = keys_of(store, NODE_SECRET)
    owner = None if invitation.mine else keys_of(store, OWNER_SECRET)
    policy = TrustPolicy(network=invitation.genesis)
    with Endpoint.bind("::", policy=policy, identity=Identity.of_keys(node)) as endpoint:
        connection = _reach(endpoint, invitation.locators, invitation.root_sha256)
        request = enrol_request(invitation, connection.channel_binding, node, owner)
        response = _ask(connection, "enrol.request", request)
    check_response(
        response,
        genesis=invitation.genesis,
        root_sha256=invitation.root_sha256,
        node=node.public,
        owner=None if owner is None else owner.id,
        now_s=now_s,
        must_be_logged=True,
    )
    return Membership.create(
        data, response.genesis, response.chain, response.locators, now_s, response.logged
    )


def renew(membership: Membership, locators: Sequence[Locator], now_s: int) -> None:
    """Replace the membership's certificate by a fresh one, by the node's keys alone."""
    root_sha256 = fingerprint(membership.genesis.root_certificate)
    policy = TrustPolicy(network=membership.genesis_id)
    identity = Identity.of_keys(membership.keys)
    with Endpoint.bind("::", policy=policy, identity=identity) as endpoint:
        connection = _reach(endpoint, locators, root_sha256)
        channel = connection.channel_binding
        request = renewal_request(membership.genesis_id, channel, membership.keys)
        response = _ask(connection, "enrol.renew", request)
    check_response(
        response,
        genesis=membership.genesis_id,
        root_sha256=root_sha256,
        node=membership.keys.public,
        owner=None,
        now_s=now_s,
        must_be_logged=True,
    )
    membership.renewed(response.chain, now_s, response.logged)


def _reach(endpoint: Endpoint, locators: Sequence[Locator], root_sha256: Hash) -> Connection:
    """A connection to the first of `locators` that answers as the node it should be. All are tried
    again while there is time: a link may come back."""
    deadline = time.monotonic() + REACH_S
    while True:
        try:
            return _reach_once(endpoint, locators, root_sha256)
        except Unreachable:
            if time.monotonic() > deadline:
                raise
            time.sleep(REACH_PAUSE_S)


def _reach_once(endpoint: Endpoint, locators: Sequence[Locator], root_sha256: Hash) -> Connection:
    failures: list[str] = []
    for locator in locators:
        try:
            return dial(endpoint, locator, ALPN_ENROL, root_sha256)[0]
        except HyperMeshError as error:
            places = ", ".join(f"[{host}]:{locator.port}" for host in locator.hosts)
            failures.append(f"{places}: {error}")
    raise Unreachable(
        "None of the places in the invitation answers",
        why="; ".join(failures),
        fix="Check that the inviting node runs (`hm status` there) and can be reached from here",
    )


def _ask(connection: Connection, method: str, request: EnrolRequest) -> EnrolResponse:
    body = encode(Call(method, encode(request)))
    answer = connection.request(SERVICE_CONTROL, body, timeout_ms=ANSWER_TIMEOUT_MS)
    return decode(EnrolResponse, answer)
