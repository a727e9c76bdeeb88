"""Following a partner that moved, or that has another issuing CA.

What was agreed names the partner's root, so a listing follows what that root has signed. Names,
services and end stay those of the row: the new cross-certificate permits what the row does, which
may be less than the one before and is never more. Only the node with the founder's key and the own
root can follow; what it submits is what `hm trust add` does.

A partner is asked over `hm-enrol/1`, where its root and the id of the node that orders its ledger
are pinned: its other certificates may be of a CA that is not believed here yet.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import msgspec
from cryptography import x509

from hypermesh.crypto.keys import key_id
from hypermesh.ledger import federation, identity
from hypermesh.ledger.federation import Partner
from hypermesh.node.addresses import HOSTS_MAX, dialable
from hypermesh.node.chain import Chain
from hypermesh.node.dialling import dial
from hypermesh.node.membership import Membership
from hypermesh.node.revoking import OwnerElsewhere
from hypermesh.node.service import Peer
from hypermesh.stoq.endpoint import Endpoint
from hypermesh.stoq.stack import Stack
from hypermesh.stoq.trust import Identity, TrustPolicy
from hypermesh.trustchain.ca.authority import CLOCK_SKEW_S, root_authority
from hypermesh.trustchain.certificate import (
    SERIAL_ENTROPY_BYTES,
    Validity,
    cross_certificate,
    serial_number,
)
from hypermesh.trustchain.federation import VERSION, Introduction, policies_of
from hypermesh.trustchain.verify import CertificateRefused, check_issuing, fingerprint
from hypermesh.wire.asset import Locator
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.errors import Forbidden, NotFound, Overloaded, Unreachable
from hypermesh.wire.ids import GenesisId
from hypermesh.wire.rpc import (
    ALPN_ENROL,
    SERVICE_CONTROL,
    Call,
    PartnerIntroduction,
    PartnerIntroductionRequest,
    PartnerNoted,
)
from hypermesh.wire.tx import FederationAdd

ANSWER_TIMEOUT_MS = 10_000
UNASKED_MAX = 6
UNASKED_S = 3600.0
"""A partner's listing follows it unasked so often within that time: every change is a block."""


class PartnerNotListed(NotFound):
    """No such network is let in here."""

    code = "HM-TRUST-0303"
    exit_code = 5
    title = "The network is not among the partners"
    remedy = "See `hm trust ls`"


class SuccessionRefused(Forbidden):
    """What a partner says that it is now does not follow from what was agreed with it."""

    code = "HM-TRUST-0306"
    title = "The partner is not what was agreed on"
    remedy = "Ask its people; `hm trust add` agrees anew"


class Succession(NamedTuple):
    """What has changed of a partner: its issuing CA (`reissued`), where it is (`moved`)."""

    theirs: Introduction
    place: Locator
    reissued: bool
    moved: bool


def succession(row: Partner, network: GenesisId, theirs: Introduction, now_s: int) -> Succession:
    """What `theirs`, which the node that orders the partner's ledger has said, changes of `row`.

    Raises `SuccessionRefused` where it is another network's, names no place of that node, or where
    the issuing CA is not of the root in the row or older than the one there.
    """
    if theirs.network != network or theirs.genesis.root_certificate != row.root:
        raise SuccessionRefused(why="it introduces another network")
    place = next((each for each in theirs.locators if each.node == row.sequencer), None)
    hosts = [] if place is None else dialable(place.hosts, Stack.DUAL)[:HOSTS_MAX]
    if place is None or not dialable(hosts):
        raise SuccessionRefused(why="it names no place of the node that orders its ledger")
    reissued = theirs.issuing != row.issuing
    if reissued:
        try:
            check_issuing(theirs.issuing, row.root, now_s=now_s)
        except CertificateRefused as refusal:
            raise SuccessionRefused(why=f"{refusal.code}: {refusal}") from refusal
        if _begins_s(theirs.issuing) < _begins_s(row.issuing):
            raise SuccessionRefused(why="its issuing CA is older than the one that is listed")
    listed = next((each for each in row.locators if each.node == row.sequencer), None)
    moved = listed is None or (set(listed.hosts), listed.port) != (set(hosts), place.port)
    return Succession(theirs, msgspec.structs.replace(place, hosts=hosts), reissued, moved)


