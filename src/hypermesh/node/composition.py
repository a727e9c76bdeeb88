"""The graph of a node's objects, and how they come up and go down together."""

from __future__ import annotations

import logging
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from hypermesh.catalog.engines.ladder import Ladder
from hypermesh.consensus.prover.bundle import Attestor
from hypermesh.crypto.files import make_directory
from hypermesh.ledger import identity
from hypermesh.ledger.errors import LedgerDamaged
from hypermesh.ledger.history import History
from hypermesh.node.admission import Admission
from hypermesh.node.admitting import Admitting
from hypermesh.node.anchoring import Anchoring
from hypermesh.node.attempts.blocks import TamperedBlock
from hypermesh.node.attempts.cheating import Cheating
from hypermesh.node.attempts.ground import Ground
from hypermesh.node.attempts.money import Overspend, Replay
from hypermesh.node.attempts.proofs import ForgedProof
from hypermesh.node.attempts.resources import CpuShare, FreedMemory
from hypermesh.node.attempts.revoked import RevokedNode
from hypermesh.node.attestations import Attestations
from hypermesh.node.attesting import Attesting
from hypermesh.node.authority_report import Reporting
from hypermesh.node.borrowing import Borrowing, Sessions
from hypermesh.node.calls import methods
from hypermesh.node.certificates import Certificates
from hypermesh.node.certification import Certification
from hypermesh.node.chain import Chain, Following, Sequencing
from hypermesh.node.condition import Condition
from hypermesh.node.configuration import Configuration
from hypermesh.node.cosigning import Gathering
from hypermesh.node.economy import Economy
from hypermesh.node.events import job_event, phase_event
from hypermesh.node.evidence import Evidence
from hypermesh.node.explorer import Explorer
from hypermesh.node.handshakes import Handshakes
from hypermesh.node.hearing import Hearing
from hypermesh.node.holdings import Holdings
from hypermesh.node.inbox import Inbox
from hypermesh.node.index.index import Index
from hypermesh.node.jobs_kept import KeptJobs
from hypermesh.node.leases import Leases
from hypermesh.node.lending import Lending
from hypermesh.node.live import Live
from hypermesh.node.locators import Locators
from hypermesh.node.log_resources import LogResources
from hypermesh.node.measurements import Measurements
from hypermesh.node.membership import Membership
from hypermesh.node.memory_use import MemoryUse
from hypermesh.node.metrics import Metrics
from hypermesh.node.moving import Moving
from hypermesh.node.names.naming import Naming
from hypermesh.node.names.served import Names
from hypermesh.node.neighbours import Neighbours
from hypermesh.node.offering import Offering
from hypermesh.node.owning import Owning
from hypermesh.node.parcels import Parcels, Post
from hypermesh.node.parcels_kept import KeptParcels
from hypermesh.node.parcels_passing import Passing
from hypermesh.node.partners import Partners
from hypermesh.node.peers import Peers
from hypermesh.node.placing import Placing
from hypermesh.node.pool import Pool
from hypermesh.node.readings import Readings
from hypermesh.node.refusals import Refusals
from hypermesh.node.reissuing import Reissuing
from hypermesh.node.replaying import Replaying
from hypermesh.node.revocation_exports import RevocationExports
from hypermesh.node.revoking import Revoking
from hypermesh.node.rules import kernel
from hypermesh.node.running import Running
from hypermesh.node.sending import Sending
from hypermesh.node.service import Service
from hypermesh.node.settling import Settling
from hypermesh.node.sightings import Sightings
from hypermesh.node.streaming import Events
from hypermesh.node.tokens import Tokens
from hypermesh.node.topology import Topology
from hypermesh.node.transfers_kept import KeptTransfers
from hypermesh.node.transparency import Transparency
from hypermesh.node.transport import Transport
from hypermesh.node.trouble import state_of
from hypermesh.node.tunnels.offered import Offered
from hypermesh.node.tunnels.opened import Opened
from hypermesh.node.views import Listening, Views, transaction_view
from hypermesh.node.wallet import Wallet
from hypermesh.node.watching import Watching
from hypermesh.node.whereabouts import Whereabouts
from hypermesh.node.witnessing import Witnessing
from hypermesh.stoq.custody import Neighbour
from hypermesh.stoq.endpoint import Endpoint
from hypermesh.stoq.trust import Identity
from hypermesh.trustchain.ca.authority import CertificateAuthority
from hypermesh.trustchain.certificate import server_name
from hypermesh.wire.api.certificate import IssuerView
from hypermesh.wire.api.event import EventKind
from hypermesh.wire.api.ledger import TransactionView
from hypermesh.wire.api.network import InvitationView
from hypermesh.wire.api.token import RemoteView
from hypermesh.wire.api.trust import PartnerRequest
from hypermesh.wire.asset import Locator
from hypermesh.wire.ids import GenesisId, NodeId, OwnerId, hex_bytes
from hypermesh.wire.proof import ProofKind
from hypermesh.wire.rpc import SERVICE_TRANSFER, SERVICE_TUNNEL
from hypermesh.wire.tx import BankTransfer

