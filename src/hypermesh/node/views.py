"""The ledger and this node as the API shows them. Reads only."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from hypermesh.assets import address, registry
from hypermesh.assets import lease as leases
from hypermesh.caesar.economics import staking
from hypermesh.caesar.token import accounts, escrow
from hypermesh.caesar.token.caes import CaesarToken
from hypermesh.consensus import module as consensus
from hypermesh.consensus.attestation import bundle_of, dry_run
from hypermesh.consensus.epoch import current_epoch, derivation
from hypermesh.crypto.digest import digest_of
from hypermesh.ledger import identity
from hypermesh.ledger.kernel import decode_entry
from hypermesh.ledger.module import State
from hypermesh.node.chain import Chain
from hypermesh.node.configuration import Configuration
from hypermesh.node.lending import Lending
from hypermesh.node.membership import Membership
from hypermesh.node.sightings import Sightings
from hypermesh.wire.api.account import AccountView
from hypermesh.wire.api.asset import AssetView, Page, PriceView
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
from hypermesh.wire.api.ledger import BlockView
from hypermesh.wire.api.network import NodeView, StatusView
from hypermesh.wire.asset import (
    UNIT,
    Asset,
    AssetKind,
    Descriptor,
    Lease,
    LeaseState,
    Price,
    PrivacyLevel,
)
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.errors import InvalidInput
from hypermesh.wire.ids import AssetId, LeaseId, NodeId, OwnerId, hex_bytes, parse_hex
from hypermesh.wire.proof import Bundle
from hypermesh.wire.rpc import AssetView as HostView
from hypermesh.wire.tx import ConsensusAttest, SignedTransaction, tag_of

LEASES_SHOWN_MAX = 1000


@dataclass(frozen=True, slots=True)
class Listening:
    """Where this node answers, as text for people."""

    stoq: str
    api: str


class Views:
    """What this node shows of itself and of its copy of the ledger."""

    def __init__(
        self,
        configuration: Configuration,
        membership: Membership,
        chain: Chain,
        lending: Lending,
        sightings: Sightings,
        listening: Callable[[], Listening],
        names: Callable[[NodeId], str],
    ) -> None:
        self._configuration = configuration
        self._membership = membership
        self._chain = chain
        self._lending = lending
        self._sightings = sightings
        self._listening = listening
        self._names = names

    def status(self) -> StatusView:
        membership, ledger = self._membership, self._chain.ledger.status()
        listening = self._listening()
        with self._chain.ledger.state() as state:
            assets = sum(
                asset.host == membership.keys.id for _, asset in registry.ASSETS.rows(state)
            )
            running = sum(
                row.state in leases.LIVE and membership.owner in (row.consumer, row.payee)
                for _, row in leases.LEASES.rows(state)
            )
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
            height=ledger.height,
            app_hash=ledger.app_hash.hex(),
            block_time_ms=self._chain.now_ms(),
            contact_age_ms=self._chain.contact_age_ms,
            certificate_sha256=membership.certificate_sha256.hex(),
            certificate_expires_ms=membership.not_after_s * 1000,
            key_protection="sealed" if membership.store.protected else "unprotected at rest",
            assets=assets,
            leases=running,
        )

    def nodes(self) -> list[NodeView]:
        with self._chain.ledger.state() as state:
            return [
                NodeView(
                    node=node.hex(),
                    owner=row.owner.hex(),
                    name=self._names(node),
                    nonce=identity.nonce(state, node),
                    revoked=row.revoked,
                    attested=bundle_of(state, node) is not None,
                )
                for node, row in identity.nodes(state)
            ]

    def assets(self, kind: AssetKind | None, cursor: str | None, limit: int) -> Page:
        """Assets that this node may discover by ascending id, those after `cursor`. Below
        FullPublic the hosts decide; one that does not answer has its assets left out, unless they
        are this owner's."""
        after = parse_hex(cursor, 16, "cursor") if cursor else b""
        with self._chain.ledger.state() as state:
            rows = [
                (asset_id, asset)
                for asset_id, asset in registry.ASSETS.rows(state)
                if asset_id > after and kind in (None, asset.kind)
            ]
        found: list[AssetView] = []
        for asset_id, asset in rows:
            own = asset.owner == self._membership.owner
            if asset.level is PrivacyLevel.PRIVATE and not own:
                continue
            shown = self._shown(asset_id, asset)
            if shown is None and not own:
                continue
            if len(found) == limit:
                return Page(found, found[-1].asset)
            found.append(self._asset(asset_id, asset, shown))
        return Page(found, None)

    def asset(self, asset_id: AssetId) -> AssetView:
        """One asset as far as the chain, or this node as its host, knows it."""
        with self._chain.ledger.state() as state:
            return self._asset(asset_id, registry.existing(state, asset_id))

    def shown(self, known: AssetView, host: HostView) -> AssetView:
        """`known`, with what its host has shown of it."""
        return msgspec.structs.replace(
            known,
            capacity=host.descriptor.capacity,
            free=host.free,
            enforcement=host.descriptor.enforcement,
            detail=dict(host.descriptor.detail),
        )

    def lease(self, lease_id: LeaseId) -> LeaseView:
        with self._chain.ledger.state() as state:
            return self._lease(state, lease_id, leases.existing(state, lease_id))

    def leases(self) -> list[LeaseView]:
        """Leases in which this node's owner lends or borrows, newest first."""
        owner = self._membership.owner
        with self._chain.ledger.state() as state:
            rows = [
                (key, row)
                for key, row in leases.LEASES.rows(state)
                if owner in (row.consumer, row.payee)
            ]
            rows.sort(key=lambda pair: pair[1].opened_ms, reverse=True)
            return [self._lease(state, key, row) for key, row in rows[:LEASES_SHOWN_MAX]]

    def account(self, owner: OwnerId) -> AccountView:
        with self._chain.ledger.state() as state:
            bonded = sum(staking.bond(state, node, owner) for node, _ in identity.nodes(state))
            held = sum(row.amount for _, row in escrow.escrows(state) if row.payer == owner)
            return AccountView(
                owner=owner.hex(),
                balance=accounts.balance(state, owner),
                bonded=bonded,
                in_escrow=held,
                anchor=CaesarToken(state).anchor,
            )

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

    def block(self, height: int) -> BlockView:
        block = self._chain.ledger.block(height)
        decoded = [decode_entry(entry) for entry in block.entries]
        return BlockView(
            height=height,
            time_ms=block.header.time_ms,
            hash=digest_of("header", block.header).hex(),
            previous=block.header.previous.hex(),
            app_hash=block.header.app_hash.hex(),
            entries=[entry.hex() for entry in block.entries],
            types=[
                tag_of(each.transaction.body)
                if isinstance(each, SignedTransaction)
                else "system.block"
                for each in decoded
            ],
            codes=[result.code for result in block.results],
        )

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

    def _shown(self, asset_id: AssetId, asset: Asset) -> Descriptor | None:
        """What may be known here of the asset; None where its host shows nothing."""
        known, _ = self._known(asset_id, asset)
        return known or self._sightings.descriptor(asset_id, asset)

    def _asset(self, asset_id: AssetId, asset: Asset, shown: Descriptor | None = None) -> AssetView:
        known, price = self._known(asset_id, asset)
        descriptor = known or shown
        membership = self._membership
        place = address.address(membership.genesis_id, asset.host, asset_id, asset.kind)
        return AssetView(
            asset=asset_id.hex(),
            address=str(place),
            kind=asset.kind,
            level=asset.level,
            state=asset.state,
            owner=asset.owner.hex(),
            host=asset.host.hex(),
            host_name=self._names(asset.host),
            mine=asset.host == membership.keys.id,
            unit=UNIT.get(asset.kind, ""),
            capacity=None if descriptor is None else descriptor.capacity,
            free=None if descriptor is None else descriptor.capacity - asset.committed,
            enforcement=None if descriptor is None else descriptor.enforcement,
            price=None if price is None else PriceView(price.amount, price.per_units, price.per_ms),
            detail=None if descriptor is None else dict(descriptor.detail),
        )

    def _known(self, asset_id: AssetId, asset: Asset) -> tuple[Descriptor | None, Price | None]:
        record = self._lending.record(asset_id)
        if record is not None:
            return record.descriptor, record.price
        return asset.descriptor, asset.price

    def _lease(self, state: State, lease_id: LeaseId, row: Lease) -> LeaseView:
        asset = registry.existing(state, row.asset)
        final = row.state in leases.FINAL
        place = address.address(self._membership.genesis_id, row.host, row.asset, asset.kind)
        return LeaseView(
            lease=lease_id.hex(),
            asset=row.asset.hex(),
            address=str(place),
            kind=asset.kind,
            provider=row.host.hex(),
            consumer=row.consumer.hex(),
            state=LeaseState(row.state),
            amount=row.amount,
            escrow=row.escrow,
            start_ms=row.starts_ms,
            end_ms=row.ends_ms,
            epoch=row.epoch,
            session=row.session.hex(),
            paid=row.paid if final else None,
            fee=row.fee if final else None,
            refund=row.refund if final else None,
        )


def _input(name: str, value: bytes | int | str) -> InputView:
    if isinstance(value, bytes):
        return InputView(name, "bytes", value.hex())
    return InputView(name, "integer" if isinstance(value, int) else "text", str(value))