class PartnerSuccession:
    """What partners of this node's network have become, and what it has become itself."""

    def __init__(
        self,
        membership: Membership,
        chain: Chain,
        sequencer: Callable[[], Locator],
        submit: Callable[[FederationAdd], object],
        clock: Callable[[], float],
    ) -> None:
        """`sequencer` is where the node is that orders this network's ledger; `submit` puts what
        the founder agrees to on it; `clock` counts seconds."""
        self._membership = membership
        self._chain = chain
        self._sequencer = sequencer
        self._submit = submit
        self._clock = clock
        self._said: dict[GenesisId, Introduction] = {}
        self._unasked: dict[GenesisId, deque[float]] = {}

    @property
    def decides(self) -> bool:
        """Whether this node has the key that governs the network."""
        owner = self._membership.owner_keys
        return owner is not None and owner.id == key_id(self._membership.genesis.founder)

    @property
    def own(self) -> Introduction:
        """This network, as others may know it."""
        with self._chain.ledger.state() as state:
            issuing = identity.issuer(state)
        return Introduction(VERSION, encode(self._membership.genesis), issuing, [self._sequencer()])

    # What others ask, and say

    def introduce(self, peer: Peer, request: PartnerIntroductionRequest) -> PartnerIntroduction:
        """`partner.introduction`: this network, for anybody; nothing of it is secret."""
        del peer
        if request.network != self._membership.genesis_id:
            raise NotFound("This node is of another network")
        return PartnerIntroduction(encode(self.own))

    def note(self, peer: Peer, said: PartnerIntroduction) -> PartnerNoted:
        """`partner.changed`: a partner has moved. What it says is followed later, not now."""
        theirs = decode(Introduction, said.introduction)
        network = peer.network
        if network is None:
            raise SuccessionRefused(why="the caller shows no certificate of a network")
        with self._chain.ledger.state() as state:
            row = federation.partner(state, network)
        if row is None or peer.id != row.sequencer:
            raise SuccessionRefused(
                why="only the node that orders a partner's ledger speaks for it"
            )
        found = succession(row, network, theirs, self._now_s())
        is_news = self.decides and (found.moved or found.reissued)
        if is_news:
            self._said[network] = theirs
        return PartnerNoted(is_news)

    # What this network does about it

    def take_up(self) -> None:
        """Follow what partners have said. One caller at a time."""
        while self._said:
            network, theirs = self._said.popitem()
            self._follow(network, theirs, unasked=True)

    def ask(
        self, network: GenesisId, place: Locator | None = None, *, unasked: bool = False
    ) -> Succession:
        """Ask the partner what it is now, at `place` or where it is listed, and follow it.

        Raises `PartnerNotListed`, `SuccessionRefused`, `OwnerElsewhere`, `Unreachable`, the
        ledger's refusals, and `Overloaded` where it does so unasked too often.
        """
        return self._follow(network, self._introduction(network, place), unasked=unasked)

    def _follow(self, network: GenesisId, theirs: Introduction, *, unasked: bool) -> Succession:
        if not self.decides:
            raise OwnerElsewhere(fix="Ask on the node that founded the network")
        row = self._row(network)
        found = succession(row, network, theirs, self._now_s())
        if not (found.moved or found.reissued):
            return found
        if unasked:
            self._count(network)
        cross = self._certified(row, theirs) if found.reissued else row.cross
        self._submit(
            FederationAdd(
                theirs.document,
                theirs.issuing,
                cross,
                row.services,
                row.not_after_ms,
                [found.place],
            )
        )
        return found

    def _certified(self, row: Partner, theirs: Introduction) -> bytes:
        """A cross-certificate for the partner's new CA that permits what `row` does."""
        membership = self._membership
        return cross_certificate(
            theirs.issuing,
            root_authority(membership.store, membership.genesis.root_certificate),
            row.permitted,
            row.excluded,
            policies_of(row.services),
            Validity(self._now_s() - CLOCK_SKEW_S, row.not_after_ms // 1000),
            serial_number(secrets.token_bytes(SERIAL_ENTROPY_BYTES)),
        )

    def _introduction(self, network: GenesisId, place: Locator | None) -> Introduction:
        row = self._row(network)
        where = place or next((each for each in row.locators if each.node == row.sequencer), None)
        if where is None:
            raise Unreachable("It is not known where that network is")
        policy, keys = TrustPolicy(network=network), Identity.of_keys(self._membership.keys)
        body = encode(Call("partner.introduction", encode(PartnerIntroductionRequest(network))))
        with Endpoint.bind("::", policy=policy, identity=keys) as endpoint:
            at = msgspec.structs.replace(where, node=row.sequencer)
            connection, _ = dial(endpoint, at, ALPN_ENROL, fingerprint(row.root))
            answer = connection.request(SERVICE_CONTROL, body, timeout_ms=ANSWER_TIMEOUT_MS)
        said = decode(Introduction, decode(PartnerIntroduction, answer).introduction)
        if place is None:
            return said
        # It was found there, whatever it publishes.
        found = [
            msgspec.structs.replace(each, hosts=place.hosts, port=place.port)
            for each in said.locators
            if each.node == row.sequencer
        ]
        return msgspec.structs.replace(said, locators=found)

    def _row(self, network: GenesisId) -> Partner:
        with self._chain.ledger.state() as state:
            row = federation.partner(state, network)
        if row is None:
            raise PartnerNotListed(f"No network {network.hex()[:16]} is listed here")
        return row

    def _count(self, network: GenesisId) -> None:
        now = self._clock()
        times = self._unasked.setdefault(network, deque(maxlen=UNASKED_MAX))
        if len(times) == UNASKED_MAX and now - times[0] < UNASKED_S:
            raise Overloaded(
                f"The partner {network.hex()[:16]} has changed {UNASKED_MAX} times within an hour",
                fix="Follow it by hand: hm trust follow NETWORK --at ADDRESS",
            )
        times.append(now)

    def _now_s(self) -> int:
        return self._chain.now_ms() // 1000


def _begins_s(certificate: bytes) -> int:
    return int(x509.load_der_x509_certificate(certificate).not_valid_before_utc.timestamp())