DRAIN_MS = 2_000
"""What others have under way here gets so long to finish when the node goes down."""
POLLS_END_MS = 300
"""Of these, before polls are ended a second time."""

log = logging.getLogger(__name__)


class Node:
    """A running node. Build it, `start` it, and `stop` it once."""

    def __init__(
        self, configuration: Configuration, membership: Membership, confirmed_ms: int | None = None
    ) -> None:
        """`confirmed_ms`: see `ledger.blocktime.starting_time_ms`."""
        data = configuration.data
        settings = configuration.settings
        genesis, genesis_id = membership.genesis, membership.genesis_id
        self.membership = membership
        self.metrics = Metrics()
        self._came_up: Callable[[NodeId], None] = lambda _: None
        """Told of each node that answers a new connection; parcels may wait for it."""
        self._mistrusted: Callable[[], None] = lambda: None
        """Told where this node and the sequencer do not believe each other's issuer."""
        self.endpoint = Endpoint.bind(
            settings.stoq_host,
            settings.stoq_port,
            policy=membership.policy(frozenset()),
            identity=Identity(membership.chain, membership.keys),
            stack=settings.stoq_stack,
            threads=settings.stoq_threads,
        )
        port = self.endpoint.address[1]
        self.configuration = configuration.keep(port)
        self.whereabouts = Whereabouts(membership, Locators(data / "locators", genesis_id))
        self._peers = Peers(
            self.endpoint,
            self.whereabouts.locate,
            self.whereabouts.relocate,
            self._reached,
        )
        self.chain: Chain = self._open_chain(data / "ledger", confirmed_ms)
        self.whereabouts.use(self._peers, self.chain)
        self.wallet = Wallet(membership.keys, genesis_id, self.chain)
        self._revoking = Revoking(membership, self.chain)
        self._attesting = Attesting(
            Attestor(data / "plots", genesis_id, membership.keys.id, genesis.proofs),
            self.wallet,
            self.chain,
            genesis,
            genesis_id,
        )
        names = self.whereabouts.locators.name
        history = History(self.chain.ledger, self.chain.feed, lambda: kernel(genesis))
        self._index = Index(
            data / "index", genesis, self.chain.ledger, self.chain.feed, lambda: kernel(genesis)
        )
        self.explorer = Explorer(self.chain, self._index, names)
        self.leases = Leases(genesis_id, membership.owner, self.chain, self._index, self.explorer)
        readings = Readings(data / "readings")
        self.evidence = Evidence(
            membership, self.chain, self._index, self.explorer, self.leases, readings
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
            readings,
        )
        self.tokens = Tokens(data / "tokens")
        self.listening = Listening(stoq=f"[{settings.stoq_host}]:{port}", api="")
        self.attestations = Attestations(membership, self.chain)
        sightings = Sightings(self._peers)
        self.pool = Pool(
            membership,
            self.chain,
            self.lending,
            sightings,
            self.attestations,
            self.whereabouts.locators.name,
        )
        self.owning = Owning(
            membership,
            self.chain,
            self.wallet,
            self._peers,
            self.lending,
            self.pool,
            self.whereabouts.locators.name,
        )
        self.views = Views(
            self.configuration,
            membership,
            self.chain,
            self.pool,
            self.leases,
            lambda: self.listening,
            self.whereabouts.locators.name,
        )
        self.borrowing = Borrowing(
            membership,
            self.chain,
            self.wallet,
            self._peers,
            self.views,
            self.metrics,
            Sessions(data / "sessions"),
            readings,
            self.whereabouts.locate,
        )
        self.placing = Placing(membership, self.chain, self.views, names)
        self.running = Running(
            membership,
            self.borrowing,
            self.placing,
            KeptJobs(data / "jobs.sqlite"),
            self.whereabouts.locate,
            names,
            self.views.lease,
            lambda: self._settling.state == "ok",
        )
        self.names = Names(
            membership,
            self.chain,
            self.whereabouts.locators,
            self.configuration.settings,
            data,
            lambda phase: self._admitting.phased(phase),
        )
        self.naming = Naming(membership, self.chain, self.wallet, self.names)
        self._admitting = Admitting(membership, data, self.chain, lambda: [self._own_locator()])
        self.certificates = Certificates(
            membership, self.chain, self._admitting.authority, names, self._admitting.log_origin
        )
        hearing = Hearing()
        self._witnessing = Witnessing(membership, self.chain, data)
        self._gathering = Gathering(
            membership, self.chain, self._admitting, self._peers.call, hearing.age_ms
        )
        self.transparency = Transparency(
            membership,
            self.chain,
            self._admitting,
            self.certificates,
            self._peers.call,
            self._witnessing,
            self._gathering,
        )
        self.log_resources = LogResources(membership, self._admitting, self._peers.call)
        self.reporting = Reporting(membership, self.chain, self._admitting)
        self.revocation_exports = RevocationExports(self.chain, self._admitting.authority)
        self.offering = Offering(self._ladder)
        self.economy = Economy(membership, self.chain)
        refusals = Refusals()
        self.transport = Transport(self.endpoint, self._peers.links, refusals, names)
        post = Post(
            membership.keys,
            genesis_id,
            Neighbour(membership.keys.id, membership.owner),
            self.whereabouts.sequencer,
            Neighbours(self.chain, genesis_id),
            KeptParcels(data / "parcels.sqlite", membership.keys.id),
            self._peers.call,
            lambda: time.time_ns() // 1_000_000,
        )
        self._passing = Passing(post)
        self._came_up = lambda node: self._passing.heard(node, None)
        self.parcels = Parcels(
            post, membership.encryption, settings.carry, names, self._passing.wake
        )
        self._passing.introduce(self.parcels.own_key)
        make_directory(data / "tunnels", 0o700)
        self.services = Offered(membership, data / "tunnels" / "services", configuration.socket)
        self.tunnels = Opened(
            membership, data / "tunnels" / "opened", self._resolve, self._peers.dial, names
        )
        self.inbox = Inbox(membership, data, names)
        self.sending = Sending(
            membership, self.chain, self._peers, KeptTransfers(data / "transfers.sqlite"), names
        )

        def heard(node: NodeId) -> None:
            self._passing.heard(node, hearing.age_ms(node))
            hearing.heard(node)

        self.partners = Partners(
            membership,
            self.chain,
            self.endpoint,
            self.lending,
            lambda: self.whereabouts.locate(self.whereabouts.sequencer),
            data,
            lambda: admission.obey(),
        )
        admission = Admission(
            membership,
            self.chain,
            self.endpoint,
            lambda: time.time_ns() // 1_000_000,
            self.partners.in_force,
            lambda: self.replaying.record(),
        )
        self.replaying = Replaying(
            membership,
            self.chain,
            self.endpoint,
            Handshakes(data / "handshakes.sqlite"),
            lambda: admission.obeyed,
            names,
        )
        self._service = Service(
            self.endpoint,
            methods(
                self.chain,
                self.lending,
                self._admitting,
                self.whereabouts,
                self.parcels,
                self.transparency,
                self.log_resources,
                self.partners,
            ),
            {SERVICE_TRANSFER: self.inbox.take, SERVICE_TUNNEL: self.services.take},
            heard,
        )
        self.moving = Moving(
            self.configuration,
            membership,
            self.endpoint,
            self._peers,
            self.whereabouts,
            self._moved,
        )
        self._certification = Certification(
            membership,
            self.chain,
            self.wallet,
            self.endpoint,
            self._admitting,
            self.whereabouts,
            admission,
        )
        self._reissuing = Reissuing(
            membership, self.chain, self._admitting, admission, self._certification
        )
        self._settling = Settling(
            self.configuration.settings,
            membership,
            self.chain,
            self.wallet,
            self._certification,
            self._attesting,
            self.lending,
            self.whereabouts,
            lambda: self.moving.port,
        )
        self._anchoring = Anchoring(membership, self.chain, self.wallet, self._admitting, history)
        self._watching = Watching(
            self.chain,
            self.endpoint,
            self._attesting,
            self.lending,
            self.whereabouts,
            self.metrics,
            refusals,
            admission,
            self._settling.renew_soon,
            self.replaying,
        )
        admission.obey()

        def mistrusted() -> None:
            self._certification.ask()
            self._settling.renew_soon()

        self._mistrusted = mistrusted
        self.topology = Topology(
            membership,
            self.chain,
            self.lending,
            sightings,
            self.whereabouts,
            self._peers.link,
            hearing,
        )
        holdings = Holdings(membership, self.chain)
        self.condition = Condition(
            data,
            membership,
            self.chain,
            self.lending,
            holdings,
            hearing,
            lambda: self._settling.state,
            self.whereabouts.locators.name,
            lambda: [*self._witnessing.contradictions(), *self._gathering.contradictions()],
        )
        self.memory = MemoryUse(
            membership,
            self.chain,
            holdings,
            self.endpoint.regions,
            Measurements(lambda: time.time_ns() // 1_000_000),
            self.whereabouts.locators.name,
        )
        live = Live(
            self.chain,
            self.condition,
            holdings,
            self.memory,
            self.metrics,
            self.topology.connection,
            membership.keys.id,
        )
        self.events = Events(self.chain, membership.owner, live.look)
        self.running.tell(
            lambda record: self.events.tell(
                EventKind.JOB, job_event(record, time.time_ns() // 1_000_000)
            )
        )
        self.names.tell(
            lambda before, phase: self.events.tell(
                EventKind.PHASE, phase_event(before, phase, time.time_ns() // 1_000_000)
            )
        )

        ground = Ground(membership, self.chain, self.wallet)
        self.cheating = Cheating(
            [
                *(ForgedProof(ground, kind) for kind in ProofKind),
                Replay(ground),
                Overspend(ground),
                CpuShare(self.running),
                FreedMemory(ground, self.borrowing, self.whereabouts),
                RevokedNode(ground, self._admitting, self.endpoint),
                TamperedBlock(ground),
            ]
        )

    @property
    def owner(self) -> OwnerId:
        return self.membership.owner

    @property
    def authority(self) -> CertificateAuthority | None:
        """The network's certificate authority, where it is here."""
        return self._admitting.authority

    def start(self) -> None:
        """Answer calls, follow or order the ledger, and settle in the background."""
        self._service.start()
        self._watching.start()
        self.names.start(self.listening.tls)
        self.listening = replace(self.listening, dns=self.names.place)
        self.chain.start()
        self._index.start()
        self._settling.start()
        self._anchoring.start()
        self._gathering.start()
        self.running.start()
        self._passing.start()
        self.partners.start()
        self.tunnels.start()
        self.sending.start()

    def stop(self) -> None:
        """Go down in order: what others began here gets a moment to finish and nothing new begins,
        then no calls in or out and no sockets, then the ledger, then jobs."""
        self._settling.stop()
        self._anchoring.stop()
        self._gathering.stop()
        self._passing.stop()
        self.partners.stop()
        self._attesting.stop()
        self._drain()
        self.tunnels.stop()
        self.names.stop()
        self._service.stop()
        self.services.close()
        self.sending.close()
        self._peers.close()
        # A dial under way ends with it; the ledger would wait for one to a sequencer that is away.
        self.endpoint.close()
        self._passing.close()
        self.partners.close()
        self._gathering.close()
        self._index.stop()
        self.chain.stop()
        self._ladder.close()
        self.inbox.close()
        self.replaying.close()
        self._admitting.close()
        self._witnessing.close()
        self.running.close()

    def _drain(self) -> None:
        """Tell others that this node goes down, and finish what they began, and what programs here
        have open at others. Polls for blocks, which would take longer than that, are answered with
        what there is."""
        deadline = time.monotonic() + DRAIN_MS / 1000
        self.endpoint.drain(0)
        self.tunnels.retire()
        self.chain.feed.end_waits()
        if not self.endpoint.drain(POLLS_END_MS):
            # One that had been taken may have begun to wait only since.
            self.chain.feed.end_waits()
            if not self.endpoint.drain(DRAIN_MS - POLLS_END_MS):
                log.warning("what others had under way here is cut off")
        if not self.tunnels.drain(deadline - time.monotonic()):
            log.warning("what programs here had open at others is cut off")

    def readiness(self) -> dict[str, str]:
        """Each check with "ok" or what is wrong."""
        failure = self.chain.failure
        ends_in_s = self._certification.ends_in_s
        return {
            "ledger": "ok" if failure is None else f"stopped: {failure}",
            "certificate": "ok" if ends_in_s > 0 else f"ended {-ends_in_s} s ago",
            "settled": self._settling.state,
            "threads": state_of(self._threads()),
        }

    def _threads(self) -> Iterator[threading.Thread]:
        parts = (
            self._watching,
            self.names,
            self._index,
            self._settling,
            self._anchoring,
            self._gathering,
            self._attesting,
            self.running,
            self.sending,
            self.partners,
        )
        for part in parts:
            yield from part.threads
        yield self._passing.thread

    # What the API asks beyond its parts

    def invite(self, *, mine: bool) -> InvitationView:
        """A new invitation to this network."""
        return self._admitting.invite(mine=mine)

    @property
    def remote(self) -> RemoteView:
        """How others reach this node's API."""
        membership = self.membership
        return RemoteView(
            url=self.listening.tls,
            server_name=server_name(membership.keys.id, membership.genesis_id),
            root_certificate=ssl.DER_cert_to_PEM_cert(membership.genesis.root_certificate),
        )

    def exposition(self) -> bytes:
        """What the node counts, in Prometheus text."""
        self.metrics.certificate_ends.set(self.membership.not_after_s)
        self.metrics.count_logs(self.transparency.view())
        self.metrics.count_names(self.names.view())
        return self.metrics.exposition()

    async def submit(self, transaction: str) -> TransactionView:
        """Submit a signed transaction, given as hex."""
        entry = hex_bytes(transaction, "transaction")
        with self.metrics.timed("submit"):
            return transaction_view(await self.chain.submit_async(entry))

    def transfer(self, to: OwnerId, amount: int, memo: str) -> TransactionView:
        return transaction_view(self.wallet.submit(BankTransfer(to, amount, memo)))

    def revoke(self, node: NodeId, reason: str) -> TransactionView:
        """End a node's rights for good, under the owner's key; see `Revoking.revoke`."""
        return transaction_view(self._revoking.revoke(node, reason))

    def replace_issuer(self, reason: str, grace_ms: int) -> IssuerView:
        """Put another issuing CA in the place of the present one; see `Reissuing.replace`."""
        return self._reissuing.replace(reason, grace_ms)

    def add_partner(self, request: PartnerRequest) -> TransactionView:
        """Let nodes of another network in; see `Partners.add`."""
        return transaction_view(self.partners.add(request))

    def drop_partner(self, network: GenesisId, reason: str) -> TransactionView:
        """Let nodes of another network in no more; see `Partners.drop`."""
        return transaction_view(self.partners.drop(network, reason))

    # The parts

    def _open_chain(self, directory: Path, confirmed_ms: int | None) -> Chain:
        genesis = self.membership.genesis
        if self.membership.is_founder:
            chain = Sequencing(directory, genesis, self.membership.keys, confirmed_ms)
            if chain.feed.height == 0 and self.membership.keys.id in self.whereabouts.locators:
                # It had blocks before it first published its place. To begin again would be to
                # sign other blocks of the same heights.
                chain.stop()
                raise LedgerDamaged(why=f"{directory} is empty, and this node has sequenced before")
            return chain
        return Following(directory, genesis, self._peers, lambda: self._mistrusted())

    def _reached(self, locator: Locator) -> None:
        self.whereabouts.reached(locator)
        self._came_up(locator.node)

    def _moved(self) -> None:
        host, port = self.configuration.settings.stoq_host, self.endpoint.address[1]
        self.listening = replace(self.listening, stoq=f"[{host}]:{port}")
        self.partners.tell_soon()

    def _resolve(self, prefix: bytes) -> NodeId | None:
        """The node whose id begins so, as the ledger knows it."""
        with self.chain.ledger.state() as state:
            return identity.resolve_prefix(state, prefix)

    def _own_locator(self) -> Locator:
        return self.whereabouts.own.locator
