"""Enrolment: how a machine becomes a node of a network, and stays one.

    joining node                                       the certificate authority's node
    ------------                                       --------------------------------
    hm-enrol/1, TLS with a self-signed certificate; the server shows a chain below the pinned root
    enrol.request  secret, keys, both proofs     -->   check_request, bind the invitation, certify
    check_response                               <--   chain, genesis, owner, locators, evidence

A request proves the keys it names over the channel binding of its own connection, so nobody who
sees it can use it. What makes it *the same* request (`request_id`) is its substance, not its
bytes: the secret and the keys. So a node whose answer was lost connects again, signs again, and
gets the certificate that was made for it the first time.

The checks are pure; `Enrolment` joins them with the durable stores.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hypermesh.crypto.digest import digest_of
from hypermesh.crypto.keys import QuantumKeys, key_id
from hypermesh.crypto.signature import SignatureInvalid, sign, verify
from hypermesh.trustchain.ca.authority import CertificateAuthority, CertificateOrder, Issued
from hypermesh.trustchain.ca.invitations import Invitations
from hypermesh.trustchain.invitation import Invitation
from hypermesh.trustchain.logged import NotLogged, check_logged
from hypermesh.trustchain.verify import (
    Anchors,
    CertifiedNode,
    NodeRevoked,
    check_chain,
    fingerprint,
)
from hypermesh.wire.asset import Locator
from hypermesh.wire.block import Genesis
from hypermesh.wire.codec import encode
from hypermesh.wire.errors import Forbidden, HyperMeshError
from hypermesh.wire.ids import GenesisId, Hash, NodeId, OwnerId
from hypermesh.wire.keys import PublicKeys
from hypermesh.wire.rpc import EnrolRequest, EnrolResponse, EnrolStatement
from hypermesh.wire.transparency import Logged

Show = Callable[[Issued], Logged | None]
"""What shows that a certificate is logged."""

_DOMAIN = "enrol"


class ProofRefused(Forbidden):
    """The request does not prove the keys that it names, for the connection it came on."""

    code = "HM-TRUST-0030"
    title = "The enrolment request does not prove its keys"


class ConsentMissing(Forbidden):
    """The owner named in the request did not sign it."""

    code = "HM-TRUST-0031"
    title = "The owner did not consent to take this node"


class OwnerConflict(Forbidden):
    """The request names an owner where the invitation has one, or names none where one must be."""

    code = "HM-TRUST-0032"
    title = "The request and the invitation disagree about the owner"


class ResponseRefused(HyperMeshError):
    """The certificate authority answered with something else than what was asked for."""

    code = "HM-TRUST-0033"
    status = 502
    exit_code = 9
    title = "The answer to the enrolment is not for this node and network"
    remedy = "Do not use it; tell the person who invited you"


def enrol_request(
    invitation: Invitation, channel: Hash, node: QuantumKeys, owner: QuantumKeys | None
) -> EnrolRequest:
    """The request for a first certificate of `node`, on the connection whose binding is `channel`.

    `owner` is None for an invitation of one's own (`hm invite --mine`).
    """
    public = None if owner is None else owner.public
    message = encode(EnrolStatement(channel, invitation.secret, node.public, public))
    return EnrolRequest(
        secret=invitation.secret,
        node=node.public,
        owner=public,
        channel=channel,
        proof=sign(node, _DOMAIN, invitation.genesis, message),
        owner_consent=None if owner is None else sign(owner, _DOMAIN, invitation.genesis, message),
    )


def renewal_request(genesis: GenesisId, channel: Hash, node: QuantumKeys) -> EnrolRequest:
    """The request of `node` for the certificate after its present one."""
    message = encode(EnrolStatement(channel, b"", node.public, None))
    proof = sign(node, _DOMAIN, genesis, message)
    return EnrolRequest(b"", node.public, None, channel, proof, None)


def request_id(request: EnrolRequest) -> Hash:
    """What `request` asks for, as one digest: equal for a repetition on another connection."""
    return digest_of("enrol-request", (request.secret, request.node, request.owner))


def check_request(
    request: EnrolRequest, genesis: GenesisId, *, channel: Hash, peer: NodeId
) -> None:
    """Raise unless `request` came on the connection `channel` from `peer`, the node that it names,
    and the keys of the node and of the owner, if one is named, signed it.

    Raises `ProofRefused` or `ConsentMissing`.
    """
    if request.channel != channel:
        raise ProofRefused(why="it was made for another connection")
    if key_id(request.node) != peer:
        raise ProofRefused(why="it names other keys than those of the connection")
    if request.owner == request.node:
        raise ProofRefused(why="a node cannot be its own owner")
    statement = EnrolStatement(request.channel, request.secret, request.node, request.owner)
    message = encode(statement)
    try:
        verify(request.node, _DOMAIN, genesis, message, request.proof)
    except SignatureInvalid as error:
        raise ProofRefused(why=error.why) from error
    if (request.owner is None) != (request.owner_consent is None):
        raise ConsentMissing(why="owner and consent come together or not at all")
    if request.owner is not None and request.owner_consent is not None:
        try:
            verify(request.owner, _DOMAIN, genesis, message, request.owner_consent)
        except SignatureInvalid as error:
            raise ConsentMissing(why=error.why) from error


def check_response(
    response: EnrolResponse,
    *,
    genesis: GenesisId,
    root_sha256: Hash,
    node: PublicKeys,
    owner: OwnerId | None,
    now_s: int,
    must_be_logged: bool = False,
) -> CertifiedNode:
    """What the joining (or renewing) node now is, or a refusal to believe the answer.

    `genesis` and `root_sha256` are known beforehand, from the invitation or from the node's own
    files; `owner` is None where the issuer's owner takes the node in. Evidence that the certificate
    is logged is checked wherever it is there, and demanded where it `must_be_logged`. Raises
    `ResponseRefused`, `NotLogged` or a `CertificateRefused`.
    """
    if digest_of("genesis", response.genesis) != genesis:
        raise ResponseRefused(why="the genesis document is that of another network")
    root = response.genesis.root_certificate
    if fingerprint(root) != root_sha256 or response.chain[2:] != [root]:
        raise ResponseRefused(why="the root of the certificate chain is not the one in genesis")
    # The issuing CA may have been replaced since; which one it is, the ledger says later.
    anchors = Anchors(genesis, root, response.chain[1])
    certified = check_chain(response.chain, anchors, now_s=now_s)
    if certified.keys != node:
        raise ResponseRefused(why="the certificate is for other keys")
    if certified.owner != response.owner or owner not in (None, certified.owner):
        raise ResponseRefused(why="the certificate names another owner")
    if response.logged is not None:
        check_logged(response.logged, response.chain, response.genesis.sequencer, genesis)
    elif must_be_logged:
        raise NotLogged(why="the authority sent no evidence")
    return certified


def _owner_of(request: EnrolRequest, issuer: OwnerId | None) -> OwnerId:
    """Whose machine it becomes: `issuer` for an invitation that names one, else its own owner."""
    if issuer is None and request.owner is not None:
        return key_id(request.owner)
    if issuer is not None and request.owner is None:
        return issuer
    raise OwnerConflict(
        why="the invitation is for a machine that brings its owner"
        if issuer is None
        else "the invitation is for a machine of its issuer"
    )


class Enrolment:
    """The certificate authority's side of `enrol.request` and `enrol.renew`.

    Safe to repeat at any point: first the invitation is bound to the request, then the certificate
    is made under the request's hash and logged, and each step is durable before the next.
    """

    def __init__(
        self,
        authority: CertificateAuthority,
        invitations: Invitations,
        genesis: Genesis,
        show: Show = lambda _: None,
    ) -> None:
        self._authority = authority
        self._show = show
        self._invitations = invitations
        self._genesis = genesis
        self._genesis_id: GenesisId = digest_of("genesis", genesis)

    def enrol(
        self,
        request: EnrolRequest,
        *,
        channel: Hash,
        peer: NodeId,
        revoked: frozenset[NodeId],
        locators: Sequence[Locator],
        now_s: int,
    ) -> EnrolResponse:
        """Answer a request that shows an invitation.

        `channel` and `peer` are what the connection proved, `revoked` the ledger's set at the
        height this node follows, `locators` where the network is. Raises what `check_request`,
        `Invitations.bind` and `CertificateAuthority.certify` raise, `OwnerConflict`, `NodeRevoked`.
        """
        check_request(request, self._genesis_id, channel=channel, peer=peer)
        if peer in revoked:
            raise NodeRevoked
        owner = _owner_of(request, self._invitations.owner(request.secret))
        identifier = request_id(request)
        self._invitations.bind(request.secret, identifier, now_s)
        order = CertificateOrder(identifier, self._genesis_id, request.node, owner)
        return self._response(self._authority.certify(order, now_s), locators)

    def renew(
        self,
        request: EnrolRequest,
        *,
        channel: Hash,
        peer: NodeId,
        revoked: frozenset[NodeId],
        locators: Sequence[Locator],
        now_s: int,
    ) -> EnrolResponse:
        """Answer a request by node keys alone, up to 30 days after the certificate's end.

        Raises what `check_request` and `CertificateAuthority.renew` raise, and `NodeRevoked`.
        """
        if request.secret or request.owner is not None:
            raise OwnerConflict(why="a renewal shows no invitation and keeps the node's owner")
        check_request(request, self._genesis_id, channel=channel, peer=peer)
        if peer in revoked:
            raise NodeRevoked
        issued = self._authority.renew(request.node, self._genesis_id, now_s)
        return self._response(issued, locators)

    def _response(self, issued: Issued, locators: Sequence[Locator]) -> EnrolResponse:
        chain = self._authority.chain(issued)
        logged = self._show(issued)
        return EnrolResponse(chain, self._genesis, issued.owner, list(locators), logged)
