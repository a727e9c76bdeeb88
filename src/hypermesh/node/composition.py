"""The graph of a node's objects, and how they come up and go down together.

What a node needs before it is of use (its owner and certificate on the ledger, a grant, a bond, an
attestation, its assets) is brought about by `settle`, step by step, each one skipped where the
ledger already has it. So a first start, a restart and a restart after a crash are one path.
"""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

from hypermesh.assets.inventory import Share
from hypermesh.caesar.economics import staking
from hypermesh.caesar.token import bank
from hypermesh.catalog.engines.ladder import Ladder
from hypermesh.consensus.prover.bundle import Attestor
from hypermesh.crypto.digest import digest_of
from hypermesh.crypto.keys import key_id
from hypermesh.ledger import identity
from hypermesh.ledger.errors import LedgerDamaged, LedgerStopped
from hypermesh.ledger.feed import Commit
from hypermesh.node.attesting import Attesting
from hypermesh.node.borrowing import Borrowing, Sessions
from hypermesh.node.chain import Chain, Following, Sequencing
from hypermesh.node.configuration import Configuration
from hypermesh.node.joining import renew
from hypermesh.node.lending import Lending
from hypermesh.node.locators import Locators, NoLocator
from hypermesh.node.membership import Membership
from hypermesh.node.metrics import Metrics
from hypermesh.node.peers import Peers
from hypermesh.node.service import Method, Peer, Service
from hypermesh.node.sightings import Sightings
from hypermesh.node.views import Listening, Views
from hypermesh.node.wallet import Wallet
from hypermesh.stoq.endpoint import Endpoint
from hypermesh.stoq.trust import Identity
from hypermesh.trustchain.ca.authority import (
    CertificateAuthority,
    CertificateOrder,
    Issued,
    RenewalTooLate,
)
from hypermesh.trustchain.ca.invitations import Invitations
from hypermesh.trustchain.enrolment import Enrolment
from hypermesh.trustchain.invitation import Invitation
from hypermesh.trustchain.verify import fingerprint
from hypermesh.wire.api.ledger import TransactionView
from hypermesh.wire.api.network import InvitationView
from hypermesh.wire.asset import Locator
from hypermesh.wire.codec import encode
from hypermesh.wire.errors import HyperMeshError, InvalidInput, NotAvailable, Unreachable
from hypermesh.wire.ids import NodeId, OwnerId, hex_bytes
from hypermesh.wire.rpc import (
    ALPN_ENROL,
    ALPN_NODE,
    ALPN_SESSION,
    BlocksRequest,
    BlocksResponse,
    DescribeRequest,
    EnrolRequest,
    EnrolResponse,
    JobRequest,
    LeaseRequest,
    ResolveRequest,
    SignedLocator,
    SubmitResponse,
)
from hypermesh.wire.tx import (
    BankFaucet,
    BankTransfer,
    IdentityEnrol,
    IdentityOwn,
    SignedTransaction,
    StakeBond,
)

RETRY_S = 1.0
WATCH_S = 1.0
RENEW_BEFORE_S = 8 * 60 * 60
"""A certificate lives 24 h; two thirds into it the node asks for the next."""
RENEW_RETRY_S = 60.0

log = logging.getLogger(__name__)


