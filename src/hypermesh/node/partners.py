"""Other networks: which of their nodes are let in here, and what this network asks of theirs.

What is agreed stands in the ledger (`ledger.federation`). Whom a partner has revoked is asked of
the node that orders its ledger, every `POLL_S`; what it said last is kept, and holds until it says
more. A partner that does not answer changes nothing: certificates that it issued stay good to their
end.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TypeVar

from hypermesh.assets import registry
from hypermesh.crypto import files
from hypermesh.ledger import federation, identity
from hypermesh.ledger.federation import Partner
from hypermesh.ledger.module import State
from hypermesh.node import partner_words
from hypermesh.node.chain import Chain
from hypermesh.node.dialling import dial
from hypermesh.node.kept import read
from hypermesh.node.lending import Lending
from hypermesh.node.membership import Membership
from hypermesh.node.partner_succession import PartnerNotListed, PartnerSuccession
from hypermesh.node.revoking import OwnerElsewhere
from hypermesh.node.service import Peer
from hypermesh.node.trouble import Trouble
from hypermesh.node.wallet import Wallet
from hypermesh.stoq.connection import Connection
from hypermesh.stoq.endpoint import Endpoint
from hypermesh.stoq.errors import CertificateSignatureWrong, UnknownIssuer
from hypermesh.trustchain.ca.authority import CLOCK_SKEW_S, root_authority
from hypermesh.trustchain.certificate import (
    SERIAL_ENTROPY_BYTES,
    Validity,
    cross_certificate,
    serial_number,
)
from hypermesh.trustchain.federation import (
    Introduction,
    Partnership,
    introduction,
    node_name,
    policies_of,
    require_names,
    zone,
)
from hypermesh.trustchain.verify import fingerprint
from hypermesh.wire.api.trust import (
    IntroductionView,
    PartnerAssetPage,
    PartnerAssetView,
    PartnerFollowRequest,
    PartnerFollowView,
    PartnerPage,
    PartnerPreview,
    PartnerRequest,
    PartnerView,
)
from hypermesh.wire.asset import Asset, Locator, PrivacyLevel
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.errors import Forbidden, HyperMeshError, InvalidInput, NotFound, Unreachable
from hypermesh.wire.ids import GenesisId, parse_hex
from hypermesh.wire.rpc import (
    ALPN_PARTNER,
    PARTNER_ASSETS_MAX,
    PARTNER_REVOKED_MAX,
    SERVICE_CONTROL,
    AssetView,
    Call,
    DescribeRequest,
    PartnerAsset,
    PartnerAssets,
    PartnerAssetsRequest,
    PartnerIntroduction,
    PartnerNoted,
    PartnerStatus,
    PartnerStatusRequest,
    SubmitResponse,
)
from hypermesh.wire.tx import Body, FederationAdd, FederationDrop, PartnerService

POLL_S = 30.0
"""Between two questions to each partner."""
AGAIN_S = 1.0
"""Before those are asked again that did not answer; it doubles up to `POLL_S`."""
CALL_TIMEOUT_MS = 10_000
DAY_S = 24 * 60 * 60

log = logging.getLogger(__name__)

T = TypeVar("T")


class ServiceNotAgreed(Forbidden):
    """The agreement with the caller's network does not have this service."""

    code = "HM-TRUST-0302"
    title = "This was not agreed with the caller's network"
    remedy = "Ask the other network to add this one again, with that service"


@dataclass(slots=True)
class _Heard:
    """What a partner has said, and how it went since."""

    status: PartnerStatus | None = None
    at_ms: int | None = None
    failure: str = ""


