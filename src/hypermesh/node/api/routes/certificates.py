"""`/v1/certificates`: whom this network believes, and by what."""

from __future__ import annotations

from litestar import get
from litestar.types import ControllerRouterHandler

from hypermesh.node.api.paging import PAGE_DEFAULT, Limit
from hypermesh.node.api.prompt import prompt
from hypermesh.node.composition import Node
from hypermesh.wire.api.certificate import CertificateDetail, CertificatePage


@get("/v1/certificates")
@prompt
def certificates(
    here: Node, cursor: str | None = None, limit: Limit = PAGE_DEFAULT
) -> CertificatePage:
    """Certificates, newest first: all that were issued on the node with the authority; elsewhere
    its own, and the newest of each node on the ledger."""
    return here.certificates.page(cursor, limit)


@get("/v1/certificates/{certificate:str}")
@prompt
def one_certificate(here: Node, certificate: str) -> CertificateDetail:
    """One certificate with its chain, by its SHA-256 or by its node; `me` is this node's own."""
    return here.certificates.get(certificate)


ROUTES: list[ControllerRouterHandler] = [certificates, one_certificate]