class Node:
    """A running node. Build it, `start` it, and `stop` it once."""

    def __init__(
        self, configuration: Configuration, membership: Membership, confirmed_ms: int | None = None
    ) -> None:
        """`confirmed_ms`: see `ledger.blocktime.starting_time_ms`."""
        data = configuration.data
        settings = configuration.settings
        self.membership = membership
        self.metrics = Metrics()
        self._genesis_id = membership.genesis_id
        self._locators = Locators(data / "locators", self._genesis_id)
        self._seeds = {locator.node: locator for locator in membership.seeds}
        self.endpoint = Endpoint.bind(
            settings.stoq_host,
            settings.stoq_port,
            policy=membership.policy(frozenset()),
            identity=Identity(membership.chain, membership.keys),
        )
        self._stoq_port = self.endpoint.address[1]
        self.configuration = configuration.keep(self._stoq_port)
        self._peers = Peers(self.endpoint, self._locate, self._relocate)
        self.chain: Chain = self._open_chain(data / "ledger", confirmed_ms)
        self._obey_revocations()
        self.wallet = Wallet(membership.keys, self._genesis_id, self.chain)
        self._attesting = Attesting(
            Attestor(
                data / "plots", self._genesis_id, membership.keys.id, membership.genesis.proofs
            ),
            self.wallet,
            self.chain,
            membership.genesis,
            self._genesis_id,
        )
        self._ladder = Ladder.open(membership.keys.id.hex()[:16])
        self.lending = Lending(
            membership,
            self.chain,
            self.wallet,
            self.endpoint.regions,
            self._ladder,
            self.metrics,
            self._own_locator,
            data,
        )
        self.listening = Listening(stoq=f"[{settings.stoq_host}]:{self._stoq_port}", api="")
        self.views = Views(
            self.configuration,
            membership,
            self.chain,
            self.lending,
            Sightings(self._peers),
            lambda: self.listening,
            self._locators.name,
        )
        self.borrowing = Borrowing(
            membership,
            self.chain,
            self.wallet,
            self._peers,
            self.views,
            self.metrics,
            Sessions(data / "sessions"),
            self._locate,
        )
        self._authority: CertificateAuthority | None = None
        self._invitations: Invitations | None = None
        self._enrolment: Enrolment | None = None
        if membership.is_founder:
            self._authority = CertificateAuthority.open(data, membership.store)
            self._invitations = Invitations(data)
            self._enrolment = Enrolment(self._authority, self._invitations, membership.genesis)
        self._service = Service(self.endpoint, self._methods())
        self._stopping = threading.Event()
        self._settled = threading.Event()
        self._trouble: HyperMeshError | OSError | None = None
        self._threads = [
            threading.Thread(target=self._watch, name="watch", daemon=True),
            threading.Thread(target=self._settle_until_done, name="settle", daemon=True),
            threading.Thread(target=self._stay_certified, name="renew", daemon=True),
        ]

    @property
    def owner(self) -> OwnerId:
        return self.membership.owner

    def start(self) -> None:
        """Answer calls, follow or order the ledger, and settle in the background."""
        self._service.start()
        self._commits = self.chain.feed.subscribe()
        self.chain.start()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Go down in order: no new calls in or out, then the ledger, then jobs and sockets."""
        self._stopping.set()
        self._attesting.stop()
        self._service.stop()
        self._peers.close()
        self.chain.stop()
        self._ladder.close()
        self.endpoint.close()
        for store in (self._authority, self._invitations):
            if store is not None:
                store.close()

    def readiness(self) -> dict[str, str]:
        """Each check with "ok" or what is wrong."""
        failure = self.chain.failure
        ends_in_s = self.membership.not_after_s - int(time.time())
        return {
            "ledger": "ok" if failure is None else f"stopped: {failure}",
            "certificate": "ok" if ends_in_s > 0 else f"ended {-ends_in_s} s ago",
            "settled": "ok" if self._settled.is_set() else f"not yet: {self._trouble or 'busy'}",
        }

    # What the API asks beyond its parts

    def invite(self, *, mine: bool) -> InvitationView:
        """A new invitation to this network."""
        if self._invitations is None:
            raise NotAvailable(
                "Only the founder's node can invite in this version",
                why="it holds the certificate authority",
                fix="Run `hm invite` on the machine that founded the network",
            )
        created = self._invitations.create(self.owner if mine else None, int(time.time()))
        invitation = Invitation(
            version=1,
            genesis=self._genesis_id,
            root_sha256=fingerprint(self.membership.genesis.root_certificate),
            secret=created.secret,
            mine=mine,
            expires_s=created.expires_s,
            locators=[self._own_locator()],
        )
        return InvitationView(token=str(invitation), expires_ms=created.expires_s * 1000)

    async def submit(self, transaction: str) -> TransactionView:
        """Submit a signed transaction, given as hex."""
        entry = hex_bytes(transaction, "transaction")
        with self.metrics.timed("submit"):
            return _view(await self.chain.submit_async(entry))

    def transfer(self, to: OwnerId, amount: int, memo: str) -> TransactionView:
        return _view(self.wallet.submit(BankTransfer(to, amount, memo)))

    # Coming up

    def _open_chain(self, directory: Path, confirmed_ms: int | None) -> Chain:
        genesis = self.membership.genesis
        if self.membership.is_founder:
            chain = Sequencing(directory, genesis, self.membership.keys, confirmed_ms)
            if chain.feed.height == 0 and self.membership.keys.id in self._locators:
                # It had blocks before it first published its place. To begin again would be to
                # sign other blocks of the same heights.
                chain.stop()
                raise LedgerDamaged(why=f"{directory} is empty, and this node has sequenced before")
            return chain
        return Following(directory, genesis, self._peers)

    def _settle_until_done(self) -> None:
        while not self._stopping.is_set():
            try:
                self._settle()
            except LedgerStopped:
                return
            except (HyperMeshError, OSError) as error:
                if str(error) != str(self._trouble):
                    log.warning("settling: %s", error)
                self._trouble = error
                if isinstance(error, Unreachable) and self._known():
                    # An old member whose sequencer is away serves its reads meanwhile.
                    self._settled.set()
                self._stopping.wait(RETRY_S)
            else:
                self._trouble = None
                self._settled.set()
                self._attesting.start()
                return

    def _settle(self) -> None:
        self._renew_if_due()
        self._follow_to_the_end()
        self._introduce()
        self._publish_locator()
        self._fund()
        self._attesting.attest()
        self.lending.declare(
            Share(self.configuration.settings.share), self.configuration.settings.level
        )
        self.lending.resume()

    def _follow_to_the_end(self) -> None:
        if isinstance(self.chain, Following):
            self.chain.await_synced()

    def _introduce(self) -> None:
        """The owner's keys and the node's certificate on the ledger."""
        membership = self.membership
        with self.chain.ledger.state() as state:
            owner_known = identity.owner(state, membership.owner) is not None
            row = identity.node(state, membership.keys.id)
        owner_keys = None if owner_known else membership.owner_keys
        if owner_keys is not None:
            Wallet(owner_keys, self._genesis_id, self.chain).submit(IdentityOwn(owner_keys.public))
        if row is None or row.certificate_sha256 != membership.certificate_sha256:
            self.wallet.submit(IdentityEnrol(membership.chain[0]))

    def _fund(self) -> None:
        """The one grant of this node, and the bond that its attestations need."""
        node = self.membership.keys.id
        with self.chain.ledger.state() as state:
            granted = bank.grant(state, node) is not None
            bonded = staking.bonded(state, node)
        if not granted:
            self.wallet.submit(BankFaucet())
        missing = self.membership.genesis.proofs.bond_min - bonded
        if missing > 0:
            self.wallet.submit(StakeBond(node, missing))

    def _publish_locator(self) -> None:
        settings = self.configuration.settings
        own = self.membership.keys.id
        before = self._locators.of(own).locator if own in self._locators else None
        signed = self._locators.sign_own(
            self.membership.keys,
            settings.name,
            _reachable(settings.stoq_host),
            self._stoq_port,
            self.chain.now_ms(),
        )
        if not self.membership.is_founder:
            theirs = self._peers.call(self._sequencer, "locator.publish", signed, SignedLocator)
            self._admit(theirs)
        elif before is not None and _place(before) != _place(signed.locator):
            self._announce(signed)

    def _announce(self, signed: SignedLocator) -> None:
        """The sequencer has moved. The others ask it where nodes are, so nobody else can tell."""
        for node in self._locators.nodes():
            if node != self.membership.keys.id:
                try:
                    self._peers.call(node, "locator.publish", signed, SignedLocator)
                except HyperMeshError as error:
                    log.warning("%s does not know yet where this node is: %s", node.hex(), error)

    def _known(self) -> bool:
        with self.chain.ledger.state() as state:
            return identity.node(state, self.membership.keys.id) is not None

    # Staying up

    def _watch(self) -> None:
        """React to blocks until the ledger stops."""
        while True:
            self._report_refusals()
            try:
                commit = self._commits.next(WATCH_S)
            except LedgerStopped:
                return
            except HyperMeshError as error:
                log.warning("the event feed was cut: %s", error)
                self._commits = self.chain.feed.subscribe()
                self._obey_revocations()
                continue
            if commit is None:
                continue
            try:
                self._react(commit)
            except (HyperMeshError, OSError) as error:
                log.warning("watching: %s", error)

    def _react(self, commit: Commit) -> None:
        """Revocations and epochs first: what follows them may have to wait for another node."""
        names = {event.name for event in commit.events}
        if "identity.revoked" in names:
            self._obey_revocations()
        if "consensus.epoch" in names:
            self._attesting.epoch_turned()
        self.metrics.height.set(commit.block.header.height)
        for result in commit.block.results[1:]:
            self.metrics.transactions.labels("ok" if result.code == "ok" else "refused").inc()
        for event in commit.events:
            if event.name.startswith("lease."):
                self.metrics.leases.labels(event.name.removeprefix("lease.")).inc()
        self.lending.observe(commit)
        for event in commit.events:
            if event.name == "consensus.attested" and event.subject not in self._locators:
                self._locate(event.subject)

    def _report_refusals(self) -> None:
        """Why peers were turned away: they learn it, and so shall this node's operator."""
        for refusal in self.endpoint.refusals():
            self.metrics.refusals.labels(refusal.error.code).inc()
            peer = "unknown" if refusal.peer is None else refusal.peer.hex()[:16]
            log.info("refused %s (%s, %s): %s", peer, refusal.remote, refusal.alpn, refusal.error)

    def _obey_revocations(self) -> None:
        with self.chain.ledger.state() as state:
            revoked = identity.revoked(state)
        self.endpoint.set_policy(self.membership.policy(revoked))

    def _stay_certified(self) -> None:
        """Renew in time, also where the first tries fail. Nothing before the node has settled:
        coming up renews by itself."""
        while not self._stopping.wait(RENEW_RETRY_S):
            if not self._settled.is_set():
                continue
            try:
                self._renew_if_due()
            except LedgerStopped:
                return
            except (HyperMeshError, OSError) as error:
                log.warning("renewing the certificate failed, and is tried again: %s", error)

    def _renew_if_due(self) -> None:
        now_s = int(time.time())
        if self.membership.not_after_s - now_s > RENEW_BEFORE_S:
            return
        if self._authority is not None:
            issued = self._certified(self._authority, now_s)
            self.membership.renewed(self._authority.chain(issued), now_s)
        else:
            renew(self.membership, [self._locate(self._sequencer)], now_s)
        self.endpoint.set_identity(Identity(self.membership.chain, self.membership.keys))
        if self._settled.is_set():
            self._introduce()

    def _certified(self, authority: CertificateAuthority, now_s: int) -> Issued:
        """The next certificate of the authority's own node, however long it was down: whoever
        holds the authority's keys could make it anyway."""
        public = self.membership.keys.public
        try:
            return authority.renew(public, self._genesis_id, now_s)
        except RenewalTooLate:
            request = digest_of("founding", (self._genesis_id, public, now_s))
            order = CertificateOrder(request, self._genesis_id, public, self.owner)
            return authority.certify(order, now_s)

    # Where nodes are

    @property
    def _sequencer(self) -> NodeId:
        return key_id(self.membership.genesis.sequencer)

    def _locate(self, node: NodeId) -> Locator:
        if node in self._locators:
            return self._locators.of(node).locator
        if node in self._seeds:
            return self._seeds[node]
        if node == self._sequencer or self.membership.is_founder:
            raise NoLocator(f"It is not known where node {node.hex()[:16]} is")
        record = self._peers.call(
            self._sequencer, "locator.resolve", ResolveRequest(node), SignedLocator
        )
        self._admit(record)
        return self._locators.of(node).locator

    def _relocate(self, node: NodeId) -> Locator:
        """Where `node` is now, as the sequencer knows it: it did not answer where it was."""
        if node != self._sequencer and not self.membership.is_founder:
            self._admit(
                self._peers.call(
                    self._sequencer, "locator.resolve", ResolveRequest(node), SignedLocator
                )
            )
        return self._locate(node)

    def _admit(self, record: SignedLocator) -> None:
        with self.chain.ledger.state() as state:
            row = identity.node(state, record.locator.node)
        if row is None or row.revoked:
            raise InvalidInput(f"No such node: {record.locator.node.hex()[:16]}")
        self._locators.admit(record, row.keys)

    def _own_locator(self) -> Locator:
        return self._locators.of(self.membership.keys.id).locator

    # Calls of others

    def _methods(self) -> dict[str, Method]:
        node, session, enrol = (
            frozenset({ALPN_NODE}),
            frozenset({ALPN_SESSION}),
            frozenset({ALPN_ENROL}),
        )
        return {
            "ledger.submit": Method(node, SignedTransaction, self._answer_submit),
            "ledger.blocks": Method(node, BlocksRequest, self._answer_blocks),
            "locator.publish": Method(node, SignedLocator, self._answer_publish),
            "locator.resolve": Method(node, ResolveRequest, self._answer_resolve),
            "asset.inspect": Method(node, DescribeRequest, self.lending.inspect),
            "asset.describe": Method(node, DescribeRequest, self.lending.describe),
            "lease.activate": Method(node, LeaseRequest, self.lending.activate),
            "lease.receipt": Method(node, LeaseRequest, self.lending.receipt),
            "job.run": Method(session, JobRequest, self.lending.run_job),
            "enrol.request": Method(enrol, EnrolRequest, self._answer_enrol),
            "enrol.renew": Method(enrol, EnrolRequest, self._answer_renew),
        }

    def _answer_submit(self, peer: Peer, signed: SignedTransaction) -> SubmitResponse:
        del peer
        if not isinstance(self.chain, Sequencing):
            raise InvalidInput("This node does not sequence; submit to the one that genesis names")
        return self.chain.submit(encode(signed))

    def _answer_blocks(self, peer: Peer, request: BlocksRequest) -> BlocksResponse:
        del peer
        response = self.chain.ledger.blocks(request)
        if not isinstance(self.chain, Sequencing):
            return response
        return BlocksResponse(response.blocks, response.height, self.chain.now_ms())

    def _answer_publish(self, peer: Peer, record: SignedLocator) -> SignedLocator:
        """Keep the caller's record; ours in return."""
        if record.locator.node != peer.id:
            raise InvalidInput("A node publishes its own place only")
        self._admit(record)
        return self._locators.of(self.membership.keys.id)

    def _answer_resolve(self, peer: Peer, request: ResolveRequest) -> SignedLocator:
        del peer
        with self.chain.ledger.state() as state:
            node = identity.resolve_prefix(state, request.prefix)
        return self._locators.of(node or request.prefix)

    def _answer_enrol(self, peer: Peer, request: EnrolRequest) -> EnrolResponse:
        enrolment, revoked = self._require_authority()
        return enrolment.enrol(
            request,
            channel=peer.channel,
            peer=peer.id,
            revoked=revoked,
            locators=[self._own_locator()],
            now_s=int(time.time()),
        )

    def _answer_renew(self, peer: Peer, request: EnrolRequest) -> EnrolResponse:
        enrolment, revoked = self._require_authority()
        return enrolment.renew(
            request,
            channel=peer.channel,
            peer=peer.id,
            revoked=revoked,
            locators=[self._own_locator()],
            now_s=int(time.time()),
        )

    def _require_authority(self) -> tuple[Enrolment, frozenset[NodeId]]:
        if self._enrolment is None:
            raise NotAvailable("This node holds no certificate authority")
        with self.chain.ledger.state() as state:
            return self._enrolment, identity.revoked(state)


def _view(answer: SubmitResponse) -> TransactionView:
    result = answer.result
    return TransactionView(
        tx=result.tx.hex(),
        height=answer.height,
        index=answer.index,
        code=result.code,
        failures=list(result.failures),
    )


def _place(locator: Locator) -> tuple[str, int]:
    return locator.host, locator.port


def _reachable(host: str) -> str:
    """The address to publish for a listener: one that listens everywhere is on loopback too, and
    which other address peers can reach is for the operator to say with `--stoq-host`."""
    return "::1" if host == "::" else host
