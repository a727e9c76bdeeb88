"""The ledger and this node as the API shows them. Reads only."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from hypermesh.assets import lease as rules
from hypermesh.assets import registry
from hypermesh.consensus import module as consensus
from hypermesh.consensus.attestation import bundle_of, dry_run
from hypermesh.consensus.epoch import current_epoch, derivation
from hypermesh.node.chain import Chain
from hypermesh.node.configuration import Configuration
from hypermesh.node.leases import Leases
from hypermesh.node.membership import Membership
from hypermesh.node.pool import Pool
from hypermesh.wire.api.asset import AssetView, Page
from hypermesh.wire.api.consensus import (
    ChallengeRequest,
    ChallengeView,
    ConsensusStatus,
    FailureView,
    InputView,
    ValidateRequest,
    ValidateView,
)
from hypermesh.wire.api.lease import LeaseView
from hypermesh.wire.api.ledger import TransactionView
from hypermesh.wire.api.network import StatusView
from hypermesh.wire.asset import (
    AssetKind,
)
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.errors import InvalidInput
from hypermesh.wire.ids import AssetId, LeaseId, NodeId, hex_bytes, parse_hex
from hypermesh.wire.proof import Bundle
from hypermesh.wire.rpc import AssetView as HostView
from hypermesh.wire.rpc import SubmitResponse
from hypermesh.wire.tx import ConsensusAttest, SignedTransaction, tag_of


@dataclass(frozen=True, slots=True)
class Listening:
    """Where this node answers, as text for people."""

    stoq: str
    api: str
    tls: str | None = None
    dns: str | None = None


class Views:
    """What this node shows of itself and of its copy of the ledger."""

    def __init__(
        self,
        configuration: Configuration,
        membership: Membership,
        chain: Chain,
        pool: Pool,
        leases: Leases,
        listening: Callable[[], Listening],
        names: Callable[[NodeId], str],
    ) -> None:
        self._configuration = configuration
        self._membership = membership
        self._chain = chain
        self._pool = pool
        self._leases = leases
        self._listening = listening
        self._names = names
        self._counted = (-1, 0, 0)

    def status(self) -> StatusView:
        membership, ledger = self._membership, self._chain.ledger.status()
        listening = self._listening()
        assets, running = self._counts(ledger.height)
        return StatusView(
            name=self._configuration.settings.name,
            node=membership.keys.id.hex(),
            owner=membership.owner.hex(),
            genesis=membership.genesis_id.hex(),
            network=membership.genesis.name,
            network_class=membership.genesis.network_class.value,
            role="sequencer" if membership.is_founder else "follower",
            assurance=ledger.assurance,
            pid=os.getpid(),
            stoq=listening.stoq,
            api=listening.api,
            tls=listening.tls,
            dns=listening.dns,
            height=ledger.height,
            app_hash=ledger.app_hash.hex(),
            block_time_ms=self._chain.now_ms(),
            contact_age_ms=self._chain.contact_age_ms,
            certificate_sha256=membership.certificate_sha256.hex(),
            certificate_expires_ms=membership.not_after_s * 1000,
            key_protection="sealed" if membership.is_sealed else "unprotected at rest",
            assets=assets,
            leases=running,
        )

    def _counts(self, height: int) -> tuple[int, int]:
        """Own assets and live leases, counted anew where the ledger has gone past what they were
        counted at."""
        at, assets, running = self._counted
        if at == height:
            return assets, running
        membership = self._membership
        with self._chain.ledger.state() as state:
            assets = sum(
                asset.host == membership.keys.id for _, asset in registry.ASSETS.rows(state)
            )
            running = sum(
                row.state in rules.LIVE and membership.owner in (row.consumer, row.payee)
                for _, row in rules.unfinished(state)
            )
        # Of `height` or later: a status may be ahead of the height in it, never behind.
        self._counted = (height, assets, running)
        return assets, running

    def assets(self, kind: AssetKind | None, cursor: str | None, limit: int) -> Page:
        """As `Pool.page`."""
        return self._pool.page(kind, cursor, limit)

    def asset(self, asset_id: AssetId) -> AssetView:
        """As `Pool.asset`."""
        return self._pool.asset(asset_id)

    def shown(self, known: AssetView, host: HostView) -> AssetView:
        """As `Pool.shown`."""
        return self._pool.shown(known, host)

    def lease(self, lease_id: LeaseId) -> LeaseView:
        """One lease, as it is now."""
        return self._leases.view(lease_id)

    def attestation(self, node: NodeId) -> bytes:
        """The bundle that operations on the node's assets may refer to now; empty without one,
        which the ledger refuses with the names of all four proofs."""
        with self._chain.ledger.state() as state:
            return bundle_of(state, node) or b""

    def consensus(self) -> ConsensusStatus:
        ledger = self._chain.ledger.status()
        with self._chain.ledger.state() as state:
            status = consensus.status(state, self._membership.genesis)
        parameters = status.parameters
        return ConsensusStatus(
            network_class=status.network_class.value,
            epoch=status.epoch,
            seed=status.seed.hex(),
            seed_origin=status.seed_origin,
            space_k=parameters.space_k,
            plot_bytes=status.plot_bytes,
            draws=parameters.space_draws,
            draws_valid_min=parameters.space_valid_min,
            vdf_bits=parameters.vdf_bits,
            vdf_iterations=parameters.vdf_iterations,
            matrix_size=parameters.matrix_size,
            assurance=f"{ledger.assurance}; {status.assurance}",
            height=ledger.height,
            app_hash=ledger.app_hash.hex(),
            attested_nodes=status.attested_nodes,
        )

    def challenges(self, request: ChallengeRequest) -> list[ChallengeView]:
        """How each challenge of the present epoch follows, for one node."""
        given = request.node
        node = self._membership.keys.id if given is None else parse_hex(given, 32, "node id")
        membership = self._membership
        with self._chain.ledger.state() as state:
            epoch = current_epoch(state)
        return [
            ChallengeView(
                proof=each.proof.value,
                what=each.what,
                function=f"hypermesh/v1/{each.function}" if each.function else "",
                inputs=[_input(name, value) for name, value in each.inputs],
                encoded=encode([value for _, value in each.inputs]).hex() if each.function else "",
                result=each.result.hex(),
            )
            for each in derivation(membership.genesis_id, membership.genesis, epoch, node)
        ]

    def validate(self, request: ValidateRequest) -> ValidateView:
        """What would become of a bundle now. All checks run; nothing is submitted."""
        bundle, node = self._bundle_of(request)
        with self._chain.ledger.state() as state:
            verdict = dry_run(
                state, self._membership.genesis_id, self._membership.genesis, node, bundle
            )
        failures = [FailureView(each.proof.value, each.reason) for each in verdict.failures]
        return ValidateView(verdict.accepted, failures)

    def _bundle_of(self, request: ValidateRequest) -> tuple[Bundle, NodeId]:
        if (request.bundle is None) == (request.transaction is None):
            raise InvalidInput("Give either a bundle or a transaction, as hex")
        if request.bundle is not None:
            bundle = decode(Bundle, hex_bytes(request.bundle, "bundle"))
            return bundle, bundle.node
        signed = decode(SignedTransaction, hex_bytes(request.transaction or "", "transaction"))
        body = signed.transaction.body
        if not isinstance(body, ConsensusAttest):
            raise InvalidInput(
                "Only a consensus.attest transaction carries proofs",
                why=f"this one is {tag_of(body)}",
            )
        return body.bundle, signed.transaction.signer


def _input(name: str, value: bytes | int | str) -> InputView:
    if isinstance(value, bytes):
        return InputView(name, "bytes", value.hex())
    return InputView(name, "integer" if isinstance(value, int) else "text", str(value))


def transaction_view(answer: SubmitResponse) -> TransactionView:
    """What became of a transaction that was submitted here."""
    result = answer.result
    return TransactionView(
        tx=result.tx.hex(),
        height=answer.height,
        index=answer.index,
        code=result.code,
        failures=list(result.failures),
    )
