"""The methods that this node answers over STOQ: who may call each, and which part answers."""

from __future__ import annotations

from hypermesh.ledger import identity
from hypermesh.node.admitting import Admitting
from hypermesh.node.chain import Chain, Sequencing
from hypermesh.node.lending import Lending
from hypermesh.node.log_resources import LogResources
from hypermesh.node.parcels import Parcels
from hypermesh.node.partners import Partners
from hypermesh.node.service import WORKERS, Method, Peer
from hypermesh.node.transparency import Transparency
from hypermesh.node.waits import Waits
from hypermesh.node.whereabouts import Whereabouts
from hypermesh.wire.codec import encode
from hypermesh.wire.errors import InvalidInput
from hypermesh.wire.parcel import ParcelOffer, SealingKeyRequest, SignedSealingKey
from hypermesh.wire.rpc import (
    ALPN_ENROL,
    ALPN_NODE,
    ALPN_PARTNER,
    ALPN_SESSION,
    BlocksRequest,
    BlocksResponse,
    CosignedRequest,
    CosignRequest,
    DescribeRequest,
    EnrolRequest,
    JobCancelRequest,
    JobOutputRequest,
    JobRequest,
    LeaseRequest,
    LoggedRequest,
    LogProofRequest,
    LogReadRequest,
    PartnerAssetsRequest,
    PartnerIntroduction,
    PartnerIntroductionRequest,
    PartnerStatusRequest,
    ResolveRequest,
    SetTermsRequest,
    SignedLocator,
    SubmitResponse,
    TermsRequest,
)
from hypermesh.wire.tx import SignedTransaction

NODES = frozenset({ALPN_NODE})
SESSIONS = frozenset({ALPN_SESSION})
STRANGERS = frozenset({ALPN_ENROL})
PARTNERS = frozenset({ALPN_PARTNER})
"""Nodes of partner networks: what stands here, and echo, is all that they may ask for."""

POLLS_OF_ONE_MAX = 4
"""Of `ledger.blocks`. A follower has one; those of connections that it lost still wait."""


def methods(
    chain: Chain,
    lending: Lending,
    admitting: Admitting,
    whereabouts: Whereabouts,
    parcels: Parcels,
    transparency: Transparency,
    log_resources: LogResources,
    partners: Partners,
) -> dict[str, Method]:
    """Every method by its name."""
    polls = Waits(WORKERS, POLLS_OF_ONE_MAX)

    def submit(peer: Peer, signed: SignedTransaction) -> SubmitResponse:
        del peer
        if not isinstance(chain, Sequencing):
            raise InvalidInput("This node does not sequence; submit to the one that genesis names")
        return chain.submit(encode(signed))

    def blocks(peer: Peer, request: BlocksRequest) -> BlocksResponse:
        with polls.one(peer.id):
            response = chain.ledger.blocks(request)
        if not isinstance(chain, Sequencing):
            return response
        return BlocksResponse(response.blocks, response.height, chain.now_ms())

    def publish(peer: Peer, record: SignedLocator) -> SignedLocator:
        """Keep the caller's record; ours in return."""
        if record.locator.node != peer.id:
            raise InvalidInput("A node publishes its own place only")
        whereabouts.admit(record)
        return whereabouts.own

    def resolve(peer: Peer, request: ResolveRequest) -> SignedLocator:
        del peer
        with chain.ledger.state() as state:
            node = identity.resolve_prefix(state, request.prefix)
        return whereabouts.locators.of(node or request.prefix)

    return {
        "ledger.submit": Method(NODES, SignedTransaction, submit),
        "ledger.blocks": Method(NODES, BlocksRequest, blocks),
        "locator.publish": Method(NODES, SignedLocator, publish),
        "locator.resolve": Method(NODES, ResolveRequest, resolve),
        "asset.inspect": Method(NODES | PARTNERS, DescribeRequest, partners.inspect),
        "asset.describe": Method(NODES, DescribeRequest, lending.describe),
        "asset.terms": Method(NODES, TermsRequest, lending.terms),
        "asset.set_terms": Method(NODES, SetTermsRequest, lending.set_terms),
        "lease.activate": Method(NODES, LeaseRequest, lending.activate),
        "lease.receipt": Method(NODES, LeaseRequest, lending.receipt),
        "parcel.take": Method(NODES, ParcelOffer, parcels.take),
        "parcel.greet": Method(NODES, SignedSealingKey, parcels.greet),
        "parcel.key": Method(NODES, SealingKeyRequest, parcels.key),
        "partner.status": Method(PARTNERS, PartnerStatusRequest, partners.status),
        "partner.introduction": Method(
            STRANGERS, PartnerIntroductionRequest, partners.succession.introduce
        ),
        "partner.changed": Method(PARTNERS, PartnerIntroduction, partners.note),
        "partner.assets": Method(PARTNERS, PartnerAssetsRequest, partners.assets),
        "job.run": Method(SESSIONS, JobRequest, lending.run_job),
        "job.output": Method(SESSIONS, JobOutputRequest, lending.job_output),
        "job.cancel": Method(SESSIONS, JobCancelRequest, lending.cancel_job),
        "certificate.logged": Method(NODES, LoggedRequest, transparency.show),
        "log.prove": Method(NODES, LogProofRequest, transparency.prove),
        "log.cosign": Method(NODES, CosignRequest, transparency.cosign),
        "log.cosigned": Method(NODES, CosignedRequest, transparency.cosigned),
        "log.read": Method(NODES, LogReadRequest, log_resources.read),
        "enrol.request": Method(STRANGERS, EnrolRequest, admitting.enrol),
        "enrol.renew": Method(STRANGERS, EnrolRequest, admitting.renew),
    }
