"""`/v1/certificates`: whom this network believes, and by what."""

from __future__ import annotations

from litestar import get, post
from litestar.types import ControllerRouterHandler

from hypermesh.node.api.paging import PAGE_DEFAULT, Limit
from hypermesh.node.api.prompt import prompt
from hypermesh.node.composition import Node
from hypermesh.trustchain.bundle import Bundle
from hypermesh.wire.api.certificate import (
    AuthorityView,
    CertificateDetail,
    CertificatePage,
    IssuerRequest,
    IssuerView,
    RevocationRequest,
)
from hypermesh.wire.api.ledger import TransactionView
from hypermesh.wire.ids import parse_hex


@get("/v1/certificates")
@prompt
def certificates(
    here: Node, cursor: str | None = None, limit: Limit = PAGE_DEFAULT
) -> CertificatePage:
    """Certificates, newest first: all that were issued on the node with the authority; elsewhere
    its own, and the newest of each node on the ledger."""
    return here.certificates.page(cursor, limit)


@get("/v1/certificates/issuer")
@prompt
def authority(here: Node) -> AuthorityView:
    """Who certifies the nodes of this network: its root and its issuing CA, by the ledger."""
    return here.certificates.authority()


@get("/v1/certificates/{certificate:str}")
@prompt
def one_certificate(here: Node, certificate: str) -> CertificateDetail:
    """One certificate with its chain, by its SHA-256 or by its node; `me` is this node's own."""
    return here.certificates.get(certificate)


@post("/v1/certificates/{node:str}/revoke", sync_to_thread=True)
def revoke(here: Node, node: str, data: RevocationRequest) -> TransactionView:
    """End the rights of a node for good. Its owner may, and the network's founder; every node that
    follows the ledger cuts it off."""
    return here.revoke(parse_hex(node, 32, "node id"), data.reason)


@post("/v1/certificates/issuer", sync_to_thread=True)
def replace_issuer(here: Node, data: IssuerRequest) -> IssuerView:
    """Put another issuing CA in the place of the present one, which is compromised. On the node
    that founded the network, by the founder; the others renew their certificates at once."""
    return here.replace_issuer(data.reason, data.grace_ms)


@get("/v1/certificates/{certificate:str}/bundle", sync_to_thread=True)
def certificate_bundle(here: Node, certificate: str) -> Bundle:
    """One certificate, named as for `GET /v1/certificates/{certificate}`, with all that shows
    offline that it was logged and what the ledger says of its node: for `hm cert verify`. Another
    node's evidence is asked for there."""
    return here.transparency.bundle(certificate)


ROUTES: list[ControllerRouterHandler] = [
    certificates,
    authority,
    one_certificate,
    revoke,
    replace_issuer,
    certificate_bundle,
]