class Partners:
    """Partner networks of this node's network. Writes need the founder's keys."""

    def __init__(
        self,
        membership: Membership,
        chain: Chain,
        endpoint: Endpoint,
        lending: Lending,
        sequencer: Callable[[], Locator],
        data: Path,
        obey: Callable[[], None],
    ) -> None:
        """`sequencer` is where the node is that orders this network's ledger; `obey` has the
        transport admit whom the ledger and the partners' lists let in now."""
        self._membership = membership
        self._chain = chain
        self._endpoint = endpoint
        self._lending = lending
        self._sequencer = sequencer
        self._directory = data / "partners"
        files.make_directory(self._directory, 0o700)
        self._lock = threading.Lock()
        self._heard: dict[GenesisId, _Heard] = {}
        self._obey = obey
        self.succession = PartnerSuccession(
            membership, chain, sequencer, self._submit, time.monotonic
        )
        self._told: dict[GenesisId, tuple[bytes, frozenset[str], int]] = {}
        """What each partner was last told of this network: its issuing CA, hosts and port."""
        self._terms: tuple[Partnership, ...] = ()
        self._asked: frozenset[GenesisId] = frozenset()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._trouble = Trouble(log, "asking partner networks")
        self._thread = threading.Thread(target=self._poll, name="partners", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def tell_soon(self) -> None:
        """This network is elsewhere now: those that it lists shall know."""
        self._wake.set()

    def stop(self) -> None:
        """No question is asked from now on. One under way ends with the endpoint."""
        self._stopping.set()
        self._wake.set()

    def close(self) -> None:
        """After the endpoint is closed."""
        if self._thread.ident is not None:
            self._thread.join(CALL_TIMEOUT_MS / 1000)

    @property
    def threads(self) -> tuple[threading.Thread, ...]:
        return (self._thread,)

    # Whom the transport lets in

    def in_force(self, state: State) -> list[Partnership]:
        """The networks that are let in now, with whom they have revoked as far as is known."""
        now_ms = self._chain.now_ms()
        rows, found = list(federation.partners(state)), []
        if {network for network, _ in rows} - self._asked:
            self._wake.set()
        for network, row in rows:
            if now_ms < row.not_after_ms:
                status = self._of(network).status
                revoked = frozenset(status.revoked if status is not None else ())
                found.append(replace(row.partnership(network), revoked=revoked))
        return found

    def _settle(self) -> None:
        """Have it obeyed that a partner's list, or its time, is another than it was."""
        with self._chain.ledger.state() as state:
            terms = tuple(self.in_force(state))
        if terms != self._terms:
            self._obey()
            self._terms = terms

    # What this network shows of itself, and whom it lets in

    def introduction(self) -> IntroductionView:
        """What another network needs to let this one's nodes in."""
        genesis, made = self._membership.genesis, self.succession.own
        return IntroductionView(
            network=self._membership.genesis_id.hex(),
            name=genesis.name,
            zone=zone(self._membership.genesis_id),
            introduction=str(made),
        )

    def page(self) -> PartnerPage:
        """Every partner; there are few."""
        now_ms = self._chain.now_ms()
        with self._chain.ledger.state() as state:
            rows = list(federation.partners(state))
        return PartnerPage([self._view(network, row, now_ms) for network, row in rows], None)

    def preview(self, request: PartnerRequest) -> PartnerPreview:
        """What would follow from adding a network so. Nothing is changed, and no key is used."""
        theirs, names, excluded, ends_s = self._wanted(request)
        genesis, network = theirs.genesis, theirs.network
        with self._chain.ledger.state() as state:
            known = federation.partner(state, network)
            reason = federation.dropped(state, network)
        return PartnerPreview(
            network=network.hex(),
            name=genesis.name,
            root_sha256=fingerprint(genesis.root_certificate).hex(),
            permitted=names,
            excluded=excluded,
            services=sorted(set(request.services)),
            not_after_ms=ends_s * 1000,
            replaces=known is not None,
            consequences=partner_words.consequences(
                genesis.name,
                network,
                names,
                excluded,
                request.services,
                ends_s * 1000,
                own=self._membership.genesis.name,
                replaces=known is not None,
                dropped=None if reason is None else reason.reason,
            ),
        )

    def add(self, request: PartnerRequest) -> SubmitResponse:
        """Certify the partner's CA with the own root, and list it. Durable when answered.

        Raises `OwnerElsewhere` or `AuthorityMissing` away from the founder's node, and the ledger's
        refusals.
        """
        theirs, names, excluded, ends_s = self._wanted(request)
        if not self.succession.decides:
            raise OwnerElsewhere(fix="Ask on the node that founded the network")
        root = root_authority(self._membership.store, self._membership.genesis.root_certificate)
        begins_s = self._chain.now_ms() // 1000 - CLOCK_SKEW_S
        cross = cross_certificate(
            theirs.issuing,
            root,
            names,
            excluded,
            policies_of(request.services),
            Validity(begins_s, ends_s),
            serial_number(secrets.token_bytes(SERIAL_ENTROPY_BYTES)),
        )
        body = FederationAdd(
            theirs.document,
            theirs.issuing,
            cross,
            sorted(set(request.services)),
            ends_s * 1000,
            theirs.locators,
        )
        return self._submit(body)

    def drop(self, network: GenesisId, reason: str) -> SubmitResponse:
        """Let nodes of `network` in no more: every node that has the block cuts them off."""
        return self._submit(FederationDrop(network, reason))

    def follow(self, network: GenesisId, request: PartnerFollowRequest) -> PartnerFollowView:
        """Ask a partner what it is now, where it is listed or at an address, and follow it: its
        place, and an issuing CA that its root has signed. What was agreed stays. Durable when
        answered.

        Raises `PartnerNotListed`, `SuccessionRefused`, `OwnerElsewhere`, `Unreachable`, and the
        ledger's refusals.
        """
        place = None
        if request.host is not None and request.port is not None:
            place = Locator(bytes(32), [request.host], request.port, 1, self._chain.now_ms(), "")
        found = self.succession.ask(network, place)
        self._wake.set()
        return PartnerFollowView(
            network=network.hex(),
            moved=found.moved,
            reissued=found.reissued,
            hosts=found.place.hosts,
            port=found.place.port,
            height=self._chain.feed.height,
        )

    def _submit(self, body: Body) -> SubmitResponse:
        owner = self._membership.owner_keys
        if owner is None:
            raise OwnerElsewhere
        answer = Wallet(owner, self._membership.genesis_id, self._chain).submit(body)
        self._obey()
        self._wake.set()
        return answer

    def _wanted(self, request: PartnerRequest) -> tuple[Introduction, list[str], list[str], int]:
        theirs = introduction(request.introduction)
        network = theirs.network
        if network == self._membership.genesis_id:
            raise InvalidInput("This is the introduction of the own network")
        names = [node_name(parse_hex(each, 32, "node id"), network) for each in request.nodes]
        excluded = [node_name(parse_hex(each, 32, "node id"), network) for each in request.without]
        names = sorted(set(names)) or [zone(network)]
        excluded = sorted(set(excluded))
        require_names(names, network)
        require_names(excluded, network)
        return theirs, names, excluded, self._chain.now_ms() // 1000 + request.days * DAY_S

    def _view(self, network: GenesisId, row: Partner, now_ms: int) -> PartnerView:
        heard = self._of(network)
        status = heard.status
        age_ms = None if heard.at_ms is None else max(0, _wall_ms() - heard.at_ms)
        return PartnerView(
            network=network.hex(),
            name=row.name,
            zone=zone(network),
            permitted=row.permitted,
            excluded=row.excluded,
            services=row.services,
            not_after_ms=row.not_after_ms,
            in_force=now_ms < row.not_after_ms,
            height=row.height,
            heard_ms_ago=age_ms,
            list_height=None if status is None else status.height,
            revoked=[] if status is None else [each.hex() for each in status.revoked],
            failure=heard.failure or None,
            says=partner_words.standing(
                row, now_ms, age_ms, None if status is None else status.height, heard.failure
            ),
        )

    # What nodes of partners may ask here

    def status(self, peer: Peer, request: PartnerStatusRequest) -> PartnerStatus:
        """`partner.status`: who is revoked here."""
        del peer, request
        with self._chain.ledger.state() as state:
            revoked = sorted(identity.revoked(state))
        return PartnerStatus(
            self._chain.feed.height,
            self._chain.now_ms(),
            revoked[:PARTNER_REVOKED_MAX],
            len(revoked) <= PARTNER_REVOKED_MAX,
        )

    def note(self, peer: Peer, said: PartnerIntroduction) -> PartnerNoted:
        """`partner.changed`: the caller's network has moved."""
        noted = self.succession.note(peer, said)
        if noted.news:
            self._wake.set()
        return noted

    def assets(self, peer: Peer, request: PartnerAssetsRequest) -> PartnerAssets:
        """`partner.assets`: what is open to anyone."""
        with self._chain.ledger.state() as state:
            self._require(state, peer, PartnerService.ASSETS)
            rows = (
                _shown(asset_id, asset)
                for asset_id, asset in registry.ASSETS.rows(state)
                if asset_id > request.after and asset.level is PrivacyLevel.FULL_PUBLIC
            )
            found = list(islice(rows, PARTNER_ASSETS_MAX + 1))
        return PartnerAssets(found[:PARTNER_ASSETS_MAX], len(found) > PARTNER_ASSETS_MAX)

    def inspect(self, peer: Peer, request: DescribeRequest) -> AssetView:
        """`asset.inspect`: an asset that this node hosts, for whom its terms let in."""
        if peer.alpn == ALPN_PARTNER:
            with self._chain.ledger.state() as state:
                self._require(state, peer, PartnerService.ASSETS)
        return self._lending.inspect(peer, request)

    def _require(self, state: State, peer: Peer, service: PartnerService) -> None:
        """The connection ends with the agreement; a call may have begun before."""
        row = None if peer.network is None else federation.partner(state, peer.network)
        if row is None or service not in row.services:
            raise ServiceNotAgreed(f"{service} was not agreed with the caller's network")

    # What this node asks of partners

    def foreign_assets(self, network: GenesisId, cursor: str | None) -> PartnerAssetPage:
        """What a partner shows of its assets, asked now."""
        after = parse_hex(cursor, 16, "cursor") if cursor else b""
        with self._link(network) as connection:
            answer = _ask(connection, "partner.assets", PartnerAssetsRequest(after), PartnerAssets)
        items = [
            PartnerAssetView(
                each.asset.hex(), each.host.hex(), each.kind, each.state, each.capacity
            )
            for each in answer.items
        ]
        return PartnerAssetPage(items, items[-1].asset if items and answer.more else None)

    @contextmanager
    def _link(self, network: GenesisId) -> Iterator[Connection]:
        """A connection to the node that orders the partner's ledger."""
        with self._chain.ledger.state() as state:
            row = federation.partner(state, network)
        if row is None:
            raise PartnerNotListed(f"No network {network.hex()[:16]} is listed here")
        places = [each for each in row.locators if each.node == row.sequencer]
        if not places:
            raise Unreachable(
                "It is not known where that network is",
                why="its introduction named no place of the node that orders its ledger",
            )
        try:
            connection, _ = dial(self._endpoint, places[0], ALPN_PARTNER)
        except HyperMeshError as error:
            self._of(network).failure = str(error)
            raise
        try:
            yield connection
        finally:
            connection.close()

    def _poll(self) -> None:
        pause_s = AGAIN_S
        while not self._stopping.is_set():
            self._wake.clear()
            well = False
            try:
                with self._chain.ledger.state() as state:
                    networks = [network for network, _ in federation.partners(state)]
                self._asked = frozenset(networks)
                self.succession.take_up()
                answered = [self._hear(network) for network in networks]
                well = all(answered)
                self._settle()
            except Exception as error:  # noqa: BLE001
                self._trouble.note(error)
            else:
                self._trouble.over()
            pause_s = POLL_S if well else min(2 * pause_s, POLL_S)
            if self._wake.wait(pause_s) or well:
                pause_s = AGAIN_S

    def _hear(self, network: GenesisId) -> bool:
        """Whether it answered."""
        if self._stopping.is_set():
            return False
        heard = self._of(network)
        known = heard.status
        request = PartnerStatusRequest(0 if known is None else known.height)
        try:
            with self._link(network) as connection:
                status = _ask(connection, "partner.status", request, PartnerStatus)
                self._tell(network, connection)
        except (CertificateSignatureWrong, UnknownIssuer) as error:
            # A leaf that comes alone says nothing of its issuer: its signature is wrong then.
            heard.failure = str(error)
            self._reissued(network)
            return False
        except HyperMeshError as error:
            heard.failure = str(error)
            return False
        if known is None or status.height >= known.height:
            files.replace(self._directory / network.hex(), encode(status))
            heard.status = status
        heard.at_ms, heard.failure = _wall_ms(), ""
        return True

    def _tell(self, network: GenesisId, connection: Connection) -> None:
        """Say where this network is, and what its issuing CA is, where that has changed. The node
        that orders the ledger speaks for it."""
        if not self._membership.is_founder:
            return
        own = self.succession.own
        place = own.locators[0]
        told = own.issuing, frozenset(place.hosts), place.port
        if self._told.get(network) != told:
            said = PartnerIntroduction(encode(own))
            try:
                _ask(connection, "partner.changed", said, PartnerNoted)
            except (Forbidden, NotFound) as refusal:
                # It does not list this network so, or follows nobody; it is not asked again.
                log.info("partner %s does not follow: %s", network.hex()[:16], refusal)
            self._told[network] = told

    def _reissued(self, network: GenesisId) -> None:
        """The partner shows a certificate of a CA that is not the one agreed on. Its root may have
        made another."""
        if not self.succession.decides:
            return
        try:
            found = self.succession.ask(network, unasked=True)
        except HyperMeshError as error:
            log.warning("partner %s is not followed: %s", network.hex()[:16], error)
        else:
            if found.reissued:
                self._wake.set()

    def _of(self, network: GenesisId) -> _Heard:
        with self._lock:
            heard = self._heard.get(network)
            if heard is None:
                heard = self._heard[network] = _Heard()
                file = self._directory / network.hex()
                if file.exists():
                    heard.status = read(PartnerStatus, file, "Remove it; the partner is asked anew")
            return heard


def _ask(connection: Connection, method: str, argument: object, kind: type[T]) -> T:
    body = encode(Call(method, encode(argument)))
    return decode(kind, connection.request(SERVICE_CONTROL, body, timeout_ms=CALL_TIMEOUT_MS))


def _shown(asset_id: bytes, asset: Asset) -> PartnerAsset:
    capacity = 0 if asset.descriptor is None else asset.descriptor.capacity
    return PartnerAsset(asset_id, asset.host, asset.kind, asset.state, capacity)


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000
